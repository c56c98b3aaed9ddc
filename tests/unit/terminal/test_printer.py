"""Every output mode and stream gets exactly what belongs there, safely encoded."""

import errno
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import pytest

from omniedit.terminal.printer import OutputMode, Printer
from omniedit.terminal.streams import Colour, Span

MakePrinter = Callable[..., Printer]
MakeStream = Callable[..., "Written"]


class Written(Protocol):
    """What was written to a stream."""

    text: str
    content: bytes


def test_results_go_to_stdout_and_messages_to_stderr(
    make_printer: MakePrinter, stdout: Written, stderr: Written
) -> None:
    printer = make_printer()

    printer.line("task-1")
    printer.error("no such task", hint="run `omniedit list`")
    printer.warn("slow")
    printer.note("known")

    assert stdout.text == "task-1\n"
    assert stderr.text == (
        "error: no such task\nhint: run `omniedit list`\nwarning: slow\nnote: known\n"
    )


def test_quiet_silences_notes_and_hints_only(make_printer: MakePrinter, stderr: Written) -> None:
    printer = make_printer(quiet=True)

    printer.error("bad", hint="do this")
    printer.warn("slow")
    printer.note("known")

    assert stderr.text == "error: bad\nwarning: slow\n"


@pytest.mark.parametrize(("verbose", "expected"), [(False, ""), (True, "GET /v1\n")])
def test_traces_are_shown_only_if_verbose(
    make_printer: MakePrinter, stderr: Written, *, verbose: bool, expected: str
) -> None:
    make_printer(verbose=verbose).trace("GET /v1")

    assert stderr.text == expected


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        pytest.param(OutputMode.TEXT, "line\npath\nrendered\n", id="text"),
        pytest.param(OutputMode.JSON, '{"a": "\\u00e9"}\n', id="one-document"),
        pytest.param(OutputMode.EVENTS, '{"b": 1}\n', id="events"),
    ],
)
def test_each_mode_prints_only_its_own_output(
    make_printer: MakePrinter, stdout: Written, mode: OutputMode, expected: str
) -> None:
    printer = make_printer(mode=mode)

    printer.line("line")
    printer.path("path")
    printer.lines(["rendered"])
    printer.document({"a": "é"})
    printer.document({"a": "again"})
    printer.event({"b": 1})

    assert stdout.text == expected


def test_result_lines_are_wrapped_only_on_a_terminal(
    make_printer: MakePrinter, stdout: Written, terminal: Written
) -> None:
    narrow = {"TERM": "xterm", "COLUMNS": "24"}
    line = "task-1  pending  5s elapsed  31.8 credits reserved"
    path = "a long path with many words.mp4"

    for printer in (make_printer(out=terminal, environ=narrow), make_printer(environ=narrow)):
        printer.line(line)
        printer.path(path)

    assert stdout.text == f"{line}\n{path}\n"
    assert terminal.text == f"task-1  pending  5s\nelapsed  31.8 credits\nreserved\n{path}\n"


def test_a_label_stands_beside_what_is_wrapped(
    make_printer: MakePrinter, stdout: Written, terminal: Written
) -> None:
    for width in ("24", "20"):
        printer = make_printer(out=terminal, environ={"COLUMNS": width, "NO_COLOR": "1"})
        printer.line([Span("31.8 credits", Colour.GREEN), Span(" ($0.47) left")], label="key  ")
    make_printer().line("31.8 credits ($0.47) left", label=[Span("key  ", Colour.DIM)])

    # With too few cells beside the label, further lines begin at the margin.
    assert terminal.text == (
        "key  31.8 credits\n     ($0.47) left\nkey  31.8 credits\n($0.47) left\n"
    )
    assert stdout.text == "key  31.8 credits ($0.47) left\n"


def test_json_is_valid_ascii_whatever_the_service_sent(
    make_printer: MakePrinter, stdout: Written
) -> None:
    raw = {"nan": float("nan"), "deep": [{"inf": float("inf")}], "del": "\x7f", "odd": "\udce9"}

    make_printer(mode=OutputMode.JSON).document(raw)

    assert stdout.text.isascii()
    assert "\x7f" not in stdout.text
    parsed = json.loads(stdout.text)
    assert (parsed["nan"], parsed["deep"], parsed["del"]) == (None, [{"inf": None}], "\x7f")


def test_text_from_outside_is_sanitized_everywhere(
    make_printer: MakePrinter, stdout: Written, stderr: Written
) -> None:
    printer = make_printer(verbose=True)
    hostile = "a\x1b]0;x\x07\nb\u202e[red]"

    printer.line(hostile)
    for say in (printer.error, printer.warn, printer.note, printer.trace, printer.message):
        say(hostile)
    printer.error("x", hint=hostile)

    shown = r"a\x1b]0;x\x07 b[red]"
    assert stdout.text == f"{shown}\n"
    assert stderr.text.count(shown) == 6
    assert "\x1b" not in stderr.text


def test_a_pipe_gets_the_exact_bytes_of_a_path(make_printer: MakePrinter, stdout: Written) -> None:
    make_printer().path(os.fsdecode(b"caf\xe9\x1b.mp4"))

    assert stdout.content == b"caf\xe9\x1b.mp4\n"


