"""The facts that `probe` reads from clips, and the files that it refuses."""

import gc
import io
import os
import wave
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import pytest

from omniedit.errors import InvalidInputError, LocalError, MissingFileError, OmniEditError
from omniedit.media.containers import opened_media
from omniedit.media.facts import ClipFacts, find_problems
from omniedit.media.probing import probe_remote
from tests.unit.media.clips import (
    Sound,
    draw,
    make_clip,
    move_pictures,
    number_of,
    probe_file,
    set_matrix,
)


def probed(path: Path) -> ClipFacts:
    return probe_file(path, name=path.name)


def refusal(path: Path) -> OmniEditError:
    with pytest.raises(OmniEditError) as caught:
        probed(path)
    assert isinstance(caught.value, InvalidInputError | LocalError)
    assert "\n" not in caught.value.message
    assert path.name in caught.value.message
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    ("name", "codec", "sound", "expected"),
    [
        ("a.mp4", "libx264", Sound(), ("mp4", "h264", "aac", [])),
        ("a.mp4", "libx265", None, ("mp4", "hevc", None, [])),
        (
            "a.mov",
            "libx264",
            Sound(codec="pcm_s16le"),
            ("mov", "h264", "pcm_s16le", ["not_an_mp4"]),
        ),
        ("a.mkv", "libx264", Sound(codec="flac"), ("matroska", "h264", "flac", ["not_an_mp4"])),
        (
            "a.webm",
            "libvpx-vp9",
            Sound(codec="libopus"),
            ("webm", "vp9", "opus", ["not_an_mp4", "unsuitable_codec"]),
        ),
        (
            "a.avi",
            "mpeg4",
            Sound(codec="pcm_s16le"),
            ("avi", "mpeg4", "pcm_s16le", ["not_an_mp4", "unsuitable_codec"]),
        ),
        ("a.ts", "libx264", Sound(codec="aac"), ("mpegts", "h264", "aac", ["not_an_mp4"])),
    ],
)
def test_containers_and_codecs_are_recognised(
    tmp_path: Path,
    name: str,
    codec: str,
    sound: Sound | None,
    expected: tuple[str, str, str | None, list[str]],
) -> None:
    # The first frame of a transport stream comes more than a second after 0.
    facts = probed(make_clip(tmp_path / name, codec=codec, sound=sound))

    assert (facts.container, facts.video_codec, facts.audio and facts.audio.codec) == expected[:3]
    assert [problem.code for problem in find_problems(facts, longest_s=10)] == expected[3]
    assert facts.frames == 20
    assert facts.duration_s == pytest.approx(2.0, abs=0.002)
    assert facts.frame_rate == pytest.approx(10.0, rel=0.01)
    assert (facts.width, facts.height, facts.rotation) == (64, 48, 0)
    assert (facts.audio is not None) is (sound is not None)
    assert not facts.is_variable_rate


def test_the_length_is_that_of_the_video_not_the_audio(tmp_path: Path) -> None:
    facts = probed(make_clip(tmp_path / "a.mp4", seconds=2, sound=Sound(seconds=2.5)))

    assert facts.duration_s == pytest.approx(2.0)


def test_a_fragmented_clip_is_measured(tmp_path: Path) -> None:
    options = {"movflags": "frag_keyframe+empty_moov"}
    clip = make_clip(tmp_path / "a.mp4", seconds=3, options=options, codec_options={"g": "10"})

    facts = probed(clip)

    assert facts.is_fragmented
    assert facts.duration_s == pytest.approx(3.0)
    assert facts.frames == 30
    assert find_problems(facts, longest_s=10) == ()


def test_the_header_of_a_fragmented_clip_gives_no_length(tmp_path: Path) -> None:
    options = {"movflags": "frag_keyframe+empty_moov"}
    clip = make_clip(tmp_path / "a.mp4", seconds=3, options=options, codec_options={"g": "10"})

    facts = probe_remote(io.BytesIO(clip.read_bytes()), name="a.mp4", reads_all=False)

    assert facts.duration_s is None
    assert facts.is_fragmented
    assert not facts.is_measured


