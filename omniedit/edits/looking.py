"""Asking the service once how tasks stand."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from omniedit.edits.ports import Session
from omniedit.edits.retries import with_retries
from omniedit.errors import (
    EndpointMissingError,
    JournalError,
    OmniEditError,
    TaskNotFoundError,
    UnavailableError,
)
from omniedit.models import BATCH_SIZE, Record, Task


def look(session: Session, task_id: str) -> Task:
    """Return the task as the service now reports it, and note it down where it is known here.

    Raises:
        TaskNotFoundError: The service does not know it.
        ServiceError: It says nothing.
    """
    task = with_retries(session, lambda: session.service.get_task(task_id), task_id=task_id)
    journalled(session, lambda: session.journal.record_task(task, origin=session.origin))
    return task


def refresh(session: Session, record: Record) -> Record:
    """Return a record with its task as the service now reports it.

    Where the service is out of reach, the link that the journal holds may still work.

    Raises:
        OmniEditError: The service says no, or there is no such link.
    """
    try:
        return seen(record, look(session, str(record.task_id)))
    except UnavailableError as error:
        if record.task is None or not record.task.result_urls:
            raise
        from omniedit.events import Warned  # noqa: PLC0415 - mostly nothing is to be told

        session.report(Warned(message=f"{error.message}; trying the link that is known here"))
        return record


def look_at_all(
    session: Session, records: Sequence[Record]
) -> Iterator[tuple[Record, OmniEditError | None]]:
    """Yield each record as the service now reports it, with what kept it from being read.

    More than one are read fifty at a time where the service offers that.
    """
    for start in range(0, len(records), BATCH_SIZE):
        chunk = records[start : start + BATCH_SIZE]
        found = _look_at_many(session, chunk) if len(chunk) > 1 else {}
        for record in chunk:
            task = found.get(str(record.task_id))
            try:
                # One that is missing from a batch is asked for alone before it counts as unknown.
                yield seen(record, task or look(session, str(record.task_id))), None
            except OmniEditError as error:
                yield record, error.about(task_id=record.task_id)


def seen(record: Record, task: Task) -> Record:
    """Return a record with a newer state of its task."""
    return replace(record, task=task, status=task.status, error=task.error)


def journalled(session: Session, write: Callable[[], None]) -> None:
    """Write to the journal; a result is saved, and a task read, also where that fails."""
    try:
        write()
    except JournalError as error:
        from omniedit.events import Warned  # noqa: PLC0415 - mostly nothing is to be told

        session.report(Warned(message=error.message))


def _look_at_many(session: Session, records: Sequence[Record]) -> dict[str, Task]:
    task_ids = [str(record.task_id) for record in records]
    try:
        found = with_retries(session, lambda: session.service.get_tasks(task_ids))
    except (EndpointMissingError, TaskNotFoundError, UnavailableError):
        return {}
    looks = [(task, None) for task in found.values()]
    journalled(session, lambda: session.journal.record_tasks(looks, origin=session.origin))
    return found
