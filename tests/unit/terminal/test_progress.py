"""`watch` draws bars on terminals, prints lines to logs, and events to stdout."""

import contextlib
import json
import re
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import pytest

from omniedit.errors import Interrupted
from omniedit.events import (
    Completed,
    Event,
    Failed,
    Known,
    LineFailed,
    Noted,
    Observer,
    Progressed,
    Retrying,
    Saved,
    Stalled,
    Submitted,
    Warned,
    Working,
)
from omniedit.models import Record, SavedFile, Task, TaskError
from omniedit.system import Stopping
from omniedit.terminal.board import Board
from omniedit.terminal.printer import OutputMode, Printer, ProgressMode
from omniedit.terminal.progress import watch
from tests.journals import record_of
from tests.systems import linux
from tests.unit.terminal.observing import watched

TASK_ID = "task-unified-1757156493-a1b2c3d4"
FILE = SavedFile(path="/x/out.mp4", size_bytes=2_134_000, sha256="00")

MakePrinter = Callable[..., Printer]


class Clock(Protocol):
    def advance(self, seconds: float) -> None: ...


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


def _downloading(done: int, total: int | None = 2_134_000) -> Working:
    return Working(
        name="out.mp4",
        what="downloading",
        done=done,
        total=total,
        is_transfer=True,
        task_id=TASK_ID,
    )


SAVED = Saved(task_id=TASK_ID, file=FILE, shown_path="out/日落.mp4")
FAILED = Failed(
    record=_task("failed", error=TaskError(code="boom", message="it\nbroke\x1b[2J [red]"))
)


