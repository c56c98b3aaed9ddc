"""What `watch` puts on the screen, into a log and onto stdout."""

import json
from collections.abc import Callable, Mapping
from typing import Protocol

import pytest

from omniedit.events import (
    Completed,
    Event,
    Failed,
    Noted,
    Observer,
    Progressed,
    Retrying,
    Saved,
    Stalled,
    Submitted,
    Transferring,
    Warned,
)
from omniedit.models import Record, SavedFile, Task, TaskError
from omniedit.terminal.printer import OutputMode, Printer, ProgressMode
from tests.records import record_of
from tests.unit.terminal.observing import watched

TASK_ID = "task-unified-1757156493-a1b2c3d4"
FILE = SavedFile(path="/x/out.mp4", size_bytes=2_134_000, sha256="00")

MakePrinter = Callable[..., Printer]


class Clock(Protocol):
    def turn(self, seconds: float) -> None: ...


class Written(Protocol):
    text: str


class Screen(Protocol):
    shown: list[str]
    is_cursor_shown: bool
    has_wrapped: bool

    def feed(self, text: str) -> "Screen": ...


MakeScreen = Callable[[int], Screen]


def _task(
    status: str = "processing",
    task_id: str = TASK_ID,
    error: TaskError | None = None,
    progress: int | None = None,
) -> Record:
    return record_of(Task(task_id=task_id, status=status, error=error, progress=progress))


def _progressed(progress: int | None, remaining_s: float | None = 31.0) -> Progressed:
    return Progressed(record=_task(progress=progress), elapsed_s=28.0, remaining_s=remaining_s)


def _downloading(done: int, total: int | None = 2_134_000) -> Transferring:
    return Transferring(
        name="out.mp4", direction="download", done_bytes=done, total_bytes=total, task_id=TASK_ID
    )


SAVED = Saved(task_id=TASK_ID, file=FILE, shown_path="out/日落.mp4")
FAILED = Failed(
    record=_task("failed", error=TaskError(code="boom", message="it\nbroke\x1b[2J [red]"))
)


def _whole_story(report: Observer, clock: Clock) -> None:
    story: list[Event] = [
        Submitted(record=_task("pending")),
        _progressed(None),
        _progressed(10),
        _progressed(47),
        Retrying(message="503 把天空变成傍晚" * 9, delay_s=4.0, attempt=1, task_id=TASK_ID),
        _progressed(48),
        Stalled(task_id=TASK_ID, since_s=185.0),
        Noted(message="a note"),
        Warned(message="a warning"),
        Completed(record=_task("completed")),
        _downloading(0),
        _downloading(1_000_000),
        _downloading(1_000_000, None),
        SAVED,
    ]
    for event in story:
        report(event)
        clock.turn(1.0)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param([], "⠋ starting    ━━", id="at-once"),
        pytest.param([_progressed(None, None)], "⠋ processing  ━━", id="nothing-known"),
        pytest.param([_progressed(47)], " 51% 0:32  0:27 left  " + TASK_ID, id="progress"),
        pytest.param([_progressed(47, 0.0)], " 46% 0:32  any moment  " + TASK_ID, id="late"),
        pytest.param(
            [_progressed(47), Stalled(task_id=TASK_ID, since_s=185.0)],
            "3m09s without a change",
            id="stalled",
        ),
        pytest.param(
            [_progressed(47), Retrying(message="503\x1b", delay_s=5.0, attempt=1)],
            " 51% in 1s: 503\\x1b (attempt 1)",
            id="retrying",
        ),
        pytest.param(
            [_downloading(0), _downloading(1_067_000)],
            " 50% 1.1 MB of 2.1 MB  267 kB/s  0:04 left  out.mp4",
            id="download",
        ),
        pytest.param([_downloading(5, None)], "5 B  out.mp4", id="download-of-unknown-size"),
    ],
)
def test_the_bar_says_where_it_stands(
    make_printer: MakePrinter,
    terminal: Written,
    make_screen: MakeScreen,
    clock: Clock,
    *,
    events: list[Event],
    expected: str,
) -> None:
    printer = make_printer(err=terminal, environ={"TERM": "xterm", "COLUMNS": "120"})

    with watched(printer) as report:
        for event in events:
            report(event)
        for _ in range(8):
            clock.turn(0.5)
            printer.note("x")  # draws again, as the ticker would
        shown = make_screen(120).feed(terminal.text).shown[-1]

    assert expected in shown


