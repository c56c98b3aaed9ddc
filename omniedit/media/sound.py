"""The sound of a clip on its way into an MP4: copied, or encoded anew."""

from collections.abc import Generator, Iterable, Iterator
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from av.error import BlockingIOError as TryAgain
from av.error import EOFError as EndOfFile
from av.filter import Graph

from omniedit.media.passes import WRITING_BUDGET_S, packets_of
from omniedit.media.probing import sound_stream
from omniedit.media.writing import Packets, copied_stream, encode, new_stream

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet

BIT_RATE: Final = 192_000
_USUAL_RATE: Final = 48_000
_RATES: Final = frozenset({8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000})
_LAYOUTS: Final = frozenset({"mono", "stereo", "5.1"})
_SAMPLE_FORMAT: Final = "fltp"


def can_be_copied(clip: "InputContainer") -> bool:
    """Return whether an MP4 takes the sound as it is."""
    stream = sound_stream(clip)
    return stream is not None and stream.codec_context.codec.canonical_name == "aac"


def copied_sound(
    container: "OutputContainer", clip: "InputContainer", *, origin_s: Fraction, length_s: Fraction
) -> Packets | None:
    """Return the packets of the sound as they are, for a stream that is added here.

    Args:
        container: It gets the stream.
        clip: The open source.
        origin_s: What becomes 0 on the result's clock.
        length_s: How much is kept; the last packet may reach a little beyond.
    """
    stream = sound_stream(clip)
    if stream is None:
        return None
    target = copied_stream(container, stream)
    return _moved(clip, stream, target, origin_s=origin_s, length_s=length_s)


def encoded_sound(
    container: "OutputContainer", clip: "InputContainer", *, origin_s: Fraction, length_s: Fraction
) -> Packets | None:
    """Return the packets of the sound as AAC, cut to the sample, for a stream that is added here.

    Args:
        container: It gets the stream.
        clip: The open source.
        origin_s: What becomes 0 on the result's clock.
        length_s: How much is kept.
    """
    stream = sound_stream(clip)
    if stream is None:
        return None
    context = stream.codec_context
    rate = context.sample_rate if context.sample_rate in _RATES else _USUAL_RATE
    layout = context.layout.name if context.layout.name in _LAYOUTS else "stereo"
    target = aac_stream(container, rate=rate, layout=layout)
    frames = _trimmed(clip, stream, target, origin_s=origin_s, length_s=length_s)
    return encoded(target, frames)


def aac_stream(container: "OutputContainer", *, rate: int, layout: str) -> "AudioStream":
    """Add a stream of AAC."""
    stream: AudioStream = new_stream(container, "aac", rate=rate)
    stream.codec_context.layout = layout
    stream.codec_context.bit_rate = BIT_RATE * (2 if layout == "5.1" else 1)
    return stream


def encoded(stream: "AudioStream", frames: Iterable["AudioFrame"]) -> Packets:
    """Yield frames encoded."""
    for frame in frames:
        yield from encode(stream, frame)
    yield from encode(stream, None)


def _moved(
    clip: "InputContainer",
    stream: "AudioStream",
    target: "AudioStream",
    *,
    origin_s: Fraction,
    length_s: Fraction,
) -> Packets:
    tick_s = Fraction(stream.time_base or Fraction(1, _USUAL_RATE))
    shift = round(origin_s / tick_s)
    end = length_s / tick_s
    for packet in _packets(clip, stream):
        if not packet.size or packet.pts is None:
            continue
        packet.pts -= shift
        packet.dts = packet.pts
        if packet.pts >= end:
            break
        # An encoder's first packets lie before the beginning, and are needed to decode the next.
        if packet.pts + 2 * (packet.duration or 0) <= 0:
            continue
        packet.stream = target
        yield packet


def _trimmed(
    clip: "InputContainer",
    stream: "AudioStream",
    target: "AudioStream",
    *,
    origin_s: Fraction,
    length_s: Fraction,
) -> Generator["AudioFrame"]:
    """Yield the sound of a span without gaps, in the form that the encoder takes."""
    rate = target.codec_context.sample_rate
    graph: Graph | None = None
    for frame in _timed(clip, stream, origin_s=origin_s, length_s=length_s):
        if graph is None:
            graph = _graph(frame, rate, target.codec_context.layout.name, round(length_s * rate))
        graph.push(frame)
        yield from _pulled(graph)
    if graph is not None:
        graph.push(None)
        yield from _pulled(graph)


def _packets(clip: "InputContainer", stream: "AudioStream") -> "Iterator[Packet[AudioStream]]":
    return packets_of(clip, stream, name="the clip's sound", budget_s=WRITING_BUDGET_S)


def _decoded(clip: "InputContainer", stream: "AudioStream") -> Generator["AudioFrame"]:
    for packet in _packets(clip, stream):
        yield from packet.decode()


def _timed(
    clip: "InputContainer", stream: "AudioStream", *, origin_s: Fraction, length_s: Fraction
) -> Generator["AudioFrame"]:
    """Yield decoded sound with times that count samples from the origin."""
    tick_s = Fraction(stream.time_base or Fraction(1, _USUAL_RATE))
    following = 0
    for frame in _decoded(clip, stream):
        rate = frame.sample_rate
        pts = following if frame.pts is None else round((frame.pts * tick_s - origin_s) * rate)
        following = pts + frame.samples
        if following <= 0:
            continue
        if pts >= length_s * rate:
            return
        frame.pts, frame.time_base = pts, Fraction(1, rate)
        yield frame


def _graph(frame: "AudioFrame", rate: int, layout: str, samples: int) -> Graph:
    graph = Graph()
    filters = [
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
        # Gaps are filled with silence, and what lies before the beginning is dropped.
        ("aresample", "async=1:min_hard_comp=0.02:first_pts=0"),
        ("aformat", f"sample_rates={rate}:sample_fmts={_SAMPLE_FORMAT}:channel_layouts={layout}"),
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
