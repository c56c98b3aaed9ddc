"""Prepare a clip for the service: cut it, convert it, or both."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from omniedit.errors import InvalidInputError
from omniedit.media.audio import can_copy_audio, copied_audio, encoded_audio
from omniedit.media.facts import ACCEPTED_CODECS, ClipFacts, codec_name
from omniedit.media.mux import ENCODING_SLOTS, OnProgress, ignore_progress, write_mp4
from omniedit.media.probing import read_clip
from omniedit.media.video import (
    FrameCheck,
    VideoEncoding,
    check_frames,
    copied_video,
    copyable_frames,
)
from omniedit.models import MAX_UPLOAD_BYTES

# Containers that store a presentation time for every packet.
_COPYABLE_CONTAINERS: Final = frozenset({"mp4", "mov", "3gp", "matroska", "webm", "mpegts", "flv"})
_SDR_BITS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The clip that was written."""

    path: Path
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
    or after `end_s`; at a variable frame rate it begins and ends at these times themselves.

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
        InvalidInputError: If the source is not a clip, the cut leaves nothing of it, or too many
            of its frames are damaged.
        LocalError: If the target cannot be written.
    """
    part = read_clip(source, name=name).cut(start_s, end_s)
    facts, length_s = part.facts, part.span.length_s
    share = float(length_s) / part.timeline.duration_s
    copies_video = (
        _can_copy_video(facts, keeps_hdr=keeps_hdr)
        and (facts.size_bytes or 0) * share <= largest_bytes
        and bool(copyable_frames(part))
    )
    encoding = VideoEncoding([part], keeps_hdr=keeps_hdr and facts.hdr is not None)
    silenced: list[int] = []
    audio = partial(copied_audio, part=part, length_s=length_s)
    if not can_copy_audio(part):
        audio = partial(encoded_audio, part=part, length_s=length_s, on_damage=silenced.append)
    write_mp4(
        target,
        [partial(copied_video, parts=[part]) if copies_video else encoding.packets, audio],
        encoded_pixels=0 if copies_video else facts.pixels,
        total_s=length_s,
        on_progress=on_progress,
    )
    check = _check_copy(target) if copies_video else FrameCheck.of(part, encoding.good_frames)
    if not accepts_damage:
        try:
            refuse_damage(check, name=facts.name)
        except InvalidInputError:
            target.unlink()
            raise
    if copies_video:
        done = "copied" if part.span == part.timeline.whole else "cut (copied)"
    else:
        done = _described(facts, encoding)
    return Prepared(
        path=target,
        done=done,
        check=check,
        silenced_packets=len(silenced),
        lost_marks=facts.marks,
    )


def check_clip(source: Path, *, on_progress: OnProgress = ignore_progress) -> FrameCheck:
    """Decode a clip once and count its bad frames, before anything is paid.

    Args:
        source: A local clip.
        on_progress: Called after each frame.

    Raises:
        InvalidInputError: If it is not a readable clip.
    """
    return check_frames(read_clip(source), on_progress=on_progress)


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


def _described(facts: ClipFacts, encoding: VideoEncoding) -> str:
    """Return what an encoding changes, on one line."""
    before = [codec_name(facts.video_codec), f"{facts.shown_width}x{facts.shown_height}"]
    after = ["H.265" if encoding.keeps_hdr else "H.264"]
    if encoding.size is not None:
        after.append(f"{encoding.size.width}x{encoding.size.height}")
    if (facts.bit_depth or 0) > _SDR_BITS and not encoding.keeps_hdr:
        before.append(f"{facts.bit_depth} bits")
        after.append(f"{_SDR_BITS} bits")
    if encoding.deinterlaces:
        before.append("interlaced")
        after.append("progressive")
    if encoding.maps_tones:
        before.append(f"HDR ({facts.hdr})")
        after.append("SDR")
    return f"re-encoded: {', '.join(before)} → {', '.join(after)}"


def _can_copy_video(facts: ClipFacts, *, keeps_hdr: bool) -> bool:
    return (
        facts.video_codec in ACCEPTED_CODECS
        and facts.container in _COPYABLE_CONTAINERS
        and (keeps_hdr or facts.hdr is None)
    )


def _check_copy(target: Path) -> FrameCheck:
    part = read_clip(target)
    # Decoding takes about a quarter of the memory of encoding; the pieces of a long clip are checked
    # at the same time.
    with ENCODING_SLOTS.taken(part.facts.pixels // 4):
        return check_frames(part)
