"""Settling a submission whose outcome is unknown."""

from contextlib import suppress

from omniedit.edits.reads import tasks_since
from omniedit.edits.requests import check_request_id
from omniedit.edits.sending import Sending, resume_command, sending_lock
from omniedit.edits.session import Session
from omniedit.errors import (
    Hint,
    InvalidInputError,
    JournalError,
    NoSuchReferenceError,
    OmniEditError,
    OutcomeUnknownError,
    restored_error,
)
from omniedit.events import Noted, Submitted, Warned
from omniedit.models import Record, TaskError


def resume(session: Session, request_id: str, *, accepts_old: bool = False) -> Record:
    """Settle a submission whose outcome is unknown, with its own ID and exact body.

    Args:
        request_id: As the journal and the error named it.
        accepts_old: Replay it also when the service may have forgotten its ID.

    Raises:
        NoSuchReferenceError: The journal does not know it.
        OutcomeUnknownError: Still unclear, or too old.
        OmniEditError: What it was refused for.
    """
    check_request_id(request_id)
    with sending_lock(session, request_id, pays=False):
        record = session.journal.find_attempt(request_id)
        if record is None:
            msg = f"no submission {request_id} in the journal"
            hint = Hint("{} shows them", "list")
            raise NoSuchReferenceError(msg, hint=hint, request_id=request_id)
        return replay(session, record, accepts_old=accepts_old)


def replay(session: Session, record: Record, *, accepts_old: bool = False) -> Record:
    """Return the task of a known attempt; ask the service with the same ID where it is unknown.

    The caller holds `sending_lock` for its request ID.

    Raises:
        OutcomeUnknownError: Still unclear, or too old.
        OmniEditError: What it was refused for.
    """
    request_id = record.request_id or ""
    record_call(session, request_id)
    # Whoever was sending it may have settled it meanwhile; now nobody is.
    record = session.journal.find_attempt(request_id) or record
    if record.is_unsettled:
        return _replay_unknown(session, record, accepts_old=accepts_old)
    if record.task is None:
        raise refusal_of(record)
    session.report(Noted(message=f"already accepted as task {record.task_id}"))
    session.report(Submitted(record=record, is_replay=True))
    return record


def refusal_of(record: Record) -> OmniEditError:
    """Return the error that a refused attempt ended with."""
    error = record.error or TaskError(code="refused", message="the submission was refused")
    return restored_error(
        error.kind or "",
        error.message,
        code=error.code,
        http_status=error.http_status,
        request_id=record.request_id,
    )


def record_call(session: Session, request_id: str) -> None:
    """Make an attempt the newest of this context; a journal that fails has said so already."""
    if session.context is None:
        return
    with suppress(JournalError):
        session.journal.record_call(session.context, request_id)


def _replay_unknown(session: Session, record: Record, *, accepts_old: bool) -> Record:
    request_id = record.request_id or ""
    if record.origin != session.origin:
        msg = f"submission {request_id} was made at {record.origin}, not at {session.origin}"
        raise InvalidInputError(msg, code="other_origin", request_id=request_id)
    if record.body is None:
        msg = f"the journal no longer holds what submission {request_id} asked for"
        raise OutcomeUnknownError(msg, request_id=request_id)
    if not accepts_old and not _is_replay_safe(session, record):
        raise _too_old(session, record)
    # A missing key says nothing about the submission.
    _ = session.service
    sending = Sending(session, record, recovery_command=resume_command(request_id), is_lost=True)
    return sending.send(budget_s=session.policy.submit_budget_s)


def _is_replay_safe(session: Session, record: Record) -> bool:
    """Return whether the service can be trusted to remember the request ID still."""
    return session.now() - record.created_at <= session.policy.replay_window_s


def _too_old(session: Session, record: Record) -> OutcomeUnknownError:
    """Show the account's tasks of the attempt's time; return why it is not replayed unasked."""
    hours = (session.now() - record.created_at) / 3600
    request_id = record.request_id or ""
    try:
        tasks = tasks_since(session, record.created_at)
    except OmniEditError as error:
        session.report(Warned(message=f"the account's tasks cannot be read: {error.message}"))
    else:
        for task in tasks:
            is_known = session.journal.find_task(task.task_id) is not None
            whose = "submitted or adopted here" if is_known else "not known here"
            session.report(
                Warned(message=f"the account lists {task.task_id} ({task.status}), {whose}")
            )
        if not tasks:
            session.report(Warned(message="the account lists no task since then"))
    msg = (
        f"submission {request_id} is {hours:.0f} h old: the service may have forgotten its"
        " ID, and a replay could pay again"
    )
    hint = Hint(
        "{} replays it all the same; {} takes over a task",
        f"{resume_command(request_id)} --yes",
        "list --remote --adopt",
    )
    return OutcomeUnknownError(msg, hint=hint, request_id=request_id)
