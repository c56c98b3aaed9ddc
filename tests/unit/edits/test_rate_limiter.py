import pytest

from omniedit.edits.session import LONGEST_INTERVAL_S, SHORTEST_INTERVAL_S, RateLimiter
from tests.unit.edits.bench import VirtualClock

WAIT_S = 10.0


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(now=1000.0)


@pytest.fixture
def limiter(clock: VirtualClock) -> RateLimiter:
    return RateLimiter(lambda: clock.now, clock.rest)


def test_nobody_rests_before_the_service_asks_for_it(
    limiter: RateLimiter, clock: VirtualClock
) -> None:
    for _ in range(100):
        limiter.wait()

    assert clock.rests == []


def test_a_pause_holds_for_everybody(limiter: RateLimiter, clock: VirtualClock) -> None:
    limiter.slow_down(60.0)

    limiter.wait()

    assert clock.rests == [60.0]


def test_after_a_pause_they_go_in_single_file(limiter: RateLimiter, clock: VirtualClock) -> None:
    limiter.slow_down(60.0)

    for _ in range(4):
        limiter.wait()

    assert clock.rests == [60.0, *[SHORTEST_INTERVAL_S] * 3]


def test_replies_to_what_was_sent_before_a_pause_do_not_slow_it_further(
    limiter: RateLimiter, clock: VirtualClock
) -> None:
    for rest_s in (58.0, 60.0, 59.0):
        limiter.slow_down(rest_s)

    limiter.wait()
    limiter.wait()

    assert clock.rests == [60.0, SHORTEST_INTERVAL_S]


def test_every_further_pause_doubles_the_distance_up_to_a_limit(
    limiter: RateLimiter, clock: VirtualClock
) -> None:
    distances: list[float] = []
    for _ in range(8):
        limiter.slow_down(1.0)
        limiter.wait()
        limiter.wait()
        distances.append(clock.rests[-1])

    assert distances == [0.5, 1.0, 2.0, 4.0, 8.0, *[LONGEST_INTERVAL_S] * 3]


def test_what_is_accepted_makes_them_faster_again(
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


def test_a_pause_that_begins_meanwhile_voids_the_turns_of_those_who_rest() -> None:
    clock = VirtualClock(now=1000.0)
    rests: list[float] = []

    def rest(seconds: float) -> None:
        rests.append(seconds)
        clock.turn(seconds)
        if len(rests) == 1:
            limiterd.slow_down(30.0)

    limiterd = RateLimiter(lambda: clock.now, rest)
    limiterd.slow_down(10.0)

    limiterd.wait()

    assert rests == [10.0, 30.0]


def test_a_pace_keeps_turns_apart_whether_or_not_the_service_asks_for_it() -> None:
    clock = VirtualClock(now=1000.0)
    limiter = RateLimiter(lambda: clock.now, clock.rest, least_interval_s=20.0)

    rested = [limiter.wait() for _ in range(3)]
    limiter.slow_down(50.0)
    rested += [limiter.wait(), limiter.wait()]

    assert rested == [0.0, 20.0, 20.0, 50.0, 20.0]


def test_a_pause_shorter_than_the_pace_does_not_shorten_it() -> None:
    clock = VirtualClock(now=1000.0)
    limiter = RateLimiter(lambda: clock.now, clock.rest, least_interval_s=20.0)

    limiter.wait()
    limiter.slow_down(1.0)
    rested = [limiter.wait(), limiter.wait()]

    assert rested == [20.0, 20.0]
