"""The sandbox's state on disk: SQLite, shared by many processes and threads at once."""

from __future__ import annotations

import secrets
from dataclasses import astuple, dataclass, fields
from typing import TYPE_CHECKING

from omniedit.sandbox.database import EDIT_COLUMNS, UPLOAD_COLUMNS, Database
from omniedit.sandbox.lifecycle import (
    CREDITS_RESERVED,
    CREDITS_USED,
    Edit,
    Status,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CREDITS_AT_START = 1_000_000.0
# A courier that died with its process gives its callback up after this long.
CALLBACK_LEASE_S = 60.0
_PORTS_REMEMBERED = 8
_CREDITS_TAKEN = """
select total(case when settles_at > ? then ? when ends_as = 'completed' then ? else 0 end) from task
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
        self._database = Database(folder)

    def close(self) -> None:
        """Close the connection; idle threads may still hold the store."""
        self._database.close()

    def secret(self) -> bytes:
        """Return the key that signs links; the same in every process, for ever."""
        query = "select value from setting where name = 'secret'"
        if not self._database.rows(query):
            with self._database.writing() as database:
                # Another process may have been faster.
                database.execute(
                    "insert or ignore into setting values ('secret', ?)", [secrets.token_hex(32)]
                )
        ((value,),) = self._database.rows(query)
        return bytes.fromhex(str(value))

    def ports(self) -> list[int]:
        """Return the ports this folder was served on, the one to try first at the front."""
        return [
            int(str(port))
            for (port,) in self._database.rows("select number from port order by rank")
        ]

    def remember_port(self, port: int, *, is_first: bool) -> None:
        """Put a port before or behind those known, so that links to it can come back to life."""
        rank = "min(rank), 0) - 1" if is_first else "max(rank), 0) + 1"
        with self._database.writing() as database:
            database.execute(
                f"insert or replace into port select ?, coalesce({rank} from port",  # noqa: S608 - constants
                [port],
            )
            database.execute(
                "delete from port where number not in"
                " (select number from port order by rank limit ?) and number != ?",
                [_PORTS_REMEMBERED - 1, port],
            )

    def count_attempt(self, request_key: str) -> int:
        """Return how many submissions came with this key, this one included."""
        with self._database.writing() as database:
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
        with self._database.writing() as database:
            known = database.execute(
                f"select body_digest, {EDIT_COLUMNS} from task where request_key = ?",  # noqa: S608 - constant column names
                [request_key],
            ).fetchone()
            if known:
                if known[0] != body_digest:
                    raise IdempotencyConflictError
                return _edit(known[1:]), True
            (taken,) = database.execute(_CREDITS_TAKEN, _credits_values(edit.created_at)).fetchone()
            if CREDITS_AT_START - taken < CREDITS_RESERVED:
                raise InsufficientCreditsError
            row = (*astuple(edit), edit.settles_at, request_key, body_digest, is_cut, due_at)
            marks = ", ".join("?" * len(row))
            database.execute(f"insert into task values ({marks})", row)  # noqa: S608 - question marks
        return edit, False

    def task(self, task_id: str) -> Edit | None:
        """Return one edit, or None."""
        rows = self._database.rows(f"select {EDIT_COLUMNS} from task where task_id = ?", [task_id])  # noqa: S608 - constant column names
        return _edit(rows[0]) if rows else None

    def tasks_by_id(self, task_ids: Sequence[str]) -> list[Edit]:
        """Return the edits among `task_ids` that are known, in that order."""
        marks = ", ".join("?" * len(task_ids))
        rows = self._database.rows(
            f"select {EDIT_COLUMNS} from task where task_id in ({marks})",  # noqa: S608 - question marks
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
        rows = self._database.rows(
            f"select {EDIT_COLUMNS} {where} order by created_at desc, rowid desc limit ? offset ?",
            [*values, limit, offset],
        )
        ((total,),) = self._database.rows(f"select count(*) {where}", values)
        return [_edit(row) for row in rows], int(str(total))

    def credits_taken(self, now: float) -> float:
        """Return what the account has spent and reserved at `now`."""
        ((taken,),) = self._database.rows(_CREDITS_TAKEN, _credits_values(now))
        return float(str(taken))

    def take_cut(self, task_id: str) -> bool:
        """Return whether the download that starts now is the one to break off."""
        with self._database.writing() as database:
            changed = database.execute(
                "update task set is_cut = 0 where task_id = ? and is_cut", [task_id]
            )
            return changed.rowcount == 1

    def take_callback(self, now: float) -> Edit | None:
        """Return an edit whose callback is due, leased to the caller, or None."""
        first = "select task_id from task where callback_due_at <= ? limit 1"
        if not self._database.rows(first, [now]):
            return None
        with self._database.writing() as database:
            row = database.execute(
                f"update task set callback_due_at = ? where task_id = ({first}) returning {EDIT_COLUMNS}",  # noqa: S608 - constant column names
                [now + CALLBACK_LEASE_S, now],
            ).fetchone()
        return _edit(row) if row else None

    def end_callback(self, task_id: str) -> None:
        """Note that a callback needs no further attempt."""
        with self._database.writing() as database:
            database.execute("update task set callback_due_at = null where task_id = ?", [task_id])

    def add_upload(self, upload: Upload) -> None:
        """Record an upload whose file is in place."""
        with self._database.writing() as database:
            database.execute("insert into upload values (?, ?, ?, ?, ?, ?, ?)", astuple(upload))

    def upload(self, file_id: str, *, now: float) -> Upload | None:
        """Return one upload while it lives, or None."""
        rows = self._database.rows(
            f"select {UPLOAD_COLUMNS} from upload where file_id = ? and expires_at > ?",  # noqa: S608 - constant column names
            [file_id, now],
        )
        names = UPLOAD_COLUMNS.split(", ")
        return Upload(**dict(zip(names, rows[0], strict=True))) if rows else None  # type: ignore[arg-type]  # SQLite's columns have no static types

    def count_uploads(self, *, now: float) -> int:
        """Return how many uploads live at `now`."""
        ((count,),) = self._database.rows("select count(*) from upload where expires_at > ?", [now])
        return int(str(count))

    def forget_upload(self, file_id: str) -> bool:
        """Drop one upload; return whether it was known."""
        with self._database.writing() as database:
            gone = database.execute("delete from upload where file_id = ?", [file_id])
            return gone.rowcount == 1

    def forget_dead(self, now: float) -> tuple[list[str], list[str]]:
        """Drop expired uploads; return their IDs and those of the tasks whose link has died."""
        with self._database.writing() as database:
            uploads = database.execute(
                "delete from upload where expires_at <= ? returning file_id", [now]
            ).fetchall()
            tasks = database.execute(
                "select task_id from task where clip_etag is not null and link_until <= ?", [now]
            ).fetchall()
        return [file_id for (file_id,) in uploads], [task_id for (task_id,) in tasks]

    def clear(self) -> int:
        """Drop every task and upload; return how many tasks there were."""
        with self._database.writing() as database:
            ((count,),) = database.execute("select count(*) from task")
            for table in ("task", "upload", "attempt"):
                database.execute(f"delete from {table}")  # noqa: S608 - constant table names
        return int(count)


def _edit(row: Sequence[object]) -> Edit:
    values = dict(zip((field.name for field in fields(Edit)), row, strict=True))
    if values["ends_as"] is not None:
        values["ends_as"] = Status(str(values["ends_as"]))
    return Edit(**values)  # type: ignore[arg-type]  # SQLite's columns have no static types


def _credits_values(now: float) -> list[float]:
    return [now, CREDITS_RESERVED, CREDITS_USED]
