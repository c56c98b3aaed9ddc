"""The state that every progress view reads: the newest record and the progress of each edit."""

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from omniedit.errors import OmniEditError
from omniedit.events import (
    Completed,
    Event,
    Failed,
    Known,
    LineFailed,
    Progressed,
    Retrying,
    Saved,
    Stalled,
    Submitted,
    TaskEvent,
    Working,
)
from omniedit.models import EditRequest, Record, Task, TaskError
from omniedit.policy import DEFAULT
from omniedit.terminal.human import render_clip

_POLL_EVERY_S: Final = DEFAULT.longest_watched_poll_s
"""The longest time between two polls of a watched task."""
_EASE_S: Final = 6.0
"""The time constant with which the remaining time approaches the newest estimate."""
_SPEED_WINDOW_S: Final = 5.0
_SPEED_SAMPLE_S: Final = 0.25
_FULL: Final = 100.0


class _Shown:
    """Progress as it is displayed: the percentage never falls, and the time left never jumps."""

    def __init__(self) -> None:
        self._percent = 0.0
        self._left_s: float | None = None
        self._at = 0.0

    def percent(self, known: float) -> float:
        """Return the percentage to display, given the newest estimate."""
        self._percent = max(self._percent, known)
        return self._percent

    def left_s(self, known_s: float, now: float) -> float:
        """Return the remaining seconds to display, which count down, given the newest estimate."""
        if self._left_s is None:
            self._left_s = known_s
        else:
            passed_s = max(0.0, now - self._at)
            counted_s = max(0.0, self._left_s - passed_s)
            share = 1 - math.exp(-passed_s / _EASE_S)
            self._left_s = counted_s + (known_s - counted_s) * share
        self._at = now
        return self._left_s


class Work:
    """The progress of work on this machine: a transfer, or the preparation of a clip."""

    def __init__(self, event: Working, began_at: float) -> None:
        self.event = event
        self.began_at = began_at
        self._samples: deque[tuple[float, float]] = deque()

    def update(self, event: Working, now: float) -> None:
        """Record progress; cheap enough to call for every chunk."""
        samples = self._samples
        if event.done < self.event.done:  # started over
            samples.clear()
        self.event = event
        if not samples or now - samples[-1][0] >= _SPEED_SAMPLE_S:
            samples.append((now, event.done))
            while now - samples[0][0] > _SPEED_WINDOW_S:
                samples.popleft()

    @property
    def percent(self) -> float | None:
        """The percentage done; None if the total is unknown."""
        event = self.event
        return min(_FULL, _FULL * event.done / event.total) if event.total else None

    def speed(self, now: float) -> float | None:
        """Return the recent speed in units per second; None until it can be measured."""
        if not self._samples or now - self._samples[0][0] < _SPEED_SAMPLE_S:
            return None
        since, done = self._samples[0]
        return (self.event.done - done) / (now - since)

    def remaining_s(self, now: float) -> float | None:
        """Return the remaining seconds, by default at the recent speed; None if unknown."""
        event = self.event
        speed = self.speed(now)
        if event.remaining_s is not None or not speed or event.total is None:
            return event.remaining_s
        return max(0.0, (event.total - event.done) / speed)


class Pause(NamedTuple):
    """The wait between a failed attempt and its retry."""

    message: str
    attempt: int
    until: float


