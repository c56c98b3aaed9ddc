"""Progress as a log keeps it: a line where something changed, at every 10 % and every 30 s."""

from dataclasses import dataclass
from typing import Final

from omniedit.events import (
    Completed,
    Event,
    Failed,
    LineFailed,
    Progressed,
    Retrying,
    Saved,
    Stalled,
    Submitted,
    Transferring,
)
from omniedit.models import Record, Task
from omniedit.terminal.console import Printer
from omniedit.terminal.human import failure_of, render_duration, render_failure, render_size
from omniedit.terminal.tracks import Board, Track

EVERY_S: Final = 30.0

_STEP: Final = 10  # per cent
_TRANSFER_EVERY_S: Final = 5.0


@dataclass(slots=True)
class _Said:
    """What was last said, and when."""

    at: float
    state: str = ""
    step: int = 0


class PlainLines:
    """Prints a line for each edit that moved; beyond `many` edits one for all."""

    def __init__(self, printer: Printer, board: Board, *, many: int) -> None:
        self._printer = printer
        self._board = board
        self._is_many = board.total_tasks > many
        self._said: dict[str, _Said] = {}
        self._said_of_all = _Said(at=printer.clock())

    def show(self, event: Event, track: Track) -> None:
        """Print what `event` makes worth a line."""
        line = _failure(event) if self._is_many else self._line(event, track)
        if line:
            self._say(track, line)
        if self._is_many and isinstance(event, Saved | Completed | Failed | LineFailed):
            self._show_all()

    def tick(self) -> None:
        """Print where things stand when nothing was said for long."""
        now = self._printer.clock()
        if self._is_many:
            if now - self._said_of_all.at >= EVERY_S:
                self._say_all()
            return
        for track in self._board.running:
            said = self._said_of(track)
            if now - said.at >= EVERY_S:
                self._say(track, _standing(track, now))

    def _show_all(self) -> None:
        board = self._board
        step = (board.done + board.failed) * 100 // max(1, board.total_tasks) // _STEP
        if step > self._said_of_all.step:
            self._said_of_all.step = step
            self._say_all()

    def _say_all(self) -> None:
        self._said_of_all.at = self._printer.clock()
        self._printer.plain(self._board.summary)

    def _say(self, track: Track, text: str) -> None:
        now = self._printer.clock()
        said = self._said_of(track)
        said.at, said.state = now, track.state
        said.step = _known_percent(track) // _STEP
        self._printer.plain(f"{track.task_id}: {text}" if track.task_id else text)

    def _said_of(self, track: Track) -> _Said:
        key = track.task_id or (track.transfer.name if track.transfer else "")
        return self._said.setdefault(key, _Said(at=self._board.started_at))

    def _line(self, event: Event, track: Track) -> str | None:
        now = self._printer.clock()
        match event:
            case Submitted():
                return "accepted before, followed on" if event.is_replay else "submitted"
            case Progressed(record=Record(task=Task(is_terminal=True))):
                return None  # its end has a line of its own
            case Progressed() | Transferring():
                return self._moved(track, now)
            case Stalled():
                return f"nothing moved for {render_duration(event.since_s)}"
            case Retrying():
                wait = f"trying again in {render_duration(max(1.0, event.delay_s))}"
                return f"{event.message}; {wait} (attempt {event.attempt} failed)"
            case Completed():
                return f"completed after {render_duration(track.elapsed_s(now))}"
            case Saved():
                return _saved(event, track, now)
            case _:
                return _failure(event)

    def _moved(self, track: Track, now: float) -> str | None:
        said = self._said_of(track)
        if track.state == said.state:
            is_further = _known_percent(track) // _STEP > said.step
            # A quick download passes ten steps in a second.
            is_due = track.transfer is None or now - said.at >= _TRANSFER_EVERY_S
            if not (is_further and is_due) and now - said.at < EVERY_S:
                return None
        return _standing(track, now)


def _known_percent(track: Track) -> int:
    percent = track.transfer.percent if track.transfer else track.progress
    return int(percent or 0)


def _standing(track: Track, now: float) -> str:
    """Return where an edit stands: `processing, 40 %, 28s elapsed, about 31s left`."""
    transfer = track.transfer
    parts = [track.state]
    if transfer is not None:
        parts[0] += f" {transfer.name}"
        if transfer.total_bytes is not None:
            parts.append(f"{int(transfer.percent or 0)} % of {render_size(transfer.total_bytes)}")
        else:
            parts.append(render_size(transfer.done_bytes))
        return ", ".join(parts)
    if track.progress is not None:
        parts.append(f"{track.progress} %")
    parts.append(f"{render_duration(track.elapsed_s(now))} elapsed")
    left_s = track.remaining_s(now)
    if left_s is not None and left_s >= 1:
        parts.append(f"about {render_duration(left_s)} left")
    return ", ".join(parts)


def _saved(event: Saved, track: Track, now: float) -> str:
    size = render_size(event.file.size_bytes)
    if not event.is_new:
        return f"already here: {event.shown_path} ({size})"
    return f"saved {event.shown_path} ({size}) after {render_duration(track.elapsed_s(now))}"


def _failure(event: Event) -> str | None:
    if isinstance(event, LineFailed):
        return f"{event.name}: {event.message}"
    if not isinstance(event, Failed):
        return None
    error = failure_of(event.record)
    return f"failed: {render_failure(error)}" if error else "failed"
