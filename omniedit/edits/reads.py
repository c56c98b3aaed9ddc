"""Reading the service: one task, many at once, or the account's own list."""

import heapq
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from itertools import count
from typing import Final, NamedTuple

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
from omniedit.models import BATCH_SIZE, MODELS, Record, Task, task_name

_REPLICA_LAG_S: Final = 60.0
"""How long after its submission a task may be unknown to a replica of the service."""


def read_task(
    session: Session,
    task_id: str,
    *,
    known: Record | None = None,
    deadline: float | None = None,
) -> Task:
    """Return the task as the service now reports it, and write it down where it is known here.

    Args:
        task_id: The task's.
        known: What is known of it here.
        deadline: A monotonic instant.

    Raises:
        ResultGoneError: If the service has forgotten it, which was completed.
        TaskNotFoundError: If the service does not know it.
        UnavailableError: If the service does not answer, or does not know it yet.
        ServiceError: If the service refuses.
    """

    def read() -> Task:
        try:
            return session.service.get_task(task_id, deadline=deadline)
        except TaskNotFoundError as error:
            if known is None or not may_lag(session, known):
                raise
            msg = f"{task_name(task_id)} was submitted a moment ago, and is not known there yet"
            raise UnavailableError(msg, task_id=task_id) from error

    try:
        task = session.with_retries(read, deadline=deadline, task_id=task_id)
    except (TaskNotFoundError, UnavailableError) as error:
        missing = error if isinstance(error, TaskNotFoundError) else error.__cause__
        if known is None or not isinstance(missing, TaskNotFoundError):
            raise
        ended = forgotten(session, known, missing)
        raise (error if ended is missing else ended) from None
    session.journalled(lambda: session.journal.record_task(task, origin=session.origin))
    return task


def may_lag(session: Session, record: Record) -> bool:
    """Return whether a task was submitted so lately that the service may not know it yet."""
    is_ours = record.request_id is not None
    return is_ours and 0 <= session.now() - record.created_at < _REPLICA_LAG_S


def forgotten(session: Session, record: Record, error: TaskNotFoundError) -> OmniEditError:
    """Return what it means that the service does not know a task: one that was completed is gone."""
    if record.task is None or not record.task.is_completed:
        return error
    # `download --all` passes it over from now on; who names it asks again.
    session.journalled(lambda: session.journal.record_result_gone(str(record.task_id)))
    msg = f"the service no longer knows {task_name(record.task_id)}, which was completed"
    return ResultGoneError(msg, task_id=record.task_id)


def refresh(session: Session, record: Record, *, deadline: float | None = None) -> Record:
    """Return a record with its task as the service now reports it.

    Where the service is out of reach, the link that the journal holds may still work.

    Raises:
        ResultGoneError: If the service has forgotten a task that was completed.
        OmniEditError: If the service refuses, or there is no such link.
    """
    try:
        return record.with_task(
            read_task(session, str(record.task_id), known=record, deadline=deadline)
        )
    except UnavailableError as error:
        if error.code == OFFLINE_CODE or record.task is None or not record.task.result_urls:
            raise
        session.warn(f"{error.message}; trying the link that is known here")
        return record


def read_all(
    session: Session, records: Sequence[Record]
) -> Iterator[tuple[Record, OmniEditError | None]]:
    """Yield each record as the service now reports it, with what kept it from being read.

    More than one are read fifty at a time where the service offers that.
    """
    for start in range(0, len(records), BATCH_SIZE):
        chunk = records[start : start + BATCH_SIZE]
        found = _read_batch(session, chunk) if len(chunk) > 1 else {}
        for record in chunk:
            task = found.get(str(record.task_id))
            try:
                # One that is missing from a batch is asked for alone before it counts as unknown.
                task = task or read_task(session, str(record.task_id), known=record)
                yield record.with_task(task), None
            except OmniEditError as error:
                yield record, error.about(task_id=record.task_id)


def look_at_open(
    session: Session, *, most: int = BATCH_SIZE
) -> tuple[dict[str, Task], OmniEditError | None]:
    """Return the newest open tasks of this origin as the service now reports them.

    They are asked for once and briefly: what a listing does without is no trouble. The error is
    what kept some from being read.
    """
    found: dict[str, Task] = {}
    failure: OmniEditError | None = None
    task_ids = session.journal.open_task_ids(origin=session.origin, limit=most)
    try:
        for start in range(0, len(task_ids), BATCH_SIZE):
            chunk = task_ids[start : start + BATCH_SIZE]
            for task in _read_once(session, chunk):
                if task.task_id in chunk:
                    found[task.task_id] = task
    except OmniEditError as error:
        failure = error
    seen = [(task, None) for task in found.values()]
    session.journalled(lambda: session.journal.record_tasks(seen, origin=session.origin))
    return found, failure


