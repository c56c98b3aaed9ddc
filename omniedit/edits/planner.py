"""Planning many edits before anything is sent: their faults, output names and estimated cost."""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Final

from omniedit.edits.clips import check_price, parse_cut
from omniedit.edits.edit import EditOptions
from omniedit.edits.manifest import Fault, Line, Manifest
from omniedit.edits.requests import PreparedEdit, prepare
from omniedit.edits.save import check_sound
from omniedit.edits.session import Session
from omniedit.edits.targets import STDOUT, default_name, served_path, sidecar_path
from omniedit.errors import InvalidInputError, LocalError, OmniEditError, TooExpensiveError
from omniedit.media.facts import CLIP_TOO_LONG
from omniedit.models import EditRequest, Sound, compared_prompt, is_local, render_count
from omniedit.system import LONGEST_NAME_BYTES, THIS_SYSTEM, System
from omniedit.system.files import is_folder, real_path

_LONGEST_PATH: Final = 4096
"""In characters. Resolving a path takes time that grows with the square of its length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedEdit(Line):
    """One edit of many, checked and ready to be made."""

    identity: str
    output: str  # the path as shown to the user, including the requested folder
    is_due: bool = True  # must be submitted and paid for, as far as known
    estimated_credits: float | None = None


class Planner:
    """Turns manifest lines into edits, and collects their faults.

    Args:
        options: The options of every edit; the destination is the folder for outputs.
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
        shard: tuple[int, int] = (1, 1),
        max_credits: float | None = None,
        system: System = THIS_SYSTEM,
    ) -> None:
        self._session = session
        self._options = options
        self._system = system
        self._shard = shard
        self._max_credits = max_credits
        check_sound(options.sound)
        folder = options.destination.text
        self._folder = str(Path(folder or "."))
        self._base = str(real_path(Path(self._folder)))
        if os.path.lexists(self._base) and not is_folder(self._base):
            msg = f"{folder} is not a folder"
            raise LocalError(msg, hint="`--dir` names the folder for the outputs")
        self._known: frozenset[str] = frozenset()
        if not options.again:
            self._known = session.journal.edits_not_to_resubmit(origin=session.origin)
        self._line_of_edit: dict[str, Line] = {}
        # The numbers of lines, by a hash of the path.
        self._line_of_output: dict[int, int] = {}
        self._line_of_clip: dict[int, int] = {}
        self._line_of_folder: dict[int, int] = {}
        self._real_folder = cache(os.path.realpath)
        self._named: set[int] = set()  # the lines that specify their output
        self.faults: list[Fault] = []

    def plan(self, manifest: Manifest) -> Sequence[PlannedEdit]:
        """Return the edits of this shard; afterwards `faults` has the faults of every line.

        Lines are removed from the manifest one by one, to save memory: it may have 100,000.

        Raises:
            TooExpensiveError: If the total estimate exceeds the limit, or an edit has no estimate.
        """
        edits: list[PlannedEdit] = []
        self.faults = list(manifest.faults)
        manifest.lines.reverse()
        while manifest.lines:
            edit = self._checked_edit(manifest.lines.pop())
            if edit is not None:
                edits.append(edit)
        self._line_of_edit.clear()
        # All shards, so that names do not depend on the planned one.
        self._name_outputs(edits)
        self.faults.sort(key=lambda fault: (fault.number, fault.message))
        planned = [edit for edit in edits if edit.is_in_shard(*self._shard)]
        if not self.faults:
            check_price(
                render_count(sum(edit.is_due for edit in planned), "edit"),
                sum(edit.estimated_credits or 0.0 for edit in planned),
                max_credits=self._max_credits,
                hint="raise the limit, or ask for fewer edits",
            )
        return planned

    def _checked_edit(self, line: Line) -> PlannedEdit | None:
        """Return the edit of a line; None if it has a fault, or is another shard's and needs its clip.

        Raises:
            TooExpensiveError: If there is a limit, and the cost cannot be estimated.
        """
        try:
            return self._plan_line(line)
        except TooExpensiveError as error:
            error.message = f"{line.name}: {error.message}"
            raise
        except OmniEditError as error:
            is_own_fault = isinstance(error, InvalidInputError | LocalError)
            self._add_fault(
                line,
                error.message,
                cause=None if is_own_fault else error,
                is_too_long=error.code == CLIP_TOO_LONG,
            )
            return None

    def _plan_line(self, line: Line) -> PlannedEdit | None:
        request = line.request
        is_own = line.is_in_shard(*self._shard)
        if not is_own and (is_local(request.video) or request.is_cut):
            # Clips of other shards need not be on this machine, and are not probed.
            parse_cut(request)
            self._protect_clip(line.number, request.video)
            prompt = compared_prompt(request.prompt)
            parts = (request.video, prompt, request.start, request.end, request.take, request.model)
            self._claim_edit(line, repr(parts))
            self._claim_output(line, line.output)
            return None
        edit = prepare(self._session, request, may_be_known=self._options.may_be_known)
        self._protect_clip(line.number, edit.request.video)
        is_new = self._claim_edit(line, edit.identity)
        if line.output:
            self._named.add(line.number)
            self._claim_output(line, line.output)
        if not is_new:
            return None
        is_due = is_own and edit.identity not in self._known
        return PlannedEdit(
            number=line.number,
            label=line.label,
            manifest=line.manifest,
            model=line.model,
            request=request,
            identity=edit.identity,
            output=line.output or self._default_name(edit.request, edit.identity),
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
            request.shown_video,
            request.prompt,
            identity,
            is_long=is_long,
            sound=self._options.sound,
        )

    def _name_outputs(self, edits: list[PlannedEdit]) -> None:
        """Name all outputs, lengthening default names that collide, and refuse conflicting ones."""
        colliding = self._colliding_names(edits)
        for index, edit in enumerate(edits):
            output = edit.output
            if edit.number not in self._named:
                if output in colliding:
                    output = self._default_name(edit.request, edit.identity, is_long=True)
                self._claim_output(edit, output)
            # Replace edits in place, to save memory: there may be 100,000.
            edits[index] = replace(edit, output=self._shown(output))
        self._refuse_writers(
            edits, self._line_of_folder, "writes a file where line {} needs a folder"
        )
        self._refuse_writers(edits, self._line_of_clip, "replaces the clip of line {}")

    def _colliding_names(self, edits: Sequence[PlannedEdit]) -> set[str]:
        """Return the default names that another line uses too."""
        taken = set(self._line_of_output)
        colliding: set[str] = set()
        for edit in edits:
            if edit.number not in self._named:
                key = self._output_key(edit.output)
                if key in taken:
                    colliding.add(edit.output)
                taken.add(key)
        return colliding

    def _refuse_writers(
        self, edits: Sequence[PlannedEdit], claimed: Mapping[int, int], message: str
    ) -> None:
        """Add a fault for each output at a path that another line has claimed; `{}` is that line."""
        for path, number in claimed.items():
            writer = self._line_of_output.get(path, number)
            if writer != number:
                line = next((edit for edit in edits if edit.number == writer), None)
                self.faults.append(Fault(writer, message.format(number), line))

    def _output_key(self, output: str) -> int:
        # A 64-bit hash identifies the path in a third of the memory.
        return hash(self._system.name_key(os.path.join(self._base, output)))

    def _claim_edit(self, line: Line, identity: str) -> bool:
        """Claim an edit for a line; return whether no earlier line has claimed it."""
        first = self._line_of_edit.setdefault(identity, line)
        if first is not line:
            advice = "remove one of them" if line.label else "`take` makes it another one"
            name = first.label or f"line {first.number}"
            self._add_fault(line, f"is the same edit as {name}; {advice}")
        return first is line

    def _claim_output(self, line: Line, output: str | None) -> None:
        """Claim the files of an output for a line; an invalid or claimed one is a fault."""
        if output is None:
            return
        resolved = self._resolved(output)
        if resolved is None:
            self._add_fault(line, f"`output` does not name a file: {output}")
        elif os.path.isabs(output) or not _is_below(resolved, self._base):
            self._add_fault(line, f"`output` leaves the folder: {output}")
        elif fault := self._system.path_fault(resolved):
            self._add_fault(line, f"`output` does not name a file: {output}: {fault}")
        else:
            for path in (resolved, *self._paths_beside(resolved)):
                first = self._line_of_output.setdefault(self._output_key(path), line.number)
                if first != line.number:
                    name = output if path is resolved else os.path.basename(path)
                    self._add_fault(line, f"writes the same file as line {first}: {name}")
                    break
            self._claim_folders(line.number, resolved)

    def _claim_folders(self, number: int, output: str) -> None:
        """Claim the folders that an output is in, which no output of another line may be."""
        folder = os.path.dirname(output)
        while _is_below(folder, self._base):
            if self._line_of_folder.setdefault(self._output_key(folder), number) != number:
                return  # so are those above it
            folder = os.path.dirname(folder)

    def _paths_beside(self, output: str) -> Iterator[str]:
        """Yield the paths of the files that are saved with an output."""
        if self._options.sound is not Sound.NEW:
            yield served_path(output)
        if self._session.writes_sidecars:
            yield sidecar_path(output)

    def _protect_clip(self, number: int, video: str) -> None:
        """Protect a local clip, which no output of another line may replace."""
        if self._options.destination.overwrite and is_local(video):
            path = self._resolved(os.path.abspath(video))
            if path is not None:
                self._line_of_clip.setdefault(self._output_key(path), number)

    def _add_fault(
        self,
        line: Line,
        message: str,
        *,
        cause: OmniEditError | None = None,
        is_too_long: bool = False,
    ) -> None:
        self.faults.append(Fault(line.number, message, line, cause, is_too_long))

    def _resolved(self, output: str) -> str | None:
        """Return the path of an output with links resolved; None if it cannot be a file.

        This works on strings and resolves each folder once, for speed: a manifest may have 100,000
        lines.
        """
        folder, name = os.path.split(os.path.join(self._base, output))
        is_name = name not in {"", ".", ".."} and len(os.fsencode(name)) <= LONGEST_NAME_BYTES
        is_path = "\0" not in output and len(output) <= _LONGEST_PATH
        if output.endswith("\\") or not (is_name and is_path):
            return None
        path = os.path.join(self._real_folder(folder), name)
        if os.path.islink(path):
            path = os.path.realpath(path)
        return None if is_folder(path) else path

    def _shown(self, output: str) -> str:
        # Not every output as a `Path`, which interns all parts of 100,000 names.
        if "./" in output:
            output = str(Path(output))
        shown = output if self._folder == "." else os.path.join(self._folder, output)
        # `./-` is a file with that name, `-` would be standard output.
        return f"./{shown}" if shown == STDOUT else shown


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(folder if folder.endswith(os.sep) else folder + os.sep)
