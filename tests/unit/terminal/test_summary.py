"""The Markdown summary has one row per edit, or one for the error."""

from pathlib import Path

import pytest

from omniedit.errors import OmniEditError, OutcomeUnknownError, QuotaError
from omniedit.events import Submitted
from omniedit.models import EditRequest, SavedFile, Task, TaskError
from omniedit.terminal.board import Board
from omniedit.terminal.documents import render_summary, task_document
from tests.journals import record_of

CLIP = "https://user:word@example.com/a.mp4?signature=secret"


def rows(text: str) -> list[list[str]]:
    lines = text.strip().split("\n")[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def row(task: Task, **fields: object) -> list[str]:
    document = task_document(record_of(task, video=CLIP, prompt="make it night", **fields))
    [found] = rows(render_summary([document], None, Board()))
    return found


def test_a_row_has_clip_prompt_state_credits_and_file(tmp_path: Path) -> None:
    task = Task(task_id="t", status="completed", credits_used=31.2)
    (tmp_path / "a.mp4").touch()
    file = SavedFile(path=str(tmp_path / "a.mp4"), size_bytes=1, sha256="00")
    lost = file._replace(path=str(tmp_path / "lost.mp4"))

    for saved in [(file,), (file, lost)]:
        found = row(task, saved=saved)
        assert found[:4] == ["a.mp4", "make it night", "completed", "31.2"]
        assert found[4].replace("&#95;", "_") == file.path
    assert row(task, saved=(lost,))[4] == "-"


def test_what_was_paid_before_does_not_look_like_a_new_charge() -> None:
    documents = [
        task_document(record_of(Task(task_id="new", status="completed", credits_used=31.24))),
        task_document(record_of(Task(task_id="known", status="completed", credits_used=25.4))),
        task_document(record_of(Task(task_id="open", status="pending", credits_reserved=9.0))),
    ]
    board = Board()
    board.known |= {"known", "open"}
    board.update(Submitted(record_of(Task(task_id="new", status="completed", credits_used=31.24))))

    found = rows(render_summary(documents, None, board))

    assert [cells[3] for cells in found] == ["31.2", "25.4 (paid before)", "9.0 reserved before"]


@pytest.mark.parametrize(
    ("task", "state", "credits"),
    [
        (Task(task_id="t", status="completed"), "completed", "unknown"),
        (
            Task(task_id="t", status="processing", credits_reserved=9.0),
            "processing",
            "9.0 reserved",
        ),
        (
            Task(task_id="t", status="failed", error=TaskError(code="no", message="x")),
            "failed (no)",
            "0",
        ),
    ],
    ids=["charge-unknown", "running", "failed"],
)
def test_credits_are_never_guessed(task: Task, state: str, credits: str) -> None:  # noqa: A002 - the unit's name
    assert row(task)[2:4] == [state, credits]


def test_without_an_edit_the_row_shows_the_error() -> None:
    [found] = rows(render_summary([], QuotaError("no | credits\n| x |"), Board()))

    assert found == ["-", "-", "no &#124; credits &#124; x &#124;", "-", "-"]


@pytest.mark.parametrize(
    ("error", "credits"),
    [(QuotaError("no money"), "-"), (OutcomeUnknownError("no reply"), "unknown")],
    ids=["refused", "unknown"],
)
def test_an_edit_without_a_task_has_a_row(error: OmniEditError, credits: str) -> None:  # noqa: A002 - the unit's name
    board = Board()
    board.request = EditRequest(video=CLIP, prompt="make it night")

    [found] = rows(render_summary([], error, board))

    assert found == ["a.mp4", "make it night", error.message, credits, "-"]


def test_a_long_prompt_is_truncated() -> None:
    document = task_document(record_of(Task(task_id="t", status="pending"), prompt="long " * 99))

    [found] = rows(render_summary([document], None, Board()))

    assert len(found[1]) == 80
