"""Audio for an MP4: copied from a clip, encoded, cross-faded between several, or replaced."""

from array import array
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import av
from av.error import FFmpegError
from av.filter import Graph

from omniedit.media.demux import (
    ENCODING_BUDGET_S,
    audio_stream,
    opened_clip,
    packets_of,
    seek_before,
)
from omniedit.media.filters import pulled
from omniedit.media.mux import (
    OnProgress,
    Packets,
    PacketSource,
    copied_stream,
    encode,
    ignore_progress,
    new_stream,
    write_mp4,
)
from omniedit.media.probing import read_clip
from omniedit.media.timeline import Part
from omniedit.media.video import VideoEncoding, copied_video, copyable_frames
from omniedit.models import Sound

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet

_BIT_RATE: Final = 192_000
_USUAL_RATE: Final = 48_000
_RATES: Final = frozenset({8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000})
_LAYOUTS: Final = frozenset({"mono", "stereo", "5.1"})
_SAMPLE_FORMAT: Final = "fltp"
_PREROLL_S: Final = Fraction(1, 2)
# Matroska rounds times to milliseconds.
_ROUNDING_S: Final = Fraction(1, 1000)
_GAP_S: Final = Fraction(1, 100)
"""The smallest gap between two frames that is kept as silence."""
# The format in which results are cross-faded.
_FADED_RATE: Final = 48_000
_FADED_LAYOUT: Final = "stereo"
_FADED_CHANNELS: Final = 2
_FADE: Final = _FADED_RATE * 20 // 1000  # samples
_BLOCK: Final = 1024
# Audio is padded with silence if it ends earlier than the video by more than this.
_TOLERANCE_S: Final = 0.05
_FLOAT: Final = "f"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplacedAudio:
    """The result that was written with another soundtrack."""

    path: Path
    sound: Sound
    difference_s: float
    """How much longer the original is than the result (negative: shorter)."""
    lost_marks: tuple[str, ...]
    """Marks of origin, such as `c2pa`, that the result had and the new file lacks."""


def replace_audio(
    result: Path,
    target: Path,
    *,
    original: Path | None,
    original_start_s: float | None = None,
    original_end_s: float | None = None,
    on_progress: OnProgress = ignore_progress,
) -> ReplacedAudio:
    """Write a result with the audio of its clip, in sync from the first frame, or without audio.

    Args:
        result: The file that the service returned.
        target: Appears once it is complete; its folder must belong to the caller.
        original: The clip whose audio to use, trimmed or padded to the length of the result; None
            for a silent result.
        original_start_s: Where the clip that was sent begins in the original.
        original_end_s: Where that clip ends in the original.
        on_progress: Called after each frame.

    Raises:
        InvalidInputError: If the result or the original is not a clip.
        LocalError: If the target cannot be written.
    """
    part = read_clip(result)
    length_s = part.span.length_s
    copies_video = bool(copyable_frames(part))
    sources: list[PacketSource] = [
        partial(copied_video, parts=[part]) if copies_video else VideoEncoding([part]).packets
    ]
    difference_s, sound = 0.0, Sound.NONE
    if original is not None:
        sent = read_clip(original).cut(original_start_s, original_end_s)
        difference_s = float(sent.span.length_s - length_s)
        sound = Sound.ORIGINAL if sent.facts.has_audio else Sound.NONE
        sources.append(partial(original_audio, part=sent, length_s=length_s))
    write_mp4(
        target,
        sources,
        encoded_pixels=0 if copies_video else part.facts.pixels,
        total_s=length_s,
        on_progress=on_progress,
    )
    return ReplacedAudio(
        path=target, sound=sound, difference_s=difference_s, lost_marks=part.facts.marks
    )


def original_audio(container: "OutputContainer", *, part: Part, length_s: Fraction) -> Packets:
    """Return the audio packets of a clip from where a part of it begins; none without audio.

    Args:
        container: The file that gets the stream.
        part: The part, whose end is ignored.
        length_s: How much to take; silence is added if the audio ends earlier.
    """
    audio_end_s = part.facts.audio_end_s
    is_covered = audio_end_s is not None and audio_end_s + _TOLERANCE_S >= length_s
    if can_copy_audio(part) and is_covered:
        return copied_audio(container, part=part, length_s=length_s)
    return encoded_audio(container, part=part, length_s=length_s, pads=True)


def can_copy_audio(part: Part) -> bool:
    """Return whether a part's audio can be copied into an MP4: AAC whose beginning is kept."""
    return part.facts.audio_codec == "aac" and part.span.start == part.timeline.start