@pytest.mark.parametrize("width", [20, 30, 40, 60, 100])
@pytest.mark.parametrize(
    "environ",
    [
        pytest.param({"TERM": "xterm-256color"}, id="256-colours"),
        pytest.param({"TERM": "xterm", "COLORTERM": "truecolor"}, id="true-colour"),
        pytest.param({"TERM": "xterm"}, id="16-colours"),
        pytest.param({"TERM": "xterm", "NO_COLOR": "1"}, id="no-colour"),
    ],
)
def test_the_bar_fits_and_leaves_one_line(
    make_printer: MakePrinter,
    terminal: Written,
    make_screen: MakeScreen,
    clock: Clock,
    *,
    width: int,
    environ: Mapping[str, str],
) -> None:
    printer = make_printer(err=terminal, environ={**environ, "COLUMNS": str(width)})

    with watched(printer) as report:
        _whole_story(report, clock)

    screen = make_screen(width).feed(terminal.text)
    assert not screen.has_wrapped or width < 40
    assert screen.is_cursor_shown
    assert screen.shown[:2] == ["note: a note", "warning: a warning"]
    if width >= 60:
        assert screen.shown[2:] == ["✓ saved out/日落.mp4 · 2.1 MB · 32 s · credits unknown"]
    elif width == 40:
        assert screen.shown[2:] == ["✓ saved out/日落.mp4 · credits unknown"]


def test_without_colour_there_is_none(
    make_printer: MakePrinter, terminal: Written, clock: Clock
) -> None:
    printer = make_printer(err=terminal, environ={"TERM": "xterm", "NO_COLOR": "1"})

    with watched(printer) as report:
        _whole_story(report, clock)

    colours = [code for code in terminal.text.split("\x1b[") if code[:1] in "349" and "m" in code]
    assert colours == []


@pytest.mark.parametrize(
    ("encoding", "saved"),
    [
        ("ascii", "+ saved out/\\u65e5\\u843d.mp4 - 2.1 MB - 32 s - credits unknown"),
        ("cp1252", "+ saved out/\\u65e5\\u843d.mp4 · 2.1 MB · 32 s · credits unknown"),
    ],
)
def test_poorer_terminals_get_plainer_bars(
    make_printer: MakePrinter,
    make_stream: Callable[..., Written],
    make_screen: MakeScreen,
    clock: Clock,
    *,
    encoding: str,
    saved: str,
) -> None:
    terminal = make_stream(is_terminal=True, encoding=encoding)

    with watched(make_printer(err=terminal)) as report:
        report(_downloading(1_000_000))
        report(Warned(message="drawn"))
        _whole_story(report, clock)

    assert "--" in terminal.text
    assert "━" not in terminal.text
    assert make_screen(100).feed(terminal.text).shown[-1] == saved


def test_lines_go_above_the_bar(
    make_printer: MakePrinter, terminal: Written, make_screen: MakeScreen
) -> None:
    printer = make_printer(out=terminal, err=terminal)

    with watched(printer) as report:
        report(_progressed(47))
        printer.line("result")
        printer.error("bad", hint="do")
        printer.warn("slow")
        shown = make_screen(100).feed(terminal.text).shown

    assert shown[:-1] == ["result", "error: bad", "hint: do", "warning: slow"]
    assert "processing" in shown[-1]


