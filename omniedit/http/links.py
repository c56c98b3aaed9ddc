"""Files behind links.

All redirects follow the same rules: never with a key, and never from https to http. Parts of a clip
are read through range requests, within narrow limits.
"""

import os
import re
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar
from urllib.parse import urljoin

from omniedit.errors import InvalidInputError, OmniEditError, UnreadableReplyError, refuse
from omniedit.http.urls import check_clip_url, parse_web_url, shown_host

if TYPE_CHECKING:
    from omniedit.http.client import HttpClient, Reply

T = TypeVar("T")

MAX_REDIRECTS: Final = 5
MAX_BYTES: Final = 2 * 1024 * 1024

_UNSAFE: Final = "unsafe_link"
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_BLOCK_BYTES: Final = 128 * 1024
_SMALL_BYTES: Final = 4 * _BLOCK_BYTES
_HEAD_BYTES: Final = 1024
# A comment ends at its first `-->`: if it could also end later, matching would take exponential time.
_HTML: Final = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<!--(?:(?!-->).)*-->\s*)*<(?:!doctype html|html)",
    re.IGNORECASE | re.DOTALL,
)
_MARGIN_S: Final = 0.2
"""How long to wait for a reader beyond its own deadline."""


class Incomplete(NamedTuple):
    """Too little could be read to decide: a reason to warn, not to refuse."""

    reason: str


class Link(NamedTuple):
    """A URL that leads to a clip or a result; it is never requested with a key.

    Args:
        what: What it leads to, as messages name it: "clip" or "result".
        deadline: For all requests, a monotonic instant.
        allow_internal: Allow addresses of this machine and its network.
    """

    http: "HttpClient"
    url: str
    what: str
    deadline: float | None = None
    allow_internal: bool = True

    @contextmanager
    def open(self, headers: Mapping[str, str]) -> Generator["Reply"]:
        """Yield the reply at the end of all redirects; its `url` is the last one.

        Raises:
            InvalidInputError: If the link or one of its redirects must not be followed.
            NetworkError: If a host does not answer.
        """
        url = self.url
        was_https = False
        what = f"{self.what} link"
        for _ in range(MAX_REDIRECTS + 1):
            is_https = parse_web_url(url, what=what).scheme == "https"
            if was_https and not is_https:
                refuse(
                    f"the {what} redirects from https to http, which is not followed", code=_UNSAFE
                )
            was_https = is_https
            with ExitStack() as stack:
                request = self.http.stream(
                    "GET",
                    url,
                    headers=headers,
                    deadline=self.deadline,
                    allow_internal=self.allow_internal,
                )
                try:
                    reply = stack.enter_context(request)
                except UnreadableReplyError as error:
                    # No body was read yet, so the URL itself is at fault.
                    raise InvalidInputError(error.message, code=_UNSAFE) from error
                if reply.status not in _REDIRECTS:
                    yield reply
                    return
                location = reply.headers.get("location", "")
            if not location:
                refuse(f"the {what} redirects without a location", code=_UNSAFE)
            # What cannot be joined is not a valid URL either, and refused as such.
            with suppress(ValueError):
                location = urljoin(url, location)
            url = location
        refuse(f"the {what} redirects more than {MAX_REDIRECTS} times", code=_UNSAFE)


def read_from_url(
    http: "HttpClient", url: str, read: Callable[["RangeReader"], T], *, allow_internal: bool
) -> T | Incomplete:
    """Return what `read` finds in the file at a URL, or why too little of it could be read.

    At most 3 s (by the client's policy) and 2 MiB are spent. No key is sent.

    Args:
        read: Reads the clip; its errors count only if it got all the bytes it asked for.
        allow_internal: Allow hosts on this machine and its network, such as the sandbox.

    Raises:
        InvalidInputError: If the URL cannot be a clip's or leads to a web page. What `read` raises
            is raised too.
    """
    check_clip_url(url, allow_internal=allow_internal)
    timeout_s = http.policy.clip_timeout_s
    reader = RangeReader(Link(http, url, "clip", http.clock() + timeout_s, allow_internal))
    found: list[T] = []
    errors: list[Exception] = []

    def read_in_thread() -> None:
        try:
            found.append(read(reader))
        except Exception as error:  # noqa: BLE001 - raised again in the thread that waits
            errors.append(error)

    # In a thread, because an interrupt that arrives during a callback from FFmpeg would be lost.
    thread = threading.Thread(target=read_in_thread, name="read-from-url", daemon=True)
    thread.start()
    thread.join(timeout_s + _MARGIN_S)
    if thread.is_alive():
        return Incomplete(reason=f"{shown_host(url)} did not answer within {timeout_s:g} s")
    if reader.refusal is not None:
        raise reader.refusal
    if found:
        return found[0]
    # Missing bytes look like damage to `read`, so its own error would mislead.
    if reader.failure is not None:
        return Incomplete(reason=reader.failure)
    raise errors[0]


