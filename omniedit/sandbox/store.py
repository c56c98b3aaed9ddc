"""The sandbox's state on disk: tasks and uploads in a SQLite file, and the clips beside it."""

import contextlib
import hashlib
import hmac
import math
import os
import secrets
import sqlite3
import tempfile
import threading
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from enum import StrEnum
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any, NamedTuple

DATABASE_NAME = "sandbox.sqlite3"
CREDITS_AT_START = 1_000_000.0
STALLED_AT_PER_CENT = 40
_PENDING_SHARE = 0.1
_BUSY_TIMEOUT_S = 30.0
_ABANDONED_AFTER_S = 3600.0
_VERSION = 2


class Status(StrEnum):
    """A task's status, as spelled on the wire."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Edit(NamedTuple):
    """One accepted edit; whatever happens to it later is decided at submission."""

    task_id: str
    model: str
    prompt: str
    video_url: str
    callback_url: str | None
    created_at: float
    duration_s: float
    final_status: Status | None  # None: it stalls
    fail_code: str | None
    is_empty: bool
    link_until: float
    result_etag: str | None  # None: the bundled clip
    credits_reserved: float
    credits_charged: float  # shown once the edit has settled
    request_key: str | None
    body_digest: str
    is_cut: bool  # the first download breaks off

    @property
    def settles_at(self) -> float:
        """The instant from which nothing changes any more."""
        return math.inf if self.final_status is None else self.created_at + self.duration_s

    def status_at(self, now: float) -> Status:
        """Return the status that the service reports at `now`."""
        if self.final_status is not None and now >= self.settles_at:
            return Status(self.final_status)  # which is a plain string once stored
        is_pending = now < self.created_at + _PENDING_SHARE * self.duration_s
        return Status.PENDING if is_pending else Status.PROCESSING

    def progress_at(self, now: float) -> int:
        """Return the progress in per cent that the service reports at `now`."""
        status = self.status_at(now)
        if status is not Status.PROCESSING:
            return 100 if status is Status.COMPLETED else 0
        pending_s = _PENDING_SHARE * self.duration_s
        share = (now - self.created_at - pending_s) / max(self.duration_s - pending_s, 1e-9)
        return min(1 + int(98 * share), STALLED_AT_PER_CENT if self.final_status is None else 99)


class Upload(NamedTuple):
    """One file that the file service holds."""

    file_id: str
    file_name: str
    mime_type: str
    size_bytes: int
    sha256: str
    length_s: float | None
    created_at: float
    expires_at: float


class RequestKeys(StrEnum):
    """What the service does with an `Idempotency-Key` that it has seen before."""

    HONOURED = "honoured"  # answers with the first task
    IGNORED = "ignored"  # makes another task
    REFUSED = "refused"  # answers 409, even if the body is the same


_EDIT = ", ".join(Edit._fields)
_UPLOAD = ", ".join(Upload._fields)
_SCHEMA = f"""
begin immediate;
create table if not exists setting (name text primary key, value text not null);
create table if not exists attempt (request_key text primary key, count integer not null);
create table if not exists upload ({_UPLOAD.replace("file_id", "file_id text primary key", 1)});
create table if not exists task (
    {_EDIT.replace("task_id", "task_id text primary key", 1)},
    settles_at real not null, callback_due_at real
);
create index if not exists task_created on task (created_at);
create index if not exists task_request on task (request_key);
create index if not exists task_callback on task (callback_due_at)
    where callback_due_at is not null;
