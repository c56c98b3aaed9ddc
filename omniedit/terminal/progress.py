"""How events are shown: bars or lines on standard error, NDJSON on standard output."""

import contextlib
import math
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Final, TypeAlias

from omniedit.errors import Interrupted
from omniedit.events import (
    Completed,
    Event,
    Failed,
    LineFailed,
    Observer,
    Progressed,
    Retrying,
    Saved,
    Stalled,
    Submitted,
    Working,
)
from omniedit.terminal.board import Board, EditState
from omniedit.terminal.human import (
    failure_of,
    render_charge,
    render_duration,
    render_reserved,
    render_size,
    render_took,
)
from omniedit.terminal.printer import OutputMode, Printer, ProgressMode
from omniedit.terminal.streams import Colour, Line, OutputStream, Span, cell_width

MANY: Final = 5
"""Beyond this many edits, plain progress is one line for all of them."""
EVERY_S: Final = 30.0
"""The longest silence of plain progress."""

_FRAME_S: Final = 0.1
_FRAME_OF_MANY_S: Final = 0.25  # a screen full of bars costs more, and is lively enough
_TICK_S: Final = 1.0  # the precision of `EVERY_S`
_STEP: Final = 10  # per cent
_TRANSFER_EVERY_S: Final = 5.0
_TRANSFER_AFTER_S: Final = 1.0
"""A shorter transfer gets no line of its own."""
_RINGS_AFTER_S: Final = 20.0
_AGO_AFTER_S: Final = 120.0
_JOIN_TIMEOUT_S: Final = 2.0
"""How long to wait for a tick to end; on a terminal stopped by Ctrl-S it may never end."""

_SUCCESS: Final = Span("✓", Colour.BOLD_GREEN)
_FAILURE: Final = Span("✗", Colour.BOLD_RED)
_DOUBT: Final = Span("!", Colour.YELLOW)


@contextlib.contextmanager
def watch(
    printer: Printer, board: Board, *, sandbox: bool, is_ticking: bool = True
) -> Generator[Observer]:
    """Show events in the way that the printer's options ask for.

    Args:
        printer: The owner of both streams.
        board: The ledger; it must be updated with each event before the observer is called.
        sandbox: Whether the events come from the sandbox.
        is_ticking: Whether to refresh between events, in a separate thread.
    """
    began_at = board.clock()
    try:
        with (
            _display(printer, board) as (show, tick, interval_s),
            _ticking(printer, tick, interval_s if is_ticking else None),
        ):

            def observe(event: Event) -> None:
                with printer.lock:
                    if printer.mode is OutputMode.EVENTS:
                        # Imported only here: text output does not need it.
                        from omniedit.terminal.documents import event_document  # noqa: PLC0415

                        document = event_document(event, at=printer.clock(), sandbox=sandbox)
                        if document is not None:
                            printer.event(document)
                    show(event)

            yield observe
    finally:
        is_long = board.clock() - began_at > _RINGS_AFTER_S
        is_interrupted = isinstance(sys.exception(), Interrupted)
        if is_long and not is_interrupted and printer.shows_progress:
            # Call the user back to the terminal.
            printer.stderr.write(printer.stderr.bell)


_Display: TypeAlias = tuple[Callable[[Event], None], Callable[[], None], float | None]
"""What shows an event, what refreshes the display between events, and how often."""


@contextlib.contextmanager
def _display(printer: Printer, board: Board) -> Generator[_Display]:
    stderr = printer.stderr
    is_auto = printer.progress is ProgressMode.AUTO
    told_by_events = printer.mode is OutputMode.EVENTS and is_auto and not stderr.is_animated
    if told_by_events or not printer.shows_progress:
        yield lambda _: None, lambda: None, None
        return
    has_bars = is_auto and stderr.is_animated and not stderr.is_in_background
    names_saved_files = has_bars or board.total <= MANY
    printer.shows_saved_lines = printer.is_one_terminal and names_saved_files
    try:
        if has_bars:
            with _bars(printer, board) as display:
                yield display
        else:
            lines = PlainLines(printer, board)
            yield lines.show, lines.tick, _TICK_S
    finally:
        printer.shows_saved_lines = False


@contextlib.contextmanager
def _bars(printer: Printer, board: Board) -> Generator[_Display]:
    # Imported only here: a command without bars must not wait for Rich.
    from omniedit.terminal.bars import Bars  # noqa: PLC0415

    def show(event: Event) -> None:
        for line in _lines_above(event, board.state_of(event), board, printer.stderr):
            printer.message(line)

    bars = Bars(board, printer.stderr, printer.environ)
    with printer.showing(bars):
        yield show, bars.refresh, _FRAME_S if board.is_single else _FRAME_OF_MANY_S
        if board.is_single and board.saves and board.completed and not board.saved:
            printer.message(_ended_line(_SUCCESS, "completed", board.latest, board))


