"""Files are recognised by their content and refused if truncated, whatever wrote them."""

import io
from contextlib import suppress
from pathlib import Path

import pytest

from omniedit.errors import InvalidInputError
from omniedit.media.formats import (
    check_is_whole,
    container_of,
    describe_non_video,
    reader_of,
    recognise,
)
from tests.unit.media.clips import Sound, make_clip


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "ffconcat"),
        (b"\xef\xbb\xbf\n ffconcat version 1.0\n", "ffconcat"),
        (b"#EXTM3U\n#EXTINF:10,\nother.mp4\n", "HLS"),
        (b'<?xml version="1.0"?>\n<MPD xmlns="x">', "DASH"),
        (b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\n", "SDP"),
        (b"<!doctype html><title>Not found</title>", "HTML"),
        (b"just words\n", "text"),
        ("Grüße".encode(), "text"),
        (b'{"error": 404}', "text"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "JPEG"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "PNG"),
        (b"[Reference]\r\nRef1=http://example.com/a.asf\r\n", "playlist"),
        (b"ASF http://example.com/a.asf", "playlist"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "WebP"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "still"),
        (b"\0\0\0\x18ftypM4A \0\0\0\0", "audio"),
        (b"ID3\4\0\0\0\0\0\0", "audio"),
        (b"RIFF\x10\0\0\0WAVEfmt ", "audio"),
        (b"%PDF-1.7\n\xe2\xe3", "PDF"),
    ],
)
def test_files_that_are_not_videos_are_identified(head: bytes, words: str) -> None:
    found = describe_non_video(head)

    assert found is not None
    assert words in found


@pytest.mark.parametrize(
    "head",
    [
        b"\0\0\0\x18ftypisom\0\0\2\0",
        b"\x1aE\xdf\xa3\x9fB\x86\x81\1B\xf7\x81\1B\xf2\x81\4B\xf3\x81\x08B\x82\x84webm",
        b"RIFF\x10\0\0\0AVI LIST",
        b"G\x40\x11\x10\0B\xf0%\0\1",
    ],
)
def test_possible_videos_are_accepted(head: bytes) -> None:
    assert describe_non_video(head) is None


@pytest.mark.parametrize(
    ("names", "head", "expected"),
    [
        ("mov,mp4,m4a,3gp,3g2,mj2", b"\0\0\0\x18ftypisom", "mp4"),
        ("mov,mp4,m4a,3gp,3g2,mj2", b"\0\0\0\x18ftypqt  ", "mov"),
        ("mov,mp4,m4a,3gp,3g2,mj2", b"\0\0\0\x18ftyp3gp5", "3gp"),
        ("mov,mp4,m4a,3gp,3g2,mj2", b"\0\0\0\x08wide", "mov"),
        ("matroska,webm", b"\x1aE\xdf\xa3\x84webm", "webm"),
        ("matroska,webm", b"\x1aE\xdf\xa3\x88matroska", "matroska"),
        ("avi", b"RIFF", "avi"),
    ],
)
def test_containers_are_recognised_by_their_brand(names: str, head: bytes, expected: str) -> None:
    assert container_of(names, head) == expected


def test_the_index_reveals_fragments() -> None:
    content = b"\0\0\0\x08free" + b"\0\0\0\x10moovmvexxxxx" + b"\0\0\0\x08mdat"

    recognised = recognise(io.BytesIO(content), name="a", reads_all=True)

    assert recognised.index == content[8:24]
    assert recognised.is_fragmented
    assert not recognised.is_encrypted


def test_the_index_reveals_encryption() -> None:
    content = b"\0\0\0\x14moovencv....sinf" + b"\0\0\0\x08mdat"

    with pytest.raises(InvalidInputError, match="is encrypted"):
        recognise(io.BytesIO(content), name="a", reads_all=True)


def test_without_an_index_nothing_is_revealed() -> None:
    recognised = recognise(io.BytesIO(bytes(5000)), name="a", reads_all=True)

    assert recognised.index == b""
    assert recognised.stated_length_s is None


