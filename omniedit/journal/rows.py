"""The journal's rows as values, and back."""

import json
from collections.abc import Mapping
from pathlib import Path
from sqlite3 import Row
from typing import Final, NamedTuple

from omniedit.models import (
    Record,
    SavedFile,
    Sound,
    Task,
    TaskError,
    TaskStatus,
    VideoFacts,
)

_MODEL_BEFORE: Final = "gemini-omni-flash-video-edit"
"""Of attempts from before their model was recorded, when there was no other."""
_COLUMNS: Final = """
    a.request_id, a.identity, a.state, a.video, a.prompt, a.body, a.body_digest,
    a.error as refusal, a.clock_offset_s, a.clip_sha256, a.start_s, a.end_s, a.parent,
    a.model as chosen_model, a.clip,
    coalesce(a.origin, t.origin) as origin,
    coalesce(a.created_at, t.created_at, t.recorded_at) as begun_at,
    t.task_id, t.status, t.model, t.created_at, t.estimated_s, t.credits_reserved, t.credits_used,
    t.result_urls, t.error, t.completed_after, t.is_adopted, t.is_result_gone, t.recorded_at
"""
ATTEMPTED: Final = f"""
    select {_COLUMNS}, a.rowid as place from attempts a left join tasks t using (task_id)
"""  # noqa: S608 - constants only
ADOPTED: Final = f"""
    select {_COLUMNS}, 0 as place from tasks t left join attempts a using (task_id)
    where t.is_adopted = 1 and a.request_id is null
"""  # noqa: S608 - constants only
RECORDS: Final = f"select * from ({ATTEMPTED} union all {ADOPTED})"  # noqa: S608 - constants only


class Call(NamedTuple):
    """The newest `submit` or `edit` of a context; None stands for a batch."""

    request_id: str | None


class Recovery(NamedTuple):
    """What became of a damaged journal."""

    damaged_file: Path  # set aside, as it was
    rows_restored: Mapping[str, int]  # by table
    unreadable_pages: int
    missing_ids: tuple[str, ...]  # request and task IDs of rows that are known to be lost

    @property
    def summary(self) -> str:
        """What was restored and what was not, in one sentence."""
        attempts, tasks = self.rows_restored["attempts"], self.rows_restored["tasks"]
        lost = "nothing is lost" if self.is_complete else "some could not be read"
        return (
            f"{attempts} submissions and {tasks} tasks were restored, {lost};"
            f" the damaged file was set aside as {self.damaged_file}"
        )

    @property
    def is_complete(self) -> bool:
        """Whether every row was restored."""
        return not self.unreadable_pages and not self.missing_ids


def readable(value: str | bytes | None) -> str | None:
    """Return a stored text; bytes are a file name that is not valid UTF-8 (PEP 383)."""
    return value.decode(errors="surrogateescape") if isinstance(value, bytes) else value


def storable(text: str) -> str | bytes:
    """Return a text in a form that SQLite takes; file names need not be UTF-8 (PEP 383)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="surrogateescape")
    return text


def parse_file(row: Row) -> SavedFile:
    """Return a saved file."""
    return SavedFile(
        path=readable(row["path"]) or "",
        size_bytes=row["size_bytes"],
        sha256=row["sha256"],
        is_elsewhere=bool(row["is_elsewhere"]),
        facts=parse_facts(row["facts"]),
        sound=Sound(row["sound"] or Sound.NEW),
        served_path=readable(row["served_path"]),
    )


def is_here(file: SavedFile) -> bool:
    """Return whether a file has its name and size on this machine."""
    try:
        return Path(file.path).stat().st_size == file.size_bytes
    except (OSError, ValueError):
        return False


def parse_task(row: Row) -> Task:
    """Return a task; progress is not recorded."""
    return Task(
        task_id=row["task_id"],
        status=row["status"] or None,
        progress=100 if row["status"] == TaskStatus.COMPLETED else None,
        model=row["model"],
        created_at=row["created_at"],
        estimated_s=row["estimated_s"],
        credits_reserved=row["credits_reserved"],
        credits_used=row["credits_used"],
        result_urls=tuple(json.loads(row["result_urls"])),
        error=parse_error(row["error"]),
    )


def chosen_model(row: Row) -> str | None:
    """Return the model that an attempt asked for; None of a task that was adopted."""
    chosen: str | None = row["chosen_model"]
    return _MODEL_BEFORE if chosen is None and row["request_id"] is not None else chosen


def parse_facts(text: str | None) -> VideoFacts | None:
    """Return a video's facts that were stored as JSON."""
    if not text:
        return None
    stored = json.loads(text)
    return VideoFacts(**stored | {"marks": tuple(stored["marks"])})


def render_json(value: TaskError | VideoFacts | None) -> str | None:
    """Return an error or a video's facts as JSON."""
    return json.dumps(value._asdict()) if value else None


def parse_error(text: str | None) -> TaskError | None:
    """Return an error that was stored as JSON."""
    return TaskError(**json.loads(text)) if text else None


def parse_recovery(row: Row) -> Recovery:
    """Return a recovery that is not settled."""
    return Recovery(
        damaged_file=Path(readable(row["damaged_file"]) or ""),
        rows_restored=json.loads(row["rows_restored"]),
        unreadable_pages=row["unreadable_pages"],
        missing_ids=tuple(json.loads(row["missing_ids"])),
    )


def is_news(known: Record, task: Task, completed_after: float | None) -> bool:
    """Return whether a poll changes what is known about a task; progress does not count."""
    before = known.task
    return (
        before is None
        or (before.status, before.error) != (task.status, task.error)
        or (completed_after is not None and known.completed_after is None)
        or bool(set(task.result_urls) - set(before.result_urls))
        or (task.credits_used is not None and before.credits_used is None)
    )
