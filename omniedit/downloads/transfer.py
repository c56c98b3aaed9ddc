"""The download of a file from its link to its final name: requests, ranges and retries."""

import re
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from omniedit.downloads.part import MP4_HEAD_BYTES, PartFile, Version, is_mp4
from omniedit.downloads.placement import Placement
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
from omniedit.http.links import followed
from omniedit.http.reply import CONTENT_RANGE, is_blocked_client, retry_after_of
from omniedit.http.urls import INTERNAL_NAME_CODE
from omniedit.models import SavedFile
from omniedit.policy import Retry
from omniedit.system import THIS_SYSTEM, System
from omniedit.system.folders import private_folder

if TYPE_CHECKING:
    from omniedit.http.client import HttpClient, StreamedReply

MAX_CHANGES: Final = 5
"""How often the file at a link may change during a download."""
PROGRESS_INTERVAL_S: Final = 0.1

_BAD_LINK: Final = frozenset({"internal_address", "invalid_url", "not_loopback", "unsafe_link"})
_TRANSIENT: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY})
_LENGTH: Final = re.compile(r"[0-9]{1,18}")
_STRONG_ETAG: Final = re.compile(r'"[\x21\x23-\x7e]*"')

OnProgress = Callable[[int, int | None], None]
"""Takes the bytes so far and, if known, the total."""
OnRetry = Callable[[str, float, int], None]
"""Takes the failure, the seconds until the next attempt, and the number of the failed one."""


class Downloader:
    """Downloads results and clips, completely or not at all.

    Args:
        http: Sends the requests, never with a key; its policy and clock apply here too.
        sleep: Sleeps between two attempts.
        jitter: Returns a number in [0, 1).
        wait: Sleeps while another process is writing the same target; by default `sleep`.
        allow_internal: Allow addresses of this machine and its network.
        system: The operating system; injected by tests.
    """

    def __init__(
        self,
        http: "HttpClient",
        *,
        sleep: Callable[[float], object],
        jitter: Callable[[], float],
        wait: Callable[[float], object] | None = None,
        allow_internal: bool = True,
        system: System = THIS_SYSTEM,
    ) -> None:
        self._http = http
        self._sleep = sleep
        self._jitter = jitter
        self._allow_internal = allow_internal
        self._placement = Placement(
            sleep=wait or sleep, budget_s=http.policy.busy_budget_s, system=system
        )

    def download(
        self,
        url: str,
        target: Path,
        *,
        what: str = "result",
        task_id: str | None = None,
        overwrite: bool = False,
        deadline: float | None = None,
        on_progress: OnProgress,
        on_retry: OnRetry,
        on_verified: Callable[[SavedFile], None] | None = None,
    ) -> SavedFile:
        """Save the file at `url` as `target`, continuing where an earlier run stopped.

        Args:
            url: The link; a fresh one to the same path continues the same part file.
            target: The final path; missing folders are created.
            what: What the file is, as messages name it: "result" or "clip".
            task_id: The task it is the result of.
            overwrite: Replace an existing file.
            deadline: A monotonic instant that the download does not outlive.
            on_progress: Called at most ten times a second.
            on_retry: Called before each pause.
            on_verified: Called with the complete, synced file before it is placed.

        Raises:
            TargetExistsError: If another file has that name.
            TargetBusyError: If another process is still downloading it at the deadline.
            LocalError: If the disk, the folder or the name does not allow it.
            ResultGoneError: If the link is dead or does not deliver a video; a fresh one may help.
            UnavailableError: If the attempts are used up; the bytes so far are kept for the next run.
        """
        retry = Retry(
            sleep=self._sleep,
            clock=self._http.clock,
            jitter=self._jitter,
            policy=self._http.policy,
            deadline=deadline,
            on_retry=on_retry,
        )

        def fill(part: PartFile) -> None:
            part.resume()
            transfer = _Transfer(
                self._http, part, retry, what, deadline, self._allow_internal, on_progress
            )
            try:
                transfer.complete(url)
            except OmniEditError as error:
                raise error.about(task_id=task_id) from error.__cause__

        placement = self._placement
        if deadline is not None:
            placement = placement.within(deadline - self._http.clock())
        return placement.write(
            target, task_id or what, fill, overwrite=overwrite, on_verified=on_verified
        )

    @contextmanager
    def fetch(
        self,
        url: str,
        *,
        folder: Path,
        what: str = "result",
        task_id: str | None = None,
        deadline: float | None = None,
        on_progress: OnProgress,
        on_retry: OnRetry,
    ) -> Generator[Path]:
        """Download the file at `url` to a private folder below `folder` for a block.

        Raises:
            LocalError: If the disk or the folder does not allow it.
            ResultGoneError: If the link is dead or does not deliver a video; a fresh one may help.
            UnavailableError: If the attempts are used up.
        """
        with private_folder(folder) as private:
            saved = self.download(
                url,
                private / f"{what}.mp4",
                what=what,
                task_id=task_id,
                deadline=deadline,
                on_progress=on_progress,
                on_retry=on_retry,
            )
            yield Path(saved.path)


