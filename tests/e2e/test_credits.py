"""`omniedit credits` against a served sandbox."""

import pytest

from tests.e2e.equipment import Bench

pytestmark = pytest.mark.e2e


def test_account_and_key_are_two_lines(bench: Bench) -> None:
    ended = bench.run("credits")

    account, key = ended.stdout.splitlines()
    assert (ended.status, ended.stderr) == (0, "")
    assert account.startswith("account  ")
    assert "credits ($" in account
    assert key == "key      no limit of its own"


def test_they_are_numbers_in_json(bench: Bench) -> None:
    document = bench.run("credits", "--json").document

    assert document["ok"] is True
    assert document["sandbox"] is True
    assert document["account_dollars"] == round(document["account_credits"] / 68, 2)
    assert (document["key_credits"], document["key_unlimited"]) == (None, True)


def test_a_key_that_is_refused_ends_with_its_status(bench: Bench) -> None:
    ended = bench.run("credits", "--json", OMNIEDIT_API_KEY="sk-other")

    assert ended.status == 3
    assert ended.document["error"]["code"] == "unauthorized"
