"""Read the facts about a clip from its header, its packets and its first frame."""

import gc
import itertools
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import av
from av.error import FFmpegError, InvalidDataError

from omniedit.errors import InvalidInputError
from omniedit.media.demux import (
    READING_BUDGET_S,
    audio_stream,
    audio_streams,
    check_frame_size,
    checked_head,
    external_reference,
    opened_media,
    packets_of,
    video_stream,
)
from omniedit.media.facts import AudioTrack, ClipFacts
from omniedit.media.filters import display_rotation
from omniedit.media.formats import (
    EXPORT_AGAIN,
    Readable,
    check_frame_counts,
    check_is_whole,
    container_of,
    has_external_data,
    index_of,
    is_boxed,
    is_encrypted,
    is_fragmented,
    marks_of,
    stated_length_s,
)
from omniedit.media.timeline import (
    MAX_LENGTH_S,
    NO_VIDEO,
    Part,
    Timeline,
    TimelineBuilder,
    too_long,
)
from omniedit.system.files import open_file

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream
    from av.video.format import VideoFormat
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_UNSPECIFIED_COLOR: Final = 2
_UNSPECIFIED_RANGE: Final = 0
# Neither rounding nor other tracks explain a track this many times as long as its file.
_MOST_DISAGREEMENT: Final = 1.5
# An edit list hides frames of normal length; a wrong timescale makes all of them long.
_SUSPICIOUS_FRAME_S: Final = 1.0
_CHROMA_COMPONENTS: Final = 3
_PROBE_SIDE: Final = 64
_CHROMA: Final = {
    (1, 1): "4:4:4",
    (2, 1): "4:2:2",
    (2, 2): "4:2:0",
    (4, 1): "4:1:1",
    (4, 4): "4:1:0",
}
# If a stream begins in the middle, frames before the next keyframe cannot be decoded.
_MOST_ATTEMPTS: Final = 600
# Reading a frame's rotation puts it into a reference cycle, and Python does not know how large it
# is: after a batch of a thousand results, a gigabyte would be waiting for garbage collection.
_COLLECT_EVERY: Final = 16
_PROBES: Final = itertools.count(1)


def probe_file(path: Path, *, name: str) -> ClipFacts:
    """Return the facts about a local clip, after reading every packet.

    Args:
        path: The clip.
        name: The clip, for messages.

    Raises:
        MissingFileError: If it cannot be read.
        InvalidInputError: If it is certainly not a clip.
    """
    _collect_garbage()
    return read_clip(path, name=name).facts


def probe_remote(file: Readable, *, name: str, reads_all: bool) -> ClipFacts:
    """Return the facts about a clip behind a URL.

    Args:
        file: The clip, at its beginning.
        name: The clip, for messages.
        reads_all: Read every packet to measure the length, instead of trusting the header.

    Raises:
        InvalidInputError: If it is certainly not a clip.
    """
    _collect_garbage()
    return _probe(file, name=name, is_local=False, reads_all=reads_all)[0]


def _collect_garbage() -> None:
    if next(_PROBES) % _COLLECT_EVERY == 0:
        gc.collect()


def read_clip(path: Path, *, name: str | None = None) -> Part:
    """Return the whole of a local clip, after reading every packet.

    Args:
        path: The clip.
        name: The clip, for messages; its path by default.

    Raises:
        InvalidInputError: If it is not a readable clip.
    """
    with open_file(path) as file:
        facts, reading = _probe(file, name=name or str(path), is_local=True, reads_all=True)
    timeline = cast("_Reading", reading).timeline
    return Part(source=path, facts=facts, timeline=timeline, span=timeline.whole)


@dataclass(slots=True, kw_only=True)
class _Reading:
    """What reading every packet of a clip reveals."""

    timeline: Timeline
    frame: "VideoFrame"
    end_s: float
    """End of the last stream, on the clip's own clock."""
    audio_end_s: float | None


