"""Audio for an MP4: copied from a clip, encoded, or cross-faded between several."""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import chain
from typing import Any, Final, TypeAlias, cast

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.error import FFmpegError
from av.filter import Graph

from omniedit.media.containers import OpenClip, Packets, copied_stream, encode, opened_clip
from omniedit.media.filters import pulled
from omniedit.media.timeline import Part

OnDamage: TypeAlias = Callable[[int], None]
"""Called with the time in ticks of each packet that cannot be decoded and is replaced by silence."""

_BIT_RATE: Final = 192_000
_USUAL_RATE: Final = 48_000
_RATES: Final = frozenset({8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000})
_LAYOUTS: Final = frozenset({"mono", "stereo", "5.1"})
# Interleaved; the encoder converts it to its own format.
_SAMPLE_FORMAT: Final = "flt"
_PREROLL_S: Final = Fraction(1, 2)
# Matroska rounds times to milliseconds.
_ROUNDING_S: Final = Fraction(1, 1000)
# The format in which results are cross-faded.
_FADED_RATE: Final = 48_000
_FADED_LAYOUT: Final = "stereo"
_FADED_CHANNELS: Final = 2
_FADE: Final = _FADED_RATE * 20 // 1000  # samples
# Audio is padded with silence if it ends earlier than the video by more than this.
_TOLERANCE_S: Final = 0.05
_FLOAT: Final = "f"  # the type code of an `array`


def clip_audio(
    container: OutputContainer,
    *,
    part: Part,
    length_s: Fraction,
    pads: bool = False,
    on_damage: OnDamage = lambda _: None,
) -> Packets:
    """Return the audio packets of a clip from where a part begins; none if there is no audio.

    They are copied if they can be: AAC, unless its beginning is cut off or silence must follow.

    Args:
        container: The file that gets the stream.
        part: The part, whose beginning becomes 0; its end is ignored.
        length_s: How much to keep.
        pads: Add silence if the audio ends earlier.
    """
    audio = part.facts.audio
    end_s = part.facts.audio_end_s
    is_covered = not pads or (end_s is not None and end_s + _TOLERANCE_S >= length_s)
    is_aac = audio is not None and audio.codec == "aac"
    if is_aac and part.start == part.timeline.start and is_covered:
        return _copied(container, part, length_s)
    return _converted(container, part, length_s, pads=pads, on_damage=on_damage)


def crossfaded_audio(container: OutputContainer, *, parts: Sequence[Part]) -> Packets:
    """Add a stream and yield the audio of several clips, each cross-faded into the next.

    Cross-fading shifts no clip: the audio that fades out is what follows the part or, if
    nothing does, the last 20 ms of the part, reversed.
    """
    stream = _aac_stream(container, rate=_FADED_RATE, layout=_FADED_LAYOUT)
    length_s = parts[-1].at_s + parts[-1].length_s
    yield from _encoded(stream, _crossfaded(parts), length_s)


def _copied(container: OutputContainer, part: Part, length_s: Fraction) -> Packets:
    """Yield packets to copy; one that ends later than `length_s` is left out."""
    with opened_clip(part.source) as clip:
        stream = clip.audio
        if stream is None:
            return
        target = copied_stream(container, stream)
        tick_s = _tick_s(stream)
        shift = round(part.start_s / tick_s)
        end = length_s / tick_s
        for packet in clip.packets(stream):
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


def _converted(
    container: OutputContainer, part: Part, length_s: Fraction, *, pads: bool, on_damage: OnDamage
) -> Packets:
    """Yield AAC packets, cut to the sample."""
    with opened_clip(part.source) as clip:
        if clip.audio is None:
            return
        context = clip.audio.codec_context
        rate = context.sample_rate if context.sample_rate in _RATES else _USUAL_RATE
        layout = context.layout.name if context.layout.name in _LAYOUTS else "stereo"
        target = _aac_stream(container, rate=rate, layout=layout)
        decoded = _timed(clip, part.start_s, length_s, on_damage)
        frames = _resampled(decoded, round(length_s * rate), rate, layout, pads=pads)
        yield from _encoded(target, frames, length_s)


def _tick_s(stream: AudioStream) -> Fraction:
    return Fraction(stream.time_base or Fraction(1, _USUAL_RATE))


def _aac_stream(container: OutputContainer, *, rate: int, layout: str) -> AudioStream:
    stream: AudioStream = cast("Any", container).add_stream("aac", rate=rate)
    stream.codec_context.layout = layout
    stream.codec_context.bit_rate = _BIT_RATE * (2 if layout == "5.1" else 1)
    return stream


