"""The sandbox's server: HTTP/1.1 on loopback, the endpoints, and broken replies."""

import contextlib
import io
import json
import re
import secrets
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, NamedTuple, cast

from werkzeug.exceptions import BadRequest, ClientDisconnected, HTTPException
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler
from werkzeug.wrappers import Response

from omniedit.sandbox.clips import delete_file, get_file, get_quota, get_result, upload_file
from omniedit.sandbox.exchange import (
    BrokenConnectionError,
    Exchange,
    Refusal,
    Service,
    json_reply,
)
from omniedit.sandbox.store import Store
from omniedit.sandbox.submissions import submit
from omniedit.sandbox.tasks import CallbackSender, get_credits, get_task, get_tasks, list_tasks

IDLE_TIMEOUT_S = 75.0
_KEY = re.compile(r"(?i:Bearer) +sk-sandbox[\x21-\x7e]*")
_RATE_WINDOW_S = 60.0
_HOST = "127.0.0.1"
_BACKLOG = 128
_WAKE_TIMEOUT_S = 0.5
_GRACE_S = 0.5
_LINGER_S = 5.0
_BUFFER_BYTES = 64 * 1024
_DRAIN_BYTES = 64 * 1024
_LENGTH = re.compile("[0-9]{1,19}")
_CHUNK_SIZE = re.compile(rb"\s*([0-9a-fA-F]{1,16})\s*(;.*)?")
_CHUNK_LINE_BYTES = 4096
# The limit for all lines between the chunks of a body, including its trailers.
_FRAMING_BYTES = 1024 * 1024
_BODILESS = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)

Connection = Any  # a socket or a datagram in `socketserver`


