"""Queries of the journal; every value is checked and converted by its column."""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from sqlite3 import Row
from typing import Any, Final, NamedTuple, Self, TypeAlias, cast

from omniedit.journal.database import (
    ATTEMPT_FIELDS,
    COUNTED_TABLES,
    ENDED,
    JOURNAL_FILE,
    LOCKS_FOLDER,
    OPTIONAL_COLUMNS,
    TABLES,
    Database,
    damage,
)
from omniedit.models import (
    MOST_CREDITS,
    OPTIONAL_TASK_FIELDS,
    AttemptState,
    Record,
    SavedFile,
    Sound,
    Task,
    TaskError,
    TaskStatus,
    UploadedClip,
    VideoFacts,
    is_local,
    is_task_id,
    may_be_resubmitted,
)
from omniedit.policy import DEFAULT
from omniedit.system.files import file_name
from omniedit.system.locks import is_held

_PLAIN_COLUMNS: Final = [name for name in ATTEMPT_FIELDS if name not in {"origin", "model"}]
_RECORD_FIELDS: Final = (*_PLAIN_COLUMNS, "origin", "video", "prompt", "completed_after")
"""Columns of a query that hold fields of a `Record` as they are."""
_COLUMNS: Final = f"""
    {", ".join([f"a.{name}" for name in _PLAIN_COLUMNS])},
    a.state, a.video, a.prompt, a.error as refusal, a.model as chosen_model, a.clip,
    coalesce(a.origin, t.origin) as origin,
    coalesce(a.created_at, t.created_at, t.recorded_at) as begun_at,
    {", ".join([f"t.{name}" for name in OPTIONAL_COLUMNS])},
    t.task_id, t.status, t.result_urls, t.is_result_gone, t.recorded_at
"""
_ATTEMPTED: Final = f"""
    select {_COLUMNS}, a.rowid as place from attempts a left join tasks t using (task_id)
"""  # noqa: S608 - constants only
_ADOPTED: Final = f"""
    select {_COLUMNS}, 0 as place from tasks t left join attempts a using (task_id)
    where t.is_adopted = 1 and a.request_id is null
"""  # noqa: S608 - constants only
_RECORDS: Final = f"select * from ({_ATTEMPTED} union all {_ADOPTED})"  # noqa: S608 - constants only
_SENT: Final = "where not (task_id is null and state = 'refused' and identity is null)"
_UNSETTLED: Final = "a.task_id is null and a.state <> 'refused'"
_UNPARSABLE: Final = (ArithmeticError, LookupError, TypeError, ValueError, RecursionError)
"""The errors that parsers raise for damaged columns."""

ParsedRow: TypeAlias = dict[str, Any]
"""A row by column, each value checked and converted by `parse_row`."""


class Call(NamedTuple):
    """The newest call of a context: the request ID of its attempt, or None for a batch."""

    request_id: str | None


