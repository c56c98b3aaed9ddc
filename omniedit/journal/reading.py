"""What the journal is asked."""

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from sqlite3 import Row
from typing import Final, Self

from omniedit.errors import Hint, JournalError
from omniedit.journal.database import ENDED, JOURNAL_FILE, Database, damage
from omniedit.journal.rows import (
    ADOPTED,
    ATTEMPTED,
    RECORDS,
    Call,
    Recovery,
    chosen_model,
    parse_error,
    parse_facts,
    parse_file,
    parse_recovery,
    parse_task,
    readable,
)
from omniedit.models import AttemptState, Record, SavedFile, TaskStatus, UploadedClip
from omniedit.policy import DEFAULT, Policy
from omniedit.system.files import is_held

_UNSENT: Final = "task_id is null and state = 'refused' and identity is null"


class Reader:
    """Answers questions about the journal of one state folder; `Journal` also writes.

    Args:
        folder: The state folder, which also holds the locks; None keeps everything in memory.
        clock: Returns the Unix time.
        sleep: Waits between two tries to get a lock.
        policy: Says how long to wait for another process that writes.

    Raises:
        JournalError: If it cannot be opened.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], object] = time.sleep,
        policy: Policy = DEFAULT,
    ) -> None:
        self.is_lasting = folder is not None
        """Whether it outlives this process."""
        self._database = Database(folder / JOURNAL_FILE if folder else None, policy=policy)
        self._locks = folder / "locks" if folder else None
        self._clock = clock
        self._sleep = sleep

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def check(self) -> None:
        """Read the whole file.

        Raises:
            JournalDamagedError: If it is damaged.
        """
        self._database.check()
        # SQLite does not look into the columns.
        self.recent()

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def find_attempt(self, request_id: str) -> Record | None:
        """Return the attempt with this request ID."""
        return self._find(f"{RECORDS} where request_id = ?", request_id)

    def key_digest(self, request_id: str) -> str | None:
        """Return the digest of the key that an attempt was sent with, where it is known."""
        rows = self._database.rows(
            "select key_digest from attempt_keys where request_id = ?", request_id
        )
        return str(rows[0]["key_digest"]) if rows else None

    def find_task(self, task_id: str) -> Record | None:
        """Return the task with this ID."""
        return self._find(f"{RECORDS} where task_id = ?", task_id)

    def tasks_ending_with(self, end: str) -> list[Record]:
        """Return the tasks whose ID ends with `end`."""
        return self._records(f"{RECORDS} where substr(task_id, -?) = ?", len(end), end)

    def find_edit(self, identity: str, *, origin: str) -> Record | None:
        """Return the attempt that decides what becomes of a known edit."""
        return next(iter(self.known_edits(identity, origin=origin)), None)

    def known_edits(self, identity: str, *, origin: str) -> list[Record]:
        """Return the attempts of an edit that were not refused, newest first, failed ones last.

        A failed attempt must not hide an older one that the service accepted: that would be paid
        for again.
        """
        known = self._records(
            f"{RECORDS} where identity = ? and origin = ?"
            " and (task_id is not null or state <> 'refused') order by place desc",
            identity,
            origin,
        )
        return sorted(known, key=lambda record: record.has_failed)

    def settled_edits(self, *, origin: str) -> frozenset[str]:
        """Return the identities of the edits that are known, and not to be submitted anew.

        As `known_edits` has them: an attempt that did not fail decides, else the newest one.
        """
        rows = self._database.rows(
            "select identity, status, t.error from attempts a left join tasks t using (task_id)"
            " where a.origin = ? and identity is not null and state <> 'refused'"
            " order by a.rowid",
            origin,
        )
        settled: set[str] = set()
        unfailed: set[str] = set()
        for identity, status, text in rows:
            has_failed = status in {TaskStatus.FAILED, TaskStatus.CANCELLED}
            error = parse_error(text) if status == TaskStatus.FAILED else None
            if not has_failed:
                unfailed.add(identity)
            if error is not None and error.is_retryable and identity not in unfailed:
                settled.discard(identity)
            else:
                settled.add(identity)
        return frozenset(settled)

    def saved_files(self) -> list[SavedFile]:
        """Return every result that was saved."""
        return [parse_file(row) for row in self._database.rows("select * from files")]

    def expenses(self, by: str, *, since: float) -> list[Row]:
        """Return how many tasks cost what, as far as anybody told.

        Args:
            by: What the first column is: `month` or `day` of the submission, `clip`, `model`.
            since: Unix time of the oldest submission.
        """
        begun_at = "coalesce(a.created_at, t.created_at, t.recorded_at)"
        keys = {
            "month": f"strftime('%Y-%m', {begun_at}, 'unixepoch')",
            "day": f"strftime('%Y-%m-%d', {begun_at}, 'unixepoch')",
            "clip": "a.video",
            "model": "t.model",
        }
        return self._database.rows(
            f"select {keys[by]}, t.status, t.credits_reserved, t.credits_used, count(*)"  # noqa: S608 - constants only
            " from tasks t left join attempts a on a.rowid ="
            " (select min(rowid) from attempts where task_id = t.task_id)"
            f" where {begun_at} >= ? group by 1, 2, 3, 4",
            since,
        )

    def count_in_doubt(self) -> int:
        """Return how many submissions may have been accepted, and have no task here."""
        rows = self._database.rows(
            "select count(*) from attempts where task_id is null and state <> 'refused'"
        )
        return int(rows[0][0])

    def last_call(self, context: str) -> Call | None:
        """Return the newest call in a context."""
        rows = self._database.rows(
            "select request_id from calls where context = ? order by number desc limit 1",
            context,
        )
        return Call(rows[0]["request_id"]) if rows else None

    def last_accepted(self, context: str) -> Record | None:
        """Return the newest attempt of a context that has a task."""
        rows = self._database.rows(
            "select request_id from calls join attempts using (request_id)"
            " where context = ? and task_id is not null order by number desc limit 1",
            context,
        )
        return self.find_attempt(rows[0]["request_id"]) if rows else None

    def attempts_ending_with(self, end: str) -> list[Record]:
        """Return the attempts without a task whose request ID ends with `end`."""
        return self._records(
            f"{RECORDS} where task_id is null and substr(request_id, -?) = ?", len(end), end
        )

    def recent(self, *, limit: int | None = None, leaves_out_unsent: bool = False) -> list[Record]:
        """Return attempts and adopted tasks, newest first.

        Args:
            limit: How many at most.
            leaves_out_unsent: Leave out attempts that were refused before anything was sent.
        """
        clause = f"where not ({_UNSENT})" if leaves_out_unsent else ""
        newest = f"{ATTEMPTED} {clause} order by a.created_at desc, a.rowid desc limit ?1"
        adopted = f"{ADOPTED} order by begun_at desc limit ?1"
        # Each part in the order of an index: no more rows are read than are wanted.
        rows = f"select * from ({newest}) union all select * from ({adopted})"  # noqa: S608 - constants only
        most = min(limit, sys.maxsize) if limit else -1
        return self._records(f"{rows} order by begun_at desc, place desc limit ?1", most)

    def open_task_ids(self, *, origin: str, limit: int) -> list[str]:
        """Return the newest tasks of an origin that had not ended when they were last seen."""
        rows = self._database.rows(
            "select task_id from tasks where origin = ?"  # noqa: S608 - constants only
            f" and status not in {ENDED}"
            " order by coalesce(created_at, recorded_at) desc limit ?",
            origin,
            limit,
        )
        return [str(row["task_id"]) for row in rows]

    def count(self, *, leaves_out_unsent: bool = False) -> int:
        """Return how many attempts and adopted tasks there are."""
        rows = self._database.rows(
            "select count(*) from attempts union all"  # noqa: S608 - constants only
            f" select count(*) from attempts where {_UNSENT} union all"
            f" select count(*) from ({ADOPTED})"
        )
        attempts, left_out, adopted = (int(row[0]) for row in rows)
        return attempts + adopted - left_out * leaves_out_unsent

    def names(self) -> list[str]:
        """Return the ID of each task, and the request ID of each attempt without one."""
        rows = self._database.rows(
            f"select coalesce(task_id, request_id) from attempts union select task_id from ({ADOPTED})"  # noqa: S608 - constants only
        )
        return [str(row[0]) for row in rows]

    def find_upload(
        self, sha256: str, *, origin: str, files_origin: str, valid_for_s: float
    ) -> UploadedClip | None:
        """Return an upload of the same content that stays available for at least this long."""
        rows = self._database.rows(
            "select url, expires_at from uploads"
            " where sha256 = ? and origin = ? and files_origin = ? and expires_at > ?",
            sha256,
            origin,
            files_origin,
            self._clock() + valid_for_s,
        )
        return UploadedClip(url=rows[0]["url"], expires_at=rows[0]["expires_at"]) if rows else None

    def find_joined(self, digest: str) -> list[SavedFile]:
        """Return the files that were joined from the results with this digest."""
        return [parse_file(row) for row in self._files_of([digest])]

    @property
    def has_unrecovered(self) -> bool:
        """Whether rows of a damaged journal could not be read, and nobody has settled that yet."""
        return bool(self._database.rows("select 1 from recoveries limit 1"))

    def require_recovered(self) -> None:
        """Refuse to pay for an edit that may be among the rows that could not be read.

        Raises:
            JournalError: If a recovery is not settled.
        """
        if self.has_unrecovered:
            msg = "some edits of a damaged journal could not be read, and may have been paid for"
            hint = Hint("{} shows what is missing, and accepts it", "journal recover")
            raise JournalError(msg, code="journal_unrecovered", hint=hint)

    def recoveries(self) -> list[Recovery]:
        """Return the recoveries that left rows behind, and were not settled yet."""
        return [
            parse_recovery(row)
            for row in self._database.rows("select * from recoveries order by recovered_at")
        ]

    def _find(self, sql: str, value: str) -> Record | None:
        return next(iter(self._records(sql, value)), None)

    def _records(self, sql: str, *values: object) -> list[Record]:
        rows = self._database.rows(sql, *values)
        if not rows:
            return []
        saved: dict[str, list[SavedFile]] = {}
        for row in self._files_of([row["task_id"] for row in rows if row["task_id"]]):
            saved.setdefault(row["task_id"], []).append(parse_file(row))
        try:
            return [self._record(row, tuple(saved.get(row["task_id"], ()))) for row in rows]
        except (LookupError, TypeError, ValueError) as error:
            raise damage(self._database.path, error) from error

    def _files_of(self, task_ids: Sequence[str]) -> list[Row]:
        return self._database.rows(
            "select * from files where task_id in (select value from json_each(?))"
            " order by saved_at",
            json.dumps(task_ids),
        )

    def _record(self, row: Row, saved: tuple[SavedFile, ...]) -> Record:
        task = parse_task(row) if row["task_id"] else None
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
            model=chosen_model(row),
            clip=parse_facts(row["clip"]),
            body=row["body"],
            body_digest=row["body_digest"],
            error=task.error if task else parse_error(row["refusal"]),
            clock_offset_s=row["clock_offset_s"],
            clip_sha256=row["clip_sha256"],
            start_s=row["start_s"],
            end_s=row["end_s"],
            parent=row["parent"],
            saved=saved,
            completed_after=row["completed_after"],
            is_adopted=bool(row["is_adopted"]),
            is_result_gone=bool(row["is_result_gone"]),
            seen_at=row["recorded_at"],
        )

    def _status_without_task(self, row: Row) -> str:
        """Return an attempt's state; if its process died while sending, it is unknown."""
        state = str(row["state"])
        if state != AttemptState.SENDING:
            return state
        is_alive = self._locks is not None and is_held(
            self._locks / f"sending-{row['request_id']}.lock"
        )
        return AttemptState.SENDING if is_alive else AttemptState.UNKNOWN
