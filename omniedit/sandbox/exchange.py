"""Requests and replies: what is refused, which hosts are this machine, what log and record get."""

import contextlib
import http.client
import ipaddress
import json
import os
import re
import socket
import threading
import time
import unicodedata
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import NoReturn, cast
from urllib.parse import SplitResult, unquote, urlsplit

from werkzeug.wrappers import Request, Response

from omniedit.sandbox.store import RequestKeys, Store

JSON_LIMIT_BYTES = 1024 * 1024
MASKED_KEY = "sk-\u2026****"
_KEY = re.compile(r"(?<![A-Za-z])sk-[A-Za-z0-9_-]{4,}")
_SECRET_HEADERS = ("authorization", "proxy-authorization", "cookie", "x-api-key")
_LOOPBACK_HOST = re.compile(
    r"(localhost|127\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE
)
_LOOPBACK = ipaddress.IPv4Address("127.0.0.1")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_LOCALHOST = re.compile(r"(.*\.)?localhost")
_UNSAFE = re.compile(r"[\x00-\x20\x7f-\x9f\\]")
_INVALID = "invalid_request_error"
_QUOTA = "insufficient_quota"
# HTTP status -> code, type and message, as the API reference documents them.
_ERRORS = {
    400: ("invalid_request", _INVALID, "Invalid request parameters"),
    401: ("unauthorized", "authentication_error", "Invalid or expired token"),
    402: (_QUOTA, _QUOTA, "Insufficient quota. Please top up your account."),
    403: ("model_access_denied", _INVALID, "Token does not have access to this model"),
    404: ("not_found", _INVALID, "The requested resource does not exist"),
    405: ("method_not_allowed", _INVALID, "Method not allowed"),
    409: (
        "idempotency_conflict",
        _INVALID,
        "This Idempotency-Key was already used with another request body",
    ),
    413: ("request_too_large", _INVALID, "The request body is too large"),
    429: ("rate_limit_exceeded", "rate_limit_error", "Too many requests, please try again later"),
    500: ("internal_error", "api_error", "Internal server error"),
    502: ("bad_gateway", "api_error", "The provider returned an invalid response"),
    503: ("service_unavailable", "api_error", "Service temporarily unavailable"),
    504: ("gateway_timeout", "api_error", "The provider did not respond in time"),
}


class BrokenConnectionError(Exception):
    """The connection must be closed at once, without the rest of the reply."""


class Refusal(Exception):  # noqa: N818 - an answer of the service, not a failure of the program
    """The request must be answered with the documented error envelope."""

    def __init__(
        self,
        status: int,
        message: str | None = None,
        headers: Mapping[str, str] | None = None,
        /,
        **details: str,
    ) -> None:
        code, kind, default_message = _ERRORS.get(status) or _undocumented(status)
        message = message or default_message
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})
        self.envelope = {"error": {"code": code, "message": message, "type": kind} | details}


class Exchange(Request):
    """A request, with the details of its handling that the log and the record show."""

    # The JSON body; of any other body, its size and, for an upload, its digest.
    noted_body: object = None
    task_id: str | None = None
    fault: str | None = None

    @property
    def link_origin(self) -> str:
        """The origin that the client used, so that links work even behind a mapped port."""
        return f"http://{self.environ['HTTP_HOST'].lower()}"

    def check_host(self) -> None:
        """Refuse a foreign Host header: a name that resolves to this machine is DNS rebinding."""
        host = self.environ.get("HTTP_HOST", "")
        if not host:
            raise Refusal(HTTPStatus.BAD_REQUEST, "The Host header is missing")
        if not _LOOPBACK_HOST.fullmatch(host):
            message = "The sandbox only accepts Host headers that name this machine"
            raise Refusal(HTTPStatus.FORBIDDEN, message, code="host_not_allowed")

    def read_json_object(self) -> dict[str, object]:
        """Return the body; refuse it if it is too large or not a JSON object."""
        self.max_content_length = JSON_LIMIT_BYTES
        raw = self.get_data(cache=False)
        self.noted_body = {"size_bytes": len(raw)}
        if self.mimetype != "application/json":
            raise Refusal(HTTPStatus.BAD_REQUEST, "Content-Type must be application/json")
        try:
            body = json.loads(raw.decode())
            # NaN is not JSON, and what UTF-8 cannot encode (a lone surrogate) cannot be stored.
            json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
        except (ValueError, RecursionError) as error:
            raise Refusal(HTTPStatus.BAD_REQUEST, "The body is not valid JSON") from error
        self.noted_body = body
        if not isinstance(body, dict):
            raise Refusal(HTTPStatus.BAD_REQUEST, "The body must be a JSON object")
        return cast("dict[str, object]", body)


