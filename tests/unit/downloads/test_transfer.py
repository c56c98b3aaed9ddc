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
from tests.unit.downloads.saving import save

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.unit.downloads.conftest import Bench, Origin, Step


def test_a_result_is_saved_whole_and_nothing_else_is_left(bench: Bench, origin: Origin) -> None:
    saved = bench.download()

    assert bench.target.read_bytes() == origin.content
    assert bench.names == ["out.mp4"]
    assert saved == SavedFile(
        path=str(bench.target),
        size_bytes=5000,
        sha256=hashlib.sha256(origin.content).hexdigest(),
    )
    assert bench.verified == [saved]


def test_a_result_is_requested_unencoded_and_without_a_key(bench: Bench, origin: Origin) -> None:
    bench.download()

    headers = origin.requests[0].headers
    assert "authorization" not in headers
    assert headers["accept-encoding"] == "identity"
    assert headers["user-agent"].startswith("omniedit/")


def test_missing_folders_are_created(bench: Bench) -> None:
    saved = bench.download(bench.folder / "a" / "b" / "out.mp4")

    assert saved.path == str(bench.folder / "a" / "b" / "out.mp4")


def test_a_relative_target_is_reported_as_an_absolute_path(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bench.folder)

    saved = bench.download(type(bench.target)("out.mp4"))

    assert saved.path == str(bench.target)


@pytest.mark.posix
def test_the_umask_applies_to_the_saved_file(bench: Bench) -> None:
    before = os.umask(0o027)
    try:
        bench.download()
    finally:
        os.umask(before)

    assert bench.target.stat().st_mode & 0o777 == 0o640


def test_progress_is_reported_at_most_ten_times_a_second(bench: Bench, origin: Origin) -> None:
    origin.content = origin.video(size_bytes=100_000)
    bench.tick_s = 0.0

    def chunks() -> Iterator[bytes]:
        for chunk in origin.chunked(origin.content):
            bench.now += 0.03
            yield chunk

    headers = {"content-length": "100000"}
    origin.script = [lambda _: httpx.Response(200, headers=headers, stream=origin.Body(chunks()))]

    bench.download()

    assert bench.progress[0] == (0, 100_000)
    assert bench.progress[-1] == (100_000, 100_000)
    assert 25 <= len(bench.progress) <= 30 + 2  # 3 s, the beginning and the end


def test_an_existing_target_is_refused_before_any_request(bench: Bench, origin: Origin) -> None:
    bench.target.write_bytes(b"mine")

    with pytest.raises(TargetExistsError):
        bench.download()

    assert origin.requests == []
    assert bench.target.read_bytes() == b"mine"


def test_overwrite_replaces_an_existing_target(bench: Bench, origin: Origin) -> None:
    bench.target.write_bytes(b"mine")

    bench.download(overwrite=True)

    assert bench.target.read_bytes() == origin.content
    assert bench.names == ["out.mp4"]


def test_a_broken_transfer_is_resumed_in_the_same_run(bench: Bench, origin: Origin) -> None:
    origin.script = [origin.cut(3000), origin.cut(1000)]

    bench.download()

    assert bench.target.read_bytes() == origin.content
    assert origin.ranges == [None, "bytes=3000-", "bytes=4000-"]
    assert origin.requests[1].headers["if-range"] == '"v1"'
    assert bench.slept == [0.5, 0.5]
    assert [attempt for _, _, attempt in bench.retries] == [1, 2]


def test_an_interrupted_download_is_resumed_by_the_next_run(bench: Bench, origin: Origin) -> None:
    bench.leave_part(3000)
    left = bench.names

    saved = bench.download(url=bench.URL.replace("one", "two"))

    assert left == [bench.PART, bench.NOTE]
    assert origin.ranges == ["bytes=3000-"]
    assert bench.progress[0] == (3000, 5000)
    assert saved.sha256 == hashlib.sha256(origin.content).hexdigest()
    assert bench.names == ["out.mp4"]


def test_an_interruption_during_a_write_leaves_a_resumable_part(
    bench: Bench, origin: Origin
) -> None:
    def interrupt_late(done_bytes: int, _: int | None) -> None:
        if done_bytes > 2000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.download(on_progress=interrupt_late)
    bench.download()

    assert origin.ranges[0] is None
    assert str(origin.ranges[1]).startswith("bytes=")
    assert bench.target.read_bytes() == origin.content


