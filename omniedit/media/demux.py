"""Open clips for reading, and read their packets.

FFmpeg follows the instructions in a file: a `clip.mp4` that is an ffconcat script or a playlist
makes it read other files, which would then be uploaded. So only known containers are accepted, and
FFmpeg is given neither a file name nor a way to open a second file.
"""

import errno
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar, cast

import av
import av.error
from av.stream import Disposition

from omniedit.errors import InvalidInputError, LocalError
from omniedit.media.formats import (
    EXPORT_AGAIN,
    HEAD_BYTES,
    Readable,
    describe_non_video,
)
from omniedit.media.timeline import NO_VIDEO
from omniedit.system.files import open_file

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream
    from av.video.stream import VideoStream

StreamT = TypeVar("StreamT", bound="Stream")

READING_BUDGET_S: Final = 60.0
"""Time limit for reading a clip once: ten minutes of 4K take a few seconds."""
ENCODING_BUDGET_S: Final = 900.0
"""Time limit for decoding and encoding a clip once: ten seconds of 8K take some minutes."""

_MAX_SIDE: Final = 8192
_FORMATS: Final = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,flv,mpeg,ogg,asf,gif"
_ASF: Final = bytes.fromhex("3026b2758e66cf11")
_CLIP_HINT: Final = (
    "a clip is a file with video: MP4, MOV, WebM, Matroska, AVI, MPEG, FLV, OGV, WMV, GIF"
)
_EXPORT: Final = "export it with another program as an MP4 with H.264"
_OPTIONS: Final = {
    "format_whitelist": _FORMATS,
    "protocol_whitelist": "none",
    # A MOV may keep its samples in other files.
    "use_absolute_path": "0",
    "enable_drefs": "0",
}
_HEADER_OPTIONS: Final = {"probesize": "262144", "fpsprobesize": "0"}
# A transport stream has no index to seek by, and an AVI's is often wrong.
_SEEKABLE: Final = frozenset({"mov", "matroska"})
_ATTACHED_PICTURES: Final = (
    Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
)


@contextmanager
def opened_clip(path: Path) -> Generator["InputContainer"]:
    """Open a local clip for reading.

    Raises:
        InvalidInputError: If it is not a media file.
        MissingFileError: If it cannot be read.
    """
    with open_file(path) as file, opened_media(file, name=str(path)) as container:
        yield container


@contextmanager
def opened_media(
    file: Readable, *, name: str, is_partial: bool = False
) -> Generator["InputContainer"]:
    """Open a binary file as media.

    Args:
        file: The file, at its beginning.
        name: The clip, for messages.
        is_partial: Read little beyond the header.

    Raises:
        InvalidInputError: If it is empty, cut off, or not a media file.
    """
    options = _OPTIONS | (_HEADER_OPTIONS if is_partial else {})
    refused: list[str] = []

    def refuse(url: str, *_: object) -> NoReturn:
        refused.append(url)
        raise PermissionError(errno.EACCES, "another file")

    # No `name`: FFmpeg would guess the format from it, and look for other files in its folder. The
    # methods are C functions: an interrupt raised in Python code called by FFmpeg would be lost.
    reader = SimpleNamespace(read=file.read, seek=_seek_of(file), tell=file.tell)
    with translated_errors(name, refused, is_opening=True):
        container = av.open(
            reader,
            "r",
            container_options=options,
            # For the decoders, which already run while the file is opened.
            options={"max_pixels": str(_MAX_SIDE * _MAX_SIDE)},
            metadata_errors="replace",
            io_open=refuse,
        )
    with container, translated_errors(name, refused):
        yield container


