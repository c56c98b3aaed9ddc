"""The edited pieces of a clip as one again."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from omniedit.errors import InvalidInputError
from omniedit.media.canvas import Form
from omniedit.media.crossfade import LAYOUT, RATE, Heard, crossfaded
from omniedit.media.opening import opened_clip, picture_stream
from omniedit.media.pictures import (
    Part,
    encoded_pictures,
    moved_packets,
    rate_of,
    shots_within,
)
from omniedit.media.preparing import marked_span
from omniedit.media.probing import probe, sound_stream
from omniedit.media.sound import (
    aac_stream,
    can_be_copied,
    copied_sound,
    encoded,
    encoded_sound,
)
from omniedit.media.splitting import Piece
from omniedit.media.timeline import read_timeline
from omniedit.media.writing import (
    Advance,
    Packets,
    Span,
    copied_stream,
    interleave,
    written_mp4,
)

if TYPE_CHECKING:
    from av.container import OutputContainer


class Sound(StrEnum):
    """Whose sound a joined clip has."""

    ORIGINAL = "original"
    GENERATED = "generated"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """What was written."""

    path: Path
    duration_s: float
    has_copied_pictures: bool
    sound: Sound
    largest_gap_s: float
    """By how much a piece's result was shorter (or, negative, longer) than the piece, at worst."""


def join(
    pieces: Sequence[Piece],
    results: Sequence[Path],
    target: Path,
    *,
    original: Path | None,
    new_audio: bool = False,
    original_start_s: float | None = None,
    on_progress: Advance = lambda _done_s, _total_s: None,
) -> Joined:
    """Write the results of pieces as one clip.

    With the original's sound every result begins where its piece did, so that sound and pictures
    stay together however long the results are: of a shorter one the last picture stays, of a longer
    one the end is left out. With their own sound they follow one another as they are.

    Args:
        pieces: In order.
        results: Of each of them, edited.
        target: Appears once it is whole; in a folder that belongs to the caller.
        original: Whose sound is laid over; None for a clip without sound.
        new_audio: Take the results' own sound instead, with a cross-fade of 20 ms.
        original_start_s: The mark of the first piece in the original; None for its beginning.
        on_progress: Takes the seconds done and in all.

    Raises:
        InvalidInputError: A result, or the original, is no clip.
        LocalError: The disk does not take it.
    """
    if not pieces:
        msg = "there is nothing to join"
        raise InvalidInputError(msg)
    parts = [_part(result) for result in results]
    gaps_s = [
        piece.duration_s - float(part.span.length_s)
        for piece, part in zip(pieces, parts, strict=True)
    ]
    parts = _in_a_row(parts) if new_audio else _in_place(parts, pieces)
    last = parts[-1]
    length_s = last.at_s + (last.span.length_s if new_audio else Fraction(pieces[-1].duration_s))
    with ExitStack() as stack:
        container = stack.enter_context(written_mp4(target))
        is_copied = _can_be_copied(parts)
        tracks = [(_copied if is_copied else _encoded)(container, parts)]
        sound = Sound.NONE
        if new_audio:
            sound, track = Sound.GENERATED, _generated_sound(container, parts)
            tracks.append(track)
        elif original is not None:
            track_or_none = _original_sound(
                container, stack, original, start_s=original_start_s, length_s=length_s
            )
            if track_or_none is not None:
                sound = Sound.ORIGINAL
                tracks.append(track_or_none)
        interleave(
            container,
            tracks,
            lambda done_s: on_progress(min(done_s, float(length_s)), float(length_s)),
        )
    return Joined(
        path=target,
        duration_s=float(length_s),
        has_copied_pictures=is_copied,
        sound=sound,
        largest_gap_s=max(gaps_s, key=abs),
    )


def _part(path: Path) -> Part:
    timeline = read_timeline(path)
    span = Span(start=timeline.start, end=timeline.end, tick_s=timeline.tick_s)
    return Part(source=path, timeline=timeline, span=span)