def test_a_complete_part_is_placed_without_a_request(bench: Bench, origin: Origin) -> None:
    bench.leave_part(5000)

    bench.download()

    assert origin.requests == []
    assert bench.target.read_bytes() == origin.content


def _delete_note(bench: Bench) -> None:
    (bench.folder / bench.NOTE).unlink()


def _truncate_note(bench: Bench) -> None:
    note = bench.folder / bench.NOTE
    note.write_bytes(note.read_bytes()[:-10])


def _change_note(bench: Bench, **fields: object) -> None:
    note = bench.folder / bench.NOTE
    note.write_text(json.dumps(json.loads(note.read_text()) | fields))


def _lengthen_part(bench: Bench) -> None:
    part = bench.folder / bench.PART
    part.write_bytes(part.read_bytes() + b"x" * 9000)


def _zero_part(bench: Bench) -> None:
    part = bench.folder / bench.PART
    part.write_bytes(bytes(3000))


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(_delete_note, id="missing-note"),
        pytest.param(_truncate_note, id="truncated-note"),
        pytest.param(lambda bench: _change_note(bench, schema=2), id="note-of-another-schema"),
        pytest.param(lambda bench: _change_note(bench, etag=None), id="note-without-etag"),
        pytest.param(lambda bench: _change_note(bench, boot_id="other"), id="machine-restarted"),
        pytest.param(_lengthen_part, id="longer-than-announced"),
        pytest.param(_zero_part, id="not-an-mp4"),
    ],
)
def test_an_untrustworthy_part_starts_over(
    bench: Bench, origin: Origin, damage: Callable[[Bench], None]
) -> None:
    bench.leave_part()
    damage(bench)

    bench.download()

    assert origin.ranges == [None]
    assert bench.target.read_bytes() == origin.content


def test_a_part_of_another_url_path_is_not_resumed(bench: Bench, origin: Origin) -> None:
    bench.leave_part()
    origin.content = origin.video(b"another")

    bench.download(url="https://cdn.example/results/other.mp4")

    assert origin.ranges == ["bytes=3000-", None]
    assert bench.target.read_bytes() == origin.content


@pytest.mark.parametrize("etag", [None, 'W/"v1"', "v1", '"v"1"'])
def test_without_a_strong_etag_a_broken_transfer_starts_over(
    bench: Bench, origin: Origin, etag: str | None
) -> None:
    origin.etag = etag
    origin.script = [origin.cut(3000)]

    bench.download()

    assert origin.ranges == [None, None]
    assert bench.target.read_bytes() == origin.content


def test_without_a_strong_etag_no_part_is_kept(bench: Bench, origin: Origin) -> None:
    origin.etag = None

    bench.leave_part()

    assert bench.names == []


def test_a_new_version_of_the_file_replaces_the_part(bench: Bench, origin: Origin) -> None:
    bench.leave_part()
    origin.content = origin.video(b"second")
    origin.etag = '"v2"'

    bench.download()

    assert origin.ranges == ["bytes=3000-"]
    assert bench.target.read_bytes() == origin.content


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
def test_a_206_that_does_not_fit_the_part_is_never_appended(
    bench: Bench, origin: Origin, step: dict[str, str]
) -> None:
    bench.leave_part(3000)
    headers = {"etag": '"v1"', "content-range": "bytes 3000-4999/5000"} | step
    if not step:
        del headers["content-range"]
    origin.script = [origin.reply(206, b"x" * 2000, headers)]

    bench.download()

    assert origin.ranges == ["bytes=3000-", None]
    assert bench.target.read_bytes() == origin.content


def test_a_206_may_deliver_only_some_of_the_rest(bench: Bench, origin: Origin) -> None:
    bench.leave_part(3000)
    headers = {"etag": '"v1"', "content-range": "bytes 3000-3999/5000"}
    origin.script = [origin.reply(206, origin.content[3000:4000], headers)]

    bench.download()

    assert origin.ranges == ["bytes=3000-", "bytes=4000-"]
    assert bench.target.read_bytes() == origin.content


def test_an_unrequested_206_is_discarded(bench: Bench, origin: Origin) -> None:
    headers = {"etag": '"v1"', "content-range": "bytes 0-4999/5000"}
    origin.script = [origin.reply(206, origin.content, headers)]

    bench.download()

    assert origin.ranges == [None, None]


def test_a_416_starts_over(bench: Bench, origin: Origin) -> None:
    bench.leave_part()
    origin.script = [origin.reply(416, headers={"content-range": "bytes */10"})]

    bench.download()

    assert origin.ranges == ["bytes=3000-", None]
    assert bench.target.read_bytes() == origin.content


