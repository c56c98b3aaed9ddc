"""What has happened so far: the newest record of each edit, and where each stands."""

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
    LineFailed,
    Preparing,
    Progressed,
    Retrying,
    Saved,
    Stalled,
    Submitted,
    Transferring,
)
from omniedit.models import Record, Task, TaskError
from omniedit.terminal.human import clip_name

_POLL_EVERY_S: Final = 8.0
"""How far apart polls of a watched task are, at most."""
_BAR_EASE_S: Final = 0.7
"""How quickly the bar closes in on what is known."""
_REMAINING_EASE_S: Final = 6.0
"""How quickly the time that remains closes in on what is known."""
_SPEED_WINDOW_S: Final = 5.0
_SPEED_SAMPLE_S: Final = 0.25
_FULL: Final = 100.0


@dataclass(eq=False, repr=False, slots=True)
class Remaining:
    """The seconds that remain, as they are shown: they count down, and never jump."""

    _shown_s: float | None = None
    _shown_at: float = 0.0

    def ease_to(self, known_s: float, now: float) -> float:
        """Return what to show where `known_s` is known."""
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
    """Bytes on their way."""

    direction: str
    name: str
    done_bytes: int = 0
    total_bytes: int | None = None
    samples: deque[tuple[float, int]] = field(default_factory=deque[tuple[float, int]])

    def take(self, event: Transferring, now: float) -> None:
        """Note how far it is; cheap enough for every chunk."""
        if event.done_bytes < self.done_bytes:  # started over
            self.samples.clear()
        self.done_bytes, self.total_bytes = event.done_bytes, event.total_bytes
        if not self.samples or now - self.samples[-1][0] >= _SPEED_SAMPLE_S:
            self.samples.append((now, event.done_bytes))
            while now - self.samples[0][0] > _SPEED_WINDOW_S:
                self.samples.popleft()

    @property
    def percent(self) -> float | None:
        """How much of it is done; None where the whole is unknown."""
        return min(_FULL, _FULL * self.done_bytes / self.total_bytes) if self.total_bytes else None

    def speed(self, now: float) -> float | None:
        """Return bytes a second of late; None before that can be told."""
        if not self.samples or now - self.samples[0][0] < _SPEED_SAMPLE_S:
            return None
        since, had_bytes = self.samples[0]
        return (self.done_bytes - had_bytes) / (now - since)

    def remaining_s(self, now: float) -> float | None:
        """Return how long it will take at this speed."""
        speed = self.speed(now)
        if not speed or self.total_bytes is None:
            return None
        return max(0.0, (self.total_bytes - self.done_bytes) / speed)


class Pause(NamedTuple):
    """A failure that is about to be tried again."""

    message: str
    attempt: int
    until: float


