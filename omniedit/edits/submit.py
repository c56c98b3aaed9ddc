"""Submitting an edit, and settling a submission whose outcome is unknown.

Nothing that the service accepted is lost, and nothing is paid twice.
"""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress

from omniedit.edits.reads import read_task, render_oldest_instant, tasks_since
from omniedit.edits.records import find_records
from omniedit.edits.requests import PreparedEdit, check_request_id, is_own_attempt, prepare
from omniedit.edits.sending import (
    INTERRUPTED,
    Sending,
    resume_command,
    warn_of_duplicates,
    was_submitted_here,
)
from omniedit.edits.session import Session
from omniedit.errors import (
    NOTHING_SUBMITTED,
    Hint,
    Interrupted,
    InvalidInputError,
    JournalError,
    NoSuchReferenceError,
    NotReplayedError,
    OmniEditError,
    OutcomeUnknownError,
    RequestRefusedError,
    restored_error,
)
from omniedit.events import Submitted
from omniedit.models import AttemptState, EditRequest, Record, TaskError, task_name


def submit(session: Session, request: EditRequest, *, accepts_old: bool = False) -> Record:
    """Submit an edit, even if it is known already; return its record, with the task.

    Args:
        request: The request, as typed.
        accepts_old: Replay an attempt of the same request ID whose outcome is unknown, no matter
            how old it is.

    Raises:
        OutcomeUnknownError: If the service may or may not have accepted the edit.
        OmniEditError: If the edit was not accepted; the journal records the reason.
    """
    with ExitStack() as locks:
        with refusal_recorded(session, request) as request_id:
            edit = prepare(session, request)
            # If two processes use the same request ID, the second finds the attempt of the first.
            locks.enter_context(session.sending_lock(request_id))
            known = known_submission(session, request_id, edit)
            if known is None:
                _note_known_edit(session, edit)
            attempt = known or new_submission(session, edit, request_id)
        if known is None:
            return Sending(session, attempt, edit).send()
        return settle(session, attempt, accepts_old=accepts_old)


@contextmanager
def refusal_recorded(session: Session, request: EditRequest) -> Generator[str]:
    """Yield the request ID of a call; if the block fails, record the call as a refused attempt.

    Nothing may be sent inside the block.
    """
    request_id = request.request_id or session.new_request_id()
    try:
        yield request_id
    except (OmniEditError, Interrupted) as error:
        reason = INTERRUPTED if isinstance(error, Interrupted) else TaskError.of(error)
        with suppress(JournalError):
            session.journal.record_unsent(
                _new_attempt(session, request, request_id),
                reason,
                context=session.recorded_context,
                fallback_id=session.new_request_id(),
            )
        if isinstance(error, OmniEditError):
            error.about(request_id=request_id)
        else:
            error.hint = NOTHING_SUBMITTED
        raise


def known_submission(session: Session, request_id: str, edit: PreparedEdit) -> Record | None:
    """Return the attempt in the journal with this request ID, unless it was refused.

    Raises:
        InvalidInputError: If the attempt was for another edit, or on another service.
    """
    try:
        known = session.journal.find_attempt(request_id)
    except JournalError:
        if session.requires_journal:
            raise
        return None
    if known is None:
        return None
    if known.body_digest is not None and known.body_digest != edit.digest:
        msg = f"request ID {request_id} was used here for another edit"
        hint = "one request ID stands for one edit: choose another, or leave `--request-id` out"
        raise InvalidInputError(msg, code="request_id_taken", hint=hint)
    if known.is_refused:
        return None
    if known.origin != session.origin:
        msg = f"request ID {request_id} was used here at {known.origin}"
        hint = "a request ID belongs to one service: choose another, or leave `--request-id` out"
        raise InvalidInputError(msg, code="other_origin", hint=hint)
    return known


