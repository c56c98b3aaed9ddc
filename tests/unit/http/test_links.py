"""A file at a URL, read through range requests within narrow limits."""

import io
import re
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from omniedit.errors import InvalidInputError
from omniedit.http.client import HttpClient
from omniedit.http.links import MAX_BYTES, Incomplete, Link, RangeReader, read_from_url
from omniedit.policy import DEFAULT
from tests.unit.http.hostile import ENDLESS, TINY, Answer, HostileServer

URL = "https://media.example/clip.mp4?signature=secret"
BLOCK = 128 * 1024
Handler = Callable[[httpx.Request], httpx.Response]


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Host:
    """Answers range requests for one file and records them."""

    def __init__(self, content: bytes, **headers: str) -> None:
        self.content = content
        self.headers = headers
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers["range"])
        assert match
        first, last = int(match[1]), min(int(match[2]), len(self.content) - 1)
        if first >= len(self.content):
            return httpx.Response(416, headers={"content-range": f"bytes */{len(self.content)}"})
        headers = {"content-range": f"bytes {first}-{last}/{len(self.content)}"} | self.headers
        return httpx.Response(
            206, headers=headers, stream=httpx.ByteStream(self.content[first : last + 1])
        )


def reader_over(
    handler: Handler,
    *,
    url: str = URL,
    allow_internal: bool = False,
    clock: Callable[[], float] | None = None,
) -> RangeReader:
    clock = clock or Clock()
    http = HttpClient(transport=httpx.MockTransport(handler), clock=clock)
    deadline = clock() + DEFAULT.clip_timeout_s
    return RangeReader(Link(http, url, "clip", deadline, allow_internal))


def look(handler: Handler, read: Callable[[RangeReader], Any], *, url: str = URL) -> Any:
    http = HttpClient(transport=httpx.MockTransport(handler))
    return read_from_url(http, url, read, allow_internal=False)


def read_all(file: RangeReader) -> bytes:
    parts: list[bytes] = []
    while part := file.read(100_000):
        parts.append(part)
    return b"".join(parts)


CONTENT = bytes(index * 7 % 251 for index in range(BLOCK * 2 + 1000))


def test_a_range_reader_behaves_like_a_file() -> None:
    file = reader_over(Host(CONTENT))

    assert file.read(10) == CONTENT[:10]
    assert file.tell() == 10
    assert file.seek(-5, io.SEEK_END) == len(CONTENT) - 5
    assert file.read(100) == CONTENT[-5:]
    assert file.read(100) == b""
    assert file.seek(3) == 3
    assert file.seek(4, io.SEEK_CUR) == 7
    assert file.read(3) == CONTENT[7:10]
    file.seek(0)
    assert read_all(file) == CONTENT
    assert file.failure is None
    assert file.size_bytes == len(CONTENT)


def test_each_block_is_requested_once() -> None:
    host = Host(CONTENT)
    file = reader_over(host)

    for _ in range(3):
        file.seek(0)
        read_all(file)

    assert len(host.requests) == 3
    assert {request.headers["accept-encoding"] for request in host.requests} == {"identity"}


def test_no_key_is_ever_sent() -> None:
    host = Host(CONTENT)

    read_all(reader_over(host))

    for request in host.requests:
        assert "authorization" not in request.headers
        assert "cookie" not in request.headers
        assert request.headers["user-agent"].startswith("omniedit/")


def test_reading_stops_after_2_mib_and_says_so() -> None:
    host = Host(bytes(MAX_BYTES * 2))
    file = reader_over(host)

    read = read_all(file)

    assert len(read) == MAX_BYTES
    assert sum(int(r.headers["range"].split("-")[1]) + 1 for r in host.requests[-1:]) == MAX_BYTES
    assert file.failure == "more than 2 MiB would have to be read"


