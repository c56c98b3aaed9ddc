"""A reply as values: its JSON, dates and delays, each read once and never raising."""

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
from functools import cached_property
from typing import Final, cast

LONGEST_RETRY_AFTER_S: Final = 366 * 24 * 3600.0

_GZIP_OR_ZLIB: Final = zlib.MAX_WBITS | 32
_EARLIEST_DATE: Final = 1_000_000_000.0  # 2001
_LATEST_DATE: Final = 4_102_444_800.0  # 2100
_ESCAPED_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
# Cloudflare's page, its plain text and its JSON.
_BLOCKED: Final = re.compile(rb"error[\s_-]*(?:code)?[\"'\s:>]*1010\b", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A reply, read whole, without any key that it echoes."""

    status: int
    headers: Mapping[str, str]  # case-insensitive
    body: bytes
    json: object = None
    """The body's JSON value; None where it is not JSON (HTML of a proxy, say)."""

    @cached_property
    def retry_after_s(self) -> float | None:
        """Seconds that `Retry-After` asks for, from a number or a date (RFC 9110, 10.2.3)."""
        return retry_after_of(self.headers)

    @cached_property
    def date(self) -> float | None:
        """The Unix time at the server; None where its `Date` is missing or absurd."""
        return date_of(self.headers)


def retry_after_of(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that `Retry-After` asks for, a date by the server's own clock."""
    asked = headers.get("retry-after")
    if not asked:
        return None
    return parse_retry_after(asked, now=date_of(headers) or time.time())


def date_of(headers: Mapping[str, str]) -> float | None:
    """Return the Unix time of `Date`; None where it is missing or absurd."""
    moment = parse_date(headers.get("date", ""))
    return moment if moment and _EARLIEST_DATE < moment < _LATEST_DATE else None


def decode(body: bytes, encoding: str, *, max_bytes: int) -> bytes | None:
    """Return so much of a body that was sent encoded, unasked; None if it cannot be decoded."""
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
    """Return a JSON value, in which only finite numbers are numbers; None where it is not JSON."""
    # Python refuses numbers of thousands of digits.
    for parse_int in (int, _readable_int):
        with suppress(ValueError, RecursionError):
            value = json.loads(
                # Of bytes it would guess the encoding, and keys are looked for in UTF-8.
                body.decode("utf-8-sig"),
                parse_constant=lambda _name: None,
                parse_float=_finite_float,
                parse_int=parse_int,
            )
            if _ESCAPED_SURROGATE.search(body):
                # Half a character can be written to no file.
                return map_strings(value, lambda text: _SURROGATE.sub("\ufffd", text))
            return value
    return None


def parse_date(text: str) -> float | None:
    """Return the Unix time of a date in a header, clamped to 1970 to 2100; None without a date."""
    try:
        moment = parsedate_to_datetime(text)
        # A date without a zone is meant in UTC (RFC 9110, 5.6.7).
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
    return min(max(seconds, 0.0), _LATEST_DATE)


def parse_retry_after(text: str, *, now: float) -> float | None:
    """Return the seconds of a `Retry-After` header, from 0 to a year; None without any.

    Args:
        text: Seconds, or a date.
        now: Unix time.
    """
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), LONGEST_RETRY_AFTER_S)
    moment = parse_date(text)
    return None if moment is None else min(max(0.0, moment - now), LONGEST_RETRY_AFTER_S)


def is_blocked_client(status: int, body: bytes) -> bool:
    """Return whether a refusal is Cloudflare's error 1010: of this client, not of the request."""
    return status in range(400, 500) and _BLOCKED.search(body) is not None


def map_strings(value: object, change: Callable[[str], str]) -> object:
    """Change all strings of a JSON value in place, however deep it is nested."""
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


def _changed(
    value: object,
    change: Callable[[str], str],
    nodes: list[dict[str, object] | list[object]],
) -> object:
    """Return a string changed; put a container by, to be looked at later."""
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
