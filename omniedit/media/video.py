"""Video for an MP4: copied from a clip, or encoded."""

import time
from collections.abc import Container, Generator, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from av.error import InvalidDataError

from omniedit.errors import InvalidInputError
from omniedit.media.demux import (
    ENCODING_BUDGET_S,
    opened_clip,
    packets_of,
    seek_before,
    video_stream,
)
from omniedit.media.filters import FAST_SCALING, FrameFilter, FrameSize
from omniedit.media.formats import EXPORT_AGAIN
from omniedit.media.mux import (
    HEVC_TAG,
    OnProgress,
    Packets,
    Progress,
    copied_stream,
    encode,
    ignore_progress,
    new_stream,
)
from omniedit.media.timeline import CodedFrame, Part, Span, Timeline

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_X264: Final = {
    # Visually lossless, because the service encodes the clip again.
    "crf": "16",
    "preset": "fast",
    # Keep ten seconds of any content below the file service's size limit.
    "maxrate": "70M",
    "bufsize": "35M",
    # The output depends on the number of threads, and should be the same on every machine. Each
    # thread holds frames in memory, as does the lookahead.
    "threads": "4",
    "rc-lookahead": "20",
}
# An MP4 stores frame durations in decoding order. At a variable frame rate that must also be the
# display order, so there can be no B-frames.
_IN_ORDER: Final = {"bf": "0"}
_X265: Final = {
    "crf": "16",
    "preset": "fast",
    "x265-params": "log-level=error:pools=8:frame-threads=2:vbv-maxrate=70000:vbv-bufsize=35000",
}
_X265_IN_ORDER: Final = {"x265-params": f"{_X265['x265-params']}:bframes=0"}
# A clip with a larger share of bad frames is refused.
_MOST_BAD: Final = 0.1
# Frames waiting to be encoded take memory: forty take 1.2 GB in 4K, and 5 GB in 8K.
_HUGE: Final = {"rc-lookahead": "5"}
_HUGE_PIXELS: Final = 3840 * 2160
_RATE_DENOMINATOR: Final = 1001  # of 29.97 fps (30000/1001)


