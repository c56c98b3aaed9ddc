"""The facts about a clip, as lines for people and as the fields of a document."""

from collections.abc import Generator, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from omniedit.media.facts import C2PA, codec_name, container_name
from omniedit.models import CREDITS_PER_DOLLAR, Model
from omniedit.terminal.human import render_estimate, render_size
from omniedit.terminal.streams import Colour, Line, Span, labelled

if TYPE_CHECKING:
    from omniedit.media.facts import AudioTrack, ClipFacts, Problem

_FACTS: Final[Mapping[str, str]] = {
    "container": "container",
    "fragmented": "is_fragmented",
    "duration_seconds": "duration_s",
    "container_seconds": "container_s",
    "measured": "is_measured",
    "frames": "frames",
    "frame_rate": "frame_rate",
    "variable_frame_rate": "is_variable_rate",
    "video_codec": "video_codec",
    "width": "width",
    "height": "height",
    "rotation": "rotation",
    "pixel_aspect": "pixel_aspect",
    "display_aspect": "display_aspect",
    "interlaced": "is_interlaced",
    "pixel_format": "pixel_format",
    "bit_depth": "bit_depth",
    "chroma": "chroma",
    "hdr": "hdr",
    "color_range": "color_range",
    "color_primaries": "color_primaries",
    "color_transfer": "color_transfer",
    "color_space": "color_space",
    "audio_codec": "audio_codec",
    "audio_rate": "audio_rate",
    "audio_channels": "audio_channels",
    "audio_seconds": "audio_end_s",
    "bytes": "size_bytes",
}
_LABEL_WIDTH: Final = 9


def clip_fields(
    video: str,
    facts: "ClipFacts",
    problems: "Sequence[Problem]",
    *,
    model: Model,
    fits: bool | None,
    cost: float | None,
) -> dict[str, object]:
    """Return the fields of a clip's document.

    Args:
        video: VIDEO as typed.
        facts: The facts about the clip.
        problems: Why the service does not accept the clip unchanged.
        model: The model that would edit it.
        fits: Whether it can be edited; None if unknown.
        cost: The estimated credits of an edit.
    """
    return {
        "video": video,
        "model": model.model_id,
        "fits": fits,
        "problems": [
            {
                "code": problem.code,
                "message": problem.message,
                "fix": problem.fix,
                "automatic": problem.is_automatic,
            }
            for problem in problems
        ],
        **{key: _value(getattr(facts, name)) for key, name in _FACTS.items()},
        "audio_tracks": [
            {
                "codec": track.codec,
                "rate": track.rate,
                "channels": track.channels,
                "language": track.language,
                "used": track.is_used,
            }
            for track in facts.audio_tracks
        ],
        "marks": list(facts.marks),
        "estimated_credits": None if cost is None else round(cost, 1),
        "estimated_usd": None if cost is None else round(cost / CREDITS_PER_DOLLAR, 2),
    }


def render_clip(
    facts: "ClipFacts",
    problems: "Sequence[Problem]",
    *,
    model: Model,
    cost: float | None,
    width: int | None,
) -> list[Line]:
    """Return a line for each fact about a clip, and the verdict last.

    Args:
        facts: The facts about the clip.
        problems: Why the service does not accept the clip unchanged.
        model: The model that would edit it.
        cost: The estimated credits of an edit.
        width: The terminal's width; None for a script, which gets unwrapped lines.
    """
    rows: Iterable[tuple[str, str, Colour | None]] = (
        *_facts(facts),
        ("model", _model(model), None),
        ("estimate", "unknown" if cost is None else render_estimate(cost), None),
        *_verdict(facts, problems),
    )
    return [
        line
        for label, text, colour in rows
        for line in labelled([Span(f"{label:<{_LABEL_WIDTH}}  ")], Span(text, colour), width)
    ]


def _facts(facts: "ClipFacts") -> Generator[tuple[str, str, Colour | None]]:
    fragmented = ", fragmented" if facts.is_fragmented else ""
    size = "unknown" if facts.size_bytes is None else render_size(facts.size_bytes)
    yield "length", _length(facts), None
    length = "" if facts.container_s is None else f", {facts.container_s:.3f} s"
    yield "container", container_name(facts.container) + length + fragmented, None
    yield "video", _video(facts), None
    yield "colours", _colours(facts), None
    for track in facts.audio_tracks:
        yield "audio", _audio(track, is_one_of_many=len(facts.audio_tracks) > 1), None
    if not facts.audio_tracks:
        yield "audio", "none", None
    yield "size", size, None
    if C2PA in facts.marks:
        yield "marks", "C2PA manifest (Content Credentials)", None


def _verdict(
    facts: "ClipFacts", problems: "Sequence[Problem]"
) -> Generator[tuple[str, str, Colour | None]]:
    for problem in problems:
        if problem.is_automatic:
            yield "verdict", f"{problem.message}: {problem.fix}", Colour.YELLOW
        else:
            # What to do about it is in the error's hint.
            yield "verdict", f"does not fit: {problem.message}", Colour.RED
    if not problems and facts.duration_s is None:
        yield "verdict", "no problems found", Colour.YELLOW
    elif not problems:
        yield "verdict", "fits", Colour.GREEN


def _model(model: Model) -> str:
    if not model.is_known:
        return f"{model.model_id} (unknown to omniedit)"
    sizes = " or ".join(f"{width}x{height}" for width, height in model.sizes)
    return f"{model.model_id}: clips of {model.longest_clip_s:g} s at most, results of {sizes}"


def _length(facts: "ClipFacts") -> str:
    if facts.duration_s is None:
        return "unknown: not in the header"
    frames = "" if facts.frames is None else f", {facts.frames} frames"
    rate = "" if facts.frame_rate is None else f", {facts.frame_rate:.4g} fps"
    variable = ", variable" if facts.is_variable_rate else ""
    return f"{facts.duration_s:.3f} s{frames}{rate}{variable}"


def _video(facts: "ClipFacts") -> str:
    parts = [codec_name(facts.video_codec), f"{facts.shown_width}x{facts.shown_height}"]
    if facts.rotation:
        parts.append(f"rotated by {facts.rotation} degrees")
    parts.append(f"SAR {_ratio(facts.pixel_aspect)}, DAR {_ratio(facts.display_aspect)}")
    parts.append("interlaced" if facts.is_interlaced else "progressive")
    return ", ".join(parts)


def _colours(facts: "ClipFacts") -> str:
    depth = f"{facts.bit_depth} bits" if facts.bit_depth else None
    kind = f"HDR ({facts.hdr})" if facts.hdr else "SDR"
    return ", ".join(filter(None, [depth, facts.chroma, kind]))


def _audio(track: "AudioTrack", *, is_one_of_many: bool) -> str:
    channels = "1 channel" if track.channels == 1 else f"{track.channels} channels"
    parts = [codec_name(track.codec), f"{track.rate} Hz", channels]
    if track.language:
        parts.append(track.language)
    if is_one_of_many:
        parts.append("used" if track.is_used else "not used")
    return ", ".join(parts)


def _ratio(ratio: Fraction) -> str:
    return f"{ratio.numerator}:{ratio.denominator}"


def _value(value: object) -> object:
    return _ratio(value) if isinstance(value, Fraction) else value
