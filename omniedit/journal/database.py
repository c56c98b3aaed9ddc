"""The journal's SQLite file: opening, schema, transactions and errors."""

import os
import sqlite3
import stat
import threading
import uuid
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

from omniedit.errors import (
    JournalDamagedError,
    JournalError,
    JournalTooNewError,
    LocalError,
    TargetBusyError,
    upgrade_command,
)
from omniedit.policy import DEFAULT, Policy
from omniedit.system.files import (
    check_own_path,
    make_private_folder,
    open_own_file,
    refuse_dangling,
)

JOURNAL_FILE: Final = "journal.db"
SANDBOX_FOLDER: Final = "sandbox"
"""The folder of the sandbox's journal, in the state folder."""

ENDED: Final = "('cancelled', 'completed', 'failed')"
"""The statuses that a task keeps, in SQL."""
ADOPT_ORPHANS: Final = """
    update tasks set is_adopted = 1
    where task_id not in (select task_id from attempts where task_id is not null)
"""
"""A task is known by its attempt, or is adopted."""

_VERSION_1: Final = (
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
        error text                  -- JSON: code, message, suggestion, kind, http_status
    )
    """,
    "create index attempts_by_identity on attempts (origin, identity)",
    "create index attempts_by_task on attempts (task_id)",
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
    # What `last` means in each context.
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
        url text not null,
        expires_at real not null,
        primary key (sha256, origin)
    )
    """,
)
_VERSION_2: Final = (
    # Which file service a cached upload is at was not recorded.
    "drop table uploads",
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
    # The key that a submission was sent with: another account's must not send it again.
    """
    create table attempt_keys (
        request_id text primary key,
        key_digest text not null        -- salt:SHA-256 of salt and key
    )
    """,
    # Damaged journals whose rows are here, except those that could not be read.
    """
    create table recoveries (
        damaged_file text primary key,
        recovered_at real not null,
        rows_restored text not null,    -- JSON: table -> number
        unreadable_pages integer not null,
        missing_ids text not null       -- JSON
    )
    """,
)
_VERSION_3: Final = (
    # Rows that were written before are not rewritten: `recover` reads them without these columns,
    # all of which may be null.
    "alter table attempts add column clock_offset_s real",  # the service's clock minus this one's
    "alter table files add column is_elsewhere integer",  # on another machine, whose journal came
    # What was edited: to compare the result with it, and to tell where it comes from.
    "alter table attempts add column clip_sha256 text",
    "alter table attempts add column start_s real",
    "alter table attempts add column end_s real",
    "alter table attempts add column parent text",  # the task whose result the clip is
    "alter table attempts add column model text",
    "alter table attempts add column clip text",  # JSON: the facts of what was sent
    "alter table files add column facts text",  # JSON
    "alter table files add column sound text",  # null: as it was served
    "alter table files add column served_path text",
    # What is asked of a hundred thousand edits at every turn.
    "create index attempts_by_time on attempts (created_at)",
    f"create index tasks_open on tasks (origin) where status not in {ENDED}",
    "create index tasks_adopted on tasks (task_id) where is_adopted = 1",
    ADOPT_ORPHANS,
)
_MIGRATIONS: Final = (_VERSION_1, _VERSION_2, _VERSION_3)
VERSION: Final = len(_MIGRATIONS)
_MAGIC: Final = b"SQLite format 3\0"
_USER_VERSION: Final = slice(60, 64)
"""Where the version stands in a file (https://sqlite.org/fileformat.html, 1.3)."""
_UNDECODABLE: Final = "Could not decode to UTF-8"
"""What Python says of a damaged text."""
FAILURES: Final = (LocalError, OSError, UnicodeDecodeError, sqlite3.Error)
"""What the disk, the file system and SQLite raise."""
TABLES: Final = (
    "attempts",
    "attempt_keys",
    "tasks",
    "files",
    "calls",
    "uploads",
    "recoveries",
)


class Recovery(NamedTuple):
    """What became of a damaged journal."""

    damaged_file: Path  # set aside, as it was
    rows_restored: Mapping[str, int]  # by table
    unreadable_pages: int
    missing_ids: tuple[str, ...]  # request and task IDs of rows that are known to be lost

    @property
    def summary(self) -> str:
        """What was restored and what was not, in one sentence."""
        attempts, tasks = self.rows_restored["attempts"], self.rows_restored["tasks"]
        lost = "nothing is lost" if self.is_complete else "some could not be read"
        return (
            f"restored, submissions: {attempts}, tasks: {tasks}; {lost};"
            f" the damaged file was set aside as {self.damaged_file}"
        )

    @property
    def is_complete(self) -> bool:
        """Whether every row was restored."""
        return not self.unreadable_pages and not self.missing_ids


