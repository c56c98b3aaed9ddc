"""Reading tasks from the service: one, many at once, or the account's whole list."""

import heapq
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Final, TypeAlias

from omniedit.edits.session import Session
from omniedit.errors import (
    OFFLINE_CODE,
    EndpointMissingError,
    Hint,
    OmniEditError,
    ResultGoneError,
    TaskNotFoundError,
    UnavailableError,
)
from omniedit.models import BATCH_SIZE, Record, Task, task_name

TaskOutcome: TypeAlias = tuple[Record, OmniEditError | None]
"""A task, and the error if it could not be read, followed or saved."""

_REPLICA_LAG_S: Final = 60.0
"""How long after its submission a task may be unknown to a replica of the service."""


def read_task(session: Session, record: Record, *, deadline: float | None = None) -> Task:
    """Return a record's task as the service now reports it, and update it in the journal.

    Raises:
        ResultGoneError: If the task was completed and the service no longer knows it.
        TaskNotFoundError: If the service does not know the task.
        UnavailableError: If the service does not answer, or does not know the task yet.
    """
    task_id = str(record.task_id)

    def read() -> Task:
        try:
            return session.service.get_task(task_id, deadline=deadline)
        except TaskNotFoundError as error:
            if not may_lag(session, record):
                raise
            msg = f"{task_name(task_id)} was just submitted, and the service does not know it yet"
            raise UnavailableError(msg, task_id=task_id) from error

    try:
        task = session.retry(deadline=deadline, task_id=task_id).call(read)
    except (TaskNotFoundError, UnavailableError) as error:
        missing = error if isinstance(error, TaskNotFoundError) else error.__cause__
        if not isinstance(missing, TaskNotFoundError):
            raise
        ended = record_forgotten(session, record, missing)
        raise (error if ended is missing else ended) from None
    record_seen(session, [task])
    return task


def record_seen(session: Session, tasks: Iterable[Task]) -> None:
    """Record the tasks that were just read, as far as the journal knows them."""
    seen = [(task, None) for task in tasks]
    session.write_journal(lambda: session.journal.record_tasks(seen, origin=session.origin))


def may_lag(session: Session, record: Record) -> bool:
    """Return whether a task was submitted so recently that the service may not know it yet."""
    is_ours = record.request_id is not None and _is_of_this_service(session, record)
    return is_ours and 0 <= session.now() - record.created_at < _REPLICA_LAG_S


def record_forgotten(session: Session, record: Record, error: TaskNotFoundError) -> OmniEditError:
    """Return the error for a task unknown to the service; record a completed one of ours as gone."""
    from omniedit.edits.requests import is_own_attempt  # noqa: PLC0415 - rarely needed

    if not _is_of_this_service(session, record):
        name = task_name(record.task_id)
        error.message += f": {name} was submitted at {record.origin}, not at {session.origin}"
        error.hint = "use the base URL that it was submitted with"
        return error
    if not (record.is_completed and is_own_attempt(session, record.request_id)):
        return error
    # From now on `download --all` skips it; naming the task asks the service again.
    session.write_journal(lambda: session.journal.record_result_gone(str(record.task_id)))
    msg = f"the service no longer knows {task_name(record.task_id)}, which was completed"
    return ResultGoneError(msg, task_id=record.task_id)


def refresh(session: Session, record: Record, *, deadline: float | None = None) -> Record:
    """Return a record with its task as the service now reports it.

    If the service is unavailable, return the record unchanged: its known link may still work.

    Raises:
        OmniEditError: As `read_task`, but `UnavailableError` only if no link is known.
    """
    try:
        return record.with_task(read_task(session, record, deadline=deadline))
    except UnavailableError as error:
        if error.code == OFFLINE_CODE or not record.result_urls:
            raise
        session.warn(f"{error.message}; trying the last known link")
        return record


def read_all(session: Session, records: Sequence[Record]) -> Iterator[TaskOutcome]:
    """Yield each record as the service now reports it, or unchanged with the error.

    Several tasks are read in batches of `BATCH_SIZE` if the service supports it. Failing reads
    share one budget, and once it is used up each further task gets a moment.
    """
    policy = session.policy
    deadline = session.monotonic() + policy.read_budget_s
    for start in range(0, len(records), BATCH_SIZE):
        chunk = records[start : start + BATCH_SIZE]
        found: dict[str, Task] = {}
        if len(chunk) > 1:
            found = _read_batch(session, chunk, deadline=max(deadline, session.a_moment_from_now()))
        if start == 0:
            # The single reads that replace a batch read have some time of their own.
            deadline = max(deadline, session.monotonic() + policy.connect_timeout_s)
        for record in chunk:
            task_id = str(record.task_id)
            latest = max(deadline, session.a_moment_from_now())
            try:
                # A task missing from the batch reply is read alone before it counts as unknown.
                task = found.get(task_id) or read_task(session, record, deadline=latest)
            except OmniEditError as error:
                yield record, error.about(task_id=task_id)
            else:
                yield record.with_task(task), None
                deadline = session.monotonic() + policy.read_budget_s