def copied_audio(container: "OutputContainer", *, part: Part, length_s: Fraction) -> Packets:
    """Add a stream and yield the packets to copy into it; nothing if there is no audio.

    Args:
        container: The file that gets the stream.
        part: The part, whose beginning becomes 0; its end is ignored.
        length_s: How much to keep; a packet that ends later is left out.
    """
    with opened_clip(part.source) as clip:
        stream = audio_stream(clip)
        if stream is None:
            return
        target = copied_stream(container, stream)
        tick_s = Fraction(stream.time_base or Fraction(1, _USUAL_RATE))
        shift = round(part.span.start_s / tick_s)
        end = length_s / tick_s
        for packet in _packets(clip, stream):
            if not packet.size or packet.pts is None:
                continue
            packet.pts -= shift
            packet.dts = packet.pts
            if packet.pts + (packet.duration or 0) > end + _ROUNDING_S / tick_s:
                break
            # Keep the packets just before 0 (encoder priming): decoding the next ones needs them.
            if packet.pts + 2 * (packet.duration or 0) <= 0:
                continue
            packet.stream = target
            yield packet


def encoded_audio(
    container: "OutputContainer",
    *,
    part: Part,
    length_s: Fraction,
    pads: bool = False,
    on_damage: Callable[[int], None] = lambda _: None,
) -> Packets:
    """Add a stream and yield its AAC packets, cut to the sample; nothing if there is no audio.

    Args:
        container: The file that gets the stream.
        part: The part, whose beginning becomes 0; its end is ignored.
        length_s: How much to keep.
        pads: Add silence if the audio ends earlier.
        on_damage: Called with the time in ticks of each packet that cannot be decoded and is
            replaced by silence.
    """
    with opened_clip(part.source) as clip:
        stream = audio_stream(clip)
        if stream is None:
            return
        context = stream.codec_context
        rate = context.sample_rate if context.sample_rate in _RATES else _USUAL_RATE
        layout = context.layout.name if context.layout.name in _LAYOUTS else "stereo"
        target = _aac_stream(container, rate=rate, layout=layout)
        source = _Source(clip, stream, part.span.start_s, length_s, on_damage)
        yield from _encoded(target, _trimmed(source, target, pads=pads), length_s)


def crossfaded_audio(container: "OutputContainer", *, parts: Sequence[Part]) -> Packets:
    """Add a stream and yield the audio of several clips, each cross-faded into the next.

    Cross-fading shifts no clip: the audio that fades out is what follows the clip's span or, if
    nothing does, the last 20 ms of the span, reversed.
    """
    stream = _aac_stream(container, rate=_FADED_RATE, layout=_FADED_LAYOUT)
    length_s = parts[-1].at_s + parts[-1].span.length_s
    yield from _encoded(stream, _crossfaded(parts), length_s)


def _aac_stream(container: "OutputContainer", *, rate: int, layout: str) -> "AudioStream":
    stream: AudioStream = new_stream(container, "aac", rate=rate)
    stream.codec_context.layout = layout
    stream.codec_context.bit_rate = _BIT_RATE * (2 if layout == "5.1" else 1)
    return stream


def _encoded(stream: "AudioStream", frames: "Iterable[AudioFrame]", length_s: Fraction) -> Packets:
    for frame in chain(frames, [None]):
        for packet in encode(stream, frame):
            # The encoder pads the last packet: drop it if it is beyond the end.
            end = (packet.pts or 0) + (packet.duration or 0)
            if end * packet.time_base <= length_s + _ROUNDING_S:
                yield packet


@dataclass(frozen=True, slots=True)
class _Source:
    """A span of a clip's audio to decode."""

    clip: "InputContainer"
    stream: "AudioStream"
    start_s: Fraction
    length_s: Fraction
    on_damage: Callable[[int], None] = lambda _: None


def _trimmed(source: _Source, target: "AudioStream", *, pads: bool) -> Generator["AudioFrame"]:
    """Yield the audio of a span without gaps, in the encoder's format."""
    rate = target.codec_context.sample_rate
    samples = round(source.length_s * rate)
    graph: Graph | None = None
    for frame in _timed(source):
        if graph is None:
            graph = _graph(frame, rate, target.codec_context.layout.name, samples, pads=pads)
        graph.push(frame)
        yield from pulled(graph.pull)
    if graph is not None:
        graph.push(None)
        yield from pulled(graph.pull)


def _packets(clip: "InputContainer", stream: "AudioStream") -> "Iterator[Packet[AudioStream]]":
    return packets_of(clip, stream, name="the clip's audio", budget_s=ENCODING_BUDGET_S)


def _decoded(source: _Source) -> Generator["AudioFrame"]:
    for packet in _packets(source.clip, source.stream):
        try:
            yield from packet.decode()
        except FFmpegError:
            if packet.pts is None or packet.pts * packet.time_base >= source.start_s:
                source.on_damage(packet.pts or 0)


def _timed(source: _Source) -> Generator["AudioFrame"]:
    """Yield decoded audio, timed in samples from the start of the span."""
    tick_s = Fraction(source.stream.time_base or Fraction(1, _USUAL_RATE))
    # Decoders need a few packets before the first one that is kept.
    before = round((source.start_s - _PREROLL_S) / tick_s)
    seek_before(source.clip, source.stream, before if before > 0 else None)
    following = 0
    for frame in _decoded(source):
        rate = frame.sample_rate
        pts = following
        if frame.pts is not None:
            pts = round((frame.pts * tick_s - source.start_s) * rate)
        following = pts + frame.samples
        if following <= 0:
            continue
        if pts >= source.length_s * rate:
            return
        frame.pts, frame.time_base = pts, Fraction(1, rate)
        yield frame