def _probe(
    file: Readable, *, name: str, is_local: bool, reads_all: bool
) -> tuple[ClipFacts, _Reading | None]:
    head = checked_head(file, name=name)
    size_bytes = file.seek(0, 2)
    index = b""
    marks: tuple[str, ...] = ()
    if reads_all:
        check_is_whole(file, head, name=name, size_bytes=size_bytes)
    if is_boxed(head):
        index = index_of(file, size_bytes)
        check_frame_counts(index, name=name, size_bytes=size_bytes)
        marks = marks_of(file, size_bytes, reads_all=reads_all)
        if is_encrypted(index):
            msg = f"{name} is encrypted"
            hint = "only a copy without DRM can be edited"
            raise InvalidInputError(msg, code="encrypted_clip", hint=hint)
    file.seek(0)
    with opened_media(file, name=name, is_partial=not reads_all) as container:
        stream = video_stream(container, name=name)
        check_frame_size(stream.codec_context.width, stream.codec_context.height, name=name)
        try:
            reading = _read(container, stream, file, name=name) if reads_all else None
        except InvalidInputError as error:
            if error.code == NO_VIDEO and has_external_data(index):
                raise external_reference(name) from error
            raise
        facts = _facts(
            container,
            stream,
            reading.frame if reading else _first_frame(container, stream, name=name),
            name=name,
            is_local=is_local,
            size_bytes=size_bytes,
            kind=container_of(container.format.name, head),
            is_fragmented=is_fragmented(index),
            marks=marks,
        )
        if reading:
            facts = _measured(facts, container, reading, index)
        elif facts.is_fragmented:
            # FFmpeg reports only the length of the fragments that it has read so far.
            facts = replace(facts, duration_s=None, container_s=None, frames=None)
    _check(facts)
    return facts, reading


def _check(facts: ClipFacts) -> None:
    if facts.duration_s is not None and facts.duration_s > MAX_LENGTH_S:
        raise too_long(facts.name)
    if facts.container == "gif" and facts.frames == 1:
        msg = f"{facts.name} is a GIF image, not a video"
        raise InvalidInputError(msg, code="not_a_video", hint="a GIF must be animated")


def _measured(
    facts: ClipFacts, container: "InputContainer", reading: _Reading, index: bytes
) -> ClipFacts:
    """Add what reading every packet has revealed.

    Raises:
        InvalidInputError: If the index contradicts itself.
    """
    timeline = reading.timeline
    announced = None if facts.is_fragmented else stated_length_s(index)
    if announced and timeline.duration_s > _MOST_DISAGREEMENT * announced + 1:
        msg = (
            f"the index of {facts.name} is damaged: it says that the video is"
            f" {timeline.duration_s:.2f} s long, but the whole file only {announced:.2f} s"
        )
        raise InvalidInputError(msg, code="damaged_clip", hint=EXPORT_AGAIN)
    if timeline.frame_s > _SUSPICIOUS_FRAME_S and 2 * len(timeline.times) < (facts.frames or 0):
        msg = (
            f"the index of {facts.name} is damaged: it shows only {len(timeline.times)} of"
            f" {facts.frames} frames, for {timeline.frame_s:.2f} s each"
        )
        raise InvalidInputError(msg, code="damaged_clip", hint=EXPORT_AGAIN)
    # An MP4 begins at 0 even if its first frame does not, a transport stream at its first frame.
    begins_s = 0.0 if index else (container.start_time or 0) / av.time_base
    start_s = float(timeline.whole.start_s)
    return replace(
        facts,
        duration_s=timeline.duration_s,
        container_s=max(reading.end_s - begins_s, announced or 0.0),
        is_measured=True,
        frames=len(timeline.times),
        frame_rate=1 / timeline.frame_s,
        is_variable_rate=timeline.is_variable,
        audio_end_s=None if reading.audio_end_s is None else reading.audio_end_s - start_s,
    )


def _read(
    container: "InputContainer", stream: "VideoStream", file: Readable, *, name: str
) -> _Reading:
    builder = TimelineBuilder(stream, name=name, has_slots=container.format.name == "avi")
    frame: VideoFrame | None = None
    attempts = 0
    streams: list[Stream] = [stream, *audio_streams(container)]
    ends: dict[Stream, int] = {}
    for packet in packets_of(container, *streams, name=name, budget_s=READING_BUDGET_S):
        if packet.stream_index != stream.index:
            if packet.size and packet.pts is not None:
                end = packet.pts + (packet.duration or 0)
                ends[packet.stream] = max(end, ends.get(packet.stream, end))
            continue
        builder.add(cast("Packet[VideoStream]", packet))
        if frame is None and attempts < _MOST_ATTEMPTS:
            attempts += 1
            with suppress(InvalidDataError):
                frame = cast("VideoFrame | None", next(iter(packet.decode()), None))
    timeline = builder.finish()
    if getattr(file, "failure", None) is not None:
        # A file read over a network seems to end where reading failed.
        msg = f"the end of {name} could not be read"
        raise InvalidInputError(msg, code="damaged_clip", hint=EXPORT_AGAIN)
    if frame is None:
        msg = f"no frame of {name} can be decoded: it is damaged or encrypted"
        raise InvalidInputError(msg, code="damaged_clip", hint=EXPORT_AGAIN)
    ends_s = {each.index: float(end * (each.time_base or 0)) for each, end in ends.items()}
    audio = audio_stream(container)
    return _Reading(
        timeline=timeline,
        frame=frame,
        end_s=max([float(timeline.end * timeline.tick_s), *ends_s.values()]),
        audio_end_s=ends_s.get(audio.index) if audio else None,
    )


