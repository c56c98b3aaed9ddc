"""A proxy in front of a sandbox that fails on request, like networks and gateways do.

It listens on two loopback ports: one for the API, and one for the file service and the
results, so that each can be closed separately. Faults are scripted by endpoint and occurrence;
requests without a script pass unchanged.
"""

import socket
import struct
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from enum import StrEnum
from typing import Final, Self
from urllib.parse import urlsplit

_LONGEST_HOLD_S: Final = 30.0
_DRIP_S: Final = 0.1
_LATE_S: Final = 1.2
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER: close with RST


class Endpoint(StrEnum):
    """The kinds of requests that the client makes."""

    SUBMIT = "submit"
    POLL = "poll"
    BATCH = "batch"
    LIST = "list"
    UPLOAD = "upload"
    RESULT = "result"
    OTHER = "other"


_API: Final = frozenset({Endpoint.SUBMIT, Endpoint.POLL, Endpoint.BATCH, Endpoint.LIST})


@dataclass(frozen=True, slots=True)
class Request:
    """One received request."""

    endpoint: Endpoint
    headers: Mapping[str, str]
    body: bytes

    @property
    def key(self) -> str:
        """The `Idempotency-Key` header."""
        return self.headers.get("idempotency-key", "")


@dataclass(frozen=True, slots=True)
class Reply:
    """The sandbox's reply, split into head and body."""

    head: bytes
    body: bytes

    @property
    def status(self) -> int:
        """The HTTP status."""
        return int(self.head.split(b" ", 2)[1])


class Exchange:
    """One request in progress, with the actions that a fault can take."""

    def __init__(self, faulty: "FaultyService", connection: socket.socket, head: bytes) -> None:
        self._faulty = faulty
        self._connection = connection
        request_line, _, lines = head.partition(b"\r\n")
        self._lines = lines.decode("latin-1").split("\r\n")
        self._request_line = request_line.decode("latin-1")
        self._head_bytes = len(head)
        pairs = (line.partition(":") for line in self._lines if line)
        self.headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        method, target, _ = self._request_line.split(" ", 2)
        self.endpoint = _endpoint_of(method, urlsplit(target).path)
        self._body: bytes | None = None

    def read(self) -> bytes:
        """Read the whole request and return its body."""
        if self._body is None:
            left = self._head_bytes + int(self.headers.get("content-length", "0"))
            received = b""
            while left > len(received):
                block = self._connection.recv(left - len(received))
                if not block:
                    raise ConnectionResetError
                received += block
            self._body = received[self._head_bytes :]
        return self._body

    def forward(
        self, rewrite: Callable[[bytes], bytes] = lambda body: body, *, without: str = ""
    ) -> Reply:
        """Forward the request to the sandbox, `without` one header, and return the reply."""
        dropped = {"host", "connection", "content-length", without}
        body = rewrite(self.read())
        kept = [line for line in self._lines if line and line.split(":")[0].lower() not in dropped]
        # The sandbox builds links from the Host header: they must lead through the files' port.
        kept += [f"Host: {self._faulty.files_host}", "Connection: close"]
        kept += [f"Content-Length: {len(body)}"] if body else []
        head = "\r\n".join([self._request_line, *kept, "", ""]).encode("latin-1")
        with socket.create_connection(self._faulty.upstream, timeout=_LONGEST_HOLD_S) as upstream:
            upstream.sendall(head + body)
            received = b""
            while block := upstream.recv(65536):
                received += block
        reply_head, _, reply_body = received.partition(b"\r\n\r\n")
        return Reply(reply_head + b"\r\n\r\n", reply_body)

    def send(self, content: bytes) -> None:
        """Send bytes to the client."""
        self._connection.sendall(content)

    def reset(self) -> None:
        """Reset the connection (RST)."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._connection.close()

    def hold(self) -> None:
        """Wait until the client disconnects or all held requests are released."""
        deadline = time.monotonic() + _LONGEST_HOLD_S
        self._connection.settimeout(0.02)
        while time.monotonic() < deadline and not self._faulty.released.is_set():
            try:
                if not self._connection.recv(1, socket.MSG_PEEK):
                    return
            except TimeoutError:
                continue
            except OSError:
                return
        self._connection.settimeout(None)


Fault = Callable[[Exchange], None]


def pass_through(exchange: Exchange) -> None:
    """Pass the reply on unchanged."""
    reply = exchange.forward()
    exchange.send(reply.head + reply.body)


def reset_before(exchange: Exchange) -> None:
    """Reset the connection before reading the request."""
    exchange.reset()


def reset_after(exchange: Exchange) -> None:
    """Reset the connection after the service has handled the request."""
    exchange.forward()
    exchange.reset()


def silence_before(exchange: Exchange) -> None:
    """Read the request, but neither forward it nor reply."""
    exchange.read()
    exchange.hold()


def silence_after(exchange: Exchange) -> None:
    """Forward the request, but do not reply."""
    exchange.forward()
    exchange.hold()


def held(exchange: Exchange) -> None:
    """Forward the request, and reply once all held requests are released."""
    reply = exchange.forward()
    exchange.hold()
    exchange.send(reply.head + reply.body)


def answered(
    status: int,
    body: bytes = b"",
    *,
    headers: Mapping[str, str | Callable[[], str]] | None = None,
    after: bool = False,
) -> Fault:
    """Return a fault that replies in the service's place; if `after`, the service acts first."""

    def answer(exchange: Exchange) -> None:
        if after:
            exchange.forward()
        else:
            exchange.read()
        sent = {"Content-Length": str(len(body)), "Connection": "close"}
        sent |= {n: v if isinstance(v, str) else v() for n, v in (headers or {}).items()}
        lines = [f"HTTP/1.1 {status} -", *(f"{name}: {value}" for name, value in sent.items())]
        exchange.send("\r\n".join([*lines, "", ""]).encode() + body)

    return answer