def test_a_terminal_gets_a_sanitized_path(make_printer: MakePrinter, terminal: Written) -> None:
    make_printer(out=terminal).path(os.fsdecode(b"caf\xe9\x1b.mp4"))

    assert terminal.text == "caf\\xe9\\x1b.mp4\n"


@pytest.mark.parametrize(
    ("encoding", "is_terminal", "expected"),
    [
        pytest.param("ascii", False, b"\\u628a - ~ +\n", id="pipe-gets-escapes"),
        pytest.param("ascii", True, b"?? - ~ +\n", id="terminal-keeps-its-alignment"),
        pytest.param("cp1252", False, b"\\u628a \xb7 \x85 +\n", id="cp1252-keeps-its-characters"),
    ],
)
def test_characters_missing_from_the_encoding_are_replaced(
    make_printer: MakePrinter,
    make_stream: MakeStream,
    *,
    encoding: str,
    is_terminal: bool,
    expected: bytes,
) -> None:
    stream = make_stream(encoding=encoding, is_terminal=is_terminal)

    make_printer(out=stream).line("把 · … ✓")

    assert stream.content == expected


@pytest.mark.parametrize(
    ("environ", "is_terminal", "is_coloured"),
    [
        pytest.param({"TERM": "xterm"}, True, True, id="terminal"),
        pytest.param({"TERM": "xterm"}, False, False, id="pipe"),
        pytest.param({"TERM": "xterm", "NO_COLOR": "1"}, True, False, id="no-color"),
        pytest.param({"TERM": "xterm", "NO_COLOR": ""}, True, True, id="empty-no-color"),
        pytest.param({"TERM": "dumb"}, True, False, id="dumb"),
        pytest.param({"FORCE_COLOR": "1"}, False, True, id="force-color"),
        pytest.param({"FORCE_COLOR": "0", "TERM": "xterm"}, True, False, id="force-no-color"),
        pytest.param({"FORCE_COLOR": "1", "NO_COLOR": "1"}, True, False, id="no-color-wins"),
    ],
)
def test_colour_depends_on_terminal_and_environment(
    make_printer: MakePrinter,
    make_stream: MakeStream,
    *,
    environ: Mapping[str, str],
    is_terminal: bool,
    is_coloured: bool,
) -> None:
    stream = make_stream(is_terminal=is_terminal)

    make_printer(err=stream, environ=environ).error("bad")

    assert stream.text == ("\x1b[1;31merror:\x1b[0m bad\n" if is_coloured else "error: bad\n")


def test_a_closed_pipe_is_noted_and_never_raises(
    make_printer: MakePrinter, make_broken: Callable[[OSError], object]
) -> None:
    printer = make_printer(out=make_broken(BrokenPipeError(errno.EPIPE, "gone")))

    printer.line("one")
    printer.line("two")

    assert printer.stdout.is_closed
    assert printer.stdout.failure is None


def test_a_full_disk_unlike_a_closed_pipe_is_a_failure(
    make_printer: MakePrinter, make_broken: Callable[[OSError], object]
) -> None:
    printer = make_printer(out=make_broken(OSError(errno.ENOSPC, "no space left")))

    printer.line("one")

    assert printer.stdout.failure is not None
    assert printer.stdout.failure.errno == errno.ENOSPC


def test_missing_streams_are_tolerated(make_printer: MakePrinter) -> None:
    printer = make_printer(out=None, err=None)

    printer.line("one")
    printer.path("two")
    printer.error("three")

    assert printer.stdout.is_closed


def test_buffered_text_does_not_fail_again_at_exit(make_printer: MakePrinter) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        printer = make_printer(out=stream)
        printer.line("one")

        stream.write("left in the buffer")

    assert printer.stdout.is_closed


def test_paths_and_lines_reach_a_file_in_order(make_printer: MakePrinter, tmp_path: Path) -> None:
    with (tmp_path / "out").open("w", encoding="utf-8") as stream:
        printer = make_printer(out=stream)
        printer.line("one")
        printer.path("two")
        printer.line("three")

    assert (tmp_path / "out").read_text() == "one\ntwo\nthree\n"


def test_usage_keeps_its_line_breaks(make_printer: MakePrinter, stderr: Written) -> None:
    make_printer().verbatim("Usage: omniedit\n\n  --json  x\n")

    assert stderr.text == "Usage: omniedit\n\n  --json  x\n"


def test_the_next_step_needs_two_terminals_and_is_never_wrapped(
    make_printer: MakePrinter, make_stream: MakeStream
) -> None:
    narrow = {"COLUMNS": "20", "NO_COLOR": "1"}
    terminal, pipe = make_stream(is_terminal=True), make_stream()

    for stdout in (terminal, pipe):
        printer = make_printer(out=stdout, err=terminal, environ=narrow)
        printer.next_step("wait --download out.mp4")

    assert terminal.text == "next: omniedit wait --download out.mp4\n"


def test_long_messages_are_never_wrapped_inside_a_command(
    make_printer: MakePrinter, make_stream: MakeStream
) -> None:
    terminal = make_stream(is_terminal=True)
    printer = make_printer(err=terminal, environ={"COLUMNS": "30", "NO_COLOR": "1"})

    printer.hint("the task goes on at the service: `omniedit wait task-unified-1 -d out.mp4`")

    assert terminal.text.splitlines() == [
        "hint: the task goes on at the",
        "service:",
        "`omniedit wait task-unified-1 -d out.mp4`",
    ]
