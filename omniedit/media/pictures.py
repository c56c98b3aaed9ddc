"""The pictures of a clip on their way into an MP4: copied, or encoded anew."""

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from omniedit.errors import InvalidInputError
from omniedit.media.canvas import Canvas, Form
from omniedit.media.opening import opened_clip, picture_stream
from omniedit.media.passes import WRITING_BUDGET_S, packets_of
from omniedit.media.timeline import Shot, Timeline
from omniedit.media.writing import Packets, Span, copied_stream, encode, new_stream

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_X264: Final = {
    # Visually lossless: what the service encodes again should not lose twice.
    "crf": "16",
    "preset": "fast",
    # Ten seconds stay below what the file service takes, whatever they show.
    "maxrate": "70M",
    "bufsize": "35M",
    # The result depends on their number, and the same clip should become the same file anywhere.
    "threads": "8",
}
# An MP4 tells how long pictures are in the order of decoding, which must then be that of showing.
_IN_ORDER: Final = {"bf": "0"}
# Pictures larger than 4K wait for their turn in memory: forty of 8K are 5 GB.
_HUGE: Final = {"rc-lookahead": "5", "threads": "4"}
_HUGE_PIXELS: Final = 4096 * 2304
_RATE_DENOMINATOR: Final = 1001  # of 29.97 pictures a second
_SEEK_MARGIN_S: Final = 1
# Where a seek is exact; a transport stream has no index, and an AVI's is often wrong.
_SEEKABLE: Final = frozenset({"mov", "matroska"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A span of a source, and where it goes in the result."""

    source: Path
    timeline: Timeline
    span: Span
    at_s: Fraction = Fraction(0)


def shots_within(timeline: Timeline, span: Span) -> tuple[Shot, ...] | None:
    """Return the packets that make up a span exactly; None where they cannot be copied.

    A cut leaves a decodable rest where what is kept is one run of packets that begins with a whole
    picture: nothing kept needs what is left out.
    """
    is_inside = [span.start <= shot.pts < span.end for shot in timeline.shots]
    if timeline.has_hidden or timeline.shown_at(span.start) != span.start:
        return None
    first, count = is_inside.index(True), sum(is_inside)
    kept = timeline.shots[first : first + count]
    if not all(is_inside[first : first + count]) or not kept[0].is_key:
        return None
    return None if any(shot.dts is None for shot in kept) else kept


def rate_of(timeline: Timeline) -> Fraction:
    """Return the pictures a second on average."""
    return Fraction(1 / timeline.frame_s).limit_denominator(_RATE_DENOMINATOR)


def copied_pictures(container: "OutputContainer", clip: "InputContainer", part: Part) -> Packets:
    """Return the packets of a span as they are, for a stream that is added here.

    Args:
        container: It gets the stream.
        clip: The open source.
        part: What is copied.
    """
    stream = picture_stream(clip, name=str(part.source))
    target = copied_stream(container, stream)
    return moved_packets(clip, stream, target, part)


def moved_packets(
    clip: "InputContainer", stream: "VideoStream", target: "VideoStream", part: Part
) -> Packets:
    """Yield the packets of a span, moved to where it goes in the result."""
    shift = round(part.at_s / part.timeline.tick_s) - part.span.start
    shots = iter(part.timeline.shots)
    name = str(part.source)
    for packet in packets_of(clip, stream, name=name, budget_s=WRITING_BUDGET_S):
        if not packet.size or packet.pts is None:
            continue
        dts = next(shots).dts
        if part.span.start <= packet.pts < part.span.end:
            packet.duration = min(packet.duration or 0, part.span.end - packet.pts)
            packet.pts += shift
            packet.dts = None if dts is None else dts + shift
            packet.stream = target
            yield packet


def encoded_pictures(
    container: "OutputContainer", parts: Sequence[Part], *, rate: Fraction, form: Form | None = None
) -> Packets:
    """Return the packets of encoded spans, one after the other, for a stream that is added here.

    Args:
        container: It gets the stream.
        parts: What is encoded.
        rate: Pictures a second, for the encoder's bookkeeping; their own times are kept.
        form: What they become; by default what the first of them is, turned as players show it.
    """
    has_constant_rate = not any(part.timeline.is_variable for part in parts)
    options = _X264 if has_constant_rate else _X264 | _IN_ORDER
    stream: VideoStream = new_stream(container, "libx264", rate=rate, options=options)
    return _Encoder(stream, form).packets(parts)


class _Encoder:
    """An encoder of pictures that keeps the time and the length of each."""

    def __init__(self, stream: "VideoStream", form: Form | None) -> None:
        self._stream = stream
        self._form = form
        self._tick_s = Fraction(0)
        self._last = -1
        self._lengths: dict[int, int] = {}

    def packets(self, parts: Iterable[Part]) -> Packets:
        """Yield the encoded pictures.

        Raises:
            InvalidInputError: There are none.
        """
        for part in parts:
            yield from self._of_part(part)
        if self._last < 0:
            msg = "nothing of the clip could be decoded: it is damaged"
            raise InvalidInputError(msg, code="damaged_clip")
        yield from self._timed(encode(self._stream, None))

    def _of_part(self, part: Part) -> Packets:
        canvas: Canvas | None = None
        ends = part.timeline.ends()
        with opened_clip(part.source) as clip:
            stream = picture_stream(clip, name=str(part.source))
            first = part.timeline.shown_at(part.span.start)
            reached = replace(part, span=replace(part.span, start=first))
            for frame, pts in _frames(clip, stream, reached):
                if canvas is None or not canvas.takes(frame):
                    canvas = Canvas(stream, frame, self._form, name=str(part.source))
                drawn = canvas.draw(frame)
                if self._form is None:
                    self._form = Form(width=drawn.width, height=drawn.height)
                if not self._tick_s:
                    self._tick_s = part.timeline.tick_s
                    canvas.configure(self._stream, drawn, self._tick_s)
                    if drawn.width * drawn.height > _HUGE_PIXELS:
                        self._stream.codec_context.options |= _HUGE
                # At either end of the span a picture may be cut.
                begin, end = max(pts, part.span.start), min(ends.get(pts, pts + 1), part.span.end)
                at_s, tick_s = part.at_s - part.span.origin_s, part.timeline.tick_s
                yield from self._encoded(drawn, at_s + begin * tick_s, at_s + end * tick_s)

    def _encoded(self, frame: "VideoFrame", begin_s: Fraction, end_s: Fraction) -> Packets:
        pts = max(round(begin_s / self._tick_s), self._last + 1)
        self._last = pts
        self._lengths[pts] = max(1, round(end_s / self._tick_s) - pts)
        frame.pts, frame.time_base = pts, self._tick_s
        # What kind of picture it was says nothing about what it becomes.
        frame.pict_type = 0
        yield from self._timed(encode(self._stream, frame))

    def _timed(self, packets: Iterable["Packet[Any]"]) -> Packets:
        for packet in packets:
            # The encoder does not know how long the last picture lasts.
            packet.duration = self._lengths.pop(packet.pts or 0, 0)
            yield packet


def _frames(
    clip: "InputContainer", stream: "VideoStream", part: Part
) -> Generator[tuple["VideoFrame", int]]:
    """Yield the pictures of a part, each with its time in ticks."""
    span, name = part.span, str(part.source)
    stream.thread_type = "AUTO"
    margin = round(_SEEK_MARGIN_S / span.tick_s)
    if span.start > margin and _SEEKABLE & set(clip.format.name.split(",")):
        clip.seek(span.start - margin, stream=stream)
    for packet in packets_of(clip, stream, name=name, budget_s=WRITING_BUDGET_S):
        for frame in packet.decode():
            pts = frame.pts if frame.pts is not None else frame.dts
            if pts is None or pts < span.start:
                continue
            # A decoder gives pictures in the order in which they are shown.
            if pts >= span.end:
                return
            yield frame, pts
