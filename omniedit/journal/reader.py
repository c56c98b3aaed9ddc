"""Finding attempts and tasks in the journal."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Row
from typing import Final, Self

from omniedit.journal.database import Database
from omniedit.models import Record, SavedFile, Task, TaskError, TaskStatus, UploadedClip
from omniedit.system.locks import is_held

JOURNAL_FILE: Final = "journal.db"

_COLUMNS: Final = """
    a.request_id, a.identity, a.state, a.video, a.prompt, a.body, a.body_digest,
    a.error as refusal, coalesce(a.origin, t.origin) as origin,
    coalesce(a.created_at, t.created_at, t.recorded_at) as begun_at,
    t.task_id, t.status, t.model, t.created_at, t.estimated_s, t.credits_reserved, t.credits_used,
    t.result_urls, t.error, t.completed_after, t.is_adopted, t.is_result_gone
"""
_RECORDS: Final = f"""
    select * from (
        select {_COLUMNS}, a.rowid as place from attempts a left join tasks t using (task_id)
        union all
        select {_COLUMNS}, 0 as place from tasks t left join attempts a using (task_id)
        where a.request_id is null
    )
"""  # noqa: S608 - no outside text in it


@dataclass(frozen=True, slots=True)
class Call:
    """A `submit` or `edit` of some context; a batch has no single attempt."""

    request_id: str | None


class JournalReader:
    """The journal of one state folder, for reading.

    Every method raises `JournalError` when the file cannot be read, and `JournalDamagedError`
    when it is not sound.

    Args:
        folder: Where it lies, with the locks beside it; None keeps it in memory.
        clock: Unix time.

    Raises:
        JournalError: It cannot be opened.
    """

    def __init__(self, folder: Path | None, *, clock: Callable[[], float] = time.time) -> None:
        self._database = Database(folder / JOURNAL_FILE if folder else None)
        self._locks = folder / "locks" if folder else None
        self._clock = clock

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def is_lasting(self) -> bool:
        """Whether it outlives this process."""
        return self._locks is not None

    def check(self) -> None:
        """Read the whole file.

        Raises:
            JournalDamagedError: It is not sound.
        """
        self._database.check()

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def find_attempt(self, request_id: str) -> Record | None:
        """Return the attempt with this request ID."""
        return self._find("where request_id = ?", request_id)

    def find_task(self, task_id: str) -> Record | None:
        """Return the task with this ID."""
        return self._find("where task_id = ?", task_id)

    def tasks_ending_with(self, end: str) -> list[Record]:
        """Return the tasks whose ID ends like this."""
        return self._records("where substr(task_id, -?) = ?", len(end), end)

    def find_edit(self, identity: str, *, origin: str) -> Record | None:
        """Return what decides about a known edit: the first of `known_edits`."""
        return next(iter(self.known_edits(identity, origin=origin)), None)

    def known_edits(self, identity: str, *, origin: str) -> list[Record]:
        """Return the attempts of an edit that were not refused, newest first.

        Those that failed come last: what the service once accepted and did not fail is never to
        be paid again.
        """
        known = [
            record
            for record in self._records(
                "where identity = ? and origin = ? order by place desc", identity, origin
            )
            if record.status != TaskStatus.REFUSED
        ]
        return sorted(known, key=lambda record: bool(record.task and record.task.has_failed))

    def last_call(self, context: str) -> Call | None:
        """Return the newest call of a context."""
        rows = self._database.rows(
            "select request_id from calls where context = ? order by number desc limit 1",
            (context,),
        )
        return Call(rows[0]["request_id"]) if rows else None

    def recent(self, *, limit: int | None = None) -> list[Record]:
        """Return attempts and tasks, newest first."""
        return self._records("order by begun_at desc, place desc limit ?", limit or -1)

    def find_upload(self, sha256: str, *, origin: str, valid_for_s: float) -> UploadedClip | None:
        """Return an upload of the same content that stays for at least this long."""
        rows = self._database.rows(
            "select url, expires_at from uploads where sha256 = ? and origin = ? and expires_at > ?",
            (sha256, origin, self._clock() + valid_for_s),
        )
        return UploadedClip(url=rows[0]["url"], expires_at=rows[0]["expires_at"]) if rows else None

    def find_joined(self, digest: str) -> list[SavedFile]:
        """Return where a clip lies that was joined of results; see `record_joined`."""
        return [_parse_file(row) for row in self._files_of([digest])]

    def _find(self, clause: str, *values: object) -> Record | None:
        return next(iter(self._records(clause, *values)), None)

    def _records(self, clause: str, *values: object) -> list[Record]:
        rows = self._database.rows(f"{_RECORDS} {clause}", values)
        saved: dict[str, list[SavedFile]] = {}
        for row in self._files_of([row["task_id"] for row in rows if row["task_id"]]):
            saved.setdefault(row["task_id"], []).append(_parse_file(row))
        return [self._record(row, tuple(saved.get(row["task_id"], ()))) for row in rows]

    def _files_of(self, task_ids: Sequence[str]) -> list[Row]:
        return self._database.rows(
            "select * from files where task_id in (select value from json_each(?))"
            " order by saved_at",
            (json.dumps(task_ids),),
        )

    def _record(self, row: Row, saved: tuple[SavedFile, ...]) -> Record:
        task = _parse_task(row) if row["task_id"] else None
        status = task.status if task else self._status_without_task(row)
        return Record(
            request_id=row["request_id"],
            task=task,
            status=status,
            created_at=row["begun_at"],
            video=readable(row["video"]),
            prompt=readable(row["prompt"]),
            identity=row["identity"],
            origin=row["origin"],
            body=row["body"],
            body_digest=row["body_digest"],
            error=task.error if task else _parse_error(row["refusal"]),
            saved=saved,
            completed_after=row["completed_after"],
            is_adopted=bool(row["is_adopted"]),
            is_result_gone=bool(row["is_result_gone"]),
        )

    def _status_without_task(self, row: Row) -> str:
        """Return an attempt's state; one whose process died while sending is unknown."""
        state = str(row["state"])
        if state != TaskStatus.SENDING:
            return state
        is_alive = self._locks is not None and is_held(self._locks / f"{row['request_id']}.lock")
        return TaskStatus.SENDING if is_alive else TaskStatus.UNKNOWN


def readable(value: str | bytes | None) -> str | None:
    """Return a text as it was before it was stored; bytes were no text (PEP 383)."""
    return value.decode(errors="surrogateescape") if isinstance(value, bytes) else value


def storable(text: str) -> str | bytes:
    """Return a text as SQLite takes it: file names may hold bytes that are no text (PEP 383)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="surrogateescape")
    return text


def _parse_file(row: Row) -> SavedFile:
    return SavedFile(
        path=readable(row["path"]) or "", size_bytes=row["size_bytes"], sha256=row["sha256"]
    )


def _parse_task(row: Row) -> Task:
    return Task(
        task_id=row["task_id"],
        status=row["status"],
        progress=100 if row["status"] == TaskStatus.COMPLETED else None,
        model=row["model"],
        created_at=row["created_at"],
        estimated_s=row["estimated_s"],
        credits_reserved=row["credits_reserved"],
        credits_used=row["credits_used"],
        result_urls=tuple(json.loads(row["result_urls"])),
        error=_parse_error(row["error"]),
    )


def _parse_error(text: str | None) -> TaskError | None:
    return TaskError(**json.loads(text)) if text else None
