"""Journals of other machines taken into one: what is new, what contradicts, and nothing twice."""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from omniedit.errors import JournalDamagedError, JournalError, JournalTooNewError
from omniedit.journal import Journal
from omniedit.journal.merging import Merged, merge
from omniedit.models import AttemptState, SavedFile, Task
from tests.journals import ORIGIN, attempt


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    return tmp_path / "ours"


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    return tmp_path / "theirs"


def submit(
    folder: Path, name: str, *, task_id: str = "", digest: str = "d", **task: object
) -> None:
    """Record a submission, and the task it became, if any."""
    with Journal(folder) as journal:
        given = attempt(name, prompt=name, body_digest=digest)
        journal.record_attempt(given, context="user:0", key_digest=f"{folder}:{name}")
        if task_id:
            fields = {"status": "processing", **task}
            journal.record_accepted(name, Task(task_id=task_id, **fields), origin=ORIGIN)  # type: ignore[arg-type]


def merged(ours: Path, theirs: Path) -> Merged:
    return merge(ours, theirs, private=ours / "tmp")


def test_what_is_new_is_taken_once(ours: Path, theirs: Path, tmp_path: Path) -> None:
    here = tmp_path / "here.mp4"
    here.write_bytes(b"video")
    submit(ours, "first", task_id="task-1")
    submit(theirs, "second", task_id="task-2", status="completed", credits_used=3.5)
    with Journal(theirs) as journal:
        for path in (str(here), "/elsewhere/out.mp4"):
            journal.record_saved("task-2", SavedFile(path=path, size_bytes=5, sha256="00"))

    first, second = merged(ours, theirs), merged(ours, theirs)

    assert first == Merged(submissions=1, tasks=1, files=2, conflicts=())
    assert second == Merged(submissions=0, tasks=0, files=0, conflicts=())
    with Journal(ours) as journal:
        record = journal.find_task("task-2")
        assert record is not None
        assert record.task is not None
        assert (record.prompt, record.task.credits_used) == ("second", 3.5)
        assert {file.path: file.is_elsewhere for file in record.saved} == {
            str(here): False,
            "/elsewhere/out.mp4": True,
        }
        last = journal.last_call("user:0")
        assert last is not None
        assert last.request_id == "first"
        assert journal.key_digest("second") == f"{theirs}:second"


def test_what_was_being_sent_elsewhere_is_in_doubt(ours: Path, theirs: Path) -> None:
    submit(theirs, "sending")

    merged(ours, theirs)

    with Journal(ours) as journal:
        [row] = journal._database.rows("select state from attempts")
        assert row["state"] == AttemptState.UNKNOWN


@pytest.mark.parametrize("is_known_to_us", [True, False], ids=["here", "there"])
def test_a_task_settles_what_the_other_is_in_doubt_about(
    ours: Path, theirs: Path, *, is_known_to_us: bool
) -> None:
    settled, doubting = (ours, theirs) if is_known_to_us else (theirs, ours)
    submit(settled, "one", task_id="task-1")
    submit(doubting, "one")

    found = merged(ours, theirs)

    assert found.conflicts == ()
    with Journal(ours) as journal:
        record = journal.find_attempt("one")
        assert record is not None
        assert record.task_id == "task-1"


def test_the_end_of_a_task_is_kept_whoever_saw_it(ours: Path, theirs: Path) -> None:
    submit(ours, "one", task_id="task-1")
    submit(theirs, "one", task_id="task-1", status="completed", credits_used=2.0)
    submit(ours, "two", task_id="task-2", status="completed", credits_used=4.0)
    submit(theirs, "two", task_id="task-2")

    merged(ours, theirs)

    with Journal(ours) as journal:
        records = {record.task_id: record.task for record in journal.recent()}
    assert {key: task and (task.status, task.credits_used) for key, task in records.items()} == {
        "task-1": ("completed", 2.0),
        "task-2": ("completed", 4.0),
    }


def test_what_contradicts_is_said_and_every_task_is_kept(ours: Path, theirs: Path) -> None:
    submit(ours, "one", task_id="task-1")
    submit(theirs, "one", task_id="task-2")
    submit(ours, "other", digest="a")
    submit(theirs, "other", digest="b")
    submit(ours, "end", task_id="task-3", status="failed")
    submit(theirs, "end", task_id="task-3", status="completed")

    found = merged(ours, theirs)

    assert found.conflicts == (
        "request ID one became task task-1 here, and task task-2 there",
        "request ID other stands for another edit there",
        "task task-3 is failed here, and completed there",
    )
    with Journal(ours) as journal:
        assert journal.find_task("task-1") is not None
        assert journal.find_task("task-2") is not None


def test_the_other_journal_is_not_written_to(ours: Path, theirs: Path) -> None:
    submit(theirs, "one", task_id="task-1")
    before = {path: path.read_bytes() for path in theirs.rglob("*") if path.is_file()}

    merged(ours, theirs)

    assert {path: path.read_bytes() for path in theirs.rglob("*") if path.is_file()} == before


def test_a_transaction_that_was_cut_off_elsewhere_is_rolled_back_in_the_copy(
    ours: Path, theirs: Path, tmp_path: Path
) -> None:
    submit(theirs, "one", task_id="task-1")
    connection = sqlite3.connect(theirs / "journal.db", isolation_level=None)
    connection.execute("pragma cache_size = 1")
    connection.execute("begin immediate")
    for number in range(500):
        connection.execute("insert into calls values (?, ?, null, 0)", (number + 9, "c" * 2000))
    killed = shutil.copytree(theirs, tmp_path / "killed")
    connection.close()
    assert (killed / "journal.db-journal").stat().st_size > 0

    found = merged(ours, killed)

    assert (found.submissions, found.tasks) == (1, 1)


def newer(folder: Path) -> None:
    submit(folder, "one")
    connection = sqlite3.connect(folder / "journal.db")
    connection.execute("pragma user_version = 99")
    connection.close()


def damaged(folder: Path) -> None:
    folder.mkdir()
    (folder / "journal.db").write_bytes(b"no database " * 1000)


def empty(folder: Path) -> None:
    folder.mkdir()
    (folder / "journal.db").touch()


@pytest.mark.parametrize(
    ("make", "error"),
    [
        pytest.param(lambda _: None, JournalError, id="missing"),
        pytest.param(newer, JournalTooNewError, id="newer"),
        pytest.param(damaged, JournalDamagedError, id="damaged"),
        pytest.param(empty, JournalDamagedError, id="empty"),
    ],
)
def test_a_journal_that_cannot_be_read_is_refused_by_its_name(
    ours: Path, theirs: Path, make: Callable[[Path], None], error: type[JournalError]
) -> None:
    make(theirs)

    with pytest.raises(error) as caught:
        merged(ours, theirs)

    assert str(theirs / "journal.db") in caught.value.message
