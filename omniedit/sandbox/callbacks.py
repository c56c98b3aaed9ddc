"""Deliver callbacks to receivers on this machine, and nowhere else."""

import contextlib
import http.client
import json
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from omniedit.sandbox.addresses import loopback_address
from omniedit.sandbox.exchange import Service
from omniedit.sandbox.tasks import Edit

CALLBACK_TIMEOUT_S = 10.0
RETRY_DELAYS_S = (1.0, 2.0, 4.0)
_INTERVAL_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackSender:
    """Delivers callbacks when they are due, until it is stopped."""

    service: Service
    origin: str
    stopped: threading.Event
    log: Callable[[str], None]

    def start(self) -> None:
        """Start to look for due callbacks, in a daemon thread."""
        threading.Thread(target=self._deliver_due, name="sandbox-callbacks", daemon=True).start()

    def deliver(self, edit: Edit) -> bool:
        """Post the task, with retries after 1, 2 and 4 s; return whether it was accepted."""
        is_accepted = self._post(edit)
        for delay_s in RETRY_DELAYS_S:
            # When stopped, let the lease expire: the next process takes over the callback.
            if not is_accepted and self.stopped.wait(delay_s * self.service.time_scale):
                return False
            is_accepted = is_accepted or self._post(edit)
        with contextlib.suppress(sqlite3.Error):  # the store was closed in the meantime
            self.service.store.end_callback(edit.task_id)
        return is_accepted

    def _deliver_due(self) -> None:
        interval_s = _INTERVAL_S * min(max(self.service.time_scale, 0.1), 1)
        # Closing the store ends this loop.
        with contextlib.suppress(sqlite3.Error):
            while not self.stopped.wait(interval_s):
                edit = self.service.store.take_callback(self.service.clock())
                # If no thread can be started, the lease expires and the callback is tried again.
                if edit:
                    with contextlib.suppress(RuntimeError):
                        threading.Thread(target=self.deliver, args=[edit], daemon=True).start()

    def _post(self, edit: Edit) -> bool:
        parts = urlsplit(edit.callback_url or "")
        # An address, never a name: nothing is resolved, nothing leaves this machine.
        address = loopback_address(parts.hostname or "")
        if address is None:
            self.log(f"callback of {edit.task_id} not delivered: its host is not this machine")
            return True
        body = json.dumps(self.service.show(edit, origin=self.origin))
        host = parts.netloc.rpartition("@")[2]
        headers = {"Host": host, "Content-Type": "application/json", "User-Agent": "sandbox"}
        is_tls = parts.scheme == "https"
        kind = http.client.HTTPSConnection if is_tls else http.client.HTTPConnection
        connection = kind(address, parts.port, timeout=CALLBACK_TIMEOUT_S)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        status: int | None = None
        failures = (OSError, ValueError, http.client.HTTPException)
        with contextlib.closing(connection), contextlib.suppress(*failures):
            connection.request("POST", target, body, headers)
            status = connection.getresponse().status
        self.log(f"callback of {edit.task_id} {status or 'not answered'}")
        return status is not None and status // 100 == HTTPStatus.OK // 100