def refusal(status: int, code: str, message: str = "said the gateway") -> Fault:
    """Return a fault that replies with the service's error object."""
    body = f'{{"error": {{"code": "{code}", "message": "{message}", "type": "x"}}}}'.encode()
    return answered(status, body, headers={"Content-Type": "application/json"})


def cut_body(exchange: Exchange) -> None:
    """Forward the request, announce the whole reply, but send only half of its body."""
    reply = exchange.forward()
    exchange.send(reply.head + reply.body[: len(reply.body) // 2])


def read_late(exchange: Exchange) -> None:
    """Read the request only after more than a second, and pass the reply on unchanged."""
    time.sleep(_LATE_S)
    pass_through(exchange)


def slow_body(exchange: Exchange) -> None:
    """Forward the request, and let the reply trickle byte by byte without end."""
    reply = exchange.forward()
    exchange.send(reply.head)
    with suppress(OSError):
        for value in reply.body:
            exchange.send(bytes([value]))
            time.sleep(_DRIP_S)


def slow_but_whole(exchange: Exchange) -> None:
    """Forward the request, and send the reply in ten pieces."""
    reply = exchange.forward()
    exchange.send(reply.head)
    size = max(1, len(reply.body) // 10)
    for start in range(0, len(reply.body), size):
        exchange.send(reply.body[start : start + size])
        time.sleep(_DRIP_S / 2)


def marked(marker: str) -> Fault:
    """Return a fault that adds a sandbox marker to the prompt, unseen by the client."""

    def forward(exchange: Exchange) -> None:
        reply = exchange.forward(
            lambda body: body.replace(b'", "video_urls"', f' {marker}", "video_urls"'.encode())
        )
        exchange.send(reply.head + reply.body)

    return forward


def key_ignored(exchange: Exchange) -> None:
    """Forward the request without its `Idempotency-Key`, like a service that ignores it."""
    reply = exchange.forward(without="idempotency-key")
    exchange.send(reply.head + reply.body)


def in_seconds(seconds: float) -> Callable[[], str]:
    """Return a function that renders the date `seconds` from now, for `Retry-After`."""
    return lambda: format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


class FaultyService:
    """A faulty proxy in front of a sandbox; a context manager.

    Args:
        upstream: The sandbox's base URL.
    """

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self.upstream = (str(parts.hostname), int(parts.port or 80))
        self.requests: list[Request] = []
        self.released = threading.Event()
        self._scripts: defaultdict[Endpoint, deque[Fault]] = defaultdict(deque)
        self._standing: dict[Endpoint, Fault] = {}
        self._lock = threading.Lock()
        self._api = _Port(self._receive)
        self._files = _Port(self._receive)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._api.close()
        self._files.close()

    @property
    def environ(self) -> dict[str, str]:
        """The settings that point to both ports."""
        return {
            "OMNIEDIT_BASE_URL": f"http://{self._api.host}",
            "OMNIEDIT_FILES_URL": f"http://{self._files.host}",
        }

    @property
    def files_host(self) -> str:
        """The host and port of the file service and the results."""
        return self._files.host

    def script(self, endpoint: Endpoint, *faults: Fault) -> None:
        """Apply these faults to the next requests of an endpoint, one each."""
        with self._lock:
            self._scripts[endpoint].extend(faults)

    def always(self, endpoint: Endpoint, fault: Fault) -> None:
        """Apply this fault to every request of an endpoint, after any scripted ones."""
        with self._lock:
            self._standing[endpoint] = fault

    def refuse(
        self, endpoint: Endpoint, *, reopen_when: Callable[[], bool] = lambda: False
    ) -> None:
        """Close the port of an endpoint; reopen it once `reopen_when` returns true."""
        port = self._api if endpoint in _API else self._files
        port.refuse()

        def reopen() -> None:
            while not port.is_accepting and not self.released.is_set():
                if reopen_when():
                    port.accept()
                time.sleep(0.005)

        threading.Thread(target=reopen, daemon=True).start()

    def clear_faults(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._scripts.clear()
            self._standing.clear()
        self._api.accept()
        self._files.accept()

    def count(self, endpoint: Endpoint) -> int:
        """Return the number of received requests of an endpoint."""
        return len(self.requests_to(endpoint))

    def requests_to(self, endpoint: Endpoint) -> list[Request]:
        """Return the received requests of an endpoint."""
        return [request for request in list(self.requests) if request.endpoint is endpoint]

    def _receive(self, connection: socket.socket) -> None:
        head = _peek_head(connection)
        if not head:
            return
        exchange = Exchange(self, connection, head)
        with self._lock:
            script = self._scripts[exchange.endpoint]
            fault = (
                script.popleft() if script else self._standing.get(exchange.endpoint, pass_through)
            )
            index = len(self.requests)
            self.requests.append(Request(exchange.endpoint, exchange.headers, b""))
        if fault not in {reset_before, read_late}:
            body = exchange.read()
            self.requests[index] = Request(exchange.endpoint, exchange.headers, body)
        fault(exchange)


@dataclass(slots=True)
class _Port:
    """A loopback port that can be closed and reopened."""

    receive: Callable[[socket.socket], None]
    host: str = ""
    _listener: socket.socket = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    is_accepting: bool = False

    def __post_init__(self) -> None:
        self._listener = self._bind(0)
        port = self._listener.getsockname()[1]
        self.host = f"127.0.0.1:{port}"
        self._listen()

    def refuse(self) -> None:
        """Keep the port, but refuse connections."""
        with self._lock:
            port = self._listener.getsockname()[1]
            # Shutdown wakes the accepting thread. The port stays bound, but no longer listens.
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = self._bind(port)
            self.is_accepting = False

    def accept(self) -> None:
        """Accept connections again after `refuse`."""
        with self._lock:
            if not self.is_accepting:
                self._listen()

    def close(self) -> None:
        """Release the port."""
        with self._lock, suppress(OSError):
            self.is_accepting = True  # ends the thread that waits to reopen it
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _bind(self, port: int) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        return listener

    def _listen(self) -> None:
        self._listener.listen(128)
        self.is_accepting = True
        threading.Thread(target=self._accept, args=[self._listener], daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._handle, args=[connection], daemon=True).start()

    def _handle(self, connection: socket.socket) -> None:
        # The client may disconnect at any time, and the sandbox at the end of a test.
        with suppress(OSError), connection:
            self.receive(connection)


def _endpoint_of(method: str, path: str) -> Endpoint:
    match method, path.strip("/").split("/"):
        case "POST", ["v1", "videos", "generations"]:
            return Endpoint.SUBMIT
        case "POST", ["v1", "tasks", "batch"]:
            return Endpoint.BATCH
        case "GET", ["v1", "tasks"]:
            return Endpoint.LIST
        case "GET", ["v1", "tasks", _]:
            return Endpoint.POLL
        case "POST", ["api", "v1", "files", "upload", "stream"]:
            return Endpoint.UPLOAD
        case "GET", ["results", _]:
            return Endpoint.RESULT
        case _:
            return Endpoint.OTHER


def _peek_head(connection: socket.socket) -> bytes:
    """Return a request's head but leave it unread, so that closing the socket sends a reset."""
    while True:
        seen = connection.recv(65536, socket.MSG_PEEK)
        head, end, _ = seen.partition(b"\r\n\r\n")
        if end or not seen:
            return head + end
        time.sleep(0.001)
