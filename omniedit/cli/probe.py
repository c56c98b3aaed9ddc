"""`omniedit probe`: what a clip is, whether the service takes it, and what it would cost."""

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from omniedit.cli.options import Video
from omniedit.cli.runtime import Runtime
from omniedit.errors import InvalidInputError, OmniEditError
from omniedit.models import CREDITS_PER_DOLLAR

if TYPE_CHECKING:
    from omniedit.media import ClipFacts, Problem
    from omniedit.ranges import Incomplete

_KEYS: Final = {
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
_NAMES: Final = {"mp4": "MP4", "mov": "QuickTime (MOV)", "h264": "H.264", "hevc": "H.265"}
_LABEL_WIDTH: Final = 9


def probe(context: typer.Context, video: Video) -> list[OmniEditError]:
    """Show what a clip is, whether it fits, and about what an edit of it costs.

    Of a URL little more than the header is read: 2 MiB and 3 seconds at most.
    """
    from omniedit.media import estimated_credits, verdict
    from omniedit.ranges import Incomplete

    runtime: Runtime = context.obj
    runtime.fields = {"video": video, "fits": None, "problems": []}
    runtime.fields |= dict.fromkeys((*_KEYS, "estimated_credits", "estimated_usd"))
    facts = _looked_at(runtime, video)
    if isinstance(facts, Incomplete):
        runtime.printer.warn(f"the clip could not be looked at: {facts.reason}")
        return []
    problems = verdict(facts)
    refusals = [problem for problem in problems if not problem.is_automatic]
    cost = None if facts.duration_s is None else estimated_credits(facts.duration_s)
    runtime.fields |= {key: getattr(facts, name) for key, name in _KEYS.items()}
    runtime.fields |= {
        "fits": not refusals,
        "problems": [
            {
                "code": each.code,
                "message": each.message,
                "fix": each.fix,
                "automatic": each.is_automatic,
            }
            for each in problems
        ],
        "estimated_credits": None if cost is None else round(cost, 1),
        "estimated_usd": None if cost is None else round(cost / CREDITS_PER_DOLLAR, 2),
    }
    for label, text in _described(facts, problems, cost):
        runtime.printer.line(f"{label:<{_LABEL_WIDTH}}  {text}")
    name = facts.name
    return [
        InvalidInputError(f"{name} does not fit: {each.message}", code=each.code, hint=each.fix)
        for each in refusals
    ]


def _looked_at(runtime: Runtime, video: str) -> "ClipFacts | Incomplete":
    from omniedit.http import HttpClient
    from omniedit.media import probe as look
    from omniedit.ranges import look_at_url
    from omniedit.urls import without_query

    if "://" not in video:
        return look(Path(video), name=video)
    printer = runtime.printer
    with HttpClient(trace=printer.trace if printer.verbose else None) as http:
        return look_at_url(
            http,
            video,
            lambda file: look(file, name=without_query(video), reads_all=file.is_small),
            allow_internal=runtime.settings.allows_internal_clips,
        )


def _described(
    facts: "ClipFacts", problems: "Sequence[Problem]", cost: float | None
) -> Generator[tuple[str, str]]:
    from omniedit.output.human import render_credits, render_size

    yield "length", _length(facts)
    fragmented = ", fragmented" if facts.is_fragmented else ""
    yield "container", _NAMES.get(facts.container, facts.container) + fragmented
    yield "pictures", _pictures(facts)
    yield "sound", _sound(facts)
    yield "size", "unknown" if facts.size_bytes is None else render_size(facts.size_bytes)
    yield "estimate", "unknown" if cost is None else render_credits(cost)
    if not problems:
        yield "verdict", "fits" if facts.duration_s is not None else "nothing speaks against it"
    for problem in problems:
        yield "verdict", f"{problem.message}: {problem.fix}"


def _length(facts: "ClipFacts") -> str:
    if facts.duration_s is None:
        return "unknown: the header does not tell"
    frames = "" if facts.frames is None else f", {facts.frames} frames"
    rate = "" if facts.frame_rate is None else f", {facts.frame_rate:.4g} a second"
    variable = ", variable" if facts.is_variable_rate else ""
    return f"{facts.duration_s:.3f} s{frames}{rate}{variable}"


def _pictures(facts: "ClipFacts") -> str:
    codec = _NAMES.get(facts.video_codec, facts.video_codec)
    turned = f", turned by {facts.rotation} degrees" if facts.rotation else ""
    return f"{codec}, {facts.shown_width}x{facts.shown_height}{turned}"


def _sound(facts: "ClipFacts") -> str:
    if facts.audio_codec is None:
        return "none"
    codec = facts.audio_codec.upper() if facts.audio_codec == "aac" else facts.audio_codec
    channels = "1 channel" if facts.audio_channels == 1 else f"{facts.audio_channels} channels"
    return f"{codec}, {facts.audio_rate} Hz, {channels}"
