"""Files opened as media, and as nothing else.

FFmpeg follows what a file tells it to: a `clip.mp4` that is an ffconcat script or a playlist makes
it read other files, which would then be uploaded. So the container must be one of few, and
neither a name nor a way to open a second file is handed on.
"""

import errno
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Final, NoReturn

import av
import av.error

from omniedit.errors import InvalidInputError, LocalError
from omniedit.media.contents import HEAD_BYTES, Readable, is_encrypted, unsuitable
from omniedit.media.wholeness import ONCE_MORE
from omniedit.system.files import open_file

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

MAX_SIDE: Final = 8192
MAX_LENGTH_S: Final = 600.0
NO_VIDEO: Final = "no_video"
FORMATS: Final = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts"

_WHAT_IS: Final = "a clip is an MP4, MOV, WebM, Matroska, AVI or MPEG-TS file with moving pictures"
_EXPORT: Final = "export it with another program as an MP4 with H.264"
_OPTIONS: Final = {
    "format_whitelist": FORMATS,
    "protocol_whitelist": "none",
    # Sample tables of a MOV may lie in other files.
    "use_absolute_path": "0",
    "enable_drefs": "0",
}
_HEADER_OPTIONS: Final = {"probesize": "262144", "fpsprobesize": "0"}
_ATTACHED_PICTURES: Final = frozenset({"attached_pic", "timed_thumbnails", "still_image"})


@contextmanager
def opened_clip(path: Path) -> Generator["InputContainer"]:
    """Open a local clip for reading.

    Raises:
        InvalidInputError: It is no media file.
        MissingFileError: It cannot be read.
    """
    with open_file(path) as file, opened_media(file, name=str(path)) as container:
        yield container


@contextmanager
def opened_media(
    file: Readable, *, name: str, is_partial: bool = False
) -> Generator["InputContainer"]:
    """Open bytes as media.

    Args:
        file: At its beginning; seekable.
        name: For messages.
        is_partial: Read little beyond the header.

    Raises:
        InvalidInputError: It is empty, cut off, or no media file.
    """
    options = _OPTIONS | (_HEADER_OPTIONS if is_partial else {})
    refused: list[str] = []

    def refuse(url: str, *_: object) -> NoReturn:
        refused.append(url)
        raise PermissionError(errno.EACCES, "another file")

    # Without its name, which FFmpeg would take as a hint, or as a place to look for others.
    # Methods written in C run no Python inside of FFmpeg, where an interruption would be lost.
    reader = SimpleNamespace(read=file.read, seek=file.seek, tell=file.tell)
    with understood(name, refused, is_opening=True):
        container = av.open(
            reader,
            "r",
            container_options=options,
            # Of the codecs, already while the file is opened.
            options={"max_pixels": str(MAX_SIDE * MAX_SIDE)},
            metadata_errors="replace",
            io_open=refuse,
        )
    with container, understood(name, refused):
        yield container


def checked_head(file: Readable, *, name: str) -> bytes:
    """Return the first bytes of a file that may be a video.

    Raises:
        InvalidInputError: It is empty, or certainly something else.
    """
    head = file.read(HEAD_BYTES)
    file.seek(0)
    if not head:
        msg = f"{name} is empty"
        raise InvalidInputError(msg, code="invalid_clip", hint=ONCE_MORE)
    found = unsuitable(head)
    if found is not None:
        msg = f"{name} is {found}, not a video"
        raise InvalidInputError(msg, code="not_a_video", hint=_WHAT_IS)
    return head


def check_is_open(index: bytes, *, name: str) -> None:
    """Refuse an MP4 or MOV that is protected.

    Raises:
        InvalidInputError: It is.
    """
    if is_encrypted(index):
        msg = f"{name} is encrypted"
        raise InvalidInputError(
            msg, code="encrypted_clip", hint="only a copy without DRM can be edited"
        )


def picture_stream(container: "InputContainer", *, name: str) -> "VideoStream":
    """Return the stream of moving pictures.

    Raises:
        InvalidInputError: There is none, or none that may be decoded.
    """
    streams = [stream for stream in container.streams.video if not _is_still(stream)]
    if not streams:
        msg = f"{name} has no moving pictures"
        raise InvalidInputError(msg, code=NO_VIDEO, hint=_WHAT_IS)
    stream = next((each for each in streams if "default" in _disposition(each)), streams[0])
    if getattr(stream, "codec_context", None) is None:
        msg = f"the pictures of {name} are of a kind that cannot be decoded here"
        raise InvalidInputError(msg, code="unknown_codec", hint=_EXPORT)
    # A stream may announce a small picture and hold a huge one.
    stream.codec_context.options = {"max_pixels": str(MAX_SIDE * MAX_SIDE)}
    return stream


