"""`wait` and `download`: waiting for tasks to end, and saving their results in a worker pool."""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Generic, Self, TypeAlias, TypeVar

from omniedit.edits.poller import Poller
from omniedit.edits.reads import TaskOutcome, refresh
from omniedit.edits.save import save, save_local_copy, with_links
from omniedit.edits.session import Session
from omniedit.edits.targets import Destination, check_destination
from omniedit.errors import (
    AuthenticationError,
    CredentialsError,
    Interrupted,
    OmniEditError,
    ResultGoneError,
)
from omniedit.models import Record, task_name
from omniedit.system import THIS_SYSTEM

T = TypeVar("T")
Step: TypeAlias = Callable[[], T]


def follow(
    session: Session,
    records: Sequence[Record],
    destination: Destination | None,
    *,
    timeout_s: float,
    fail_fast: bool = False,
) -> Iterator[TaskOutcome]:
    """Yield each task when it has ended and, if there is a destination, been saved.

    Several results are saved in parallel, while other tasks are still running.

    Raises:
        OmniEditError: If the destination cannot be written, or the key is not accepted.
    """
    if destination is not None:
        destination.check_count(len(records))
        for record in records:
            check_destination(session, record, destination)
    deadline = session.monotonic() + timeout_s
    poller = Poller(session, timeout_s=timeout_s)
    for record in records:
        poller.add(record, deadline=deadline)
    finish = partial(_finish, session, destination, deadline)
    outcomes = (
        map(finish, poller.to_the_end())
        if len(records) == 1 or destination is None
        else _finish_in_parallel(session, poller, finish)
    )
    for record, error in outcomes:
        yield record, error
        if error is not None and fail_fast:
            return


def download_each(
    session: Session, found: Sequence[TaskOutcome], destination: Destination
) -> Iterator[TaskOutcome]:
    """Save the result of each task; yield the task once it is saved, or with the error."""
    destination.check_count(len(found))
    for record, error in found:
        yield download(session, record, destination) if error is None else (record, error)


def download(session: Session, record: Record, destination: Destination) -> TaskOutcome:
    """Save the result of a task, from a whole copy on this machine or else from the service.

    Returns:
        The record as last read, with the error if its result could not be saved.

    Raises:
        CredentialsError: If there is no usable key, so that other tasks would fail in the same way.
        AuthenticationError: If the key is not accepted.
    """
    try:
        check_destination(session, record, destination)
        target = destination.target(record.video, record.task_id)
        saved = None if target is None else save_local_copy(session, record, target)
        if saved is not None:
            return saved, None
        record = refresh(session, record)
        return save(session, record, target), None
    except (CredentialsError, AuthenticationError):
        raise
    except OmniEditError as failure:
        return record, failure.about(task_id=record.task_id, request_id=record.request_id)


class WorkerPool(Generic[T]):
    """Runs steps in the order they are given, at most `size` at a time.

    Its threads are daemons: a command can end without waiting for a transfer that can be resumed,
    or for a reply that the journal records as outstanding.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._workers = 0
        self._steps: queue.SimpleQueue[Step[T] | None] = queue.SimpleQueue()
        self._outcomes: queue.SimpleQueue[T | BaseException] = queue.SimpleQueue()
        self.busy = 0
        """The number of steps whose outcome has not been returned yet."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(queue.Empty):
            while True:
                self._steps.get_nowait()
        for _worker in range(self._workers):
            self._steps.put(None)

    def submit(self, step: Step[T]) -> None:
        """Run a step in a worker thread as soon as one is free."""
        self.busy += 1
        self._steps.put(step)
        if self._workers < min(self.busy, self._size):
            self._workers += 1
            threading.Thread(target=self._work, daemon=True).start()

    def next_outcome(self, *, timeout_s: float | None) -> T | None:
        """Return the next outcome of any step; None if there is none within the time.

        Raises:
            BaseException: The exception that the step raised.
        """
        for wait_s in THIS_SYSTEM.waits(timeout_s):
            with suppress(queue.Empty):
                outcome = self._outcomes.get(timeout=wait_s)
                break
        else:
            return None
        self.busy -= 1
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def _work(self) -> None:
        while (step := self._steps.get()) is not None:
            try:
                outcome: T | BaseException = step()
            except (Exception, Interrupted) as error:  # noqa: BLE001 - raised again by `next_outcome`
                outcome = error
            self._outcomes.put(outcome)


def _finish_in_parallel(
    session: Session, poller: Poller, finish: Callable[[TaskOutcome], TaskOutcome]
) -> Iterator[TaskOutcome]:
    with WorkerPool[TaskOutcome](session.policy.transfers_at_once) as pool:
        while poller or pool.busy:
            outcome = pool.next_outcome(timeout_s=poller.rest_s() if poller else None)
            if outcome is not None:
                yield outcome
            for ended in poller.poll() if poller else ():
                pool.submit(partial(finish, ended))


def _finish(
    session: Session, destination: Destination | None, deadline: float, ended: TaskOutcome
) -> TaskOutcome:
    record, error = ended
    try:
        if error is not None:
            raise error
        if destination is not None:
            target = destination.target(record.video, record.task_id)
            return save(session, record, target, deadline=deadline), None
        record = with_links(session, record, deadline=session.with_grace(deadline))
        if record.is_result_gone:
            # Do not hand out a link that is known to be dead.
            msg = f"the result of {task_name(record.task_id)} is gone"
            raise ResultGoneError(msg)
    except OmniEditError as failure:
        return record, failure.about(task_id=record.task_id, request_id=record.request_id)
    return record, None
