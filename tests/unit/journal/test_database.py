"""The journal's file: permissions, sharing between processes, versions, damage and obstacles."""

import concurrent.futures
import contextlib
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from omniedit.errors import (
    JournalDamagedError,
    JournalError,
    JournalTooNewError,
    LocalError,
    TargetBusyError,
)
from omniedit.journal import Journal
from omniedit.journal.database import VERSION, Database, check_version
from tests.systems import windows

_SUBMITTER = """
import sys
from pathlib import Path
from omniedit.journal import Journal
from omniedit.models import Record, Task

name, folder = sys.argv[1], Path(sys.argv[2])
for number in range(5):
    with Journal(folder) as journal:
        request_id = f"request-{name}-{number}-0000"
        attempt = Record(
            request_id=request_id, task=None, status="sending", created_at=0.0, origin="o",
            identity=f"{name}-{number}", video="https://example.com/c.mp4", prompt="p", body=b"{}",
        )
        journal.record_attempt(attempt, context="c")
        task = Task(task_id=f"task-{name}-{number}", status="completed")
        journal.record_accepted(request_id, task, origin="o")
"""

posix_modes = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "state"


@posix_modes
def test_folder_and_files_are_private(folder: Path) -> None:
    with (
        Journal(folder) as journal,
        journal.locked("sending", "request"),
        journal._database.writing(),
    ):
        journal._database.execute("insert into calls values (1, 'c', null, 0)")
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert modes == {
        "journal.db": 0o600,
        "journal.db-journal": 0o600,
        "locks": 0o700,
        "sending-request.lock": 0o600,
    }


def test_a_commit_is_on_disk_before_it_returns(folder: Path) -> None:
    with Journal(folder) as journal:
        [synchronous] = journal._database.rows("pragma synchronous")[0]
        [mode] = journal._database.rows("pragma journal_mode")[0]

    full = 2
    assert (synchronous, mode) == (full, "delete")


def test_concurrent_processes_lose_no_writes(folder: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", _SUBMITTER, str(name), str(folder)])
        for name in range(6)
    ]

    assert [writer.wait(60) for writer in writers] == [0] * 6
    with Journal(folder) as journal:
        assert len({record.task_id for record in journal.recent()}) == 30


@pytest.mark.posix
def test_a_signal_during_a_lock_wait_leaves_no_open_transaction(folder: Path) -> None:
    with (
        Journal(folder) as journal,
        contextlib.closing(
            sqlite3.connect(folder / "journal.db", isolation_level=None, check_same_thread=False)
        ) as other,
    ):
        other.execute("begin immediate")
        # SQLite waits in C, so the handler runs only once the lock is held.
        for delay_s, act in (
            (0.1, partial(signal.raise_signal, signal.SIGINT)),
            (0.3, other.rollback),
        ):
            threading.Timer(delay_s, act).start()
        with pytest.raises(KeyboardInterrupt):
            journal.record_call("context", None)

        other.execute("begin immediate")
        other.rollback()
        journal.record_call("context", None)


def test_a_failed_write_is_rolled_back(folder: Path) -> None:
    with Journal(folder) as journal:
        journal.record_call("c", "first")
        with contextlib.suppress(ZeroDivisionError), journal._database.writing():
            journal._database.execute("delete from calls")
            _ = 1 / 0

        assert journal.last_call("c") is not None


def test_a_new_file_has_the_current_version_and_keeps_it(folder: Path) -> None:
    for _ in range(2):
        with Journal(folder):
            pass

    with sqlite3.connect(folder / "journal.db") as connection:
        [version] = connection.execute("pragma user_version").fetchone()
    connection.close()
    assert version == VERSION


def test_a_file_from_a_newer_version_is_left_alone(folder: Path) -> None:
    with Journal(folder) as journal:
        journal._database.execute(f"pragma user_version={VERSION + 1}")
    before = (folder / "journal.db").read_bytes()

    for open_or_check in (Journal, check_version):
        with pytest.raises(JournalTooNewError, match="newer omniedit") as caught:
            open_or_check(folder)
        assert "upgrade" in (caught.value.hint or "")

    assert (folder / "journal.db").read_bytes() == before


@pytest.mark.posix
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda path: None, id="missing"),
        pytest.param(Path.touch, id="empty"),
        pytest.param(Path.mkdir, id="folder"),
        pytest.param(lambda path: os.mkfifo(path, 0o600), id="pipe-without-a-writer"),
        pytest.param(lambda path: path.write_bytes(b"\xff" * 100), id="not-a-database"),
        pytest.param(lambda path: Journal(path.parent).close(), id="current-version"),
    ],
)
def test_only_a_newer_journal_fails_the_version_check(
    folder: Path, make: Callable[[Path], object]
) -> None:
    folder.mkdir(parents=True, mode=0o700)
    make(folder / "journal.db")
    before = [*folder.iterdir()]

    check_version(folder)

    assert [*folder.iterdir()] == before


