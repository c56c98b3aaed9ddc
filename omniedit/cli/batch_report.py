"""The report on many edits: each failure with its line, the totals, and the documents."""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from omniedit import errors
from omniedit.cli.exit_codes import ExitStatus, exit_status, hint_for, too_long_hint
from omniedit.edits.batch import EditOutcome
from omniedit.errors import Hint, Interrupted, NotFinishedError, OmniEditError
from omniedit.models import AttemptState, Record, TaskError, clip_name, render_count
from omniedit.terminal.documents import task_document
from omniedit.terminal.human import render_clip, render_credits

if TYPE_CHECKING:
    from omniedit.cli.context import Context
    from omniedit.edits.manifest import Fault, Line
    from omniedit.edits.planner import PlannedEdit
    from omniedit.edits.session import Session
    from omniedit.models import EditRequest
    from omniedit.terminal.documents import Document

_SHOWN_FAULTS: Final = 50
_INVALID: Final = "invalid_manifest"
_DONE: Final = "done"
_ALREADY_HERE: Final = "already here"
_FAILED: Final = "failed"
_UNSAVED: Final = "finished but not saved"
_RUNNING: Final = "still running"
_UNSTARTED: Final = "not started"
UNSENT: Final = "unsent"
"""The status of a line that was never sent."""
_UNKNOWN: Final = "with unknown outcome"
_STATES: Final = (_DONE, _ALREADY_HERE, _FAILED, _UNKNOWN, _UNSAVED, _RUNNING, _UNSTARTED)


def line_fields(edit: "PlannedEdit") -> "Document":
    """Return the fields that a manifest line adds to its task document."""
    return {"line": edit.number, "output": edit.output}