@dataclass(eq=False, repr=False, slots=True, kw_only=True)
class EditState:
    """Where one edit stands, between two polls."""

    seen_at: float
    task_id: str | None = None
    label: str = ""
    """What a person calls it: its clip, or its line."""
    state: str = "starting"
    progress: int | None = None
    is_over: bool = False
    """Whether nothing is under way for it any more, as far as anybody said."""
    has_ended: bool = False
    """Whether its task will not change any more; its result may still be on its way."""
    is_saved: bool = False
    has_been_followed: bool = False
    """Whether it was seen unfinished, so that its duration is known."""
    transfer: Transfer | None = None
    preparing: Preparing | None = None
    pause: Pause | None = None
    still_since: float | None = None
    _shown_remaining: Remaining = field(default_factory=Remaining)
    _elapsed_s: float = 0.0
    _remaining_s: float | None = None
    _shown: float = 0.0
    _shown_at: float = 0.0

    def elapsed_s(self, now: float) -> float:
        """Return for how long the task has been under way, or how long it took."""
        return self._elapsed_s + (0.0 if self.has_ended else max(0.0, now - self.seen_at))

    def remaining_s(self, now: float) -> float | None:
        """Return for how long it will go on, as far as anybody knows."""
        if self.transfer is not None:
            return self.transfer.remaining_s(now)
        if self.preparing is not None:
            return self.preparing.remaining_s
        if self._remaining_s is None:
            return None
        known_s = max(0.0, self._remaining_s - max(0.0, now - self.seen_at))
        return self._shown_remaining.ease_to(known_s, now)

    def percent(self, now: float) -> float | None:
        """Return how much to show as done: smooth, and never backwards."""
        if self.transfer is not None:
            return self.transfer.percent
        if self.preparing is not None:
            total = self.preparing.total
            return min(_FULL, _FULL * self.preparing.done / total) if total else None
        if self.progress is None:
            return None
        passed_s = max(0.0, now - (self._shown_at or now))
        gap = self._expected(now, self.progress) - self._shown
        self._shown += max(0.0, gap) * (1 - math.exp(-passed_s / _BAR_EASE_S))
        self._shown_at = now
        return self._shown

    def take_poll(self, event: Progressed, now: float) -> None:
        """Note the times that hold as of now."""
        self.seen_at, self._elapsed_s, self.has_ended = now, event.elapsed_s, False
        self._remaining_s = event.remaining_s

    def take_submission(self, event: Submitted, now: float) -> None:
        """Note that it is under way as of now."""
        task = event.record.task
        self.seen_at, self._elapsed_s = now, 0.0
        self._remaining_s = task.estimated_s if task and not task.is_terminal else None

    def end(self, now: float) -> None:
        """Note that its task will not change any more."""
        self._elapsed_s = self.elapsed_s(now)
        self.seen_at, self._remaining_s = now, None
        self.is_over = self.has_ended = True
        self.progress = int(_FULL) if self.state == "completed" else None

    def _expected(self, now: float, progress: int) -> float:
        """Return where it probably is: at first as fast as expected, but never past the next poll.

        What the next poll will bring is unknown, so the way there is only ever approached.
        """
        if progress >= _FULL or not self._remaining_s:
            return progress
        rate = (_FULL - progress) / self._remaining_s
        reach = min(rate * _POLL_EVERY_S, (_FULL - progress) * 0.9)
        passed_s = max(0.0, now - self.seen_at)
        return progress + reach * (1 - math.exp(-rate * passed_s / reach))


