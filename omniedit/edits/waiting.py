"""Following tasks to their end, with as few looks as notice it early."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from omniedit.edits.polling import FLOOR_S, STALLED_AFTER_S, Look, next_look_s, remaining_s
from omniedit.edits.ports import Session
from omniedit.errors import (
    AuthenticationError,
    EndpointMissingError,
    JournalError,
    OmniEditError,
    QuotaError,
    RateLimitedError,
    TaskNotFoundError,
    WaitTimeoutError,
)
from omniedit.events import Completed, Failed, Progressed, Retrying, Stalled, Warned
from omniedit.http.retry import backoff_s, is_transient
from omniedit.models import BATCH_SIZE, Record, Task

_ROUND_PER_TASK_S: Final = 1 / BATCH_SIZE

Outcome: TypeAlias = tuple[Record, OmniEditError | None]
"""A task that is done with, and what kept it from ending well where something did."""


@dataclass(slots=True, kw_only=True)
class Watch:
    """One task that is being followed."""

    record: Record
    began_at: float  # monotonic, of the task's creation
    due_at: float  # monotonic, of the next look
    deadline: float  # monotonic
    moved_at: float  # monotonic, of the latest change
    stalls_reported: int = 0
    last_unfinished_at: float | None = None  # Unix time

    @property
    def task(self) -> Task:
        """The task as the latest look showed it."""
        if self.record.task is None:  # pragma: no cover - only tasks are followed
            raise AssertionError
        return self.record.task

    @property
    def task_id(self) -> str:
        """The task's ID."""
        return self.task.task_id