def checked_head(file: Readable, *, name: str) -> bytes:
    """Return the first bytes of a file that may be a video.

    Raises:
        InvalidInputError: If it is empty, or certainly not a video.
    """
    head = file.read(HEAD_BYTES)
    file.seek(0)
    if not head:
        msg = f"{name} is empty"
        raise InvalidInputError(msg, code="invalid_clip", hint=EXPORT_AGAIN)
    found = describe_non_video(head)
    if found is not None:
        msg = f"{name} is {found}, not a video"
        raise InvalidInputError(msg, code="not_a_video", hint=_CLIP_HINT)
    return head


def packets_of(
    clip: "InputContainer",
    *streams: StreamT,
    name: str,
    budget_s: float,
    clock: Callable[[], float] = time.monotonic,
) -> "Iterator[Packet[StreamT]]":
    """Yield the packets of streams in file order, for a limited time.

    A few kilobytes can hold frames that keep a machine busy for days. All processing of packets
    happens during the iteration, so this is the one place that has to limit the time.

    Args:
        clip: An open clip.
        streams: Some of its streams.
        name: The clip, for messages.
        budget_s: How long the iteration may take, including the caller's work on the packets.
        clock: Monotonic seconds.

    Raises:
        InvalidInputError: If it takes longer.
    """
    deadline = clock() + budget_s
    for packet in _demuxed(clip, streams):
        if clock() > deadline:
            msg = f"reading {name} takes longer than {budget_s:.0f} s"
            hint = "export it with another program as a smaller or shorter MP4"
            raise InvalidInputError(msg, code="clip_too_slow", hint=hint)
        yield packet


def video_stream(container: "InputContainer", *, name: str) -> "VideoStream":
    """Return the video stream of a clip, ignoring cover pictures.

    Raises:
        InvalidInputError: If there is none, or none that can be decoded.
    """
    streams = [
        stream for stream in container.streams.video if not stream.disposition & _ATTACHED_PICTURES
    ]
    if not streams:
        msg = f"{name} has no video stream"
        raise InvalidInputError(msg, code=NO_VIDEO, hint=_CLIP_HINT)
    stream = _default_of(streams)
    if getattr(stream, "codec_context", None) is None:
        msg = f"the video of {name} has a codec that cannot be decoded"
        raise InvalidInputError(msg, code="unknown_codec", hint=_EXPORT)
    # A stream may declare small frames and contain huge ones.
    stream.codec_context.options = {"max_pixels": str(_MAX_SIDE * _MAX_SIDE)}
    return stream


def audio_stream(container: "InputContainer") -> "AudioStream | None":
    """Return the audio stream that a player would choose; None if none can be decoded."""
    streams = audio_streams(container)
    return _default_of(streams) if streams else None


def audio_streams(container: "InputContainer") -> "list[AudioStream]":
    """Return the audio streams that can be decoded."""
    return [
        stream
        for stream in container.streams.audio
        if (context := getattr(stream, "codec_context", None)) is not None
        and context.sample_rate
        and context.channels
    ]


def seek_before(clip: "InputContainer", stream: "Stream", before: int | None) -> None:
    """Seek to a packet at or before a time, in ticks, if the container has a reliable index."""
    if before is not None and _SEEKABLE & set(clip.format.name.split(",")):
        # A file that was written live may lack its index: then reading stays at the beginning.
        with suppress(av.error.FFmpegError):
            clip.seek(before, stream=stream)


def check_frame_size(width: int, height: int, *, name: str) -> None:
    """Refuse video without a size, and video that is too large to decode.

    Raises:
        InvalidInputError: If it has no size or is too large.
    """
    if width < 1 or height < 1:
        msg = f"the video of {name} has no size ({width}x{height})"
    elif max(width, height) > _MAX_SIDE:
        msg = f"the video of {name} is too large: {width}x{height}, at most {_MAX_SIDE} per side"
    else:
        return
    raise InvalidInputError(msg, code="invalid_size", hint=_EXPORT)


def external_reference(name: str) -> InvalidInputError:
    """Return the error for a clip that refers to other files."""
    msg = f"{name} refers to other files, which are not opened"
    return InvalidInputError(msg, code="external_reference", hint=_EXPORT)


