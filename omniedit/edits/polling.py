"""When to poll a task next: pure arithmetic on estimate, progress and elapsed time.

Every poll makes the gateway ask the provider, so polls are placed where news is likely: one
early, since refusals come in the first seconds; then, as long as progress can be believed, close
to where it says the end is; else at a steady interval. `python -m tests.benchmarks polling`
simulates the policy beside a fixed interval.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from omniedit.policy import Policy

_JITTER: Final = 0.1
"""The share of an interval that is left to chance."""
_COARSE_STEP: Final = 5
_MISSED_PERCENT: Final = 5.0
"""Progress that should have moved so far, and did not, is no longer believed."""
_FULL: Final = 100


class Standing(NamedTuple):
    """Where a task stands, as the latest poll showed it."""

    elapsed_s: float  # since the task was created
    estimated_s: float | None
    progress: int | None  # per cent
    unchanged_s: float  # since progress or status last moved


def remaining_s(standing: Standing) -> float | None:
    """Return the seconds that progress, or else the estimate, says remain; None if neither does."""
    if standing.progress is not None and 0 < standing.progress < _FULL:
        return standing.elapsed_s * (_FULL - standing.progress) / standing.progress
    if standing.estimated_s is not None and standing.elapsed_s < standing.estimated_s:
        return standing.estimated_s - standing.elapsed_s
    return None


def next_poll_s(
    standing: Standing, policy: Policy, *, is_watched: bool, jitter: Callable[[], float]
) -> float:
    """Return the seconds to rest before the next poll.

    Args:
        standing: What the latest poll showed.
        policy: The intervals.
        is_watched: Whether somebody looks at a progress bar.
        jitter: A number in [0, 1), so that many clients do not poll in step.
    """
    chance = 1 - _JITTER * jitter()
    # Well before the earliest early poll, so that no rounding makes it two.
    if standing.elapsed_s < policy.early_poll_s * (1 - 2 * _JITTER):
        return policy.early_poll_s * chance - standing.elapsed_s
    cap_s = policy.longest_watched_poll_s if is_watched else policy.longest_unwatched_poll_s
    return max(policy.shortest_poll_s, min(cap_s, _interval_s(standing, policy)) * chance)


def _interval_s(standing: Standing, policy: Policy) -> float:
    steady_s, progress = policy.steady_poll_s, standing.progress
    if progress is None or not 0 < progress < _FULL:
        return steady_s
    if standing.unchanged_s * progress / standing.elapsed_s > _MISSED_PERCENT:
        return steady_s
    left_s = remaining_s(standing) or 0.0
    # Aim just short of the end where that is near; from afar it is too uncertain.
    interval_s = min(0.95 * left_s + 0.5, max(steady_s, 0.6 * left_s))
    # Steps of 5, 10 or 25 % tell little about where between two of them the task is.
    return min(interval_s, steady_s) if progress % _COARSE_STEP == 0 else interval_s
