"""The Markdown summary has one row per edit, or one for the error."""

import pytest

from omniedit.errors import OmniEditError, OutcomeUnknownError, QuotaError
from omniedit.models import EditRequest, SavedFile, Task, TaskError
from omniedit.terminal.documents import render_summary, task_document
from tests.journals import record_of

CLIP = "https://user:word@example.com/a.mp4?signature=secret"


def rows(text: str) -> list[list[str]]:
    lines = text.strip().split("\n")[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def row(task: Task, **fields: object) -> list[str]:
    document = task_document(record_of(task, video=CLIP, prompt="make it night", **fields))
    [found] = rows(render_summary([document], None))
    return found


def test_a_row_has_clip_prompt_state_credits_and_file() -> None:
    task = Task(task_id="t", status="completed", credits_used=31.2)
    file = SavedFile(path="/out/a.mp4", size_bytes=1, sha256="00")

    found = row(task, saved=(file,))

    assert found == ["a.mp4", "make it night", "completed", "31.2", "/out/a.mp4"]


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
    [found] = rows(render_summary([], QuotaError("no | credits\n| x |")))

    assert found == ["-", "-", "no &#124; credits &#124; x &#124;", "-", "-"]


@pytest.mark.parametrize(
    ("error", "credits"),
    [(QuotaError("no money"), "-"), (OutcomeUnknownError("no reply"), "unknown")],
    ids=["refused", "unknown"],
)
def test_an_edit_without_a_task_has_a_row(error: OmniEditError, credits: str) -> None:  # noqa: A002 - the unit's name
    request = EditRequest(video=CLIP, prompt="make it night")

    [found] = rows(render_summary([], error, request=request))

    assert found == ["a.mp4", "make it night", error.message, credits, "-"]


def test_a_long_prompt_is_truncated() -> None:
    document = task_document(record_of(Task(task_id="t", status="pending"), prompt="long " * 99))

    [found] = rows(render_summary([document], None))

    assert len(found[1]) == 80
