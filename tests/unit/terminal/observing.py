"""What happens, taken in by a board and shown, as a session's observers do it."""

import contextlib
from collections.abc import Generator

from omniedit.events import Event, Observer
from omniedit.terminal.board import Board
from omniedit.terminal.printer import Printer
from omniedit.terminal.progress import watch


@contextlib.contextmanager
def watched(
    printer: Printer, *, total: int = 1, sandbox: bool = False, saves: bool = True
) -> Generator[Observer]:
    """Show what is reported, without a thread that draws in between."""
    board = Board(printer.clock)
    board.expect(total)
    board.saves = saves
    with watch(printer, board, sandbox=sandbox, is_ticking=False) as observe:

        def report(event: Event) -> None:
            board.take(event)
            observe(event)

        yield report