class RangeReader:
    """A seekable file over range requests; it ends where reading fails.

    Nothing is raised, because FFmpeg, which reads it, defers errors: `failure` holds the reason,
    and `refusal` the error if this cannot be a clip.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._blocks: dict[int, bytes] = {}
        self._position = 0
        self._version: str | None = None
        self.size_bytes: int | None = None
        self.failure: str | None = None
        self.refusal: InvalidInputError | None = None

    @property
    def is_small(self) -> bool:
        """Whether the whole file can be read with a few requests."""
        self._block(0)
        return self.size_bytes is not None and self.size_bytes <= _SMALL_BYTES

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position; sends a request only if the size is needed and unknown."""
        if whence == os.SEEK_END:
            self._block(0)
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size_bytes or 0}
        self._position = max(0, base[whence] + offset)
        return self._position

    def read(self, size: int) -> bytes:
        """Return bytes from the position: fewer at the end of a block, none at the end of file."""
        index, offset = divmod(self._position, _BLOCK_BYTES)
        taken = self._block(index)[offset : offset + size]
        self._position += len(taken)
        return taken

    def _block(self, index: int) -> bytes:
        is_beyond = self.size_bytes is not None and index * _BLOCK_BYTES >= self.size_bytes
        if index not in self._blocks and not is_beyond and self.failure is None:
            try:
                self._blocks[index] = self._fetch(index * _BLOCK_BYTES)
            except OmniEditError as error:
                self.failure = error.message
        return self._blocks.get(index, b"")

    def _fetch(self, first: int) -> bytes:
        """Fetch the block that starts at `first`.

        Raises:
            OmniEditError: If the host does not answer or must not be contacted, a limit is
                reached, or the reply is not that block.
        """
        if len(self._blocks) * _BLOCK_BYTES >= MAX_BYTES:
            msg = f"more than {MAX_BYTES // 1024**2} MiB would have to be read"
            raise OmniEditError(msg)
        with self._link.open({"range": f"bytes={first}-{first + _BLOCK_BYTES - 1}"}) as reply:
            body = self._body(reply, first)
            # Request the next block from the URL that this one came from.
            self._link = self._link._replace(url=reply.url)
            return body

    def _body(self, reply: "Reply", first: int) -> bytes:
        status = reply.status
        host = shown_host(reply.url)
        if status == HTTPStatus.OK:
            self._refuse_web_page(reply.beginning(_HEAD_BYTES), host)
            msg = f"{host} does not support range requests"
            raise OmniEditError(msg)
        found = reply.content_range
        if status != HTTPStatus.PARTIAL_CONTENT or found is None or found.start != first:
            msg = f"{host} answered {status} instead of part of the clip"
            raise OmniEditError(msg)
        version = f"{found.total_bytes} {reply.headers.get('etag', '')}"
        if reply.encoding or self._version not in {None, version}:
            msg = f"the file at {host} changed while it was read"
            raise OmniEditError(msg)
        expected = min(found.end - first, _BLOCK_BYTES)
        body = b""
        for chunk in reply.transfer():
            body += chunk
            if len(body) >= expected:
                break
        if len(body) < min(_BLOCK_BYTES, found.total_bytes - first):
            msg = f"{host} sent less than it announced"
            raise OmniEditError(msg)
        if first == 0:
            self._refuse_web_page(body, host)
        self._version = version
        self.size_bytes = found.total_bytes
        return body[:expected]

    def _refuse_web_page(self, head: bytes, host: str) -> None:
        if _HTML.match(head):
            msg = f"this is a web page of {host}, not a video file"
            hint = "fetch the video first, e.g. with yt-dlp, and give the file"
            self.refusal = InvalidInputError(msg, code="web_page", hint=hint)
            raise self.refusal
