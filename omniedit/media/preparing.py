"""A clip made into what the service takes: cut, converted, or both."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

from omniedit.media.audio import can_copy_audio, copied_audio, encoded_audio
from omniedit.media.demux import opened_clip
from omniedit.media.facts import ClipFacts
from omniedit.media.mux import Advance, interleave, written_mp4
from omniedit.media.probing import probe, read_timeline
from omniedit.media.timeline import Part, marked_span
from omniedit.media.video import copied_video, copyable_frames, encoded_video, rate_of
from omniedit.models import MAX_UPLOAD_BYTES

_COPYABLE_CODECS: Final = frozenset({"h264", "hevc"})
# Containers that give every packet its time of showing.
_COPYABLE_CONTAINERS: Final = frozenset({"mp4", "mov", "3gp", "matroska", "webm", "mpegts"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What was written."""

    path: Path
    start_s: float
    """Where it begins in the source."""
    duration_s: float
    is_video_copied: bool
    is_audio_copied: bool | None
    """None if there is no audio."""


def prepare(
    source: Path,
    target: Path,
    *,
    start_s: float | None = None,
    end_s: float | None = None,
    largest_bytes: int = MAX_UPLOAD_BYTES,
    on_progress: Advance = lambda _done_s, _total_s: None,
) -> Prepared:
    """Write a clip, or a part of it, as an H.264 or H.265 MP4 with AAC audio.

    What can be copied is copied: video if the cut allows it, AAC if nothing before it is cut off.
    The result begins with the first frame at or after `start_s`, and ends before the first one at
    or after `end_s`; at a variable frame rate it begins and ends at the marks themselves.

    Args:
        source: A local clip.
        target: Appears once it is complete, in a folder that belongs to the caller.
        start_s: Where to begin; None for the beginning.
        end_s: Where to stop; None for the end.
        largest_bytes: Video that would become larger is encoded, even if it could be copied.
        on_progress: Takes the seconds done and in all.

    Raises:
        InvalidInputError: The source is not a clip, or the marks leave nothing of it.
        LocalError: The target cannot be written.
    """
    facts = probe(source, name=str(source))
    timeline = read_timeline(source)
    span = marked_span(timeline, start_s, end_s, name=str(source))
    share = float(span.length_s) / timeline.duration_s
    can_copy = _can_copy_video(facts) and (facts.size_bytes or 0) * share <= largest_bytes
    part = Part(source=source, timeline=timeline, span=span)
    return _write(part, target, can_copy=can_copy, on_progress=on_progress)


def _can_copy_video(facts: ClipFacts) -> bool:
    return facts.video_codec in _COPYABLE_CODECS and facts.container in _COPYABLE_CONTAINERS


def _write(part: Part, target: Path, *, can_copy: bool, on_progress: Advance) -> Prepared:
    span = part.span
    length_s = span.length_s
    copies_video = can_copy and copyable_frames(part.timeline, span) is not None
    with ExitStack() as stack:
        container = stack.enter_context(written_mp4(target))
        if copies_video:
            video = copied_video(container, stack.enter_context(opened_clip(part.source)), part)
        else:
            video = encoded_video(container, [part], rate=rate_of(part.timeline))
        clip = stack.enter_context(opened_clip(part.source))
        copies_audio = can_copy_audio(clip) and span.start == part.timeline.start
        add_audio = copied_audio if copies_audio else encoded_audio
        audio = add_audio(container, clip, start_s=span.start_s, length_s=length_s)
        interleave(container, [video, audio] if audio else [video], _towards(on_progress, length_s))
    return Prepared(
        path=target,
        start_s=float((span.start - part.timeline.start) * span.tick_s),
        duration_s=float(length_s),
        is_video_copied=copies_video,
        is_audio_copied=copies_audio if audio else None,
    )


def _towards(on_progress: Advance, total_s: Fraction) -> Callable[[float], None]:
    return lambda done_s: on_progress(min(done_s, float(total_s)), float(total_s))