def check_size(width: int, height: int, *, name: str) -> None:
    """Refuse pictures without a size, and those that are too large to decode.

    Raises:
        InvalidInputError: Either is the case.
    """
    if width < 1 or height < 1:
        msg = f"the pictures of {name} have no size ({width}x{height})"
    elif max(width, height) > MAX_SIDE:
        msg = f"the pictures of {name} are too large: {width}x{height}, {MAX_SIDE} a side at most"
    else:
        return
    raise InvalidInputError(msg, code="invalid_size", hint=_EXPORT)


def elsewhere(name: str) -> InvalidInputError:
    """Return the error of a clip whose pictures lie in other files."""
    msg = f"{name} refers to other files, which are not opened"
    return InvalidInputError(msg, code="external_reference", hint=_EXPORT)


@contextmanager
def understood(
    name: str,
    refused: list[str] | None = None,
    *,
    is_opening: bool = False,
    is_written: bool = False,
) -> Generator[None]:
    """Turn what FFmpeg raises into an error of `errors.py`.

    Args:
        name: Of the file, for the message.
        refused: Other files that it asked for.
        is_opening: Whether it is not yet known to be a clip at all.
        is_written: Whether it is written rather than read.

    Raises:
        InvalidInputError: The clip is at fault.
        LocalError: The disk is.
    """
    try:
        yield
    except (av.error.FFmpegError, OSError) as error:
        if refused and isinstance(error, PermissionError):
            raise elsewhere(name) from None
        if is_written:
            raise _writing_error(error, name) from error
        raise _error_from(error, name, is_opening=is_opening) from error
    except ValueError as error:  # an encoder that this build of PyAV lacks
        msg = f"PyAV cannot handle {name}: {error}"
        raise LocalError(msg, code="media") from error


def is_nonsense(error: Exception) -> bool:
    """Return whether FFmpeg finds fault with what it was given, rather than with the disk."""
    if isinstance(error, av.error.InvalidDataError):
        return True
    return isinstance(error, av.error.FFmpegError) and error.errno == errno.EINVAL


def _writing_error(error: Exception, name: str) -> InvalidInputError | LocalError:
    if is_nonsense(error):
        msg = "the clip cannot be written as an MP4: it is damaged"
        return InvalidInputError(msg, code="damaged_clip", hint=ONCE_MORE)
    return LocalError(f"cannot write {name}: {getattr(error, 'strerror', None) or error}")


def _error_from(error: Exception, name: str, *, is_opening: bool) -> InvalidInputError | LocalError:
    reason = getattr(error, "strerror", None) or str(error)
    if not isinstance(error, av.error.FFmpegError):
        # FFmpeg reads through Python, whose own errors come back as they are.
        return LocalError(f"cannot read or write {name}: {reason}")
    if isinstance(error, av.error.EncoderNotFoundError):
        return LocalError("this build of PyAV cannot encode H.264 and AAC", code="media")
    if is_opening and (
        error.errno == errno.EINVAL or isinstance(error, av.error.DemuxerNotFoundError)
    ):
        # What FFmpeg answers for a container outside of the list.
        reason = "it is of no kind that is known here"
        msg = f"{name} cannot be read as a video: {reason}"
        return InvalidInputError(msg, code="not_a_video", hint=_WHAT_IS)
    msg = f"{name} cannot be read as a video: {reason[:1].lower()}{reason[1:]}"
    return InvalidInputError(msg, code="damaged_clip", hint=ONCE_MORE)


def _is_still(stream: "VideoStream") -> bool:
    return bool(_disposition(stream) & _ATTACHED_PICTURES)


def _disposition(stream: "VideoStream") -> frozenset[str]:
    disposition = stream.disposition
    return frozenset(
        name
        for name in (*_ATTACHED_PICTURES, "default")
        if (flag := getattr(type(disposition), name, None)) is not None and disposition & flag
    )
