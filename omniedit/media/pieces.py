"""Split a long clip into pieces that the service accepts, and join their results."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from omniedit.errors import InvalidInputError
from omniedit.media.audio import crossfaded_audio
from omniedit.media.demux import opened_clip, video_stream
from omniedit.media.facts import ACCEPTED_CODECS, ClipFacts, allowed_overrun_s
from omniedit.media.filters import FrameSize
from omniedit.media.mux import (
    OnProgress,
    Packets,
    copied_stream,
    ignore_progress,
    interleave,
    written_mp4,
)
from omniedit.media.preparing import ENCODING_SLOTS
from omniedit.media.probing import probe_with_timeline
from omniedit.media.soundtrack import original_audio
from omniedit.media.timeline import Part, Span, Timeline, marked_span
from omniedit.media.video import copied_packets, copyable_frames, encoded_video, rate_of
from omniedit.models import Sound

if TYPE_CHECKING:
    from av.container import OutputContainer

_NEAR_S: Final = Fraction(1, 4)
_MARK_DIGITS: Final = 6
"""Finer than the ticks of any common container, so that a mark snaps back to its frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part of a clip that is edited on its own."""

    start_s: float
    """Where the piece begins, counted from the beginning of the first piece."""
    duration_s: float
    start_mark_s: float | None = None
    """Where `prepare` begins; None for the beginning of the clip."""
    end_mark_s: float | None = None
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
        InvalidInputError: If the source is not a clip, or the marks leave nothing of it.
    """
    _, timeline = probe_with_timeline(source)
    whole = marked_span(timeline, start_s, end_s, name=str(source))
    spans = _spans(timeline, whole, longest_s)
    marks = (
        start_s,
        *(_mark(timeline, span.start) for span in spans[1:]),
        end_s,
    )
    return tuple(
        Piece(
            start_s=float((span.start - whole.start) * span.tick_s),
            duration_s=float(span.length_s),
            start_mark_s=before_s,
            end_mark_s=after_s,
        )
        for span, (before_s, after_s) in zip(spans, pairwise(marks), strict=True)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """The joined clip that was written."""

    path: Path
    duration_s: float
    is_video_copied: bool
    sound: Sound
    largest_gap_s: float
    """The largest amount by which a result is shorter (negative: longer) than its piece."""
    lost_marks: tuple[str, ...]
    """Marks of origin, such as `c2pa`, that results have and the joined clip lacks."""


def join(
    pieces: Sequence[Piece],
    results: Sequence[Path],
    target: Path,
    *,
    original: Path | None,
    new_audio: bool = False,
    original_start_s: float | None = None,
    on_progress: OnProgress = ignore_progress,
) -> Joined:
    """Join the results of pieces into one clip.

    Unless `new_audio` is true, each result begins where its piece did, so that video and original
    audio stay in sync: the last frame of a shorter result is held, and the end of a longer one is
    dropped. With their own audio, results follow one another at full length.

    Args:
        pieces: The pieces, in order.
        results: The result of each piece.
        target: Appears once it is complete; its folder must belong to the caller.
        original: The clip whose audio to use; None for a silent result.
        new_audio: Keep the results' own audio instead, cross-faded over 20 ms.
        original_start_s: Where the first piece begins in the original; None for its beginning.
        on_progress: Called after each frame.

    Raises:
        InvalidInputError: If a result or the original is not a clip.
        LocalError: If the target cannot be written.
    """
    if not pieces:
        msg = "there is nothing to join"
        raise InvalidInputError(msg)
    examined = [probe_with_timeline(result) for result in results]
    facts = [each for each, _ in examined]
    parts = [
        Part(source=result, timeline=timeline, span=timeline.whole)
        for result, (_, timeline) in zip(results, examined, strict=True)
    ]
    gaps_s = [
        piece.duration_s - float(part.span.length_s)
        for piece, part in zip(pieces, parts, strict=True)
    ]
    parts = _end_to_end(parts) if new_audio else _at_piece_starts(parts, pieces)
    last = parts[-1]
    length_s = last.at_s + (last.span.length_s if new_audio else Fraction(pieces[-1].duration_s))
    copies_video = _can_copy(parts, facts)
    pixels = 0 if copies_video else facts[0].width * facts[0].height
    with ENCODING_SLOTS.taken(pixels), ExitStack() as stack:
        container = stack.enter_context(written_mp4(target))
        if copies_video:
            streams = [_copied(container, parts)]
        else:
            streams = [_encoded(container, parts, facts[0])]
        sound = Sound.NONE
        if new_audio:
            sound = Sound.NEW
            streams.append(crossfaded_audio(container, parts))
        elif original is not None:
            audio = original_audio(
                container, stack, original, start_s=original_start_s, length_s=length_s
            )
            if audio is not None:
                sound = Sound.ORIGINAL
                streams.append(audio)
        interleave(container, streams, total_s=length_s, on_progress=on_progress)
    return Joined(
        path=target,
        duration_s=float(length_s),
        is_video_copied=copies_video,
        sound=sound,
        largest_gap_s=max(gaps_s, key=abs),
        lost_marks=tuple(sorted({mark for each in facts for mark in each.marks})),
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


def _can_copy(parts: list[Part], facts: list[ClipFacts]) -> bool:
    """Return whether the packets of all parts can form one stream."""
    formats = {_format_of(*each) for each in zip(parts, facts, strict=True)}
    if len(formats) > 1 or None in formats:
        return False
    last_dts: int | None = None
    for part in parts:
        frames = copyable_frames(part.timeline, part.span)
        if frames is None:
            return False
        shift = round(part.at_s / part.timeline.tick_s) - part.span.start
        for frame in frames:
            dts = (frame.dts or 0) + shift
            if last_dts is not None and dts <= last_dts:
                return False
            last_dts = dts
    return True


def _format_of(part: Part, facts: ClipFacts) -> tuple[object, ...] | None:
    """Return the properties that clips must share to be copied into one video stream."""
    if facts.video_codec not in ACCEPTED_CODECS:
        return None
    with opened_clip(part.source) as clip:
        context = video_stream(clip, name=str(part.source)).codec_context
        return (
            facts.video_codec,
            context.extradata,
            context.width,
            context.height,
            context.pix_fmt,
            facts.pixel_aspect,
            facts.rotation,
            part.timeline.tick_s,
        )


def _copied(container: "OutputContainer", parts: list[Part]) -> Packets:
    with opened_clip(parts[0].source) as first:
        target = copied_stream(container, video_stream(first, name=str(parts[0].source)))

    def packets() -> Packets:
        for part in parts:
            with opened_clip(part.source) as clip:
                stream = video_stream(clip, name=str(part.source))
                yield from copied_packets(clip, stream, target, part)

    return packets()


def _encoded(container: "OutputContainer", parts: list[Part], facts: ClipFacts) -> Packets:
    size = FrameSize(width=facts.shown_width & ~1, height=facts.shown_height & ~1)
    rate = rate_of(parts[0].timeline)
    return encoded_video(container, parts, rate=rate, size=size).packets()


def _spans(timeline: Timeline, whole: Span, longest_s: float) -> list[Span]:
    if whole.length_s <= longest_s + allowed_overrun_s(timeline.frame_s):
        return [whole]
    times = [time for time in timeline.times if whole.start < time < whole.end] or [whole.start]
    # Pieces end at frame boundaries, which can make one too long: then use one piece more.
    count = ceil(whole.length_s / Fraction(longest_s))
    while True:
        spans = _equal(whole, times, count)
        if all(span.length_s <= longest_s for span in spans):
            return spans
        count += 1


def _equal(whole: Span, times: list[int], count: int) -> list[Span]:
    cuts = [whole.start]
    for index in range(1, count):
        mark = whole.start + Fraction(index * (whole.end - whole.start), count)
        # Cut at the frame nearest to an equal share, unless a long frame makes that too uneven.
        nearest = min(times, key=lambda time: abs(time - mark))
        is_near = abs(nearest - mark) * whole.tick_s <= _NEAR_S
        cuts.append(max(nearest if is_near else round(mark), cuts[-1] + 1))
    return [
        Span(start=before, end=after, tick_s=whole.tick_s)
        for before, after in pairwise((*cuts, whole.end))
    ]


def _mark(timeline: Timeline, ticks: int) -> float:
    return round(float((ticks - timeline.start) * timeline.tick_s), _MARK_DIGITS)