class Database:
    """A SQLite file with a rollback journal, synced at every commit, shared by processes.

    Args:
        path: The file; None keeps everything in memory.
        shown_path: What errors call it, where the file is a copy.
        policy: Says how long to wait for another process that writes.

    Raises:
        JournalError: If it cannot be opened.
        JournalDamagedError: If it is not a sound database.
        JournalTooNewError: If a newer omniedit wrote it.
    """

    def __init__(
        self, path: Path | None, *, shown_path: Path | None = None, policy: Policy = DEFAULT
    ) -> None:
        self.path = path
        self.shown_path = shown_path or path
        self._lock = threading.RLock()
        try:
            if path is not None:
                _check_files(path, shown_path or path)
            self._connection = sqlite3.connect(
                path or ":memory:",
                timeout=policy.journal_timeout_s,
                isolation_level=None,
                check_same_thread=False,  # guarded by the lock
            )
            self._file = path.stat() if path else None
            try:
                _prepare(self._connection, self.shown_path)
            except BaseException:
                # Windows cannot rename an open file.
                self._connection.close()
                raise
        except FAILURES as error:
            raise_mapped(self.shown_path, error)

    def check(self) -> None:
        """Read every page.

        Raises:
            JournalDamagedError: If one is damaged.
        """
        row: Any = self.rows("pragma quick_check(1)")[0]
        if row[0] != "ok":
            raise damage(self.shown_path, row[0])

    def close(self) -> None:
        """Close the file, as soon as no other thread uses it."""
        with self._lock:
            self._connection.close()

    def rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        """Return the rows that a query finds."""
        try:
            with self._lock:
                return self._connection.execute(sql, values).fetchall()
        except FAILURES as error:
            raise_mapped(self.shown_path, error)

    def columns(self, table: str) -> list[str]:
        """Return the names of a table's columns."""
        return [str(row["name"]) for row in self.rows(f"pragma table_info({table})")]

    def counts(self, tables: Sequence[str]) -> dict[str, int]:
        """Return how many rows tables have."""
        return {
            table: int(self.rows(f"select count(*) from {table}")[0][0])  # noqa: S608 - constants only
            for table in tables
        }

    def execute(self, sql: str, *values: object) -> None:
        """Execute a statement inside `writing`."""
        self._connection.execute(sql, values)

    @contextmanager
    def attached(self, path: Path) -> Generator[None]:
        """Have the tables of another file as `other.…` for a block."""
        with self._lock, mapped_errors(self.path):
            # The folder's name need not be UTF-8.
            self._connection.execute("attach database ? as other", (os.fsencode(path),))
            try:
                yield
            finally:
                self._connection.execute("detach database other")

    @contextmanager
    def writing(self) -> Generator[None]:
        """Run a block as one transaction.

        It takes the write lock first: a deferred transaction that begins with a read fails at
        once, whatever the time-out, when another process writes.
        """
        try:
            with self._lock:
                try:
                    # A signal that comes while it waits for the lock is raised once it has it.
                    self._connection.execute("begin immediate")
                    self._check_place()
                    yield
                    self._connection.execute("commit")
                except BaseException:
                    # SQLite may have rolled back by itself, for example when the disk is full.
                    if self._connection.in_transaction:
                        self._connection.execute("rollback")
                    raise
        except FAILURES as error:
            raise_mapped(self.path, error)

    def _check_place(self) -> None:
        """Refuse to write to a file that nobody will read again."""
        if self.path is None or self._file is None:
            return
        try:
            is_same = os.path.samestat(self._file, self.path.stat())
        except FileNotFoundError:
            is_same = False
        if not is_same:
            msg = f"the journal {self.path} was replaced while it was open"
            raise JournalError(msg, hint="run the command again")


def check_version(folder: Path) -> None:
    """Refuse a journal of a newer omniedit; nothing in its folder is created or changed.

    One that cannot be read passes: the caller does without it.

    Raises:
        JournalTooNewError: If a newer omniedit wrote it.
    """
    path = folder / JOURNAL_FILE
    try:
        # Not through SQLite, which would write to finish what a killed process began.
        file = open_own_file(path)
        if file is None:
            return
        with file:
            header = file.read(_USER_VERSION.stop)
    except (LocalError, OSError):
        return
    version = int.from_bytes(header[_USER_VERSION])
    if header.startswith(_MAGIC) and version > VERSION:
        raise _too_new(path, version)


