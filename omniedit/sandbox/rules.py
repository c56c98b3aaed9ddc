"""The published rules of a submission; each answers 400 and names its parameter."""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, NoReturn, cast

from omniedit.sandbox.addresses import is_internal, loopback_address, parse_web_url
from omniedit.sandbox.faults import Faults, MarkerError, parse_markers
from omniedit.sandbox.lifecycle import MODEL
from omniedit.sandbox.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

CALLBACK_LIMIT_CHARS = 2048
_FIELDS = ("model", "prompt", "video_urls", "callback_url")
_ABSENT_HERE = ("duration", "aspect_ratio", "negative_prompt")
_REQUEST_KEY = re.compile(r"[A-Za-z0-9._-]{16,96}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A submission that keeps every rule."""

    prompt: str
    video_url: str
    callback_url: str | None
    faults: Faults


def parse_submission(body: Mapping[str, object]) -> Submission:
    """Return the submission in `body`.

    Raises:
        Refusal: a rule is broken.
    """
    _check_names(body)
    if body["model"] != MODEL:
        _refuse("model", f"`model` must be `{MODEL}`")
    prompt = body["prompt"]
    if not isinstance(prompt, str) or not prompt.strip():
        _refuse("prompt", "`prompt` must be a string that is not empty")
    try:
        faults = parse_markers(prompt)
    except MarkerError as error:
        _refuse("prompt", str(error))
    return Submission(
        prompt=prompt,
        video_url=_parse_video_urls(body["video_urls"]),
        callback_url=_parse_callback(body["callback_url"]) if "callback_url" in body else None,
        faults=faults,
    )


def parse_request_key(value: str | None) -> str | None:
    """Return the `Idempotency-Key` of a submission.

    Raises:
        Refusal: it is malformed.
    """
    if value is not None and not _REQUEST_KEY.fullmatch(value):
        message = "Idempotency-Key must be 16 to 96 characters of A-Z, a-z, 0-9, `.`, `_`, `-`"
        _refuse("Idempotency-Key", message)
    return value


def _check_names(body: Mapping[str, object]) -> None:
    for name in body:
        if name in _ABSENT_HERE:
            _refuse(name, f"`{name}` is not supported in video editing mode")
        if name not in _FIELDS:
            _refuse(name[:64], "Unknown parameter")
    for name in _FIELDS[:3]:
        if name not in body:
            _refuse(name, f"`{name}` is required")


def _parse_video_urls(value: object) -> str:
    urls = cast("list[object]", value) if isinstance(value, list) else []
    if len(urls) != 1:
        _refuse("video_urls", "`video_urls` must be an array of exactly one URL")
    (url,) = urls
    if not isinstance(url, str) or parse_web_url(url) is None:
        _refuse("video_urls", "`video_urls[0]` must be an http or https URL")
    return url


def _parse_callback(value: object) -> str:
    if not isinstance(value, str):
        _refuse("callback_url", "`callback_url` must be a string")
    if len(value) > CALLBACK_LIMIT_CHARS:
        _refuse("callback_url", f"`callback_url` is longer than {CALLBACK_LIMIT_CHARS} characters")
    parts = parse_web_url(value)
    if parts is None:
        _refuse("callback_url", "`callback_url` must be an https URL")
    host = parts.hostname or ""
    # The one liberty of a sandbox key: a receiver on this machine, also without TLS.
    if not loopback_address(host):
        if parts.scheme != "https":
            _refuse("callback_url", "`callback_url` must be an https URL")
        if is_internal(host):
            _refuse("callback_url", "`callback_url` must not name an internal address")
    return value


def _refuse(param: str, message: str) -> NoReturn:
    raise Refusal(HTTPStatus.BAD_REQUEST, message, param=param)