def test_reading_stops_after_3_seconds_and_says_so() -> None:
    clock = Clock()
    host = Host(CONTENT)

    def slow(request: httpx.Request) -> httpx.Response:
        clock.now += 2
        return host(request)

    file = reader_over(slow, clock=clock)

    assert len(read_all(file)) == 2 * BLOCK
    assert file.failure == "media.example did not answer in time"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        pytest.param(lambda: httpx.Response(200, text="<html>"), "range requests", id="no-ranges"),
        pytest.param(lambda: httpx.Response(404), "answered 404", id="not-found"),
        pytest.param(lambda: httpx.Response(403), "answered 403", id="forbidden"),
        pytest.param(lambda: httpx.Response(503), "answered 503", id="busy"),
        pytest.param(
            lambda: httpx.Response(206, content=b"abc"), "answered 206", id="no-content-range"
        ),
        pytest.param(
            lambda: httpx.Response(
                206, headers={"content-range": "bytes 5-9/10"}, content=b"56789"
            ),
            "answered 206",
            id="another-range",
        ),
        pytest.param(
            lambda: httpx.Response(
                206,
                headers={"content-range": "bytes 0-9/10"},
                stream=httpx.ByteStream(b"abc"),
            ),
            "less than it announced",
            id="truncated",
        ),
        pytest.param(
            lambda: httpx.Response(
                206,
                headers={"content-range": "bytes 0-2/3", "content-encoding": "br"},
                stream=httpx.ByteStream(b"abc"),
            ),
            "changed",
            id="encoded",
        ),
        pytest.param(
            lambda: httpx.Response(302, headers={"location": "http://media.example/x"}),
            "https to http",
            id="redirect-from-https-to-http",
        ),
        pytest.param(
            lambda: httpx.Response(302), "without a location", id="redirect-without-location"
        ),
        pytest.param(
            lambda: httpx.Response(302, headers={"location": "http://[::1"}),
            "an invalid URL",
            id="redirect-to-an-invalid-url",
        ),
        pytest.param(
            lambda: httpx.Response(302, headers={"location": "file:///etc/passwd"}),
            "http",
            id="redirect-to-another-scheme",
        ),
        pytest.param(
            lambda: httpx.Response(302, headers={"location": "/"}),
            "more than 5",
            id="redirect-loop",
        ),
    ],
)
def test_an_unusable_reply_is_incomplete_and_refuses_nothing(
    answer: Callable[[], httpx.Response], words: str
) -> None:
    def read(file: RangeReader) -> str:
        if not file.read(8):
            msg = "this looks damaged"
            raise InvalidInputError(msg)
        return "read"

    found = look(lambda _request: answer(), read)

    assert isinstance(found, Incomplete)
    assert words in found.reason
    assert "secret" not in found.reason


PAGE = b"\xef\xbb\xbf\n<!-- a page -->\n<!DOCTYPE html><title>Clip</title>"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(
            lambda _request: httpx.Response(200, stream=httpx.ByteStream(PAGE)), id="whole"
        ),
        pytest.param(Host(PAGE), id="in-parts"),
    ],
)
def test_a_web_page_is_refused(answer: Handler) -> None:
    with pytest.raises(InvalidInputError, match="this is a web page of media") as caught:
        look(answer, lambda file: file.read(8))

    assert "yt-dlp" in (caught.value.hint or "")


def test_comments_before_a_page_are_skipped_in_linear_time() -> None:
    began = time.process_time()

    assert look(Host(b"<!---->" * 24 + b"abc"), lambda file: file.read(1)) == b"<"
    with pytest.raises(InvalidInputError, match="this is a web page"):
        look(Host(b"<!---->" * 24 + b"<html>"), lambda file: file.read(8))

    assert time.process_time() - began < 1


