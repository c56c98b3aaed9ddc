"""Which task is meant: an ID, the end of one, or the newest attempt of this context."""

from collections.abc import Sequence
from typing import Final

from omniedit.edits.session import Session
from omniedit.errors import (
    Hint,
    InvalidInputError,
    JournalError,
    LocalError,
    NoSuchReferenceError,
    NotFinishedError,
    OutcomeUnknownError,
)
from omniedit.models import AttemptState, Record, Task, TaskStatus, is_task_id

LAST: Final = "last"
SHORTEST_END: Final = 6


def find_records(session: Session, references: Sequence[str]) -> list[Record]:
    """Return what is known of the tasks meant; a task that is not known here is only an ID.

    Args:
        references: IDs, ends of IDs, `last`; none at all means `last`.

    Raises:
        InvalidInputError: One cannot be an ID.
        NoSuchReferenceError: One means no task, or several.
        OmniEditError: The newest attempt has no task: what it ended with.
    """
    records = [
        find_last(session) if reference == LAST else _find_task(session, reference)
        for reference in references or [LAST]
    ]
    unique = {record.task_id: record for record in records}
    return list(unique.values())


def find_last(session: Session) -> Record:
    """Return the newest attempt of this context, named on stderr; it has a task.

    Raises:
        NoSuchReferenceError: There is none, or the newest call made several.
        OutcomeUnknownError: It may or may not have been accepted.
        OmniEditError: What it was refused for.
    """
    call = session.journal.last_call(session.context) if session.context else None
    if call is None:
        msg = "no task has been submitted from here yet"
        raise NoSuchReferenceError(msg, hint="name a task ID, or submit an edit first")
    record = session.journal.find_attempt(call.request_id) if call.request_id else None
    if record is None:
        msg = "the newest call made several tasks, and has no single last one"
        raise NoSuchReferenceError(msg, hint=Hint("name the task IDs; {} shows them", "list"))
    if record.task is None:
        raise _error_of(record)
    from omniedit.events import Noted  # noqa: PLC0415 - of a named task nothing is told

    session.report(Noted(message=f"task {record.task_id} (the newest)"))
    return record


def _error_of(record: Record) -> Exception:
    """Return what the newest attempt ended with, so that no older task is taken in its place."""
    from omniedit.edits.replay import refusal_of  # noqa: PLC0415 - a named task needs none of it
    from omniedit.edits.sending import resume_command  # noqa: PLC0415 - as above

    request_id = record.request_id or ""
    if record.status == AttemptState.SENDING:
        msg = f"submission {request_id} is still being sent by another process"
        return NotFinishedError(msg, request_id=request_id)
    if record.status == AttemptState.UNKNOWN:
        reason = f": {record.error.message}" if record.error else ""
        msg = f"the newest submission may or may not have been accepted{reason}"
        hint = Hint("{} settles it without paying twice", resume_command(request_id))
        return OutcomeUnknownError(msg, hint=hint, request_id=request_id)
    error = refusal_of(record)
    if isinstance(error, InvalidInputError | LocalError):
        error.hint = Hint("submit it again, or name the task you mean: {} shows them", "list")
    error.message = f"the newest submission was refused: {error.message}"
    return error


def _find_task(session: Session, reference: str) -> Record:
    if not is_task_id(reference):
        msg = "a task ID is 1 to 128 characters of `A-Z a-z 0-9 . _ -`"
        hint = Hint("{} shows the tasks known here", "list")
        raise InvalidInputError(msg, code="invalid_task_reference", hint=hint)
    try:
        exact = session.journal.find_task(reference)
        if exact is not None:
            return exact
        ending = (
            session.journal.tasks_ending_with(reference) if len(reference) >= SHORTEST_END else []
        )
    except JournalError as error:
        # The ID is all that the service needs.
        from omniedit.events import Warned  # noqa: PLC0415 - of a named task nothing is told

        session.report(Warned(message=error.message))
        ending = []
    if len(ending) > 1:
        shown = ", ".join(str(record.task_id) for record in ending[:5])
        msg = f"{len(ending)} tasks end with {reference}: {shown}"
        raise NoSuchReferenceError(msg, code="ambiguous_task", hint="give more of the ID")
    if ending:
        return ending[0]
    task = Task(task_id=reference, status=TaskStatus.PENDING)
    return Record(
        request_id=None, task=task, status=task.status, created_at=session.now(), origin=None
    )
