"""Settling a submission whose outcome is unknown."""

from contextlib import suppress

from omniedit.edits.reads import read_task, render_oldest_instant, tasks_since
from omniedit.edits.requests import check_request_id, is_own_attempt
from omniedit.edits.sending import (
    Sending,
    has_submission,
    resume_command,
    sending_lock,
    warn_of_duplicates,
)
from omniedit.edits.session import Session
from omniedit.errors import (
    Hint,
    InvalidInputError,
    JournalError,
    NoSuchReferenceError,
    OmniEditError,
    OutcomeUnknownError,
    RequestRefusedError,
    restored_error,
)
from omniedit.events import Submitted
from omniedit.models import Record, TaskError, is_task_id, task_name


def resume(session: Session, request_id: str, *, accepts_old: bool = False) -> Record:
    """Settle a submission whose outcome is unknown by replaying its request ID and exact body.

    Args:
        request_id: The request ID of the submission.
        accepts_old: Replay it even if the service may have forgotten the request ID.

    Raises:
        NoSuchReferenceError: If the submission is not in the journal.
        OutcomeUnknownError: If the outcome is still unknown, or the submission is too old to be
            replayed.
        OmniEditError: If the submission was refused: the refusal.
    """
    check_request_id(request_id)
    with sending_lock(session, request_id, pays=False):
        record = _known_attempt(session, request_id)
        return replay(session, record, accepts_old=accepts_old)


def settle_as(session: Session, request_id: str, task_id: str) -> Record:
    """Settle a submission with the task that the user says it became.

    Raises:
        NoSuchReferenceError: If the submission is not in the journal.
        InvalidInputError: If the submission is settled, or cannot have become this task.
        OmniEditError: If the service does not know the task, or does not answer.
    """
    check_request_id(request_id)
    if not is_task_id(task_id):
        msg = "a task ID is 1 to 128 characters of `A-Z a-z 0-9 . _ -`"
        raise InvalidInputError(msg, code="invalid_task_reference")
    with sending_lock(session, request_id, pays=False):
        record = _known_attempt(session, request_id)
        _check_origin(session, record)
        if not record.is_unsettled:
            what = task_name(record.task_id) if record.task else "refused"
            msg = f"submission {request_id} is already settled: {what}"
            raise InvalidInputError(msg, code="already_settled", request_id=request_id)
        known = session.journal.find_task(task_id)
        if known is not None and known.request_id is not None:
            msg = f"{task_name(task_id)} is the task of submission {known.request_id}"
            raise InvalidInputError(msg, code="other_submission", request_id=request_id)
        task = read_task(session, task_id)
        if task.model not in {None, record.model}:
            msg = f"{task_name(task_id)} was made with another model: {task.model}"
            raise InvalidInputError(msg, code="other_model", request_id=request_id)
        session.journal.settle_attempt(request_id, task, origin=session.origin)
        record_call(session, request_id)
        settled = record.with_task(task)
        session.report(Submitted(record=settled, is_replay=True))
        warn_of_duplicates(session, settled, why="the submission may have been accepted twice")
        return settled


def replay(
    session: Session, record: Record, *, accepts_old: bool = False, deadline: float | None = None
) -> Record:
    """Return the record of a known attempt with its task, replaying it if its outcome is unknown.

    The caller holds `sending_lock` for its request ID.

    Raises:
        OutcomeUnknownError: If the outcome is still unknown, or the attempt is too old to be
            replayed.
        OmniEditError: If the attempt was refused: the refusal.
    """
    request_id = record.request_id or ""
    record_call(session, request_id)
    # Read it again under the lock: another process may have settled it in the meantime.
    record = session.journal.find_attempt(request_id) or record
    if record.is_unsettled:
        return _replay_unknown(session, record, accepts_old=accepts_old, deadline=deadline)
    if record.task is None:
        raise refusal_of(record)
    session.note(f"already accepted as {task_name(record.task_id)}")
    session.report(Submitted(record=record, is_replay=True))
    return record


def refusal_of(record: Record) -> OmniEditError:
    """Return the error that a refused attempt ended with."""
    error = record.error or TaskError(
        code="refused", message="the reason is not known", kind=RequestRefusedError.kind
    )
    return restored_error(
        error.kind or "",
        error.message,
        code=error.code,
        http_status=error.http_status,
        request_id=record.request_id,
    )


def record_call(session: Session, request_id: str) -> None:
    """Make an attempt the newest of this context, ignoring a failing journal."""
    if session.context is None:
        return
    with suppress(JournalError):
        session.journal.record_call(session.context, request_id)


