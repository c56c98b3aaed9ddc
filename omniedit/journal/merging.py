"""Taking the edits of other journals into this one; theirs are read, never written to."""

import shutil
import sqlite3
import uuid
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from omniedit.errors import Hint, JournalDamagedError, JournalError
from omniedit.journal.database import (
    ADOPT_ORPHANS,
    ENDED,
    JOURNAL_FILE,
    Database,
    damage,
    mapped_errors,
)
from omniedit.journal.reading import Reader, is_here, parse_file
from omniedit.policy import DEFAULT, Policy
from omniedit.system.files import private_folder

_TASKS: Final = f"""
    insert into tasks ({{columns}}) select {{columns}} from other.tasks where true
    on conflict (task_id) do update set
        status = iif(status in {ENDED}, status, excluded.status),
        model = coalesce(model, excluded.model),
        created_at = coalesce(created_at, excluded.created_at),
        estimated_s = coalesce(estimated_s, excluded.estimated_s),
        credits_reserved = coalesce(credits_reserved, excluded.credits_reserved),
        credits_used = coalesce(credits_used, excluded.credits_used),
        result_urls = iif(result_urls = '[]', excluded.result_urls, result_urls),
        error = coalesce(error, excluded.error),
        completed_after = coalesce(completed_after, excluded.completed_after),
        is_adopted = min(is_adopted, excluded.is_adopted)
    where origin = excluded.origin
"""  # noqa: S608 - constants only
_OF_FILES: Final = (
    "task_id",
    "path",
    "size_bytes",
    "sha256",
    "saved_at",
    "facts",
    "sound",
    "served_path",
)
_REFUSED_HERE: Final = """
    select request_id from attempts ours join other.attempts theirs using (request_id)
    where ours.state = 'refused' and theirs.state <> 'refused'
"""
"""The request IDs of attempts that were refused here, and perhaps accepted there."""
_ATTEMPTS: Final = """
    insert into attempts ({columns}) select {theirs} from other.attempts
    where task_id is null
        or task_id not in (select task_id from attempts where task_id is not null)
    order by created_at
    on conflict (request_id) do update set
        state = excluded.state, task_id = excluded.task_id, error = excluded.error,
        video = excluded.video, body = excluded.body
    where origin = excluded.origin and body_digest is excluded.body_digest and task_id is null
        and excluded.task_id is not null
"""
_RENAMED: Final = """
    insert into attempts ({columns}) select {theirs} from other.attempts
    where task_id is not null
        and task_id not in (select task_id from attempts where task_id is not null)
"""
"""What was paid for under a request ID that stands for another edit here."""
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
_COUNTED: Final = ("attempts", "tasks", "files")


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """What one journal brought that was not known here, and what contradicts it."""

    submissions: int
    tasks: int
    files: int
    conflicts: tuple[str, ...]


def merge(into: Path, folder: Path, *, private: Path, policy: Policy = DEFAULT) -> Merged:
    """Take the edits of the journal in `folder` into the one in the folder `into`.

    It is one transaction, and a second one finds nothing new. What is known here is kept where
    theirs contradicts it; every task that was paid for is taken, and no call: `last` stays.

    Args:
        into: The state folder whose journal grows.
        folder: The other state folder.
        private: Where a copy may lie meanwhile.
        policy: Says how long to wait for a process that writes to either journal.

    Raises:
        JournalError: If either journal is damaged, of a newer version, or cannot be used.
    """
    with (
        _copied(folder / JOURNAL_FILE, private, policy) as copy,
        closing(Database(into / JOURNAL_FILE, policy=policy)) as database,
        database.attached(copy),
        database.writing(),
    ):
        conflicts = [str(row[0]) for sql in _CONFLICTS for row in database.rows(sql)]
        before = database.counts(_COUNTED)
        database.execute(_TASKS.format(columns=", ".join(database.columns("tasks"))))
        columns = ", ".join(database.columns("attempts"))
        for row in database.rows(_REFUSED_HERE):
            # Ours stays the call that it was, under an ID of its own: theirs is never `last`.
            spare_id = f"refused-{uuid.uuid4().hex}"
            for table in ("attempt_keys", "calls", "attempts"):
                database.execute(
                    f"update {table} set request_id = ? where request_id = ?",  # noqa: S608 - constants only
                    spare_id,
                    row["request_id"],
                )
        # What another machine is sending, or was, is in doubt here.
        theirs = columns.replace(" state", " iif(state = 'sending', 'unknown', state)")
        database.execute(_ATTEMPTS.format(columns=columns, theirs=theirs))
        theirs = theirs.replace("request_id", "'merged-' || task_id")
        database.execute(_RENAMED.format(columns=columns, theirs=theirs))
        database.execute(ADOPT_ORPHANS)
        _take_files(database)
        for table in ("attempt_keys", "recoveries"):
            columns = ", ".join(database.columns(table))
            database.execute(
                f"insert or ignore into {table} ({columns}) select {columns} from other.{table}"  # noqa: S608 - constants only
            )
        after = database.counts(_COUNTED)
    new = {table: after[table] - before[table] for table in _COUNTED}
    return Merged(
        submissions=new["attempts"],
        tasks=new["tasks"],
        files=new["files"],
        conflicts=tuple(conflicts),
    )


@contextmanager
def _copied(path: Path, private: Path, policy: Policy) -> Generator[Path]:
    """Hold a copy of a journal, of this version, for a block.

    Raises:
        JournalError: If it is missing, damaged or of a newer version.
    """
    with private_folder(private) as folder:
        copy = folder / JOURNAL_FILE
        try:
            with mapped_errors(path):
                if path.stat().st_size == 0:
                    # To SQLite that is a database without rows.
                    raise damage(path, "the file is empty")
                _copy(path, copy, policy)
            # Which also brings an older one up to this version.
            with Reader(folder, shown_path=path) as theirs:
                theirs.check()
        except JournalDamagedError as error:
            words = "where it comes from, {} restores what can be read"
            error.hint = Hint(words, "journal recover")
            raise
        except JournalError as error:
            match error.__cause__:
                case FileNotFoundError() | NotADirectoryError():
                    words = "FOLDER is a state folder: {} names it where it comes from"
                    error.hint = Hint(words, "config path")
                case OSError():
                    error.hint = "check the folder's name and its permissions"
            raise
        yield copy


def _copy(path: Path, copy: Path, policy: Policy) -> None:
    uri = f"{path.absolute().as_uri()}?mode=ro"
    try:
        with (
            closing(sqlite3.connect(uri, uri=True, timeout=policy.journal_timeout_s)) as theirs,
            closing(sqlite3.connect(copy)) as new,
        ):
            # `backup` itself would wait without end for a process that keeps the file locked.
            theirs.execute("begin")
            theirs.execute("select count(*) from sqlite_master")
            theirs.backup(new)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            raise
        # A process was killed in the middle of a transaction, which the copy is to roll back.
        rest = path.with_name(f"{path.name}-journal")
        for source, target in ((path, copy), (rest, copy.with_name(rest.name))):
            if source == path or source.exists():
                shutil.copyfile(source, target)


def _take_files(database: Database) -> None:
    for row in database.rows(
        "select * from other.files where (task_id, path) not in (select task_id, path from files)"
    ):
        database.execute(
            f"insert into files ({', '.join(_OF_FILES)}, is_elsewhere)"  # noqa: S608 - constants only
            f" values ({'?, ' * len(_OF_FILES)}?)",
            *(row[name] for name in _OF_FILES),
            None if is_here(parse_file(row)) else 1,
        )
