"""The sandbox's database survives failures, and accounts for costs and load."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from omniedit.sandbox.store import DATABASE_NAME, Store
from tests.ledger import LedgerEntry, Load, ledger, load
from tests.unit.sandbox.conftest import Bench


class TransactionError(Exception):
    """Raised inside a transaction."""


def fail_in_transaction(database: Store) -> None:
    with database.writing() as connection:
        # As SQLite does on its own when the disk is full.
        connection.execute("rollback")
        raise TransactionError


def test_a_transaction_can_begin_after_a_failed_one(tmp_path: Path) -> None:
    with closing(Store(tmp_path)) as database:
        with pytest.raises(TransactionError):
            fail_in_transaction(database)
        with database.writing() as connection:
            connection.execute("insert into attempt values ('body:1', 1)")

        assert database.rows("select count from attempt") == [(1,)]


def test_a_database_that_cannot_be_opened_raises_os_error(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / DATABASE_NAME) as other:
        other.execute("create view task as select 1")
    other.close()

    with pytest.raises(OSError, match="view"):
        Store(tmp_path)


def test_a_database_of_another_version_is_moved_aside(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / DATABASE_NAME) as other:
        other.execute("create table task (id)")
        other.execute("pragma user_version = 1")
    other.close()

    with closing(Store(tmp_path)) as database:
        assert database.rows("select task_id from task") == []


@pytest.mark.parametrize(
    ("prompt", "charged", "refunded"),
    [
        pytest.param("x", 31.17, 0.63, id="completed"),
        pytest.param("[sandbox:fail=service_error]", 0.0, 31.8, id="failed"),
        pytest.param("[sandbox:stall]", 0.0, 0.0, id="unfinished"),
    ],
)
def test_the_ledger_shows_the_cost_of_each_edit(
    bench: Bench, prompt: str, charged: float, refunded: float
) -> None:
    task_id = bench.submit(prompt, headers={"Idempotency-Key": "request-key-0001"}).get_json()["id"]
    (at_first,) = ledger(bench.store, bench.clock())
    bench.clock.advance(5)

    (entry,) = ledger(bench.store, bench.clock())

    assert at_first == LedgerEntry(task_id, bench.MODEL, "request-key-0001", 31.8, 0.0, 0.0)
    assert entry == at_first._replace(charged=charged, refunded=refunded)


def test_the_load_counts_running_edits_now_and_at_peak(bench: Bench) -> None:
    # given two edits at once, then one that begins as they end
    bench.submit()
    bench.submit()
    bench.clock.advance(5)
    bench.submit("[sandbox:fail=service_error]")

    # when
    first = load(bench.store, bench.clock())
    bench.clock.advance(5)

    # then
    assert first == Load(now=1, peak=2)
    assert load(bench.store, bench.clock()) == Load(now=0, peak=2)


def test_an_empty_store_has_no_load(bench: Bench) -> None:
    assert load(bench.store, bench.clock()) == Load(now=0, peak=0)