@contextmanager
def translated_errors(
    name: str,
    refused: list[str] | None = None,
    *,
    is_opening: bool = False,
    is_written: bool = False,
) -> Generator[None]:
    """Translate FFmpeg's exceptions into this package's errors.

    Args:
        name: The file, for messages.
        refused: Other files that FFmpeg tried to open.
        is_opening: Whether the file may still turn out not to be media.
        is_written: Whether the file is written rather than read.

    Raises:
        InvalidInputError: If the clip is at fault.
        LocalError: If the disk is at fault.
    """
    try:
        yield
    except (av.error.FFmpegError, OSError) as error:
        if refused and isinstance(error, PermissionError):
            raise external_reference(name) from None
        if is_written:
            raise _writing_error(error, name) from error
        raise _error_from(error, name, is_opening=is_opening) from error
    except ValueError as error:  # this build of PyAV lacks an encoder
        msg = f"PyAV cannot handle {name}: {error}"
        raise LocalError(msg, code="media") from error


def is_invalid_data(error: Exception) -> bool:
    """Return whether an error is due to invalid data rather than to the disk."""
    if isinstance(error, av.error.InvalidDataError):
        return True
    return isinstance(error, av.error.FFmpegError) and error.errno == errno.EINVAL


def _writing_error(error: Exception, name: str) -> InvalidInputError | LocalError:
    if is_invalid_data(error):
        msg = "the clip cannot be written as an MP4: it is damaged"
        return InvalidInputError(msg, code="damaged_clip", hint=EXPORT_AGAIN)
    return LocalError(f"cannot write {name}: {getattr(error, 'strerror', None) or error}")


def _error_from(error: Exception, name: str, *, is_opening: bool) -> InvalidInputError | LocalError:
    reason = getattr(error, "strerror", None) or str(error)
    if not isinstance(error, av.error.FFmpegError):
        # FFmpeg reads through Python file objects, whose own errors come back unchanged.
        return LocalError(f"cannot read or write {name}: {reason}")
    if isinstance(error, av.error.EncoderNotFoundError):
        return LocalError("this build of PyAV cannot encode H.264 and AAC", code="media")
    if is_opening and (
        error.errno == errno.EINVAL or isinstance(error, av.error.DemuxerNotFoundError)
    ):
        # FFmpeg raises this for a container that is not on the whitelist.
        msg = f"{name} cannot be read as a video: unknown format"
        return InvalidInputError(msg, code="not_a_video", hint=_CLIP_HINT)
    msg = f"{name} cannot be read as a video: {reason[:1].lower()}{reason[1:]}"
    return InvalidInputError(msg, code="damaged_clip", hint=EXPORT_AGAIN)


def _seek_of(file: Readable) -> Callable[..., int]:
    """Return the function with which FFmpeg seeks in a file."""
    is_asf = file.read(len(_ASF)) == _ASF
    file.seek(0)
    if not is_asf:
        return file.seek
    size_bytes = file.seek(0, 2)
    file.seek(0)

    def seek(offset: int, whence: int = 0) -> int:
        # A damaged ASF points far beyond its end, and PyAV would print the system's error.
        if whence == 0 and not 0 <= offset <= size_bytes:
            return -1
        return file.seek(offset, whence)

    return seek


def _demuxed(clip: "InputContainer", streams: tuple[StreamT, ...]) -> "Generator[Packet[StreamT]]":
    packets = cast("Any", clip).demux(*streams)
    while True:
        try:
            yield next(packets)
        except StopIteration:
            return
        except IndexError:
            # PyAV fails when a stream first appears in the middle of the file, but can continue.
            packets = cast("Any", clip).demux(*streams)


def _default_of(streams: list[StreamT]) -> StreamT:
    """Return the stream that a player would choose."""
    return next((each for each in streams if each.disposition & Disposition.default), streams[0])