class Board:
    """The one ledger of a command; every view of what happened reads it.

    Records are the newest of each edit, in the order in which they were met.

    Args:
        clock: Unix time.
        keeps_replies: Whether documents need the service's replies about tasks that have ended;
            those of 10,000 tasks take more than 20 MiB.
    """

    def __init__(
        self, clock: Callable[[], float] = time.time, *, keeps_replies: bool = True
    ) -> None:
        self.clock = clock
        self._keeps_replies = keeps_replies
        self.started_at = clock()
        self.total = 1
        self.saves = True
        """Whether results are saved as well, which says all that there is to say."""
        self.pause: Pause | None = None
        """A failure that concerns all edits, or one that has no task yet."""
        self.submitted: set[str] = set()
        """The tasks that this command submitted."""
        self.skipped: set[str] = set()
        """The tasks whose result was there already."""
        self._completed: set[str] = set()
        self._saved: set[str] = set()
        self._failed: set[str] = set()
        self._labels: Mapping[str, str] = {}
        self._records: dict[str, Record] = {}
        self._edits: dict[str, EditState] = {}
        self._durations_s: list[float] = []
        self._task_ids: set[str | None] = set()
        self._remaining = Remaining()
        self._most_running = 1
        self._shown = 0.0
        self._lock = threading.Lock()

    @property
    def records(self) -> list[Record]:
        """The newest record of every edit."""
        return list(self._records.values())

    def task(self, task_id: str | None) -> Task | None:
        """Return a task as it was last seen."""
        record = self._records.get(task_id or "")
        return record.task if record else None

    @property
    def running(self) -> list[EditState]:
        """The edits under way, in the order in which they were met."""
        return [edit for edit in list(self._edits.values()) if not edit.is_over]

    @property
    def is_single(self) -> bool:
        """Whether there is one edit only, whatever it reports."""
        return self.total <= 1

    @property
    def latest(self) -> EditState:
        """The edit to show where there is only one."""
        edits = list(self._edits.values())
        return edits[-1] if edits else EditState(seen_at=self.started_at)

    @property
    def completed(self) -> int:
        """How many tasks ended well."""
        return len(self._completed)

    @property
    def saved(self) -> int:
        """How many tasks have a result here."""
        return len(self._saved)

    @property
    def failed(self) -> int:
        """How many edits came to nothing."""
        return len(self._failed)

    @property
    def done(self) -> int:
        """How many ended well: saved, or completed where nothing is saved."""
        return self.saved if self.saves else self.completed

    @property
    def summary(self) -> str:
        """All edits in one line: `37/120 saved, 24 running, 1 failed`."""
        word = "saved" if self.saves else "completed"
        parts = [f"{self.done}/{self.total} {word}", f"{len(self.running)} running"]
        if self.failed:
            parts.append(f"{self.failed} failed")
        return ", ".join(parts)

    @property
    def spent_credits(self) -> float:
        """What this command's submissions were charged, or as long as they run what is reserved."""
        tasks = [self.task(task_id) for task_id in self.submitted]
        return sum(
            (task.credits_reserved if task.credits_used is None else task.credits_used) or 0.0
            for task in tasks
            if task is not None and not task.has_failed
        )

    def expect(self, total: int, labels: Mapping[str, str] | None = None) -> None:
        """Say how many edits there will be, from now on.

        Args:
            total: How many.
            labels: What people call them, by identity; else each is called by its clip.
        """
        with self._lock:
            self.total, self.started_at = total, self.clock()
            self._labels = labels if labels is not None else self._labels
            self._edits.clear()
            self._shown, self._most_running = 0.0, 1

    def state_of(self, event: Event) -> EditState:
        """Return where the edit of an event stands; a new state where it concerns none."""
        task_id = event.task_id if isinstance(event, Saved) else None
        return self._edits.get(_key(event)) or EditState(seen_at=self.clock(), task_id=task_id)

    def remaining_s(self) -> float | None:
        """Return for how long all edits together will go on, as far as anybody knows.

        While some have not begun, that is from when one has shown how long an edit takes.
        """
        now, running = self.clock(), self.running
        self._most_running = max(self._most_running, len(running))
        ended = len(self._completed | self._saved | self._failed)
        begun = sum(edit.task_id is not None and not edit.has_ended for edit in running)
        left = max(0, self.total - ended - begun)
        known = [left_s for edit in running if (left_s := edit.remaining_s(now)) is not None]
        is_telling = self._durations_s if left else known
        if not is_telling:
            return None
        remaining_s = max(known, default=0.0)
        if left:
            usual_s = sorted(self._durations_s)[len(self._durations_s) // 2]
            # Between two waves of edits few are running.
            remaining_s += usual_s * max(1.0, left / self._most_running)
        is_joining = ended >= self.total
        return remaining_s if is_joining else self._remaining.ease_to(remaining_s, now)

    def percent(self) -> float:
        """Return how much of everything is done; never backwards."""
        now = self.clock()
        running = sum(edit.percent(now) or 0.0 for edit in self.running if edit.task_id)
        percent = (_FULL * (self.done + self.failed) + running) / max(1, self.total)
        self._shown = max(self._shown, min(_FULL, percent))
        return self._shown

    def add(self, record: Record) -> None:
        """Take in a record, which replaces what was known of its edit."""
        task = record.task
        if task is not None and task.is_terminal and task.raw and not self._keeps_replies:
            record = record._replace(task=replace(task, raw=None))
        self._records[record.task_id or record.request_id or ""] = record

    def note_error(self, record: Record, error: OmniEditError) -> None:
        """Take in a record of which something could not be done."""
        cause = TaskError(
            code=error.code, message=error.message, suggestion=error.hint, kind=error.kind
        )
        self.add(record._replace(error=record.error or cause))

    def take(self, event: Event) -> None:
        """Take in an event."""
        now = self.clock()
        with self._lock:
            match event:
                case Submitted() | Progressed() | Completed() | Failed():
                    self._take_task(event, now)
                case Stalled():
                    self._edit(event, now).still_since = now - event.since_s
                case Retrying():
                    self._take_pause(event, now)
                case Preparing():
                    self._take_preparation(event, now)
                case Transferring():
                    self._take_transfer(event, now)
                case Saved():
                    self._take_saved(event)
                case LineFailed():
                    self._take_line_failed(event)
                case _:
                    pass

    def _edit(self, event: Event, now: float) -> EditState:
        return self._edits.setdefault(_key(event), EditState(seen_at=now))

    def _take_task(self, event: Submitted | Progressed | Completed | Failed, now: float) -> None:
        record, task_id = event.record, event.record.task_id
        known = self._records.get(task_id or "")
        if known is not None and known.saved and not record.saved:
            record = record._replace(saved=known.saved)
        self.add(record)
        if self.is_single:
            # What was prepared or uploaded was for this task.
            for key, edit in list(self._edits.items()):
                if edit.task_id is None:
                    del self._edits[key]
        edit, status = self._edit(event, now), record.shown_status
        edit.task_id = task_id
        edit.label = (
            self._labels.get(record.identity or "") or clip_name(record.video) or str(task_id)
        )
        edit.transfer = edit.preparing = edit.pause = None
        self.pause = None
        if status != edit.state:
            edit.still_since = None
        edit.state = status
        if isinstance(event, Submitted):
            self.submitted.add(str(task_id))
            edit.is_over = False
            edit.take_submission(event, now)
        elif isinstance(event, Progressed):
            self._take_poll(edit, event, now)
        else:
            self._take_end(edit, event, now)
        self._task_ids.add(task_id)
        self.total = max(self.total, len(self._task_ids))

    def _take_poll(self, edit: EditState, event: Progressed, now: float) -> None:
        task = event.record.task
        progress = task.progress if task else None
        if progress is not None and progress > (edit.progress or 0):
            edit.still_since = None
        edit.progress = progress
        edit.is_over = False
        edit.has_been_followed |= task is not None and not task.is_terminal
        edit.take_poll(event, now)

    def _take_end(self, edit: EditState, event: Completed | Failed, now: float) -> None:
        if isinstance(event, Completed):
            if edit.has_been_followed and edit.task_id not in self._completed:
                self._durations_s.append(edit.elapsed_s(now))
            self._completed.add(str(edit.task_id))
        else:
            self._failed.add(str(edit.task_id))
        edit.end(now)

    def _take_pause(self, event: Retrying, now: float) -> None:
        pause = Pause(message=event.message, attempt=event.attempt, until=now + event.delay_s)
        if event.record is not None:
            self.add(event.record)
        if event.task_id is None:
            self.pause = pause
        else:
            self._edit(event, now).pause = pause

    def _take_preparation(self, event: Preparing, now: float) -> None:
        edit = self._edit(event, now)
        edit.label, edit.state = event.name, event.what
        edit.preparing, edit.pause, self.pause = event, None, None
        if event.total is not None and event.done >= event.total:
            del self._edits[_key(event)]

    def _take_transfer(self, event: Transferring, now: float) -> None:
        edit = self._edit(event, now)
        transfer = edit.transfer
        if transfer is None or (transfer.direction, transfer.name) != (event.direction, event.name):
            transfer = edit.transfer = Transfer(direction=event.direction, name=event.name)
            edit.task_id = edit.task_id or event.task_id
            edit.label = edit.label or event.name
        edit.state = f"{event.direction}ing"
        edit.preparing = edit.still_since = edit.pause = self.pause = None
        edit.is_over = False
        transfer.take(event, now)
        is_whole = event.total_bytes is not None and event.done_bytes >= event.total_bytes
        if is_whole and event.task_id is None:
            # The task that comes of it has a state of its own.
            if self.is_single:
                edit.state, edit.transfer = "submitting", None
            else:
                self._edits.pop(_key(event), None)

    def _take_saved(self, event: Saved) -> None:
        if event.task_id is None:  # joined of what was counted before
            return
        self._saved.add(event.task_id)
        if not event.is_new:
            self.skipped.add(event.task_id)
        edit = self._edits.get(event.task_id)
        if edit is not None:
            edit.is_over = edit.is_saved = True
            edit.transfer = None
        record = event.record or self._records.get(event.task_id)
        if record is not None:
            others = [file for file in record.saved if file.path != event.file.path]
            self.add(record._replace(saved=(*others, event.file)))

    def _take_line_failed(self, event: LineFailed) -> None:
        self._failed.add(event.task_id or event.name)
        edit = self._edits.get(event.task_id or "")
        if edit is not None:
            edit.is_over = True


def _key(event: Event) -> str:
    """Return what tells one edit from another; a clip has no task yet."""
    match event:
        case Submitted() | Progressed() | Completed() | Failed():
            return event.record.task_id or event.record.request_id or ""
        case Transferring(task_id=None) | Preparing():
            return f"clip {event.name}"
        case Stalled() | Saved() | Retrying() | Transferring():
            return event.task_id or ""
        case _:
            return ""
