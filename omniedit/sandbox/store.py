"""The sandbox's state on disk: one private SQLite file, shared by processes and threads."""

import contextlib
import os
import secrets
import sqlite3
import threading
from collections.abc import Generator, Mapping, Sequence
from enum import StrEnum
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

from omniedit.sandbox.clips import Clips
from omniedit.sandbox.tasks import Edit, Status

DATABASE_NAME = "sandbox.sqlite3"
CREDITS_AT_START = 1_000_000.0
# After this long, another process takes over a callback whose process died.
CALLBACK_LEASE_S = 60.0
_BUSY_TIMEOUT_S = 30.0
_VERSION = 2


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


class NotAcceptedError(Exception):
    """The account does not accept an edit; the service must answer with this status."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status)
        self.status = status


_EDIT = ", ".join(Edit._fields)
_UPLOAD = ", ".join(Upload._fields)
_SCHEMA = f"""
create table setting (name text primary key, value text not null);
create table attempt (request_key text primary key, count integer not null);
create table upload ({_UPLOAD.replace("file_id", "file_id text primary key", 1)});
create table task (
    {_EDIT.replace("task_id", "task_id text primary key", 1)},
    settles_at real not null, request_key text, body_digest text not null,
    is_cut integer not null, callback_due_at real
);
create index task_created on task (created_at);
create index task_request on task (request_key);
create index task_callback on task (callback_due_at) where callback_due_at is not null;
"""
_CREDITS_TAKEN = """
select total(case when settles_at > ? then credits_reserved else credits_charged end) from task
"""


class Store:
    """One process's connection to the state; safe to use from any thread."""

    def __init__(self, folder: Path) -> None:
        """Open the file in `folder`, creating both if they are missing.

        Raises:
            OSError: If the folder or the file cannot be created or opened.
        """
        self._lock = threading.Lock()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Some file systems refuse this; the files in the folder are private anyway.
        with contextlib.suppress(PermissionError):
            folder.chmod(0o700)
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

    def secret(self) -> bytes:
        """Return the key that signs links, the same in every process."""
        with self.writing() as database:
            # Another process may have been faster.
            database.execute(
                "insert or ignore into setting values ('secret', ?)", [secrets.token_hex(32)]
            )
        ((value,),) = self.rows("select value from setting where name = 'secret'")
        return bytes.fromhex(value)

    def port(self) -> int | None:
        """Return the remembered port of this folder, or None."""
        rows = self.rows("select value from setting where name = 'port'")
        return int(rows[0][0]) if rows else None

    def remember_port(self, port: int) -> None:
        """Remember a port for the next process, so that existing links continue to work."""
        with self.writing() as database:
            database.execute("insert or replace into setting values ('port', ?)", [str(port)])

    def count_attempt(self, request_key: str) -> int:
        """Count a submission with this key, and return how many there have been."""
        with self.writing() as database:
            (count,) = database.execute(
                "insert into attempt values (?, 1)"
                " on conflict do update set count = count + 1 returning count",
                [request_key],
            ).fetchone()
        return int(count)

    def accept(
        self,
        edit: Edit,
        *,
        request_key: str | None,
        request_keys: RequestKeys,
        body_digest: str,
        is_cut: bool,
    ) -> tuple[Edit, bool]:
        """Record an edit once per request key; return the recorded one and whether it is a replay.

        Raises:
            NotAcceptedError: If the key belongs to another submission, or credits are short.
        """
        due_at = edit.settles_at if edit.callback_url and edit.final_status else None
        with self.writing() as database:
            known = database.execute(
                f"select body_digest, {_EDIT} from task where request_key = ? order by rowid",  # noqa: S608 - constant column names
                [request_key],
            ).fetchone()
            if known and request_keys is not RequestKeys.IGNORED:
                if request_keys is RequestKeys.REFUSED or known[0] != body_digest:
                    raise NotAcceptedError(HTTPStatus.CONFLICT)
                return Edit._make(known[1:]), True
            (taken,) = database.execute(_CREDITS_TAKEN, [edit.created_at]).fetchone()
            if CREDITS_AT_START - taken < edit.credits_reserved:
                raise NotAcceptedError(HTTPStatus.PAYMENT_REQUIRED)
            row = (*edit, edit.settles_at, request_key, body_digest, is_cut, due_at)
            database.execute(f"insert into task values ({_places(row)})", row)  # noqa: S608 - question marks
        return edit, False

    def task(self, task_id: str) -> Edit | None:
        """Return one edit, or None."""
        return next(iter(self.tasks_by_id([task_id])), None)

    def tasks_by_id(self, task_ids: Sequence[str]) -> list[Edit]:
        """Return the known edits among `task_ids`, in that order."""
        found = f"select {_EDIT} from task where task_id in ({_places(task_ids)})"  # noqa: S608 - question marks
        rows = self.rows(found, task_ids)
        known = {edit.task_id: edit for edit in map(Edit._make, rows)}
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
        with self.writing() as database:
            changed = database.execute(
                "update task set is_cut = 0 where task_id = ? and is_cut", [task_id]
            )
            return changed.rowcount == 1

    def take_callback(self, now: float) -> Edit | None:
        """Return an edit whose callback is due, leased to the caller, or None."""
        first = "select task_id from task where callback_due_at <= ? limit 1"
        if not self.rows(first, [now]):
            return None
        with self.writing() as database:
            row = database.execute(
                f"update task set callback_due_at = ? where task_id = ({first}) returning {_EDIT}",  # noqa: S608 - constant column names
                [now + CALLBACK_LEASE_S, now],
            ).fetchone()
        return Edit._make(row) if row else None

    def end_callback(self, task_id: str) -> None:
        """Record that a callback needs no further attempt."""
        with self.writing() as database:
            database.execute("update task set callback_due_at = null where task_id = ?", [task_id])

    def add_upload(self, upload: Upload) -> None:
        """Record an upload whose file is in place."""
        with self.writing() as database:
            database.execute(f"insert into upload values ({_places(upload)})", upload)  # noqa: S608 - question marks

    def upload(self, file_id: str, *, now: float) -> Upload | None:
        """Return one upload unless it has expired, or None."""
        rows = self.rows(
            f"select {_UPLOAD} from upload where file_id = ? and expires_at > ?",  # noqa: S608 - constant column names
            [file_id, now],
        )
        return Upload._make(rows[0]) if rows else None

    def count_uploads(self, *, now: float) -> int:
        """Return the number of uploads that have not expired."""
        ((count,),) = self.rows("select count(*) from upload where expires_at > ?", [now])
        return int(count)

    def forget_upload(self, file_id: str) -> bool:
        """Drop one upload; return whether it was known."""
        with self.writing() as database:
            gone = database.execute("delete from upload where file_id = ?", [file_id])
            return gone.rowcount == 1

    def forget_expired(self, now: float) -> tuple[list[str], list[str]]:
        """Drop expired uploads; return their IDs and those of tasks whose link has expired."""
        with self.writing() as database:
            uploads = database.execute(
                "delete from upload where expires_at <= ? returning file_id", [now]
            ).fetchall()
            tasks = database.execute(
                "select task_id from task where result_etag is not null and link_until <= ?", [now]
            ).fetchall()
        return [file_id for (file_id,) in uploads], [task_id for (task_id,) in tasks]

    def clear(self) -> int:
        """Drop every task and upload; return how many tasks there were."""
        with self.writing() as database:
            ((count,),) = database.execute("select count(*) from task")
            for table in ("task", "upload", "attempt"):
                database.execute(f"delete from {table}")  # noqa: S608 - constant table names
        return int(count)


def reset(folder: Path) -> int:
    """Remove every task and clip, even while they are served; return the number of tasks."""
    if not (folder / DATABASE_NAME).exists():
        return 0
    with contextlib.closing(Store(folder)) as store:
        count = store.clear()
    Clips(folder).clear()
    return count


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
        if connection.execute("pragma user_version").fetchone() != (_VERSION,):
            _create(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _create(connection: sqlite3.Connection) -> None:
    connection.execute("begin immediate")
    # Another process may have been faster.
    if connection.execute("pragma user_version").fetchone() != (_VERSION,):
        for (table,) in connection.execute(
            "select name from sqlite_master where type = 'table'"
        ).fetchall():
            connection.execute(f'drop table "{table}"')
        for statement in _SCHEMA.split(";\n"):
            connection.execute(statement)
        connection.execute(f"pragma user_version = {_VERSION}")
    connection.execute("commit")