def _replay_unknown(
    session: Session, record: Record, *, accepts_old: bool, deadline: float | None
) -> Record:
    request_id = record.request_id or ""
    _check_origin(session, record)
    if record.body is None:
        msg = f"the journal no longer holds what submission {request_id} asked for"
        hint = Hint(
            "{} settles it with a task of the account; {} drops it",
            f"{resume_command(request_id)} --as TASK",
            f"list --forget {request_id}",
        )
        raise OutcomeUnknownError(msg, hint=hint, request_id=request_id)
    if not accepts_old:
        _check_key(session, record)
        age_s = _age_s(session, record)
        # If the attempt is dated in the future, its age is unknown: treat it as too old.
        if not -session.policy.clock_skew_s <= age_s <= session.policy.replay_window_s:
            raise _too_old(session, record, age_s)
    # Raise for a missing key here: inside `Sending` it would become "outcome unknown".
    _ = session.service
    return Sending(session, record, is_lost=True).send(deadline=deadline)


def _known_attempt(session: Session, request_id: str) -> Record:
    record = session.journal.find_attempt(request_id)
    if record is None:
        msg = f"no submission {request_id} in the journal"
        raise NoSuchReferenceError(msg, hint=Hint("{} shows them", "list"), request_id=request_id)
    return record


def _check_origin(session: Session, record: Record) -> None:
    if record.origin != session.origin:
        msg = f"submission {record.request_id} was made at {record.origin}, not at {session.origin}"
        hint = "settle it with the base URL that was used for it"
        raise InvalidInputError(msg, code="other_origin", hint=hint, request_id=record.request_id)


def _check_key(session: Session, record: Record) -> None:
    """Refuse to replay with another key: its account may not know the submission, and pay again.

    Raises:
        OutcomeUnknownError: If the submission was made with another key.
    """
    request_id = record.request_id or ""
    if not is_own_attempt(session, request_id):
        msg = f"submission {request_id} was made with another key, and may have been accepted"
        hint = Hint(
            "use that key again; if it was replaced, {} replays it with this one",
            f"{resume_command(request_id)} --yes",
        )
        raise OutcomeUnknownError(msg, hint=hint, request_id=request_id)


def _age_s(session: Session, record: Record) -> float:
    """Return the age of an attempt, by the service's clock if possible.

    This machine's clock may have been changed since the attempt, so without a clock offset the
    larger of the two possible ages counts.
    """
    age_s = session.now() - record.created_at
    with suppress(OmniEditError):
        service_now = session.service.get_time()
        if service_now is not None and record.clock_offset_s is not None:
            age_s = service_now - record.created_at - record.clock_offset_s
        elif service_now is not None:
            age_s = max(age_s, service_now - record.created_at)
    return age_s


def _too_old(session: Session, record: Record, age_s: float) -> OutcomeUnknownError:
    """Show the account's tasks since the attempt; return the error that refuses the replay."""
    request_id = record.request_id or ""
    age = f"{age_s / 3600:.0f} h old" if age_s > 0 else "dated in the future"
    candidates: list[str] = []
    try:
        tasks, gap = tasks_since(session, record)
    except OmniEditError as error:
        session.warn(f"the account's tasks cannot be read: {error.message}")
    else:
        for task in tasks:
            is_known = has_submission(session, task)
            whose = "of another submission from here" if is_known else "not submitted from here"
            candidates += [] if is_known else [task.task_id]
            session.warn(f"the account lists {task.task_id} ({task.shown_status}), {whose}")
        if gap is not None:
            session.warn(f"the account's list may lack tasks: {gap}")
        elif not tasks and session.service.clock_offset_s is not None:
            since = render_oldest_instant(session, record)
            session.warn(f"the account lists no task since {since}")
    unsettled = [each for each in session.journal.recent() if each.is_unsettled]
    # Suggest a task only if there is no choice; otherwise only the user can tell.
    is_certain = len(candidates) == len(unsettled) == 1
    candidate = candidates[0] if is_certain else "TASK"
    msg = (
        f"submission {request_id} is {age}: the service may have forgotten its ID, and a"
        " replay could pay again"
    )
    hint = Hint(
        "{} settles it with a task of the account; {} replays it anyway",
        f"{resume_command(request_id)} --as {candidate}",
        f"{resume_command(request_id)} --yes",
    )
    return OutcomeUnknownError(msg, hint=hint, request_id=request_id)
