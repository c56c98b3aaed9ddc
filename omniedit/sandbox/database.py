"""The SQLite file under the sandbox's state: private, shared by many processes and threads."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from dataclasses import fields
from typing import TYPE_CHECKING

from omniedit.sandbox.lifecycle import Edit

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

DATABASE_NAME = "sandbox.sqlite3"
EDIT_COLUMNS = ", ".join(field.name for field in fields(Edit))
UPLOAD_COLUMNS = "file_id, file_name, mime_type, size_bytes, sha256, created_at, expires_at"
_SCHEMA = f"""
create table setting (name text primary key, value text not null);
create table port (number integer primary key, rank integer not null);
create table attempt (request_key text primary key, count integer not null);
create table upload ({UPLOAD_COLUMNS.replace("file_id", "file_id text primary key")});
create table task (
    {EDIT_COLUMNS.replace("task_id", "task_id text primary key")},
    settles_at real not null, request_key text unique, body_digest text not null,
    is_cut integer not null, callback_due_at real
);
create index task_created on task (created_at);
create index task_callback on task (callback_due_at) where callback_due_at is not null;
"""
_BUSY_TIMEOUT_S = 30.0
_VERSION = 1


class Database:
    """One process's connection; safe to use from any thread."""

    def __init__(self, folder: Path) -> None:
        """Open the file in `folder`; both are made if they are missing.

        Raises:
            OSError: The folder or the file cannot be made or opened.
        """
        self._lock = threading.Lock()
        _make_private_folder(folder)
        path = folder / DATABASE_NAME
        try:
            self._connection = _open(path)
        except sqlite3.OperationalError as error:
            # Locked for too long, say: for whoever serves it the same as a file that is denied.
            raise OSError(str(error)) from error
        except sqlite3.DatabaseError:
            # Nothing in here was paid for: a damaged file is put aside and forgotten.
            path.replace(path.with_suffix(".damaged"))
            self._connection = _open(path)

    def close(self) -> None:
        """Close the connection; threads may still hold the database."""
        with self._lock:
            self._connection.close()

    @contextlib.contextmanager
    def writing(self) -> Generator[sqlite3.Connection]:
        """Hold the one transaction that may write; committed unless an exception leaves it."""
        # Immediate: a transaction that reads first cannot wait for the lock later.
        with self._lock:
            self._connection.execute("begin immediate")
            try:
                yield self._connection
                self._connection.execute("commit")
            except BaseException:
                # SQLite may have rolled back by itself, on a full disk for one.
                if self._connection.in_transaction:
                    self._connection.execute("rollback")
                raise

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[tuple[object, ...]]:
        """Return what a query finds."""
        with self._lock:
            return self._connection.execute(sql, values).fetchall()


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
