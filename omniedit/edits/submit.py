"""Submitting an edit so that nothing accepted is lost and nothing is paid twice."""

import json
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial

from omniedit.edits.replay import replay
from omniedit.edits.requests import PreparedEdit, digest_of_key, prepare
from omniedit.edits.sending import (
    INTERRUPTED,
    Sending,
    as_task_error,
    note_nothing_submitted,
    resume_command,
    sending_lock,
)
from omniedit.edits.session import Session
from omniedit.errors import (
    Hint,
    Interrupted,
    InvalidInputError,
    JournalError,
    LocalError,
    ModelRefusedError,
    OmniEditError,
)
from omniedit.models import AttemptState, EditRequest, Record, TaskError, task_name
from omniedit.sanitize import quoted


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
            locks.enter_context(sending_lock(session, request_id))
            known = known_submission(session, request_id, edit)
            if known is None:
                _note_known_edit(session, edit)
            attempt = known or new_submission(session, edit, request_id)
        if known is None:
            return send(session, edit, attempt)
        return replay(session, attempt, accepts_old=accepts_old)


@contextmanager
def refusal_recorded(session: Session, request: EditRequest) -> Generator[str]:
    """Yield the request ID of a call; if the block fails, record the call as a refused attempt.

    Nothing may be sent inside the block.
    """
    request_id = request.request_id or session.new_request_id()
    try:
        yield request_id
    except OmniEditError as error:
        _record_refusal(session, request_id, request, as_task_error(error))
        error.about(request_id=request_id)
        raise
    except Interrupted:
        _record_refusal(session, request_id, request, INTERRUPTED)
        note_nothing_submitted(session)
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
    # Raise for a missing key before anything is uploaded.
    _ = session.service
    clip_url = edit.request.video
    if edit.is_uploaded:
        from omniedit.edits.upload import uploaded_url  # noqa: PLC0415 - a URL needs none of it

        clip_url = uploaded_url(session, edit, deadline=deadline)
    return Record(
        request_id=request_id,
        task=None,
        status=AttemptState.SENDING,
        created_at=session.now(),
        clock_offset_s=session.service.clock_offset_s,
        video=edit.request.shown_video,
        prompt=edit.request.prompt,
        identity=edit.identity,
        origin=session.origin,
        model=edit.request.model,
        clip=edit.sent,
        body=edit.body(clip_url=clip_url),
        body_digest=edit.digest,
        clip_sha256=edit.clip_sha256,
        start_s=edit.start_s,
        end_s=edit.end_s,
        parent=edit.request.parent,
    )


def send(
    session: Session, edit: PreparedEdit, attempt: Record, *, deadline: float | None = None
) -> Record:
    """Record a submission in the journal, send it, and return its record, with the task.

    Args:
        edit: The edit to submit.
        attempt: The submission; the caller holds the lock of its request ID.
        deadline: A monotonic instant after which no attempt begins; the policy's budget may end
            earlier.

    Raises:
        OutcomeUnknownError: If the service may or may not have accepted the submission.
        OmniEditError: If the submission was not accepted.
    """
    sending = Sending(
        session,
        attempt,
        write_ahead=partial(_write_ahead, session, edit, attempt),
        estimated_credits=edit.estimated_credits,
    )
    try:
        return sending.send(deadline=deadline)
    except ModelRefusedError as error:
        error.hint = _other_model_hint(edit.request, suggestion=error.hint)
        raise


def _other_model_hint(request: EditRequest, *, suggestion: str | None) -> str:
    """Return a hint with the setting that chose the refused model, and how to choose another."""
    kind, _, name = request.model_source.partition(": ")
    source = {"default": "omniedit's default", "file": f"`model` in {name}"}.get(kind, name)
    suggested = f"; the service suggests {suggestion}" if suggestion else ""
    place = "there" if kind == "manifest" else "with `--model ID`"
    return f"{request.model} was chosen by {source}{suggested}; choose another {place}"


def _record_refusal(
    session: Session, request_id: str, request: EditRequest, error: TaskError
) -> None:
    attempt = Record(
        request_id=request_id,
        task=None,
        status=AttemptState.REFUSED,
        created_at=session.now(),
        video=request.shown_video,
        prompt=request.prompt,
        origin=session.origin,
        model=request.model,
        parent=request.parent,
    )
    with suppress(JournalError):
        session.journal.record_unsent(
            attempt, error, context=session.context, fallback_id=session.new_request_id()
        )


def _note_known_edit(session: Session, edit: PreparedEdit) -> None:
    with suppress(JournalError):
        known = session.journal.find_edit(edit.identity, origin=session.origin)
        if known is not None:
            what = known.shown_status
            if known.task is not None:
                what = f"{task_name(known.task_id)} ({what})"
            session.note(
                Hint(f"the same edit is known here: {what}; {{}} would not pay again", "edit")
            )


def _write_ahead(session: Session, edit: PreparedEdit, attempt: Record) -> str:
    """Record a submission before it is sent; return its recovery command."""
    try:
        session.journal.record_attempt(
            attempt,
            context=session.context,
            key_digest=digest_of_key(session.connection.key),
        )
    except LocalError as error:
        if session.requires_journal:
            raise
        session.warn(f"{error.message}; submitting without it")
    else:
        if session.has_journal:
            return resume_command(attempt.request_id or "")
    return _whole_command(edit.request, attempt)


def _whole_command(request: EditRequest, attempt: Record) -> str:
    """Return the recovery command for a submission without a journal: the complete `submit`."""
    options = ["--request-id", attempt.request_id or ""]
    if request.model_source != "default":
        options = ["--model", request.model, *options]
    if request.callback_url:
        options = ["--callback-url", request.callback_url, *options]
    # Take the URL from the body: it may be an upload, which the request does not know.
    positional = [*json.loads(attempt.body or b"")["video_urls"], request.prompt]
    is_like_option = request.prompt.startswith("-")
    words = [*options, "--", *positional] if is_like_option else [*positional, *options]
    return quoted("submit", *words)