def _report_whole_edit(report: Observer, clock: Clock) -> None:
    events: list[Event] = [
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
    for event in events:
        report(event)
        clock.advance(1.0)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param([], "⠋ starting    ━━", id="no-event-yet"),
        pytest.param([_progressed(None, None)], "⠋ processing  ━━", id="unknown-progress"),
        pytest.param([_progressed(47)], " 52% 0:32  0:27 left  " + TASK_ID, id="progress"),
        pytest.param([_progressed(47, 0.0)], " 47% 0:32  any moment  " + TASK_ID, id="overdue"),
        pytest.param(
            [_progressed(47), Stalled(task_id=TASK_ID, since_s=185.0)],
            "no change for 3m09s",
            id="stalled",
        ),
        pytest.param(
            [_progressed(47), Retrying(message="503\x1b", delay_s=5.0, attempt=1)],
            " 52% in 1s: 503\\x1b (attempt 1)",
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
def test_the_bar_shows_state_and_time_left(
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
            clock.advance(0.5)
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
def test_the_bar_fits_any_width_and_is_removed(
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
        _report_whole_edit(report, clock)

    screen = make_screen(width).feed(terminal.text)
    assert not screen.has_wrapped or width < 40
    assert screen.is_cursor_shown
    if width >= 40:
        assert screen.shown[0] == "submitted · credits unknown"
        assert screen.shown[1:3] == ["note: a note", "warning: a warning"]
    if width >= 60:
        assert screen.shown[3:] == ["✓ saved out/日落.mp4 · 2.1 MB · 32 s · credits unknown"]
    elif width == 40:
        assert screen.shown[3:] == [
            "✓ saved out/日落.mp4",
            "  2.1 MB · 32 s · credits unknown",
        ]


def test_no_color_turns_colours_off(
    make_printer: MakePrinter, terminal: Written, clock: Clock
) -> None:
    printer = make_printer(err=terminal, environ={"TERM": "xterm", "NO_COLOR": "1"})

    with watched(printer) as report:
        _report_whole_edit(report, clock)

    colours = [code for code in terminal.text.split("\x1b[") if code[:1] in "349" and "m" in code]
    assert colours == []


@pytest.mark.parametrize(
    ("encoding", "saved"),
    [
        ("ascii", "+ saved out/\\u65e5\\u843d.mp4 - 2.1 MB - 32 s - credits unknown"),
        ("cp1252", "+ saved out/\\u65e5\\u843d.mp4 · 2.1 MB · 32 s · credits unknown"),
    ],
)
def test_limited_encodings_get_plainer_bars(
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
        _report_whole_edit(report, clock)

    assert "--" in terminal.text
    assert "━" not in terminal.text
    assert make_screen(100).feed(terminal.text).shown[-1] == saved


def test_messages_appear_above_the_bar(
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


def test_an_interrupt_removes_the_bar(
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


@pytest.mark.parametrize(
    "place",
    ["console.Console.set_live", "console.Console.push_render_hook", "live.Live.refresh"],
)
def test_an_interrupt_of_the_first_frame_restores_the_cursor(
    make_printer: MakePrinter,
    terminal: Written,
    make_screen: MakeScreen,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    printer = make_printer(err=terminal)

    def interrupt(*_: object) -> None:
        monkeypatch.undo()
        raise Interrupted(2)

    monkeypatch.setattr(f"rich.{place}", interrupt)

    with pytest.raises(Interrupted), watched(printer):
        pass

    printer.note("x")
    screen = make_screen(100).feed(terminal.text)
    assert screen.shown == ["note: x"]
    assert screen.is_cursor_shown


class Jobs:
    """A shell's job that is stopped and continues in the foreground or background."""

    def __init__(self) -> None:
        self.is_in_background = False
        self.system = linux(
            stopping=Stopping(
                20, stop=lambda: None, is_in_background=lambda _: self.is_in_background
            )
        )

    def stop(self, printer: Printer, *, then_background: bool) -> None:
        printer.suspend(lambda: setattr(self, "is_in_background", then_background))


def test_a_job_continued_in_the_background_draws_no_bar(
    make_printer: MakePrinter, make_stream: Callable[..., Written], make_screen: MakeScreen
) -> None:
    terminal = make_stream(is_terminal=True, descriptor=2)
    jobs = Jobs()
    printer = make_printer(err=terminal, system=jobs.system)

    def screen() -> Screen:
        return make_screen(100).feed(terminal.text)

    with watched(printer) as report:
        report(_progressed(47))
        jobs.stop(printer, then_background=True)
        printer.warn("the host is slow")
        report(_progressed(48))
        in_background = screen()
        jobs.stop(printer, then_background=False)
        report(_progressed(49))
        printer.note("in the foreground")
        in_foreground = screen()

    assert (in_background.shown, in_background.is_cursor_shown) == (
        ["warning: the host is slow"],
        True,
    )
    assert in_foreground.shown[:2] == ["warning: the host is slow", "note: in the foreground"]
    assert "processing" in in_foreground.shown[2]
    assert not in_foreground.is_cursor_shown
    assert screen().is_cursor_shown


def test_a_job_started_in_the_background_prints_plain_lines(
    make_printer: MakePrinter, make_stream: Callable[..., Written]
) -> None:
    terminal = make_stream(is_terminal=True, descriptor=2)
    jobs = Jobs()
    jobs.is_in_background = True

    with watched(make_printer(err=terminal, system=jobs.system)) as report:
        report(_progressed(47))

    assert terminal.text == f"{TASK_ID}: processing, 47 %, 28s elapsed, about 31s left\n"


def test_a_completed_task_that_is_not_saved_leaves_a_line(
    make_printer: MakePrinter, terminal: Written, make_screen: MakeScreen
) -> None:
    with watched(make_printer(err=terminal)) as report:
        report(_progressed(47))
        report(Completed(record=_task("completed")))

    assert make_screen(100).feed(terminal.text).shown == [
        "✓ completed after 28 s · credits unknown"
    ]


def test_many_tasks_show_12_rows_and_a_summary(
    make_printer: MakePrinter, terminal: Written, make_screen: MakeScreen, clock: Clock
) -> None:
    printer = make_printer(err=terminal)

    with watched(printer, total=1000) as report:
        for number in range(100):
            task = _task("pending", f"task-{number:08}")
            report(Submitted(record=task))
        report(FAILED)
        report(SAVED._replace(task_id="task-00000000"))
        report(Retrying(message="429 slow down", delay_s=9.0, attempt=1))
        clock.advance(1.0)
        printer.note("x")
        shown = make_screen(100).feed(terminal.text).shown

    assert shown[0] == f"✗ {TASK_ID} failed (boom)"
    assert shown[1].startswith("✓ saved out/日落.mp4 · 2.1 MB")
    assert len(shown) == 3 + 12 + 1
    assert "1/1000 saved, 99 running, 1 failed" in shown[-1]
    assert "in 8s: 429 slow down" in shown[-1]


def test_a_cancelled_task_of_several_is_not_called_failed(
    make_printer: MakePrinter, terminal: Written, make_screen: MakeScreen
) -> None:
    with watched(make_printer(err=terminal), total=6) as report:
        report(Failed(record=_task("cancelled", "t-1")))

    assert make_screen(100).feed(terminal.text).shown == ["✗ t-1 cancelled (request_cancelled)"]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("local_file", "✗ a.mp4 failed (x)"),
        ("wait_timeout", "! a.mp4 not finished"),
        ("outcome_unknown", "! a.mp4 unknown"),
    ],
)
def test_only_failures_are_shown_as_failed(
    make_printer: MakePrinter,
    terminal: Written,
    make_screen: MakeScreen,
    kind: str,
    expected: str,
) -> None:
    with watched(make_printer(err=terminal), total=6) as report:
        report(LineFailed("a.mp4", TaskError("x", "no", kind=kind)))

    assert make_screen(100).feed(terminal.text).shown == [expected]


def test_a_pipe_gets_plain_lines(
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
        "submitted, credits unknown\n"
        "processing, 28s elapsed, about 31s left\n"
        "processing, 12 %, 28s elapsed, about 31s left\n"
        "processing, 47 %, 28s elapsed, about 31s left\n"
        "no change for 3m05s\n"
        "503 (attempt 1 failed, retrying in 4s)\n"
        "completed after 28 s\n"
        "saved out/日落.mp4 (2.1 MB, 28 s, credits unknown)\n"
    )


def test_a_plain_line_is_repeated_after_30_seconds(
    make_printer: MakePrinter, stderr: Written, clock: Clock
) -> None:
    with watched(make_printer()) as report:
        report(_progressed(40))
        clock.advance(29.0)
        report(_progressed(40))
        clock.advance(1.0)
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
def test_quiet_and_progress_none_show_no_progress(
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
        _report_whole_edit(report, clock)

    assert stream.text == ("" if quiet else "note: a note\n") + "warning: a warning\n"


@pytest.mark.parametrize("environ", [{"TERM": "dumb"}, {"TERM": "xterm"}])
def test_dumb_terminals_and_plain_mode_get_plain_lines(
    make_printer: MakePrinter, terminal: Written, environ: Mapping[str, str]
) -> None:
    mode = ProgressMode.AUTO if environ["TERM"] == "dumb" else ProgressMode.PLAIN
    printer = make_printer(err=terminal, environ=environ, progress=mode)

    with watched(printer) as report:
        report(_progressed(47))

    assert terminal.text == f"{TASK_ID}: processing, 47 %, 28s elapsed, about 31s left\n"


def test_many_tasks_in_a_log_get_one_line_per_tenth(
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
    assert lines[3:5] == [
        "t-7: failed: unknown_error: no reason was given",
        "7/20 saved, 0 running, 1 failed",
    ]


def test_in_a_log_the_retries_of_one_call_do_not_hide_those_of_the_next(
    make_printer: MakePrinter, stderr: Written
) -> None:
    with watched(make_printer()) as report:
        for attempt in (1, 2):
            report(Retrying(message="cannot connect", delay_s=2.0, attempt=attempt))
        report(Retrying(message="too many requests", delay_s=60.0, attempt=1))

    assert stderr.text.splitlines() == [
        "cannot connect (attempt 1 failed, retrying in 2s)",
        "too many requests (attempt 1 failed, retrying in 1m00s)",
    ]


def test_many_tasks_in_a_log_say_what_holds_them_back(
    make_printer: MakePrinter, stderr: Written, clock: Clock
) -> None:
    with watched(make_printer(), total=20) as report:
        for _ in range(3):
            report(Retrying(message="too many requests", delay_s=2.0, attempt=1))
        clock.advance(30.0)
        report(Retrying(message="too many requests", delay_s=8.0, attempt=2))

    assert [line for line in stderr.text.splitlines() if "many" in line] == [
        "too many requests (attempt 1 failed, retrying in 2s)",
        "too many requests (attempt 2 failed, retrying in 8s)",
    ]


def test_events_replace_plain_lines(
    make_printer: MakePrinter, stdout: Written, stderr: Written, clock: Clock
) -> None:
    printer = make_printer(mode=OutputMode.EVENTS)

    with watched(printer, sandbox=True) as report:
        _report_whole_edit(report, clock)

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


def test_events_on_stdout_leave_the_bar_on_stderr(
    make_printer: MakePrinter, stdout: Written, terminal: Written, clock: Clock
) -> None:
    printer = make_printer(mode=OutputMode.EVENTS, err=terminal)

    with watched(printer, sandbox=True) as report:
        _report_whole_edit(report, clock)

    assert '"event": "saved"' in stdout.text
    assert "processing" in terminal.text


def test_a_broken_stderr_does_not_stop_the_command(
    make_printer: MakePrinter, make_broken: Callable[[OSError], object], clock: Clock
) -> None:
    stream = make_broken(BrokenPipeError(32, "gone"))

    with watched(make_printer(err=stream)) as report:
        _report_whole_edit(report, clock)


def _completed(**fields: object) -> Completed:
    task = Task(task_id=TASK_ID, status="completed", credits_used=31.2, **fields)  # type: ignore[arg-type]  # a test's
    return Completed(record=record_of(task))


def _submitted(task_id: str = TASK_ID, video: str | None = None) -> Submitted:
    task = Task(task_id=task_id, status="pending", credits_reserved=34.0)
    return Submitted(record=record_of(task, video=video))


def test_a_terminal_shows_credits_reserved_and_charged(
    make_printer: MakePrinter, terminal: Written, make_screen: MakeScreen
) -> None:
    with watched(make_printer(err=terminal)) as report:
        report(_submitted())
        report(_progressed(47))
        report(_completed())
        report(SAVED)

    assert make_screen(100).feed(terminal.text).shown == [
        "submitted · 34.0 credits ($0.50) reserved",
        "✓ saved out/日落.mp4 · 2.1 MB · 28 s · 31.2 credits ($0.46)",
    ]


def test_a_log_shows_credits_reserved_and_charged(
    make_printer: MakePrinter, stderr: Written
) -> None:
    with watched(make_printer()) as report:
        report(_submitted())
        report(_progressed(47))
        report(_completed())
        report(SAVED)

    lines = stderr.text.replace(f"{TASK_ID}: ", "").splitlines()
    assert lines[0] == "submitted, 34.0 credits ($0.50) reserved"
    assert lines[-1] == "saved out/日落.mp4 (2.1 MB, 28 s, 31.2 credits ($0.46))"


@pytest.mark.parametrize(
    ("events", "line"),
    [
        pytest.param([_progressed(47)], "completed after 28 s", id="polled"),
        pytest.param([], "completed", id="without-polls"),
        pytest.param(
            [
                Progressed(
                    record=record_of(Task(task_id=TASK_ID, status="completed", estimated_s=60)),
                    elapsed_s=3 * 3600.0,
                    remaining_s=None,
                )
            ],
            "completed about 2h59m ago",
            id="found-completed",
        ),
    ],
)
def test_completion_without_saving_is_reported_once(
    make_printer: MakePrinter,
    terminal: Written,
    make_screen: MakeScreen,
    *,
    events: list[Event],
    line: str,
) -> None:
    printer = make_printer(out=terminal, err=terminal)

    with watched(printer, saves=False) as report:
        for event in events:
            report(event)
        report(_completed(estimated_s=60.0))
        printer.line("https://example.com/result.mp4")

    assert make_screen(100).feed(terminal.text).shown == [
        f"✓ {line} · 31.2 credits ($0.46)",
        "https://example.com/result.mp4",
    ]


@pytest.mark.parametrize(
    ("mode", "total", "quiet", "is_in_progress"),
    [
        pytest.param(ProgressMode.AUTO, 1, False, True, id="bar"),
        pytest.param(ProgressMode.AUTO, 9, False, True, id="bars"),
        pytest.param(ProgressMode.PLAIN, 1, False, True, id="plain-lines"),
        pytest.param(ProgressMode.PLAIN, 9, False, False, id="plain-summary"),
        pytest.param(ProgressMode.NONE, 1, False, False, id="no-progress"),
        pytest.param(ProgressMode.AUTO, 1, True, False, id="quiet"),
    ],
)
def test_a_saved_path_appears_only_once_on_one_terminal(
    make_printer: MakePrinter,
    terminal: Written,
    make_screen: MakeScreen,
    *,
    mode: ProgressMode,
    total: int,
    quiet: bool,
    is_in_progress: bool,
) -> None:
    printer = make_printer(out=terminal, err=terminal, progress=mode, quiet=quiet)

    with watched(printer, total=total) as report:
        report(SAVED)
        printer.path(SAVED.shown_path)

    shown = [line for line in make_screen(100).feed(terminal.text).shown if "日落" in line]
    assert len(shown) == 1
    assert (shown[0] == SAVED.shown_path) is not is_in_progress


def test_a_pipe_gets_the_path_that_the_terminal_shows_too(
    make_printer: MakePrinter, stdout: Written, terminal: Written
) -> None:
    printer = make_printer(err=terminal)

    with watched(printer) as report:
        report(SAVED)
        printer.path(SAVED.shown_path)

    assert stdout.text == "out/日落.mp4\n"


def test_a_joined_clip_has_a_line_and_an_event(
    make_printer: MakePrinter, stdout: Written, stderr: Written
) -> None:
    printer = make_printer(mode=OutputMode.EVENTS, progress=ProgressMode.PLAIN)

    with watched(printer) as report:
        report(Saved(file=FILE, shown_path="out.mp4"))

    assert stderr.text == "saved out.mp4 (2.1 MB)\n"
    event = json.loads(stdout.text)
    assert (event["event"], event["task_id"], event["path"]) == ("saved", None, "/x/out.mp4")


def test_rows_name_the_clip(
    make_printer: MakePrinter, terminal: Written, make_screen: MakeScreen
) -> None:
    printer = make_printer(err=terminal)

    with watched(printer, total=2) as report:
        report(_submitted("t-1", "films/a.mp4"))
        report(_submitted("t-2", "https://example.com/b.mp4?sig=1"))
        printer.note("drawn")
        shown = make_screen(100).feed(terminal.text).shown

    assert [line.split()[0] for line in shown] == ["note:", "a.mp4", "b.mp4", "⠋"]


def test_narrow_rows_stay_distinct_and_in_order(
    make_printer: MakePrinter, terminal: Written, make_screen: MakeScreen
) -> None:
    printer = make_printer(err=terminal, environ={"TERM": "xterm", "COLUMNS": "60"})

    with watched(printer, total=9) as report:
        for number in (10, 9, 1):
            report(_submitted(f"t-{number}", f"films/holiday-in-the-alps-{number:02}.mp4"))
        printer.note("drawn")
        shown = make_screen(60).feed(terminal.text).shown

    assert [line.split()[0] for line in shown[1:-1]] == [
        "holid…lps-01.mp4",
        "holid…lps-09.mp4",
        "holid…lps-10.mp4",
    ]


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        pytest.param(60, ["✓ saved {} · 2.1 MB · credits unknown"], id="one-line"),
        pytest.param(50, ["✓ saved {}", "  2.1 MB · credits unknown"], id="two-lines"),
    ],
)
def test_the_path_of_a_saved_file_is_never_truncated(
    make_printer: MakePrinter,
    terminal: Written,
    make_screen: MakeScreen,
    width: int,
    lines: list[str],
) -> None:
    path = "out/holiday-warmer.mp4"
    printer = make_printer(err=terminal, environ={"TERM": "xterm", "COLUMNS": str(width)})

    with watched(printer) as report:
        report(SAVED._replace(shown_path=path))

    screen = make_screen(width).feed(terminal.text)
    assert screen.shown == [line.format(path) for line in lines]


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        pytest.param(100, ["✓ saved o.mp4 · 2.1 MB · 25.4 credits ($0.37) paid before"], id="wide"),
        pytest.param(
            50, ["✓ saved o.mp4", "  2.1 MB · 25.4 credits ($0.37) paid before"], id="narrow"
        ),
    ],
)
def test_the_charge_of_a_known_edit_is_not_shown_as_a_new_one(
    make_printer: MakePrinter,
    terminal: Written,
    make_screen: MakeScreen,
    width: int,
    expected: list[str],
) -> None:
    record = record_of(Task(task_id=TASK_ID, status="completed", credits_used=25.4))
    printer = make_printer(err=terminal, environ={"TERM": "xterm", "COLUMNS": str(width)})

    with watched(printer) as report:
        report(Known(record=record))
        report(Completed(record=record))
        report(SAVED._replace(shown_path="o.mp4"))

    assert make_screen(width).feed(terminal.text).shown == expected


def test_preparing_a_clip_shows_its_progress(
    make_printer: MakePrinter, terminal: Written, stderr: Written, make_screen: MakeScreen
) -> None:
    event = Working(
        name="c.mp4", what="cutting piece 7 of 30", done=3.0, total=12.0, fps=29.97, remaining_s=9.0
    )
    with watched(make_printer(err=terminal)) as report:
        report(event)
        report(Warned(message="drawn"))
        shown = make_screen(100).feed(terminal.text).shown[-1]
    with watched(make_printer()) as report:
        report(event)

    assert shown.startswith("⠋ cutting  ")
    assert " 25% piece 7 of 30  30 fps  0:09 left  c.mp4" in shown
    assert stderr.text.splitlines()[0] == "cutting piece 7 of 30 c.mp4, 25 %"


@pytest.mark.parametrize("is_interrupted", [True, False])
def test_the_taskbar_shows_progress_and_is_cleared(
    make_printer: MakePrinter, terminal: Written, clock: Clock, *, is_interrupted: bool
) -> None:
    printer = make_printer(err=terminal, environ={"TERM": "xterm", "WT_SESSION": "x"})

    def waiting() -> None:
        with watched(printer) as report:
            report(_progressed(47))
            for seconds in (1.0, 29.0):
                clock.advance(seconds)
                printer.note("drawn")
            if is_interrupted:
                raise Interrupted(2)

    with pytest.raises(Interrupted) if is_interrupted else contextlib.nullcontext():
        waiting()

    taskbar = re.findall(r"\x1b\]9;4;(\d);(\d+)\x07", terminal.text)
    assert ("1", "60") in taskbar
    assert taskbar[-1] == ("0", "0")
    rings = terminal.text.replace("\x1b]9;4;", "").count("\x07") - len(taskbar)
    assert rings == (0 if is_interrupted else 1)


def test_a_short_wait_rings_no_bell(
    make_printer: MakePrinter, terminal: Written, clock: Clock
) -> None:
    environ = {"TERM": "xterm", "TERM_PROGRAM": "iTerm.app"}

    with watched(make_printer(err=terminal, environ=environ)) as report:
        report(_progressed(47))
        clock.advance(19.0)

    assert "\x07" not in terminal.text


def test_a_pipe_gets_no_bell(make_printer: MakePrinter, stderr: Written, clock: Clock) -> None:
    with watched(make_printer(environ={"WT_SESSION": "x"})) as report:
        report(_progressed(47))
        clock.advance(60.0)

    assert "\x07" not in stderr.text


def test_concurrent_reports_leave_every_line_intact(
    make_printer: MakePrinter, terminal: Written, make_screen: MakeScreen
) -> None:
    printer = make_printer(out=terminal, err=terminal)
    board = Board(printer.clock)
    lock = threading.Lock()
    board.expect(40)

    def work(worker: int, observe: Observer) -> None:
        for number in range(10):
            task_id = f"t-{worker}-{number}"
            event: Event
            for event in (_submitted(task_id), Saved(file=FILE, shown_path="o", task_id=task_id)):
                with lock:
                    board.update(event)
                observe(event)
            printer.line(f"line {worker}-{number}")

    with watch(printer, board, sandbox=False) as observe, ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4), [observe] * 4))

    shown = make_screen(100).feed(terminal.text).shown
    lines = {line for line in shown if line.startswith("line")}
    assert lines == {f"line {worker}-{number}" for worker in range(4) for number in range(10)}
    assert {line for line in shown if line not in lines} == {"✓ saved o · 2.1 MB · credits unknown"}


def test_the_charge_is_known_for_a_task_that_was_not_polled(
    make_printer: MakePrinter, stderr: Written
) -> None:
    printer = make_printer()
    board = Board(printer.clock)
    board.add(_completed().record)

    with watch(printer, board, sandbox=False, is_ticking=False) as observe:
        board.update(SAVED)
        observe(SAVED)

    assert stderr.text == f"{TASK_ID}: saved out/日落.mp4 (2.1 MB, 31.2 credits ($0.46))\n"