class SandboxApp:
    """Answers requests as the service would."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._answered_at = list[float]()
        self._lock = threading.Lock()

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer one WSGI request."""
        return self.answer(Exchange(environ))(environ, start_response)

    def answer(self, exchange: Exchange) -> Response:
        """Return the reply to one request, and write both to the log and the record.

        Raises:
            BrokenConnectionError: If the connection must be closed without a reply.
        """
        started = time.perf_counter()
        status: int | None = None
        try:
            response = self._reply(exchange)
            response.headers["x-request-id"] = f"req_{secrets.token_hex(8)}"
            status = response.status_code
        finally:
            self.service.traffic.note(
                exchange, status=status, elapsed_s=time.perf_counter() - started
            )
        return response

    def _reply(self, exchange: Exchange) -> Response:
        try:
            return self._dispatch(exchange)
        except BrokenConnectionError:
            raise
        except Refusal as error:
            refusal = error
        except HTTPException as error:
            refusal = Refusal(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
        except Exception:  # noqa: BLE001 - the boundary: a bug in the sandbox is the service's 500
            self.service.traffic.note_text(traceback.format_exc())
            refusal = Refusal(HTTPStatus.INTERNAL_SERVER_ERROR)
        return json_reply(refusal.envelope, status=refusal.status, headers=refusal.headers)

    def _dispatch(self, exchange: Exchange) -> Response:
        exchange.check_host()
        if not exchange.query_string.isascii():
            raise Refusal(HTTPStatus.BAD_REQUEST, "The query is not percent-encoded")
        route, segments = _find_route(exchange.method, exchange.path)
        if route.needs_key:
            if not _KEY.fullmatch(exchange.headers.get("Authorization", "")):
                raise Refusal(HTTPStatus.UNAUTHORIZED, None, {"WWW-Authenticate": "Bearer"})
            self._check_rate()
        return route.endpoint(self.service, exchange, *segments)

    def _check_rate(self) -> None:
        limit = self.service.rate_limit_per_min
        now = self.service.clock()
        if limit is None:
            return
        with self._lock:
            self._answered_at = [at for at in self._answered_at if at > now - _RATE_WINDOW_S]
            if len(self._answered_at) < limit:
                self._answered_at.append(now)
                return
            wait_s = max(int(self._answered_at[0] + _RATE_WINDOW_S - now) + 1, 1)
        raise Refusal(HTTPStatus.TOO_MANY_REQUESTS, None, {"Retry-After": str(wait_s)})


class RunningSandbox(ThreadedWSGIServer):
    """Accepts connections and answers each in a daemon thread, until it is closed."""

    # Waiting for a connection ends after this long, to check whether the sandbox was closed.
    timeout = _WAKE_TIMEOUT_S

    def __init__(self, listener: socket.socket, app: SandboxApp) -> None:
        """Take over a listening socket and start answering."""
        self.store = app.service.store
        self.clock = app.service.clock
        self.stopped = threading.Event()
        self._log = app.service.traffic.note_text
        self._connections = set[Connection]()
        self._connection_closed = threading.Condition()
        port = listener.getsockname()[1]
        super().__init__(_HOST, port, app, Handler, fd=listener.fileno())
        # Werkzeug has duplicated the descriptor; accept on the socket that was bound.
        self.socket.close()
        self.socket = listener
        self.socket.settimeout(_WAKE_TIMEOUT_S)
        self._acceptor = threading.Thread(target=self._accept, name="sandbox", daemon=True)
        self._acceptor.start()

    @property
    def url(self) -> str:
        """The base URL of the API and of the file service."""
        return f"http://{_HOST}:{self.port}"

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give replies in progress a moment to finish, then close every connection."""
        if self.stopped.is_set():
            return
        self.stopped.set()
        # Connecting wakes the accepting thread at once; otherwise it wakes at its next timeout.
        with contextlib.suppress(OSError):
            socket.create_connection((self.host, self.port), _WAKE_TIMEOUT_S).close()
        self._acceptor.join()
        with self._connection_closed:
            # This ends idle connections at once; a busy one may finish its reply.
            self._shut_down(socket.SHUT_RD)
            self._connection_closed.wait_for(lambda: not self._connections, _GRACE_S)
            self._shut_down(socket.SHUT_RDWR)
        self.store.close()

    def get_request(self) -> tuple[Connection, Any]:
        """Accept a connection."""
        try:
            return super().get_request()
        except OSError:
            # For example out of file descriptors: pause, or this loop spins until one is free.
            self.stopped.wait(0.01)
            raise

    def process_request(self, request: Connection, client_address: object) -> None:
        """Answer a connection in a thread of its own."""
        with self._connection_closed:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Connection) -> None:
        """Close a connection."""
        super().shutdown_request(request)
        with self._connection_closed:
            self._connections.discard(request)
            self._connection_closed.notify_all()

    def handle_error(self, request: Connection, client_address: object) -> None:  # noqa: ARG002 - the base class names them
        """Log the exception that ended a connection; stderr belongs to the program."""
        self._log(traceback.format_exc())

    def _accept(self) -> None:
        while not self.stopped.is_set():
            self.handle_request()
        self.server_close()

    def _shut_down(self, direction: int) -> None:
        for connection in self._connections:
            # The client, or the connection's own thread, may have closed it first.
            with contextlib.suppress(OSError):
                connection.shutdown(direction)


class Handler(WSGIRequestHandler):
    """Answers all requests of a connection; Werkzeug's handler would close it after the first."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_TIMEOUT_S
    # Send head and body together if they fit, and never wait for an acknowledgement.
    wbufsize = _BUFFER_BYTES
    disable_nagle_algorithm = True

    def run_wsgi(self) -> None:
        """Answer one request."""
        if self.request_version == "HTTP/0.9":
            self.send_error(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
            return
        try:
            body = Body(self.rfile, length=self._body_length(), before_read=self._continue)
            environ = self.make_environ()
        except ValueError:
            self.send_error(HTTPStatus.BAD_REQUEST)
            return
        environ |= {"wsgi.input": body, "wsgi.input_terminated": True}
        app = cast("SandboxApp", self.server.app)
        try:
            with contextlib.closing(app.answer(Exchange(environ))) as response:
                # A client that was waiting for `100 Continue` may or may not send the body now.
                may_send_body = "Expect" in self.headers and not body.was_read
                keep_alive = body.is_at_end
                if not keep_alive and not may_send_body:
                    keep_alive = body.drain()
                self._send(response, environ, keep_alive=keep_alive)
        except BrokenConnectionError:
            self.close_connection = True
            return
        if not keep_alive:
            self._linger()

    def handle_expect_100(self) -> bool:
        """Send nothing yet: reading the body sends `100 Continue`."""
        return True

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 - the base class names them
        """Log nothing, because the application logs every exchange."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002 - the base class names them
        """Answer a malformed request with the documented envelope, and close the connection."""
        body = json.dumps(Refusal(code, message).envelope)
        # A request line without a version counts as HTTP/0.9, which has no headers.
        self.request_version = self.protocol_version
        self.command = self.command or "GET"
        environ = {"REQUEST_METHOD": self.command}
        self._send(Response(body, code, content_type="application/json"), environ, keep_alive=False)
        self._linger()

    def _send(self, response: Response, environ: dict[str, Any], *, keep_alive: bool) -> None:
        chunks, status, headers = response.get_wsgi_response(environ)
        code, _, phrase = status.partition(" ")
        # Without a length, only the end of the connection ends the reply.
        if not keep_alive or not ("Content-Length" in dict(headers) or int(code) in _BODILESS):
            self.close_connection = True
        headers.append(("Connection", "close" if self.close_connection else "keep-alive"))
        headers.append(("Date", self.date_time_string(cast("RunningSandbox", self.server).clock())))
        self.send_response_only(int(code), phrase)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        for chunk in chunks:
            self.wfile.write(chunk)

    def _body_length(self) -> int | None:
        """Return the body's length, None if chunked; raise ValueError if the framing is invalid."""
        codings = [text.lower() for text in self.headers.get_all("Transfer-Encoding") or []]
        # Two framings at once are how requests are smuggled (RFC 9112, 11.2).
        match codings, [*set(self.headers.get_all("Content-Length") or [])]:
            case [], []:
                return 0
            case ["chunked"], []:
                return None
            case [], [length] if _LENGTH.fullmatch(length):
                return int(length)
            case _:
                raise ValueError

    def _continue(self) -> None:
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.wfile.flush()

    def _linger(self) -> None:
        """Let a client that is still sending see the reply before the connection is closed."""
        # Closing with unread bytes would reset the connection and discard the reply.
        deadline = time.monotonic() + _LINGER_S
        with contextlib.suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(_LINGER_S)
            while time.monotonic() < deadline and self.connection.recv(_BUFFER_BYTES):
                pass


class Body(io.RawIOBase):
    """A request's body, up to its end; the first read sends `100 Continue`."""

    def __init__(
        self, source: io.BufferedIOBase, *, length: int | None, before_read: Callable[[], None]
    ) -> None:
        """Read from `source`; a length of None means chunked."""
        self._source = source
        self._is_chunked = length is None
        self._left = length or 0
        self._framing_left = _FRAMING_BYTES
        self._before_read = before_read
        self.was_read = False
        self.is_at_end = length == 0

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # Buffer has no name before 3.12
        """Read what is available, up to the end of the body."""
        view = memoryview(buffer).cast("B")
        if self.is_at_end or not len(view):
            return 0
        if not self.was_read:
            self.was_read = True
            self._before_read()
        if self._is_chunked and not self._left and not self._next_chunk():
            return 0
        received = self._source.read1(min(len(view), self._left))
        if not received:
            raise ClientDisconnected
        view[: len(received)] = received
        self._left -= len(received)
        if self._is_chunked and not self._left and self._line():
            raise BadRequest
        self.is_at_end = not self._is_chunked and not self._left
        return len(received)

    def drain(self) -> bool:
        """Read a small remainder; return whether the body is at its end."""
        left = _DRAIN_BYTES
        with contextlib.suppress(HTTPException):
            while not self.is_at_end and left > 0:
                left -= len(self.read(left) or b"")
        return self.is_at_end

    def _next_chunk(self) -> bool:
        size = _CHUNK_SIZE.fullmatch(self._line())
        if not size:
            raise BadRequest
        self._left = int(size[1], 16)
        if not self._left:
            while self._line():
                pass  # trailers
            self.is_at_end = True
        return not self.is_at_end

    def _line(self) -> bytes:
        line = self._source.readline(min(_CHUNK_LINE_BYTES, self._framing_left))
        self._framing_left -= len(line)
        if not line and self._framing_left:
            raise ClientDisconnected
        if not line.endswith(b"\n"):
            raise BadRequest
        return line.rstrip(b"\r\n")


def serve(
    service: Service, *, port: int = 0, allow_local_callbacks: bool = False
) -> RunningSandbox:
    """Serve the sandbox in daemon threads; return at once.

    Args:
        service: The state and settings; closing the sandbox closes its store.
        port: The port; 0 is the one that the folder was served on before, or else any free one.
        allow_local_callbacks: Whether callbacks to this machine are delivered.

    Raises:
        OSError: If the port is taken.
    """
    try:
        listener = _listen(service.store, port)
    except BaseException:
        service.store.close()
        raise
    running = RunningSandbox(listener, SandboxApp(service))
    if allow_local_callbacks:
        CallbackSender(service, origin=running.url, stopped=running.stopped).start()
    return running


class _Route(NamedTuple):
    method: str
    path: str  # a pattern; its groups are passed to the endpoint
    endpoint: Callable[..., Response]
    needs_key: bool = True


# Importing Werkzeug's routing would take as long as all other imports together.
_ROUTES = (
    _Route("POST", "/v1/videos/generations", submit),
    _Route("POST", "/v1/tasks/batch", get_tasks),
    _Route("GET", "/v1/tasks", list_tasks),
    _Route("GET", "/v1/tasks/([^/]+)", get_task),
    _Route("GET", "/v1/credits", get_credits),
    _Route("POST", "/api/v1/files/upload/stream", upload_file),
    _Route("GET", "/api/v1/files/quota", get_quota),
    _Route("DELETE", "/api/v1/files/([^/]+)", delete_file),
    _Route("GET", "/files/([^/]+)/([^/]+)", get_file, needs_key=False),
    _Route("GET", "/results/([^/]+)", get_result, needs_key=False),
)


def _find_route(method: str, path: str) -> tuple[_Route, tuple[str, ...]]:
    allowed = set[str]()
    for route in _ROUTES:
        found = re.fullmatch(route.path, path, re.DOTALL)
        if found:
            methods = {"GET", "HEAD"} if route.method == "GET" else {route.method}
            if method in methods:
                return route, found.groups()
            allowed |= methods
    if allowed:
        raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED, None, {"Allow": ", ".join(sorted(allowed))})
    raise Refusal(HTTPStatus.NOT_FOUND)


def _listen(store: Store, port: int) -> socket.socket:
    remembered = store.port()
    if port == 0 and remembered is not None:
        with contextlib.suppress(OSError):
            return socket.create_server((_HOST, remembered), backlog=_BACKLOG)
    listener = socket.create_server((_HOST, port), backlog=_BACKLOG)
    # If another process is serving on the remembered port, keep that port remembered.
    if port or remembered is None:
        store.remember_port(int(listener.getsockname()[1]))
    return listener
