"""Recovery of a damaged journal: readable rows go into a new one, the damaged file is set aside.

Python's `sqlite3` has no `.recover`, and SQL stops at the first damaged page. So the rows are read
page by page, according to the file format (https://www.sqlite.org/fileformat2.html).
"""

import json
import os
import re
import shutil
import sqlite3
import struct
import time
import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, TypeAlias

from omniedit.errors import JournalDamagedError
from omniedit.journal.database import (
    ADOPT_ORPHANS,
    COUNTED_TABLES,
    JOURNAL_FILE,
    LOCKS_FOLDER,
    MAGIC,
    TABLES,
    Database,
    Recovery,
    held_lock,
    mapped_errors,
)
from omniedit.journal.reading import Reader, parse_row
from omniedit.models import TaskStatus
from omniedit.policy import DEFAULT
from omniedit.system import THIS_SYSTEM, System

Value: TypeAlias = str | bytes | int | float | None

_HEADER_BYTES: Final = 100
_DEFAULT_PAGE_BYTES: Final = 4096
_TABLE_LEAF: Final = 0x0D
_TABLE_INTERIOR: Final = 0x05
_INDEX_PAGES: Final = frozenset({0x02, 0x0A})
_INTERIOR_PAGES: Final = frozenset({0x02, 0x05})
# Serial types of a record's values.
_FLOAT: Final = 7
_ZERO_AND_ONE: Final = frozenset({8, 9})
_FIRST_OF_BYTES: Final = 12
_SIZES: Final = (0, 1, 2, 3, 4, 6, 8, 8)

_TASK_ID: Final = 9  # column of an attempt
_KEY_DIGEST: Final = re.compile(r"[0-9a-f]{32}:[0-9a-f]{64}")
_STATES: Final = frozenset({"sending", "accepted", "refused", "unknown"})
_RESTORED: Final = [table for table in TABLES if table != "uploads"]  # only a cache
_EMPTY: Final[Mapping[str, Value]] = {"result_urls": "[]"}
"""What replaces a damaged value where it must not be null."""
_DECISIVE: Final = frozenset({"identity", "task_id", "body"})
"""Columns without which an edit might be paid for again."""


def recover(
    folder: Path,
    *,
    enclosing: Path | None = None,
    sleep: Callable[[float], object] = time.sleep,
    timeout_s: float = DEFAULT.journal_timeout_s,
    system: System = THIS_SYSTEM,
) -> Recovery | None:
    """Replace a damaged journal with a new one that holds all readable rows.

    The damaged file is kept unchanged under another name. The new journal records whether rows
    were lost; see `Journal.recoveries`.

    Args:
        folder: The state folder.
        enclosing: See `Database`.
        sleep: Sleeps between two attempts to get the lock.
        timeout_s: How long to wait for another process.
        system: The operating system; injected by tests.

    Returns:
        None if the journal is sound, for example because another process has already recovered it.

    Raises:
        TargetBusyError: If another process is still recovering it.
    """
    lock = folder / LOCKS_FOLDER / "recovering.lock"
    with held_lock(lock, sleep=sleep, timeout_s=timeout_s):
        try:
            with Reader(folder, enclosing=enclosing, timeout_s=timeout_s) as journal:
                journal.check()
        except JournalDamagedError:
            path = folder / JOURNAL_FILE
            with mapped_errors(path):
                return _replace(path, timeout_s=timeout_s, system=system)
    return None


def _replace(path: Path, *, timeout_s: float, system: System) -> Recovery:
    """Build the new journal beside the damaged one, which a kill before the end leaves in place."""
    new = path.with_name(f"{path.stem}.recovering{path.suffix}")
    now = time.time()
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    aside = path.with_name(f"{path.stem}.damaged-{stamp}-{uuid.uuid4().hex[:8]}{path.suffix}")
    for leftover in (new, new.with_name(f"{new.name}-journal")):
        leftover.unlink(missing_ok=True)
    with ExitStack() as damaged:
        # Closed last: closing any descriptor of the file drops SQLite's lock on it (POSIX).
        file = damaged.enter_context(path.open("rb"))
        damaged.enter_context(_locked(path, timeout_s))
        found = _Salvage(file)
        found.read()
        restored = _restore(new, found, damaged_file=aside, now=now, timeout_s=timeout_s)
        _link_or_copy(file, path, aside)
        if not system.moves_open_files:
            damaged.close()
        system.replace(new, path)
        system.sync_folder(path.parent)
    return restored