class Reader:
    """Reads the journal of one state folder; `Journal` also writes to it.

    Args:
        folder: The state folder, which also holds the locks; None keeps everything in memory.
        shown_path: See `Database`.
        enclosing: See `Database`.
        clock: Returns the Unix time.
        timeout_s: See `Database`.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        shown_path: Path | None = None,
        enclosing: Path | None = None,
        clock: Callable[[], float] = time.time,
        timeout_s: float = DEFAULT.journal_timeout_s,
    ) -> None:
        self.is_persistent = folder is not None
        """Whether the journal outlives this process."""
        path = folder / JOURNAL_FILE if folder else None
        self._database = Database(
            path, shown_path=shown_path, enclosing=enclosing, timeout_s=timeout_s
        )
        self._locks = folder / LOCKS_FOLDER if folder else None
        self._clock = clock

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def check(self) -> None:
        """Check the whole file; raise `JournalDamagedError` if it is damaged."""
        [(found,)] = self._database.rows("pragma quick_check(1)")
        if found != "ok":
            raise damage(self._database.shown_path, found)
        # SQLite does not check what the columns contain; parsing every row does.
        for table in TABLES:
            self._rows(f"select * from {table}")  # noqa: S608 - constants only

    def find_attempt(self, request_id: str) -> Record | None:
        """Return the attempt with this request ID."""
        return next(iter(self._records(f"{_RECORDS} where request_id = ?", request_id)), None)

    def key_digest(self, request_id: str) -> str | None:
        """Return the digest of the key that an attempt was sent with, or None if unknown."""
        rows = self._rows("select key_digest from attempt_keys where request_id = ?", request_id)
        return str(rows[0]["key_digest"]) if rows else None

    def find_task(self, task_id: str) -> Record | None:
        """Return the task with this ID."""
        return next(iter(self._records(f"{_RECORDS} where task_id = ?", task_id)), None)

    def ending_with(self, end: str) -> list[Record]:
        """Return the records whose task ID, or without a task request ID, ends with `end`."""
        name = "coalesce(task_id, request_id)"
        found = self._records(f"{_RECORDS} where substr({name}, -?) = ?", len(end), end)
        # A faulty service may give two submissions the same task.
        return [*{record.task_id or record.request_id: record for record in found}.values()]

    def find_edit(self, identity: str, *, origin: str) -> Record | None:
        """Return the attempt that decides how a known edit is continued, or None."""
        return next(iter(self.known_edits(identity, origin=origin)), None)

    def known_edits(self, identity: str, *, origin: str) -> list[Record]:
        """Return the attempts of an edit that were not refused, newest first, failed ones last.

        A failed attempt must not hide an older one that the service accepted: the edit would be
        paid for twice.
        """
        known = self._records(
            f"{_RECORDS} where identity = ? and origin = ?"
            " and (task_id is not null or state <> 'refused') order by begun_at desc, place desc",
            identity,
            origin,
        )
        return sorted(known, key=lambda record: record.has_failed)

    def cut_marks(self) -> list[tuple[float | None, float | None]]:
        """Return where the edits' clips are cut, in seconds: each start and end once."""
        return [
            (row["start_s"], row["end_s"])
            for row in self._rows("select distinct start_s, end_s from attempts")
        ]

    def edits_not_to_resubmit(self, *, origin: str) -> frozenset[str]:
        """Return the identities of known edits that must not be submitted again.

        As in `known_edits`, an attempt that did not fail decides, else the newest one.
        """
        rows = self._rows(
            "select identity, status, t.error from attempts a left join tasks t using (task_id)"
            " where a.origin = ? and identity is not null and state <> 'refused'"
            " order by coalesce(status in ('failed', 'cancelled'), 0) desc, a.created_at, a.rowid",
            origin,
        )
        # The last row of an identity decides.
        decisive = {row["identity"]: row for row in rows}
        return frozenset(
            identity
            for identity, row in decisive.items()
            if not may_be_resubmitted(row["status"], row["error"])
        )

    def digest_of_result(self, task_id: str) -> str | None:
        """Return the SHA-256 of a task's result as it was edited before; None if it never was."""
        rows = self._rows(
            "select clip_sha256 from attempts where parent = ? and clip_sha256 is not null"
            " order by created_at desc limit 1",
            task_id,
        )
        return rows[0]["clip_sha256"] if rows else None

    def saved_files(self) -> list[SavedFile]:
        """Return every result that was saved."""
        return [parse_saved_file(row) for row in self._rows("select * from files")]

    def expenses(self, by: str, *, since: float) -> list[tuple[Any, ...]]:
        """Return the number of tasks by group, status, credits reserved and credits used.

        Submissions that may have become tasks are counted as tasks with no status and no cost.

        Args:
            by: The group: `month` or `day` of the submission, `clip` or `model`.
            since: The Unix time of the oldest submission to count.
        """
        begun_at = "coalesce(a.created_at, t.created_at, t.recorded_at)"
        keys = {
            "month": f"strftime('%Y-%m', {begun_at}, 'unixepoch')",
            "day": f"strftime('%Y-%m-%d', {begun_at}, 'unixepoch')",
            "clip": "a.video",
            "model": "coalesce(t.model, a.model)",
        }
        first_attempt = "select min(rowid) from attempts where task_id = t.task_id"
        sources = (
            f"tasks t left join attempts a on a.rowid = ({first_attempt}) where true",
            f"attempts a left join tasks t on false where {_UNSETTLED}",
        )
        found: list[ParsedRow] = []
        for source in sources:
            found += self._rows(
                f"select {keys[by]}, t.status, t.credits_reserved, t.credits_used, count(*)"  # noqa: S608 - constants only
                f" from {source} and {begun_at} >= ? group by 1, 2, 3, 4",
                since,
            )
        return [tuple(row.values()) for row in found]

    def count_unsettled(self) -> int:
        """Return the number of submissions that may have been accepted but have no task here."""
        sql = f"select count(*) from attempts a where {_UNSETTLED}"  # noqa: S608 - constants only
        return int(self._database.rows(sql)[0][0])

    def last_call(self, context: str) -> Call | None:
        """Return the newest call in a context."""
        sql = "select request_id from calls where context = ? order by number desc limit 1"
        rows = self._rows(sql, context)
        return Call(rows[0]["request_id"]) if rows else None

    def last_accepted(self, context: str) -> Record | None:
        """Return the newest attempt of a context that has a task."""
        rows = self._rows(
            "select request_id from calls join attempts using (request_id)"
            " where context = ? and task_id is not null order by number desc limit 1",
            context,
        )
        return self.find_attempt(rows[0]["request_id"]) if rows else None

    def recent(self, *, limit: int | None = None, skips_unsent: bool = False) -> list[Record]:
        """Return attempts and adopted tasks, newest first.

        Args:
            limit: The maximum number of records; None or 0 for all.
            skips_unsent: Leave out attempts that were refused before anything was sent.
        """
        clause = _SENT if skips_unsent else ""
        newest = f"{_ATTEMPTED} {clause} order by a.created_at desc, a.rowid desc limit ?1"
        adopted = f"{_ADOPTED} order by begun_at desc limit ?1"
        # Each part follows the order of an index, so that no more rows are read than returned.
        rows = f"select * from ({newest}) union all select * from ({adopted})"  # noqa: S608 - constants only
        most = min(limit, sys.maxsize) if limit else -1
        return self._records(f"{rows} order by begun_at desc, place desc limit ?1", most)

    def open_task_ids(self, *, origin: str, limit: int) -> list[str]:
        """Return the IDs of an origin's newest tasks that had not ended when last seen."""
        rows = self._rows(
            "select task_id from tasks where origin = ?"  # noqa: S608 - constants only
            f" and status not in {ENDED}"
            " order by coalesce(created_at, recorded_at) desc limit ?",
            origin,
            limit,
        )
        return [str(row["task_id"]) for row in rows]

    def count(self, *, skips_unsent: bool = False) -> int:
        """Return the number of attempts and adopted tasks."""
        clause = _SENT if skips_unsent else ""
        rows = self._database.rows(
            f"select count(*) from attempts {clause} union all select count(*) from ({_ADOPTED})"  # noqa: S608 - constants only
        )
        return sum(int(row[0]) for row in rows)

    def names(self) -> list[str]:
        """Return the ID of each task, and the request ID of each attempt without one."""
        rows = self._database.rows(
            f"select coalesce(task_id, request_id) from attempts union select task_id from ({_ADOPTED})"  # noqa: S608 - constants only
        )
        return [str(row[0]) for row in rows]

    def find_upload(
        self, sha256: str, *, origin: str, files_origin: str, valid_for_s: float
    ) -> UploadedClip | None:
        """Return an upload of the same content that stays available for `valid_for_s` or longer."""
        rows = self._rows(
            "select url, expires_at from uploads"
            " where sha256 = ? and origin = ? and files_origin = ? and expires_at > ?",
            sha256,
            origin,
            files_origin,
            self._clock() + valid_for_s,
        )
        return UploadedClip(**rows[0]) if rows else None

    def find_joined(self, digest: str) -> list[SavedFile]:
        """Return the files that were joined from the results with this digest."""
        return [parse_saved_file(row) for row in self._files_of([digest])]

    def _rows(self, sql: str, *values: object) -> list[ParsedRow]:
        """Return the rows of a query, parsed; a row that cannot be parsed is damage."""
        try:
            return [*map(parse_row, self._database.rows(sql, *values))]
        except ValueError as error:
            raise damage(self._database.shown_path, error) from error

    def _records(self, sql: str, *values: object) -> list[Record]:
        rows = self._rows(sql, *values)
        if not rows:
            return []
        saved: dict[str, list[SavedFile]] = {}
        for row in self._files_of([row["task_id"] for row in rows if row["task_id"]]):
            saved.setdefault(row["task_id"], []).append(parse_saved_file(row))
        return [self._record(row, tuple(saved.get(row["task_id"], ()))) for row in rows]

    def _files_of(self, task_ids: Sequence[str]) -> list[ParsedRow]:
        return self._rows(
            "select * from files where task_id in (select value from json_each(?))"
            " order by saved_at",
            json.dumps(task_ids),
        )

    def _record(self, row: ParsedRow, saved: tuple[SavedFile, ...]) -> Record:
        task = _task(row) if row["task_id"] else None
        return Record(
            **{name: row[name] for name in _RECORD_FIELDS},
            task=task,
            status=task.status if task else self._status_without_task(row),
            created_at=row["begun_at"],
            model=row["chosen_model"],
            clip_facts=row["clip"],
            error=task.error if task else row["refusal"],
            saved=saved,
            is_result_gone=bool(row["is_result_gone"]),
            as_of=row["recorded_at"],
        )

    def _status_without_task(self, row: ParsedRow) -> str:
        """Return an attempt's state, which is unknown if its process died while sending."""
        state = str(row["state"])
        if state != AttemptState.SENDING:
            return state
        lock = self._lock_path("sending", row["request_id"])
        is_alive = lock is not None and is_held(lock)
        return AttemptState.SENDING if is_alive else AttemptState.UNKNOWN

    def _lock_path(self, action: str, name: str) -> Path | None:
        """Return the path of a lock; None if everything is kept in memory."""
        # The action is part of the name, so that no request ID collides with another kind of lock.
        return self._locks / f"{action}-{name}.lock" if self._locks else None


