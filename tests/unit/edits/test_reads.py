"""Reads of a slow or failing service keep to their deadlines, and every task gets its turn."""

from collections.abc import Callable

import httpx
import pytest

from omniedit.edits.reads import account_tasks, read_all, read_once, refresh
from omniedit.errors import ServerError, UnavailableError
from omniedit.models import BATCH_SIZE, DEFAULT_MODEL, Record
from omniedit.policy import DEFAULT
from tests.unit.edits.bench import BenchSession, record_of, running
from tests.unit.edits.test_listing import add_running

NEVER_S = 1e6


class SlowService:
    """A session's transport: each reply takes a while, or times out as the client limited it."""

    def __init__(self, delay_s: Callable[[httpx.Request], float]) -> None:
        self.delay_s = delay_s
        self.limits_s: list[float] = []
        self.paths: list[str] = []
        self.session = BenchSession(transport=self)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        limit_s = request.extensions["timeout"]["read"].left_s()
        self.limits_s.append(limit_s)
        self.paths.append(request.url.path)
        delay_s = self.delay_s(request)
        self.session.time.advance(min(delay_s, limit_s))
        if delay_s > limit_s:
            msg = "timed out"
            raise httpx.ReadTimeout(msg, request=request)
        return self.session.script(request)


def records_of(count: int) -> list[Record]:
    return [record_of(running(f"task-{number:03d}")) for number in range(count)]


def test_every_task_of_a_dead_service_gets_its_turn(session: BenchSession) -> None:
    dead = SlowService(lambda _: NEVER_S)

    outcomes = list(read_all(dead.session, records_of(BATCH_SIZE + 2)))

    assert all(isinstance(error, UnavailableError) for _, error in outcomes)
    assert dead.paths.count("/v1/tasks/batch") == 2
    assert len(set(dead.paths) - {"/v1/tasks/batch"}) == BATCH_SIZE + 2


def test_a_batch_read_keeps_to_the_budget_of_reads(session: BenchSession) -> None:
    # Its first attempt takes most of the budget; the second gets the rest.
    slow = SlowService(lambda request: 25.0 if request.url.path.endswith("/batch") else 0.0)
    slow.session.script.read_errors = [ServerError("busy")]

    assert [error for _, error in read_all(slow.session, records_of(2))] == [None, None]

    first_s, second_s = slow.limits_s[:2]
    assert first_s <= DEFAULT.read_budget_s
    assert second_s < DEFAULT.read_budget_s - 25.0


def test_a_batch_read_after_the_budget_is_used_up_gets_only_a_moment(
    session: BenchSession,
) -> None:
    batches = 0

    def delay_s(request: httpx.Request) -> float:
        nonlocal batches
        if not request.url.path.endswith("/batch"):
            return NEVER_S
        batches += 1
        return NEVER_S if batches == 1 else 0.0

    slow = SlowService(delay_s)
    slow.session.script.read_errors = [ServerError("busy")] * 100

    list(read_all(slow.session, records_of(BATCH_SIZE + 2)))

    repeats_s = slow.session.time.rests
    assert sum(repeats_s) <= DEFAULT.last_reply_s, repeats_s


def test_a_task_that_was_read_restores_the_budget_for_the_next(session: BenchSession) -> None:
    delays_s = {"/v1/tasks/task-000": 25.0, "/v1/tasks/task-001": 25.0, "/v1/tasks/task-002": 25.0}
    slow = SlowService(lambda request: delays_s.get(request.url.path, 0.0))
    slow.session.script.has_batch_read = False

    assert [error for _, error in read_all(slow.session, records_of(3))] == [None, None, None]


@pytest.mark.parametrize("count", [1, 2])
def test_a_listing_waits_for_the_service_only_briefly(session: BenchSession, count: int) -> None:
    dead = SlowService(lambda _: NEVER_S)
    add_running(dead.session, count)
    began = dead.session.time.now

    task_ids = dead.session.journal.open_task_ids(origin=dead.session.origin, limit=count)
    found, failure = read_once(dead.session, task_ids)

    assert found == {}
    assert isinstance(failure, UnavailableError)
    assert dead.session.time.now - began <= DEFAULT.listing_budget_s


def test_refreshing_a_record_keeps_to_its_deadline(session: BenchSession) -> None:
    dead = SlowService(lambda _: NEVER_S)

    with pytest.raises(UnavailableError):
        refresh(dead.session, record_of(running("task-1")), deadline=5.0)

    assert dead.session.time.now <= 5.0


def test_pages_of_the_account_list_share_its_budget(session: BenchSession) -> None:
    def delay_s(request: httpx.Request) -> float:
        return 0.0 if request.url.params["page"] == "1" else NEVER_S

    slow = SlowService(delay_s)
    slow.session.script.account_tasks = [running(f"task-{number:03d}") for number in range(60)]
    tasks = account_tasks(slow.session, [DEFAULT_MODEL], on_missing=lambda _: None)
    next(tasks)
    slow.session.time.advance(DEFAULT.list_budget_s - 5.0)

    with pytest.raises(UnavailableError):
        list(tasks)

    assert slow.session.time.now <= DEFAULT.list_budget_s + DEFAULT.last_reply_s
