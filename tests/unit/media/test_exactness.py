"""Clips that are easily cut or converted wrongly keep every frame and sample in its place."""

import struct
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import pytest

from omniedit.errors import InvalidInputError
from omniedit.media.facts import HLG, PQ, find_problems, needs_conversion
from omniedit.media.filters import _pq_to_light, hald_planes
from omniedit.media.writing import check_clip, prepare_clip, refuse_damage
from tests.unit.media.clips import (
    Sound,
    combing,
    interlaced,
    make_clip,
    overwrite_packet,
    packets,
    probe_file,
    see,
    with_aspect,
    with_manifest,
    with_two_audio_tracks,
)

INTRA_REFRESH = {"x264-params": "intra-refresh=1:keyint=10:bframes=0"}
HDR = {"color_range": 1, "color_primaries": 9, "color_trc": PQ, "colorspace": 9}
SDR = {"color_range": 1, "color_primaries": 1, "color_trc": 1, "colorspace": 1}


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_no_copied_cut_begins_at_a_false_keyframe(tmp_path: Path, name: str) -> None:
    source = make_clip(tmp_path / name, seconds=4, codec_options=INTRA_REFRESH)
    flags = [packet.is_keyframe for packet in av.open(str(source)).demux(video=0)]
    assert flags[10]

    prepared = prepare_clip(source, tmp_path / "out.mp4", start_s=1.0, end_s=2.0)

    assert prepared.done.startswith("re-encoded")
    assert see(prepared.path).numbers == list(range(10, 20))


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_a_cut_at_a_true_keyframe_is_copied(tmp_path: Path, name: str, codec: str) -> None:
    params = "log-level=error:keyint=10:min-keyint=10:scenecut=0:bframes=0:open-gop=0"
    options = {f"{codec.removeprefix('lib')}-params": params}
    source = make_clip(tmp_path / name, seconds=4, codec=codec, codec_options=options)

    prepared = prepare_clip(source, tmp_path / "out.mp4", start_s=1.0, end_s=2.0)

    assert prepared.done == "cut (copied)"
    assert see(prepared.path).numbers == list(range(10, 20))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        pytest.param("a.mp4", {}, id="mp4"),
        pytest.param("a.mp4", {"movflags": "frag_keyframe+empty_moov"}, id="fragmented"),
        pytest.param("a.mkv", {}, id="matroska"),
        pytest.param("a.mkv", {"live": "1"}, id="matroska-without-an-index"),
        pytest.param("a.ts", {}, id="transport-stream"),
    ],
)
def test_a_cut_decodes_from_the_keyframe_before_it(
    tmp_path: Path, name: str, options: dict[str, str]
) -> None:
    codec_options = {"g": "20", "bf": "2", "sc_threshold": "0"}
    source = make_clip(
        tmp_path / name, seconds=8, codec_options=codec_options, options=options, sound=Sound()
    )

    seen = see(prepare_clip(source, tmp_path / "out.mp4", start_s=6.3, end_s=7.3).path)

    assert seen.numbers == list(range(63, 73))
    assert seen.beeps == pytest.approx([0.7], abs=0.003)


