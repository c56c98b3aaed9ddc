"""Journals with something in them."""

from pathlib import Path

from omniedit.journal import Attempt, Journal
from omniedit.models import EditRequest, Task

ORIGIN = "https://api.evolink.ai"


def add_task(
    folder: Path, task_id: str, *, prompt: str, status: str = "processing", now: float = 1000.0
) -> None:
    """Record a task as if it had been submitted from here."""
    with Journal(folder, clock=lambda: now) as journal:
        journal.record_attempt(attempt(f"request-{task_id}", prompt=prompt))
        journal.record_accepted(
            f"request-{task_id}", Task(task_id=task_id, status=status), origin=ORIGIN
        )


def attempt(request_id: str, *, prompt: str) -> Attempt:
    """Return a submission that is about to be sent."""
    return Attempt(
        request_id=request_id,
        origin=ORIGIN,
        identity=None,
        request=EditRequest(video="https://example.com/clip.mp4", prompt=prompt),
        body=b"{}",
        body_digest=None,
        context="user:0",
    )
