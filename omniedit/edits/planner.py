"""Planning many edits before anything is sent: their faults, output names and estimated cost."""

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Final

from omniedit.edits.clips import check_price
from omniedit.edits.edit import EditOptions
from omniedit.edits.manifest import Line, Manifest, name_of_edit
from omniedit.edits.requests import PreparedEdit, prepare
from omniedit.edits.save import check_sound
from omniedit.edits.session import Session
from omniedit.edits.targets import STDOUT, default_name, served_path, sidecar_path
from omniedit.errors import InvalidInputError, LocalError, OmniEditError, TooExpensiveError
from omniedit.models import EditRequest, Sound, compared_prompt, is_local, render_count
from omniedit.settings import Setting
from omniedit.system import LONGEST_NAME_BYTES, THIS_SYSTEM, System
from omniedit.system.files import is_folder, real_path

_LONGEST_PATH: Final = 4096
"""In characters. Resolving a path takes time that grows with the square of its length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedEdit:
    """One edit of many, checked and ready to be made."""

    number: int  # of the manifest line or the piece, from 1
    request: EditRequest
    identity: str
    output: str  # the path as shown to the user, including the requested folder
    is_due: bool = True  # must be submitted and paid for, as far as known
    estimated_credits: float | None = None
    label: str | None = None  # `clip.mp4, take 2`, `piece 2 of 4`
    manifest: str | None = None  # the name of the file that it comes from

    @property
    def name(self) -> str:
        """The name in messages, which a field would keep in memory 100,000 times."""
        return name_of_edit(self.number, label=self.label, manifest=self.manifest)


class Planner:
    """Turns manifest lines into edits, and collects their faults.

    Args:
        options: The options of every edit; the destination is the folder for outputs.
        model: The model for lines without one.
        shard: The part of the manifest that this run makes, and the number of parts.
        max_credits: The most that the edits of this shard may newly cost; None for no limit.
        system: The operating system; injected by tests.

    Raises:
        LocalError: If the destination exists but is not a folder.
    """

    def __init__(
        self,
        session: Session,
        options: EditOptions,
        *,
        model: Setting[str],
        shard: tuple[int, int] = (1, 1),
        max_credits: float | None = None,
        system: System = THIS_SYSTEM,
    ) -> None:
        self._session, self._system = session, system
        folder = options.destination.text
        self._folder = None if folder is None else str(Path(folder))
        self._model = model
        self._sound, self._overwrite = options.sound, options.destination.overwrite
        self._may_be_known = options.may_be_known
        check_sound(options.sound)
        self._base = str(real_path(Path(folder or ".")))
        if os.path.lexists(self._base) and not is_folder(self._base):
            msg = f"{folder} is not a folder"
            raise LocalError(msg, hint="`--dir` names the folder for the outputs")
        self._shard = shard
        self._line_of_edit: dict[str, Line] = {}
        self._line_of_output: dict[int, int] = {}
        self._line_of_clip: dict[int, int] = {}
        self._line_of_folder: dict[int, int] = {}
        self._claimed_folders: set[str] = set()
        self._resolved_folders: dict[str, str] = {}
        self._named: set[int] = set()  # the lines that specify their output
        self._names_in_other_shards: list[str] = []
        """Default ones, so that names do not depend on the planned shard."""
        self._max_credits = max_credits
        self._known: frozenset[str] = frozenset()
        if not options.again:
            self._known = session.journal.edits_not_to_resubmit(origin=session.origin)
        self.faults: list[tuple[int, str]] = []
        self.causes: dict[int, OmniEditError] = {}
        """By line: the errors that are not the manifest's fault, such as a network failure."""
        self.faulty: dict[int, Line] = {}
        """By number: the lines with faults, as far as they could be parsed."""

    def plan(self, manifest: Manifest) -> Sequence[PlannedEdit]:
        """Return the edits of this shard; afterwards `faults` has the faults of every line.

        Lines are removed from the manifest one by one, to save memory: it may have 100,000.

        Raises:
            TooExpensiveError: If the total estimate exceeds the limit, or an edit has no estimate.
        """
        planned: list[PlannedEdit] = []
        self.faults = list(manifest.faults)
        manifest.lines.reverse()
        while manifest.lines:
            edit = self._checked_edit(manifest.lines.pop())
            if edit is not None:
                planned.append(edit)
        self._line_of_edit.clear()
        self._name_outputs(planned)
        self.faults.sort()
        if not self.faults:
            check_price(
                render_count(sum(edit.is_due for edit in planned), "edit"),
                sum(edit.estimated_credits or 0.0 for edit in planned),
                max_credits=self._max_credits,
                hint="raise the limit, or ask for fewer edits",
            )
        return planned

    def _checked_edit(self, line: Line) -> PlannedEdit | None:
        """Return the edit of a line, if it is of this shard and has no fault; collect its faults.

        Raises:
            TooExpensiveError: If there is a limit, and the cost cannot be estimated.
        """
        count = len(self.faults)
        try:
            return self._plan_line(line)
        except TooExpensiveError as error:
            error.message = f"{line.name}: {error.message}"
            raise
        except OmniEditError as error:
            self._add_fault(line.number, error.message)
            if not isinstance(error, InvalidInputError | LocalError):
                self.causes[line.number] = error
            return None
        finally:
            if len(self.faults) > count:
                self.faulty[line.number] = line

    def _plan_line(self, line: Line) -> PlannedEdit | None:
        request = EditRequest(
            video=line.video,
            prompt=line.prompt,
            callback_url=line.callback_url,
            take=None if line.take is None else int(line.take),
            start=line.start,
            end=line.end,
            model=line.model or self._model.value,
            model_source=f"manifest: line {line.number}" if line.model else self._model.source,
        )
        is_own = line.is_in_shard(*self._shard)
        if not is_own and (is_local(line.video) or request.is_cut):
            # Clips of other shards need not be on this machine, and are not probed.
            self._protect_clip(line.number, line.video)
            prompt = compared_prompt(line.prompt)
            parts = (line.video, prompt, line.start, line.end, line.take, request.model)
            self._claim_edit(line, repr(parts))
            self._claim_output(line.number, line.output)
            return None
        edit = prepare(self._session, request, may_be_known=self._may_be_known)
        self._protect_clip(line.number, edit.request.video)
        is_new = self._claim_edit(line, edit.identity)
        if line.output:
            self._named.add(line.number)
            self._claim_output(line.number, line.output)
        if not is_new:
            return None
        output = line.output or self._default_name(edit.request, edit.identity)
        if not is_own:
            if not line.output:
                self._names_in_other_shards.append(output)
            return None
        is_due = edit.identity not in self._known
        return PlannedEdit(
            number=line.number,
            label=line.label,
            manifest=line.manifest,
            request=request,
            identity=edit.identity,
            output=output,
            is_due=is_due,
            estimated_credits=self._estimate(edit) if is_due else None,
        )

    def _estimate(self, edit: PreparedEdit) -> float | None:
        """Return the estimated cost of an edit, looking at the clip if there is a limit.

        Raises:
            TooExpensiveError: If there is a limit, and the cost cannot be estimated.
        """
        if self._max_credits is None or edit.plan.estimated_credits is not None:
            return edit.plan.estimated_credits
        # Preparing an edit estimates its cost only if it has a limit: set one that never applies.
        limited = edit.request._replace(max_credits=math.inf)
        return prepare(self._session, limited).plan.estimated_credits

    def _default_name(self, request: EditRequest, identity: str, *, is_long: bool = False) -> str:
        return default_name(
            request.shown_video, request.prompt, identity, is_long=is_long, sound=self._sound
        )

    def _name_outputs(self, edits: list[PlannedEdit]) -> None:
        """Name all outputs: lengthen default names that collide, and refuse clips of other lines."""
        colliding = self._colliding_names(edits)
        for index, edit in enumerate(edits):
            output = edit.output
            if edit.number not in self._named:
                if output in colliding:
                    output = self._default_name(edit.request, edit.identity, is_long=True)
                self._claim_output(edit.number, output)
            # Replace edits in place, to save memory: there may be 100,000.
            edits[index] = replace(edit, output=self._shown(output))
        for folder, number in self._line_of_folder.items():
            if (writer := self._line_of_output.get(folder, number)) != number:
                self._add_fault(writer, f"writes a file where line {number} needs a folder")
        for clip, number in self._line_of_clip.items():
            if (writer := self._line_of_output.get(clip, number)) != number:
                self._add_fault(writer, f"replaces the clip of line {number}")

    def _colliding_names(self, edits: Sequence[PlannedEdit]) -> frozenset[str]:
        """Return the default names that more than one line would use."""
        taken = set(self._line_of_output)
        colliding: set[str] = set()
        own = (edit.output for edit in edits if edit.number not in self._named)
        for name in chain(own, self._names_in_other_shards):
            key = self._output_key(name)
            if key in taken:
                colliding.add(name)
            taken.add(key)
        return frozenset(colliding)

    def _output_key(self, output: str) -> int:
        # A 64-bit hash identifies the path in a third of the memory.
        return hash(self._system.name_key(os.path.join(self._base, output)))  # noqa: PTH118 - on strings

    def _claim_edit(self, line: Line, identity: str) -> bool:
        """Claim an edit for a line; return whether no earlier line has claimed it."""
        first = self._line_of_edit.setdefault(identity, line)
        if first is not line:
            advice = "remove one of them" if line.label else "`take` makes it another one"
            self._add_fault(
                line.number,
                f"is the same edit as {first.label or f'line {first.number}'}; {advice}",
            )
        return first is line

    def _claim_output(self, number: int, output: str | None) -> None:
        """Claim the files of an output for a line; an invalid or claimed one is a fault."""
        if output is None:
            return
        resolved = self._resolved(output)
        if resolved is None:
            self._add_fault(number, f"`output` does not name a file: {output}")
        elif os.path.isabs(output) or not _is_below(resolved, self._base):  # noqa: PTH117 - see below
            self._add_fault(number, f"`output` leaves the folder: {output}")
        elif fault := self._system.path_fault(resolved):
            self._add_fault(number, f"`output` does not name a file: {output}: {fault}")
        else:
            for path in (resolved, *self._paths_beside(resolved)):
                first = self._line_of_output.setdefault(self._output_key(path), number)
                if first != number:
                    name = output if path is resolved else os.path.basename(path)  # noqa: PTH119 - as above
                    self._add_fault(number, f"writes the same file as line {first}: {name}")
                    break
            self._claim_folders(number, resolved)

    def _claim_folders(self, number: int, output: str) -> None:
        """Claim the folders that an output is in, which no output of another line may be."""
        folder = os.path.dirname(output)  # noqa: PTH120 - see `_resolved`
        while folder not in self._claimed_folders and _is_below(folder, self._base):
            self._claimed_folders.add(folder)
            self._line_of_folder[self._output_key(folder)] = number
            folder = os.path.dirname(folder)  # noqa: PTH120 - as above

    def _paths_beside(self, output: str) -> Iterator[str]:
        """Yield the paths of the files that are saved with an output."""
        if self._sound is not Sound.NEW:
            yield served_path(output)
        if self._session.writes_sidecars:
            yield sidecar_path(output)

    def _protect_clip(self, number: int, video: str) -> None:
        """Protect a local clip, which no output of another line may replace."""
        if self._overwrite and is_local(video):
            path = self._resolved(os.path.abspath(video))  # noqa: PTH100 - as above
            if path is not None:
                self._line_of_clip.setdefault(self._output_key(path), number)

    def _add_fault(self, number: int, fault: str) -> None:
        self.faults.append((number, fault))

    def _resolved(self, output: str) -> str | None:
        """Return the path of an output with links resolved; None if it cannot be a file.

        This works on strings and resolves each folder once, for speed: a manifest may have 100,000
        lines.
        """
        folder, name = os.path.split(os.path.join(self._base, output))  # noqa: PTH118 - see above
        is_name = name not in {"", ".", ".."} and len(os.fsencode(name)) <= LONGEST_NAME_BYTES
        is_path = "\0" not in output and len(output) <= _LONGEST_PATH
        if output.endswith("\\") or not (is_name and is_path):
            return None
        if folder not in self._resolved_folders:
            self._resolved_folders[folder] = os.path.realpath(folder)
        path = os.path.join(self._resolved_folders[folder], name)  # noqa: PTH118 - see above
        if os.path.islink(path):  # noqa: PTH114 - see above
            path = os.path.realpath(path)
        return None if is_folder(path) else path

    def _shown(self, output: str) -> str:
        if self._folder is None:
            # `./-` is a file with that name, `-` would be standard output.
            return f"./{output}" if output == STDOUT else output
        if os.sep in output:
            return str(Path(self._folder) / output)
        # The same as joining with `Path`, which is slower and interns every name.
        return output if self._folder == "." else f"{self._folder}{os.sep}{output}"


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(folder if folder.endswith(os.sep) else folder + os.sep)
