"""Following tasks until they end, with few polls and little delay.

Every poll makes the gateway ask the provider, so polls are placed when news is likely: once early,
because refusals come in the first seconds; then close to the end that the progress predicts, as
long as it is credible; otherwise at a steady interval. `python -m tests.benchmarks polling`
compares this policy with a fixed interval in a simulation.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple, TypeAlias

from omniedit.edits.reads import TaskOutcome, may_lag, record_forgotten
from omniedit.edits.session import Session
from omniedit.errors import (
    AuthenticationError,
    EndpointMissingError,
    NotConnectedError,
    OmniEditError,
    QuotaError,
    RateLimitedError,
    ServerError,
    TaskNotFoundError,
    WaitTimeoutError,
)
from omniedit.events import Completed, Failed, Progressed, Retrying, Stalled
from omniedit.models import BATCH_SIZE, Record, Task, TaskStatus, task_name
from omniedit.policy import Policy, backoff_s, is_transient

_JITTER: Final = 0.1
"""The share of an interval that is random."""
_COARSE_STEP: Final = 5
_MISSED_PERCENT: Final = 5.0
"""Progress that did not move although it should have moved this far is no longer credible."""
_FULL: Final = 100
_SURELY_OVER_S: Final = 0.05
_ROUND_PER_TASK_S: Final = 1 / BATCH_SIZE
_MOST_TROUBLES: Final = 2
"""After this many unreadable tasks in a row, the rest is put off until the next round."""
_MOST_FAILED_ROUNDS: Final = 3
"""After this many failed rounds in a row, the batch read itself may be at fault."""

_Answer: TypeAlias = Task | OmniEditError | None
"""The service's answer about a task; None if it was not asked."""


class Snapshot(NamedTuple):
    """The state of a task as of the latest poll."""

    elapsed_s: float  # since the task was created
    estimated_s: float | None
    progress: int | None  # per cent
    unchanged_s: float  # since progress or status last moved


@dataclass(slots=True, kw_only=True)
class _Followed:
    """One task that is being followed."""

    record: Record  # as of the latest poll with a known status
    latest: Record  # as of the latest poll
    began_at: float  # monotonic, when the task was created
    due_at: float  # monotonic, when the next poll is due
    deadline: float  # monotonic
    moved_at: float  # monotonic, when progress or status last changed
    may_join: bool = True  # may be polled a little early, together with others
    polled_at: float = -math.inf  # monotonic, when the latest poll ended
    stalls_reported: int = 0
    failures: int = 0  # single reads that failed, in a row
    unrecognized: int = 0  # polls that showed an unknown status, in a row
    last_unfinished_at: float | None = None  # Unix time
    trouble: str | None = None  # why the latest poll failed

    @property
    def task(self) -> Task:
        """The task as of the latest poll with a known status."""
        if self.record.task is None:  # pragma: no cover - only tasks are followed
            raise AssertionError
        return self.record.task

    @property
    def task_id(self) -> str:
        """The task's ID."""
        return self.task.task_id

    def snapshot(self, now: float) -> Snapshot:
        """Return the state of the task at a monotonic instant."""
        return Snapshot(
            elapsed_s=now - self.began_at,
            estimated_s=self.task.estimated_s,
            progress=self.task.progress,
            unchanged_s=now - self.moved_at,
        )

    def update(self, task: Task, now: float) -> bool:
        """Note what a poll showed; return whether the journal needs to record it."""
        before = self.task
        if task.status not in set(TaskStatus):
            self.latest = self.record.with_task(task)
            self.unrecognized += 1
            return False
        self.unrecognized = 0
        if (task.status, task.progress) != (before.status, before.progress):
            self.moved_at = now
            self.stalls_reported = 0
        if not task.has_failed and (before.progress or 0) > (task.progress or 0):
            task = task._replace(progress=before.progress)
        record = self.record.with_task(task)
        if task.is_terminal and self.last_unfinished_at is not None:
            record = record._replace(completed_after=self.last_unfinished_at)
        self.record = self.latest = record
        return task.status != before.status or task.is_terminal