def _first_frame(
    container: "InputContainer", stream: "VideoStream", *, name: str
) -> "VideoFrame | None":
    """Return the first frame, or None if that fails or takes too much reading."""
    # Ignore errors: the header has the essentials, and a frame only adds details like rotation.
    with suppress(FFmpegError, OSError):
        packets = packets_of(container, stream, name=name, budget_s=READING_BUDGET_S)
        for attempt, packet in enumerate(packets):
            for frame in packet.decode():
                return frame
            if attempt > _MOST_ATTEMPTS:
                break
    return None


def _facts(
    container: "InputContainer",
    stream: "VideoStream",
    frame: "VideoFrame | None",
    *,
    name: str,
    is_local: bool,
    size_bytes: int,
    kind: str,
    is_fragmented: bool,
    marks: tuple[str, ...],
) -> ClipFacts:
    """Return the facts from the header, and from the first frame if there is one."""
    context = stream.codec_context
    audio = audio_stream(container)
    rate = stream.average_rate or stream.guessed_rate
    pixels = context.format
    return ClipFacts(
        name=name,
        is_local=is_local,
        size_bytes=size_bytes,
        container=kind,
        is_fragmented=is_fragmented,
        marks=marks,
        duration_s=_announced_s(container, stream),
        container_s=container.duration / av.time_base if container.duration else None,
        is_measured=False,
        frames=stream.frames or None,
        frame_rate=float(rate) if rate else None,
        is_variable_rate=False,
        video_codec=context.codec.canonical_name,
        width=context.width,
        height=context.height,
        rotation=display_rotation(frame)[0] if frame else None,
        pixel_format=context.pix_fmt,
        bit_depth=pixels.components[0].bits if pixels else None,
        chroma=_chroma(pixels) if pixels else None,
        pixel_aspect=stream.sample_aspect_ratio or Fraction(1),
        is_interlaced=bool(frame and frame.interlaced_frame),
        color_range=_specified(context.color_range, _UNSPECIFIED_RANGE),
        color_primaries=_specified(context.color_primaries, _UNSPECIFIED_COLOR),
        color_transfer=_specified(context.color_trc, _UNSPECIFIED_COLOR),
        color_space=_specified(context.colorspace, _UNSPECIFIED_COLOR),
        audio_codec=audio.codec_context.codec.canonical_name if audio else None,
        audio_rate=audio.codec_context.sample_rate if audio else None,
        audio_channels=audio.codec_context.channels if audio else None,
        audio_tracks=tuple(
            AudioTrack(
                codec=each.codec_context.codec.canonical_name,
                rate=each.codec_context.sample_rate,
                channels=each.codec_context.channels,
                language=None if each.language == "und" else each.language,
                is_used=each is audio,
            )
            for each in audio_streams(container)
        ),
    )


def _chroma(pixels: "VideoFormat") -> str | None:
    """Return the chroma subsampling; None for formats without chroma planes."""
    if pixels.is_rgb or len(pixels.components) < _CHROMA_COMPONENTS:
        return None
    across = _PROBE_SIDE // pixels.chroma_width(_PROBE_SIDE)
    down = _PROBE_SIDE // pixels.chroma_height(_PROBE_SIDE)
    return _CHROMA.get((across, down))


def _announced_s(container: "InputContainer", stream: "VideoStream") -> float | None:
    """Return the length that the header states; a fragmented MP4 states none."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else None


def _specified(value: int, unspecified: int) -> int | None:
    return None if value == unspecified else int(value)
