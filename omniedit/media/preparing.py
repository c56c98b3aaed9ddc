"""A clip made into what the service takes: cut, converted, or both."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

from omniedit.media.facts import ClipFacts
from omniedit.media.marks import check_marks
from omniedit.media.opening import opened_clip
from omniedit.media.pictures import Part, copied_pictures, encoded_pictures, rate_of, shots_within
from omniedit.media.probing import probe
from omniedit.media.sound import can_be_copied, copied_sound, encoded_sound
from omniedit.media.timeline import Timeline, read_timeline
from omniedit.media.writing import Advance, Span, interleave, written_mp4
from omniedit.models import MAX_UPLOAD_BYTES

# Pictures whose times were rounded belong to the mark beside them.
_ROUNDING_S: Final = Fraction(2, 1000)
_PICTURES: Final = frozenset({"h264", "hevc"})
# Containers that give every packet both of its times.
_COPYABLE: Final = frozenset({"mp4", "mov", "3gp", "matroska", "webm", "mpegts"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What was written."""

    path: Path
    start_s: float
    """Where it begins in the source."""
    duration_s: float
    has_copied_pictures: bool
    has_copied_sound: bool | None
    """None where there is no sound."""


def prepare(
    source: Path,
    target: Path,
    *,
    start_s: float | None = None,
    end_s: float | None = None,
    largest_bytes: int = MAX_UPLOAD_BYTES,
    on_progress: Advance = lambda _done_s, _total_s: None,
) -> Prepared:
    """Write a clip, or a part of it, as an H.264 or H.265 MP4 with AAC sound.

    What can be copied is copied: pictures where the cut allows it, AAC where nothing is cut off in
    front. The result begins with the first picture at or after `start_s`, and ends before the first
    at or after `end_s`; of a clip of variable rate it begins and ends at the marks themselves.

    Args:
        source: A local clip.
        target: Appears once it is whole; in a folder that belongs to the caller.
        start_s: Where to begin; None for the beginning.
        end_s: Where to stop; None for the end.
        largest_bytes: What is larger is not copied, though it could be.
        on_progress: Takes the seconds done and in all.

    Raises:
        InvalidInputError: The source is no clip, or the marks leave nothing of it.
        LocalError: The disk does not take it.
    """
    facts = probe(source, name=str(source))
    timeline = read_timeline(source)
    span = marked_span(source, timeline, start_s, end_s)
    return write_span(
        Part(source=source, timeline=timeline, span=span),
        target,
        can_copy=can_copy_pictures(facts)
        and (facts.size_bytes or 0) * float(span.length_s) / timeline.duration_s <= largest_bytes,
        on_progress=on_progress,
    )


def can_copy_pictures(facts: ClipFacts) -> bool:
    """Return whether an MP4 takes the pictures of a clip as they are."""
    return facts.video_codec in _PICTURES and facts.container in _COPYABLE


def marked_span(
    source: Path, timeline: Timeline, start_s: float | None, end_s: float | None
) -> Span:
    """Return the pictures between two marks, which are counted from the first picture.

    Raises:
        InvalidInputError: There are none.
    """
    check_marks(
        start_s,
        end_s,
        name=str(source),
        duration_s=timeline.duration_s,
        frame_s=timeline.frame_s,
    )
    tolerance = min(_ROUNDING_S, Fraction(timeline.frame_s) / 4) / timeline.tick_s
    first, last = timeline.start, timeline.end
    if start_s is not None:
        mark = timeline.start + Fraction(start_s) / timeline.tick_s
        first = _snapped(timeline, mark, tolerance, otherwise=timeline.times[-1])
    if end_s is not None:
        mark = timeline.start + Fraction(end_s) / timeline.tick_s
        last = min(max(_snapped(timeline, mark, tolerance, otherwise=last), first + 1), last)
    return Span(start=first, end=last, tick_s=timeline.tick_s)


def _snapped(timeline: Timeline, mark: Fraction, tolerance: Fraction, *, otherwise: int) -> int:
    """Return where a mark cuts: at the next picture, where pictures are as long as each other.

    A picture of a clip of variable rate may be shown for seconds: it is cut in two.
    """
    following = next((time for time in timeline.times if time >= mark - tolerance), None)
    if timeline.is_variable and (following is None or following > mark + tolerance):
        return min(round(mark), timeline.end)
    return otherwise if following is None else following


def write_span(part: Part, target: Path, *, can_copy: bool, on_progress: Advance) -> Prepared:
    """Write a part of a clip.

    Args:
        part: Of which clip, and which.
        target: Appears once it is whole.
        can_copy: Whether an MP4 takes its pictures as they are.
        on_progress: Takes the seconds done and in all.
    """
    span = part.span
    length_s = span.length_s
    copies_pictures = can_copy and shots_within(part.timeline, span) is not None
    with ExitStack() as stack:
        container = stack.enter_context(written_mp4(target))
        if copies_pictures:
            pictures = copied_pictures(
                container, stack.enter_context(opened_clip(part.source)), part
            )
        else:
            pictures = encoded_pictures(container, [part], rate=rate_of(part.timeline))
        heard = stack.enter_context(opened_clip(part.source))
        copies_sound = can_be_copied(heard) and span.start == part.timeline.start
        add_sound = copied_sound if copies_sound else encoded_sound
        sound = add_sound(container, heard, origin_s=span.origin_s, length_s=length_s)
        interleave(
            container, [pictures] + ([sound] if sound else []), _towards(on_progress, length_s)
        )
    return Prepared(
        path=target,
        start_s=float((span.start - part.timeline.start) * span.tick_s),
        duration_s=float(length_s),
        has_copied_pictures=copies_pictures,
        has_copied_sound=copies_sound if sound else None,
    )


def _towards(on_progress: Advance, total_s: Fraction) -> Callable[[float], None]:
    return lambda done_s: on_progress(min(done_s, float(total_s)), float(total_s))
