"""The journal: every attempt, recorded before it is sent, and its outcome."""

import json
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from enum import Enum, auto
from functools import partial
from pathlib import Path
from typing import Final

from omniedit.errors import (
    Hint,
    JournalDamagedError,
    JournalError,
    JournalTooNewError,
    LocalError,
    RequestRefusedError,
)
from omniedit.journal.database import (
    ATTEMPT_FIELDS,
    OPTIONAL_COLUMNS,
    TABLES,
    Recovery,
    check_version,
    held_lock,
)
from omniedit.journal.reading import Reader
from omniedit.models import (
    OPTIONAL_TASK_FIELDS,
    AttemptState,
    Record,
    SavedFile,
    Sound,
    Task,
    TaskError,
    UploadedClip,
    VideoFacts,
    is_local,
    without_query,
)

_NEWER_STATE: Final = f"""
    on conflict (task_id) do update set
        status = excluded.status,
        {", ".join([f"{name} = coalesce(excluded.{name}, {name})" for name in OPTIONAL_COLUMNS])},
        -- A completed task without results is marked as gone; later results revoke the mark.
        is_result_gone = is_result_gone and (result_urls <> '[]' or excluded.result_urls = '[]'),
        -- Not `iif`, which needs SQLite 3.32: Python 3.11 of Rocky Linux 8 uses 3.26.
        result_urls = case excluded.result_urls
            when '[]' then result_urls else excluded.result_urls end,
        recorded_at = excluded.recorded_at
"""
"""How a newer state of a task replaces the known one, whose fields it may omit."""


class JournalUse(Enum):
    """What a command does when the journal cannot be opened."""

    REQUIRED = auto()
    """It ends before anything is sent."""
    PAYS = auto()
    """It warns and continues, but refuses to pay beside a journal of a newer version."""
    OPTIONAL = auto()
    """It warns and continues."""
    DECLINED = auto()
    """It uses no journal, as requested, but refuses to pay beside one of a newer version."""
    NONE = auto()
    """It uses no journal."""


