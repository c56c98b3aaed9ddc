"""The journal's SQLite file: opening, schema, transactions, and what its errors mean."""

import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from omniedit.errors import JournalDamagedError, JournalError, JournalTooNewError
from omniedit.system.folders import make_private_folder

BUSY_TIMEOUT_S: Final = 30.0

_VERSION_1: Final = (
    # Submissions, refused and unknown ones included.
    """
    create table attempts (
        request_id text primary key,
        origin text not null,
        identity text,
        state text not null,        -- sending, accepted, refused, unknown
        video text not null,
        prompt text not null,
        body blob,                  -- exactly as sent, dropped once it is not to be sent again
        body_digest text,
        created_at real not null,
        task_id text,
        error text                  -- JSON: code, message, suggestion, kind, http_status
    )
    """,
    "create index attempts_by_identity on attempts (origin, identity)",
    "create index attempts_by_task on attempts (task_id)",
    # What the service made of them, and what was adopted.
    """
    create table tasks (
        task_id text primary key,
        origin text not null,
        status text not null,
        model text,
        created_at real,
        estimated_s real,
        credits_reserved real,
        credits_used real,
        result_urls text not null,  -- JSON
        error text,                 -- JSON, as above
        completed_after real,
        is_adopted integer not null,
        is_result_gone integer not null,
        recorded_at real not null
    )
    """,
    """
    create table files (
        task_id text not null,
        path text not null,
        size_bytes integer not null,
        sha256 text not null,
        saved_at real not null,
        primary key (task_id, path)
    )
    """,
    # What `last` means, by context.
    """
    create table calls (
        number integer primary key autoincrement,
        context text not null,
        request_id text,            -- null: a batch, which has no single last task
        called_at real not null
    )
    """,
    "create index calls_by_context on calls (context, number)",
    """
    create table uploads (
        sha256 text not null,
        origin text not null,
        url text not null,
        expires_at real not null,
        primary key (sha256, origin)
    )
    """,
)
_MIGRATIONS: Final = (_VERSION_1,)
VERSION: Final = len(_MIGRATIONS)
TABLES: Final = ("attempts", "tasks", "files", "calls", "uploads")


class Database:
    """A SQLite file with a rollback journal, synced at every commit, shared by many processes.

    Args:
        path: The file; None keeps everything in memory.

    Raises:
        JournalError: It cannot be opened.
        JournalDamagedError: It is not a sound database.
        JournalTooNewError: A newer omniedit wrote it.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._lock = threading.RLock()
        with _mapped_errors(path):
            if path is not None:
                _make_private(path)
            self._connection = sqlite3.connect(
                path or ":memory:",
                timeout=BUSY_TIMEOUT_S,
                isolation_level=None,
                check_same_thread=False,  # the lock keeps threads apart
            )
            try:
                self._prepare()
            except BaseException:
                # An open file cannot be set aside on Windows.
                self._connection.close()
                raise

    def check(self) -> None:
        """Read every page.

        Raises:
            JournalDamagedError: One is not sound.
        """
        row: Any = self.rows("pragma quick_check(1)")[0]
        if row[0] != "ok":
            msg = f"the journal {self.path} is damaged: {row[0]}"
            raise JournalDamagedError(msg)

    def close(self) -> None:
        """Close the file, once no other thread is reading or writing it."""
        with self._lock:
            self._connection.close()

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[sqlite3.Row]:
        """Return what a query finds."""
        with self._lock, _mapped_errors(self.path):
            return self._connection.execute(sql, values).fetchall()

    def execute(self, sql: str, values: Sequence[object] = ()) -> None:
        """Carry out a statement inside `writing`."""
        self._connection.execute(sql, values)

    @contextmanager
    def writing(self) -> Generator[None]:
        """Hold the write lock for a block, and commit it whole or not at all.

        A deferred transaction that first reads fails at once when another process writes,
        whatever the time-out; so the lock is taken first.
        """
        with self._lock, _mapped_errors(self.path):
            self._connection.execute("begin immediate")
            try:
                yield
                self._connection.execute("commit")
            except BaseException:
                # SQLite may have rolled back by itself, on a full disk for one.
                if self._connection.in_transaction:
                    self._connection.execute("rollback")
                raise

    def _prepare(self) -> None:
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("pragma synchronous=full")
        # For macOS, whose `fsync` leaves the drive's own cache alone.
        self._connection.execute("pragma fullfsync=on")
        self._migrate()
        # Damage in the middle of a file shows only when it is read.
        for table in TABLES:
            self._connection.execute(f"select * from {table} limit 1").fetchall()  # noqa: S608

    def _migrate(self) -> None:
        version = self._version()
        if version > VERSION:
            msg = f"the journal {self.path} was written by a newer omniedit (version {version})"
            raise JournalTooNewError(msg, hint="upgrade omniedit: `pip install -U omniedit`")
        if version == VERSION:
            return
        with self.writing():
            # Another process may have done it while this one waited for the lock.
            for migration in _MIGRATIONS[self._version() :]:
                # Not `executescript`, which would commit first.
                for statement in migration:
                    self.execute(statement)
            self.execute(f"pragma user_version={VERSION}")

    def _version(self) -> int:
        row: Any = self._connection.execute("pragma user_version").fetchone()
        return int(row[0])


def set_aside(path: Path) -> Path:
    """Give a damaged journal another name, its rollback journal too; return the new name.

    Raises:
        JournalError: It cannot be renamed.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    aside = path.with_name(f"{path.stem}.damaged-{stamp}-{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        path.rename(aside)
        rollback = path.with_name(f"{path.name}-journal")
        if rollback.exists():
            rollback.rename(aside.with_name(f"{aside.name}-journal"))
    except OSError as error:
        raise _error(path, error.strerror or str(error)) from error
    return aside


def _make_private(path: Path) -> None:
    make_private_folder(path.parent)
    # SQLite would make it readable to others, and gives its rollback journal the same mode.
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT, 0o600))


@contextmanager
def _mapped_errors(path: Path | None) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise _error(path, error.strerror or str(error)) from error
    except sqlite3.OperationalError as error:
        raise _error(path, str(error)) from error
    except sqlite3.DatabaseError as error:
        if type(error) is not sqlite3.DatabaseError:
            # Its subclasses speak of the statement, not of the file.
            raise
        msg = f"the journal {path} is damaged: {error}"
        raise JournalDamagedError(msg) from error


def _error(path: Path | None, reason: str) -> JournalError:
    return JournalError(f"the journal {path} cannot be used: {reason}")