def test_a_416_completes_a_file_of_unknown_length(bench: Bench, origin: Origin) -> None:
    def endless(_: httpx.Request) -> httpx.Response:
        body = origin.Body([origin.content], httpx.RemoteProtocolError("no last chunk"))
        return httpx.Response(200, headers={"etag": '"v1"'}, stream=body)

    end = origin.reply(416, headers={"content-range": "bytes */5000", "etag": '"v1"'})
    origin.script = [endless, end]

    bench.download()

    assert origin.ranges == [None, "bytes=5000-"]
    assert bench.target.read_bytes() == origin.content


@pytest.mark.parametrize("surplus", [b"x", b"x" * 5000])
def test_a_reply_longer_than_announced_is_discarded(
    bench: Bench, origin: Origin, surplus: bytes
) -> None:
    headers = {"etag": '"v1"', "content-length": "5000"}
    origin.script = [origin.reply(200, origin.content + surplus, headers)]

    bench.download()

    assert origin.ranges == [None, None]
    assert bench.target.read_bytes() == origin.content


def test_a_reply_shorter_than_announced_is_resumed(bench: Bench, origin: Origin) -> None:
    headers = {"etag": '"v1"', "content-length": "5000"}
    origin.script = [origin.reply(200, origin.content[:4000], headers)]

    bench.download()

    assert origin.ranges == [None, "bytes=4000-"]
    assert bench.target.read_bytes() == origin.content


def test_a_complete_video_without_a_length_is_accepted(bench: Bench, origin: Origin) -> None:
    origin.script = [origin.reply(200, origin.content)]

    bench.download()

    assert bench.target.read_bytes() == origin.content
    assert bench.progress[-1] == (5000, None)


def test_a_truncation_is_detected_without_a_length(bench: Bench, origin: Origin) -> None:
    origin.script = [origin.reply(200, origin.content[:4000], {"etag": '"v1"'})]

    bench.download()

    assert origin.ranges == [None, "bytes=4000-"]
    assert bench.target.read_bytes() == origin.content


def test_a_file_truncated_by_its_host_is_requested_again(bench: Bench, origin: Origin) -> None:
    cut = origin.content[:-10]
    origin.script = [origin.reply(200, cut, {"etag": '"v1"', "content-length": str(len(cut))})]

    bench.download()

    assert origin.ranges == [None, None]
    assert bench.target.read_bytes() == origin.content


def test_a_file_truncated_at_every_attempt_is_given_up(bench: Bench, origin: Origin) -> None:
    origin.content = origin.content[:-10]

    with pytest.raises(BrokenDownloadError, match="the result breaks off after 4990 bytes"):
        bench.download()

    assert len(origin.requests) == DEFAULT.attempts_without_progress
    assert bench.names == []


def test_a_part_with_all_bytes_of_a_truncated_file_starts_over(
    bench: Bench, origin: Origin
) -> None:
    whole = origin.content
    origin.content = origin.content[:-10]
    bench.leave_part(len(origin.content))
    origin.content = whole

    bench.download()

    assert origin.ranges == [None]
    assert bench.target.read_bytes() == whole


@pytest.mark.parametrize("headers", [{"content-length": "5000"}, {}], ids=["announced", "endless"])
def test_a_file_that_is_too_large_is_refused(
    make_bench: Callable[..., Bench], headers: dict[str, str]
) -> None:
    bench = make_bench(policy=DEFAULT._replace(max_result_bytes=3000))
    body = bench.origin.Body(bench.origin.chunked(bench.origin.content), AssertionError("read on"))
    bench.origin.script = [lambda _: httpx.Response(200, headers=headers, stream=body)]

    with pytest.raises(NotAVideoError, match="larger than") as caught:
        bench.download()

    assert caught.value.code == "too_large"
    assert bench.names == []


def test_a_stalled_transfer_is_aborted_and_resumed(bench: Bench, origin: Origin) -> None:
    bench.tick_s = 0.0

    def drip() -> Iterator[bytes]:
        for chunk in origin.chunked(origin.content, 100):
            bench.now += 20
            yield chunk

    headers = {"etag": '"v1"', "content-length": "5000"}
    origin.script = [lambda _: httpx.Response(200, headers=headers, stream=origin.Body(drip()))]

    bench.download()

    assert origin.ranges == [None, "bytes=300-"]
    assert bench.target.read_bytes() == origin.content


