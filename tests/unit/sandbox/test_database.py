"""The sandbox's SQLite file when things go wrong."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from omniedit.sandbox.database import DATABASE_NAME, Database


class MishapError(Exception):
    """What a block meets."""


def give_up(database: Database) -> None:
    with database.writing() as connection:
        # As SQLite does by itself on a full disk.
        connection.execute("rollback")
        raise MishapError


def test_what_ends_a_transaction_is_told_and_the_next_one_is_free(tmp_path: Path) -> None:
    with closing(Database(tmp_path)) as database:
        with pytest.raises(MishapError):
            give_up(database)
        with database.writing() as connection:
            connection.execute("insert into attempt values ('body:1', 1)")

        assert database.rows("select count from attempt") == [(1,)]


def test_a_file_that_cannot_be_opened_is_a_matter_of_files(tmp_path: Path) -> None:
    with closing(Database(tmp_path)):
        pass
    with sqlite3.connect(tmp_path / DATABASE_NAME) as other:
        other.execute("pragma user_version = 0")
        other.execute("create view task_view as select * from task")
        other.execute("drop table attempt")
        other.execute("create view attempt as select 1")
    other.close()

    # What is in its way is no table, which it would replace.
    with pytest.raises(OSError, match="attempt"):
        Database(tmp_path)
