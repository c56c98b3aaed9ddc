"""Downloads over a real socket: cases that only a real connection can show."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from omniedit.errors import BrokenDownloadError, NetworkError, NotAVideoError, ServerError
from omniedit.http.client import HttpClient
from omniedit.policy import DEFAULT, Policy
from tests.unit.downloads.saving import save
from tests.unit.http.hostile import ENDLESS, TINY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from omniedit.models import SavedFile
    from tests.unit.downloads.conftest import Bench
    from tests.unit.http.hostile import Answer

OK = b"HTTP/1.1 200 OK\r\n"
ETAG = b'ETag: "v1"\r\n'


@pytest.fixture
def content(make_bench: Callable[[], Bench]) -> bytes:
    return make_bench().origin.video(size_bytes=300_000)


def _save(url: str, target: Path, policy: Policy = DEFAULT) -> SavedFile:
    with HttpClient(policy=policy) as http:
        return save(http, url, target, task_id="task-1-abcdef")


def _length(size_bytes: int) -> bytes:
    return b"Content-Length: %d\r\n" % size_bytes


def _ranged(content: bytes, head: bytes, *, cut_after: int) -> list[bytes]:
    """Return an answer to a range request that hangs up after `cut_after` bytes."""
    found = re.search(rb"(?i)range: bytes=(\d+)-", head)
    if found is None:
        return [OK, ETAG, _length(len(content)), b"\r\n", content[:cut_after]]
    start = int(found[1])
    content_range = b"Content-Range: bytes %d-%d/%d\r\n" % (start, len(content) - 1, len(content))
    rest = content[start:]
    status = b"HTTP/1.1 206 Partial Content\r\n"
    return [status, ETAG, content_range, _length(len(rest)), b"\r\n", rest[:cut_after]]


def test_a_link_that_keeps_breaking_still_completes(
    serve: Callable[[Answer], str], content: bytes, tmp_path: Path
) -> None:
    url = serve(lambda head: _ranged(content, head, cut_after=70_000))

    saved = _save(url, tmp_path / "out.mp4")

    assert saved.size_bytes == 300_000
    assert (tmp_path / "out.mp4").read_bytes() == content


@pytest.mark.parametrize(
    "framing",
    [
        pytest.param(lambda c: [_length(len(c)), b"\r\n", c], id="length"),
        pytest.param(lambda c: [b"Connection: close\r\n\r\n", c], id="until-close"),
        pytest.param(
            lambda c: [b"Transfer-Encoding: chunked\r\n\r\n493E0\r\n", c, b"\r\n0\r\n\r\n"],
            id="chunks",
        ),
        pytest.param(
            lambda c: [_length(len(c)), b"\r\n", *[c[i : i + 1] for i in range(20)], c[20:]],
            id="byte-by-byte",
        ),
        pytest.param(lambda c: [_length(len(c)), b"\r\n", c, b"surplus"], id="surplus-bytes"),
    ],
)
def test_a_complete_body_is_accepted_in_every_framing(
    serve: Callable[[Answer], str],
    content: bytes,
    tmp_path: Path,
    framing: Callable[[bytes], list[bytes]],
) -> None:
    url = serve(lambda _: [OK, *framing(content)])

    _save(url, tmp_path / "out.mp4")

    assert (tmp_path / "out.mp4").read_bytes() == content


@pytest.mark.parametrize(
    "framing",
    [
        pytest.param(lambda c: [_length(len(c) + 1), b"\r\n", c], id="length"),
        pytest.param(lambda c: [b"Connection: close\r\n\r\n", c[:-1]], id="until-close"),
        pytest.param(
            lambda c: [b"Transfer-Encoding: chunked\r\n\r\n493E0\r\n", c], id="no-last-chunk"
        ),
        pytest.param(
            lambda c: [
                b"Transfer-Encoding: chunked\r\n\r\n493D0\r\n",
                c[: 300_000 - 16],
                b"\r\n0\r\n\r\n",
            ],
            id="chunks-of-a-truncated-file",
        ),
    ],
)
def test_a_truncated_body_is_rejected_in_every_framing(
    serve: Callable[[Answer], str],
    content: bytes,
    tmp_path: Path,
    framing: Callable[[bytes], list[bytes]],
) -> None:
    url = serve(lambda _: [OK, *framing(content)])

    with pytest.raises(BrokenDownloadError):
        _save(url, tmp_path / "out.mp4")

    assert list(tmp_path.glob("*out*")) == []


def test_an_empty_body_is_not_a_video(serve: Callable[[Answer], str], tmp_path: Path) -> None:
    url = serve(lambda _: [OK, _length(0), b"\r\n"])

    with pytest.raises(NotAVideoError):
        _save(url, tmp_path / "out.mp4")


@pytest.mark.parametrize("sent", [[], [b"HTTP/1.1 2"], [b"garbage\r\n\r\n"]])
def test_a_missing_or_invalid_reply_is_a_network_error(
    serve: Callable[[Answer], str], tmp_path: Path, sent: list[bytes]
) -> None:
    with pytest.raises(NetworkError):
        _save(serve(lambda _: sent), tmp_path / "out.mp4")

    assert list(tmp_path.glob("*out*")) == []


def test_a_server_that_stays_down_is_a_server_error(
    serve: Callable[[Answer], str], tmp_path: Path
) -> None:
    url = serve(lambda _: [b"HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"])

    with pytest.raises(ServerError):
        _save(url, tmp_path / "out.mp4")


@pytest.mark.parametrize(
    "answer", [pytest.param(answer, id=name) for name, answer in ENDLESS.items()]
)
def test_an_endless_reply_is_given_up(
    serve: Callable[[Answer], str], tmp_path: Path, answer: Answer
) -> None:
    with pytest.raises((NetworkError, NotAVideoError)):
        _save(serve(answer), tmp_path / "out.mp4", TINY)

    assert list(tmp_path.glob("*out*")) == []


def test_a_video_that_drips_is_given_up_and_its_part_kept(
    serve: Callable[[Answer], str], content: bytes, tmp_path: Path
) -> None:
    def drip(_head: bytes) -> Iterator[bytes | float]:
        yield OK + ETAG + _length(len(content)) + b"\r\n" + content[:1000]
        for byte in content[1000:]:
            yield bytes([byte])
            yield 0.004

    policy = TINY._replace(stall_bytes_per_s=1_000_000, download_attempts=3)

    with pytest.raises(BrokenDownloadError, match="too little"):
        _save(serve(drip), tmp_path / "out.mp4", policy)

    part = (tmp_path / ".out.mp4.1-abcdef.part").read_bytes()
    assert len(part) > 1000
    assert content.startswith(part)
