"""Merging the edits of other journals into this one; the others are never written to."""

import os
import shutil
import sqlite3
import uuid
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from omniedit.errors import Hint, JournalDamagedError, JournalError, LocalError
from omniedit.journal.database import (
    ADOPT_ORPHANS,
    ENDED,
    JOURNAL_FILE,
    OPTIONAL_COLUMNS,
    Database,
    companions,
    mapped_errors,
)
from omniedit.journal.reading import Reader, is_present, parse_row, parse_saved_file
from omniedit.policy import DEFAULT
from omniedit.system.files import check_kind
from omniedit.system.locks import private_folder

_TASKS: Final = f"""
    insert into tasks select * from other.tasks where true
    on conflict (task_id) do update set
        -- Not `iif`: see `_NEWER_STATE` in `journal.py`.
        status = case when status in {ENDED} then status else excluded.status end,
        {", ".join([f"{name} = coalesce({name}, excluded.{name})" for name in OPTIONAL_COLUMNS])},
        result_urls = coalesce(nullif(result_urls, '[]'), excluded.result_urls),
        is_adopted = min(is_adopted, excluded.is_adopted)
    where origin = excluded.origin
"""  # noqa: S608 - constants only
_REFUSED_HERE: Final = """
    select request_id from attempts ours join other.attempts theirs using (request_id)
    where ours.state = 'refused' and theirs.state <> 'refused'
"""
"""The request IDs of attempts that were refused here but perhaps accepted there."""
_ATTEMPTS: Final = """
    insert into attempts select * from other.attempts
    where task_id is null
        or task_id not in (select task_id from attempts where task_id is not null)
    order by created_at
    on conflict (request_id) do update set
        state = excluded.state, task_id = excluded.task_id, error = excluded.error,
        video = excluded.video, body = excluded.body
    where origin = excluded.origin and body_digest is excluded.body_digest and task_id is null
        and excluded.task_id is not null
"""
_RENAME_PAID: Final = """
    update or ignore other.attempts set request_id = 'merged-' || substr(task_id, -121)
    where task_id is not null
        and task_id not in (select task_id from main.attempts where task_id is not null)
"""
"""Rename attempts that were paid for under a request ID that belongs to another edit here."""
_CONFLICTS: Final = (
    """
    select 'request ID ' || request_id || ' became task ' || ours.task_id || ' here, and task '
        || theirs.task_id || ' there'
    from attempts ours join other.attempts theirs using (request_id)
    where ours.task_id <> theirs.task_id
    """,
    """
    select 'request ID ' || request_id || ' stands for another edit there'
    from attempts ours join other.attempts theirs using (request_id)
    where 'refused' not in (ours.state, theirs.state)
        and (ours.origin <> theirs.origin or ours.body_digest <> theirs.body_digest)
    """,
    f"""
    select 'task ' || task_id || ' is ' || ours.status || ' here, and ' || theirs.status || ' there'
    from tasks ours join other.tasks theirs using (task_id)
    where ours.origin <> theirs.origin
        or (ours.status <> theirs.status and ours.status in {ENDED} and theirs.status in {ENDED})
        or ours.credits_used <> theirs.credits_used
    """,  # noqa: S608 - constants only
)
_NEW_FILES: Final = """
    select * from other.files where (task_id, path) not in (select task_id, path from files)
"""
_JOURNAL_HEADERS_BYTES: Final = 1024**2
"""More than the headers of a rollback journal take (https://sqlite.org/fileformat.html, 3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """What one journal added to this one, and where the two contradict each other."""

    submissions: int
    tasks: int
    files: int
    conflicts: tuple[str, ...]


def merge(
    into: Path, folder: Path, *, private: Path, timeout_s: float = DEFAULT.journal_timeout_s
) -> Merged:
    """Merge the journal in `folder` into the journal in `into`.

    The merge is one transaction, and repeating it changes nothing. If the journals contradict each
    other, this one's values are kept. Every paid task is taken, but no call, so `last` stays.

    Args:
        into: The state folder of this journal.
        folder: The state folder of the other journal.
        private: The folder for a temporary copy of the other journal.
        timeout_s: How long to wait while a process is writing to either journal.

    Raises:
        JournalError: If either journal is damaged, of a newer version, or cannot be used.
    """
    with (
        _copied(folder / JOURNAL_FILE, private, timeout_s) as copy,
        closing(Database(into / JOURNAL_FILE, timeout_s=timeout_s)) as database,
    ):
        # The path need not be valid UTF-8.
        database.rows("attach database ? as other", os.fsencode(copy))
        # The copy is changed as well, but only for this merge.
        database.rows("pragma other.journal_mode = off")
        with database.writing():
            conflicts = tuple(str(row[0]) for sql in _CONFLICTS for row in database.rows(sql))
            before = database.counts()
            _take_rows(database)
            after = database.counts()
    return Merged(
        submissions=after["attempts"] - before["attempts"],
        tasks=after["tasks"] - before["tasks"],
        files=after["files"] - before["files"],
        conflicts=conflicts,
    )


def _take_rows(database: Database) -> None:
    database.execute(_TASKS)
    for row in database.rows(_REFUSED_HERE):
        # Keep our attempt and its call under a new ID, since theirs must never be `last`.
        fallback_id = f"refused-{uuid.uuid4().hex}"
        for table in ("attempt_keys", "calls", "attempts"):
            database.update(table, {"request_id": fallback_id}, request_id=row["request_id"])
    # The outcome of a submission that the other journal calls `sending` is unknown here.
    database.execute("update other.attempts set state = 'unknown' where state = 'sending'")
    for sql in (_ATTEMPTS, _RENAME_PAID, _ATTEMPTS, ADOPT_ORPHANS):
        database.execute(sql)
    for row in database.rows(_NEW_FILES):
        is_elsewhere = None if is_present(parse_saved_file(parse_row(row))) else 1
        database.insert("files", {**row, "is_elsewhere": is_elsewhere})
    for table in ("attempt_keys", "recoveries"):
        database.execute(f"insert or ignore into {table} select * from other.{table}")  # noqa: S608 - constants only


@contextmanager
def _copied(path: Path, private: Path, timeout_s: float) -> Generator[Path]:
    """Provide a checked copy of a journal for a block."""
    with private_folder(private) as folder:
        copy = folder / JOURNAL_FILE
        try:
            with mapped_errors(path):
                size_bytes = path.stat().st_size
                check_kind(path)
                _check_companions(path, size_bytes)
                _copy(path, copy, timeout_s)
            with Reader(folder, shown_path=path) as theirs:
                theirs.check()
        except JournalError as error:
            cause = error.__cause__
            if isinstance(error, JournalDamagedError):
                words = "run {} on the machine it comes from to restore what can be read"
                error.hint = Hint(words, "journal recover")
            elif isinstance(cause, FileNotFoundError | NotADirectoryError):
                words = "FOLDER is a state folder: {} shows it on the machine it comes from"
                error.hint = Hint(words, "config path")
            elif isinstance(cause, OSError):
                error.hint = "check the folder's name and its permissions"
            raise
        yield copy


def _check_companions(path: Path, size_bytes: int) -> None:
    """Refuse files beside a journal that would take forever to read, or fill the disk."""
    # A rollback journal holds each page of the file at most once.
    longest_bytes = 2 * size_bytes + _JOURNAL_HEADERS_BYTES
    for companion in companions(path):
        found = check_kind(companion)
        if found is not None and found.st_size > longest_bytes:
            msg = f"{companion} is longer than {longest_bytes} bytes"
            raise LocalError(msg)


def _copy(path: Path, copy: Path, timeout_s: float) -> None:
    uri = f"{path.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=timeout_s)) as theirs:
        try:
            # Keep other processes from writing to it during the copy.
            theirs.execute("begin")
            theirs.execute("select count(*) from sqlite_master")
        except sqlite3.OperationalError as error:
            # Otherwise a killed process left a transaction unfinished; opening the copy rolls it
            # back.
            if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                raise
        rollback_journal = companions(path)[0]
        if rollback_journal.exists():
            shutil.copyfile(rollback_journal, companions(copy)[0])
        # Last, because closing any descriptor of a file drops SQLite's lock on it (POSIX).
        shutil.copyfile(path, copy)