@contextlib.contextmanager
def _ticking(
    printer: Printer, tick: Callable[[], None], interval_s: float | None
) -> Generator[None]:
    """Call `tick` periodically until the end of the block; never if there is no interval."""
    is_over = threading.Event()

    def tick_until_over() -> None:
        while not is_over.wait(interval_s):
            with printer.lock:
                tick()

    thread = threading.Thread(target=tick_until_over, name="omniedit-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join(_JOIN_TIMEOUT_S)


def _lines_above(
    event: Event, edit: EditState, board: Board, stream: OutputStream
) -> Iterator[Line]:
    """Yield the lines about an event that stay above the bars."""
    match event:
        case Submitted() if board.is_single:
            what = "already accepted" if event.is_replay else "submitted"
            yield f"{what} · {_reserved(event)}"
        case Completed() if not board.saves:
            yield _ended_line(_SUCCESS, "completed", edit, board)
        case Failed(record=record) if board.is_single:
            yield _ended_line(_FAILURE, record.shown_status, edit, board)
        # Of several, the reason is printed at the end of the command, with its hint.
        case Failed(record=record):
            error = failure_of(record)
            code = f" ({error.code})" if error else ""
            name = board.name_of(edit.task_id) or edit.label
            yield [_FAILURE, Span(f" {name} {record.shown_status}{code}")]
        case LineFailed(state="failed"):
            yield [_FAILURE, Span(f" {event.name} failed ({event.error.code})")]
        case LineFailed(state=state):
            yield [_DOUBT, Span(f" {event.name} {state}")]
        case Saved():
            yield from _saved(event, edit, board, stream)
        case _:
            pass


def _ended_line(mark: Span, state: str, edit: EditState, board: Board) -> Line:
    outcome, charge = _ended(state, edit, board)
    name = "" if board.is_single else f"{edit.label} "
    return [mark, Span(f" {name}{outcome}"), Span(f" · {charge}", Colour.DIM)]


def _saved(event: Saved, edit: EditState, board: Board, stream: OutputStream) -> Iterator[Line]:
    """Yield a saved file with its facts, which go below it if they do not fit beside it."""
    path = stream.shown(event.shown_path)
    facts = " · ".join(_saved_facts(event, edit, board))
    verb = _verb(event)
    saved = [_SUCCESS, Span(f" {verb} "), Span(path, file=event.file.path)]
    if cell_width(f"✓ {verb} {path} · {facts}") <= stream.size.columns:
        yield [*saved, Span(f" · {facts}", Colour.DIM)]
    else:
        yield saved  # the path is never truncated
        yield [Span(f"  {facts}", Colour.DIM)]


class _LastShown:
    """What the last line about an edit, or about all of them, showed, and when it was printed."""

    def __init__(self, at: float) -> None:
        self.at = at
        self.state = ""
        self.step = 0


class PlainLines:
    """Prints progress as lines for a log: one per edit, or a common one for many edits."""

    def __init__(self, printer: Printer, board: Board) -> None:
        self._printer = printer
        self._board = board
        self._last_lines: dict[str, _LastShown] = {}
        self._last_shown_of_all = _LastShown(board.clock())
        self._last_retries_at: dict[str | None, float] = {}  # by task ID; None for all edits

    def show(self, event: Event) -> None:
        """Print a line for an event, if it is worth one."""
        edit = self._board.state_of(event)
        is_shown = not self._is_many or isinstance(event, Failed | LineFailed | Retrying)
        line = self._line(event, edit) if is_shown else None
        if line is not None:
            self._print(edit, line)
        if self._is_many and isinstance(event, Saved | Completed | Failed | LineFailed):
            self._print_new_counts()

    def tick(self) -> None:
        """Print the current progress if nothing has been printed for a while."""
        now = self._board.clock()
        if self._is_many:
            if now - self._last_shown_of_all.at >= EVERY_S:
                self._print_counts()
            return
        for edit in self._board.running:
            if now - self._last_shown(edit).at >= EVERY_S:
                self._print(edit, _progress_text(edit, now))

    @property
    def _is_many(self) -> bool:
        return self._board.total > MANY

    def _print_new_counts(self) -> None:
        board = self._board
        step = (board.done + len(board.unsuccessful)) * 100 // max(1, board.total) // _STEP
        if step > self._last_shown_of_all.step:
            self._last_shown_of_all.step = step
            self._print_counts()

    def _print_counts(self) -> None:
        self._last_shown_of_all.at = self._board.clock()
        self._printer.message(self._board.counts)

    def _print(self, edit: EditState, text: str) -> None:
        """Print a line about an edit: its task ID, after the name that errors give the edit."""
        last = self._last_shown(edit)
        last.at = self._board.clock()
        last.state = edit.state
        last.step = _step_of(edit)
        name = self._board.name_of(edit.task_id)
        name = f"{name} ({edit.task_id})" if name else edit.task_id
        self._printer.message(f"{name}: {text}" if name else text)

    def _last_shown(self, edit: EditState) -> _LastShown:
        key = edit.task_id or f"clip {edit.label}"
        return self._last_lines.setdefault(key, _LastShown(self._board.clock()))

    def _line(self, event: Event, edit: EditState) -> str | None:
        board = self._board
        match event:
            case Submitted():
                what = "already accepted, following it" if event.is_replay else "submitted"
                return f"{what}, {_reserved(event)}"
            case Progressed() | Working():
                return self._progress_line(event, edit)
            case Stalled():
                return f"no change for {render_duration(event.since_s)}"
            case Retrying():
                return self._retrying(event)
            case Completed():
                outcome, charge = _ended("completed", edit, board)
                return outcome if board.saves else f"{outcome}, {charge}"
            case Failed() | LineFailed():
                return _failure(event, edit, board)
            case Saved():
                facts = ", ".join(_saved_facts(event, edit, board))
                return f"{_verb(event)} {event.shown_path} ({facts})"
            case _:
                return None

    def _retrying(self, event: Retrying) -> str | None:
        """Return a line for a call's first failure, and for later ones at most every `EVERY_S`.

        Among many edits, only failures that concern all of them get a line, and even first ones at
        most every `EVERY_S`.
        """
        now = self._board.clock()
        is_new = event.attempt == 1 and not self._is_many
        if self._is_many and event.task_id is not None:
            return None
        if not is_new and now - self._last_retries_at.get(event.task_id, -math.inf) < EVERY_S:
            return None
        self._last_retries_at[event.task_id] = now
        when = f"retrying in {render_duration(max(1.0, event.delay_s))}"
        return f"{event.message} (attempt {event.attempt} failed, {when})"

    def _progress_line(self, event: Progressed | Working, edit: EditState) -> str | None:
        if isinstance(event, Progressed) and not event.record.is_open:
            return None  # the end has its own line
        if not edit.label:
            return None  # an upload that its task has replaced
        now = self._board.clock()
        last = self._last_shown(edit)
        work = edit.work
        if work and work.event.is_transfer and now - work.began_at < _TRANSFER_AFTER_S:
            return None
        silent_s = now - last.at
        # A fast download or conversion passes ten steps in a second.
        may_step = work is None or silent_s >= _TRANSFER_EVERY_S
        is_further = may_step and _step_of(edit) > last.step
        is_due = is_further or edit.state != last.state or silent_s >= EVERY_S
        return _progress_text(edit, now) if is_due else None


def _reserved(event: Submitted) -> str:
    return render_reserved(event.record.task, estimate=event.estimated_credits)


def _verb(event: Saved) -> str:
    return "saved" if event.is_new else "already here:"


def _saved_facts(event: Saved, edit: EditState, board: Board) -> list[str]:
    """Return size, duration and charge; the last two only if they are new in this run."""
    facts = [render_size(event.file.size_bytes)]
    if not event.is_new or event.task_id is None:
        return facts
    if edit.has_been_followed:
        facts.append(render_took(edit.elapsed_s(board.clock())))
    task = board.task(event.task_id)
    is_paid_before = event.task_id in board.known and task and task.credits_used is not None
    return [*facts, render_charge(task) + (" paid before" if is_paid_before else "")]


def _ended(state: str, edit: EditState, board: Board) -> tuple[str, str]:
    """Return how a task ended, and its charge.

    `completed after 48 s`, or `completed about 3h07m ago` if it was not followed to its end.
    """
    elapsed_s = edit.elapsed_s(board.clock())
    task = board.task(edit.task_id)
    ago_s = elapsed_s - ((task.estimated_s if task else None) or 0.0)
    if edit.has_been_followed:
        state += f" after {render_took(elapsed_s)}"
    elif ago_s > _AGO_AFTER_S:
        state += f" about {render_duration(ago_s)} ago"
    return state, render_charge(task)


def _step_of(edit: EditState) -> int:
    return int(edit.known_percent or 0) // _STEP


def _progress_text(edit: EditState, now: float) -> str:
    """Return an edit's progress: `processing, 40 %, 28s elapsed, about 31s left`."""
    percent = edit.known_percent
    much = [] if percent is None else [f"{int(percent)} %"]
    if edit.work is not None:
        event = edit.work.event
        if event.is_transfer:
            size = render_size(event.total or event.done)
            much = [f"{much[0]} of {size}" if much else size]
        return ", ".join([f"{event.what} {event.name}", *much])
    parts = [edit.state, *much]
    elapsed_s = edit.elapsed_s(now)
    if elapsed_s >= 1:
        parts.append(f"{render_duration(elapsed_s)} elapsed")
    left_s = edit.remaining_s(now)
    if left_s is not None and left_s >= 1:
        parts.append(f"about {render_duration(left_s)} left")
    return ", ".join(parts)


def _failure(event: Failed | LineFailed, edit: EditState, board: Board) -> str:
    if isinstance(event, LineFailed):
        return f"{event.name}: {event.error.message}"
    if board.is_single:
        return ", ".join(_ended(event.record.shown_status, edit, board))
    status = event.record.shown_status
    error = failure_of(event.record)
    return f"{status}: {error.code}: {error.message}" if error else status