def test_a_deadline_ends_the_attempts(bench: Bench, origin: Origin) -> None:
    origin.script = [origin.cut(3000)] + [origin.reply(503)] * 9

    with pytest.raises(ServerError):
        save(
            bench.http,
            bench.URL,
            bench.target,
            placement=bench.placement,
            sleep=bench.slept.append,
            jitter=lambda: 0.0,
            deadline=bench.now + 2,
        )

    assert len(origin.requests) < DEFAULT.attempts_without_progress


@pytest.mark.parametrize(
    ("step", "message"),
    [
        pytest.param(
            lambda o: o.reply(404), "the clip link answered 404: it expired, or the clip is gone",
            id="not-found",
        ),
        pytest.param(
            lambda o: o.reply(200, b"<html>"),
            "the clip link delivers an XML or HTML page instead of an MP4",
            id="web-page",
        ),
        pytest.param(
            lambda o: o.reply(302, headers={"location": ""}), "the clip link redirects without a location",
            id="redirect-without-location",
        ),
    ],
)  # fmt: skip
def test_errors_name_what_is_fetched(
    bench: Bench, origin: Origin, *, step: Callable[[Origin], Step], message: str
) -> None:
    origin.script = [step(origin)]

    with pytest.raises(ResultGoneError) as caught:
        save(bench.http, bench.URL, bench.target, what="clip")

    assert (caught.value.message, caught.value.task_id) == (message, None)


def test_a_video_is_recognised_in_tiny_chunks(bench: Bench, origin: Origin) -> None:
    body = origin.Body(origin.chunked(origin.content, 3))
    origin.script = [lambda _: httpx.Response(200, headers={"content-length": "5000"}, stream=body)]

    bench.download()

    assert bench.target.read_bytes() == origin.content


@pytest.mark.parametrize(
    ("content", "headers", "named"),
    [
        pytest.param(b"<!doctype html><p>sign in", {}, "an XML or HTML page", id="html"),
        pytest.param(b"\xef\xbb\xbf<?xml version='1.0'?><Error/>", {}, "XML", id="xml"),
        pytest.param(b'{"code": 404}', {}, "JSON", id="json"),
        pytest.param(b"", {}, "nothing", id="empty"),
        pytest.param(b"ftyp", {"content-type": "text/plain; a"}, "text/plain", id="short"),
        pytest.param(b"\0\0\0\0ftypmp42", {}, "something else", id="box-of-size-zero"),
        pytest.param(b"\x7f\0\0\0ftypmp42", {}, "something else", id="box-of-2-gib"),
        pytest.param(
            b"\0\0\0\x18ftypmp42", {"content-encoding": "br"}, "something else", id="encoded"
        ),
    ],
)
def test_a_body_that_is_not_a_video_is_never_saved(
    bench: Bench, origin: Origin, content: bytes, headers: dict[str, str], named: str
) -> None:
    origin.script = [origin.reply(200, content, headers)]

    with pytest.raises(NotAVideoError, match=named) as caught:
        bench.download()

    assert caught.value.task_id == bench.TASK_ID
    assert len(origin.requests) == 1
    assert bench.names == []


def test_a_compressed_video_is_requested_again(bench: Bench, origin: Origin) -> None:
    headers = {"content-encoding": "gzip", "content-type": "video/mp4"}
    origin.script = [origin.reply(200, b"\x1f\x8b\x08\0\0\0\0\0", headers)]

    bench.download()

    assert len(origin.requests) == 2
    assert bench.target.read_bytes() == origin.content


def test_a_web_page_does_not_void_the_part(bench: Bench, origin: Origin) -> None:
    bench.leave_part()
    origin.script = [origin.reply(200, b"<html>captive portal")]

    with pytest.raises(NotAVideoError):
        bench.download()
    bench.download()

    assert origin.ranges == ["bytes=3000-", "bytes=3000-"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451])
def test_an_expired_link_is_not_retried_and_keeps_the_part(
    bench: Bench, origin: Origin, status: int
) -> None:
    bench.leave_part()
    origin.script = [origin.reply(status, b"<Error><Code>AccessDenied</Code></Error>")]

    with pytest.raises(ResultGoneError) as caught:
        bench.download()

    assert (caught.value.http_status, caught.value.task_id) == (status, bench.TASK_ID)
    assert len(origin.requests) == 1
    assert bench.names == [bench.PART, bench.NOTE]


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
def test_a_blocked_client_is_not_an_expired_link(bench: Bench, origin: Origin, body: bytes) -> None:
    origin.script = [origin.reply(403, body)]

    with pytest.raises(BlockedClientError):
        bench.download()

    assert len(origin.requests) == 1


