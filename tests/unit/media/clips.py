"""Make and decode small clips of any kind, with recognisable frames and audio."""

import array
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import av
from av.video.frame import VideoFrame

from omniedit.media.facts import ClipFacts
from omniedit.media.probing import read_clip

WIDTH, HEIGHT = 64, 48
BITS = 8
BEEP_S = 0.1
TONE_HZ = 1000
DARK, BRIGHT = 40, 200
# With default settings, some encoders take ten times as long.
QUICK: dict[str, dict[str, str]] = {
    "aac": {"aac_coder": "fast"},
    "libx264": {"preset": "superfast"},  # the fastest preset with B-frames
    "libvpx": {"deadline": "realtime", "cpu-used": "8"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=error"},
}
_MADE: dict[str, bytes] = {}


@dataclass(frozen=True, kw_only=True)
class Sound:
    """An audio track: a beep at the start of every second, over a soft hum."""

    codec: str = "aac"
    rate: int = 48000
    layout: str = "mono"
    seconds: float | None = None
    starts_s: float = 0.0


def probe_file(path: Path, *, name: str) -> ClipFacts:
    """Return the facts about a clip."""
    return read_clip(path, name=name).facts


def make_clip(path: Path, **settings: Any) -> Path:
    """Write a clip whose frames are numbered, with the settings of `_encode_clip`.

    Each distinct clip is encoded only once in a test run.
    """
    key = f"{path.suffix} {sorted(settings.items())}"
    if key not in _MADE:
        _MADE[key] = _encode_clip(path, **settings).read_bytes()
    path.write_bytes(_MADE[key])
    return path


def _encode_clip(
    path: Path,
    *,
    seconds: float = 2.0,
    fps: int = 10,
    codec: str = "libx264",
    size: tuple[int, int] = (WIDTH, HEIGHT),
    pixel_format: str = "yuv420p",
    sound: Sound | None = None,
    times: Sequence[int] | None = None,
    tick: Fraction | None = None,
    options: dict[str, str] | None = None,
    codec_options: dict[str, str] | None = None,
    colours: dict[str, int] | None = None,
    format: str | None = None,  # noqa: A002 - PyAV's name
    first_number: int = 0,
) -> Path:
    """Encode a clip whose frames are numbered.

    Args:
        times: When each frame is shown, in ticks; by default at `fps`.
        tick: The length of a tick in seconds.
        options: Container options.
        codec_options: Encoder options.
        colours: Encoder tags: `color_range`, `color_primaries`, `color_trc`, `colorspace`.
        first_number: The number of the first frame.
    """
    tick = tick or Fraction(1, fps)
    shown = list(times) if times is not None else list(range(round(seconds * fps)))
    with av.open(str(path), "w", format=format, container_options=options or {}) as container:
        target = cast("Any", container)
        video = target.add_stream(
            codec, rate=fps, options=QUICK.get(codec, {}) | (codec_options or {})
        )
        video.width, video.height = size
        video.pix_fmt = pixel_format
        video.codec_context.time_base = video.time_base = tick
        for name, value in (colours or {}).items():
            setattr(video.codec_context, name, value)
        audio = None
        if sound is not None:
            audio = target.add_stream(
                sound.codec, rate=sound.rate, options=QUICK.get(sound.codec, {})
            )
            audio.codec_context.layout = sound.layout
        packets = _video_packets(video, shown, tick, first_number, colours or {})
        if sound is not None and audio is not None:
            length = sound.seconds if sound.seconds is not None else seconds
            for frame in (*audio_frames(sound, length, audio.codec_context.format.name), None):
                packets += audio.encode(frame)
        for packet in sorted(packets, key=lambda each: each.dts * each.time_base):
            target.mux(packet)
    return path


def _video_packets(
    stream: Any, times: Sequence[int], tick: Fraction, first: int, colours: dict[str, int]
) -> list[Any]:
    """Return the packets of numbered frames."""
    packets: list[Any] = []
    for number, time in enumerate(times, start=first):
        frame = draw(number, (stream.width, stream.height), stream.pix_fmt)
        frame.pts, frame.time_base = time, tick
        for name in {"color_range", "colorspace"} & colours.keys():
            setattr(frame, name, colours[name])
        packets += stream.encode(frame)
    packets += stream.encode(None)
    return packets


def draw(number: int, size: tuple[int, int], pixel_format: str) -> VideoFrame:
    """Draw a bright bar, and below it the number in binary, with the lowest bit on the left."""
    width, height = size
    frame = VideoFrame(width, height, "gray")
    plane = frame.planes[0]
    low = bytearray()
    for x in range(width):
        bit = min(BITS - 1, x * BITS // width)
        low.append(BRIGHT if number >> bit & 1 else DARK)
    row = bytes(low) + bytes(plane.line_size - width)
    bar = bytes([BRIGHT]) * width + bytes(plane.line_size - width)
    plane.update(b"".join(bar if y < height // 4 else row for y in range(height)))
    return frame.reformat(format=pixel_format) if pixel_format != "gray" else frame


def number_of(frame: VideoFrame) -> int:
    """Return the number of an upright frame; -1 if its bar is not on top."""
    grey = frame.reformat(format="gray")
    plane = grey.planes[0]
    held = bytes(plane)
    middle = (DARK + BRIGHT) // 2

    def at(x: float, y: float) -> int:
        return held[int(y * grey.height) * plane.line_size + int(x * grey.width)]

    if any(at((bit + 0.5) / BITS, 0.1) < middle for bit in range(BITS)):
        return -1
    return sum(1 << bit for bit in range(BITS) if at((bit + 0.5) / BITS, 0.7) > middle)


def audio_frames(sound: Sound, seconds: float, sample_format: str) -> list[Any]:
    """Return the frames of a clip's sound."""
    resampler = av.AudioResampler(format=sample_format, layout=sound.layout, rate=sound.rate)
    frames: list[Any] = []
    count = round(seconds * sound.rate)
    for begin in range(0, count, 1024):
        length = min(1024, count - begin)
        samples = two_seconds(sound.rate)[begin % sound.rate :][:length]
        frame = av.AudioFrame(format="flt", layout="mono", samples=len(samples))
        held = samples.tobytes()
        frame.planes[0].update(held + bytes(frame.planes[0].buffer_size - len(held)))
        frame.sample_rate = sound.rate
        frame.pts = begin + round(sound.starts_s * sound.rate)
        frame.time_base = Fraction(1, sound.rate)
        frames += resampler.resample(frame)
    return frames


@lru_cache
def two_seconds(rate: int) -> "array.array[float]":
    """Return two seconds of samples, from which any stretch of one second can be sliced."""
    return array.array("f", [loudness_at(index / rate) for index in range(rate)] * 2)


def loudness_at(time_s: float) -> float:
    """Return the sample at a time: a beep at the start of each second, a soft hum otherwise."""
    amplitude = 0.5 if time_s % 1 < BEEP_S else 0.01
    return amplitude * math.sin(2 * math.pi * TONE_HZ * time_s)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A clip, decoded completely."""

    numbers: list[int]
    times: list[float]
    size: tuple[int, int]
    duration_s: float
    samples: "array.array[float]"
    rate: int

    @property
    def beeps(self) -> list[float]:
        """The start times of the beeps, in seconds."""
        window = self.rate // 1000
        found: list[float] = []
        last = -1.0
        for begin in range(0, len(self.samples) - window, window):
            if max(self.samples[begin : begin + window]) > 0.2:
                time = begin / self.rate
                if not found or time - last > BEEP_S:
                    found.append(time)
                last = time
        return found

    def level(self, begin_s: float, end_s: float) -> float:
        """Return the level of a stretch of audio, in dB."""
        part = self.samples[round(begin_s * self.rate) : round(end_s * self.rate)]
        power = sum(sample * sample for sample in part) / max(1, len(part))
        return 10 * math.log10(power + 1e-12)


def see(path: Path) -> Seen:
    """Decode a clip completely."""
    numbers: list[int] = []
    times: list[float] = []
    size = (0, 0)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        # Older versions of FFmpeg do not report the duration of each packet.
        duration_s = float((stream.duration or 0) * (stream.time_base or 0))
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            numbers.append(number_of(frame))
            times.append(float(frame.time or 0.0))
            size = (frame.width, frame.height)
    samples, rate = hear(path)
    return Seen(
        numbers=numbers,
        times=times,
        size=size,
        duration_s=duration_s,
        samples=samples,
        rate=rate,
    )


def hear(path: Path) -> tuple["array.array[float]", int]:
    """Return the samples of a clip's audio, in mono and at their own times, and their rate."""
    samples = array.array("f")
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return samples, 1
        rate = 48000
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=rate)
        first = True
        for decoded in (*container.decode(audio=0), None):
            if first and decoded is not None:
                silence = round(float(decoded.time or 0.0) * rate)
                samples.frombytes(bytes(4 * max(0, silence)))
                first = False
            for frame in resampler.resample(decoded):
                samples.frombytes(memoryview(frame.planes[0])[: 4 * frame.samples])
    return samples, rate


def set_matrix(path: Path, matrix: tuple[int, int, int, int]) -> Path:
    """Write the four rotation numbers of a display matrix into an MP4's first track."""
    a, b, c, d = (number * 0x10000 for number in matrix)
    content = bytearray(path.read_bytes())
    # Type, version and flags, two times, ID, reserved, length; then 16 bytes (ISO 14496-12, 8.3.2).
    begin = content.index(b"tkhd") + 4 + 4 + 20 + 16
    content[begin : begin + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 0x40000000)
    path.write_bytes(content)
    return path


def packets(path: Path, kind: str = "video") -> list[bytes]:
    """Return the undecoded packets of a stream."""
    with av.open(str(path)) as container:
        stream = getattr(container.streams, kind)[0]
        return [bytes(packet) for packet in container.demux(stream) if packet.size]


def move_pictures(path: Path, other: Path) -> Path:
    """Make the only track of a MOV refer to samples in another file (QuickTime's alias record)."""
    name = other.name.encode()
    record = bytes(10 + 1 + 27 + 12) + bytes([len(name)]) + name.ljust(63, b"\0") + bytes(16)
    # One level up and one down: the path to a file in the same folder.
    record += struct.pack(">HH", 1, 1) + bytes(16)
    for kind, text in ((2, str(other)), (0, other.parent.name)):
        held = text.encode()
        record += struct.pack(">HH", kind, len(held)) + held + bytes(len(held) % 2)
    record += struct.pack(">HH", 0xFFFF, 0)
    entry = struct.pack(">I4sI", 12 + len(record), b"alis", 0) + record
    places = struct.pack(">I4sII", 16 + len(entry), b"dref", 0, 1) + entry
    content = bytearray(path.read_bytes())
    begin = content.index(b"dref") - 4
    (length,) = struct.unpack_from(">I", content, begin)
    for box in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
        at = content.index(box) - 4
        (before,) = struct.unpack_from(">I", content, at)
        struct.pack_into(">I", content, at, before + len(places) - length)
    content[begin : begin + length] = places
    path.write_bytes(content)
    return path


def with_two_audio_tracks(path: Path, *, default: int) -> Path:
    """Write an MP4 with two audio tracks; the first beeps at 0.5 s, the second every second."""
    with av.open(str(path), "w") as container:
        target = cast("Any", container)
        video = target.add_stream("libx264", rate=10)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        tracks = [target.add_stream("aac", rate=48000, options=QUICK["aac"]) for _ in range(2)]
        made = _video_packets(video, range(20), Fraction(1, 10), 0, {})
        for track, starts_s, seconds in ((tracks[0], 0.5, 0.1), (tracks[1], 0.0, 2.0)):
            track.codec_context.layout = "mono"
            for frame in (*audio_frames(Sound(starts_s=starts_s), seconds, "fltp"), None):
                made += track.encode(frame)
        for packet in sorted(made, key=lambda each: each.dts * each.time_base):
            target.mux(packet)
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4
    for track in range(2):
        at = content.index(b"tkhd", at) + 4
        content[at + 3] = 3 if track == default else 2
    path.write_bytes(content)
    return path


def interlaced(path: Path) -> Path:
    """Write an interlaced clip whose two fields show a bar in different places."""
    with av.open(str(path), "w") as container:
        target = cast("Any", container)
        video = target.add_stream("libx264", rate=10, options={"x264-params": "tff=1"})
        video.width, video.height, video.pix_fmt = WIDTH, 64, "yuv420p"
        for number in range(20):
            frame = VideoFrame(WIDTH, 64, "gray")
            width = frame.planes[0].line_size
            rows = [bytearray([DARK]) * width for _ in range(64)]
            for y, row in enumerate(rows):
                begin = (2 * number + y % 2) * 16 % WIDTH
                row[begin : begin + 16] = bytes([BRIGHT]) * 16
            frame.planes[0].update(b"".join(rows))
            target.mux(video.encode(frame.reformat(format="yuv420p")))
        target.mux(video.encode(None))
    return path


def combing(path: Path) -> float:
    """Return the mean difference between neighbouring rows of a middle frame, in grey levels."""
    with av.open(str(path)) as container:
        frame = list(container.decode(video=0))[10].reformat(format="gray")
    plane, width, height = frame.planes[0], frame.width, frame.height
    held = bytes(plane)
    rows = [held[y * plane.line_size :][:width] for y in range(height)]
    total = sum(
        abs(a - b)
        for above, below in pairwise(rows[8:-8])
        for a, b in zip(above, below, strict=True)
    )
    return total / (width * (height - 17))


def with_aspect(source: Path, target: Path) -> Path:
    """Copy a clip into a container that specifies 4:3 pixels."""
    with av.open(str(source)) as clip, av.open(str(target), "w") as container:
        stream = container.add_stream_from_template(clip.streams.video[0], opaque=True)
        cast("Any", stream).codec_context.sample_aspect_ratio = Fraction(4, 3)
        for packet in clip.demux(video=0):
            if packet.size:
                packet.stream = stream
                container.mux(packet)
    return target


def with_manifest(path: Path) -> Path:
    """Append a C2PA manifest box to an MP4."""
    content = bytes.fromhex("d8fec3d61b0e483c92975828877ec481") + b"manifest"
    path.write_bytes(path.read_bytes() + (8 + len(content)).to_bytes(4) + b"uuid" + content)
    return path


def overwrite_packet(path: Path, kind: str, number: int) -> Path:
    """Overwrite a packet of a clip with invalid bytes."""
    with av.open(str(path)) as container:
        demuxed = container.demux(getattr(container.streams, kind)[0])
        packet = [each for each in demuxed if each.size][number]
        begin, end = packet.pos or 0, (packet.pos or 0) + packet.size
    content = path.read_bytes()
    path.write_bytes(content[:begin] + b"\xff" * (end - begin) + content[end:])
    return path


def without_audio(source: Path, target: Path, *, from_s: float, until_s: float) -> Path:
    """Copy a clip without the audio packets of a time range."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        streams = {each.index: new.add_stream_from_template(each) for each in old.streams}
        for packet in old.demux():
            if packet.dts is None:
                continue
            is_left_out = from_s <= float((packet.pts or 0) * packet.time_base) < until_s
            if not (packet.stream.type == "audio" and is_left_out):
                packet.stream = streams[packet.stream_index]
                new.mux(packet)
    return target
