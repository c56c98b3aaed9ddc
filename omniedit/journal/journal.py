"""The journal: every attempt before it is sent, and what became of it."""

import json
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from sqlite3 import Row
from typing import Final, Self

from omniedit.errors import Hint, JournalError, RequestRefusedError
from omniedit.http.urls import without_query
from omniedit.journal.database import ENDED, JOURNAL_FILE, TABLES, Database, damage, mapped_errors
from omniedit.journal.rows import (
    ADOPTED,
    ATTEMPTED,
    RECORDS,
    Attempt,
    Call,
    Recovery,
    chosen_model,
    is_news,
    parse_error,
    parse_facts,
    parse_file,
    parse_recovery,
    parse_task,
    readable,
    render_json,
    storable,
)
from omniedit.models import (
    AttemptState,
    Record,
    SavedFile,
    Sound,
    Task,
    TaskError,
    TaskStatus,
    UploadedClip,
)
from omniedit.policy import DEFAULT, Policy
from omniedit.system.folders import make_private_folder
from omniedit.system.locks import hold, is_held

_UNSENT: Final = "task_id is null and state = 'refused' and identity is null"


class Journal:
    """The journal of one state folder; a commit is on disk before its method returns.

    Every method raises `JournalError` if the file cannot be read or written, and
    `JournalDamagedError` if it is not a sound database.

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
        self._database = Database(folder / JOURNAL_FILE if folder else None, policy=policy)
        self._locks = folder / "locks" if folder else None
        self._clock = clock
        self._sleep = sleep

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def is_lasting(self) -> bool:
        """Whether the journal outlives this process."""
        return self._locks is not None

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
        return self._find("where request_id = ?", request_id)

    def key_digest(self, request_id: str) -> str | None:
        """Return the digest of the key that an attempt was sent with, where it is known."""
        rows = self._database.rows(
            "select key_digest from attempt_keys where request_id = ?", (request_id,)
        )
        return str(rows[0]["key_digest"]) if rows else None

    def find_task(self, task_id: str) -> Record | None:
        """Return the task with this ID."""
        return self._find("where task_id = ?", task_id)

    def tasks_ending_with(self, end: str) -> list[Record]:
        """Return the tasks whose ID ends with `end`."""
        return self._records("where substr(task_id, -?) = ?", len(end), end)

    def find_edit(self, identity: str, *, origin: str) -> Record | None:
        """Return the attempt that decides what becomes of a known edit."""
        return next(iter(self.known_edits(identity, origin=origin)), None)

    def known_edits(self, identity: str, *, origin: str) -> list[Record]:
        """Return the attempts of an edit that were not refused, newest first, failed ones last.

        A failed attempt must not hide an older one that the service accepted: that would be paid
        for again.
        """
        known = [
            record
            for record in self._records(
                "where identity = ? and origin = ? order by place desc", identity, origin
            )
            if not record.is_refused
        ]
        return sorted(known, key=lambda record: bool(record.task and record.task.has_failed))

    def settled_edits(self, *, origin: str) -> frozenset[str]:
        """Return the identities of the edits that are known, and not to be submitted anew.

        As `known_edits` has them: an attempt that did not fail decides, else the newest one.
        """
        rows = self._database.rows(
            "select identity, status, t.error from attempts a left join tasks t using (task_id)"
            " where a.origin = ? and identity is not null and state <> 'refused'"
            " order by a.rowid",
            (origin,),
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
            (since,),
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
            (context,),
        )
        return Call(rows[0]["request_id"]) if rows else None

    def last_accepted(self, context: str) -> Record | None:
        """Return the newest attempt of a context that has a task."""
        rows = self._database.rows(
            "select request_id from calls join attempts using (request_id)"
            " where context = ? and task_id is not null order by number desc limit 1",
            (context,),
        )
        return self.find_attempt(rows[0]["request_id"]) if rows else None

    def attempts_ending_with(self, end: str) -> list[Record]:
        """Return the attempts without a task whose request ID ends with `end`."""
        return self._records("where task_id is null and substr(request_id, -?) = ?", len(end), end)

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
        return self._records_of(f"{rows} order by begun_at desc, place desc limit ?1", limit or -1)

    def open_task_ids(self, *, origin: str, limit: int) -> list[str]:
        """Return the newest tasks of an origin that had not ended when they were last seen."""
        rows = self._database.rows(
            "select task_id from tasks where origin = ?"  # noqa: S608 - constants only
            f" and status not in {ENDED}"
            " order by coalesce(created_at, recorded_at) desc limit ?",
            (origin, limit),
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
            (sha256, origin, files_origin, self._clock() + valid_for_s),
        )
        return UploadedClip(url=rows[0]["url"], expires_at=rows[0]["expires_at"]) if rows else None

    def find_joined(self, digest: str) -> list[SavedFile]:
        """Return the files that were joined from the results with this digest."""
        return [parse_file(row) for row in self._files_of([digest])]

    def record_attempt(self, attempt: Attempt, *, refusal: TaskError | None = None) -> None:
        """Record a submission before it is sent, as the newest call of its context.

        Args:
            attempt: The submission.
            refusal: Why it is not sent at all.
        """
        with self._database.writing():
            self._execute(
                # The request ID of a refused attempt may be used again.
                "insert or replace into attempts (request_id, origin, identity, state, video,"
                " prompt, body, body_digest, created_at, clock_offset_s, clip_sha256, start_s,"
                " end_s, parent, model, clip)"
                " values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                attempt.request_id,
                attempt.origin,
                attempt.identity,
                AttemptState.SENDING,
                storable(attempt.request.shown_video),
                storable(attempt.request.prompt),
                attempt.body,
                attempt.body_digest,
                self._clock(),
                attempt.clock_offset_s,
                attempt.clip_sha256,
                attempt.start_s,
                attempt.end_s,
                attempt.request.parent,
                attempt.request.model,
                render_json(attempt.clip),
            )
            if attempt.key_digest is not None:
                self._execute(
                    "insert or replace into attempt_keys values (?, ?)",
                    attempt.request_id,
                    attempt.key_digest,
                )
            if attempt.context is not None:
                self._store_call(attempt.context, attempt.request_id)
            if refusal is not None:
                self._store_refusal(attempt.request_id, refusal)

    def record_unknown(
        self, request_id: str, error: TaskError, *, clock_offset_s: float | None = None
    ) -> None:
        """Record that a submission may or may not have been accepted.

        Args:
            request_id: The submission's.
            error: What is known of the reason.
            clock_offset_s: See `Record`; what is known already stays.
        """
        with self._database.writing():
            self._execute(
                "update attempts set state = ?, error = ?,"
                " clock_offset_s = coalesce(clock_offset_s, ?) where request_id = ?",
                AttemptState.UNKNOWN,
                render_json(error),
                clock_offset_s,
                request_id,
            )

    def record_refused(self, request_id: str, error: TaskError) -> None:
        """Record that a submission was certainly not accepted."""
        with self._database.writing():
            self._store_refusal(request_id, error)

    def record_accepted(self, request_id: str, task: Task, *, origin: str) -> None:
        """Record the task that a submission became."""
        with self._database.writing():
            self._store_accepted(request_id, task, origin=origin)

    def record_task(self, task: Task, *, origin: str, completed_after: float | None = None) -> None:
        """Record what the service reports about a known task; see `record_tasks`."""
        self.record_tasks([(task, completed_after)], origin=origin)

    def record_tasks(self, reports: Sequence[tuple[Task, float | None]], /, *, origin: str) -> None:
        """Record what one reply reports about tasks, each with the time it was last seen unfinished.

        Unknown tasks and unchanged ones are skipped.
        """
        news = [
            (task, completed_after)
            for task, completed_after in reports
            if (known := self.find_task(task.task_id)) is not None
            and is_news(known, task, completed_after)
        ]
        if not news:
            return
        with self._database.writing():
            for task, completed_after in news:
                self._store_task(task, origin=origin, completed_after=completed_after)
                self._forget_query(task)

    def record_adopted(self, task: Task, *, origin: str) -> None:
        """Record a task that was not submitted from here."""
        with self._database.writing():
            self._store_task(task, origin=origin, is_adopted=True)

    def record_saved(self, task_id: str, file: SavedFile, *, is_placed: bool = False) -> None:
        """Record where a verified result was saved.

        Args:
            task_id: Of the result.
            file: Where it is, or is about to be.
            is_placed: It has its name, and what had that name before is replaced.
        """
        with self._database.writing():
            if is_placed:
                self._execute(
                    "delete from files where path = ? and task_id <> ?",
                    storable(file.path),
                    task_id,
                )
            self._execute(
                "insert or replace into files (task_id, path, size_bytes, sha256, saved_at, facts,"
                " sound, served_path) values (?, ?, ?, ?, ?, ?, ?, ?)",
                task_id,
                storable(file.path),
                file.size_bytes,
                file.sha256,
                self._clock(),
                render_json(file.facts),
                None if file.sound is Sound.NEW else file.sound,
                None if file.served_path is None else storable(file.served_path),
            )

    def forget_file(self, task_id: str, file: SavedFile) -> None:
        """Remove a saved file that was taken away again."""
        with self._database.writing():
            self._execute(
                "delete from files where task_id = ? and path = ?", task_id, storable(file.path)
            )

    def record_joined(self, digest: str, file: SavedFile) -> None:
        """Record where a clip was saved that was joined from the results with this digest."""
        self.record_saved(digest, file)

    def record_result_gone(self, task_id: str) -> None:
        """Record that the result of a finished task is no longer available."""
        with self._database.writing():
            self._execute("update tasks set is_result_gone = 1 where task_id = ?", task_id)

    def record_call(self, context: str, request_id: str | None) -> None:
        """Record an attempt as the newest call of its context; None stands for a batch."""
        with self._database.writing():
            self._store_call(context, request_id)

    def record_upload(
        self, sha256: str, clip: UploadedClip, *, origin: str, files_origin: str
    ) -> None:
        """Record where a local clip was uploaded to, if it is known how long it stays there."""
        if clip.expires_at is None:
            return
        with self._database.writing():
            self._execute(
                "insert or replace into uploads values (?, ?, ?, ?, ?)",
                sha256,
                origin,
                files_origin,
                clip.url,
                clip.expires_at,
            )

    def forget_upload(self, url: str) -> None:
        """Remove an upload that the service cannot fetch any more."""
        with self._database.writing():
            self._execute("delete from uploads where url = ?", url)

    def settle_attempt(self, request_id: str, task: Task, *, origin: str) -> None:
        """Record the task that an attempt of unknown outcome became, as its user says."""
        with self._database.writing():
            self._store_accepted(request_id, task, origin=origin)
            # An adopted task is never `last`; this one was submitted from here.
            self._execute("update tasks set is_adopted = 0 where task_id = ?", task.task_id)

    def forget_attempt(self, request_id: str) -> None:
        """Remove every trace of an attempt that has no task."""
        with self._database.writing():
            self._execute(
                "delete from attempts where request_id = ? and task_id is null", request_id
            )
            self._execute(
                "delete from calls where request_id = ?1"
                " and not exists (select 1 from attempts where request_id = ?1)",
                request_id,
            )

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

    def settle_recoveries(self) -> None:
        """Accept that what could not be read is lost."""
        with self._database.writing():
            self._execute("delete from recoveries")

    def clear(self) -> None:
        """Remove everything."""
        with self._database.writing():
            for table in TABLES:
                self._execute(f"delete from {table}")  # noqa: S608 - constants only

    def forget(self, record: Record) -> None:
        """Remove every trace of an edit, except its files."""
        with self._database.writing():
            if record.request_id:
                self._execute("delete from attempts where request_id = ?", record.request_id)
                self._execute("delete from calls where request_id = ?", record.request_id)
            if record.task_id:
                self._execute("delete from tasks where task_id = ?", record.task_id)
                self._execute("delete from files where task_id = ?", record.task_id)

    def editing(
        self, identity: str, *, timeout_s: float | None = None
    ) -> AbstractContextManager[None]:
        """Keep other processes from submitting the same edit during a block; wait for them first.

        Raises:
            TargetBusyError: If another process still submits it after `timeout_s`.
        """
        return self._hold("editing", identity, timeout_s)

    def sending(
        self, request_id: str, *, timeout_s: float | None = None
    ) -> AbstractContextManager[None]:
        """Mark an attempt as being sent, not unknown, during a block; waits as `editing` does."""
        return self._hold("sending", request_id, timeout_s)

    def uploading(
        self, key: str, *, timeout_s: float | None = None
    ) -> AbstractContextManager[None]:
        """Keep others from uploading the same clip during a block; waits as `editing` does."""
        return self._hold("uploading", key, timeout_s)

    @contextmanager
    def _hold(self, action: str, name: str, timeout_s: float | None) -> Generator[None]:
        if self._locks is None:
            yield
            return
        # With the action in its name, no request ID can be the name of another kind of lock.
        with held_lock(self._locks, f"{action}-{name}", sleep=self._sleep, timeout_s=timeout_s):
            yield

    def _find(self, clause: str, *values: object) -> Record | None:
        return next(iter(self._records(clause, *values)), None)

    def _records(self, clause: str, *values: object) -> list[Record]:
        return self._records_of(f"{RECORDS} {clause}", *values)

    def _records_of(self, sql: str, *values: object) -> list[Record]:
        rows = self._database.rows(sql, values)
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
            (json.dumps(task_ids),),
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

    def _execute(self, sql: str, *values: object) -> None:
        self._database.execute(sql, values)

    def _store_call(self, context: str, request_id: str | None) -> None:
        self._execute(
            "insert into calls (context, request_id, called_at) values (?, ?, ?)",
            context,
            request_id,
            self._clock(),
        )

    def _store_refusal(self, request_id: str, error: TaskError) -> None:
        if error.kind == RequestRefusedError.kind:
            self._forget_upload_of(request_id)
        self._execute(
            "update attempts set state = ?, error = ?, body = null, video = ? where request_id = ?",
            AttemptState.REFUSED,
            render_json(error),
            self._shown_video(request_id),
            request_id,
        )

    def _store_accepted(self, request_id: str, task: Task, *, origin: str) -> None:
        self._store_task(task, origin=origin)
        self._execute(
            "update attempts set state = 'accepted', task_id = ?, error = null"
            " where request_id = ?",
            task.task_id,
            request_id,
        )
        self._forget_query(task)

    def _store_task(
        self,
        task: Task,
        *,
        origin: str,
        completed_after: float | None = None,
        is_adopted: bool = False,
    ) -> None:
        self._execute(
            "insert into tasks (task_id, origin, status, model, created_at, estimated_s,"
            " credits_reserved, credits_used, result_urls, error, completed_after, is_adopted,"
            " is_result_gone, recorded_at) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?)"
            " on conflict (task_id) do update set status = excluded.status,"
            " model = coalesce(excluded.model, model),"
            " created_at = coalesce(excluded.created_at, created_at),"
            " estimated_s = coalesce(excluded.estimated_s, estimated_s),"
            " credits_reserved = coalesce(excluded.credits_reserved, credits_reserved),"
            " credits_used = coalesce(excluded.credits_used, credits_used),"
            " result_urls = case excluded.result_urls when '[]' then result_urls"
            " else excluded.result_urls end,"
            " error = coalesce(excluded.error, error),"
            " completed_after = coalesce(excluded.completed_after, completed_after),"
            " recorded_at = excluded.recorded_at",
            task.task_id,
            origin,
            task.status,
            task.model,
            task.created_at,
            task.estimated_s,
            task.credits_reserved,
            task.credits_used,
            json.dumps(task.result_urls),
            render_json(task.error),
            completed_after,
            is_adopted,
            self._clock(),
        )

    def _forget_query(self, task: Task) -> None:
        """Drop the query of the clip's URL, which may be a signature, once the task has ended."""
        if not task.is_terminal:
            return
        if task.error is not None and task.error.is_about_input:
            self._forget_upload_of(task.task_id)
        record = self.find_task(task.task_id)
        if record and record.request_id:
            self._execute(
                "update attempts set body = null, video = ? where request_id = ?",
                self._shown_video(record.request_id),
                record.request_id,
            )

    def _forget_upload_of(self, request_or_task_id: str) -> None:
        """Remove the cached upload that an attempt sent: the service may not find it any more."""
        self._execute(
            "delete from uploads where exists (select 1 from attempts"
            " where ? in (request_id, task_id) and instr(cast(body as text), url) > 0)",
            request_or_task_id,
        )

    def _shown_video(self, request_id: str) -> str | bytes:
        rows = self._database.rows("select video from attempts where request_id = ?", (request_id,))
        video = readable(rows[0]["video"]) or "" if rows else ""
        return storable(without_query(video) if "://" in video else video)


@contextmanager
def held_lock(
    folder: Path, name: str, *, sleep: Callable[[float], object], timeout_s: float | None = None
) -> Generator[None]:
    """Hold a lock in the folder of locks for a block.

    Raises:
        TargetBusyError: If another process still holds it after `timeout_s`.
        JournalError: If the lock cannot be created.
    """
    with ExitStack() as stack:
        with mapped_errors(folder):
            make_private_folder(folder)
            lock = folder / f"{name}.lock"
            stack.enter_context(hold(lock, sleep=sleep, timeout_s=timeout_s))
        yield
