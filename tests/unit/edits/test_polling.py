"""Bounds on when a task is polled next, whatever the service reports."""

import random
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from omniedit.edits.poller import Standing, next_poll_s, remaining_s
from omniedit.policy import DEFAULT

seconds = st.floats(min_value=0, max_value=1e7)
looks = st.builds(
    Standing,
    elapsed_s=seconds,
    estimated_s=st.none() | st.floats(min_value=0, max_value=1e6),
    progress=st.none() | st.integers(min_value=0, max_value=100),
    unchanged_s=seconds,
)


def look(
    elapsed_s: float,
    *,
    progress: int | None = None,
    estimated_s: float | None = 60,
    unchanged_s: float = 0,
) -> Standing:
    return Standing(
        elapsed_s=elapsed_s, estimated_s=estimated_s, progress=progress, unchanged_s=unchanged_s
    )


jitters = st.floats(min_value=0, max_value=1, exclude_max=True)


def rest_s(now: Standing, *, is_watched: bool = False, jitter: float = 0.0) -> float:
    return next_poll_s(now, DEFAULT, is_watched=is_watched, jitter=lambda: jitter)


@example(now=look(0, estimated_s=4.9), is_watched=False, jitter=0.0)
@given(now=looks, is_watched=st.booleans(), jitter=jitters)
def test_rests_stay_between_floor_and_cap(
    now: Standing, *, is_watched: bool, jitter: float
) -> None:
    rested_s = rest_s(now, is_watched=is_watched, jitter=jitter)

    cap_s = DEFAULT.longest_watched_poll_s if is_watched else DEFAULT.longest_unwatched_poll_s
    if now.elapsed_s < 0.8 * DEFAULT.early_poll_s:
        latest_s = DEFAULT.early_poll_s
        estimated_s = now.estimated_s or 0.0
        if not now.elapsed_s and estimated_s < latest_s + DEFAULT.shortest_poll_s:
            # A short task is polled when it should be done.
            latest_s = max(latest_s, estimated_s + 0.05)
        assert 0.9 * DEFAULT.early_poll_s <= now.elapsed_s + rested_s <= latest_s + 1e-9
    else:
        assert DEFAULT.shortest_poll_s <= rested_s <= cap_s


@given(looks)
def test_nobody_waits_longer_because_somebody_looks(now: Standing) -> None:
    assert rest_s(now, is_watched=True) <= rest_s(now, is_watched=False)


@given(looks)
def test_chance_shortens_a_rest_by_a_tenth_at_most(now: Standing) -> None:
    longest_s, shortest_s = rest_s(now), rest_s(now, jitter=0.999)

    assert (
        max(DEFAULT.shortest_poll_s, 0.9 * longest_s) <= shortest_s <= longest_s
        or now.elapsed_s < DEFAULT.early_poll_s
    )


@pytest.mark.parametrize("jitter", [0.0, 0.5, 1 - 2**-53])
def test_after_the_early_look_no_second_one_follows(jitter: float) -> None:
    first_s = rest_s(look(0), jitter=jitter)

    assert rest_s(look(first_s - 1e-9), jitter=0.0) == DEFAULT.steady_poll_s


def test_a_thousand_clients_do_not_march_in_step() -> None:
    draw = random.Random(1)  # noqa: S311 - nothing secret

    rests = {
        next_poll_s(look(20), DEFAULT, is_watched=False, jitter=draw.random) for _ in range(1000)
    }

    assert len(rests) > 990
    assert max(rests) - min(rests) > 0.7


@given(looks)
def test_what_remains_is_unknown_or_positive(now: Standing) -> None:
    left_s = remaining_s(now)

    assert left_s is None or left_s >= 0


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        pytest.param(look(30, progress=50), 30, id="from-progress"),
        pytest.param(look(30, progress=50, estimated_s=None), 30, id="without-estimate"),
        pytest.param(look(20, progress=None), 40, id="from-estimate"),
        pytest.param(look(20, progress=0), 40, id="nothing-done-yet"),
        pytest.param(look(90, progress=None), None, id="past-the-estimate"),
        pytest.param(look(90, progress=100), None, id="all-done"),
    ],
)
def test_what_remains_comes_from_progress_then_estimate(
    now: Standing, expected: float | None
) -> None:
    assert remaining_s(now) == expected


def test_the_first_per_cent_do_not_make_an_hour_of_a_minute() -> None:
    left_s = [remaining_s(look(second, progress=second * 100 // 60)) or 0.0 for second in (1, 2, 6)]
    early = remaining_s(look(6, progress=1))

    assert early is not None
    assert early < 2 * 60
    assert max(abs(after - before) for before, after in pairwise(left_s)) < 10


def test_the_first_look_is_early() -> None:
    assert rest_s(look(0)) == DEFAULT.early_poll_s


@pytest.mark.parametrize(
    "now",
    [
        pytest.param(look(20), id="no-progress"),
        pytest.param(look(20, progress=0), id="not-begun"),
        pytest.param(look(20, progress=100), id="all-done-but-not-ended"),
        pytest.param(look(300, progress=99, unchanged_s=200), id="stuck"),
        pytest.param(look(20, progress=25), id="in-coarse-steps"),
    ],
)
def test_without_progress_to_believe_the_pace_is_steady(now: Standing) -> None:
    assert rest_s(now) == DEFAULT.steady_poll_s


def test_near_the_end_looks_come_closer() -> None:
    assert rest_s(look(30, progress=51)) == DEFAULT.longest_unwatched_poll_s
    assert DEFAULT.shortest_poll_s < rest_s(look(55, progress=92)) < 6


def test_on_a_terminal_the_bar_keeps_moving() -> None:
    assert rest_s(look(30, progress=51), is_watched=True) == DEFAULT.longest_watched_poll_s


def test_coarse_progress_near_the_end_is_not_overslept() -> None:
    assert rest_s(look(58, progress=95)) < 4
