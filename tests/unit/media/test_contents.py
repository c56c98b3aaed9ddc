"""What a file is by its first bytes."""

import io
from pathlib import Path

import pytest

from omniedit.media.contents import (
    container_of,
    index_of,
    is_encrypted,
    is_fragmented,
    top_boxes,
    unsuitable,
)


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
        (b"GIF89a\1\0\1\0", "GIF"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "WebP"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "still"),
        (b"\0\0\0\x18ftypM4A \0\0\0\0", "sound"),
        (b"ID3\4\0\0\0\0\0\0", "sound"),
        (b"RIFF\x10\0\0\0WAVEfmt ", "sound"),
        (b"%PDF-1.7\n\xe2\xe3", "PDF"),
    ],
)
def test_what_is_no_video_is_named(head: bytes, words: str) -> None:
    found = unsuitable(head)

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
def test_what_may_be_a_video_passes(head: bytes) -> None:
    assert unsuitable(head) is None


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
def test_containers_are_told_apart_by_their_brand(names: str, head: bytes, expected: str) -> None:
    assert container_of(names, head) == expected


def test_boxes_of_any_length_are_walked() -> None:
    content = (
        b"\0\0\0\x0cftypisom"
        b"\0\0\0\1free\0\0\0\0\0\0\0\x14abcd"  # a large size
        b"\0\0\0\0mdatrest"  # up to the end
    )

    found = [(box.kind, box.end) for box in top_boxes(io.BytesIO(content), len(content))]

    assert found == [(b"ftyp", 12), (b"free", 32), (b"mdat", len(content))]


def test_a_box_beyond_all_files_ends_the_walk(tmp_path: Path) -> None:
    # A file on the disk refuses to be moved that far.
    (tmp_path / "a.mp4").write_bytes(b"\0\0\0\1mdat" + b"\xff" * 24)

    with (tmp_path / "a.mp4").open("rb") as file:
        assert [box.kind for box in top_boxes(file, 32)] == [b"mdat"]


@pytest.mark.parametrize("content", [b"", b"\0\0", b"\0\0\0\1mdat\0\0", b"\0\0\0\4free" + bytes(8)])
def test_boxes_that_are_none_end_the_walk(content: bytes) -> None:
    assert len(list(top_boxes(io.BytesIO(content), len(content)))) <= 1


def test_the_index_tells_of_fragments_and_of_protection() -> None:
    content = b"\0\0\0\x08free" + b"\0\0\0\x10moovmvexxxxx" + b"\0\0\0\x08mdat"

    index = index_of(io.BytesIO(content), len(content))

    assert index == content[8:24]
    assert is_fragmented(index)
    assert not is_encrypted(index)
    assert is_encrypted(b"encv....sinf")
    assert index_of(io.BytesIO(b""), 0) == b""
