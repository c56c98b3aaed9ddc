"""A long clip as equal pieces that the service takes."""

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Final

from omniedit.media.preparing import marked_span
from omniedit.media.timeline import Timeline, read_timeline
from omniedit.media.verdicts import MAX_CLIP_S, overrun_s
from omniedit.media.writing import Span

_NEAR_S: Final = Fraction(1, 4)
_MARK_DIGITS: Final = 6
"""Finer than the ticks of any usual container: a mark snaps back to the picture it was made of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part of a clip, edited on its own."""

    start_s: float
    """Where it begins, counted from where the first piece does."""
    duration_s: float
    start_mark_s: float | None = None
    """Where `prepare` begins to write it; None for the beginning of the clip."""
    end_mark_s: float | None = None
    """Where `prepare` stops; None for the end of the clip."""


def plan_split(
    source: Path,
    *,
    start_s: float | None = None,
    end_s: float | None = None,
    longest_s: float = MAX_CLIP_S,
) -> tuple[Piece, ...]:
    """Return equal pieces of a clip: with their marks each picture is in exactly one of them.

    What is edited in one go without being split is one piece.
    A picture of a clip of variable rate that is shown for long may be continued in the next piece.

    Args:
        source: A local clip.
        start_s: Where the first begins; None for the beginning.
        end_s: Where the last ends; None for the end.
        longest_s: How long a piece may be, and one that is all a frame more.

    Raises:
        InvalidInputError: The source is no clip, or the marks leave nothing of it.
    """
    timeline = read_timeline(source)
    whole = marked_span(source, timeline, start_s, end_s)
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


def _spans(timeline: Timeline, whole: Span, longest_s: float) -> list[Span]:
    if whole.length_s <= longest_s + overrun_s(timeline.frame_s):
        return [whole]
    times = [time for time in timeline.times if whole.start < time < whole.end] or [whole.start]
    # Pieces end where a picture does, so the last of them may need one more to stay short enough.
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
        # The picture that begins nearest to where an equal piece would, unless one is shown long.
        nearest = min(times, key=lambda time: abs(time - mark))
        is_near = abs(nearest - mark) * whole.tick_s <= _NEAR_S
        cuts.append(max(nearest if is_near else round(mark), cuts[-1] + 1))
    return [
        Span(start=before, end=after, tick_s=whole.tick_s)
        for before, after in pairwise((*cuts, whole.end))
    ]


def _mark(timeline: Timeline, ticks: int) -> float:
    return round(float((ticks - timeline.start) * timeline.tick_s), _MARK_DIGITS)
