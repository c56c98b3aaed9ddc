"""Write clips: prepare one for the service, split a long one, join results, replace their sound."""

from bisect import bisect_left
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from itertools import accumulate, pairwise
from math import ceil
from pathlib import Path
from typing import Final

from omniedit.errors import InvalidInputError
from omniedit.media.audio import clip_audio, crossfaded_audio
from omniedit.media.containers import (
    OnProgress,
    PacketSource,
    ignore_progress,
    progress_to,
    write_mp4,
)
from omniedit.media.facts import ACCEPTED_CODECS, ClipFacts, allowed_overrun_s, codec_name
from omniedit.media.probing import read_clip
from omniedit.media.timeline import Part
from omniedit.media.video import (
    ENCODING_SLOTS,
    FrameCheck,
    VideoEncoding,
    copied_video,
    copyable_frames,
    decoded_frames,
)
from omniedit.models import MAX_UPLOAD_BYTES, Sound

# Containers that store a presentation time for every packet.
_COPYABLE_CONTAINERS: Final = frozenset({"mp4", "mov", "3gp", "matroska", "webm", "mpegts", "flv"})
_SDR_BITS: Final = 8
# A clip with a larger share of bad frames is refused.
_MOST_BAD: Final = 0.1
_NEAR_S: Final = Fraction(1, 4)
_CUT_DIGITS: Final = 6
"""Finer than the ticks of any common container, so that a cut snaps back to its frame."""


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