def is_present(file: SavedFile) -> bool:
    """Return whether a file of this name and size is on this machine."""
    try:
        return Path(file.path).stat().st_size == file.size_bytes
    except (OSError, ValueError):
        return False


def parse_saved_file(row: ParsedRow) -> SavedFile:
    """Return the saved file of a row."""
    return SavedFile(
        path=row["path"],
        size_bytes=row["size_bytes"],
        sha256=row["sha256"],
        is_elsewhere=bool(row["is_elsewhere"]),
        facts=row["facts"],
        sound=row["sound"] or Sound.NEW,
        served_path=row["served_path"],
    )


def parse_row(row: Row | Mapping[str, object]) -> ParsedRow:
    """Return the values of a row, or the fields of stored JSON, each checked and converted.

    Raises:
        ValueError: If a value is damaged.
    """
    values: ParsedRow = dict(row)
    for name, stored in values.items():
        if stored is None and name not in _NEVER_NULL:
            continue
        types, parse = _KIND_BY_NAME.get(name, (object, None))
        value = stored
        msg = f"invalid {name}"
        if types is _TEXT_OR_BYTES and isinstance(stored, bytes):
            # A file name that is not valid UTF-8 (PEP 383).
            value = stored.decode(errors="surrogateescape")
        # Neither infinite, nor not a number, nor an integer that no float can hold.
        is_finite = not isinstance(value, _NUMBER) or abs(value) <= sys.float_info.max
        if not is_finite or not isinstance(value, types):
            raise ValueError(msg)
        try:
            values[name] = parse(value) if parse else value
        except _UNPARSABLE as error:
            raise ValueError(msg) from error
    return values


