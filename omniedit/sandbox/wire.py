"""HTTP/1.1 on a socket: connections kept alive, bodies bounded, replies that can break off."""

from __future__ import annotations

import contextlib
import io
import json
import socket
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes, urlsplit

from werkzeug.exceptions import HTTPException

from omniedit.sandbox.body import Body
from omniedit.sandbox.exchange import BrokenConnectionError
from omniedit.sandbox.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from wsgiref.types import WSGIApplication

IDLE_TIMEOUT_S = 75.0
# A reply may come before the body was read; a client in the middle of sending must still see it.
_LINGER_S = 5.0
_LINGER_BYTES = 128 * 1024 * 1024
_REQUEST_LINE_BYTES = 65_536
_READ_BYTES = 64 * 1024
_DRAIN_BYTES = 64 * 1024
_BODILESS = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)


class Handler(BaseHTTPRequestHandler):
    """One connection: request after request until one side has enough."""

    protocol_version = "HTTP/1.1"
    server_version = "omniedit-sandbox"
    sys_version = ""
    timeout = IDLE_TIMEOUT_S
    # Head and body leave together where they fit, and nothing waits for an acknowledgement.
    wbufsize = _READ_BYTES
    disable_nagle_algorithm = True

    def __init__(
        self,
        connection: socket.socket,
        client: tuple[object, ...],
        *,
        app: WSGIApplication,
        port: int,
    ) -> None:
        """Answer everything that comes over the connection, then return."""
        self._app = app
        self._port = port
        super().__init__(connection, client, None)  # type: ignore[arg-type]  # no socketserver behind it

    def handle_one_request(self) -> None:
        """Read one request and answer it."""
        self.close_connection = True
        try:
            self.raw_requestline = self.rfile.readline(_REQUEST_LINE_BYTES + 1)
            if len(self.raw_requestline) > _REQUEST_LINE_BYTES:
                self.requestline = self.request_version = self.command = ""
                self.send_error(HTTPStatus.REQUEST_URI_TOO_LONG)
            elif self.raw_requestline and self.parse_request():
                self._respond()
            self.wfile.flush()
        except BrokenConnectionError:
            # What was written before the break is to arrive.
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.wfile.flush()
        except OSError:
            # The client has gone.
            self.close_connection = True

    def handle_expect_100(self) -> bool:
        """Promise nothing yet: only who reads the body asks for it."""
        return True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """Keep quiet: the application tells of every exchange."""

    def send_error(
        self,
        code: int,
        message: str | None = None,
        explain: str | None = None,  # noqa: ARG002 - the base class names it
    ) -> None:
        """Answer what never became a request with the documented envelope."""
        refusal = Refusal(code, message)
        # A line too broken to tell its version passes for HTTP/0.9, which knows no headers.
        self.request_version = self.protocol_version
        body = json.dumps(refusal.envelope()).encode()
        self.close_connection = True
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self._linger()

    def _respond(self) -> None:
        if self.request_version == "HTTP/0.9":
            self.send_error(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
            return
        try:
            body = self._body()
            environ = self._environ(body)
        except ValueError:
            self.send_error(HTTPStatus.BAD_REQUEST)
            return
        head: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(
            status: str, headers: list[tuple[str, str]], _: object = None
        ) -> Callable[[bytes], object]:
            head.append((status, headers))
            return self.wfile.write

        chunks = self._app(environ, start_response)
        try:
            may_stay = self._drain(body)
            self._send(*head[-1], chunks, may_stay=may_stay)
        finally:
            close = getattr(chunks, "close", None)
            if close:
                close()
        if not may_stay:
            self._linger()

    def _body(self) -> Body:
        codings, lengths = self.headers.get_all("Transfer-Encoding"), self._lengths()
        if codings:
            # Two framings at once are how requests are smuggled.
            if lengths or [coding.strip().lower() for coding in codings] != ["chunked"]:
                message = "contradictory framing"
                raise ValueError(message)
            return Body(self.rfile, length=None, before_read=self._continue)
        if len(lengths) > 1:
            message = "contradictory lengths"
            raise ValueError(message)
        return Body(self.rfile, length=lengths.pop() if lengths else 0, before_read=self._continue)

    def _lengths(self) -> set[int]:
        texts = self.headers.get_all("Content-Length") or []
        if not all(text.isascii() and text.isdigit() and len(text) < 20 for text in texts):  # noqa: PLR2004 - 64 bits
            message = "no length"
            raise ValueError(message)
        return {int(text) for text in texts}

    def _continue(self) -> None:
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.wfile.flush()

    def _environ(self, body: Body) -> dict[str, object]:
        target, host = self.path, None
        if not target.startswith("/") and "://" in target:
            parts = urlsplit(target)
            host = parts.netloc
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        path, _, query = target.partition("?")
        environ: dict[str, object] = {
            "REQUEST_METHOD": self.command,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": str(self._port),
            "SERVER_PROTOCOL": self.request_version,
            "REMOTE_ADDR": str(self.client_address[0]),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": body,
            "wsgi.input_terminated": True,
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
        }
        environ |= self._header_environ()
        if host is not None:
            environ["HTTP_HOST"] = host
        return environ

    def _header_environ(self) -> dict[str, str]:
        environ: dict[str, str] = {}
        for name, value in self.headers.items():
            # `X_Y` and `X-Y` would become one.
            if "_" in name:
                continue
            key = name.upper().replace("-", "_")
            if key not in {"CONTENT_TYPE", "CONTENT_LENGTH"}:
                key = f"HTTP_{key}"
            environ[key] = f"{environ[key]},{value}" if key in environ else value
        return environ

    def _drain(self, body: Body) -> bool:
        """Read the little that is left of a body; return whether the connection may stay."""
        is_awaited = not body.was_read and bool(self.headers.get("Expect"))
        left = _DRAIN_BYTES
        while not body.is_at_end and not is_awaited and left > 0:
            try:
                left -= len(body.read(left) or b"")
            except HTTPException:
                return False
        # Who waits for `100 Continue` may or may not send the body now.
        return body.is_at_end

    def _send(
        self,
        status: str,
        headers: list[tuple[str, str]],
        chunks: Iterable[bytes],
        *,
        may_stay: bool,
    ) -> None:
        code, _, phrase = status.partition(" ")
        names = {name.lower() for name, _ in headers}
        has_end = "content-length" in names or int(code) in _BODILESS
        if not may_stay or not has_end:
            self.close_connection = True
        self.send_response_only(int(code), phrase)
        for name, value in headers:
            self.send_header(name, value)
        if "date" not in names:
            self.send_header("Date", self.date_time_string())
        self.send_header("Connection", "close" if self.close_connection else "keep-alive")
        self.end_headers()
        for chunk in chunks:
            self.wfile.write(chunk)

    def _linger(self) -> None:
        """Let a client that is still sending see the reply before the connection goes."""
        # Closing with bytes unread would reset the connection, and take the reply with it.
        deadline = time.monotonic() + _LINGER_S
        left = _LINGER_BYTES
        with contextlib.suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_WR)
            while left > 0 and (rest_s := deadline - time.monotonic()) > 0:
                self.connection.settimeout(rest_s)
                piece = self.connection.recv(_READ_BYTES)
                if not piece:
                    return
                left -= len(piece)
