"""The transfer of a file from its link to a part file: requests, ranges and retries."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from itertools import chain
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from omniedit.downloads.part import PartFile, Version
from omniedit.errors import (
    BlockedClientError,
    BrokenDownloadError,
    InvalidInputError,
    NotAVideoError,
    NotConnectedError,
    OmniEditError,
    RateLimitedError,
    ResultGoneError,
    ServerError,
    UnavailableError,
)
from omniedit.http.links import Link
from omniedit.http.urls import INTERNAL_NAME_CODE
from omniedit.policy import Retry
from omniedit.system.mp4 import MP4_HEAD_BYTES, is_mp4

if TYPE_CHECKING:
    from omniedit.http.client import Reply

PROGRESS_INTERVAL_S: Final = 0.1

_BAD_LINK: Final = frozenset({"internal_address", "invalid_url", "not_loopback", "unsafe_link"})
_TRANSIENT: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY})
_STRONG_ETAG: Final = re.compile(r'"[\x21\x23-\x7e]*"')

OnProgress = Callable[[int, int | None], None]
"""Takes the bytes so far and, if known, the total."""


@dataclass
class Transfer:
    """Requests the missing bytes of a part file for as long as that makes progress.

    Args:
        link: The link; a fresh one to the same path continues the same part file.
        part: The part file.
        retry: Rests after failed attempts.
        on_progress: Called at most ten times a second.
        task_id: The task that the file is a result of.
    """

    link: Link
    part: PartFile
    retry: Retry
    on_progress: OnProgress
    task_id: str | None = None

    def complete(self) -> None:
        """Complete the part file, continuing where an earlier run stopped.

        Raises:
            LocalError: If the disk does not allow it.
            ResultGoneError: If the link is dead or does not deliver a video; a fresh one may help.
            UnavailableError: If the attempts are used up; the bytes are kept for the next run.
        """
        self.part.resume()
        try:
            self._request_all()
        except OmniEditError as error:
            raise error.about(task_id=self.task_id) from error.__cause__

    def _request_all(self) -> None:
        part = self.part
        fruitless = 0
        changes = 0
        most_bytes = part.size_bytes
        version = part.version
        while True:
            try:
                self._attempt()
            except UnavailableError as error:
                if most_bytes and part.version != version:
                    # Progress starts over with another version, but a file must not keep changing.
                    changes += 1
                    most_bytes = part.size_bytes
                elif part.size_bytes > most_bytes:
                    fruitless = 0
                    most_bytes = part.size_bytes
                    self.retry.succeeded()
                else:
                    fruitless += 1
                version = part.version
                self._check_budget(error, max(fruitless, changes), has_bytes=most_bytes > 0)
                self.retry.rest(error)
            else:
                return

    def _check_budget(self, error: UnavailableError, fruitless: int, *, has_bytes: bool) -> None:
        """Raise the error of a failed attempt if another one is not worth it.

        Args:
            fruitless: How many attempts in a row brought no bytes, or how often the file changed.
            has_bytes: Whether any attempt has brought bytes.
        """
        policy = self.link.http.policy
        attempts = self.retry.attempts + 1
        if (error.retry_after_s or 0.0) > policy.longest_retry_after_s:
            raise error
        if fruitless < policy.attempts_without_progress and attempts < policy.download_attempts:
            return
        if not has_bytes:
            raise error
        msg = f"the download keeps breaking off ({attempts} attempts): {error.message}"
        raise BrokenDownloadError(msg, http_status=error.http_status) from error

    def _attempt(self) -> None:
        """Request the missing bytes once; raise an UnavailableError if some are still missing."""
        part = self.part
        if not part.is_complete:
            self._request()
        if part.version.total_bytes not in {None, part.size_bytes}:
            msg = f"the download broke off after {part.size_bytes} bytes"
            raise BrokenDownloadError(msg)
        # A host may serve a file that was cut off upstream, with a matching length.
        if not part.is_whole_video:
            msg = f"the {self.link.what} breaks off after {part.size_bytes} bytes"
            if part.is_complete:
                part.clear()
            raise BrokenDownloadError(msg)

    def _request(self) -> None:
        part = self.part
        headers: dict[str, str] = {}
        if part.is_resumable:
            headers = {"range": f"bytes={part.size_bytes}-", "if-range": str(part.version.etag)}
        try:
            with self.link.open(headers) as reply:
                end_bytes, chunks = self._accept(reply)
                self._receive(chunks, end_bytes)
        except InvalidInputError as error:
            raise _link_error(error) from None

    def _accept(self, reply: "Reply") -> tuple[int | None, Iterator[bytes]]:
        """Prepare the part file for a body; return the size it ends at, if known, and the body."""
        match reply.status:
            case HTTPStatus.OK:
                return self._accept_whole(reply)
            case HTTPStatus.PARTIAL_CONTENT | HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                return self._accept_rest(reply)
            case _:
                raise self._refusal(reply)

    def _accept_whole(self, reply: "Reply") -> tuple[int | None, Iterator[bytes]]:
        """Start with a whole file: it changed, ranges are unsupported, or there was no part yet."""
        chunks = reply.transfer()
        head = b""
        # The first chunks may be shorter than the header that identifies an MP4.
        for chunk in chunks:
            head += chunk
            if len(head) >= MP4_HEAD_BYTES:
                break
        if reply.encoding or not is_mp4(head):
            # Keep the part: a captive portal's page says nothing about it.
            content_type = reply.headers.get("content-type", "")
            if reply.encoding and content_type.lower().startswith("video/"):
                msg = f"the host compresses the {self.link.what}, although it was asked not to"
                raise BrokenDownloadError(msg, http_status=reply.status)
            kind = _describe(head, content_type)
            msg = f"the {self.link.what} link delivers {kind} instead of an MP4"
            raise NotAVideoError(msg, http_status=reply.status)
        self._check_size(reply.content_length or 0)
        self.part.begin(_version(reply, total_bytes=reply.content_length))
        return reply.content_length, chain((head,), chunks)

    def _accept_rest(self, reply: "Reply") -> tuple[int, Iterator[bytes]]:
        """Continue the part, if the reply is about its version and begins at its end."""
        part = self.part
        found = reply.content_range
        if found and part.is_resumable and not reply.encoding:
            version = _version(reply, total_bytes=found.total_bytes)
            # The part's total may be unknown.
            is_same = part.version in {version, version._replace(total_bytes=None)}
            is_rest = (
                found.start == part.size_bytes < found.end <= found.total_bytes
                and reply.content_length in {None, found.end - part.size_bytes}
            )
            if is_same and is_rest and reply.status == HTTPStatus.PARTIAL_CONTENT:
                part.version = version
                return found.end, reply.transfer()
            # A 416 may show that nothing is missing.
            if is_same and found.start is None and found.total_bytes == part.size_bytes:
                return part.size_bytes, iter(())
        # Another version, or other bytes: never splice two files.
        part.clear()
        msg = f"the file at the {self.link.what} link changed, or its ranges are wrong"
        raise BrokenDownloadError(msg, http_status=reply.status)

    def _receive(self, chunks: Iterator[bytes], end_bytes: int | None) -> None:
        part = self.part
        clock = self.link.http.clock
        total_bytes = part.version.total_bytes
        self.on_progress(part.size_bytes, total_bytes)
        due = clock() + PROGRESS_INTERVAL_S
        for chunk in chunks:
            part.append(chunk)
            if end_bytes is not None and part.size_bytes > end_bytes:
                part.clear()
                msg = "the server sent more bytes than it announced"
                raise BrokenDownloadError(msg)
            self._check_size(part.size_bytes)
            now = clock()
            if now >= due:
                self.on_progress(part.size_bytes, total_bytes)
                due = now + PROGRESS_INTERVAL_S
        self.on_progress(part.size_bytes, total_bytes)

    def _check_size(self, size_bytes: int) -> None:
        limit_bytes = self.link.http.policy.max_result_bytes
        if size_bytes > limit_bytes:
            self.part.clear()
            msg = f"the {self.link.what} is larger than {limit_bytes / 1024**3:g} GiB"
            raise NotAVideoError(msg, code="too_large")

    def _refusal(self, reply: "Reply") -> OmniEditError:
        """Return the error for a reply without a video."""
        status = reply.status
        what = self.link.what
        kind: type[OmniEditError] = ResultGoneError
        message = f"the {what} link answered {status}: it expired, or the {what} is gone"
        reply.beginning()
        if reply.blocks_client:
            kind = BlockedClientError
            message = f"the {what}'s host refuses this client (Cloudflare error 1010)"
        elif status == HTTPStatus.TOO_MANY_REQUESTS:
            kind, message = RateLimitedError, f"the {what}'s host asks to slow down (429)"
        elif status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _TRANSIENT:
            kind, message = ServerError, f"the {what}'s host answered {status}"
        elif status < HTTPStatus.MULTIPLE_CHOICES:
            kind, message = NotAVideoError, f"the {what} link answered {status} without a video"
        return kind(message, http_status=status, retry_after_s=reply.retry_after_s)


def _version(reply: "Reply", *, total_bytes: int | None) -> Version:
    # Only a strong validator may stand in If-Range (RFC 9110, 13.1.5).
    strong = _STRONG_ETAG.fullmatch(reply.headers.get("etag", "").strip())
    return Version(urlsplit(reply.url).path, strong[0] if strong else None, total_bytes)


def _describe(head: bytes, content_type: str) -> str:
    """Return what a body that is not an MP4 seems to be."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"<"):
        return "an XML or HTML page"
    if text.startswith((b"{", b"[")):
        return "JSON"
    if not head:
        return "nothing"
    kind = content_type.partition(";")[0].strip()[:60].lower()
    return f"another format, sent as {kind}," if kind == "video/mp4" else kind or "something else"


def _link_error(error: InvalidInputError) -> OmniEditError:
    """Return the error for a forbidden link, which is not the user's input."""
    if error.code == INTERNAL_NAME_CODE:
        # The file is still there, and its host may resolve correctly later.
        return NotConnectedError(error.message, hint=error.hint)
    if error.code in _BAD_LINK:
        return ResultGoneError(error.message, code=error.code)
    return error
