"""Finished tasks are saved while others run, and one failure does not stop the others."""

import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from omniedit.edits.targets import Destination
from omniedit.edits.wait import WorkerPool, download, download_each, follow
from omniedit.errors import (
    AuthenticationError,
    Interrupted,
    InvalidInputError,
    NotConnectedError,
    OmniEditError,
    RequestRefusedError,
    ResultGoneError,
)
from omniedit.events import Event, Progressed, Retrying, Saved
from omniedit.models import Record, Task
from omniedit.policy import DEFAULT
from tests.unit.edits.bench import BenchSession, completed, failed, record_of, running

WAIT_S = 10.0


@pytest.fixture
def session(session: BenchSession) -> BenchSession:
    session.script.on_read = completed
    return session


def records(*task_ids: str) -> Sequence[Record]:
    return [record_of(running(task_id, 0)) for task_id in task_ids]


def follow_tasks(
    session: BenchSession, *task_ids: str, into: str | None = "out/", fail_fast: bool = False
) -> dict[str | None, OmniEditError | None]:
    destination = Destination(into) if into else None
    outcomes = follow(
        session, records(*task_ids), destination, timeout_s=1800.0, fail_fast=fail_fast
    )
    return {record.task_id: error for record, error in outcomes}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "169.254.169.254"])
def test_a_result_link_to_an_internal_address_is_not_followed(
    session: BenchSession, cwd: Path, host: str
) -> None:
    links = (f"http://{host}/a.mp4",)
    session.script.on_read = lambda task_id: completed(task_id)._replace(result_urls=links)

    (error,) = follow_tasks(session, "task-1").values()

    assert isinstance(error, ResultGoneError)
    assert error.code == "internal_address"


def test_results_are_saved(session: BenchSession, cwd: Path) -> None:
    ended = follow_tasks(session, "task-1", "task-2")

    assert ended == {"task-1": None, "task-2": None}
    assert len(list((cwd / "out").iterdir())) == 2


def test_without_a_destination_nothing_is_saved(session: BenchSession) -> None:
    ended = follow_tasks(session, "task-1", "task-2", into=None)

    assert ended == {"task-1": None, "task-2": None}
    assert session.reported(Saved) == []


@pytest.mark.parametrize("into", [None, "out/"])
def test_a_completed_task_without_a_result_is_read_twice_then_gone(
    session: BenchSession, into: str | None
) -> None:
    session.script.on_read = lambda task_id: completed(task_id)._replace(result_urls=())

    (error,) = follow_tasks(session, "task-1", into=into).values()

    assert isinstance(error, ResultGoneError)
    assert "regions where editing is blocked" in error.message
    assert error.hint == "`omniedit status task-1` shows what it was charged"
    assert len(session.script.single_reads) == 2


def test_a_result_link_that_appears_late_is_used(session: BenchSession, cwd: Path) -> None:
    replies = [completed("task-1")._replace(result_urls=()), completed("task-1")]
    session.script.on_read = lambda _: replies.pop(0)

    assert follow_tasks(session, "task-1") == {"task-1": None}


def test_an_unknown_status_is_reported_and_read_again(session: BenchSession) -> None:
    unknown = running("task-1", 90)._replace(status="archived")
    replies = [running("task-1", 40), unknown, unknown, running("task-1", 50), completed("task-1")]
    session.script.on_read = lambda _: replies.pop(0)

    assert follow_tasks(session, "task-1", into=None) == {"task-1": None}

    retries = [(event.message, event.attempt) for event in session.reported(Retrying)]
    message = "the service reports an unknown status: archived"
    assert retries == [(message, 1), (message, 2)]
    seen = [event.record.task.progress for event in session.reported(Progressed)]
    assert seen == [40, 50, 100]


def test_a_reply_about_another_task_is_reported_and_read_again(session: BenchSession) -> None:
    replies = [running("task-2", 90), completed("task-1")]
    session.script.on_read = lambda _: replies.pop(0)

    assert follow_tasks(session, "task-1", into=None) == {"task-1": None}

    [retry] = session.reported(Retrying)
    assert retry.message == "the service answered with another task: task-2"
    assert [event.record.task_id for event in session.reported(Progressed)] == ["task-1"]


