"""`list` shows the requested edits and their total; commands accept the IDs that it shows."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.commandline import CommandLine, Ended
from tests.e2e.test_contract_equipment import CLIP, NOW, check_document, check_failure

pytestmark = pytest.mark.e2e

UNKNOWN = "x [sandbox:lost-reply][sandbox:http=402]"


def rows(served: CommandLine, *argv: str) -> list[dict[str, Any]]:
    tasks: list[dict[str, Any]] = check_document(served("list", "--json", *argv))["tasks"]
    return tasks


@pytest.fixture
def mixed(served: CommandLine) -> CommandLine:
    """Return a journal with two saved edits, one unknown, one refused remotely, one locally."""
    for name in ("one", "two"):
        url = f"https://example.com/{name}.mp4"
        assert served("edit", url, f"x {NOW}", "-o", f"{name}.mp4").status == 0
    assert served("submit", CLIP, UNKNOWN).status == 9
    assert served("submit", CLIP, "x [sandbox:http=402]").status == 4
    assert served("submit", "ftp://example.com/c.mp4", "x").status == 2
    return served


@pytest.mark.parametrize(
    ("argv", "states"),
    [
        pytest.param([], ["refused", "unknown", "completed", "completed"], id="default"),
        pytest.param(
            ["--all"], ["refused", "refused", "unknown", "completed", "completed"], id="all"
        ),
        pytest.param(["--state", "completed"], ["completed"] * 2, id="by-state"),
        pytest.param(["--state", "unknown"], ["unknown"], id="unknown-outcome"),
        pytest.param(["--clip", "TWO"], ["completed"], id="by-clip"),
        pytest.param(["--since", "1h", "--clip", "one"], ["completed"], id="since-a-duration"),
        pytest.param(["--since", "2999-01-01"], [], id="since-a-date"),
    ],
)
def test_filters_select_the_matching_attempts(
    mixed: CommandLine, argv: list[str], states: list[str]
) -> None:
    listed = check_document(mixed("list", "--json", *argv))

    assert [row["status"] for row in listed["tasks"]] == states
    assert listed["total"] == len(states)


def test_a_limited_list_reports_the_total(mixed: CommandLine) -> None:
    limited, unlimited = mixed("list", "--limit", "1"), mixed("list", "--limit", "0")
    filtered = check_document(mixed("list", "--json", "--limit", "1", "--state", "completed"))

    assert "1 of 4 shown" in limited.stderr
    assert (len(unlimited.stdout.splitlines()), "shown" in unlimited.stderr) == (5, False)
    assert (len(filtered["tasks"]), filtered["total"]) == (1, 2)


@pytest.mark.parametrize("since", ["yesterday", "2026-13-01", "2026-1-1"])
def test_an_invalid_date_is_refused(served: CommandLine, since: str) -> None:
    check_failure(served("list", "--since", since), 2)


def test_a_date_starts_at_midnight_utc(mixed: CommandLine) -> None:
    today = datetime.now(UTC).date().isoformat()

    assert len(rows(mixed, "--since", today)) == 4


def test_forget_accepts_the_end_of_a_request_id(mixed: CommandLine) -> None:
    (unknown,) = rows(mixed, "--state", "unknown")

    ended: Ended = mixed("list", "--forget", unknown["request_id"][-8:])

    assert ended.status == 0, ended
    assert rows(mixed, "--state", "unknown") == []


def test_remote_refuses_journal_filters(served: CommandLine, tmp_path: Path) -> None:
    for argv in (["--state", "failed"], ["--all"], ["--clip", "x"]):
        check_failure(served("list", "--remote", *argv), 2)


@pytest.mark.parametrize(
    ("change_file", "fate"),
    [
        pytest.param(lambda file: file.unlink(), "gone", id="gone"),
        pytest.param(lambda file: file.write_bytes(b"other"), "changed", id="changed"),
    ],
)
def test_a_missing_or_changed_file_is_shown_as_such(
    mixed: CommandLine, change_file: Callable[[Path], object], fate: str
) -> None:
    change_file(mixed.folder / "two.mp4")
    task = rows(mixed, "--clip", "two")[0]["task_id"]

    listed, status = mixed("list").stdout.splitlines(), mixed("status", task).stdout

    assert [line.split()[-3] for line in listed if "completed" in line] == [
        fate,
        str(mixed.folder / "one.mp4"),
    ]
    verb = "is" if fate == "gone" else "has"
    assert f"{mixed.folder / 'two.mp4'} {verb} {fate}" in status
    assert [row["task_id"] for row in rows(mixed, "--unsaved")] == [task]


def test_a_remaining_copy_is_shown_when_another_is_deleted(mixed: CommandLine) -> None:
    assert mixed("download", rows(mixed, "--clip", "two")[0]["task_id"], "-o", "3.mp4").status == 0
    (mixed.folder / "3.mp4").unlink()

    shown = mixed("list", "--clip", "two").stdout

    assert str(mixed.folder / "two.mp4") in shown
