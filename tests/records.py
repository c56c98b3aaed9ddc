"""Minimal records for tests that are about something else."""

from typing import Any

from omniedit.models import Record, Task


def record_of(task: Task, **fields: Any) -> Record:
    """Return the record of a task that this machine submitted."""
    record = Record(
        request_id=None, task=task, status=task.status, created_at=0.0, error=task.error
    )
    return record._replace(**fields)