def test_what_happens_to_the_command_leaves_no_bar(
    make_printer: MakePrinter, terminal: Written, make_screen: MakeScreen
) -> None:
    printer = make_printer(err=terminal)

    def interrupted() -> None:
        with watched(printer) as report:
            report(_progressed(47))
            printer.note("x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    screen = make_screen(100).feed(terminal.text)
    assert screen.shown == ["note: x"]
    assert screen.is_cursor_shown


def test_a_completed_task_that_is_not_saved_leaves_a_line(
    make_printer: MakePrinter, terminal: Written, make_screen: MakeScreen
) -> None:
    with watched(make_printer(err=terminal)) as report:
        report(_progressed(47))
        report(Completed(record=_task("completed")))

    assert make_screen(100).feed(terminal.text).shown == [
        "✓ completed after 28 s · credits unknown"
    ]


def test_many_tasks_share_the_screen(
    make_printer: MakePrinter, terminal: Written, make_screen: MakeScreen, clock: Clock
) -> None:
    printer = make_printer(err=terminal)

    with watched(printer, total=1000) as report:
        for number in range(100):
            task = _task("pending", f"task-{number:08}")
            report(Submitted(record=task))
        report(FAILED)
        report(SAVED)
        report(Retrying(message="429 slow down", delay_s=9.0, attempt=1))
        clock.turn(1.0)
        printer.note("x")
        shown = make_screen(100).feed(terminal.text).shown

    assert shown[0] == f"✗ {TASK_ID} failed: boom: it broke\\x1b[2J [red]"
    assert shown[1].startswith("✓ saved out/日落.mp4 · 2.1 MB")
    assert len(shown) == 3 + 12 + 1
    assert "1/1000 saved, 100 running, 1 failed" in shown[-1]
    assert "in 8s: 429 slow down" in shown[-1]


def test_a_pipe_gets_a_line_for_each_change(
    make_printer: MakePrinter, stdout: Written, stderr: Written, clock: Clock
) -> None:
    with watched(make_printer()) as report:
        report(Submitted(record=_task("pending")))
        for progress in (None, 3, 12, 14, 47):
            report(_progressed(progress))
        report(Stalled(task_id=TASK_ID, since_s=185.0))
        report(Retrying(message="503", delay_s=4.0, attempt=1, task_id=TASK_ID))
        report(Completed(record=_task("completed")))
        for done in range(0, 2_134_000, 100_000):
            report(_downloading(done))
        report(SAVED)

    assert stdout.text == ""
    assert stderr.text.replace(f"{TASK_ID}: ", "") == (
        "submitted\n"
        "processing, 28s elapsed, about 31s left\n"
        "processing, 12 %, 28s elapsed, about 31s left\n"
        "processing, 47 %, 28s elapsed, about 31s left\n"
        "nothing moved for 3m05s\n"
        "503; trying again in 4s (attempt 1 failed)\n"
        "completed after 28 s\n"
        "downloading out.mp4, 0 % of 2.1 MB\n"
        "saved out/日落.mp4 (2.1 MB, 28 s, credits unknown)\n"
    )


def test_plain_lines_are_never_silent_for_long(
    make_printer: MakePrinter, stderr: Written, clock: Clock
) -> None:
    with watched(make_printer()) as report:
        report(_progressed(40))
        clock.turn(29.0)
        report(_progressed(40))
        clock.turn(1.0)
        report(_progressed(40))

    assert stderr.text.count("processing, 40 %") == 2


@pytest.mark.parametrize(
    ("progress", "quiet", "is_terminal"),
    [
        pytest.param(ProgressMode.NONE, False, True, id="none"),
        pytest.param(ProgressMode.AUTO, True, True, id="quiet"),
        pytest.param(ProgressMode.PLAIN, True, False, id="quiet-beats-plain"),
    ],
)
def test_nothing_but_warnings_when_not_wanted(
    make_printer: MakePrinter,
    make_stream: Callable[..., Written],
    clock: Clock,
    *,
    progress: ProgressMode,
    quiet: bool,
    is_terminal: bool,
) -> None:
    stream = make_stream(is_terminal=is_terminal)
    printer = make_printer(
        err=stream, progress=progress, quiet=quiet, environ={"TERM": "xterm", "NO_COLOR": "1"}
    )

    with watched(printer) as report:
        _whole_story(report, clock)

    assert stream.text == ("" if quiet else "note: a note\n") + "warning: a warning\n"


@pytest.mark.parametrize("environ", [{"TERM": "dumb"}, {"TERM": "xterm"}])
def test_plain_lines_where_no_bar_can_or_may_be(
    make_printer: MakePrinter, terminal: Written, environ: Mapping[str, str]
) -> None:
    mode = ProgressMode.AUTO if environ["TERM"] == "dumb" else ProgressMode.PLAIN
    printer = make_printer(err=terminal, environ=environ, progress=mode)

    with watched(printer) as report:
        report(_progressed(47))

    assert terminal.text == f"{TASK_ID}: processing, 47 %, 28s elapsed, about 31s left\n"


def test_many_tasks_in_a_log_are_one_line_at_every_tenth(
    make_printer: MakePrinter, stderr: Written
) -> None:
    with watched(make_printer(), total=20) as report:
        for number in range(20):
            task = _task("pending", f"t-{number}")
            report(Submitted(record=task))
            if number == 7:
                report(Failed(record=_task("failed", "t-7")))
            else:
                report(Saved(task_id=f"t-{number}", file=FILE, shown_path="o"))

    lines = stderr.text.splitlines()
    assert len(lines) == 11
    assert lines[:1] == ["2/20 saved, 0 running"]
    assert lines[3:5] == ["t-7: failed", "7/20 saved, 0 running, 1 failed"]


def test_events_replace_plain_lines(
    make_printer: MakePrinter, stdout: Written, stderr: Written, clock: Clock
) -> None:
    printer = make_printer(mode=OutputMode.EVENTS)

    with watched(printer, sandbox=True) as report:
        _whole_story(report, clock)

    events = [json.loads(line) for line in stdout.text.splitlines()]
    assert [event["event"] for event in events] == [
        "submitted",
        *["progress"] * 3,
        "retrying",
        "progress",
        "stalled",
        "completed",
        "saved",
    ]
    assert all(event["sandbox"] and event["task_id"] == TASK_ID for event in events)
    assert stderr.text == "note: a note\nwarning: a warning\n"


def test_events_leave_the_terminal_its_bar(
    make_printer: MakePrinter, stdout: Written, terminal: Written, clock: Clock
) -> None:
    printer = make_printer(mode=OutputMode.EVENTS, err=terminal)

    with watched(printer, sandbox=True) as report:
        _whole_story(report, clock)

    assert '"event": "saved"' in stdout.text
    assert "processing" in terminal.text


def test_a_terminal_that_hangs_up_stops_nothing(
    make_printer: MakePrinter, make_broken: Callable[[OSError], object], clock: Clock
) -> None:
    stream = make_broken(BrokenPipeError(32, "gone"))

    with watched(make_printer(err=stream)) as report:
        _whole_story(report, clock)
