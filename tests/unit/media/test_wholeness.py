"""A file that was cut off is told from one that is whole, whatever wrote it."""

import io
from contextlib import suppress
from pathlib import Path

import pytest

from omniedit.errors import InvalidInputError
from omniedit.media.wholeness import check_is_whole
from tests.unit.media.clips import Sound, make_clip

KINDS = [
    pytest.param("a.mp4", "libx264", {}, id="mp4"),
    pytest.param("a.mp4", "libx264", {"movflags": "faststart"}, id="mp4-faststart"),
    pytest.param("a.mp4", "libx264", {"movflags": "frag_keyframe+empty_moov"}, id="mp4-fragmented"),
    pytest.param("a.mov", "libx264", {}, id="mov"),
    pytest.param("a.mkv", "libx264", {}, id="matroska"),
    pytest.param("a.mkv", "libx264", {"live": "1"}, id="matroska-written-live"),
    pytest.param("a.webm", "libvpx", {}, id="webm"),
    pytest.param("a.avi", "mpeg4", {}, id="avi"),
    pytest.param("a.ts", "mpeg2video", {}, id="transport-stream"),
    pytest.param("a.ts", "mpeg2video", {"mpegts_m2ts_mode": "1"}, id="transport-stream-of-a-disc"),
]
TAILS = [
    pytest.param(b"\0" * 5, id="few-zeros"),
    pytest.param(b"\0" * 4096, id="a-block-of-zeros"),
    pytest.param(b"\xff\xfe trailer of a camera \x80\x81", id="trailer"),
]


def made(folder: Path, name: str, codec: str, options: dict[str, str]) -> bytes:
    sound = Sound(codec="libopus" if name.endswith("webm") else "mp2" if "ts" in name else "aac")
    if name.endswith("mp4"):
        sound = Sound()
    path = make_clip(folder / name, seconds=3, fps=25, codec=codec, sound=sound, options=options)
    return path.read_bytes()


def check(content: bytes) -> None:
    file = io.BytesIO(content)
    check_is_whole(file, content[:4096], name="a", size_bytes=len(content))
    assert file.tell() == 0


@pytest.mark.parametrize(("name", "codec", "options"), KINDS)
def test_a_whole_file_passes(
    tmp_path: Path, name: str, codec: str, options: dict[str, str]
) -> None:
    check(made(tmp_path, name, codec, options))


@pytest.mark.parametrize(("name", "codec", "options"), KINDS)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.999])
def test_a_file_that_was_cut_off_is_refused(
    tmp_path: Path, name: str, codec: str, options: dict[str, str], share: float
) -> None:
    content = made(tmp_path, name, codec, options)
    kept = int(len(content) * share)
    kept -= kept % 188 == 0 or kept % 192 == 0

    with pytest.raises(InvalidInputError, match="a is cut off") as caught:
        check(content[:kept])

    assert caught.value.code == "damaged_clip"
    assert caught.value.hint


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.avi", "mpeg4")]
)
def test_what_lies_behind_the_end_is_no_loss(
    tmp_path: Path, name: str, codec: str, tail: bytes
) -> None:
    check(made(tmp_path, name, codec, {}) + tail)


def test_an_avi_whose_writer_did_not_come_back_for_its_size_is_not_refused(
    tmp_path: Path,
) -> None:
    content = made(tmp_path, "a.avi", "mpeg4", {})

    check(content[:4] + bytes(4) + content[8:])
    check(content[:4] + len(content).to_bytes(4, "little") + content[8:])


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x1aE\xdf\xa3", id="half-a-header"),
        pytest.param(b"\x1aE\xdf\xa3\x01\xff\xff\xff\xff\xff\xff\xff", id="header-without-end"),
        pytest.param(b"\x1aE\xdf\xa3\x80\0\0", id="nothing-in-it"),
        pytest.param(b"RIFF\xff\xff\xff\xffAVI ", id="avi-without-end"),
        pytest.param(b"\0\0\0\1mdat" + b"\xff" * 8, id="box-beyond-64-bits"),
        pytest.param(bytes(5000), id="zeros"),
    ],
)
def test_bytes_that_make_no_sense_end_the_check(content: bytes) -> None:
    with suppress(InvalidInputError):
        check(content)
