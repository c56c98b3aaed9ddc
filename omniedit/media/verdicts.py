"""Whether the service would take a clip, and what it would cost about."""

from dataclasses import dataclass
from typing import Final

from omniedit.media.facts import ClipFacts
from omniedit.media.names import codec_name, container_name
from omniedit.models import MAX_UPLOAD_BYTES

MAX_CLIP_S: Final = 10.0
"""`video_urls` takes an MP4 of 10 seconds at most (API reference)."""
TOKENS_PER_SECOND: Final = 5792
"""Video input, and 720p output with its sound, a second each (the vendor's price pages, 2026)."""
INPUT_CREDITS_PER_TOKEN: Final = 86.7e-6
"""86.7 credits per million input tokens (the vendor's price pages, 2026)."""
OUTPUT_CREDITS_PER_TOKEN: Final = 1011.5e-6
"""1,011.5 credits per million output tokens (the vendor's price pages, 2026)."""
CREDITS_PER_SECOND: Final = TOKENS_PER_SECOND * (INPUT_CREDITS_PER_TOKEN + OUTPUT_CREDITS_PER_TOKEN)
"""About 6.36, since a result is as long as its clip; `credits_reserved` rules."""

_CODECS: Final = frozenset({"h264", "hevc"})
# Containers store times rounded to their ticks, the coarsest to a millisecond.
_ROUNDING_S: Final = 0.0015
# A picture that is shown longer makes no length that is meant to be rounded.
_LONGEST_FRAME_S: Final = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One reason why the service would not take a clip as it is."""

    code: str
    message: str
    fix: str
    """What to do about it, as a hint."""
    is_automatic: bool
    """Whether `edit` and `submit` take care of it: they convert local clips."""


def verdict(facts: ClipFacts) -> tuple[Problem, ...]:
    """Return every reason why a clip does not fit; none of them where nothing is known against it."""
    problems: list[Problem] = []
    if is_too_long(facts):
        problems.append(
            Problem(
                code="clip_too_long",
                message=(
                    f"it is {facts.duration_s:.2f} s long, and the service takes"
                    f" {MAX_CLIP_S:.0f} s at most"
                ),
                fix="cut it with `--start T --end T`, or in pieces with `omniedit edit --split`",
                is_automatic=False,
            )
        )
    if facts.container != "mp4":
        message = f"it is {container_name(facts.container)}, not MP4"
        problems.append(_conversion(facts, "not_an_mp4", message))
    if facts.video_codec not in _CODECS:
        message = f"its pictures are {codec_name(facts.video_codec)}, not H.264 or H.265"
        problems.append(_conversion(facts, "unsuitable_codec", message))
    if facts.is_local and not problems and (facts.size_bytes or 0) > MAX_UPLOAD_BYTES:
        problems.append(
            Problem(
                code="clip_too_large",
                message=f"the file service takes {MAX_UPLOAD_BYTES // 1024**2} MiB at most",
                fix="host it yourself, and give its public URL instead of the file",
                is_automatic=False,
            )
        )
    return tuple(problems)


def fits(facts: ClipFacts) -> bool:
    """Return whether a clip can be edited: as it is, or converted on the way."""
    return all(problem.is_automatic for problem in verdict(facts))


def needs_conversion(facts: ClipFacts) -> bool:
    """Return whether a clip must be written anew before the service takes it."""
    codes = {problem.code for problem in verdict(facts)}
    return bool(codes & {"not_an_mp4", "unsuitable_codec"})


def is_too_long(facts: ClipFacts) -> bool:
    """Return whether a clip is certainly too long; one frame over is let through."""
    if facts.duration_s is None:
        return False
    return facts.duration_s > MAX_CLIP_S + overrun_s(facts.frame_s)


def overrun_s(frame_s: float) -> float:
    """Return by how much a clip of such frames may be longer than the service says: one of them."""
    return min(frame_s, _LONGEST_FRAME_S) + _ROUNDING_S


def estimated_credits(duration_s: float) -> float:
    """Return about what an edit of so many seconds costs.

    Raises nothing and promises nothing: the service reserves and charges by its own count.
    """
    return duration_s * CREDITS_PER_SECOND


def _conversion(facts: ClipFacts, code: str, message: str) -> Problem:
    fix = "it is converted on the way" if facts.is_local else "give a local file: it is converted"
    return Problem(code=code, message=message, fix=fix, is_automatic=facts.is_local)
