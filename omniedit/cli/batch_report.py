"""What a batch says: each fault and failure with its line, a summary, the documents in order."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from omniedit.errors import InvalidInputError, OmniEditError
from omniedit.models import Record, TaskError
from omniedit.output.units import render_credits

if TYPE_CHECKING:
    from omniedit.batch.plan import PlannedEdit
    from omniedit.batch.run import Made
    from omniedit.cli.runtime import Runtime
    from omniedit.output.document import Document

_SHOWN_FAULTS: Final = 50


class BatchReport:
    """Gathers what came of each line.

    Args:
        runtime: Who is told.
        manifest: Its name, as it was typed.
    """

    def __init__(self, runtime: "Runtime", manifest: str) -> None:
        self._runtime = runtime
        self._manifest = manifest
        self._edits: Sequence[PlannedEdit] = ()
        self._made: dict[int, Made] = {}
        self.errors: list[OmniEditError] = []

    def faults(self, faults: Sequence[tuple[int, str]]) -> list[OmniEditError]:
        """Return the errors of a manifest that is wrong; nothing was sent."""
        errors: list[OmniEditError] = [
            InvalidInputError(f"{self._manifest}:{number}: {fault}", code="invalid_manifest")
            for number, fault in faults[:_SHOWN_FAULTS]
        ]
        if len(faults) > _SHOWN_FAULTS:
            msg = f"{len(faults) - _SHOWN_FAULTS} more lines are wrong"
            errors.append(InvalidInputError(msg, code="invalid_manifest"))
        errors[-1].hint = "nothing was sent"
        return errors

    def begin(self, edits: "Sequence[PlannedEdit]") -> None:
        """Take in the plan."""
        self._edits = edits

    def take(self, made: "Made") -> None:
        """Take in what came of an edit."""
        number = made.edit.line.number
        self._made[number] = made
        if made.error is not None:
            made.error.message = f"{self._manifest}:{number}: {made.error.message}"
            self.errors.append(made.error)

    def summarise(self) -> None:
        """Say in one line how it went."""
        counts = Counter(self._state_of(edit) for edit in self._edits)
        if not counts:
            return
        parts = [f"{counts[state]} {state}" for state in _STATES if counts[state]]
        spent = sum(
            task.credits_used or task.credits_reserved or 0.0
            for made in self._made.values()
            if not made.was_known and made.record and (task := made.record.task)
            if not task.has_failed
        )
        cost = f"; {render_credits(spent)}" if spent else ""
        self._runtime.printer.note(f"{', '.join(parts)}{cost}")
        if counts[_LEFT] or counts[_RUNNING]:
            self._runtime.printer.note(
                "run the same command again for the rest: nothing is paid for twice"
            )

    def documents(self) -> "list[Document]":
        """Return a task document for each line of this run, in the manifest's order."""
        from omniedit.output.document import task_document

        shown: list[Document] = []
        for edit in self._edits:
            made = self._made.get(edit.line.number)
            record = _record_of(edit, made)
            shown.append(task_document(record) | {"line": edit.line.number, "output": edit.output})
            if made is None or (made.record is None and made.error is None):
                shown[-1]["status"] = None
        return shown

    def _state_of(self, edit: "PlannedEdit") -> str:
        made = self._made.get(edit.line.number)
        if made is None:
            return _RUNNING
        if made.error is not None:
            return "failed"
        if made.record is None:
            return _LEFT
        return "already known" if made.was_known else "made"


_RUNNING: Final = "unfinished"
_LEFT: Final = "not begun"
_STATES: Final = ("made", "already known", "failed", _RUNNING, _LEFT)


def _record_of(edit: "PlannedEdit", made: "Made | None") -> Record:
    record = made.record if made else None
    error = made.error if made else None
    if record is None:
        record = Record(
            request_id=error.request_id if error else None,
            task=None,
            status="refused",
            created_at=0.0,
            video=edit.draft.video,
            prompt=edit.draft.prompt,
        )
    if error is None or record.error is not None:
        return record
    shown = TaskError(code=error.code, message=error.message, suggestion=error.hint)
    return _with_error(record, shown)


def _with_error(record: Record, error: TaskError) -> Record:
    from dataclasses import replace

    return replace(record, error=error)
