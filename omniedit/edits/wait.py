"""`wait` and `download`: waiting for tasks to end, and saving their results."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

from omniedit.edits.poller import Poller
from omniedit.edits.reads import TaskOutcome, refresh
from omniedit.edits.save import check_destination, save, save_local_copy, task_with_links
from omniedit.edits.session import Session
from omniedit.edits.targets import Destination
from omniedit.edits.workers import WorkerPool
from omniedit.errors import (
    AuthenticationError,
    CredentialsError,
    OmniEditError,
    ResultGoneError,
)
from omniedit.models import Record, task_name


class FollowOptions(NamedTuple):
    """How to wait for tasks, and where to save their results."""

    destination: Destination | None  # None: do not save them
    timeout_s: float
    fail_fast: bool = False


def follow(
    session: Session, records: Sequence[Record], options: FollowOptions
) -> Iterator[TaskOutcome]:
    """Yield each task when it has ended and, if there is a destination, been saved.

    Several results are saved in parallel, while other tasks are still running.

    Raises:
        OmniEditError: If the destination cannot be written, or the key is not accepted.
    """
    destination = options.destination
    if destination is not None:
        destination.check_count(len(records))
        for record in records:
            check_destination(session, record, destination)
    deadline = session.monotonic() + options.timeout_s
    poller = Poller(session, timeout_s=options.timeout_s)
    for record in records:
        poller.add(record, deadline=deadline)
    outcomes = (
        (_finish(session, ended, options, deadline) for ended in poller.to_the_end())
        if len(records) == 1 or destination is None
        else _finish_in_parallel(session, poller, options, deadline)
    )
    for record, error in outcomes:
        yield record, error
        if error is not None and options.fail_fast:
            return


def download_each(
    session: Session,
    found: Sequence[TaskOutcome],
    destination: Destination,
) -> Iterator[TaskOutcome]:
    """Save the result of each task; yield the task once it is saved, or with the error.

    Raises:
        CredentialsError: If there is no usable key.
        AuthenticationError: If the key is not accepted.
    """
    destination.check_count(len(found))
    for record, error in found:
        yield download(session, record, destination) if error is None else (record, error)


def download(session: Session, record: Record, destination: Destination) -> TaskOutcome:
    """Save the result of a task, from a whole copy on this machine or else from the service.

    Returns:
        The record as last read, with the error if its result could not be saved.

    Raises:
        CredentialsError: If there is no usable key.
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
        # Other tasks would fail in the same way.
        raise
    except OmniEditError as failure:
        return record, failure.about(task_id=record.task_id, request_id=record.request_id)


def _check_not_gone(record: Record) -> None:
    """Refuse to hand out a link that is known to be dead.

    Raises:
        ResultGoneError: If the link failed earlier.
    """
    if record.is_result_gone:
        msg = f"the result of {task_name(record.task_id)} is gone"
        raise ResultGoneError(msg)


def _finish_in_parallel(
    session: Session, poller: Poller, options: FollowOptions, deadline: float
) -> Iterator[TaskOutcome]:
    with WorkerPool[TaskOutcome](session.policy.transfers_at_once) as pool:
        while poller or pool.busy:
            outcome = pool.next_outcome(timeout_s=poller.rest_s() if poller else None)
            if outcome is not None:
                yield outcome
            for ended in poller.poll() if poller else ():
                pool.submit(partial(_finish, session, ended, options, deadline))


def _finish(
    session: Session, ended: TaskOutcome, options: FollowOptions, deadline: float
) -> TaskOutcome:
    record, error = ended
    try:
        if error is not None:
            raise error
        if options.destination is None:
            latest = max(deadline, session.monotonic() + session.policy.grace_s)
            record = record.with_task(task_with_links(session, record, deadline=latest))
            _check_not_gone(record)
        else:
            target = options.destination.target(record.video, record.task_id)
            record = save(session, record, target, deadline=deadline)
    except OmniEditError as failure:
        return record, failure.about(task_id=record.task_id, request_id=record.request_id)
    return record, None
