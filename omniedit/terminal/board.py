"""The state that every progress view reads: the newest record and the progress of each edit."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

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
)
from omniedit.models import EditRequest, Record, Task, TaskError
from omniedit.terminal.edit_state import EditState, Pause, Remaining, Transfer
from omniedit.terminal.human import render_clip

_FULL: Final = 100.0


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
        self.clock, self._keeps_replies = clock, keeps_replies
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
        self.known: set[str] = set()
        """IDs of the tasks that earlier commands submitted and this one continues."""
        self.skipped: set[str] = set()
        """IDs of the tasks whose result had already been saved."""
        self.completed: set[str] = set()
        """IDs of the tasks that completed successfully."""
        self.saved: set[str] = set()
        """IDs of the tasks with a saved result."""
        self.unsuccessful: dict[str, str] = {}
        """Why edits ended without a result, such as "failed": by task ID, or else by name."""
        self._labels: Mapping[str, str] = {}
        self._names: Mapping[str, str] = {}
        self._records: dict[str, Record] = {}
        self._edits: dict[str, EditState] = {}
        self._durations_s: list[float] = []
        self._task_ids: set[str | None] = set()
        self._remaining = Remaining()
        self._shown_percent, self._most_running = 0.0, 1
        self._lock = threading.Lock()

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
        return self._names.get((record and record.identity) or "")

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
        tasks = [task for task_id in self.submitted if (task := self.task(task_id))]
        paid = [task for task in tasks if not task.has_failed]
        charges = [task.credits_used for task in paid if task.credits_used is not None]
        reserved = [task.credits_reserved or 0.0 for task in paid if task.credits_used is None]
        return sum(charges) + sum(reserved), not any(reserved)

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
        with self._lock:
            self.total, self.started_at = total, self.clock()
            self._labels, self._names = labels or self._labels, names or self._names
            self._edits.clear()
            self._shown_percent, self._most_running = 0.0, 1

    def state_of(self, event: Event) -> EditState:
        """Return the state of an event's edit; a fresh one if the edit is unknown."""
        task_id = event.task_id if isinstance(event, Saved) else None
        return self._edits.get(_edit_key(event)) or EditState(
            updated_at=self.clock(), task_id=task_id
        )

    def remaining_s(self) -> float | None:
        """Return the estimated remaining seconds for all edits; None if unknown.

        While some edits have not begun, it is unknown until the first one has shown how long an
        edit takes.
        """
        now, running = self.clock(), self.running
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
        return self._remaining.ease_to(remaining_s, now)

    def percent(self) -> float:
        """Return the overall percentage; it never goes backwards."""
        now = self.clock()
        running = sum(edit.percent(now) or 0.0 for edit in self.running if edit.task_id)
        percent = (_FULL * (self.done + len(self.unsuccessful)) + running) / max(1, self.total)
        self._shown_percent = max(self._shown_percent, min(_FULL, percent))
        return self._shown_percent

    def add(self, record: Record) -> None:
        """Add a record; it replaces the previous one of the same edit."""
        task = record.task
        if task is not None and task.is_terminal and task.raw and not self._keeps_replies:
            record = record._replace(task=task._replace(raw=None))
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
                    self.known.add(str(event.record.task_id))
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
        return self._edits.setdefault(_edit_key(event), EditState(updated_at=now))

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
            self.unsuccessful[str(edit.task_id)] = "failed"
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
            del self._edits[_edit_key(event)]

    def _update_transfer(self, event: Transferring, now: float) -> None:
        edit = self._edit(event, now)
        transfer = edit.transfer
        if transfer is None or (transfer.direction, transfer.name) != (event.direction, event.name):
            transfer = edit.transfer = Transfer(
                direction=event.direction, name=event.name, began_at=now
            )
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
                self._edits.pop(_edit_key(event), None)

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
        self.unsuccessful[event.task_id or event.name] = event.state
        edit = self._edits.get(event.task_id or "")
        if edit is not None:
            edit.is_over = True


def _edit_key(event: Event) -> str:
    """Return the key of an event's edit: the task, or the clip while there is no task."""
    match event:
        case Submitted() | Progressed() | Completed() | Failed():
            return event.record.task_id or event.record.request_id or ""
        case Transferring(task_id=None) | Preparing():
            return f"clip {event.name}"
        case Stalled() | Saved() | Retrying() | Transferring():
            return event.task_id or ""
        case _:
            return ""
