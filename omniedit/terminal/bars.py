"""Live progress bars, drawn by Rich: one row per edit, and one for all of them."""

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple, TextIO, cast

from rich.console import Console, RenderableType
from rich.progress import Progress
from rich.progress_bar import ProgressBar
from rich.segment import Segment, Segments
from rich.spinner import Spinner
from rich.table import Column, Table
from rich.text import Text

from omniedit.events import Preparing
from omniedit.models import natural_order
from omniedit.terminal.board import Board
from omniedit.terminal.edit_state import EditState, Pause, Transfer
from omniedit.terminal.human import render_clock, render_credits, render_duration, render_size
from omniedit.terminal.streams import ColourDepth, OutputStream
from omniedit.terminal.text import cell_width, truncate

_SHAPE_MS: Final = 100  # how long the spinner keeps a shape
_MOST_ROWS: Final = 12
_COLOUR_SYSTEMS: Final = {
    ColourDepth.BASIC: "standard",
    ColourDepth.EIGHT_BIT: "256",
    ColourDepth.TRUE: "truecolor",
}
_BAR_STYLE: Final = "rgb(124,92,255)"  # legible on white and on black
_TASKBAR: Final = "\x1b]9;4;{};{}\x07"

_STATE_WIDTH: Final = 11  # "downloading"
_PERCENT_WIDTH: Final = 4
_FIXED_WIDTH: Final = 1 + 1 + _STATE_WIDTH + 1 + _PERCENT_WIDTH  # including the mark and the gaps
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
    has_spinner: bool  # only one row has it
    is_alarming: bool = False


class _Widths(NamedTuple):
    """The width of each column in cells; 0 if the column is left out.

    Widths do not depend on the contents: a bar that changes width appears to jump.
    """

    label: int
    state: int
    bar: int
    facts: int


