"""The journal's SQLite file: opening, schema, transactions and errors."""

import os
import re
import sqlite3
import stat
import threading
import uuid
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from omniedit.errors import (
    JournalDamagedError,
    JournalError,
    JournalTooNewError,
    LocalError,
    TargetBusyError,
    upgrade_command,
)
from omniedit.models import OPTIONAL_TASK_FIELDS
from omniedit.policy import DEFAULT
from omniedit.system import error_reason
from omniedit.system.files import (
    check_own_paths,
    make_private_folder,
    open_own_file,
    refuse_dangling_link,
)
from omniedit.system.locks import hold

JOURNAL_FILE: Final = "journal.db"
LOCKS_FOLDER: Final = "locks"

ENDED: Final = "('cancelled', 'completed', 'failed')"
"""The final task statuses, as an SQL list."""
ADOPT_ORPHANS: Final = """
    update tasks set is_adopted = 1
    where task_id not in (select task_id from attempts where task_id is not null)
"""
"""Mark every task that has no attempt as adopted."""

COUNTED_TABLES: Final = ("attempts", "tasks", "files", "calls")
"""The tables whose rows are counted when a journal is recovered or merged."""
TABLES: Final = (*COUNTED_TABLES, "attempt_keys", "uploads", "recoveries")

# New columns are appended, and nullable: `recover` reads older rows without them.
_SCHEMA: Final = (
    # Submissions, including refused and unknown ones.
    """
    create table attempts (
        request_id text primary key,
        origin text not null,
        identity text,
        state text not null,        -- sending, accepted, refused, unknown
        video text not null,
        prompt text not null,
        body blob,                  -- exactly as sent; dropped once it will not be sent again
        body_digest text,
        created_at real not null,
        task_id text,
        error text,                 -- JSON: code, message, suggestion, kind, http_status
        clock_offset_s real,        -- the service's clock minus ours
        -- What was edited, to compare it with the result and to record the result's provenance.
        clip_sha256 text,
        start_s real,
        end_s real,
        parent text,                -- the task whose result the clip is
        model text,
        clip text                   -- JSON: facts about the clip as sent
    )
    """,
    "create index attempts_by_identity on attempts (origin, identity)",
    "create index attempts_by_task on attempts (task_id)",
    "create index attempts_by_time on attempts (created_at)",
    # The key of each submission: it must not be replayed with another account's key.
    """
    create table attempt_keys (
        request_id text primary key,
        key_digest text not null    -- salt:SHA-256 of salt and key
    )
    """,
    # The service's tasks: submitted from here, or adopted.
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
        error text,                 -- JSON, as in attempts
        completed_after real,
        is_adopted integer not null,
        is_result_gone integer not null,
        recorded_at real not null
    )
    """,
    f"create index tasks_open on tasks (origin) where status not in {ENDED}",
    "create index tasks_adopted on tasks (task_id) where is_adopted = 1",
    """
    create table files (
        task_id text not null,
        path text not null,
        size_bytes integer not null,
        sha256 text not null,
        saved_at real not null,
        is_elsewhere integer,       -- on another machine, after a merge
        facts text,                 -- JSON
        sound text,                 -- null: as served
        served_path text,
        primary key (task_id, path)
    )
    """,
    # The calls that `last` refers to, by context.
    """
    create table calls (
        number integer primary key autoincrement,
        context text not null,
        request_id text,            -- null: a batch, which has no last task
        called_at real not null
    )
    """,
    "create index calls_by_context on calls (context, number)",
    """
    create table uploads (
        sha256 text not null,
        origin text not null,
        files_origin text not null,
        url text not null,
        expires_at real not null,
        primary key (sha256, origin, files_origin)
    )
    """,
    # Damaged journals that were recovered into this one, and which rows could not be read.
    """
    create table recoveries (
        damaged_file text primary key,
        recovered_at real not null,
        rows_restored text not null,  -- JSON: table -> number
        unreadable_pages integer not null,
        missing_ids text not null     -- JSON
    )
    """,
)
ATTEMPT_FIELDS: Final = (
    "request_id",
    "origin",
    "identity",
    "body",
    "body_digest",
    "clock_offset_s",
    "clip_sha256",
    "start_s",
    "end_s",
    "parent",
    "model",
)
"""Columns of `attempts` that hold fields of a `Record` as they are."""
OPTIONAL_COLUMNS: Final = (*OPTIONAL_TASK_FIELDS, "error", "completed_after")
"""Columns of `tasks` that may be null; each of `OPTIONAL_TASK_FIELDS` is held in one as it is."""
_SEQUENCES: Final = "create table sqlite_sequence(name,seq)"
"""SQLite's own table for `autoincrement`."""
VERSION: Final = 3
MAGIC: Final = b"SQLite format 3\0"
_USER_VERSION: Final = slice(60, 64)
"""The bytes of the file header that hold the version (https://sqlite.org/fileformat.html, 1.3)."""
_NOT_UTF_8: Final = "it contains text that is not UTF-8"


