"""The report on a batch: errors, totals, recovery hint and documents."""

import io
import weakref
from typing import Any

import pytest

from omniedit.cli.batch_report import BatchReport
from omniedit.cli.context import Context
from omniedit.edits.batch import EditOutcome
from omniedit.edits.manifest import Fault
from omniedit.edits.planner import PlannedEdit
from omniedit.errors import (
    NotReplayedError,
    OmniEditError,
    OutcomeUnknownError,
    QuotaError,
    RequestRefusedError,
    TargetExistsError,
    WaitTimeoutError,
)
from omniedit.events import Saved, Submitted
from omniedit.models import EditRequest, Record, SavedFile, Task
from omniedit.terminal.printer import Printer
from tests.journals import record_of

CLIP_URL = "https://example.com/clip.mp4"
FILE = SavedFile(path="/x/a.mp4", size_bytes=1, sha256="00")


def running(task_id: str) -> Task:
    return Task(task_id=task_id, status="processing", progress=10)


def completed(task_id: str) -> Task:
    return Task(task_id=task_id, status="completed", progress=100)


class ReportedBatch:
    """A batch whose outcomes a test dictates, with its report and what that prints."""

    def __init__(
        self,
        count: int,
        *,
        is_shard: bool = False,
        options: tuple[str, ...] = (),
        has_journal: bool = True,
        quiet: bool = False,
    ) -> None:
        self.stderr = io.StringIO()
        self.context = Context({}, argv=("batch", "m", *options))
        self.context.command = "batch"
        self.context.printer = Printer(
            stdout=io.StringIO(), stderr=self.stderr, environ={}, quiet=quiet
        )
        self.edits = [edit(number) for number in range(1, count + 1)]
        self.report = BatchReport(self.context, "m", has_journal=has_journal)
        self.report.begin(self.edits, is_shard=is_shard)

    def submit(self, number: int, task: Task) -> Record:
        record = record_of(task, identity=f"identity-{number}", request_id=f"request-{number}")
        self.context.board.add(record)
        self.context.board.update(Submitted(record=record))
        return record

    def save(self, number: int, *, is_new: bool = True) -> None:
        record = self.submit(number, completed(f"t-{number}")) if is_new else None
        known = record_of(completed(f"t-{number}"), identity=f"identity-{number}")
        record = record or known
        self.context.board.update(
            Saved(task_id=f"t-{number}", file=FILE, shown_path="a.mp4", is_new=is_new)
        )
        self.report.add(EditOutcome(edit=self.edits[number - 1], record=record))

    def fail(self, number: int, error: OmniEditError, record: Record | None = None) -> None:
        self.report.add(EditOutcome(edit=self.edits[number - 1], record=record, error=error))

    def printed(self) -> list[str]:
        self.report.print_report([])
        return self.stderr.getvalue().splitlines()


class Reply(dict[str, Any]):
    """A reply of the service; unlike a plain dictionary, it can be referred to weakly."""


def edit(number: int) -> PlannedEdit:
    return PlannedEdit(
        number=number,
        manifest="m",
        request=EditRequest(video=CLIP_URL, prompt=str(number)),
        identity=f"identity-{number}",
        output=f"{number}.mp4",
    )


def with_credits(task: Task, credits: float) -> Task:  # noqa: A002 - the unit's name
    return task._replace(credits_reserved=credits)


def test_the_totals_count_every_line_and_come_last() -> None:
    batch = ReportedBatch(6)
    batch.save(1)
    batch.save(2, is_new=False)
    batch.fail(3, QuotaError("empty"))
    batch.submit(4, with_credits(running("t-4"), 34.0))
    batch.submit(5, completed("t-5"))

    assert batch.printed() == [
        "error: m:3: empty",
        "hint: top up at https://evolink.ai/dashboard/credits",
        (
            "note: 1 done, 1 already here, 1 failed, 1 finished but not saved,"
            " 1 still running, 1 not started; 34.0 credits ($0.50) charged or reserved"
        ),
        (
            "hint: `omniedit batch m` picks up 2 already submitted and starts 1 more;"
            " nothing is paid for twice"
        ),
    ]


def test_two_lines_that_a_faulty_service_gives_one_task_are_both_done() -> None:
    batch = ReportedBatch(2)
    for number in (1, 2):
        record = batch.submit(number, completed("t-1"))
        batch.report.add(EditOutcome(edit=batch.edits[number - 1], record=record))

    assert batch.printed() == ["note: 2 done"]
    assert [record.task_id for record in batch.report.records] == ["t-1", "t-1"]
    identities = [edit.identity for edit in batch.edits]
    assert [record.identity for record in batch.report.records] == identities


def test_the_command_that_did_not_settle_an_outcome_is_not_suggested_again() -> None:
    batch = ReportedBatch(2)
    batch.fail(1, NotReplayedError("is 20 h old", hint="decide"))
    batch.fail(2, OutcomeUnknownError("may have been accepted", hint="settle"))

    *_, counts, hint = batch.printed()

    assert counts == "note: 2 with unknown outcome"
    assert hint.startswith("hint: `omniedit batch m` settles 1 with unknown outcome")


def test_an_unfinished_edit_points_to_the_whole_batch() -> None:
    batch = ReportedBatch(1)
    error = WaitTimeoutError("t-1 is not finished", task_id="t-1")
    batch.fail(1, error, batch.submit(1, running("t-1")))

    batch.printed()

    assert str(error.hint).startswith("`omniedit batch m` picks up 1 already submitted")


