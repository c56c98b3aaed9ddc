"""From a manifest to the edits of this run: everything is checked before anything is sent."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from omniedit.batch.manifest import Line, Manifest
from omniedit.errors import OmniEditError
from omniedit.models import Record
from omniedit.tasks.ports import Session
from omniedit.tasks.requests import Draft, identity_of, is_local, parse_draft
from omniedit.tasks.targets import STDOUT, Destination

WHOLE: Final = (1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedEdit:
    """One line of the manifest, ready to be made."""

    line: Line
    draft: Draft
    output: str  # as it is shown, below the folder that was asked for


class Planner:
    """Turns lines into edits and gathers what is wrong with them.

    Args:
        session: What checks need.
        folder: Where outputs go; None is here.
        shard: Which of how many parts of the manifest this run makes.
    """

    def __init__(
        self, session: Session, *, folder: str | None, shard: tuple[int, int] = WHOLE
    ) -> None:
        self._session = session
        self._folder = folder
        self._base = Path(folder or ".").resolve()
        self._shard = shard
        self._line_of_edit: dict[str, int] = {}
        self._line_of_output: dict[str, int] = {}
        self.faults: list[tuple[int, str]] = []

    def plan(self, manifest: Manifest) -> Sequence[PlannedEdit]:
        """Return the edits of this shard; `faults` says what is wrong with any line."""
        planned: list[PlannedEdit] = []
        self.faults = list(manifest.faults)
        for line in manifest.lines:
            try:
                edit = self._plan_line(line)
            except OmniEditError as error:
                self.faults.append((line.number, error.message))
            else:
                if edit is not None:
                    planned.append(edit)
        self.faults.sort()
        return planned

    def _plan_line(self, line: Line) -> PlannedEdit | None:
        draft = Draft(
            video=line.video,
            prompt=line.prompt,
            callback_url=line.callback_url,
            take=None if line.take is None else int(line.take),
        )
        is_own = line.is_in_shard(*self._shard)
        if not is_own and is_local(line.video):
            # The clips of other shards need not be on this machine.
            self._note_edit(line, repr((line.video, line.prompt, line.start, line.end, line.take)))
            self._note_output(line, line.output)
            return None
        identity = identity_of(parse_draft(self._session, draft))
        self._note_edit(line, identity)
        output = line.output or self._default_output(line, identity)
        self._note_output(line, output)
        if not is_own:
            return None
        return PlannedEdit(line=line, draft=draft, output=self._shown(output))

    def _default_output(self, line: Line, identity: str) -> str:
        record = Record(request_id=None, task=None, status="", created_at=0.0, video=line.video)
        target = Destination(None).target_for_edit(record, identity)
        return target.shown if target else ""

    def _note_edit(self, line: Line, identity: str) -> None:
        first = self._line_of_edit.setdefault(identity, line.number)
        if first != line.number:
            self.faults.append(
                (
                    line.number,
                    f"is the same edit as line {first}; `take` makes it another one",
                )
            )

    def _note_output(self, line: Line, output: str | None) -> None:
        if output is None:
            return
        path = self._base / output
        resolved = Path(os.path.realpath(path))
        if Path(output).is_absolute() or not resolved.is_relative_to(self._base):
            self.faults.append((line.number, f"`output` leaves the folder: {output}"))
        elif output.endswith(("/", "\\")) or path.is_dir() or "\0" in output:
            self.faults.append((line.number, f"`output` names no file: {output}"))
        first = self._line_of_output.setdefault(str(resolved), line.number)
        if first != line.number:
            self.faults.append((line.number, f"has the same output as line {first}: {output}"))

    def _shown(self, output: str) -> str:
        if self._folder is None:
            # A file of that name, not standard output.
            return f"./{output}" if output == STDOUT else output
        return str(Path(self._folder) / output)
