"""Progress as a person watches it: one line an edit, or one for all and a few of those running."""

from collections.abc import Callable
from typing import Final

from rich.text import Text

from omniedit.events import Event, Failed, LineFailed, Saved
from omniedit.terminal.cells import cell_width, keep_end, keep_start
from omniedit.terminal.channel import Channel, Size
from omniedit.terminal.gauge import Gauge
from omniedit.terminal.glyphs import glyphs_for
from omniedit.terminal.harmless import make_harmless
from omniedit.terminal.human import (
    failure_of,
    render_clock,
    render_duration,
    render_failure,
    render_size,
)
from omniedit.terminal.rows import Piece, Stretch, compose
from omniedit.terminal.tracks import Board, Track, Transfer

_FRAMES_PER_S: Final = 10
_BAR_AT_LEAST: Final = 10
_BAR_AT_MOST: Final = 40
_NAME: Final = 9
_BESIDE_COUNTS: Final = 8  # the mark, the percentage and the gaps
_MOST_ROWS: Final = 12
_ENOUGH_TO_TELL: Final = 3.0  # per cent of all, before the end of all is guessed


class Bars:
    """Turns a board into lines of text; draws nothing itself."""

    def __init__(self, board: Board, channel: Channel, clock: Callable[[], float]) -> None:
        self._board = board
        self._channel = channel
        self._clock = clock
        self._glyphs = glyphs_for(channel)
        self._gauge = Gauge(glyphs=self._glyphs, depth=channel.depth)

    def frame(self, size: Size) -> list[Text]:
        """Return the lines to show now, none wider than the terminal."""
        now = self._clock()
        # The last cell stays free: some terminals wrap as soon as it is written.
        width = size.width - 1
        running = self._board.running
        if self._board.is_single:
            track = self._board.tracks.get("", Track(seen_at=self._board.started_at))
            return [] if self._board.saved else [self._row(track, now, width)]
        rows = max(0, min(_MOST_ROWS, size.height - 3))
        lines = [self._row(track, now, width) for track in running[:rows]]
        return [*lines, self._overall(now, width)]

    def lasting(self, event: Event, track: Track) -> Text | None:
        """Return the line that stays of what happened, if any."""
        now = self._clock()
        match event:
            case Saved():
                return self._saved(event, track, now)
            case LineFailed():
                words = keep_start(
                    make_harmless(f"{event.name}: {event.message}"), self._channel.size.width - 3
                )
                return self._marked(self._glyphs.failure, "red", words)
            case Failed() if not self._board.is_single:
                error = failure_of(event.record)
                reason = render_failure(error) if error else "failed"
                name = make_harmless(event.record.task_id or "")
                return self._marked(self._glyphs.failure, "red", f"{name} failed: {reason}")
            case _:
                return None

    def last_words(self) -> Text | None:
        """Return the line that stays of a single edit that was not saved."""
        board = self._board
        if not board.is_single or not board.completed or board.saved:
            return None
        track = next(iter(board.tracks.values()))
        elapsed = render_duration(track.elapsed_s(track.seen_at))
        return self._marked(self._glyphs.success, "green", "completed", elapsed)

    def _saved(self, event: Saved, track: Track, now: float) -> Text:
        size = render_size(event.file.size_bytes)
        facts = [size, render_duration(track.elapsed_s(now))] if event.is_new else [size]
        verb = "saved" if event.is_new else "already here:"
        taken = cell_width(f"+ {verb} ") + sum(cell_width(f" - {fact}") for fact in facts)
        room = self._channel.size.width - 1 - taken
        path = self._channel.showable(make_harmless(event.shown_path))
        if cell_width(path) > room:
            path = keep_end(path.replace("\\", "/").rsplit("/", 1)[-1], max(12, room))
        return self._marked(self._glyphs.success, "green", f"{verb} {path}", *facts)

    def _marked(self, mark: str, style: str, text: str, *facts: str) -> Text:
        line = Text.assemble((mark, f"bold {style}"), " ", self._channel.showable(text))
        for fact in facts:
            line.append(f" {self._glyphs.separator} {fact}", "dim")
        return line

    def _row(self, track: Track, now: float, width: int) -> Text:
        # Among many rows only the last one spins.
        mark = self._spinner(now) if self._board.is_single else " "
        spinner = Piece(text=mark, rank=9, style="cyan")
        name = make_harmless(track.task_id or "")
        is_single = self._board.is_single
        label = Piece(
            text="" if is_single else self._showable(keep_end(name, _NAME)), rank=7, style="dim"
        )
        if track.pause is not None:
            return compose([spinner, label, *self._paused(track, now)], width)
        pieces: list[Piece | Stretch] = [
            spinner,
            label,
            Piece(text=track.state if is_single else f"{track.state:<11}", rank=6),
            self._bar(track.percent(now), now, is_lively=is_single),
            self._percent(track.percent(now)),
            *(self._facts(track, now) if track.transfer is None else []),
            *(self._transfer_facts(track.transfer, now) if track.transfer else []),
        ]
        if is_single and track.transfer is None:
            pieces.append(Piece(text=name, rank=0, style="dim"))
        return compose(pieces, width)

    def _facts(self, track: Track, now: float) -> list[Piece]:
        elapsed = self._elapsed(track, now)
        if track.still_since is not None:
            still = f"nothing moved for {render_duration(now - track.still_since)}"
            return [elapsed, Piece(text=still, rank=7, style="yellow")]
        return [elapsed, self._remaining(track.remaining_s(now), rank=7)]

    def _transfer_facts(self, transfer: Transfer, now: float) -> list[Piece]:
        done = render_size(transfer.done_bytes)
        total = transfer.total_bytes
        size = done if total is None else f"{done} of {render_size(total)}"
        speed = transfer.speed(now)
        name = self._showable(make_harmless(transfer.name).rsplit("/", 1)[-1])
        return [
            Piece(text=size, rank=2 if total else 7),
            Piece(text=f"{render_size(speed)}/s" if speed else "", rank=3, style="dim"),
            self._remaining(transfer.remaining_s(now), rank=7),
            Piece(text=keep_start(name, 30), rank=1, style="dim"),
        ]

    def _paused(self, track: Track, now: float) -> list[Piece | Stretch]:
        pause = track.pause
        if pause is None:
            return []
        left_s = pause.until - now
        when = f"in {render_duration(left_s + 0.999)}" if left_s > 0 else "now"
        why = self._showable(make_harmless(f"{pause.message} (attempt {pause.attempt})"))
        return [
            Piece(text=f"retrying {when}:", rank=8, style="yellow"),
            Stretch(
                draw=lambda width: Text(self._showable(keep_start(why, width))),
                rank=6,
                width=min(cell_width(why), 8),
                most=cell_width(why),
            ),
            self._elapsed(track, now),
        ]

    def _elapsed(self, track: Track, now: float) -> Piece:
        text = render_clock(track.elapsed_s(now)) if self._board.is_single else ""
        return Piece(text=text, rank=3, style="dim")

    def _overall(self, now: float, width: int) -> Text:
        board = self._board
        percent, elapsed_s = board.percent(now), now - board.started_at
        left_s = elapsed_s * (100 / percent - 1) if percent > _ENOUGH_TO_TELL else None
        pause = board.pause if board.pause and board.pause.until > now else None
        pieces: list[Piece | Stretch] = [
            Piece(text=self._spinner(now), rank=9, style="cyan"),
            Piece(text=self._counts(width), rank=8, style="bold"),
            self._bar(percent, now),
            self._percent(percent),
            Piece(text=render_clock(elapsed_s), rank=3, style="dim"),
            self._remaining(left_s, rank=4),
        ]
        if pause is not None:
            text = self._showable(make_harmless(pause.message))
            left = render_duration(pause.until - now + 0.999)
            pieces[-1] = Piece(text=f"{keep_start(text, 40)}, on in {left}", rank=5, style="yellow")
        return compose(pieces, width)

    def _counts(self, width: int) -> str:
        """Return how many are done and run, or where that is too long only how many are done."""
        board = self._board
        is_roomy = cell_width(board.summary) + _BESIDE_COUNTS <= width
        return board.summary if is_roomy else f"{board.done}/{board.total_tasks}"

    def _bar(self, percent: float | None, now: float, *, is_lively: bool = True) -> Stretch:
        def draw(width: int) -> Text:
            if percent is None:
                return self._gauge.swinging(width=width, now=now)
            return self._gauge.filled(percent, width=width, now=now if is_lively else None)

        return Stretch(draw=draw, rank=4, width=_BAR_AT_LEAST, most=_BAR_AT_MOST)

    def _percent(self, percent: float | None) -> Piece:
        return Piece(text="" if percent is None else f"{int(percent):3d}%", rank=8, style="bold")

    def _remaining(self, left_s: float | None, *, rank: int) -> Piece:
        if left_s is None:
            return Piece(text="", rank=rank)
        text = f"{render_clock(left_s)} left" if left_s >= 1 else "any moment"
        return Piece(text=text, rank=rank)

    def _spinner(self, now: float) -> str:
        return self._glyphs.spinner[int(now * _FRAMES_PER_S) % len(self._glyphs.spinner)]

    def _showable(self, text: str) -> str:
        return self._channel.showable(text)