def test_failures_are_in_line_order_and_repeat_no_hint() -> None:
    batch = ReportedBatch(3)
    for number in (3, 1, 2):
        batch.fail(number, TargetExistsError(f"{number}.mp4 exists"))

    assert [line[:10] for line in batch.printed()] == [
        "error: m:1",
        "hint: choo",
        "error: m:2",
        "error: m:3",
        "note: 3 fa",
    ]


def test_a_wait_timeout_counts_as_still_running() -> None:
    batch = ReportedBatch(1)
    record = batch.submit(1, running("t-1"))
    batch.fail(1, WaitTimeoutError("task t-1 is not finished", task_id="t-1"), record)

    assert batch.printed()[2:] == [
        "note: 1 still running",
        "hint: `omniedit batch m` picks up 1 already submitted; nothing is paid for twice",
    ]


def test_the_recovery_command_drops_the_again_option() -> None:
    batch = ReportedBatch(1, options=("--again", "--prompt", "one\ntwo"))

    hint = "`omniedit batch m --prompt $'one\\ntwo'` starts 1 more; nothing is paid for twice"
    assert batch.printed()[-1] == f"hint: {hint}"
    assert batch.report.recovery_hint == hint


def test_a_very_long_command_is_not_repeated_in_the_hint() -> None:
    clips = tuple(f"clips/{number}.mp4" for number in range(200))

    plain, again = ReportedBatch(1, options=clips), ReportedBatch(1, options=("--again", *clips))

    assert plain.printed()[-1].startswith("hint: the same command starts 1 more")
    assert again.printed()[-1].startswith("hint: the same command without `--again` starts 1 more")


def test_without_a_journal_the_hint_is_to_adopt_the_tasks() -> None:
    batch = ReportedBatch(2, has_journal=False)
    batch.submit(1, running("t-1"))

    assert batch.printed() == [
        "note: 1 still running, 1 not started",
        "hint: 1 submitted without a journal: `omniedit list --remote --adopt` records them",
    ]


def test_quiet_keeps_errors_and_the_recovery_hint() -> None:
    batch = ReportedBatch(2, quiet=True)
    batch.fail(1, QuotaError("empty"))

    lines = batch.printed()

    assert "error: m:1: empty" in lines
    assert lines[-1].startswith("hint: `omniedit batch m` starts 1 more")
    assert not any(line.startswith("note:") for line in lines)


def test_an_empty_shard_is_reported() -> None:
    batch = ReportedBatch(0, is_shard=True)

    assert batch.printed() == ["note: this shard has no edits"]


def test_an_empty_manifest_prints_no_totals() -> None:
    assert ReportedBatch(0).printed() == []


@pytest.mark.parametrize(
    ("error", "status"),
    [
        pytest.param(QuotaError("no"), "refused", id="refused"),
        pytest.param(OutcomeUnknownError("perhaps", request_id="r"), "unknown", id="unknown"),
        pytest.param(None, "unsent", id="not-started"),
    ],
)
def test_a_line_without_a_task_has_every_key(
    error: OmniEditError | None, status: str | None
) -> None:
    batch = ReportedBatch(2)
    batch.save(1)
    if error is not None:
        batch.fail(2, error)

    first, second = batch.report.documents()

    assert set(first) == set(second)
    assert (second["line"], second["output"], second["status"]) == (2, "2.mp4", status)
    assert (second["error"] and second["error"]["message"]) == (error and error.message)


def test_the_document_of_a_running_line_has_its_task() -> None:
    batch = ReportedBatch(1)
    batch.submit(1, running("t-1"))

    [document] = batch.report.documents()

    assert (document["task_id"], document["status"]) == ("t-1", "processing")


def test_the_replies_of_a_batch_are_kept_only_for_its_document() -> None:
    batch = ReportedBatch(1)
    reply = Reply(id="t-1")
    kept = weakref.ref(reply)

    record = record_of(completed("t-1")._replace(raw=reply))
    batch.report.add(EditOutcome(edit=batch.edits[0], record=record))
    del reply, record

    assert kept() is None


def test_a_clip_refused_for_its_length_gets_a_hint_with_its_own_edit() -> None:
    batch = ReportedBatch(2)
    batch.fail(2, RequestRefusedError("The video is 25.00 s long; at most 10 s are supported"))

    assert batch.printed()[1] == (
        "hint: leave such a clip out, cut it with `start` and `end` in a manifest, or edit it"
        f" alone: `omniedit edit {CLIP_URL} 2 --split`"
    )


def test_edits_refused_for_the_same_reason_share_one_hint() -> None:
    batch = ReportedBatch(2)
    for number in (1, 2):
        batch.fail(number, RequestRefusedError("no"))

    assert [line for line in batch.printed() if line.startswith("hint: ")] == [
        'hint: `omniedit submit VIDEO "PROMPT" --dry-run` shows the request'
    ]


@pytest.mark.parametrize(
    ("count", "rest"),
    [
        pytest.param(51, "1 invalid line not shown", id="one-more"),
        pytest.param(60, "10 invalid lines not shown", id="several-more"),
    ],
)
def test_every_invalid_line_is_a_document_but_only_50_are_shown(count: int, rest: str) -> None:
    batch = ReportedBatch(0)

    errors = batch.report.add_faults([Fault(number, "is odd") for number in range(1, count + 1)])

    documents = batch.report.documents()
    assert [document["line"] for document in documents] == list(range(1, count + 1))
    assert [error.message for error in errors][-2:] == ["m:50: is odd", rest]
    assert errors[-1].hint == "correct this and run the same command again; nothing was sent"
    assert [error.hint for error in errors[:-1]] == [None] * (len(errors) - 1)
    # No support page can explain a fault in the caller's own file.
    assert documents[0]["error"]["hint"] is None
