"""Cut and converted clips keep every frame and beep in place; failures leave no file."""

import errno
import gc
import struct
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from random import Random
from threading import Thread

import av
import pytest
from av.filter import Graph
from av.video.frame import VideoFrame

from omniedit.errors import Interrupted, InvalidInputError, LocalError
from omniedit.media.containers import Progress, translated_errors
from omniedit.media.facts import find_problems
from omniedit.media.video import ENCODING_SLOTS, EncodingSlots
from omniedit.media.writing import prepare_clip, refuse_damage, replace_audio
from omniedit.models import MAX_UPLOAD_BYTES
from tests.unit.media.clips import (
    HEIGHT,
    WIDTH,
    Sound,
    make_clip,
    packets,
    probe_file,
    see,
    set_matrix,
)

FRAME_S = 0.1
BEEP_DB = -9.0  # a sine at half amplitude
AAC_FRAME_S = 1024 / 48000
COLOURS = {"color_range": 1, "color_primaries": 1, "color_trc": 1, "colorspace": 1}


@pytest.mark.parametrize(
    ("name", "codec", "sound"),
    [
        pytest.param("a.mov", "libx264", Sound(codec="pcm_s16le"), id="mov-pcm"),
        pytest.param("a.mkv", "libx264", Sound(codec="flac", rate=44100), id="mkv-flac"),
        pytest.param("a.webm", "libvpx", Sound(codec="libopus"), id="webm-vp8"),
        pytest.param(
            "a.webm", "libvpx-vp9", Sound(codec="libopus", layout="stereo"), id="webm-vp9"
        ),
        pytest.param("a.avi", "mpeg4", Sound(codec="pcm_s16le"), id="avi"),
        pytest.param("a.ts", "libx264", Sound(), id="transport-stream"),
        pytest.param("a.ts", "mpeg2video", Sound(codec="mp2"), id="mpeg2"),
        pytest.param("a.mp4", "mpeg4", Sound(), id="mp4-mpeg4"),
        pytest.param("a.mp4", "libx265", Sound(), id="mp4-hevc"),
        pytest.param("a.mov", "libx265", Sound(), id="mov-hevc"),
        pytest.param("a.mov", "mjpeg", None, id="mov-jpeg-silent"),
    ],
)
def test_every_format_becomes_an_mp4_with_all_frames_and_audio_in_sync(
    tmp_path: Path, name: str, codec: str, sound: Sound | None
) -> None:
    fps = 25 if codec == "mpeg2video" else 10
    pixel_format = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    source = make_clip(
        tmp_path / name, seconds=3, fps=fps, codec=codec, pixel_format=pixel_format, sound=sound
    )

    prepared = prepare_clip(source, tmp_path / "out.mp4")

    facts, seen = probe_file(prepared.path, name="out"), see(prepared.path)
    assert find_problems(facts, longest_s=10) == ()
    assert (facts.audio and facts.audio.codec) == ("aac" if sound else None)
    assert seen.numbers == list(range(3 * fps))
    assert seen.times == pytest.approx([index / fps for index in range(3 * fps)], abs=0.001)
    assert seen.duration_s == pytest.approx(3.0, abs=0.002)
    if sound is not None:
        assert seen.beeps == pytest.approx([0, 1, 2], abs=0.03)
        assert seen.level(1.01, 1.09) == pytest.approx(BEEP_DB, abs=1.0)


@pytest.mark.parametrize("name", ["a.mov", "a.mkv"])
def test_changing_only_the_container_copies_all_packets(tmp_path: Path, name: str) -> None:
    source = make_clip(tmp_path / name, sound=Sound(), codec_options={"bf": "2"})

    prepared = prepare_clip(source, tmp_path / "out.mp4")

    assert prepared.done == "copied"
    assert packets(prepared.path) == packets(source)
    # Matroska does not record the padding of the last packet, which is therefore dropped.
    count = len(packets(source, "audio")) - (name == "a.mkv")
    assert packets(prepared.path, "audio") == packets(source, "audio")[:count]