class Waiting:
    """Follows tasks until each has ended or its time is up.

    Args:
        session: What it calls on.
        timeout_s: How long each is waited for.
    """

    def __init__(self, session: Session, *, timeout_s: float) -> None:
        self._session = session
        self._timeout_s = timeout_s
        self._watches: dict[str, Watch] = {}
        self._failures = 0
        self._has_batch_read = True
        self._has_warned = False
        self._quiet_until = 0.0  # monotonic: a rate limit holds for every look

    def __len__(self) -> int:
        """Return how many are still followed."""
        return len(self._watches)

    def add(self, record: Record, *, is_fresh: bool = False) -> None:
        """Follow a task from now on.

        Args:
            record: With a task; one that is followed already is not followed twice.
            is_fresh: It was submitted a moment ago, so that a first look can wait a little.
        """
        now = self._session.monotonic()
        # Of a task submitted elsewhere only the service's clock tells when, which may be ahead.
        age_s = max(0.0, self._session.now() - record.created_at)
        look = Look(
            elapsed_s=0.0,
            estimated_s=record.task.estimated_s if record.task else None,
            progress=None,
            unchanged_s=0.0,
        )
        rest_s = 0.0
        if is_fresh:
            rest_s = next_look_s(
                look, is_watched=self._session.is_watched, jitter=self._session.jitter
            )
        watch = Watch(
            record=record,
            began_at=now - age_s,
            due_at=now + rest_s,
            deadline=now + self._timeout_s,
            moved_at=now,
        )
        self._watches.setdefault(watch.task_id, watch)

    def rest_s(self) -> float:
        """Return the seconds until the next look is due, and no deadline overrun."""
        due_at = min(watch.due_at for watch in self._watches.values())
        deadline = min(watch.deadline for watch in self._watches.values())
        look_at = min(max(due_at, self._quiet_until), deadline)
        return max(0.0, look_at - self._session.monotonic())

    def look(self) -> Iterator[Outcome]:
        """Look at every task that is due about now; yield those that ended or ran out of time.

        Raises:
            AuthenticationError: The key is no longer accepted; nothing can be followed.
            QuotaError: The key may not read any more.
        """
        now = self._session.monotonic()
        late = [watch for watch in self._watches.values() if watch.deadline <= now]
        yield from self._look_at(self._due(now))
        for watch in late:
            if self._watches.pop(watch.task_id, None) is not None:
                yield watch.record, self._out_of_time(watch)

    def to_the_end(self) -> Iterator[Outcome]:
        """Yield each task as it ends, resting between the looks.

        Raises:
            AuthenticationError: The key is no longer accepted; nothing can be followed.
            QuotaError: The key may not read any more.
        """
        while self._watches:
            if rest_s := self.rest_s():
                self._session.sleep(rest_s)
            yield from self.look()

    def _due(self, now: float) -> list[Watch]:
        """Return the tasks to look at: those due soon come along, many of them in one request."""
        if now < self._quiet_until and all(w.deadline > now for w in self._watches.values()):
            return []
        slack_s = max(FLOOR_S / 2, len(self._watches) * _ROUND_PER_TASK_S)
        is_due = {
            watch.task_id: min(watch.due_at, watch.deadline) <= now
            for watch in self._watches.values()
        }
        if not any(is_due.values()):
            return []
        return [
            watch
            for watch in self._watches.values()
            if is_due[watch.task_id] or watch.due_at <= now + slack_s
        ]

    def _look_at(self, due: Sequence[Watch]) -> Iterator[Outcome]:
        for start in range(0, len(due), BATCH_SIZE):
            chunk = due[start : start + BATCH_SIZE]
            try:
                outcomes = self._read(chunk)
            except OmniEditError as error:
                self._back_off(error, chunk)
                if self._session.monotonic() < self._quiet_until:
                    return
                continue
            self._failures = 0
            seen = list(zip(chunk, outcomes, strict=True))
            # On disk before anybody is told, and all of a reply at once.
            self._journal([watch for watch, each in seen if self._take_in(watch, each)])
            for watch, outcome in seen:
                missing = outcome if isinstance(outcome, TaskNotFoundError) else None
                if missing is None:
                    self._report(watch)
                if missing is not None or watch.task.is_terminal:
                    del self._watches[watch.task_id]
                    yield watch.record, missing

    def _read(self, watches: Sequence[Watch]) -> list[Task | TaskNotFoundError]:
        """Return what the service says of each; many through one request where it offers that.

        Raises:
            OmniEditError: It says nothing.
        """
        if len(watches) > 1 and self._has_batch_read:
            try:
                found = self._session.service.get_tasks([watch.task_id for watch in watches])
            except EndpointMissingError:
                self._has_batch_read = False
            else:
                # One that is missing from the reply is asked for alone before it counts as unknown.
                return [found.get(w.task_id) or self._read_one(w.task_id) for w in watches]
        return [self._read_one(watch.task_id) for watch in watches]

    def _read_one(self, task_id: str) -> Task | TaskNotFoundError:
        try:
            return self._session.service.get_task(task_id)
        except TaskNotFoundError as error:
            return error

    def _back_off(self, error: OmniEditError, watches: Sequence[Watch]) -> None:
        """Put the next look off; transient trouble does not end a wait.

        Raises:
            OmniEditError: It will not pass.
        """
        if isinstance(error, AuthenticationError | QuotaError) or not is_transient(error):
            raise error.about(task_id=watches[0].task_id)
        self._failures += 1
        rest_s = backoff_s(
            self._failures, retry_after_s=error.retry_after_s, jitter=self._session.jitter
        )
        rest_s = max(rest_s, FLOOR_S)
        due_at = self._session.monotonic() + rest_s
        if isinstance(error, RateLimitedError):
            self._quiet_until = due_at
        for watch in watches:
            watch.due_at = due_at
        task_id = watches[0].task_id if len(watches) == 1 else None
        self._session.report(
            Retrying(message=error.message, delay_s=rest_s, attempt=self._failures, task_id=task_id)
        )

    def _take_in(self, watch: Watch, task: Task | TaskNotFoundError) -> bool:
        """Note what a look showed; return whether the journal does not know it yet."""
        if isinstance(task, TaskNotFoundError):
            return False
        before = watch.task
        has_moved = (task.status, task.progress) != (before.status, before.progress)
        if has_moved:
            watch.moved_at, watch.stalls_reported = self._session.monotonic(), 0
        if not task.has_failed and (before.progress or 0) > (task.progress or 0):
            task = replace(task, progress=before.progress)
        watch.record = replace(
            watch.record,
            task=task,
            status=task.status,
            error=task.error,
            completed_after=watch.last_unfinished_at or watch.record.completed_after,
        )
        return task.status != before.status or task.is_terminal

    def _report(self, watch: Watch) -> None:
        session, task = self._session, watch.task
        now = session.monotonic()
        watch.last_unfinished_at = session.now()
        look = Look(
            elapsed_s=now - watch.began_at,
            estimated_s=task.estimated_s,
            progress=task.progress,
            unchanged_s=now - watch.moved_at,
        )
        rest_s = next_look_s(look, is_watched=session.is_watched, jitter=session.jitter)
        watch.due_at = now + max(rest_s, len(self._watches) * _ROUND_PER_TASK_S)
        session.report(
            Progressed(
                task=task,
                progress=task.progress,
                elapsed_s=look.elapsed_s,
                remaining_s=None if task.is_terminal else remaining_s(look),
            )
        )
        report_end(session, watch.record)
        if task.is_terminal:
            return
        if look.unchanged_s >= STALLED_AFTER_S * (watch.stalls_reported + 1):
            watch.stalls_reported += 1
            session.report(Stalled(task_id=watch.task_id, since_s=look.unchanged_s))

    def _journal(self, watches: Sequence[Watch]) -> None:
        news = [(watch.task, watch.last_unfinished_at) for watch in watches]
        try:
            self._session.journal.record_tasks(news, origin=self._session.origin)
        except JournalError as error:
            if not self._has_warned:
                self._has_warned = True
                self._session.report(Warned(message=error.message))

    def _out_of_time(self, watch: Watch) -> WaitTimeoutError:
        progress = "" if watch.task.progress is None else f" at {watch.task.progress} %"
        msg = (
            f"task {watch.task_id} is not finished after {self._timeout_s:.0f} s:"
            f" {watch.task.status}{progress}"
        )
        return WaitTimeoutError(msg, task_id=watch.task_id)


def report_end(session: Session, record: Record) -> None:
    """Tell the observer how a task ended, once it has."""
    if record.task is None or not record.task.is_terminal:
        return
    event = Completed if record.task.is_completed else Failed
    session.report(event(task=record.task))
