"""Video for an MP4, copied from a clip or encoded; and frames decoded to be checked or shown."""

import os
import threading
from collections.abc import Container, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, cast

from av.container import OutputContainer
from av.error import InvalidDataError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from omniedit.errors import InvalidInputError
from omniedit.media.containers import (
    HEVC_TAG,
    OpenClip,
    Packets,
    copied_stream,
    encode,
    opened_clip,
)
from omniedit.media.filters import FAST_SCALING, FrameSize, TimedFrame, filtered
from omniedit.media.formats import EXPORT_AGAIN
from omniedit.media.timeline import CodedFrame, Part

_MEMORY_BYTES: Final = 1024**3
# Memory for an encoder, its decoder and the frames waiting for both: 0.37 GiB at 1080p.
_BYTES_PER_PIXEL: Final = 192
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
# Frames waiting to be encoded take memory: forty take 1.2 GB in 4K, and 5 GB in 8K.
_HUGE: Final = {"rc-lookahead": "5"}
_HUGE_PIXELS: Final = 3840 * 2160
_RATE_DENOMINATOR: Final = 1001  # of 29.97 fps (30000/1001)


def copyable_frames(part: Part) -> tuple[CodedFrame, ...]:
    """Return the packets that make up exactly a part; none if it cannot be copied.

    A part can be copied if its frames are a single run of packets that begins with a keyframe:
    then no frame in it depends on one outside.
    """
    timeline = part.timeline
    is_inside = [part.start <= frame.pts < part.end for frame in timeline.frames]
    if timeline.has_hidden or timeline.shown_at(part.start) != part.start:
        return ()
    first = is_inside.index(True)
    count = sum(is_inside)
    kept = timeline.frames[first : first + count]
    if not all(is_inside[first : first + count]) or not kept[0].is_key:
        return ()
    return () if any(frame.dts is None for frame in kept) else kept


def copied_video(container: OutputContainer, *, parts: Sequence[Part]) -> Packets:
    """Add a stream and yield the packets of parts, each shifted to its position in the result."""
    target: VideoStream | None = None
    for part in parts:
        frames = copyable_frames(part)
        with opened_clip(part.source) as clip:
            target = target or copied_stream(container, clip.video)
            packets = (each for each in _packets_from(clip, frames[0]) if each.size)
            for frame, packet in zip(frames, packets, strict=False):
                packet.duration = min(packet.duration or 0, part.end - frame.pts)
                packet.pts = frame.pts + part.shift
                # Matroska stores no decoding times, and FFmpeg guesses different ones after a seek.
                packet.dts = (frame.dts or 0) + part.shift
                packet.stream = target
                yield packet


class VideoEncoding:
    """Encodes frames, keeping the time and duration of each, and counts the good ones.

    Args:
        parts: What to encode, in order; all frames get the size of the first one once upright.
        keeps_hdr: Keep HDR colours, as 10-bit H.265.
    """

    def __init__(self, parts: Sequence[Part], *, keeps_hdr: bool = False) -> None:
        self._parts = parts
        self.keeps_hdr = keeps_hdr
        self._tick_s = Fraction(0)
        self._last = -1
        self._lengths: dict[int, int] = {}
        self.good_frames = 0
        self.size: FrameSize | None = None
        self.deinterlaces = False

    def packets(self, container: OutputContainer) -> Packets:
        """Add a stream to a file and yield the packets of all parts.

        Raises:
            InvalidInputError: If no frame could be decoded.
        """
        stream = self._new_stream(container)
        for part in self._parts:
            yield from self._of_part(stream, part)
        if self._last < 0:
            msg = "no frame of the clip could be decoded: it is damaged"
            raise InvalidInputError(msg, code="damaged_clip", hint=EXPORT_AGAIN)
        yield from self._encoded(stream, None)

    def _new_stream(self, container: OutputContainer) -> VideoStream:
        codec, options = ("libx265", _X265) if self.keeps_hdr else ("libx264", _X264)
        if any(part.timeline.is_variable for part in self._parts):
            options = options | _IN_ORDER
        # For the encoder's rate control; frames keep their own times.
        rate = Fraction(self._parts[0].timeline.frame_rate).limit_denominator(_RATE_DENOMINATOR)
        new_stream = cast("Any", container).add_stream
        stream: VideoStream = new_stream(codec, rate=rate, options=dict(options))
        # PyAV's default is slice threads, which wait for each other at the end of every frame.
        stream.codec_context.thread_type = "FRAME"
        if self.keeps_hdr:
            stream.codec_context.codec_tag = HEVC_TAG
        return stream

    def _of_part(self, stream: VideoStream, part: Part) -> Packets:
        ends = part.timeline.ends()
        at_s = part.at_s - part.start_s
        tick_s = part.timeline.tick_s
        frames = self._counted(part)
        for frame, pts, filters in filtered(part, frames, self.size, keeps_hdr=self.keeps_hdr):
            self.deinterlaces |= filters.deinterlaces
            if not self._tick_s:
                self._tick_s = tick_s
                self.size = filters.size
                filters.configure(stream, frame, tick_s)
                if filters.size.width * filters.size.height >= _HUGE_PIXELS:
                    stream.codec_context.options |= _HUGE
            # Either end of the part may cut a frame.
            begin = max(pts, part.start)
            end = min(ends.get(pts, pts + 1), part.end)
            at = max(round((at_s + begin * tick_s) / self._tick_s), self._last + 1)
            self._last = at
            self._lengths[at] = max(1, round((at_s + end * tick_s) / self._tick_s) - at)
            frame.pts, frame.time_base = at, self._tick_s
            # Let the encoder choose the frame type.
            frame.pict_type = 0
            yield from self._encoded(stream, frame)

    def _counted(self, part: Part) -> Iterator[TimedFrame]:
        for frame, pts in decoded_frames(part):
            if not frame.is_corrupt:
                self.good_frames += 1
            yield frame, pts

    def _encoded(self, stream: VideoStream, frame: VideoFrame | None) -> Packets:
        for packet in encode(stream, frame):
            # The encoder does not know how long the last frame lasts.
            packet.duration = self._lengths.pop(packet.pts or 0, 0)
            yield packet


