"""Connections that keep one deadline and reach only permitted addresses.

httpx restarts its read timeout with every byte, and connects to whatever a name resolves to at
that moment. Both are controlled by httpcore's network backend, which resolves, connects, reads and
writes; this module replaces it. `error_of` turns the errors of both libraries into ours.
"""

import errno
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from math import inf
from typing import Any, Final
from urllib.parse import urlsplit

import httpcore
import httpx

from omniedit.errors import (
    OFFLINE_CODE,
    InvalidInputError,
    NetworkError,
    NotConnectedError,
    OmniEditError,
    UnreadableReplyError,
)
from omniedit.http.urls import INTERNAL_NAME_CODE, HostKind, host_kind, shown_url
from omniedit.policy import Policy

OFFLINE: Final = "are you online?"
"""The message if no name resolves or there is no route to the network."""

FAILURES: Final = (
    httpx.HTTPError,
    httpx.InvalidURL,
    httpx.StreamError,
    httpcore.TimeoutException,
    UnicodeError,
)
"""The errors raised by httpx and by the timer."""

_NO_ROUTE: Final = frozenset({errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTUNREACH})
_HTTP: Final = b"HTTP/"
_STALLED: Final = "transferred too little for too long"
_WRITE_BYTES: Final = 16 * 1024
"""The size of one write: small enough for a slow connection to finish within a stall window."""

# With the default of 64 KiB, a download spends a fifth of its time on handling reads.
httpcore.HTTP11Connection.READ_NUM_BYTES = 256 * 1024  # pyright: ignore[reportAttributeAccessIssue] - taken for a literal


class Timer:
    """The time that one request may take, from connecting to the last byte.

    httpcore passes timeouts to the network backend unchanged. This object takes their place, so
    that all operations of a request share one deadline.

    The stall rule: a transfer ends if fewer than `stall_s * stall_bytes_per_s` bytes move within
    `stall_s`.

    Args:
        timeout_s: For the reply's headers, and for its body unless `begin_transfer` is called.
        deadline: The caller's own, a monotonic instant; it applies to transfers too.
        policy: Timeouts and the stall rule.
        clock: Returns monotonic seconds.
    """

    def __init__(
        self,
        timeout_s: float,
        *,
        deadline: float | None,
        policy: Policy,
        clock: Callable[[], float],
    ) -> None:
        self._policy = policy
        self._clock = clock
        self._deadline = inf if deadline is None else deadline
        self._connected_by = clock() + policy.connect_timeout_s
        self._ends_at = clock() + timeout_s
        self.is_transfer = False
        """Whether the stall rule applies now."""
        self._moved_bytes = 0

    def begin_transfer(self) -> None:
        """From now on limit each wait for bytes, apply the stall rule, and keep the deadline."""
        self.is_transfer = True
        self._begin_window()

    def begin_reply(self, timeout_s: float) -> None:
        """Allow `timeout_s` seconds in all for everything that follows."""
        self.is_transfer = False
        self._ends_at = self._clock() + timeout_s

    def moved(self, size_bytes: int) -> None:
        """Count transferred bytes; a transfer that moves enough of them gets more time."""
        self._moved_bytes += size_bytes
        policy = self._policy
        if self.is_transfer and self._moved_bytes >= policy.stall_s * policy.stall_bytes_per_s:
            self._begin_window()

    def left_s(self, error: type[httpcore.TimeoutException] = httpcore.ReadTimeout) -> float:
        """Return the seconds left for the next operation.

        Raises:
            httpcore.TimeoutException: If none are left.
        """
        ends_at = min(self._ends_at, self._deadline)
        if error is httpcore.ConnectTimeout:
            ends_at = min(ends_at, self._connected_by)
        left_s = ends_at - self._clock()
        if self.is_transfer:
            left_s = min(left_s, self._policy.read_timeout_s)
        if left_s <= 0:
            raise error
        return left_s

    def _begin_window(self) -> None:
        self._moved_bytes = 0
        self._ends_at = self._clock() + self._policy.stall_s


