"""Plain progress lines: which are printed, and how often."""

from collections.abc import Callable
from typing import Protocol

import pytest

from omniedit.events import (
    Completed,
    Event,
    Failed,
    Known,
    Progressed,
    Retrying,
    Saved,
    Stalled,
    Submitted,
    Working,
)
from omniedit.models import SavedFile, Task
from omniedit.terminal.board import Board
from omniedit.terminal.printer import Printer
from omniedit.terminal.progress import PlainLines
from tests.journals import record_of

MakePrinter = Callable[..., Printer]
FILE = SavedFile(path="/x/out.mp4", size_bytes=7, sha256="00")


class Clock(Protocol):
    def advance(self, seconds: float) -> None: ...


class Written(Protocol):
    text: str


def plain_lines(printer: Printer, *, total: int) -> tuple[Board, PlainLines]:
    board = Board(printer.clock)
    board.expect(total)
    return board, PlainLines(printer, board)


def _uploading(done: int) -> Working:
    return Working(name="c.mp4", what="uploading", done=done, total=100, is_transfer=True)


def test_a_running_task_gets_a_line_every_30_seconds(
    make_printer: MakePrinter, stderr: Written, clock: Clock
) -> None:
    printer = make_printer()
    board, lines = plain_lines(printer, total=1)
    event = Progressed(
        record=record_of(Task(task_id="t-1", status="processing", progress=40)),
        elapsed_s=10,
        remaining_s=20,
    )
    board.update(event)
    lines.show(event)

    for _ in range(65):
        clock.advance(1.0)
        lines.tick()

    assert stderr.text.splitlines() == [
        "t-1: processing, 40 %, 10s elapsed, about 20s left",
        "t-1: processing, 40 %, 40s elapsed",
        "t-1: processing, 40 %, 1m10s elapsed",
    ]


def test_a_repeated_retry_is_reported_every_30_seconds(
    make_printer: MakePrinter, stderr: Written, clock: Clock
) -> None:
    printer = make_printer()
    board, lines = plain_lines(printer, total=1)

    for attempt in range(1, 61):
        event = Retrying(message="429", delay_s=1.0, attempt=attempt)
        board.update(event)
        lines.show(event)
        clock.advance(1.0)

    assert stderr.text.splitlines() == [
        "429 (attempt 1 failed, retrying in 1s)",
        "429 (attempt 31 failed, retrying in 1s)",
    ]


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (Retrying("503", 2.0, 1, "t-1"), "t-1: 503 (attempt 1 failed, retrying in 2s)"),
        (Stalled("t-1", 200.0), "t-1: no change for 3m20s"),
    ],
    ids=["retry", "stall"],
)
def test_a_line_before_the_first_reply_names_the_task(
    make_printer: MakePrinter, stderr: Written, event: Retrying | Stalled, line: str
) -> None:
    board, lines = plain_lines(make_printer(), total=2)

    board.update(event)
    lines.show(event)

    assert stderr.text == f"{line}\n"


def test_a_completed_task_gets_no_further_lines(
    make_printer: MakePrinter, stderr: Written, clock: Clock
) -> None:
    printer = make_printer()
    board, lines = plain_lines(printer, total=1)
    board.update(Completed(record=record_of(Task(task_id="t-1", status="completed"))))

    clock.advance(31.0)
    lines.tick()

    assert stderr.text == ""


def test_many_tasks_are_counted_every_30_seconds(
    make_printer: MakePrinter, stderr: Written, clock: Clock
) -> None:
    printer = make_printer()
    board, lines = plain_lines(printer, total=120)
    event = Submitted(record=record_of(Task(task_id="t-1", status="pending")))
    board.update(event)
    lines.show(event)

    for _ in range(65):
        clock.advance(1.0)
        lines.tick()

    assert stderr.text == "0/120 saved, 1 running\n" * 2


def test_a_long_transfer_gets_a_line_per_tenth(
    make_printer: MakePrinter, stderr: Written, clock: Clock
) -> None:
    printer = make_printer()
    board, lines = plain_lines(printer, total=1)
    for done in (0, 5, 25, 29):
        event = _uploading(done)
        board.update(event)
        lines.show(event)
        clock.advance(6.0)

    assert stderr.text == "uploading c.mp4, 5 % of 100 B\nuploading c.mp4, 25 % of 100 B\n"


def test_a_transfer_of_less_than_a_second_has_no_line(
    make_printer: MakePrinter, stderr: Written, clock: Clock
) -> None:
    board, lines = plain_lines(make_printer(), total=1)
    for direction in ("upload", "download"):
        for done in (0, 50, 100):
            event = _uploading(done)
            if direction == "download":
                event = event._replace(what="downloading", task_id="t-1")
            board.update(event)
            lines.show(event)
            clock.advance(0.3)

    assert stderr.text == "submitting\n"