def test_a_file_whose_columns_were_added_later_is_read(folder: Path) -> None:
    with Journal(folder) as journal:
        journal.record_call("c", "request-1")
    with contextlib.closing(sqlite3.connect(folder / "journal.db")) as connection:
        connection.executescript("""
            drop table files;
            create table files (
                task_id text not null, path text not null, size_bytes integer not null,
                sha256 text not null, saved_at real not null, -- as before the other columns
                primary key (task_id, path)
            );
        """)
        for column in ("is_elsewhere integer", "facts text", "sound text", "served_path text"):
            connection.execute(f"alter table files add column {column}")

    with Journal(folder) as journal:
        journal.check()
        assert journal.last_call("c") is not None


@pytest.mark.parametrize(
    "sql",
    [
        pytest.param("alter table files add column more text", id="column"),
        pytest.param("drop index tasks_open", id="no-index"),
        pytest.param("create view more as select 1", id="view"),
        pytest.param(
            "create trigger more after insert on calls begin delete from files; end", id="trigger"
        ),
    ],
)
def test_a_file_with_another_schema_is_damaged(folder: Path, sql: str) -> None:
    Journal(folder).close()
    with contextlib.closing(sqlite3.connect(folder / "journal.db")) as connection:
        connection.execute(sql)

    with pytest.raises(JournalDamagedError, match="not those of this version"):
        Journal(folder)


def test_a_damaged_file_can_be_renamed_while_its_error_is_handled(folder: Path) -> None:
    folder.mkdir(parents=True)
    path = folder / "journal.db"
    path.write_bytes(b"no database" * 1000)

    try:
        Database(path)
    except JournalDamagedError:
        windows().replace(path, folder / "aside")

    assert [entry.name for entry in folder.iterdir()] == ["aside"]


@pytest.mark.posix
@pytest.mark.parametrize("mode", [0o666, 0o602])
def test_a_file_writable_by_others_is_refused(folder: Path, mode: int) -> None:
    with Journal(folder):
        pass
    (folder / "journal.db").chmod(mode)

    with pytest.raises(JournalError, match="other users may write") as caught:
        Journal(folder)

    assert "chmod go-w" in (caught.value.hint or "")


@pytest.mark.posix
@pytest.mark.parametrize("journal", [".", "sandbox"])
def test_a_state_folder_writable_by_others_is_refused(folder: Path, journal: str) -> None:
    (folder / journal).mkdir(mode=0o700, parents=True)
    folder.chmod(0o777)

    with pytest.raises(JournalError, match="state is not safe to use: other users may write"):
        Journal(folder / journal, enclosing=folder)


@pytest.mark.posix
def test_a_sticky_folder_around_the_journals_is_accepted(folder: Path) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o1777)

    with Journal(folder / "sandbox", enclosing=folder) as journal:
        assert journal.is_persistent


@pytest.mark.posix
@pytest.mark.parametrize("target", ["pipe", "/dev/zero"])
def test_a_pipe_or_device_in_place_of_the_file_is_refused(folder: Path, target: str) -> None:
    folder.mkdir(parents=True)
    os.mkfifo(folder / "pipe")
    (folder / "journal.db").symlink_to(target)

    with pytest.raises(JournalError, match="not a regular file"):
        Journal(folder)


@pytest.mark.posix
@pytest.mark.parametrize("suffix", ["-journal", "-wal", "-shm"])
@pytest.mark.parametrize("is_linked", [False, True], ids=["here", "behind-a-link"])
def test_a_pipe_beside_the_file_is_refused(folder: Path, suffix: str, *, is_linked: bool) -> None:
    with Journal(folder):
        pass
    name = "journal.db"
    if is_linked:
        (folder / name).rename(folder / "moved.db")
        (folder / name).symlink_to("moved.db")
        name = "moved.db"
    os.mkfifo(folder / f"{name}{suffix}", 0o600)

    with pytest.raises(JournalError, match=f"{name}{suffix} is a named pipe"):
        Journal(folder)


@pytest.mark.posix
@pytest.mark.parametrize("link", ["journal.db", "."])
def test_a_dangling_symlink_is_refused_and_its_target_named(
    folder: Path, tmp_path: Path, link: str
) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    if link != ".":
        folder.mkdir(mode=0o700)
    (folder / link).symlink_to(tmp_path / "missing")

    with pytest.raises(JournalError, match="missing, which does not exist"):
        Journal(folder)

    assert not (tmp_path / "missing").exists()


def test_a_kill_during_creation_leaves_no_damaged_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr(os, "link", die)
        with pytest.raises(KeyboardInterrupt):
            Journal(folder)

    with Journal(folder) as journal:
        assert journal.recent() == []


