"""When to look at a task next: pure arithmetic on estimate, progress and elapsed time.

Every look makes the gateway ask the provider, so looks are placed where news is likely: one
early, since refusals come in the first seconds; one at half the estimate; then after most of the
time that the progress says remains. `python -m tests.benchmarks polling` simulates the policy.
"""

from dataclasses import dataclass
from typing import Final

EARLY_LOOK_S: Final = 2.5
FLOOR_S: Final = 2.0
WATCHED_CAP_S: Final = 8.0
"""Somebody looks at the bar: it moves at least this often."""
UNWATCHED_CAP_S: Final = 15.0
DEFAULT_ESTIMATE_S: Final = 60.0
STALLED_AFTER_S: Final = 180.0
_SHARE_OF_REMAINING: Final = 0.8
_SHARE_OF_ELAPSED: Final = 0.05


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


def next_look_s(look: Look, *, is_watched: bool) -> float:
    """Return the seconds to rest before the next look.

    Args:
        look: The latest one.
        is_watched: Whether somebody looks at a progress bar.
    """
    cap_s = WATCHED_CAP_S if is_watched else UNWATCHED_CAP_S
    if look.elapsed_s < EARLY_LOOK_S:
        return EARLY_LOOK_S - look.elapsed_s
    estimated_s = look.estimated_s or DEFAULT_ESTIMATE_S
    is_moving = look.progress is not None and look.progress > 0
    if is_moving and look.unchanged_s < max(FLOOR_S, _SHARE_OF_ELAPSED * look.elapsed_s) + cap_s:
        rest_s = _SHARE_OF_REMAINING * (remaining_s(look) or 0.0)
    elif look.elapsed_s < estimated_s / 2:
        rest_s = estimated_s / 2 - look.elapsed_s
    else:
        # Nothing to go by: the longer it took, the longer it may yet take.
        rest_s = _SHARE_OF_ELAPSED * look.elapsed_s
    return min(cap_s, max(FLOOR_S, rest_s))
