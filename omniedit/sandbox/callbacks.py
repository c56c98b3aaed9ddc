"""Callbacks: told to receivers on this machine, and to nobody else."""

from __future__ import annotations

import contextlib
import http.client
import json
import sqlite3
import threading
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from omniedit.sandbox.addresses import loopback_address
from omniedit.sandbox.lifecycle import task_object
from omniedit.sandbox.results import link_to

if TYPE_CHECKING:
    from collections.abc import Callable

    from omniedit.sandbox.exchange import Context
    from omniedit.sandbox.lifecycle import Edit

CALLBACK_TIMEOUT_S = 10.0
RETRY_DELAYS_S = (1.0, 2.0, 4.0)
_LOOK_EVERY_S = 0.2
_LOOK_AT_MOST_EVERY_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Courier:
    """Delivers the callbacks that are due, until it is told to stop."""

    context: Context
    origin: str
    stopped: threading.Event
    tell: Callable[[str], None]

    def start(self) -> None:
        """Look for due callbacks from now on, in a thread that nobody waits for."""
        threading.Thread(target=self._look, name="sandbox-callbacks", daemon=True).start()

    def deliver(self, edit: Edit) -> bool:
        """Post the task to its callback, again after 1, 2 and 4 s; return whether it was taken."""
        for delay_s in (*RETRY_DELAYS_S, None):
            if self._post(edit):
                self.context.store.end_callback(edit.task_id)
                return True
            # A stop leaves the lease to run out: the next process takes the callback up.
            if delay_s is not None and self.stopped.wait(delay_s * self.context.time_scale):
                return False
        self.context.store.end_callback(edit.task_id)
        return False

    def _look(self) -> None:
        pause_s = max(_LOOK_EVERY_S * min(self.context.time_scale, 1), _LOOK_AT_MOST_EVERY_S)
        # Once the store is closed under it, the look-out is over.
        with contextlib.suppress(sqlite3.Error):
            while not self.stopped.wait(pause_s):
                edit = self.context.store.take_callback(self.context.clock())
                if edit:
                    threading.Thread(target=self._carry, args=[edit], daemon=True).start()

    def _carry(self, edit: Edit) -> None:
        with contextlib.suppress(sqlite3.Error):
            self.deliver(edit)

    def _post(self, edit: Edit) -> bool:
        parts = urlsplit(edit.callback_url or "")
        # An address, never a name: nothing is resolved, nothing leaves this machine.
        address = loopback_address(parts.hostname or "")
        if address is None:
            self.tell(f"callback of {edit.task_id} not delivered: its host is not this machine")
            return True
        link = link_to(edit, origin=self.origin, secret=self.context.secret)
        task = task_object(edit, now=self.context.clock(), link=link)
        status = _post_json(
            address,
            parts.port,
            is_tls=parts.scheme == "https",
            target=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
            host=parts.netloc.rpartition("@")[2],
            body=json.dumps(task).encode(),
        )
        self.tell(f"callback of {edit.task_id} {status or 'not answered'}")
        return status is not None and status // 100 == HTTPStatus.OK // 100


def _post_json(
    address: str, port: int | None, *, is_tls: bool, target: str, host: str, body: bytes
) -> int | None:
    """Return the status of the answer, or None when there was none."""
    kind = http.client.HTTPSConnection if is_tls else http.client.HTTPConnection
    connection = kind(address, port, timeout=CALLBACK_TIMEOUT_S)
    headers = {"Host": host, "Content-Type": "application/json", "User-Agent": "omniedit-sandbox"}
    try:
        connection.request("POST", target, body=body, headers=headers)
        return connection.getresponse().status
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()
