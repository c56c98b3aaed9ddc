"""Events passed to a board and displayed, as by a session's observers, and lines as plain text."""

import contextlib
from collections.abc import Generator

from omniedit.events import Event, Noted, Observer, Warned
from omniedit.terminal.board import Board
from omniedit.terminal.printer import Printer
from omniedit.terminal.progress import watch
from omniedit.terminal.streams import Line


@contextlib.contextmanager
def watched(
    printer: Printer, *, total: int = 1, sandbox: bool = False, saves: bool = True
) -> Generator[Observer]:
    """Yield a function that reports events; no background thread redraws."""
    board = Board(printer.clock)
    board.expect(total)
    board.saves = saves
    with watch(printer, board, sandbox=sandbox, is_ticking=False) as observe:

        def report(event: Event) -> None:
            # Messages never reach the progress display, which the command line sees to.
            if isinstance(event, Warned):
                printer.warn(event.message)
            elif isinstance(event, Noted):
                printer.note(event.message)
            else:
                board.update(event)
                observe(event)

        yield report


def plain_text(line: Line) -> str:
    """Return a line's text without colours and links."""
    return line if isinstance(line, str) else "".join(span.text for span in line)