def test_a_timeout_names_an_unknown_status(session: BenchSession) -> None:
    session.script.on_read = lambda task_id: running(task_id)._replace(status="archived")

    (error,) = follow_tasks(session, "task-1", into=None).values()

    assert error is not None
    assert error.message.endswith("not finished after 1800 s: archived at 0 %")


def test_finished_tasks_are_downloaded_while_others_run(session: BenchSession) -> None:
    second_is_running = threading.Event()

    def report(event: Event) -> None:
        if isinstance(event, Progressed) and event.record.task_id == "task-2":
            second_is_running.set()

    def download(_: str) -> None:
        assert second_is_running.wait(WAIT_S)
        session.time.advance(60.0)

    def on_read(task_id: str) -> Task:
        # The second task ends only after the first result has been downloaded.
        has_ended = task_id == "task-1" or session.time.now > 0
        return completed(task_id) if has_ended else running(task_id)

    session.script.on_read = on_read
    session.script.on_download = download
    session.on_report = report

    ended = follow_tasks(session, "task-1", "task-2")

    assert ended == {"task-1": None, "task-2": None}


def test_parallel_downloads_are_limited(session: BenchSession) -> None:
    lock = threading.Lock()
    in_progress = 0
    peak = 0
    gate = threading.Barrier(DEFAULT.transfers_at_once)

    def download(_: str) -> None:
        nonlocal in_progress, peak
        with lock:
            in_progress += 1
            peak = max(peak, in_progress)
        gate.wait(WAIT_S)
        with lock:
            in_progress -= 1

    session.script.on_download = download

    follow_tasks(session, *(f"task-{n}" for n in range(2 * DEFAULT.transfers_at_once)))

    assert peak == DEFAULT.transfers_at_once


def test_one_failed_task_does_not_stop_the_others(session: BenchSession, cwd: Path) -> None:
    session.script.on_read = lambda task_id: (
        failed(task_id) if task_id == "task-2" else completed(task_id)
    )

    ended = follow_tasks(session, "task-1", "task-2", "task-3")

    assert {task_id: error and error.code for task_id, error in ended.items()} == {
        "task-1": None,
        "task-2": "content_policy_violation",
        "task-3": None,
    }
    assert len(list((cwd / "out").iterdir())) == 2


def test_fail_fast_ends_with_the_first_failure(session: BenchSession) -> None:
    session.script.on_read = lambda task_id: (
        failed(task_id) if task_id == "task-1" else running(task_id)
    )

    ended = follow_tasks(session, "task-1", "task-2", fail_fast=True)

    assert list(ended) == ["task-1"]


def test_a_failed_download_reports_its_task_id(session: BenchSession) -> None:
    def fail_download(task_id: str) -> None:
        if task_id == "task-1":
            raise NotConnectedError("no way")

    session.script.on_download = fail_download

    ended = follow_tasks(session, "task-1", "task-2")

    error = ended["task-1"]
    assert error is not None
    assert error.task_id == "task-1"
    assert ended["task-2"] is None


def test_one_file_for_several_tasks_is_refused_before_waiting(
    session: BenchSession,
) -> None:
    with pytest.raises(InvalidInputError, match="2 tasks cannot be saved as one file"):
        follow_tasks(session, "task-1", "task-2", into="out.mp4")

    assert session.script.read_at == []


def test_an_existing_target_is_refused_before_waiting(session: BenchSession, cwd: Path) -> None:
    (cwd / "out.mp4").write_bytes(b"other")

    with pytest.raises(OmniEditError, match="exists"):
        follow_tasks(session, "task-1", into="out.mp4")

    assert session.script.read_at == []


def test_a_refused_api_key_ends_all_downloads(session: BenchSession) -> None:
    session.script.read_errors = [AuthenticationError("bad key")]
    found = [(record, None) for record in records("task-1", "task-2")]

    with pytest.raises(AuthenticationError):
        list(download_each(session, found, Destination("out/")))


def test_a_link_that_is_known_to_be_dead_is_not_handed_out(session: BenchSession) -> None:
    session.journal.record_adopted(completed("task-1"), origin=session.origin)
    session.journal.record_result_gone("task-1")

    def follow_known() -> OmniEditError | None:
        known = session.journal.find_task("task-1")
        assert known is not None
        [(_, error)] = follow(session, [known], None, timeout_s=60.0)
        return error

    error = follow_known()
    session.script.on_read = lambda task_id: completed(task_id)._replace(
        result_urls=("https://results.example/fresh.mp4",)
    )

    assert isinstance(error, ResultGoneError)
    assert follow_known() is None


