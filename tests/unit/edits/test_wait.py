import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from omniedit.edits.targets import Destination
from omniedit.edits.wait import FollowOptions, download_each, follow
from omniedit.errors import (
    AuthenticationError,
    InvalidInputError,
    NotConnectedError,
    OmniEditError,
    ResultGoneError,
)
from omniedit.events import Event, Progressed, Retrying, Saved
from omniedit.models import Record, Task
from omniedit.policy import DEFAULT
from tests.unit.edits.bench import BenchSession, completed, failed, record_of, running

WAIT_S = 10.0


@pytest.fixture
def session(session: BenchSession) -> BenchSession:
    session.script.look = completed
    return session


def records(*task_ids: str) -> Sequence[Record]:
    return [record_of(running(task_id, 0)) for task_id in task_ids]


def followed(
    session: BenchSession, *task_ids: str, into: str | None = "out/", fail_fast: bool = False
) -> dict[str | None, OmniEditError | None]:
    options = FollowOptions(
        destination=Destination(into) if into else None,
        overwrite=False,
        timeout_s=1800.0,
        fail_fast=fail_fast,
    )
    return {r.task_id: error for r, error in follow(session, records(*task_ids), options)}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "169.254.169.254"])
def test_a_public_service_s_link_to_this_machine_or_network_is_not_followed(
    session: BenchSession, here: Path, host: str
) -> None:
    links = (f"http://{host}/a.mp4",)
    session.script.look = lambda task_id: replace(completed(task_id), result_urls=links)

    (error,) = followed(session, "task-1").values()

    assert isinstance(error, ResultGoneError)
    assert error.code == "internal_address"


def test_results_are_saved(session: BenchSession, here: Path) -> None:
    ended = followed(session, "task-1", "task-2")

    assert ended == {"task-1": None, "task-2": None}
    assert len(list((here / "out").iterdir())) == 2


def test_without_a_destination_results_stay_at_the_service(session: BenchSession) -> None:
    ended = followed(session, "task-1", "task-2", into=None)

    assert ended == {"task-1": None, "task-2": None}
    assert session.reported(Saved) == []


@pytest.mark.parametrize("into", [None, "out/"])
def test_a_task_without_a_result_is_looked_at_once_more_and_then_gone(
    session: BenchSession, into: str | None
) -> None:
    session.script.look = lambda task_id: replace(completed(task_id), result_urls=())

    (error,) = followed(session, "task-1", into=into).values()

    assert isinstance(error, ResultGoneError)
    assert "regions where editing is blocked" in error.message
    assert error.hint == "`omniedit usage` shows whether it was charged"
    assert len(session.script.single_reads) == 2


def test_a_result_that_comes_a_moment_after_the_completion_is_saved(
    session: BenchSession, here: Path
) -> None:
    looks = [replace(completed("task-1"), result_urls=()), completed("task-1")]
    session.script.look = lambda _: looks.pop(0)

    assert followed(session, "task-1") == {"task-1": None}


def test_a_status_that_nobody_knows_is_said_and_looked_at_again(session: BenchSession) -> None:
    odd = replace(running("task-1", 90), status="archived")
    looks = [running("task-1", 40), odd, odd, running("task-1", 50), completed("task-1")]
    session.script.look = lambda _: looks.pop(0)

    assert followed(session, "task-1", into=None) == {"task-1": None}

    said = [(event.message, event.attempt) for event in session.reported(Retrying)]
    message = "the service reports an unknown status: archived"
    assert said == [(message, 1), (message, 2)]
    seen = [event.record.task.progress for event in session.reported(Progressed)]
    assert seen == [40, 50, 100]


def test_a_reply_about_another_task_is_said_and_looked_at_again(session: BenchSession) -> None:
    looks = [running("task-2", 90), completed("task-1")]
    session.script.look = lambda _: looks.pop(0)

    assert followed(session, "task-1", into=None) == {"task-1": None}

    [said] = session.reported(Retrying)
    assert said.message == "the service answered with another task: task-2"
    assert [event.record.task_id for event in session.reported(Progressed)] == ["task-1"]