class EncodingSlots:
    """Limits how many encoders run at once, by memory and cores; one may always run.

    Args:
        memory_bytes: The memory for all encoders together.
        cores: The largest number of encoders.
    """

    def __init__(self, *, memory_bytes: int, cores: int) -> None:
        self._memory_bytes = memory_bytes
        self._cores = cores
        self._taken_bytes: list[int] = []
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, pixels: int) -> Generator[None]:
        """Wait for a slot for an encoder of frames of this size, and hold it for the block."""
        size_bytes = pixels * _BYTES_PER_PIXEL
        with self._changed:
            self._changed.wait_for(lambda: self._has_room(size_bytes))
            self._taken_bytes.append(size_bytes)
        try:
            yield
        finally:
            with self._changed:
                self._taken_bytes.remove(size_bytes)
                self._changed.notify_all()

    def _has_room(self, size_bytes: int) -> bool:
        taken = self._taken_bytes
        is_free = len(taken) < self._cores and sum(taken) + size_bytes <= self._memory_bytes
        return not taken or is_free


ENCODING_SLOTS: Final = EncodingSlots(memory_bytes=_MEMORY_BYTES, cores=os.cpu_count() or 1)
"""Shared by all encoders of this process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameCheck:
    """The number of frames of a clip, and how many of them are damaged or missing."""

    frames: int
    bad_frames: int

    @classmethod
    def of(cls, part: Part, good_frames: int) -> "FrameCheck":
        """Return how many frames of a part are bad, given how many are good."""
        first = part.timeline.shown_at(part.start)
        frames = sum(first <= time < part.end for time in part.timeline.times)
        return cls(frames=frames, bad_frames=max(0, frames - good_frames))


def decoded_frames(part: Part) -> Generator[TimedFrame]:
    """Yield the frames of a part, except those that cannot be decoded."""
    timeline = part.timeline
    first = timeline.shown_at(part.start)
    slots = iter(timeline.times) if timeline.has_slots else None
    with opened_clip(part.source) as clip:
        clip.video.thread_type = "AUTO"
        for frame in _decoded(clip, timeline.key_before(first)):
            pts = frame.pts if frame.pts is not None else frame.dts
            if slots is not None:
                pts = next(slots, None)
            if pts is None or pts < first:
                continue
            # Decoders return frames in display order.
            if pts >= part.end:
                return
            yield frame, pts


def shown_frames(
    part: Part, size: FrameSize, *, only: Container[int] | None = None
) -> Iterator[tuple[VideoFrame, Fraction]]:
    """Yield the frames of a part, upright, in SDR and scaled, each with its seconds from the start.

    Args:
        part: The part to decode.
        size: The target size.
        only: The times of the frames to yield, in ticks of the timeline; None for all frames.
    """
    wanted = (each for each in decoded_frames(part) if only is None or each[1] in only)
    for frame, pts, _ in filtered(part, wanted, size, scaling=FAST_SCALING):
        yield frame, max(pts - part.start, 0) * part.timeline.tick_s


def _decoded(clip: OpenClip, key: CodedFrame | None) -> Iterator[VideoFrame]:
    for packet in _packets_from(clip, key):
        # A frame that cannot be decoded counts as bad; decoders recover at the next keyframe.
        with suppress(InvalidDataError):
            yield from packet.decode()


def _packets_from(clip: OpenClip, key: CodedFrame | None) -> Packets:
    """Yield packets from a keyframe on; None starts at the beginning."""
    if key is not None:
        # An MP4 is indexed by decoding times, Matroska by presentation times.
        clip.seek_before(clip.video, key.dts if "mov" in clip.formats else key.pts)
    is_found = key is None
    for packet in clip.packets(clip.video):
        is_found = is_found or (key is not None and packet.pts == key.pts)
        if is_found:
            yield packet
    if not is_found:
        # The container's index is wrong: read from the beginning.
        clip.seek_before(clip.video, clip.video.start_time or 0)
        yield from clip.packets(clip.video)
