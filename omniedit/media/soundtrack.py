"""Replace the audio of a result with that of its clip, or remove it."""

from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Final

from omniedit.media.audio import can_copy_audio, copied_audio, encoded_audio
from omniedit.media.demux import audio_stream, opened_clip
from omniedit.media.mux import OnProgress, Packets, ignore_progress, interleave, written_mp4
from omniedit.media.preparing import ENCODING_SLOTS
from omniedit.media.probing import probe_with_timeline
from omniedit.media.timeline import Part, marked_span
from omniedit.media.video import copied_video, copyable_frames, encoded_video, rate_of
from omniedit.models import Sound

if TYPE_CHECKING:
    from av.container import OutputContainer

# Audio is padded with silence if it ends earlier than the video by more than this.
_TOLERANCE_S: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplacedAudio:
    """The result that was written with another soundtrack."""

    path: Path
    sound: Sound
    difference_s: float
    """How much longer the original is than the result (negative: shorter)."""
    lost_marks: tuple[str, ...]
    """Marks of origin, such as `c2pa`, that the result had and the new file lacks."""


def replace_audio(
    result: Path,
    target: Path,
    *,
    original: Path | None,
    original_start_s: float | None = None,
    original_end_s: float | None = None,
    on_progress: OnProgress = ignore_progress,
) -> ReplacedAudio:
    """Write a result with the audio of its clip, in sync from the first frame, or without audio.

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
    facts, timeline = probe_with_timeline(result)
    part = Part(source=result, timeline=timeline, span=timeline.whole)
    length_s = part.span.length_s
    difference_s = 0.0
    if original is not None:
        _, original_timeline = probe_with_timeline(original)
        span = marked_span(original_timeline, original_start_s, original_end_s, name=str(original))
        difference_s = float(span.length_s - length_s)
    copies_video = copyable_frames(timeline, part.span) is not None
    pixels = 0 if copies_video else facts.width * facts.height
    with ENCODING_SLOTS.taken(pixels), ExitStack() as stack:
        container = stack.enter_context(written_mp4(target))
        if copies_video:
            video = copied_video(container, stack.enter_context(opened_clip(result)), part)
        else:
            video = encoded_video(container, [part], rate=rate_of(timeline)).packets()
        audio = None
        if original is not None:
            audio = original_audio(
                container, stack, original, start_s=original_start_s, length_s=length_s
            )
        interleave(
            container,
            [video, audio] if audio else [video],
            total_s=length_s,
            on_progress=on_progress,
        )
    return ReplacedAudio(
        path=target,
        sound=Sound.ORIGINAL if audio else Sound.NONE,
        difference_s=difference_s,
        lost_marks=facts.marks,
    )


def original_audio(
    container: "OutputContainer",
    stack: ExitStack,
    original: Path,
    *,
    start_s: float | None,
    length_s: Fraction,
) -> Packets | None:
    """Add a stream and return a clip's audio from a mark on; None if the clip has none.

    Args:
        container: The file that gets the stream.
        stack: Closes the clip; must stay open until the packets are written.
        original: A local clip.
        start_s: Where to begin; None for the beginning.
        length_s: How much to take.
    """
    clip = stack.enter_context(opened_clip(original))
    if audio_stream(clip) is None:
        return None
    # A cut between two frames takes effect at the next one, for the audio too.
    facts, timeline = probe_with_timeline(original)
    span = marked_span(timeline, start_s, None, name=str(original))
    is_covered = facts.audio_s is not None and facts.audio_s + _TOLERANCE_S >= length_s
    if can_copy_audio(clip) and not start_s and is_covered:
        return copied_audio(container, clip, start_s=span.start_s, length_s=length_s)
    return encoded_audio(container, clip, start_s=span.start_s, length_s=length_s, pads=True)
