"""A request's body on a socket: bounded, chunked or not, asked for only when it is wanted."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from werkzeug.exceptions import BadRequest, ClientDisconnected

if TYPE_CHECKING:
    from collections.abc import Callable

_CHUNK_LINE_BYTES = 4096
_CHUNK_SIZE_DIGITS = 16


class Body(io.RawIOBase):
    """A request's body: ends where the request ends, chunked or not."""

    def __init__(
        self, source: io.BufferedIOBase, *, length: int | None, before_read: Callable[[], None]
    ) -> None:
        """Take the connection and the length, or None for a chunked body."""
        self._source = source
        self._is_chunked = length is None
        self._left = length or 0
        self._before_read = before_read
        self.was_read = False
        self.is_at_end = length == 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # Buffer has no name before 3.12
        """Read what is there, up to the end of the body.

        Raises:
            ClientDisconnected: the connection ended first.
            BadRequest: the chunks are malformed.
        """
        view = memoryview(buffer).cast("B")
        if self.is_at_end or not len(view):
            return 0
        if not self.was_read:
            self.was_read = True
            self._before_read()
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
        if not size or len(size) > _CHUNK_SIZE_DIGITS or size.strip(b"0123456789abcdefABCDEF"):
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
