"""The video of a clip on its way into an MP4, copied or encoded."""

from collections.abc import Generator, Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from omniedit.errors import InvalidInputError
from omniedit.media.demux import ENCODING_BUDGET_S, opened_clip, packets_of, video_stream
from omniedit.media.filters import FrameFilter, FrameSize
from omniedit.media.formats import EXPORT_AGAIN
from omniedit.media.mux import Packets, copied_stream, encode, new_stream
from omniedit.media.timeline import CodedFrame, Part, Span, Timeline

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_X264: Final = {
    # Visually lossless: the service encodes the clip once more.
    "crf": "16",
    "preset": "fast",
    # Ten seconds stay below the file service's limit, whatever they show.
    "maxrate": "70M",
    "bufsize": "35M",
    # The result depends on their number, and a clip should become the same file on any machine.
    "threads": "8",
}
# An MP4 lists the lengths of frames in decoding order, which must then be the order of showing.
_IN_ORDER: Final = {"bf": "0"}
# Frames wait in memory to be encoded: forty of 8K take 5 GB.
_HUGE: Final = {"rc-lookahead": "5", "threads": "4"}
_HUGE_PIXELS: Final = 4096 * 2304
_RATE_DENOMINATOR: Final = 1001  # of 29.97 fps
_SEEK_MARGIN_S: Final = 1
# A transport stream has no index to seek by, and that of an AVI is often wrong.
_SEEKABLE: Final = frozenset({"mov", "matroska"})


def copyable_frames(timeline: Timeline, span: Span) -> tuple[CodedFrame, ...] | None:
    """Return the packets that make up a span exactly; None if it cannot be copied.

    It can if the frames to keep are one run of packets that begins with a keyframe: then no frame
    that is kept needs one that is not.
    """
    is_inside = [span.start <= frame.pts < span.end for frame in timeline.frames]
    if timeline.has_hidden or timeline.shown_at(span.start) != span.start:
        return None
    first, count = is_inside.index(True), sum(is_inside)
    kept = timeline.frames[first : first + count]
    if not all(is_inside[first : first + count]) or not kept[0].is_key:
        return None
    return None if any(frame.dts is None for frame in kept) else kept


def rate_of(timeline: Timeline) -> Fraction:
    """Return the average frame rate."""
    return Fraction(1 / timeline.frame_s).limit_denominator(_RATE_DENOMINATOR)


def copied_video(container: "OutputContainer", clip: "InputContainer", part: Part) -> Packets:
    """Add a stream, and return the packets of a part for it as they are."""
    stream = video_stream(clip, name=str(part.source))
    target = copied_stream(container, stream)
    return copied_packets(clip, stream, target, part)


def copied_packets(
    clip: "InputContainer", stream: "VideoStream", target: "VideoStream", part: Part
) -> Packets:
    """Yield the packets of a part, moved to where it goes in the result."""
    shift = round(part.at_s / part.timeline.tick_s) - part.span.start
    frames = iter(part.timeline.frames)
    name = str(part.source)
    for packet in packets_of(clip, stream, name=name, budget_s=ENCODING_BUDGET_S):
        if not packet.size or packet.pts is None:
            continue
        dts = next(frames).dts
        if part.span.start <= packet.pts < part.span.end:
            packet.duration = min(packet.duration or 0, part.span.end - packet.pts)
            packet.pts += shift
            packet.dts = None if dts is None else dts + shift
            packet.stream = target
            yield packet


def encoded_video(
    container: "OutputContainer",
    parts: Sequence[Part],
    *,
    rate: Fraction,
    size: FrameSize | None = None,
) -> Packets:
    """Add a stream, and return the packets of encoded parts for it, one part after the other.

    Args:
        container: The file that gets the stream.
        parts: What to encode.
        rate: Frames per second, for the encoder's rate control; frames keep their own times.
        size: The size of all frames; None for that of the first one, upright.
    """
    has_constant_rate = not any(part.timeline.is_variable for part in parts)
    options = _X264 if has_constant_rate else _X264 | _IN_ORDER
    stream: VideoStream = new_stream(container, "libx264", rate=rate, options=options)
    return _Encoder(stream, size).packets(parts)


