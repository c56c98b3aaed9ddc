"""A server on a raw socket that answers with raw bytes, and a catalogue of hostile replies.

`TINY` is a policy under which each of these cases ends within a fraction of a second.
"""

import gzip
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import chain, repeat
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from omniedit.policy import DEFAULT, Policy

TINY: Final[Policy] = DEFAULT._replace(
    connect_timeout_s=0.5,
    read_timeout_s=0.06,
    submit_timeout_s=0.06,
    upload_timeout_s=0.06,
    clip_timeout_s=0.06,
    first_backoff_s=0.001,
    longest_backoff_s=0.002,
    read_budget_s=0.2,
    submit_budget_s=0.2,
    duplicates_budget_s=0.1,
    attempts_without_progress=2,
    longest_retry_after_s=0.1,
    stall_s=0.06,
    busy_budget_s=0.2,
)
PAUSE_S: Final = 0.004

Pieces = Iterable[bytes | float]
"""The bytes to send, and between them pauses in seconds."""
Answer = Callable[[bytes], Pieces]
"""Takes the head of a request and returns the reply."""


class HostileServer:
    """Serves on loopback for a block; hangs up at the end of each answer.

    Args:
        answer: Answers each request.
        reads_body: Read the body of a request; otherwise it stays in the socket.
        tunnels_to: The certificate, with its key, of the hosts that this server impersonates as a
            proxy.
    """

    def __init__(
        self, answer: Answer, *, reads_body: bool = True, tunnels_to: Path | None = None
    ) -> None:
        self.heads: list[bytes] = []
        self.answer = answer
        self.reads_body = reads_body
        self.tls: ssl.SSLContext | None = None
        if tunnels_to is not None:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(tunnels_to)
        self.stopping = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Connection)
        self._server.hostile = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    hostile: HostileServer


class _Connection(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, _Server)
        hostile = self.server.hostile
        with suppress(OSError):
            head = self._head()
            if not head:
                return
            hostile.heads.append(head)
            if hostile.tls is not None and head.startswith(b"CONNECT "):
                head = self._head_in_tunnel(hostile.tls)
            if not hostile.reads_body:
                hostile.stopping.wait(10)
                return
            self._skip_body(head)
            for piece in hostile.answer(head):
                if isinstance(piece, float):
                    hostile.stopping.wait(piece)
                else:
                    self.wfile.write(piece)
                if hostile.stopping.is_set():
                    return

    def _head(self) -> bytes:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self.rfile.readline()
            if not line:
                return b""
            head += line
        return head

    def _head_in_tunnel(self, tls: ssl.SSLContext) -> bytes:
        self.wfile.write(OK + b"\r\n")
        self.request = tls.wrap_socket(self.connection, server_side=True)
        self.setup()
        return self._head()

    def finish(self) -> None:
        with suppress(OSError):
            super().finish()
        self.request.close()

    def _skip_body(self, head: bytes) -> None:
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                self.rfile.read(int(line.partition(b":")[2]))


OK: Final = b"HTTP/1.1 200 OK\r\n"


def whole(body: bytes = b"{}", *, headers: bytes = b"", status: bytes = b"200 OK") -> Answer:
    """Return an answer with a valid HTTP reply."""
    head = b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\nConnection: close\r\n\r\n"
    head %= status, headers, len(body)
    return lambda _head: [head, body]


def _dripping(start: bytes, drop: bytes) -> Answer:
    return lambda _head: chain([start], _drops(drop))


def _drops(drop: bytes) -> Iterator[bytes | float]:
    for _ in repeat(None):
        yield drop
        yield PAUSE_S


def _flooding(start: bytes, drop: bytes) -> Answer:
    return lambda _head: chain([start], repeat(drop * 100))


_CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
_SILENCE = 10.0