def test_audio_beyond_the_end_of_the_video_is_trimmed(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.mp4", seconds=9.9, sound=Sound(seconds=11.5))
    facts = probe_file(source, name="a.mp4")

    prepared = prepare_clip(source, tmp_path / "out.mp4")

    assert [problem.code for problem in find_problems(facts, longest_s=10)] == [
        "container_too_long"
    ]
    assert needs_conversion(facts, longest_s=10)
    assert (facts.duration_s, facts.container_s) == pytest.approx((9.9, 11.5), abs=0.002)
    after = probe_file(prepared.path, name="out")
    assert find_problems(after, longest_s=10) == ()
    assert after.container_s == pytest.approx(9.9, abs=0.001)
    assert packets(prepared.path) == packets(source)


def test_an_empty_edit_list_entry_counts_as_container_length(tmp_path: Path) -> None:
    source = _with_delay(make_clip(tmp_path / "a.mp4"), delay_s=1000)
    facts = probe_file(source, name="a.mp4")

    prepared = prepare_clip(source, tmp_path / "out.mp4")

    assert facts.duration_s == pytest.approx(2)
    assert facts.container_s == pytest.approx(1002)
    assert [problem.code for problem in find_problems(facts, longest_s=10)] == [
        "container_too_long"
    ]
    assert probe_file(prepared.path, name="out").container_s == pytest.approx(2)


def _with_delay(path: Path, *, delay_s: int) -> Path:
    """Put an empty edit before the first frame of an MP4 whose index comes last."""
    content = bytearray(path.read_bytes())
    (scale,) = struct.unpack_from(">I", content, content.index(b"mvhd") + 16)
    begin = content.index(b"elst") - 4
    content[begin + 12 : begin + 16] = (2).to_bytes(4)
    entry = struct.pack(">IiI", delay_s * scale, -1, 0x10000)
    content[begin + 16 : begin + 16] = entry
    for box in (b"elst", b"edts", b"trak", b"moov"):
        at = content.index(box) - 4
        struct.pack_into(">I", content, at, struct.unpack_from(">I", content, at)[0] + len(entry))
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(("start_s", "end_s"), [(0.52, 10.52), (None, 10.0)])
def test_a_ten_second_cut_is_exactly_ten_seconds(
    tmp_path: Path, start_s: float | None, end_s: float
) -> None:
    source = make_clip(tmp_path / "a.mp4", seconds=11, fps=25, sound=Sound())

    facts = probe_file(
        prepare_clip(source, tmp_path / "out.mp4", start_s=start_s, end_s=end_s).path, name="out"
    )

    assert facts.container_s == pytest.approx(10.0, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "codec", "start_s"),
    [
        pytest.param("a.mp4", "libvpx-vp9", None, id="encoded"),
        pytest.param("a.mov", "libx264", None, id="copied"),
        pytest.param("a.mp4", "libx264", 0.5, id="cut"),
    ],
)
def test_the_pixel_aspect_of_the_container_is_kept(
    tmp_path: Path, name: str, codec: str, start_s: float | None
) -> None:
    source = with_aspect(make_clip(tmp_path / f"b{name[1:]}", codec=codec), tmp_path / name)

    facts = probe_file(prepare_clip(source, tmp_path / "out.mp4", start_s=start_s).path, name="out")

    assert probe_file(source, name=name).pixel_aspect == Fraction(4, 3)
    assert facts.display_aspect == Fraction(16, 9)


@pytest.mark.parametrize("start_s", [None, 0.5])
def test_interlaced_video_becomes_progressive(tmp_path: Path, start_s: float | None) -> None:
    source = interlaced(tmp_path / "a.avi")

    prepared = prepare_clip(source, tmp_path / "out.mp4", start_s=start_s)

    assert probe_file(source, name="a").is_interlaced
    assert not probe_file(prepared.path, name="out").is_interlaced
    assert prepared.check.bad_frames == 0
    assert len(packets(prepared.path)) == 20 - round(10 * (start_s or 0))
    assert combing(prepared.path) < combing(source) / 3
    assert "interlaced → H.264, 64x64, progressive" in prepared.done


