"""Terminals are recognised, closed streams tolerated, and lines cut and wrapped to width."""

import os
from collections.abc import Callable, Mapping
from typing import Protocol, TextIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omniedit.terminal.printer import Printer
from omniedit.terminal.streams import (
    Colour,
    OutputStream,
    Span,
    cell_width,
    truncate,
    wrapped,
)
from tests.systems import linux
from tests.unit.terminal.observing import plain_text


class MakeStream(Protocol):
    def __call__(self, *, is_terminal: bool = False, encoding: str = "utf-8") -> TextIO: ...


@pytest.mark.parametrize(
    ("environ", "colours"),
    [
        ({"TERM": "xterm"}, "standard"),
        ({"TERM": "xterm-256color"}, "256"),
        ({"TERM": "xterm", "COLORTERM": "truecolor"}, "truecolor"),
        ({"WT_SESSION": "x"}, "truecolor"),
        ({"TERM": "dumb"}, None),
    ],
)
def test_the_environment_decides_the_colours(
    make_stream: MakeStream, environ: Mapping[str, str], colours: str | None
) -> None:
    stream = OutputStream(make_stream(is_terminal=True), environ, system=linux())

    assert stream.colour_system == colours


@pytest.mark.parametrize(
    ("environ", "has_links", "has_taskbar", "bell"),
    [
        pytest.param({"TERM": "xterm-256color"}, False, False, "", id="unknown"),
        pytest.param({"WT_SESSION": "x"}, True, True, "\x07", id="windows-terminal"),
        pytest.param({"ConEmuANSI": "ON"}, True, True, "\x07", id="conemu"),
        pytest.param({"TERM_PROGRAM": "ghostty"}, True, True, "\x1b]777;", id="ghostty"),
        pytest.param({"TERM_PROGRAM": "WezTerm"}, True, True, "\x1b]777;", id="wezterm"),
        pytest.param({"TERM_PROGRAM": "iTerm.app"}, True, False, "\x1b]9;", id="iterm"),
        pytest.param({"TERM_PROGRAM": "vscode"}, True, False, "", id="vscode-has-links-only"),
        pytest.param({"VTE_VERSION": "7200"}, True, False, "", id="gnome"),
        pytest.param(
            {"TERM_PROGRAM": "ghostty", "VTE_VERSION": "7200"},
            *(True, True, "\x1b]777;"),
            id="ghostty-started-from-gnome",
        ),
        pytest.param({"VTE_VERSION": "4000"}, False, False, "", id="old-gnome"),
        pytest.param({"WT_SESSION": "x", "TMUX": "x"}, False, False, "", id="tmux"),
        pytest.param({"WT_SESSION": "x", "TERM": "screen"}, False, False, "", id="screen"),
        pytest.param(
            {"WT_SESSION": "x", "OMNIEDIT_NOTIFY": "0"}, True, False, "", id="notifications-off"
        ),
    ],
)
def test_terminals_are_recognised_by_their_variables(
    make_stream: MakeStream,
    environ: Mapping[str, str],
    *,
    has_links: bool,
    has_taskbar: bool,
    bell: str,
) -> None:
    terminal = OutputStream(make_stream(is_terminal=True), environ, system=linux())
    pipe = OutputStream(make_stream(), environ, system=linux())

    assert (terminal.shows_links, terminal.shows_taskbar) == (has_links, has_taskbar)
    assert terminal.bell[: len(bell)] == bell
    assert bool(terminal.bell) is bool(bell)
    assert (pipe.shows_links, pipe.shows_taskbar, pipe.bell) == (False, False, "")


def test_a_link_target_contains_no_control_characters(make_stream: MakeStream) -> None:
    terminal = OutputStream(make_stream(is_terminal=True), {"WT_SESSION": "x"}, system=linux())

    shown = terminal.render([Span("out\x1b.mp4", file="/x/\x1b\\y\x07é?a=1")])

    assert shown == ("\x1b]8;;file:///x/%1B%5Cy%07%C3%A9%3Fa%3D1\x1b\\out\\x1b.mp4\x1b]8;;\x1b\\")


@pytest.mark.parametrize(
    ("is_other_terminal", "is_same"), [(True, False), (False, False)], ids=["terminal", "pipe"]
)
def test_two_terminals_are_told_apart(*, is_other_terminal: bool, is_same: bool) -> None:
    pytest.importorskip("termios", reason="Windows has no pseudo-terminals")
    terminal, far_end = os.openpty()
    other = os.openpty() if is_other_terminal else os.pipe()
    with os.fdopen(far_end, "w") as stream, os.fdopen(other[1], "w") as second:
        first = OutputStream(stream, {})

        assert first.is_same_terminal(OutputStream(stream, {}))
        assert first.is_same_terminal(OutputStream(second, {})) is is_same
    os.close(terminal)
    os.close(other[0])


