import threading

import pytest
from omniedit.edits.pace import LONGEST_INTERVAL_S, SHORTEST_INTERVAL_S, Pace

from tests.unit.edits.bench import FakeClock

WAIT_S = 10.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(now=1000.0)


@pytest.fixture
def pace(clock: FakeClock) -> Pace:
    return Pace(lambda: clock.now, clock.rest)


def test_nobody_rests_before_the_service_asks_for_it(pace: Pace, clock: FakeClock) -> None:
    for _ in range(100):
        pace.wait()

    assert clock.rests == []


def test_a_pause_holds_for_everybody(pace: Pace, clock: FakeClock) -> None:
    pace.slow_down(60.0)

    pace.wait()

    assert clock.rests == [60.0]


def test_after_a_pause_they_go_in_single_file(pace: Pace, clock: FakeClock) -> None:
    pace.slow_down(60.0)

    for _ in range(4):
        pace.wait()

    assert clock.rests == [60.0, *[SHORTEST_INTERVAL_S] * 3]


def test_replies_to_what_was_sent_before_a_pause_do_not_slow_it_further(
    pace: Pace, clock: FakeClock
) -> None:
    for rest_s in (58.0, 60.0, 59.0):
        pace.slow_down(rest_s)

    pace.wait()
    pace.wait()

    assert clock.rests == [60.0, SHORTEST_INTERVAL_S]


def test_every_further_pause_doubles_the_distance_up_to_a_limit(
    pace: Pace, clock: FakeClock
) -> None:
    distances: list[float] = []
    for _ in range(8):
        pace.slow_down(1.0)
        pace.wait()
        pace.wait()
        distances.append(clock.rests[-1])

    assert distances == [0.5, 1.0, 2.0, 4.0, 8.0, *[LONGEST_INTERVAL_S] * 3]


def test_what_is_accepted_makes_them_faster_again(pace: Pace, clock: FakeClock) -> None:
    pace.slow_down(1.0)
    pace.wait()

    for _ in range(10):
        pace.speed_up()
    before = len(clock.rests)
    pace.wait()
    pace.wait()

    assert sum(clock.rests[before:]) <= SHORTEST_INTERVAL_S


def test_a_pause_that_begins_meanwhile_voids_the_turns_of_those_who_rest() -> None:
    clock = FakeClock(now=1000.0)
    rests: list[float] = []

    def rest(seconds: float) -> None:
        rests.append(seconds)
        clock.turn(seconds)
        if len(rests) == 1:
            paced.slow_down(30.0)

    paced = Pace(lambda: clock.now, rest)
    paced.slow_down(10.0)

    paced.wait()

    assert rests == [10.0, 30.0]


def test_it_tells_how_many_rest() -> None:
    resting, go_on = threading.Event(), threading.Event()

    def rest(_: float) -> None:
        resting.set()
        assert go_on.wait(WAIT_S)

    pace = Pace(lambda: 0.0, rest)
    pace.slow_down(5.0)
    thread = threading.Thread(target=pace.wait)
    before = pace.resting
    thread.start()
    assert resting.wait(WAIT_S)
    meanwhile = pace.resting
    go_on.set()
    thread.join(WAIT_S)

    assert (before, meanwhile, pace.resting) == (0, 1, 0)
