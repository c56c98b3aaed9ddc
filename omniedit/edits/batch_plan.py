"""From a manifest to the edits of this run: everything is checked before anything is sent."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from omniedit.edits.clips import Wishes
from omniedit.edits.manifest import Line, Manifest
from omniedit.edits.ports import Session
from omniedit.edits.requests import Draft, identity_of, is_local, parse_draft
from omniedit.edits.targets import STDOUT, default_name
from omniedit.errors import LocalError, OmniEditError, TooExpensiveError
from omniedit.system import HERE, System
from omniedit.system.posix import LONGEST_NAME_BYTES

WHOLE: Final = (1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedEdit:
    """One line of the manifest, ready to be made."""

    line: Line
    draft: Draft
    identity: str
    output: str  # as it is shown, below the folder that was asked for
    part: str | None = None
    """What it is called where it is no line of a manifest."""

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.part or f"line {self.line.number}"


class Planner:
    """Turns lines into edits and gathers what is wrong with them.

    Args:
        session: What checks need.
        folder: Where outputs go; None is here.
        shard: Which of how many parts of the manifest this run makes.
        max_credits: What all edits of this shard may be estimated at; None for whatever it is.
        system: This one.

    Raises:
        LocalError: `folder` is something else.
    """

    def __init__(
        self,
        session: Session,
        *,
        folder: str | None,
        shard: tuple[int, int] = WHOLE,
        max_credits: float | None = None,
        system: System = HERE,
    ) -> None:
        self._session = session
        self._system = system
        self._folder = folder
        self._base = os.path.realpath(folder or ".")
        if os.path.lexists(self._base) and not Path(self._base).is_dir():
            msg = f"{folder} is not a folder"
            raise LocalError(msg, hint="`--dir` names the folder for the outputs")
        self._shard = shard
        self._line_of_edit: dict[str, int] = {}
        self._line_of_output: dict[str, int] = {}
        self._resolved_folders: dict[str, str] = {}
        self._max_credits = max_credits
        self._estimated_credits = 0.0
        self.faults: list[tuple[int, str]] = []

    def plan(self, manifest: Manifest) -> Sequence[PlannedEdit]:
        """Return the edits of this shard; `faults` says what is wrong with any line.

        Raises:
            TooExpensiveError: Together they are estimated dearer than allowed, or one cannot be.
        """
        planned: list[PlannedEdit] = []
        self.faults = list(manifest.faults)
        for line in manifest.lines:
            try:
                edit = self._plan_line(line)
            except TooExpensiveError as error:
                error.message = f"line {line.number}: {error.message}"
                raise
            except OmniEditError as error:
                self._note_fault(line, error.message)
            else:
                if edit is not None:
                    planned.append(edit)
        self.faults.sort()
        if not self.faults:
            self._check_price(count=len(planned))
        return planned

    def _plan_line(self, line: Line) -> PlannedEdit | None:
        draft = Draft(
            video=line.video,
            prompt=line.prompt,
            callback_url=line.callback_url,
            take=None if line.take is None else int(line.take),
            wishes=Wishes(start=line.start, end=line.end),
        )
        is_own = line.is_in_shard(*self._shard)
        if not is_own and (is_local(line.video) or draft.wishes.is_cut):
            # The clips of other shards need neither be on this machine nor be looked at.
            self._note_edit(line, repr((line.video, line.prompt, line.start, line.end, line.take)))
            self._note_output(line, line.output)
            return None
        request = parse_draft(self._session, self._looking(draft, is_own=is_own))
        identity = identity_of(request)
        is_new = self._note_edit(line, identity)
        output = line.output or default_name(line.video, identity)
        if is_new or line.output:
            self._note_output(line, output)
        if not is_own:
            return None
        self._estimated_credits += request.estimated_credits or 0.0
        return PlannedEdit(line=line, draft=draft, identity=identity, output=self._shown(output))

    def _looking(self, draft: Draft, *, is_own: bool) -> Draft:
        """Return a draft with which the clip is looked at, where its cost is asked for."""
        if self._max_credits is None or not is_own:
            return draft
        return replace(draft, wishes=replace(draft.wishes, max_credits=math.inf))

    def _check_price(self, *, count: int) -> None:
        check_price(
            f"{count} edits",
            self._estimated_credits,
            max_credits=self._max_credits,
            hint="raise the limit, or take lines out of the manifest",
        )

    def _note_edit(self, line: Line, identity: str) -> bool:
        """Note an edit; return whether it is the first of its kind."""
        first = self._line_of_edit.setdefault(identity, line.number)
        if first != line.number:
            fault = f"is the same edit as line {first}; `take` makes it another one"
            self._note_fault(line, fault)
        return first == line.number

    def _note_output(self, line: Line, output: str | None) -> None:
        if output is None:
            return
        resolved = self._resolved(output)
        if resolved is None:
            self._note_fault(line, f"`output` names no file: {output}")
        elif Path(output).is_absolute() or not _is_below(resolved, self._base):
            self._note_fault(line, f"`output` leaves the folder: {output}")
        elif fault := self._system.path_fault(resolved):
            self._note_fault(line, f"`output` names no file: {output}: {fault}")
        else:
            key = self._system.name_key(resolved)
            first = self._line_of_output.setdefault(key, line.number)
            if first != line.number:
                self._note_fault(line, f"has the same output as line {first}: {output}")

    def _note_fault(self, line: Line, fault: str) -> None:
        self.faults.append((line.number, fault))

    def _resolved(self, output: str) -> str | None:
        """Return where an output would be written, links resolved; None where that is no file.

        On strings, and with one look at each folder: a manifest may have 100,000 lines.
        """
        folder, name = os.path.split(os.path.join(self._base, output))  # noqa: PTH118 - see above
        is_name = name not in {"", ".", ".."} and len(os.fsencode(name)) <= LONGEST_NAME_BYTES
        if "\0" in output or output.endswith("\\") or not is_name:
            return None
        if folder not in self._resolved_folders:
            self._resolved_folders[folder] = os.path.realpath(folder)
        path = os.path.join(self._resolved_folders[folder], name)  # noqa: PTH118 - see above
        if os.path.islink(path):  # noqa: PTH114 - see above
            path = os.path.realpath(path)
        return None if os.path.isdir(path) else path  # noqa: PTH112 - see above

    def _shown(self, output: str) -> str:
        if self._folder is None:
            # A file of that name, not standard output.
            return f"./{output}" if output == STDOUT else output
        return str(Path(self._folder) / output)


def check_price(what: str, estimate: float, *, max_credits: float | None, hint: str) -> None:
    """Refuse several edits that are dearer together than allowed.

    Args:
        what: They are, for the message.
        estimate: In credits, of all of them.
        max_credits: What is allowed; None for whatever it is.
        hint: What to do about it.

    Raises:
        TooExpensiveError: They are.
    """
    if max_credits is None or estimate <= max_credits:
        return
    msg = (
        f"{what} are estimated at {estimate:.1f} credits in all,"
        f" above --max-credits {max_credits:g}; nothing was sent"
    )
    raise TooExpensiveError(msg, hint=hint)


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(folder if folder.endswith(os.sep) else folder + os.sep)
