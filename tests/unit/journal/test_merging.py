"""Merging other machines' journals: new rows are added, contradictions named, nothing doubled."""

import json
import os
import re
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest

from omniedit.errors import JournalDamagedError, JournalError, JournalTooNewError
from omniedit.journal import Journal
from omniedit.journal.merging import Merged, merge
from omniedit.models import AttemptState, SavedFile, Task, TaskError, VideoFacts
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
    """Record a submission and the task it became, if any."""
    with Journal(folder) as journal:
        given = attempt(name, prompt=name, body_digest=digest)
        journal.record_attempt(given, context="user:0", key_digest=f"{folder}:{name}")
        if task_id:
            fields = {"status": "processing", **task}
            journal.record_accepted(name, Task(task_id=task_id, **fields), origin=ORIGIN)  # type: ignore[arg-type]


def merged(ours: Path, theirs: Path) -> Merged:
    return merge(ours, theirs, private=ours / "tmp")


@pytest.mark.skipif(sys.platform != "linux", reason="names of folders are text elsewhere")
def test_a_folder_name_need_not_be_valid_text(tmp_path: Path, theirs: Path) -> None:
    submit(theirs, "first", task_id="task-1")

    assert merged(tmp_path / "\udcff", theirs).submissions == 1


def test_new_rows_are_added_once(ours: Path, theirs: Path, tmp_path: Path) -> None:
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


def test_an_attempt_being_sent_elsewhere_becomes_unknown(ours: Path, theirs: Path) -> None:
    submit(theirs, "sending")

    merged(ours, theirs)

    with Journal(ours) as journal:
        [row] = journal._database.rows("select state from attempts")
        assert row["state"] == AttemptState.UNKNOWN


@pytest.mark.parametrize("is_known_to_us", [True, False], ids=["here", "there"])
def test_a_task_settles_the_other_journals_unknown_attempt(
    ours: Path, theirs: Path, *, is_known_to_us: bool
) -> None:
    settled, unsettled = (ours, theirs) if is_known_to_us else (theirs, ours)
    submit(settled, "one", task_id="task-1")
    submit(unsettled, "one")

    found = merged(ours, theirs)

    assert found.conflicts == ()
    with Journal(ours) as journal:
        record = journal.find_attempt("one")
        assert record is not None
        assert record.task_id == "task-1"


def test_a_tasks_final_status_is_kept_from_either_journal(ours: Path, theirs: Path) -> None:
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


def test_conflicts_are_reported_and_every_task_is_kept(ours: Path, theirs: Path) -> None:
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


def test_no_sql_in_the_name_of_a_column_is_run(ours: Path, theirs: Path) -> None:
    submit(theirs, "first", task_id="task-1")
    with Journal(theirs) as journal:
        journal.record_saved("task-1", SavedFile(path="/out.mp4", size_bytes=5, sha256="00"))
    evil = "rowid) select 'task-9', ?, ?, ?, ?, ?, ?, ?, ?, ? where ? is null --"
    with closing(sqlite3.connect(theirs / "journal.db")) as database:
        database.execute(f'alter table files add column "{evil}" text')

    with suppress(JournalError):
        merged(ours, theirs)

    with Journal(ours) as journal:
        rows = journal._database.rows("select task_id from files")
    assert "task-9" not in [row["task_id"] for row in rows]


