"""The sandbox's state on disk: SQLite, shared by many processes and threads at once."""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import threading
from dataclasses import astuple, dataclass, fields
from typing import TYPE_CHECKING

from omniedit.sandbox.lifecycle import (
    CREDITS_RESERVED,
    CREDITS_USED,
    Edit,
    Status,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

DATABASE_NAME = "sandbox.sqlite3"
CREDITS_AT_START = 1_000_000.0
# A courier that died with its process gives its callback up after this long.
CALLBACK_LEASE_S = 60.0
_BUSY_TIMEOUT_S = 30.0
_PORTS_REMEMBERED = 8
_VERSION = 1
_EDIT_COLUMNS = ", ".join(field.name for field in fields(Edit))
_UPLOAD_COLUMNS = "file_id, file_name, mime_type, size_bytes, sha256, created_at, expires_at"
_SCHEMA = f"""
create table setting (name text primary key, value text not null);
create table port (number integer primary key, rank integer not null);
create table attempt (request_key text primary key, count integer not null);
create table upload ({_UPLOAD_COLUMNS.replace("file_id", "file_id text primary key")});
create table task (
    {_EDIT_COLUMNS.replace("task_id", "task_id text primary key")},
    settles_at real not null, request_key text unique, body_digest text not null,
    is_cut integer not null, callback_due_at real
);
create index task_created on task (created_at);
create index task_callback on task (callback_due_at) where callback_due_at is not null;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """One file the file service holds."""

    file_id: str
    file_name: str
    mime_type: str
    size_bytes: int
    sha256: str
    created_at: float
    expires_at: float


class IdempotencyConflictError(Exception):
    """The request key already stands for another body."""


class InsufficientCreditsError(Exception):
    """The account cannot reserve what the edit may cost."""


class Store:
    """One process's connection to the shared state; safe to use from any thread."""

    def __init__(self, folder: Path) -> None:
        """Open the state in `folder`, which is made if it is missing."""
        self._lock = threading.Lock()
        _make_private_folder(folder)
        path = folder / DATABASE_NAME
        try:
            self._connection = _open(path)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            # Nothing in here was paid for: a damaged file is put aside and forgotten.
            path.replace(path.with_suffix(".damaged"))
            self._connection = _open(path)

    def close(self) -> None:
        """Close the connection; idle threads may still hold the store."""
        with self._lock:
            self._connection.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        # Immediate: a transaction that reads first cannot wait for the lock later.
        with self._lock:
            self._connection.execute("begin immediate")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("rollback")
                raise
            self._connection.execute("commit")

    def _rows(self, sql: str, values: Sequence[object] = ()) -> list[tuple[object, ...]]:
        with self._lock:
            return self._connection.execute(sql, values).fetchall()

    def secret(self) -> bytes:
        """Return the key that signs links; the same in every process, for ever."""
        with self._writing() as database:
            database.execute(
                "insert or ignore into setting values ('secret', ?)", [secrets.token_hex(32)]
            )
            (value,) = database.execute(
                "select value from setting where name = 'secret'"
            ).fetchone()
        return bytes.fromhex(value)

    def ports(self) -> list[int]:
        """Return the ports this folder was served on, the one to try first at the front."""
        return [int(str(port)) for (port,) in self._rows("select number from port order by rank")]

    def remember_port(self, port: int) -> None:
        """Put a port behind those already known, so that links to it can come back to life."""
        with self._writing() as database:
            database.execute(
                "insert or ignore into port select ?, coalesce(max(rank), 0) + 1 from port", [port]
            )
            database.execute(
                "delete from port where number not in"
                " (select number from port order by rank limit ?) and number != ?",
                [_PORTS_REMEMBERED - 1, port],
            )

    def count_attempt(self, request_key: str) -> int:
        """Return how many submissions came with this key, this one included."""
        with self._writing() as database:
            (count,) = database.execute(
                "insert into attempt values (?, 1)"
                " on conflict do update set count = count + 1 returning count",
                [request_key],
            ).fetchone()
        return int(count)

    def accept(
        self, edit: Edit, *, request_key: str | None, body_digest: str, is_cut: bool
    ) -> tuple[Edit, bool]:
        """Record an edit once per request key; return the recorded one and whether it is a replay.

        Raises:
            IdempotencyConflictError: the key stands for another body.
            InsufficientCreditsError: the balance is below the reservation.
        """
        due_at = edit.settles_at if edit.callback_url and edit.ends_as else None
        with self._writing() as database:
            known = database.execute(
                f"select body_digest, {_EDIT_COLUMNS} from task where request_key = ?",  # noqa: S608 - constant column names
                [request_key],
            ).fetchone()
            if known:
                if known[0] != body_digest:
                    raise IdempotencyConflictError
                return _edit(known[1:]), True
            if CREDITS_AT_START - _credits_taken(database, edit.created_at) < CREDITS_RESERVED:
                raise InsufficientCreditsError
            row = (*astuple(edit), edit.settles_at, request_key, body_digest, is_cut, due_at)
            marks = ", ".join("?" * len(row))
            database.execute(f"insert into task values ({marks})", row)
        return edit, False

    def task(self, task_id: str) -> Edit | None:
        """Return one edit, or None."""
        rows = self._rows(f"select {_EDIT_COLUMNS} from task where task_id = ?", [task_id])  # noqa: S608 - constant column names
        return _edit(rows[0]) if rows else None

    def tasks_by_id(self, task_ids: Sequence[str]) -> list[Edit]:
        """Return the edits among `task_ids` that are known, in that order."""
        marks = ", ".join("?" * len(task_ids))
        rows = self._rows(
            f"select {_EDIT_COLUMNS} from task where task_id in ({marks})",  # noqa: S608 - question marks
            task_ids,
        )
        known = {edit.task_id: edit for edit in map(_edit, rows)}
        return [known[task_id] for task_id in task_ids if task_id in known]

    def tasks(
        self, *, now: float, status: str | None, model: str | None, limit: int, offset: int
    ) -> tuple[list[Edit], int]:
        """Return one page of edits, newest first, and how many there are on all pages."""
        conditions, values = ["1"], list[object]()
        if status == Status.PROCESSING:
            conditions.append("settles_at > ?")
            values.append(now)
        elif status:
            conditions.append("settles_at <= ? and ends_as = ?")
            values += [now, status]
        if model:
            conditions.append("model = ?")
            values.append(model)
        where = f"from task where {' and '.join(conditions)}"
        rows = self._rows(
            f"select {_EDIT_COLUMNS} {where} order by created_at desc, rowid desc limit ? offset ?",
            [*values, limit, offset],
        )
        ((total,),) = self._rows(f"select count(*) {where}", values)
        return [_edit(row) for row in rows], int(str(total))

    def credits_taken(self, now: float) -> float:
        """Return what the account has spent and reserved at `now`."""
        with self._lock:
            return _credits_taken(self._connection, now)

    def take_cut(self, task_id: str) -> bool:
        """Return whether the download that starts now is the one to break off."""
        with self._writing() as database:
            changed = database.execute(
                "update task set is_cut = 0 where task_id = ? and is_cut", [task_id]
            )
            return changed.rowcount == 1

    def take_callback(self, now: float) -> Edit | None:
        """Return an edit whose callback is due, leased to the caller, or None."""
        if not self._rows("select 1 from task where callback_due_at <= ? limit 1", [now]):
            return None
        with self._writing() as database:
            row = database.execute(
                "update task set callback_due_at = ? where task_id ="
                " (select task_id from task where callback_due_at <= ? limit 1)"
                f" returning {_EDIT_COLUMNS}",
                [now + CALLBACK_LEASE_S, now],
            ).fetchone()
        return _edit(row) if row else None

    def end_callback(self, task_id: str) -> None:
        """Note that a callback needs no further attempt."""
        with self._writing() as database:
            database.execute("update task set callback_due_at = null where task_id = ?", [task_id])

    def add_upload(self, upload: Upload) -> None:
        """Record an upload whose file is in place."""
        with self._writing() as database:
            database.execute("insert into upload values (?, ?, ?, ?, ?, ?, ?)", astuple(upload))

    def upload(self, file_id: str, *, now: float) -> Upload | None:
        """Return one upload while it lives, or None."""
        rows = self._rows(
            f"select {_UPLOAD_COLUMNS} from upload where file_id = ? and expires_at > ?",  # noqa: S608 - constant column names
            [file_id, now],
        )
        names = _UPLOAD_COLUMNS.split(", ")
        return Upload(**dict(zip(names, rows[0], strict=True))) if rows else None  # type: ignore[arg-type]  # SQLite's columns have no static types

    def count_uploads(self, *, now: float) -> int:
        """Return how many uploads live at `now`."""
        ((count,),) = self._rows("select count(*) from upload where expires_at > ?", [now])
        return int(str(count))

    def forget_upload(self, file_id: str) -> bool:
        """Drop one upload; return whether it was known."""
        with self._writing() as database:
            gone = database.execute("delete from upload where file_id = ?", [file_id])
            return gone.rowcount == 1

    def forget_dead(self, now: float) -> tuple[list[str], list[str]]:
        """Drop expired uploads; return their IDs and those of the tasks whose link has died."""
        with self._writing() as database:
            uploads = database.execute(
                "delete from upload where expires_at <= ? returning file_id", [now]
            ).fetchall()
            tasks = database.execute(
                "select task_id from task where clip_etag is not null and link_until <= ?", [now]
            ).fetchall()
        return [file_id for (file_id,) in uploads], [task_id for (task_id,) in tasks]

    def clear(self) -> int:
        """Drop every task and upload; return how many tasks there were."""
        with self._writing() as database:
            ((count,),) = database.execute("select count(*) from task")
            for table in ("task", "upload", "attempt"):
                database.execute(f"delete from {table}")  # noqa: S608 - constant table names
        return int(count)


def _make_private_folder(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # A folder on a foreign file system may refuse; its files are private all the same.
    with contextlib.suppress(PermissionError):
        folder.chmod(0o700)


def _open(path: Path) -> sqlite3.Connection:
    # Created here, because SQLite would follow the umask; its journal takes the same mode.
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    connection = sqlite3.connect(
        path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    try:
        # A power cut may cost the sandbox its state; a killed process may not, and does not.
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


def _edit(row: Sequence[object]) -> Edit:
    values = dict(zip((field.name for field in fields(Edit)), row, strict=True))
    if values["ends_as"] is not None:
        values["ends_as"] = Status(str(values["ends_as"]))
    return Edit(**values)  # type: ignore[arg-type]  # SQLite's columns have no static types


def _credits_taken(database: sqlite3.Connection, now: float) -> float:
    (taken,) = database.execute(
        "select total(case when settles_at > ? then ? when ends_as = 'completed' then ? else 0 end)"
        " from task",
        [now, CREDITS_RESERVED, CREDITS_USED],
    ).fetchone()
    return float(taken)