def test_the_index_comes_before_the_media_data(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.mov", sound=Sound())

    for end_s in (None, 1.5):
        content = prepare_clip(source, tmp_path / "out.mp4", end_s=end_s).path.read_bytes()

        assert content.index(b"moov") < content.index(b"mdat")


@pytest.mark.parametrize(
    ("start_s", "end_s", "expected"),
    [
        pytest.param(1.0, 3.0, range(10, 30), id="on-frames"),
        pytest.param(1.05, 2.95, range(11, 30), id="between-frames"),
        pytest.param(None, 2.0, range(20), id="end-only"),
        pytest.param(2.5, None, range(25, 40), id="start-only"),
        pytest.param(0.0, 4.0, range(40), id="all"),
        pytest.param(1.2, 1.3, range(12, 13), id="one-frame"),
        pytest.param(3.9, None, range(39, 40), id="last-frame"),
    ],
)
def test_a_cut_is_frame_exact(
    tmp_path: Path, start_s: float | None, end_s: float | None, expected: range
) -> None:
    source = make_clip(
        tmp_path / "a.mp4", seconds=4, sound=Sound(), codec_options={"g": "7", "bf": "2"}
    )

    prepared = prepare_clip(source, tmp_path / "out.mp4", start_s=start_s, end_s=end_s)

    seen = see(prepared.path)
    assert seen.numbers == list(expected)
    assert seen.times[0] == 0
    assert all(
        after - before == pytest.approx(FRAME_S, abs=0.001)
        for before, after in pairwise(seen.times)
    )
    assert seen.duration_s == pytest.approx(len(expected) * FRAME_S, abs=0.002)


@pytest.mark.parametrize("start_s", [0.0, 0.7, 1.5, 2.3])
def test_audio_stays_in_sync_after_a_cut(tmp_path: Path, start_s: float) -> None:
    source = make_clip(tmp_path / "a.mp4", seconds=5, sound=Sound())

    seen = see(prepare_clip(source, tmp_path / "out.mp4", start_s=start_s, end_s=4.6).path)

    beeps = [second - start_s for second in range(5) if start_s <= second < 4.6]
    assert seen.beeps == pytest.approx(beeps, abs=0.003)
    assert len(seen.samples) / seen.rate == pytest.approx(4.6 - start_s, abs=2 * AAC_FRAME_S)
    assert seen.level(beeps[0], beeps[0] + 0.1) == pytest.approx(-9.0, abs=0.5)


@pytest.mark.parametrize("start_s", [None, 0.3])
def test_audio_that_starts_late_still_starts_late(tmp_path: Path, start_s: float | None) -> None:
    source = make_clip(tmp_path / "a.mkv", sound=Sound(codec="flac", seconds=1, starts_s=0.5))

    seen = see(prepare_clip(source, tmp_path / "out.mp4", start_s=start_s).path)

    assert seen.beeps == pytest.approx([0.5 - (start_s or 0)], abs=0.003)


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "aac"), ("a.mov", "pcm_s16le"), ("a.mkv", "flac")]
)
def test_a_cut_after_the_end_of_the_audio_is_silent(tmp_path: Path, name: str, codec: str) -> None:
    source = make_clip(tmp_path / name, seconds=4, sound=Sound(codec=codec, seconds=1.5))

    seen = see(prepare_clip(source, tmp_path / "out.mp4", start_s=2.5).path)

    assert seen.numbers == list(range(25, 40))
    assert len(seen.samples) == 0