def _check_files(path: Path, shown_path: Path) -> None:
    """Create what is missing, for this user alone, and refuse what others may have written."""
    make_private_folder(path.parent)
    check_own_path(path.parent, is_folder=True)
    state = path.parent.parent
    if path.parent.name == SANDBOX_FOLDER and not state.stat().st_mode & stat.S_ISVTX:
        check_own_path(state, is_folder=True)
    check_own_path(path)
    if not path.exists():
        refuse_dangling(path)
        _create(path)
    elif path.stat().st_size == 0:
        # To SQLite that is a new database.
        raise damage(shown_path, "the file is empty")


def _create(path: Path) -> None:
    """Create a journal under another name first, so that a kill leaves no empty one."""
    new = path.with_name(f"{path.stem}.{uuid.uuid4().hex}.new")
    # SQLite would let others read it; its rollback journal gets the same mode.
    os.close(os.open(new, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with closing(sqlite3.connect(new, isolation_level=None)) as connection:
            _prepare(connection, path)
        try:
            os.link(new, path)
        except FileExistsError:
            # Another process was faster.
            return
        except OSError:
            # Not every file system has hard links.
            if not path.exists():
                new.rename(path)
    finally:
        new.unlink(missing_ok=True)


def _prepare(connection: sqlite3.Connection, path: Path | None) -> None:
    connection.row_factory = sqlite3.Row
    connection.execute("pragma synchronous=full")
    # On macOS `fsync` does not empty the drive's own cache.
    connection.execute("pragma fullfsync=on")
    version = _version_of(connection)
    if version > VERSION:
        raise _too_new(path, version)
    if version < VERSION:
        _migrate(connection)
    # Damage in the middle of a file shows only where it is read.
    for table in TABLES:
        connection.execute(f"select * from {table} limit 1").fetchall()  # noqa: S608 - constants only


def _too_new(path: Path | None, version: int) -> JournalTooNewError:
    msg = f"the journal {path} was written by a newer omniedit (version {version})"
    return JournalTooNewError(msg, hint=f"upgrade omniedit: `{upgrade_command()}`")


def _migrate(connection: sqlite3.Connection) -> None:
    connection.execute("begin immediate")
    try:
        # Another process may have migrated it while this one waited for the lock.
        for migration in _MIGRATIONS[_version_of(connection) :]:
            # `executescript` would commit first.
            for statement in migration:
                connection.execute(statement)
        connection.execute(f"pragma user_version={VERSION}")
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise


def _version_of(connection: sqlite3.Connection) -> int:
    row: Any = connection.execute("pragma user_version").fetchone()
    return int(row[0])


@contextmanager
def mapped_errors(path: Path | None) -> Generator[None]:
    """Raise the errors of SQLite and of the file system as `JournalError`."""
    try:
        yield
    except FAILURES as error:
        raise_mapped(path, error)


def raise_mapped(path: Path | None, error: Exception) -> NoReturn:
    """Raise an error of SQLite or of the file system as `JournalError`; any other as it is."""
    mapped = _mapped(path, error)
    if mapped is None:
        raise error
    raise mapped from error


def damage(path: Path | None, reason: object) -> JournalDamagedError:
    """Return the error for a file that is not a sound journal."""
    return JournalDamagedError(f"the journal {path} is damaged: {reason}")


def _mapped(path: Path | None, error: Exception) -> JournalError | None:
    match error:
        case JournalError() | TargetBusyError():
            return None
        case LocalError():
            return _error(path, error.message, hint=error.hint)
        case OSError():
            return _error(path, error.strerror or str(error))
        case sqlite3.OperationalError() if _UNDECODABLE not in str(error):
            return _error(path, str(error))
        case sqlite3.OperationalError() | UnicodeDecodeError():
            return damage(path, "a text is not UTF-8")
        case sqlite3.DatabaseError() if type(error) is sqlite3.DatabaseError:
            # Its subclasses are about the statement, not the file.
            return damage(path, error)
        case _:
            return None


def _error(path: Path | None, reason: str, *, hint: str | None = None) -> JournalError:
    return JournalError(f"the journal {path} cannot be used: {reason}", hint=hint)
