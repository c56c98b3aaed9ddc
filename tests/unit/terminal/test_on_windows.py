"""Windows: consoles without escapes, code pages, and file names that are text."""

from collections.abc import Callable
from typing import Protocol, TextIO

import pytest

from omniedit.events import Progressed, Warned
from omniedit.models import Task
from omniedit.terminal.printer import Printer
from tests.journals import record_of
from tests.systems import windows
from tests.unit.terminal.observing import watched

TERM = {"TERM": "xterm-256color"}


class Written(TextIO):
    """What a test sees of a stream."""

    text: str
    content: bytes


class MakeStream(Protocol):
    def __call__(
        self, *, is_terminal: bool = False, encoding: str = "utf-8", descriptor: int | None = None
    ) -> Written: ...


class Screen(Protocol):
    """What a test sees of a terminal."""

    shown: list[str]
    is_cursor_shown: bool

    def feed(self, text: str) -> "Screen": ...


MakePrinter = Callable[..., Printer]
MakeScreen = Callable[[int], Screen]


@pytest.mark.parametrize("environ", [TERM, {}, {"WT_SESSION": "x"}])
def test_a_console_without_escapes_gets_none(
    make_printer: MakePrinter,
    make_stream: MakeStream,
    make_task: Callable[..., Task],
    environ: dict[str, str],
) -> None:
    console = make_stream(is_terminal=True, encoding="cp437")
    printer = make_printer(
        out=console, err=console, environ=environ, system=windows(enables_escapes=False)
    )

    printer.error("bad")
    with watched(printer) as report:
        report(
            Progressed(record=record_of(make_task(progress=47)), elapsed_s=20.0, remaining_s=22.0)
        )
        report(Warned(message="slow"))

    assert printer.stderr.is_terminal
    assert not printer.stderr.is_animated
    assert "error: bad\n" in console.text
    assert "47 %" in console.text or "47%" in console.text
    assert "\x1b" not in console.text


def test_a_console_with_escapes_gets_colours(
    make_printer: MakePrinter, make_stream: MakeStream
) -> None:
    console = make_stream(is_terminal=True, descriptor=2)

    printer = make_printer(err=console, environ={}, system=windows(enables_escapes=True))

    assert printer.stderr.is_animated
    assert printer.stderr.colour_system == "standard"


def test_ending_the_live_display_removes_the_bar(
    make_printer: MakePrinter,
    make_stream: MakeStream,
    make_screen: MakeScreen,
    make_task: Callable[..., Task],
) -> None:
    console = make_stream(is_terminal=True, descriptor=2)
    printer = make_printer(err=console, system=windows())

    with watched(printer) as report:
        report(
            Progressed(record=record_of(make_task(progress=47)), elapsed_s=20.0, remaining_s=22.0)
        )
        report(Warned(message="drawn"))
        printer.end_live()
        printer.error("interrupted")
        screen = make_screen(100).feed(console.text)

    assert screen.shown == ["warning: drawn", "error: interrupted"]
    assert screen.is_cursor_shown


def test_colour_can_be_forced_without_escape_support(
    make_printer: MakePrinter, make_stream: MakeStream
) -> None:
    console = make_stream(is_terminal=True)

    printer = make_printer(
        err=console, environ={"FORCE_COLOR": "1"}, system=windows(enables_escapes=False)
    )

    assert printer.stderr.is_coloured
    assert not printer.stderr.is_animated


@pytest.mark.parametrize(
    ("encoding", "path", "expected"),
    [
        pytest.param("cp1252", "café.mp4", b"caf\xe9.mp4\n", id="cp1252"),
        pytest.param("cp437", "café.mp4", b"caf\x82.mp4\n", id="cp437"),
        pytest.param("utf-8", "日本.mp4", "日本.mp4\n".encode(), id="utf-8"),
        pytest.param("cp1252", "日本.mp4", "日本.mp4\n".encode(), id="utf-8-if-not-encodable"),
    ],
)
def test_a_path_is_written_in_the_encoding_of_its_pipe(
    make_printer: MakePrinter, make_stream: MakeStream, encoding: str, path: str, expected: bytes
) -> None:
    pipe = make_stream(encoding=encoding)

    make_printer(out=pipe, system=windows()).path(path)

    assert pipe.content == expected


def test_paths_and_lines_to_a_utf_16_pipe_stay_utf_16(
    make_printer: MakePrinter, make_stream: MakeStream
) -> None:
    pipe = make_stream(encoding="utf-16")
    printer = make_printer(out=pipe, system=windows())

    printer.line("one …")
    printer.path("zwei ü.mp4")
    printer.line("three")

    assert pipe.text == "one …\nzwei ü.mp4\nthree\n"


@pytest.mark.parametrize("encoding", ["cp437", "cp850", "cp932", "cp1251", "utf-16"])
@pytest.mark.parametrize("is_terminal", [True, False], ids=["console", "pipe"])
def test_any_text_can_be_printed_in_any_code_page(
    make_printer: MakePrinter, make_stream: MakeStream, *, encoding: str, is_terminal: bool
) -> None:
    stream = make_stream(is_terminal=is_terminal, encoding=encoding)
    printer = make_printer(out=stream, err=stream, system=windows())

    for say in (printer.line, printer.error, printer.warn, printer.note, printer.message):
        say("Übung 日本 — “…” → ✓ \U0001f3ac")

    assert stream.text.count("\n") == 5
    assert not printer.stdout.is_closed
