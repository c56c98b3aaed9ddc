"""Live progress bars, drawn by Rich: one row per edit, and one for all of them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple, TextIO, cast

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.segment import Segment, Segments
from rich.spinner import Spinner
from rich.table import Column, Table
from rich.text import Text

from omniedit.models import natural_order
from omniedit.terminal.board import Board, EditState, Pause, Work
from omniedit.terminal.human import render_clock, render_credits, render_duration, render_size
from omniedit.terminal.streams import OutputStream, cell_width, truncate

_SHAPE_MS: Final = 100  # how long the spinner keeps a shape
_MOST_ROWS: Final = 12
_BAR_STYLE: Final = "rgb(124,92,255)"  # legible on white and on black
_TASKBAR: Final = "\x1b]9;4;{};{}\x07"

_STATE_WIDTH: Final = 11  # "downloading"
_PERCENT_WIDTH: Final = 4
_LONGEST_LABEL: Final = 28
_NARROW: Final = 56  # cells; a narrower row has only label, state and percentage
_SHORTEST_FACTS: Final = 10  # "any moment"
_SHORTEST_BAR: Final = 6
_LONGEST_BAR: Final = 40


class _Fact(NamedTuple):
    text: str
    rank: int = 0
    """If space runs out, the lowest rank is dropped first."""


class _Row(NamedTuple):
    """The contents of one row in this frame: one edit, or all of them."""

    label: str
    state: str
    percent: float | None
    facts: Sequence[_Fact]
    is_alarming: bool = False


class Bars:
    """Progress bars at the bottom of a terminal, drawn from a board."""

    def __init__(self, board: Board, stream: OutputStream, environ: Mapping[str, str]) -> None:
        self._board = board
        self._stream = stream
        self._taskbar_percent: int | None = None
        self._is_wanted = False
        self._spinner = Spinner("dots" if stream.can_show("⠋") else "line", style="cyan")
        self._spinner.interval = _SHAPE_MS
        self._console = Console(
            file=cast("TextIO", stream),
            force_terminal=True,
            force_interactive=True,
            legacy_windows=False,  # a console without escape sequences gets no bars
            color_system=cast("None", stream.colour_system),
            _environ=environ,
        )
        self._live = Live(
            console=self._console,
            # Rich's own thread could draw between a line and the rows below it.
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            get_renderable=lambda: Group(*self._tables()),
        )

    def print_above(self, text: str) -> None:
        """Print rendered lines above the bars, in the same write as the bars themselves."""
        with self._console:
            self._console.print(Segments([Segment(text)]), crop=False)
            # Printing redraws the previous frame of the bars.
            self.refresh()

    def start(self) -> None:
        """Start drawing the bars, as soon as this job has the terminal."""
        self._is_wanted = True
        self.refresh()

    def refresh(self) -> None:
        """Redraw the bars, unless another job has the terminal."""
        if self._is_wanted and not self._stream.is_in_background:
            self._live.start()
            self._live.refresh()

    def stop(self) -> None:
        """Remove the bars from the screen and show the cursor again."""
        self._is_wanted = False
        try:
            self._live.stop()
        except IndexError:
            # A signal has interrupted Rich's start: it cannot undo what it has not done.
            self._console.show_cursor(show=True)
        self._show_on_taskbar(None)

    def _tables(self) -> Iterable[Table]:
        """Yield the current rows, none wider than the terminal."""
        if not self._is_wanted:
            # If Rich remembered any row, it would later erase lines that others have written.
            return
        board = self._board
        size = self._stream.size
        # Terminals echo `^C` at the cursor: leave room for it, or the row would wrap.
        width = max(1, size.columns - 2)
        self._console.size = (width, size.lines)
        if board.is_single:
            self._show_on_taskbar(board.latest.percent(board.clock()))
            if board.latest.task_id not in board.saved:
                yield self._table([_single_row(board)], is_spinning=True)
            return
        self._show_on_taskbar(board.percent())
        count = max(0, min(_MOST_ROWS, size.lines - 3))
        running = sorted(board.running, key=lambda edit: natural_order(edit.label))
        rows = [_edit_row(edit, board.clock(), edit.pause) for edit in running[:count]]
        if rows:
            spare = width - _STATE_WIDTH - _PERCENT_WIDTH - 4
            label = spare if width < _NARROW else min(_LONGEST_LABEL, round(0.4 * spare))
            yield self._table(rows, label=max(0, label))
        overall = _overall_row(board, width)
        label = cell_width(overall.label)
        yield self._table([overall], label=label, state=0, is_spinning=True)

    def _table(
        self,
        rows: Iterable[_Row],
        *,
        label: int = 0,
        state: int = _STATE_WIDTH,
        is_spinning: bool = False,
    ) -> Table:
        """Return rows in columns of the given widths; a width of 0 leaves the column out."""
        bar, facts = _rest(self._console.width, label, state)
        widths = (1, label, state, bar, _PERCENT_WIDTH, facts)
        columns = [Column(width=width, no_wrap=True) for width in widths if width]
        table = Table.grid(*columns, padding=(0, 1))
        for row in rows:
            cells: tuple[RenderableType, ...] = (
                self._spinner.render(self._board.clock()) if is_spinning else "",
                self._fitted(row.label, label),
                self._fitted(row.state, state),
                self._bar(row.percent),
                Text("" if row.percent is None else f"{int(row.percent):3d}%", "bold"),
                self._facts(row, facts),
            )
            table.add_row(*(cell for cell, width in zip(cells, widths, strict=True) if width))
        return table

    def _fitted(self, text: str, width: int) -> Text:
        # Manifest lines differ in their leading number, clips in the end of their names.
        shown = self._stream.shown(text)
        return Text(truncate(shown, width, keeps_end=True, head=width // 3))

    def _bar(self, percent: float | None) -> ProgressBar:
        """Return a bar that fills, or pulses while the percentage is unknown."""
        return ProgressBar(
            total=None if percent is None else 100.0,
            completed=percent or 0.0,
            animation_time=self._board.clock(),
            complete_style=_BAR_STYLE,
            finished_style="green",
            pulse_style=_BAR_STYLE,
        )

    def _facts(self, row: _Row, width: int) -> Text:
        """Return as many facts as fit."""
        facts = [(fact, self._stream.shown(fact.text)) for fact in row.facts if fact.text]
        # A truncated number would mislead, so facts are dropped whole. A problem is shown even if
        # it has to be truncated.
        fewest = 1 if row.is_alarming else 0
        while len(facts) > fewest and cell_width("  ".join(text for _, text in facts)) > width:
            facts.remove(min(facts, key=lambda fact: fact[0].rank))
        text = "  ".join(text for _, text in facts)
        return Text(text, "yellow" if row.is_alarming else "", overflow="ellipsis")

    def _show_on_taskbar(self, percent: float | None) -> None:
        """Show progress in the taskbar if the terminal supports it; None clears it."""
        shown = None if percent is None else int(percent)
        if shown != self._taskbar_percent and self._stream.shows_taskbar:
            self._taskbar_percent = shown
            self._stream.write(_TASKBAR.format(0 if shown is None else 1, shown or 0))


def _rest(width: int, label: int, state: int) -> tuple[int, int]:
    """Return the widths of bar and facts beside the other columns.

    They do not depend on the facts: a bar that changes width appears to jump.
    """
    others = (1, _PERCENT_WIDTH, label, state)
    spare = width - sum(other + 1 for other in others if other)
    bar = min(_LONGEST_BAR, round(0.4 * spare))
    facts = spare - bar - 1
    if bar >= _SHORTEST_BAR and facts >= _SHORTEST_FACTS:
        return bar, facts
    return 0, spare if spare >= _SHORTEST_FACTS else 0


def _single_row(board: Board) -> _Row:
    edit = board.latest
    now = board.clock()
    # Retries before the task exists belong to no edit: they are on the board.
    row = _edit_row(edit, now, edit.pause or board.pause)
    name = edit.work.event.name if edit.work else edit.label
    clip = _Fact("" if row.is_alarming else name.replace("\\", "/").rpartition("/")[2])
    return row._replace(facts=[*row.facts, clip])


def _edit_row(edit: EditState, now: float, pause: Pause | None) -> _Row:
    percent = edit.percent(now)
    if pause is not None:
        return _Row(edit.label, "retrying", percent, [_pause_fact(pause, now)], is_alarming=True)
    if edit.unchanged_since is not None:
        still = _Fact(f"no change for {render_duration(now - edit.unchanged_since)}")
        return _Row(edit.label, edit.state, percent, [still], is_alarming=True)
    facts = [_Fact(render_clock(edit.elapsed_s(now)), rank=2)]
    if edit.work is not None:
        facts = _work_facts(edit.work, now)
    return _Row(edit.label, edit.state, percent, [*facts, _remaining(edit.remaining_s(now))])


def _work_facts(work: Work, now: float) -> list[_Fact]:
    event = work.event
    speed = work.speed(now)
    if event.is_transfer:
        total = "" if event.total is None else f" of {render_size(event.total)}"
        return [
            _Fact(render_size(event.done) + total, rank=2),
            _Fact(f"{render_size(speed)}/s" if speed else "", rank=3),
        ]
    return [
        _Fact(event.what.partition(" ")[2], rank=2),  # "sound" of "replacing sound"
        _Fact(f"{event.fps:.0f} fps" if event.fps else "", rank=1),
    ]


def _pause_fact(pause: Pause, now: float) -> _Fact:
    left_s = pause.until - now
    when = f"in {render_duration(left_s + 0.999)}" if left_s > 0 else "now"
    return _Fact(f"{when}: {pause.message} (attempt {pause.attempt})")


def _overall_row(board: Board, width: int) -> _Row:
    now = board.clock()
    counts = board.counts
    pause = board.pause
    if cell_width(counts) + _PERCENT_WIDTH + 4 > width:
        counts = f"{board.done}/{board.total}"
    if pause is not None and pause.until > now:
        return _Row(counts, "", board.percent(), [_pause_fact(pause, now)], is_alarming=True)
    spent, _ = board.spent_credits
    facts = [
        _Fact(render_clock(now - board.started_at), rank=1),
        _remaining(board.remaining_s()),
        _Fact(render_credits(spent) if spent else ""),
    ]
    return _Row(counts, "", board.percent(), facts)


def _remaining(left_s: float | None) -> _Fact:
    if left_s is None:
        return _Fact("")
    return _Fact(f"{render_clock(left_s)} left" if left_s >= 1 else "any moment", rank=9)