def test_the_header_gives_the_length_without_further_reading(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", seconds=3, options={"movflags": "faststart"})
    content = clip.read_bytes()
    beginning = content[: content.index(b"mdat") + 600]

    facts = probe_remote(io.BytesIO(beginning), name="a.mp4", reads_all=False)

    assert facts.duration_s == pytest.approx(3.0)
    assert not facts.is_measured
    assert not facts.is_local


@pytest.mark.parametrize(
    ("matrix", "rotation"),
    [
        pytest.param((1, 0, 0, 1), 0, id="upright"),
        pytest.param((0, 1, -1, 0), 90, id="portrait-phone"),
        pytest.param((-1, 0, 0, -1), 180, id="upside-down"),
        pytest.param((0, -1, 1, 0), 270, id="upside-down-portrait"),
    ],
)
def test_rotation_is_read_from_the_display_matrix(
    tmp_path: Path, matrix: tuple[int, int, int, int], rotation: int
) -> None:
    facts = probed(set_matrix(make_clip(tmp_path / "a.mp4"), matrix))

    assert facts.rotation == rotation
    shown = (48, 64) if rotation in {90, 270} else (64, 48)
    assert (facts.shown_width, facts.shown_height) == shown


def test_variable_frame_rates_are_detected(tmp_path: Path) -> None:
    times = [0, 33, 66, 500, 533, 900]

    facts = probed(make_clip(tmp_path / "a.mp4", times=times, tick=Fraction(1, 1000)))

    assert facts.is_variable_rate
    assert facts.frames == 6


def test_a_frame_rate_rounded_to_milliseconds_is_constant(tmp_path: Path) -> None:
    facts = probed(make_clip(tmp_path / "a.webm", fps=30, codec="libvpx-vp9"))

    assert not facts.is_variable_rate


@pytest.mark.parametrize("frames", [29, 57, 209])
def test_a_constant_frame_rate_is_exact(tmp_path: Path, frames: int) -> None:
    facts = probed(make_clip(tmp_path / "a.mp4", fps=25, seconds=frames / 25))

    assert (facts.frames, facts.frame_rate) == (frames, 25)


def test_240_fps_are_accepted(tmp_path: Path) -> None:
    facts = probed(make_clip(tmp_path / "a.mp4", fps=240, seconds=0.5))

    assert facts.frame_rate == pytest.approx(240)
    assert find_problems(facts, longest_s=10) == ()


def test_audio_that_begins_unannounced_in_the_middle_is_no_error(tmp_path: Path) -> None:
    sound = Sound(codec="libmp3lame", rate=44100, starts_s=6.5, seconds=1.0)
    clip = make_clip(tmp_path / "a.flv", codec="flv1", seconds=8, sound=sound)
    content = bytearray(clip.read_bytes())
    content[4] = 1  # the header announces video alone
    clip.write_bytes(content)

    assert probe_file(clip, name="a").frames == 80


def test_a_single_frame_is_a_clip(tmp_path: Path) -> None:
    facts = probed(make_clip(tmp_path / "a.mp4", seconds=0.1))

    assert facts.frames == 1
    assert facts.duration_s == pytest.approx(0.1)


def test_colour_tags_are_read(tmp_path: Path) -> None:
    colours = {"color_range": 1, "color_primaries": 1, "color_trc": 1, "colorspace": 1}

    facts = probed(make_clip(tmp_path / "a.mp4", colours=colours))

    assert facts.color_range == 1
    assert (facts.color_primaries, facts.color_transfer, facts.color_space) == (1, 1, 1)


def test_names_that_look_like_urls_or_patterns_are_files(tmp_path: Path) -> None:
    for name in ("concat:a|b.mp4", "img%03d.mp4", "pipe:0.mp4", "-i.mp4", "a b\n.mp4"):
        clip = make_clip(tmp_path / "a.mp4").rename(tmp_path / name)

        assert probed(clip).frames == 20


def test_undecodable_metadata_is_ignored(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4")
    content = clip.read_bytes()
    assert b"Lavf" in content
    clip.write_bytes(content.replace(b"Lavf", b"\xff\xfe\xfd\xfc"))

    assert probed(clip).frames == 20


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"", "is empty", id="empty"),
        pytest.param(b"not a video at all\n" * 9, "is text", id="text"),
        pytest.param(b"ffconcat version 1.0\nfile 'a.mp4'\n", "ffconcat", id="ffconcat"),
        pytest.param(
            b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\na.mp4\n#EXT-X-ENDLIST\n",
            "HLS",
            id="hls",
        ),
        pytest.param(bytes(range(256)) * 40, "cannot be read as a video", id="noise"),
        pytest.param(bytes(100_000), "cannot be read as a video", id="zeros"),
    ],
)
def test_files_that_are_not_videos_are_refused(tmp_path: Path, content: bytes, words: str) -> None:
    make_clip(tmp_path / "a.mp4")
    (tmp_path / "clip.mp4").write_bytes(content)

    assert words in refusal(tmp_path / "clip.mp4").message


