"""The journal: what is written before, during and after a submission, and read back."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from omniedit.edits.replay import refusal_of
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
    made = attempt(number, **changes)
    accepted = task(number, status)
    record(journal, made, context=context)
    journal.record_accepted(str(made.request_id), accepted, origin=ORIGIN)
    return accepted


def test_an_attempt_is_on_disk_before_anything_is_sent(tmp_path: Path, journal: Journal) -> None:
    record(journal, attempt())

    with Journal(tmp_path / "state") as another_process:
        found = another_process.find_attempt("omniedit-0000000000000001")
    assert found is not None
    assert (found.body, found.body_digest) == (b'{"exact": "bytes"}', "digest-a")
    assert (found.video, found.prompt) == ("https://example.com/clip.mp4?signature=abc", "warmer")
    assert (found.task_id, found.error, found.saved) == (None, None, ())


def test_it_is_being_sent_while_its_process_lives_and_unknown_afterwards(journal: Journal) -> None:
    made = attempt()
    with journal.locked("sending", str(made.request_id)):
        record(journal, made)
        during = journal.find_attempt(str(made.request_id))
    afterwards = journal.find_attempt(str(made.request_id))

    assert [record and record.status for record in (during, afterwards)] == ["sending", "unknown"]


def test_an_unknown_attempt_keeps_what_it_takes_to_send_it_again(journal: Journal) -> None:
    made = attempt()
    record(journal, made)
    journal.record_unknown(str(made.request_id), TaskError(code="network", message="cut"))

    found = journal.find_attempt(str(made.request_id))

    assert found is not None
    assert (found.status, found.body) == ("unknown", made.body)
    assert found.error == TaskError(code="network", message="cut")
    assert found.video == made.video


def test_a_refused_attempt_can_be_raised_again_and_is_not_sent_again(journal: Journal) -> None:
    made = attempt()
    record(journal, made)
    journal.record_refused(str(made.request_id), REFUSAL)

    found = journal.find_attempt(str(made.request_id))

    assert found is not None
    assert (found.status, found.error, found.body) == ("refused", REFUSAL, None)
    error = refusal_of(found)
    assert (error.kind, error.code, error.http_status) == (REFUSAL.kind, REFUSAL.code, 402)
    assert is_certainly_not_accepted(error)


def test_an_attempt_that_was_not_sent_leaves_the_row_of_another_alone(journal: Journal) -> None:
    sent = attempt(body=b"first")
    record(journal, sent)
    unsent = sent._replace(identity=None, body=None, body_digest=None)

    for fallback_id in ("spare-1", "spare-2"):
        journal.record_unsent(unsent, REFUSAL, context=CONTEXT, fallback_id=fallback_id)

    found = {str(record.request_id): record.status for record in journal.recent()}
    assert found == {sent.request_id: "unknown", "spare-1": "refused", "spare-2": "refused"}


def test_an_accepted_attempt_is_its_task(journal: Journal) -> None:
    accepted = accept(journal)

    found = journal.find_attempt("omniedit-0000000000000001")

    assert found is not None
    assert found == journal.find_task(accepted.task_id)
    assert (found.status, found.task) == ("processing", accepted)
    assert found.identity == "identity-a"


def test_a_submission_sent_again_keeps_one_row(journal: Journal) -> None:
    made = attempt()
    record(journal, made)
    journal.record_refused(str(made.request_id), REFUSAL)
    record(journal, attempt(body=b"second"))

    assert len(journal.recent()) == 1
    found = journal.find_attempt(str(made.request_id))
    assert found is not None
    assert (found.status, found.body, found.error) == ("unknown", b"second", None)


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_query_and_body_go_once_the_task_has_ended(journal: Journal, status: str) -> None:
    accepted = accept(journal)
    before = journal.find_task(accepted.task_id)
    journal.record_task(task(status=status), origin=ORIGIN)
    after = journal.find_task(accepted.task_id)

    assert before
    assert before.video == "https://example.com/clip.mp4?signature=abc"
    assert after
    assert after.video == "https://example.com/clip.mp4"
    assert after.body is None
    assert (after.body_digest, after.identity) == ("digest-a", "identity-a")


def test_the_query_of_a_refused_clip_goes_at_once(journal: Journal) -> None:
    record(journal, attempt())
    journal.record_refused(str(attempt().request_id), REFUSAL)

    found = journal.find_attempt(str(attempt().request_id))

    assert found
    assert found.video == "https://example.com/clip.mp4"


def test_no_signature_is_left_in_the_file_of_an_ended_task(
    tmp_path: Path, journal: Journal
) -> None:
    accept(journal, body=b'{"video_urls": ["https://example.com/clip.mp4?signature=abc"]}')
    journal.record_task(task(status="completed"), origin=ORIGIN)

    rows = journal._database.rows("select * from attempts")

    assert all("signature" not in str(value) for row in rows for value in tuple(row))


def test_the_name_of_a_local_clip_stays_whole(journal: Journal) -> None:
    accepted = accept(journal, video="what?#1.mp4")
    journal.record_task(task(status="completed"), origin=ORIGIN)

    found = journal.find_task(accepted.task_id)

    assert found
    assert found.video == "what?#1.mp4"


def test_news_of_a_task_is_written_and_progress_is_not(journal: Journal) -> None:
    accepted = accept(journal)
    changes = journal._database.rows("select total_changes() as n")[0]["n"]

    journal.record_task(task(progress=40), origin=ORIGIN)
    journal.record_task(task(progress=80), origin=ORIGIN)
    assert journal._database.rows("select total_changes() as n")[0]["n"] == changes

    ended = task(status="completed", result_urls=("https://cdn.example/v.mp4",), credits_used=31.0)
    journal.record_task(ended, origin=ORIGIN, completed_after=5e9)
    found = journal.find_task(accepted.task_id)
    assert found
    assert found.task
    assert (found.status, found.task.progress, found.completed_after) == ("completed", 100, 5e9)
    assert (found.task.result_urls, found.task.credits_used) == (ended.result_urls, 31.0)


def test_a_task_that_is_not_known_here_is_not_taken_in(journal: Journal) -> None:
    journal.record_task(task(7, "completed"), origin=ORIGIN)

    assert journal.recent() == []


def test_what_a_poorer_reply_leaves_out_stays(journal: Journal) -> None:
    accepted = accept(journal)
    rich = task(
        status="completed",
        model="m",
        credits_reserved=31.8,
        credits_used=31.0,
        estimated_s=60.0,
        result_urls=("https://cdn.example/v.mp4",),
    )
    journal.record_task(rich, origin=ORIGIN, completed_after=5e9)
    journal.record_task(task(status="archived", created_at=None), origin=ORIGIN)

    found = journal.find_task(accepted.task_id)

    assert found
    assert found.task
    assert found.status == "archived"
    kept = found.task
    assert (kept.model, kept.credits_reserved, kept.credits_used) == ("m", 31.8, 31.0)
    assert (kept.estimated_s, kept.result_urls) == (60.0, rich.result_urls)
    assert (kept.created_at, found.completed_after) == (accepted.created_at, 5e9)


def test_last_is_the_newest_attempt_of_a_context_whatever_became_of_it(journal: Journal) -> None:
    accept(journal, 1)
    accept(journal, 2, context="github:7:clips")
    record(journal, attempt(3))
    journal.record_refused(str(attempt(3).request_id), REFUSAL)

    assert journal.last_call(CONTEXT) == Call(attempt(3).request_id)
    assert journal.last_call("github:7:clips") == Call(attempt(2).request_id)
    assert journal.last_call("github:8:clips") is None


def test_going_on_with_an_old_task_makes_it_the_last(journal: Journal) -> None:
    accept(journal, 1)
    accept(journal, 2)
    journal.record_call(CONTEXT, attempt(1).request_id)

    assert journal.last_call(CONTEXT) == Call(attempt(1).request_id)


def test_a_batch_has_no_last_task(journal: Journal) -> None:
    accept(journal, 1)
    journal.record_call(CONTEXT, None)
    accept(journal, 2, context=None)

    assert journal.last_call(CONTEXT) == Call(None)


def test_an_adopted_task_is_known_and_never_the_last(journal: Journal) -> None:
    journal.record_adopted(task(9, "completed"), origin=ORIGIN)

    found = journal.find_task(task(9).task_id)

    assert found
    assert (found.is_adopted, found.request_id, found.origin) == (True, None, ORIGIN)
    assert journal.last_call(CONTEXT) is None
    assert journal.recent() == [found]


def test_adopting_what_is_known_changes_no_owner(journal: Journal) -> None:
    accepted = accept(journal)
    journal.record_adopted(accepted, origin=ORIGIN)

    found = journal.find_task(accepted.task_id)

    assert found
    assert (found.is_adopted, found.request_id) == (False, attempt().request_id)


EDIT_CASES = [
    pytest.param([], None, id="never-tried"),
    pytest.param(["refused"], None, id="refused"),
    pytest.param(["unknown"], 1, id="unknown"),
    pytest.param(["processing"], 1, id="running"),
    pytest.param(["failed"], 1, id="failed"),
    pytest.param(["completed", "refused"], 1, id="completed-then-refused"),
    pytest.param(["completed", "failed"], 1, id="completed-then-failed"),
    pytest.param(["failed", "completed"], 2, id="failed-then-completed"),
    pytest.param(["failed", "failed"], 2, id="the-newest-of-the-failed"),
    pytest.param(["completed", "completed"], 2, id="the-newest-of-the-completed"),
    pytest.param(["unknown", "failed"], 1, id="unknown-then-failed"),
    pytest.param(["completed", "unknown"], 2, id="completed-then-unknown"),
    pytest.param(["cancelled", "refused", "failed"], 3, id="nothing-alive"),
]


@pytest.mark.parametrize(("history", "expected"), EDIT_CASES)
def test_what_was_accepted_and_did_not_fail_decides_about_an_edit(
    journal: Journal, history: list[str], expected: int | None
) -> None:
    for number, state in enumerate(history, start=1):
        made = attempt(number)
        record(journal, made)
        if state == "refused":
            journal.record_refused(str(made.request_id), REFUSAL)
        elif state != "unknown":
            journal.record_accepted(str(made.request_id), task(number, state), origin=ORIGIN)

    found = journal.find_edit("identity-a", origin=ORIGIN)

    assert (found and found.request_id) == (expected and attempt(expected).request_id)


def test_an_edit_belongs_to_its_origin_and_identity(journal: Journal) -> None:
    accept(journal)

    assert journal.find_edit("identity-a", origin="sandbox") is None
    assert journal.find_edit("identity-b", origin=ORIGIN) is None
    assert journal.find_edit("identity-a", origin=ORIGIN)


def test_a_task_is_found_by_the_end_of_its_id(journal: Journal) -> None:
    accept(journal, 12345678)
    accept(journal, 92345678)

    assert len(journal.tasks_ending_with("2345678")) == 2
    [found] = journal.tasks_ending_with("12345678")
    assert found.task_id == task(12345678).task_id
    assert journal.tasks_ending_with("%") == []
    assert journal.tasks_ending_with("_2345678") == []


def test_recent_is_newest_first_and_as_many_as_asked_for(journal: Journal) -> None:
    for number in range(1, 6):
        accept(journal, number)
    journal.record_adopted(task(9, created_at=1.0), origin=ORIGIN)

    numbers = [int(str(record.task_id)[-8:]) for record in journal.recent()]

    assert numbers == [5, 4, 3, 2, 1, 9]
    assert len(journal.recent(limit=2)) == 2


def test_saved_files_are_kept_in_order_one_row_a_path(journal: Journal) -> None:
    accepted = accept(journal)
    first = SavedFile(path="/a/out.mp4", size_bytes=1, sha256="00")
    second = SavedFile(path="/a/out-2.mp4", size_bytes=2, sha256="01")
    replaced = SavedFile(path="/a/out.mp4", size_bytes=3, sha256="02")
    for file in (first, second, replaced):
        journal.record_saved(accepted.task_id, file)

    found = journal.find_task(accepted.task_id)

    assert found
    assert found.saved == (second, replaced)


def test_a_result_that_is_gone_is_marked(journal: Journal) -> None:
    accepted = accept(journal, status="completed")
    journal.record_result_gone(accepted.task_id)

    found = journal.find_task(accepted.task_id)

    assert found
    assert found.is_result_gone


@pytest.mark.parametrize(
    ("before", "still_gone"),
    [
        pytest.param((), False, id="a-result-that-comes-late-is-here"),
        pytest.param(("https://r.example/1.mp4",), True, id="a-new-link-proves-nothing"),
    ],
)
def test_a_mark_goes_once_the_first_result_appears(
    journal: Journal, before: tuple[str, ...], still_gone: object
) -> None:
    task = replace(accept(journal, status="completed"), result_urls=before)
    journal.record_task(task, origin=ORIGIN)
    journal.record_result_gone(task.task_id)
    late = replace(task, result_urls=("https://r.example/2.mp4",))

    journal.record_task(late, origin=ORIGIN)

    found = journal.find_task(task.task_id)
    assert found
    assert found.is_result_gone is still_gone


def test_uploads_are_remembered_while_they_stay(journal: Journal, clock: Clock) -> None:
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


def test_an_upload_made_anew_replaces_the_old_one(journal: Journal, clock: Clock) -> None:
    for name in ("old", "new"):
        clip = UploadedClip(url=f"https://f.example/{name}", expires_at=clock.now + 7200)
        journal.record_upload("sha", clip, origin=ORIGIN, files_origin=FILES)

    found = journal.find_upload("sha", origin=ORIGIN, files_origin=FILES, valid_for_s=0)

    assert found
    assert found.url == "https://f.example/new"


def test_an_upload_that_the_service_has_forgotten_is_forgotten(
    journal: Journal, clock: Clock
) -> None:
    clip = UploadedClip(url="https://f.example/c.mp4", expires_at=clock.now + 7200)
    for sha256 in ("sha", "same-again"):
        journal.record_upload(sha256, clip, origin=ORIGIN, files_origin=FILES)

    journal.forget_upload(clip.url)

    for sha256 in ("sha", "same-again"):
        found = journal.find_upload(sha256, origin=ORIGIN, files_origin=FILES, valid_for_s=0)
        assert found is None


def test_an_attempt_of_unknown_outcome_is_settled_with_a_task(journal: Journal) -> None:
    made = attempt()
    record(journal, made)
    journal.record_unknown(str(made.request_id), TaskError(code="network", message="cut"))
    journal.record_adopted(task(), origin=ORIGIN)

    journal.settle_attempt(str(made.request_id), task(), origin=ORIGIN)

    found = journal.find_edit("identity-a", origin=ORIGIN)
    assert found
    assert (found.request_id, found.task, found.error) == (str(made.request_id), task(), None)
    assert not found.is_adopted
    assert len(journal.recent()) == 1


def test_forgetting_an_attempt_leaves_no_trace_of_it(journal: Journal) -> None:
    accept(journal, 1)
    record(journal, attempt(2))

    journal.forget_attempt(str(attempt(2).request_id))

    assert journal.find_attempt(str(attempt(2).request_id)) is None
    assert journal.last_call(CONTEXT) == Call(attempt(1).request_id)


def test_an_attempt_with_a_task_is_not_forgotten_as_an_attempt(journal: Journal) -> None:
    accepted = accept(journal)

    journal.forget_attempt(str(attempt().request_id))

    assert journal.find_task(accepted.task_id)
    assert journal.find_attempt(str(attempt().request_id))
    assert journal.last_call(CONTEXT) == Call(attempt().request_id)


def test_forgetting_an_edit_leaves_no_trace_of_it(journal: Journal) -> None:
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


def test_one_kept_in_memory_forgets_everything_and_locks_nothing(clock: Clock) -> None:
    with Journal(None, clock=clock) as journal:
        accept(journal)
        with journal.locked("editing", "identity-a"), journal.locked("sending", "x"):
            assert not journal.is_persistent
            assert len(journal.recent()) == 1
    with Journal(None, clock=clock) as journal:
        assert journal.recent() == []


@pytest.mark.parametrize(
    "ends",
    [
        pytest.param("refused", id="refused-as-wrong"),
        pytest.param("failed", id="failed-over-its-input"),
    ],
)
def test_an_upload_that_the_service_did_not_find_is_not_sent_again(
    journal: Journal, ends: str
) -> None:
    url = "https://files.example.com/clip.mp4"
    journal.record_upload(
        "sha", UploadedClip(url=url, expires_at=1e12), origin=ORIGIN, files_origin=ORIGIN
    )
    record(journal, attempt(body=f'{{"video_urls": ["{url}"]}}'.encode()))

    if ends == "refused":
        error = TaskError(code="invalid_request", message="no", kind="request_refused")
        journal.record_refused("omniedit-0000000000000001", error)
    else:
        error = TaskError(code="resource_not_found", message="no such file")
        journal.record_accepted("omniedit-0000000000000001", task(), origin=ORIGIN)
        journal.record_task(task(status="failed", error=error), origin=ORIGIN)

    found = journal.find_upload("sha", origin=ORIGIN, files_origin=ORIGIN, valid_for_s=0.0)
    assert found is None