@contextmanager
def _locked(path: Path, timeout_s: float) -> Generator[None]:
    """Keep processes that still use the damaged file from writing to it, if SQLite can lock it."""
    with closing(sqlite3.connect(path, timeout=timeout_s, isolation_level=None)) as connection:
        try:
            connection.execute("begin exclusive")
        except sqlite3.DatabaseError as error:
            # Damage may prevent the lock; a busy or unwritable file is an error.
            if type(error) is not sqlite3.DatabaseError:
                raise
        yield


def _link_or_copy(file: BinaryIO, path: Path, aside: Path) -> None:
    try:
        os.link(path, aside)
    except OSError:
        # Not every file system has hard links.
        file.seek(0)
        with aside.open("xb") as copy:
            shutil.copyfileobj(file, copy)
            os.fsync(copy.fileno())


def _restore(
    new: Path, found: "_Salvage", *, damaged_file: Path, now: float, timeout_s: float
) -> Recovery:
    with closing(Database(new, timeout_s=timeout_s)) as database, database.writing():
        for table in found.rows:
            _insert(database, table, found)
        database.execute(ADOPT_ORPHANS)
        # For tasks whose own row is lost: the next poll fetches the rest.
        database.execute(
            "insert into tasks (task_id, origin, status, result_urls,"
            " is_adopted, is_result_gone, recorded_at)"
            " select task_id, origin, ?, '[]', 0, 0, ? from attempts"
            " where task_id is not null and task_id not in (select task_id from tasks)",
            TaskStatus.PENDING,
            now,
        )
        recovery = Recovery(
            damaged_file=damaged_file,
            rows_restored=database.counts(),
            unreadable_pages=found.unreadable_pages,
            missing_ids=found.missing_ids(),
        )
        if not recovery.is_complete:
            row = {
                "damaged_file": os.fsencode(damaged_file),
                "recovered_at": now,
                "rows_restored": json.dumps(recovery.rows_restored),
                "unreadable_pages": recovery.unreadable_pages,
                "missing_ids": json.dumps(recovery.missing_ids),
            }
            database.insert("recoveries", row)
    return recovery


def _insert(database: Database, table: str, found: "_Salvage") -> None:
    """Insert the newest version of each row, without the values that cannot be parsed."""
    columns = database.rows(f"pragma table_info({table})")
    required = {column["name"] for column in columns if column["notnull"] or column["pk"]}
    # The first columns of each table are its key.
    key_length = sum(column["pk"] > 0 for column in columns)

    def age(row: _Row) -> tuple[bool, int]:
        return table == "attempts" and row.values[_TASK_ID] is not None, row.row_id

    # Unused parts of the file may still hold older versions of a row.
    newest = {tuple(row.values[:key_length]): row for row in sorted(found.rows[table], key=age)}
    for row in newest.values():
        # A row written before a column was added has no value for it.
        values = {each["name"]: value for each, value in zip(columns, row.values, strict=False)}
        damaged = {name for name, value in values.items() if not _is_parsable(name, value)}
        values |= {name: _EMPTY.get(name) for name in damaged}
        if (damaged - _EMPTY.keys()) & (required | _DECISIVE):
            found.lose(table, row)
        else:
            database.insert(table, values)


def _is_parsable(name: str, value: Value) -> bool:
    try:
        parse_row({name: value})
    except ValueError:
        return False
    return True


class _Row(NamedTuple):
    row_id: int
    values: Sequence[Value]


class _DamageError(ValueError):
    """A page or a cell violates the file format."""