def copyable_frames(timeline: Timeline, span: Span) -> tuple[CodedFrame, ...] | None:
    """Return the packets that make up exactly a span; None if it cannot be copied.

    A span can be copied if its frames are a single run of packets that begins with a keyframe:
    then no frame in it depends on one outside.
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
    """Add a stream and return the packets of a part to copy into it."""
    stream = video_stream(clip, name=str(part.source))
    target = copied_stream(container, stream)
    return copied_packets(clip, stream, target, part)


def copied_packets(
    clip: "InputContainer", stream: "VideoStream", target: "VideoStream", part: Part
) -> Packets:
    """Yield the packets of a part, shifted to its position in the result."""
    shift = round(part.at_s / part.timeline.tick_s) - part.span.start
    frames = copyable_frames(part.timeline, part.span) or ()
    packets = _packets_from(clip, stream, frames[0] if frames else None, name=str(part.source))
    for frame, packet in zip(frames, (each for each in packets if each.size), strict=False):
        packet.duration = min(packet.duration or 0, part.span.end - frame.pts)
        packet.pts = frame.pts + shift
        # Matroska stores no decoding times, and FFmpeg guesses different ones after a seek.
        packet.dts = None if frame.dts is None else frame.dts + shift
        packet.stream = target
        yield packet


def encoded_video(
    container: "OutputContainer",
    parts: Sequence[Part],
    *,
    rate: Fraction,
    size: FrameSize | None = None,
    keeps_hdr: bool = False,
) -> "VideoEncoding":
    """Add a stream and return an encoding that yields its packets.

    Args:
        container: The file that gets the stream.
        parts: What to encode, in order.
        rate: Frames per second, for the encoder's rate control; frames keep their own times.
        size: The size of all frames; None for that of the first one once upright.
        keeps_hdr: Keep HDR colours, as 10-bit H.265.
    """
    codec, options = ("libx265", _X265) if keeps_hdr else ("libx264", _X264)
    if any(part.timeline.is_variable for part in parts):
        options = options | (_X265_IN_ORDER if keeps_hdr else _IN_ORDER)
    stream: VideoStream = new_stream(container, codec, rate=rate, options=options)
    # PyAV's default is slice threads, which wait for each other at the end of every frame.
    stream.codec_context.thread_type = "FRAME"
    if keeps_hdr:
        stream.codec_context.codec_tag = HEVC_TAG
    return VideoEncoding(stream, parts, size, keeps_hdr=keeps_hdr)


class VideoEncoding:
    """Encodes frames, keeping the time and duration of each, and counts the good ones."""

    def __init__(
        self,
        stream: "VideoStream",
        parts: Sequence[Part],
        size: FrameSize | None,
        *,
        keeps_hdr: bool,
    ) -> None:
        self._stream = stream
        self._parts = parts
        self._keeps_hdr = keeps_hdr
        self._tick_s = Fraction(0)
        self._last = -1
        self._lengths: dict[int, int] = {}
        self.good_frames = 0
        self.size = size
        self.deinterlaces = False
        self.maps_tones = False

    def packets(self) -> Packets:
        """Yield the packets of all parts.

        Raises:
            InvalidInputError: If no frame could be decoded.
        """
        for part in self._parts:
            yield from self._of_part(part)
        if self._last < 0:
            msg = "no frame of the clip could be decoded: it is damaged"
            raise InvalidInputError(msg, code="damaged_clip", hint=EXPORT_AGAIN)
        yield from self._timed(encode(self._stream, None))

    def _of_part(self, part: Part) -> Packets:
        ends = part.timeline.ends()
        with opened_clip(part.source) as clip:
            for frame, pts in self._filtered(clip, part):
                # Either end of the span may cut a frame.
                begin, end = max(pts, part.span.start), min(ends.get(pts, pts + 1), part.span.end)
                at_s, tick_s = part.at_s - part.span.start_s, part.timeline.tick_s
                yield from self._encoded(frame, at_s + begin * tick_s, at_s + end * tick_s)

    def _filtered(self, clip: "InputContainer", part: Part) -> Generator[tuple["VideoFrame", int]]:
        name = str(part.source)
        stream = video_stream(clip, name=name)
        frame_filter: FrameFilter | None = None
        for frame, pts in _frames(clip, stream, part):
            self.good_frames += not frame.is_corrupt
            if frame_filter is None or not frame_filter.accepts(frame):
                if frame_filter is not None:
                    yield from frame_filter.flush()
                frame_filter = FrameFilter(
                    stream, frame, self.size, keeps_hdr=self._keeps_hdr, name=name
                )
                self.deinterlaces |= frame_filter.deinterlaces
                self.maps_tones |= frame_filter.maps_tones
            for filtered, at in frame_filter.apply(frame, pts):
                self._configure(frame_filter, filtered, part.timeline.tick_s)
                yield filtered, at
        if frame_filter is not None:
            for filtered, at in frame_filter.flush():
                self._configure(frame_filter, filtered, part.timeline.tick_s)
                yield filtered, at

    def _configure(
        self, frame_filter: FrameFilter, filtered: "VideoFrame", tick_s: Fraction
    ) -> None:
        if self._tick_s:
            return
        self._tick_s = tick_s
        if self.size is None:
            self.size = FrameSize(width=filtered.width, height=filtered.height)
        frame_filter.configure(self._stream, filtered, tick_s)
        if filtered.width * filtered.height >= _HUGE_PIXELS:
            self._stream.codec_context.options |= _HUGE

    def _encoded(self, frame: "VideoFrame", begin_s: Fraction, end_s: Fraction) -> Packets:
        pts = max(round(begin_s / self._tick_s), self._last + 1)
        self._last = pts
        self._lengths[pts] = max(1, round(end_s / self._tick_s) - pts)
        frame.pts, frame.time_base = pts, self._tick_s
        # Let the encoder choose the frame type.
        frame.pict_type = 0
        yield from self._timed(encode(self._stream, frame))

    def _timed(self, packets: Iterable["Packet[Any]"]) -> Packets:
        for packet in packets:
            # The encoder does not know how long the last frame lasts.
            packet.duration = self._lengths.pop(packet.pts or 0, 0)
            yield packet


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameCheck:
    """The number of frames of a clip, and how many of them are damaged or missing."""

    frames: int
    bad_frames: int

    @property
    def is_acceptable(self) -> bool:
        """Whether at most a tenth of the frames are bad."""
        return self.bad_frames <= self.frames * _MOST_BAD


def count_bad_frames(part: Part, *, on_progress: OnProgress = ignore_progress) -> FrameCheck:
    """Decode a part and count the frames that are damaged or missing."""
    started, good, span = time.monotonic(), 0, part.span
    with opened_clip(part.source) as clip:
        stream = video_stream(clip, name=str(part.source))
        for count, (frame, pts) in enumerate(_frames(clip, stream, part), start=1):
            good += not frame.is_corrupt
            on_progress(
                Progress(
                    done_s=float((pts - span.start) * span.tick_s),
                    total_s=float(span.length_s),
                    frames=count,
                    elapsed_s=time.monotonic() - started,
                )
            )
    return frame_check(part, good)


def frame_check(part: Part, good_frames: int) -> FrameCheck:
    """Return how many frames of a part are bad, given how many are good."""
    first = part.timeline.shown_at(part.span.start)
    frames = sum(first <= time < part.span.end for time in part.timeline.times)
    return FrameCheck(frames=frames, bad_frames=max(0, frames - good_frames))


def shown_frames(
    part: Part, size: FrameSize, *, only: Container[int] | None = None
) -> Generator[tuple["VideoFrame", Fraction]]:
    """Yield the frames of a part, upright, in SDR and scaled, each with its seconds from the start.

    Args:
        part: The part to decode.
        size: The target size.
        only: The times of the frames to yield, in ticks of the timeline; None for all frames.
    """
    name, span = str(part.source), part.span
    frame_filter: FrameFilter | None = None
    with opened_clip(part.source) as clip:
        stream = video_stream(clip, name=name)
        for frame, pts in _frames(clip, stream, part):
            if only is not None and pts not in only:
                continue
            if frame_filter is None or not frame_filter.accepts(frame):
                frame_filter = FrameFilter(stream, frame, size, scaling=FAST_SCALING, name=name)
            for shown, at in frame_filter.apply(frame, pts):
                yield shown, max(at - span.start, 0) * span.tick_s
        for shown, at in frame_filter.flush() if frame_filter else ():
            yield shown, max(at - span.start, 0) * span.tick_s


def _frames(
    clip: "InputContainer", stream: "VideoStream", part: Part
) -> Generator[tuple["VideoFrame", int]]:
    """Yield the decodable frames of a part, each with its time in ticks."""
    timeline, span = part.timeline, part.span
    first = timeline.shown_at(span.start)
    slots = iter(timeline.times) if timeline.has_slots else None
    stream.thread_type = "AUTO"
    for frame in _decoded(clip, stream, timeline.key_before(first), name=str(part.source)):
        pts = frame.pts if frame.pts is not None else frame.dts
        if slots is not None:
            pts = next(slots, None)
        if pts is None or pts < first:
            continue
        # Decoders return frames in display order.
        if pts >= span.end:
            return
        yield frame, pts


def _decoded(
    clip: "InputContainer", stream: "VideoStream", key: CodedFrame | None, *, name: str
) -> Generator["VideoFrame"]:
    for packet in _packets_from(clip, stream, key, name=name):
        try:
            yield from packet.decode()
        except InvalidDataError:
            # The frame counts as bad; decoders recover at the next keyframe.
            continue


def _packets_from(
    clip: "InputContainer", stream: "VideoStream", key: CodedFrame | None, *, name: str
) -> "Generator[Packet[VideoStream]]":
    """Yield packets from a keyframe on; None starts at the beginning."""
    if key is not None:
        # An MP4 is indexed by decoding times, Matroska by presentation times.
        is_mov = "mov" in clip.format.name.split(",")
        seek_before(clip, stream, key.dts if is_mov else key.pts)
    is_found = key is None
    for packet in packets_of(clip, stream, name=name, budget_s=ENCODING_BUDGET_S):
        is_found = is_found or (key is not None and packet.pts == key.pts)
        if is_found:
            yield packet
    if not is_found:
        # The container's index is wrong: read from the beginning.
        seek_before(clip, stream, stream.start_time or 0)
        yield from packets_of(clip, stream, name=name, budget_s=ENCODING_BUDGET_S)