@dataclass
class _Transfer:
    """Requests the missing bytes of a part file for as long as that makes progress."""

    http: "HttpClient"
    part: PartFile
    retry: Retry
    what: str
    deadline: float | None
    allow_internal: bool
    on_progress: OnProgress

    def __post_init__(self) -> None:
        self.fruitless = 0
        """How many attempts in a row brought no bytes."""
        self.changes = 0
        self.version = self.part.version
        """The version that the latest attempt met."""
        self.most_bytes = self.part.size_bytes

    def complete(self, url: str) -> None:
        """Complete the part file from its current size.

        Raises:
            ResultGoneError: If the link is dead or does not deliver a video.
            UnavailableError: If the attempts are used up or another one would not help.
            LocalError: If the disk is full or fails.
        """
        while True:
            try:
                self._ask(url)
            except UnavailableError as error:
                self._check_progress(error)
                self.retry.rest(error)
            else:
                return

    def _check_progress(self, error: UnavailableError) -> None:
        """Record how far a failed attempt came.

        Raises:
            UnavailableError: If another attempt is not worth it.
        """
        part, policy = self.part, self.http.policy
        if self.version not in {None, part.version}:
            self.changes += 1
            self.most_bytes = 0
        self.version = part.version
        if part.size_bytes > self.most_bytes:
            self.most_bytes = part.size_bytes
            self.fruitless = 0
            self.retry.succeeded()
        else:
            self.fruitless += 1
        if (error.retry_after_s or 0.0) > policy.longest_retry_after_s:
            raise error
        attempts = self.retry.attempts + 1
        if (
            self.fruitless < policy.attempts_without_progress
            and attempts < policy.download_attempts
            and self.changes < MAX_CHANGES
        ):
            return
        if not self.most_bytes:
            raise error
        msg = f"the download keeps breaking off ({attempts} attempts): {error.message}"
        raise BrokenDownloadError(msg, http_status=error.http_status) from error

    def _ask(self, url: str) -> None:
        """Request the missing bytes once.

        Raises:
            UnavailableError: If bytes are still missing; the part file holds those received.
        """
        part = self.part
        if not part.is_complete:
            headers: dict[str, str] = {}
            if part.is_resumable:
                etag = part.version.etag if part.version else None
                headers = {"range": f"bytes={part.size_bytes}-", "if-range": etag or ""}
            try:
                self._request(url, headers)
            except InvalidInputError as error:
                raise _link_error(error) from None
        if part.total_bytes not in {None, part.size_bytes}:
            msg = f"the download broke off after {part.size_bytes} bytes"
            raise BrokenDownloadError(msg)
        # A host may serve a file that was cut off upstream, with a matching length.
        if not part.is_whole_video:
            msg = f"the {self.what} breaks off after {part.size_bytes} bytes"
            if part.is_complete:
                part.clear()
            raise BrokenDownloadError(msg)

    def _request(self, url: str, headers: dict[str, str]) -> None:
        with followed(
            self.http,
            url,
            what=self.what,
            headers=headers,
            deadline=self.deadline,
            allow_internal=self.allow_internal,
        ) as reply:
            end_bytes, chunks = self._accept(reply)
            self._receive(chunks, end_bytes)

    def _accept(self, reply: "StreamedReply") -> tuple[int | None, Iterator[bytes]]:
        """Prepare the part file for a body; return the size it ends at, if known, and the body."""
        match reply.status:
            case HTTPStatus.OK:
                return self._accept_whole(reply)
            case HTTPStatus.PARTIAL_CONTENT if end_bytes := _continuation_end(reply, self.part):
                return end_bytes, reply.transfer()
            case HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE if _is_at_end(reply, self.part):
                return self.part.size_bytes, iter(())
            case HTTPStatus.PARTIAL_CONTENT | HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                # Another version, or other bytes: never splice two files.
                self.part.clear()
                msg = f"the file at the {self.what} link changed, or its ranges are wrong"
                raise BrokenDownloadError(msg, http_status=reply.status)
            case _:
                raise self._refusal(reply)

    def _accept_whole(self, reply: "StreamedReply") -> tuple[int | None, Iterator[bytes]]:
        """Start with a whole file: it changed, ranges are unsupported, or there was no part yet."""
        chunks, head = reply.transfer(), b""
        # The first chunks may be shorter than the header that identifies an MP4.
        for chunk in chunks:
            head += chunk
            if len(head) >= MP4_HEAD_BYTES:
                break
        if _is_encoded(reply) or not is_mp4(head):
            # Keep the part: a captive portal's page says nothing about it.
            content_type = reply.headers.get("content-type", "")
            if _is_encoded(reply) and content_type.lower().startswith("video/"):
                msg = f"the host compresses the {self.what}, although it was asked not to"
                raise BrokenDownloadError(msg, http_status=reply.status)
            kind = _describe(head, content_type)
            msg = f"the {self.what} link delivers {kind} instead of an MP4"
            raise NotAVideoError(msg, http_status=reply.status)
        version = _version(reply, total_bytes=_content_length(reply))
        self._check_size(version.total_bytes or 0)
        self.part.begin(version)
        return version.total_bytes, chain((head,), chunks)

    def _receive(self, chunks: Iterator[bytes], end_bytes: int | None) -> None:
        part, clock, total_bytes = self.part, self.http.clock, self.part.total_bytes
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
        limit_bytes = self.http.policy.max_result_bytes
        if size_bytes > limit_bytes:
            self.part.clear()
            msg = f"the {self.what} is larger than {limit_bytes / 1024**3:g} GiB"
            raise NotAVideoError(msg, code="too_large")

    def _refusal(self, reply: "StreamedReply") -> OmniEditError:
        """Return the error for a reply without a video."""
        status, what = reply.status, self.what
        kind: type[OmniEditError] = ResultGoneError
        message = f"the {what} link answered {status}: it expired, or the {what} is gone"
        if is_blocked_client(status, reply.beginning()):
            kind = BlockedClientError
            message = f"the {what}'s host refuses this client (Cloudflare error 1010)"
        elif status == HTTPStatus.TOO_MANY_REQUESTS:
            kind, message = RateLimitedError, f"the {what}'s host asks to slow down (429)"
        elif status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _TRANSIENT:
            kind, message = ServerError, f"the {what}'s host answered {status}"
        elif status < HTTPStatus.MULTIPLE_CHOICES:
            kind, message = NotAVideoError, f"the {what} link answered {status} without a video"
        return kind(message, http_status=status, retry_after_s=retry_after_of(reply.headers))


