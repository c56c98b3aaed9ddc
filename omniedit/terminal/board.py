"""The state that every progress view reads: the newest record and the progress of each edit."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from omniedit.errors import OmniEditError
from omniedit.events import (
    Completed,
    Event,
    Failed,
    Known,
    LineFailed,
    Preparing,
    Progressed,
    Retrying,
    Saved,
    Stalled,
    Submitted,
    Transferring,
    edit_key,
)
from omniedit.models import EditRequest, Record, Task, TaskError
from omniedit.policy import DEFAULT
from omniedit.terminal.human import render_clip

_POLL_EVERY_S: Final = DEFAULT.longest_watched_poll_s
"""The longest time between two polls of a watched task."""
_BAR_EASE_S: Final = 0.7
"""The time constant with which the bar approaches the known progress."""
_REMAINING_EASE_S: Final = 6.0
"""The time constant with which the remaining time approaches the newest estimate."""
_SPEED_WINDOW_S: Final = 5.0
_SPEED_SAMPLE_S: Final = 0.25
_FULL: Final = 100.0


@dataclass(eq=False, repr=False, slots=True)
class Remaining:
    """The remaining seconds to display: they count down and never jump."""

    _shown_s: float | None = None
    _shown_at: float = 0.0

    def ease_to(self, known_s: float, now: float) -> float:
        """Return the seconds to display, given `known_s` as the newest estimate."""
        if self._shown_s is None:
            self._shown_s = known_s
        else:
            passed_s = max(0.0, now - self._shown_at)
            counted_s = max(0.0, self._shown_s - passed_s)
            share = 1 - math.exp(-passed_s / _REMAINING_EASE_S)
            self._shown_s = counted_s + (known_s - counted_s) * share
        self._shown_at = now
        return self._shown_s


@dataclass(eq=False, repr=False, slots=True, kw_only=True)
class Transfer:
    """The progress of an upload or a download."""

    direction: str
    name: str
    done_bytes: int = 0
    total_bytes: int | None = None
    samples: deque[tuple[float, int]] = field(default_factory=deque[tuple[float, int]])

    def update(self, event: Transferring, now: float) -> None:
        """Record progress; cheap enough to call for every chunk."""
        if event.done_bytes < self.done_bytes:  # started over
            self.samples.clear()
        self.done_bytes, self.total_bytes = event.done_bytes, event.total_bytes
        if not self.samples or now - self.samples[-1][0] >= _SPEED_SAMPLE_S:
            self.samples.append((now, event.done_bytes))
            while now - self.samples[0][0] > _SPEED_WINDOW_S:
                self.samples.popleft()

    @property
    def percent(self) -> float | None:
        """The percentage transferred; None if the total size is unknown."""
        return min(_FULL, _FULL * self.done_bytes / self.total_bytes) if self.total_bytes else None

    def speed(self, now: float) -> float | None:
        """Return the recent speed in bytes per second; None until it can be measured."""
        if not self.samples or now - self.samples[0][0] < _SPEED_SAMPLE_S:
            return None
        since, had_bytes = self.samples[0]
        return (self.done_bytes - had_bytes) / (now - since)

    def remaining_s(self, now: float) -> float | None:
        """Return the remaining seconds at the current speed; None if unknown."""
        speed = self.speed(now)
        if not speed or self.total_bytes is None:
            return None
        return max(0.0, (self.total_bytes - self.done_bytes) / speed)


class Pause(NamedTuple):
    """The wait between a failed attempt and its retry."""

    message: str
    attempt: int
    until: float


@dataclass(eq=False, repr=False, slots=True, kw_only=True)
class EditState:
    """The progress of one edit, interpolated between polls."""

    updated_at: float
    task_id: str | None = None
    label: str = ""
    """The name shown to people: its clip or manifest line."""
    state: str = "starting"
    progress: int | None = None
    is_over: bool = False
    """Whether nothing is left to do for it; a later event may reset it."""
    has_ended: bool = False
    """Whether its task has ended; the result may still be downloading."""
    has_been_followed: bool = False
    """Whether it was ever seen unfinished, so that its duration is known."""
    transfer: Transfer | None = None
    preparing: Preparing | None = None
    pause: Pause | None = None
    unchanged_since: float | None = None
    _shown_remaining: Remaining = field(default_factory=Remaining)
    _elapsed_s: float = 0.0
    _remaining_s: float | None = None
    _shown_percent: float = 0.0
    _shown_at: float = 0.0

    def elapsed_s(self, now: float) -> float:
        """Return how long the task has been running, or how long it took."""
        return self._elapsed_s + (0.0 if self.has_ended else max(0.0, now - self.updated_at))

    def remaining_s(self, now: float) -> float | None:
        """Return the estimated remaining seconds; None if unknown."""
        if self.transfer is not None:
            return self.transfer.remaining_s(now)
        if self.preparing is not None:
            return self.preparing.remaining_s
        if self._remaining_s is None:
            return None
        known_s = max(0.0, self._remaining_s - max(0.0, now - self.updated_at))
        return self._shown_remaining.ease_to(known_s, now)

    @property
    def known_percent(self) -> float | None:
        """The percentage as last reported; None if unknown."""
        if self.transfer is not None:
            return self.transfer.percent
        if self.preparing is not None:
            total = self.preparing.total
            return min(_FULL, _FULL * self.preparing.done / total) if total else None
        return self.progress

    def percent(self, now: float) -> float | None:
        """Return the percentage to display: smoothed between polls, and never backwards."""
        if self.progress is None or self.transfer is not None or self.preparing is not None:
            return self.known_percent
        passed_s = max(0.0, now - (self._shown_at or now))
        gap = self._expected(now, self.progress) - self._shown_percent
        self._shown_percent += max(0.0, gap) * (1 - math.exp(-passed_s / _BAR_EASE_S))
        self._shown_at = now
        return self._shown_percent

    def update_from_poll(self, event: Progressed, now: float) -> None:
        """Record what a poll showed."""
        task = event.record.task
        progress = task.progress if task else None
        if progress is not None and progress > (self.progress or 0):
            self.unchanged_since = None
        self.progress = progress
        self.is_over = self.has_ended = False
        self.has_been_followed |= task is not None and not task.is_terminal
        self.updated_at, self._elapsed_s, self._remaining_s = (
            now,
            event.elapsed_s,
            event.remaining_s,
        )

    def update_from_submission(self, event: Submitted, now: float) -> None:
        """Record that the task has just started."""
        task = event.record.task
        self.is_over = False
        self.updated_at, self._elapsed_s = now, 0.0
        self._remaining_s = task.estimated_s if task and not task.is_terminal else None

    def end(self, now: float) -> None:
        """Record that the task has ended."""
        self._elapsed_s = self.elapsed_s(now)
        self.updated_at, self._remaining_s = now, None
        self.is_over = self.has_ended = True
        self.progress = int(_FULL) if self.state == "completed" else None

    def _expected(self, now: float, progress: int) -> float:
        """Return the likely percentage: it starts at the expected rate, then levels off.

        The next poll may show less than expected, so the value approaches what one interval should
        add but never reaches it.
        """
        if progress >= _FULL or not self._remaining_s:
            return progress
        rate = (_FULL - progress) / self._remaining_s
        reach = min(rate * _POLL_EVERY_S, (_FULL - progress) * 0.9)
        passed_s = max(0.0, now - self.updated_at)
        return progress + reach * (1 - math.exp(-rate * passed_s / reach))


class Board:
    """The one ledger of a command; every view of what happened reads it.

    It keeps the newest record of each edit, in the order of first appearance.

    Args:
        clock: The monotonic time in seconds, which no change of the date disturbs.
        keeps_replies: Whether documents need the service's replies about tasks that have ended;
            those of 10,000 tasks take more than 20 MiB.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, *, keeps_replies: bool = True
    ) -> None:
        self.clock = clock
        self._keeps_replies = keeps_replies
        self.started_at = clock()
        self.total = 1
        self.saves = True
        """Whether the command also saves results; `saved` then stands for `completed`."""
        self.request: EditRequest | None = None
        """The edit that was asked for, if it is a single one."""
        self.pause: Pause | None = None
        """A retry that concerns all edits, or an edit without a task yet."""
        self.submitted: set[str] = set()
        """IDs of the tasks that this command submitted."""
        self.skipped: set[str] = set()
        """IDs of the tasks whose result had already been saved."""
        self.completed: set[str] = set()
        """IDs of the tasks that completed successfully."""
        self.saved: set[str] = set()
        """IDs of the tasks with a saved result."""
        self.failed: set[str] = set()
        """IDs of failed tasks, and names of lines that failed without one."""
        self._labels: Mapping[str, str] = {}
        self._records: dict[str, Record] = {}
        self._edits: dict[str, EditState] = {}
        self._durations_s: list[float] = []
        self._task_ids: set[str | None] = set()
        self._remaining = Remaining()
        self._most_running = 1
        self._shown_percent = 0.0
        self._lock = threading.Lock()

    @property
    def records(self) -> list[Record]:
        """The newest record of every edit."""
        return list(self._records.values())

    def task(self, task_id: str | None) -> Task | None:
        """Return the newest known state of a task."""
        record = self._records.get(task_id or "")
        return record.task if record else None

    @property
    def running(self) -> list[EditState]:
        """The edits in progress, in the order of first appearance."""
        return [edit for edit in list(self._edits.values()) if not edit.is_over]

    @property
    def is_single(self) -> bool:
        """Whether only one edit is expected."""
        return self.total <= 1

    @property
    def latest(self) -> EditState:
        """The edit to show if there is only one."""
        edits = list(self._edits.values())
        return edits[-1] if edits else EditState(updated_at=self.started_at)

    @property
    def done(self) -> int:
        """The number of finished edits: saved, or completed if nothing is saved."""
        return len(self.saved if self.saves else self.completed)

    @property
    def counts(self) -> str:
        """How many edits are in which state: `37/120 saved, 24 running, 1 failed`."""
        word = "saved" if self.saves else "completed"
        running = sum(edit.task_id is not None for edit in self.running)
        parts = [f"{self.done}/{self.total} {word}", f"{running} running"]
        if self.failed:
            parts.append(f"{len(self.failed)} failed")
        return ", ".join(parts)

    @property
    def spent_credits(self) -> tuple[float, bool]:
        """The credits spent on this command's submissions, and whether all of them are charged.

        What is not known to be charged counts as reserved.
        """
        tasks = [task for task_id in self.submitted if (task := self.task(task_id))]
        paid = [task for task in tasks if not task.has_failed]
        charges = [task.credits_used for task in paid if task.credits_used is not None]
        reserved = [task.credits_reserved or 0.0 for task in paid if task.credits_used is None]
        return sum(charges) + sum(reserved), not any(reserved)

    def expect(self, total: int, labels: Mapping[str, str] | None = None) -> None:
        """Set how many edits to expect, and restart the display.

        Args:
            total: The number of edits.
            labels: The name to show for each identity; by default the clip's name.
        """
        with self._lock:
            self.total, self.started_at = total, self.clock()
            self._labels = labels if labels is not None else self._labels
            self._edits.clear()
            self._shown_percent, self._most_running = 0.0, 1

    def state_of(self, event: Event) -> EditState:
        """Return the state of an event's edit; a fresh one if the edit is unknown."""
        task_id = event.task_id if isinstance(event, Saved) else None
        return self._edits.get(edit_key(event)) or EditState(
            updated_at=self.clock(), task_id=task_id
        )

    def remaining_s(self) -> float | None:
        """Return the estimated remaining seconds for all edits; None if unknown.

        While some edits have not begun, it is unknown until the first one has shown how long an
        edit takes.
        """
        now, running = self.clock(), self.running
        self._most_running = max(self._most_running, len(running))
        ended = len(self.completed | self.saved | self.failed)
        begun = sum(edit.task_id is not None and not edit.has_ended for edit in running)
        left = max(0, self.total - ended - begun)
        known = [left_s for edit in running if (left_s := edit.remaining_s(now)) is not None]
        evidence = self._durations_s if left else known
        if not evidence:
            return None
        remaining_s = max(known, default=0.0)
        if left:
            usual_s = sorted(self._durations_s)[len(self._durations_s) // 2]
            # Divide by the most that ran at once: between two waves only few are running.
            remaining_s += usual_s * max(1.0, left / self._most_running)
        if ended >= self.total:
            # What remains is joining the pieces, which has its own estimate.
            return remaining_s
        return self._remaining.ease_to(remaining_s, now)

    def percent(self) -> float:
        """Return the overall percentage; it never goes backwards."""
        now = self.clock()
        running = sum(edit.percent(now) or 0.0 for edit in self.running if edit.task_id)
        percent = (_FULL * (self.done + len(self.failed)) + running) / max(1, self.total)
        self._shown_percent = max(self._shown_percent, min(_FULL, percent))
        return self._shown_percent

    def add(self, record: Record) -> None:
        """Add a record; it replaces the previous one of the same edit."""
        task = record.task
        if task is not None and task.is_terminal and task.raw and not self._keeps_replies:
            record = record._replace(task=replace(task, raw=None))
        self._records[record.task_id or record.request_id or ""] = record

    def add_error(self, record: Record, error: OmniEditError) -> None:
        """Add a record together with the error that was met while handling it."""
        cause = TaskError.of(error, suggestion=error.hint)
        self.add(record._replace(error=record.error or cause))

    def attach(self, error: OmniEditError) -> None:
        """Add the error that ended the command to the record of its task, if it has one."""
        record = self._records.get(error.task_id or "")
        if record is not None:
            self.add_error(record, error)

    def update(self, event: Event) -> None:  # noqa: C901, PLR0912 - one case per event
        """Update the board with an event."""
        now = self.clock()
        with self._lock:
            match event:
                case Submitted() | Progressed() | Completed() | Failed():
                    self._update_task(event, now)
                case Known():
                    self.add(event.record)
                case Stalled():
                    self._edit(event, now).unchanged_since = now - event.since_s
                case Retrying():
                    self._update_pause(event, now)
                case Preparing():
                    self._update_preparation(event, now)
                case Transferring():
                    self._update_transfer(event, now)
                case Saved():
                    self._update_saved(event)
                case LineFailed():
                    self._update_failed_line(event)
                case _:
                    pass

    def _edit(self, event: Event, now: float) -> EditState:
        return self._edits.setdefault(edit_key(event), EditState(updated_at=now))

    def _update_task(self, event: Submitted | Progressed | Completed | Failed, now: float) -> None:
        record, task_id = event.record, event.record.task_id
        known = self._records.get(task_id or "")
        if known is not None and known.saved and not record.saved:
            record = record._replace(saved=known.saved)
        self.add(record)
        if self.is_single:
            # Any preparation or upload was for this task.
            for key, edit in list(self._edits.items()):
                if edit.task_id is None:
                    del self._edits[key]
        edit, status = self._edit(event, now), record.shown_status
        edit.task_id = task_id
        edit.label = (
            self._labels.get(record.identity or "") or render_clip(record.video) or str(task_id)
        )
        edit.transfer = edit.preparing = edit.pause = None
        self.pause = None
        if status != edit.state:
            edit.unchanged_since = None
        edit.state = status
        if isinstance(event, Submitted):
            self.submitted.add(str(task_id))
            edit.update_from_submission(event, now)
        elif isinstance(event, Progressed):
            edit.update_from_poll(event, now)
        else:
            self._end_task(edit, event, now)
        self._task_ids.add(task_id)
        self.total = max(self.total, len(self._task_ids))

    def _end_task(self, edit: EditState, event: Completed | Failed, now: float) -> None:
        if isinstance(event, Completed):
            if edit.has_been_followed and edit.task_id not in self.completed:
                self._durations_s.append(edit.elapsed_s(now))
            self.completed.add(str(edit.task_id))
        else:
            self.failed.add(str(edit.task_id))
        edit.end(now)

    def _update_pause(self, event: Retrying, now: float) -> None:
        pause = Pause(message=event.message, attempt=event.attempt, until=now + event.delay_s)
        if event.record is not None:
            self.add(event.record)
        if event.task_id is None:
            self.pause = pause
        else:
            self._edit(event, now).pause = pause

    def _update_preparation(self, event: Preparing, now: float) -> None:
        edit = self._edit(event, now)
        edit.label, edit.state = event.name, event.what
        edit.preparing, edit.pause, self.pause = event, None, None
        if event.total is not None and event.done >= event.total:
            del self._edits[edit_key(event)]

    def _update_transfer(self, event: Transferring, now: float) -> None:
        edit = self._edit(event, now)
        transfer = edit.transfer
        if transfer is None or (transfer.direction, transfer.name) != (event.direction, event.name):
            transfer = edit.transfer = Transfer(direction=event.direction, name=event.name)
            edit.task_id = edit.task_id or event.task_id
            edit.label = edit.label or event.name
        edit.state = f"{event.direction}ing"
        edit.preparing = edit.unchanged_since = edit.pause = self.pause = None
        edit.is_over = False
        transfer.update(event, now)
        is_whole = event.total_bytes is not None and event.done_bytes >= event.total_bytes
        if is_whole and event.task_id is None:
            # The task made from an upload gets a state of its own; a downloaded clip has none.
            if self.is_single and event.direction == "upload":
                edit.state, edit.transfer = "submitting", None
            else:
                self._edits.pop(edit_key(event), None)

    def _update_saved(self, event: Saved) -> None:
        if event.task_id is None:  # joined from results that have been counted
            return
        self.saved.add(event.task_id)
        if not event.is_new:
            self.skipped.add(event.task_id)
        edit = self._edits.get(event.task_id)
        if edit is not None:
            edit.is_over = True
            edit.transfer = None
        record = event.record or self._records.get(event.task_id)
        if record is not None:
            others = [file for file in record.saved if file.path != event.file.path]
            self.add(record._replace(saved=(*others, event.file)))

    def _update_failed_line(self, event: LineFailed) -> None:
        self.failed.add(event.task_id or event.name)
        edit = self._edits.get(event.task_id or "")
        if edit is not None:
            edit.is_over = True