class Recovery(NamedTuple):
    """The outcome of recovering a damaged journal."""

    damaged_file: Path  # set aside, unchanged
    rows_restored: Mapping[str, int]  # by table
    unreadable_pages: int
    missing_ids: tuple[str, ...]  # request and task IDs of rows that are known to be lost

    @property
    def summary(self) -> str:
        """What was restored and what was not, in one sentence."""
        attempts = self.rows_restored["attempts"]
        tasks = self.rows_restored["tasks"]
        lost = "nothing was lost" if self.is_complete else "some rows could not be read"
        return (
            f"restored, submissions: {attempts}, tasks: {tasks}; {lost};"
            f" the damaged file was set aside as {self.damaged_file}"
        )

    @property
    def is_complete(self) -> bool:
        """Whether every row was restored."""
        return not self.unreadable_pages and not self.missing_ids


class Database:
    """A SQLite file with a rollback journal, synced at every commit and shared by processes.

    Args:
        path: The file; None keeps everything in memory.
        shown_path: The path that errors name, if `path` is a copy.
        enclosing: A folder further up that others must not be able to write to either.
        timeout_s: How long to wait while another process is writing.

    Raises:
        JournalError: If it cannot be opened.
        JournalDamagedError: If it is not a sound database.
        JournalTooNewError: If a newer omniedit wrote it.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        shown_path: Path | None = None,
        enclosing: Path | None = None,
        timeout_s: float = DEFAULT.journal_timeout_s,
    ) -> None:
        self.shown_path = shown_path or path
        self._lock = threading.RLock()
        with mapped_errors(self.shown_path):
            if path is not None:
                _check_files(path, enclosing)
            self._connection = sqlite3.connect(
                path or ":memory:",
                timeout=timeout_s,
                isolation_level=None,
                check_same_thread=False,  # guarded by the lock
            )
            self._opened = (path, path.stat()) if path else None
            try:
                _prepare(self._connection, self.shown_path, is_new=path is None)
            except BaseException:
                # Windows cannot rename an open file.
                self._connection.close()
                raise

    def close(self) -> None:
        """Close the file once no other thread is using it."""
        with self._lock:
            self._connection.close()

    def rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        """Return the rows of a query."""
        with mapped_errors(self.shown_path), self._lock:
            return self._connection.execute(sql, values).fetchall()

    def counts(self) -> dict[str, int]:
        """Return the number of rows in each of `COUNTED_TABLES`."""
        return {
            table: int(self.rows(f"select count(*) from {table}")[0][0])  # noqa: S608 - constants only
            for table in COUNTED_TABLES
        }

    def execute(self, sql: str, *values: object) -> int:
        """Execute a statement, in a transaction of its own outside `writing`; count its rows."""
        with self.writing():
            return self._connection.execute(sql, values).rowcount

    def delete(self, table: str, **values: object) -> None:
        """Delete the rows that have these values."""
        where = " and ".join(f"{name} = ?" for name in values)
        self.execute(f"delete from {table} where {where}", *values.values())  # noqa: S608 - constants only

    def update(self, table: str, values: Mapping[str, object], **where: object) -> int:
        """Set values of the rows that have those of `where`; return the number of these rows."""
        changes = ", ".join([f"{name} = ?" for name in values])
        condition = " and ".join([f"{name} = ?" for name in where])
        sql = f"update {table} set {changes} where {condition}"  # noqa: S608 - constants only
        return self.execute(sql, *values.values(), *where.values())

    def insert(self, table: str, values: Mapping[str, object], *, conflict: str = "") -> None:
        """Insert a row, in a transaction of its own outside `writing`.

        Args:
            table: The table.
            values: The row, by column.
            conflict: What to do if its key is taken (SQL); by default, the row is replaced.
        """
        names = ", ".join(values)
        marks = ", ".join("?" * len(values))
        verb = "insert" if conflict else "insert or replace"
        self.execute(f"{verb} into {table} ({names}) values ({marks}) {conflict}", *values.values())

    @contextmanager
    def writing(self) -> Generator[None]:
        """Run a block as one transaction, or as a part of the one that is open.

        The write lock is taken first: a deferred transaction that begins with a read fails at
        once, whatever the timeout, if another process is writing.
        """
        with self._lock:
            if self._connection.in_transaction:
                yield
                return
            # The connection commits at the end of the block, or rolls back after any exception.
            with mapped_errors(self.shown_path), self._connection:
                # A signal that arrives during the wait for the lock is raised once it is held.
                self._connection.execute("begin immediate")
                self._check_not_replaced()
                yield

    def _check_not_replaced(self) -> None:
        """Refuse to write to a file that is no longer the one at its path."""
        if self._opened is None:
            return
        path, found = self._opened
        try:
            is_same = os.path.samestat(found, path.stat())
        except FileNotFoundError:
            is_same = False
        if not is_same:
            msg = f"the journal {path} was replaced while it was open"
            raise JournalError(msg, hint="run the command again")


def companions(path: Path) -> list[Path]:
    """Return the paths of the files that SQLite opens beside a database, if they exist.

    Opening a database reads them, which would never end if one of them were a named pipe.
    """
    # SQLite looks for them where a link leads to.
    file = Path(os.path.realpath(path))
    return [file.with_name(f"{file.name}{suffix}") for suffix in ("-journal", "-wal", "-shm")]


def check_version(folder: Path) -> None:
    """Refuse a journal of a newer omniedit, without creating or changing anything in its folder.

    A journal that cannot be read passes, because the caller does not use it.

    Raises:
        JournalTooNewError: If a newer omniedit wrote it.
    """
    path = folder / JOURNAL_FILE
    try:
        # Not through SQLite, which would roll back the transaction of a killed process.
        file = open_own_file(path)
        if file is None:
            return
        with file:
            header = file.read(_USER_VERSION.stop)
    except (LocalError, OSError):
        return
    version = int.from_bytes(header[_USER_VERSION], signed=True)
    if header.startswith(MAGIC) and version > VERSION:
        raise _too_new(path, version)


@contextmanager
def mapped_errors(path: Path | None) -> Generator[None]:
    """Raise SQLite and file system errors as `JournalError`."""
    try:
        yield
    except (JournalError, TargetBusyError):
        raise
    except (LocalError, OSError) as error:
        raise _unusable(path, error) from error
    except UnicodeDecodeError as error:
        raise damage(path, _NOT_UTF_8) from error
    except sqlite3.OperationalError as error:
        # The statements are constant: if one is wrong, the file lacks a table or a column.
        code = getattr(error, "sqlite_errorcode", None)
        if code not in {None, sqlite3.SQLITE_ERROR}:
            raise _unusable(path, error) from error
        raise damage(path, error if code else _NOT_UTF_8) from error
    except sqlite3.DatabaseError as error:
        # Its other subclasses concern the statement, not the file.
        if type(error) is not sqlite3.DatabaseError:
            raise
        raise damage(path, error) from error


@contextmanager
def held_lock(
    path: Path, *, sleep: Callable[[float], object], timeout_s: float | None = None
) -> Generator[None]:
    """Hold a lock for a block, creating its folder if it is missing.

    Raises:
        TargetBusyError: If another process still holds it after `timeout_s`.
        JournalError: If the lock cannot be created.
    """
    with ExitStack() as stack:
        with mapped_errors(path.parent):
            make_private_folder(path.parent)
            stack.enter_context(hold(path, sleep=sleep, timeout_s=timeout_s))
        yield


def damage(path: Path | None, reason: object) -> JournalDamagedError:
    """Return the error for a damaged journal."""
    return JournalDamagedError(f"the journal {path} is damaged: {reason}")


def _check_files(path: Path, enclosing: Path | None) -> None:
    """Create missing files and folders as private, and refuse any that others may have written."""
    make_private_folder(path.parent)
    check_own_paths(path.parent, is_folder=True)
    # In a sticky folder, such as /tmp, others cannot replace what is ours.
    if enclosing is not None and not enclosing.stat().st_mode & stat.S_ISVTX:
        check_own_paths(enclosing, is_folder=True)
    check_own_paths(path, *filter(os.path.lexists, companions(path)))
    if not path.exists():
        refuse_dangling_link(path)
        _create(path)


def _create(path: Path) -> None:
    """Create a journal under another name first, so that a kill cannot leave an empty one."""
    new = path.with_name(f"{path.stem}.{uuid.uuid4().hex}.new")
    # SQLite would create it readable by others; its rollback journal gets the same mode.
    os.close(os.open(new, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with closing(sqlite3.connect(new, isolation_level=None)) as connection:
            _prepare(connection, path, is_new=True)
        try:
            os.link(new, path)
        except FileExistsError:
            # Another process created it first.
            return
        except OSError:
            # Not every file system has hard links.
            if not path.exists():
                new.rename(path)
    finally:
        new.unlink(missing_ok=True)


def _prepare(connection: sqlite3.Connection, path: Path | None, *, is_new: bool) -> None:
    connection.row_factory = sqlite3.Row
    connection.execute("pragma synchronous=full")
    # On macOS, `fsync` does not flush the drive's cache.
    connection.execute("pragma fullfsync=on")
    if is_new:
        with connection:
            connection.execute("begin")
            for statement in (*_SCHEMA, f"pragma user_version={VERSION}"):
                connection.execute(statement)
    version: int = connection.execute("pragma user_version").fetchone()[0]
    if version > VERSION:
        raise _too_new(path, version)
    # In any other schema a column may be missing, or compute something forever when it is read.
    read_schema = "select substr(group_concat(sql, ';'), 1, 10000) from sqlite_master"
    found = connection.execute(read_schema).fetchone()[0]
    if version != VERSION or not _is_schema(found or ""):
        raise damage(path, "its tables are not those of this version" if found else "it is empty")
    # Damage in the middle of a file goes unnoticed until that part is read.
    for table in TABLES:
        connection.execute(f"select * from {table} limit 1").fetchall()  # noqa: S608 - constants only


def _is_schema(sql: str) -> bool:
    """Return whether these are the schema's statements, perhaps written or ordered differently."""
    schema = ";".join((*_SCHEMA, _SEQUENCES))
    # Nearly always they are written like this; normalizing costs every command a millisecond.
    found, expected = ({*map(str.strip, text.lower().split(";"))} for text in (sql, schema))
    return found == expected or _statements(sql) == _statements(schema)


def _statements(sql: str) -> set[str]:
    """Return SQL statements without comments and differences of case and white space."""
    spaced = re.sub(r"\s+", " ", re.sub(r"--.*", " ", sql.lower()), flags=re.ASCII)
    return {*re.sub(r" ?([(),;]) ?", r"\1", spaced).strip().split(";")}


def _too_new(path: Path | None, version: int) -> JournalTooNewError:
    msg = f"the journal {path} was written by a newer omniedit (version {version})"
    return JournalTooNewError(msg, hint=f"upgrade omniedit: `{upgrade_command()}`")


def _unusable(path: Path | None, error: Exception) -> JournalError:
    hint = error.hint if isinstance(error, LocalError) else None
    return JournalError(f"the journal {path} cannot be used: {error_reason(error)}", hint=hint)