def new_submission(
    session: Session, edit: PreparedEdit, request_id: str, *, deadline: float | None = None
) -> Record:
    """Return the record of a new submission, after uploading the clip if necessary.

    The caller holds `sending_lock` for the request ID, which must be unused in the journal.

    Raises:
        OmniEditError: If the key is missing, or the clip cannot be uploaded.
    """
    session.require_service()
    clip_url = edit.request.video
    if edit.is_uploaded:
        from omniedit.edits.upload import uploaded_url  # noqa: PLC0415 - a URL needs none of it

        clip_url = uploaded_url(session, edit, deadline=deadline)
    return _new_attempt(session, edit.request, request_id)._replace(
        clock_offset_s=session.service.clock_offset_s,
        identity=edit.identity,
        clip_facts=edit.plan.sent,
        body=edit.body(clip_url=clip_url),
        body_digest=edit.digest,
        clip_sha256=edit.clip_sha256,
        start_s=edit.plan.start_s,
        end_s=edit.plan.end_s,
    )


def resume(session: Session, request_id: str, *, accepts_old: bool = False) -> Record:
    """Settle a submission whose outcome is unknown by replaying its request ID and exact body.

    Args:
        request_id: The request ID of the submission.
        accepts_old: Replay it even if the service may have forgotten the request ID.

    Raises:
        NoSuchReferenceError: If the submission is not in the journal.
        OutcomeUnknownError: If the outcome is still unknown.
        NotReplayedError: If the submission is too old to be replayed.
        OmniEditError: If the submission was refused: the refusal.
    """
    check_request_id(request_id)
    with session.sending_lock(request_id, pays=False):
        record = _known_attempt(session, request_id)
        return settle(session, record, accepts_old=accepts_old)


def settle_as(session: Session, request_id: str, reference: str) -> Record:
    """Settle a submission with the task that the user says it became.

    Args:
        request_id: The request ID of the submission.
        reference: The task's ID, or the end of it.

    Raises:
        NoSuchReferenceError: If the submission is not in the journal, or several tasks match.
        InvalidInputError: If the submission is settled, or cannot have become this task.
        OmniEditError: If the service does not know the task, or does not answer.
    """
    check_request_id(request_id)
    command = f"{resume_command(request_id)} --as TASK"
    [found] = find_records(session, [reference], command=command)
    task_id = str(found.task_id)
    with session.sending_lock(request_id, pays=False):
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
        session.journal.record_accepted(request_id, task, origin=session.origin)
        record_call(session, request_id)
        settled = record.with_task(task)
        session.report(Submitted(record=settled, is_replay=True))
        warn_of_duplicates(session, settled, why="the submission may have been accepted twice")
        return settled


