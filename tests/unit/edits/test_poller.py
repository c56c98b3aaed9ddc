from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest

from omniedit.edits.poller import Outcome, Poller
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


def waiting_for(session: BenchSession, count: int, *, timeout_s: float = TIMEOUT_S) -> Poller:
    waiting = Poller(session, timeout_s=timeout_s)
    for number in range(count):
        waiting.add(record_of(running(f"t-{number}", 0)))
    return waiting


def outcomes(waiting: Poller) -> list[tuple[str | None, str | None, OmniEditError | None]]:
    return [(r.task_id, r.status, error) for r, error in waiting.to_the_end()]


def done_at(session: BenchSession, seconds: float) -> Callable[[str], Task]:
    """Return a `look` by which every task is completed after some seconds."""
    return lambda task_id: (
        completed(task_id) if session.time.now >= seconds else running(task_id, 50)
    )


def rounds_of(session: BenchSession) -> list[list[float]]:
    """Return the times of all reads, grouped by time."""
    instants = sorted(set(session.script.read_at))
    return [[at for at in session.script.read_at if at == instant] for instant in instants]


def test_tasks_are_followed_to_their_ends(session: BenchSession) -> None:
    ends = {"t-0": completed("t-0"), "t-1": failed("t-1"), "t-2": completed("t-2")}
    session.script.look = ends.get

    ended = outcomes(waiting_for(session, 3))

    assert ended == [
        ("t-0", "completed", None),
        ("t-1", "failed", None),
        ("t-2", "completed", None),
    ]
    assert [event.record.task_id for event in session.reported(Completed)] == ["t-0", "t-2"]
    assert [event.record.task_id for event in session.reported(Failed)] == ["t-1"]


def test_each_is_yielded_as_soon_as_it_has_ended(session: BenchSession) -> None:
    session.script.look = lambda task_id: (
        completed(task_id) if task_id == "t-1" else running(task_id, 50)
    )
    waiting = waiting_for(session, 2)

    record, _ = next(waiting.to_the_end())

    assert (record.task_id, len(waiting)) == ("t-1", 1)


def test_a_thousand_tasks_are_20_requests_a_round_and_a_round_every_20_seconds(
    session: BenchSession,
) -> None:
    session.script.look = done_at(session, 130.0)

    ended = outcomes(waiting_for(session, 1000))

    rounds = rounds_of(session)
    assert len(ended) == 1000
    assert {len(reads) for reads in rounds} == {20}
    assert {len(read) for read in session.script.batch_reads} == {BATCH_SIZE}
    assert session.script.single_reads == []
    distances = [b[0] - a[0] for a, b in pairwise(rounds)]
    assert min(distances) >= 20.0


def test_tasks_that_came_one_by_one_end_up_in_common_rounds(session: BenchSession) -> None:
    waiting = Poller(session, timeout_s=TIMEOUT_S)
    session.script.look = lambda task_id: running(task_id, 1)
    for number in range(500):
        waiting.add(record_of(running(f"t-{number}", 0)))
        session.time.turn(0.1)
        list(waiting.poll())
    before, began_at = len(session.script.batch_reads), session.time.now

    while session.time.now < began_at + 100.0:
        session.time.turn(waiting.rest_s())
        list(waiting.poll())

    requests = len(session.script.batch_reads) - before
    assert requests <= 10 * (100 / 10 + 2)


def test_a_single_task_is_read_alone(session: BenchSession) -> None:
    session.script.look = completed

    outcomes(waiting_for(session, 1))

    assert (session.script.batch_reads, session.script.single_reads) == ([], ["t-0"])


def test_where_the_batch_endpoint_is_missing_tasks_are_read_one_by_one(
    session: BenchSession,
) -> None:
    session.script.has_batch_read = False
    session.script.look = done_at(session, 30.0)

    ended = outcomes(waiting_for(session, 3))

    assert len(ended) == 3
    # The batch read was tried once, not in every round.
    assert len(session.script.read_at) == len(session.script.single_reads) + 1


