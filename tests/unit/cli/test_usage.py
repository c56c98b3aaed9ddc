"""What `usage` reports if a charge or a date is unknown."""

from pathlib import Path

import pytest

from omniedit.cli import main
from omniedit.journal import Journal
from omniedit.models import Task

NOVEMBER = 1_793_491_200.0
DECEMBER = 1_796_083_200.0


def finished(task_id: str, *, at: float, used: float | None) -> Task:
    return Task(task_id=task_id, status="completed", created_at=at, credits_used=used)


def test_an_edit_dated_before_1970_is_counted(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with Journal(tmp_path) as journal:
        journal.record_adopted(finished("t-1", at=-86_400.0, used=6.4), origin="elsewhere")

    main.run(["usage"], {"OMNIEDIT_STATE_DIR": str(tmp_path)})

    assert "1969-12" in capsys.readouterr().out


def test_a_total_of_unknown_charges_is_unknown_not_0(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with Journal(tmp_path) as journal:
        for task in (
            finished("t-1", at=NOVEMBER, used=None),
            finished("t-2", at=DECEMBER, used=None),
            finished("t-3", at=DECEMBER, used=31.2),
        ):
            journal.record_adopted(task, origin="elsewhere")

    status = main.run(["usage"], {"OMNIEDIT_STATE_DIR": str(tmp_path)})

    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()[1:]]
    assert status == 0
    assert lines == [
        "2026-11 1 unknown - 1",
        "2026-12 2 31.2 credits ($0.46) - 1",
        "total 3 31.2 credits ($0.46) - 2",
    ]
