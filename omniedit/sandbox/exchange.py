"""Read requests, refuse or answer them, and write each exchange to the log and the record."""

import contextlib
import http.client
import json
import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import cast

from werkzeug.wrappers import Request, Response

from omniedit.sandbox.clips import Clips
from omniedit.sandbox.store import RequestKeys, Store
from omniedit.sandbox.tasks import Edit, task_object

JSON_LIMIT_BYTES = 1024 * 1024
MASKED_KEY = "sk-\u2026****"
_KEY = re.compile(r"(?<![A-Za-z])sk-[A-Za-z0-9_-]{4,}")
_SECRET_HEADERS = ("authorization", "proxy-authorization", "cookie", "x-api-key")
_LOOPBACK_HOST = re.compile(
    r"(localhost|127\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE
)
# HTTP status -> code, type and message, as the API reference documents them.
_INVALID, _QUOTA = "invalid_request_error", "insufficient_quota"
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
        *,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
        **details: str,
    ) -> None:
        default_code, kind, default_message = _ERRORS.get(status) or _undocumented(status)
        message = message or default_message
        super().__init__(message)
        self.status, self.headers = status, dict(headers or {})
        error = {"code": code or default_code, "message": message, "type": kind}
        self.envelope = {"error": error | details}


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The state and the settings that all endpoints use."""

    store: Store
    clips: Clips
    secret: bytes
    clock: Callable[[], float]
    link_ttl_s: float
    time_scale: float
    edit_seconds: float
    request_keys: RequestKeys

    def show(self, edit: Edit, *, origin: str) -> dict[str, object]:
        """Return the task as the service shows it now."""
        link = edit.link(origin=origin, secret=self.secret)
        return task_object(edit, now=self.clock(), link=link)


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
        at = datetime.fromtimestamp(self._clock(), tz=UTC)
        return {
            "at": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
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
        flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0)
        with self._lock:
            descriptor = os.open(path, flags, 0o600)
            try:
                # One write per line: another process may append to the same file.
                os.write(descriptor, line.encode())
            finally:
                os.close(descriptor)


def mask_keys(text: str) -> str:
    """Return `text` with everything that looks like a key masked."""
    return _KEY.sub(MASKED_KEY, text)


def _masked(name: str, value: str) -> str:
    if name.lower() not in _SECRET_HEADERS:
        return value
    return f"Bearer {MASKED_KEY}" if value.lower().startswith("bearer sk-") else "****"


def _undocumented(status: int) -> tuple[str, str, str]:
    kind = _INVALID if status < HTTPStatus.INTERNAL_SERVER_ERROR else "api_error"
    phrase = http.client.responses.get(status) or f"HTTP status {status}"
    return phrase.lower().replace(" ", "_").replace("'", ""), kind, phrase
