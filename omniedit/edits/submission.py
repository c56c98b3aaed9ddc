"""Submitting an edit so that nothing accepted is lost and nothing is paid twice."""

import shlex
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress

from omniedit.edits.ports import Session
from omniedit.edits.requests import (
    Draft,
    body_digest_of,
    identity_of,
    is_uploaded,
    parse_draft,
    render_body,
)
from omniedit.edits.resuming import replay, resume_command, sending_lock
from omniedit.edits.sending import INTERRUPTED, Sending, as_task_error
from omniedit.edits.uploading import uploaded_clip
from omniedit.errors import (
    Interrupted,
    InvalidInputError,
    JournalError,
    LocalError,
    OmniEditError,
)
from omniedit.events import Noted, Warned
from omniedit.journal import Attempt
from omniedit.models import EditRequest, Record, Task, TaskError, TaskStatus
from omniedit.policy import DEFAULT


def submit(session: Session, draft: Draft, *, accepts_old: bool = False) -> Record:
    """Submit an edit, whatever is known of it; return the task it became.

    Args:
        session: What it calls on.
        draft: The edit as typed.
        accepts_old: Replay an unknown attempt of the same request ID however old it is.

    Raises:
        OutcomeUnknownError: The service may or may not have accepted it.
        OmniEditError: It was not accepted; the journal says why.
    """
    request_id = draft.request_id or session.new_request_id()
    with refusal_recorded(session, request_id, draft):
        request = parse_draft(session, draft)
    # Two that use one request ID at once: the second one finds what the first one did.
    with sending_lock(session, request_id):
        with refusal_recorded(session, request_id, draft):
            known = known_submission(session, request_id, request)
        if known is not None:
            return replay(session, known, accepts_old=accepts_old)
        _note_known_edit(session, request)
        return submit_new(session, draft, request, request_id=request_id)


def submit_new(
    session: Session,
    draft: Draft,
    request: EditRequest,
    *,
    request_id: str,
    budget_s: float = DEFAULT.submit_budget_s,
) -> Record:
    """Upload the clip where it is local, write the attempt down, send it; return its task.

    The caller holds `sending_lock` for the request ID.

    Args:
        session: What it calls on.
        draft: The edit as typed, for the journal should it end before anything is sent.
        request: The same, checked.
        request_id: Not yet used here.
        budget_s: How long to go on while certainly nothing was accepted, 2 minutes at most.

    Raises:
        OutcomeUnknownError: The service may or may not have accepted it.
        OmniEditError: It was not accepted.
    """
    with refusal_recorded(session, request_id, draft):
        attempt = _prepare(session, request, request_id=request_id)
    is_written = _write_ahead(session, attempt)
    record = Record(
        request_id=request_id,
        task=None,
        status=TaskStatus.SENDING,
        created_at=session.now(),
        video=request.video,
        prompt=request.prompt,
        identity=attempt.identity,
        origin=attempt.origin,
        body=attempt.body,
    )
    sending = Sending(session, record, way_back=_way_back(attempt, is_written=is_written))
    sent = sending.send(deadline=session.monotonic() + min(budget_s, DEFAULT.submit_budget_s))
    if request.estimated_credits is not None and sent.task is not None:
        cost = render_cost(request.estimated_credits, [sent.task])
        session.report(Noted(message=f"{cost}; the limit caps the estimate, not the charge"))
    return sent


def known_submission(session: Session, request_id: str, request: EditRequest) -> Record | None:
    """Return the attempt that holds a request ID here, unless it was refused.

    Raises:
        InvalidInputError: It asks for something else; nothing is sent.
    """
    try:
        known = session.journal.find_attempt(request_id)
    except JournalError:
        if session.requires_journal:
            raise
        return None
    if known is None:
        return None
    if known.body_digest is not None and known.body_digest != body_digest_of(request):
        msg = f"request ID {request_id} was used here for another edit"
        hint = "one request ID stands for one edit: choose another, or leave `--request-id` out"
        raise InvalidInputError(msg, code="request_id_taken", hint=hint)
    return None if known.status == TaskStatus.REFUSED else known


@contextmanager
def refusal_recorded(session: Session, request_id: str, draft: Draft) -> Generator[None]:
    """Make a call an attempt also when it ends in the block, before anything was sent."""
    try:
        yield
    except OmniEditError as error:
        _record_refusal(session, request_id, draft, as_task_error(error))
        error.about(request_id=request_id)
        raise
    except Interrupted:
        _record_refusal(session, request_id, draft, INTERRUPTED)
        raise


def _record_refusal(session: Session, request_id: str, draft: Draft, error: TaskError) -> None:
    journal = session.journal
    with suppress(JournalError):
        if journal.find_attempt(request_id) is not None:
            # The ID is another attempt's, which keeps its row.
            request_id = session.new_request_id()
        journal.record_attempt(
            Attempt(
                request_id=request_id,
                origin=session.origin,
                identity=None,
                request=EditRequest(video=draft.video, clip="", prompt=draft.prompt),
                body=None,
                body_digest=None,
                context=session.context,
                clip_url="",
            )
        )
        journal.record_refused(request_id, error)


def _prepare(session: Session, request: EditRequest, *, request_id: str) -> Attempt:
    # A missing key is found before anything is uploaded.
    _ = session.service
    clip_url = uploaded_clip(session, request) if is_uploaded(request) else request.video
    return Attempt(
        request_id=request_id,
        origin=session.origin,
        identity=identity_of(request),
        request=request,
        body=render_body(request, clip_url=clip_url),
        body_digest=body_digest_of(request),
        context=session.context,
        clip_url=clip_url,
    )


def render_cost(estimated: float, tasks: Sequence[Task]) -> str:
    """Return what tasks were estimated at, what is reserved for them, and what they were charged."""
    reserved = [task.credits_reserved for task in tasks]
    charged = [task.credits_used for task in tasks]
    parts = [f"estimated {estimated:.1f} credits", f"reserved {_sum_of(reserved)}"]
    if any(task.is_terminal for task in tasks):
        parts.append(f"charged {_sum_of(charged)}")
    return ", ".join(parts)


def _sum_of(amounts: Sequence[float | None]) -> str:
    known = [amount for amount in amounts if amount is not None]
    return "unknown" if len(known) < len(amounts) else f"{sum(known):g}"


def _note_known_edit(session: Session, request: EditRequest) -> None:
    with suppress(JournalError):
        known = session.journal.find_edit(identity_of(request), origin=session.origin)
        if known is not None:
            what = f"task {known.task_id} ({known.status})" if known.task else known.status
            session.report(
                Noted(
                    message=f"the same edit is known here: {what}; `omniedit edit` would not pay again"
                )
            )


def _write_ahead(session: Session, attempt: Attempt) -> bool:
    """Write an attempt down before it is sent; return whether it outlives this process."""
    try:
        session.journal.record_attempt(attempt)
    except LocalError as error:
        if session.requires_journal:
            raise
        session.report(Warned(message=f"{error.message}; the submission goes on without it"))
        return False
    return session.has_journal


def _way_back(attempt: Attempt, *, is_written: bool) -> str:
    """Return the command that settles an attempt; without a journal it carries everything."""
    if is_written:
        return resume_command(attempt.request_id)
    edit = [attempt.clip_url, attempt.request.prompt]
    options = ["--request-id", attempt.request_id]
    if attempt.request.callback_url:
        options = ["--callback-url", attempt.request.callback_url, *options]
    is_like_option = attempt.request.prompt.startswith("-")
    words = [*options, "--", *edit] if is_like_option else [*edit, *options]
    return shlex.join(["omniedit", "submit", *words])
