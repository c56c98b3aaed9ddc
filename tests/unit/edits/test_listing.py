"""Lists combine the journal with fresh reads and the account's list, and bills sum them up."""

import httpx
import pytest

from omniedit.edits.records import (
    Expense,
    Filters,
    Listing,
    account_expenses,
    bills,
    list_account,
    list_records,
)
from omniedit.edits.settling import _tasks_since, warn_of_duplicates
from omniedit.errors import (
    AuthenticationError,
    NotConnectedError,
    OmniEditError,
    RateLimitedError,
)
from omniedit.events import Warned
from omniedit.models import DEFAULT_MODEL
from tests.journals import attempt
from tests.unit.edits.bench import BASE_URL, NOW, BenchSession, completed, running


def add_running(session: BenchSession, count: int, *, origin: str = BASE_URL) -> list[str]:
    """Record running tasks, oldest first; return their IDs, newest first."""
    task_ids = [f"task-{number:03d}" for number in range(count)]
    for task_id in task_ids:
        session.journal.record_attempt(
            attempt(f"request-{task_id}", prompt="dusk", origin=origin), context="user:0"
        )
        task = running(task_id)._replace(progress=None, created_at=None)
        session.journal.record_accepted(f"request-{task_id}", task, origin=origin)
        session.time.advance(1.0)
    return task_ids[::-1]


def list_tasks(
    session: BenchSession, *, is_offline: bool = False, state: str | None = None
) -> Listing:
    return list_records(
        session, Filters(state=state), limit=0, shows_unsent=False, is_offline=is_offline
    )


def test_open_tasks_are_read_in_one_request(session: BenchSession) -> None:
    task_ids = add_running(session, 60)
    session.time.advance(600.0)

    found = list_tasks(session)

    assert session.script.batch_reads == [task_ids[:50]]
    assert session.script.single_reads == []
    assert [record.as_of is None for record in found.records] == [True] * 50 + [False] * 10
    assert [record.task and record.task.progress for record in found.records[49:51]] == [10, None]
    assert found.as_of == NOW
    assert found.failure is None


def test_without_batch_reads_only_five_tasks_are_read(session: BenchSession) -> None:
    task_ids = add_running(session, 7)
    session.script.has_batch_read = False

    found = list_tasks(session)

    assert session.script.single_reads == task_ids[:5]
    assert [record.as_of is None for record in found.records] == [True] * 5 + [False] * 2


def test_a_completed_task_is_shown_and_not_read_again(session: BenchSession) -> None:
    add_running(session, 2)
    session.script.on_read = completed

    found = list_tasks(session, state="completed")
    session.script.on_read = running
    later = list_tasks(session)

    assert [record.status for record in found.records] == ["completed", "completed"]
    assert [record.status for record in later.records] == ["completed", "completed"]
    assert len(session.script.read_at) == 1


@pytest.mark.parametrize("origin", [BASE_URL, "https://elsewhere.example"])
def test_only_tasks_of_this_origin_are_read(session: BenchSession, origin: str) -> None:
    add_running(session, 1, origin=origin)

    found = list_tasks(session)

    assert len(session.script.read_at) == (origin == BASE_URL)
    assert (found.as_of is None) == (origin == BASE_URL)


@pytest.mark.parametrize(
    "error",
    [
        NotConnectedError("cannot reach api.evolink.ai"),
        AuthenticationError("no such key"),
        RateLimitedError("slow down", retry_after_s=30.0),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_failed_read_is_not_retried(session: BenchSession, error: OmniEditError) -> None:
    add_running(session, 3)
    session.script.read_errors = [error, error]
    session.time.advance(60.0)

    found = list_tasks(session)

    # If the batch read is refused, single reads may still work, so one is tried.
    assert len(session.script.read_at) == (2 if isinstance(error, AuthenticationError) else 1)
    assert session.time.rests == []
    assert isinstance(found.failure, type(error))
    assert [record.as_of for record in found.records] == [NOW + 2, NOW + 1, NOW]


def test_a_task_unknown_to_the_service_is_shown_as_last_seen(session: BenchSession) -> None:
    add_running(session, 1)
    session.script.on_read = lambda _: None

    found = list_tasks(session)

    assert (found.records[0].status, found.records[0].as_of) == ("processing", NOW)
    assert found.failure is None


def test_offline_nothing_is_read(session: BenchSession) -> None:
    add_running(session, 2)

    found = list_tasks(session, is_offline=True)

    assert session.script.read_at == []
    assert found.as_of == NOW


def test_the_account_list_updates_known_tasks(session: BenchSession) -> None:
    (task_id,) = add_running(session, 1)
    session.script.account_tasks = [completed(task_id)]

    (record,) = list_account(session, [DEFAULT_MODEL], limit=0, adopt=False).records

    assert (record.status, record.prompt) == ("completed", "dusk")
    assert list_tasks(session, is_offline=True).records[0].status == "completed"


def test_a_task_repeated_on_a_page_counts_once(session: BenchSession) -> None:
    session.script.account_tasks = [completed("task-1")] * 3

    found = list_account(session, [DEFAULT_MODEL], limit=0, adopt=False)
    expenses, _ = account_expenses(session, "month", since=0.0)

    assert (len(found.records), found.total, len(expenses)) == (1, 1, 1)
    assert session.reported(Warned)[0].message.endswith(f"3 tasks of {DEFAULT_MODEL} but lists 1")


def test_an_incomplete_list_never_proves_absence(session: BenchSession) -> None:
    session.script.account_tasks = [completed("task-1")] * 3
    lost = attempt("request-1", prompt="dusk", created_at=NOW)

    listed = _tasks_since(session, lost, budget_s=None)
    warn_of_duplicates(session, lost, why="a reply was lost")
    session.script.account_tasks = [completed("task-1")] * 3
    warn_of_duplicates(session, lost.with_task(completed("task-1")), why="a reply was lost")

    assert [task.task_id for task in listed.tasks] == ["task-1"]
    assert listed.gap is not None
    assert listed.gap.endswith("but lists 1")
    with_candidate, without_candidate = (event.message for event in session.reported(Warned))
    assert with_candidate.endswith("which may be paid duplicates: task-1")
    assert without_candidate.startswith(
        "a reply was lost, so a second task may have been paid for ("
    )


def test_only_the_pages_a_limit_needs_are_read() -> None:
    urls: list[str] = []

    def record_url(request: httpx.Request) -> httpx.Response:
        urls.append(str(request.url))
        return session.script(request)

    session = BenchSession(transport=record_url)
    session.script.account_tasks = [completed(f"task-{number}") for number in range(200)]

    found = list_account(session, [DEFAULT_MODEL], limit=50, adopt=False)

    assert (len(found.records), found.total) == (50, None)
    assert ["page=1&" in url for url in urls] == [True]


def test_a_sum_is_rounded_once_not_with_each_task() -> None:
    expenses = [Expense("clip", "completed", reserved=None, used=0.0000867)] * 1000

    rows, total = bills(expenses)

    assert (rows["clip"].charged, total.charged) == (0.0867, 0.0867)


def test_a_sum_has_no_floating_point_noise() -> None:
    expenses = [Expense("clip", "processing", reserved=0.1, used=None)] * 3

    _, total = bills(expenses)

    assert total.reserved == 0.3
