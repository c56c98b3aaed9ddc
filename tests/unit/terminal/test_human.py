"""Durations, sizes, credits and status lines as people read them."""

from collections.abc import Callable
from datetime import UTC, timedelta, timezone
from typing import Any

import pytest

from omniedit.models import Record, Task, TaskError
from omniedit.terminal.human import (
    render_age,
    render_clock,
    render_credits,
    render_duration,
    render_moment,
    render_reserved,
    render_size,
    render_status_line,
    render_took,
    render_when,
    submitted_at,
)
from tests.unit.terminal.observing import plain_text

NOW = 1_757_169_743.0
TASK_ID = "task-unified-1757156493-a1b2c3d4"
MakeRecord = Callable[..., Record]
H = 3600.0


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(-1, "0s"), (0.9, "0s"), (58, "58s"), (65, "1m05s"), (11220, "3h07m"), (187200, "2d04h")],
)
def test_durations_have_two_units_at_most(seconds: float, expected: str) -> None:
    assert render_duration(seconds) == expected


@pytest.mark.parametrize(("seconds", "expected"), [(5, "0:05"), (65, "1:05"), (11229, "3:07:09")])
def test_clock_times_start_at_minutes(seconds: float, expected: str) -> None:
    assert render_clock(seconds) == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (2_134_000, "2.1 MB"),
        (9_960_000, "10 MB"),
        (95_400_000, "95 MB"),
        (999_700_000, "1.0 GB"),
        (5e12, "5.0 TB"),
    ],
)
def test_sizes_have_decimal_units(size: float, expected: str) -> None:
    assert render_size(size) == expected


@pytest.mark.parametrize(("seconds", "expected"), [(-1, "0 s"), (48.9, "48 s"), (65, "1m05s")])
def test_durations_in_a_sentence_never_go_below_zero(seconds: float, expected: str) -> None:
    assert render_took(seconds) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(-1, "0s ago"), (59.9, "59s ago"), (659, "10m ago"), (7199, "1h ago"), (187200, "2d ago")],
)
def test_ages_have_one_unit(seconds: float, expected: str) -> None:
    assert render_age(seconds) == expected


def test_credits_show_their_price() -> None:
    assert render_credits(64.25) == "64.2 credits ($0.94)"
    assert render_credits(1) == "1.0 credits ($0.01)"


@pytest.mark.parametrize(
    ("estimate", "expected"),
    [
        pytest.param(None, "31.8 credits ($0.47) reserved", id="no-estimate"),
        pytest.param(31.84, "31.8 credits ($0.47) reserved, as estimated", id="same-amount"),
        pytest.param(
            19.1,
            "31.8 credits ($0.47) reserved; "
            "estimated about 19.1 credits ($0.28), plus thinking tokens",
            id="another-amount",
        ),
    ],
)
def test_an_estimate_is_shown_again_only_if_it_differs(
    estimate: float | None, expected: str
) -> None:
    task = Task(task_id=TASK_ID, status="pending", credits_reserved=31.8)

    assert render_reserved(task, estimate=estimate) == expected


def test_moments_are_shown_in_utc() -> None:
    assert render_moment(NOW) == "2025-09-06 14:42 UTC"
    assert render_moment(1e20) == "at an unknown time"


@pytest.mark.parametrize(
    ("age_s", "expected"),
    [
        pytest.param(-30, "0s ago", id="a-clock-slightly-ahead"),
        pytest.param(130, "2m ago", id="minutes"),
        pytest.param(23.9 * H, "23h ago", id="within-a-day"),
        pytest.param(24 * H, "Fri 14:42", id="yesterday"),
        pytest.param(5.9 * 24 * H, "Sun 17:06", id="within-a-week"),
        pytest.param(6 * 24 * H, "31 Aug", id="this-year"),
        pytest.param(300 * 24 * H, "10 Nov 2024", id="another-year"),
        pytest.param(-300 * 24 * H, "3 Jul 2026", id="a-clock-that-was-wrong"),
        pytest.param(-1e20, "-", id="out-of-range"),
    ],
)
def test_a_time_is_as_short_as_is_clear(age_s: float, expected: str) -> None:
    assert render_when(NOW - age_s, NOW, zone=UTC) == expected


def test_people_see_local_times_and_scripts_utc() -> None:
    east = timezone(timedelta(hours=10))

    assert render_when(NOW - 48 * H, NOW, zone=east) == "Fri 00:42"
    assert render_when(NOW - 48 * H, None, zone=east) == "2025-09-04 14:42"
    assert render_when(None, NOW) == render_when(None, None) == "-"


def test_the_time_of_an_edit_is_its_submission_or_else_its_creation(
    make_record: MakeRecord,
) -> None:
    submitted = make_record()
    adopted = submitted._replace(request_id=None)

    assert submitted_at(submitted) == NOW - 95
    assert submitted_at(adopted) == NOW - 90
    assert submitted_at(make_record(link_left_s=H)._replace(request_id=None)) is None


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param(
            {"status": "processing", "progress": 47},
            f"{TASK_ID}  processing  47 %  1m30s elapsed  credits unknown",
            id="running",
        ),
        pytest.param(
            {"status": "completed", "link_left_s": 22 * H},
            f"{TASK_ID}  completed  not saved  credits unknown  link valid for 22h00m",
            id="completed",
        ),
        pytest.param(
            {"status": "completed", "link_left_s": -1, "saved": "/x/out.mp4"},
            f"{TASK_ID}  completed  saved /x/out.mp4  credits unknown  no result",
            id="saved",
        ),
        pytest.param(
            {"status": "failed", "error": TaskError(code="boom", message="it\nbroke\x1b")},
            f"{TASK_ID}  failed  boom: it\nbroke\x1b",
            id="failed",
        ),
        pytest.param({"status": "unknown", "task_id": None}, "oe-7f3a  unknown", id="no-task"),
    ],
)
def test_a_status_line_summarises_a_record(
    make_record: MakeRecord, fields: dict[str, Any], expected: str
) -> None:
    assert plain_text(render_status_line(make_record(**fields), NOW)) == expected
