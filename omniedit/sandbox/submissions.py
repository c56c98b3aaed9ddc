"""`POST /v1/videos/generations`: the rules, the faults, and one task per request key."""

from __future__ import annotations

import hashlib
import json
import secrets
from http import HTTPStatus
from typing import TYPE_CHECKING

from omniedit.sandbox.clips import uploaded_file_id
from omniedit.sandbox.exchange import BrokenConnectionError, json_reply
from omniedit.sandbox.lifecycle import MODEL, Edit, Status, task_object
from omniedit.sandbox.refusals import Refusal
from omniedit.sandbox.results import link_to
from omniedit.sandbox.rules import Submission, parse_request_key, parse_submission
from omniedit.sandbox.store import IdempotencyConflictError, InsufficientCreditsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from werkzeug.wrappers import Response

    from omniedit.sandbox.exchange import Context, Exchange

_ID_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


def submit(context: Context, exchange: Exchange) -> Response:
    """Accept one edit, or refuse it as its markers ask.

    Raises:
        Refusal: a rule is broken, or a marker asks for it.
        BrokenConnectionError: a marker asks that the reply be lost.
    """
    request_key = parse_request_key(exchange.headers.get("Idempotency-Key"))
    body = exchange.read_json_object()
    submission = parse_submission(body)
    digest = _digest(body)
    # Without a key of its own a request is known by its body.
    attempt = context.store.count_attempt(request_key or f"body:{digest}")
    # A lost reply may be any reply: that of a refusal, too.
    is_lost = submission.faults.reply_is_lost and attempt == 1
    try:
        edit, is_replay = _accept(
            context, submission, request_key=request_key, digest=digest, attempt=attempt
        )
    except Refusal as refusal:
        if is_lost:
            exchange.fault = f"lost-reply of {refusal.status}"
            raise BrokenConnectionError from refusal
        raise
    exchange.task_id = edit.task_id
    if is_lost:
        exchange.fault = "lost-reply"
        raise BrokenConnectionError
    link = link_to(edit, origin=exchange.link_origin, secret=context.secret)
    return json_reply(
        task_object(edit, now=context.clock(), link=link),
        headers={"Idempotency-Replayed": "true"} if is_replay else {},
    )


def _accept(
    context: Context,
    submission: Submission,
    *,
    request_key: str | None,
    digest: str,
    attempt: int,
) -> tuple[Edit, bool]:
    faults = submission.faults
    if faults.http_status is not None and faults.refuses(attempt):
        is_rate_limit = faults.http_status == HTTPStatus.TOO_MANY_REQUESTS
        raise Refusal(faults.http_status, headers={"Retry-After": "1"} if is_rate_limit else {})
    edit = _plan(context, submission)
    try:
        accepted, is_replay = context.store.accept(
            edit, request_key=request_key, body_digest=digest, is_cut=faults.download_is_cut
        )
    except IdempotencyConflictError as error:
        context.clips.remove(task_ids=[edit.task_id])
        raise Refusal(HTTPStatus.CONFLICT) from error
    except InsufficientCreditsError as error:
        context.clips.remove(task_ids=[edit.task_id])
        raise Refusal(HTTPStatus.PAYMENT_REQUIRED) from error
    if is_replay:
        context.clips.remove(task_ids=[edit.task_id])
    return accepted, is_replay


def _plan(context: Context, submission: Submission) -> Edit:
    faults, now = submission.faults, context.clock()
    seconds = context.edit_seconds if faults.seconds is None else faults.seconds
    duration_s = seconds * context.time_scale
    task_id = f"task-unified-{int(now)}-{''.join(secrets.choice(_ID_ALPHABET) for _ in range(8))}"
    ends_as: Status | None = Status.COMPLETED
    if faults.is_stalled:
        ends_as = None
    elif faults.is_cancelled:
        ends_as = Status.CANCELLED
    elif faults.fail_code:
        ends_as = Status.FAILED
    return Edit(
        task_id=task_id,
        model=MODEL,
        prompt=submission.prompt,
        video_url=submission.video_url,
        callback_url=submission.callback_url,
        created_at=now,
        duration_s=duration_s,
        ends_as=ends_as,
        fail_code="request_cancelled" if faults.is_cancelled else faults.fail_code,
        link_until=now + duration_s + (0 if faults.link_is_dead else context.link_ttl_s),
        clip_etag=_keep_upload(context, task_id, submission.video_url, now=now),
    )


def _keep_upload(context: Context, task_id: str, video_url: str, *, now: float) -> str | None:
    """Keep the uploaded clip as the task's result; return its digest, or None for the bundled."""
    file_id = uploaded_file_id(video_url)
    upload = context.store.upload(file_id, now=now) if file_id else None
    # A result is always an MP4, whatever was uploaded.
    if upload is None or upload.mime_type == "video/webm":
        return None
    return upload.sha256 if context.clips.keep_result(task_id, upload.file_id) else None


def _digest(body: Mapping[str, object]) -> str:
    # The same JSON in another order or spacing is the same body.
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