class Journal(Reader):
    """The journal of one state folder; every change is on disk before its method returns.

    Every method raises `JournalError` if the file cannot be read or written, and
    `JournalDamagedError` if it is not a sound database.
    """

    def record_attempt(
        self, attempt: Record, *, context: str | None, key_digest: str | None = None
    ) -> None:
        """Record a submission before it is sent.

        Args:
            attempt: The submission.
            context: The context whose newest call it becomes; None records no call.
            key_digest: The salted digest of the key that it is sent with.
        """
        row = {
            **{name: getattr(attempt, name) for name in ATTEMPT_FIELDS},
            "state": AttemptState.SENDING,
            "video": _render_name(attempt.video or ""),
            "prompt": _render_text(attempt.prompt or ""),
            "created_at": self._clock(),
            "clip": _render_json(attempt.clip_facts),
        }
        with self._database.writing():
            # Replaces a refused attempt: its request ID may be used again.
            self._database.insert("attempts", row)
            if key_digest is not None:
                key = {"request_id": attempt.request_id, "key_digest": key_digest}
                self._database.insert("attempt_keys", key)
            if context is not None:
                self.record_call(context, attempt.request_id)

    def record_unsent(
        self, attempt: Record, error: TaskError, *, context: str | None, fallback_id: str
    ) -> None:
        """Record an attempt that ended before it was sent.

        Args:
            attempt: The attempt.
            error: Why it was not sent.
            context: The context whose newest call it becomes; None records no call.
            fallback_id: The request ID to use if another attempt already has this one.
        """
        # In one transaction: a kill between two would leave the outcome unknown forever.
        with self._database.writing():
            request_id = attempt.request_id or ""
            if self.find_attempt(request_id) is not None:
                request_id = fallback_id
            self.record_attempt(attempt._replace(request_id=request_id), context=context)
            self.record_refused(request_id, error)

    def record_unknown(
        self, request_id: str, error: TaskError, *, clock_offset_s: float | None = None
    ) -> None:
        """Record that a submission may or may not have been accepted.

        Args:
            request_id: The submission's request ID.
            error: What is known about the cause.
            clock_offset_s: See `Record`; an offset that is already known is kept.
        """
        self._database.execute(
            "update attempts set state = 'unknown', error = ?,"
            " clock_offset_s = coalesce(clock_offset_s, ?) where request_id = ?",
            _render_json(error),
            clock_offset_s,
            request_id,
        )

    def record_refused(self, request_id: str, error: TaskError) -> None:
        """Record that a submission was certainly not accepted."""
        with self._database.writing():
            if error.kind == RequestRefusedError.kind:
                self._forget_upload_of(request_id)
            refusal = {"state": AttemptState.REFUSED, "error": _render_json(error)}
            self._database.update("attempts", refusal, request_id=request_id)
            self._forget_body("request_id", request_id)

    def record_accepted(self, request_id: str, task: Task, *, origin: str) -> None:
        """Record the task that a submission became."""
        with self._database.writing():
            outcome = {"state": "accepted", "task_id": task.task_id, "error": None}
            attempts = self._database.update("attempts", outcome, request_id=request_id)
            # Even if the attempt is no longer in the journal, listings have to show its task.
            self._store_task(task, origin=origin, is_adopted=not attempts)
            self._forget_ended(task)

    def record_tasks(self, reports: Sequence[tuple[Task, float | None]], /, *, origin: str) -> None:
        """Record tasks that were read, each with the time it was last seen unfinished, if known.

        Unknown and unchanged tasks are skipped.
        """
        news: list[tuple[Task, float | None]] = []
        for task, completed_after in reports:
            known = self.find_task(task.task_id)
            if known is not None and _is_news(known, task, completed_after):
                news.append((task, completed_after))
        if not news:
            return
        with self._database.writing():
            for task, completed_after in news:
                self._store_task(task, origin=origin, completed_after=completed_after)
                self._forget_ended(task)

    def record_adopted(self, task: Task, *, origin: str) -> None:
        """Record a task that was not submitted from here."""
        self._store_task(task, origin=origin, is_adopted=True)

    def record_saved(self, task_id: str, file: SavedFile, *, is_placed: bool = False) -> None:
        """Record where a verified result was saved.

        Args:
            task_id: The task whose result was saved, or the digest of the results that were joined.
            file: The saved file, or the one about to be placed.
            is_placed: Whether it has its final name; records of other tasks' files there are
                removed.
        """
        path = _render_name(file.path)
        row = {
            "task_id": task_id,
            "path": path,
            "size_bytes": file.size_bytes,
            "sha256": file.sha256,
            "saved_at": self._clock(),
            "facts": _render_json(file.facts),
            "sound": None if file.sound is Sound.NEW else file.sound,
            "served_path": _render_name(file.served_path) if file.served_path else None,
        }
        with self._database.writing():
            if is_placed:
                self._database.execute(
                    "delete from files where path = ? and task_id <> ?", path, task_id
                )
            self._database.insert("files", row)

    def forget_file(self, task_id: str, file: SavedFile) -> None:
        """Remove the record of a saved file that was deleted."""
        self._database.delete("files", task_id=task_id, path=_render_name(file.path))

    def record_result_gone(self, task_id: str) -> None:
        """Record that the result of a finished task is no longer available."""
        self._database.update("tasks", {"is_result_gone": True}, task_id=task_id)

    def record_call(self, context: str, request_id: str | None) -> None:
        """Record an attempt as the newest call of its context; None stands for a batch."""
        row = {"context": context, "request_id": request_id, "called_at": self._clock()}
        self._database.insert("calls", row)

    def record_upload(
        self, sha256: str, clip: UploadedClip, *, origin: str, files_origin: str
    ) -> None:
        """Record the URL of an uploaded local clip, if its expiry is known."""
        if clip.expires_at is not None:
            row = {"sha256": sha256, "origin": origin, "files_origin": files_origin}
            self._database.insert("uploads", row | clip._asdict())

    def require_recovered(self) -> None:
        """Refuse to pay while edits may be among the rows that could not be read."""
        if self.recoveries():
            msg = "some edits of a damaged journal could not be read, and may have been paid for"
            hint = Hint("{} shows what is missing and accepts the loss", "journal recover")
            raise JournalError(msg, code="journal_unrecovered", hint=hint)

    def recoveries(self) -> list[Recovery]:
        """Return the recoveries whose losses have not been accepted."""
        rows = self._rows(
            "select damaged_file, rows_restored, unreadable_pages, missing_ids from recoveries"
            " where unreadable_pages > 0 or missing_ids <> '[]' order by recovered_at"
        )
        return [Recovery(**row) for row in rows]

    def accept_losses(self) -> None:
        """Accept the loss of rows that could not be read."""
        # Keep the rows, so that merging another journal cannot bring the recoveries back.
        self._database.execute("update recoveries set unreadable_pages = 0, missing_ids = '[]'")

    def clear(self) -> None:
        """Remove everything."""
        with self._database.writing():
            for table in TABLES:
                self._database.execute(f"delete from {table}")  # noqa: S608 - constants only

    def forget(self, record: Record) -> None:
        """Remove every trace of an edit, except its files; keep an attempt that just got a task."""
        with self._database.writing():
            sql = "delete from attempts where request_id = ? and task_id is ?"
            is_same = self._database.execute(sql, record.request_id, record.task_id)
            if record.task is None and not is_same:
                return
            for table in ("attempt_keys", "calls"):
                self._database.delete(table, request_id=record.request_id)
            for table in ("attempts", "tasks", "files"):
                self._database.delete(table, task_id=record.task_id)

    def locked(
        self,
        action: str,
        name: str,
        *,
        timeout_s: float | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> AbstractContextManager[None]:
        """Keep other processes from doing the same during a block, after waiting for them.

        Args:
            action: What is done: `editing` an identity, `sending` a request ID, `uploading` a clip.
            name: The identity, request ID or digest of a clip that it is done to.
            timeout_s: How long to wait; None for as long as it takes.
            sleep: Sleeps between two attempts.

        Raises:
            TargetBusyError: If another process is still doing it after `timeout_s`.
        """
        path = self._lock_path(action, name)
        if path is None:
            return nullcontext()
        return held_lock(path, sleep=sleep, timeout_s=timeout_s)

    def _store_task(
        self,
        task: Task,
        *,
        origin: str,
        completed_after: float | None = None,
        is_adopted: bool = False,
    ) -> None:
        row = {
            **{name: getattr(task, name) for name in OPTIONAL_TASK_FIELDS},
            "task_id": task.task_id,
            "origin": origin,
            "status": task.status or "",
            "result_urls": json.dumps(task.result_urls),
            "error": _render_json(task.error),
            "completed_after": completed_after,
            "is_adopted": is_adopted,
            "is_result_gone": False,
            "recorded_at": self._clock(),
        }
        self._database.insert("tasks", row, conflict=_NEWER_STATE)

    def _forget_ended(self, task: Task) -> None:
        """Drop what is not needed once a task has ended."""
        if not task.is_terminal:
            return
        if task.error is not None and task.error.is_about_input:
            self._forget_upload_of(task.task_id)
        self._forget_body("task_id", task.task_id)

    def _forget_body(self, column: str, value: str) -> None:
        """Drop what will not be sent again: the body, and the clip's query, perhaps a signature."""
        sql = f"select rowid, video from attempts where {column} = ?"  # noqa: S608 - constants only
        for row_id, stored in self._database.rows(sql, value):
            is_url = isinstance(stored, str) and "://" in stored
            video = without_query(stored) if is_url else stored
            self._database.update("attempts", {"body": None, "video": video}, rowid=row_id)

    def _forget_upload_of(self, request_or_task_id: str) -> None:
        """Remove the cached upload that an attempt sent: the service may no longer have it."""
        self._database.execute(
            "delete from uploads where exists (select 1 from attempts"
            " where ? in (request_id, task_id) and instr(cast(body as text), url) > 0)",
            request_or_task_id,
        )


@contextmanager
def opened_journal(
    folder: Path,
    use: JournalUse,
    *,
    warn: Callable[[str], None],
    enclosing: Path | None,
    clock: Callable[[], float],
    timeout_s: float,
) -> Generator[Journal]:
    """Open the journal for a block; if `use` allows, fall back to one that is kept in memory.

    Raises:
        JournalError: If the journal cannot be opened and `use` allows no other, or turns out to be
            damaged; a damaged one is set aside.
    """
    open_at = partial(Journal, enclosing=enclosing, clock=clock, timeout_s=timeout_s)
    with _open(folder, use, open_at, warn=warn, timeout_s=timeout_s) as journal:
        try:
            yield journal
        except JournalDamagedError as error:
            # The damage was found only during use.
            journal.close()
            _recover(folder, error, timeout_s=timeout_s)
            raise


def _open(
    folder: Path,
    use: JournalUse,
    open_at: Callable[[Path | None], Journal],
    *,
    warn: Callable[[str], None],
    timeout_s: float,
) -> Journal:
    if use is JournalUse.DECLINED:
        check_version(folder)
    if use in {JournalUse.DECLINED, JournalUse.NONE}:
        return open_at(None)
    try:
        try:
            return open_at(folder)
        except JournalDamagedError as error:
            _recover(folder, error, timeout_s=timeout_s)
            if use is JournalUse.REQUIRED:
                raise
            warn(error.message)
            return open_at(folder)
    except LocalError as error:
        is_newer = isinstance(error, JournalTooNewError)
        if use is JournalUse.REQUIRED or (use is JournalUse.PAYS and is_newer):
            raise
        warn(f"{error.message}; continuing without it")
        return open_at(None)


def _recover(folder: Path, error: JournalDamagedError, *, timeout_s: float) -> None:
    from omniedit.journal.recovery import recover  # noqa: PLC0415 - rarely needed

    recovery = recover(folder, timeout_s=timeout_s)
    error.hint = "run the command again"
    if recovery is not None:
        error.message += f"; {recovery.summary}"
        if not recovery.is_complete:
            error.hint = Hint("{} shows what is missing and accepts the loss", "journal recover")


def _is_news(known: Record, task: Task, completed_after: float | None) -> bool:
    """Return whether a poll brings anything new about a task, apart from progress."""
    before = known.task
    return (
        before is None
        or (before.status, before.error) != (task.status, task.error)
        or (completed_after is not None and known.completed_after is None)
        or bool(set(task.result_urls) - set(before.result_urls))
        or any(
            getattr(before, name) is None and getattr(task, name) is not None
            for name in OPTIONAL_TASK_FIELDS
        )
    )


def _render_name(name: str) -> str | bytes:
    """Return a URL, or a file name in the locale's encoding, in a form that SQLite accepts."""
    return _render_text(name, encoding=sys.getfilesystemencoding() if is_local(name) else "utf-8")


def _render_text(text: str, *, encoding: str = "utf-8") -> str | bytes:
    """Return text in a form that SQLite accepts: as bytes if it is not UTF-8 (PEP 383)."""
    content = text.encode(encoding, "surrogateescape")
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content


def _render_json(value: TaskError | VideoFacts | None) -> str | None:
    return json.dumps(value._asdict()) if value else None
