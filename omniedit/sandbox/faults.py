"""Markers in a prompt, and the trouble each of them asks for."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

LONGEST_EDIT_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """One marker as `omniedit help sandbox` lists it."""

    name: str  # as it is looked up: the part before `=`
    usage: str  # as it is typed
    does: str
    client_sees: str


MARKERS: tuple[Marker, ...] = (
    Marker(
        name="fail",
        usage="[sandbox:fail=CODE]",
        does="the task ends failed with this error code; its credits come back",
        client_sees="status `failed`, progress 0, `error` with the published message",
    ),
    Marker(
        name="cancel",
        usage="[sandbox:cancel]",
        does="the task ends cancelled; its credits come back",
        client_sees="status `cancelled`, progress 0, error code `request_cancelled`",
    ),
    Marker(
        name="http",
        usage="[sandbox:http=429] or [sandbox:http=503*2]",
        does="the submission is refused with this status, always or only the first N times",
        client_sees="the status with its documented error; no task; 429 says `Retry-After: 1`",
    ),
    Marker(
        name="seconds",
        usage="[sandbox:seconds=3]",
        does="the edit takes this long instead of the usual 5 s",
        client_sees="an `estimated_time` and progress to match",
    ),
    Marker(
        name="stall",
        usage="[sandbox:stall]",
        does="progress stops at 40 % for ever",
        client_sees="status `processing`, progress 40, whenever it asks",
    ),
    Marker(
        name="expired",
        usage="[sandbox:expired]",
        does="the edit completes, but its link is dead from the start",
        client_sees="status `completed`; the link and every fresh one answer 403 with XML",
    ),
    Marker(
        name="cut",
        usage="[sandbox:cut]",
        does="the first download breaks off half-way; later ones succeed",
        client_sees="a connection closed in the middle of the body, then ranges that work",
    ),
    Marker(
        name="lost-reply",
        usage="[sandbox:lost-reply]",
        does="the first submission is carried out (or, with `http`, refused), but its reply is lost",
        client_sees="a closed connection; the replay answers with `Idempotency-Replayed: true`",
    ),
)

_MARKER = re.compile(r"\[sandbox:([^\]]*)(\]?)", re.IGNORECASE)
_FAIL_CODE = re.compile(r"[a-z0-9_]{1,64}")
_HTTP = re.compile(r"([45][0-9]{2})(?:\*([1-9][0-9]{0,2}))?")
# One task has one end; asking for two of these is a mistake in the prompt.
_ENDS = ("fail", "cancel", "stall")
_WITHOUT_VALUE = ("cancel", "stall", "expired", "cut", "lost-reply")


class MarkerError(ValueError):
    """A marker is unknown, malformed, given twice, or contradicts another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What the markers of one prompt ask for."""

    fail_code: str | None = None
    is_cancelled: bool = False
    is_stalled: bool = False
    http_status: int | None = None
    http_refusals: int | None = None  # None: every time
    seconds: float | None = None
    link_is_dead: bool = False
    download_is_cut: bool = False
    reply_is_lost: bool = False

    def refuses(self, attempt: int) -> bool:
        """Return whether the submission is refused at this attempt (from 1)."""
        if self.http_status is None:
            return False
        return self.http_refusals is None or attempt <= self.http_refusals


def parse_markers(prompt: str) -> Faults:
    """Return what the markers in `prompt` ask for.

    Raises:
        MarkerError: one of them cannot be followed; the message names the known ones.
    """
    given: dict[str, str] = {}
    for found in _MARKER.finditer(prompt):
        name, equals, value = found[1].strip().lower().partition("=")
        _check_shape(found[0], name=name, has_value=bool(equals), is_closed=bool(found[2]))
        if name in given:
            message = f"marker `{name}` is given twice"
            raise MarkerError(message)
        given[name] = value.strip()
    ends = [name for name in _ENDS if name in given]
    if len(ends) > 1:
        message = f"markers {', '.join(f'`{name}`' for name in ends)} exclude each other"
        raise MarkerError(message)
    http_status, http_refusals = _parse_http(given.get("http"))
    return Faults(
        fail_code=_parse_fail_code(given.get("fail")),
        is_cancelled="cancel" in given,
        is_stalled="stall" in given,
        http_status=http_status,
        http_refusals=http_refusals,
        seconds=_parse_seconds(given.get("seconds")),
        link_is_dead="expired" in given,
        download_is_cut="cut" in given,
        reply_is_lost="lost-reply" in given,
    )


def _check_shape(text: str, *, name: str, has_value: bool, is_closed: bool) -> None:
    known = {marker.name for marker in MARKERS}
    if not is_closed or name not in known or has_value == (name in _WITHOUT_VALUE):
        usages = ", ".join(marker.usage for marker in MARKERS)
        message = f"unknown marker `{text[:60]}`; known: {usages}"
        raise MarkerError(message)


def _parse_fail_code(value: str | None) -> str | None:
    if value is not None and not _FAIL_CODE.fullmatch(value):
        message = f"`fail={value[:60]}` is no error code"
        raise MarkerError(message)
    return value


def _parse_http(value: str | None) -> tuple[int | None, int | None]:
    if value is None:
        return None, None
    found = _HTTP.fullmatch(value)
    if not found:
        message = f"`http={value[:60]}` is no status from 400 to 599, nor one like `503*2`"
        raise MarkerError(message)
    return int(found[1]), int(found[2]) if found[2] else None


def _parse_seconds(value: str | None) -> float | None:
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= LONGEST_EDIT_S:
        message = f"`seconds={value[:60]}` is no number from 0 to {LONGEST_EDIT_S:.0f}"
        raise MarkerError(message)
    return seconds