@pytest.mark.parametrize(
    "script",
    [
        pytest.param("ffconcat version 1.0\nfile {other}\n", id="ffconcat"),
        pytest.param(
            "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{other}\n#EXT-X-ENDLIST\n", id="hls"
        ),
        pytest.param("[Reference]\nRef1=file://{other}\n", id="asf-reference"),
        pytest.param("ASF http://127.0.0.1/a.asf\n", id="asf-redirect"),
        pytest.param('<asx><entry><ref href="file://{other}"/></entry></asx>', id="asx"),
        pytest.param("[playlist]\nFile1={other}\n", id="pls"),
        pytest.param("v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n", id="sdp"),
    ],
)
def test_playlists_open_no_other_file_even_if_not_recognised(tmp_path: Path, script: str) -> None:
    other = make_clip(tmp_path / "a.mp4")
    content = script.format(other=other).encode()

    with pytest.raises(InvalidInputError), opened_media(io.BytesIO(content), name="clip.mp4"):
        pass


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"FLV\1\5\0\0\0\x09\0\0\0\0", id="flv"),
        pytest.param(b"\0\0\1\xba\x44\0\4\0\4\1", id="mpeg"),
        pytest.param(b"OggS\0\2" + bytes(20), id="ogg"),
        pytest.param(bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"), id="asf"),
        pytest.param(b"GIF89a\x40\0\x30\0\0\0\0", id="gif"),
    ],
)
def test_a_playlist_after_a_video_header_opens_no_other_file(tmp_path: Path, head: bytes) -> None:
    other = make_clip(tmp_path / "a.mp4")
    script = f"\nffconcat version 1.0\nfile {other}\n#EXTM3U\n#EXTINF:9,\n{other}\n"
    (tmp_path / "clip.mp4").write_bytes(head + script.encode() * 50)

    assert refusal(tmp_path / "clip.mp4").code in {"damaged_clip", "not_a_video", "no_video"}


@pytest.mark.posix
def test_a_mov_that_refers_to_another_file_is_refused_without_reading_it(tmp_path: Path) -> None:
    # Raw frames all have one size, so that offsets in one file are also valid in the other.
    make = partial(make_clip, codec="rawvideo", pixel_format="uyvy422", seconds=1)
    other = make(tmp_path / "other.mov", first_number=100)
    clip = move_pictures(make(tmp_path / "clip.mov"), other)

    # FFmpeg follows the reference if it is allowed to.
    with av.open(str(clip), options={"enable_drefs": "1"}) as container:
        assert [number_of(each) for each in container.decode(video=0)] == [*range(100, 110)]
    other.unlink()
    os.mkfifo(other)  # opening it blocks for ever
    error = refusal(clip)

    assert error.code == "external_reference"
    assert "refers to other files" in error.message


def test_a_reference_without_a_file_name_is_ignored(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mov", seconds=1)
    content = clip.read_bytes()
    at = content.index(b"url \0\0\0\1")
    clip.write_bytes(content[:at] + b"url \0\0\0\0" + content[at + 8 :])

    assert probed(clip).frames == 10


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95, 0.999])
@pytest.mark.parametrize("options", [{}, {"movflags": "faststart"}, {"movflags": "empty_moov"}])
def test_a_truncated_mp4_is_refused(tmp_path: Path, share: float, options: dict[str, str]) -> None:
    clip = make_clip(tmp_path / "a.mp4", seconds=3, sound=Sound(), options=options)
    content = clip.read_bytes()
    clip.write_bytes(content[: int(len(content) * share)])

    error = refusal(clip)

    assert error.code == "damaged_clip"


