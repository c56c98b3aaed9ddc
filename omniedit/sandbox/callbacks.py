"""Deliver callbacks to receivers on this machine, and nowhere else.

A host is recognised as this machine by its text; no name is resolved.
"""

import contextlib
import http.client
import ipaddress
import json
import re
import socket
import sqlite3
import threading
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import SplitResult, unquote, urlsplit

from omniedit.sandbox.exchange import Service
from omniedit.sandbox.tasks import Edit

CALLBACK_TIMEOUT_S = 10.0
RETRY_DELAYS_S = (1.0, 2.0, 4.0)
_INTERVAL_S = 0.2
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_LOCALHOST = re.compile(r"(.*\.)?localhost")
_UNSAFE = re.compile(r"[\x00-\x20\x7f-\x9f\\]")


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
    if address is None:
        return bool(_LOCALHOST.fullmatch(_normalize(host)))
    return not address.is_global or address.is_multicast


def loopback_address(host: str) -> str | None:
    """Return the address to connect to if `host` is this machine, or None."""
    address = _parse_address(host)
    if address is None:
        return "127.0.0.1" if _LOCALHOST.fullmatch(_normalize(host)) else None
    return str(address) if address.is_loopback else None


def _normalize(host: str) -> str:
    # Resolvers also accept full-width digits, ideographic full stops and `%31`.
    return unicodedata.normalize("NFKC", unquote(host)).replace("\u3002", ".").lower().rstrip(".")


def _parse_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    text = _normalize(host)
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
