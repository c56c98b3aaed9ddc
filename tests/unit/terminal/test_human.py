from collections.abc import Callable
from typing import Any

import pytest

from omniedit.models import Record, TaskError
from omniedit.terminal.cells import cell_width
from omniedit.terminal.human import (
    render_clock,
    render_credits,
    render_duration,
    render_moment,
    render_size,
    render_status_line,
    render_table,
)

NOW = 1_757_169_743.0
TASK_ID = "task-unified-1757156493-a1b2c3d4"
MakeRecord = Callable[..., Record]
H = 3600.0


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(-1, "0s"), (0.9, "0s"), (58, "58s"), (65, "1m05s"), (11220, "3h07m"), (187200, "2d04h")],
)
def test_durations(seconds: float, expected: str) -> None:
    assert render_duration(seconds) == expected


@pytest.mark.parametrize(("seconds", "expected"), [(5, "0:05"), (65, "1:05"), (11229, "3:07:09")])
def test_clocks(seconds: float, expected: str) -> None:
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
def test_sizes(size: float, expected: str) -> None:
    assert render_size(size) == expected


def test_credits_name_their_price() -> None:
    assert render_credits(64.25) == "64.2 credits (about $0.94)"
    assert render_credits(1) == "1 credit (about $0.01)"


def test_moments() -> None:
    assert render_moment(NOW) == "2025-09-06 14:42 UTC"
    assert render_moment(1e20) == "at an unknown time"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param(
            {"status": "processing", "progress": 47},
            f"{TASK_ID}  processing  47 %  1m30s elapsed",
            id="running",
        ),
        pytest.param(
            {"status": "completed", "link_left_s": 22 * H},
            f"{TASK_ID}  completed  not saved  link valid for 22h00m",
            id="completed",
        ),
        pytest.param(
            {"status": "completed", "link_left_s": -1, "saved": "/x/out.mp4"},
            f"{TASK_ID}  completed  saved /x/out.mp4  link expired",
            id="saved",
        ),
        pytest.param(
            {"status": "failed", "error": TaskError(code="boom", message="it\nbroke\x1b")},
            f"{TASK_ID}  failed  boom: it broke\\x1b",
            id="failed",
        ),
        pytest.param({"status": "unknown", "task_id": None}, "oe-7f3a  unknown", id="no-task"),
    ],
)
def test_status_lines(make_record: MakeRecord, fields: dict[str, Any], expected: str) -> None:
    assert render_status_line(make_record(**fields), NOW) == expected


def _records(make_record: MakeRecord) -> list[Record]:
    return [
        make_record(link_left_s=23 * H, saved="/home/me/films/out-a1b2c3.mp4"),
        make_record(link_left_s=2 * H, prompt="把天空变成傍晚 and keep everything else unchanged"),
        make_record("processing", progress=47, task_id="task-unified-1757156493-ffffffff"),
        make_record("refused", task_id=None, prompt="x\x1b\ny"),
        make_record(is_result_gone=True),
    ]


@pytest.mark.parametrize("width", [20, 30, 40, 41, 60, 80, 100, 160])
def test_a_table_fits_its_terminal(make_record: MakeRecord, width: int) -> None:
    lines = render_table(_records(make_record), NOW, width)

    assert all(cell_width(line) <= max(width, 21) for line in lines)
    assert len(lines) == 6


def test_forty_columns_keep_what_decides(make_record: MakeRecord) -> None:
    lines = render_table(_records(make_record), NOW, 40)

    assert lines == [
        "TASK       STATE       LINK    SAVED",
        "…a1b2c3d4  completed   23h00m  …b2c3.mp4",
        "…a1b2c3d4  completed   2h00m   not saved",
        "…ffffffff  processing  -       -",
        "oe-7f3a    refused     -       -",
        "…a1b2c3d4  completed   gone    not saved",
    ]


def test_a_script_gets_every_column_in_full(make_record: MakeRecord) -> None:
    lines = render_table(_records(make_record), NOW, None)

    assert lines[0].split() == ["TASK", "STATE", "AGE", "LINK", "SAVED", "PROMPT"]
    assert lines[2].split()[0] == TASK_ID
    assert lines[2].endswith("把天空变成傍晚 and keep everything else unchanged")
    assert "/home/me/films/out-a1b2c3.mp4" in lines[1]
    assert not any("\t" in line or "\x1b" in line for line in lines)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({"link_left_s": 7 * H}, "\x1b[32m7h00m\x1b[0m", id="green-above-6-h"),
        pytest.param({"link_left_s": 5 * H}, "\x1b[33m5h00m\x1b[0m", id="yellow-below-6-h"),
        pytest.param({"link_left_s": 2 * H}, "\x1b[31m2h00m\x1b[0m", id="red-below-3-h"),
        pytest.param({"link_left_s": -1}, "\x1b[2mgone\x1b[0m", id="dim-when-gone"),
        pytest.param({"link_left_s": 2 * H, "saved": "/x"}, "\x1b[2m2h00m", id="dim-when-saved"),
    ],
)
def test_colour_tells_how_urgent_a_link_is(
    make_record: MakeRecord, fields: dict[str, Any], expected: str
) -> None:
    lines = render_table([make_record(**fields)], NOW, 100, colour=True)

    assert expected in lines[1]


def test_no_records_leave_the_header() -> None:
    assert render_table([], NOW, 80) == ["TASK  STATE  AGE  LINK  SAVED  PROMPT"]
