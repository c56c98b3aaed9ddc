"""Open clips for reading, and write MP4 files.

FFmpeg follows the instructions in a file: a `clip.mp4` that is an ffconcat script or a playlist
makes it read other files, which would then be uploaded. So only known containers are accepted, and
FFmpeg is given neither a file name nor a way to open a second file.
"""

import errno
import heapq
import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, NoReturn, TypeAlias, TypeVar, cast

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.error import DemuxerNotFoundError, FFmpegError, InvalidDataError
from av.frame import Frame
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from omniedit.errors import InvalidInputError, LocalError
from omniedit.media.formats import CLIP_HINT, EXPORT_AGAIN, Readable, reader_of
from omniedit.system.files import open_file
from omniedit.system.mp4 import is_whole_mp4

StreamT = TypeVar("StreamT", bound=Stream)

Packets: TypeAlias = Generator["av.Packet[Any]"]
PacketSource: TypeAlias = Callable[[OutputContainer], Packets]
"""Yields a stream's packets, after adding the stream to the file; adds none if there are no packets."""

NO_VIDEO: Final = "no_video"
"""Error code for a file without video frames."""
READING_BUDGET_S: Final = 60.0
"""Time limit for reading a clip once: ten minutes of 4K take a few seconds."""
ENCODING_BUDGET_S: Final = 900.0
"""Time limit for decoding and encoding a clip once: ten seconds of 8K take some minutes."""
HEVC_TAG: Final = "hvc1"
"""The only tag under which Apple's players accept H.265."""

