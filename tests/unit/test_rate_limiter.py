"""Submissions are spaced out after a rate limit, and by a minimum interval."""

import pytest

from omniedit.policy import LONGEST_INTERVAL_S, SHORTEST_INTERVAL_S, RateLimiter
from tests.unit.edits.bench import VirtualClock


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(now=1000.0)


@pytest.fixture
def limiter(clock: VirtualClock) -> RateLimiter:
    return RateLimiter(lambda: clock.now, clock.rest)


def test_no_rest_without_a_rate_limit(limiter: RateLimiter, clock: VirtualClock) -> None:
    for _ in range(100):
        limiter.wait()

    assert clock.rests == []


def test_a_pause_delays_the_next_submission(limiter: RateLimiter, clock: VirtualClock) -> None:
    limiter.slow_down(60.0)

    limiter.wait()

    assert clock.rests == [60.0]


def test_submissions_are_spaced_out_after_a_pause(
    limiter: RateLimiter, clock: VirtualClock
) -> None:
    limiter.slow_down(60.0)

    for _ in range(4):
        limiter.wait()

    assert clock.rests == [60.0, *[SHORTEST_INTERVAL_S] * 3]


def test_overlapping_rate_limits_count_as_one_pause(
    limiter: RateLimiter, clock: VirtualClock
) -> None:
    for rest_s in (58.0, 60.0, 59.0):
        limiter.slow_down(rest_s)

    limiter.wait()
    limiter.wait()

    assert clock.rests == [60.0, SHORTEST_INTERVAL_S]


def test_each_further_pause_doubles_the_interval_up_to_a_limit(
    limiter: RateLimiter, clock: VirtualClock
) -> None:
    intervals: list[float] = []
    for _ in range(8):
        limiter.slow_down(1.0)
        limiter.wait()
        limiter.wait()
        intervals.append(clock.rests[-1])

    assert intervals == [0.5, 1.0, 2.0, 4.0, 8.0, *[LONGEST_INTERVAL_S] * 3]


def test_accepted_submissions_shorten_the_interval_again(
    limiter: RateLimiter, clock: VirtualClock
) -> None:
    limiter.slow_down(1.0)
    limiter.wait()

    for _ in range(10):
        limiter.speed_up()
    before = len(clock.rests)
    limiter.wait()
    limiter.wait()

    assert sum(clock.rests[before:]) <= SHORTEST_INTERVAL_S


def test_a_new_pause_voids_turns_already_assigned() -> None:
    clock = VirtualClock(now=1000.0)
    rests: list[float] = []

    def rest(seconds: float) -> None:
        rests.append(seconds)
        clock.advance(seconds)
        if len(rests) == 1:
            rate_limiter.slow_down(30.0)

    rate_limiter = RateLimiter(lambda: clock.now, rest)
    rate_limiter.slow_down(10.0)

    rate_limiter.wait()

    assert rests == [10.0, 30.0]


def test_a_minimum_interval_always_applies() -> None:
    clock = VirtualClock(now=1000.0)
    limiter = RateLimiter(lambda: clock.now, clock.rest, least_interval_s=20.0)

    rested = [limiter.wait() for _ in range(3)]
    limiter.slow_down(50.0)
    rested += [limiter.wait(), limiter.wait()]

    assert rested == [0.0, 20.0, 20.0, 50.0, 20.0]


def test_a_short_pause_does_not_undercut_the_minimum_interval() -> None:
    clock = VirtualClock(now=1000.0)
    limiter = RateLimiter(lambda: clock.now, clock.rest, least_interval_s=20.0)

    limiter.wait()
    limiter.slow_down(1.0)
    rested = [limiter.wait(), limiter.wait()]

    assert rested == [20.0, 20.0]
