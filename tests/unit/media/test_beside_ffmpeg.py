"""Clips written by FFmpeg keep every frame and beep when they are cut and converted."""

import shutil
import subprocess
from pathlib import Path

import pytest

from omniedit.media.writing import prepare_clip, replace_audio
from tests.unit.media.clips import Seen, Sound, make_clip, probe_file, see

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="`ffmpeg` is not installed"),
]

FPS = 25
KINDS = {
    "h264.mp4": "-c:v libx264 -bf 2 -g 25 -c:a aac",
    "open-gop.mp4": "-c:v libx264 -bf 2 -g 25 -x264-params open-gop=1 -c:a aac",
    "refresh.mp4": "-c:v libx264 -x264-params intra-refresh=1:keyint=25:bframes=0 -c:a aac",
    "refresh.mkv": "-c:v libx264 -x264-params intra-refresh=1:keyint=25:bframes=0 -c:a aac",
    "refresh.ts": "-c:v libx264 -x264-params intra-refresh=1:keyint=25:bframes=0 -c:a aac",
    "hevc.mp4": "-c:v libx265 -x265-params log-level=error:keyint=25 -c:a aac",
    "hevc.ts": "-c:v libx265 -x265-params log-level=error:keyint=25 -c:a aac",
    "bframes.avi": "-c:v libx264 -bf 2 -g 25 -c:a pcm_s16le",
    "mpeg4.avi": "-c:v mpeg4 -bf 2 -c:a libmp3lame",
    "mpeg2.ts": "-c:v mpeg2video -q:v 2 -c:a mp2",
    "mpeg2.mpg": "-c:v mpeg2video -q:v 2 -c:a mp2",
    "vp9.webm": "-c:v libvpx-vp9 -deadline realtime -c:a libopus",
    "prores.mov": "-c:v prores_ks -c:a pcm_s16le",
    "flv1.flv": "-c:v flv -q:v 2 -c:a libmp3lame -ar 44100",
    "h264.flv": "-c:v libx264 -bf 2 -c:a aac",
    "theora.ogv": "-c:v libtheora -q:v 9 -c:a libvorbis",
    "wmv2.wmv": "-c:v wmv2 -q:v 2 -c:a wmav2",
    "gif.gif": "-an",
}


def ffmpeg(*arguments: object) -> None:
    command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-y", *map(str, arguments)]
    subprocess.run(command, check=True)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original")
    return make_clip(
        folder / "a.mkv", seconds=6, fps=FPS, codec="ffv1", sound=Sound(codec="pcm_s16le")
    )


@pytest.fixture(params=KINDS, scope="module")
def source(
    request: pytest.FixtureRequest, original: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("source") / str(request.param)
    ffmpeg("-i", original, *KINDS[request.param].split(), path)
    return path


def beeps_of(seen: Seen) -> list[float]:
    return seen.beeps if seen.samples else []


def test_conversion_keeps_every_frame_and_beep(source: Path, tmp_path: Path) -> None:
    prepared = prepare_clip(source, tmp_path / "out.mp4")

    seen = see(prepared.path)
    assert seen.numbers == list(range(6 * FPS))
    assert prepared.check.bad_frames == 0
    # Audio codecs ring slightly before and after a beep.
    assert beeps_of(seen) == pytest.approx(list(range(6))[: len(beeps_of(seen))], abs=0.05)
    assert len(beeps_of(seen)) == (0 if source.suffix == ".gif" else 6)


@pytest.mark.parametrize(("start_s", "end_s"), [(1.0, 2.0), (2.52, 5.0), (0.0, 3.0)])
def test_a_cut_has_exactly_the_frames_between_its_ends(
    source: Path, tmp_path: Path, start_s: float, end_s: float
) -> None:
    numbers = list(range(round(start_s * FPS), round(end_s * FPS)))

    seen = see(prepare_clip(source, tmp_path / "out.mp4", start_s=start_s, end_s=end_s).path)

    assert seen.numbers == numbers
    assert seen.times[-1] == pytest.approx((len(numbers) - 1) / FPS, abs=0.045)


def test_the_container_length_agrees_with_ffprobe(source: Path, tmp_path: Path) -> None:
    path = prepare_clip(source, tmp_path / "out.mp4", end_s=5.0).path

    command = f"ffprobe -v error -show_entries format=duration -of csv=p=0 {path}".split()
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert float(shown) == pytest.approx(5.0, abs=0.045)
    assert probe_file(path, name="out").container_s == pytest.approx(float(shown), abs=0.001)


def test_replaced_audio_stays_in_sync(source: Path, tmp_path: Path) -> None:
    if source.suffix == ".gif":
        pytest.skip("a GIF has no audio")
    cut = prepare_clip(source, tmp_path / "cut.mp4", start_s=1.0, end_s=5.0)

    replace_audio(cut.path, tmp_path / "out.mp4", original=source, original_start_s=1.0)

    assert see(tmp_path / "out.mp4").beeps == pytest.approx(see(cut.path).beeps, abs=0.001)
