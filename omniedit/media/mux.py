"""MP4 files, written beside their target and renamed once they are complete."""

import os
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, cast

import av
from av.error import FFmpegError

from omniedit.errors import InvalidInputError, LocalError
from omniedit.media.demux import is_invalid_data, translated_errors
from omniedit.media.formats import HEAD_BYTES, check_is_whole

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.frame import Frame
    from av.packet import Packet
    from av.stream import Stream

Advance: TypeAlias = Callable[[float, float], None]
"""Takes the seconds of the result written so far, and in all."""
Packets: TypeAlias = Iterator["Packet[Any]"]

StreamT = TypeVar("StreamT", bound="Stream")

# The index comes first, so that a reader across a network can begin at once.
_FASTSTART: Final = {"movflags": "+faststart"}


@contextmanager
def written_mp4(target: Path) -> Generator["OutputContainer"]:
    """Open an MP4 for writing; it takes the target's name once it is complete.

    Raises:
        LocalError: The file cannot be written.
    """
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    with translated_errors(str(target), is_written=True):
        # With the protocol named, no file name can be taken for another protocol.
        container = av.open(f"file:{part}", "w", format="mp4", container_options=_FASTSTART)
        try:
            yield container
            container.close()
            _check(part)
            part.replace(target)
        except BaseException:
            # Otherwise PyAV finishes the file when it is garbage-collected, and complains then.
            with suppress(Exception):
                container.close()
            raise
        finally:
            part.unlink(missing_ok=True)


def interleave(
    container: "OutputContainer", streams: list[Packets], advance: Callable[[float], None]
) -> None:
    """Write the packets of several streams in the order of their times.

    Args:
        container: The file that the streams belong to.
        streams: The packets of each stream, in decoding order.
        advance: Takes the seconds written so far.
    """
    waiting: dict[Packets, Packet[Any]] = {}
    due = list(streams)
    while True:
        for stream in due:
            following = next(stream, None)
            if following is not None:
                waiting[stream] = following
        if not waiting:
            return
        earliest = min(waiting, key=lambda stream: _at_s(waiting[stream]))
        packet = waiting.pop(earliest)
        at_s = _at_s(packet)
        _mux(container, packet)
        advance(max(0.0, at_s))
        due = [earliest]


def _mux(container: "OutputContainer", packet: "Packet[Any]") -> None:
    try:
        cast("Any", container).mux(packet)
    except FFmpegError as error:
        # Packets with invalid times are the clip's fault.
        if is_invalid_data(error):
            raise
        msg = f"cannot write {container.name.removeprefix('file:')}: {error.strerror}"
        raise LocalError(msg) from error


def new_stream(
    container: "OutputContainer",
    codec: str,
    *,
    rate: int | Fraction,
    options: Mapping[str, str] | None = None,
) -> Any:  # noqa: ANN401 - video or audio, depending on the codec
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
    """Yield the packets that an encoder has ready after a frame; after None, all the rest."""
    yield from cast("Any", stream).encode(frame)


def copied_stream(container: "OutputContainer", template: StreamT) -> StreamT:
    """Add a stream for packets that are copied."""
    stream: StreamT = cast("Any", container).add_stream_from_template(template, opaque=True)
    if template.codec_context.codec.canonical_name == "hevc":
        # Apple's players accept H.265 under this tag only.
        stream.codec_context.codec_tag = "hvc1"
    return stream


def _at_s(packet: "Packet[Any]") -> float:
    ticks = packet.dts if packet.dts is not None else packet.pts or 0
    return float(ticks * packet.time_base)


def _check(part: Path) -> None:
    """Refuse a file that is incomplete.

    Raises:
        LocalError: FFmpeg wrote less than it was given, because the disk is full, say.
    """
    with part.open("rb") as file:
        try:
            head = file.read(HEAD_BYTES)
            check_is_whole(file, head, name=part.name, size_bytes=file.seek(0, os.SEEK_END))
        except InvalidInputError as error:
            msg = f"{part} could not be written completely"
            raise LocalError(msg) from error
