"""Settling a submission whose outcome is unknown."""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

from omniedit.edits.account import tasks_since
from omniedit.edits.ports import Session
from omniedit.edits.requests import check_request_id
from omniedit.edits.sending import Sending
from omniedit.errors import (
    InvalidInputError,
    JournalError,
    NoSuchReferenceError,
    OmniEditError,
    OutcomeUnknownError,
    restored_error,
)
from omniedit.events import Noted, Submitted, Warned
from omniedit.models import Record, TaskError, TaskStatus
from omniedit.policy import DEFAULT

REPLAY_IS_SAFE_S: Final = 3600.0
"""How long after an attempt its request ID is trusted to be remembered by the service."""
UNSETTLED: Final = frozenset({TaskStatus.SENDING, TaskStatus.UNKNOWN})


def resume(session: Session, request_id: str, *, accepts_old: bool = False) -> Record:
    """Settle a submission whose outcome is unknown, with its own ID and exact body.

    Args:
        session: What it calls on.
        request_id: As the journal and the error named it.
        accepts_old: Replay it also after an hour, when the ID may be forgotten at the service.

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
            hint = "`omniedit list` shows them"
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
    if record.status in UNSETTLED:
        return _replay_unknown(session, record, accepts_old=accepts_old)
    if record.task is None:
        raise refusal_of(record)
    session.report(Noted(message=f"already accepted as task {record.task_id}"))
    session.report(Submitted(task=record.task, request_id=request_id, is_replay=True))
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


@contextmanager
def sending_lock(session: Session, request_id: str, *, pays: bool = True) -> Generator[None]:
    """Tell other processes for a block that this submission is on its way; wait for theirs.

    Args:
        session: What it calls on.
        request_id: The submission's.
        pays: Whether a task may be paid for in the block, or only one settled that was.

    Raises:
        JournalError: The lock cannot be had, and nothing may be paid for without it.
    """
    with ExitStack() as stack:
        if session.has_journal:
            try:
                stack.enter_context(session.journal.sending(request_id))
            except JournalError as error:
                if session.requires_journal and pays:
                    raise
                session.report(Warned(message=f"{error.message}; going on without it"))
        yield


def _replay_unknown(session: Session, record: Record, *, accepts_old: bool) -> Record:
    request_id = record.request_id or ""
    if record.origin != session.origin:
        msg = f"submission {request_id} was made at {record.origin}, not at {session.origin}"
        raise InvalidInputError(msg, code="other_origin", request_id=request_id)
    if record.body is None:
        msg = f"the journal no longer holds what submission {request_id} asked for"
        raise OutcomeUnknownError(msg, request_id=request_id)
    if session.now() - record.created_at > REPLAY_IS_SAFE_S and not accepts_old:
        raise _too_old(session, record)
    # A missing key says nothing about the submission.
    _ = session.service
    sending = Sending(session, record, way_back=resume_command(request_id), is_lost=True)
    return sending.send(deadline=session.monotonic() + DEFAULT.submit_budget_s)


def _too_old(session: Session, record: Record) -> OutcomeUnknownError:
    """Show the account's tasks of the attempt's time; return why it is not replayed unasked."""
    hours = (session.now() - record.created_at) / 3600
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
        f"submission {record.request_id} is {hours:.0f} h old: the service may have forgotten its"
        " ID, and a replay could pay again"
    )
    hint = f"`{resume_command(record.request_id or '')} --yes` replays it all the same; `omniedit list --remote --adopt` takes over a task"
    return OutcomeUnknownError(msg, hint=hint, request_id=record.request_id)


def resume_command(request_id: str) -> str:
    """Return the command that settles a submission."""
    return f"omniedit submit --resume {request_id}"
