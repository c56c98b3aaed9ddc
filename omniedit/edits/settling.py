"""Settling submissions whose outcome is unknown: by a replay, or with a task of the account."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple

from omniedit.edits.reads import account_tasks, read_task
from omniedit.edits.records import find_records
from omniedit.edits.requests import check_request_id, is_own_attempt
from omniedit.edits.session import Session
from omniedit.edits.submit import Sending
from omniedit.errors import (
    Hint,
    JournalError,
    NoSuchReferenceError,
    NotReplayedError,
    OmniEditError,
    OutcomeUnknownError,
    refuse,
)
from omniedit.events import Submitted
from omniedit.models import MODELS, Record, Task, task_name


def resume(session: Session, request_id: str, *, accepts_old: bool = False) -> Record:
    """Settle a submission whose outcome is unknown by replaying its request ID and exact body.

    With `accepts_old` it is replayed even if the service may have forgotten the request ID.
    """
    check_request_id(request_id)
    with session.sending_lock(request_id, pays=False):
        return settle(session, request_id, accepts_old=accepts_old)


def settle(
    session: Session, request_id: str, *, accepts_old: bool = False, deadline: float | None = None
) -> Record:
    """Return the record of an attempt with its task, replaying it if its outcome is unknown.

    The caller holds `sending_lock` for the request ID.

    Raises:
        NoSuchReferenceError: If the attempt is not in the journal.
        OutcomeUnknownError: If the outcome is still unknown.
        NotReplayedError: If only the user can decide whether to replay it.
        OmniEditError: If the attempt was refused: the refusal.
    """
    record = _known_attempt(session, request_id)
    record_call(session, request_id)
    if record.is_unsettled:
        _check_origin(session, record)
        _check_replayable(session, record, accepts_old=accepts_old, deadline=deadline)
        # Inside `Sending` a missing key would become "outcome unknown".
        session.require_service()
        return Sending(session, record).send(deadline=deadline)
    if record.task is None:
        raise record.refusal
    session.note(f"already accepted as {task_name(record.task_id)}")
    session.report(Submitted(record=record, is_replay=True))
    return record


def settle_as(session: Session, request_id: str, reference: str) -> Record:
    """Settle a submission with the task that the user says it became.

    Raises:
        NoSuchReferenceError: If the submission is not in the journal, or several tasks match.
        InvalidInputError: If the submission is settled, or cannot have become this task.
    """
    check_request_id(request_id)
    command = f"submit --resume {request_id} --as TASK"
    [found] = find_records(session, [reference], command=command)
    with session.sending_lock(request_id, pays=False):
        record = _known_attempt(session, request_id)
        _check_origin(session, record)
        task = _possible_task(session, record, found)
        session.journal.record_accepted(request_id, task, origin=session.origin)
        record_call(session, request_id)
        settled = record.with_task(task)
        session.report(Submitted(record=settled, is_replay=True))
        warn_of_duplicates(session, settled, why="the submission may have been accepted twice")
        return settled


def record_call(session: Session, request_id: str) -> None:
    """Make an attempt the newest of this context, ignoring a failing journal."""
    if session.recorded_context is not None:
        with suppress(JournalError):
            session.journal.record_call(session.recorded_context, request_id)


def warn_of_duplicates(
    session: Session, record: Record, *, why: str, deadline: float | None = None
) -> None:
    """Warn of other tasks in the account since an attempt, or that duplicates cannot be ruled out."""
    budget_s = session.policy.duplicates_budget_s
    left_s = session.left_s(deadline)
    if left_s is not None:
        budget_s = min(budget_s, left_s)
    listed = _tasks_since(session, record, budget_s=budget_s)
    if listed.others:
        session.warn(
            f"{why}; the account lists other tasks from that time, which may be paid duplicates:"
            f" {', '.join(task.task_id for task in listed.others)}"
        )
    elif listed.gap is not None or session.service.clock_offset_s is None:
        # If the list has gaps, or any task might be recent without the clock offset, a duplicate
        # cannot be ruled out.
        reason = "" if listed.gap is None else f" ({listed.gap})"
        session.warn(f"{why}, so a second task may have been paid for{reason}")
    else:
        since = _since(session, record)
        session.note(f"accepted once: the account lists no second task since {since}")


def _possible_task(session: Session, record: Record, found: Record) -> Task:
    """Return a task as the service now reports it, if the submission may have become this task."""
    request_id = record.request_id
    task_id = str(found.task_id)
    if not record.is_unsettled:
        what = task_name(record.task_id) if record.task else "refused"
        msg = f"submission {request_id} is already settled: {what}"
        refuse(msg, code="already_settled", request_id=request_id)
    known = session.journal.find_task(task_id)
    if known is not None and known.request_id is not None:
        msg = f"{task_name(task_id)} is the task of submission {known.request_id}"
        refuse(msg, code="other_submission", request_id=request_id)
    task = read_task(session, found)
    if task.model not in {None, record.model}:
        msg = f"{task_name(task_id)} was made with another model: {task.model}"
        refuse(msg, code="other_model", request_id=request_id)
    return task


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
        refuse(msg, code="other_origin", hint=hint, request_id=record.request_id)


def _check_replayable(
    session: Session, record: Record, *, accepts_old: bool, deadline: float | None
) -> None:
    """Check that a submission can be replayed, and unless `accepts_old`, that it cannot pay again.

    Raises:
        NotReplayedError: If only the user can decide how to settle it.
    """
    request_id = record.request_id
    command = record.resume_command
    if record.body is None:
        msg = f"the journal no longer holds what submission {request_id} asked for"
        words = "{} settles it with a task of the account; {} drops it"
        hint = Hint(words, f"{command} --as TASK", f"list --forget {request_id}")
    elif accepts_old:
        return
    elif not is_own_attempt(session, request_id):
        # The account of another key may not know the submission, and would pay again.
        msg = f"submission {request_id} was made with another key, and may have been accepted"
        words = "use that key again; if it was replaced, {} replays it with this one"
        hint = Hint(words, f"{command} --yes")
    else:
        age_s = _age_s(session, record, deadline=deadline)
        # If the attempt is dated in the future, its age is unknown: treat it as too old.
        if -session.policy.clock_skew_s <= age_s <= session.policy.replay_window_s:
            return
        age = f"{age_s / 3600:.0f} h old" if age_s > 0 else "dated in the future"
        msg = (
            f"submission {request_id} is {age}: the service may have forgotten its ID, and a"
            " replay could pay again"
        )
        hint = _hint_of_candidates(session, record, deadline=deadline)
    raise NotReplayedError(msg, code=OutcomeUnknownError.kind, hint=hint, request_id=request_id)


def _age_s(session: Session, record: Record, *, deadline: float | None) -> float:
    """Return the age of an attempt.

    This machine's clock may have been changed since the attempt, and the service's `Date` may be a
    cache's, so the larger of the two ages counts. But if this machine's clock was wrong at the
    attempt, its age by that clock means nothing.
    """
    age_s = session.now() - record.created_at
    with suppress(OmniEditError):
        service_now = session.service.get_time(deadline=deadline)
        if service_now is not None:
            offset_s = record.clock_offset_s or 0.0
            service_age_s = service_now - record.created_at - offset_s
            was_clock_right = abs(offset_s) <= session.policy.clock_skew_s
            return max(age_s, service_age_s) if was_clock_right else service_age_s
    return age_s


def _hint_of_candidates(session: Session, record: Record, *, deadline: float | None) -> Hint:
    """Show the tasks that an old attempt may have become; return how to settle it."""
    command = record.resume_command
    listed = _tasks_since(session, record, budget_s=session.left_s(deadline))
    others = listed.others
    for task in others:
        session.warn(
            f"the account lists {task.task_id} ({task.shown_status}), not submitted from here"
        )
    if listed.gap is not None:
        session.warn(f"the account may have other tasks: {listed.gap}")
    elif not others and session.service.clock_offset_s is not None:
        but = ", except of submissions from here" if listed.tasks else ""
        session.warn(f"the account lists no task since {_since(session, record)}{but}")
        words = "it was probably never accepted: {} replays it; {} settles it with a task you know"
        return Hint(words, f"{command} --yes", f"{command} --as TASK")
    # Suggest a task only if there is no choice; otherwise only the user can tell.
    is_certain = len(others) == session.journal.count_unsettled() == 1
    candidate = others[0].task_id if is_certain else "TASK"
    words = "{} settles it with a task of the account; {} replays it anyway"
    return Hint(words, f"{command} --as {candidate}", f"{command} --yes")


class _Listed(NamedTuple):
    """What the account's list shows from the time of an attempt on."""

    tasks: list[Task]
    others: list[Task]  # neither the attempt's own task nor known to be submitted from here
    gap: str | None  # why the list may lack tasks: such a list proves no absence


