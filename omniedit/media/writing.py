"""MP4 files, written beside their target and renamed once they are whole."""

import os
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, cast

import av
from av.error import FFmpegError

from omniedit.errors import InvalidInputError, LocalError
from omniedit.media.contents import HEAD_BYTES
from omniedit.media.opening import is_nonsense, understood
from omniedit.media.wholeness import check_is_whole

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.frame import Frame
    from av.packet import Packet
    from av.stream import Stream

Advance: TypeAlias = Callable[[float, float], None]
"""Takes the seconds of the result that are written, and those in all."""
Packets: TypeAlias = Iterator["Packet[Any]"]

StreamT = TypeVar("StreamT", bound="Stream")

# The index in front, so that a reader at the other end of a network can begin at once.
_FASTSTART: Final = {"movflags": "+faststart"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A part of a clip: [start, end) of its pictures' ticks, and the same in seconds."""

    start: int
    end: int
    tick_s: Fraction

    @property
    def origin_s(self) -> Fraction:
        """Where it begins, on the clip's own clock."""
        return self.start * self.tick_s

    @property
    def length_s(self) -> Fraction:
        """How long it is."""
        return (self.end - self.start) * self.tick_s


@contextmanager
def written_mp4(target: Path) -> Generator["OutputContainer"]:
    """Hand out a file to write to; it takes the target's name once it is whole.

    Raises:
        LocalError: The disk does not take it.
    """
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    with understood(str(target), is_written=True):
        # The protocol is named, so that no file name is taken for another one.
        container = av.open(f"file:{part}", "w", format="mp4", container_options=_FASTSTART)
        try:
            yield container
            container.close()
            _check(part)
            part.replace(target)
        except BaseException:
            # It would be finished when it is collected, and complain then.
            with suppress(Exception):
                container.close()
            raise
        finally:
            part.unlink(missing_ok=True)


def interleave(
    container: "OutputContainer", tracks: list[Packets], advance: Callable[[float], None]
) -> None:
    """Write the packets of several streams in the order of their times.

    Args:
        container: Whose streams the packets belong to.
        tracks: The packets of a stream each, in the order of decoding.
        advance: Takes the seconds that are written.
    """
    waiting: dict[Packets, Packet[Any]] = {}
    due = list(tracks)
    while True:
        for track in due:
            following = next(track, None)
            if following is not None:
                waiting[track] = following
        if not waiting:
            return
        earliest = min(waiting, key=lambda track: _at_s(waiting[track]))
        packet = waiting.pop(earliest)
        at_s = _at_s(packet)
        _mux(container, packet)
        advance(max(0.0, at_s))
        due = [earliest]


def _mux(container: "OutputContainer", packet: "Packet[Any]") -> None:
    try:
        cast("Any", container).mux(packet)
    except FFmpegError as error:
        # Packets whose times make no sense are the clip's fault.
        if is_nonsense(error):
            raise
        msg = f"cannot write {container.name.removeprefix('file:')}: {error.strerror}"
        raise LocalError(msg) from error


def new_stream(
    container: "OutputContainer",
    codec: str,
    *,
    rate: int | Fraction,
    options: Mapping[str, str] | None = None,
) -> Any:  # noqa: ANN401 - of pictures or of sound, as the codec is
    """Add a stream that is encoded.

    Raises:
        LocalError: This build of PyAV has no such encoder.
    """
    try:
        return cast("Any", container).add_stream(codec, rate=rate, options=dict(options or {}))
    except ValueError as error:  # UnknownCodecError is one
        msg = f"this build of PyAV cannot encode with {codec}"
        raise LocalError(msg, code="media") from error


def encode(stream: "Stream", frame: "Frame | None") -> Packets:
    """Yield what an encoder has ready after a frame; after None, all that it held back."""
    yield from cast("Any", stream).encode(frame)


def copied_stream(container: "OutputContainer", template: StreamT) -> StreamT:
    """Add a stream that takes packets as they are."""
    stream: StreamT = cast("Any", container).add_stream_from_template(template, opaque=True)
    if template.codec_context.codec.canonical_name == "hevc":
        # Apple's players know H.265 by this name only.
        stream.codec_context.codec_tag = "hvc1"
    return stream


def _at_s(packet: "Packet[Any]") -> float:
    ticks = packet.dts if packet.dts is not None else packet.pts or 0
    return float(ticks * packet.time_base)


def _check(part: Path) -> None:
    """Refuse a file that is not whole.

    Raises:
        LocalError: FFmpeg has written less than it was given: the disk is full, say.
    """
    with part.open("rb") as file:
        try:
            head = file.read(HEAD_BYTES)
            check_is_whole(file, head, name=part.name, size_bytes=file.seek(0, os.SEEK_END))
        except InvalidInputError as error:
            msg = f"{part} could not be written whole"
            raise LocalError(msg) from error