def settle(
    session: Session, record: Record, *, accepts_old: bool = False, deadline: float | None = None
) -> Record:
    """Return the record of a known attempt with its task, replaying it if its outcome is unknown.

    The caller holds `sending_lock` for its request ID.

    Raises:
        OutcomeUnknownError: If the outcome is still unknown.
        NotReplayedError: If the attempt is too old to be replayed.
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
    if session.recorded_context is None:
        return
    with suppress(JournalError):
        session.journal.record_call(session.recorded_context, request_id)


def _new_attempt(session: Session, request: EditRequest, request_id: str) -> Record:
    """Return the record of an attempt that is about to be sent."""
    return Record(
        request_id=request_id,
        task=None,
        status=AttemptState.SENDING,
        created_at=session.now(),
        video=request.shown_video,
        prompt=request.prompt,
        origin=session.origin,
        model=request.model,
        parent=request.parent,
    )


def _note_known_edit(session: Session, edit: PreparedEdit) -> None:
    with suppress(JournalError):
        known = session.journal.find_edit(edit.identity, origin=session.origin)
        if known is not None:
            what = f"is known here: {known.shown_status}"
            if known.task is not None:
                what = f"is known here: {task_name(known.task_id)} ({known.shown_status})"
            elif known.status == AttemptState.UNKNOWN:
                what = f"was submitted as {known.request_id}, with unknown outcome"
            session.note(Hint(f"the same edit {what}; {{}} would not pay again", "edit"))


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
        raise NotReplayedError(msg, code=OutcomeUnknownError.kind, hint=hint, request_id=request_id)
    if not accepts_old:
        if not is_own_attempt(session, request_id):
            # The account of another key may not know the submission, and would pay again.
            msg = f"submission {request_id} was made with another key, and may have been accepted"
            hint = Hint(
                "use that key again; if it was replaced, {} replays it with this one",
                f"{resume_command(request_id)} --yes",
            )
            raise NotReplayedError(
                msg, code=OutcomeUnknownError.kind, hint=hint, request_id=request_id
            )
        _check_age(session, record, deadline=deadline)
    # Inside `Sending` a missing key would become "outcome unknown".
    session.require_service()
    return Sending(session, record).send(deadline=deadline)


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


def _check_age(session: Session, record: Record, *, deadline: float | None) -> None:
    """Refuse to replay an attempt that the service may have forgotten; show what it may have become.

    This machine's clock may have been changed since the attempt, and the service's `Date` may be a
    cache's, so the larger of the two ages counts. But if this machine's clock was wrong at the
    attempt, its age by that clock means nothing.

    Raises:
        NotReplayedError: If the attempt is too old, or dated in the future.
    """
    age_s = session.now() - record.created_at
    with suppress(OmniEditError):
        service_now = session.service.get_time(deadline=deadline)
        if service_now is not None:
            offset_s = record.clock_offset_s or 0.0
            service_age_s = service_now - record.created_at - offset_s
            was_clock_right = abs(offset_s) <= session.policy.clock_skew_s
            age_s = max(age_s, service_age_s) if was_clock_right else service_age_s
    # If the attempt is dated in the future, its age is unknown: treat it as too old.
    if -session.policy.clock_skew_s <= age_s <= session.policy.replay_window_s:
        return
    found = _show_candidates(session, record, deadline=deadline)
    candidates = found or []
    unsettled = [each for each in session.journal.recent() if each.is_unsettled]
    # Suggest a task only if there is no choice; otherwise only the user can tell.
    is_certain = len(candidates) == len(unsettled) == 1
    candidate = candidates[0] if is_certain else "TASK"
    request_id = record.request_id or ""
    age = f"{age_s / 3600:.0f} h old" if age_s > 0 else "dated in the future"
    msg = (
        f"submission {request_id} is {age}: the service may have forgotten its ID, and a"
        " replay could pay again"
    )
    settle = f"{resume_command(request_id)} --as {candidate}"
    replay_anyway = f"{resume_command(request_id)} --yes"
    hint = Hint(
        "{} settles it with a task of the account; {} replays it anyway", settle, replay_anyway
    )
    if found == []:
        words = "it was probably never accepted: {} replays it; {} settles it with a task you know"
        hint = Hint(words, replay_anyway, settle)
    raise NotReplayedError(msg, code=OutcomeUnknownError.kind, hint=hint, request_id=request_id)


def _show_candidates(
    session: Session, record: Record, *, deadline: float | None
) -> list[str] | None:
    """Show the account's tasks since an attempt, and return those not submitted from here.

    None if there are none, but the list may lack some.
    """
    candidates: list[str] = []
    try:
        tasks, gap = tasks_since(session, record, budget_s=session.left_s(deadline))
    except OmniEditError as error:
        session.warn(f"the account's tasks cannot be read: {error.message}")
        return None
    for task in tasks:
        if not was_submitted_here(session, task):
            candidates.append(task.task_id)
            session.warn(
                f"the account lists {task.task_id} ({task.shown_status}), not submitted from here"
            )
    if gap is not None:
        session.warn(f"the account's list may lack tasks: {gap}")
    elif not candidates and session.service.clock_offset_s is not None:
        since = render_oldest_instant(session, record)
        but = ", except of submissions from here" if tasks else ""
        session.warn(f"the account lists no task since {since}{but}")
        return candidates
    return candidates or None
