"""What a clip is: a look at its header, its packets and its first picture."""

import struct
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import av
from av.error import FFmpegError, InvalidDataError

from omniedit.errors import InvalidInputError
from omniedit.media.contents import (
    Readable,
    container_of,
    index_of,
    is_boxed,
    is_fragmented,
    refers_to_others,
)
from omniedit.media.facts import ClipFacts
from omniedit.media.opening import (
    MAX_LENGTH_S,
    NO_VIDEO,
    check_is_open,
    check_size,
    checked_head,
    elsewhere,
    opened_media,
    picture_stream,
)
from omniedit.media.passes import READING_BUDGET_S, packets_of
from omniedit.media.timeline import Timeline, TimelineBuilder, too_long
from omniedit.media.wholeness import ONCE_MORE, check_is_whole
from omniedit.system.files import open_file

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.buffer import Buffer
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_UNSPECIFIED_COLOUR: Final = 2
_UNSPECIFIED_RANGE: Final = 0
# Of a stream that begins in the middle, pictures up to the next whole one cannot be decoded.
_MOST_ATTEMPTS: Final = 600


def probe(source: Path | Readable, *, name: str, reads_all: bool = True) -> ClipFacts:
    """Return what a clip is.

    Args:
        source: A local file, or bytes at their beginning (seekable).
        name: What messages call it.
        reads_all: Read every packet, which gives the true length; otherwise believe the header.

    Raises:
        MissingFileError: A local file cannot be read.
        InvalidInputError: It is certainly no clip: with what is wrong with it.
    """
    if isinstance(source, Path):
        with open_file(source) as file:
            return replace(_probe(file, name=name, reads_all=reads_all), is_local=True)
    return _probe(source, name=name, reads_all=reads_all)


def turned(frame: "VideoFrame") -> tuple[int, bool]:
    """Return the degrees clockwise that a player turns a picture, and whether it mirrors it.

    A display matrix is nine numbers (ISO/IEC 14496-12, 8.3.2): x' = ax + cy, y' = bx + dy.
    """
    # PyAV's own type knows motion vectors only.
    matrix: Buffer | None = cast("Any", frame.side_data).get("DISPLAYMATRIX")
    if matrix is None:
        return 0, False
    a, b, _, c, d, *_ = struct.unpack_from("9i", bytes(matrix))
    if abs(a) + abs(d) >= abs(b) + abs(c):
        rotation = 0 if a >= 0 else 180
    else:
        rotation = 90 if b > 0 else 270
    return rotation, a * d - b * c < 0


def _probe(file: Readable, *, name: str, reads_all: bool) -> ClipFacts:
    head = checked_head(file, name=name)
    size_bytes = file.seek(0, 2)
    index = b""
    if reads_all:
        check_is_whole(file, head, name=name, size_bytes=size_bytes)
    if is_boxed(head):
        index = index_of(file, size_bytes)
        check_is_open(index, name=name)
    file.seek(0)
    with opened_media(file, name=name, is_partial=not reads_all) as container:
        stream = picture_stream(container, name=name)
        check_size(stream.codec_context.width, stream.codec_context.height, name=name)
        try:
            timeline, frame = (
                _read(container, stream, file, name=name)
                if reads_all
                else (None, _first_frame(container, stream, name=name))
            )
        except InvalidInputError as error:
            if error.code == NO_VIDEO and refers_to_others(index):
                raise elsewhere(name) from error
            raise
        facts = _facts(container, stream, frame, timeline)
        kind = container_of(container.format.name, head)
    if is_fragmented(index) and not reads_all:
        # FFmpeg tells the length of the fragments it has seen so far.
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
    """Return the times of all pictures, and the first that can be decoded."""
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
        raise InvalidInputError(msg, code="damaged_clip", hint=ONCE_MORE)
    if frame is None:
        msg = f"no picture of {name} can be decoded: it is damaged or encrypted"
        raise InvalidInputError(msg, code="damaged_clip", hint=ONCE_MORE)
    return timeline, frame


def _first_frame(
    container: "InputContainer", stream: "VideoStream", *, name: str
) -> "VideoFrame | None":
    """Return a picture where little enough must be read for it."""
    # The header has told the most: how the picture is turned is a detail.
    with suppress(FFmpegError, OSError):
        passed = packets_of(container, stream, name=name, budget_s=READING_BUDGET_S)
        for attempt, packet in enumerate(passed):
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
    audio = sound_stream(container)
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
        rotation=turned(frame)[0] if frame else None,
        pixel_format=context.pix_fmt,
        color_range=_specified(context.color_range, _UNSPECIFIED_RANGE),
        color_primaries=_specified(context.color_primaries, _UNSPECIFIED_COLOUR),
        color_transfer=_specified(context.color_trc, _UNSPECIFIED_COLOUR),
        color_space=_specified(context.colorspace, _UNSPECIFIED_COLOUR),
        audio_codec=audio.codec_context.codec.canonical_name if audio else None,
        audio_rate=audio.codec_context.sample_rate if audio else None,
        audio_channels=audio.codec_context.channels if audio else None,
    )


def sound_stream(container: "InputContainer") -> "AudioStream | None":
    """Return the first sound that can be decoded."""
    for stream in container.streams.audio:
        context = getattr(stream, "codec_context", None)
        if context is not None and context.sample_rate and context.channels:
            return stream
    return None


def _announced_s(container: "InputContainer", stream: "VideoStream") -> float | None:
    """Return the length that the header tells; a fragmented MP4 says 0."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else None


def _specified(value: int, unspecified: int) -> int | None:
    return None if value == unspecified else int(value)