def _read_once(session: Session, task_ids: Sequence[str]) -> Iterator[Task]:
    service = session.service
    deadline = session.monotonic() + session.policy.look_s
    if len(task_ids) > 1:
        try:
            yield from service.get_tasks(task_ids, deadline=deadline).values()
        except EndpointMissingError:
            task_ids = task_ids[: session.policy.looks]
        else:
            return
    for task_id in task_ids:
        with suppress(TaskNotFoundError):
            yield service.get_task(task_id, deadline=deadline)


def account_tasks(
    session: Session,
    models: Iterable[str],
    *,
    budget_s: float | None = None,
    on_missing: Callable[[str], object] | None = None,
) -> Iterator[Task]:
    """Yield the account's tasks of some models, newest first, page by page.

    Args:
        session: Asks.
        models: Their IDs.
        budget_s: How long to read pages, and to ask again for one that fails; by default as long
            as the policy allows.
        on_missing: Told at the end of a list that it lacks tasks; by default the user is.

    Raises:
        EndpointMissingError: If the service offers no such list.
        UnavailableError: If the list goes on when the time is up.
        ServiceError: If it cannot be read.
    """
    # Should a service not tell models apart, each task is still one.
    seen: set[str] = set()
    tell = on_missing or session.warn
    lists = [_tasks_of_model(session, model, seen, tell, budget_s=budget_s) for model in models]
    # A task of unknown age may be new.
    yield from heapq.merge(*lists, key=lambda task: -(task.created_at or math.inf))


def _tasks_of_model(
    session: Session,
    model: str,
    seen: set[str],
    on_missing: Callable[[str], object],
    *,
    budget_s: float | None,
) -> Iterator[Task]:
    policy = session.policy
    listed: set[str] = set()
    deadline = session.monotonic() + (policy.list_budget_s if budget_s is None else budget_s)
    for page_number in count(1):
        ask = partial(session.service.list_tasks, model=model, page=page_number)
        page = session.with_retries(ask, budget_s=budget_s)
        # A task that arrives meanwhile pushes others onto the next page.
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
                on_missing(f"{counted}, and lists {len(listed)}")
            return
        # Pages with ever new tasks would be read for ever.
        if page_number >= policy.max_list_pages or session.monotonic() > deadline:
            msg = f"the account's list goes on after {len(seen)} tasks"
            raise UnavailableError(msg, hint=Hint("{} reads the newest", "list --remote --limit N"))


class AccountTasks(NamedTuple):
    """Tasks of the account."""

    tasks: Sequence[Task]
    gap: str | None
    """Why the list may lack some: it proves that a task is there, and not that none is."""


def tasks_since(
    session: Session, attempt: Record, *, budget_s: float | None = None
) -> AccountTasks:
    """Return the account's tasks that may have been created by an attempt, or after it.

    Args:
        attempt: Its time is of this machine's clock.
        budget_s: How long to read.

    Raises:
        ServiceError: If the list cannot be read.
    """
    found: list[Task] = []
    gaps: list[str] = []
    models = [attempt.model] if attempt.model else MODELS
    for task in account_tasks(session, models, budget_s=budget_s, on_missing=gaps.append):
        if task.created_at is not None and task.created_at < _oldest_instant(session, attempt):
            break
        found.append(task)
    return AccountTasks(found, gaps[0] if gaps else None)


def render_oldest_instant(session: Session, attempt: Record) -> str:
    """Return from when on `tasks_since` looks for tasks, by the service's clock."""
    return f"{datetime.fromtimestamp(_oldest_instant(session, attempt), UTC):%Y-%m-%d %H:%M} UTC"


def _oldest_instant(session: Session, attempt: Record) -> float:
    if attempt.clock_offset_s is None:
        return attempt.created_at - session.policy.unknown_clock_skew_s
    return attempt.created_at + attempt.clock_offset_s - session.policy.clock_skew_s


def _read_batch(session: Session, records: Sequence[Record]) -> dict[str, Task]:
    task_ids = [str(record.task_id) for record in records]
    try:
        found = session.with_retries(lambda: session.service.get_tasks(task_ids))
    except (EndpointMissingError, TaskNotFoundError, UnavailableError):
        return {}
    seen = [(task, None) for task in found.values()]
    session.journalled(lambda: session.journal.record_tasks(seen, origin=session.origin))
    return found