def test_a_refusal_with_a_broken_body_is_still_a_refusal(bench: Bench, origin: Origin) -> None:
    body = origin.Body([b"<Err"], httpx.ReadError("cut"))
    origin.script = [lambda _: httpx.Response(404, stream=body)]

    with pytest.raises(ResultGoneError):
        bench.download()


def test_a_huge_refusal_is_not_read_to_its_end(bench: Bench, origin: Origin) -> None:
    body = origin.Body([b"x" * 1000] * 10_000, AssertionError("read to the end"))
    origin.script = [lambda _: httpx.Response(404, stream=body)]

    with pytest.raises(ResultGoneError):
        bench.download()


def test_status_204_is_not_a_video(bench: Bench, origin: Origin) -> None:
    origin.script = [origin.reply(204)]

    with pytest.raises(NotAVideoError):
        bench.download()


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
        pytest.param(lambda _: _raise(httpx.ReadTimeout("slow")), NetworkError, id="timeout"),
        pytest.param(lambda o: o.cut(0), NetworkError, id="cut-before-the-first-byte"),
    ],
)
def test_transient_errors_back_off_and_are_then_given_up(
    bench: Bench, origin: Origin, step: Callable[[Origin], Step], error: type[Exception]
) -> None:
    origin.script = [step(origin) for _ in range(9)]

    with pytest.raises(error) as caught:
        bench.download()

    assert not isinstance(caught.value, BrokenDownloadError)
    assert len(origin.requests) == DEFAULT.attempts_without_progress
    assert bench.slept == [0.5, 1.0, 2.0, 4.0]
    assert bench.names == []


def test_a_download_without_progress_is_given_up_and_its_part_kept(
    bench: Bench, origin: Origin
) -> None:
    origin.script = [origin.cut(3000), *[origin.cut(0)] * 9]

    with pytest.raises(BrokenDownloadError, match="6 attempts"):
        bench.download()

    assert len(origin.requests) == 1 + DEFAULT.attempts_without_progress
    assert bench.names == [bench.PART, bench.NOTE]


def test_a_download_that_progresses_is_not_given_up(bench: Bench, origin: Origin) -> None:
    origin.script = [origin.cut(100) for _ in range(49)]

    bench.download()

    assert bench.target.read_bytes() == origin.content
    assert set(bench.slept) == {0.5}


def test_progress_with_a_new_version_counts_from_its_beginning(
    bench: Bench, origin: Origin
) -> None:
    bench.leave_part()
    origin.content = origin.video(b"second")
    origin.etag = '"v2"'
    origin.script = [origin.cut(400) for _ in range(9)]

    bench.download()

    assert bench.target.read_bytes() == origin.content


def test_a_link_that_breaks_every_few_bytes_is_given_up(bench: Bench, origin: Origin) -> None:
    origin.script = [origin.cut(8) for _ in range(1000)]

    with pytest.raises(BrokenDownloadError):
        bench.download()

    assert len(origin.requests) == DEFAULT.download_attempts


def test_a_file_that_keeps_changing_is_given_up(bench: Bench, origin: Origin) -> None:
    def cut_another_version(request: httpx.Request) -> httpx.Response:
        origin.etag = f'"v{len(origin.requests)}"'
        return origin.whole(request, cut_after=3000)

    origin.script = [cut_another_version] * 1000

    with pytest.raises(BrokenDownloadError):
        bench.download()

    assert len(origin.requests) < 10


def test_a_file_whose_ranges_stay_wrong_is_given_up(bench: Bench, origin: Origin) -> None:
    origin.script = [origin.cut(3000), origin.reply(416)] * 1000

    with pytest.raises(BrokenDownloadError):
        bench.download()

    assert len(origin.requests) == 2 * DEFAULT.attempts_without_progress


def test_retry_after_is_honoured(bench: Bench, origin: Origin) -> None:
    origin.script = [origin.reply(503, headers={"retry-after": "17"})]

    bench.download()

    assert bench.slept == [17.0]


def test_a_retry_after_of_an_hour_fails_at_once(bench: Bench, origin: Origin) -> None:
    origin.script = [origin.reply(429, headers={"retry-after": "3600"})]

    with pytest.raises(RateLimitedError) as caught:
        bench.download()

    assert caught.value.retry_after_s == 3600
    assert bench.slept == []
