"""The markers in a prompt, and what each makes the sandbox do."""

import re
from collections.abc import Mapping
from typing import NamedTuple

Faults = Mapping[str, str]  # the value of each marker, empty if it takes none


class Marker(NamedTuple):
    """One marker, as `omniedit help sandbox` lists it."""

    usage: str
    does: str
    client_sees: str
    value: str | None = None  # a pattern, if the marker takes a value

    @property
    def name(self) -> str:
        """The marker's name, without its value."""
        return re.split(r"[=\]]", self.usage.removeprefix("[sandbox:"))[0]


MARKERS = (
    Marker(
        "[sandbox:fail=CODE]",
        "the task ends failed with this error code; its credits are refunded",
        "status `failed`, progress 0, `error` with the published message",
        r"[a-z0-9_]{1,64}",
    ),
    Marker(
        "[sandbox:cancel]",
        "the task ends cancelled; its credits are refunded",
        "status `cancelled`, progress 0, error code `request_cancelled`",
    ),
    Marker(
        "[sandbox:empty]", "the edit completes without any result", "status `completed`, no links"
    ),
    Marker(
        "[sandbox:http=429] or [sandbox:http=503*2]",
        "the submission is refused with this status, always or only the first N times",
        "the status with its documented error; no task; 429 says `Retry-After: 1`",
        r"[45][0-9]{2}(\*[1-9][0-9]{0,2})?",
    ),
    Marker(
        "[sandbox:retired]",
        "the submission is refused because its model was retired",
        "status 400, code `model_retired`, another model as `fallback_suggestion`; no task",
    ),
    Marker(
        "[sandbox:seconds=3]",
        "the edit takes this long instead of the usual 5 s",
        "an `estimated_time` and progress to match",
        r"[0-9]{1,5}(\.[0-9]{1,6})?",
    ),
    Marker(
        "[sandbox:stall]",
        "progress stays at 40 %",
        "status `processing`, progress 40, whenever it asks",
    ),
    Marker(
        "[sandbox:as-served]",
        "the result is 720p at 24 fps, as the real service's (with the extra `media`)",
        "a result whose size and frame rate differ from the clip's",
    ),
    Marker(
        "[sandbox:expired]",
        "the edit completes, but its link has expired from the start",
        "status `completed`; the link and every fresh one answer 403 with XML",
    ),
    Marker(
        "[sandbox:cut]",
        "the first download breaks off half-way; later ones succeed",
        "a connection closed in the middle of the body, then ranges that work",
    ),
    Marker(
        "[sandbox:lost-reply]",
        "the first submission is carried out (or, with `http`, refused), but its reply is lost",
        "a closed connection; the replay answers with `Idempotency-Replayed: true`",
    ),
)

_MARKER = re.compile(r"\[sandbox:([^\]]*)(\]?)", re.IGNORECASE)
_KNOWN = {marker.name: marker for marker in MARKERS}
# A task ends only once, so these exclude each other.
_ENDS = ("fail", "cancel", "stall", "empty")


class MarkerError(ValueError):
    """A marker is unknown, malformed, given twice, or contradicts another."""


def parse_markers(prompt: str) -> Faults:
    """Return the faults that the markers in `prompt` ask for.

    Raises:
        MarkerError: If a marker is invalid; the message lists the known ones.
    """
    faults: dict[str, str] = {}
    for found in _MARKER.finditer(prompt):
        name, equals, value = (part.strip() for part in found[1].lower().partition("="))
        marker = _KNOWN.get(name) if found[2] else None
        if marker is None or bool(equals) == (marker.value is None):
            usages = ", ".join(marker.usage for marker in MARKERS)
            message = f"unknown marker `{found[0][:60]}`; known: {usages}"
            raise MarkerError(message)
        if marker.value is not None and not re.fullmatch(marker.value, value):
            message = f"invalid value in `{found[0][:60]}`; write {marker.usage}"
            raise MarkerError(message)
        if name in faults:
            message = f"marker `{name}` is given twice"
            raise MarkerError(message)
        faults[name] = value
    ends = [f"`{name}`" for name in _ENDS if name in faults]
    if len(ends) > 1:
        message = f"markers {', '.join(ends)} exclude each other"
        raise MarkerError(message)
    return faults


def refused_status(faults: Faults, *, attempt: int) -> int | None:
    """Return the status with which `http` refuses this attempt (from 1), or None."""
    if "http" not in faults:
        return None
    status, _, times = faults["http"].partition("*")
    return int(status) if not times or attempt <= int(times) else None