class BatchReport:
    """Collects the outcome of each line of a manifest, or of each piece of a clip.

    Args:
        context: The command's context; its board holds what happened.
        manifest: The name of the manifest, as typed; None if the edits have their own names.
        has_journal: Whether the next call can continue from a journal.
        fields: Returns the fields that an edit adds to its task document.
    """

    def __init__(
        self,
        context: "Context",
        manifest: str | None,
        *,
        has_journal: bool,
        fields: "Callable[[PlannedEdit], Document]" = line_fields,
    ) -> None:
        self._context = context
        self._manifest = manifest
        self._fields = fields
        self._has_journal = has_journal
        self._edits: Sequence[PlannedEdit] = ()
        self._outcomes: dict[int, EditOutcome] = {}  # by number
        self._faulty: list[Document] = []
        self.recovery_hint: str | None = None
        """The command that continues the run, once there is one."""

    @property
    def errors(self) -> list[OmniEditError]:
        """The failures, in the manifest's order."""
        return [each.error for _, each in sorted(self._outcomes.items()) if each.error is not None]

    @property
    def records(self) -> list[Record]:
        """The newest record of each edit, in the manifest's order."""
        return [record for _, record in self._records()]

    def add_faults(self, faults: "Sequence[Fault]") -> list[OmniEditError]:
        """Add the invalid lines, and return their errors; nothing has been sent."""
        found: list[OmniEditError] = []
        too_long: tuple[OmniEditError, Line] | None = None
        for number, message, line, cause, is_too_long in faults:
            error = cause or errors.InvalidInputError(message, code=_INVALID)
            request, model = (line.request, line.model) if line else (None, None)
            record = _record(request, AttemptState.REFUSED, model=model)
            document = task_document(record._replace(error=TaskError.of(error)))
            self._faulty.append(document | {"line": number, "output": None})
            name = line.name if line else f"{self._manifest}:{number}"
            # The fault of a missing clip ends with its path, which names it already.
            is_named = clip_name(message.rpartition(": ")[2]) == name
            error.message = message if is_named else f"{name}: {message}"
            found.append(error)
            if line and is_too_long and len(found) <= _SHOWN_FAULTS:
                too_long = error, line
        if rest := found[_SHOWN_FAULTS:]:
            rest[0].message = f"{render_count(len(rest), 'invalid line')} not shown"
            del found[_SHOWN_FAULTS + 1 :]
        found[-1].hint = "correct this and run the same command again; nothing was sent"
        if too_long is not None:
            error, line = too_long
            hint = too_long_hint(line.request, command="batch")
            error.hint = Hint(f"{hint.text}; nothing was sent", *hint.commands)
        return found

    def begin(self, edits: "Sequence[PlannedEdit]", *, is_shard: bool = False) -> None:
        """Begin the run of a plan, which may be that of a shard."""
        self._edits = edits
        labels = {
            edit.identity: edit.label or f"{edit.number} {render_clip(edit.request.video)}"
            for edit in edits
        }
        names = {edit.identity: edit.name for edit in edits}
        self._context.board.expect(len(edits), labels, names)
        if not edits and is_shard:
            self._context.printer.note("this shard has no edits")

    def add(self, outcome: "EditOutcome") -> None:
        """Add the outcome of an edit."""
        if outcome.record is not None and outcome.record.task is not None:
            # Without the service's reply, unless the document needs it.
            outcome = replace(outcome, record=self._context.board.add(outcome.record))
        self._outcomes[outcome.edit.number] = outcome

    def add_all(self, session: "Session", outcomes: "Iterable[EditOutcome]") -> None:
        """Add every outcome, and print the report at the end, whatever ended the run."""
        try:
            for outcome in outcomes:
                self.add(outcome)
        except BaseException:
            # Before this ends, record the submissions whose reply is outstanding.
            session.stop()
            raise
        finally:
            self.print_report(session.give_up_outstanding())

    def print_report(self, unknown_outcomes: Sequence[tuple[Record, OmniEditError]]) -> None:
        """Print each failure, the totals on one line, and the recovery command.

        Args:
            unknown_outcomes: The submissions that had no reply yet when the run ended.
        """
        outstanding = {record.identity: (record, error) for record, error in unknown_outcomes}
        for edit in self._edits:
            if edit.number not in self._outcomes and edit.identity in outstanding:
                record, error = outstanding[edit.identity]
                self.add(EditOutcome(edit=edit, record=record, error=error))
        self._print_failures()
        if not self._edits:
            return
        counts = Counter(self._state_of(edit, record) for edit, record in self._records())
        spent, is_charged = self._context.board.spent_credits
        parts = [f"{counts[state]} {state}" for state in _STATES if counts[state]]
        verb = "charged" if is_charged else "charged or reserved"
        cost = f"; {render_credits(spent)} {verb}" if spent else ""
        self._context.printer.note(f"{', '.join(parts)}{cost}")
        unreplayed = sum(isinstance(error, errors.NotReplayedError) for error in self.errors)
        self._print_recovery_command(
            unstarted=counts[_UNSTARTED],
            submitted=counts[_RUNNING] + counts[_UNSAVED],
            unknown=counts[_UNKNOWN] - unreplayed,
        )
        for error in self.errors:
            if isinstance(error, NotFinishedError):
                error.hint = self.recovery_hint

    def print_recovery_hint(self, hint: str) -> None:
        """Print the hint with the recovery command, or leave it to the interrupt being handled."""
        self.recovery_hint = hint
        cause = sys.exception()
        if isinstance(cause, Interrupted):
            cause.hint = hint
        else:
            self._context.printer.hint(hint)

    def documents(self) -> "list[Document]":
        """Return a task document for each line of this run, in the manifest's order."""
        shown: list[Document] = list(self._faulty)
        for edit, record in self._records():
            cause = record.error
            error = self._error_of(edit)
            if cause is None and error is not None:
                cause = TaskError.of(error, suggestion=self._hint_for(error, edit))
            shown.append(task_document(record._replace(error=cause)) | self._fields(edit))
        return shown

    def _print_recovery_command(self, *, unstarted: int, submitted: int, unknown: int) -> None:
        """Print the command that picks up submitted edits and starts the others."""
        if not self._has_journal:
            if submitted:
                text = f"{submitted} submitted without a journal: {{}} records them"
                self.print_recovery_hint(Hint(text, "list --remote --adopt"))
            return
        parts = [f"picks up {submitted} already submitted"] if submitted else []
        if unknown:
            parts.append(f"settles {unknown} with unknown outcome")
        if unstarted:
            parts.append(f"starts {unstarted} more")
        if parts:
            command = self._context.same_command()
            words = " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))
            self.print_recovery_hint(f"{command} {words}; nothing is paid for twice")

    def _print_failures(self) -> None:
        # Here rather than at the boundary, so that an interrupted batch reports them too, and
        # the totals come last.
        last_hint: str | None = None
        for edit in self._edits:
            if error := self._error_of(edit):
                hint = self._hint_for(error, edit)
                message = f"{edit.name}: {error.message}"
                self._context.printer.error(message, hint if hint != last_hint else None)
                last_hint = hint

    def _error_of(self, edit: "PlannedEdit") -> OmniEditError | None:
        outcome = self._outcomes.get(edit.number)
        return outcome.error if outcome else None

    def _hint_for(self, error: OmniEditError, edit: "PlannedEdit") -> str | None:
        if isinstance(error, NotFinishedError):
            return "it continues on the service"
        hint = hint_for(error, command=self._context.command, request=edit.request)
        return self._context.render_hint(hint)

    def _records(self) -> "Iterator[tuple[PlannedEdit, Record]]":
        """Yield each edit with its record, which has a task if one is known, even an unfinished one."""
        known = {record.identity: record for record in self._context.board.records if record.task}
        for edit in self._edits:
            record = known.get(edit.identity)
            outcome = self._outcomes.get(edit.number)
            if record is None and outcome and outcome.record and outcome.record.task:
                # A faulty service may return the same task for two submissions; the board has one.
                record = outcome.record
            yield edit, record or self._record_without_task(edit)

    def _record_without_task(self, edit: "PlannedEdit") -> Record:
        outcome = self._outcomes.get(edit.number, EditOutcome(edit=edit))
        error = outcome.error
        attempt = outcome.record
        record = _record(edit.request, UNSENT, model=edit.request.model)
        if error is not None:
            is_unknown = exit_status(error) is ExitStatus.UNKNOWN
            status = AttemptState.UNKNOWN if is_unknown else AttemptState.REFUSED
            record = record._replace(status=status, request_id=error.request_id)
        return record._replace(created_at=attempt.created_at) if attempt else record

    def _state_of(self, edit: "PlannedEdit", record: Record) -> str:
        match self._error_of(edit):
            case errors.OutcomeUnknownError():
                return _UNKNOWN
            case NotFinishedError():
                return _RUNNING
            case OmniEditError():
                return _FAILED
            case None:
                pass
        if record.task is None:
            return _UNSTARTED
        if edit.number not in self._outcomes:
            return _UNSAVED if record.task.is_terminal else _RUNNING
        return _ALREADY_HERE if record.task_id in self._context.board.skipped else _DONE


def _record(request: "EditRequest | None", status: str, *, model: str | None) -> Record:
    """Return the record of an edit without a task."""
    return Record(
        request_id=None,
        task=None,
        status=status,
        created_at=0.0,
        video=request.video if request else None,
        prompt=request.prompt if request else None,
        model=model,
    )