def _encoded(stream: AudioStream, frames: Iterable[AudioFrame], length_s: Fraction) -> Packets:
    for frame in chain(frames, [None]):
        for packet in encode(stream, frame):
            # The encoder pads the last packet: drop it if it is beyond the end.
            end = (packet.pts or 0) + (packet.duration or 0)
            if end * packet.time_base <= length_s + _ROUNDING_S:
                yield packet


def _resampled(
    frames: Iterator[AudioFrame], samples: int, rate: int, layout: str, *, pads: bool = False
) -> Iterator[AudioFrame]:
    """Yield audio in one format, from its time 0 on, with silence for gaps."""
    first = next(frames, None)
    if first is None:
        return
    graph = _graph(first, samples, rate, layout, pads=pads)
    for frame in chain([first], frames, [None]):
        graph.push(frame)
        yield from pulled(graph.pull)


def _timed(
    clip: OpenClip, start_s: Fraction, length_s: Fraction, on_damage: OnDamage = lambda _: None
) -> Iterator[AudioFrame]:
    """Yield decoded audio, timed in samples from an instant of the clip; none without audio."""
    if clip.audio is None:
        return
    tick_s = _tick_s(clip.audio)
    # Decoders need a few packets before the first one that is kept.
    before = round((start_s - _PREROLL_S) / tick_s)
    clip.seek_before(clip.audio, before if before > 0 else None)
    following = 0
    for frame in _decoded(clip, clip.audio, start_s, on_damage):
        rate = frame.sample_rate
        pts = following
        if frame.pts is not None:
            pts = round((frame.pts * tick_s - start_s) * rate)
        following = pts + frame.samples
        if following <= 0:
            continue
        if pts >= length_s * rate:
            return
        frame.pts, frame.time_base = pts, Fraction(1, rate)
        yield frame


def _decoded(
    clip: OpenClip, stream: AudioStream, start_s: Fraction, on_damage: OnDamage
) -> Iterator[AudioFrame]:
    for packet in clip.packets(stream):
        try:
            yield from packet.decode()
        except FFmpegError:
            if packet.pts is None or packet.pts * packet.time_base >= start_s:
                on_damage(packet.pts or 0)


def _graph(frame: AudioFrame, samples: int, rate: int, layout: str, *, pads: bool) -> Graph:
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


def _crossfaded(parts: Sequence[Part]) -> Iterator[AudioFrame]:
    tail = array(_FLOAT)
    for part in parts:
        begin = round(part.at_s * _FADED_RATE)
        end = round((part.at_s + part.length_s) * _FADED_RATE)
        samples = _samples(part, end - begin)
        for index in range(min(len(tail), len(samples))):
            share = (index // _FADED_CHANNELS + 0.5) / _FADE
            samples[index] = tail[index] * (1 - share) + samples[index] * share
        kept = (end - begin) * _FADED_CHANNELS
        frame = _frame(samples[:kept])
        frame.pts, frame.time_base = begin, Fraction(1, _FADED_RATE)
        yield frame
        tail = samples[kept:]


def _samples(part: Part, count: int) -> "array[float]":
    """Return the interleaved samples of a part, followed by those that fade out."""
    samples = array(_FLOAT)
    with opened_clip(part.source) as clip:
        decoded = _timed(clip, part.start_s, Fraction(count + _FADE, _FADED_RATE))
        for frame in _resampled(decoded, count + _FADE, _FADED_RATE, _FADED_LAYOUT):
            size_bytes = frame.samples * _FADED_CHANNELS * samples.itemsize
            samples.frombytes(memoryview(frame.planes[0])[:size_bytes])
    samples.extend([0.0] * (count * _FADED_CHANNELS - len(samples)))
    for index in range(len(samples), (count + _FADE) * _FADED_CHANNELS):
        position, channel = divmod(index, _FADED_CHANNELS)
        mirrored = (2 * count - 1 - position) * _FADED_CHANNELS + channel
        samples.append(samples[mirrored] if mirrored >= 0 else 0.0)
    return samples


def _frame(samples: "array[float]") -> AudioFrame:
    count = len(samples) // _FADED_CHANNELS
    frame = av.AudioFrame(format=_SAMPLE_FORMAT, layout=_FADED_LAYOUT, samples=count)
    frame.sample_rate = _FADED_RATE
    [plane] = frame.planes
    content = samples.tobytes()
    plane.update(content + bytes(plane.buffer_size - len(content)))
    return frame