class _Encoder:
    """Encodes frames, and keeps the time and the length of each."""

    def __init__(self, stream: "VideoStream", size: FrameSize | None) -> None:
        self._stream = stream
        self._size = size
        self._tick_s = Fraction(0)
        self._last = -1
        self._lengths: dict[int, int] = {}

    def packets(self, parts: Iterable[Part]) -> Packets:
        """Yield the packets of all parts.

        Raises:
            InvalidInputError: No frame could be decoded.
        """
        for part in parts:
            yield from self._of_part(part)
        if self._last < 0:
            msg = "no frame of the clip could be decoded: it is damaged"
            raise InvalidInputError(msg, code="damaged_clip", hint=EXPORT_AGAIN)
        yield from self._timed(encode(self._stream, None))

    def _of_part(self, part: Part) -> Packets:
        frame_filter: FrameFilter | None = None
        ends = part.timeline.ends()
        with opened_clip(part.source) as clip:
            stream = video_stream(clip, name=str(part.source))
            first = part.timeline.shown_at(part.span.start)
            extended = replace(part, span=replace(part.span, start=first))
            for frame, pts in _frames(clip, stream, extended):
                if frame_filter is None or not frame_filter.accepts(frame):
                    frame_filter = FrameFilter(stream, frame, self._size, name=str(part.source))
                filtered = frame_filter.apply(frame)
                if self._size is None:
                    self._size = FrameSize(width=filtered.width, height=filtered.height)
                if not self._tick_s:
                    self._tick_s = part.timeline.tick_s
                    frame_filter.configure(self._stream, filtered, self._tick_s)
                    if filtered.width * filtered.height > _HUGE_PIXELS:
                        self._stream.codec_context.options |= _HUGE
                # A frame may be cut at either end of the span.
                begin, end = max(pts, part.span.start), min(ends.get(pts, pts + 1), part.span.end)
                at_s, tick_s = part.at_s - part.span.start_s, part.timeline.tick_s
                yield from self._encoded(filtered, at_s + begin * tick_s, at_s + end * tick_s)

    def _encoded(self, frame: "VideoFrame", begin_s: Fraction, end_s: Fraction) -> Packets:
        pts = max(round(begin_s / self._tick_s), self._last + 1)
        self._last = pts
        self._lengths[pts] = max(1, round(end_s / self._tick_s) - pts)
        frame.pts, frame.time_base = pts, self._tick_s
        # The encoder shall choose the kind of frame, whatever it was before.
        frame.pict_type = 0
        yield from self._timed(encode(self._stream, frame))

    def _timed(self, packets: Iterable["Packet[Any]"]) -> Packets:
        for packet in packets:
            # The encoder does not know how long the last frame lasts.
            packet.duration = self._lengths.pop(packet.pts or 0, 0)
            yield packet


def _frames(
    clip: "InputContainer", stream: "VideoStream", part: Part
) -> Generator[tuple["VideoFrame", int]]:
    """Yield the frames of a part, each with its time in ticks."""
    span, name = part.span, str(part.source)
    stream.thread_type = "AUTO"
    margin = round(_SEEK_MARGIN_S / span.tick_s)
    if span.start > margin and _SEEKABLE & set(clip.format.name.split(",")):
        clip.seek(span.start - margin, stream=stream)
    for packet in packets_of(clip, stream, name=name, budget_s=ENCODING_BUDGET_S):
        for frame in packet.decode():
            pts = frame.pts if frame.pts is not None else frame.dts
            if pts is None or pts < span.start:
                continue
            # Decoders return frames in the order in which they are shown.
            if pts >= span.end:
                return
            yield frame, pts
