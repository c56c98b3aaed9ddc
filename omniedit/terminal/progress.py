"""Progress on standard error, and events on standard output, of whatever a use case reports."""

import contextlib
from collections.abc import Callable, Generator
from typing import Final, TypeAlias

from omniedit.events import Event, Noted, Observer, Warned
from omniedit.terminal.console import OutputMode, Printer, ProgressMode
from omniedit.terminal.document import event_document
from omniedit.terminal.plain import PlainLines
from omniedit.terminal.ticker import ticking
from omniedit.terminal.tracks import Board, Track

MANY: Final = 5
"""Beyond so many edits plain progress is one line for all."""

_FRAME_S: Final = 0.1
_FRAME_OF_MANY_S: Final = 0.25  # a screen full of bars costs more, and moves all the same
_LOOK_S: Final = 1.0  # how precisely the 30 s of plain lines are kept

_Show: TypeAlias = Callable[[Event, Track], None]


@contextlib.contextmanager
def watch(
    printer: Printer, *, sandbox: bool, total_tasks: int = 1, is_ticking: bool = True
) -> Generator[Observer]:
    """Show what is reported to the given callable, in the way the printer was asked to.

    Args:
        printer: Owns both streams.
        sandbox: Whether the events come from the sandbox.
        total_tasks: How many edits there will be.
        is_ticking: Whether to move on between reports, in a thread of its own.
    """
    board = Board(total_tasks=total_tasks, now=printer.clock())
    with _shown(printer, board, is_ticking=is_ticking) as show:

        def report(event: Event) -> None:
            with printer.lock:
                if printer.mode is OutputMode.EVENTS:
                    document = event_document(event, at=printer.clock(), sandbox=sandbox)
                    if document is not None:
                        printer.event(document)
                show(event, board.take(event, printer.clock()))
                if isinstance(event, Warned):
                    printer.warn(event.message)
                elif isinstance(event, Noted):
                    printer.note(event.message)

        yield report


@contextlib.contextmanager
def _shown(printer: Printer, board: Board, *, is_ticking: bool) -> Generator[_Show]:
    if printer.quiet or printer.progress is ProgressMode.NONE or printer.stderr.is_closed:
        yield lambda _event, _track: None
    elif printer.progress is ProgressMode.AUTO and printer.stderr.is_animated:
        with _bars(printer, board, is_ticking=is_ticking) as show:
            yield show
    elif printer.progress is ProgressMode.AUTO and printer.mode is OutputMode.EVENTS:
        yield lambda _event, _track: None  # the events say it all
    else:
        lines = PlainLines(printer, board, many=MANY)
        with _ticks(printer, lines.tick, interval_s=_LOOK_S, is_on=is_ticking):
            yield lines.show


@contextlib.contextmanager
def _bars(printer: Printer, board: Board, *, is_ticking: bool) -> Generator[_Show]:
    # Only here, since a command that shows no bar must not wait for Rich.
    from omniedit.terminal.bars import Bars  # noqa: PLC0415
    from omniedit.terminal.region import Region  # noqa: PLC0415

    bars = Bars(board, printer.stderr, printer.clock)
    region = Region(printer.stderr, printer.environ, bars.frame)

    def show(event: Event, track: Track) -> None:
        line = bars.lasting(event, track)
        if line is not None:
            region.print_above(line)

    interval_s = _FRAME_S if board.is_single else _FRAME_OF_MANY_S
    with region.shown(), printer.overlaid(region):
        with _ticks(printer, region.draw, interval_s=interval_s, is_on=is_ticking):
            yield show
        line = bars.last_words()
        if line is not None:
            region.print_above(line)


@contextlib.contextmanager
def _ticks(
    printer: Printer, tick: Callable[[], None], *, interval_s: float, is_on: bool
) -> Generator[None]:
    def locked_tick() -> None:
        with printer.lock:
            tick()

    with ticking(locked_tick, interval_s=interval_s) if is_on else contextlib.nullcontext():
        yield
