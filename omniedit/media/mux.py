"""Write MP4 files beside their target, and rename them once they are complete."""

import os
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, cast

import av
from av.error import FFmpegError

from omniedit.errors import InvalidInputError, LocalError
from omniedit.media.demux import is_invalid_data, translated_errors
from omniedit.media.formats import HEAD_BYTES, check_is_whole
from omniedit.system import error_reason

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.frame import Frame
    from av.packet import Packet
    from av.stream import Stream

Packets: TypeAlias = Generator["Packet[Any]"]
PacketSource: TypeAlias = Callable[["OutputContainer"], Packets]
"""Yields a stream's packets, after adding the stream to the file; adds none if there are no packets."""

StreamT = TypeVar("StreamT", bound="Stream")

HEVC_TAG: Final = "hvc1"
"""The only tag under which Apple's players accept H.265."""

# Put the index first, so that a reader over a network can begin at once.
_FASTSTART: Final = {"movflags": "+faststart"}
_MEMORY_BYTES: Final = 1024**3
# Memory for an encoder, its decoder and the frames waiting for both: 0.37 GiB at 1080p.
_BYTES_PER_PIXEL: Final = 192
# The share of a clip that must be written before its remaining time can be estimated.
_ESTIMABLE_SHARE: Final = 0.05


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

    def report(done_s: Fraction, frames: int) -> None:
        on_progress(
            Progress(
                done_s=float(done_s),
                total_s=float(total_s),
                frames=frames,
                elapsed_s=time.monotonic() - started,
            )
        )

    return report


class EncodingSlots:
    """Limits how many encoders run at once, by memory and cores; one may always run.

    Args:
        memory_bytes: The memory for all encoders together.
        cores: The largest number of encoders.
    """

    def __init__(self, *, memory_bytes: int, cores: int) -> None:
        self._memory_bytes = memory_bytes
        self._cores = cores
        self._taken_bytes = 0
        self._running = 0
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, pixels: int) -> Generator[None]:
        """Wait for a slot for an encoder, and hold it for the block.

        Args:
            pixels: The size of a frame; 0 needs no slot.
        """
        if not pixels:
            yield
            return
        size_bytes = pixels * _BYTES_PER_PIXEL
        with self._changed:
            self._changed.wait_for(lambda: self._has_room(size_bytes))
            self._running += 1
            self._taken_bytes += size_bytes
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._taken_bytes -= size_bytes
                self._changed.notify_all()

    def _has_room(self, size_bytes: int) -> bool:
        return not self._running or (
            self._running < self._cores and self._taken_bytes + size_bytes <= self._memory_bytes
        )


ENCODING_SLOTS: Final = EncodingSlots(memory_bytes=_MEMORY_BYTES, cores=os.cpu_count() or 1)
"""Shared by all encoders of this process."""


def write_mp4(
    target: Path,
    sources: Sequence[PacketSource],
    *,
    encoded_pixels: int,
    total_s: Fraction,
    on_progress: OnProgress,
) -> None:
    """Write the packets of several streams, in order of time, to an MP4.

    Args:
        target: Appears once it is complete.
        sources: The streams, each with its packets in decoding order; the first is the video.
        encoded_pixels: The size of a frame to encode; 0 if the video is copied.
        total_s: The length of the result.
        on_progress: Called after each frame.

    Raises:
        InvalidInputError: If a clip that is read cannot be decoded, or written as an MP4.
        LocalError: If the file cannot be written.
    """
    with (
        ENCODING_SLOTS.taken(encoded_pixels),
        _written(target) as container,
        # Close the clips at once on a failure too: Windows removes no file that is open.
        ExitStack() as stack,
    ):
        report = progress_to(on_progress, total_s=total_s)
        streams = [stack.enter_context(closing(source(container))) for source in sources]
        frames, done_s = 0, Fraction(0)
        waiting: dict[Packets, Packet[Any]] = {}
        # Every stream is added to the file before the first packet is written.
        due = streams
        while True:
            for stream in due:
                following = next(stream, None)
                if following is not None:
                    waiting[stream] = following
            if not waiting:
                return
            earliest = min(waiting, key=lambda stream: _at_s(waiting[stream]))
            packet = waiting.pop(earliest)
            done_s = min(max(done_s, _end_s(packet)), total_s)
            _mux(container, packet)
            due = [earliest]
            if earliest is streams[0]:
                frames += 1
                report(done_s, frames)


@contextmanager
def _written(target: Path) -> Generator["OutputContainer"]:
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


def _mux(container: "OutputContainer", packet: "Packet[Any]") -> None:
    try:
        cast("Any", container).mux(packet)
    except FFmpegError as error:
        # Invalid packet times are the clip's fault, not the disk's.
        if is_invalid_data(error):
            raise
        msg = f"cannot write {container.name.removeprefix('file:')}: {error_reason(error)}"
        raise LocalError(msg) from error


def new_stream(
    container: "OutputContainer",
    codec: str,
    *,
    rate: int | Fraction,
    options: Mapping[str, str] | None = None,
) -> Any:  # noqa: ANN401 - video or audio, depending on the codec
    """Add a stream to encode.

    Raises:
        LocalError: If this build of PyAV has no such encoder.
    """
    try:
        return cast("Any", container).add_stream(codec, rate=rate, options=dict(options or {}))
    except ValueError as error:  # includes PyAV's UnknownCodecError
        msg = f"this build of PyAV cannot encode with {codec}"
        raise LocalError(msg, code="media") from error


def encode(stream: "Stream", frame: "Frame | None") -> Packets:
    """Encode a frame and yield the packets that are ready; None flushes the encoder."""
    yield from cast("Any", stream).encode(frame)


def copied_stream(container: "OutputContainer", template: StreamT) -> StreamT:
    """Add a stream for packets that are copied from another file."""
    stream: StreamT = cast("Any", container).add_stream_from_template(template, opaque=True)
    aspect = getattr(template, "sample_aspect_ratio", None)
    if aspect:
        # The container's aspect ratio takes precedence, but a template only carries the codec's.
        cast("Any", stream).codec_context.sample_aspect_ratio = aspect
    if template.codec_context.codec.canonical_name == "hevc":
        stream.codec_context.codec_tag = HEVC_TAG
    return stream


def _at_s(packet: "Packet[Any]") -> Fraction:
    ticks = packet.dts if packet.dts is not None else packet.pts or 0
    return Fraction(ticks * packet.time_base)


def _end_s(packet: "Packet[Any]") -> Fraction:
    return Fraction(((packet.pts or 0) + (packet.duration or 0)) * packet.time_base)


def _check(unfinished: Path) -> None:
    """Refuse a file that is incomplete.

    Raises:
        LocalError: If FFmpeg wrote less than it was given, for example because the disk is full.
    """
    with unfinished.open("rb") as file:
        try:
            head = file.read(HEAD_BYTES)
            check_is_whole(file, head, name=unfinished.name, size_bytes=file.seek(0, os.SEEK_END))
        except InvalidInputError as error:
            msg = f"{unfinished} could not be written completely"
            raise LocalError(msg) from error
