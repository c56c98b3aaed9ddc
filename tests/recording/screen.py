"""A terminal's screen, computed from what programs write to it."""

import codecs
import re
from typing import Final, NamedTuple

from rich.ansi import AnsiDecoder
from rich.console import Console
from rich.style import Style

COLUMNS: Final = 88
CURSOR: Final = "█"

_PLAIN: Final = Style.null()
_TOKEN: Final = re.compile(
    r"(?P<printed>(?:\x1b\[[\d;]*m|[^\x00-\x1f\x7f])+)|\x1b\[[?\d;]*[A-Za-z]|[\x00-\x1f\x7f]"
)
_CUT_OFF: Final = re.compile(r"\x1b[^A-Za-z]*\Z")


class Cell(NamedTuple):
    """One character and its style."""

    letter: str
    style: Style


class Frame(NamedTuple):
    """The screen's contents from an instant on."""

    start_s: float
    lines: tuple[tuple[Cell, ...], ...]


class Screen:
    """A screen that supports the sequences of omniedit and a shell, and refuses all others.

    The library pyte supports more sequences, but not dim text, which omniedit uses.
    """

    def __init__(self) -> None:
        self._lines: list[list[Cell]] = [[]]
        self._line = 0
        self._column = 0
        self._has_cursor = True
        self._console = Console()
        self._colours = AnsiDecoder()
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._rest = ""

    @property
    def cursor_line(self) -> str:
        """The text of the line with the cursor."""
        return "".join(cell.letter for cell in self._lines[self._line])

    def write(self, written: bytes) -> None:
        """Show what a program has written.

        Raises:
            ValueError: If it contains an unsupported control sequence.
        """
        text = self._rest + self._decoder.decode(written)
        cut_off = _CUT_OFF.search(text)
        end = cut_off.start() if cut_off else len(text)
        self._rest = text[end:]
        for token in _TOKEN.finditer(text, 0, end):
            if token["printed"]:
                self._print(token[0])
            else:
                self._obey(token[0])

    def lines(self) -> tuple[tuple[Cell, ...], ...]:
        """Return the contents, including the cursor if it is visible."""
        lines = [list(line) for line in self._lines]
        if self._has_cursor:
            lines[self._line][self._column : self._column + 1] = [Cell(CURSOR, _PLAIN)]
        return tuple(map(tuple, lines))

    def _obey(self, sequence: str) -> None:
        match sequence:
            case "\r":
                self._column = 0
            case "\n":
                self._line += 1
                if self._line == len(self._lines):
                    self._lines.append([])
            case "\x1b[1A":
                self._line -= 1
            case "\x1b[2K":
                self._lines[self._line].clear()
            case "\x1b[?25l" | "\x1b[?25h":
                self._has_cursor = sequence == "\x1b[?25h"
            case "\x1b[?2004l" | "\x1b[?2004h":
                pass  # bracketed paste mode
            case _:
                message = f"unsupported control sequence: {sequence!r}"
                raise ValueError(message)

    def _print(self, text: str) -> None:
        line = self._lines[self._line]
        for segment in self._colours.decode_line(text).render(self._console):
            for letter in segment.text:
                line += [Cell(" ", _PLAIN)] * (self._column - len(line))
                line[self._column : self._column + 1] = [Cell(letter, segment.style or _PLAIN)]
                self._column += 1
