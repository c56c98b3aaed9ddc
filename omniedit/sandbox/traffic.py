"""What passes through: a log line for people, an NDJSON record for scripts, no key in either."""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from omniedit.sandbox.exchange import Exchange

MASKED_KEY = "sk-\u2026****"
_KEY = re.compile(r"(?<![A-Za-z])sk-[A-Za-z0-9_-]{4,}")
_SECRET_HEADERS = ("authorization", "proxy-authorization", "cookie", "x-api-key")
_SHORT_KEY_CHARS = 8


class Traffic:
    """Tells of every exchange, in the log and in the record, where they are wanted."""

    def __init__(
        self,
        *,
        log: Callable[[str], None] | None,
        record: Path | None,
        clock: Callable[[], float],
    ) -> None:
        """Take the log's callback and the record's path, or None for either."""
        self._log = log
        self._record = record
        self._clock = clock
        self._lock = threading.Lock()
        if record:
            # A record that cannot be written is better known before the first request.
            self._append(record, "")

    def tell(self, exchange: Exchange, *, status: int | None, elapsed_s: float) -> None:
        """Tell of one exchange; a status of None means that no reply was sent."""
        # A full disk or a closed terminal is no reason to refuse the request.
        with contextlib.suppress(OSError):
            if self._record:
                line = json.dumps(self._entry(exchange, status=status))
                self._append(self._record, mask_keys(line) + "\n")
        with contextlib.suppress(OSError):
            if self._log:
                self._log(self._line(exchange, status=status, elapsed_s=elapsed_s))

    def tell_text(self, text: str) -> None:
        """Tell of something that is no exchange."""
        with contextlib.suppress(OSError):
            if self._log:
                self._log(mask_keys(f"{self._time()} {_plain(text)}"))

    def _time(self) -> str:
        return time.strftime("%H:%M:%S", time.localtime(self._clock()))

    def _line(self, exchange: Exchange, *, status: int | None, elapsed_s: float) -> str:
        parts = [self._time(), exchange.method, exchange.path]
        parts += [str(status or "---"), f"{elapsed_s * 1000:.0f}ms"]
        request_key = exchange.headers.get("Idempotency-Key")
        if request_key:
            parts.append(f"key=\u2026{request_key[-_SHORT_KEY_CHARS:]}")
        if exchange.fault:
            parts.append(f"({exchange.fault})")
        return mask_keys(_plain(" ".join(parts)))

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
            "body": exchange.body_seen,
            "status": status,
            "task_id": exchange.task_id,
            "fault": exchange.fault,
        }

    def _append(self, path: Path, line: str) -> None:
        flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0)
        with self._lock:
            descriptor = os.open(path, flags, 0o600)
            try:
                # One write a line: another process may append to the same file.
                os.write(descriptor, line.encode())
            finally:
                os.close(descriptor)


def mask_keys(text: str) -> str:
    """Return `text` with everything that looks like a key made unrecognisable."""
    return _KEY.sub(MASKED_KEY, text)


def _masked(name: str, value: str) -> str:
    if name.lower() not in _SECRET_HEADERS:
        return value
    return f"Bearer {MASKED_KEY}" if value.lower().startswith("bearer sk-") else "****"


def _plain(text: str) -> str:
    # Paths come from outside; the log may end up on a terminal.
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)