def test_where_only_the_batch_endpoint_keeps_failing_tasks_are_read_one_by_one(
    session: BenchSession,
) -> None:
    def look(task_id: str) -> Task:
        if len(session.script.batch_reads) > len(asked):
            asked.append(task_id)
            raise ServerError("broken", http_status=500)
        return completed(task_id)

    asked: list[str] = []
    session.script.look = look

    ended = outcomes(waiting_for(session, 3))

    assert [error for _, _, error in ended] == [None] * 3
    assert len(session.script.batch_reads) == 4


def test_an_outage_is_asked_about_with_few_requests(session: BenchSession) -> None:
    def look(task_id: str) -> Task:
        if session.time.now < 120.0:
            raise ServerError("broken", http_status=500)
        return completed(task_id)

    session.script.look = look

    ended = outcomes(waiting_for(session, 100))

    assert len(ended) == 100
    # One single read per round while the batch read fails, then batch reads again.
    assert len(session.script.single_reads) < len(session.script.batch_reads)
    assert len(session.script.batch_reads[-1]) == BATCH_SIZE


def test_a_task_missing_from_a_reply_is_read_alone_before_it_counts_as_unknown(
    session: BenchSession,
) -> None:
    session.script.left_out = {"t-1"}
    session.script.look = lambda task_id: None if task_id == "t-2" else completed(task_id)

    ended = {
        task_id: error and error.code for task_id, _, error in outcomes(waiting_for(session, 3))
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
def test_transient_trouble_does_not_end_a_wait(
    session: BenchSession, error: OmniEditError, count: int
) -> None:
    session.script.look = completed
    session.script.trouble = [error] * 3

    ended = outcomes(waiting_for(session, count))

    assert [status for _, status, _ in ended] == ["completed"] * count
    assert [event.attempt for event in session.reported(Retrying)] == [1, 2, 3]


def test_an_unreadable_reply_does_not_end_a_wait(session: BenchSession) -> None:
    session.script.look = completed
    session.script.trouble = [UnreadableReplyError("no JSON")] * 3

    assert [status for _, status, _ in outcomes(waiting_for(session, 1))] == ["completed"]


def test_retry_after_is_obeyed(session: BenchSession) -> None:
    session.script.look = completed
    session.script.trouble = [RateLimitedError("busy", retry_after_s=77.0)]

    outcomes(waiting_for(session, 2))

    first, second = rounds_of(session)
    assert second[0] - first[0] >= 77.0


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(AuthenticationError("bad key"), id="401"),
        pytest.param(QuotaError("empty"), id="402"),
    ],
)
def test_what_does_not_pass_ends_it(session: BenchSession, error: OmniEditError) -> None:
    # For the batch read, after which one task is read alone, and for that read.
    session.script.trouble = [error] * 2

    with pytest.raises(type(error)):
        outcomes(waiting_for(session, 2))


def test_one_that_cannot_be_read_keeps_no_other_from_its_end(session: BenchSession) -> None:
    def look(task_id: str) -> Task:
        if task_id == "t-1":
            raise broken
        return completed(task_id)

    ended: dict[str, dict[str | None, str | None]] = {}
    for broken in (ServerError("broken", http_status=500), RequestRefusedError("what?")):
        session.script.look = look
        session.script.has_batch_read = False
        ended[type(broken).__name__] = {
            task_id: error.code if error else None
            for task_id, _, error in outcomes(waiting_for(session, 4, timeout_s=60.0))
        }

    others = dict.fromkeys(["t-0", "t-2", "t-3"])
    assert ended == {
        "ServerError": {**others, "t-1": "wait_timeout"},
        "RequestRefusedError": {**others, "t-1": "request_refused"},
    }


def test_a_deadline_ends_each_in_its_own_time(session: BenchSession) -> None:
    waiting = waiting_for(session, 1, timeout_s=60.0)
    session.time.turn(30.0)
    waiting.add(record_of(running("late", 0)))

    ended = [
        (record.task_id, error and error.code, session.time.now)
        for record, error in waiting.to_the_end()
    ]

    assert ended == [("t-0", "wait_timeout", 60.0), ("late", "wait_timeout", 90.0)]