def test_a_wait_that_ends_at_a_status_that_nobody_knows_names_it(session: BenchSession) -> None:
    session.script.look = lambda task_id: replace(running(task_id), status="archived")

    (error,) = followed(session, "task-1", into=None).values()

    assert error is not None
    assert error.message.endswith("not finished after 1800 s: archived at 0 %")


def test_what_is_finished_is_downloaded_while_others_run(session: BenchSession) -> None:
    is_seen_running = threading.Event()

    def report(event: Event) -> None:
        if isinstance(event, Progressed) and event.record.task == running("task-2"):
            is_seen_running.set()

    def download(_: str) -> None:
        assert is_seen_running.wait(WAIT_S)
        session.time.turn(60.0)

    def look(task_id: str) -> Task:
        # The second task ends only after the first result was downloaded.
        is_ended = task_id == "task-1" or session.time.now > 0
        return completed(task_id) if is_ended else running(task_id)

    session.script.look = look
    session.script.on_download, session.on_report = download, report

    ended = followed(session, "task-1", "task-2")

    assert ended == {"task-1": None, "task-2": None}


def test_downloads_run_side_by_side_but_not_all_at_once(session: BenchSession) -> None:
    lock, inside, most = threading.Lock(), 0, 0
    gate = threading.Barrier(DEFAULT.transfers_at_once)

    def download(_: str) -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        gate.wait(WAIT_S)
        with lock:
            inside -= 1

    session.script.on_download = download

    followed(session, *(f"task-{n}" for n in range(2 * DEFAULT.transfers_at_once)))

    assert most == DEFAULT.transfers_at_once


def test_one_failure_does_not_keep_the_others(session: BenchSession, here: Path) -> None:
    session.script.look = lambda task_id: (
        failed(task_id) if task_id == "task-2" else completed(task_id)
    )

    ended = followed(session, "task-1", "task-2", "task-3")

    assert {task_id: error and error.code for task_id, error in ended.items()} == {
        "task-1": None,
        "task-2": "content_policy_violation",
        "task-3": None,
    }
    assert len(list((here / "out").iterdir())) == 2


def test_fail_fast_ends_with_the_first_failure(session: BenchSession) -> None:
    session.script.look = lambda task_id: (
        failed(task_id) if task_id == "task-1" else running(task_id)
    )

    ended = followed(session, "task-1", "task-2", fail_fast=True)

    assert list(ended) == ["task-1"]


def test_a_download_that_fails_is_about_its_task(session: BenchSession) -> None:
    def break_off(task_id: str) -> None:
        if task_id == "task-1":
            raise NotConnectedError("no way")

    session.script.on_download = break_off

    ended = followed(session, "task-1", "task-2")

    error = ended["task-1"]
    assert error is not None
    assert error.task_id == "task-1"
    assert ended["task-2"] is None


def test_one_name_for_several_tasks_is_refused_before_anything_is_waited_for(
    session: BenchSession,
) -> None:
    with pytest.raises(InvalidInputError, match="2 tasks cannot be saved as one file"):
        followed(session, "task-1", "task-2", into="out.mp4")

    assert session.script.read_at == []


def test_a_target_that_is_taken_is_refused_before_anything_is_waited_for(
    session: BenchSession, here: Path
) -> None:
    (here / "out.mp4").write_bytes(b"other")

    with pytest.raises(OmniEditError, match="exists"):
        followed(session, "task-1", into="out.mp4")

    assert session.script.read_at == []


def test_a_key_that_is_refused_ends_all_downloads(session: BenchSession) -> None:
    session.script.trouble = [AuthenticationError("bad key")]
    found = [(record, None) for record in records("task-1", "task-2")]

    with pytest.raises(AuthenticationError):
        list(download_each(session, found, Destination("out/"), overwrite=False))


def test_downloads_go_on_after_one_that_fails(session: BenchSession) -> None:
    session.script.look = lambda task_id: (
        running(task_id) if task_id == "task-1" else completed(task_id)
    )
    found = [(record, None) for record in records("task-1", "task-2")]

    ended = list(download_each(session, found, Destination("out/"), overwrite=False))

    assert [error and error.code for _, error in ended] == ["not_finished", None]