def _in_a_row(parts: list[Part]) -> list[Part]:
    at_s = Fraction(0)
    placed: list[Part] = []
    for part in parts:
        placed.append(replace(part, at_s=at_s))
        at_s += part.span.length_s
    return placed


def _in_place(parts: list[Part], pieces: Sequence[Piece]) -> list[Part]:
    placed: list[Part] = []
    for part, piece in zip(parts, pieces, strict=True):
        # Half a picture beyond the end is a rounding; what begins later is left out.
        tick_s, half_s = part.timeline.tick_s, Fraction(part.timeline.frame_s) / 2
        limit = part.span.start + (Fraction(piece.duration_s) - half_s) / tick_s
        end = next((time for time in part.timeline.times if time > limit), part.span.end)
        end = max(end, part.timeline.times[0] + 1)
        placed.append(replace(part, span=replace(part.span, end=end), at_s=Fraction(piece.start_s)))
    return placed


def _can_be_copied(parts: list[Part]) -> bool:
    """Return whether the packets of all parts make one stream."""
    forms = {_form_of(part) for part in parts}
    if len(forms) > 1 or None in forms:
        return False
    last_dts: int | None = None
    for part in parts:
        shots = shots_within(part.timeline, part.span)
        if shots is None:
            return False
        shift = round(part.at_s / part.timeline.tick_s) - part.span.start
        for shot in shots:
            dts = (shot.dts or 0) + shift
            if last_dts is not None and dts <= last_dts:
                return False
            last_dts = dts
    return True


def _form_of(part: Part) -> tuple[object, ...] | None:
    """Return what must be the same of two clips whose pictures share a stream."""
    facts = probe(part.source, name=str(part.source))
    if facts.video_codec not in {"h264", "hevc"}:
        return None
    with opened_clip(part.source) as clip:
        context = picture_stream(clip, name=str(part.source)).codec_context
        return (
            facts.video_codec,
            context.extradata,
            context.width,
            context.height,
            context.pix_fmt,
            context.sample_aspect_ratio,
            facts.rotation,
            part.timeline.tick_s,
        )


def _copied(container: "OutputContainer", parts: list[Part]) -> Packets:
    stack = ExitStack()
    first = stack.enter_context(opened_clip(parts[0].source))
    with stack:
        target = copied_stream(container, picture_stream(first, name=str(parts[0].source)))

    def packets() -> Packets:
        for part in parts:
            with opened_clip(part.source) as clip:
                stream = picture_stream(clip, name=str(part.source))
                yield from moved_packets(clip, stream, target, part)

    return packets()


def _encoded(container: "OutputContainer", parts: list[Part]) -> Packets:
    facts = probe(parts[0].source, name=str(parts[0].source))
    form = Form(width=facts.shown_width & ~1, height=facts.shown_height & ~1)
    return encoded_pictures(container, parts, rate=rate_of(parts[0].timeline), form=form)


def _generated_sound(container: "OutputContainer", parts: list[Part]) -> Packets:
    heard = [Heard(path=part.source, at_s=part.at_s, length_s=part.span.length_s) for part in parts]
    return encoded(aac_stream(container, rate=RATE, layout=LAYOUT), crossfaded(heard))


def _original_sound(
    container: "OutputContainer",
    stack: ExitStack,
    original: Path,
    *,
    start_s: float | None,
    length_s: Fraction,
) -> Packets | None:
    clip = stack.enter_context(opened_clip(original))
    if sound_stream(clip) is None:
        return None
    # A mark between two pictures begins with the next one, and so does the sound.
    origin_s = marked_span(original, read_timeline(original), start_s, None).origin_s
    add_sound = copied_sound if can_be_copied(clip) and not start_s else encoded_sound
    return add_sound(container, clip, origin_s=origin_s, length_s=length_s)
