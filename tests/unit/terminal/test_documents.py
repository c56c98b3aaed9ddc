"""The JSON documents and events that scripts read."""

from collections.abc import Callable

import pytest

from omniedit.errors import OmniEditError, QuotaError
from omniedit.events import (
    Completed,
    Event,
    Failed,
    LineFailed,
    Noted,
    Progressed,
    Retrying,
    Saved,
    Stalled,
    Submitted,
    Warned,
    Working,
)
from omniedit.evolink.replies import parse_task
from omniedit.models import Record, SavedFile, Task, TaskError
from omniedit.schemas import instant
from omniedit.terminal.documents import (
    envelope,
    error_document,
    event_document,
    event_line,
    task_document,
    task_error_document,
)
from tests.journals import record_of
from tests.schemas import definition, keys_of

NOW = 1_757_169_743.0
TASK = Task(task_id="t-1", status="processing")
FILE = SavedFile(path="/x/out.mp4", size_bytes=7, sha256="00")


def test_an_envelope_has_schema_ok_and_sandbox() -> None:
    document = envelope(ok=True, sandbox=False, task=None)

    assert document == {"schema": 1, "ok": True, "sandbox": False, "task": None}


def test_a_task_has_every_key() -> None:
    raw = {
        "id": "t-1",
        "status": "completed",
        "created": NOW,
        "model": "gemini-omni-flash-video-edit",
        "task_info": {"estimated_time": 60},
        "usage": {"credits_reserved": 64, "credits_used": 60.5},
        "results": ["https://cdn.example.com/x.mp4?sig=1"],
    }
    record = Record(
        request_id="oe-1",
        task=parse_task(raw),
        status="completed",
        created_at=NOW - 2,
        video="clip.mp4",
        prompt="dusk",
        saved=(FILE,),
        completed_after=NOW,
    )

    document = task_document(record)

    assert document == {
        "task_id": "t-1",
        "status": "completed",
        "progress": 100,
        "model": "gemini-omni-flash-video-edit",
        "created_at": "2025-09-06T14:42:23Z",
        "estimated_seconds": 60,
        "credits_reserved": 64,
        "credits_used": 60.5,
        "video": "clip.mp4",
        "prompt": "dusk",
        "request_id": "oe-1",
        "parent": None,
        "sound": "new",
        "results": ["https://cdn.example.com/x.mp4?sig=1"],
        "link_valid_until": "2025-09-07T14:42:23Z",
        "saved": [
            {
                "path": "/x/out.mp4",
                "bytes": 7,
                "sha256": "00",
                "width": None,
                "height": None,
                "frame_rate": None,
                "duration_seconds": None,
                "marks": None,
                "served": None,
            }
        ],
        "error": None,
        "raw": raw,
    }


def test_an_attempt_without_a_task_has_the_same_keys(make_record: Callable[..., Record]) -> None:
    error = TaskError(code="insufficient_quota", message="no credits")

    document = task_document(make_record("refused", task_id=None, error=error))

    assert tuple(document) == keys_of(definition("task"))
    assert (document["task_id"], document["status"], document["results"]) == (None, "refused", [])
    assert document["error"]["code"] == "insufficient_quota"


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        pytest.param(
            TaskError(code="service_error", message="x", suggestion="wait a bit"),
            "wait a bit",
            id="suggestion-of-the-service",
        ),
        pytest.param(
            TaskError(code="generation_timeout", message="x"),
            "run the edit again later",
            id="known-code",
        ),
        pytest.param(
            TaskError(code="new_code", message="x"),
            "contact EvoLink's support with the task ID",
            id="unknown-code",
        ),
        pytest.param(
            TaskError(code="new_code", message="x", kind="request_refused"), None, id="no-task"
        ),
    ],
)
def test_a_task_error_has_the_matching_hint(error: TaskError, hint: str | None) -> None:
    document = task_error_document(error)

    assert document == {
        "code": error.code,
        "message": "x",
        "retryable": error.is_retryable,
        "hint": hint,
    }


def test_a_failure_has_every_key() -> None:
    error = QuotaError("no credits", code="quota_not_enough", request_id="oe-1", http_status=402)

    assert error_document(error, exit_status=4, hint="top up") == {
        "code": "quota_not_enough",
        "message": "no credits",
        "hint": "top up",
        "exit_status": 4,
        "task_id": None,
        "request_id": "oe-1",
        "http_status": 402,
    }
    assert error_document(OmniEditError("x", hint="own"), exit_status=1)["hint"] == "own"


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (
            Submitted(record=record_of(TASK, request_id="oe-1")),
            {"event": "submitted", "request_id": "oe-1"},
        ),
        (
            Progressed(
                record=record_of(TASK._replace(progress=47)), elapsed_s=28.04, remaining_s=None
            ),
            {
                "event": "progress",
                "status": "processing",
                "progress": 47,
                "elapsed_s": 28.0,
                "remaining_s": None,
            },
        ),
        (Stalled(task_id="t-1", since_s=180.0), {"event": "stalled", "since_s": 180.0}),
        (
            Retrying(message="503", delay_s=4.0, attempt=1, task_id="t-1"),
            {"event": "retrying", "message": "503", "delay_s": 4.0, "attempt": 1},
        ),
        (Completed(record=record_of(TASK)), {"event": "completed"}),
        (Failed(record=record_of(TASK)), {"event": "failed", "error": None}),
        (
            Saved(task_id="t-1", file=FILE, shown_path="out.mp4"),
            {"event": "saved", "path": "/x/out.mp4", "bytes": 7, "sha256": "00"},
        ),
        (
            LineFailed("2", TaskError("odd", "no", kind="outcome_unknown"), task_id="t-1"),
            {
                "event": "failed",
                # Hints for failed tasks do not apply to other errors.
                "error": {"code": "odd", "message": "2: no", "retryable": False, "hint": None},
            },
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_event_has_its_document(event: Event, expected: dict[str, object]) -> None:
    head = {"schema": 1, "at": "2025-09-06T14:42:23.000Z", "sandbox": True, "task_id": "t-1"}

    assert event_document(event, at=NOW, sandbox=True) == head | expected


@pytest.mark.parametrize(
    "event",
    [
        Noted(message="x"),
        Warned(message="x"),
        Working(name="x", what="downloading", done=0, total=None, is_transfer=True),
        # The task continues at the service.
        LineFailed("2", TaskError("wait_timeout", "no", kind="wait_timeout")),
    ],
)
def test_messages_and_open_waits_are_not_events(event: Event) -> None:
    assert event_document(event, at=NOW, sandbox=True) is None


def test_the_done_event_contains_all_tasks() -> None:
    tasks = [{"task_id": "t-1"}]
    document = event_line(
        "done", at=NOW, sandbox=False, ok=False, exit_status=5, tasks=tasks, error=None
    )

    assert document == {
        "schema": 1,
        "event": "done",
        "at": "2025-09-06T14:42:23.000Z",
        "sandbox": False,
        "task_id": None,
        "ok": False,
        "exit_status": 5,
        "tasks": [{"task_id": "t-1"}],
        "error": None,
    }


def test_an_invalid_moment_is_null() -> None:
    assert instant(None) is None
    assert instant(1e20) is None
