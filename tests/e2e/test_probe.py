"""`omniedit probe`: what it reports about a clip, in every output mode."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from omniedit.terminal.human import render_size
from tests.commandline import CommandLine, Ended
from tests.e2e.test_contract_equipment import Reply, Request, Scripted, check_document, scripted
from tests.unit.media.clips import Sound, make_clip

pytestmark = pytest.mark.e2e

MODEL: Final = (
    "model gemini-omni-flash-video-edit: clips of 10 s at most, results of 1280x720 or 720x1280\n"
)
FRAGMENTED = {"movflags": "frag_keyframe+empty_moov"}


def check(
    call: CommandLine,
    video: str | Path,
    *,
    status: int = 0,
    text: str,
    error: str | None = None,
    hint: str | None = None,
    **fields: Any,
) -> Ended:
    """Check the output of a probe as text, with `--quiet`, and as JSON; return its outcome."""
    plain = call("probe", str(video))
    quiet = call("probe", str(video), "-q")
    document = check_document(json := call("probe", str(video), "--json"))

    stderr_lines = [] if error is None else [f"error: {error}", f"hint: {hint}"]
    assert [line.split(maxsplit=1) for line in plain.stdout.splitlines()] == [
        line.split(maxsplit=1) for line in text.splitlines()
    ], plain
    assert (plain.status, plain.stderr.splitlines()) == (status, stderr_lines), plain
    assert (quiet.status, quiet.stdout) == (status, plain.stdout), quiet
    assert quiet.stderr.splitlines() == stderr_lines[:1], quiet
    assert (json.status, json.stderr) == (status, plain.stderr), json
    assert {key: document[key] for key in fields} == fields, document
    if error is not None:
        assert document["error"] | {"message": error, "hint": hint} == document["error"]
    return plain


@pytest.fixture
def clips(folder: Path) -> Path:
    """Return the folder with the clips."""
    return folder


def test_a_clip_that_fits_is_reported_in_full(omniedit: CommandLine, clips: Path) -> None:
    make_clip(clips / "clip.mp4", seconds=2, sound=Sound(layout="stereo"))

    check(
        omniedit,
        "clip.mp4",
        text=(
            "length 2.000 s, 20 frames, 10 fps\n"
            "container MP4, 2.000 s\n"
            "video H.264, 64x48, SAR 1:1, DAR 4:3, progressive\n"
            "colours 8 bits, 4:2:0, SDR\n"
            "audio AAC, 48000 Hz, 2 channels\n"
            f"size {render_size((clips / 'clip.mp4').stat().st_size)}\n"
            f"{MODEL}"
            "estimate about 12.7 credits ($0.19), plus thinking tokens\n"
            "verdict fits\n"
        ),
        fits=True,
        problems=[],
        container="mp4",
        measured=True,
        duration_seconds=2.0,
        frames=20,
        audio_channels=2,
        bytes=(clips / "clip.mp4").stat().st_size,
        estimated_credits=12.7,
        estimated_usd=0.19,
    )


def test_a_clip_that_would_be_converted_fits(omniedit: CommandLine, clips: Path) -> None:
    make_clip(clips / "clip.webm", codec="libvpx")
    size = (clips / "clip.webm").stat().st_size

    check(
        omniedit,
        "clip.webm",
        text=(
            "length 2.000 s, 20 frames, 10 fps\n"
            "container WebM, 2.000 s\n"
            "video VP8, 64x48, SAR 1:1, DAR 4:3, progressive\n"
            "colours 8 bits, 4:2:0, SDR\n"
            "audio none\n"
            f"size {render_size(size)}\n"
            f"{MODEL}"
            "estimate about 12.7 credits ($0.19), plus thinking tokens\n"
            "verdict it is WebM, not MP4: it is converted before the upload\n"
            "verdict its video is VP8, not H.264 or H.265: it is converted before the upload\n"
        ),
        fits=True,
        container="webm",
        audio_codec=None,
        audio_rate=None,
    )


def test_a_clip_that_is_too_long_is_status_2_with_a_hint(
    omniedit: CommandLine, clips: Path
) -> None:
    make_clip(clips / "clip.mp4", seconds=12)
    size = (clips / "clip.mp4").stat().st_size

    check(
        omniedit,
        "clip.mp4",
        status=2,
        text=(
            "length 12.000 s, 120 frames, 10 fps\n"
            "container MP4, 12.000 s\n"
            "video H.264, 64x48, SAR 1:1, DAR 4:3, progressive\n"
            "colours 8 bits, 4:2:0, SDR\n"
            "audio none\n"
            f"size {render_size(size)}\n"
            f"{MODEL}"
            "estimate about 76.3 credits ($1.12), plus thinking tokens\n"
            "verdict does not fit: it is 12.00 s long, and the model takes 10 s at most\n"
        ),
        error="clip.mp4 does not fit: it is 12.00 s long, and the model takes 10 s at most",
        hint="`edit` cuts it with `--start T --end T`, or edits it in pieces with `--split`",
        fits=False,
        duration_seconds=12.0,
    )


def test_a_text_file_is_status_2_with_every_field_null(omniedit: CommandLine, clips: Path) -> None:
    (clips / "clip.mp4").write_text("no video at all\n")

    ended = check(
        omniedit,
        "clip.mp4",
        status=2,
        text="",
        error="clip.mp4 is text, not a video",
        hint="a clip is a file with video: MP4, MOV, WebM, Matroska, AVI, MPEG, FLV, OGV, WMV, GIF",
        fits=None,
        problems=[],
        container=None,
        duration_seconds=None,
        estimated_credits=None,
    )

    assert ended.stdout == ""


def test_probe_needs_no_key_and_creates_no_journal(omniedit: CommandLine, clips: Path) -> None:
    make_clip(clips / "clip.mp4")

    ended = omniedit("probe", "clip.mp4", OMNIEDIT_STATE_DIR=str(clips / "state"))

    assert ended.status == 0
    assert not (clips / "state").exists()


def test_a_path_that_looks_like_a_url_is_a_file(omniedit: CommandLine, clips: Path) -> None:
    (clips / "a:").mkdir()
    make_clip(clips / "a:" / "clip.mp4")

    assert omniedit("probe", "./a://clip.mp4").status == 0


@contextmanager
def range_server(content: bytes) -> Iterator[Scripted]:
    """Serve a file with range requests."""

    def answer(request: Request) -> Reply:
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("range", ""))
        assert found, request
        first, last = int(found[1]), min(int(found[2]), len(content) - 1)
        headers = {"Content-Range": f"bytes {first}-{last}/{len(content)}"}
        return Reply(status=206, body=content[first : last + 1], headers=headers)

    with scripted(answer) as host:
        yield host


def allowing_clips_from(omniedit: CommandLine, host: Scripted) -> CommandLine:
    """Return a command that may fetch clips from this machine, because its API is there too."""
    return omniedit.in_(omniedit.folder, OMNIEDIT_BASE_URL=host.url, OMNIEDIT_API_KEY="sk-evo-0123")


def test_a_url_is_read_in_ranges_without_the_key(omniedit: CommandLine, clips: Path) -> None:
    clip = make_clip(clips / "clip.mp4", seconds=4)
    size = clip.stat().st_size

    with range_server(clip.read_bytes()) as host:
        check(
            allowing_clips_from(omniedit, host),
            f"{host.url}/clip.mp4?signature=secret",
            text=(
                "length 4.000 s, 40 frames, 10 fps\n"
                "container MP4, 4.000 s\n"
                "video H.264, 64x48, SAR 1:1, DAR 4:3, progressive\n"
                "colours 8 bits, 4:2:0, SDR\n"
                "audio none\n"
                f"size {render_size(size)}\n"
                f"{MODEL}"
                "estimate about 25.4 credits ($0.37), plus thinking tokens\n"
                "verdict fits\n"
            ),
            fits=True,
            bytes=size,
        )

        assert host.requests
        assert all("authorization" not in request.headers for request in host.requests)
        assert all(
            request.headers["user-agent"].startswith("omniedit/") for request in host.requests
        )


def test_a_large_remote_clip_is_judged_by_its_header(omniedit: CommandLine, clips: Path) -> None:
    options = {"movflags": "faststart"}
    clip = make_clip(clips / "clip.mov", seconds=12, codec="mpeg4", options=options)
    content = clip.read_bytes() + b"\0\x20\0\x08free" + bytes(0x200000)

    with range_server(content) as host:
        ended = allowing_clips_from(omniedit, host)("probe", f"{host.url}/clip.mov", "--json")

        problems = [problem["code"] for problem in ended.document["problems"]]
        assert (ended.status, ended.document["measured"]) == (2, False)
        assert problems == ["clip_too_long", "not_an_mp4", "unsuitable_codec"]
        # All reasons are in one line.
        assert len(ended.stderr.splitlines()) == 2, ended
        assert "not MP4; its video is MPEG-4" in ended.document["error"]["message"]


def test_an_unknown_length_leaves_fits_null(omniedit: CommandLine, clips: Path) -> None:
    clip = make_clip(clips / "clip.mp4", options=FRAGMENTED)
    content = clip.read_bytes() + b"\0\x20\0\x08free" + bytes(0x200000)

    with range_server(content) as host:
        document = check_document(
            allowing_clips_from(omniedit, host)("probe", f"{host.url}/c.mp4", "--json")
        )

        assert (document["ok"], document["fits"], document["duration_seconds"]) == (
            True,
            None,
            None,
        )
        assert (document["fragmented"], document["estimated_credits"]) == (True, None)


@pytest.mark.parametrize(
    ("reply", "expected_text"),
    [
        pytest.param(Reply(status=404, body=b"<html>"), "answered 404", id="error-page"),
        pytest.param(Reply(body=bytes(99)), "does not support range requests", id="no-ranges"),
        pytest.param(Reply(is_lost=True), "the connection to", id="connection-lost"),
        pytest.param(Reply(after=threading.Event()), "did not answer", id="never-answers"),
    ],
)
def test_an_unreadable_url_is_status_8_and_leaves_fits_null(
    omniedit: CommandLine, reply: Reply, expected_text: str
) -> None:
    with scripted(lambda _: reply) as host:
        ended = allowing_clips_from(omniedit, host)("probe", f"{host.url}/clip.mp4", "--json")
        if reply.after:
            reply.after.set()

    document = check_document(ended)
    assert (ended.status, document["fits"], document["error"]["code"]) == (8, None, "clip_not_read")
    assert expected_text in document["error"]["message"]
    assert len(ended.stderr.splitlines()) == 2, ended


def test_a_refused_connection_is_status_8(omniedit: CommandLine) -> None:
    with scripted(lambda _: Reply()) as host:
        url = host.url

    ended = omniedit("probe", f"{url}/clip.mp4", OMNIEDIT_BASE_URL=url)

    assert (ended.status, ended.stdout) == (8, ""), ended
    assert "cannot connect to" in ended.stderr


def test_a_web_page_instead_of_a_video_is_status_2(omniedit: CommandLine) -> None:
    with range_server(b"<!doctype html><title>Sign in</title>" + bytes(5000)) as host:
        ended = allowing_clips_from(omniedit, host)("probe", f"{host.url}/clip.mp4?x=secret")

        assert (ended.status, ended.stdout) == (2, ""), ended
        assert "this is a web page of 127.0.0.1, not a video" in ended.stderr
        assert "secret" not in ended.stderr


@pytest.mark.parametrize(
    "video",
    ["", "http://127.0.0.1/clip.mp4", "ftp://example.com/clip.mp4", "https://[::1/clip.mp4"],
)
def test_an_invalid_clip_location_is_status_2(omniedit: CommandLine, video: str) -> None:
    ended = omniedit("probe", video)

    assert (ended.status, ended.stdout) == (2, ""), ended
    assert len(ended.stderr.splitlines()) == 2, ended
