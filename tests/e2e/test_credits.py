"""`omniedit credits` against a served sandbox."""

import pytest

from tests.e2e.equipment import Bench

pytestmark = pytest.mark.e2e


def test_text_output_has_a_line_for_account_and_key(bench: Bench) -> None:
    ended = bench.run("credits")

    account, key = ended.stdout.splitlines()
    assert (ended.status, ended.stderr) == (0, "")
    assert account.startswith("account  ")
    assert "credits ($" in account
    assert key == "key      no limit of its own"


def test_json_output_has_the_balances_as_numbers(bench: Bench) -> None:
    document = bench.run("credits", "--json").document

    assert document["ok"] is True
    assert document["sandbox"] is True
    assert document["account_dollars"] == round(document["account_credits"] / 68, 2)
    assert (document["key_credits"], document["key_unlimited"]) == (None, True)


def test_a_refused_key_is_status_3(bench: Bench) -> None:
    ended = bench.run("credits", "--json", OMNIEDIT_API_KEY="sk-other")

    assert ended.status == 3
    assert ended.document["error"]["code"] == "unauthorized"