def test_a_journal_is_created_without_hard_links(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    with Journal(folder) as journal:
        journal.record_call("c", "request-1")

    assert [path.name for path in folder.iterdir()] == ["journal.db"]


@pytest.mark.posix
def test_a_file_replaced_while_open_is_not_written_to(folder: Path) -> None:
    with Journal(folder) as journal:
        (folder / "journal.db").rename(folder / "aside")
        with pytest.raises(JournalError, match="was replaced while it was open"):
            journal.record_call("c", "request-1")
        (folder / "journal.db").touch()
        with pytest.raises(JournalError, match="was replaced while it was open"):
            journal.record_call("c", "request-1")

        assert journal.last_call("c") is None


@pytest.mark.parametrize("name", ["journal.db", "."])
def test_an_obstacle_in_the_files_place_is_a_journal_error(folder: Path, name: str) -> None:
    if name == ".":
        folder.parent.mkdir()
        folder.write_text("a file where the folder should be")
    else:
        (folder / name).mkdir(parents=True)

    with pytest.raises(JournalError, match="cannot be used"):
        Journal(folder)


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_a_journal_error(folder: Path) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o500)

    with pytest.raises(JournalError, match="cannot be used"):
        Journal(folder)


def test_a_file_that_became_read_only_is_a_journal_error(folder: Path) -> None:
    with Journal(folder) as journal:
        journal._database.execute("pragma query_only = on")
        with pytest.raises(JournalError, match="cannot be used"):
            journal.record_call("c", "request")


def test_a_full_disk_is_a_journal_error_and_the_file_stays_readable(folder: Path) -> None:
    with Journal(folder) as journal:
        journal.record_call("c", "first")
        [pages] = journal._database.rows("pragma page_count")[0]
        journal._database.execute(f"pragma max_page_count = {pages}")
        with pytest.raises(JournalError, match="full"):
            journal.record_call("c" * 100_000, "request")

        assert journal.last_call("c") is not None


def test_a_lock_folder_that_cannot_be_created_is_a_local_error(folder: Path) -> None:
    with Journal(folder) as journal:
        (folder / "locks").write_text("a file")
        with pytest.raises(LocalError, match="locks"), journal.locked("editing", "identity"):
            pytest.fail("there is no lock")


def test_an_edit_has_one_lock_holder_at_a_time(folder: Path) -> None:
    class StillBusyError(Exception):
        """Ends a wait that would not end by itself."""

    def give_up(_: float) -> None:
        raise StillBusyError

    with Journal(folder) as first, Journal(folder) as second:
        with first.locked("editing", "a"):
            with second.locked("editing", "b"):
                pass
            with pytest.raises(StillBusyError), second.locked("editing", "a", sleep=give_up):
                pytest.fail("it is held")
        with second.locked("editing", "a"):
            pass


def test_locks_of_different_kinds_may_share_a_name(folder: Path) -> None:
    def give_up(_: float) -> None:
        pytest.fail("it waits for itself")

    name = "upload-0123456789abcdef"
    with (
        Journal(folder) as journal,
        journal.locked("editing", name, sleep=give_up),
        journal.locked("sending", name, sleep=give_up),
        journal.locked("uploading", name, sleep=give_up),
        journal.locked("uploading", "0123456789abcdef", sleep=give_up),
    ):
        assert len(list((folder / "locks").iterdir())) == 4


@pytest.mark.parametrize("kind", ["editing", "sending", "uploading"])
def test_waiting_for_a_lock_ends_at_the_timeout(folder: Path, kind: str) -> None:
    slept: list[float] = []
    with Journal(folder) as first, Journal(folder) as second:
        lock = second.locked(kind, "a", timeout_s=2.0, sleep=slept.append)
        with (
            first.locked(kind, "a"),
            pytest.raises(TargetBusyError, match=f"{kind}-a"),
            lock,
        ):
            pytest.fail("it is held")

    assert sum(slept) == pytest.approx(2.0)


def test_calls_from_several_threads_are_all_recorded(folder: Path) -> None:
    with Journal(folder) as journal, concurrent.futures.ThreadPoolExecutor(4) as pool:
        written = [pool.submit(journal.record_call, "c", str(n)) for n in range(40)]
        for each in written:
            each.result()

        [count] = journal._database.rows("select count(*) from calls")[0]
    assert count == 40


def test_a_missing_table_is_a_journal_error(folder: Path) -> None:
    with Journal(folder) as journal:
        journal._database.execute("drop table calls")
        with pytest.raises(JournalError, match="no such table"):
            journal.last_call("c")


def test_an_in_memory_database_creates_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    database = Database(None)
    database.close()

    assert [path for path in tmp_path.iterdir() if path.name != "home"] == []