def _tasks_since(session: Session, attempt: Record, *, budget_s: float | None) -> _Listed:
    """Read the account's list back to the time of an attempt, for some seconds at most."""
    tasks: list[Task] = []
    gaps: list[str] = []
    oldest = _oldest_instant(session, attempt)
    models = [attempt.model] if attempt.model else MODELS
    try:
        for task in account_tasks(session, models, budget_s=budget_s, on_missing=gaps.append):
            if task.created_at is not None and task.created_at < oldest:
                break
            tasks.append(task)
    except OmniEditError as error:
        return _Listed([], [], f"the account's list cannot be read: {error.message}")
    if attempt.task and all(task.task_id != attempt.task_id for task in tasks):
        # A list that lags behind would not show a second task either.
        gaps.append(f"the account's list does not even show {task_name(attempt.task_id)}")
    others = [
        task
        for task in tasks
        if task.task_id != attempt.task_id and not _was_submitted_here(session, task)
    ]
    return _Listed(tasks, others, gaps[0] if gaps else None)


def _was_submitted_here(session: Session, task: Task) -> bool:
    # An adopted task does not count: it may come from any submission, even the unsettled one.
    known = session.journal.find_task(task.task_id)
    return known is not None and known.request_id is not None


def _oldest_instant(session: Session, attempt: Record) -> float:
    """Return the earliest time of a task that an attempt may have become, by the service's clock."""
    if attempt.clock_offset_s is None:
        return attempt.created_at - session.policy.unknown_clock_skew_s
    return attempt.created_at + attempt.clock_offset_s - session.policy.clock_skew_s


def _since(session: Session, attempt: Record) -> str:
    return f"{datetime.fromtimestamp(_oldest_instant(session, attempt), UTC):%Y-%m-%d %H:%M} UTC"
