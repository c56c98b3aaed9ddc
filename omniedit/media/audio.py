"""Audio for an MP4: copied from a clip, encoded, or cross-faded between several."""

from array import array
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import av
from av.error import BlockingIOError as TryAgain
from av.error import EOFError as EndOfFile
from av.error import FFmpegError
from av.filter import Graph

from omniedit.media.demux import (
    ENCODING_BUDGET_S,
    audio_stream,
    opened_clip,
    packets_of,
    seek_before,
)
from omniedit.media.mux import Packets, copied_stream, encode, new_stream

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet

    from omniedit.media.timeline import Part

_BIT_RATE: Final = 192_000
_USUAL_RATE: Final = 48_000
_RATES: Final = frozenset({8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000})
_LAYOUTS: Final = frozenset({"mono", "stereo", "5.1"})
_SAMPLE_FORMAT: Final = "fltp"
_PREROLL_S: Final = Fraction(1, 2)
# Matroska rounds times to milliseconds.
_ROUNDING_S: Final = Fraction(1, 1000)
# The format in which results are cross-faded.
_FADED_RATE: Final = 48_000
_FADED_LAYOUT: Final = "stereo"
_FADED_CHANNELS: Final = 2
_FADE: Final = _FADED_RATE * 20 // 1000  # samples
_BLOCK: Final = 1024
_FLOAT: Final = "f"


def can_copy_audio(clip: "InputContainer") -> bool:
    """Return whether a clip's audio can be copied into an MP4."""
    stream = audio_stream(clip)
    return stream is not None and stream.codec_context.codec.canonical_name == "aac"


def copied_audio(
    container: "OutputContainer", clip: "InputContainer", *, start_s: Fraction, length_s: Fraction
) -> Packets | None:
    """Add a stream and return the audio packets to copy into it; None if there is no audio.

    Args:
        container: The file that gets the stream.
        clip: The open source.
        start_s: The time in the source that becomes 0.
        length_s: How much to keep; a packet that ends later is left out.
    """
    stream = audio_stream(clip)
    if stream is None:
        return None
    target = copied_stream(container, stream)
    return _moved(clip, stream, target, start_s=start_s, length_s=length_s)


def encoded_audio(
    container: "OutputContainer",
    clip: "InputContainer",
    *,
    start_s: Fraction,
    length_s: Fraction,
    pads: bool = False,
    on_damage: Callable[[], None] = lambda: None,
) -> Packets | None:
    """Add a stream and return its AAC packets, cut to the sample; None if there is no audio.

    Args:
        container: The file that gets the stream.
        clip: The open source.
        start_s: The time in the source that becomes 0.
        length_s: How much to keep.
        pads: Add silence if the audio ends earlier.
        on_damage: Called for each packet that cannot be decoded and is replaced by silence.
    """
    stream = audio_stream(clip)
    if stream is None:
        return None
    context = stream.codec_context
    rate = context.sample_rate if context.sample_rate in _RATES else _USUAL_RATE
    layout = context.layout.name if context.layout.name in _LAYOUTS else "stereo"
    target = _aac_stream(container, rate=rate, layout=layout)
    source = _Source(clip, stream, start_s, length_s, on_damage)
    return _within(_encoded(target, _trimmed(source, target, pads=pads)), length_s)


def crossfaded_audio(container: "OutputContainer", parts: "Sequence[Part]") -> Packets:
    """Add a stream and return the audio of several clips, each cross-faded into the next.

    Cross-fading shifts no clip: the audio that fades out is what follows the clip's span or, if
    nothing does, the last 20 ms of the span, reversed.
    """
    stream = _aac_stream(container, rate=_FADED_RATE, layout=_FADED_LAYOUT)
    length_s = parts[-1].at_s + parts[-1].span.length_s
    return _within(_encoded(stream, _crossfaded(parts)), length_s)


def _aac_stream(container: "OutputContainer", *, rate: int, layout: str) -> "AudioStream":
    stream: AudioStream = new_stream(container, "aac", rate=rate)
    stream.codec_context.layout = layout
    stream.codec_context.bit_rate = _BIT_RATE * (2 if layout == "5.1" else 1)
    return stream


