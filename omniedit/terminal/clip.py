"""What a clip is, as lines for people and as fields of a document."""

import textwrap
from collections.abc import Generator, Iterable, Mapping
from typing import TYPE_CHECKING, Final

from omniedit.media import codec_name, container_name
from omniedit.models import CREDITS_PER_DOLLAR
from omniedit.terminal.harmless import make_harmless
from omniedit.terminal.ink import Ink, paint
from omniedit.terminal.units import render_credits, render_size

if TYPE_CHECKING:
    from omniedit.media import ClipFacts, Problem

_FACTS: Final[Mapping[str, str]] = {
    "container": "container",
    "fragmented": "is_fragmented",
    "duration_seconds": "duration_s",
    "measured": "is_measured",
    "frames": "frames",
    "frame_rate": "frame_rate",
    "variable_frame_rate": "is_variable_rate",
    "video_codec": "video_codec",
    "width": "width",
    "height": "height",
    "rotation": "rotation",
    "pixel_format": "pixel_format",
    "color_range": "color_range",
    "color_primaries": "color_primaries",
    "color_transfer": "color_transfer",
    "color_space": "color_space",
    "audio_codec": "audio_codec",
    "audio_rate": "audio_rate",
    "audio_channels": "audio_channels",
    "bytes": "size_bytes",
}
_LABEL_WIDTH: Final = 9
_GAP: Final = "  "
_NARROWEST: Final = 20
"""Cells for the text beside a label; a terminal that has fewer breaks lines itself."""


def clip_fields(
    video: str,
    facts: "ClipFacts",
    problems: "Iterable[Problem]",
    *,
    fits: bool | None,
    cost: float | None,
) -> dict[str, object]:
    """Return the fields of a clip's document.

    Args:
        video: It, as it was typed.
        facts: What it is.
        problems: What is against it.
        fits: Whether it can be edited; None where that is unknown.
        cost: About how many credits an edit takes.
    """
    return {
        "video": video,
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
        **{key: getattr(facts, name) for key, name in _FACTS.items()},
        "estimated_credits": None if cost is None else round(cost, 1),
        "estimated_usd": None if cost is None else round(cost / CREDITS_PER_DOLLAR, 2),
    }


def render_clip(
    facts: "ClipFacts",
    problems: "Iterable[Problem]",
    *,
    cost: float | None,
    width: int | None,
    colour: bool = False,
) -> list[str]:
    """Return a line for each thing that is known of a clip, the verdict last.

    Args:
        facts: What it is.
        problems: What is against it.
        cost: About how many credits an edit takes.
        width: Of the terminal; None for a script, which gets whole lines.
        colour: Mark the verdict.
    """
    rows = [*_facts(facts, cost), *_verdict(facts, problems)]
    return [
        line
        for label, text, ink in rows
        for line in _laid_out(label, make_harmless(text), ink if colour else None, width)
    ]


def _laid_out(label: str, text: str, ink: Ink | None, width: int | None) -> list[str]:
    """Return a row as one line, or as many as its terminal needs, the label beside the first."""
    room = None if width is None else width - _LABEL_WIDTH - len(_GAP)
    parts = [text] if room is None or room < _NARROWEST else textwrap.wrap(text, room)
    labels = [label, *[""] * (len(parts) - 1)]
    return [
        f"{name:<{_LABEL_WIDTH}}{_GAP}{paint(part, ink)}"
        for name, part in zip(labels, parts, strict=True)
    ]


def _facts(facts: "ClipFacts", cost: float | None) -> Generator[tuple[str, str, Ink | None]]:
    fragmented = ", fragmented" if facts.is_fragmented else ""
    size = "unknown" if facts.size_bytes is None else render_size(facts.size_bytes)
    yield "length", _length(facts), None
    yield "container", container_name(facts.container) + fragmented, None
    yield "pictures", _pictures(facts), None
    yield "sound", _sound(facts), None
    yield "size", size, None
    yield "estimate", "unknown" if cost is None else render_credits(cost), None


def _verdict(
    facts: "ClipFacts", problems: "Iterable[Problem]"
) -> Generator[tuple[str, str, Ink | None]]:
    for problem in problems:
        if problem.is_automatic:
            yield "verdict", f"{problem.message}: {problem.fix}", Ink.YELLOW
        else:
            # What to do about it is the hint's to say.
            yield "verdict", f"does not fit: {problem.message}", Ink.RED
    if not problems and facts.duration_s is None:
        yield "verdict", "nothing known speaks against it", Ink.YELLOW
    elif not problems:
        yield "verdict", "fits", Ink.GREEN


def _length(facts: "ClipFacts") -> str:
    if facts.duration_s is None:
        return "unknown: the header does not tell"
    frames = "" if facts.frames is None else f", {facts.frames} frames"
    rate = "" if facts.frame_rate is None else f", {facts.frame_rate:.4g} a second"
    variable = ", variable" if facts.is_variable_rate else ""
    return f"{facts.duration_s:.3f} s{frames}{rate}{variable}"


def _pictures(facts: "ClipFacts") -> str:
    turned = f", turned by {facts.rotation} degrees" if facts.rotation else ""
    return f"{codec_name(facts.video_codec)}, {facts.shown_width}x{facts.shown_height}{turned}"


def _sound(facts: "ClipFacts") -> str:
    if facts.audio_codec is None:
        return "none"
    channels = "1 channel" if facts.audio_channels == 1 else f"{facts.audio_channels} channels"
    return f"{codec_name(facts.audio_codec)}, {facts.audio_rate} Hz, {channels}"