def test_at_its_deadline_a_task_has_a_last_look(session: BenchSession) -> None:
    session.script.look = done_at(session, 60.0)

    ended = outcomes(waiting_for(session, 2, timeout_s=60.0))

    assert [(status, error) for _, status, error in ended] == [("completed", None)] * 2


def test_a_look_that_its_deadline_has_cut_is_the_last(session: BenchSession) -> None:
    def hang(_: str) -> Task:
        session.time.turn(60.0)
        raise NetworkError("timed out")

    session.script.look = hang

    [(_, _, error)] = outcomes(waiting_for(session, 1, timeout_s=60.0))

    assert error is not None
    assert (error.code, session.time.now) == ("wait_timeout", 60.0)
    assert len(session.script.single_reads) == 1


def test_the_deadline_message_tells_how_far_it_came(session: BenchSession) -> None:
    session.script.look = lambda task_id: running(task_id, 40)

    [(_, _, error)] = outcomes(waiting_for(session, 1, timeout_s=10.0))

    assert error is not None
    assert error.message == "task t-0 is not finished after 10 s: processing at 40 %"


def test_the_deadline_message_tells_what_kept_it_from_being_known(session: BenchSession) -> None:
    session.script.trouble = [NetworkError("no answer")] * 20

    ((_, _, error),) = outcomes(waiting_for(session, 1, timeout_s=10.0))

    assert error is not None
    assert ": processing at 0 % when last seen (" in error.message
    assert error.message.endswith("no answer)")


def test_progress_never_runs_backwards(session: BenchSession) -> None:
    told = iter([30, 20, 0, 60, 50])
    session.script.look = lambda task_id: (
        running(task_id, next(told, 100)) if session.time.now < 99 else completed(task_id)
    )

    outcomes(waiting_for(session, 1))

    shown = [event.record.task.progress for event in session.reported(Progressed)]
    assert shown == sorted(shown)
    assert shown[0] == 30


def test_a_task_that_does_not_move_is_told_every_three_minutes(session: BenchSession) -> None:
    session.script.look = lambda task_id: running(task_id, 40)

    outcomes(waiting_for(session, 1, timeout_s=3 * DEFAULT.stalled_after_s + 60))

    since = [event.since_s for event in session.reported(Stalled)]
    assert [round(s // DEFAULT.stalled_after_s) for s in since] == [1, 2, 3]


def test_a_task_of_the_future_has_not_run_yet(session: BenchSession) -> None:
    """The service's clock may be ahead of this machine's."""
    session.script.look = completed
    waiting = Poller(session, timeout_s=TIMEOUT_S)
    waiting.add(record_of(running("t"), created_at=session.now() + 500))

    list(waiting.to_the_end())

    assert session.reported(Progressed)[0].elapsed_s == 0.0


def test_a_task_that_was_just_submitted_is_given_a_moment(session: BenchSession) -> None:
    session.script.look = completed
    waiting = Poller(session, timeout_s=TIMEOUT_S)
    waiting.add(record_of(running("fresh"), created_at=session.now()), is_fresh=True)
    waiting.add(record_of(running("known"), created_at=session.now()))

    ended: list[Outcome] = [*waiting.poll()]

    assert [record.task_id for record, _ in ended] == ["known"]


def test_a_task_is_followed_once(session: BenchSession) -> None:
    session.script.look = completed
    waiting = waiting_for(session, 1)
    waiting.add(record_of(running("t-0")))

    assert len(outcomes(waiting)) == 1


def test_changes_are_journalled_and_progress_is_not(session: BenchSession) -> None:
    written: list[list[str | None]] = []
    record = session.journal.record_tasks

    def note(looks: Sequence[tuple[Task, float | None]], *, origin: str) -> None:
        written.append([task.status for task, _ in looks])
        record(looks, origin=origin)

    session.journal.record_tasks = note  # type: ignore[method-assign]
    session.script.look = done_at(session, 100.0)

    outcomes(waiting_for(session, 3))

    assert [each for each in written if each] == [["completed"] * 3]
