"""What a command has learned of each task so far."""

from dataclasses import replace
from typing import Any

from omniedit.cli.tally import Tally
from omniedit.errors import NetworkError
from omniedit.events import Completed, Event, Failed, Noted, Progressed, Saved, Stalled, Submitted
from omniedit.models import Record, SavedFile, Task, TaskError
from tests.records import record_of

TASK = Task(task_id="t-1", status="processing", created_at=1.0)
DONE = replace(TASK, status="completed", progress=100)
FILE = SavedFile(path="/a/out.mp4", size_bytes=7, sha256="00")


def record(**changes: Any) -> Record:
    fields: dict[str, Any] = {
        "request_id": "r-1",
        "task": TASK,
        "status": TASK.status,
        "created_at": 1.0,
    }
    return Record(**fields | changes)


def tally_after(*events: Event, known: Record | None = None) -> Tally:
    tally = Tally()
    if known is not None:
        tally.add(known)
    for event in events:
        tally.take(event)
    return tally


def test_events_bring_a_record_up_to_date() -> None:
    tally = tally_after(
        Submitted(record=record(prompt="warmer")),
        Progressed(record=record(task=replace(TASK, progress=40)), elapsed_s=1, remaining_s=2),
        Completed(record=record(task=DONE, status=DONE.status, prompt="warmer")),
    )

    [found] = tally.records
    assert (found.status, found.task, found.prompt) == ("completed", DONE, "warmer")


def test_a_failure_brings_its_reason() -> None:
    reason = TaskError(code="service_error", message="no")

    [found] = tally_after(
        Failed(record=record_of(replace(TASK, status="failed", error=reason)))
    ).records

    assert (found.status, found.error) == ("failed", reason)


def test_a_saved_file_joins_its_record_once() -> None:
    other = SavedFile(path="/b/out.mp4", size_bytes=7, sha256="00")
    saved = Saved(task_id="t-1", file=FILE, shown_path="out.mp4")

    [found] = tally_after(saved, saved, known=record(saved=(other,))).records

    assert found.saved == (other, FILE)


def test_an_error_is_noted_beside_what_is_known() -> None:
    tally = Tally()
    tally.note_error(record(), NetworkError("cut", hint="try again"))
    own = TaskError(code="service_error", message="its own")
    tally.note_error(record(task=None, request_id="r-2", error=own), NetworkError("cut"))

    noted, kept = tally.records
    assert noted.error == TaskError(code="network", message="cut", suggestion="try again")
    assert kept.error == own


def test_order_is_that_of_the_first_meeting_and_other_events_change_nothing() -> None:
    tally = tally_after(
        Noted(message="hello"),
        Stalled(task_id="t-9", since_s=180),
        Saved(task_id="t-9", file=FILE, shown_path="x"),
        Submitted(record=record_of(replace(TASK, task_id="t-2"))),
        Submitted(record=record_of(TASK, request_id="r-1")),
        Completed(record=record_of(replace(DONE, task_id="t-2"))),
    )

    assert [found.task_id for found in tally.records] == ["t-2", "t-1"]
