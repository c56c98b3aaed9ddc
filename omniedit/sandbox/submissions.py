"""`POST /v1/videos/generations`: the published rules, the markers, and one task per request key."""

import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from http import HTTPStatus
from typing import NamedTuple, cast
from urllib.parse import urlsplit

from werkzeug.wrappers import Response

from omniedit.sandbox.clips import keep_result
from omniedit.sandbox.exchange import (
    BrokenConnectionError,
    Exchange,
    Refusal,
    Service,
    is_internal,
    json_reply,
    loopback_address,
    parse_web_url,
    refuse,
)
from omniedit.sandbox.store import Edit, Status, Upload, remove_files
from omniedit.sandbox.tasks import task_object

CALLBACK_LIMIT_CHARS = 2048
MODELS = ("gemini-omni-flash-video-edit", "gemini-omni-1.1-flash-video-edit")
MAX_CLIP_S = 10.0
# 5,792 tokens per second each way; 86.7 credits per million input tokens, 1,011.5 for output.
CREDITS_PER_SECOND = 5_792 * (86.7 + 1_011.5) / 1e6
# A clip that the sandbox does not hold is reserved as one length and charged as a shorter one, so
# that a client that confuses the two amounts is found out.
_RESERVED_LENGTH_S = 5.0
_CHARGED_LENGTH_S = 4.9
# A clip may exceed the limit by one frame, but by no more than this.
_LARGEST_OVERRUN_S = 0.25
_FIELDS = ("model", "prompt", "video_urls", "callback_url")
_UNSUPPORTED = ("duration", "aspect_ratio", "negative_prompt")
_REQUEST_KEY = re.compile(r"[A-Za-z0-9._-]{16,96}")
_UPLOAD_PATH = re.compile(r"/files/(file_[0-9a-f]{16})/[^/]*")

Faults = Mapping[str, str]  # the value of each marker by its name, empty if it takes none


class Marker(NamedTuple):
    """One marker; `omniedit help sandbox` tells what it does."""

    usage: str
    value: str | None = None  # a pattern, if the marker takes a value

    @property
    def name(self) -> str:
        """The marker's name, without its value."""
        return re.split(r"[=\]]", self.usage.removeprefix("[sandbox:"))[0]


MARKERS = (
    Marker("[sandbox:fail=CODE]", r"[a-z0-9_]{1,64}"),
    Marker("[sandbox:cancel]"),
    Marker("[sandbox:empty]"),
    Marker("[sandbox:http=429] or [sandbox:http=503*2]", r"[45][0-9]{2}(\*[1-9][0-9]{0,2})?"),
    Marker("[sandbox:retired]"),
    Marker("[sandbox:seconds=3]", r"[0-9]{1,5}(\.[0-9]{1,6})?"),
    Marker("[sandbox:stall]"),
    Marker("[sandbox:as-served]"),
    Marker("[sandbox:expired]"),
    Marker("[sandbox:cut]"),
    Marker("[sandbox:lost-reply]"),
)
_MARKER = re.compile(r"\[sandbox:([^\]]*)(\]?)", re.IGNORECASE)
_KNOWN = {marker.name: marker for marker in MARKERS}
# The final status of a task; a task ends only once, so these exclude each other.
_ENDS = {
    "fail": Status.FAILED,
    "cancel": Status.CANCELLED,
    "stall": None,
    "empty": Status.COMPLETED,
}


class Submission(NamedTuple):
    """A valid submission."""

    model: str
    prompt: str
    video_url: str
    callback_url: str | None
    faults: Faults


def submit(service: Service, exchange: Exchange) -> Response:
    """Accept one edit, refuse it, or lose the reply, as the rules and its markers require."""
    request_key = exchange.headers.get("Idempotency-Key")
    if request_key is not None and not _REQUEST_KEY.fullmatch(request_key):
        message = "Idempotency-Key must be 16 to 96 characters of A-Z, a-z, 0-9, `.`, `_`, `-`"
        refuse("Idempotency-Key", message)
    body = exchange.read_json_object()
    submission = parse_submission(body)
    # The same JSON in another order or spacing is the same body.
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    # Without a key, a submission is identified by its body.
    attempt = service.store.count_attempt(request_key or f"body:{digest}")
    is_lost = "lost-reply" in submission.faults and attempt == 1
    try:
        _refuse_as_asked(submission, attempt=attempt)
        edit = _plan(service, submission, request_key=request_key, digest=digest)
        accepted = _accept(service, edit)
    except Refusal as refusal:
        # The lost reply may also be a refusal.
        if is_lost:
            exchange.fault = f"lost-reply of {refusal.status}"
            raise BrokenConnectionError from refusal
        raise
    exchange.task_id = accepted.task_id
    if is_lost:
        exchange.fault = "lost-reply"
        raise BrokenConnectionError
    headers = {} if accepted is edit else {"Idempotency-Replayed": "true"}
    shown = task_object(service, accepted, origin=exchange.link_origin)
    return json_reply(shown, headers=headers)


def parse_submission(body: Mapping[str, object]) -> Submission:
    """Return the submission in `body`, or refuse it, naming the parameter at fault."""
    for name in body:
        if name in _UNSUPPORTED:
            refuse(name, f"`{name}` is not supported in video editing mode")
        if name not in _FIELDS:
            refuse(name[:64], "Unknown parameter")
    for name in _FIELDS[:3]:
        if name not in body:
            refuse(name, f"`{name}` is required")
    prompt = body["prompt"]
    if not isinstance(prompt, str) or not prompt.strip():
        refuse("prompt", "`prompt` must be a non-empty string")
    return Submission(
        model=_parse_model(body["model"]),
        prompt=prompt,
        video_url=_parse_video_urls(body["video_urls"]),
        callback_url=_parse_callback(body["callback_url"]) if "callback_url" in body else None,
        faults=parse_markers(prompt),
    )