class Poller:
    """Follows tasks until each has ended or timed out.

    Args:
        timeout_s: How long to wait for each task.
    """

    def __init__(self, session: Session, *, timeout_s: float) -> None:
        self._session = session
        self._timeout_s = timeout_s
        self._followed: dict[str, _Followed] = {}
        self._failures = 0  # rounds that failed, in a row
        self._has_batch_read = True
        self._quiet_until = 0.0  # monotonic; a rate limit applies to every poll
        self._round_at = 0.0  # monotonic, the earliest time of the next round

    def __len__(self) -> int:
        """Return how many tasks are still followed."""
        return len(self._followed)

    def add(self, record: Record, *, is_fresh: bool = False, deadline: float | None = None) -> None:
        """Start to follow a record's task, unless it is followed already.

        The first poll of a fresh one, just submitted, can wait a little. Without a deadline, which
        several tasks may share, the poller's timeout begins now.
        """
        session = self._session
        now = session.monotonic()
        # The creation time of a task submitted elsewhere is by the service's clock, which may be
        # ahead of this machine's.
        age_s = max(0.0, session.now() - record.created_at)
        followed = _Followed(
            record=record,
            latest=record,
            began_at=now - age_s,
            due_at=now,
            deadline=now + self._timeout_s if deadline is None else deadline,
            moved_at=now,
        )
        if is_fresh:
            estimated_s = followed.task.estimated_s
            rest_s = self._next_poll_s(Snapshot(0.0, estimated_s, progress=None, unchanged_s=0.0))
            followed.due_at = now + rest_s
            followed.may_join = rest_s <= session.policy.early_poll_s
        self._followed.setdefault(followed.task_id, followed)

    def rest_s(self) -> float:
        """Return the seconds until the next poll is due or the next deadline passes."""
        return max(0.0, self._next_round_at - self._session.monotonic())

    @property
    def _next_round_at(self) -> float:
        due_at = min(followed.due_at for followed in self._followed.values())
        deadline = min(followed.deadline for followed in self._followed.values())
        return min(max(due_at, self._quiet_until, self._round_at), deadline)

    def poll(self) -> Iterator[TaskOutcome]:
        """Poll every task that is due about now; yield those that ended or timed out.

        Raises:
            AuthenticationError: If the key is no longer accepted, so that nothing can be read.
            QuotaError: If the quota of the key no longer allows reads.
        """
        now = self._session.monotonic()
        late = [followed for followed in self._followed.values() if followed.deadline <= now]
        yield from self._poll(self._due(now))
        for followed in late:
            if self._followed.pop(followed.task_id, None) is not None:
                yield followed.latest, self._out_of_time(followed)

    def to_the_end(self) -> Iterator[TaskOutcome]:
        """Poll until no task is left; yield each task as it ends or times out; see `poll`."""
        while self._followed:
            if rest_s := self.rest_s():
                self._session.sleep(rest_s)
            yield from self.poll()

    def _due(self, now: float) -> list[_Followed]:
        """Return the tasks to poll now: once one is due, those due soon join its request."""
        if now < self._next_round_at:
            return []
        slack_s = max(self._session.policy.shortest_poll_s / 2, len(self) * _ROUND_PER_TASK_S)
        return [
            each
            for each in self._followed.values()
            if each.due_at <= now + (slack_s if each.may_join else 0.0)
            or each.polled_at < each.deadline <= now
        ]

    def _poll(self, due: Sequence[_Followed]) -> Iterator[TaskOutcome]:
        session = self._session
        self._round_at = session.monotonic() + len(due) * _ROUND_PER_TASK_S
        for start in range(0, len(due), BATCH_SIZE):
            chunk = due[start : start + BATCH_SIZE]
            try:
                answers = self._read(chunk)
            except OmniEditError as error:
                if not is_transient(error):
                    error.about(task_id=chunk[0].task_id)
                    raise
                self._failures += 1
                self._put_off(error, chunk, self._failures)
                if session.monotonic() < self._quiet_until:
                    return
                continue
            finally:
                now = session.monotonic()
                for each in chunk:
                    each.polled_at = now
            self._failures = 0
            news = [
                (followed.task, followed.last_unfinished_at)
                for followed, answer in answers
                if isinstance(answer, Task) and followed.update(answer, now)
            ]
            # Record a reply as a whole, before any of it is reported.
            session.write_journal(
                partial(session.journal.record_tasks, news, origin=session.origin)
            )
            for followed, answer in answers:
                outcome = self._report_answer(followed, answer)
                if outcome is not None:
                    del self._followed[followed.task_id]
                    yield outcome

    def _report_answer(self, followed: _Followed, answer: _Answer) -> TaskOutcome | None:
        """Report what a poll showed of one task; return its outcome, or None to keep following."""
        session = self._session
        record = followed.record
        if isinstance(answer, Task):
            self._report(followed)
            return (record, None) if followed.task.is_terminal else None
        is_missing = isinstance(answer, TaskNotFoundError)
        if answer is None or (is_missing and may_lag(session, record)):
            followed.due_at = session.monotonic() + session.policy.shortest_poll_s
            return None
        if isinstance(answer, TaskNotFoundError):
            return record, record_forgotten(session, record, answer)
        if not is_transient(answer):
            return record, answer
        followed.failures += 1
        self._put_off(answer, [followed], followed.failures)
        return None

    def _read(self, chunk: Sequence[_Followed]) -> list[tuple[_Followed, _Answer]]:
        """Return the service's answer for each task, through one request for several if possible.

        Raises:
            OmniEditError: If the service answers for none of them.
        """
        deadline = max(each.deadline for each in chunk)
        if deadline <= self._session.monotonic():
            # A last poll at the deadline still gets a moment for its reply.
            deadline = self._session.a_moment_from_now()
        found: Mapping[str, Task] = self._read_batch(chunk, deadline) if len(chunk) > 1 else {}
        # A task missing from the batch reply is read alone before it counts as unknown.
        answers: list[tuple[_Followed, _Answer]] = []
        troubles = 0
        for each in chunk:
            answer: _Answer = found.get(each.task_id)
            if answer is None and troubles < _MOST_TROUBLES:
                answer = self._read_one(each.task_id, deadline)
            if isinstance(answer, OmniEditError) and is_transient(answer):
                troubles += 1
            elif answer is not None:
                troubles = 0
            answers.append((each, answer))
        return answers

    def _read_batch(self, chunk: Sequence[_Followed], deadline: float) -> Mapping[str, Task]:
        """Return what a batch read says of some tasks; empty if the service has no batch read.

        Raises:
            OmniEditError: If the service does not answer.
        """
        if not self._has_batch_read:
            return {}
        try:
            return self._session.service.get_tasks(
                [each.task_id for each in chunk], deadline=deadline
            )
        except EndpointMissingError:
            self._has_batch_read = False
        except ServerError:
            # If a single task can be read, only the batch read is broken. Each round probes another
            # task, because one of them may be unreadable itself.
            probed = chunk[self._failures % len(chunk)].task_id
            if self._failures < _MOST_FAILED_ROUNDS or not isinstance(
                self._read_one(probed, deadline), Task
            ):
                raise
            self._has_batch_read = False
        return {}

    def _read_one(self, task_id: str, deadline: float) -> Task | OmniEditError:
        """Return what the service says of one task, or the error if it concerns only this task.

        Raises:
            OmniEditError: If reading any other task would fail in the same way.
        """
        try:
            return self._session.service.get_task(task_id, deadline=deadline)
        except (AuthenticationError, QuotaError, RateLimitedError, NotConnectedError):
            raise
        except OmniEditError as error:
            return error.about(task_id=task_id)

    def _put_off(self, error: OmniEditError, chunk: Sequence[_Followed], failures: int) -> None:
        """Put off the next poll of some tasks, for longer the more failures there were in a row."""
        session = self._session
        rest_s = backoff_s(
            failures,
            retry_after_s=error.retry_after_s,
            jitter=session.jitter,
            policy=session.policy,
        )
        rest_s = max(rest_s, session.policy.shortest_poll_s)
        due_at = session.monotonic() + rest_s
        if isinstance(error, RateLimitedError):
            self._quiet_until = due_at
        for followed in chunk:
            followed.due_at = due_at
            followed.trouble = error.message
        task_id = chunk[0].task_id if len(chunk) == 1 else None
        session.report_retry(task_id, error.message, rest_s, failures)

    def _report(self, followed: _Followed) -> None:
        session = self._session
        task = followed.task
        now = session.monotonic()
        followed.trouble = None
        followed.failures = 0
        followed.last_unfinished_at = session.now()
        snapshot = followed.snapshot(now)
        rest_s = max(self._next_poll_s(snapshot), len(self._followed) * _ROUND_PER_TASK_S)
        followed.due_at = now + rest_s
        followed.may_join = True
        if followed.unrecognized:
            status = followed.latest.status
            shown = f"an unknown status: {status}" if status else "no status"
            session.report(
                Retrying(
                    message=f"the service reports {shown}",
                    delay_s=rest_s,
                    attempt=followed.unrecognized,
                    task_id=followed.task_id,
                    record=followed.latest,
                )
            )
        else:
            left_s = None if task.is_terminal else remaining_s(snapshot)
            session.report(
                Progressed(record=followed.record, elapsed_s=snapshot.elapsed_s, remaining_s=left_s)
            )
        report_end(session, followed.record)
        if task.is_terminal:
            return
        stalled_after_s = session.policy.stalled_after_s * (followed.stalls_reported + 1)
        if snapshot.unchanged_s >= stalled_after_s:
            followed.stalls_reported += 1
            session.report(Stalled(task_id=followed.task_id, since_s=snapshot.unchanged_s))

    def _next_poll_s(self, snapshot: Snapshot) -> float:
        session = self._session
        return next_poll_s(
            snapshot, session.policy, is_watched=session.is_watched, jitter=session.jitter
        )

    def _out_of_time(self, followed: _Followed) -> WaitTimeoutError:
        task = followed.task
        progress = "" if task.progress is None else f" at {task.progress} %"
        trouble = "" if followed.trouble is None else f" when last seen ({followed.trouble})"
        msg = (
            f"{task_name(task.task_id)} is not finished after {math.ceil(self._timeout_s)} s:"
            f" {followed.latest.shown_status}{progress}{trouble}"
        )
        return WaitTimeoutError(msg, task_id=task.task_id)