class EditState:
    """The state of one edit, interpolated between polls so that its display moves evenly."""

    def __init__(self, updated_at: float, task_id: str | None = None) -> None:
        self.updated_at = updated_at
        self.task_id = task_id
        self.label = ""
        """The name shown to people: its clip or manifest line."""
        self.state = "starting"
        self.progress: int | None = None
        self.has_ended = False
        """Whether its task has ended, or is no longer followed; the result may still be downloading."""
        self.has_been_followed = False
        """Whether it was ever seen unfinished, so that its duration is known."""
        self.work: Work | None = None
        self.pause: Pause | None = None
        self.unchanged_since: float | None = None
        self._shown = _Shown()
        self._elapsed_s = 0.0
        self._remaining_s: float | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do for it."""
        return self.has_ended and self.work is None

    def elapsed_s(self, now: float) -> float:
        """Return how long the task has been running, or how long it took."""
        return self._elapsed_s + (0.0 if self.has_ended else max(0.0, now - self.updated_at))

    def remaining_s(self, now: float) -> float | None:
        """Return the estimated remaining seconds; None if unknown."""
        if self.work is not None:
            return self.work.remaining_s(now)
        if self._remaining_s is None:
            return None
        known_s = max(0.0, self._remaining_s - max(0.0, now - self.updated_at))
        return self._shown.left_s(known_s, now)

    @property
    def known_percent(self) -> float | None:
        """The percentage as last reported; None if unknown."""
        return self.work.percent if self.work else self.progress

    def percent(self, now: float) -> float | None:
        """Return the percentage to display: interpolated between polls, and never backwards."""
        if self.progress is None or self.work is not None:
            return self.known_percent
        return self._shown.percent(self._expected(now, self.progress))

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

    def update_from_poll(self, event: Progressed, now: float) -> None:
        """Record what a poll showed."""
        task = event.record.task
        progress = task.progress if task else None
        if progress is not None and progress > (self.progress or 0):
            self.unchanged_since = None
        self.progress = progress
        self.has_been_followed |= event.record.is_open
        self.update_times(now, event.elapsed_s, event.remaining_s)

    def update_times(self, now: float, elapsed_s: float, remaining_s: float | None) -> None:
        """Record for how long the task has been in progress, and will probably still be."""
        self.updated_at = now
        self._elapsed_s = elapsed_s
        self._remaining_s = remaining_s
        self.has_ended = False

    def end(self, now: float) -> None:
        """Record that the task has ended."""
        self.update_times(now, self.elapsed_s(now), None)
        self.has_ended = True
        self.progress = int(_FULL) if self.state == "completed" else None


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
        self.saves = True
        """Whether the command also saves results; `saved` then stands for `completed`."""
        self.request: EditRequest | None = None
        """The edit that was asked for, if it is a single one."""
        self.pause: Pause | None = None
        """A retry that concerns all edits, or an edit without a task yet."""
        # By task ID:
        self.submitted: set[str] = set()  # by this command
        self.known: set[str] = set()  # submitted by earlier commands, and continued by this one
        self.skipped: set[str] = set()  # the result had been saved before
        self.completed: set[str] = set()
        self.saved: set[str] = set()
        self.unsuccessful: dict[str, str] = {}
        """Why edits ended without a result, such as "failed": by task ID, or else by name."""
        self._records: dict[str, Record] = {}
        self._durations_s: list[float] = []
        self._task_ids: set[str] = set()
        self.expect(1)

    @property
    def records(self) -> list[Record]:
        """The newest record of every edit."""
        return list(self._records.values())

    def task(self, task_id: str | None) -> Task | None:
        """Return the newest known state of a task."""
        record = self._records.get(task_id or "")
        return record.task if record else None

    def name_of(self, task_id: str | None) -> str | None:
        """Return what errors call the edit of a task; None if that is the task ID."""
        record = self._records.get(task_id or "")
        if record is None or record.identity is None:
            return None
        return self._names.get(record.identity)

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
        return edits[-1] if edits else EditState(self.started_at)

    @property
    def done(self) -> int:
        """The number of finished edits: saved, or completed if nothing is saved."""
        return len(self._with_result)

    @property
    def _with_result(self) -> set[str]:
        # A task of which only some results could be saved has failed.
        return (self.saved if self.saves else self.completed) - self.unsuccessful.keys()

    @property
    def counts(self) -> str:
        """How many edits are in which state: `37/120 saved, 24 running, 1 failed`."""
        word = "saved" if self.saves else "completed"
        running = self._task_ids - self._with_result - self.unsuccessful.keys()
        parts = [f"{self.done}/{self.total} {word}", f"{len(running)} running"]
        states = Counter(self.unsuccessful.values())
        return ", ".join(parts + [f"{count} {state}" for state, count in sorted(states.items())])

    @property
    def spent_credits(self) -> tuple[float, bool]:
        """The credits spent on this command's submissions, and whether all of them are charged.

        What is not known to be charged counts as reserved.
        """
        # A copy: another thread may be adding a submission.
        tasks = [self.task(task_id) for task_id in list(self.submitted)]
        paid = [task for task in tasks if task is not None and not task.has_failed]
        charged = sum(task.credits_used or 0.0 for task in paid)
        reserved = sum(task.credits_reserved or 0.0 for task in paid if task.credits_used is None)
        return charged + reserved, not reserved

    def expect(
        self,
        total: int,
        labels: Mapping[str, str] | None = None,
        names: Mapping[str, str] | None = None,
    ) -> None:
        """Set how many edits to expect, and restart the display.

        Args:
            total: The number of edits.
            labels: What bars call the edit of each identity; by default the clip's name.
            names: What errors call it; by default the task ID.
        """
        self.total = total
        self.started_at = self.clock()
        self._labels = labels or {}
        self._names = names or {}
        self._edits: dict[str, EditState] = {}
        self._shown = _Shown()
        self._most_running = 1

    def state_of(self, event: Event) -> EditState:
        """Return the state of an event's edit; a fresh one if the edit is unknown."""
        return self._edits.get(_edit_key(event)) or EditState(self.clock(), _task_id(event))

    def remaining_s(self) -> float | None:
        """Return the estimated remaining seconds for all edits; None if unknown.

        While some edits have not begun, it is unknown until the first one has shown how long an
        edit takes.
        """
        now = self.clock()
        running = self.running
        self._most_running = max(self._most_running, len(running))
        ended = len(self.completed | self.saved | self.unsuccessful.keys())
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
        return self._shown.left_s(remaining_s, now)

    def percent(self) -> float:
        """Return the overall percentage; it never goes backwards."""
        now = self.clock()
        running = sum(edit.percent(now) or 0.0 for edit in self.running if edit.task_id)
        percent = (_FULL * (self.done + len(self.unsuccessful)) + running) / max(1, self.total)
        return self._shown.percent(min(_FULL, percent))

    def add(self, record: Record) -> Record:
        """Add a record, in place of the previous one of the same edit, and return what is kept."""
        task = record.task
        if task is not None and task.is_terminal and task.raw and not self._keeps_replies:
            record = record._replace(task=task._replace(raw=None))
        self._records[record.task_id or record.request_id or ""] = record
        return record

    def add_error(self, record: Record, error: OmniEditError) -> None:
        """Add a record together with the error that was met while handling it."""
        cause = TaskError.of(error, suggestion=error.hint)
        self.add(record._replace(error=record.error or cause))

    def attach(self, error: OmniEditError) -> None:
        """Add the error that ended the command to the record of its task, if it has one."""
        record = self._records.get(error.task_id or "")
        if record is not None:
            self.add_error(record, error)

    def update(self, event: Event) -> None:
        """Update the board with an event; to be called by one thread at a time."""
        now = self.clock()
        match event:
            case Submitted() | Progressed() | Completed() | Failed():
                self._update_task(event, now)
            case Known(record=record):
                self.known.add(str(record.task_id))
                self.add(record)
            case Stalled():
                self._edit(event, now).unchanged_since = now - event.since_s
            case Retrying():
                self._update_pause(event, now)
            case Working():
                self._update_work(event, now)
            # A clip joined from pieces has no task, and the pieces are counted already.
            case Saved(task_id=str(task_id)):
                self._update_saved(event, task_id)
            case LineFailed():
                self._update_failed_line(event)
            case _:
                pass

    def _edit(self, event: Event, now: float) -> EditState:
        return self._edits.setdefault(_edit_key(event), EditState(now, _task_id(event)))

    def _update_task(self, event: TaskEvent, now: float) -> None:
        record = event.record
        task_id = str(event.record.task_id)
        known = self._records.get(task_id)
        if known is not None and known.saved and not record.saved:
            record = record._replace(saved=known.saved)
        self.add(record)
        if self.is_single:
            # Any preparation or upload was for this task.
            self._edits = {key: edit for key, edit in self._edits.items() if edit.task_id}
        edit = self._edit(event, now)
        edit.label = self._labels.get(record.identity or "") or render_clip(record.video) or task_id
        edit.work = edit.pause = self.pause = None
        if record.shown_status != edit.state:
            edit.unchanged_since = None
        edit.state = record.shown_status
        if isinstance(event, Submitted):
            self.submitted.add(task_id)
            task = record.task
            estimated_s = task.estimated_s if task and record.is_open else None
            edit.update_times(now, 0.0, estimated_s)
        elif isinstance(event, Progressed):
            edit.update_from_poll(event, now)
        else:
            self._end_task(edit, event, task_id, now)
        self._task_ids.add(task_id)
        self.total = max(self.total, len(self._task_ids))

    def _end_task(
        self, edit: EditState, event: Completed | Failed, task_id: str, now: float
    ) -> None:
        if isinstance(event, Failed):
            self.unsuccessful[task_id] = "failed"
        else:
            if edit.has_been_followed and task_id not in self.completed:
                self._durations_s.append(edit.elapsed_s(now))
            self.completed.add(task_id)
        edit.end(now)

    def _update_pause(self, event: Retrying, now: float) -> None:
        pause = Pause(message=event.message, attempt=event.attempt, until=now + event.delay_s)
        if event.record is not None:
            self.add(event.record)
        if event.task_id is None:
            self.pause = pause
        else:
            self._edit(event, now).pause = pause

    def _update_work(self, event: Working, now: float) -> None:
        edit = self._edit(event, now)
        work = edit.work
        if work is None or (work.event.what, work.event.name) != (event.what, event.name):
            work = edit.work = Work(event, began_at=now)
        work.update(event, now)
        edit.label = edit.label or event.name
        edit.state = event.verb
        edit.unchanged_since = edit.pause = self.pause = None
        is_whole = event.total is not None and event.done >= event.total
        if is_whole and event.task_id is None:
            # The task made from an upload gets a state of its own; other work has none.
            if self.is_single and event.what == "uploading":
                edit.state = "submitting"
                edit.work = None
            else:
                del self._edits[_edit_key(event)]

    def _update_saved(self, event: Saved, task_id: str) -> None:
        self.saved.add(task_id)
        if not event.is_new:
            self.skipped.add(task_id)
        edit = self.state_of(event)
        edit.has_ended = True
        edit.work = None
        record = event.record or self._records.get(task_id)
        if record is not None:
            others = [file for file in record.saved if file.path != event.file.path]
            self.add(record._replace(saved=(*others, event.file)))

    def _update_failed_line(self, event: LineFailed) -> None:
        self.unsuccessful[event.task_id or event.name] = event.state
        edit = self._edits.get(event.task_id or "")
        if edit is not None:
            edit.has_ended = True
            edit.work = None


def _edit_key(event: Event) -> str:
    """Return the key of an event's edit: the task, or the clip while there is no task."""
    return _task_id(event) or (f"clip {event.name}" if isinstance(event, Working) else "")


def _task_id(event: Event) -> str | None:
    match event:
        case Submitted() | Progressed() | Completed() | Failed():
            return event.record.task_id
        case Stalled() | Saved() | Retrying() | Working():
            return event.task_id
        case _:
            return None
