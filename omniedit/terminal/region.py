"""The last lines of a terminal, drawn again and again without tearing what is above."""

import contextlib
import math
from collections.abc import Callable, Generator, Mapping
from typing import TextIO, cast

from rich.console import Console
from rich.control import Control
from rich.segment import ControlType
from rich.text import Text

from omniedit.terminal.channel import Channel, ColourDepth, Size

_COLOUR_SYSTEMS = {
    ColourDepth.BASIC: "standard",
    ColourDepth.EIGHT_BIT: "256",
    ColourDepth.TRUE: "truecolor",
}


class Region:
    """Lines that stay below everything else that is printed.

    Rich's own live display cannot make room for a line on another stream, and leaves pieces of
    itself behind when the terminal gets narrower.

    Args:
        channel: The terminal.
        environ: Says what it can do.
        frame: Returns the lines to show, none wider than the size it gets.
    """

    def __init__(
        self, channel: Channel, environ: Mapping[str, str], frame: Callable[[Size], list[Text]]
    ) -> None:
        self._channel = channel
        self._frame = frame
        self._widths: list[int] = []
        self._is_on = False
        self._console = Console(
            file=cast("TextIO", channel),
            force_terminal=True,
            force_jupyter=False,
            legacy_windows=False,  # a console that obeys no escapes gets no region
            color_system=cast("None", _COLOUR_SYSTEMS.get(channel.depth)),
            no_color=not channel.is_coloured,
            markup=False,
            emoji=False,
            highlight=False,
            _environ=environ,
        )

    @contextlib.contextmanager
    def shown(self) -> Generator[None]:
        """Show it until the end of the block; the cursor is hidden meanwhile."""
        try:
            self._is_on = True
            self._console.show_cursor(show=False)
            yield
        finally:
            self.end()

    def end(self) -> None:
        """Take it off the screen, and show the cursor again."""
        if not self._is_on:
            return
        self._is_on = False
        with self._console:
            self._erase()
            self._console.show_cursor(show=True)

    @contextlib.contextmanager
    def hidden(self) -> Generator[None]:
        """Make room for what the block writes."""
        with self._console:
            self._erase()
        try:
            yield
        finally:
            self.draw()

    def draw(self) -> None:
        """Draw it as it is now."""
        if not self._is_on or self._channel.is_closed:
            return
        size = self._channel.size
        lines = self._frame(size)[-size.height :]
        with self._console:  # one write a frame, so that no half of one is ever seen
            self._erase()
            self._console.print(Text("\n").join(lines), soft_wrap=True, end="")
        self._widths = [line.cell_len for line in lines]

    def print_above(self, line: Text) -> None:
        """Print a line that stays."""
        with self.hidden():
            self._console.print(line, soft_wrap=True)

    def _erase(self) -> None:
        width = max(1, self._channel.size.width) if self._channel.is_reflowing else math.inf
        rows = sum(max(1, math.ceil(line / width)) for line in self._widths)
        self._widths = []
        if rows:
            step = ((ControlType.CURSOR_UP, 1), (ControlType.ERASE_IN_LINE, 2))
            clear = (ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2))
            self._console.control(Control(*clear, *(step * (rows - 1))))
