"""Records, and journals that are filled with them."""

import hashlib
import sqlite3
from pathlib import Path
from typing import Any

from omniedit.journal import JOURNAL_FILE, Journal
from omniedit.models import Record, Task

ORIGIN = "https://api.evolink.ai"


def add_task(
    folder: Path, task_id: str, *, prompt: str, status: str = "processing", now: float = 1000.0
) -> None:
    """Record a task as if it had been submitted from here."""
    with Journal(folder, clock=lambda: now) as journal:
        journal.record_attempt(attempt(f"request-{task_id}", prompt=prompt), context="user:0")
        journal.record_accepted(
            f"request-{task_id}", Task(task_id=task_id, status=status), origin=ORIGIN
        )


def attempt(request_id: str, *, prompt: str, origin: str = ORIGIN, **known: Any) -> Record:
    """Return a submission that is about to be sent."""
    fields: dict[str, Any] = {
        "status": "sending",
        "created_at": 0.0,
        "video": "https://example.com/clip.mp4",
        "body": b"{}",
    }
    return Record(request_id=request_id, task=None, prompt=prompt, origin=origin, **fields | known)


def record_of(task: Task, **fields: Any) -> Record:
    """Return a record of a task about which nothing else is known, apart from these fields."""
    record = Record(
        request_id=None, task=task, status=task.status, created_at=0.0, error=task.error
    )
    return record._replace(**fields)


def add_finished(state: Path, count: int, *, identity: str, folder: Path) -> None:
    """Record edits that ended and were saved; the first has the given identity and a real file."""
    with Journal(state):
        pass
    result = folder / "known.mp4"
    result.write_bytes(b"\0\0\0\x18ftypisom" + bytes(100))
    digest = hashlib.sha256(result.read_bytes()).hexdigest()
    connection = sqlite3.connect(state / JOURNAL_FILE)
    with connection:
        connection.executemany(
            "insert into attempts (request_id, origin, identity, state, video, prompt, body_digest,"
            " created_at, task_id) values (?, ?, ?, 'accepted', ?, 'make it night', 'd', ?, ?)",
            (
                (
                    f"omniedit-{number:032}",
                    ORIGIN,
                    identity if number == 0 else f"{number:064}",
                    f"https://example.com/{number % 1000}.mp4"
                    if number
                    else "https://example.com/clip.mp4",
                    1_757_156_493.0 + 60 * number,
                    f"task-unified-1757156493-{number:08}",
                )
                for number in range(count)
            ),
        )
        connection.executemany(
            "insert into tasks (task_id, origin, status, model, created_at, credits_reserved,"
            " credits_used, result_urls, is_adopted, is_result_gone, recorded_at)"
            " values (?, ?, 'completed', 'gemini-omni-flash-video-edit', ?, 32.0, 31.2, '[]', 0, 0, 0)",
            (
                (f"task-unified-1757156493-{number:08}", ORIGIN, 1_757_156_493.0 + 60 * number)
                for number in range(count)
            ),
        )
        connection.executemany(
            "insert into files (task_id, path, size_bytes, sha256, saved_at) values (?, ?, ?, ?, 0)",
            (
                (
                    f"task-unified-1757156493-{number:08}",
                    str(result if number == 0 else folder / f"{number}.mp4"),
                    result.stat().st_size,
                    digest,
                )
                for number in range(count)
            ),
        )
    connection.close()