class Network(httpcore.SyncBackend):
    """Opens connections whose operations all keep the request's deadline.

    Args:
        only: The only kind of address to connect to; None for all. Names like `localhost` promise
            to lead to this machine alone.
        resolve: Returns the addresses of a host and port.
    """

    def __init__(self, only: HostKind | None, resolve: Callable[[str, int], Iterable[str]]) -> None:
        self._only = only
        self._resolve = resolve

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: Any = None,  # noqa: ANN401 - httpcore's type is float; a Timer travels in its place
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address of a host that answers, if all are permitted."""
        timer: Timer = timeout
        addresses = self._addresses(host, port, timer)
        failure: Exception = httpcore.ConnectError("the name has no address")
        for tried, address in enumerate(addresses):
            try:
                # An address that drops packets must leave time for the others.
                timeout_s = timer.left_s(httpcore.ConnectTimeout) / (len(addresses) - tried)
                stream = super().connect_tcp(
                    address, port, timeout_s, local_address, socket_options
                )
                return _Stream(stream)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        if getattr(failure.__cause__, "errno", None) in _NO_ROUTE:
            raise httpcore.ConnectError(OFFLINE) from failure
        raise failure

    def _addresses(self, host: str, port: int, timer: Timer) -> list[str]:
        """Return the addresses of a host; raise an InvalidInputError if one is forbidden."""
        found = self._resolved(host, port, timer.left_s(httpcore.ConnectTimeout))
        kinds = {host_kind(address) for address in found}
        if self._only is None or kinds <= {self._only}:
            return found
        if self._only is HostKind.PUBLIC:
            msg = f"{host} leads to an address of this machine or network, which omniedit does not contact"
            hint = "a name server or filter of this network may answer for it; try from another network"
            raise InvalidInputError(msg, code=INTERNAL_NAME_CODE, hint=hint)
        msg = f"{host} does not lead to this machine, although it is a name for it"
        hint = "use 127.0.0.1, or https and the host's own name"
        raise InvalidInputError(msg, code="not_loopback", hint=hint)

    def _resolved(self, host: str, port: int, timeout_s: float) -> list[str]:
        with suppress(ValueError):
            return [str(ipaddress.ip_address(host))]
        found: list[list[str] | Exception] = []

        def resolve() -> None:
            try:
                found.append(list(self._resolve(host, port)))
            except Exception as error:  # noqa: BLE001 - raised again in the thread that waits
                found.append(error)

        # A resolver takes no timeout.
        thread = threading.Thread(target=resolve, name="resolve", daemon=True)
        thread.start()
        thread.join(timeout_s)
        if not found:
            raise httpcore.ConnectTimeout
        if isinstance(found[0], OSError):
            raise httpcore.ConnectError(OFFLINE) from found[0]
        if isinstance(found[0], Exception):
            raise found[0]
        return found[0]


def addresses_of(host: str, port: int) -> list[str]:
    """Return the addresses of a host.

    Raises:
        OSError: If there are none.
    """
    entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in entries))


def error_of(  # noqa: C901, PLR0912 - one line a case
    error: Exception, url: str, reason: str, timer: Timer, *, has_connected: bool
) -> OmniEditError:
    """Return the error for one of `FAILURES`.

    Args:
        reason: The error's text, without secrets.
        timer: The timer of the request.
        has_connected: Whether this process has reached any host.
    """
    host = urlsplit(url).netloc.rpartition("@")[2]
    reason = reason.rstrip(".") or type(error).__name__
    match error:
        case UnicodeError():  # for an invalid host name or a lone surrogate
            return UnreadableReplyError(f"not an http(s) URL: {shown_url(url)!a}")
        case httpx.UnsupportedProtocol() | httpx.InvalidURL():
            return UnreadableReplyError(f"not an http(s) URL: {shown_url(url)}")
        case httpx.RemoteProtocolError() if "location header" in reason:
            # httpx parses the header even though it does not follow it.
            return UnreadableReplyError(f"{host} redirects to an invalid URL")
        case httpx.ConnectTimeout() | httpx.PoolTimeout() | httpcore.ConnectTimeout():
            return NotConnectedError(f"{host} did not answer in time")
        case httpx.ConnectError() if "certificate" in reason.lower():
            return NotConnectedError(
                f"the certificate of {host} is not trusted",
                code="certificate",
                hint="behind a company proxy, name its CA bundle in SSL_CERT_FILE or SSL_CERT_DIR",
            )
        case httpx.ConnectError() if reason == OFFLINE:
            code = None if has_connected else OFFLINE_CODE
            return NotConnectedError(f"cannot reach {host}: {OFFLINE}", code=code)
        case httpx.ConnectError():
            return NotConnectedError(f"cannot connect to {host}: {reason}")
        case httpx.ProxyError():
            # The proxy answers CONNECT before any part of the request is sent.
            return NotConnectedError(f"the proxy refuses to connect to {host}: {reason}")
        case httpx.TimeoutException() | httpcore.TimeoutException():
            fault = _STALLED if timer.is_transfer else "did not answer in time"
            return NetworkError(f"{host} {fault}")
        case _:
            return NetworkError(f"the connection to {host} broke: {reason}")


class _Stream(httpcore.NetworkStream):
    """A connection whose operations end when the request's time is up."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream
        self._asks_proxy = self._has_begun = False

    def read(self, max_bytes: int, timeout: Any = None) -> bytes:  # noqa: ANN401 - a Timer
        timer: Timer = timeout
        if self._asks_proxy:
            return self._read_from_proxy(max_bytes, timer)
        return self._stream.read(max_bytes, timer.left_s())

    def _read_from_proxy(self, max_bytes: int, timer: Timer) -> bytes:
        """Read a proxy's reply to CONNECT; a failure means that nothing was sent to the host."""
        try:
            found = self._stream.read(max_bytes, timer.left_s(httpcore.ConnectTimeout))
        except httpcore.ReadTimeout as error:
            raise httpcore.ConnectTimeout from error
        except httpcore.ReadError as error:
            raise httpcore.ConnectError(str(error)) from error
        if not found or not (self._has_begun or _HTTP.startswith(found[: len(_HTTP)])):
            msg = "the proxy sent no usable reply"
            raise httpcore.ConnectError(msg)
        self._has_begun = True
        return found

    def write(self, buffer: bytes, timeout: Any = None) -> None:  # noqa: ANN401 - a Timer
        timer: Timer = timeout
        # Once the tunnel is open, `start_tls` returns a new stream without this flag.
        self._asks_proxy = self._asks_proxy or buffer.startswith(b"CONNECT ")
        # `send` accepts what fits, and its timeout restarts with every byte that it accepts.
        for start in range(0, len(buffer), _WRITE_BYTES):
            block = buffer[start : start + _WRITE_BYTES]
            self._stream.write(block, timer.left_s(httpcore.WriteTimeout))
            timer.moved(len(block))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: Any = None,  # noqa: ANN401 - a Timer
    ) -> httpcore.NetworkStream:
        left_s = timeout.left_s(httpcore.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left_s))

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - as httpcore declares it
        return self._stream.get_extra_info(info)
