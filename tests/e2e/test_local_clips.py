"""Local clips of any kind: what is sent can be decoded completely, and no files are left over."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from omniedit.media.facts import find_problems
from tests.e2e.equipment import Bench
from tests.e2e.faulty import Endpoint, silence_before
from tests.unit.media.clips import Sound, make_clip, probe_file, see, set_matrix

pytestmark = pytest.mark.e2e

PROMPT = "make it night"
WAIT_S = 30.0
CHANNELS = {"mono": 1, "stereo": 2, "5.1": 6}
BEEP_DB = -9.0  # a sine of half the amplitude


def make_edit(bench: Bench, *argv: str) -> Path:
    """Make an edit; return the result, which in the sandbox is the clip that was sent."""
    ended = bench.run("edit", *argv, "-o", "out.mp4")
    assert (ended.status, ended.stdout) == (0, "out.mp4\n"), ended
    assert bench.faulty.count(Endpoint.UPLOAD) == bench.posts == 1
    return bench.folder / "out.mp4"


def leftover_files(home: Path) -> list[Path]:
    return [path for folder in home.rglob("tmp") for path in folder.iterdir()]


@pytest.mark.parametrize(
    ("name", "codec", "sound"),
    [
        pytest.param("a.mov", "libx264", Sound(codec="pcm_s16le", layout="5.1"), id="mov-pcm-5.1"),
        pytest.param("a.mov", "libx265", Sound(layout="stereo"), id="mov-hevc"),
        pytest.param(
            "a.webm", "libvpx-vp9", Sound(codec="libopus", layout="stereo"), id="webm-vp9-opus"
        ),
        pytest.param("a.mkv", "mpeg4", Sound(codec="flac", rate=44100), id="matroska"),
        pytest.param("a.ts", "libx264", Sound(), id="transport-stream"),
        pytest.param("a.avi", "mpeg4", None, id="avi-silent"),
    ],
)
def test_a_clip_in_another_format_is_sent_as_an_mp4_that_fits(
    bench: Bench, folder: Path, home: Path, *, name: str, codec: str, sound: Sound | None
) -> None:
    make_clip(folder / name, seconds=4, codec=codec, sound=sound)

    out = make_edit(bench, name, PROMPT)

    facts, seen = probe_file(out, name="out.mp4"), see(out)
    assert (find_problems(facts, longest_s=10), facts.audio is not None) == ((), sound is not None)
    assert (facts.audio and facts.audio.channels) == (CHANNELS[sound.layout] if sound else None)
    assert seen.numbers == list(range(40))
    assert seen.times == pytest.approx([index / 10 for index in range(40)], abs=0.002)
    assert seen.duration_s == pytest.approx(4, abs=0.002)
    if sound is not None:
        assert seen.beeps == pytest.approx([0, 1, 2, 3], abs=0.03)
        assert seen.level(1.01, 1.09) == pytest.approx(BEEP_DB, abs=1)
    content = out.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    assert leftover_files(home) == []


@pytest.mark.parametrize(
    ("options", "argv"),
    [
        pytest.param(
            {}, {"seconds": 10, "sound": Sound(seconds=10.02)}, id="10-s-with-longer-audio"
        ),
        pytest.param({"movflags": "frag_keyframe+empty_moov"}, {"seconds": 3}, id="fragmented"),
        pytest.param({}, {"seconds": 0.5, "fps": 240}, id="240-fps"),
        pytest.param({}, {"seconds": 0.2, "size": (7680, 4320)}, id="8k"),
    ],
)
def test_a_clip_that_fits_is_sent_unchanged(
    bench: Bench, folder: Path, options: dict[str, str], argv: dict[str, object]
) -> None:
    clip = make_clip(folder / "a.mp4", options=options, **argv)

    assert make_edit(bench, "a.mp4", PROMPT).read_bytes() == clip.read_bytes()


def test_a_cut_of_a_long_clip_is_sent_with_its_sound(bench: Bench, folder: Path) -> None:
    make_clip(folder / "a.mp4", seconds=30.5, sound=Sound())

    out = make_edit(bench, "a.mp4", PROMPT, "--start", "0:12.3", "--end", "22.3")

    seen = see(out)
    assert seen.numbers == [number % 256 for number in range(123, 223)]
    assert seen.times == pytest.approx([index / 10 for index in range(100)], abs=0.002)
    assert seen.duration_s == pytest.approx(10, abs=0.002)
    assert seen.beeps == pytest.approx([0.7 + second for second in range(10)], abs=0.003)
    assert seen.level(0.71, 0.79) == pytest.approx(BEEP_DB, abs=0.5)


def test_a_rotated_clip_is_sent_upright(bench: Bench, folder: Path) -> None:
    set_matrix(make_clip(folder / "a.mov", codec="mpeg4"), (0, 1, -1, 0))

    facts = probe_file(make_edit(bench, "a.mov", PROMPT), name="out.mp4")

    assert (facts.shown_width, facts.shown_height, facts.rotation) == (48, 64, 0)


def test_a_clip_with_a_very_long_name_is_converted(bench: Bench, folder: Path) -> None:
    name = "\N{CJK UNIFIED IDEOGRAPH-4E2D}" * 83 + ".mov"
    make_clip(folder / "a.mov").rename(folder / name)

    assert probe_file(make_edit(bench, name, PROMPT), name="out.mp4").frames == 20


SIGNALS = [
    pytest.param(signal.SIGINT, 130, id="ctrl-c"),
    pytest.param(signal.SIGTERM, 143, id="terminated"),
]


def wait_until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(("signal_number", "status"), SIGNALS)
def test_a_signal_during_a_conversion_leaves_no_files(
    bench: Bench, folder: Path, home: Path, signal_number: signal.Signals, status: int
) -> None:
    make_clip(folder / "a.avi", seconds=8, codec="mpeg4", size=(1920, 1080))

    process = bench.start("edit", "a.avi", PROMPT)
    wait_until(lambda: process.poll() is not None or list(home.rglob("tmp/*/.a.mp4.*.part")))
    process.send_signal(signal_number)
    _, stderr = process.communicate(timeout=WAIT_S)

    assert process.returncode == status, stderr
    assert b"Traceback" not in stderr
    assert leftover_files(home) == []
    assert bench.posts == bench.faulty.count(Endpoint.UPLOAD) == 0


@pytest.mark.parametrize(("signal_number", "status"), SIGNALS)
def test_a_signal_during_an_upload_leaves_no_files(
    bench: Bench, folder: Path, home: Path, signal_number: signal.Signals, status: int
) -> None:
    make_clip(folder / "a.mov")
    bench.faulty.always(Endpoint.UPLOAD, silence_before)

    process = bench.start("edit", "a.mov", PROMPT)
    wait_until(lambda: bench.faulty.count(Endpoint.UPLOAD))
    assert leftover_files(home)
    process.send_signal(signal_number)
    _, stderr = process.communicate(timeout=WAIT_S)

    assert process.returncode == status, stderr
    assert b"Traceback" not in stderr
    assert leftover_files(home) == []
    assert bench.posts == 0


def test_the_next_edit_removes_files_left_by_a_kill(bench: Bench, folder: Path, home: Path) -> None:
    make_clip(folder / "a.mov")
    bench.faulty.script(Endpoint.UPLOAD, silence_before)
    process = bench.start("edit", "a.mov", PROMPT)
    wait_until(lambda: bench.faulty.count(Endpoint.UPLOAD))
    process.kill()
    process.communicate()
    (left,) = leftover_files(home)
    os.utime(left, (0, 0))

    ended = bench.run("edit", "a.mov", PROMPT)

    assert ended.status == 0, ended
    assert leftover_files(home) == []


def test_a_dry_run_of_a_cut_names_the_clip_to_upload(bench: Bench) -> None:
    clip = "http://127.0.0.1:9/it%27s%20mine.mp4?signature=1"

    ended = bench.run("submit", "--dry-run", "--json", clip, PROMPT, "--start", "1")

    body = ended.document["request"]["body"]
    assert body["video_urls"] == ["<URL of it's mine.mp4 once it is uploaded>"], ended
