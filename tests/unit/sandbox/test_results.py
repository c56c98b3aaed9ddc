"""Results: links that expire, ranges, strong ETags, and a host that must not see a key."""

from __future__ import annotations

import hashlib
import io
import sys
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from omniedit.sandbox.clips import BUNDLED_CLIP
from omniedit.sandbox.exchange import BrokenConnectionError
from omniedit.sandbox.tasks import result_link

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.unit.sandbox.conftest import Bench

CLIP = BUNDLED_CLIP.read_bytes()


def link(bench: Bench, prompt: str = "warmer light") -> str:
    return str(bench.finished(prompt)["results"][0])


def collect(into: bytearray, chunks: Iterable[object]) -> None:
    for chunk in chunks:
        assert isinstance(chunk, bytes)
        into += chunk


def test_the_result_is_a_video_with_a_strong_etag(bench: Bench) -> None:
    reply = bench.download(link(bench))

    assert reply.status_code == 200
    assert reply.data == CLIP
    assert reply.headers["Content-Type"] == "video/mp4"
    assert reply.headers["Content-Length"] == str(len(CLIP))
    assert reply.headers["Accept-Ranges"] == "bytes"
    assert reply.headers["ETag"] == f'"{hashlib.sha256(CLIP).hexdigest()}"'


def test_head_describes_the_result_without_sending_it(bench: Bench) -> None:
    reply = bench.download(link(bench), method="HEAD")

    assert (reply.status_code, reply.data) == (200, b"")
    assert reply.headers["Content-Length"] == str(len(CLIP))


@pytest.mark.parametrize(
    ("asked", "status", "expected", "content_range"),
    [
        pytest.param("bytes=10-19", 206, CLIP[10:20], f"bytes 10-19/{len(CLIP)}", id="middle"),
        pytest.param("bytes=70000-", 206, CLIP[70000:], None, id="tail"),
        pytest.param("bytes=-7", 206, CLIP[-7:], None, id="suffix"),
        pytest.param("bytes=5-99999999", 206, CLIP[5:], None, id="end-beyond-the-file"),
        pytest.param("bytes=0-0,5-6", 200, CLIP, None, id="several-ranges-are-ignored"),
        pytest.param(
            f"bytes={len(CLIP)}-", 416, None, f"bytes */{len(CLIP)}", id="begin-beyond-the-file"
        ),
        pytest.param("bytes=oops", 416, None, f"bytes */{len(CLIP)}", id="malformed"),
    ],
)
def test_ranges_are_honoured(
    bench: Bench, asked: str, status: int, expected: bytes | None, content_range: str | None
) -> None:
    reply = bench.download(link(bench), headers={"Range": asked})

    assert reply.status_code == status
    assert expected is None or reply.data == expected
    assert content_range is None or reply.headers["Content-Range"] == content_range


@pytest.mark.parametrize(
    ("is_same", "status"),
    [
        pytest.param(True, 206, id="unchanged-file-is-continued"),
        pytest.param(False, 200, id="changed-file-starts-over"),
    ],
)
def test_if_range_trusts_only_the_same_etag(
    bench: Bench,
    is_same: bool,  # noqa: FBT001 - a case's condition
    status: int,
) -> None:
    url = link(bench)
    etag = bench.download(url, method="HEAD").headers["ETag"] if is_same else '"other"'

    reply = bench.download(url, headers={"Range": "bytes=5-", "If-Range": etag})

    assert reply.status_code == status


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda url: url[:-1] + ("0" if url[-1] != "0" else "1"), id="signature"),
        pytest.param(lambda url: url.replace("expires=1", "expires=2"), id="expiry"),
        pytest.param(lambda url: url.partition("?")[0], id="no-query"),
        pytest.param(lambda url: url.replace("task-unified-", "task-"), id="another-task"),
    ],
)
def test_a_modified_link_is_refused(bench: Bench, change: object) -> None:
    assert callable(change)
    reply = bench.download(change(link(bench)))

    assert reply.status_code == 403
    assert ET.fromstring(reply.data).findtext("Code") == "SignatureDoesNotMatch"  # noqa: S314 - our own


def test_an_expired_link_is_never_renewed(bench: Bench) -> None:
    task = bench.finished()
    bench.clock.advance(86_399)
    valid = bench.download(task["results"][0])
    bench.clock.advance(1)

    expired = bench.download(task["results"][0])
    reread = bench.download(bench.task(task["id"])["results"][0])

    assert valid.status_code == 200
    assert [expired.status_code, reread.status_code] == [403, 403]
    assert expired.headers["Content-Type"].startswith("application/xml")
    assert ET.fromstring(expired.data).findtext("Message") == "Request has expired"  # noqa: S314 - our own


