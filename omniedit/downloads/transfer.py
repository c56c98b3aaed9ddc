"""One request for a result: redirects, ranges, and what each answer means for the part file."""

import re
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from http import HTTPStatus
from itertools import chain
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin, urlsplit

from omniedit.downloads.mp4 import HEAD_BYTES, described, is_mp4
from omniedit.downloads.part import PartFile, Version
from omniedit.errors import (
    BlockedClientError,
    BrokenDownloadError,
    InvalidInputError,
    NetworkError,
    NotAVideoError,
    OmniEditError,
    RateLimitedError,
    ResultGoneError,
    ServerError,
    UnreadableReplyError,
)
from omniedit.http.urls import parse_web_url

if TYPE_CHECKING:
    import httpx

    from omniedit.http.client import HttpClient

MAX_REDIRECTS: Final = 5
PROGRESS_INTERVAL_S: Final = 0.1

_MAX_ERROR_BYTES: Final = 64 * 1024
_ERROR_TIMEOUT_S: Final = 10.0
_ACCEPTED: Final = frozenset(
    {
        HTTPStatus.OK,
        HTTPStatus.PARTIAL_CONTENT,
        HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
    }
)
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_TRANSIENT: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY})
# Cloudflare's page, its plain text and its JSON.
_BLOCKED: Final = re.compile(rb"error[\s_-]*(?:code)?[\"'\s:>]*1010\b", re.IGNORECASE)
_LENGTH: Final = re.compile(r"[0-9]{1,18}")
_STRONG_ETAG: Final = re.compile(r'"[\x21\x23-\x7e]*"')
_CONTENT_RANGE: Final = re.compile(
    r"bytes (?:([0-9]{1,18})-([0-9]{1,18})|\*)/([0-9]{1,18})", re.IGNORECASE
)


def transfer(
    http: "HttpClient",
    url: str,
    part: PartFile,
    *,
    on_progress: Callable[[int, int | None], None],
    clock: Callable[[], float],
    check_link: Callable[[str], None] = lambda _url: None,
) -> None:
    """Bring `part` up to the whole file, from where it stands, with one request.

    Raises:
        ResultGoneError: The link is dead, or delivers no video.
        UnavailableError: Worth another try, unless `retry.is_transient` says no; what was
            received is in the part.
        LocalError: The disk does not take it.
    """
    if part.is_complete:
        return
    # Ranges count encoded bytes, so ask for the bytes as they are.
    headers = {"accept-encoding": "identity"}
    if part.is_resumable:
        etag = part.version.etag if part.version else None
        headers |= {"range": f"bytes={part.size_bytes}-", "if-range": etag or ""}
    with _followed(http, url, headers, check_link) as (response, answered_url):
        if response.status_code not in _ACCEPTED:
            raise _refusal(response, _error_body(http, response, answered_url, clock=clock))
        with http.reading(answered_url):
            end_bytes, chunks = _accepted(response, answered_url, part)
            _receive(chunks, part, end_bytes=end_bytes, on_progress=on_progress, clock=clock)
    if not _is_finished(part):
        msg = f"the download broke off after {part.size_bytes} bytes"
        raise BrokenDownloadError(msg)


@contextmanager
def _followed(
    http: "HttpClient", url: str, headers: Mapping[str, str], check_link: Callable[[str], None]
) -> Generator[tuple["httpx.Response", str]]:
    """Hand out the reply at the end of the redirects, and the URL that gave it."""
    for _ in range(MAX_REDIRECTS + 1):
        _check_link(url)
        check_link(url)
        with ExitStack() as stack:
            try:
                response = stack.enter_context(http.stream("GET", url, headers=headers))
            except UnreadableReplyError as error:
                # Of a request whose reply is not read yet: the URL cannot be asked for at all.
                raise ResultGoneError(error.message, code="unsafe_link") from error
            if response.status_code not in _REDIRECTS:
                yield response, url
                return
            url = _redirected(url, response.headers.get("location", ""))
    msg = f"the result link redirects more than {MAX_REDIRECTS} times"
    raise ResultGoneError(msg, code="unsafe_link")


def _check_link(url: str) -> None:
    try:
        parse_web_url(url, what="result link")
    except InvalidInputError as error:
        # It is the service's mistake, not the caller's.
        raise ResultGoneError(error.message, code="unsafe_link") from None


def _redirected(url: str, location: str) -> str:
    try:
        target = urljoin(url, location)
        is_downgrade = urlsplit(url).scheme == "https" and urlsplit(target).scheme == "http"
    except ValueError:
        location, target, is_downgrade = "", "", False
    if not location:
        msg = "the result link redirects to nowhere"
        raise ResultGoneError(msg, code="unsafe_link")
    if is_downgrade:
        msg = "the result link redirects from https to http, which is not followed"
        raise ResultGoneError(msg, code="unsafe_link")
    return target


def _accepted(
    response: "httpx.Response", url: str, part: PartFile
) -> tuple[int | None, Iterator[bytes]]:
    """Make the part ready for the body of a reply; return at which size it ends, and the body."""
    match response.status_code:
        case HTTPStatus.OK:
            return _from_the_start(response, url, part)
        case HTTPStatus.PARTIAL_CONTENT if end_bytes := _continues(response, url, part):
            return end_bytes, response.iter_raw()
        case HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE if _is_at_end(response, url, part):
            return part.size_bytes, iter(())
        case _:
            # Of another version, or of other bytes: a splice of the two would be neither.
            part.clear()
            msg = "the file at the result link changed, or its ranges are wrong"
            raise BrokenDownloadError(msg, http_status=response.status_code)