def test_a_broken_connection_is_incomplete() -> None:
    def broken(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    found = look(broken, lambda file: None if file.read(1) else _refuse())

    assert isinstance(found, Incomplete)
    assert "cannot connect to media.example" in found.reason


def _refuse() -> Any:
    msg = "empty"
    raise InvalidInputError(msg)


def test_a_complete_read_decides_about_the_clip() -> None:
    assert look(Host(b"abc"), lambda file: file.read(3)) == b"abc"
    with pytest.raises(InvalidInputError, match="empty"):
        look(Host(b"abc"), lambda file: _refuse() if file.read(3) else None)


def test_a_finding_counts_even_if_the_read_was_cut_short() -> None:
    def read(file: RangeReader) -> int:
        return len(read_all(file))

    assert look(Host(bytes(MAX_BYTES * 2)), read) == MAX_BYTES


def test_a_bug_in_the_reading_thread_reaches_the_caller() -> None:
    with pytest.raises(ZeroDivisionError):
        look(Host(b"abc"), lambda _file: 1 / 0)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1/a.mp4", "http://localhost/a.mp4", "http://10.0.0.1/a", "http://[::1]/a.mp4"],
)
def test_internal_addresses_are_refused_before_any_request(url: str) -> None:
    with pytest.raises(InvalidInputError):
        look(lambda _request: pytest.fail("asked"), read_all, url=url)


def test_a_redirect_to_an_internal_address_is_incomplete() -> None:
    file = reader_over(
        lambda _request: httpx.Response(302, headers={"location": "https://10.0.0.1/a.mp4"})
    )

    assert file.read(8) == b""
    assert file.failure == (
        "10.0.0.1 is an address of this machine or network, which omniedit does not contact"
    )


def test_a_name_with_an_internal_address_is_incomplete() -> None:
    http = HttpClient(resolve=lambda *_: ["10.0.0.1"])

    file = RangeReader(Link(http, "http://media.example/a.mp4", "clip", allow_internal=False))

    assert file.read(8) == b""
    assert "which omniedit does not contact" in (file.failure or "")


def test_redirects_are_followed_and_remembered() -> None:
    host = Host(CONTENT)
    asked: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        if request.url.host == "media.example":
            return httpx.Response(307, headers={"location": "https://cdn.example/a.mp4"})
        return host(request)

    assert read_all(reader_over(handler)) == CONTENT
    assert asked == ["media.example", "cdn.example", "cdn.example", "cdn.example"]


def test_internal_addresses_are_read_where_allowed() -> None:
    file = reader_over(Host(CONTENT), url="http://127.0.0.1:8080/a.mp4", allow_internal=True)

    assert read_all(file) == CONTENT


@pytest.mark.parametrize("change", [{"etag": '"b"'}, {}])
def test_reading_stops_when_the_file_changes(change: dict[str, str]) -> None:
    host = Host(CONTENT, etag='"a"')
    file = reader_over(host)
    assert file.read(1)

    host.headers = change
    file.seek(BLOCK)

    assert file.read(1) == b""
    assert "changed" in (file.failure or "")


def test_a_host_that_never_answers_is_given_up() -> None:
    release = threading.Event()

    def hang(_request: httpx.Request) -> httpx.Response:
        release.wait(10)
        return httpx.Response(404)

    policy = DEFAULT._replace(clip_timeout_s=0.01)
    # The clock stands still, so only the waiting thread can give up, not the reader.
    http = HttpClient(transport=httpx.MockTransport(hang), policy=policy, clock=lambda: 0.0)
    try:
        found = read_from_url(http, "http://media.example/", read_all, allow_internal=False)
    finally:
        release.set()

    assert found == Incomplete(reason="media.example did not answer within 0.01 s")


@pytest.mark.parametrize(
    "answer", [pytest.param(answer, id=name) for name, answer in ENDLESS.items()]
)
def test_an_endless_reply_is_given_up(
    serve_bytes: Callable[..., HostileServer], answer: Answer
) -> None:
    with HttpClient(policy=TINY) as http:
        found = read_from_url(http, serve_bytes(answer).url, _read_head, allow_internal=True)

    assert isinstance(found, Incomplete)


def _read_head(file: RangeReader) -> bytes:
    head = file.read(8)
    return head or _refuse()


def test_files_of_up_to_four_blocks_are_small() -> None:
    assert reader_over(Host(bytes(4 * BLOCK))).is_small
    assert not reader_over(Host(bytes(4 * BLOCK + 1))).is_small
    assert not reader_over(lambda _request: httpx.Response(404)).is_small