def test_the_expired_marker_makes_the_link_invalid_at_once(bench: Bench) -> None:
    task = bench.finished("[sandbox:expired]")

    assert task["status"] == "completed"
    assert bench.download(task["results"][0]).status_code == 403
    assert bench.download(bench.task(task["id"])["results"][0]).status_code == 403


def test_the_cut_marker_cuts_only_the_first_download(bench: Bench) -> None:
    url = link(bench, "[sandbox:cut]")
    assert bench.download(url, method="HEAD").status_code == 200

    # Unbuffered, so that the test client does not read the whole reply at once.
    first = bench.download(url, buffered=False)
    received = bytearray()
    with pytest.raises(BrokenConnectionError):
        collect(received, first.response)
    first.close()
    rest = bench.download(url, headers={"Range": f"bytes={len(received)}-"})

    assert first.headers["Content-Length"] == str(len(CLIP))
    assert len(CLIP) / 3 <= len(received) < len(CLIP)
    assert bytes(received) + rest.data == CLIP


@pytest.mark.parametrize("header", ["Bearer sk-sandbox", "Bearer sk-evo-secret", "Basic eA=="])
def test_a_key_sent_to_the_result_host_is_an_error(bench: Bench, header: str) -> None:
    reply = bench.download(link(bench), headers={"Authorization": header})

    assert reply.status_code == 400
    assert b"secret" not in reply.data
    assert "(key sent to the result host)" in bench.lines[-1]


@pytest.mark.parametrize("agent", ["python-httpx/0.28.1", "Python-urllib/3.11", None])
def test_a_default_user_agent_is_blocked(bench: Bench, agent: str | None) -> None:
    reply = bench.download(link(bench), headers={"User-Agent": agent})

    assert reply.status_code == 403
    assert reply.data == b"error code: 1010"


def test_a_result_does_not_exist_before_completion(bench: Bench) -> None:
    task = bench.finished()
    bench.clock.advance(-3)

    assert bench.download(task["results"][0]).status_code == 404


def test_an_edit_without_a_result_has_no_download(bench: Bench) -> None:
    task = bench.finished("[sandbox:empty]")
    edit = bench.store.task(task["id"])
    assert edit is not None

    url = result_link(bench.service, edit, origin="http://localhost")

    assert bench.download(url).status_code == 404


@pytest.mark.parametrize("is_uploaded", [True, False], ids=["uploaded", "bundled"])
def test_an_as_served_result_is_720p_at_24_fps(
    bench: Bench,
    is_uploaded: bool,  # noqa: FBT001 - a case's condition
) -> None:
    av = pytest.importorskip("av")
    body = {}
    if is_uploaded:
        body["video_urls"] = [bench.upload(CLIP).get_json()["data"]["file_url"]]

    reply = bench.download(bench.finished("[sandbox:as-served]", body=body)["results"][0])

    with av.open(io.BytesIO(reply.data)) as container:
        (video,), (audio,) = container.streams.video, container.streams.audio
        assert (video.width, video.height, video.average_rate) == (1280, 720, 24)
        assert sum(1 for _ in container.decode(video)) == 96  # 4 s, like the clip
        assert audio.codec_context.name == "aac"
    assert reply.headers["ETag"] == f'"{hashlib.sha256(reply.data).hexdigest()}"'


def test_a_portrait_clip_is_served_in_portrait(bench: Bench) -> None:
    av = pytest.importorskip("av")
    made = io.BytesIO()
    with av.open(made, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 90, 160, "yuv420p"
        for _ in range(30):
            container.mux(stream.encode(av.VideoFrame(90, 160, "yuv420p")))
        container.mux(stream.encode(None))
    url = bench.upload(made.getvalue()).get_json()["data"]["file_url"]

    task = bench.finished("[sandbox:as-served]", body={"video_urls": [url]})

    with av.open(io.BytesIO(bench.download(task["results"][0]).data)) as container:
        (video,) = container.streams.video
        assert (video.width, video.height, video.average_rate) == (720, 1280, 24)


@pytest.mark.parametrize(
    "has_av", [pytest.param(False, id="without-media"), pytest.param(True, id="unreadable-clip")]
)
def test_a_clip_that_cannot_be_encoded_is_served_unchanged(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    has_av: bool,  # noqa: FBT001 - a case's condition
) -> None:
    if not has_av:
        monkeypatch.setitem(sys.modules, "av", None)
    url = bench.upload().get_json()["data"]["file_url"]

    task = bench.finished("[sandbox:as-served]", body={"video_urls": [url]})

    assert bench.download(task["results"][0]).data == bench.MP4