def _from_the_start(
    response: "httpx.Response", url: str, part: PartFile
) -> tuple[int | None, Iterator[bytes]]:
    """Take a whole file: it changed, ranges are unsupported, or nothing was here yet."""
    chunks, head = response.iter_raw(), b""
    # The first chunks may be shorter than what tells an MP4.
    for chunk in chunks:
        head += chunk
        if len(head) >= HEAD_BYTES:
            break
    if _is_encoded(response) or not is_mp4(head):
        # What is here is kept: the page of a captive portal says nothing about it.
        content_type = response.headers.get("content-type", "")
        msg = f"the result link delivers {described(head, content_type)} instead of an MP4"
        raise NotAVideoError(msg, http_status=response.status_code)
    version = _version(response, url, total_bytes=_content_length(response))
    part.begin(version)
    return version.total_bytes, chain((head,), chunks)


def _continues(response: "httpx.Response", url: str, part: PartFile) -> int | None:
    """Return where a 206 ends if it goes on exactly where the part ends, of the same version."""
    found = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
    if found is None or found[1] is None or _is_encoded(response):
        return None
    start, end_bytes, total_bytes = int(found[1]), int(found[2]) + 1, int(found[3])
    length_bytes = _content_length(response)
    if (
        start != part.size_bytes
        or not start < end_bytes <= total_bytes
        or (length_bytes is not None and length_bytes != end_bytes - start)
    ):
        return None
    version = _version(response, url, total_bytes=total_bytes)
    if not part.is_resumable or not _is_same(part.version, version):
        return None
    part.version = version
    return end_bytes


def _is_at_end(response: "httpx.Response", url: str, part: PartFile) -> bool:
    """Return whether a 416 says that the part, of unknown length so far, is all there is."""
    found = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
    if found is None or found[1] is not None or not part.is_resumable:
        return False
    version = _version(response, url, total_bytes=int(found[3]))
    return version.total_bytes == part.size_bytes and _is_same(part.version, version)


def _is_same(held: Version | None, answered: Version) -> bool:
    return held is not None and held == replace(
        answered, total_bytes=answered.total_bytes if held.total_bytes is not None else None
    )


def _version(response: "httpx.Response", url: str, *, total_bytes: int | None) -> Version:
    etag = response.headers.get("etag", "").strip()
    # Only a strong validator may stand in If-Range (RFC 9110, 13.1.5).
    is_strong = _STRONG_ETAG.fullmatch(etag) is not None
    return Version(
        url_path=urlsplit(url).path, etag=etag if is_strong else None, total_bytes=total_bytes
    )


def _content_length(response: "httpx.Response") -> int | None:
    text = response.headers.get("content-length", "").strip()
    if "transfer-encoding" in response.headers or not _LENGTH.fullmatch(text):
        return None
    return int(text)


def _is_encoded(response: "httpx.Response") -> bool:
    encoding = response.headers.get("content-encoding", "").strip().lower()
    return encoding not in {"", "identity"}


def _is_finished(part: PartFile) -> bool:
    """Return whether nothing is missing; where no length was announced, the MP4 must tell."""
    return part.is_complete or (_total_bytes(part) is None and part.is_whole_video)


def _total_bytes(part: PartFile) -> int | None:
    return part.version.total_bytes if part.version else None


def _receive(
    chunks: Iterator[bytes],
    part: PartFile,
    *,
    end_bytes: int | None,
    on_progress: Callable[[int, int | None], None],
    clock: Callable[[], float],
) -> None:
    total_bytes = _total_bytes(part)
    on_progress(part.size_bytes, total_bytes)
    due = clock() + PROGRESS_INTERVAL_S
    for chunk in chunks:
        part.append(chunk)
        if end_bytes is not None and part.size_bytes > end_bytes:
            part.clear()
            msg = "the server sent more bytes than it announced"
            raise BrokenDownloadError(msg)
        now = clock()
        if now >= due:
            on_progress(part.size_bytes, total_bytes)
            due = now + PROGRESS_INTERVAL_S
    on_progress(part.size_bytes, total_bytes)


def _refusal(response: "httpx.Response", body: bytes) -> OmniEditError:
    """Return what a reply without a video means."""
    status = response.status_code
    error_type: type[OmniEditError] = ResultGoneError
    message = f"the result link answered {status}: it expired, or the result is gone"
    if status in range(400, 500) and _BLOCKED.search(body):
        error_type = BlockedClientError
        message = "the result's host refuses this client (Cloudflare error 1010)"
    elif status == HTTPStatus.TOO_MANY_REQUESTS:
        error_type, message = RateLimitedError, "the result's host asks to slow down (429)"
    elif status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _TRANSIENT:
        error_type, message = ServerError, f"the result's host answered {status}"
    elif status < HTTPStatus.MULTIPLE_CHOICES:
        error_type, message = NotAVideoError, f"the result link answered {status} without a video"
    return error_type(message, http_status=status, retry_after_s=_retry_after_s(response))


def _error_body(
    http: "HttpClient", response: "httpx.Response", url: str, *, clock: Callable[[], float]
) -> bytes:
    """Return the beginning of what came with a refusal, as far as it comes."""
    body, deadline = b"", clock() + _ERROR_TIMEOUT_S
    with suppress(NetworkError), http.reading(url):
        for chunk in response.iter_raw():
            body += chunk
            if len(body) >= _MAX_ERROR_BYTES or clock() > deadline:
                break
    return body


def _retry_after_s(response: "httpx.Response") -> float | None:
    from omniedit.http.client import parse_retry_after  # noqa: PLC0415 - brings httpx, loaded by now

    return parse_retry_after(response.headers.get("retry-after", ""), now=datetime.now(UTC))
