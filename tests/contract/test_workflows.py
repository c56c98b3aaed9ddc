"""The workflows: no permissions by default, and actions that cannot change under them."""

import re

import pytest

from tests.contract.readme import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("name", [path.name for path in WORKFLOWS])
def test_a_workflow_trusts_nobody(name: str) -> None:
    text = (ROOT / ".github" / "workflows" / name).read_text("utf-8")

    assert re.search(r"^permissions: \{\}$", text, re.MULTILINE)
    for action in re.findall(r"uses: (\S+)", text):
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action), action
    assert text.count("uses: actions/checkout@") == text.count("persist-credentials: false")


def test_there_is_one() -> None:
    assert WORKFLOWS
