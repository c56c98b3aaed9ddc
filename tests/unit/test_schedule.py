"""When a task is looked at next: bounds that hold whatever the service reports."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omniedit.schedule import (
    EARLY_LOOK_S,
    FLOOR_S,
    UNWATCHED_CAP_S,
    WATCHED_CAP_S,
    Look,
    next_look_s,
    remaining_s,
)

seconds = st.floats(min_value=0, max_value=1e7)
looks = st.builds(
    Look,
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
) -> Look:
    return Look(
        elapsed_s=elapsed_s, estimated_s=estimated_s, progress=progress, unchanged_s=unchanged_s
    )


@given(now=looks, is_watched=st.booleans())
def test_rests_stay_between_floor_and_cap(now: Look, *, is_watched: bool) -> None:
    rest_s = next_look_s(now, is_watched=is_watched)

    cap_s = WATCHED_CAP_S if is_watched else UNWATCHED_CAP_S
    if now.elapsed_s < EARLY_LOOK_S:
        assert now.elapsed_s + rest_s == pytest.approx(EARLY_LOOK_S)
    else:
        assert FLOOR_S <= rest_s <= cap_s


@given(looks)
def test_nobody_waits_longer_because_somebody_looks(now: Look) -> None:
    assert next_look_s(now, is_watched=True) <= next_look_s(now, is_watched=False)


@given(looks)
def test_what_remains_is_unknown_or_positive(now: Look) -> None:
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
def test_what_remains_comes_from_progress_then_estimate(now: Look, expected: float | None) -> None:
    assert remaining_s(now) == expected


def test_the_first_look_is_early() -> None:
    assert next_look_s(look(0), is_watched=False) == EARLY_LOOK_S


def test_the_second_look_is_at_half_the_estimate() -> None:
    assert next_look_s(look(20), is_watched=False) == 10


def test_near_the_end_looks_come_closer() -> None:
    far_s = next_look_s(look(30, progress=50), is_watched=False)
    near_s = next_look_s(look(55, progress=92), is_watched=False)

    assert far_s == UNWATCHED_CAP_S
    assert FLOOR_S < near_s < 5


def test_progress_that_stands_still_is_not_believed() -> None:
    moving = look(300, progress=99, unchanged_s=2)
    stuck = look(300, progress=99, unchanged_s=200)

    assert next_look_s(moving, is_watched=False) < next_look_s(stuck, is_watched=False)