class Bars(Progress):
    """Progress bars at the bottom of a terminal, drawn from a board.

    Args:
        board: The state to draw.
        stream: The terminal.
        environ: The variables that describe the terminal's capabilities.
    """

    def __init__(self, board: Board, stream: OutputStream, environ: Mapping[str, str]) -> None:
        self._board = board
        self._stream = stream
        self._taskbar_percent: int | None = None
        self._is_away = False
        self._is_wanted = False
        self._spinner = Spinner("dots" if stream.can_show("⠋") else "line", style="cyan")
        self._spinner.interval = _SHAPE_MS
        # Rich's constructor already requests rows, before it sets `self.console`.
        self._drawn_on = _console(stream, environ)
        super().__init__(
            console=self._drawn_on,
            # Rich's own thread could draw between a line and the rows below it.
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def print_above(self, text: str) -> None:
        """Print rendered lines above the bars, in the same write as the bars themselves."""
        with self.console:
            self.console.print(Segments([Segment(text)]), crop=False)
            # Printing redraws the previous frame of the bars.
            self.refresh()

    def start(self) -> None:
        """Start drawing the bars, as soon as this job has the terminal."""
        self._is_wanted = True
        self.refresh()

    def refresh(self) -> None:
        """Redraw the bars, unless another job has the terminal."""
        if self._stream.is_in_background:
            return
        if self._is_wanted and not self.live.is_started:
            super().start()
        else:
            super().refresh()

    def stop(self) -> None:
        """Remove the bars from the screen and show the cursor again."""
        self._is_wanted = False
        super().stop()
        self._show_on_taskbar(None)

    @contextmanager
    def put_away(self) -> Generator[None]:
        """Remove the bars from the screen for a block that may move the cursor anywhere."""
        self._is_away = True
        self.refresh()
        self.stop()
        try:
            yield
        finally:
            self._is_away = False
            self.start()

    def get_renderables(self) -> Iterable[RenderableType]:
        """Return the current rows, none wider than the terminal."""
        if self._is_away:
            # If Rich remembered any row, it would later erase lines that the shell has written.
            return
        board, size = self._board, self._stream.size
        # Terminals echo `^C` at the cursor: leave room for it, or the row would wrap.
        width = max(1, size.columns - 2)
        self._drawn_on.size = (width, size.lines)
        if board.is_single:
            self._show_on_taskbar(board.latest.percent(board.clock()))
            if board.latest.task_id not in board.saved:
                yield self._table([_single_row(board)], _single_widths(width))
            return
        self._show_on_taskbar(board.percent())
        count = max(0, min(_MOST_ROWS, size.lines - 3))
        running = sorted(board.running, key=lambda edit: natural_order(edit.label))
        rows = [_edit_row(edit, board.clock(), edit.pause) for edit in running[:count]]
        if rows:
            yield self._table(rows, _edit_widths(width))
        overall = _overall_row(board, width)
        yield self._table([overall], _overall_widths(width, cell_width(overall.label)))

    def _table(self, rows: Iterable[_Row], widths: _Widths) -> Table:
        all_widths = (1, widths.label, widths.state, widths.bar, _PERCENT_WIDTH, widths.facts)
        columns = [Column(width=width, no_wrap=True) for width in all_widths if width]
        table = Table.grid(*columns, padding=(0, 1))
        for row in rows:
            cells = (
                self._spinner.render(self._board.clock()) if row.has_spinner else "",
                self._fitted(row.label, widths.label),
                self._fitted(row.state, widths.state),
                self._bar(row.percent),
                Text("" if row.percent is None else f"{int(row.percent):3d}%", "bold"),
                self._facts(row, widths.facts),
            )
            shown = [cell for cell, width in zip(cells, all_widths, strict=True) if width]
            table.add_row(*shown)
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


def _console(stream: OutputStream, environ: Mapping[str, str]) -> Console:
    return Console(
        file=cast("TextIO", stream),
        force_terminal=True,
        force_interactive=True,
        force_jupyter=False,
        legacy_windows=False,  # a console without escape sequences gets no bars
        color_system=cast("None", _COLOUR_SYSTEMS.get(stream.depth)),
        no_color=not stream.is_coloured,
        markup=False,
        emoji=False,
        highlight=False,
        _environ=environ,
    )


def _single_widths(width: int) -> _Widths:
    spare = width - _FIXED_WIDTH
    facts = max(_SHORTEST_FACTS, round(0.6 * spare)) if spare > _SHORTEST_FACTS else 0
    bar = min(_LONGEST_BAR, spare - (facts + 1 if facts else 0) - 1)
    if bar < _SHORTEST_BAR:
        return _Widths(0, _STATE_WIDTH, 0, facts)
    return _Widths(0, _STATE_WIDTH, bar, spare - bar - 2 if facts else 0)


def _edit_widths(width: int) -> _Widths:
    spare = width - _FIXED_WIDTH - 1
    label = max(0, min(28, round(0.4 * spare)))
    bar = min(_LONGEST_BAR, round(0.3 * spare) - 1)
    facts = spare - label - 1 - bar - 1
    if facts < _SHORTEST_FACTS or bar < _SHORTEST_BAR:
        return _Widths(max(0, spare), _STATE_WIDTH, 0, 0)
    return _Widths(label, _STATE_WIDTH, bar, facts)


def _overall_widths(width: int, label: int) -> _Widths:
    spare = width - 1 - 1 - label - 1 - _PERCENT_WIDTH
    bar = min(_LONGEST_BAR, (spare - 2) // 2)
    if bar < max(_SHORTEST_BAR, _SHORTEST_FACTS):
        facts = spare - 1
        return _Widths(label, 0, 0, facts if facts >= _SHORTEST_FACTS else 0)
    return _Widths(label, 0, bar, spare - 1 - bar - 1)


def _single_row(board: Board) -> _Row:
    edit, now = board.latest, board.clock()
    # Retries before the task exists belong to no edit: they are on the board.
    row = _edit_row(edit, now, edit.pause or board.pause)
    clip = _Fact("" if edit.transfer or row.is_alarming else edit.label)
    return row._replace(label="", facts=[*row.facts, clip], has_spinner=True)


def _edit_row(edit: EditState, now: float, pause: Pause | None) -> _Row:
    percent = edit.percent(now)
    if pause is not None:
        facts = _pause_facts(pause, now)
        return _Row(edit.label, "retrying", percent, facts, has_spinner=False, is_alarming=True)
    if edit.unchanged_since is not None:
        still = _Fact(f"no change for {render_duration(now - edit.unchanged_since)}")
        return _Row(edit.label, edit.state, percent, [still], has_spinner=False, is_alarming=True)
    if edit.transfer is not None:
        facts = _transfer_facts(edit.transfer, now)
    elif edit.preparing is not None:
        facts = _preparation_facts(edit.preparing)
    else:
        facts = [
            _Fact(render_clock(edit.elapsed_s(now)), rank=2),
            _remaining(edit.remaining_s(now)),
        ]
    state = edit.state.partition(" ")[0] if edit.preparing else edit.state
    return _Row(edit.label, state, percent, facts, has_spinner=False)


def _transfer_facts(transfer: Transfer, now: float) -> list[_Fact]:
    done, total, speed = render_size(transfer.done_bytes), transfer.total_bytes, transfer.speed(now)
    return [
        _Fact(done if total is None else f"{done} of {render_size(total)}", rank=2),
        _Fact(f"{render_size(speed)}/s" if speed else "", rank=3),
        _remaining(transfer.remaining_s(now)),
        _Fact(transfer.name.replace("\\", "/").rpartition("/")[2], rank=1),
    ]


def _preparation_facts(preparing: Preparing) -> list[_Fact]:
    return [
        _Fact(preparing.what.partition(" ")[2], rank=2),  # "sound" of "replacing sound"
        _Fact(f"{preparing.fps:.0f} fps" if preparing.fps else "", rank=1),
        _remaining(preparing.remaining_s),
    ]


def _pause_facts(pause: Pause, now: float) -> list[_Fact]:
    left_s = pause.until - now
    when = f"in {render_duration(left_s + 0.999)}" if left_s > 0 else "now"
    return [_Fact(f"{when}: {pause.message} (attempt {pause.attempt})")]


def _overall_row(board: Board, width: int) -> _Row:
    now, counts = board.clock(), board.counts
    if cell_width(counts) + _PERCENT_WIDTH + 4 > width:
        counts = f"{board.done}/{board.total}"
    pause = board.pause if board.pause and board.pause.until > now else None
    if pause is not None:
        facts = _pause_facts(pause, now)
    else:
        elapsed = _Fact(render_clock(now - board.started_at), rank=1)
        spent, _ = board.spent_credits
        money = _Fact(render_credits(spent) if spent else "")
        facts = [elapsed, _remaining(board.remaining_s()), money]
    is_alarming = pause is not None
    return _Row(counts, "", board.percent(), facts, has_spinner=True, is_alarming=is_alarming)


def _remaining(left_s: float | None) -> _Fact:
    if left_s is None:
        return _Fact("")
    return _Fact(f"{render_clock(left_s)} left" if left_s >= 1 else "any moment", rank=9)