def _encoded(stream: "AudioStream", frames: Iterable["AudioFrame"]) -> Packets:
    for frame in frames:
        yield from encode(stream, frame)
    yield from encode(stream, None)


def _moved(
    clip: "InputContainer",
    stream: "AudioStream",
    target: "AudioStream",
    *,
    start_s: Fraction,
    length_s: Fraction,
) -> Packets:
    tick_s = Fraction(stream.time_base or Fraction(1, _USUAL_RATE))
    shift = round(start_s / tick_s)
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


@dataclass(frozen=True, slots=True)
class _Source:
    """A span of a clip's audio to decode."""

    clip: "InputContainer"
    stream: "AudioStream"
    start_s: Fraction
    length_s: Fraction
    on_damage: Callable[[], None]


def _within(packets: Packets, length_s: Fraction) -> Packets:
    """Drop the last packet if the encoder padded it beyond the end."""
    for packet in packets:
        end = (packet.pts or 0) + (packet.duration or 0)
        if end * packet.time_base <= length_s + _ROUNDING_S:
            yield packet


def _trimmed(source: _Source, target: "AudioStream", *, pads: bool) -> Generator["AudioFrame"]:
    """Yield the audio of a span without gaps, in the encoder's format."""
    rate = target.codec_context.sample_rate
    samples = round(source.length_s * rate)
    graph: Graph | None = None
    for frame in _timed(source):
        if graph is None:
            graph = _graph(frame, rate, target.codec_context.layout.name, samples, pads=pads)
        graph.push(frame)
        yield from _pulled(graph)
    if graph is not None:
        graph.push(None)
        yield from _pulled(graph)


def _packets(clip: "InputContainer", stream: "AudioStream") -> "Iterator[Packet[AudioStream]]":
    return packets_of(clip, stream, name="the clip's audio", budget_s=ENCODING_BUDGET_S)


def _decoded(source: _Source) -> Generator["AudioFrame"]:
    for packet in _packets(source.clip, source.stream):
        try:
            yield from packet.decode()
        except FFmpegError:
            if packet.pts is None or packet.pts * packet.time_base >= source.start_s:
                source.on_damage()


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
    filters: list[tuple[str, str | None]] = [
        (
            "abuffer",
            ":".join(
                (
                    f"time_base=1/{frame.sample_rate}",
                    f"sample_rate={frame.sample_rate}",
                    f"sample_fmt={frame.format.name}",
                    f"channel_layout={frame.layout.name}",
                )
            ),
        ),
        # Fill gaps with silence, and drop audio before the start.
        ("aresample", "async=1:min_hard_comp=0.01:first_pts=0"),
        ("aformat", f"sample_rates={rate}:sample_fmts={_SAMPLE_FORMAT}:channel_layouts={layout}"),
        *([("apad", f"whole_len={samples}")] if pads else []),
        ("atrim", f"end_sample={samples}"),
        ("abuffersink", None),
    ]
    nodes = [graph.add(name, arguments) for name, arguments in filters]
    for before, after in pairwise(nodes):
        before.link_to(after)
    graph.configure()
    return graph


def _pulled(graph: Graph) -> Generator[Any]:
    while True:
        try:
            yield graph.pull()
        except (TryAgain, EndOfFile):
            return


def _crossfaded(parts: "Sequence[Part]") -> Generator["AudioFrame"]:
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


def _samples(part: "Part", count: int) -> list["array[float]"]:
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


def _resampled(part: "Part") -> Generator[tuple["AudioFrame", int]]:
    """Yield a clip's audio in the mixing format, with each frame's sample offset from its span."""
    with opened_clip(part.source) as clip:
        stream = audio_stream(clip)
        if stream is None:
            return
        resampler = av.AudioResampler(format=_SAMPLE_FORMAT, layout=_FADED_LAYOUT, rate=_FADED_RATE)
        at: int | None = None
        source = _Source(clip, stream, part.span.start_s, part.span.length_s, lambda: None)
        for decoded in (*_decoded(source), None):
            if decoded is not None and at is None and decoded.time_base is not None:
                time_s = (decoded.pts or 0) * decoded.time_base
                at = round((time_s - part.span.start_s) * _FADED_RATE)
            for frame in resampler.resample(decoded):
                yield frame, at or 0
                at = (at or 0) + frame.samples


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