def report_end(session: Session, record: Record) -> None:
    """Tell the observers how a task ended, if it has."""
    if record.is_completed:
        session.report(Completed(record))
    elif record.has_failed:
        session.report(Failed(record))


def remaining_s(snapshot: Snapshot) -> float | None:
    """Return the seconds that remain by progress and estimate; None if neither can tell.

    One per cent after six seconds does not mean ten minutes, so at first the estimate weighs more.
    """
    by_progress_s = _left_by_progress_s(snapshot)
    by_estimate_s = None
    if snapshot.estimated_s is not None:
        by_estimate_s = max(0.0, snapshot.estimated_s - snapshot.elapsed_s)
    if by_progress_s is None or snapshot.progress is None:
        return by_estimate_s or None
    if by_estimate_s is None:
        return by_progress_s
    share = snapshot.progress / _FULL
    return share * by_progress_s + (1 - share) * by_estimate_s


def next_poll_s(
    snapshot: Snapshot, policy: Policy, *, is_watched: bool, jitter: Callable[[], float]
) -> float:
    """Return the seconds to rest before the next poll; fewer if a progress bar is watched."""
    chance = 1 - _JITTER * jitter()
    estimated_s = snapshot.estimated_s or 0.0
    if not snapshot.elapsed_s and estimated_s < policy.early_poll_s + policy.shortest_poll_s:
        # A task this short is polled once, when it should be done, rather than early as well.
        return max(policy.early_poll_s * chance, estimated_s + _SURELY_OVER_S)
    # Well below the earliest time of the early poll, so that rounding never causes a second one.
    if snapshot.elapsed_s < policy.early_poll_s * (1 - 2 * _JITTER):
        return policy.early_poll_s * chance - snapshot.elapsed_s
    cap_s = policy.longest_watched_poll_s if is_watched else policy.longest_unwatched_poll_s
    return max(policy.shortest_poll_s, min(cap_s, _interval_s(snapshot, policy)) * chance)


def _left_by_progress_s(snapshot: Snapshot) -> float | None:
    """Return the seconds that remain if progress continues at the same rate."""
    if snapshot.progress is None or not 0 < snapshot.progress < _FULL:
        return None
    return snapshot.elapsed_s * (_FULL - snapshot.progress) / snapshot.progress


def _interval_s(snapshot: Snapshot, policy: Policy) -> float:
    steady_s = policy.steady_poll_s
    progress = snapshot.progress
    if progress is None or not 0 < progress < _FULL:
        return steady_s
    if snapshot.unchanged_s * progress / snapshot.elapsed_s > _MISSED_PERCENT:
        return steady_s
    left_s = _left_by_progress_s(snapshot) or 0.0
    # Aim just short of the end if it is near; farther away the prediction is too uncertain.
    interval_s = min(0.95 * left_s + 0.5, max(steady_s, 0.6 * left_s))
    # If progress moves in steps of 5, 10 or 25 %, it says little about the time in between.
    return min(interval_s, steady_s) if progress % _COARSE_STEP == 0 else interval_s