def test_a_failed_download_reports_the_task_as_last_read(session: BenchSession) -> None:
    def fail_download(_: str) -> None:
        msg = "gone"
        raise RequestRefusedError(msg)

    session.script.on_read = completed
    session.script.on_download = fail_download

    record, error = download(session, record_of(running("task-1")), Destination("out.mp4"))

    assert isinstance(error, ResultGoneError)
    assert record.task is not None
    assert (record.status, record.task.result_urls) == (
        "completed",
        completed("task-1").result_urls,
    )


def test_downloads_continue_past_an_unfinished_task(session: BenchSession) -> None:
    session.script.on_read = lambda task_id: (
        running(task_id) if task_id == "task-1" else completed(task_id)
    )
    found = [(record, None) for record in records("task-1", "task-2")]

    ended = list(download_each(session, found, Destination("out/")))

    assert [error and error.code for _, error in ended] == ["not_finished", None]


def test_every_outcome_is_returned() -> None:
    with WorkerPool[int](3) as pool:
        for number in range(20):
            pool.submit(lambda number=number: number)  # type: ignore[misc]
        outcomes = {pool.next_outcome(timeout_s=WAIT_S) for _ in range(20)}

    assert (outcomes, pool.busy) == (set(range(20)), 0)


def test_a_single_worker_keeps_the_order() -> None:
    pool = WorkerPool[int](1)
    for number in range(10):
        pool.submit(lambda number=number: number)  # type: ignore[misc]

    assert [pool.next_outcome(timeout_s=WAIT_S) for _ in range(10)] == list(range(10))


def test_an_idle_pool_returns_no_outcome() -> None:
    assert WorkerPool[int](1).next_outcome(timeout_s=0.0) is None


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(ZeroDivisionError(), id="bug"),
        pytest.param(Interrupted(signal.SIGINT), id="interruption"),
    ],
)
def test_next_outcome_raises_the_error_of_a_step(error: BaseException) -> None:
    def fail() -> int:
        raise error

    pool = WorkerPool[int](1)
    pool.submit(fail)

    with pytest.raises(type(error)):
        pool.next_outcome(timeout_s=WAIT_S)
    assert pool.busy == 0


class Gate:
    """Steps that end only when the test lets them."""

    def __init__(self) -> None:
        self.started = threading.Semaphore(0)
        self.may_finish = threading.Semaphore(0)
        self.running = 0
        self.peak = 0
        self.lock = threading.Lock()

    def step(self) -> int:
        with self.lock:
            self.running += 1
            self.peak = max(self.peak, self.running)
        self.started.release()
        assert self.may_finish.acquire(timeout=WAIT_S)
        with self.lock:
            self.running -= 1
        return 1

    def have_started(self, count: int) -> bool:
        return all(self.started.acquire(timeout=WAIT_S) for _ in range(count))


def submit_steps(pool: WorkerPool[int], gate: Gate, count: int) -> Callable[[], None]:
    for _ in range(count):
        pool.submit(gate.step)

    def finish() -> None:
        gate.may_finish.release(count)
        for _ in range(count):
            assert pool.next_outcome(timeout_s=WAIT_S) == 1

    return finish


def test_no_more_steps_run_than_the_pool_has_workers() -> None:
    gate = Gate()
    finish = submit_steps(WorkerPool[int](3), gate, 10)
    assert gate.have_started(3)

    finish()

    assert gate.peak == 3


def test_queued_steps_are_dropped_when_the_pool_closes() -> None:
    gate = Gate()
    with WorkerPool[int](1) as pool:
        pool.submit(gate.step)
        pool.submit(gate.step)
        assert gate.have_started(1)
    gate.may_finish.release(2)
    pool.next_outcome(timeout_s=WAIT_S)

    assert pool.next_outcome(timeout_s=0.05) is None
    assert not gate.started.acquire(blocking=False)


def test_worker_threads_are_daemons() -> None:
    gate = Gate()
    before = set(threading.enumerate())
    finish = submit_steps(WorkerPool[int](1), gate, 1)
    assert gate.have_started(1)

    [thread] = set(threading.enumerate()) - before

    assert thread.daemon
    finish()
