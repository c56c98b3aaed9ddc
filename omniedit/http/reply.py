"""A reply as values: its JSON, dates and delays; parsing them never raises."""

import json
import math
import re
import time
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, cast

LONGEST_RETRY_AFTER_S: Final = 366 * 24 * 3600.0

CONTENT_RANGE: Final = re.compile(
    r"bytes (?:([0-9]{1,18})-([0-9]{1,18})|\*)/([0-9]{1,18})", re.IGNORECASE
)
"""Groups: first byte, last byte, total; a 416 states only the total."""

_GZIP_OR_ZLIB: Final = zlib.MAX_WBITS | 32
_EARLIEST_DATE: Final = 1_000_000_000.0  # 2001
_LATEST_DATE: Final = 4_102_444_800.0  # 2100
_ESCAPED_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
# Matches Cloudflare's HTML pages, plain text and JSON. No two alternatives begin alike and all
# repetition is bounded, so a hostile body cannot make the search backtrack for long.
_BLOCKED: Final = re.compile(
    rb"error(?:[\s_\"':>-]|code|<[^<>]{0,100}>){0,40}1010\b", re.IGNORECASE
)
_BLOCKED_WITHIN_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A complete reply, without any key that it echoed."""

    status: int
    headers: Mapping[str, str]  # case-insensitive
    body: bytes
    json: object = None
    """The body's JSON value; None if it is not JSON, such as a proxy's HTML."""


def retry_after_of(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that `Retry-After` asks for (RFC 9110, 10.2.3), clamped to 0-366 days.

    They are a number, or a date that is read by the server's own clock.
    """
    asked = headers.get("retry-after", "").strip()
    if asked.isascii() and asked.isdigit():
        return min(float(asked[:9]), LONGEST_RETRY_AFTER_S)
    moment = parse_date(asked)
    if moment is None:
        return None
    now = _plausible_date(headers) or time.time()
    return min(max(0.0, moment - now), LONGEST_RETRY_AFTER_S)


def date_of(headers: Mapping[str, str]) -> float | None:
    """Return the server's time now, from `Date`; None if it is missing, implausible or a cache's."""
    # A cache keeps the `Date` of the reply that it stored, and adds `Age` (RFC 9111, 5.1).
    is_stored = headers.get("age", "0").strip() != "0"
    return None if is_stored else _plausible_date(headers)


def decode(body: bytes, encoding: str, *, max_bytes: int) -> bytes | None:
    """Decode up to `max_bytes` of a body; return None if it cannot be decoded."""
    if encoding not in {"gzip", "x-gzip", "deflate"}:
        return None
    inflater = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        decoded = inflater.decompress(body, max_bytes)
    except zlib.error:
        return None
    is_cut = not inflater.eof and len(decoded) < max_bytes
    return None if is_cut else decoded


def parse_json(body: bytes) -> object:
    """Return a JSON value with None for unusable numbers; None if the body is not JSON."""
    # `int` refuses thousands of digits: only then parse again, and read such numbers as None.
    for parse_int in (int, _readable_int):
        with suppress(ValueError, RecursionError):
            value = json.loads(
                # Given bytes, `json` would guess the encoding, but keys are redacted in UTF-8.
                body.decode("utf-8-sig"),
                parse_constant=lambda _name: None,
                parse_float=_finite_float,
                parse_int=parse_int,
            )
            if _ESCAPED_SURROGATE.search(body):
                # A lone surrogate cannot be written to a file.
                return map_strings(value, lambda text: _SURROGATE.sub("\ufffd", text))
            return value
    return None


def parse_date(text: str) -> float | None:
    """Return the Unix time of a date in a header, clamped to 1970-2100; None if it is no date."""
    try:
        moment = parsedate_to_datetime(text)
        # A date without a time zone is in UTC (RFC 9110, 5.6.7).
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
    return min(max(seconds, 0.0), _LATEST_DATE)


def is_blocked_client(status: int, body: bytes) -> bool:
    """Return whether a refusal is Cloudflare's error 1010, which concerns this client as such."""
    return status in range(400, 500) and _BLOCKED.search(body, 0, _BLOCKED_WITHIN_BYTES) is not None


def map_strings(value: object, change: Callable[[str], str]) -> object:
    """Change all strings of a JSON value in place, at any depth."""
    root: list[object] = [value]
    nodes: list[dict[str, object] | list[object]] = [root]
    while nodes:
        node = nodes.pop()
        if isinstance(node, dict):
            changed = {change(key): _changed(child, change, nodes) for key, child in node.items()}
            node.clear()
            node.update(changed)
        else:
            node[:] = [_changed(child, change, nodes) for child in node]
    return root[0]


def _plausible_date(headers: Mapping[str, str]) -> float | None:
    moment = parse_date(headers.get("date", ""))
    return moment if moment and _EARLIEST_DATE < moment < _LATEST_DATE else None


def _changed(
    value: object,
    change: Callable[[str], str],
    nodes: list[dict[str, object] | list[object]],
) -> object:
    """Return a changed string, or any other value as it is; add containers to `nodes`."""
    if isinstance(value, str):
        return change(value)
    if type(value) in {dict, list}:
        nodes.append(cast("dict[str, object] | list[object]", value))
    return value


def _finite_float(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _readable_int(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None