def _continuation_end(reply: "StreamedReply", part: PartFile) -> int | None:
    """Return the end of a 206, or None unless it continues the part's version at the part's end."""
    found = CONTENT_RANGE.fullmatch(reply.headers.get("content-range", ""))
    if found is None or found[1] is None or _is_encoded(reply):
        return None
    start, end_bytes, total_bytes = int(found[1]), int(found[2]) + 1, int(found[3])
    length_bytes = _content_length(reply)
    if (
        start != part.size_bytes
        or not start < end_bytes <= total_bytes
        or (length_bytes is not None and length_bytes != end_bytes - start)
    ):
        return None
    version = _version(reply, total_bytes=total_bytes)
    if not part.is_resumable or not _is_same_version(part.version, version):
        return None
    part.version = version
    return end_bytes


def _is_at_end(reply: "StreamedReply", part: PartFile) -> bool:
    """Return whether a 416 shows that the part, whose total was unknown, is already complete."""
    found = CONTENT_RANGE.fullmatch(reply.headers.get("content-range", ""))
    if found is None or found[1] is not None or not part.is_resumable:
        return False
    version = _version(reply, total_bytes=int(found[3]))
    return version.total_bytes == part.size_bytes and _is_same_version(part.version, version)


def _is_same_version(held: Version | None, answered: Version) -> bool:
    return (
        held is not None
        and (held.url_path, held.etag) == (answered.url_path, answered.etag)
        and held.total_bytes in {None, answered.total_bytes}
    )


def _version(reply: "StreamedReply", *, total_bytes: int | None) -> Version:
    etag = reply.headers.get("etag", "").strip()
    # Only a strong validator may stand in If-Range (RFC 9110, 13.1.5).
    is_strong = _STRONG_ETAG.fullmatch(etag) is not None
    return Version(
        url_path=urlsplit(reply.url).path,
        etag=etag if is_strong else None,
        total_bytes=total_bytes,
    )


def _content_length(reply: "StreamedReply") -> int | None:
    text = reply.headers.get("content-length", "").strip()
    if "transfer-encoding" in reply.headers or not _LENGTH.fullmatch(text):
        return None
    return int(text)


def _is_encoded(reply: "StreamedReply") -> bool:
    encoding = reply.headers.get("content-encoding", "").strip().lower()
    return encoding not in {"", "identity"}


def _describe(head: bytes, content_type: str) -> str:
    """Return what a body that is not an MP4 seems to be."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"<?xml"):
        return "XML"
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
