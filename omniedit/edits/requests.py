"""From what was typed to what is sent: checks, identity, and the exact body."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from omniedit.edits.clips import Wishes, plan_clip
from omniedit.edits.ports import Session
from omniedit.errors import InvalidInputError, MissingFileError
from omniedit.http.urls import check_callback_url, check_clip_url
from omniedit.models import MODEL, EditRequest

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{16,96}")
_SANDBOX_MARKER: Final = re.compile(r"\[sandbox:", re.IGNORECASE)
_SCHEMELESS: Final = re.compile(r"[\w-]+(?:\.[\w-]+)*\.[A-Za-z]{2,}/")
"""A host and a slash, as browsers show a URL."""
_CLIP_NAME: Final = re.compile(r"https?://\S+|\S+\.(?:mp4|m4v|mov|webm|mkv|avi)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An edit as it was typed, not yet looked at."""

    video: str
    prompt: str
    callback_url: str | None = None
    request_id: str | None = None
    wishes: Wishes = field(default_factory=Wishes)
    take: int | None = None
    source: str | None = None  # path of the clip of a URL, where it was fetched before


def is_local(video: str) -> bool:
    """Return whether VIDEO is a path on this machine rather than a URL."""
    # One letter is a drive of Windows.
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", video) is None


def clip_name(video: str) -> str:
    """Return the name of a clip's file, at the end of its path or URL."""
    return Path(video).name if is_local(video) else unquote(urlsplit(video).path).rpartition("/")[2]


def is_uploaded(request: EditRequest) -> bool:
    """Return whether the service gets a file from here, rather than the clip's own URL."""
    return is_local(request.video) or request.is_written_anew


def check_request_id(text: str) -> None:
    """Refuse a request ID that cannot travel as `Idempotency-Key`.

    Raises:
        InvalidInputError: It is none.
    """
    if not _REQUEST_ID.fullmatch(text):
        msg = "a request ID is 16 to 96 characters of `A-Z a-z 0-9 . _ -`"
        raise InvalidInputError(msg, code="invalid_request_id")


def parse_draft(session: Session, draft: Draft) -> EditRequest:
    """Return the edit that a draft asks for; nothing is sent to find out.

    Raises:
        InvalidInputError: The draft is wrong, with what is wrong about it.
        LocalError: The clip cannot be read.
    """
    if draft.request_id is not None:
        check_request_id(draft.request_id)
    _check_prompt(draft.prompt, is_sandbox=session.is_sandbox)
    if draft.callback_url is not None:
        check_callback_url(draft.callback_url, allow_internal=session.is_sandbox)
    _check_clip(session, draft)
    # Looked at before it is read whole: a film of hours is refused at once.
    plan = plan_clip(
        session,
        draft.video,
        draft.wishes,
        is_local=is_local(draft.video),
        source=draft.source,
    )
    return EditRequest(
        video=draft.video,
        clip=_identify_clip(session, draft),
        prompt=draft.prompt,
        callback_url=draft.callback_url,
        # To begin at 0 is to begin at the beginning.
        start=repr(plan.start_s) if plan.start_s else None,
        end=None if plan.end_s is None else repr(plan.end_s),
        take=draft.take,
        source=draft.source,
        is_written_anew=plan.is_written_anew,
        estimated_credits=plan.estimated_credits,
    )


def identity_of(request: EditRequest) -> str:
    """Return what makes two edits the same: clip, prompt, cut marks, take and model, hashed."""
    parts = [request.clip, request.prompt, request.start, request.end, MODEL]
    if request.take is not None:
        parts.append(str(request.take))
    return digest_of(parts)


def body_digest_of(request: EditRequest) -> str:
    """Return what makes two submissions the same under one request ID.

    Unlike the identity it knows the callback; unlike the body it does not know where a local
    clip was uploaded to.
    """
    parts = [identity_of(request), request.callback_url]
    return digest_of(parts)


def digest_of(parts: Sequence[object]) -> str:
    """Return what tells values that JSON can hold from all others, as 64 hex digits."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def render_body(request: EditRequest, *, clip_url: str) -> bytes:
    """Return the exact JSON of a submission (API reference, GeminiOmniFlashVideoEditRequest)."""
    body: dict[str, object] = {
        "model": MODEL,
        "prompt": request.prompt,
        "video_urls": [clip_url],
    }
    if request.callback_url is not None:
        body["callback_url"] = request.callback_url
    return json.dumps(body).encode()


def _check_prompt(prompt: str, *, is_sandbox: bool) -> None:
    if not prompt.strip():
        msg = "the prompt is empty"
        hint = (
            'say what to change and what to keep: "warmer lighting, keep everything else unchanged"'
        )
        raise InvalidInputError(msg, code="empty_prompt", hint=hint)
    try:
        prompt.encode()
    except UnicodeEncodeError:
        # What argv holds of bytes that are no UTF-8 (PEP 383) has no form in JSON.
        msg = "the prompt is not valid UTF-8 text"
        raise InvalidInputError(msg, code="invalid_prompt") from None
    if not is_sandbox and _SANDBOX_MARKER.search(prompt):
        msg = "the prompt holds a `[sandbox:…]` marker, which the real service would take for text"
        hint = "add `--sandbox`, or remove the marker"
        raise InvalidInputError(msg, code="sandbox_marker", hint=hint)


def _check_clip(session: Session, draft: Draft) -> None:
    if not is_local(draft.video):
        check_clip_url(draft.video, allow_internal=session.allows_internal_clips)
    elif not draft.video:
        msg = "VIDEO is empty"
        raise InvalidInputError(msg, code="invalid_url")
    elif not _exists(Path(draft.video)):
        msg = f"no such file: {draft.video}"
        hint = "VIDEO is an http(s) URL or the path of a local clip"
        if _CLIP_NAME.fullmatch(draft.prompt):
            hint = "VIDEO comes first, then PROMPT: these two look swapped"
        elif _SCHEMELESS.match(draft.video):
            hint = f"a URL begins with its scheme: https://{draft.video}"
        raise MissingFileError(msg, hint=hint)
    elif not session.clips.can_look:
        # All that is known of it then comes from its first bytes.
        _identify_clip(session, draft)


def _identify_clip(session: Session, draft: Draft) -> str:
    if not is_local(draft.video):
        return draft.video
    # With the extra, what is not MP4 is converted.
    check = draft.wishes.check is not False and not session.clips.can_look
    return f"sha256:{session.clips.digest(Path(draft.video), check=check)}"


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        # A name that no file can have, or a folder that cannot be entered.
        msg = f"cannot read {str(path)[:80]}: {error.strerror}"
        raise MissingFileError(msg) from None