ENDLESS: Final[dict[str, Answer]] = {
    "silence": lambda _head: [_SILENCE],
    "status-line-drips": _dripping(b"HTTP/1.1 200 O", b"K"),
    "one-header-line-after-another": _dripping(OK, b"X-Header: 1\r\n"),
    "endless-header": _dripping(OK + b"X-Header: ", b"1"),
    "interim-100": _dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "interim-103": _dripping(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
    "interim-flood": _flooding(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "silence-after-the-headers": lambda _head: [OK + b"Content-Length: 9\r\n\r\n", _SILENCE],
    "body-drips": _dripping(OK + b"Content-Length: 999999\r\n\r\n", b" "),
    "body-without-a-length-drips": _dripping(OK + b"\r\n", b" "),
    "tiny-chunks-drip": _dripping(_CHUNKED, b"1\r\n \r\n"),
    "chunk-extension-drips": _dripping(_CHUNKED + b"1;", b"a"),
    "chunk-extension-floods": _flooding(_CHUNKED, b"1;" + b"a" * 999 + b"\r\n \r\n"),
    "chunk-size-drips": _dripping(_CHUNKED, b"0"),
    "trailers-drip": _dripping(_CHUNKED + b"2\r\n{}\r\n0\r\n", b"X-Trailer: 1\r\n"),
}
"""Replies that never end, although most of them never fall silent."""

BROKEN: Final[dict[str, Answer]] = {
    "hang-up": lambda _head: [],
    "hang-up-in-the-status-line": lambda _head: [b"HTTP/1.1 2"],
    "hang-up-in-the-headers": lambda _head: [OK, b"Content-Le"],
    "hang-up-in-the-body": lambda _head: [OK, b'Content-Length: 99\r\n\r\n{"id": '],
    "garbage": lambda _head: [b"garbage\r\n\r\n"],
    "another-protocol": lambda _head: [b"SSH-2.0-OpenSSH_9.6\r\n"],
    "non-numeric-status": lambda _head: [b"HTTP/1.1 abc OK\r\n\r\n"],
    "two-lengths": lambda _head: [OK, b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"],
    "negative-length": lambda _head: [OK, b"Content-Length: -2\r\n\r\n{}"],
    "non-numeric-length": lambda _head: [OK, b"Content-Length: two\r\n\r\n{}"],
    "invalid-chunk-size": lambda _head: [_CHUNKED, b"zz\r\n{}\r\n0\r\n\r\n"],
    "no-last-chunk": lambda _head: [_CHUNKED, b"2\r\n{}\r\n"],
    "null-in-a-header": lambda _head: [OK, b"X-A: a\0b\r\nContent-Length: 2\r\n\r\n{}"],
    "header-without-a-name": lambda _head: [OK, b": b\r\nContent-Length: 2\r\n\r\n{}"],
    "one-megabyte-header": lambda _head: [OK, b"X-A: " + b"a" * 1024**2 + b"\r\n\r\n{}"],
    "unknown-encoding": lambda _head: [
        OK,
        b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
    ],
}
"""Replies that end without being valid HTTP."""

ODD: Final[dict[str, Answer]] = {
    "html": whole(b"<html>Bad Gateway</html>", headers=b"Content-Type: text/html\r\n"),
    "empty-body": whole(b""),
    "deeply-nested": whole(b'{"id": "t-1", "a": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"),
    "nested": whole(b'{"id": "t-1", "a": ' + b"[" * 800 + b"NaN" + b"]" * 800 + b"}"),
    "not-a-number": whole(b'{"id": "t-1", "progress": NaN, "created": 1e999}'),
    "a-number-of-5000-digits": whole(b'{"id": "t-1", "created": ' + b"9" * 5000 + b"}"),
    "half-a-character": whole(b'{"id": "t-1", "status": "\\ud800"}'),
    "not-utf-8": whole(b'{"id": "t-1", "status": "\xff"}'),
    "absurd-dates": whole(
        b"{}",
        headers=b"Date: Fri, 31 Dec 9999 23:59:59 -2359\r\n"
        b"Retry-After: Fri, 31 Dec 9999 23:59:59 -9999\r\n",
    ),
    "two-json-values": whole(b"{}{}", headers=b"Connection: close\r\n"),
}
"""Replies that are odd but valid HTTP."""


def _zipped(size_bytes: int) -> bytes:
    return gzip.compress(b'{"id": "t-1"}' + b" " * size_bytes, 1)


_GZIP: Final = b"Content-Encoding: gzip\r\n"

HEAPS: Final[dict[str, Answer]] = {
    "seventeen-mebibytes": lambda _head: [OK, b"\r\n", *repeat(b" " * 1024**2, 17)],
    "announced-exabyte": lambda _head: [OK, b"Content-Length: 999999999999999999\r\n\r\n{}"],
    "gzip-bomb": whole(_zipped(24 * 1024**2), headers=_GZIP),
    "gzip-truncated": whole(_zipped(99_999)[:-9], headers=_GZIP),
}
"""Replies that are larger than expected or than they announce."""


def broken_videos(video: bytes) -> dict[str, Answer]:
    """Return replies that begin like a video, or redirect to one, and never deliver it.

    Args:
        video: A complete video.
    """
    half = video[: len(video) // 2]
    length = b"Content-Length: %d\r\n\r\n" % len(video)
    tag = b'ETag: "v1"\r\n'

    def another_range(head: bytes) -> Pieces:
        ranged = b"206 Partial Content" if b"\r\nrange:" in head.lower() else b"200 OK"
        span = b"Content-Range: bytes 0-9/%d\r\n" % len(video)
        return [b"HTTP/1.1 " + ranged + b"\r\n", span, tag, length, half]

    return {
        "video-drips": lambda _head: chain([OK, length, half], _drops(b"\0")),
        "video-without-end": lambda _head: chain([OK, b"\r\n", half], repeat(bytes(64 * 1024))),
        "video-stops": lambda _head: [OK, tag, length, half, _SILENCE],
        "video-breaks-off": lambda _head: [OK, length, half],
        "video-truncated": whole(half, headers=tag),
        "video-truncated-in-chunks": lambda _head: [
            _CHUNKED,
            b"%x\r\n" % len(half),
            half,
            b"\r\n0\r\n\r\n",
        ],
        "video-of-another-range": another_range,
        "video-encoded": whole(video, headers=_GZIP),
        "range-not-satisfiable": whole(b"", status=b"416 -"),
        "redirects-for-ever": whole(b"", headers=b"Location: ?again\r\n", status=b"302 -"),
        "redirects-to-a-file": whole(b"", headers=b"Location: file:///x\r\n", status=b"302 -"),
        "redirects-nowhere": whole(b"", status=b"302 -"),
        "no-content": whole(b"", status=b"204 -"),
    }