def test_hdr_becomes_sdr(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.mp4", codec="libx265", colours=HDR, pixel_format="yuv420p10le")
    facts = probe_file(source, name="a")

    prepared = prepare_clip(source, tmp_path / "out.mp4")

    after = probe_file(prepared.path, name="out")
    assert (facts.hdr, facts.bit_depth, facts.chroma) == ("PQ", 10, "4:2:0")
    assert [problem.code for problem in find_problems(facts, longest_s=10)] == ["hdr"]
    assert prepared.done == (
        "re-encoded: H.265, 64x48, 10 bits, HDR (PQ) → H.264, 64x48, 8 bits, SDR"
    )
    assert (after.color_primaries, after.color_transfer, after.color_space) == (1, 1, 1)
    assert (after.hdr, after.bit_depth) == (None, 8)
    assert see(prepared.path).numbers == list(range(20))


def test_hdr_is_kept_on_request(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.mp4", codec="libx265", colours=HDR, pixel_format="yuv420p10le")

    whole = prepare_clip(source, tmp_path / "whole.mp4", keeps_hdr=True)
    cut = prepare_clip(source, tmp_path / "cut.mp4", start_s=0.5, keeps_hdr=True)

    assert find_problems(probe_file(source, name="a"), longest_s=10, keeps_hdr=True) == ()
    assert whole.done == "copied"
    assert cut.done.startswith("re-encoded")
    for prepared in (whole, cut):
        facts = probe_file(prepared.path, name="out")
        assert (facts.hdr, facts.bit_depth, facts.video_codec) == ("PQ", 10, "hevc")
    assert see(cut.path).numbers == list(range(5, 20))


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv420p10le"])
@pytest.mark.parametrize("order", [("hdr", "sdr"), ("sdr", "hdr")])
def test_only_the_hdr_of_a_clip_joined_from_two_is_converted(
    tmp_path: Path, pixel_format: str, order: tuple[str, str]
) -> None:
    source = tmp_path / "joined.ts"
    for index, name in enumerate(order):
        is_hdr = name == "hdr"
        part = make_clip(
            tmp_path / "part.ts",
            codec="libx265",
            colours=HDR if is_hdr else SDR,
            pixel_format="yuv420p10le" if is_hdr else pixel_format,
            times=range(10 * index, 10 * index + 10),
        )
        with source.open("ab") as file:
            file.write(part.read_bytes())

    prepared = prepare_clip(source, tmp_path / "out.mp4", largest_bytes=1)
    cut = prepare_clip(source, tmp_path / "cut.mp4", start_s=1.2, largest_bytes=1)

    with av.open(str(prepared.path)) as container:
        bars = [bytes(frame.planes[0])[0] for frame in container.decode(video=0)]
    bright = dict(zip(order, (bars[0], bars[-1]), strict=True))
    assert len(bars) == 20
    assert bright["sdr"] == pytest.approx(188, abs=10)
    assert bright["hdr"] > 220
    assert probe_file(cut.path, name="cut").color_transfer == 1


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_tone_mapping_is_monotonic_and_keeps_grey_neutral(transfer: int) -> None:
    green, blue, red = (memoryview(plane).cast("H") for plane in hald_planes(is_pq=transfer == PQ))

    greys = [index * (1 + 36 + 36**2) for index in range(36)]
    levels = [green[index] for index in greys]
    assert levels[0] == 0
    assert levels[-1] == 65535
    assert all(after >= before for before, after in pairwise(levels))
    assert all(abs(red[index] - blue[index]) < 70 for index in greys)


def test_tone_mapping_keeps_white_bright_and_midtones_exact() -> None:
    green, _, _ = (memoryview(plane).cast("H") for plane in hald_planes(is_pq=True))

    def mapped(step: int) -> float:
        return float(green[step * (1 + 36 + 36**2)] / 65535)

    assert 0.85 < mapped(20) < 0.95  # 186 cd/m2
    light = _pq_to_light(17 / 35)  # 79 cd/m2, below the knee
    assert mapped(17) == pytest.approx((light / 203) ** (1 / 2.4), abs=0.001)


def test_the_default_audio_track_is_used(tmp_path: Path) -> None:
    for default in (0, 1):
        source = with_two_audio_tracks(tmp_path / "a.mp4", default=default)

        seen = see(prepare_clip(source, tmp_path / "out.mp4", start_s=0.5).path)

        assert [track.is_used for track in probe_file(source, name="a").audio_tracks] == [
            default == 0,
            default == 1,
        ]
        assert seen.beeps == pytest.approx([0.5 * default], abs=0.003)


def test_a_damaged_audio_packet_is_silenced(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.mp4", seconds=4, sound=Sound())
    overwrite_packet(source, "audio", 70)

    prepared = prepare_clip(source, tmp_path / "out.mp4", start_s=0.5)

    assert prepared.silenced_packets == 1
    assert see(prepared.path).beeps == pytest.approx([0.5, 1.5, 2.5], abs=0.003)


@pytest.mark.parametrize("bframes", ["0", "2"])
@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_an_avi_keeps_every_frame_and_its_audio_in_sync(
    tmp_path: Path, codec: str, bframes: str
) -> None:
    source = make_clip(
        tmp_path / "a.avi",
        seconds=4,
        fps=25,
        codec=codec,
        codec_options={"bf": bframes, "g": "25"},
        sound=Sound(codec="pcm_s16le"),
    )

    whole = see(prepare_clip(source, tmp_path / "whole.mp4").path)
    cut = see(prepare_clip(source, tmp_path / "cut.mp4", start_s=1.0, end_s=2.0).path)

    assert probe_file(source, name="a").frame_rate == pytest.approx(25)
    assert whole.numbers == list(range(100))
    assert whole.beeps == pytest.approx([0, 1, 2, 3], abs=0.003)
    assert cut.numbers == list(range(25, 50))
    assert cut.beeps[0] == pytest.approx(0, abs=0.003)


def test_a_transport_stream_truncated_within_a_packet_is_read(tmp_path: Path) -> None:
    source = make_clip(
        tmp_path / "a.ts", seconds=4, fps=25, codec="mpeg2video", sound=Sound(codec="mp2")
    )
    content = source.read_bytes()
    source.write_bytes(content[: len(content) // 188 // 2 * 188 + 77])

    seen = see(prepare_clip(source, tmp_path / "out.mp4").path)

    assert len(seen.numbers) > 40
    assert seen.numbers == list(range(len(seen.numbers)))


def test_a_clip_is_refused_if_over_a_tenth_of_its_frames_are_bad(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.mp4", seconds=4, codec_options={"bf": "0", "g": "1"})
    check = check_clip(source)
    assert (check.frames, check.bad_frames) == (40, 0)

    for number in (3, 11, 22, 31):
        overwrite_packet(source, "video", number)
    acceptable = check_clip(source)
    overwrite_packet(source, "video", 36)
    excessive = check_clip(source)

    assert acceptable.bad_frames == 4
    refuse_damage(acceptable, name="a.mp4")
    with pytest.raises(InvalidInputError, match="5 of 40 frames cannot be decoded"):
        refuse_damage(excessive, name="a.mp4")


@pytest.mark.parametrize(
    ("name", "codec", "sound", "container"),
    [
        pytest.param("a.flv", "flv", Sound(codec="libmp3lame", rate=44100), "flv", id="flv"),
        pytest.param("a.flv", "libx264", Sound(), "flv", id="flv-h264"),
        pytest.param("a.mpg", "mpeg2video", Sound(codec="mp2"), "mpeg", id="mpeg-ps"),
        pytest.param("a.ogg", "libtheora", None, "ogg", id="ogg"),
        pytest.param("a.asf", "wmv2", Sound(codec="libmp3lame"), "asf", id="wmv"),
        pytest.param("a.gif", "gif", None, "gif", id="gif"),
    ],
)
def test_older_containers_are_converted(
    tmp_path: Path, name: str, codec: str, sound: Sound | None, container: str
) -> None:
    pixel_format = "gray" if codec == "gif" else "yuv420p"
    if codec not in av.codecs_available:
        pytest.skip(f"this build of PyAV cannot encode with {codec}")
    source = make_clip(
        tmp_path / name, seconds=2, fps=25, codec=codec, pixel_format=pixel_format, sound=sound
    )

    prepared = prepare_clip(source, tmp_path / "out.mp4")

    assert probe_file(source, name=name).container == container
    seen = see(prepared.path)
    assert seen.numbers == list(range(50))
    if sound is not None:
        assert seen.beeps[-1] == pytest.approx(1, abs=0.003)


def test_a_gif_of_one_frame_is_refused_as_an_image(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.gif", codec="gif", pixel_format="gray", seconds=0.1)

    with pytest.raises(InvalidInputError, match="a GIF image, not a video"):
        probe_file(source, name="a.gif")


@pytest.mark.parametrize("timescale", [0, 1, 100, 250])
def test_a_damaged_timescale_is_refused(tmp_path: Path, timescale: int) -> None:
    source = make_clip(tmp_path / "a.mp4", seconds=4, fps=25)
    content = bytearray(source.read_bytes())
    at = content.index(b"mdhd") + 16
    content[at : at + 4] = timescale.to_bytes(4)
    source.write_bytes(content)

    with pytest.raises(InvalidInputError, match="is damaged: it"):
        probe_file(source, name="a.mp4")


def test_a_lost_c2pa_manifest_is_reported(tmp_path: Path) -> None:
    source = with_manifest(make_clip(tmp_path / "a.mp4"))

    prepared = prepare_clip(source, tmp_path / "out.mp4", end_s=1.0)

    assert probe_file(source, name="a").marks == ("c2pa",)
    assert prepared.lost_marks == ("c2pa",)
    assert probe_file(prepared.path, name="out").marks == ()


def test_a_conversion_is_described_in_one_line(tmp_path: Path) -> None:
    source = make_clip(
        tmp_path / "a.mp4", codec="libvpx-vp9", times=range(60), tick=Fraction(1001, 60000)
    )

    saved = prepare_clip(source, tmp_path / "out.mp4")

    assert saved.done == "re-encoded: VP9, 64x48 → H.264, 64x48"