_MAX_SIDE: Final = 8192
_EXPORT: Final = "export it with another program as an MP4 with H.264"
_MAX_PIXELS: Final = {"max_pixels": str(_MAX_SIDE * _MAX_SIDE)}
_ASF: Final = bytes.fromhex("3026b2758e66cf11")
_OPTIONS: Final = {
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,flv,mpeg,ogg,asf,gif",
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
# Put the index first, so that a reader over a network can begin at once.
_FASTSTART: Final = {"movflags": "+faststart"}
# The share of a clip that must be written before its remaining time can be estimated.
_ESTIMABLE_SHARE: Final = 0.05


@dataclass(frozen=True, slots=True)
class OpenClip:
    """A clip opened for reading."""

    container: InputContainer
    name: str
    """The clip, for messages."""
    video: VideoStream

    @property
    def formats(self) -> frozenset[str]:
        """FFmpeg's names for the container."""
        return frozenset(self.container.format.name.split(","))

    @property
    def audio(self) -> AudioStream | None:
        """The audio stream that a player would choose; None if none can be decoded."""
        return _default_of(self.audio_tracks) if self.audio_tracks else None

    @property
    def audio_tracks(self) -> list[AudioStream]:
        """The audio streams that can be decoded."""
        return [stream for stream in self.container.streams.audio if _is_decodable(stream)]

    def packets(
        self,
        *streams: StreamT,
        budget_s: float = ENCODING_BUDGET_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> "Iterator[av.Packet[StreamT]]":
        """Yield the packets of streams in file order, for a limited time.

        A few kilobytes can hold frames that keep a machine busy for days. All processing of packets
        happens during the iteration, so this is the one place that has to limit the time.

        Raises:
            InvalidInputError: If it takes longer, including the caller's work on the packets.
        """
        deadline = clock() + budget_s
        demuxed = cast("Any", self.container).demux(*streams)
        while True:
            try:
                packet = next(demuxed)
            except StopIteration:
                return
            except IndexError:
                # PyAV fails when a stream first appears in the middle of the file; go on from there.
                demuxed = cast("Any", self.container).demux(*streams)
                continue
            if clock() > deadline:
                msg = f"reading {self.name} takes longer than {budget_s:.0f} s"
                hint = "export it with another program as a smaller or shorter MP4"
                raise InvalidInputError(msg, code="clip_too_slow", hint=hint)
            yield packet

    def seek_before(self, stream: Stream, ticks: int | None) -> None:
        """Seek to a packet at or before a time, if the container has a reliable index."""
        if ticks is not None and _SEEKABLE & self.formats:
            # A file that was written live may lack its index: then reading stays at the beginning.
            with suppress(FFmpegError):
                self.container.seek(ticks, stream=stream)


@contextmanager
def opened_clip(path: Path) -> Generator[OpenClip]:
    """Open a local clip for reading.

    Raises:
        InvalidInputError: If it is not a clip.
        MissingFileError: If it cannot be read.
    """
    with open_file(path) as file, opened_media(file, name=str(path)) as clip:
        yield clip


@contextmanager
def opened_media(file: Readable, *, name: str, is_partial: bool = False) -> Generator[OpenClip]:
    """Open a binary file, which is at its beginning, as a clip.

    Args:
        is_partial: Read little beyond the header.

    Raises:
        InvalidInputError: If it is not a media file, or has no video that can be decoded.
    """
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
            container_options=_OPTIONS | (_HEADER_OPTIONS if is_partial else {}),
            # For the decoders, which already run while the file is opened.
            options=_MAX_PIXELS,
            metadata_errors="replace",
            io_open=refuse,
        )
    with container, translated_errors(name, refused):
        yield OpenClip(container, name, _video_stream(container, name=name))


def external_reference(name: str) -> InvalidInputError:
    """Return the error for a clip that refers to other files."""
    msg = f"{name} refers to other files, which are not opened"
    return InvalidInputError(msg, code="external_reference", hint=_EXPORT)


@contextmanager
def translated_errors(
    name: str, refused: Sequence[str] = (), *, is_opening: bool = False, is_written: bool = False
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
    except (FFmpegError, OSError) as error:
        if refused and isinstance(error, PermissionError):
            raise external_reference(name) from None
        raise _translated(error, name, is_opening=is_opening, is_written=is_written) from error
    except ValueError as error:  # this build of PyAV lacks an encoder
        msg = f"PyAV cannot handle {name}: {error}"
        raise LocalError(msg, code="media") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How much of a clip has been written."""

    done_s: float
    """Seconds of the result written so far."""
    total_s: float
    frames: int
    """Frames written so far."""
    elapsed_s: float

    @property
    def fps(self) -> float | None:
        """Frames written per second; None before the first one."""
        return self.frames / self.elapsed_s if self.frames and self.elapsed_s > 0 else None

    @property
    def remaining_s(self) -> float | None:
        """Estimated time left; None while it is too early to tell."""
        # The first frames take many times as long as later ones.
        if self.done_s <= _ESTIMABLE_SHARE * self.total_s or self.elapsed_s <= 0:
            return None
        return self.elapsed_s * (self.total_s - self.done_s) / self.done_s


OnProgress: TypeAlias = Callable[[Progress], None]


def ignore_progress(progress: Progress) -> None:
    """Do nothing: the default for `on_progress`."""


def progress_to(on_progress: OnProgress, *, total_s: Fraction) -> Callable[[Fraction, int], None]:
    """Return a function that reports the seconds and frames done since now."""
    started = time.monotonic()
    return lambda done_s, frames: on_progress(
        Progress(
            done_s=float(done_s),
            total_s=float(total_s),
            frames=frames,
            elapsed_s=time.monotonic() - started,
        )
    )


def write_mp4(
    target: Path, sources: Sequence[PacketSource], *, total_s: Fraction, on_progress: OnProgress
) -> None:
    """Write the packets of several streams, in order of time, to an MP4.

    Args:
        target: Appears once it is complete.
        sources: The streams, each with its packets in decoding order; the first is the video.
        total_s: The length of the result.
        on_progress: Called after each frame.

    Raises:
        InvalidInputError: If a clip that is read cannot be decoded, or written as an MP4.
        LocalError: If the file cannot be written.
    """
    with (
        _written(target) as container,
        # Close the clips at once on a failure too: Windows removes no file that is open.
        ExitStack() as stack,
    ):
        report = progress_to(on_progress, total_s=total_s)
        streams = [stack.enter_context(closing(source(container))) for source in sources]
        frames = 0
        done_s = Fraction(0)
        # The first packet of each stream is taken, which adds the stream, before any is written.
        for packet in heapq.merge(*streams, key=_at_s):
            is_video = packet.stream_index == 0
            end_s = Fraction(((packet.pts or 0) + (packet.duration or 0)) * packet.time_base)
            done_s = min(max(done_s, end_s), total_s)
            cast("Any", container).mux(packet)
            if is_video:
                frames += 1
                report(done_s, frames)


def encode(stream: Stream, frame: Frame | None) -> Packets:
    """Encode a frame and yield the packets that are ready; None flushes the encoder."""
    yield from cast("Any", stream).encode(frame)


def copied_stream(container: OutputContainer, template: StreamT) -> StreamT:
    """Add a stream for packets that are copied from another file."""
    stream: StreamT = cast("Any", container).add_stream_from_template(template, opaque=True)
    aspect = getattr(template, "sample_aspect_ratio", None)
    if aspect:
        # The container's aspect ratio takes precedence, but a template only carries the codec's.
        cast("Any", stream).codec_context.sample_aspect_ratio = aspect
    if template.codec_context.codec.canonical_name == "hevc":
        stream.codec_context.codec_tag = HEVC_TAG
    return stream


def _translated(
    error: FFmpegError | OSError, name: str, *, is_opening: bool, is_written: bool
) -> InvalidInputError | LocalError:
    reason = error.strerror or str(error)
    is_ffmpeg = isinstance(error, FFmpegError)
    # FFmpeg reads through Python file objects, whose own errors come back unchanged: among them
    # EINVAL, when a damaged clip makes it seek to an impossible offset. On writing, invalid packet
    # times are the clip's fault, and all else is the disk's.
    is_damaged = isinstance(error, InvalidDataError) or error.errno == errno.EINVAL
    if not is_damaged and (is_written or not is_ffmpeg):
        return LocalError(f"cannot {'write' if is_written else 'read'} {name}: {reason}")
    # FFmpeg raises either for a container that is not on the whitelist.
    is_unknown = isinstance(error, DemuxerNotFoundError) or error.errno == errno.EINVAL
    if is_opening and is_ffmpeg and is_unknown:
        msg = f"{name} cannot be read as a video: unknown format"
        return InvalidInputError(msg, code="not_a_video", hint=CLIP_HINT)
    msg = f"{name} cannot be read as a video: {reason[:1].lower()}{reason[1:]}"
    if is_written:
        msg = "the clip cannot be written as an MP4: it is damaged"
    return InvalidInputError(msg, code="damaged_clip", hint=EXPORT_AGAIN)


def _seek_of(file: Readable) -> Callable[..., int]:
    """Return the function with which FFmpeg seeks in a file."""
    is_asf = file.read(len(_ASF)) == _ASF
    file.seek(0)
    if not is_asf:
        return file.seek
    size_bytes = file.seek(0, os.SEEK_END)
    file.seek(0)

    def seek(offset: int, whence: int = 0) -> int:
        # A damaged ASF points far beyond its end, and PyAV would print the system's error.
        if whence == os.SEEK_SET and not 0 <= offset <= size_bytes:
            return -1
        return file.seek(offset, whence)

    return seek


def _video_stream(container: InputContainer, *, name: str) -> VideoStream:
    """Return the video stream of a clip, ignoring cover pictures."""
    streams = [
        stream for stream in container.streams.video if not stream.disposition & _ATTACHED_PICTURES
    ]
    if not streams:
        msg = f"{name} has no video stream"
        raise InvalidInputError(msg, code=NO_VIDEO, hint=CLIP_HINT)
    stream = _default_of(streams)
    if getattr(stream, "codec_context", None) is None:
        msg = f"the video of {name} has a codec that cannot be decoded"
        raise InvalidInputError(msg, code="unknown_codec", hint=_EXPORT)
    _check_size(stream.codec_context.width, stream.codec_context.height, name=name)
    # A stream may declare small frames and contain huge ones.
    stream.codec_context.options = dict(_MAX_PIXELS)
    return stream


def _check_size(width: int, height: int, *, name: str) -> None:
    if width < 1 or height < 1:
        msg = f"the video of {name} has no size ({width}x{height})"
    elif max(width, height) > _MAX_SIDE:
        msg = f"the video of {name} is too large: {width}x{height}, at most {_MAX_SIDE} per side"
    else:
        return
    raise InvalidInputError(msg, code="invalid_size", hint=_EXPORT)


def _is_decodable(stream: AudioStream) -> bool:
    context = getattr(stream, "codec_context", None)
    return context is not None and context.sample_rate > 0 and context.channels > 0


def _default_of(streams: list[StreamT]) -> StreamT:
    """Return the stream that a player would choose."""
    return next((each for each in streams if each.disposition & Disposition.default), streams[0])


def _at_s(packet: "av.Packet[Any]") -> Fraction:
    ticks = packet.dts if packet.dts is not None else packet.pts or 0
    return Fraction(ticks * packet.time_base)


@contextmanager
def _written(target: Path) -> Generator[OutputContainer]:
    """Open an MP4 for writing, and rename it to the target once it is complete."""
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.part")
    with translated_errors(str(target), is_written=True):
        # Name the protocol, so that FFmpeg cannot mistake a file name for a URL.
        container = av.open(f"file:{unfinished}", "w", format="mp4", container_options=_FASTSTART)
        try:
            yield container
            container.close()
            _check(unfinished)
            unfinished.replace(target)
        except BaseException:
            # Otherwise PyAV closes the file during garbage collection, and reports errors then.
            with suppress(Exception):
                container.close()
            raise
        finally:
            unfinished.unlink(missing_ok=True)


def _check(unfinished: Path) -> None:
    """Refuse a file that FFmpeg left incomplete, for example because the disk is full."""
    with unfinished.open("rb") as file:
        if not is_whole_mp4(reader_of(file), file.seek(0, os.SEEK_END)):
            msg = f"{unfinished} could not be written completely"
            raise LocalError(msg)
