"""The poller follows tasks to their end with few requests, despite errors, until a deadline."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest

from omniedit.edits.poller import Poller
from omniedit.errors import (
    AuthenticationError,
    NetworkError,
    OmniEditError,
    QuotaError,
    RateLimitedError,
    RequestRefusedError,
    ServerError,
    UnreadableReplyError,
)
from omniedit.events import Completed, Failed, Progressed, Retrying, Stalled
from omniedit.models import BATCH_SIZE, Task
from omniedit.policy import DEFAULT
from tests.unit.edits.bench import BenchSession, completed, failed, record_of, running

TIMEOUT_S = 1800.0


def poller_for(session: BenchSession, count: int, *, timeout_s: float = TIMEOUT_S) -> Poller:
    poller = Poller(session, timeout_s=timeout_s)
    for number in range(count):
        poller.add(record_of(running(f"t-{number}", 0)))
    return poller


def outcomes(poller: Poller) -> list[tuple[str | None, str | None, OmniEditError | None]]:
    return [(r.task_id, r.status, error) for r, error in poller.to_the_end()]


def completes_at(session: BenchSession, seconds: float) -> Callable[[str], Task]:
    """Return an `on_read` that reports every task completed after some seconds."""
    return lambda task_id: (
        completed(task_id) if session.time.now >= seconds else running(task_id, 50)
    )


def rounds_of(session: BenchSession) -> list[list[float]]:
    """Return the times of all reads, grouped by time."""
    instants = sorted(set(session.script.read_at))
    return [[at for at in session.script.read_at if at == instant] for instant in instants]


def test_tasks_are_followed_until_they_end(session: BenchSession) -> None:
    ends = {"t-0": completed("t-0"), "t-1": failed("t-1"), "t-2": completed("t-2")}
    session.script.on_read = ends.get

    ended = outcomes(poller_for(session, 3))

    assert ended == [
        ("t-0", "completed", None),
        ("t-1", "failed", None),
        ("t-2", "completed", None),
    ]
    assert [event.record.task_id for event in session.reported(Completed)] == ["t-0", "t-2"]
    assert [event.record.task_id for event in session.reported(Failed)] == ["t-1"]


def test_a_task_is_yielded_as_soon_as_it_ends(session: BenchSession) -> None:
    session.script.on_read = lambda task_id: (
        completed(task_id) if task_id == "t-1" else running(task_id, 50)
    )
    poller = poller_for(session, 2)

    record, _ = next(poller.to_the_end())

    assert (record.task_id, len(poller)) == ("t-1", 1)


def test_a_thousand_tasks_take_20_requests_every_20_seconds(
    session: BenchSession,
) -> None:
    session.script.on_read = completes_at(session, 130.0)

    ended = outcomes(poller_for(session, 1000))

    rounds = rounds_of(session)
    assert len(ended) == 1000
    assert {len(reads) for reads in rounds} == {20}
    assert {len(read) for read in session.script.batch_reads} == {BATCH_SIZE}
    assert session.script.single_reads == []
    intervals = [b[0] - a[0] for a, b in pairwise(rounds)]
    assert min(intervals) >= 20.0


def test_tasks_added_one_by_one_are_soon_polled_together(session: BenchSession) -> None:
    poller = Poller(session, timeout_s=TIMEOUT_S)
    session.script.on_read = lambda task_id: running(task_id, 1)
    for number in range(500):
        poller.add(record_of(running(f"t-{number}", 0)))
        session.time.advance(0.1)
        list(poller.poll())
    before = len(session.script.batch_reads)
    began_at = session.time.now

    while session.time.now < began_at + 100.0:
        session.time.advance(poller.rest_s())
        list(poller.poll())

    requests = len(session.script.batch_reads) - before
    assert requests <= 10 * (100 / 10 + 2)


def test_a_single_task_needs_no_batch_read(session: BenchSession) -> None:
    session.script.on_read = completed

    outcomes(poller_for(session, 1))

    assert (session.script.batch_reads, session.script.single_reads) == ([], ["t-0"])


def test_without_a_batch_endpoint_tasks_are_read_one_by_one(
    session: BenchSession,
) -> None:
    session.script.has_batch_read = False
    session.script.on_read = completes_at(session, 30.0)

    ended = outcomes(poller_for(session, 3))

    assert len(ended) == 3
    # The batch read was tried once, not in every round.
    assert len(session.script.read_at) == len(session.script.single_reads) + 1


def test_a_failing_batch_endpoint_gives_way_to_single_reads(
    session: BenchSession,
) -> None:
    def on_read(task_id: str) -> Task:
        if len(session.script.batch_reads) > len(failed_batches):
            failed_batches.append(task_id)
            raise ServerError("broken", http_status=500)
        return completed(task_id)

    failed_batches: list[str] = []
    session.script.on_read = on_read

    ended = outcomes(poller_for(session, 3))

    assert [error for _, _, error in ended] == [None] * 3
    assert len(session.script.batch_reads) == 4


def test_an_outage_is_probed_with_few_requests(session: BenchSession) -> None:
    def on_read(task_id: str) -> Task:
        if session.time.now < 120.0:
            raise ServerError("broken", http_status=500)
        return completed(task_id)

    session.script.on_read = on_read

    ended = outcomes(poller_for(session, 100))

    assert len(ended) == 100
    # One single read per round while the batch read fails, then batch reads again.
    assert len(session.script.single_reads) < len(session.script.batch_reads)
    assert len(session.script.batch_reads[-1]) == BATCH_SIZE


def test_a_task_missing_from_a_batch_reply_is_read_alone_first(
    session: BenchSession,
) -> None:
    session.script.missing_from_batch = {"t-1"}
    session.script.on_read = lambda task_id: None if task_id == "t-2" else completed(task_id)

    ended = {
        task_id: error and error.code for task_id, _, error in outcomes(poller_for(session, 3))
    }

    assert ended == {"t-0": None, "t-1": None, "t-2": "task_not_found"}
    assert session.script.single_reads == ["t-1", "t-2"]


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(RateLimitedError("busy", http_status=429), id="429"),
        pytest.param(ServerError("oops", http_status=502), id="502"),
        pytest.param(NetworkError("timed out"), id="network"),
    ],
)
@pytest.mark.parametrize("count", [1, 2])
def test_transient_errors_do_not_end_a_wait(
    session: BenchSession, error: OmniEditError, count: int
) -> None:
    session.script.on_read = completed
    session.script.read_errors = [error] * 3

    ended = outcomes(poller_for(session, count))

    assert [status for _, status, _ in ended] == ["completed"] * count
    assert [event.attempt for event in session.reported(Retrying)] == [1, 2, 3]


def test_an_unreadable_reply_does_not_end_a_wait(session: BenchSession) -> None:
    session.script.on_read = completed
    session.script.read_errors = [UnreadableReplyError("no JSON")] * 3

    assert [status for _, status, _ in outcomes(poller_for(session, 1))] == ["completed"]


def test_retry_after_is_obeyed(session: BenchSession) -> None:
    session.script.on_read = completed
    session.script.read_errors = [RateLimitedError("busy", retry_after_s=77.0)]

    outcomes(poller_for(session, 2))

    first, second = rounds_of(session)
    assert second[0] - first[0] >= 77.0


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(AuthenticationError("bad key"), id="401"),
        pytest.param(QuotaError("empty"), id="402"),
    ],
)
def test_a_permanent_error_ends_the_wait(session: BenchSession, error: OmniEditError) -> None:
    # One for the batch read, and one for the single read that follows it.
    session.script.read_errors = [error] * 2

    with pytest.raises(type(error)):
        outcomes(poller_for(session, 2))


def test_an_unreadable_task_does_not_hold_up_the_others(session: BenchSession) -> None:
    def on_read(task_id: str) -> Task:
        if task_id == "t-1":
            raise broken
        return completed(task_id)

    ended: dict[str, dict[str | None, str | None]] = {}
    for broken in (ServerError("broken", http_status=500), RequestRefusedError("what?")):
        session.script.on_read = on_read
        session.script.has_batch_read = False
        ended[type(broken).__name__] = {
            task_id: error.code if error else None
            for task_id, _, error in outcomes(poller_for(session, 4, timeout_s=60.0))
        }

    others = dict.fromkeys(["t-0", "t-2", "t-3"])
    assert ended == {
        "ServerError": {**others, "t-1": "wait_timeout"},
        "RequestRefusedError": {**others, "t-1": "request_refused"},
    }


def test_each_task_has_its_own_deadline(session: BenchSession) -> None:
    poller = poller_for(session, 1, timeout_s=60.0)
    session.time.advance(30.0)
    poller.add(record_of(running("late", 0)))

    ended = [
        (record.task_id, error and error.code, session.time.now)
        for record, error in poller.to_the_end()
    ]

    assert ended == [("t-0", "wait_timeout", 60.0), ("late", "wait_timeout", 90.0)]


def test_a_task_is_read_once_more_at_its_deadline(session: BenchSession) -> None:
    session.script.on_read = completes_at(session, 60.0)

    ended = outcomes(poller_for(session, 2, timeout_s=60.0))

    assert [(status, error) for _, status, error in ended] == [("completed", None)] * 2


def test_a_read_cut_off_by_the_deadline_is_the_last(session: BenchSession) -> None:
    def hang(_: str) -> Task:
        session.time.advance(60.0)
        raise NetworkError("timed out")

    session.script.on_read = hang

    [(_, _, error)] = outcomes(poller_for(session, 1, timeout_s=60.0))

    assert error is not None
    assert (error.code, session.time.now) == ("wait_timeout", 60.0)
    assert len(session.script.single_reads) == 1


def test_the_timeout_message_shows_the_last_progress(session: BenchSession) -> None:
    session.script.on_read = lambda task_id: running(task_id, 40)

    [(_, _, error)] = outcomes(poller_for(session, 1, timeout_s=10.0))

    assert error is not None
    assert error.message == "task t-0 is not finished after 10 s: processing at 40 %"


def test_the_timeout_message_shows_why_reads_failed(session: BenchSession) -> None:
    session.script.read_errors = [NetworkError("no answer")] * 20

    ((_, _, error),) = outcomes(poller_for(session, 1, timeout_s=10.0))

    assert error is not None
    assert ": processing at 0 % when last seen (" in error.message
    assert error.message.endswith("no answer)")


def test_progress_never_runs_backwards(session: BenchSession) -> None:
    progress = iter([30, 20, 0, 60, 50])
    session.script.on_read = lambda task_id: (
        running(task_id, next(progress, 100)) if session.time.now < 99 else completed(task_id)
    )

    outcomes(poller_for(session, 1))

    shown = [event.record.task.progress for event in session.reported(Progressed)]
    assert shown == sorted(shown)
    assert shown[0] == 30


def test_a_stalled_task_is_reported_every_three_minutes(session: BenchSession) -> None:
    session.script.on_read = lambda task_id: running(task_id, 40)

    outcomes(poller_for(session, 1, timeout_s=3 * DEFAULT.stalled_after_s + 60))

    since = [event.since_s for event in session.reported(Stalled)]
    assert [round(s // DEFAULT.stalled_after_s) for s in since] == [1, 2, 3]


def test_a_task_created_in_the_future_has_no_elapsed_time(session: BenchSession) -> None:
    """The service's clock may be ahead of this machine's."""
    session.script.on_read = completed
    poller = Poller(session, timeout_s=TIMEOUT_S)
    poller.add(record_of(running("t"), created_at=session.now() + 500))

    list(poller.to_the_end())

    assert session.reported(Progressed)[0].elapsed_s == 0.0


def test_a_fresh_task_is_not_polled_at_once(session: BenchSession) -> None:
    session.script.on_read = completed
    poller = Poller(session, timeout_s=TIMEOUT_S)
    poller.add(record_of(running("fresh"), created_at=session.now()), is_fresh=True)
    poller.add(record_of(running("known"), created_at=session.now()))

    ended = [*poller.poll()]

    assert [record.task_id for record, _ in ended] == ["known"]


def test_a_task_added_twice_is_followed_once(session: BenchSession) -> None:
    session.script.on_read = completed
    poller = poller_for(session, 1)
    poller.add(record_of(running("t-0")))

    assert len(outcomes(poller)) == 1


def test_status_changes_are_journalled_but_progress_is_not(session: BenchSession) -> None:
    statuses: list[list[str | None]] = []
    record_tasks = session.journal.record_tasks

    def record_statuses(reads: Sequence[tuple[Task, float | None]], *, origin: str) -> None:
        statuses.append([task.status for task, _ in reads])
        record_tasks(reads, origin=origin)

    session.journal.record_tasks = record_statuses  # type: ignore[method-assign]
    session.script.on_read = completes_at(session, 100.0)

    outcomes(poller_for(session, 3))

    assert [each for each in statuses if each] == [["completed"] * 3]
