"""The journal: what is written before, during and after a submission, and read back."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from omniedit.journal import Call, Journal
from omniedit.models import Record, SavedFile, Task, TaskError, UploadedClip
from omniedit.policy import is_certainly_not_accepted

ORIGIN = "https://api.evolink.ai"
FILES = "https://files-api.evolink.ai"
CONTEXT = "user:0"
REFUSAL = TaskError(
    code="insufficient_quota", message="top up", kind="insufficient_quota", http_status=402
)


class Clock:
    """A Unix time that advances by a second with every call."""

    def __init__(self) -> None:
        self.now = 1_757_156_493.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def journal(tmp_path: Path, clock: Clock) -> Any:
    with Journal(tmp_path / "state", clock=clock) as journal:
        yield journal


def attempt(number: int = 1, **changes: Any) -> Record:
    video = changes.pop("video", "https://example.com/clip.mp4?signature=abc")
    prompt = changes.pop("prompt", "warmer")
    fields: dict[str, Any] = {
        "request_id": f"omniedit-{number:016}",
        "origin": ORIGIN,
        "identity": "identity-a",
        "video": video,
        "prompt": prompt,
        "body": b'{"exact": "bytes"}',
        "body_digest": "digest-a",
    }
    return Record(task=None, status="sending", created_at=0.0, **fields | changes)


def record(journal: Journal, attempt: Record, *, context: str | None = CONTEXT) -> None:
    journal.record_attempt(attempt, context=context)


def task(number: int = 1, status: str = "processing", **changes: Any) -> Task:
    fields: dict[str, Any] = {
        "task_id": f"task-unified-1757156493-{number:08}",
        "status": status,
        "created_at": 1_757_156_493.0 + number,
    }
    return Task(**fields | changes)


def accept(journal: Journal, number: int = 1, status: str = "processing", **changes: Any) -> Task:
    context = changes.pop("context", CONTEXT)
    submission = attempt(number, **changes)
    accepted = task(number, status)
    record(journal, submission, context=context)
    journal.record_accepted(str(submission.request_id), accepted, origin=ORIGIN)
    return accepted


def test_an_attempt_is_on_disk_before_anything_is_sent(tmp_path: Path, journal: Journal) -> None:
    record(journal, attempt())

    with Journal(tmp_path / "state") as another_process:
        found = another_process.find_attempt("omniedit-0000000000000001")
    assert found is not None
    assert (found.body, found.body_digest) == (b'{"exact": "bytes"}', "digest-a")
    assert (found.video, found.prompt) == ("https://example.com/clip.mp4?signature=abc", "warmer")
    assert (found.task_id, found.error, found.saved) == (None, None, ())


def test_an_attempt_is_sending_while_locked_and_unknown_afterwards(journal: Journal) -> None:
    submission = attempt()
    with journal.locked("sending", str(submission.request_id)):
        record(journal, submission)
        during = journal.find_attempt(str(submission.request_id))
    afterwards = journal.find_attempt(str(submission.request_id))

    assert [record and record.status for record in (during, afterwards)] == ["sending", "unknown"]


def test_an_unknown_attempt_keeps_what_a_replay_needs(journal: Journal) -> None:
    submission = attempt()
    record(journal, submission)
    journal.record_unknown(str(submission.request_id), TaskError(code="network", message="cut"))

    found = journal.find_attempt(str(submission.request_id))

    assert found is not None
    assert (found.status, found.body) == ("unknown", submission.body)
    assert found.error == TaskError(code="network", message="cut")
    assert found.video == submission.video


def test_a_refused_attempt_keeps_its_error_and_drops_its_body(journal: Journal) -> None:
    submission = attempt()
    record(journal, submission)
    journal.record_refused(str(submission.request_id), REFUSAL)

    found = journal.find_attempt(str(submission.request_id))

    assert found is not None
    assert (found.status, found.error, found.body) == ("refused", REFUSAL, None)
    error = found.refusal
    assert (error.kind, error.code, error.http_status) == (REFUSAL.kind, REFUSAL.code, 402)
    assert is_certainly_not_accepted(error)


def test_an_unsent_attempt_never_overwrites_a_sent_one(journal: Journal) -> None:
    sent = attempt(body=b"first")
    record(journal, sent)
    unsent = sent._replace(identity=None, body=None, body_digest=None)

    for fallback_id in ("spare-1", "spare-2"):
        journal.record_unsent(unsent, REFUSAL, context=CONTEXT, fallback_id=fallback_id)

    found = {str(record.request_id): record.status for record in journal.recent()}
    assert found == {sent.request_id: "unknown", "spare-1": "refused", "spare-2": "refused"}


def test_an_accepted_attempt_and_its_task_are_one_record(journal: Journal) -> None:
    accepted = accept(journal)

    found = journal.find_attempt("omniedit-0000000000000001")

    assert found is not None
    assert found == journal.find_task(accepted.task_id)
    assert (found.status, found.task) == ("processing", accepted)
    assert found.identity == "identity-a"


def test_resending_a_submission_reuses_its_row(journal: Journal) -> None:
    submission = attempt()
    record(journal, submission)
    journal.record_refused(str(submission.request_id), REFUSAL)
    record(journal, attempt(body=b"second"))

    assert len(journal.recent()) == 1
    found = journal.find_attempt(str(submission.request_id))
    assert found is not None
    assert (found.status, found.body, found.error) == ("unknown", b"second", None)


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_query_and_body_are_dropped_once_the_task_has_ended(journal: Journal, status: str) -> None:
    accepted = accept(journal)
    before = journal.find_task(accepted.task_id)
    journal.record_tasks([(task(status=status), None)], origin=ORIGIN)
    after = journal.find_task(accepted.task_id)

    assert before
    assert before.video == "https://example.com/clip.mp4?signature=abc"
    assert after
    assert after.video == "https://example.com/clip.mp4"
    assert after.body is None
    assert (after.body_digest, after.identity) == ("digest-a", "identity-a")


def test_a_refusal_drops_the_clips_query(journal: Journal) -> None:
    record(journal, attempt())
    journal.record_refused(str(attempt().request_id), REFUSAL)

    found = journal.find_attempt(str(attempt().request_id))

    assert found
    assert found.video == "https://example.com/clip.mp4"


def test_no_signature_of_an_ended_task_is_kept(tmp_path: Path, journal: Journal) -> None:
    accept(journal, body=b'{"video_urls": ["https://example.com/clip.mp4?signature=abc"]}')
    journal.record_tasks([(task(status="completed"), None)], origin=ORIGIN)

    rows = journal._database.rows("select * from attempts")

    assert all("signature" not in str(value) for row in rows for value in tuple(row))


def test_a_local_clips_name_is_not_cut_at_a_question_mark(journal: Journal) -> None:
    accepted = accept(journal, video="what?#1.mp4")
    journal.record_tasks([(task(status="completed"), None)], origin=ORIGIN)

    found = journal.find_task(accepted.task_id)

    assert found
    assert found.video == "what?#1.mp4"


def test_a_new_status_is_written_and_progress_is_not(journal: Journal) -> None:
    accepted = accept(journal)
    changes = journal._database.rows("select total_changes() as n")[0]["n"]

    journal.record_tasks([(task(progress=40), None)], origin=ORIGIN)
    journal.record_tasks([(task(progress=80), None)], origin=ORIGIN)
    assert journal._database.rows("select total_changes() as n")[0]["n"] == changes

    ended = task(status="completed", result_urls=("https://cdn.example/v.mp4",), credits_used=31.0)
    journal.record_tasks([(ended, 5e9)], origin=ORIGIN)
    found = journal.find_task(accepted.task_id)
    assert found
    assert found.task
    assert (found.status, found.task.progress, found.completed_after) == ("completed", 100, 5e9)
    assert (found.task.result_urls, found.task.credits_used) == (ended.result_urls, 31.0)


def test_a_task_is_recorded_without_functions_of_recent_sqlite(journal: Journal) -> None:
    """`iif` needs 3.32, and Python 3.11 of Rocky Linux 8 uses 3.26."""
    used: set[str | None] = set()

    def note(action: int, _: str | None, name: str | None, *__: str | None) -> int:
        if action == sqlite3.SQLITE_FUNCTION:
            used.add(name)
        return sqlite3.SQLITE_OK

    journal._database._connection.set_authorizer(note)
    accepted = accept(journal)
    journal.record_tasks([(accepted._replace(status="completed"), None)], origin=ORIGIN)

    assert used == {"coalesce"}


def test_a_task_missing_from_the_journal_is_not_added(journal: Journal) -> None:
    journal.record_tasks([(task(7, "completed"), None)], origin=ORIGIN)

    assert journal.recent() == []


def test_a_sparse_reply_erases_nothing(journal: Journal) -> None:
    accepted = accept(journal)
    rich = task(
        status="completed",
        model="m",
        credits_reserved=31.8,
        credits_used=31.0,
        estimated_s=60.0,
        result_urls=("https://cdn.example/v.mp4",),
    )
    journal.record_tasks([(rich, 5e9)], origin=ORIGIN)
    journal.record_tasks([(task(status="archived", created_at=None), None)], origin=ORIGIN)

    found = journal.find_task(accepted.task_id)

    assert found
    assert found.task
    assert found.status == "archived"
    kept = found.task
    assert (kept.model, kept.credits_reserved, kept.credits_used) == ("m", 31.8, 31.0)
    assert (kept.estimated_s, kept.result_urls) == (60.0, rich.result_urls)
    assert (kept.created_at, found.completed_after) == (accepted.created_at, 5e9)


def test_last_is_a_contexts_newest_attempt_even_if_refused(journal: Journal) -> None:
    accept(journal, 1)
    accept(journal, 2, context="github:7:clips")
    record(journal, attempt(3))
    journal.record_refused(str(attempt(3).request_id), REFUSAL)

    assert journal.last_call(CONTEXT) == Call(attempt(3).request_id)
    assert journal.last_call("github:7:clips") == Call(attempt(2).request_id)
    assert journal.last_call("github:8:clips") is None


def test_resuming_an_old_task_makes_it_the_last(journal: Journal) -> None:
    accept(journal, 1)
    accept(journal, 2)
    journal.record_call(CONTEXT, attempt(1).request_id)

    assert journal.last_call(CONTEXT) == Call(attempt(1).request_id)


def test_a_batch_has_no_last_task(journal: Journal) -> None:
    accept(journal, 1)
    journal.record_call(CONTEXT, None)
    accept(journal, 2, context=None)

    assert journal.last_call(CONTEXT) == Call(None)


def test_an_adopted_task_is_listed_but_never_the_last(journal: Journal) -> None:
    journal.record_adopted(task(9, "completed"), origin=ORIGIN)

    found = journal.find_task(task(9).task_id)

    assert found
    assert (found.request_id, found.origin) == (None, ORIGIN)
    assert journal.last_call(CONTEXT) is None
    assert journal.recent() == [found]


def test_adopting_a_known_task_keeps_its_request_id(journal: Journal) -> None:
    accepted = accept(journal)
    journal.record_adopted(accepted, origin=ORIGIN)

    found = journal.find_task(accepted.task_id)

    assert found
    assert found.request_id == attempt().request_id
    assert journal.recent() == [found]


EDIT_CASES = [
    pytest.param([], None, id="never-tried"),
    pytest.param(["refused"], None, id="refused"),
    pytest.param(["unknown"], 1, id="unknown"),
    pytest.param(["processing"], 1, id="running"),
    pytest.param(["failed"], 1, id="failed"),
    pytest.param(["completed", "refused"], 1, id="completed-then-refused"),
    pytest.param(["completed", "failed"], 1, id="completed-then-failed"),
    pytest.param(["failed", "completed"], 2, id="failed-then-completed"),
    pytest.param(["failed", "failed"], 2, id="newest-failed"),
    pytest.param(["completed", "completed"], 2, id="newest-completed"),
    pytest.param(["unknown", "failed"], 1, id="unknown-then-failed"),
    pytest.param(["completed", "unknown"], 2, id="completed-then-unknown"),
    pytest.param(["cancelled", "refused", "failed"], 3, id="all-ended"),
]


@pytest.mark.parametrize(("history", "expected"), EDIT_CASES)
def test_find_edit_prefers_accepted_attempts_that_did_not_fail(
    journal: Journal, history: list[str], expected: int | None
) -> None:
    for number, state in enumerate(history, start=1):
        submission = attempt(number)
        record(journal, submission)
        if state == "refused":
            journal.record_refused(str(submission.request_id), REFUSAL)
        elif state != "unknown":
            journal.record_accepted(str(submission.request_id), task(number, state), origin=ORIGIN)

    found = journal.find_edit("identity-a", origin=ORIGIN)

    assert (found and found.request_id) == (expected and attempt(expected).request_id)


def test_an_edit_is_found_by_its_origin_and_identity(journal: Journal) -> None:
    accept(journal)

    assert journal.find_edit("identity-a", origin="sandbox") is None
    assert journal.find_edit("identity-b", origin=ORIGIN) is None
    assert journal.find_edit("identity-a", origin=ORIGIN)


def test_a_task_is_found_by_the_end_of_its_id(journal: Journal) -> None:
    accept(journal, 12345678)
    accept(journal, 92345678)

    assert len(journal.ending_with("2345678")) == 2
    [found] = journal.ending_with("12345678")
    assert found.task_id == task(12345678).task_id
    assert journal.ending_with("%") == []
    assert journal.ending_with("_2345678") == []


def test_recent_is_newest_first_up_to_its_limit(journal: Journal) -> None:
    for number in range(1, 6):
        accept(journal, number)
    journal.record_adopted(task(9, created_at=1.0), origin=ORIGIN)

    numbers = [int(str(record.task_id)[-8:]) for record in journal.recent()]

    assert numbers == [5, 4, 3, 2, 1, 9]
    assert len(journal.recent(limit=2)) == 2


def test_saved_files_keep_their_order_with_one_row_per_path(journal: Journal) -> None:
    accepted = accept(journal)
    first = SavedFile(path="/a/out.mp4", size_bytes=1, sha256="00")
    second = SavedFile(path="/a/out-2.mp4", size_bytes=2, sha256="01")
    replaced = SavedFile(path="/a/out.mp4", size_bytes=3, sha256="02")
    for file in (first, second, replaced):
        journal.record_saved(accepted.task_id, file)

    found = journal.find_task(accepted.task_id)

    assert found
    assert found.saved == (second, replaced)


def test_a_gone_result_is_marked(journal: Journal) -> None:
    accepted = accept(journal, status="completed")
    journal.record_result_gone(accepted.task_id)

    found = journal.find_task(accepted.task_id)

    assert found
    assert found.is_result_gone


def test_a_listed_task_without_a_reason_keeps_the_known_one(journal: Journal) -> None:
    known = TaskError(code="generation_timeout", message="too slow")
    task = accept(journal, status="failed")._replace(error=known)
    journal.record_tasks([(task, None)], origin=ORIGIN)

    journal.record_tasks([(task._replace(error=None), None)], origin=ORIGIN)

    found = journal.find_task(task.task_id)
    assert found
    assert found.error == known
    assert found.with_task(task._replace(error=None)).error == known


def test_a_reservation_reported_later_is_recorded(journal: Journal) -> None:
    task = accept(journal)

    journal.record_tasks([(task._replace(credits_reserved=31.2), None)], origin=ORIGIN)

    found = journal.find_task(task.task_id)
    assert found
    assert found.task
    assert found.task.credits_reserved == 31.2


@pytest.mark.parametrize(
    ("before", "still_gone"),
    [
        pytest.param((), False, id="first-link-clears-the-mark"),
        pytest.param(("https://r.example/1.mp4",), True, id="replaced-link-keeps-the-mark"),
    ],
)
def test_only_the_first_result_link_clears_the_gone_mark(
    journal: Journal, before: tuple[str, ...], still_gone: object
) -> None:
    task = accept(journal, status="completed")._replace(result_urls=before)
    journal.record_tasks([(task, None)], origin=ORIGIN)
    journal.record_result_gone(task.task_id)
    late = task._replace(result_urls=("https://r.example/2.mp4",))

    journal.record_tasks([(late, None)], origin=ORIGIN)

    found = journal.find_task(task.task_id)
    assert found
    assert found.is_result_gone is still_gone


def test_uploads_are_found_until_they_expire(journal: Journal, clock: Clock) -> None:
    clip = UploadedClip(url="https://f.example/c.mp4", expires_at=clock.now + 7200)
    endless = UploadedClip(url="https://f.example/o", expires_at=None)
    journal.record_upload("sha", clip, origin=ORIGIN, files_origin=FILES)
    journal.record_upload("other", endless, origin=ORIGIN, files_origin=FILES)

    def find(sha256: str, valid_for_s: float, **origins: str) -> UploadedClip | None:
        origins = {"origin": ORIGIN, "files_origin": FILES} | origins
        return journal.find_upload(sha256, valid_for_s=valid_for_s, **origins)

    assert find("sha", 3600) == clip
    assert find("sha", 0, origin="sandbox") is None
    assert find("sha", 0, files_origin="https://other.example") is None
    assert find("sha", 7201) is None
    assert find("other", 0) is None


def test_a_new_upload_replaces_the_old_one(journal: Journal, clock: Clock) -> None:
    for name in ("old", "new"):
        clip = UploadedClip(url=f"https://f.example/{name}", expires_at=clock.now + 7200)
        journal.record_upload("sha", clip, origin=ORIGIN, files_origin=FILES)

    found = journal.find_upload("sha", origin=ORIGIN, files_origin=FILES, valid_for_s=0)

    assert found
    assert found.url == "https://f.example/new"


def test_an_unknown_attempt_is_settled_with_an_adopted_task(journal: Journal) -> None:
    submission = attempt()
    record(journal, submission)
    journal.record_unknown(str(submission.request_id), TaskError(code="network", message="cut"))
    journal.record_adopted(task(), origin=ORIGIN)

    journal.record_accepted(str(submission.request_id), task(), origin=ORIGIN)

    found = journal.find_edit("identity-a", origin=ORIGIN)
    assert found
    assert (found.request_id, found.task, found.error) == (str(submission.request_id), task(), None)
    assert len(journal.recent()) == 1


def test_forgetting_an_attempt_leaves_no_trace(journal: Journal) -> None:
    accept(journal, 1)
    record(journal, attempt(2))

    journal.forget(attempt(2))

    assert journal.find_attempt(str(attempt(2).request_id)) is None
    assert journal.last_call(CONTEXT) == Call(attempt(1).request_id)


def test_an_attempt_that_has_just_been_accepted_is_not_forgotten(journal: Journal) -> None:
    accepted = accept(journal)

    journal.forget(attempt())

    assert journal.find_task(accepted.task_id)
    assert journal.find_attempt(str(attempt().request_id))
    assert journal.last_call(CONTEXT) == Call(attempt().request_id)


def test_forgetting_an_edit_leaves_no_trace(journal: Journal) -> None:
    kept = accept(journal, 1)
    gone = accept(journal, 2)
    journal.record_saved(gone.task_id, SavedFile(path="/a", size_bytes=1, sha256="00"))
    record = journal.find_task(gone.task_id)
    assert record
    journal.forget(record)

    assert [found.task_id for found in journal.recent()] == [kept.task_id]
    assert journal.last_call(CONTEXT) == Call(attempt(1).request_id)
    for table in ("attempts", "tasks", "files", "calls"):
        rows = journal._database.rows(f"select * from {table}")  # noqa: S608 - names from above
        assert gone.task_id not in json.dumps([tuple(map(str, row)) for row in rows])


def test_an_in_memory_journal_persists_nothing(clock: Clock) -> None:
    with Journal(None, clock=clock) as journal:
        accept(journal)
        with journal.locked("editing", "identity-a"), journal.locked("sending", "x"):
            assert not journal.is_persistent
            assert len(journal.recent()) == 1
    with Journal(None, clock=clock) as journal:
        assert journal.recent() == []


@pytest.mark.parametrize(
    "outcome",
    [
        pytest.param("refused", id="refused-as-invalid"),
        pytest.param("failed", id="failed-on-missing-input"),
    ],
)
def test_an_upload_the_service_could_not_use_is_not_reused(journal: Journal, outcome: str) -> None:
    url = "https://files.example.com/clip.mp4"
    journal.record_upload(
        "sha", UploadedClip(url=url, expires_at=1e12), origin=ORIGIN, files_origin=ORIGIN
    )
    record(journal, attempt(body=f'{{"video_urls": ["{url}"]}}'.encode()))

    if outcome == "refused":
        error = TaskError(code="invalid_request", message="no", kind="request_refused")
        journal.record_refused("omniedit-0000000000000001", error)
    else:
        error = TaskError(code="resource_not_found", message="no such file")
        journal.record_accepted("omniedit-0000000000000001", task(), origin=ORIGIN)
        journal.record_tasks([(task(status="failed", error=error), None)], origin=ORIGIN)

    found = journal.find_upload("sha", origin=ORIGIN, files_origin=ORIGIN, valid_for_s=0.0)
    assert found is None
