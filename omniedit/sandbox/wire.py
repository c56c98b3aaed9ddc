"""HTTP/1.1 on a socket: connections kept alive, bodies bounded, replies that can break off."""

from __future__ import annotations

import contextlib
import io
import json
import socket
import sys
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes, urlsplit

from werkzeug.exceptions import BadRequest, ClientDisconnected

from omniedit.sandbox.exchange import BrokenConnectionError
from omniedit.sandbox.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Buffer, Callable, Iterable
    from wsgiref.types import WSGIApplication

IDLE_TIMEOUT_S = 75.0
# A reply may come before the body was read; a client in the middle of sending must still see it.
_LINGER_S = 5.0
_LINGER_BYTES = 128 * 1024 * 1024
_CHUNK_LINE_BYTES = 4096
_READ_BYTES = 64 * 1024


class Body(io.RawIOBase):
    """A request's body: ends where the request ends, chunked or not."""

    def __init__(
        self, source: io.BufferedIOBase, *, length: int | None, before_read: Callable[[], None]
    ) -> None:
        """Take the connection and the length, or None for a chunked body."""
        self._source = source
        self._is_chunked = length is None
        self._left = length or 0
        self._before_read: Callable[[], None] | None = before_read
        self.is_at_end = length == 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Buffer) -> int:
        """Read what is there, up to the end of the body.

        Raises:
            ClientDisconnected: the connection ended first.
            BadRequest: the chunks are malformed.
        """
        view = memoryview(buffer).cast("B")
        if self.is_at_end or not len(view):
            return 0
        if self._before_read:
            self._before_read()
            self._before_read = None
        if self._is_chunked and not self._left and not self._next_chunk():
            return 0
        piece = self._source.read1(min(len(view), self._left))
        if not piece:
            raise ClientDisconnected
        view[: len(piece)] = piece
        self._left -= len(piece)
        if self._is_chunked and not self._left:
            self._line(expected=b"")
        self.is_at_end = not self._is_chunked and not self._left
        return len(piece)

    def _next_chunk(self) -> bool:
        size = self._line().partition(b";")[0].strip()
        if not size or len(size) > 16 or size.strip(b"0123456789abcdefABCDEF"):
            raise BadRequest
        self._left = int(size, 16)
        if self._left:
            return True
        while self._line():
            pass  # trailers
        self.is_at_end = True
        return False

    def _line(self, expected: bytes | None = None) -> bytes:
        line = self._source.readline(_CHUNK_LINE_BYTES)
        if not line:
            raise ClientDisconnected
        text = line.rstrip(b"\r\n")
        if not line.endswith(b"\n") or (expected is not None and text != expected):
            raise BadRequest
        return text


class Handler(BaseHTTPRequestHandler):
    """One connection: request after request until one side has enough."""

    protocol_version = "HTTP/1.1"
    server_version = "omniedit-sandbox"
    sys_version = ""
    timeout = IDLE_TIMEOUT_S
    # Replies are written head first; waiting for an acknowledgement would cost 40 ms each.
    disable_nagle_algorithm = True
    app: WSGIApplication
    address: tuple[str, int]

    def handle_one_request(self) -> None:
        """Read one request and answer it."""
        self.close_connection = True
        try:
            self.raw_requestline = self.rfile.readline(65537)
            if len(self.raw_requestline) > 65536:
                self.requestline = self.request_version = self.command = ""
                self.send_error(HTTPStatus.REQUEST_URI_TOO_LONG)
                return
            if not self.raw_requestline or not self.parse_request():
                return
            self._respond()
        except (BrokenConnectionError, OSError):
            # The client has gone, or is to believe that we have.
            self.close_connection = True

    def handle_expect_100(self) -> bool:
        """Promise nothing yet: only who reads the body asks for it."""
        return True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """Keep quiet: the application tells of every exchange."""

    def send_error(
        self, code: int, message: str | None = None, explain: str | None = None
    ) -> None:
        """Answer what never became a request with the documented envelope."""
        del explain
        self.close_connection = True
        refusal = Refusal(code, message)
        body = json.dumps(refusal.envelope()).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self._linger()

    def _respond(self) -> None:
        body = self._body()
        if body is None:
            self.send_error(HTTPStatus.BAD_REQUEST)
            return
        head: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], _: object = None) -> Any:  # noqa: ANN401 - WSGI's write() is never used
            head[:] = [status, headers]

        chunks = self.app(self._environ(body), start_response)
        try:
            # Whoever was told to wait for `100 Continue` may or may not send the body now.
            may_stay = body.is_at_end
            self._send(head[0], head[1], chunks, may_stay=may_stay)
        finally:
            if hasattr(chunks, "close"):
                chunks.close()
        if not may_stay:
            self._linger()

    def _send(
        self,
        status: str,
        headers: list[tuple[str, str]],
        chunks: Iterable[bytes],
        *,
        may_stay: bool,
    ) -> None:
        code, _, phrase = status.partition(" ")
        self.send_response(int(code), phrase)
        for name, value in headers:
            self.send_header(name, value)
        if not may_stay or not any(name.lower() == "content-length" for name, _ in headers):
            self.close_connection = True
        self.send_header("Connection", "close" if self.close_connection else "keep-alive")
        self.end_headers()
        for chunk in chunks:
            self.wfile.write(chunk)
