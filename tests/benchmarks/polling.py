"""Delay and number of polls until a finished task is noticed, compared with polling every 8 s."""

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from omniedit.edits.poller import Snapshot, next_poll_s
from omniedit.policy import DEFAULT
from tests.benchmarks.verdicts import Verdict

FIXED_S: Final = 8.0
ESTIMATE_S: Final = 60.0
TASKS: Final = 4000
_LONGEST_S: Final = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of a polling schedule, averaged over many tasks."""

    polls: float
    delay_s: float
    delay_p95_s: float


Progress = Callable[[float], int | None]
"""Takes the elapsed share of a task's duration; returns the progress that the service reports."""


def smooth(draw: random.Random) -> Progress:
    """Return progress that roughly follows the time, with bend and noise, and never goes back."""
    bend: float = math.exp(draw.gauss(0.0, 0.15))
    noise = [draw.gauss(0.0, 2.0) for _ in range(101)]

    def report(share: float) -> int:
        done: float = 100 * share**bend + noise[round(100 * share)]
        return max(0, min(99, round(done)))

    return _never_back(report)


def coarse(draw: random.Random) -> Progress:
    """Return progress in steps of 25 %, at roughly the right times."""
    exact = smooth(draw)
    return lambda share: 25 * ((exact(share) or 0) // 25)


def late(draw: random.Random) -> Progress:
    """Return no progress while queued, then steady progress."""
    begins = draw.uniform(0.3, 0.7)
    return lambda share: round(99 * max(0.0, (share - begins) / (1 - begins)))


def stuck(draw: random.Random) -> Progress:
    """Return steady progress that stops somewhere until the end."""
    ends = draw.uniform(0.1, 0.9)
    return lambda share: round(99 * min(share, ends))


def hasty(draw: random.Random) -> Progress:
    """Return progress that reaches 95 % in about half the time and stays there."""
    knee = draw.uniform(0.3, 0.7)
    return lambda share: round(95 * min(1.0, share / knee))


def absent(_: random.Random) -> Progress:
    """Return no progress at all."""
    return lambda _: None


def _never_back(report: Callable[[float], int]) -> Progress:
    reached = 0

    def never_back(share: float) -> int:
        nonlocal reached
        reached = max(reached, report(share))
        return reached

    return never_back


def poll_times(
    progress: Progress, duration_s: float, *, is_watched: bool, draw: random.Random
) -> Iterator[float]:
    """Yield the times at which the schedule polls; the last is at or after the end."""
    now_s, moved_s, seen = 0.0, 0.0, None
    snapshot = Snapshot(elapsed_s=0.0, estimated_s=ESTIMATE_S, progress=None, unchanged_s=0.0)
    while now_s < duration_s:
        now_s += next_poll_s(snapshot, DEFAULT, is_watched=is_watched, jitter=draw.random)
        yield now_s
        reported = progress(min(1.0, now_s / duration_s))
        if reported != seen:
            moved_s, seen = now_s, reported
        snapshot = Snapshot(
            elapsed_s=now_s, estimated_s=ESTIMATE_S, progress=seen, unchanged_s=now_s - moved_s
        )


def simulate(
    shape: Callable[[random.Random], Progress], *, spread: float, factor: float, is_watched: bool
) -> tuple[Outcome, Outcome]:
    """Return the results of the schedule and of a fixed interval for the same tasks."""
    draw = random.Random(7)  # noqa: S311 - not for secrets
    ours: list[tuple[int, float]] = []
    fixed: list[tuple[int, float]] = []
    for _ in range(TASKS):
        duration_s = min(_LONGEST_S, ESTIMATE_S * factor * math.exp(draw.gauss(0.0, spread)))
        times = list(poll_times(shape(draw), duration_s, is_watched=is_watched, draw=draw))
        ours.append((len(times), times[-1] - duration_s))
        count = math.ceil(duration_s / FIXED_S)
        fixed.append((count, count * FIXED_S - duration_s))
    return _outcome(ours), _outcome(fixed)


def _outcome(found: list[tuple[int, float]]) -> Outcome:
    delays = sorted(delay_s for _, delay_s in found)
    return Outcome(
        polls=sum(count for count, _ in found) / len(found),
        delay_s=sum(delays) / len(delays),
        delay_p95_s=delays[int(0.95 * len(delays))],
    )


def measure() -> Iterator[Verdict]:
    """Compare delay and requests, including the early poll, for every kind of progress."""
    for is_watched in (False, True):
        for shape, limits in _LIMITS.items():
            for estimate, cases in _CASES.items():
                pairs = [
                    simulate(shape, spread=spread, factor=factor, is_watched=is_watched)
                    for spread, factor in cases
                ]
                what = f"{shape.__name__}, {estimate}{', on a terminal' if is_watched else ''}"
                delay, requests = limits[is_watched]
                yield Verdict(
                    what=f"delay: {what}",
                    measured=max(ours.delay_s / fixed.delay_s for ours, fixed in pairs),
                    target=delay,
                )
                yield Verdict(
                    what=f"requests: {what}",
                    measured=max(ours.polls / fixed.polls for ours, fixed in pairs),
                    target=requests,
                )


_NEVER_MORE: Final = ((1.0, 1.2), (1.0, 1.2))
_LIMITS: Final = {
    # Limits for (delay, requests): unwatched, then on a terminal.
    smooth: ((0.30, 0.85), (0.30, 1.15)),
    coarse: _NEVER_MORE,
    late: _NEVER_MORE,
    stuck: _NEVER_MORE,
    hasty: _NEVER_MORE,
    absent: _NEVER_MORE,
}
_CASES: Final = {
    # The spread of the true durations, and their ratio to the estimate; the worst case counts.
    "estimate right": ((0.35, 1.0), (0.6, 1.0)),
    "estimate twice too long": ((0.35, 0.5), (0.6, 0.5)),
    "estimate twice too short": ((0.35, 2.0), (0.6, 2.0)),
}
