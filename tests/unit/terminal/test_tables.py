"""The table of `list` fits any width and keeps what matters."""

from collections.abc import Callable
from typing import Any

import pytest

from omniedit.models import DEFAULT_MODEL, Record, Task
from omniedit.terminal.streams import Colour, Span, cell_width
from omniedit.terminal.tables import render_columns, render_table
from tests.unit.terminal.observing import plain_text

NOW = 1_757_169_743.0
TASK_ID = "task-unified-1757156493-a1b2c3d4"
MakeRecord = Callable[..., Record]
H = 3600.0


def rendered(records: list[Record], width: int | None, **options: Any) -> list[str]:
    return [plain_text(line).rstrip() for line in render_table(records, NOW, width, **options)]


def with_credits(
    record: Record, *, used: float | None = None, reserved: float | None = None
) -> Record:
    assert record.task is not None
    return record._replace(task=record.task._replace(credits_used=used, credits_reserved=reserved))


def _records(make_record: MakeRecord) -> list[Record]:
    return [
        with_credits(
            make_record(link_left_s=23 * H, saved="/home/me/films/out-a1b2c3.mp4"), used=31.24
        ),
        make_record(
            link_left_s=2 * H,
            task_id="task-unified-1757156493-00000001",
            prompt="把天空变成傍晚 and keep everything else unchanged",
        ),
        with_credits(
            make_record("processing", progress=47, task_id="task-unified-1757156493-ffffffff"),
            reserved=34.0,
        ),
        make_record("refused", task_id=None, prompt="x\x1b\ny"),
        make_record(is_result_gone=True, task_id="task-unified-1757156493-00000002"),
    ]


def test_models_are_shown_if_they_differ_and_fit(
    make_record: MakeRecord,
) -> None:
    usual = make_record()._replace(model=DEFAULT_MODEL)
    other = make_record(task_id="task-2")._replace(model="gemini-omni-9")

    assert rendered([usual, usual], 160)[0].endswith("LINK")
    assert [line.split()[-1] for line in rendered([usual, other], 160)] == [
        "MODEL",
        DEFAULT_MODEL,
        "gemini-omni-9",
    ]
    assert rendered([usual, other], 100)[0].endswith("LINK")
    assert rendered([usual], None)[0].endswith("MODEL")


@pytest.mark.parametrize("width", [10, 20, 30, 40, 41, 60, 80, 100, 160])
def test_a_table_fits_its_terminal(make_record: MakeRecord, width: int) -> None:
    lines = rendered(_records(make_record), width)

    assert all(cell_width(line) <= width for line in lines)
    assert len(lines) == 6 or lines[0] == "a1b2c3d4"


def test_100_columns_show_everything(make_record: MakeRecord) -> None:
    assert rendered(_records(make_record), 100) == [
        "TASK      CLIP      PROMPT                   WHEN    STATE           CREDITS  FILE            LINK",
        "a1b2c3d4  clip.mp4  make it dusk             1m ago  completed       31.2     out-a1b2c3.mp4  23h00m",
        "00000001  clip.mp4  把天空变成傍晚 and kee…  1m ago  completed       unknown  not saved       2h00m",
        "ffffffff  clip.mp4  make it dusk             1m ago  processing 47%  (34.0)   -               -",
        "oe-7f3a   clip.mp4  x\\x1b y                  1m ago  refused         -        -               -",
        "00000002  clip.mp4  make it dusk             1m ago  completed       unknown  not saved       gone",
    ]


@pytest.mark.parametrize(
    ("width", "titles"),
    [
        (80, ["TASK", "CLIP", "WHEN", "STATE", "CREDITS", "FILE", "LINK"]),
        (60, ["TASK", "CLIP", "STATE", "CREDITS", "LINK"]),
    ],
)
def test_every_table_has_clip_state_credits_and_link(
    make_record: MakeRecord, width: int, titles: list[str]
) -> None:
    lines = rendered(_records(make_record), width)

    assert lines[0].split() == titles
    assert lines[1].split()[:2] == ["a1b2c3d4", "clip.mp4"]


def test_40_columns_show_a_record_per_edit(make_record: MakeRecord) -> None:
    saved, _, running, *_ = _records(make_record)

    assert rendered([saved, running], 40) == [
        "a1b2c3d4",
        "  clip     clip.mp4",
        "  prompt   make it dusk",
        "  when     1m ago",
        "  state    completed",
        "  credits  31.2",
        "  file     out-a1b2c3.mp4",
        "  link     23h00m",
        "ffffffff",
        "  clip     clip.mp4",
        "  prompt   make it dusk",
        "  when     1m ago",
        "  state    processing 47%",
        "  credits  (34.0)",
    ]


