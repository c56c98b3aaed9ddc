"""A damaged journal: readable rows go into a new one, and lost rows keep edits refused."""

import contextlib
import errno
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from omniedit.edits.requests import digest_of_key
from omniedit.errors import JournalDamagedError, JournalError, JournalTooNewError, TargetBusyError
from omniedit.journal import Call, Journal
from omniedit.journal.database import COUNTED_TABLES, TABLES, VERSION
from omniedit.journal.recovery import recover
from omniedit.models import Task
from omniedit.system.locks import hold
from tests.journals import attempt
from tests.systems import windows

ORIGIN = "https://api.evolink.ai"
PAGE_BYTES = 4096
EDITS = 200
KEY_DIGEST = digest_of_key("sk-evo-tests")
_OLDER_SCHEMA = """
    create table attempts (
        request_id text primary key, origin text not null, identity text, state text not null,
        video text not null, prompt text not null, body blob, body_digest text,
        created_at real not null, task_id text, error text
    );
    create table tasks (
        task_id text primary key, origin text not null, status text not null, model text,
        created_at real, estimated_s real, credits_reserved real, credits_used real,
        result_urls text not null, error text, completed_after real, is_adopted integer not null,
        is_result_gone integer not null, recorded_at real not null
    );
    create table files (
        task_id text not null, path text not null, size_bytes integer not null,
        sha256 text not null, saved_at real not null, primary key (task_id, path)
    );
    create table calls (
        number integer primary key autoincrement, context text not null, request_id text,
        called_at real not null
    );
    pragma user_version = 2;
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return the file of a journal that has many pages and rows in every table."""
    folder = tmp_path_factory.mktemp("filled")
    fill(folder, EDITS)
    return (folder / "journal.db").read_bytes()


def fill(folder: Path, edits: int) -> None:
    with Journal(folder, clock=lambda: 1000.0) as journal, journal._database.writing():
        for number in range(edits):
            journal._database.execute(
                "insert into attempts (request_id, origin, identity, state, video, prompt, body,"
                " body_digest, created_at, task_id, error)"
                " values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                *(f"request-{number:04}", ORIGIN, f"identity-{number}", "accepted"),
                *(b"clip-\xff.mp4", f"pr\u00f6mpt {number}", b"{}" * (number * 20), "digest"),
                *(1000.0 + number, f"task-{number:04}", None),
            )
            journal._store_task(
                Task(task_id=f"task-{number:04}", status="completed", credits_used=31.2),
                origin=ORIGIN,
            )
            journal.record_call("user:0", f"request-{number:04}")
            journal._database.execute(
                "insert into attempt_keys values (?, ?)", f"request-{number:04}", KEY_DIGEST
            )
            journal._database.execute(
                "insert into files (task_id, path, size_bytes, sha256, saved_at)"
                " values (?, ?, ?, ?, ?)",
                *(f"task-{number:04}", f"/out/{number}.mp4", 2**40 + number, "00", 1000.5),
            )


def write(folder: Path, content: bytes) -> Path:
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / "journal.db"
    path.write_bytes(content)
    path.chmod(0o600)
    return path


def pages_of(content: bytes, table: str) -> list[int]:
    """Return the page numbers of a table, its root first."""
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(content)
        return [
            number
            for (number,) in connection.execute(
                "select pageno from dbstat where name = ? order by path", (table,)
            )
        ]