def test_copied_streams_end_at_the_cut(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.mp4", seconds=4, sound=Sound(), codec_options={"bf": "0"})

    prepared = prepare_clip(source, tmp_path / "out.mp4", end_s=2.0)

    assert prepared.done == "cut (copied)"
    assert packets(prepared.path) == packets(source)[:20]
    audio = packets(prepared.path, "audio")
    assert audio == packets(source, "audio")[: len(audio)]
    seen = see(prepared.path)
    assert len(seen.samples) / seen.rate == pytest.approx(2.0, abs=2 * AAC_FRAME_S)


def test_a_cut_at_a_keyframe_copies_the_video(tmp_path: Path) -> None:
    options = {"g": "10", "bf": "0", "sc_threshold": "0"}
    source = make_clip(tmp_path / "a.mp4", seconds=4, codec_options=options, sound=Sound())

    prepared = prepare_clip(source, tmp_path / "out.mp4", start_s=2.0)

    assert prepared.done == "cut (copied)"
    assert see(prepared.path).numbers == list(range(20, 40))
    assert see(prepared.path).beeps == pytest.approx([0, 1], abs=0.003)


def test_a_clip_too_large_to_copy_is_reencoded(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.mov", seconds=4, codec_options={"bf": "0"})
    size = source.stat().st_size

    whole = prepare_clip(source, tmp_path / "out.mp4", largest_bytes=size - 1)
    half = prepare_clip(source, tmp_path / "half.mp4", end_s=2.0, largest_bytes=size - 1)

    assert whole.done.startswith("re-encoded")
    assert half.done == "cut (copied)"


def test_ten_seconds_of_noise_fit_the_upload_limit(tmp_path: Path) -> None:
    noise = Random(0)  # noqa: S311 - not used for security
    with av.open(str(tmp_path / "a.mov"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25, options={"b": "400M"})
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        for _ in range(10):
            frame = VideoFrame(1280, 720, "yuv420p")
            for plane in frame.planes:
                plane.update(noise.randbytes(plane.buffer_size))
            container.mux(stream.encode(frame))

    prepare_clip(tmp_path / "a.mov", tmp_path / "out.mp4")

    # The rate buffer may be exceeded once, however long a clip is.
    rate, buffer = 70e6 / 8, 35e6 / 8
    assert (tmp_path / "out.mp4").stat().st_size < 0.4 * rate + 1.1 * buffer
    assert 10 * rate + 1.1 * buffer < MAX_UPLOAD_BYTES


def test_variable_frame_rates_keep_their_timestamps(tmp_path: Path) -> None:
    times = [0, 33, 67, 500, 1250, 1283, 1900]
    source = make_clip(tmp_path / "a.webm", codec="libvpx-vp9", times=times, tick=Fraction(1, 1000))

    seen = see(prepare_clip(source, tmp_path / "out.mp4").path)
    cut = see(prepare_clip(source, tmp_path / "cut.mp4", start_s=0.4, end_s=1.3).path)

    assert seen.times == pytest.approx([time / 1000 for time in times], abs=0.001)
    assert seen.numbers == list(range(7))
    assert cut.numbers == [2, 3, 4, 5]
    assert cut.times == pytest.approx([0, 0.1, 0.85, 0.883], abs=0.001)
    assert cut.duration_s == pytest.approx(0.9, abs=0.002)


@pytest.mark.parametrize("size", [(65, 49), (65, 48), (64, 49)])
def test_odd_dimensions_become_even(tmp_path: Path, size: tuple[int, int]) -> None:
    source = make_clip(tmp_path / "a.webm", codec="libvpx-vp9", size=size)

    seen = see(prepare_clip(source, tmp_path / "out.mp4").path)

    assert seen.size == (64, 48)
    assert seen.numbers == list(range(20))


def test_a_video_one_pixel_wide_is_refused(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.avi", codec="rawvideo", size=(1, 64))

    with pytest.raises(InvalidInputError, match="too small"):
        prepare_clip(source, tmp_path / "out.mp4")


# The filters that store a frame so that the display matrix shows it upright.
FILTERS_BY_MATRIX = {
    (1, 0, 0, 1): "",
    (0, 1, -1, 0): "transpose=cclock",
    (-1, 0, 0, -1): "hflip,vflip",
    (0, -1, 1, 0): "transpose=clock",
    (-1, 0, 0, 1): "hflip",
    (1, 0, 0, -1): "vflip",
    (0, 1, 1, 0): "transpose=cclock_flip",
    (0, -1, -1, 0): "transpose=clock_flip",
}


@pytest.mark.parametrize("matrix", FILTERS_BY_MATRIX)
@pytest.mark.parametrize(
    "start_s", [pytest.param(0.5, id="encoded"), pytest.param(None, id="copied")]
)
def test_rotated_and_mirrored_video_is_shown_upright(
    tmp_path: Path, matrix: tuple[int, int, int, int], start_s: float | None
) -> None:
    upright = make_clip(tmp_path / "upright.mp4")
    source = set_matrix(_stored(upright, tmp_path / "a.mov", FILTERS_BY_MATRIX[matrix]), matrix)

    prepared = prepare_clip(source, tmp_path / "out.mp4", start_s=start_s)

    facts = probe_file(prepared.path, name="out")
    assert (facts.shown_width, facts.shown_height) == (64, 48)
    if start_s is None:
        assert prepared.done == "copied"
        assert facts.rotation == probe_file(source, name="a").rotation
        content = prepared.path.read_bytes()
        begin = content.index(b"tkhd") + 44
        a, b, _, c, d, *_ = struct.unpack(">9i", content[begin : begin + 36])
        assert (a // 65536, b // 65536, c // 65536, d // 65536) == matrix
    else:
        assert facts.rotation == 0
        assert see(prepared.path).numbers == list(range(5, 20))


def _stored(source: Path, target: Path, filters: str) -> Path:
    with av.open(str(source)) as clip, av.open(str(target), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        for frame in clip.decode(video=0):
            graph = Graph()
            nodes = [graph.add_buffer(template=clip.streams.video[0])]
            nodes += [graph.add(*text.split("=")) for text in filters.split(",") if text]
            nodes.append(graph.add("buffersink"))
            for before, after in pairwise(nodes):
                before.link_to(after)
            graph.configure()
            graph.vpush(frame)
            stored = graph.vpull()
            stored.pict_type = 0
            if frame.pts == 0:
                stream.width, stream.height = stored.width, stored.height
            container.mux(stream.encode(stored))
        container.mux(stream.encode(None))
    return target


@pytest.mark.parametrize(
    ("colours", "pixel_format"),
    [
        pytest.param(COLOURS, "yuv420p", id="bt709"),
        pytest.param(COLOURS | {"color_range": 2}, "yuv420p", id="full-range"),
        pytest.param({}, "yuv444p", id="unspecified"),
    ],
)
def test_colours_keep_their_tags_and_values(
    tmp_path: Path, colours: dict[str, int], pixel_format: str
) -> None:
    source = make_clip(tmp_path / "a.mp4", colours=colours, pixel_format=pixel_format)

    prepared = prepare_clip(source, tmp_path / "out.mp4", start_s=0.5)

    before, after = probe_file(source, name="a"), probe_file(prepared.path, name="out")
    assert prepared.done.startswith("re-encoded")
    assert after.pixel_format in {"yuv420p", "yuvj420p"}
    for tag in ("color_range", "color_primaries", "color_transfer", "color_space"):
        assert getattr(after, tag) == getattr(before, tag)
    assert _brightest(prepared.path) == pytest.approx(_brightest(source), abs=3)


def _brightest(path: Path) -> int:
    """Return the stored brightness of the bar at the top, in 8 bits."""
    with av.open(str(path)) as clip:
        frame = next(clip.decode(video=0))
        plane = frame.planes[0]
        if "10" in frame.format.name:
            at = 2 * plane.line_size + 64
            return int.from_bytes(bytes(plane)[at : at + 2], "little") // 4
        return bytes(plane)[2 * plane.line_size + 32]


def test_rgb_becomes_bt709(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.mov", codec="png", pixel_format="rgb24")

    prepared = prepare_clip(source, tmp_path / "out.mp4")

    facts = probe_file(prepared.path, name="out")
    assert facts.color_space == 1
    assert see(prepared.path).numbers == list(range(20))


def test_frames_that_change_size_midway_are_scaled(tmp_path: Path) -> None:
    first = make_clip(tmp_path / "a.ts", codec="mpeg2video", fps=25, seconds=1)
    second = make_clip(
        tmp_path / "b.ts",
        codec="mpeg2video",
        fps=25,
        times=range(25, 50),
        size=(96, 72),
        first_number=25,
    )
    (tmp_path / "c.ts").write_bytes(first.read_bytes() + second.read_bytes())

    seen = see(prepare_clip(tmp_path / "c.ts", tmp_path / "out.mp4").path)

    assert seen.size == (64, 48)
    assert len(seen.numbers) >= 48


@pytest.mark.parametrize(("start_s", "end_s"), [(2.0, 1.0), (2.0, None), (None, 9.0), (5.0, 6.0)])
def test_cuts_that_leave_nothing_write_no_file(
    tmp_path: Path, start_s: float | None, end_s: float | None
) -> None:
    source = make_clip(tmp_path / "a.mp4")

    with pytest.raises(InvalidInputError) as caught:
        prepare_clip(source, tmp_path / "out.mp4", start_s=start_s, end_s=end_s)

    assert caught.value.code == "invalid_mark"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["a.mp4"]


@pytest.mark.parametrize("error", [Interrupted(2), RuntimeError("boom")])
@pytest.mark.parametrize("start_s", [None, 0.5])
def test_a_failed_conversion_leaves_no_file(
    tmp_path: Path, error: BaseException, start_s: float | None
) -> None:
    source = make_clip(tmp_path / "a.mov", sound=Sound())
    folder = tmp_path / "private"
    folder.mkdir()

    def fail(_progress: Progress) -> None:
        raise error

    with pytest.raises(type(error)):
        prepare_clip(source, folder / "out.mp4", start_s=start_s, on_progress=fail)

    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "error"),
    [
        pytest.param(errno.EINVAL, InvalidInputError, id="invalid-packets"),
        pytest.param(errno.ENOSPC, LocalError, id="full-disk"),
        pytest.param(errno.EIO, LocalError, id="failing-disk"),
        pytest.param(errno.EACCES, LocalError, id="no-permission"),
    ],
)
def test_write_errors_blame_either_the_clip_or_the_disk(
    number: int, error: type[Exception]
) -> None:
    with pytest.raises(error), translated_errors("out.mp4", is_written=True):
        av.error.err_check(-number)


def test_a_missing_target_folder_is_a_local_error(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.mov")

    with pytest.raises(LocalError):
        prepare_clip(source, tmp_path / "missing" / "out.mp4")


def test_a_full_disk_leaves_no_file(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    source = make_clip(tmp_path / "a.mov", sound=Sound())
    folder = tmp_path / "private"
    folder.mkdir()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))

    try:
        with pytest.raises(LocalError):
            prepare_clip(source, folder / "out.mp4")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert list(folder.iterdir()) == []


def test_a_stream_that_begins_midway_is_ignored(tmp_path: Path) -> None:
    options = {"mpegts_start_pid": "0x200"}
    first = make_clip(tmp_path / "a.ts", codec="mpeg2video", fps=25, seconds=1)
    other = make_clip(tmp_path / "b.ts", codec="mpeg2video", fps=25, seconds=1, options=options)
    (tmp_path / "c.ts").write_bytes(first.read_bytes() + other.read_bytes())

    seen = see(prepare_clip(tmp_path / "c.ts", tmp_path / "out.mp4").path)

    assert seen.numbers == list(range(25))


def make_damaged(path: Path, *, share: float) -> Path:
    """Make a clip of thirty PNG frames and overwrite a share of them."""
    source = make_clip(path, codec="png", pixel_format="rgb24", seconds=3)
    content = bytearray(source.read_bytes())
    for packet in packets(source)[: round(30 * share)]:
        begin = content.index(packet)
        content[begin + 40 : begin + 80] = b"\xff" * 40
    source.write_bytes(content)
    return source


def test_a_few_bad_frames_are_counted(tmp_path: Path) -> None:
    source = make_damaged(tmp_path / "a.mov", share=0.1)

    prepared = prepare_clip(source, tmp_path / "out.mp4")

    assert (prepared.check.frames, prepared.check.bad_frames) == (30, 3)
    assert see(prepared.path).numbers == list(range(3, 30))


def test_more_than_a_tenth_bad_frames_are_refused(tmp_path: Path) -> None:
    source = make_damaged(tmp_path / "a.mov", share=0.2)

    prepared = prepare_clip(source, tmp_path / "out.mp4")
    with pytest.raises(InvalidInputError, match="6 of 30 frames cannot be decoded") as caught:
        refuse_damage(prepared.check, name="a.mov")

    assert caught.value.code == "damaged_clip"
    assert "--no-check" in (caught.value.hint or "")


def test_frames_are_freed_once_they_are_written(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.webm", codec="libvpx", seconds=5)
    gc.collect()
    gc.disable()

    try:
        prepare_clip(source, tmp_path / "out.mp4")
        alive = [each for each in gc.get_objects() if isinstance(each, VideoFrame)]
    finally:
        gc.enable()

    assert len(alive) < 5


@pytest.mark.parametrize(
    ("size", "lookahead"),
    [
        pytest.param((WIDTH, HEIGHT), 20, id="usual-number"),
        pytest.param((3840, 2160), 5, id="fewer-at-4k"),
    ],
)
def test_the_encoder_looks_ahead_fewer_frames_if_they_are_large(
    tmp_path: Path, size: tuple[int, int], lookahead: int
) -> None:
    source = make_clip(tmp_path / "a.avi", codec="mpeg4", size=size, seconds=0.2)

    content = prepare_clip(source, tmp_path / "out.mp4").path.read_bytes()

    # The encoder writes its settings into the stream.
    assert f"rc_lookahead={lookahead}".encode() in content
    assert b"sliced_threads=0" in content


@pytest.mark.parametrize(
    "start_s", [pytest.param(0.5, id="encoded"), pytest.param(None, id="copied")]
)
def test_progress_reaches_the_total(tmp_path: Path, start_s: float | None) -> None:
    source = make_clip(tmp_path / "a.mov", sound=Sound())
    reported: list[Progress] = []

    prepare_clip(source, tmp_path / "out.mp4", start_s=start_s, on_progress=reported.append)

    length_s = 2 - (start_s or 0)
    assert {progress.total_s for progress in reported} == {length_s}
    assert [progress.frames for progress in reported] == list(range(1, round(length_s * 10) + 1))
    assert 0 < reported[0].done_s < 1
    assert reported[-1].done_s == pytest.approx(length_s)


def test_progress_estimates_speed_and_time_left() -> None:
    progress = Progress(done_s=2.0, total_s=10.0, frames=50, elapsed_s=4.0)

    assert progress.fps == 12.5
    assert progress.remaining_s == 16.0
    assert Progress(done_s=0.0, total_s=10.0, frames=0, elapsed_s=0.0).remaining_s is None
    assert Progress(done_s=0.4, total_s=10.0, frames=10, elapsed_s=4.0).remaining_s is None


def test_location_and_title_metadata_are_removed(tmp_path: Path) -> None:
    source = tmp_path / "a.mov"
    plain = make_clip(tmp_path / "b.mov")
    with av.open(str(plain)) as clip, av.open(str(source), "w") as container:
        container.metadata.update({"location": "+48.2+16.4/", "title": "home"})
        stream = container.add_stream_from_template(clip.streams.video[0], opaque=True)
        for packet in clip.demux(video=0):
            if packet.size:
                packet.stream = stream
                container.mux(packet)

    content = prepare_clip(source, tmp_path / "out.mp4").path.read_bytes()

    assert b"48.2" in source.read_bytes()
    assert b"48.2" not in content
    assert b"home" not in content


def test_an_encoder_waits_until_memory_and_cores_are_free() -> None:
    slots = EncodingSlots(memory_bytes=1024**3, cores=8)
    full_hd = 1920 * 1080
    taken: list[bool] = []

    with slots.taken(full_hd), slots.taken(full_hd):
        waiting = Thread(target=lambda: _take(slots, full_hd, taken))
        waiting.start()
        waiting.join(timeout=0.05)
        was_waiting = waiting.is_alive()
    waiting.join(timeout=5)

    assert was_waiting
    assert taken == [True]


def test_one_encoder_always_runs_and_copies_need_no_slot(tmp_path: Path) -> None:
    source, target = make_clip(tmp_path / "a.mp4"), tmp_path / "out.mp4"

    # The slot is larger than the memory for all of them.
    with ENCODING_SLOTS.taken(8192 * 8192):
        copying = Thread(target=lambda: replace_audio(source, target, original=None))
        copying.start()
        copying.join(timeout=5)
        is_copied = target.exists()
    copying.join()

    assert is_copied


def _take(slots: EncodingSlots, pixels: int, taken: list[bool]) -> None:
    with slots.taken(pixels):
        taken.append(True)