def test_a_transfer_that_hangs_at_once_is_reported(
    make_printer: MakePrinter, stderr: Written, clock: Clock
) -> None:
    board, lines = plain_lines(make_printer(), total=1)
    event = _uploading(0)
    board.update(event)
    lines.show(event)

    for _ in range(31):
        clock.advance(1.0)
        lines.tick()

    assert stderr.text == "uploading c.mp4, 0 % of 100 B\n"


def test_unknown_sizes_and_existing_files_have_their_own_lines(
    make_printer: MakePrinter, stderr: Written, clock: Clock
) -> None:
    printer = make_printer()
    board, lines = plain_lines(printer, total=1)
    download = Working(name="o.mp4", what="downloading", done=5, total=None, is_transfer=True)
    events: list[Event] = [
        download,
        download,
        Saved(task_id="t-1", file=FILE, shown_path="o.mp4", is_new=False),
    ]
    for event in events:
        board.update(event)
        lines.show(event)
        clock.advance(1.0)

    assert stderr.text == "downloading o.mp4, 5 B\nt-1: already here: o.mp4 (7 B)\n"


@pytest.mark.parametrize(
    ("credits_used", "charge"),
    [
        pytest.param(25.4, "25.4 credits ($0.37) paid before", id="charge-known"),
        pytest.param(None, "credits unknown", id="charge-unknown"),
    ],
)
def test_a_known_edit_was_paid_before(
    make_printer: MakePrinter, stderr: Written, credits_used: float | None, charge: str
) -> None:
    board, lines = plain_lines(make_printer(), total=1)
    record = record_of(Task(task_id="t-1", status="completed", credits_used=credits_used))
    events: list[Event] = [
        Known(record=record),
        Saved(task_id="t-1", file=FILE, shown_path="o.mp4"),
    ]
    for event in events:
        board.update(event)
        lines.show(event)

    assert stderr.text == f"t-1: saved o.mp4 (7 B, {charge})\n"


def test_the_end_of_an_upload_among_several_has_no_line(
    make_printer: MakePrinter, stderr: Written, clock: Clock
) -> None:
    board, lines = plain_lines(make_printer(), total=3)
    for done in (0, 50, 100):
        event = _uploading(done)
        board.update(event)
        lines.show(event)
        clock.advance(1.0)

    assert stderr.text == "uploading c.mp4, 50 % of 100 B\n"


@pytest.mark.parametrize(
    ("total", "expected"),
    [
        pytest.param(
            2,
            "m.jsonl:7 (task-1-a1b2c3d4): submitted, credits unknown\n"
            "m.jsonl:7 (task-1-a1b2c3d4): processing, 40 %, 10s elapsed\n"
            "m.jsonl:7 (task-1-a1b2c3d4): failed: unknown_error: no reason was given\n",
            id="several",
        ),
        pytest.param(
            9,
            "m.jsonl:7 (task-1-a1b2c3d4): failed: unknown_error: no reason was given\n"
            "0/9 saved, 0 running, 1 failed\n",
            id="many",
        ),
    ],
)
def test_the_lines_of_a_batch_name_the_edit_as_its_errors_do(
    make_printer: MakePrinter, stderr: Written, total: int, expected: str
) -> None:
    printer = make_printer()
    board = Board(printer.clock)
    board.expect(total, labels={"i": "7 clip.mp4"}, names={"i": "m.jsonl:7"})
    lines = PlainLines(printer, board)
    task = Task(task_id="task-1-a1b2c3d4", status="processing", progress=40)
    running = record_of(task, identity="i")
    events: list[Event] = [
        Submitted(record=running),
        Progressed(record=running, elapsed_s=10, remaining_s=None),
        Failed(record=record_of(task._replace(status="failed"), identity="i")),
    ]
    for event in events:
        board.update(event)
        lines.show(event)

    assert stderr.text == expected


@pytest.mark.parametrize(
    ("total", "expected"),
    [
        pytest.param(1, "t-1: cancelled, credits unknown\n", id="one"),
        pytest.param(2, "t-1: cancelled: request_cancelled: no reason was given\n", id="several"),
    ],
)
def test_a_cancelled_task_is_not_called_failed(
    make_printer: MakePrinter, stderr: Written, total: int, expected: str
) -> None:
    board, lines = plain_lines(make_printer(), total=total)
    event = Failed(record=record_of(Task(task_id="t-1", status="cancelled")))
    board.update(event)
    lines.show(event)

    assert stderr.text == expected


@pytest.mark.parametrize(
    ("total", "expected"),
    [
        pytest.param(1, "t-1: failed, credits unknown\n", id="one"),
        pytest.param(2, "t-1: failed: unknown_error: no reason was given\n", id="several"),
        pytest.param(
            9,
            "t-1: failed: unknown_error: no reason was given\n0/9 saved, 0 running, 1 failed\n",
            id="many",
        ),
    ],
)
def test_a_failed_task_gets_a_line(
    make_printer: MakePrinter, stderr: Written, total: int, expected: str
) -> None:
    board, lines = plain_lines(make_printer(), total=total)
    event = Failed(record=record_of(Task(task_id="t-1", status="failed")))
    board.update(event)
    lines.show(event)

    assert stderr.text.startswith(expected)
