"""The bundled clip plays everywhere, and a clip's length is read from its header."""

import struct
from pathlib import Path

import pytest

from omniedit.sandbox.clips import BUNDLED_CLIP, stated_length_s
from tests.unit.sandbox.boxes import box, mp4, mvhd, trak

FTYP = box(b"ftyp", b"isom", bytes(4))
LARGE = struct.pack(">I4sQ", 1, b"mdat", 16 + 50) + bytes(50)
OPEN_ENDED = bytes(4) + box(b"moov", mvhd(2.5))[4:]


def test_the_bundled_clip_is_small_and_its_index_comes_first() -> None:
    content = BUNDLED_CLIP.read_bytes()

    assert len(content) <= 150_000
    assert content[4:8] == b"ftyp"
    assert content.index(b"moov") < content.index(b"mdat")


def test_the_bundled_clip_decodes_completely() -> None:
    av = pytest.importorskip("av")
    with av.open(str(BUNDLED_CLIP)) as container:
        (video,), (audio,) = container.streams.video, container.streams.audio
        frames = list(container.decode(video))
        container.seek(0)
        samples = sum(frame.samples for frame in container.decode(audio))

    assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
    assert {(frame.width, frame.height, frame.format.name) for frame in frames} == {
        (640, 360, "yuv420p")
    }
    assert len(frames) == 100
    assert samples >= 4 * 48_000


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(mp4(video_s=3.2), 3.2, id="video"),
        pytest.param(mp4(video_s=3.2, version=1), 3.2, id="64-bit-times"),
        pytest.param(mp4(video_s=3.2, audio_s=3.4), 3.2, id="longer-audio-does-not-count"),
        pytest.param(FTYP + box(b"moov", mvhd(2.5)), 2.5, id="movie-without-tracks"),
        pytest.param(FTYP + LARGE + box(b"moov", mvhd(2.5)), 2.5, id="after-a-64-bit-box"),
        pytest.param(FTYP + OPEN_ENDED, 2.5, id="box-until-the-end-of-the-file"),
        pytest.param(FTYP + box(b"moov", mvhd(0.0)), None, id="fragmented"),
        pytest.param(FTYP + box(b"moov", mvhd(1.0, timescale=1)[:-90]), None, id="cut-short"),
        pytest.param(
            FTYP + box(b"moov", box(b"mvhd", bytes(100)), trak(b"vide", 1.0)),
            None,
            id="no-timescale",
        ),
        pytest.param(
            FTYP + struct.pack(">I4s", 4, b"moov"), None, id="box-smaller-than-its-header"
        ),
        pytest.param(FTYP + box(b"free") * 100_000, None, id="endless-boxes"),
        pytest.param(b"\x1a\x45\xdf\xa3" + bytes(100), None, id="not-an-mp4"),
    ],
)
def test_the_length_is_read_from_the_header(
    tmp_path: Path, content: bytes, expected: float | None
) -> None:
    path = tmp_path / "clip"
    path.write_bytes(content)

    assert stated_length_s(path) == expected


def test_the_bundled_clip_states_its_length() -> None:
    assert stated_length_s(BUNDLED_CLIP) == 4.0