def _graph(frame: "AudioFrame", rate: int, layout: str, samples: int, *, pads: bool) -> Graph:
    graph = Graph()
    nodes = [
        graph.add_abuffer(
            sample_rate=frame.sample_rate,
            format=frame.format,
            layout=frame.layout,
            time_base=Fraction(1, frame.sample_rate),
        ),
        # Fill gaps with silence, and drop audio before the start.
        graph.add("aresample", "async=1:min_hard_comp=0.01:first_pts=0"),
        graph.add(
            "aformat", f"sample_rates={rate}:sample_fmts={_SAMPLE_FORMAT}:channel_layouts={layout}"
        ),
        *([graph.add("apad", f"whole_len={samples}")] if pads else []),
        graph.add("atrim", f"end_sample={samples}"),
        graph.add("abuffersink"),
    ]
    graph.link_nodes(*nodes).configure()
    return graph


def _crossfaded(parts: Sequence[Part]) -> Generator["AudioFrame"]:
    tails: list[array[float]] | None = None
    written = 0
    for part in parts:
        at_s, end_s = part.at_s, part.at_s + part.span.length_s
        count = round(end_s * _FADED_RATE) - round(at_s * _FADED_RATE)
        channels = _samples(part, count)
        if tails is not None:
            for channel, tail in zip(channels, tails, strict=True):
                _fade_in(channel, tail)
        for begin in range(0, count, _BLOCK):
            end = min(begin + _BLOCK, count)
            frame = _frame([channel[begin:end] for channel in channels])
            frame.pts, frame.time_base = written, Fraction(1, _FADED_RATE)
            written += end - begin
            yield frame
        tails = [channel[count:] for channel in channels]


def _samples(part: Part, count: int) -> list["array[float]"]:
    """Return each channel's samples, followed by those that fade out."""
    channels = [array(_FLOAT, bytes(4 * (count + _FADE))) for _ in range(_FADED_CHANNELS)]
    reach = 0
    for frame, at in _resampled(part):
        skipped, kept = max(0, -at), min(frame.samples, count + _FADE - at)
        if skipped >= kept:
            continue
        for channel, plane in zip(channels, frame.planes, strict=True):
            samples = array(_FLOAT, bytes(plane)[: 4 * frame.samples])
            channel[at + skipped : at + kept] = samples[skipped:kept]
        reach = max(reach, at + kept)
    for channel in channels:
        for index in range(max(reach, count), count + _FADE):
            mirrored = 2 * count - 1 - index
            channel[index] = channel[mirrored] if mirrored >= 0 else 0.0
    return channels


def _resampled(part: Part) -> Generator[tuple["AudioFrame", int]]:
    """Yield a clip's audio in the mixing format, with each frame's sample offset from its span."""
    with opened_clip(part.source) as clip:
        stream = audio_stream(clip)
        if stream is None:
            return
        source = _Source(clip, stream, part.span.start_s, part.span.length_s)
        # A resampler knows no gaps, so each stretch between two gets one of its own.
        for _, stretch in groupby(_numbered(_decoded(source)), key=itemgetter(0)):
            resampler = av.AudioResampler(
                format=_SAMPLE_FORMAT, layout=_FADED_LAYOUT, rate=_FADED_RATE
            )
            at: int | None = None
            for _, decoded, time_s in stretch:
                if at is None:
                    at = round((time_s - part.span.start_s) * _FADED_RATE)
                for frame in resampler.resample(decoded):
                    yield frame, at
                    at += frame.samples
            for frame in resampler.resample(None):
                yield frame, at or 0
                at = (at or 0) + frame.samples


def _numbered(
    frames: Iterable["AudioFrame"],
) -> Iterator[tuple[int, "AudioFrame", Fraction]]:
    """Yield frames with their times in seconds, after the number of gaps before them."""
    gaps, following_s = 0, Fraction(0)
    for frame in frames:
        time_s = following_s
        if frame.pts is not None and frame.time_base is not None:
            time_s = frame.pts * frame.time_base
        if abs(time_s - following_s) > _GAP_S:
            gaps += 1
        following_s = time_s + Fraction(frame.samples, frame.sample_rate)
        yield gaps, frame, time_s


def _fade_in(channel: "array[float]", tail: "array[float]") -> None:
    for index in range(min(len(tail), len(channel))):
        share = (index + 0.5) / _FADE
        channel[index] = tail[index] * (1 - share) + channel[index] * share


def _frame(channels: Sequence["array[float]"]) -> Any:  # noqa: ANN401 - av's own type is incomplete
    frame = av.AudioFrame(format=_SAMPLE_FORMAT, layout=_FADED_LAYOUT, samples=len(channels[0]))
    frame.sample_rate = _FADED_RATE
    for plane, channel in zip(frame.planes, channels, strict=True):
        samples = channel.tobytes()
        plane.update(samples + bytes(plane.buffer_size - len(samples)))
    return frame