def test_damaged_frames_are_refused(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", options={"movflags": "faststart"})
    content = clip.read_bytes()
    begin = content.index(b"mdat") + 4
    clip.write_bytes(content[:begin] + b"\xa5" * (len(content) - begin))

    assert refusal(clip).code == "damaged_clip"


def test_a_wav_is_refused(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "a.mp4"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(8000))

    assert "audio without video" in refusal(tmp_path / "a.mp4").message


def test_an_mp4_without_video_is_refused(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", seconds=0, sound=Sound(seconds=1))

    assert refusal(clip).code == "no_video"


@pytest.mark.parametrize(("suffix", "words"), [("png", "PNG"), ("jpg", "JPEG")])
def test_images_are_refused_whatever_their_name(tmp_path: Path, suffix: str, words: str) -> None:
    heads = {"png": b"\x89PNG\r\n\x1a\n", "jpg": b"\xff\xd8\xff\xe0"}
    (tmp_path / "clip.mp4").write_bytes(heads[suffix] + bytes(100))

    assert words in refusal(tmp_path / "clip.mp4").message


def test_encrypted_video_is_refused(tmp_path: Path) -> None:
    number = "00112233445566778899aabbccddeeff"
    options = {"encryption_scheme": "cenc-aes-ctr"}
    options |= {"encryption_key": number, "encryption_kid": number}
    clip = make_clip(tmp_path / "a.mp4", options=options)

    assert "encrypted" in refusal(clip).message


def test_more_frames_than_bytes_are_refused_before_they_take_memory(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4")
    content = bytearray(clip.read_bytes())
    at = content.index(b"stsz") + 8
    content[at : at + 8] = (1).to_bytes(4) + (80_000_000).to_bytes(4)
    clip.write_bytes(content)

    assert "lists more frames than it has bytes" in refusal(clip).message


def test_recordings_joined_byte_by_byte_are_refused(tmp_path: Path) -> None:
    one = make_clip(tmp_path / "a.ts", seconds=2, codec="mpeg2video").read_bytes()
    (tmp_path / "two.ts").write_bytes(one + one)

    assert "holds several recordings" in refusal(tmp_path / "two.ts").message


def test_video_without_dimensions_is_refused(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.avi", codec="ffv1")
    content = bytearray(clip.read_bytes())
    at = content.index(b"strf", content.index(b"vids"))
    content[at + 12 : at + 20] = bytes(8)
    clip.write_bytes(content)

    assert refusal(clip).code in {"invalid_size", "damaged_clip"}


def test_dimensions_that_are_too_large_are_refused(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", size=(8200, 16), seconds=0.2)

    error = refusal(clip)

    assert error.code == "invalid_size"
    assert "8200x16" in error.message


def test_a_clip_over_ten_minutes_is_refused(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", times=[0, 300, 661], tick=Fraction(1))

    assert "longer than 10 minutes" in refusal(clip).message


@pytest.mark.posix
def test_folders_pipes_devices_and_missing_files_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")

    assert "a folder" in refusal(tmp_path).message
    assert "a named pipe" in refusal(tmp_path / "pipe.mp4").message
    with pytest.raises(MissingFileError, match="no such file"):
        probed(tmp_path / "missing.mp4")
    with pytest.raises(InvalidInputError):
        probed(Path("/dev/zero"))


def test_rotation_swaps_the_shown_width_and_height(tmp_path: Path) -> None:
    facts = probed(make_clip(tmp_path / "a.mp4"))

    assert replace(facts, rotation=90).shown_width == 48
    assert draw(5, (64, 48), "yuv420p").width == 64


def test_probing_many_clips_keeps_few_frames_in_memory(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.mp4", seconds=0.2)
    gc.collect()
    gc.disable()

    try:
        for _ in range(40):
            probe_file(source, name="a.mp4")
        alive = [each for each in gc.get_objects() if isinstance(each, av.VideoFrame)]
    finally:
        gc.enable()

    assert len(alive) <= 16
