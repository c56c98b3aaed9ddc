"""Split a long clip into pieces that the service accepts, and join their results."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Final

from omniedit.errors import InvalidInputError
from omniedit.media.audio import crossfaded_audio, original_audio
from omniedit.media.demux import opened_clip, video_stream
from omniedit.media.facts import ACCEPTED_CODECS, allowed_overrun_s
from omniedit.media.filters import FrameSize
from omniedit.media.mux import OnProgress, PacketSource, ignore_progress, write_mp4
from omniedit.media.probing import read_clip
from omniedit.media.timeline import Part, Span
from omniedit.media.video import VideoEncoding, copied_video, copyable_frames
from omniedit.models import Sound

_NEAR_S: Final = Fraction(1, 4)
_CUT_DIGITS: Final = 6
"""Finer than the ticks of any common container, so that a cut snaps back to its frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part of a clip that is edited on its own."""

    start_s: float
    """Where the piece begins, counted from the beginning of the first piece."""
    duration_s: float
    cut_start_s: float | None = None
    """Where `prepare` begins; None for the beginning of the clip."""
    cut_end_s: float | None = None
    """Where `prepare` stops; None for the end of the clip."""


def plan_split(
    source: Path,
    *,
    longest_s: float,
    start_s: float | None = None,
    end_s: float | None = None,
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
    spans = _spans(whole, longest_s)
    first_s, origin = whole.timeline.whole.start_s, whole.span.start_s
    inner_s = [round(float(span.start_s - first_s), _CUT_DIGITS) for span in spans[1:]]
    return tuple(
        Piece(
            start_s=float(span.start_s - origin),
            duration_s=float(span.length_s),
            cut_start_s=cut_start_s,
            cut_end_s=cut_end_s,
        )
        for span, (cut_start_s, cut_end_s) in zip(
            spans, pairwise([start_s, *inner_s, end_s]), strict=True
        )
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
    if not pieces:
        msg = "there is nothing to join"
        raise InvalidInputError(msg)
    parts = [read_clip(result) for result in results]
    gaps_s = [
        piece.duration_s - float(part.span.length_s)
        for piece, part in zip(pieces, parts, strict=True)
    ]
    is_new = sound is Sound.NEW
    parts = _end_to_end(parts) if is_new else _at_piece_starts(parts, pieces)
    first, last = parts[0].facts, parts[-1]
    length_s = last.at_s + (last.span.length_s if is_new else Fraction(pieces[-1].duration_s))
    copies_video = _can_copy(parts)
    size = FrameSize(width=first.shown_width & ~1, height=first.shown_height & ~1)
    sources: list[PacketSource] = [
        partial(copied_video, parts=parts)
        if copies_video
        else VideoEncoding(parts, size=size).packets
    ]
    if is_new:
        sources.append(partial(crossfaded_audio, parts=parts))
    elif sound is Sound.ORIGINAL:
        clip = read_clip(original).cut(original_start_s, None)
        sources.append(partial(original_audio, part=clip, length_s=length_s))
    write_mp4(
        target,
        sources,
        encoded_pixels=0 if copies_video else first.pixels,
        total_s=length_s,
        on_progress=on_progress,
    )
    return Joined(
        largest_gap_s=max(gaps_s, key=abs),
        lost_marks=tuple(sorted({mark for part in parts for mark in part.facts.marks})),
    )


def _end_to_end(parts: list[Part]) -> list[Part]:
    at_s = Fraction(0)
    placed: list[Part] = []
    for part in parts:
        placed.append(replace(part, at_s=at_s))
        at_s += part.span.length_s
    return placed


def _at_piece_starts(parts: list[Part], pieces: Sequence[Piece]) -> list[Part]:
    placed: list[Part] = []
    for part, piece in zip(parts, pieces, strict=True):
        # Half a frame beyond the end is rounding; frames that begin later are dropped.
        tick_s, half_s = part.timeline.tick_s, Fraction(part.timeline.frame_s) / 2
        limit = part.span.start + (Fraction(piece.duration_s) - half_s) / tick_s
        end = next((time for time in part.timeline.times if time > limit), part.span.end)
        end = max(end, part.timeline.times[0] + 1)
        placed.append(replace(part, span=replace(part.span, end=end), at_s=Fraction(piece.start_s)))
    return placed


def _can_copy(parts: list[Part]) -> bool:
    """Return whether the packets of all parts can form one stream."""
    if any(part.facts.video_codec not in ACCEPTED_CODECS for part in parts):
        return False
    if len({_format_of(part) for part in parts}) > 1:
        return False
    last_dts: int | None = None
    for part in parts:
        frames = copyable_frames(part)
        if not frames:
            return False
        shift = round(part.at_s / part.timeline.tick_s) - part.span.start
        for frame in frames:
            dts = (frame.dts or 0) + shift
            if last_dts is not None and dts <= last_dts:
                return False
            last_dts = dts
    return True


def _format_of(part: Part) -> tuple[object, ...]:
    """Return the properties that clips must share to be copied into one video stream."""
    facts = part.facts
    with opened_clip(part.source) as clip:
        extradata = video_stream(clip, name=str(part.source)).codec_context.extradata
    return (
        facts.video_codec,
        extradata,
        facts.width,
        facts.height,
        facts.pixel_format,
        facts.pixel_aspect,
        facts.rotation,
        part.timeline.tick_s,
    )


def _spans(whole: Part, longest_s: float) -> list[Span]:
    timeline, span = whole.timeline, whole.span
    if span.length_s <= longest_s + allowed_overrun_s(timeline.frame_s):
        return [span]
    inside = (time for time in timeline.times if span.start < time < span.end)
    times = sorted(inside) or [span.start]
    # Pieces end at frame boundaries, which can make one too long: then use one piece more.
    count = ceil(span.length_s / Fraction(longest_s))
    while True:
        spans = _equal(span, times, count)
        if all(each.length_s <= longest_s for each in spans):
            return spans
        count += 1


def _equal(whole: Span, times: list[int], count: int) -> list[Span]:
    cuts = [whole.start]
    for index in range(1, count):
        share = whole.start + Fraction(index * (whole.end - whole.start), count)
        # Cut at the frame nearest to an equal share, unless a long frame makes that too uneven.
        after = bisect_left(times, share)
        nearest = min(times[max(0, after - 1) : after + 1], key=lambda time: abs(time - share))
        is_near = abs(nearest - share) * whole.tick_s <= _NEAR_S
        cuts.append(max(nearest if is_near else round(share), cuts[-1] + 1))
    return [
        Span(start=before, end=after, tick_s=whole.tick_s)
        for before, after in pairwise((*cuts, whole.end))
    ]
