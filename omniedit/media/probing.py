"""What a clip is, from its header, its packets and its first frame."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import av
from av.error import FFmpegError, InvalidDataError

from omniedit.errors import InvalidInputError
from omniedit.media.demux import (
    READING_BUDGET_S,
    audio_stream,
    check_is_unencrypted,
    check_size,
    checked_head,
    external_reference,
    opened_clip,
    opened_media,
    packets_of,
    video_stream,
)
from omniedit.media.facts import ClipFacts
from omniedit.media.filters import display_rotation
from omniedit.media.formats import (
    EXPORT_AGAIN,
    Readable,
    check_is_whole,
    container_of,
    has_external_data,
    index_of,
    is_boxed,
    is_fragmented,
)
from omniedit.media.timeline import MAX_LENGTH_S, NO_VIDEO, Timeline, TimelineBuilder, too_long
from omniedit.system.files import open_file

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_UNSPECIFIED_COLOR: Final = 2
_UNSPECIFIED_RANGE: Final = 0
# In a stream that begins in the middle, frames before the next keyframe cannot be decoded.
_MOST_ATTEMPTS: Final = 600


def probe(source: Path | Readable, *, name: str, reads_all: bool = True) -> ClipFacts:
    """Return what a clip is.

    Args:
        source: A local file, or a file object at its beginning.
        name: The clip, for messages.
        reads_all: Read every packet to measure the length, instead of believing the header.

    Raises:
        MissingFileError: A local file cannot be read.
        InvalidInputError: It is certainly not a clip.
    """
    if isinstance(source, Path):
        with open_file(source) as file:
            return replace(_probe(file, name=name, reads_all=reads_all), is_local=True)
    return _probe(source, name=name, reads_all=reads_all)


def read_timeline(path: Path) -> Timeline:
    """Return when each frame of a local clip is shown.

    Raises:
        InvalidInputError: It is not a clip that can be read.
    """
    with opened_clip(path) as container:
        stream = video_stream(container, name=str(path))
        builder = TimelineBuilder(stream, name=str(path))
        for packet in packets_of(container, stream, name=str(path), budget_s=READING_BUDGET_S):
            builder.add(packet)
        return builder.finish()


def _probe(file: Readable, *, name: str, reads_all: bool) -> ClipFacts:
    head = checked_head(file, name=name)
    size_bytes = file.seek(0, 2)
    index = b""
    if reads_all:
        check_is_whole(file, head, name=name, size_bytes=size_bytes)
    if is_boxed(head):
        index = index_of(file, size_bytes)
        check_is_unencrypted(index, name=name)
    file.seek(0)
    with opened_media(file, name=name, is_partial=not reads_all) as container:
        stream = video_stream(container, name=name)
        check_size(stream.codec_context.width, stream.codec_context.height, name=name)
        try:
            timeline, frame = (
                _read(container, stream, file, name=name)
                if reads_all
                else (None, _first_frame(container, stream, name=name))
            )
        except InvalidInputError as error:
            if error.code == NO_VIDEO and has_external_data(index):
                raise external_reference(name) from error
            raise
        facts = _facts(container, stream, frame, timeline)
        kind = container_of(container.format.name, head)
    if is_fragmented(index) and not reads_all:
        # FFmpeg reports the length of the fragments that it has read so far.
        facts = replace(facts, duration_s=None, frames=None)
    if facts.duration_s is not None and facts.duration_s > MAX_LENGTH_S:
        raise too_long(name)
    return replace(
        facts,
        name=name,
        size_bytes=size_bytes,
        container=kind,
        is_fragmented=is_fragmented(index),
    )


def _read(
    container: "InputContainer", stream: "VideoStream", file: Readable, *, name: str
) -> tuple[Timeline, "VideoFrame"]:
    """Return the times of all frames, and the first frame that can be decoded."""
    builder = TimelineBuilder(stream, name=name)
    frame: VideoFrame | None = None
    attempts = 0
    for packet in packets_of(container, stream, name=name, budget_s=READING_BUDGET_S):
        builder.add(packet)
        if frame is None and attempts < _MOST_ATTEMPTS:
            attempts += 1
            with suppress(InvalidDataError):
                frame = next(iter(packet.decode()), None)
    timeline = builder.finish()
    if getattr(file, "failure", None) is not None:
        # A file read over a network ends where reading failed.
        msg = f"the end of {name} could not be read"
        raise InvalidInputError(msg, code="damaged_clip", hint=EXPORT_AGAIN)
    if frame is None:
        msg = f"no frame of {name} can be decoded: it is damaged or encrypted"
        raise InvalidInputError(msg, code="damaged_clip", hint=EXPORT_AGAIN)
    return timeline, frame


def _first_frame(
    container: "InputContainer", stream: "VideoStream", *, name: str
) -> "VideoFrame | None":
    """Return a frame if little enough must be read for it."""
    # The header has told the most important; the frame adds details such as its rotation.
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
    timeline: Timeline | None,
) -> ClipFacts:
    context = stream.codec_context
    audio = audio_stream(container)
    rate = stream.average_rate or stream.guessed_rate
    duration_s = timeline.duration_s if timeline else _announced_s(container, stream)
    return ClipFacts(
        name="",
        is_local=False,
        size_bytes=None,
        container="",
        is_fragmented=False,
        duration_s=duration_s,
        is_measured=timeline is not None,
        frames=len(timeline.times) if timeline else stream.frames or None,
        frame_rate=1 / timeline.frame_s if timeline else float(rate) if rate else None,
        is_variable_rate=timeline.is_variable if timeline else False,
        video_codec=context.codec.canonical_name,
        width=context.width,
        height=context.height,
        rotation=display_rotation(frame)[0] if frame else None,
        pixel_format=context.pix_fmt,
        color_range=_specified(context.color_range, _UNSPECIFIED_RANGE),
        color_primaries=_specified(context.color_primaries, _UNSPECIFIED_COLOR),
        color_transfer=_specified(context.color_trc, _UNSPECIFIED_COLOR),
        color_space=_specified(context.colorspace, _UNSPECIFIED_COLOR),
        audio_codec=audio.codec_context.codec.canonical_name if audio else None,
        audio_rate=audio.codec_context.sample_rate if audio else None,
        audio_channels=audio.codec_context.channels if audio else None,
    )


def _announced_s(container: "InputContainer", stream: "VideoStream") -> float | None:
    """Return the length that the header claims; a fragmented MP4 claims none."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else None


def _specified(value: int, unspecified: int) -> int | None:
    return None if value == unspecified else int(value)