def test_a_pipe_gets_every_column_in_full(make_record: MakeRecord) -> None:
    lines = rendered(_records(make_record), None)

    titles = ["TASK", "CLIP", "PROMPT", "WHEN", "STATE", "CREDITS", "FILE", "LINK", "MODEL"]
    assert lines[0].split() == titles
    assert lines[1].split()[0] == TASK_ID
    assert "  2025-09-06 14:40  completed" in lines[1]
    assert "把天空变成傍晚 and keep everything else unchanged" in lines[2]
    assert "/home/me/films/out-a1b2c3.mp4" in lines[1]
    assert not any("\t" in line or "\x1b" in line for line in lines)


@pytest.mark.parametrize("known_ids", [(), ("other-1757156493-1b2c3d4x",)])
def test_short_ids_are_long_enough_to_differ(
    make_record: MakeRecord, known_ids: tuple[str, ...]
) -> None:
    records = [make_record(task_id="task-1-a1b2c3d4"), make_record(task_id="task-2-a1b2c3d4")]

    lines = rendered(records, 100, known_ids=known_ids)

    assert [line.split()[0] for line in lines[1:]] == ["1-a1b2c3d4", "2-a1b2c3d4"]


def test_short_ids_differ_from_those_not_shown(make_record: MakeRecord) -> None:
    lines = rendered([make_record(task_id="task-1-a1b2c3d4")], 100, known_ids=["x-9-a1b2c3d4"])

    assert lines[1].split()[0] == "1-a1b2c3d4"


@pytest.mark.parametrize(
    ("fields", "text", "colour"),
    [
        pytest.param({"link_left_s": 7 * H}, "7h00m", Colour.GREEN, id="green-above-6-h"),
        pytest.param({"link_left_s": 5 * H}, "5h00m", Colour.YELLOW, id="yellow-below-6-h"),
        pytest.param({"link_left_s": 2 * H}, "2h00m", Colour.RED, id="red-below-3-h"),
        pytest.param({"link_left_s": -1}, "gone", Colour.DIM, id="dim-when-gone"),
        pytest.param(
            {"link_left_s": 2 * H, "saved": "/x"}, "2h00m", Colour.DIM, id="dim-when-saved"
        ),
    ],
)
def test_colour_shows_how_soon_a_link_expires(
    make_record: MakeRecord, fields: dict[str, Any], text: str, colour: Colour
) -> None:
    line = [*render_table([make_record(**fields)], NOW, 100)[1]]

    assert Span(text, colour) in line


def test_a_status_of_the_service_is_not_taken_for_our_own(make_record: MakeRecord) -> None:
    record = make_record("refused")._replace(
        task=Task(task_id="t-1", status="refused"), status="refused"
    )

    assert Span("refused") in [*render_table([record], NOW, 100)[1]]


def test_a_saved_file_is_shown_as_a_link(make_record: MakeRecord) -> None:
    line = [*render_table([make_record(saved="/home/me/out.mp4")], NOW, 160)[1]]

    assert Span("/home/me/out.mp4", file="/home/me/out.mp4") in line


def test_without_records_only_the_header_is_shown() -> None:
    assert rendered([], 80) == ["TASK  CLIP  PROMPT  WHEN  STATE  CREDITS  FILE  LINK"]


def test_a_tree_shows_edits_of_a_result_below_it(make_record: MakeRecord) -> None:
    def edit(name: str, parent: str | None = None) -> Record:
        return make_record(task_id=name)._replace(parent=parent)

    newest_first = [
        edit("grandchild", "second"),
        edit("other"),
        edit("second", "root"),
        edit("first", "root"),
        edit("orphan", "unlisted"),
        edit("root"),
    ]

    lines = rendered(newest_first, None, is_tree=True)[1:]

    assert [line.partition("  clip")[0].rstrip() for line in lines] == [
        "other",
        "orphan",
        "root",
        "├─ first",
        "└─ second",
        "   └─ grandchild",
    ]


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        pytest.param(
            None,
            ["CLIP            TASKS  CHARGED  UNKNOWN", "films/clip.mp4      3      1.5        -"],
            id="pipe",
        ),
        pytest.param(
            30,
            ["CLIP            TASKS  CHARGED", "films/clip.mp4      3      1.5"],
            id="without-its-empty-column",
        ),
        pytest.param(
            26,
            ["CLIP        TASKS  CHARGED", "…/clip.mp4      3      1.5"],
            id="truncated-name",
        ),
        pytest.param(20, ["films/clip.mp4", "  tasks    3", "  charged  1.5"], id="stacked"),
    ],
)
def test_numbers_are_never_truncated(width: int | None, lines: list[str]) -> None:
    rows = [("CLIP", "TASKS", "CHARGED", "UNKNOWN"), ("films/clip.mp4", "3", "1.5", "-")]

    assert [plain_text(line) for line in render_columns(rows, width)] == lines