pragma user_version = {_VERSION};
commit;
"""
_CREDITS_TAKEN = """
select total(case when settles_at > ? then credits_reserved else credits_charged end) from task
"""


class Store:
    """One process's connection to the state; safe to use from any thread."""

    def __init__(self, folder: Path) -> None:
        """Open the state in `folder`, creating both if they are missing.

        Raises:
            OSError: If the folder or the database cannot be created or opened.
        """
        self._lock = threading.Lock()
        self._uploads = folder / "uploads"
        self._results = folder / "results"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Some file systems refuse this; the files in the folder are private anyway.
        with contextlib.suppress(PermissionError):
            folder.chmod(0o700)
        for subfolder in (self._uploads, self._results):
            subfolder.mkdir(mode=0o700, exist_ok=True)
        self._remove_abandoned()
        path = folder / DATABASE_NAME
        try:
            self._connection = _open(path)
        except sqlite3.OperationalError as error:
            # For example locked for too long: report it like a file that cannot be opened.
            raise OSError(str(error)) from error
        except sqlite3.DatabaseError:
            # Nothing in here was paid for: set the damaged file aside and start with a new one.
            path.replace(path.with_suffix(".damaged"))
            self._connection = _open(path)

    def close(self) -> None:
        """Close the connection; idle threads may still hold the store."""
        with self._lock:
            self._connection.close()

    @contextlib.contextmanager
    def writing(self) -> Generator[sqlite3.Connection]:
        """Open a transaction that may write; commit it unless the block raises."""
        # Immediate, because a transaction that reads first cannot wait for the write lock later.
        with self._lock:
            self._connection.execute("begin immediate")
            try:
                yield self._connection
                self._connection.execute("commit")
            except BaseException:
                # SQLite may already have rolled back on its own, for example on a full disk.
                if self._connection.in_transaction:
                    self._connection.execute("rollback")
                raise

    def rows(
        self, sql: str, values: Sequence[object] | Mapping[str, object] = ()
    ) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with self._lock:
            return self._connection.execute(sql, values).fetchall()

    def _write(self, sql: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        """Execute one statement that writes, and return the rows that it returns."""
        with self.writing() as database:
            return database.execute(sql, values).fetchall()

    def sign(self, task_id: str, expires: str) -> str:
        """Return the signature of a result's link."""
        return hmac.new(self._secret, f"{task_id}\n{expires}".encode(), hashlib.sha256).hexdigest()

    @cached_property
    def _secret(self) -> bytes:
        # Another process may have been faster: the secret is the same in all of them.
        self._write("insert or ignore into setting values ('secret', ?)", [secrets.token_hex(32)])
        ((value,),) = self.rows("select value from setting where name = 'secret'")
        return bytes.fromhex(value)

    def port(self) -> int | None:
        """Return the remembered port of this folder, or None."""
        rows = self.rows("select value from setting where name = 'port'")
        return int(rows[0][0]) if rows else None

    def remember_port(self, port: int) -> None:
        """Remember a port for the next process, so that existing links continue to work."""
        self._write("insert or replace into setting values ('port', ?)", [str(port)])

    def count_attempt(self, request_key: str) -> int:
        """Count a submission with this key, and return how many there have been."""
        counted = (
            "insert into attempt values (?, 1)"
            " on conflict do update set count = count + 1 returning count"
        )
        ((count,),) = self._write(counted, [request_key])
        return int(count)

    def accept(self, edit: Edit, request_keys: RequestKeys) -> Edit | HTTPStatus:
        """Record an edit once per request key.

        Return it, or the earlier one of a replay, or the status with which it is refused.
        """
        due_at = edit.settles_at if edit.callback_url and edit.final_status else None
        known = f"select {_EDIT} from task where request_key = ? order by rowid"  # noqa: S608 - constant column names
        with self.writing() as database:
            row = database.execute(known, [edit.request_key]).fetchone()
            if row and request_keys is not RequestKeys.IGNORED:
                earlier = Edit._make(row)
                is_replay = earlier.body_digest == edit.body_digest
                is_refused = request_keys is RequestKeys.REFUSED or not is_replay
                return HTTPStatus.CONFLICT if is_refused else earlier
            (taken,) = database.execute(_CREDITS_TAKEN, [edit.created_at]).fetchone()
            if CREDITS_AT_START - taken < edit.credits_reserved:
                return HTTPStatus.PAYMENT_REQUIRED
            values = (*edit, edit.settles_at, due_at)
            columns = f"{_EDIT}, settles_at, callback_due_at"
            database.execute(f"insert into task ({columns}) values ({_places(values)})", values)  # noqa: S608 - constant column names
        return edit

    def task(self, task_id: str) -> Edit | None:
        """Return one edit, or None."""
        return next(iter(self.tasks_by_id([task_id])), None)

    def tasks_by_id(self, task_ids: Sequence[str]) -> list[Edit]:
        """Return the known edits among `task_ids`, in that order."""
        found = f"select {_EDIT} from task where task_id in ({_places(task_ids)})"  # noqa: S608 - question marks
        known = {edit.task_id: edit for edit in map(Edit._make, self.rows(found, task_ids))}
        return [known[task_id] for task_id in task_ids if task_id in known]

    def tasks(
        self, *, now: float, status: str | None, model: str | None, limit: int, offset: int
    ) -> tuple[list[Edit], int]:
        """Return one page of edits, newest first, and the number of edits on all pages."""
        where = (
            "from task where :model in ('', model) and :status in"
            f" ('', case when settles_at > :now then '{Status.PROCESSING}' else final_status end)"
        )
        values = {"now": now, "model": model or "", "status": status or ""}
        rows = self.rows(
            f"select {_EDIT} {where} order by created_at desc, rowid desc limit :limit offset :offset",
            values | {"limit": limit, "offset": offset},
        )
        ((total,),) = self.rows(f"select count(*) {where}", values)
        return [*map(Edit._make, rows)], int(total)

    def credits_taken(self, now: float) -> float:
        """Return the credits that the account has spent or reserved at `now`."""
        ((taken,),) = self.rows(_CREDITS_TAKEN, [now])
        return float(taken)

    def take_cut(self, task_id: str) -> bool:
        """Return whether to break off the download that starts now; true only once per task."""
        taken = "update task set is_cut = 0 where task_id = ? and is_cut returning 1"
        return bool(self._write(taken, [task_id]))

    def take_callback(self, now: float) -> Edit | None:
        """Return an edit whose callback is due, or None; each is returned once."""
        first = "select task_id from task where callback_due_at <= ? limit 1"
        if not self.rows(first, [now]):
            return None
        taken = (
            f"update task set callback_due_at = null where task_id = ({first}) returning {_EDIT}"  # noqa: S608 - constant column names
        )
        rows = self._write(taken, [now])
        return Edit._make(rows[0]) if rows else None

    def open_part(self) -> IO[bytes]:
        """Open a new file, private to this user, for an upload in progress."""
        return tempfile.NamedTemporaryFile(dir=self._uploads, suffix=".part", delete=False)

    def _remove_abandoned(self) -> None:
        """Remove the incomplete uploads of processes that were killed."""
        # File times follow the real clock, whatever clock the tasks use.
        oldest = time.time() - _ABANDONED_AFTER_S
        for path in self._uploads.glob("*.part"):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < oldest:
                    path.unlink()

    def upload_path(self, file_id: str) -> Path:
        """Return the path of an upload."""
        return self._uploads / f"{file_id}.clip"

    def result_path(self, task_id: str) -> Path:
        """Return the path of a result that is not the bundled clip."""
        return self._results / f"{task_id}.mp4"

    def add_upload(self, upload: Upload, part: Path) -> None:
        """Record an upload, and move its file into place."""
        part.replace(self.upload_path(upload.file_id))
        self._write(f"insert into upload values ({_places(upload)})", upload)  # noqa: S608 - question marks

    def upload(self, file_id: str, *, now: float) -> Upload | None:
        """Return one upload unless it has expired, or None."""
        found = f"select {_UPLOAD} from upload where file_id = ? and expires_at > ?"  # noqa: S608 - constant column names
        rows = self.rows(found, [file_id, now])
        return Upload._make(rows[0]) if rows else None

    def count_uploads(self, *, now: float) -> int:
        """Return the number of uploads that have not expired."""
        ((count,),) = self.rows("select count(*) from upload where expires_at > ?", [now])
        return int(count)

    def remove_upload(self, file_id: str) -> bool:
        """Remove one upload; return whether it was known."""
        known = self._write("delete from upload where file_id = ? returning 1", [file_id])
        remove_files([self.upload_path(file_id)] if known else [])
        return bool(known)

    def remove_expired(self, now: float) -> None:
        """Remove the expired uploads, and the results whose link has expired."""
        uploads = self._write("delete from upload where expires_at <= ? returning file_id", [now])
        tasks = self.rows(
            "select task_id from task where result_etag is not null and link_until <= ?", [now]
        )
        remove_files(self.upload_path(file_id) for (file_id,) in uploads)
        remove_files(self.result_path(task_id) for (task_id,) in tasks)
        self._remove_abandoned()

    def clear(self) -> int:
        """Remove every task and clip; return how many tasks there were."""
        with self.writing() as database:
            ((count,),) = database.execute("select count(*) from task")
            for table in ("task", "upload", "attempt"):
                database.execute(f"delete from {table}")  # noqa: S608 - constant table names
        remove_files([*self._uploads.glob("*.clip"), *self._results.glob("*.mp4")])
        return int(count)


def reset(folder: Path) -> int:
    """Remove every task and clip, even while they are served; return the number of tasks."""
    if not (folder / DATABASE_NAME).exists():
        return 0
    with contextlib.closing(Store(folder)) as store:
        return store.clear()


def remove_files(paths: Iterable[Path]) -> None:
    """Remove files; skip those in use or already gone."""
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink()


def _places(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


def _open(path: Path) -> sqlite3.Connection:
    # Created here, because SQLite would follow the umask; its journal gets the same mode.
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    connection = sqlite3.connect(
        path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    try:
        # A power cut may cost the sandbox its state; a killed process does not.
        connection.execute("pragma synchronous = off")
        ((version,),) = connection.execute("pragma user_version")
        if version not in {0, _VERSION}:
            raise sqlite3.DatabaseError  # noqa: TRY301 - no different from a damaged one
        if version == 0:
            connection.executescript(_SCHEMA)
    except BaseException:
        connection.close()
        raise
    return connection