def parse_markers(prompt: str) -> Faults:
    """Return the faults that the markers in `prompt` ask for.

    Raises:
        Refusal: If a marker is unknown, malformed, given twice, or contradicts another.
    """
    faults: dict[str, str] = {}
    for found in _MARKER.finditer(prompt):
        name, equals, value = (part.strip() for part in found[1].lower().partition("="))
        marker = _KNOWN.get(name) if found[2] else None
        if marker is None or bool(equals) == (marker.value is None):
            usages = ", ".join(marker.usage for marker in MARKERS)
            refuse("prompt", f"unknown marker `{found[0][:60]}`; known: {usages}")
        if marker.value is not None and not re.fullmatch(marker.value, value):
            refuse("prompt", f"invalid value in `{found[0][:60]}`; write {marker.usage}")
        if name in faults:
            refuse("prompt", f"marker `{name}` is given twice")
        faults[name] = value
    ends = [f"`{name}`" for name in _ENDS if name in faults]
    if len(ends) > 1:
        refuse("prompt", f"markers {', '.join(ends)} exclude each other")
    return faults


def _parse_model(value: object) -> str:
    if not isinstance(value, str):
        refuse("model", "`model` must be a string")
    if value not in MODELS:
        message = f"The model `{value[:128]}` does not exist"
        refuse("model", message, code="model_not_found", fallback_suggestion=MODELS[0])
    return value


def _parse_video_urls(value: object) -> str:
    urls = cast("list[object]", value) if isinstance(value, list) else []
    url = urls[0] if len(urls) == 1 else None
    if not isinstance(url, str) or parse_web_url(url) is None:
        refuse("video_urls", "`video_urls` must be an array of exactly one http or https URL")
    return url


def _parse_callback(value: object) -> str:
    if not isinstance(value, str) or len(value) > CALLBACK_LIMIT_CHARS:
        limit = f"at most {CALLBACK_LIMIT_CHARS} characters"
        refuse("callback_url", f"`callback_url` must be a string of {limit}")
    parts = parse_web_url(value)
    host = (parts.hostname or "") if parts else ""
    is_public = parts is not None and parts.scheme == "https" and not is_internal(host)
    # With a sandbox key, a receiver on this machine is accepted, even without TLS.
    if not (is_public or loopback_address(host)):
        refuse("callback_url", "`callback_url` must be an https URL of a public host")
    return value


def _refuse_as_asked(submission: Submission, *, attempt: int) -> None:
    status, _, times = submission.faults.get("http", "").partition("*")
    if status and (not times or attempt <= int(times)):
        is_rate_limit = int(status) == HTTPStatus.TOO_MANY_REQUESTS
        raise Refusal(int(status), None, {"Retry-After": "1"} if is_rate_limit else {})
    if "retired" in submission.faults:
        message = f"The model `{submission.model}` was retired"
        other = next(model for model in MODELS if model != submission.model)
        refuse("model", message, code="model_retired", fallback_suggestion=other)


def _accept(service: Service, edit: Edit) -> Edit:
    accepted = service.store.accept(edit, service.request_keys)
    if accepted is not edit:
        remove_files([service.store.result_path(edit.task_id)])
    if isinstance(accepted, HTTPStatus):
        raise Refusal(accepted)
    return accepted


def _plan(
    service: Service, submission: Submission, *, request_key: str | None, digest: str
) -> Edit:
    faults = submission.faults
    now = service.clock()
    duration_s = float(faults.get("seconds", service.edit_seconds)) * service.time_scale
    task_id = f"task-unified-{int(now)}-{secrets.token_hex(4)}"
    final_status = next((_ENDS[name] for name in faults if name in _ENDS), Status.COMPLETED)
    upload = _find_upload(service, submission.video_url)
    length_s = upload.length_s if upload else None
    reserved_s = _RESERVED_LENGTH_S if length_s is None else length_s
    charged_s = _CHARGED_LENGTH_S if length_s is None else length_s
    return Edit(
        task_id=task_id,
        model=submission.model,
        prompt=submission.prompt,
        video_url=submission.video_url,
        callback_url=submission.callback_url,
        created_at=now,
        duration_s=duration_s,
        final_status=final_status,
        fail_code="request_cancelled" if "cancel" in faults else faults.get("fail"),
        is_empty="empty" in faults,
        link_until=now + duration_s + (0 if "expired" in faults else service.link_ttl_s),
        result_etag=keep_result(
            service.store,
            task_id,
            # A result is always an MP4, whatever was uploaded.
            upload.file_id if upload and upload.mime_type != "video/webm" else None,
            is_as_served="as-served" in faults,
        ),
        credits_reserved=_price(reserved_s),
        credits_charged=_price(charged_s) if final_status is Status.COMPLETED else 0.0,
        request_key=request_key,
        body_digest=digest,
        is_cut="cut" in faults,
    )


def _find_upload(service: Service, video_url: str) -> Upload | None:
    parts = urlsplit(video_url)
    # On any port: the clip may have been uploaded to an earlier process on another one.
    found = _UPLOAD_PATH.fullmatch(parts.path) if loopback_address(parts.hostname or "") else None
    upload = service.store.upload(found[1], now=service.clock()) if found else None
    if upload and (upload.length_s or 0) > MAX_CLIP_S + _LARGEST_OVERRUN_S:
        limit = f"at most {MAX_CLIP_S:.0f} s are supported"
        refuse("video_urls", f"The video is {upload.length_s:.2f} s long; {limit}")
    return upload


def _price(clip_s: float) -> float:
    return round(clip_s * CREDITS_PER_SECOND, 2)
