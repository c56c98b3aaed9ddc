"""When to look at a task next: pure arithmetic on estimate, progress and elapsed time.

Every look makes the gateway ask the provider, so looks are placed where news is likely: one
early, since refusals come in the first seconds; then, as long as progress can be believed, close
to where it says the end is; else at a steady pace. `python -m tests.benchmarks polling` simulates
the policy beside a fixed interval.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

EARLY_LOOK_S: Final = 3.0
FLOOR_S: Final = 2.0
WATCHED_CAP_S: Final = 8.0
"""Somebody looks at the bar: it moves at least this often."""
UNWATCHED_CAP_S: Final = 15.0
STEADY_S: Final = 8.0
STALLED_AFTER_S: Final = 180.0
_JITTER: Final = 0.1
"""The share of a rest that is left to chance."""
_COARSE_STEP: Final = 5
_MISSED_PERCENT: Final = 5.0
"""Progress that should have moved so far, and did not, is no longer believed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What the latest look at a task showed."""

    elapsed_s: float  # since the task was created
    estimated_s: float | None
    progress: int | None  # per cent
    unchanged_s: float  # since progress or status last moved


def remaining_s(look: Look) -> float | None:
    """Return the seconds that progress, or else the estimate, says remain; None if neither does."""
    if look.progress is not None and 0 < look.progress < 100:  # noqa: PLR2004 - per cent
        return look.elapsed_s * (100 - look.progress) / look.progress
    if look.estimated_s is not None and look.elapsed_s < look.estimated_s:
        return look.estimated_s - look.elapsed_s
    return None


def next_look_s(look: Look, *, is_watched: bool, jitter: Callable[[], float]) -> float:
    """Return the seconds to rest before the next look.

    Args:
        look: The latest one.
        is_watched: Whether somebody looks at a progress bar.
        jitter: A number in [0, 1), so that many clients do not look in step.
    """
    chance = 1 - _JITTER * jitter()
    # Well before the earliest early look, so that no rounding makes it two.
    if look.elapsed_s < EARLY_LOOK_S * (1 - 2 * _JITTER):
        return EARLY_LOOK_S * chance - look.elapsed_s
    cap_s = WATCHED_CAP_S if is_watched else UNWATCHED_CAP_S
    return max(FLOOR_S, min(cap_s, _rest_s(look)) * chance)


def _rest_s(look: Look) -> float:
    if look.progress is None or not 0 < look.progress < 100:  # noqa: PLR2004 - per cent
        return STEADY_S
    if look.unchanged_s * look.progress / look.elapsed_s > _MISSED_PERCENT:
        return STEADY_S
    left_s = remaining_s(look) or 0.0
    # Aim just short of the end where that is near; from afar it is too uncertain.
    rest_s = min(0.95 * left_s + 0.5, max(STEADY_S, 0.6 * left_s))
    # Steps of 5, 10 or 25 % tell little about where between two of them the task is.
    is_coarse = look.progress % _COARSE_STEP == 0
    return min(rest_s, STEADY_S) if is_coarse else rest_s