KINDS = [
    pytest.param("a.mp4", "libx264", {}, id="mp4"),
    pytest.param("a.mp4", "libx264", {"movflags": "faststart"}, id="mp4-faststart"),
    pytest.param("a.mp4", "libx264", {"movflags": "frag_keyframe+empty_moov"}, id="mp4-fragmented"),
    pytest.param("a.mov", "libx264", {}, id="mov"),
    pytest.param("a.mkv", "libx264", {}, id="matroska"),
    pytest.param("a.mkv", "libx264", {"live": "1"}, id="matroska-written-live"),
    pytest.param("a.webm", "libvpx", {}, id="webm"),
    pytest.param("a.avi", "mpeg4", {}, id="avi"),
]
TAILS = [
    pytest.param(b"\0" * 5, id="few-zeros"),
    pytest.param(b"\0" * 4096, id="block-of-zeros"),
    pytest.param(b"\xff\xfe trailer of a camera \x80\x81", id="trailer"),
]


def clip_content(folder: Path, name: str, codec: str, options: dict[str, str]) -> bytes:
    sound = Sound(codec="libopus" if name.endswith("webm") else "aac")
    if name.endswith("mp4"):
        sound = Sound()
    path = make_clip(folder / name, seconds=3, fps=25, codec=codec, sound=sound, options=options)
    return path.read_bytes()


def check_whole(content: bytes) -> None:
    check_is_whole(reader_of(io.BytesIO(content)), name="a", size_bytes=len(content))


@pytest.mark.parametrize(("name", "codec", "options"), KINDS)
def test_a_complete_file_is_accepted(
    tmp_path: Path, name: str, codec: str, options: dict[str, str]
) -> None:
    check_whole(clip_content(tmp_path, name, codec, options))


@pytest.mark.parametrize(("name", "codec", "options"), KINDS)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.999])
def test_a_truncated_file_is_refused(
    tmp_path: Path, name: str, codec: str, options: dict[str, str], share: float
) -> None:
    content = clip_content(tmp_path, name, codec, options)
    kept = int(len(content) * share)

    with pytest.raises(InvalidInputError, match="a is cut off") as caught:
        check_whole(content[:kept])

    assert caught.value.code == "damaged_clip"
    assert caught.value.hint


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.avi", "mpeg4")]
)
def test_trailing_bytes_are_accepted(tmp_path: Path, name: str, codec: str, tail: bytes) -> None:
    check_whole(clip_content(tmp_path, name, codec, {}) + tail)


@pytest.mark.parametrize("options", [{}, {"mpegts_m2ts_mode": "1"}], ids=["broadcast", "disc"])
def test_a_transport_stream_may_end_anywhere(tmp_path: Path, options: dict[str, str]) -> None:
    content = clip_content(tmp_path, "a.ts", "mpeg2video", options)

    check_whole(content)
    check_whole(content[: len(content) // 2 + 100])


def test_an_avi_with_a_wrong_size_in_its_header_is_accepted(
    tmp_path: Path,
) -> None:
    content = clip_content(tmp_path, "a.avi", "mpeg4", {})

    check_whole(content[:4] + bytes(4) + content[8:])
    check_whole(content[:4] + len(content).to_bytes(4, "little") + content[8:])


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\x1aE\xdf\xa3", id="half-a-header"),
        pytest.param(b"\x1aE\xdf\xa3\x01\xff\xff\xff\xff\xff\xff\xff", id="header-without-end"),
        pytest.param(b"\x1aE\xdf\xa3\x80\0\0", id="empty-header"),
        pytest.param(b"RIFF\xff\xff\xff\xffAVI ", id="avi-without-end"),
        pytest.param(b"\0\0\0\1mdat" + b"\xff" * 8, id="box-beyond-64-bits"),
        pytest.param(bytes(5000), id="zeros"),
    ],
)
def test_the_check_survives_garbage(content: bytes) -> None:
    with suppress(InvalidInputError):
        check_whole(content)