def read_once(
    session: Session, task_ids: Sequence[str]
) -> tuple[dict[str, Task], OmniEditError | None]:
    """Return tasks as the service now reports them, by ID, and why some could not be read, if so.

    There is a short deadline and no retry: a listing can do without them.
    """
    found: dict[str, Task] = {}
    failure: OmniEditError | None = None
    try:
        for start in range(0, len(task_ids), BATCH_SIZE):
            chunk = task_ids[start : start + BATCH_SIZE]
            for task in _read_chunk(session, chunk):
                if task.task_id in chunk:
                    found[task.task_id] = task
    except OmniEditError as error:
        failure = error
    record_seen(session, found.values())
    return found, failure


def account_tasks(
    session: Session,
    models: Iterable[str],
    *,
    budget_s: float | None = None,
    on_missing: Callable[[str], object] | None = None,
) -> Iterator[Task]:
    """Yield the account's tasks of some models, newest first, page by page.

    Args:
        models: The IDs of the models.
        budget_s: How long to read pages, and to retry one that fails; by default the policy's
            budgets.
        on_missing: Called with a message if a complete list lacks tasks; by default this is a
            warning.

    Raises:
        EndpointMissingError: If the service does not offer the list.
        UnavailableError: If there are more pages than the policy's limits allow.
    """
    # Yield each task once, even if the service ignores the model filter.
    seen: set[str] = set()
    warn = on_missing or session.warn
    lists = [_tasks_of_model(session, model, seen, warn, budget_s) for model in models]
    # A task without a creation time may be new: sort it first.
    yield from heapq.merge(*lists, key=lambda task: -(task.created_at or math.inf))


def _is_of_this_service(session: Session, record: Record) -> bool:
    return record.origin in {None, session.origin}


def _read_chunk(session: Session, task_ids: Sequence[str]) -> Iterator[Task]:
    service = session.service
    deadline = session.monotonic() + session.policy.listing_budget_s
    if len(task_ids) > 1:
        with suppress(EndpointMissingError):
            yield from service.get_tasks(task_ids, deadline=deadline).values()
            return
        task_ids = task_ids[: session.policy.listing_reads]
    for task_id in task_ids:
        with suppress(TaskNotFoundError):
            yield service.get_task(task_id, deadline=deadline)


def _tasks_of_model(
    session: Session,
    model: str,
    seen: set[str],
    on_missing: Callable[[str], object],
    budget_s: float | None,
) -> Iterator[Task]:
    policy = session.policy
    listed: set[str] = set()
    deadline = session.monotonic() + (policy.list_budget_s if budget_s is None else budget_s)
    for page_number in count(1):
        # A page asked for in time may still arrive.
        latest = deadline + policy.last_reply_s
        ask = partial(session.service.list_tasks, model=model, page=page_number, deadline=latest)
        page = session.retry(budget_s=budget_s, deadline=deadline).call(ask)
        # A new task pushes others onto the next page, where they appear again.
        tasks = {task.task_id: task for task in page.tasks}
        is_over = tasks.keys() <= listed
        fresh = [tasks[task_id] for task_id in tasks if task_id not in seen]
        listed.update(tasks)
        seen.update(tasks)
        yield from fresh
        if page.total is not None and len(listed) >= page.total:
            return
        if is_over:
            if page.total is not None:
                counted = f"the service counts {page.total} tasks of {model}"
                on_missing(f"{counted} but lists {len(listed)}")
            return
        # A service could keep returning pages of new tasks forever.
        if page_number >= policy.max_list_pages or session.monotonic() >= deadline:
            msg = f"the account's list continues after {len(seen)} tasks"
            raise UnavailableError(msg, hint=Hint("{} reads the newest", "list --remote --limit N"))


def _read_batch(session: Session, records: Sequence[Record], *, deadline: float) -> dict[str, Task]:
    task_ids = [str(record.task_id) for record in records]
    try:
        ask = partial(session.service.get_tasks, task_ids, deadline=deadline)
        found = session.retry(deadline=deadline).call(ask)
    except (EndpointMissingError, TaskNotFoundError, UnavailableError):
        return {}
    record_seen(session, found.values())
    return found
