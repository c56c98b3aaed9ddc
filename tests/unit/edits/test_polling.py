"""Bounds on when a task is polled next, whatever the service reports."""

import random
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from omniedit.edits.poller import Snapshot, next_poll_s, remaining_s
from omniedit.policy import DEFAULT

seconds = st.floats(min_value=0, max_value=1e7)
standings = st.builds(
    Snapshot,
    elapsed_s=seconds,
    estimated_s=st.none() | st.floats(min_value=0, max_value=1e6),
    progress=st.none() | st.integers(min_value=0, max_value=100),
    unchanged_s=seconds,
)


def standing_at(
    elapsed_s: float,
    *,
    progress: int | None = None,
    estimated_s: float | None = 60,
    unchanged_s: float = 0,
) -> Snapshot:
    return Snapshot(
        elapsed_s=elapsed_s, estimated_s=estimated_s, progress=progress, unchanged_s=unchanged_s
    )


jitters = st.floats(min_value=0, max_value=1, exclude_max=True)


def interval_s(snapshot: Snapshot, *, is_watched: bool = False, jitter: float = 0.0) -> float:
    return next_poll_s(snapshot, DEFAULT, is_watched=is_watched, jitter=lambda: jitter)


@example(snapshot=standing_at(0, estimated_s=4.9), is_watched=False, jitter=0.0)
@given(snapshot=standings, is_watched=st.booleans(), jitter=jitters)
def test_poll_intervals_stay_within_their_bounds(
    snapshot: Snapshot, *, is_watched: bool, jitter: float
) -> None:
    chosen_s = interval_s(snapshot, is_watched=is_watched, jitter=jitter)

    cap_s = DEFAULT.longest_watched_poll_s if is_watched else DEFAULT.longest_unwatched_poll_s
    if snapshot.elapsed_s < 0.8 * DEFAULT.early_poll_s:
        latest_s = DEFAULT.early_poll_s
        estimated_s = snapshot.estimated_s or 0.0
        if not snapshot.elapsed_s and estimated_s < latest_s + DEFAULT.shortest_poll_s:
            # A short task is polled when it should be done.
            latest_s = max(latest_s, estimated_s + 0.05)
        assert 0.9 * DEFAULT.early_poll_s <= snapshot.elapsed_s + chosen_s <= latest_s + 1e-9
    else:
        assert DEFAULT.shortest_poll_s <= chosen_s <= cap_s


@given(standings)
def test_a_watched_task_is_never_polled_later(snapshot: Snapshot) -> None:
    assert interval_s(snapshot, is_watched=True) <= interval_s(snapshot, is_watched=False)


@given(standings)
def test_jitter_shortens_an_interval_by_a_tenth_at_most(snapshot: Snapshot) -> None:
    longest_s, shortest_s = interval_s(snapshot), interval_s(snapshot, jitter=0.999)

    assert (
        max(DEFAULT.shortest_poll_s, 0.9 * longest_s) <= shortest_s <= longest_s
        or snapshot.elapsed_s < DEFAULT.early_poll_s
    )


@pytest.mark.parametrize("jitter", [0.0, 0.5, 1 - 2**-53])
def test_the_early_poll_happens_only_once(jitter: float) -> None:
    first_s = interval_s(standing_at(0), jitter=jitter)

    assert interval_s(standing_at(first_s - 1e-9), jitter=0.0) == DEFAULT.steady_poll_s


def test_jitter_spreads_a_thousand_clients_apart() -> None:
    seeded = random.Random(1)  # noqa: S311 - nothing secret

    intervals_s = {
        next_poll_s(standing_at(20), DEFAULT, is_watched=False, jitter=seeded.random)
        for _ in range(1000)
    }

    assert len(intervals_s) > 990
    assert max(intervals_s) - min(intervals_s) > 0.7


@given(standings)
def test_remaining_time_is_unknown_or_not_negative(snapshot: Snapshot) -> None:
    left_s = remaining_s(snapshot)

    assert left_s is None or left_s >= 0


@pytest.mark.parametrize(
    ("snapshot", "expected"),
    [
        pytest.param(standing_at(30, progress=50), 30, id="from-progress"),
        pytest.param(standing_at(30, progress=50, estimated_s=None), 30, id="without-estimate"),
        pytest.param(standing_at(20, progress=None), 40, id="from-estimate"),
        pytest.param(standing_at(20, progress=0), 40, id="zero-progress"),
        pytest.param(standing_at(90, progress=None), None, id="past-the-estimate"),
        pytest.param(standing_at(90, progress=100), None, id="full-progress"),
    ],
)
def test_remaining_time_prefers_progress_to_the_estimate(
    snapshot: Snapshot, expected: float | None
) -> None:
    assert remaining_s(snapshot) == expected


def test_early_progress_does_not_inflate_the_remaining_time() -> None:
    left_s = [
        remaining_s(standing_at(second, progress=second * 100 // 60)) or 0.0 for second in (1, 2, 6)
    ]
    early = remaining_s(standing_at(6, progress=1))

    assert early is not None
    assert early < 2 * 60
    assert max(abs(after - before) for before, after in pairwise(left_s)) < 10


def test_the_first_poll_is_early() -> None:
    assert interval_s(standing_at(0)) == DEFAULT.early_poll_s


@pytest.mark.parametrize(
    "snapshot",
    [
        pytest.param(standing_at(20), id="no-progress"),
        pytest.param(standing_at(20, progress=0), id="zero-progress"),
        pytest.param(standing_at(20, progress=100), id="full-progress-but-running"),
        pytest.param(standing_at(300, progress=99, unchanged_s=200), id="stuck"),
        pytest.param(standing_at(20, progress=25), id="coarse-steps"),
    ],
)
def test_without_credible_progress_the_interval_is_steady(snapshot: Snapshot) -> None:
    assert interval_s(snapshot) == DEFAULT.steady_poll_s


def test_polls_get_closer_near_the_end() -> None:
    assert interval_s(standing_at(30, progress=51)) == DEFAULT.longest_unwatched_poll_s
    assert DEFAULT.shortest_poll_s < interval_s(standing_at(55, progress=92)) < 6


def test_a_watched_task_is_polled_more_often() -> None:
    assert (
        interval_s(standing_at(30, progress=51), is_watched=True) == DEFAULT.longest_watched_poll_s
    )


def test_coarse_progress_near_the_end_is_polled_soon() -> None:
    assert interval_s(standing_at(58, progress=95)) < 4