def _task(row: ParsedRow) -> Task:
    """Return the task of a row; progress is not recorded."""
    return Task(
        task_id=row["task_id"],
        status=row["status"] or None,
        progress=100 if row["status"] == TaskStatus.COMPLETED else None,
        **{name: row[name] for name in OPTIONAL_TASK_FIELDS},
        result_urls=row["result_urls"] or (),
        error=row["error"],
    )


def _parse_id(value: str) -> str:
    if not is_task_id(value):
        raise ValueError(value)
    return value


def _parse_amount(value: float) -> float:
    if not 0 <= value < MOST_CREDITS:
        raise ValueError(value)
    return value


def _parse_name(name: str) -> str:
    """Return a URL, or a file name, which cannot hold a NUL."""
    if "\0" in name:
        raise ValueError(name)
    return file_name(name) if is_local(name) else name


def _parse_texts(text: str) -> tuple[str, ...]:
    texts: object = json.loads(text)
    if not isinstance(texts, list):
        raise TypeError(text)
    return tuple(map(str, cast("list[object]", texts)))


def _parse_counts(text: str) -> dict[str, int]:
    counts = json.loads(text)
    return {table: int(counts[table]) for table in COUNTED_TABLES}


_NUMBER: Final = (float, int)
_TEXT_OR_BYTES: Final = (str, bytes)
_KINDS: Final[Sequence[tuple[str, Any, Callable[[Any], object] | None]]] = (
    ("origin status identity model chosen_model body_digest", str, None),
    ("key_digest context url files_origin sha256 clip_sha256", str, None),
    ("code message suggestion kind codec", str, None),
    ("is_adopted is_elsewhere is_result_gone http_status", int, None),
    ("size_bytes unreadable_pages width height", int, None),
    ("begun_at created_at recorded_at saved_at called_at recovered_at", _NUMBER, None),
    ("completed_after expires_at clock_offset_s estimated_s", _NUMBER, None),
    ("start_s end_s frame_rate duration_s", _NUMBER, None),
    ("credits_reserved credits_used", _NUMBER, _parse_amount),
    ("request_id task_id parent", str, _parse_id),
    ("video path served_path", _TEXT_OR_BYTES, _parse_name),
    ("damaged_file", _TEXT_OR_BYTES, lambda name: Path(_parse_name(name))),
    ("prompt", _TEXT_OR_BYTES, None),
    ("body", bytes, None),
    ("error refusal", str, lambda text: TaskError(**parse_row(json.loads(text)))),
    ("clip facts", str, lambda text: VideoFacts(**parse_row(json.loads(text)))),
    ("result_urls missing_ids", str, _parse_texts),
    ("rows_restored", str, _parse_counts),
    ("sound", str, Sound),
    ("marks", list, lambda marks: tuple(map(str, marks))),
)
"""Columns and fields of stored JSON, their types, and how some are converted."""
# A name has the same meaning in every table and in stored JSON.
_KIND_BY_NAME: Final[Mapping[str, tuple[Any, Callable[[Any], object] | None]]] = {
    name: (types, parse) for names, types, parse in _KINDS for name in names.split()
}
_NEVER_NULL: Final = frozenset(
    {
        "begun_at",
        "code",
        "codec",
        "damaged_file",
        "height",
        "marks",
        "message",
        "missing_ids",
        "path",
        "sha256",
        "size_bytes",
        "unreadable_pages",
        "width",
    }
)