def damage_page(content: bytes, number: int, *, filling: bytes = b"\xde\xad") -> bytes:
    start = (number - 1) * PAGE_BYTES
    return content[:start] + filling * (PAGE_BYTES // len(filling)) + content[start + PAGE_BYTES :]


def known_requests(folder: Path) -> set[str]:
    with Journal(folder) as journal:
        return {record.request_id for record in journal.recent() if record.request_id}


def test_a_damaged_root_page_loses_no_row(folder: Path, filled: bytes) -> None:
    write(folder, filled)
    with Journal(folder) as journal:
        expected = journal.recent()
        call = journal.last_call("user:0")
    root = pages_of(filled, "attempts")[0]
    write(folder, damage_page(filled, root))

    recovery = recover(folder)

    assert recovery is not None
    assert recovery.rows_restored == {
        "attempts": EDITS,
        "tasks": EDITS,
        "files": EDITS,
        "calls": EDITS,
    }
    assert recovery.unreadable_pages == 1
    with Journal(folder) as journal:
        journal.check()
        assert journal.recent() == expected
        assert journal.last_call("user:0") == call
        # Without it, another account's key could replay the attempt.
        assert {journal.key_digest(f"request-{n:04}") for n in range(EDITS)} == {KEY_DIGEST}


def test_a_lost_page_costs_only_its_rows_and_they_are_named(folder: Path, filled: bytes) -> None:
    leaf = pages_of(filled, "attempts")[3]
    write(folder, damage_page(filled, leaf))

    recovery = recover(folder)

    assert recovery is not None
    known = known_requests(folder)
    lost = {f"request-{number:04}" for number in range(EDITS)} - known
    assert 0 < len(lost) < EDITS // 10
    assert lost == {each for each in recovery.missing_ids if each.startswith("request-")}
    assert not recovery.is_complete


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content: b"the dog ate it\n" * 1000, id="not-a-database"),
        pytest.param(lambda content: bytes(range(100)) + content[100:], id="garbage-header"),
        pytest.param(lambda content: content[: len(content) // 2], id="truncated"),
        pytest.param(
            lambda content: content[: len(content) // 2 + 7], id="truncated-within-a-page"
        ),
        pytest.param(lambda content: damage_page(content, 1), id="no-schema"),
        pytest.param(lambda _: b"", id="empty"),
        pytest.param(lambda content: damage_page(content, 2, filling=b"\0"), id="zeroed-page"),
    ],
)
def test_a_loss_stays_on_record_until_it_is_settled(
    folder: Path, filled: bytes, damage: Callable[[bytes], bytes]
) -> None:
    damaged = damage(filled)
    path = write(folder, damaged)

    recovery = recover(folder)

    assert recovery is not None
    assert not recovery.is_complete
    assert recovery.damaged_file.read_bytes() == damaged
    assert recovery.damaged_file.name.startswith("journal.damaged-")
    assert sorted(path.name for path in folder.iterdir()) == [
        recovery.damaged_file.name,
        "journal.db",
        "locks",
    ]
    assert path.stat().st_mode & 0o077 == 0
    with Journal(folder) as journal:
        journal.check()
        assert journal.recoveries() == [recovery]
        with pytest.raises(JournalError, match="could not be read") as caught:
            journal.require_recovered()
        assert "omniedit journal recover" in (caught.value.hint or "")
        journal.accept_losses()
    with Journal(folder) as journal:
        journal.require_recovered()
        assert journal.recoveries() == []


def test_a_task_that_lost_its_row_is_pending_again(folder: Path, filled: bytes) -> None:
    leaves = pages_of(filled, "tasks")[1:]
    for leaf in leaves:
        filled = damage_page(filled, leaf)
    write(folder, filled)

    recover(folder)

    with Journal(folder) as journal:
        found = journal.find_edit("identity-77", origin=ORIGIN)
    assert found
    assert (found.task_id, found.status, len(found.saved)) == ("task-0077", "pending", 1)


def test_a_garbage_header_loses_no_row(folder: Path, filled: bytes) -> None:
    write(folder, bytes(range(100)) + filled[100:])

    recover(folder)

    assert len(known_requests(folder)) == EDITS


def test_a_journal_of_an_older_version_is_recovered(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    path = folder / "journal.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(_OLDER_SCHEMA)
        connection.execute(
            "insert into attempts values"
            " ('request-1', 'o', 'i', 'accepted', 'v', 'p', null, null, 1.0, 'task-1', null)"
        )
        connection.execute(
            "insert into tasks values"
            " ('task-1', 'o', 'completed', 'm', 1.0, 60, 31.8, 31, '[]', null, null, 0, 0, 1.0)"
        )
        connection.execute("insert into files values ('task-1', '/out.mp4', 1, '00', 1.0)")
        connection.execute("insert into calls values (1, 'c', 'request-1', 1.0)")
        connection.commit()
    path.chmod(0o600)

    with pytest.raises(JournalDamagedError, match="not those of this version"):
        Journal(folder)
    recovery = recover(folder)

    assert recovery is not None
    assert recovery.is_complete
    with Journal(folder) as journal:
        [record] = journal.recent()
        call = journal.last_call("c")
    assert (record.request_id, record.task_id, record.status) == (
        "request-1",
        "task-1",
        "completed",
    )
    assert [file.path for file in record.saved] == ["/out.mp4"]
    assert call == Call("request-1")


def test_an_unsettled_recovery_survives_the_next_one(folder: Path, filled: bytes) -> None:
    path = write(folder, damage_page(filled, pages_of(filled, "attempts")[3]))
    first = recover(folder)
    path.write_bytes(bytes(100) + path.read_bytes()[100:])

    second = recover(folder)

    with Journal(folder) as journal:
        assert journal.recoveries() == [first, second]


def test_deleted_rows_are_not_recovered(folder: Path) -> None:
    fill(folder, EDITS)
    path = folder / "journal.db"
    with Journal(folder) as journal:
        for record in journal.recent():
            if record.request_id != "request-0007":
                journal.forget(record)
    content = path.read_bytes()
    # Inside the schema, which is on the first page.
    path.write_bytes(content[:2000] + b"\xff" * 500 + content[2500:])

    recover(folder)

    assert known_requests(folder) == {"request-0007"}


def test_an_intact_journal_is_left_alone(folder: Path) -> None:
    fill(folder, 1)
    before = (folder / "journal.db").stat().st_ino

    assert recover(folder) is None

    assert (folder / "journal.db").stat().st_ino == before


def test_a_journal_from_a_newer_version_is_refused(folder: Path) -> None:
    with Journal(folder) as journal:
        journal._database.execute(f"pragma user_version={VERSION + 1}")

    with pytest.raises(JournalTooNewError):
        recover(folder)


def test_a_second_recovery_finds_nothing_to_do(folder: Path, filled: bytes) -> None:
    write(folder, damage_page(filled, 1))

    assert recover(folder) is not None
    assert recover(folder) is None


def test_waiting_for_another_recovery_times_out(folder: Path, filled: bytes) -> None:
    write(folder, damage_page(filled, 1))
    (folder / "locks").mkdir()

    with (
        hold(folder / "locks" / "recovering.lock", sleep=lambda _: None),
        pytest.raises(TargetBusyError),
    ):
        recover(folder, sleep=lambda _: None, timeout_s=1.0)


@pytest.mark.posix
def test_a_process_with_the_damaged_file_open_cannot_write_to_it(
    folder: Path, filled: bytes
) -> None:
    path = write(folder, filled)
    with Journal(folder) as open_journal:
        damaged = damage_page(filled, pages_of(filled, "files")[2])
        with path.open("r+b") as file:
            file.write(damaged)
        recover(folder)

        with pytest.raises(JournalError, match="was replaced"):
            open_journal.record_attempt(attempt("request-new", prompt="p"), context=None)


def test_leftovers_of_a_killed_recovery_are_overwritten(folder: Path, filled: bytes) -> None:
    write(folder, damage_page(filled, pages_of(filled, "attempts")[0]))
    (folder / "journal.recovering.db").write_bytes(b"half")

    recover(folder)

    assert len(known_requests(folder)) == EDITS


def test_on_windows_the_file_is_closed_before_it_is_replaced(folder: Path, filled: bytes) -> None:
    write(folder, damage_page(filled, pages_of(filled, "attempts")[0]))

    recover(folder, system=windows())

    assert len(known_requests(folder)) == EDITS


def test_without_hard_links_the_damaged_file_is_copied(
    folder: Path, filled: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    damaged = damage_page(filled, 1)
    write(folder, damaged)
    monkeypatch.setattr(os, "link", refuse)

    recovery = recover(folder)

    assert recovery
    assert recovery.damaged_file.read_bytes() == damaged


@pytest.mark.parametrize("seed", range(40))
def test_random_damage_yields_an_intact_journal_that_knows_its_losses(
    folder: Path, filled: bytes, seed: int
) -> None:
    random = Random(seed)  # noqa: S311 - reproducible noise
    start = random.choice([random.randrange(len(filled)), random.randrange(8 * PAGE_BYTES)])
    size = random.choice([1, 8, 600, PAGE_BYTES, 5 * PAGE_BYTES])
    noise = random.choice([random.randbytes(size), bytes(size), filled[:size]])
    write(folder, (filled[:start] + noise + filled[start + size :])[: len(filled)])

    recovery = recover(folder)

    if recovery is not None:
        with Journal(folder) as journal:
            journal.check()
            assert bool(journal.recoveries()) is not recovery.is_complete
            assert len(journal.recent()) == EDITS or not recovery.is_complete


def test_text_that_is_not_utf_8_counts_as_damage(folder: Path, filled: bytes) -> None:
    write(folder, filled.replace("prömpt 77".encode(), b"pr\xff\xffmpt 77"))

    with Journal(folder) as journal, pytest.raises(JournalDamagedError):
        journal.find_attempt("request-0077")
    recovery = recover(folder)

    assert recovery
    assert len(known_requests(folder)) == EDITS - 1
    assert recovery.missing_ids == ("request-0077",)


ERROR = '{"code": "boom", "message": "no"}'
FACTS = '{"width": 1, "height": 1, "frame_rate": 1.0, "duration_s": 1.0, "marks": []}'


@pytest.mark.parametrize(
    ("sql", "intact", "corrupt"),
    [
        pytest.param("update tasks set error = ?", '"code": "boom"', '"core": "boom"', id="error"),
        pytest.param("update tasks set error = ?", ERROR, "[" * len(ERROR), id="not-json"),
        pytest.param(
            "update attempts set task_id = null, state = 'refused', error = ?",
            *('"message"', '"massage"'),
            id="refusal",
        ),
        pytest.param("update attempts set clip = ?", '"marks"', '"parks"', id="clip"),
        pytest.param("update files set facts = ?", '"marks": []', '"marks" [] ', id="facts"),
        pytest.param("update tasks set result_urls = ?", '["https', '{"https', id="links"),
        pytest.param("update files set sound = ?", "original", "oroginal", id="sound"),
    ],
)
def test_an_unparsable_column_loses_no_row(
    folder: Path, filled: bytes, sql: str, intact: str, corrupt: str
) -> None:
    values = (ERROR, FACTS, '["https://x.example/1.mp4"]', "original")
    path = write(folder, filled)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        value = next(value for value in values if intact in value)
        connection.execute(f"{sql} where rowid = 7", (value,))
        connection.commit()
    content = path.read_bytes()
    assert intact.encode() in content
    path.write_bytes(content.replace(intact.encode(), corrupt.encode()))

    with Journal(folder) as journal, pytest.raises(JournalDamagedError):
        journal.check()
    recovery = recover(folder)

    assert recovery is not None
    assert recovery.is_complete
    assert len(known_requests(folder)) == EDITS
    assert recover(folder) is None


@pytest.mark.parametrize("value", ["x'ff'", "'abc'", "9e999", "'a' || char(0)", "'[1]'", "'{}'"])
@pytest.mark.parametrize("table", TABLES)
def test_no_value_of_any_column_survives_as_damage(folder: Path, table: str, value: str) -> None:
    fill(folder, 2)
    path = folder / "journal.db"
    content = path.read_bytes()
    with Journal(None) as journal:
        columns = journal._database.rows(f"pragma table_info({table})")

    for column in (row["name"] for row in columns):
        write(folder, content)
        with contextlib.closing(sqlite3.connect(path)) as connection:
            with contextlib.suppress(sqlite3.IntegrityError):
                connection.execute(f"update or ignore {table} set {column} = {value}")  # noqa: S608 - constants only
            connection.commit()
        recovery = recover(folder)

        with Journal(folder) as journal:
            journal.check()
            is_kept = len(journal.recent()) == 2
        assert is_kept or (recovery is not None and not recovery.is_complete), column


@pytest.mark.parametrize("version", [-1, 0, 1, 2])
def test_a_wrong_version_loses_nothing(folder: Path, filled: bytes, version: int) -> None:
    path = write(folder, filled)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"pragma user_version = {version}")

    recovery = recover(folder)

    assert recovery is not None
    assert recovery.is_complete
    assert len(known_requests(folder)) == EDITS


@pytest.mark.parametrize("table", COUNTED_TABLES)
def test_a_missing_table_is_a_loss(folder: Path, filled: bytes, table: str) -> None:
    path = write(folder, filled)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"drop table {table}")

    recovery = recover(folder)

    assert recovery is not None
    assert not recovery.is_complete
    assert recovery.rows_restored[table] == (EDITS if table == "tasks" else 0)
    assert recover(folder) is None


@pytest.mark.parametrize("origin", [ORIGIN, "sandbox"])
def test_the_origin_of_an_open_task_is_not_a_missing_id(folder: Path, origin: str) -> None:
    with Journal(folder) as journal:
        journal.record_attempt(attempt("request-1", prompt="x", origin=origin), context=None)
        task = Task(task_id="task-1", status="processing")
        journal.record_accepted("request-1", task, origin=origin)
    path = folder / "journal.db"
    content = path.read_bytes()
    path.write_bytes(bytes(range(100)) + content[100:])

    recovery = recover(folder)

    assert recovery is not None
    assert recovery.missing_ids == ()


def test_a_recovery_that_fails_at_its_last_step_can_be_repeated(
    folder: Path, filled: bytes
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "the disk fails")

    damaged = damage_page(filled, pages_of(filled, "attempts")[0])
    path = write(folder, damaged)

    with pytest.raises(JournalError, match="the disk fails"):
        recover(folder, system=windows(move=fail))
    left = path.read_bytes()
    recover(folder)

    assert left == damaged
    assert len(known_requests(folder)) == EDITS