@pytest.mark.parametrize(
    ("environ", "size"),
    [
        pytest.param({}, os.terminal_size((80, 24)), id="unknown"),
        pytest.param({"COLUMNS": "40"}, os.terminal_size((40, 24)), id="columns"),
        pytest.param({"COLUMNS": "x"}, os.terminal_size((80, 24)), id="nonsense"),
        pytest.param({"COLUMNS": "0"}, os.terminal_size((80, 24)), id="zero"),
    ],
)
def test_columns_sets_the_size_if_the_terminal_has_none(
    make_stream: MakeStream, environ: Mapping[str, str], size: os.terminal_size
) -> None:
    assert OutputStream(make_stream(is_terminal=True), environ).size == size


@pytest.mark.parametrize(
    ("columns", "environ", "width"),
    [
        pytest.param(100, {}, 100, id="size-of-the-terminal"),
        pytest.param(100, {"COLUMNS": "40"}, 40, id="columns-narrow"),
        pytest.param(40, {"COLUMNS": "100"}, 40, id="columns-never-widen"),
        pytest.param(0, {"COLUMNS": "50"}, 50, id="columns-without-a-terminal-size"),
        pytest.param(0, {}, 80, id="unknown-size"),
    ],
)
def test_columns_narrows_a_terminal_and_never_widens_it(
    columns: int, environ: Mapping[str, str], width: int
) -> None:
    termios = pytest.importorskip("termios", reason="Windows has none")
    terminal, far_end = os.openpty()
    if columns:
        termios.tcsetwinsize(far_end, (24, columns))
    with os.fdopen(far_end, "w") as stream:
        assert OutputStream(stream, environ).size.columns == width
    os.close(terminal)


def test_text_to_a_closed_stream_is_dropped(make_stream: MakeStream) -> None:
    stream = make_stream(is_terminal=True)
    stream.close()

    stream_ = OutputStream(stream, {})

    assert (stream_.is_closed, stream_.write("x")) == (True, 1)


def test_a_missing_stream_has_no_descriptor() -> None:
    with pytest.raises(OSError, match="descriptor"):
        OutputStream(None, {}).fileno()


def test_bytes_to_a_closed_pipe_are_dropped() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        stream_ = OutputStream(stream, {})

        stream_.write_bytes(b"x")
        stream_.write_bytes(b"y")

    assert stream_.is_closed


def test_a_printer_knows_which_of_its_streams_is_a_terminal(
    make_printer: Callable[..., Printer], make_stream: MakeStream
) -> None:
    printer = make_printer(out=make_stream(is_terminal=True))

    assert not printer.stderr.is_terminal
    assert printer.stdout_width == 100
    assert make_printer().stdout_width is None


@given(st.text(st.characters(categories=["L", "N"])), st.integers(0, 30))
def test_truncated_text_fits(text: str, width: int) -> None:
    assert cell_width(truncate(text, width)) <= width
    assert cell_width(truncate(text, width, keeps_end=True)) <= width


def test_truncation_counts_cells_not_characters() -> None:
    assert truncate("把天空变成傍晚", 7) == "把天空…"
    assert truncate("把天空变成傍晚", 7, keeps_end=True) == "…成傍晚"


@given(st.text(st.characters(categories=["L", "N", "Zs"])), st.integers(4, 30))
def test_wrapping_loses_nothing_but_spaces(text: str, width: int) -> None:
    line = [Span("note:", Colour.CYAN), Span(" "), Span(text)]

    lines = [plain_text(each) for each in wrapped(line, width)]

    assert "".join("".join(lines).split()) == "".join(f"note: {text}".split())
    assert all(cell_width(each.rstrip()) <= width or len(each.split()) == 1 for each in lines)


def test_a_label_keeps_commands_whole_and_counts_cells() -> None:
    hint = Span("把天空变成傍晚 把天空变成傍晚: run `omniedit config set-key` first")

    lines = [plain_text(line) for line in wrapped([hint], 32, label=[Span("key   ")])]

    assert lines == [
        "key   把天空变成傍晚",
        "      把天空变成傍晚: run",
        "      `omniedit config set-key`",
        "      first",
    ]