def prepare_clip(
    source: Path,
    target: Path,
    *,
    name: str | None = None,
    start_s: float | None = None,
    end_s: float | None = None,
    keeps_hdr: bool = False,
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
        largest_bytes: Encode video that would exceed this size, even if it could be copied.
        on_progress: Called after each frame.

    Raises:
        InvalidInputError: If the source is not a clip, or the cut leaves nothing of it.
        LocalError: If the target cannot be written.
    """
    part = read_clip(source, name=name).cut(start_s, end_s)
    facts = part.facts
    length_s = part.length_s
    share = float(length_s) / part.timeline.duration_s
    copies_video = (
        facts.video_codec in ACCEPTED_CODECS
        and facts.container in _COPYABLE_CONTAINERS
        and (keeps_hdr or facts.hdr is None)
        and (facts.size_bytes or 0) * share <= largest_bytes
        and bool(copyable_frames(part))
    )
    encoding = None
    if not copies_video:
        encoding = VideoEncoding([part], keeps_hdr=keeps_hdr and facts.hdr is not None)
    silenced: list[int] = []
    audio = partial(clip_audio, part=part, length_s=length_s, on_damage=silenced.append)
    _write(target, [part], encoding, audio, length_s=length_s, on_progress=on_progress)
    if encoding:
        done = _described(facts, encoding)
        check = FrameCheck.of(part, encoding.good_frames)
    else:
        done = "copied" if part.is_whole else "cut (copied)"
        check = check_clip(target)
    return Prepared(
        path=target, done=done, check=check, silenced_packets=len(silenced), lost_marks=facts.marks
    )


def check_clip(source: Path, *, on_progress: OnProgress = ignore_progress) -> FrameCheck:
    """Decode a clip once and count its bad frames, before anything is paid.

    Raises:
        InvalidInputError: If it is not a readable clip.
    """
    part = read_clip(source)
    good = 0
    # Decoding takes about a quarter of the memory of encoding; many clips are checked at once.
    with ENCODING_SLOTS.taken(part.facts.pixels // 4):
        report = progress_to(on_progress, total_s=part.length_s)
        for count, (frame, pts) in enumerate(decoded_frames(part), start=1):
            if not frame.is_corrupt:
                good += 1
            report((pts - part.start) * part.timeline.tick_s, count)
    return FrameCheck.of(part, good)


def refuse_damage(check: FrameCheck, *, name: str) -> None:
    """Refuse a clip with too many bad frames.

    Raises:
        InvalidInputError: If more than a tenth of them are bad.
    """
    if check.bad_frames > _MOST_BAD * check.frames:
        msg = f"{name} is damaged: {check.bad_frames} of {check.frames} frames cannot be decoded"
        hint = "copy or export it again; `--no-check` sends it as it is"
        raise InvalidInputError(msg, code="damaged_clip", hint=hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part of a clip that is edited on its own."""

    start_s: float
    """Where the piece begins, counted from the beginning of the first piece."""
    duration_s: float
    cut_start_s: float | None = None
    """Where `prepare_clip` begins; None for the beginning of the clip."""
    cut_end_s: float | None = None
    """Where `prepare_clip` stops; None for the end of the clip."""


def plan_split(
    source: Path, *, longest_s: float, start_s: float | None = None, end_s: float | None = None
) -> tuple[Piece, ...]:
    """Return the pieces of equal length to split a clip into; each frame is in exactly one.

    A clip that need not be split is one piece. At a variable frame rate, a long frame may continue
    in the next piece.

    Args:
        source: A local clip.
        start_s: Where the first piece begins; None for the beginning.
        end_s: Where the last piece ends; None for the end.
        longest_s: The longest a piece may be; if there is only one, it may be a frame longer.

    Raises:
        InvalidInputError: If the source is not a clip, or the cut leaves nothing of it.
    """
    whole = read_clip(source).cut(start_s, end_s)
    tick_s = whole.timeline.tick_s
    first = whole.timeline.start
    ticks = _divided(whole, longest_s)
    inner_s = [round(float((at - first) * tick_s), _CUT_DIGITS) for at in ticks[1:-1]]
    cuts_s = pairwise([start_s, *inner_s, end_s])
    return tuple(
        Piece(
            start_s=float((begin - whole.start) * tick_s),
            duration_s=float((end - begin) * tick_s),
            cut_start_s=cut_start_s,
            cut_end_s=cut_end_s,
        )
        for (begin, end), (cut_start_s, cut_end_s) in zip(pairwise(ticks), cuts_s, strict=True)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """The joined clip that was written."""

    largest_gap_s: float
    """The largest amount by which a result is shorter (negative: longer) than its piece."""
    lost_marks: tuple[str, ...]
    """Marks of origin, such as `c2pa`, that results have and the joined clip lacks."""


def join(
    pieces: Sequence[Piece],
    results: Sequence[Path],
    target: Path,
    *,
    original: Path,
    sound: Sound,
    original_start_s: float | None = None,
    on_progress: OnProgress = ignore_progress,
) -> Joined:
    """Join the results of pieces into one clip.

    With their own audio, cross-faded over 20 ms, results follow one another at full length.
    Otherwise each result begins where its piece did, so that video and original audio stay in sync:
    the last frame of a shorter result is held, and the end of a longer one is dropped.

    Args:
        pieces: The pieces, in order.
        results: The result of each piece.
        target: Appears once it is complete; its folder must belong to the caller.
        original: The clip that the pieces come from.
        sound: The audio to use: the results' own, the original's, or none.
        original_start_s: Where the first piece begins in the original; None for its beginning.
        on_progress: Called after each frame.

    Raises:
        InvalidInputError: If a result or the original is not a clip.
        LocalError: If the target cannot be written.
    """
    parts = [read_clip(result) for result in results]
    gaps_s = [
        piece.duration_s - float(part.length_s) for piece, part in zip(pieces, parts, strict=True)
    ]
    audio: PacketSource | None = None
    if sound is Sound.NEW:
        starts_s = accumulate((part.length_s for part in parts), initial=Fraction(0))
        parts = [replace(part, at_s=at_s) for part, at_s in zip(parts, starts_s, strict=False)]
        length_s = parts[-1].at_s + parts[-1].length_s
        audio = partial(crossfaded_audio, parts=parts)
    else:
        parts = _at_piece_starts(parts, pieces)
        length_s = parts[-1].at_s + Fraction(pieces[-1].duration_s)
    if sound is Sound.ORIGINAL:
        clip = read_clip(original).cut(original_start_s, None)
        audio = partial(clip_audio, part=clip, length_s=length_s, pads=True)
    encoding = None if _can_copy(parts) else VideoEncoding(parts)
    _write(target, parts, encoding, audio, length_s=length_s, on_progress=on_progress)
    return Joined(
        largest_gap_s=max(gaps_s, key=abs),
        lost_marks=tuple(sorted({mark for part in parts for mark in part.facts.marks})),
    )


def replace_audio(
    result: Path,
    target: Path,
    *,
    original: Path | None,
    original_start_s: float | None = None,
    original_end_s: float | None = None,
    on_progress: OnProgress = ignore_progress,
) -> float | None:
    """Write a result with the audio of its clip, in sync from the first frame, or without audio.

    Return by how much the clip is longer than the result (negative: shorter); None if the written
    file has no audio.

    Args:
        result: The file that the service returned.
        target: Appears once it is complete; its folder must belong to the caller.
        original: The clip whose audio to use, trimmed or padded to the length of the result; None
            for a silent result.
        original_start_s: Where the clip that was sent begins in the original.
        original_end_s: Where that clip ends in the original.
        on_progress: Called after each frame.

    Raises:
        InvalidInputError: If the result or the original is not a clip.
        LocalError: If the target cannot be written.
    """
    part = read_clip(result)
    length_s = part.length_s
    audio: PacketSource | None = None
    difference_s: float | None = None
    if original is not None:
        sent = read_clip(original).cut(original_start_s, original_end_s)
        if sent.facts.audio:
            audio = partial(clip_audio, part=sent, length_s=length_s, pads=True)
            difference_s = float(sent.length_s - length_s)
    encoding = None if copyable_frames(part) else VideoEncoding([part])
    _write(target, [part], encoding, audio, length_s=length_s, on_progress=on_progress)
    return difference_s


def _described(facts: ClipFacts, encoding: VideoEncoding) -> str:
    """Return what an encoding changes, on one line."""
    changes = [(codec_name(facts.video_codec), "H.265" if encoding.keeps_hdr else "H.264")]
    if encoding.size is not None:
        changes.append(
            (
                f"{facts.shown_width}x{facts.shown_height}",
                f"{encoding.size.width}x{encoding.size.height}",
            )
        )
    if (facts.bit_depth or 0) > _SDR_BITS and not encoding.keeps_hdr:
        changes.append((f"{facts.bit_depth} bits", f"{_SDR_BITS} bits"))
    if encoding.deinterlaces:
        changes.append(("interlaced", "progressive"))
    if facts.hdr and not encoding.keeps_hdr:
        changes.append((f"HDR ({facts.hdr})", "SDR"))
    before, after = (", ".join(each) for each in zip(*changes, strict=True))
    return f"re-encoded: {before} → {after}"


def _divided(whole: Part, longest_s: float) -> list[int]:
    """Return where pieces begin, in ticks, and where the last one ends."""
    timeline = whole.timeline
    if whole.length_s <= longest_s + allowed_overrun_s(timeline.frame_s):
        return [whole.start, whole.end]
    # Pieces end at frame boundaries, which can make one too long: then use one piece more.
    count = ceil(whole.length_s / Fraction(longest_s))
    while True:
        ends = _equal(whole, count)
        if all((end - begin) * timeline.tick_s <= longest_s for begin, end in pairwise(ends)):
            return ends
        count += 1


def _equal(whole: Part, count: int) -> list[int]:
    tick_s = whole.timeline.tick_s
    inside = [time for time in whole.timeline.times if whole.start < time < whole.end]
    times = inside or [whole.start]
    cuts = [whole.start]
    for index in range(1, count):
        share = whole.start + Fraction(index * (whole.end - whole.start), count)
        # Cut at the frame nearest to an equal share, unless a long frame makes that too uneven.
        after = bisect_left(times, share)
        nearest = min(times[max(0, after - 1) : after + 1], key=lambda time: abs(time - share))
        is_near = abs(nearest - share) * tick_s <= _NEAR_S
        cuts.append(max(nearest if is_near else round(share), cuts[-1] + 1))
    return [*cuts, whole.end]


def _at_piece_starts(parts: list[Part], pieces: Sequence[Piece]) -> list[Part]:
    placed: list[Part] = []
    for part, piece in zip(parts, pieces, strict=True):
        # Half a frame beyond the end is rounding; frames that begin later are dropped.
        tick_s = part.timeline.tick_s
        half_s = Fraction(part.timeline.frame_s) / 2
        limit = part.start + (Fraction(piece.duration_s) - half_s) / tick_s
        end = next((time for time in part.timeline.times if time > limit), part.end)
        end = max(end, part.timeline.start + 1)
        placed.append(replace(part, end=end, at_s=Fraction(piece.start_s)))
    return placed


def _can_copy(parts: list[Part]) -> bool:
    """Return whether the packets of all parts can form one stream."""
    if any(part.facts.video_codec not in ACCEPTED_CODECS for part in parts):
        return False
    if len({_format_of(part) for part in parts}) > 1:
        return False
    runs = [copyable_frames(part) for part in parts]
    times = [
        (frame.dts or 0) + part.shift
        for part, run in zip(parts, runs, strict=True)
        for frame in run
    ]
    return all(runs) and all(before < after for before, after in pairwise(times))


def _format_of(part: Part) -> tuple[object, ...]:
    """Return the properties that clips must share to be copied into one video stream."""
    facts = part.facts
    timeline = part.timeline
    return (
        facts.video_codec,
        facts.width,
        facts.height,
        facts.pixel_format,
        facts.pixel_aspect,
        facts.rotation,
        timeline.extradata,
        timeline.tick_s,
    )


def _write(
    target: Path,
    parts: Sequence[Part],
    encoding: VideoEncoding | None,
    audio: PacketSource | None,
    *,
    length_s: Fraction,
    on_progress: OnProgress,
) -> None:
    """Write parts of clips and their audio to an MP4; without an encoding, the video is copied."""
    video = encoding.packets if encoding else partial(copied_video, parts=parts)
    sources = [video, audio] if audio else [video]
    with ENCODING_SLOTS.taken(parts[0].facts.pixels) if encoding else nullcontext():
        write_mp4(target, sources, total_s=length_s, on_progress=on_progress)
