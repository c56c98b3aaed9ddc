"""A download from link to final name: attempts, resumption, and what is left behind."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING

import httpx
import pytest

from omniedit.errors import (
    BlockedClientError,
    BrokenDownloadError,
    NetworkError,
    NotAVideoError,
    RateLimitedError,
    ResultGoneError,
    ServerError,
    TargetExistsError,
)
from omniedit.models import SavedFile
from omniedit.policy import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.unit.downloads.conftest import Desk, Origin, Step


def test_a_result_is_saved_whole_and_nothing_else_is_left(desk: Desk, origin: Origin) -> None:
    saved = desk.download()

    assert desk.target.read_bytes() == origin.content
    assert desk.names == ["out.mp4"]
    assert saved == SavedFile(
        path=str(desk.target),
        size_bytes=5000,
        sha256=hashlib.sha256(origin.content).hexdigest(),
    )
    assert desk.verified == [saved]


def test_a_result_is_asked_for_without_a_key_and_as_it_is(desk: Desk, origin: Origin) -> None:
    desk.download()

    headers = origin.requests[0].headers
    assert "authorization" not in headers
    assert headers["accept-encoding"] == "identity"
    assert headers["user-agent"].startswith("omniedit/")


def test_missing_folders_are_made(desk: Desk) -> None:
    saved = desk.download(desk.folder / "a" / "b" / "out.mp4")

    assert saved.path == str(desk.folder / "a" / "b" / "out.mp4")


def test_a_relative_target_is_reported_absolute(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk.folder)

    saved = desk.download(type(desk.target)("out.mp4"))

    assert saved.path == str(desk.target)


@pytest.mark.posix
def test_the_file_has_the_mode_that_the_umask_leaves(desk: Desk) -> None:
    before = os.umask(0o027)
    try:
        desk.download()
    finally:
        os.umask(before)

    assert desk.target.stat().st_mode & 0o777 == 0o640


def test_progress_is_reported_ten_times_a_second_at_most(desk: Desk, origin: Origin) -> None:
    origin.content = origin.video(size_bytes=100_000)
    desk.tick_s = 0.0

    def chunks() -> Iterator[bytes]:
        for chunk in origin.chunked(origin.content):
            desk.now += 0.03
            yield chunk

    headers = {"content-length": "100000"}
    origin.script = [lambda _: httpx.Response(200, headers=headers, stream=origin.Body(chunks()))]

    desk.download()

    assert desk.progress[0] == (0, 100_000)
    assert desk.progress[-1] == (100_000, 100_000)
    assert 25 <= len(desk.progress) <= 30 + 2  # 3 s, the beginning and the end


def test_a_target_that_exists_costs_no_request(desk: Desk, origin: Origin) -> None:
    desk.target.write_bytes(b"mine")

    with pytest.raises(TargetExistsError):
        desk.download()

    assert origin.requests == []
    assert desk.target.read_bytes() == b"mine"


def test_a_target_is_replaced_when_asked_for(desk: Desk, origin: Origin) -> None:
    desk.target.write_bytes(b"mine")

    desk.download(overwrite=True)

    assert desk.target.read_bytes() == origin.content
    assert desk.names == ["out.mp4"]


def test_a_cut_is_resumed_in_the_same_run(desk: Desk, origin: Origin) -> None:
    origin.script = [origin.cut(3000), origin.cut(1000)]

    desk.download()

    assert desk.target.read_bytes() == origin.content
    assert origin.ranges == [None, "bytes=3000-", "bytes=4000-"]
    assert origin.requests[1].headers["if-range"] == '"v1"'
    assert desk.slept == [0.5, 0.5]
    assert [attempt for _, _, attempt in desk.retries] == [1, 2]


def test_an_interrupted_download_is_resumed_by_the_next_run(desk: Desk, origin: Origin) -> None:
    desk.leave_part(3000)
    left = desk.names

    saved = desk.download(url=desk.URL.replace("one", "two"))

    assert left == [desk.PART, desk.NOTE]
    assert origin.ranges == ["bytes=3000-"]
    assert desk.progress[0] == (3000, 5000)
    assert saved.sha256 == hashlib.sha256(origin.content).hexdigest()
    assert desk.names == ["out.mp4"]


def test_an_interruption_at_a_write_leaves_a_resumable_part(desk: Desk, origin: Origin) -> None:
    def interrupt_late(done_bytes: int, _: int | None) -> None:
        if done_bytes > 2000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        desk.download(on_progress=interrupt_late)
    desk.download()

    assert origin.ranges[0] is None
    assert str(origin.ranges[1]).startswith("bytes=")
    assert desk.target.read_bytes() == origin.content


def test_a_part_with_all_bytes_is_finished_without_a_request(desk: Desk, origin: Origin) -> None:
    desk.leave_part(5000)

    desk.download()

    assert origin.requests == []
    assert desk.target.read_bytes() == origin.content


def _forget_note(desk: Desk) -> None:
    (desk.folder / desk.NOTE).unlink()


def _tear_note(desk: Desk) -> None:
    note = desk.folder / desk.NOTE
    note.write_bytes(note.read_bytes()[:-10])


def _change_note(desk: Desk, **fields: object) -> None:
    note = desk.folder / desk.NOTE
    note.write_text(json.dumps(json.loads(note.read_text()) | fields))


def _lengthen_part(desk: Desk) -> None:
    part = desk.folder / desk.PART
    part.write_bytes(part.read_bytes() + b"x" * 9000)


def _spoil_part(desk: Desk) -> None:
    part = desk.folder / desk.PART
    part.write_bytes(bytes(3000))


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(_forget_note, id="no-note"),
        pytest.param(_tear_note, id="torn-note"),
        pytest.param(lambda desk: _change_note(desk, schema=2), id="note-of-another-version"),
        pytest.param(lambda desk: _change_note(desk, etag=None), id="note-without-etag"),
        pytest.param(lambda desk: _change_note(desk, boot_id="other"), id="machine-restarted"),
        pytest.param(_lengthen_part, id="longer-than-announced"),
        pytest.param(_spoil_part, id="not-an-mp4"),
    ],
)
def test_a_part_that_cannot_be_relied_on_starts_over(
    desk: Desk, origin: Origin, spoil: Callable[[Desk], None]
) -> None:
    desk.leave_part()
    spoil(desk)

    desk.download()

    assert origin.ranges == [None]
    assert desk.target.read_bytes() == origin.content


def test_a_part_of_another_path_is_not_continued(desk: Desk, origin: Origin) -> None:
    desk.leave_part()
    origin.content = origin.video(b"another")

    desk.download(url="https://cdn.example/results/other.mp4")

    assert origin.ranges == ["bytes=3000-", None]
    assert desk.target.read_bytes() == origin.content


@pytest.mark.parametrize("etag", [None, 'W/"v1"', "v1", '"v"1"'])
def test_without_a_strong_etag_a_cut_starts_over(
    desk: Desk, origin: Origin, etag: str | None
) -> None:
    origin.etag = etag
    origin.script = [origin.cut(3000)]

    desk.download()

    assert origin.ranges == [None, None]
    assert desk.target.read_bytes() == origin.content


def test_without_a_strong_etag_nothing_is_kept_for_the_next_run(desk: Desk, origin: Origin) -> None:
    origin.etag = None

    desk.leave_part()

    assert desk.names == []


def test_another_version_replaces_what_is_here(desk: Desk, origin: Origin) -> None:
    desk.leave_part()
    origin.content, origin.etag = origin.video(b"second"), '"v2"'

    desk.download()

    assert origin.ranges == ["bytes=3000-"]
    assert desk.target.read_bytes() == origin.content


@pytest.mark.parametrize(
    "step",
    [
        pytest.param({"content-range": "bytes 2999-4999/5000"}, id="other-start"),
        pytest.param({"content-range": "bytes 3000-4999/6000"}, id="other-total"),
        pytest.param({"content-range": "bytes 3000-4999/*"}, id="no-total"),
        pytest.param({"content-range": "bytes 3000-5999/5000"}, id="beyond-the-end"),
        pytest.param({"content-range": "bytes 3000-2999/5000"}, id="backwards"),
        pytest.param({"content-range": "bytes */5000"}, id="no-range"),
        pytest.param({"content-range": "pages 1-2/3"}, id="other-unit"),
        pytest.param({}, id="no-content-range"),
        pytest.param({"etag": '"v2"'}, id="other-etag"),
        pytest.param({"etag": 'W/"v1"'}, id="weak-etag"),
        pytest.param({"etag": ""}, id="no-etag"),
        pytest.param({"content-length": "1999"}, id="other-length"),
        pytest.param({"content-encoding": "gzip"}, id="encoded"),
    ],
)
def test_a_206_that_does_not_go_on_exactly_here_is_never_spliced(
    desk: Desk, origin: Origin, step: dict[str, str]
) -> None:
    desk.leave_part(3000)
    headers = {"etag": '"v1"', "content-range": "bytes 3000-4999/5000"} | step
    if not step:
        del headers["content-range"]
    origin.script = [origin.reply(206, b"x" * 2000, headers)]

    desk.download()

    assert origin.ranges == ["bytes=3000-", None]
    assert desk.target.read_bytes() == origin.content


def test_a_206_may_hold_a_part_of_the_rest(desk: Desk, origin: Origin) -> None:
    desk.leave_part(3000)
    headers = {"etag": '"v1"', "content-range": "bytes 3000-3999/5000"}
    origin.script = [origin.reply(206, origin.content[3000:4000], headers)]

    desk.download()

    assert origin.ranges == ["bytes=3000-", "bytes=4000-"]
    assert desk.target.read_bytes() == origin.content


def test_a_206_that_nobody_asked_for_is_void(desk: Desk, origin: Origin) -> None:
    headers = {"etag": '"v1"', "content-range": "bytes 0-4999/5000"}
    origin.script = [origin.reply(206, origin.content, headers)]

    desk.download()

    assert origin.ranges == [None, None]


def test_a_416_starts_over(desk: Desk, origin: Origin) -> None:
    desk.leave_part()
    origin.script = [origin.reply(416, headers={"content-range": "bytes */10"})]

    desk.download()

    assert origin.ranges == ["bytes=3000-", None]
    assert desk.target.read_bytes() == origin.content


def test_a_416_at_the_end_of_an_unknown_length_is_the_end(desk: Desk, origin: Origin) -> None:
    def endless(_: httpx.Request) -> httpx.Response:
        body = origin.Body([origin.content], httpx.RemoteProtocolError("no last chunk"))
        return httpx.Response(200, headers={"etag": '"v1"'}, stream=body)

    end = origin.reply(416, headers={"content-range": "bytes */5000", "etag": '"v1"'})
    origin.script = [endless, end]

    desk.download()

    assert origin.ranges == [None, "bytes=5000-"]
    assert desk.target.read_bytes() == origin.content


@pytest.mark.parametrize("surplus", [b"x", b"x" * 5000])
def test_more_bytes_than_announced_are_void(desk: Desk, origin: Origin, surplus: bytes) -> None:
    headers = {"etag": '"v1"', "content-length": "5000"}
    origin.script = [origin.reply(200, origin.content + surplus, headers)]

    desk.download()

    assert origin.ranges == [None, None]
    assert desk.target.read_bytes() == origin.content


def test_fewer_bytes_than_announced_are_continued(desk: Desk, origin: Origin) -> None:
    headers = {"etag": '"v1"', "content-length": "5000"}
    origin.script = [origin.reply(200, origin.content[:4000], headers)]

    desk.download()

    assert origin.ranges == [None, "bytes=4000-"]
    assert desk.target.read_bytes() == origin.content


def test_without_a_length_a_whole_video_is_taken(desk: Desk, origin: Origin) -> None:
    origin.script = [origin.reply(200, origin.content)]

    desk.download()

    assert desk.target.read_bytes() == origin.content
    assert desk.progress[-1] == (5000, None)


def test_without_a_length_a_silent_cut_is_found(desk: Desk, origin: Origin) -> None:
    origin.script = [origin.reply(200, origin.content[:4000], {"etag": '"v1"'})]

    desk.download()

    assert origin.ranges == [None, "bytes=4000-"]
    assert desk.target.read_bytes() == origin.content


def test_a_file_that_was_cut_before_it_was_announced_is_asked_for_again(
    desk: Desk, origin: Origin
) -> None:
    cut = origin.content[:-10]
    origin.script = [origin.reply(200, cut, {"etag": '"v1"', "content-length": str(len(cut))})]

    desk.download()

    assert origin.ranges == [None, None]
    assert desk.target.read_bytes() == origin.content


def test_a_file_that_is_always_cut_is_given_up(desk: Desk, origin: Origin) -> None:
    origin.content = origin.content[:-10]

    with pytest.raises(BrokenDownloadError, match="the result breaks off after 4990 bytes"):
        desk.download()

    assert len(origin.requests) == DEFAULT.attempts_without_progress
    assert desk.names == []


def test_a_part_with_all_bytes_of_a_cut_file_starts_over(desk: Desk, origin: Origin) -> None:
    whole, origin.content = origin.content, origin.content[:-10]
    desk.leave_part(len(origin.content))
    origin.content = whole

    desk.download()

    assert origin.ranges == [None]
    assert desk.target.read_bytes() == whole


@pytest.mark.parametrize("headers", [{"content-length": "5000"}, {}], ids=["announced", "endless"])
def test_a_file_that_is_too_large_is_refused(
    make_desk: Callable[..., Desk], headers: dict[str, str]
) -> None:
    desk = make_desk(policy=DEFAULT._replace(max_result_bytes=3000))
    body = desk.origin.Body(desk.origin.chunked(desk.origin.content), AssertionError("read on"))
    desk.origin.script = [lambda _: httpx.Response(200, headers=headers, stream=body)]

    with pytest.raises(NotAVideoError, match="larger than") as caught:
        desk.download()

    assert caught.value.code == "too_large"
    assert desk.names == []


def test_a_transfer_that_stalls_is_broken_off_and_resumed(desk: Desk, origin: Origin) -> None:
    desk.tick_s = 0.0

    def drip() -> Iterator[bytes]:
        for chunk in origin.chunked(origin.content, 100):
            desk.now += 20
            yield chunk

    headers = {"etag": '"v1"', "content-length": "5000"}
    origin.script = [lambda _: httpx.Response(200, headers=headers, stream=origin.Body(drip()))]

    desk.download()

    assert origin.ranges == [None, "bytes=300-"]
    assert desk.target.read_bytes() == origin.content


def test_a_deadline_ends_the_attempts(desk: Desk, origin: Origin) -> None:
    origin.script = [origin.cut(3000)] + [origin.reply(503)] * 9

    with pytest.raises(ServerError):
        desk.downloader.download(
            desk.URL,
            desk.target,
            deadline=desk.now + 2,
            on_progress=lambda *_: None,
            on_retry=lambda *_: None,
        )

    assert len(origin.requests) < DEFAULT.attempts_without_progress


@pytest.mark.parametrize(
    ("step", "said"),
    [
        pytest.param(
            lambda o: o.reply(404), "the clip link answered 404: it expired, or the clip is gone",
            id="gone",
        ),
        pytest.param(
            lambda o: o.reply(200, b"<html>"),
            "the clip link delivers an XML or HTML page instead of an MP4",
            id="a-page",
        ),
        pytest.param(
            lambda o: o.reply(302, headers={"location": ""}), "the clip link redirects to nowhere",
            id="redirect",
        ),
    ],
)  # fmt: skip
def test_errors_name_what_is_fetched(
    desk: Desk, origin: Origin, tmp_path: Path, *, step: Callable[[Origin], Step], said: str
) -> None:
    origin.script = [step(origin)]

    with (
        pytest.raises(ResultGoneError) as caught,
        desk.downloader.fetch(
            desk.URL,
            what="clip",
            folder=tmp_path / "private",
            on_progress=lambda *_: None,
            on_retry=lambda *_: None,
        ),
    ):
        pass

    assert (caught.value.message, caught.value.task_id) == (said, None)


def test_the_first_chunks_may_be_tiny(desk: Desk, origin: Origin) -> None:
    body = origin.Body(origin.chunked(origin.content, 3))
    origin.script = [lambda _: httpx.Response(200, headers={"content-length": "5000"}, stream=body)]

    desk.download()

    assert desk.target.read_bytes() == origin.content


@pytest.mark.parametrize(
    ("content", "headers", "named"),
    [
        pytest.param(b"<!doctype html><p>sign in", {}, "an XML or HTML page", id="html"),
        pytest.param(b"\xef\xbb\xbf<?xml version='1.0'?><Error/>", {}, "XML", id="xml"),
        pytest.param(b'{"code": 404}', {}, "JSON", id="json"),
        pytest.param(b"", {}, "nothing", id="empty"),
        pytest.param(b"ftyp", {"content-type": "text/plain; a"}, "text/plain", id="short"),
        pytest.param(b"\0\0\0\0ftypmp42", {}, "something else", id="box-of-no-size"),
        pytest.param(b"\x7f\0\0\0ftypmp42", {}, "something else", id="box-of-any-size"),
        pytest.param(
            b"\0\0\0\x18ftypmp42", {"content-encoding": "br"}, "something else", id="encoded"
        ),
    ],
)
def test_what_is_no_video_never_gets_the_name(
    desk: Desk, origin: Origin, content: bytes, headers: dict[str, str], named: str
) -> None:
    origin.script = [origin.reply(200, content, headers)]

    with pytest.raises(NotAVideoError, match=named) as caught:
        desk.download()

    assert caught.value.task_id == desk.TASK_ID
    assert len(origin.requests) == 1
    assert desk.names == []


def test_a_compressed_video_is_not_called_lost(desk: Desk, origin: Origin) -> None:
    headers = {"content-encoding": "gzip", "content-type": "video/mp4"}
    origin.script = [origin.reply(200, b"\x1f\x8b\x08\0\0\0\0\0", headers)]

    desk.download()

    assert len(origin.requests) == 2
    assert desk.target.read_bytes() == origin.content


def test_what_is_no_video_does_not_void_the_part(desk: Desk, origin: Origin) -> None:
    desk.leave_part()
    origin.script = [origin.reply(200, b"<html>captive portal")]

    with pytest.raises(NotAVideoError):
        desk.download()
    desk.download()

    assert origin.ranges == ["bytes=3000-", "bytes=3000-"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451])
def test_a_dead_link_is_not_tried_again_and_leaves_the_part(
    desk: Desk, origin: Origin, status: int
) -> None:
    desk.leave_part()
    origin.script = [origin.reply(status, b"<Error><Code>AccessDenied</Code></Error>")]

    with pytest.raises(ResultGoneError) as caught:
        desk.download()

    assert (caught.value.http_status, caught.value.task_id) == (status, desk.TASK_ID)
    assert len(origin.requests) == 1
    assert desk.names == [desk.PART, desk.NOTE]


@pytest.mark.parametrize(
    "body",
    [
        b"error code: 1010",
        b'{"status": 403, "error_code": 1010}',
        b'{"error_code":"1010"}',
        b'<title>Access denied</title><span class="cf-error-code">1010</span>',
        b"<h1>Error 1010</h1> Ray ID: 1010",
    ],
)
def test_a_blocked_client_is_no_expired_link(desk: Desk, origin: Origin, body: bytes) -> None:
    origin.script = [origin.reply(403, body)]

    with pytest.raises(BlockedClientError):
        desk.download()

    assert len(origin.requests) == 1


def test_a_refusal_whose_body_breaks_off_is_still_a_refusal(desk: Desk, origin: Origin) -> None:
    body = origin.Body([b"<Err"], httpx.ReadError("cut"))
    origin.script = [lambda _: httpx.Response(404, stream=body)]

    with pytest.raises(ResultGoneError):
        desk.download()


def test_an_endless_refusal_is_not_read_to_its_end(desk: Desk, origin: Origin) -> None:
    body = origin.Body([b"x" * 1000] * 10_000, AssertionError("read to the end"))
    origin.script = [lambda _: httpx.Response(404, stream=body)]

    with pytest.raises(ResultGoneError):
        desk.download()


def test_no_content_is_no_video(desk: Desk, origin: Origin) -> None:
    origin.script = [origin.reply(204)]

    with pytest.raises(NotAVideoError):
        desk.download()


def _raise(error: Exception) -> Step:
    def step(_: httpx.Request) -> httpx.Response:
        raise error

    return step


@pytest.mark.parametrize(
    ("step", "error"),
    [
        pytest.param(lambda o: o.reply(429), RateLimitedError, id="429"),
        pytest.param(lambda o: o.reply(408), ServerError, id="408"),
        pytest.param(lambda o: o.reply(500, b"<html>"), ServerError, id="500"),
        pytest.param(lambda o: o.reply(503), ServerError, id="503"),
        pytest.param(lambda _: _raise(httpx.ConnectError("refused")), NetworkError, id="refused"),
        pytest.param(lambda _: _raise(httpx.ReadTimeout("slow")), NetworkError, id="time-out"),
        pytest.param(lambda o: o.cut(0), NetworkError, id="cut-before-a-byte"),
    ],
)
def test_transient_trouble_is_rested_and_then_given_up(
    desk: Desk, origin: Origin, step: Callable[[Origin], Step], error: type[Exception]
) -> None:
    origin.script = [step(origin) for _ in range(9)]

    with pytest.raises(error) as caught:
        desk.download()

    assert not isinstance(caught.value, BrokenDownloadError)
    assert len(origin.requests) == DEFAULT.attempts_without_progress
    assert desk.slept == [0.5, 1.0, 2.0, 4.0]
    assert desk.names == []


def test_a_download_that_stops_growing_is_given_up_and_kept(desk: Desk, origin: Origin) -> None:
    origin.script = [origin.cut(3000), *[origin.cut(0)] * 9]

    with pytest.raises(BrokenDownloadError, match="6 attempts"):
        desk.download()

    assert len(origin.requests) == 1 + DEFAULT.attempts_without_progress
    assert desk.names == [desk.PART, desk.NOTE]


def test_a_download_that_grows_is_not_given_up(desk: Desk, origin: Origin) -> None:
    origin.script = [origin.cut(100) for _ in range(49)]

    desk.download()

    assert desk.target.read_bytes() == origin.content
    assert set(desk.slept) == {0.5}


def test_a_link_that_breaks_every_few_bytes_ends(desk: Desk, origin: Origin) -> None:
    origin.script = [origin.cut(8) for _ in range(1000)]

    with pytest.raises(BrokenDownloadError):
        desk.download()

    assert len(origin.requests) == DEFAULT.download_attempts


def test_a_file_that_keeps_changing_ends(desk: Desk, origin: Origin) -> None:
    def cut_another_version(request: httpx.Request) -> httpx.Response:
        origin.etag = f'"v{len(origin.requests)}"'
        return origin.whole(request, cut_after=3000)

    origin.script = [cut_another_version] * 1000

    with pytest.raises(BrokenDownloadError):
        desk.download()

    assert len(origin.requests) < 10


def test_retry_after_is_obeyed(desk: Desk, origin: Origin) -> None:
    origin.script = [origin.reply(503, headers={"retry-after": "17"})]

    desk.download()

    assert desk.slept == [17.0]


def test_a_retry_after_of_an_hour_is_not_waited_for(desk: Desk, origin: Origin) -> None:
    origin.script = [origin.reply(429, headers={"retry-after": "3600"})]

    with pytest.raises(RateLimitedError) as caught:
        desk.download()

    assert caught.value.retry_after_s == 3600
    assert desk.slept == []


def test_fetch_holds_a_private_file_for_the_length_of_a_block(
    desk: Desk, origin: Origin, tmp_path: Path
) -> None:
    folder = tmp_path / "private"

    with desk.downloader.fetch(
        desk.URL,
        task_id=desk.TASK_ID,
        folder=folder,
        on_progress=lambda *_: None,
        on_retry=lambda *_: None,
    ) as path:
        content, mode = path.read_bytes(), path.parent.stat().st_mode & 0o777

    assert content == origin.content
    assert mode == 0o700
    assert list(folder.iterdir()) == []


def test_fetch_leaves_nothing_when_it_fails(desk: Desk, origin: Origin, tmp_path: Path) -> None:
    origin.script = [origin.reply(404)]
    folder = tmp_path / "private"

    with (
        pytest.raises(ResultGoneError),
        desk.downloader.fetch(
            desk.URL,
            task_id=desk.TASK_ID,
            folder=folder,
            on_progress=lambda *_: None,
            on_retry=lambda *_: None,
        ),
    ):
        pass

    assert list(folder.iterdir()) == []
