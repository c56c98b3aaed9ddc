"""Prepare a clip for the service: cut it, convert it, or both."""

import os
import shutil
import threading
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from omniedit.errors import InvalidInputError, LocalError
from omniedit.media.audio import can_copy_audio, copied_audio, encoded_audio
from omniedit.media.demux import opened_clip
from omniedit.media.facts import (
    ACCEPTED_CODECS,
    ClipFacts,
    codec_name,
    needs_conversion,
)
from omniedit.media.mux import OnProgress, Packets, ignore_progress, interleave, written_mp4
from omniedit.media.probing import probe, probe_with_timeline
from omniedit.media.timeline import Part, marked_span
from omniedit.media.video import (
    FrameCheck,
    VideoEncoding,
    copied_video,
    copyable_frames,
    count_bad_frames,
    encoded_video,
    frame_check,
    rate_of,
)
from omniedit.models import MAX_UPLOAD_BYTES
from omniedit.system import error_reason
from omniedit.system.files import open_file

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer

# Containers that store a presentation time for every packet.
_COPYABLE_CONTAINERS: Final = frozenset({"mp4", "mov", "3gp", "matroska", "webm", "mpegts", "flv"})
_SDR_BITS: Final = 8
_MEMORY_BYTES: Final = 1024**3
# Memory for an encoder, its decoder and the frames waiting for both: 0.37 GiB at 1080p.
_BYTES_PER_PIXEL: Final = 192


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The clip that was written."""

    path: Path
    start_s: float
    """Where the clip begins in the source."""
    duration_s: float
    is_video_copied: bool
    is_audio_copied: bool | None
    """None if there is no audio."""
    done: str
    """What was done, on one line: `copied`, `cut (copied)`, `re-encoded: VP9, 640x360 → …`."""
    check: FrameCheck
    silenced_packets: int
    """The number of damaged audio packets that were replaced by silence."""
    lost_marks: tuple[str, ...]
    """Marks of origin, such as `c2pa`, that the source has and the result lacks."""


def prepare(
    source: Path,
    target: Path,
    *,
    name: str | None = None,
    start_s: float | None = None,
    end_s: float | None = None,
    keeps_hdr: bool = False,
    accepts_damage: bool = False,
    largest_bytes: int = MAX_UPLOAD_BYTES,
    on_progress: OnProgress = ignore_progress,
) -> Prepared:
    """Write a clip, or a part of it, as an H.264 or H.265 MP4 with AAC audio.

    Streams are copied if possible: video if the cut allows it, AAC if the beginning is not cut off.
    The result begins with the first frame at or after `start_s`, and ends before the first one at
    or after `end_s`; at a variable frame rate it begins and ends at the marks themselves.

    Args:
        source: A local clip.
        target: Appears once it is complete; its folder must belong to the caller.
        name: The clip, for messages; its path by default.
        start_s: Where to begin; None for the beginning.
        end_s: Where to stop; None for the end.
        keeps_hdr: Keep HDR colours, instead of converting them to SDR.
        accepts_damage: Write a clip even if more than a tenth of its frames are damaged.
        largest_bytes: Encode video that would exceed this size, even if it could be copied.
        on_progress: Called after each frame.

    Raises:
        InvalidInputError: If the source is not a clip, the marks leave nothing of it, or too many
            of its frames are damaged.
        LocalError: If the target cannot be written.
    """
    name = name or str(source)
    facts, timeline = probe_with_timeline(source, name=name)
    span = marked_span(timeline, start_s, end_s, name=name)
    share = float(span.length_s) / timeline.duration_s
    can_copy = _can_copy_video(facts, keeps_hdr=keeps_hdr)
    writing = _Writing(
        facts=facts,
        part=Part(source=source, timeline=timeline, span=span),
        can_copy=can_copy and (facts.size_bytes or 0) * share <= largest_bytes,
        keeps_hdr=keeps_hdr and facts.hdr is not None,
    )
    prepared = writing.write(target, on_progress)
    if not accepts_damage:
        try:
            refuse_damage(prepared.check, name=name)
        except InvalidInputError:
            target.unlink()
            raise
    return prepared


def check_frames(source: Path, *, on_progress: OnProgress = ignore_progress) -> FrameCheck:
    """Decode a clip once and count its bad frames, before anything is paid.

    Args:
        source: A local clip.
        on_progress: Called after each frame.

    Raises:
        InvalidInputError: If it is not a readable clip.
    """
    _, timeline = probe_with_timeline(source)
    whole = Part(source=source, timeline=timeline, span=timeline.whole)
    return count_bad_frames(whole, on_progress=on_progress)


def refuse_damage(check: FrameCheck, *, name: str) -> None:
    """Refuse a clip with too many bad frames.

    Raises:
        InvalidInputError: If more than a tenth of them are bad.
    """
    if check.is_acceptable:
        return
    msg = f"{name} is damaged: {check.bad_frames} of {check.frames} frames cannot be decoded"
    hint = "copy or export it again; `--no-check` sends it as it is"
    raise InvalidInputError(msg, code="damaged_clip", hint=hint)


def save_prepared(
    source: Path,
    target: Path,
    *,
    longest_s: float,
    on_progress: OnProgress = ignore_progress,
) -> Prepared:
    """Write the clip that would be sent: a plain copy of the source if it needs no changes.

    Args:
        source: A local clip.
        target: A new file, in a folder that belongs to the caller.
        longest_s: The longest clip that the model takes.
        on_progress: Called after each frame.

    Raises:
        InvalidInputError: As for `prepare`.
        LocalError: If the target cannot be written.
    """
    facts = probe(source, name=str(source))
    if needs_conversion(facts, longest_s=longest_s):
        return prepare(source, target, on_progress=on_progress)
    check = check_frames(source, on_progress=on_progress)
    refuse_damage(check, name=str(source))
    _copy(source, target)
    return Prepared(
        path=target,
        start_s=0.0,
        duration_s=facts.duration_s or 0.0,
        is_video_copied=True,
        is_audio_copied=True if facts.has_audio else None,
        done="copied",
        check=check,
        silenced_packets=0,
        lost_marks=(),
    )


@dataclass(slots=True, kw_only=True)
class _Writing:
    """A part of a clip to write, and how to write it."""

    facts: ClipFacts
    part: Part
    can_copy: bool
    keeps_hdr: bool
    silenced_packets: int = 0

    def write(self, target: Path, on_progress: OnProgress) -> Prepared:
        part = self.part
        copies_video = self.can_copy and copyable_frames(part.timeline, part.span) is not None
        pixels = 0 if copies_video else self.facts.width * self.facts.height
        encoding: VideoEncoding | None = None
        with ENCODING_SLOTS.taken(pixels), ExitStack() as stack:
            container = stack.enter_context(written_mp4(target))
            clip = stack.enter_context(opened_clip(part.source))
            if copies_video:
                video = copied_video(container, stack.enter_context(opened_clip(part.source)), part)
            else:
                encoding = encoded_video(
                    container, [part], rate=rate_of(part.timeline), keeps_hdr=self.keeps_hdr
                )
                video = encoding.packets()
            copies_audio = can_copy_audio(clip) and part.span.start == part.timeline.start
            audio = self._audio(container, clip, copies_audio=copies_audio)
            interleave(
                container,
                [video, audio] if audio else [video],
                total_s=part.span.length_s,
                on_progress=on_progress,
            )
        return Prepared(
            path=target,
            start_s=float((part.span.start - part.timeline.start) * part.timeline.tick_s),
            duration_s=float(part.span.length_s),
            is_video_copied=copies_video,
            is_audio_copied=copies_audio if audio else None,
            done=self._done(encoding),
            check=frame_check(part, encoding.good_frames) if encoding else _check_copy(target),
            silenced_packets=self.silenced_packets,
            lost_marks=self.facts.marks,
        )

    def _audio(
        self, container: "OutputContainer", clip: "InputContainer", *, copies_audio: bool
    ) -> Packets | None:
        start_s, length_s = self.part.span.start_s, self.part.span.length_s
        if copies_audio:
            return copied_audio(container, clip, start_s=start_s, length_s=length_s)
        return encoded_audio(
            container, clip, start_s=start_s, length_s=length_s, on_damage=self._count_damage
        )

    def _count_damage(self) -> None:
        self.silenced_packets += 1

    def _done(self, encoding: VideoEncoding | None) -> str:
        facts = self.facts
        if encoding is None or encoding.size is None:
            return "copied" if self.part.span == self.part.timeline.whole else "cut (copied)"
        before = [codec_name(facts.video_codec), f"{facts.shown_width}x{facts.shown_height}"]
        after = ["H.265" if self.keeps_hdr else "H.264"]
        after.append(f"{encoding.size.width}x{encoding.size.height}")
        if (facts.bit_depth or 0) > _SDR_BITS and not self.keeps_hdr:
            before.append(f"{facts.bit_depth} bits")
            after.append(f"{_SDR_BITS} bits")
        if encoding.deinterlaces:
            before.append("interlaced")
            after.append("progressive")
        if encoding.maps_tones:
            before.append(f"HDR ({facts.hdr})")
            after.append("SDR")
        return f"re-encoded: {', '.join(before)} → {', '.join(after)}"


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


def _can_copy_video(facts: ClipFacts, *, keeps_hdr: bool) -> bool:
    return (
        facts.video_codec in ACCEPTED_CODECS
        and facts.container in _COPYABLE_CONTAINERS
        and (keeps_hdr or facts.hdr is None)
    )


def _check_copy(target: Path) -> FrameCheck:
    facts, timeline = probe_with_timeline(target)
    # Decoders take less memory than encoders, but a long clip has many pieces.
    with ENCODING_SLOTS.taken(facts.width * facts.height // 4):
        return count_bad_frames(Part(source=target, timeline=timeline, span=timeline.whole))


def _copy(source: Path, target: Path) -> None:
    try:
        with open_file(source) as file, target.open("xb") as copy:
            shutil.copyfileobj(file, copy)
    except OSError as error:
        msg = f"cannot write {target}: {error_reason(error)}"
        raise LocalError(msg) from error