def test_an_interrupted_transaction_is_rolled_back_in_the_copy(
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
def test_an_unreadable_journal_is_refused_by_name(
    ours: Path, theirs: Path, make: Callable[[Path], None], error: type[JournalError]
) -> None:
    make(theirs)

    with pytest.raises(error) as caught:
        merged(ours, theirs)

    assert str(theirs / "journal.db") in caught.value.message
    assert caught.value.hint


@pytest.mark.posix
@pytest.mark.parametrize("name", ["journal.db", "journal.db-journal", "journal.db-wal"])
@pytest.mark.parametrize("target", ["pipe", "/dev/zero"])
def test_pipes_and_devices_are_never_read(ours: Path, theirs: Path, name: str, target: str) -> None:
    submit(theirs, "one")
    os.mkfifo(theirs / "pipe")
    (theirs / name).unlink(missing_ok=True)
    (theirs / name).symlink_to(target)

    with pytest.raises(JournalError, match=f"{name} is a .*, not a regular file"):
        merged(ours, theirs)

    assert not [path for path in ours.rglob("*") if path.is_file()]


def test_a_rollback_journal_that_is_too_long_is_not_copied(ours: Path, theirs: Path) -> None:
    submit(theirs, "one")
    (theirs / "journal.db-journal").touch()
    os.truncate(theirs / "journal.db-journal", 2**24)

    with pytest.raises(JournalError, match="-journal is longer than"):
        merged(ours, theirs)


def refuse(folder: Path, name: str, *, digest: str | None = None, origin: str = ORIGIN) -> None:
    """Record a submission that was refused."""
    with Journal(folder) as journal:
        given = attempt(name, prompt="refused", body_digest=digest, origin=origin)
        journal.record_attempt(given, context="user:0", key_digest="our key")
        journal.record_refused(name, TaskError(code="target_exists", message="taken"))


@pytest.mark.parametrize(
    "our_refusal",
    [
        pytest.param({}, id="unsent"),
        pytest.param({"digest": "another"}, id="another-body"),
        pytest.param({"origin": "https://other.example"}, id="another-origin"),
    ],
)
@pytest.mark.parametrize("task_id", ["task-1", ""], ids=["accepted", "unknown"])
def test_a_refusal_here_never_hides_a_submission_there(
    ours: Path, theirs: Path, our_refusal: dict[str, str], task_id: str
) -> None:
    refuse(ours, "one", **our_refusal)
    submit(theirs, "one", task_id=task_id)

    first, second = merged(ours, theirs), merged(ours, theirs)

    assert (first.conflicts, second) == (
        (),
        Merged(submissions=0, tasks=0, files=0, conflicts=()),
    )
    with Journal(ours) as journal:
        record = journal.find_attempt("one")
        assert record is not None
        assert (record.prompt, record.task_id) == ("one", task_id or None)
        assert record.status == ("processing" if task_id else AttemptState.UNKNOWN)
        assert journal.key_digest("one") == f"{theirs}:one"


def test_a_request_id_used_for_two_edits_keeps_both(ours: Path, theirs: Path) -> None:
    with Journal(ours) as journal:
        given = attempt("one", prompt="ours", identity="our-edit")
        journal.record_attempt(given, context=None)
        journal.record_accepted("one", Task(task_id="t-1", status="completed"), origin=ORIGIN)
    with Journal(theirs) as journal:
        given = attempt("one", prompt="theirs", identity="their-edit", body_digest="another")
        journal.record_attempt(given, context=None)
        journal.record_accepted("one", Task(task_id="t-2", status="completed"), origin=ORIGIN)

    first, second = merged(ours, theirs), merged(ours, theirs)

    assert first.submissions == 1
    assert second.submissions == 0
    with Journal(ours) as journal:
        found = {
            identity: journal.find_edit(identity, origin=ORIGIN)
            for identity in ("our-edit", "their-edit")
        }
    assert {key: record and record.task_id for key, record in found.items()} == {
        "our-edit": "t-1",
        "their-edit": "t-2",
    }


def test_a_task_known_under_one_request_id_is_not_added_twice(
    ours: Path, theirs: Path, tmp_path: Path
) -> None:
    third = tmp_path / "third"
    submit(ours, "one", task_id="task-1", digest="a")
    submit(theirs, "one", task_id="task-2", digest="b")
    merged(theirs, ours)

    first, second = merged(third, ours), merged(third, theirs)
    merged(third, theirs)

    assert (first.submissions, second.submissions) == (1, 1)
    with Journal(third) as journal:
        assert sorted(str(each.task_id) for each in journal.recent()) == ["task-1", "task-2"]
        known = journal.find_task("task-1")
        assert known is not None
        journal.forget(known)
        assert [each.task_id for each in journal.recent()] == ["task-2"]


def test_a_refusal_here_stays_the_last_call(ours: Path, theirs: Path) -> None:
    refuse(ours, "one")
    submit(theirs, "one", task_id="task-1")

    found = merged(ours, theirs)

    assert found.submissions == 1
    with Journal(ours) as journal:
        call = journal.last_call("user:0")
        assert call is not None
        last = journal.find_attempt(call.request_id or "")
        assert last is not None
        assert (last.prompt, last.status) == ("refused", AttemptState.REFUSED)


def test_the_later_of_two_attempts_wins_on_either_machine(ours: Path, theirs: Path) -> None:
    failures = {
        ours: (2000.0, TaskError(code="content_policy_violation", message="no")),
        theirs: (1000.0, TaskError(code="service_error", message="later")),
    }
    for folder, (at, error) in failures.items():
        with Journal(folder, clock=lambda at=at: at) as journal:  # type: ignore[misc]
            given = attempt(f"request-{at}", prompt="x", identity="edit")
            journal.record_attempt(given, context=None)
            task = Task(task_id=f"task-{at}", status="failed", error=error)
            journal.record_accepted(f"request-{at}", task, origin=ORIGIN)

    merged(ours, theirs)

    with Journal(ours) as journal:
        known = journal.find_edit("edit", origin=ORIGIN)
        assert known is not None
        assert known.task_id == "task-2000.0"
        assert journal.edits_not_to_resubmit(origin=ORIGIN) == {"edit"}


@pytest.mark.parametrize(
    ("intact", "corrupt"),
    [
        pytest.param(b"prompt-of-theirs", b"prompt-\xff\xfe-theirs", id="text"),
        pytest.param(b'["https://x', b'{"https://x', id="links"),
        pytest.param(b'"marks": []', b'"marks" [] ', id="file-facts"),
    ],
)
def test_a_damaged_row_is_never_merged(
    ours: Path, theirs: Path, intact: bytes, corrupt: bytes
) -> None:
    submit(ours, "one", task_id="task-1")
    with Journal(theirs) as journal:
        journal.record_attempt(attempt("two", prompt="prompt-of-theirs"), context=None)
        task = Task(task_id="task-2", status="completed", result_urls=("https://x/1.mp4",))
        journal.record_accepted("two", task, origin=ORIGIN)
        facts = VideoFacts(width=1, height=1, frame_rate=1.0, duration_s=1.0, codec="h264")
        file = SavedFile(path="/x/two.mp4", size_bytes=1, sha256="00", facts=facts)
        journal.record_saved("task-2", file)
    content = (theirs / "journal.db").read_bytes()
    assert intact in content
    (theirs / "journal.db").write_bytes(content.replace(intact, corrupt))

    with pytest.raises(JournalDamagedError) as caught:
        merged(ours, theirs)

    assert str(theirs / "journal.db") in caught.value.message
    assert len(caught.value.message) < 300
    assert "journal recover" in (caught.value.hint or "")
    with Journal(ours) as journal:
        journal.check()
        assert [record.task_id for record in journal.recent()] == ["task-1"]


@pytest.mark.parametrize(
    "sql",
    [
        pytest.param("update tasks set created_at = 'abc'", id="text-as-time"),
        pytest.param("update tasks set created_at = 9e999", id="infinite-time"),
        pytest.param("update tasks set credits_used = 1.7e308", id="absurd-amount"),
        pytest.param("update tasks set credits_reserved = -1", id="negative-amount"),
        pytest.param("update tasks set estimated_s = x'ff'", id="bytes-as-number"),
        pytest.param("update tasks set task_id = '..'", id="dots-as-task-id"),
        pytest.param("update tasks set task_id = 'a' || char(10)", id="newline-in-task-id"),
        pytest.param("update attempts set request_id = '../a'", id="path-as-request-id"),
        pytest.param("update files set path = '/a' || char(0)", id="nul-in-path"),
        pytest.param("""update files set facts = '{"width": "1"}'""", id="text-as-width"),
        pytest.param(
            'update files set facts = \'{"width": 1, "height": 1, "codec": "h264", "frame_rate": 1,'
            " \"duration_s\": 1' || hex(zeroblob(200)) || '}'",
            id="number-beyond-floats",
        ),
        pytest.param("""update tasks set error = '{"code": []}'""", id="list-as-code"),
        pytest.param(
            "insert into recoveries values ('d', 0, '{\"attempts\": 1e999}', 1, '[]')",
            id="infinite-count",
        ),
        pytest.param("drop table files", id="no-table"),
        pytest.param("alter table files rename column sound to noise", id="no-column"),
        pytest.param("pragma user_version = -1", id="negative-version"),
        pytest.param(
            "alter table tasks rename to hidden; create view tasks as with recursive numbers(n) as"
            " (select 1 union all select n + 1 from numbers) select n as task_id from numbers",
            id="endless-view",
        ),
        pytest.param(
            "alter table tasks add column extra text as (hex(task_id))", id="generated-column"
        ),
        pytest.param(
            "create table other (a text check (length(hex(a)) > 0))", id="check-constraint"
        ),
        pytest.param("create index other on tasks (length(hex(model)))", id="expression-index"),
    ],
)
def test_nothing_is_taken_from_a_journal_that_omniedit_did_not_write(
    ours: Path, theirs: Path, sql: str
) -> None:
    submit(ours, "one", task_id="task-1")
    submit(theirs, "two", task_id="task-2")
    submit(theirs, "three", task_id="task-3")
    with Journal(theirs) as journal:
        journal.record_saved("task-2", SavedFile(path="/a.mp4", size_bytes=1, sha256="00"))
    with closing(sqlite3.connect(theirs / "journal.db")) as other:
        sql = re.sub("^update.*", r"\g<0> where rowid = 1", sql)
        other.executescript(sql)

    with pytest.raises(JournalDamagedError) as caught:
        merged(ours, theirs)

    assert str(theirs / "journal.db") in caught.value.message
    with Journal(ours) as journal:
        assert [record.task_id for record in journal.recent()] == ["task-1"]


def test_merging_gives_up_on_a_locked_journal(ours: Path, theirs: Path) -> None:
    submit(theirs, "one", task_id="task-1")
    with closing(sqlite3.connect(theirs / "journal.db", isolation_level=None)) as other:
        other.execute("begin exclusive")

        with pytest.raises(JournalError, match="locked"):
            merge(ours, theirs, private=ours / "tmp", timeout_s=0.01)


def test_a_settled_recovery_is_not_merged_again(ours: Path, theirs: Path) -> None:
    counts = {"attempts": 1, "tasks": 1, "files": 0, "calls": 0}
    with Journal(theirs) as journal, journal._database.writing():
        journal._database.execute(
            "insert into recoveries values ('journal.damaged-1.db', 0, ?, 1, '[]')",
            json.dumps(counts),
        )
    merged(ours, theirs)
    with Journal(ours) as journal:
        assert journal.recoveries()
        journal.accept_losses()

    merged(ours, theirs)

    with Journal(ours) as journal:
        assert not journal.recoveries()
        assert journal.recoveries() == []
