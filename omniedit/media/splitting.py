"""A long clip as equal pieces that the service takes."""

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Final

from omniedit.media.pictures import Part
from omniedit.media.preparing import can_copy_pictures, marked_span, write_span
from omniedit.media.probing import probe
from omniedit.media.timeline import Timeline, read_timeline
from omniedit.media.verdicts import MAX_CLIP_S
from omniedit.media.writing import Advance, Span

_NEAR_S: Final = Fraction(1, 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part of a clip, edited on its own."""

    path: Path
    """Of the part; once it is edited, of its result."""
    start_s: float
    """Where it begins, counted from where the first piece does."""
    duration_s: float


def plan_split(
    source: Path,
    folder: Path,
    *,
    start_s: float | None = None,
    end_s: float | None = None,
    longest_s: float = MAX_CLIP_S,
) -> tuple[Piece, ...]:
    """Return the pieces that `split` would write, and write nothing.

    Args:
        source: A local clip.
        folder: Where they would go.
        start_s: Where the first begins; None for the beginning.
        end_s: Where the last ends; None for the end.
        longest_s: How long a piece may be.

    Raises:
        InvalidInputError: The source is no clip, or the marks leave nothing of it.
    """
    timeline = read_timeline(source)
    whole = marked_span(source, timeline, start_s, end_s)
    spans = _spans(timeline, whole, longest_s)
    return tuple(_pieces(spans, folder))


def split(
    source: Path,
    folder: Path,
    *,
    start_s: float | None = None,
    end_s: float | None = None,
    longest_s: float = MAX_CLIP_S,
    on_progress: Advance = lambda _done_s, _total_s: None,
) -> list[Piece]:
    """Write a clip as equal pieces, each picture in exactly one of them.

    A picture of a clip of variable rate that is shown for long may be continued in the next piece.

    Args:
        source: A local clip.
        folder: Gets `piece-01.mp4` and so on.
        start_s: Where the first begins; None for the beginning.
        end_s: Where the last ends; None for the end.
        longest_s: How long a piece may be.
        on_progress: Takes the seconds done and in all.

    Raises:
        InvalidInputError: The source is no clip, or the marks leave nothing of it.
        LocalError: The disk does not take it.
    """
    facts = probe(source, name=str(source))
    timeline = read_timeline(source)
    whole = marked_span(source, timeline, start_s, end_s)
    spans = _spans(timeline, whole, longest_s)
    pieces = _pieces(spans, folder)
    total_s = sum(piece.duration_s for piece in pieces)
    for piece, span in zip(pieces, spans, strict=True):
        write_span(
            Part(source=source, timeline=timeline, span=span),
            piece.path,
            can_copy=can_copy_pictures(facts),
            on_progress=_after(piece.start_s, total_s, on_progress),
        )
    return pieces


def _after(before_s: float, total_s: float, on_progress: Advance) -> Advance:
    return lambda done_s, _: on_progress(before_s + done_s, total_s)


def _spans(timeline: Timeline, whole: Span, longest_s: float) -> list[Span]:
    times = [time for time in timeline.times if whole.start < time < whole.end] or [whole.start]
    # Pieces end where a picture does, so the last of them may need one more to stay short enough.
    count = max(1, ceil(whole.length_s / Fraction(longest_s)))
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


def _pieces(spans: list[Span], folder: Path) -> list[Piece]:
    origin = spans[0].start
    return [
        Piece(
            path=folder / f"piece-{number:02d}.mp4",
            start_s=float((span.start - origin) * span.tick_s),
            duration_s=float(span.length_s),
        )
        for number, span in enumerate(spans, start=1)
    ]
