"""The journal's file: private, shared by processes, of other versions, damaged, in the way."""

import concurrent.futures
import contextlib
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from omniedit.errors import JournalDamagedError, JournalError, JournalTooNewError, LocalError
from omniedit.journal import Journal, set_journal_aside
from omniedit.journal.database import VERSION, Database
from omniedit.journal.recovery import set_aside
from tests.systems import windows

_SUBMITTER = """
import sys
from pathlib import Path
from omniedit.journal import Attempt, Journal
from omniedit.models import EditRequest, Task

name, folder = sys.argv[1], Path(sys.argv[2])
for number in range(5):
    with Journal(folder) as journal:
        request = EditRequest(video="https://example.com/c.mp4", clip="c", prompt="p")
        request_id = f"request-{name}-{number}-0000"
        journal.record_attempt(Attempt(
            request_id=request_id, origin="o", identity=f"{name}-{number}", request=request,
            body=b"{}", body_digest=None, context="c", clip_url="u",
        ))
        task = Task(task_id=f"task-{name}-{number}", status="completed")
        journal.record_accepted(request_id, task, origin="o")
"""

posix_modes = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "state"


@posix_modes
def test_folder_and_files_are_private(folder: Path) -> None:
    with Journal(folder) as journal, journal.sending("request"), journal._database.writing():
        journal._database.execute("insert into calls values (1, 'c', null, 0)")
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert modes == {
        "journal.db": 0o600,
        "journal.db-journal": 0o600,
        "locks": 0o700,
        "request.lock": 0o600,
    }


def test_a_commit_is_on_disk_before_it_returns(folder: Path) -> None:
    with Journal(folder) as journal:
        [synchronous] = journal._database.rows("pragma synchronous")[0]
        [mode] = journal._database.rows("pragma journal_mode")[0]

    full = 2
    assert (synchronous, mode) == (full, "delete")


def test_processes_that_write_at_once_lose_nothing(folder: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", _SUBMITTER, str(name), str(folder)])
        for name in range(6)
    ]

    assert [writer.wait(60) for writer in writers] == [0] * 6
    with Journal(folder) as journal:
        assert len({record.task_id for record in journal.recent()}) == 30


def test_a_failed_write_leaves_everything_as_it_was(folder: Path) -> None:
    with Journal(folder) as journal:
        journal.record_call("c", "first")
        with contextlib.suppress(ZeroDivisionError), journal._database.writing():
            journal._database.execute("delete from calls")
            _ = 1 / 0

        assert journal.last_call("c") is not None


def test_a_new_file_has_the_newest_version_and_keeps_it(folder: Path) -> None:
    for _ in range(2):
        with Journal(folder):
            pass

    with sqlite3.connect(folder / "journal.db") as connection:
        [version] = connection.execute("pragma user_version").fetchone()
    connection.close()
    assert version == VERSION


def test_a_file_of_a_newer_version_is_left_alone(folder: Path) -> None:
    with Journal(folder) as journal:
        journal._database.execute(f"pragma user_version={VERSION + 1}")
    before = (folder / "journal.db").read_bytes()

    with pytest.raises(JournalTooNewError, match="newer omniedit") as caught:
        Journal(folder)

    assert "upgrade" in (caught.value.hint or "")
    assert (folder / "journal.db").read_bytes() == before


def scribble(path: Path) -> None:
    path.write_bytes(b"no database at all, of some length" * 200)


def cut_off(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def overwrite_schema(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:100] + b"\xff" * 4000 + content[4100:])


@pytest.mark.parametrize("damage", [scribble, cut_off, overwrite_schema])
def test_a_damaged_file_is_told_and_set_aside_whole(
    folder: Path, damage: Callable[[Path], None]
) -> None:
    with Journal(folder) as journal:
        for number in range(50):
            journal.record_call("c" * 200, f"request-{number}")
    damage(folder / "journal.db")
    damaged = (folder / "journal.db").read_bytes()

    with pytest.raises(JournalDamagedError, match="damaged"), Journal(folder) as journal:
        journal.check()
    aside = set_journal_aside(folder)

    assert aside is not None
    assert aside.read_bytes() == damaged
    assert aside.parent == folder
    assert aside.name.startswith("journal.damaged-")
    with Journal(folder) as journal:
        journal.check()
        assert journal.recent() == []


def test_a_file_that_is_none_can_be_renamed_while_its_error_is_handled(folder: Path) -> None:
    folder.mkdir(parents=True)
    path = folder / "journal.db"
    path.write_bytes(b"no database" * 1000)

    try:
        Database(path)
    except JournalDamagedError:
        windows().replace(path, folder / "aside")

    assert [entry.name for entry in folder.iterdir()] == ["aside"]


def test_a_sound_journal_is_never_set_aside(folder: Path) -> None:
    with Journal(folder) as journal:
        journal.record_call("here", "request-1")

    assert set_journal_aside(folder) is None
    assert (folder / "journal.db").exists()


def test_a_hot_rollback_journal_goes_with_its_file(folder: Path) -> None:
    with Journal(folder):
        pass
    (folder / "journal.db-journal").write_bytes(b"hot")

    aside = set_aside(folder / "journal.db")

    assert aside.with_name(f"{aside.name}-journal").read_bytes() == b"hot"
    assert not (folder / "journal.db-journal").exists()


@pytest.mark.parametrize("name", ["journal.db", "."])
def test_what_is_in_the_way_is_a_journal_error(folder: Path, name: str) -> None:
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


def test_a_full_disk_is_a_journal_error_and_leaves_it_readable(folder: Path) -> None:
    with Journal(folder) as journal:
        journal.record_call("c", "first")
        [pages] = journal._database.rows("pragma page_count")[0]
        journal._database.execute(f"pragma max_page_count = {pages}")
        with pytest.raises(JournalError, match="full"):
            journal.record_call("c" * 100_000, "request")

        assert journal.last_call("c") is not None


def test_a_lock_folder_that_cannot_be_made_is_a_local_error(folder: Path) -> None:
    with Journal(folder) as journal:
        (folder / "locks").write_text("a file")
        with pytest.raises(LocalError, match="locks"), journal.editing("identity"):
            pytest.fail("there is no lock")


def test_an_edit_is_held_by_one_at_a_time(folder: Path) -> None:
    class StillBusyError(Exception):
        """Ends a wait that would last."""

    def give_up(_: float) -> None:
        raise StillBusyError

    with Journal(folder) as first, Journal(folder, sleep=give_up) as second:
        with first.editing("a"):
            with second.editing("b"):
                pass
            with pytest.raises(StillBusyError), second.editing("a"):
                pytest.fail("it is held")
        with second.editing("a"):
            pass


def test_rows_can_be_read_from_other_threads(folder: Path) -> None:
    with Journal(folder) as journal, concurrent.futures.ThreadPoolExecutor(4) as pool:
        written = [pool.submit(journal.record_call, "c", str(n)) for n in range(40)]
        for each in written:
            each.result()

        [count] = journal._database.rows("select count(*) from calls")[0]
    assert count == 40


def test_a_missing_table_is_no_damage_to_be_hidden(folder: Path) -> None:
    with Journal(folder) as journal:
        journal._database.execute("drop table calls")
        with pytest.raises(JournalError, match="no such table"):
            journal.last_call("c")


def test_a_database_in_memory_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    database = Database(None)
    database.close()

    assert [path for path in tmp_path.iterdir() if path.name != "home"] == []
