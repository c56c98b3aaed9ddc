"""Writing attempts down before they are sent, and what became of them."""

import json
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

from omniedit.http.urls import without_query
from omniedit.journal.database import TABLES
from omniedit.journal.holding import held_lock
from omniedit.journal.reader import JournalReader, readable, storable
from omniedit.models import (
    EditRequest,
    Record,
    SavedFile,
    Task,
    TaskError,
    TaskStatus,
    UploadedClip,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A submission as it is written down before it is sent."""

    request_id: str
    origin: str
    identity: str | None
    request: EditRequest
    body: bytes | None
    body_digest: str | None
    context: str | None  # whose `last` it becomes
    clip_url: str  # where the service finds the clip


class Journal(JournalReader):
    """The journal of one state folder: a commit is on disk before its method returns.

    Every method raises `JournalError` when the file cannot be written, and `JournalDamagedError`
    when it is not sound.

    Args:
        folder: Where it lies, with the locks beside it; None keeps it in memory.
        clock: Unix time.
        sleep: Rests between two looks at a lock.

    Raises:
        JournalError: It cannot be opened.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        super().__init__(folder, clock=clock)
        self._sleep = sleep

    def record_attempt(self, attempt: Attempt) -> None:
        """Write a submission down before it is sent, and make it the newest of its context."""
        with self._database.writing():
            self._execute(
                # A refused attempt gives its ID to the next one.
                "insert or replace into attempts values (?, ?, ?, ?, ?, ?, ?, ?, ?, null, null)",
                attempt.request_id,
                attempt.origin,
                attempt.identity,
                TaskStatus.SENDING,
                storable(attempt.request.video),
                storable(attempt.request.prompt),
                attempt.body,
                attempt.body_digest,
                self._clock(),
            )
            if attempt.context is not None:
                self._store_call(attempt.context, attempt.request_id)

    def record_unknown(self, request_id: str, error: TaskError) -> None:
        """Write down that a submission may or may not have been accepted."""
        with self._database.writing():
            self._execute(
                "update attempts set state = ?, error = ? where request_id = ?",
                TaskStatus.UNKNOWN,
                _render_error(error),
                request_id,
            )

    def record_refused(self, request_id: str, error: TaskError) -> None:
        """Write down that a submission was certainly not accepted."""
        with self._database.writing():
            self._execute(
                "update attempts set state = ?, error = ?, body = null, video = ?"
                " where request_id = ?",
                TaskStatus.REFUSED,
                _render_error(error),
                self._shown_video(request_id),
                request_id,
            )

    def record_accepted(self, request_id: str, task: Task, *, origin: str) -> None:
        """Write down the task that a submission became."""
        with self._database.writing():
            self._store_task(task, origin=origin)
            self._execute(
                "update attempts set state = 'accepted', task_id = ?, error = null"
                " where request_id = ?",
                task.task_id,
                request_id,
            )
            self._forget_query(task)

    def record_task(self, task: Task, *, origin: str, completed_after: float | None = None) -> None:
        """Write down what the service reports of a task that is known here, where it is news."""
        self.record_tasks([(task, completed_after)], origin=origin)

    def record_tasks(self, looks: Sequence[tuple[Task, float | None]], *, origin: str) -> None:
        """Write down what one reply reports of tasks, each with when it was last seen unfinished.

        What is not known here, or is no news, is passed over.
        """
        news = [
            (task, completed_after)
            for task, completed_after in looks
            if (known := self.find_task(task.task_id)) is not None
            and _is_news(known, task, completed_after)
        ]
        if not news:
            return
        with self._database.writing():
            for task, completed_after in news:
                self._store_task(task, origin=origin, completed_after=completed_after)
                self._forget_query(task)

    def record_adopted(self, task: Task, *, origin: str) -> None:
        """Write down a task that was not submitted from here."""
        with self._database.writing():
            self._store_task(task, origin=origin, is_adopted=True)

    def record_saved(self, task_id: str, file: SavedFile) -> None:
        """Write down where a result lies, verified."""
        with self._database.writing():
            self._execute(
                "insert or replace into files values (?, ?, ?, ?, ?)",
                task_id,
                storable(file.path),
                file.size_bytes,
                file.sha256,
                self._clock(),
            )

    def record_joined(self, digest: str, file: SavedFile) -> None:
        """Write down where a clip lies that was joined of results.

        Args:
            digest: Of what it was joined of.
            file: It; of no single task.
        """
        self.record_saved(digest, file)

    def record_result_gone(self, task_id: str) -> None:
        """Write down that a finished task's result can no longer be had."""
        with self._database.writing():
            self._execute("update tasks set is_result_gone = 1 where task_id = ?", task_id)

    def record_call(self, context: str, request_id: str | None) -> None:
        """Make an attempt the newest of its context; None: a batch, which has no single one."""
        with self._database.writing():
            self._store_call(context, request_id)

    def record_upload(self, sha256: str, clip: UploadedClip, *, origin: str) -> None:
        """Remember where a local clip was uploaded to and until when it stays."""
        if clip.expires_at is None:
            return
        with self._database.writing():
            self._execute(
                "insert or replace into uploads values (?, ?, ?, ?)",
                sha256,
                origin,
                clip.url,
                clip.expires_at,
            )

    def clear(self) -> None:
        """Remove everything."""
        with self._database.writing():
            for table in TABLES:
                self._execute(f"delete from {table}")  # noqa: S608 - the names stand above

    def forget(self, record: Record) -> None:
        """Remove every trace of an edit; its files stay."""
        with self._database.writing():
            if record.request_id:
                self._execute("delete from attempts where request_id = ?", record.request_id)
                self._execute("delete from calls where request_id = ?", record.request_id)
            if record.task_id:
                self._execute("delete from tasks where task_id = ?", record.task_id)
                self._execute("delete from files where task_id = ?", record.task_id)

    def editing(self, identity: str) -> AbstractContextManager[None]:
        """Return a block in which no other process submits the same edit; waits its turn."""
        return self._hold(identity)

    def sending(self, request_id: str) -> AbstractContextManager[None]:
        """Return a block during which an attempt counts as being sent, not as unknown."""
        return self._hold(request_id)

    def uploading(self, key: str) -> AbstractContextManager[None]:
        """Return a block in which nobody else uploads what has this key; waits its turn."""
        return self._hold(f"upload-{key}")

    def _hold(self, name: str) -> AbstractContextManager[None]:
        if self._locks is None:
            return nullcontext()
        return held_lock(self._locks, name, self._sleep)

    def _execute(self, sql: str, *values: object) -> None:
        self._database.execute(sql, values)

    def _store_call(self, context: str, request_id: str | None) -> None:
        self._execute(
            "insert into calls (context, request_id, called_at) values (?, ?, ?)",
            context,
            request_id,
            self._clock(),
        )

    def _store_task(
        self,
        task: Task,
        *,
        origin: str,
        completed_after: float | None = None,
        is_adopted: bool = False,
    ) -> None:
        self._execute(
            "insert into tasks values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?)"
            " on conflict (task_id) do update set status = excluded.status,"
            " model = coalesce(excluded.model, model),"
            " created_at = coalesce(excluded.created_at, created_at),"
            " estimated_s = coalesce(excluded.estimated_s, estimated_s),"
            " credits_reserved = coalesce(excluded.credits_reserved, credits_reserved),"
            " credits_used = coalesce(excluded.credits_used, credits_used),"
            " result_urls = case excluded.result_urls when '[]' then result_urls"
            " else excluded.result_urls end,"
            " error = coalesce(excluded.error, error),"
            " completed_after = coalesce(excluded.completed_after, completed_after)",
            task.task_id,
            origin,
            task.status,
            task.model,
            task.created_at,
            task.estimated_s,
            task.credits_reserved,
            task.credits_used,
            json.dumps(task.result_urls),
            _render_error(task.error),
            completed_after,
            is_adopted,
            self._clock(),
        )

    def _forget_query(self, task: Task) -> None:
        """Drop what may be a signature from the clip's URL, once nothing is sent with it again."""
        if not task.is_terminal:
            return
        record = self.find_task(task.task_id)
        if record and record.request_id:
            self._execute(
                "update attempts set body = null, video = ? where request_id = ?",
                self._shown_video(record.request_id),
                record.request_id,
            )

    def _shown_video(self, request_id: str) -> str | bytes:
        rows = self._database.rows("select video from attempts where request_id = ?", (request_id,))
        video = readable(rows[0]["video"]) or "" if rows else ""
        return storable(without_query(video) if "://" in video else video)


def _is_news(known: Record, task: Task, completed_after: float | None) -> bool:
    before = known.task
    return (
        before is None
        or (before.status, before.error) != (task.status, task.error)
        or (completed_after is not None and known.completed_after is None)
        or bool(set(task.result_urls) - set(before.result_urls))
        or (task.credits_used is not None and before.credits_used is None)
    )


def _render_error(error: TaskError | None) -> str | None:
    return json.dumps(asdict(error)) if error else None
