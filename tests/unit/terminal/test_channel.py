import os
from collections.abc import Callable, Mapping
from typing import Protocol, TextIO

import pytest

from omniedit.terminal.channel import Channel, ColourDepth, Size
from omniedit.terminal.console import Printer
from tests.systems import linux


class MakeStream(Protocol):
    def __call__(self, *, is_terminal: bool = False, encoding: str = "utf-8") -> TextIO: ...


@pytest.mark.parametrize(
    ("environ", "depth"),
    [
        ({"TERM": "xterm"}, ColourDepth.BASIC),
        ({"TERM": "xterm-256color"}, ColourDepth.EIGHT_BIT),
        ({"TERM": "xterm", "COLORTERM": "truecolor"}, ColourDepth.TRUE),
        ({"WT_SESSION": "x"}, ColourDepth.TRUE),
        ({"TERM": "dumb"}, ColourDepth.NONE),
    ],
)
def test_how_many_colours(
    make_stream: MakeStream, environ: Mapping[str, str], depth: ColourDepth
) -> None:
    assert Channel(make_stream(is_terminal=True), environ, system=linux()).depth is depth


@pytest.mark.parametrize(
    ("environ", "is_reflowing"),
    [
        pytest.param({"TERM": "xterm-256color"}, True, id="most"),
        pytest.param({"TERM": "xterm-256color", "XTERM_VERSION": "XTerm(390)"}, False, id="xterm"),
        pytest.param({"TERM": "screen-256color", "TMUX": "x"}, True, id="tmux"),
        pytest.param({"TERM": "screen"}, False, id="gnu-screen"),
        pytest.param({"TERM": "linux"}, False, id="console"),
    ],
)
def test_which_terminals_wrap_anew(
    make_stream: MakeStream, *, environ: Mapping[str, str], is_reflowing: bool
) -> None:
    assert Channel(make_stream(is_terminal=True), environ).is_reflowing is is_reflowing


@pytest.mark.parametrize(
    ("environ", "size"),
    [
        pytest.param({}, Size(80, 24), id="unknown"),
        pytest.param({"COLUMNS": "40"}, Size(40, 24), id="columns"),
        pytest.param({"COLUMNS": "x"}, Size(80, 24), id="nonsense"),
        pytest.param({"COLUMNS": "0"}, Size(80, 24), id="nothing"),
    ],
)
def test_the_size_without_a_terminal(
    make_stream: MakeStream, environ: Mapping[str, str], size: Size
) -> None:
    assert Channel(make_stream(is_terminal=True), environ).size == size


@pytest.mark.parametrize(
    ("columns", "environ", "width"),
    [
        pytest.param(100, {}, 100, id="the-terminal-knows"),
        pytest.param(100, {"COLUMNS": "40"}, 40, id="columns-narrow-it"),
        pytest.param(40, {"COLUMNS": "100"}, 40, id="columns-never-widen-it"),
        pytest.param(0, {"COLUMNS": "50"}, 50, id="a-terminal-that-does-not-know"),
        pytest.param(0, {}, 80, id="nobody-knows"),
    ],
)
def test_the_size_of_a_terminal(columns: int, environ: Mapping[str, str], width: int) -> None:
    termios = pytest.importorskip("termios", reason="Windows has none")
    terminal, far_end = os.openpty()
    if columns:
        termios.tcsetwinsize(far_end, (24, columns))
    with os.fdopen(far_end, "w") as stream:
        assert Channel(stream, environ).size.width == width
    os.close(terminal)


def test_a_closed_stream_is_no_terminal(make_stream: MakeStream) -> None:
    stream = make_stream(is_terminal=True)
    stream.close()

    channel = Channel(stream, {})

    assert (channel.is_closed, channel.write("x")) == (True, 1)


def test_no_stream_has_no_descriptor() -> None:
    with pytest.raises(OSError, match="descriptor"):
        Channel(None, {}).fileno()


def test_bytes_to_a_closed_pipe_are_dropped() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        channel = Channel(stream, {})

        channel.write_bytes(b"x")
        channel.write_bytes(b"y")

    assert channel.is_closed


def test_a_printer_tells_what_is_behind_its_streams(
    make_printer: Callable[..., Printer], make_stream: MakeStream
) -> None:
    printer = make_printer(out=make_stream(is_terminal=True))

    assert not printer.is_stderr_terminal
    assert (printer.stdout_width, printer.is_stdout_coloured) == (100, True)
    assert make_printer().stdout_width is None