def json_reply(
    value: object, *, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a reply with `value` as its JSON body."""
    body = json.dumps(value, ensure_ascii=False)
    return Response(body, status, dict(headers or {}), content_type="application/json")


def refuse(param: str, message: str, **details: str) -> NoReturn:
    """Refuse a request because of one of its parameters."""
    raise Refusal(HTTPStatus.BAD_REQUEST, message, param=param, **details)


class Traffic:
    """Writes every exchange to the log (for people) and the record (NDJSON), keys masked."""

    def __init__(
        self, *, log: Callable[[str], None] | None, record: Path | None, clock: Callable[[], float]
    ) -> None:
        self._log = log
        self._record = record
        self._clock = clock
        self._lock = threading.Lock()
        if record:
            # Fail before the first request if the record cannot be written.
            self._append(record, "")

    def note(self, exchange: Exchange, *, status: int | None, elapsed_s: float) -> None:
        """Write one exchange; a status of None means that no reply was sent."""
        # A full disk or a closed terminal is no reason to refuse the request.
        with contextlib.suppress(OSError):
            if self._record:
                line = json.dumps(self._entry(exchange, status=status))
                self._append(self._record, mask_keys(line) + "\n")
        parts = [exchange.method, exchange.path, str(status or "---"), f"{elapsed_s * 1000:.0f}ms"]
        request_key = exchange.headers.get("Idempotency-Key")
        if request_key:
            parts.append(f"key=\u2026{request_key[-8:]}")
        if exchange.fault:
            parts.append(f"({exchange.fault})")
        self.note_text(" ".join(parts))

    def note_text(self, text: str) -> None:
        """Write a line to the log only."""
        if self._log:
            # Paths come from outside, and the log may end up on a terminal.
            shown = "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)
            at = time.strftime("%H:%M:%S", time.localtime(self._clock()))
            with contextlib.suppress(OSError):
                self._log(mask_keys(f"{at} {shown}"))

    def _entry(self, exchange: Exchange, *, status: int | None) -> dict[str, object]:
        return {
            "at": instant(self._clock(), timespec="milliseconds"),
            "method": exchange.method,
            "path": exchange.path,
            "query": exchange.query_string.decode("ascii", "replace"),
            "headers": {
                name.lower(): _masked(name, value) for name, value in exchange.headers.items()
            },
            "body": exchange.noted_body,
            "status": status,
            "task_id": exchange.task_id,
            "fault": exchange.fault,
        }

    def _append(self, path: Path, line: str) -> None:
        opener = partial(os.open, mode=0o600)
        # Unbuffered, one write per line: another process may append to the same file.
        with self._lock, open(path, "ab", buffering=0, opener=opener) as file:
            file.write(line.encode())


class Service:
    """The state and the settings that all endpoints use.

    Args:
        folder: Holds tasks and clips; other processes may serve it at the same time.
        link_ttl_s: How long a link is valid after its task has completed.
        time_scale: The factor for every duration of an edit: 0.1 is ten times as fast.
        edit_seconds: How long an edit takes before scaling.
        request_keys: What to do with an `Idempotency-Key` that was seen before.
        rate_limit_per_min: How many requests with a key are answered in any 60 s; None for all.
        log: Called with one line per request, from several threads.
        record: A file to which one JSON line per request is appended.

    Raises:
        OSError: If the folder, its state or the record cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        *,
        link_ttl_s: float = 86_400,
        time_scale: float = 1.0,
        edit_seconds: float = 5.0,
        request_keys: RequestKeys = RequestKeys.HONOURED,
        rate_limit_per_min: int | None = None,
        log: Callable[[str], None] | None = None,
        record: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.link_ttl_s = link_ttl_s
        self.time_scale = time_scale
        self.edit_seconds = edit_seconds
        self.request_keys = request_keys
        self.rate_limit_per_min = rate_limit_per_min
        self.clock = clock
        self.traffic = Traffic(log=log, record=record, clock=clock)
        self.store = Store(folder)


def instant(at: float, *, timespec: str = "seconds") -> str:
    """Return a time as ISO 8601 UTC with `Z`."""
    moment = datetime.fromtimestamp(at, tz=UTC)
    return moment.isoformat(timespec=timespec).replace("+00:00", "Z")


def mask_keys(text: str) -> str:
    """Return `text` with everything that looks like a key masked."""
    return _KEY.sub(MASKED_KEY, text)


def parse_web_url(text: str) -> SplitResult | None:
    """Return the parts of an http(s) URL that has a host, or None."""
    # urlsplit silently drops tabs and newlines.
    if _UNSAFE.search(text):
        return None
    try:
        parts = urlsplit(text)
        # `.port` is parsed on access and raises there.
        is_web = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if is_web else None


def is_internal(host: str) -> bool:
    """Return whether `host` is this machine or an address that is not on the public internet."""
    address = _parse_address(host)
    return address is not None and (not address.is_global or address.is_multicast)


def loopback_address(host: str) -> str | None:
    """Return the address to connect to if `host` is this machine, or None."""
    address = _parse_address(host)
    return str(address) if address is not None and address.is_loopback else None


def _masked(name: str, value: str) -> str:
    if name.lower() not in _SECRET_HEADERS:
        return value
    return f"Bearer {MASKED_KEY}" if value.lower().startswith("bearer sk-") else "****"


def _undocumented(status: int) -> tuple[str, str, str]:
    kind = _INVALID if status < HTTPStatus.INTERNAL_SERVER_ERROR else "api_error"
    phrase = http.client.responses.get(status) or f"HTTP status {status}"
    return phrase.lower().replace(" ", "_").replace("'", ""), kind, phrase


def _parse_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    # Resolvers also accept full-width digits, ideographic full stops and `%31`.
    text = unicodedata.normalize("NFKC", unquote(host)).replace("\u3002", ".").lower().rstrip(".")
    if _LOCALHOST.fullmatch(text):
        return _LOOPBACK
    try:
        address = ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        try:
            # inet_aton also accepts octal, hexadecimal and shortened spellings, as libc does.
            return ipaddress.IPv4Address(socket.inet_aton(text))
        except (OSError, ValueError):
            return None
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(address.packed[-4:])
    return address.ipv4_mapped or address.sixtofour or address