@dataclass
class _Salvage:
    """The rows that can be read from a damaged file."""

    file: BinaryIO
    rows: dict[str, list[_Row]] = field(default_factory=lambda: {name: [] for name in _RESTORED})
    unreadable_pages: int = 0
    _indexed_ids: set[str] = field(default_factory=set[str])
    _unexplained: set[int] = field(default_factory=set[int])  # pages whose purpose is unknown
    _tables: set[object] = field(default_factory=set[object])  # according to the schema
    _page_bytes: int = _DEFAULT_PAGE_BYTES
    _usable_bytes: int = _DEFAULT_PAGE_BYTES
    _page_count: int = 0

    def read(self) -> None:
        """Read every page of the file."""
        self._read_header()
        for number in range(1, self._page_count + 1):
            # A page that cannot be read may turn out to be an overflow page of a later row.
            if number in self._unexplained and self._read_page(number):
                self._unexplained.discard(number)
        self.unreadable_pages += len(self._unexplained)
        if self._page_count and 1 not in self._unexplained:
            # The schema is known: the rows of a table that it lacks are lost.
            self.unreadable_pages += len(set(COUNTED_TABLES) - self._tables)

    def lose(self, table: str, row: "_Row") -> None:
        """Count a row that was read, but is damaged, as lost."""
        self.rows[table].remove(row)
        self.unreadable_pages += 1

    def missing_ids(self) -> tuple[str, ...]:
        """Return the request and task IDs that appear in an index but in no row."""
        attempts = self.rows["attempts"]
        tasks = self.rows["tasks"]
        # Include the origin, the second column of both: its index entries have the same form.
        known = {value for row in [*attempts, *tasks] for value in row.values[:2]} | {
            row.values[_TASK_ID] for row in attempts
        }
        return tuple(sorted(self._indexed_ids.difference(map(str, known))))

    def _read_header(self) -> None:
        size_bytes = self.file.seek(0, os.SEEK_END)
        self.file.seek(0)
        header = self.file.read(_HEADER_BYTES)
        # If the beginning of the header is damaged, the rest of it may be too.
        is_known = header.startswith(MAGIC) and len(header) == _HEADER_BYTES
        if is_known:
            page_bytes = int.from_bytes(header[16:18]) if header[16:18] != b"\0\1" else 65536
            if page_bytes in {1 << power for power in range(9, 17)}:
                self._page_bytes = page_bytes
            self._usable_bytes = self._page_bytes - header[20]
        self._page_count = size_bytes // self._page_bytes
        self._unexplained.update(range(1, self._page_count + 1))
        if not is_known:
            self.unreadable_pages += 1
            return
        stated_count = int.from_bytes(header[28:32])
        if header[24:28] == header[92:96] and stated_count > self._page_count:
            self.unreadable_pages += stated_count - self._page_count
        self._skip_free_pages(int.from_bytes(header[32:36]))

    def _skip_free_pages(self, trunk: int) -> None:
        """Skip the pages of the free list: they hold deleted rows."""
        while trunk in self._unexplained:
            page = self._page(trunk)
            count = min(int.from_bytes(page[4:8]), self._page_bytes // 4 - 2)
            leaves = (int.from_bytes(page[at : at + 4]) for at in range(8, 8 + 4 * count, 4))
            self._unexplained.difference_update([trunk, *leaves])
            trunk = int.from_bytes(page[:4])

    def _read_page(self, number: int) -> bool:
        """Take the rows or keys of a page; return whether all of its rows could be read."""
        page = self._page(number)
        begin = _HEADER_BYTES if number == 1 else 0
        kind = page[begin]
        if kind not in {_TABLE_LEAF, _TABLE_INTERIOR, *_INDEX_PAGES}:
            return False
        is_interior = kind in _INTERIOR_PAGES
        pointers = begin + (12 if is_interior else 8)
        count = int.from_bytes(page[begin + 3 : begin + 5])
        if pointers + 2 * count > self._usable_bytes:
            return False
        if kind == _TABLE_INTERIOR:
            return True
        is_whole = True
        for at in range(pointers, pointers + 2 * count, 2):
            cell = int.from_bytes(page[at : at + 2])
            try:
                if kind == _TABLE_LEAF:
                    self._take_row(page, cell)
                else:
                    self._take_key(page, cell + (4 if is_interior else 0))
            except (LookupError, ValueError):
                is_whole = is_whole and kind != _TABLE_LEAF
        return is_whole

    def _take_row(self, page: bytes, at: int) -> None:
        size_bytes, at = _varint(page, at)
        row_id, at = _varint(page, at)
        payload = self._payload(page, at, size_bytes, most=self._usable_bytes - 35)
        values = _parse_record(payload)
        if values[:1] == ["table"]:
            self._tables.add(values[1])
        table = _table_of(values)
        if table is None:
            return
        if table == "calls":
            values[0] = row_id
        self.rows[table].append(_Row(row_id, values))

    def _take_key(self, page: bytes, at: int) -> None:
        """Read an index entry; an entry for a request or task ID has two columns."""
        size_bytes, at = _varint(page, at)
        most = (self._usable_bytes - 12) * 64 // 255 - 23
        match _parse_record(self._payload(page, at, size_bytes, most=most)):
            case [str(each_id), int()]:
                self._indexed_ids.add(each_id)
            case _:
                pass

    def _payload(self, page: bytes, at: int, size_bytes: int, *, most: int) -> bytes:
        """Return a payload, of which at most `most` bytes are in the cell itself."""
        if size_bytes > self._page_count * self._page_bytes:
            raise _DamageError
        if size_bytes <= most:
            if at + size_bytes > self._usable_bytes:
                raise _DamageError
            return page[at : at + size_bytes]
        least = (self._usable_bytes - 12) * 32 // 255 - 23
        local = least + (size_bytes - least) % (self._usable_bytes - 4)
        local = local if local <= most else least
        payload = bytearray(page[at : at + local])
        following = int.from_bytes(page[at + local : at + local + 4])
        for _ in range(self._page_count):
            if len(payload) >= size_bytes:
                return bytes(payload[:size_bytes])
            if not 1 < following <= self._page_count:
                raise _DamageError
            self._unexplained.discard(following)
            overflow = self._page(following)
            payload += overflow[4 : self._usable_bytes]
            following = int.from_bytes(overflow[:4])
        raise _DamageError

    def _page(self, number: int) -> bytes:
        self.file.seek((number - 1) * self._page_bytes)
        return self.file.read(self._page_bytes)


def _varint(page: bytes, at: int) -> tuple[int, int]:
    """Return a variable-length integer and the offset after it."""
    value = 0
    for length in range(1, 9):
        byte = page[at + length - 1]
        value = value << 7 | byte & 0x7F
        if byte == byte & 0x7F:
            return value, at + length
    return value << 8 | page[at + 8], at + 9


def _parse_record(payload: bytes) -> list[Value]:
    head_bytes, at = _varint(payload, 0)
    body = head_bytes
    values: list[Value] = []
    while at < head_bytes:
        kind, at = _varint(payload, at)
        value, size_bytes = _parse_value(payload, kind, body)
        body += size_bytes
        values.append(value)
    if body != len(payload):
        raise _DamageError
    return values


def _parse_value(payload: bytes, kind: int, at: int) -> tuple[Value, int]:
    if kind == 0:
        return None, 0
    if kind in _ZERO_AND_ONE:
        return kind % 2, 0
    is_bytes = kind >= _FIRST_OF_BYTES
    size_bytes = (kind - _FIRST_OF_BYTES) // 2 if is_bytes else _SIZES[kind]
    content = payload[at : at + size_bytes]
    if len(content) != size_bytes:
        raise _DamageError
    if is_bytes:
        return (content.decode() if kind % 2 else content), size_bytes
    if kind == _FLOAT:
        return float(struct.unpack(">d", content)[0]), size_bytes
    return int.from_bytes(content, signed=True), size_bytes


def _table_of(values: Sequence[Value]) -> str | None:
    """Return the table that a row belongs to, or None if that table is not restored.

    Raises:
        ValueError: If the row is damaged.
    """
    match values:
        case [str(), str(), _, state, str() | bytes(), str() | bytes(), _, _, _, _, _, *_]:
            if state not in _STATES:
                raise ValueError(state)
            return "attempts"
        case [str(), str(), str(), *_, str(), _, _, int(), int(), float() | int()]:
            return "tasks"
        case [str(), str() | bytes(), int(), str(), float() | int(), *_]:
            return "files"
        case [None, str(), _, float() | int()]:
            return "calls"
        case [str(), str(digest)] if _KEY_DIGEST.fullmatch(digest):
            return "attempt_keys"
        case [str() | bytes(), float() | int(), str(restored), int(), str(missing)]:
            parse_row({"rows_restored": restored, "missing_ids": missing})
            return "recoveries"
        case _:
            return None
