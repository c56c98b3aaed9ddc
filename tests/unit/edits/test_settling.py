"""Settled submissions stay settled, unknown outcomes are never guessed, nothing is paid twice."""

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from email.utils import formatdate
from pathlib import Path

import httpx
import pytest

from omniedit.edits.edit import EditOptions, edit
from omniedit.edits.manifest import parse_manifest
from omniedit.edits.reads import TaskOutcome, read_all
from omniedit.edits.records import (
    find_records,
    forget,
    is_unsaved,
    list_account,
    unsaved_results,
)
from omniedit.edits.requests import prepare
from omniedit.edits.session import Connection, Session
from omniedit.edits.settling import resume, settle_as
from omniedit.edits.submit import submit
from omniedit.edits.targets import Destination
from omniedit.edits.upload import uploaded_url
from omniedit.edits.wait import download, follow
from omniedit.errors import (
    Hint,
    IdempotencyConflictError,
    Interrupted,
    InvalidInputError,
    NetworkError,
    NoSuchReferenceError,
    NotReplayedError,
    OmniEditError,
    OutcomeUnknownError,
    RateLimitedError,
    RequestRefusedError,
    ResultGoneError,
    TaskNotFoundError,
    UnavailableError,
    WaitTimeoutError,
)
from omniedit.events import Noted, Retrying, Warned
from omniedit.journal import Journal
from omniedit.models import MODELS, EditRequest, Record, SavedFile, Task, UploadedClip
from omniedit.policy import DEFAULT
from omniedit.sandbox.clips import BUNDLED_CLIP
from tests.journals import attempt
from tests.unit.edits.bench import (
    BASE_URL,
    CLIP_URL,
    MODEL,
    NOW,
    RESULTS_URL,
    BenchSession,
    VirtualClock,
    completed,
    record_of,
    running,
)

REQUEST = EditRequest(video=CLIP_URL, prompt="warmer")
HOUR_S = 3600.0


def options(
    output: str | None = "out.mp4", *, force: bool = False, timeout_s: float = 1800.0
) -> EditOptions:
    return EditOptions(destination=Destination(output, overwrite=force), timeout_s=timeout_s)


def lose_replies(session: BenchSession) -> None:
    """Lose the reply to every submission."""

    def on_submit(_: str) -> Task:
        msg = "reset"
        raise NetworkError(msg)

    session.script.on_submit = on_submit


def submit_with_lost_reply(session: BenchSession) -> str:
    """Submit an edit whose replies are lost; return its request ID."""
    lose_replies(session)
    with pytest.raises(OutcomeUnknownError) as raised:
        submit(session, REQUEST)
    session.script.on_submit = lambda _: completed("task-1")
    assert raised.value.request_id is not None
    return raised.value.request_id


@pytest.mark.parametrize("status", ["refused", "unknown", "sending", "REFUSED "])
def test_a_task_status_like_an_attempt_state_pays_only_once(
    session: BenchSession, status: str
) -> None:
    session.script.on_submit = lambda _: running("task-1")._replace(status=status)
    session.script.on_read = lambda _: running("task-1")._replace(status=status)
    for _ in range(2):
        with pytest.raises(WaitTimeoutError):
            edit(session, REQUEST, options(timeout_s=60.0))

    assert session.script.prompts == ["warmer"]


def test_an_attempt_old_by_the_services_clock_is_not_replayed(
    session: BenchSession,
) -> None:
    request_id = submit_with_lost_reply(session)
    submissions = len(session.script.prompts)
    # 25 hours have passed, but this machine's clock still shows the time of the attempt.
    session.script.headers = {"date": formatdate(NOW + 25 * HOUR_S, usegmt=True)}

    with pytest.raises(OutcomeUnknownError, match="25 h old"):
        resume(session, request_id)

    assert len(session.script.prompts) == submissions


def test_an_attempt_dated_in_the_future_is_not_replayed(session: BenchSession) -> None:
    request_id = submit_with_lost_reply(session)
    submissions = len(session.script.prompts)
    session.time.advance(-2 * HOUR_S)

    with pytest.raises(OutcomeUnknownError, match="dated in the future"):
        resume(session, request_id)

    assert len(session.script.prompts) == submissions


def submit_with_lost_reply_and_fast_clock(session: BenchSession, ahead_s: float) -> str:
    """Leave an outcome unknown while this machine's clock is ahead, then correct the clock."""
    session.script.headers = {"date": formatdate(NOW - ahead_s, usegmt=True)}
    request_id = submit_with_lost_reply(session)
    session.time.advance(-ahead_s)
    return request_id


def pass_time(session: BenchSession, seconds: float) -> None:
    """Let time pass, both on this machine and on the service."""
    session.time.advance(seconds)
    now = session.now()
    session.script.headers = {"date": formatdate(now, usegmt=True)}


def test_a_task_is_found_after_an_attempt_with_a_fast_clock(
    session: BenchSession,
) -> None:
    request_id = submit_with_lost_reply_and_fast_clock(session, HOUR_S)
    session.script.account_tasks = [running("task-1")._replace(created_at=NOW - HOUR_S)]
    pass_time(session, 3 * HOUR_S)

    with pytest.raises(OutcomeUnknownError, match="3 h old") as raised:
        resume(session, request_id)

    assert f"submit --resume {request_id} --as task-1" in str(raised.value.hint)


def test_an_attempts_age_is_measured_by_the_services_clock(session: BenchSession) -> None:
    request_id = submit_with_lost_reply_and_fast_clock(session, 0.5 * HOUR_S)
    submissions = len(session.script.prompts)
    # By this machine's clock, 50 minutes have passed.
    pass_time(session, HOUR_S + 0.5 * HOUR_S - 600)

    with pytest.raises(OutcomeUnknownError, match="1 h old"):
        resume(session, request_id)

    assert len(session.script.prompts) == submissions


def test_a_date_that_stands_still_makes_no_attempt_younger(session: BenchSession) -> None:
    session.script.headers = {"date": formatdate(NOW, usegmt=True)}
    request_id = submit_with_lost_reply(session)
    submissions = len(session.script.prompts)
    session.time.advance(5 * HOUR_S)

    with pytest.raises(OutcomeUnknownError, match="5 h old"):
        resume(session, request_id)

    assert len(session.script.prompts) == submissions


def test_an_attempt_is_replayed_soon_after_a_slow_clock_was_corrected(
    session: BenchSession,
) -> None:
    behind_s = 5 * HOUR_S
    session.script.headers = {"date": formatdate(NOW + behind_s, usegmt=True)}
    request_id = submit_with_lost_reply(session)
    session.time.advance(behind_s)

    assert resume(session, request_id).task_id == "task-1"


def test_an_attempt_without_a_reply_is_searched_for_a_day_back(session: BenchSession) -> None:
    # The state left by a process that was killed while submitting.
    body = prepare(session, REQUEST).body(clip_url=CLIP_URL)
    request_id = "request-of-a-killed-process"
    killed = attempt(request_id, prompt=REQUEST.prompt, origin=session.origin, body=body)
    session.journal.record_attempt(killed, context=None)
    session.script.account_tasks = [running("task-1")._replace(created_at=NOW - 20 * HOUR_S)]
    pass_time(session, 2 * HOUR_S)

    with pytest.raises(OutcomeUnknownError) as raised:
        resume(session, request_id)

    assert f"submit --resume {request_id} --as task-1" in str(raised.value.hint)


def list_two_hours_later(session: BenchSession, *task_ids: str) -> None:
    """Let two hours pass; then the account lists these tasks from the time of the attempt."""
    session.script.headers = {"date": formatdate(NOW + 2 * HOUR_S, usegmt=True)}
    session.script.account_tasks = [running(each)._replace(created_at=NOW) for each in task_ids]
    session.time.advance(2 * HOUR_S)


def test_tasks_of_other_submissions_are_not_listed_as_candidates(session: BenchSession) -> None:
    session.script.headers = {"date": formatdate(NOW, usegmt=True)}
    request_id = submit_with_lost_reply(session)
    session.script.on_submit = lambda _: completed("task-2")
    submit(session, REQUEST._replace(prompt="other"))
    list_two_hours_later(session, "task-2")

    with pytest.raises(NotReplayedError):
        resume(session, request_id)

    messages = [event.message for event in session.reported(Warned)]
    assert not any("task-2" in message for message in messages)
    assert any("UTC, except of submissions from here" in message for message in messages)


def test_the_only_possible_task_of_an_old_attempt_is_named(session: BenchSession) -> None:
    request_id = submit_with_lost_reply(session)
    list_two_hours_later(session, "task-1")

    with pytest.raises(OutcomeUnknownError) as raised:
        resume(session, request_id)

    assert f"submit --resume {request_id} --as task-1" in str(raised.value.hint)


def test_several_possible_tasks_leave_a_placeholder_in_the_hint(
    session: BenchSession,
) -> None:
    request_id = submit_with_lost_reply(session)
    list_two_hours_later(session, "task-2", "task-1")

    with pytest.raises(OutcomeUnknownError) as raised:
        resume(session, request_id)

    assert f"submit --resume {request_id} --as TASK" in str(raised.value.hint)


def test_several_old_attempts_leave_a_placeholder_in_the_hint(session: BenchSession) -> None:
    submit_with_lost_reply(session)
    request_id = submit_with_lost_reply(session)
    list_two_hours_later(session, "task-1")

    with pytest.raises(OutcomeUnknownError) as raised:
        resume(session, request_id)

    assert f"submit --resume {request_id} --as TASK" in str(raised.value.hint)


def test_a_submission_without_a_body_has_recovery_commands(session: BenchSession) -> None:
    request_id = "request-of-long-ago"
    lost = attempt(request_id, prompt=REQUEST.prompt, origin=session.origin, body=None)
    session.journal.record_attempt(lost, context=None)

    with pytest.raises(OutcomeUnknownError) as raised:
        resume(session, request_id)

    hint = str(raised.value.hint)
    assert f"submit --resume {request_id} --as TASK" in hint
    assert f"list --forget {request_id}" in hint


def test_a_report_of_no_task_names_the_start_of_the_search(
    session: BenchSession,
) -> None:
    session.script.headers = {"date": formatdate(NOW, usegmt=True)}
    request_id = submit_with_lost_reply(session)
    list_two_hours_later(session)

    with pytest.raises(OutcomeUnknownError) as raised:
        resume(session, request_id)

    assert str(raised.value.hint).startswith("it was probably never accepted: `omniedit submit")
    since = datetime.fromtimestamp(NOW - DEFAULT.clock_skew_s, UTC)
    (message,) = [
        event.message for event in session.reported(Warned) if "lists no" in event.message
    ]
    assert message == f"the account lists no task since {since:%Y-%m-%d %H:%M} UTC"


def test_a_second_task_is_found_despite_a_fast_clock(session: BenchSession) -> None:
    request_id = submit_with_lost_reply(session)
    service_now = NOW - 300
    session.script.headers = {"date": formatdate(service_now, usegmt=True)}
    session.script.account_tasks = [running("task-2")._replace(created_at=service_now - 10)]

    resume(session, request_id)

    assert any("task-2" in event.message for event in session.reported(Warned))


def test_a_replay_without_a_second_task_is_said_to_be_accepted_once(session: BenchSession) -> None:
    request_id = submit_with_lost_reply(session)
    session.script.headers = {"date": formatdate(NOW, usegmt=True)}
    session.script.account_tasks = [completed("task-1")]

    resume(session, request_id)

    assert session.reported(Warned) == []
    assert any("accepted once: the account lists no" in e.message for e in session.reported(Noted))


def test_submitting_an_edit_with_unknown_outcome_again_names_its_submission(
    session: BenchSession,
) -> None:
    request_id = submit_with_lost_reply(session)

    submit(session, REQUEST)

    [note] = [event.message for event in session.reported(Noted) if "same edit" in event.message]
    assert note == (
        f"the same edit was submitted as {request_id}, with unknown outcome;"
        " `omniedit edit` would not pay again"
    )


def test_a_second_task_is_not_ruled_out_without_a_service_time(session: BenchSession) -> None:
    request_id = submit_with_lost_reply(session)

    resume(session, request_id)

    assert not any("no second task" in event.message for event in session.reported(Noted))
    assert any("may have been paid for" in event.message for event in session.reported(Warned))


@pytest.mark.parametrize(
    "listed",
    [
        pytest.param([], id="nothing"),
        pytest.param([running("task-0")._replace(created_at=NOW - 48 * HOUR_S)], id="older-tasks"),
    ],
)
def test_a_list_without_the_accepted_task_rules_out_no_second_one(
    session: BenchSession, listed: list[Task]
) -> None:
    session.script.headers = {"date": formatdate(NOW, usegmt=True)}
    request_id = submit_with_lost_reply(session)
    session.script.account_tasks = listed

    resume(session, request_id)

    assert not any("no second task" in event.message for event in session.reported(Noted))
    (warning,) = [event.message for event in session.reported(Warned)]
    assert warning.endswith("(the account's list does not even show task-1)")


def test_the_search_for_a_second_task_keeps_to_the_timeout() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET" and request.url.path == "/v1/tasks":
            pages.append(session.time.now)
            return httpx.Response(503)
        if request.method == "POST" and not replies:
            replies.append(request)
            session.time.advance(13)
            return httpx.Response(503)
        return session.script(request)

    pages: list[float] = []
    replies: list[httpx.Request] = []
    session = BenchSession(transport=answer)
    session.script.on_read = completed

    edit(session, REQUEST, options(timeout_s=15.0))

    assert pages
    assert max(pages) <= 15.0


def test_a_task_of_another_service_is_not_looked_for_again(session: BenchSession) -> None:
    session.context = session.recorded_context = "user:0"
    submit(session, REQUEST)
    session.script.on_read = lambda _: None
    session.origin = "https://other.example.com"

    [record] = find_records(session, [], command="wait TASK")
    ((_, error),) = follow(session, [record], None, timeout_s=60.0)

    assert isinstance(error, TaskNotFoundError)
    assert f"submitted at {BASE_URL}, not at https://other.example.com" in error.message
    assert len(session.script.single_reads) == 1
    notes = [event.message for event in session.reported(Noted)]
    assert f"task warmer (the newest, submitted at {BASE_URL})" in notes


def test_an_unknown_submission_settles_as_the_named_task(session: BenchSession, cwd: Path) -> None:
    request_id = submit_with_lost_reply(session)
    session.script.on_read = completed

    settled = settle_as(session, request_id, "task-9")
    edit(session, REQUEST, options())

    assert settled.task_id == "task-9"
    assert (cwd / "out.mp4").exists()
    assert "task-1" not in {record.task_id for record in session.journal.recent()}


def test_a_submission_is_settled_by_the_end_of_a_task_id(session: BenchSession) -> None:
    request_id = submit_with_lost_reply(session)
    session.script.on_read = completed
    session.journal.record_adopted(running("task-unified-1-abcdefgh"), origin=session.origin)

    settled = settle_as(session, request_id, "abcdefgh")

    assert settled.task_id == "task-unified-1-abcdefgh"


def test_an_ambiguous_end_of_a_task_id_settles_nothing(session: BenchSession) -> None:
    request_id = submit_with_lost_reply(session)
    session.script.on_read = completed
    for task_id in ("task-1-abcdefgh", "task-2-abcdefgh"):
        session.journal.record_adopted(running(task_id), origin=session.origin)

    with pytest.raises(NoSuchReferenceError, match="2 tasks end with abcdefgh"):
        settle_as(session, request_id, "abcdefgh")

    known = session.journal.find_attempt(request_id)
    assert known is not None
    assert known.is_unsettled


def test_an_end_of_a_task_id_may_be_that_of_a_request_id_without_a_task(
    session: BenchSession,
) -> None:
    submit_with_lost_reply(session)
    session.journal.record_adopted(running("task-unified-00000000"), origin=session.origin)

    [found] = find_records(session, ["00000000"], command="status TASK")

    assert found.task_id == "task-unified-00000000"
    with pytest.raises(NoSuchReferenceError, match="2 tasks or submissions end with 00000000"):
        forget(session, "00000000")


def test_a_conflict_can_be_settled(session: BenchSession) -> None:
    def conflict(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            error = {"code": "idempotency_conflict", "message": "another body"}
            return httpx.Response(409, json={"error": error})
        return session.script(request)

    session = BenchSession(transport=conflict)
    session.script.on_read = completed
    with pytest.raises(IdempotencyConflictError) as raised:
        edit(session, REQUEST, options())
    request_id = raised.value.request_id
    assert request_id is not None
    assert f"submit --resume {request_id} --as TASK" in str(raised.value.hint)

    settle_as(session, request_id, "task-9")
    record = edit(session, REQUEST, options())
    session.close()

    assert record.task_id == "task-9"


def test_a_conflict_without_a_journal_points_to_the_remote_list() -> None:
    error = {"code": "idempotency_conflict", "message": "another body"}
    session = BenchSession(transport=lambda _: httpx.Response(409, json={"error": error}))
    session.has_journal = False

    with pytest.raises(IdempotencyConflictError) as raised:
        submit(session, REQUEST)

    assert str(raised.value.hint) == "`omniedit list --remote` shows the task it became"


def adopt_task(session: BenchSession) -> None:
    session.journal.record_adopted(completed("task-9"), origin=session.origin)


def submit_other_edit(session: BenchSession) -> None:
    session.script.on_submit = lambda _: completed("task-9")
    submit(session, REQUEST._replace(prompt="other"))


@pytest.mark.parametrize(
    ("arrange", "is_refused"),
    [
        pytest.param(adopt_task, False, id="adopted-task"),
        pytest.param(submit_other_edit, True, id="task-of-another-submission"),
    ],
)
def test_a_task_settles_only_one_submission(
    session: BenchSession, *, arrange: Callable[[BenchSession], None], is_refused: bool
) -> None:
    request_id = submit_with_lost_reply(session)
    arrange(session)
    session.script.on_read = completed

    if is_refused:
        with pytest.raises(InvalidInputError, match="is the task of submission"):
            settle_as(session, request_id, "task-9")
    else:
        assert settle_as(session, request_id, "task-9").task_id == "task-9"


def test_a_task_of_another_model_settles_nothing(session: BenchSession) -> None:
    request_id = submit_with_lost_reply(session)

    def reply(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"id": "task-9", "status": "completed", "model": "other"})

    other = BenchSession(transport=reply)
    other.journal = session.journal

    with pytest.raises(InvalidInputError, match="another model"):
        settle_as(other, request_id, "task-9")


def test_a_submission_is_not_forgotten_while_it_is_sent(tmp_path: Path) -> None:
    session = BenchSession(folder=tmp_path / "private")
    session.journal = Journal(tmp_path, clock=session.now)
    refusals: list[str] = []

    def on_submit(_: str) -> Task:
        with Journal(tmp_path) as journal:
            other = BenchSession(folder=tmp_path / "private")
            other.journal = journal
            (sending,) = journal.recent()
            with pytest.raises(WaitTimeoutError, match="still sending") as raised:
                forget(other, str(sending.request_id))
            refusals.append(raised.value.message)
        return completed("task-1")

    session.script.on_submit = on_submit

    record = submit(session, REQUEST)

    assert len(refusals) == 1
    assert [known.task_id for known in session.journal.recent()] == [record.task_id]


def test_a_task_whose_attempt_left_the_journal_is_listed(session: BenchSession) -> None:
    def on_submit(_: str) -> Task:
        session.journal.clear()
        return completed("task-1")

    session.script.on_submit = on_submit

    submit(session, REQUEST)

    assert [known.task_id for known in session.journal.recent()] == ["task-1"]


def test_nothing_is_replayed_after_the_machine_was_suspended(session: BenchSession) -> None:
    lose_replies(session)
    session.on_report = lambda event: (
        session.time.advance(2 * HOUR_S) if isinstance(event, Retrying) else None
    )

    with pytest.raises(OutcomeUnknownError):
        submit(session, REQUEST)

    assert len(session.script.prompts) == 1


def test_nothing_is_replayed_after_the_clock_was_set_back(session: BenchSession) -> None:
    lose_replies(session)
    session.on_report = lambda event: (
        setattr(session, "now", lambda: NOW - 2 * HOUR_S) if isinstance(event, Retrying) else None
    )

    with pytest.raises(OutcomeUnknownError, match="its clock was changed"):
        submit(session, REQUEST)

    assert len(session.script.prompts) == 1


def test_a_replay_may_wait_its_turn_for_an_hour(session: BenchSession) -> None:
    slow = BenchSession(submission_interval_s=0.25 * HOUR_S, clock=session.time)
    lose_replies(slow)
    for _ in range(5):
        slow.rate_limiter.wait()
    slow.on_report = lambda event: (
        setattr(slow.script, "on_submit", lambda _: completed("task-1"))
        if isinstance(event, Retrying)
        else None
    )

    record = submit(slow, REQUEST)

    assert record.task_id == "task-1"
    assert len(slow.script.prompts) == 2


def test_a_replay_that_waited_its_turn_for_too_long_is_not_sent(session: BenchSession) -> None:
    request_id = submit_with_lost_reply(session)
    slow = BenchSession(submission_interval_s=2 * HOUR_S, clock=session.time)
    slow.journal = session.journal
    slow.rate_limiter.wait()

    with pytest.raises(OutcomeUnknownError):
        resume(slow, request_id)

    assert slow.script.prompts == []


def test_a_failure_with_any_code_is_replayed_once() -> None:
    """The service may use one of the codes by which omniedit knows errors that do not pass."""
    posts: list[str] = []

    def fail(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            posts.append(request.headers["idempotency-key"])
        return httpx.Response(500, json={"error": {"code": "certificate", "message": "down"}})

    with pytest.raises(OutcomeUnknownError):
        submit(BenchSession(transport=fail), REQUEST)

    assert len(posts) == 2
    assert len(set(posts)) == 1


@pytest.mark.parametrize("timeout_s", [30.0, 1800.0])
def test_a_pause_after_a_rate_limit_uses_up_the_time_for_retries(
    session: BenchSession, timeout_s: float
) -> None:
    """Other edits of a batch hit the limit first; `--timeout` and the budget count for all."""
    latest_s = min(timeout_s, session.policy.submit_budget_s)
    limited = RateLimitedError("too many requests", retry_after_s=10.0)

    def on_submit(_: str) -> Task:
        raise limited

    session.script.on_submit = on_submit
    session.rate_limiter.slow_down(latest_s - 5.0)

    with pytest.raises(RateLimitedError):
        edit(session, REQUEST, options(timeout_s=timeout_s))

    assert len(session.script.prompts) == 1
    assert session.time.now <= latest_s


def test_settling_an_unknown_submission_keeps_to_the_timeout(session: BenchSession) -> None:
    submit_with_lost_reply(session)
    limits: list[float] = []

    def note_limit(request: httpx.Request) -> httpx.Response:
        limits.append(request.extensions["timeout"]["read"].left_s())
        return session.script(request)

    other = BenchSession(transport=note_limit)
    other.journal = session.journal
    session.script.on_submit = lambda _: running("task-1")

    with pytest.raises(WaitTimeoutError):
        edit(other, REQUEST, options(timeout_s=3.0))

    policy = session.policy
    assert max(limits) <= policy.duplicates_budget_s + policy.last_reply_s, limits


def test_reading_many_tasks_of_a_dead_service_ends_soon(session: BenchSession) -> None:
    def hang(request: httpx.Request) -> httpx.Response:
        dead.time.advance(request.extensions["timeout"]["read"].left_s())
        msg = "timed out"
        raise httpx.ReadTimeout(msg, request=request)

    dead = BenchSession(transport=hang)
    records = [record_of(running(f"task-{number}")) for number in range(5)]

    errors = [error for _, error in read_all(dead, records)]

    policy = session.policy
    assert all(isinstance(error, UnavailableError) for error in errors)
    latest_s = policy.read_budget_s + policy.connect_timeout_s
    assert dead.time.now <= latest_s + len(records) * policy.last_reply_s


def test_single_reads_have_time_of_their_own_after_a_batch_read_that_hangs(
    session: BenchSession,
) -> None:
    def hang(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/batch"):
            slow.time.advance(request.extensions["timeout"]["read"].left_s())
            msg = "timed out"
            raise httpx.ReadTimeout(msg, request=request)
        slow.time.advance(2.5)
        return session.script(request)

    slow = BenchSession(transport=hang)
    records = [record_of(running(f"task-{number}")) for number in range(3)]

    assert [error for _, error in read_all(slow, records)] == [None, None, None]


def test_forgetting_a_submission_warns_of_paying_again(
    session: BenchSession,
) -> None:
    request_id = submit_with_lost_reply(session)

    forget(session, request_id)

    assert session.journal.find_attempt(request_id) is None
    assert any("may pay again" in event.message for event in session.reported(Warned))
    with pytest.raises(NoSuchReferenceError):
        resume(session, request_id)


def test_forgetting_the_last_edit_never_suggests_to_forget_a_paid_one(
    session: BenchSession,
) -> None:
    session.context = session.recorded_context = "user:0"
    session.script.on_submit = lambda _: completed("task-paid")
    submit(session, REQUEST._replace(prompt="paid"))
    submit_with_lost_reply(session)

    with pytest.raises(OutcomeUnknownError) as raised:
        forget(session, "last")

    assert isinstance(raised.value.hint, Hint)
    assert raised.value.hint.commands[-1] == "status task-paid"


def submit_two_edits_of_one_task(session: BenchSession) -> list[str]:
    """Submit two edits to which the service answers with the same task; return the warnings."""
    session.script.on_submit = lambda _: completed("task-of-both")
    for prompt in ("warmer", "colder"):
        submit(session, REQUEST._replace(prompt=prompt))
    return [event.message for event in session.reported(Warned)]


def test_one_task_for_two_edits_is_warned_of_and_both_are_kept(session: BenchSession) -> None:
    (warning,) = submit_two_edits_of_one_task(session)

    assert "task-of-both, which is already the task of another edit" in warning
    assert [record.prompt for record in session.journal.recent()] == ["colder", "warmer"]


def test_submitting_one_edit_twice_may_give_the_same_task(session: BenchSession) -> None:
    session.script.on_submit = lambda _: completed("task-1")
    for _ in range(2):
        submit(session, REQUEST)

    assert session.reported(Warned) == []


def test_a_task_of_two_edits_is_forgotten_by_its_end(session: BenchSession) -> None:
    submit_two_edits_of_one_task(session)

    assert forget(session, "of-both").task_id == "task-of-both"

    assert session.journal.recent() == []


def test_nothing_is_submitted_once_the_session_stops(session: BenchSession) -> None:
    session.rate_limiter.slow_down(0.0)
    session.stop()

    with pytest.raises(Interrupted):
        submit(session, REQUEST)

    assert session.script.prompts == []


def test_a_signal_while_an_attempt_is_recorded_lets_it_be_sent(
    session: BenchSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise `list` would show an attempt that never left this machine."""
    record_attempt = session.journal.record_attempt

    def record_and_stop(attempt: Record, *, context: str | None, key_digest: str) -> None:
        record_attempt(attempt, context=context, key_digest=key_digest)
        session.stop()

    monkeypatch.setattr(session.journal, "record_attempt", record_and_stop)

    submit(session, REQUEST)

    assert session.script.prompts == ["warmer"]


def test_a_request_id_of_another_origin_is_refused(session: BenchSession) -> None:
    request = REQUEST._replace(request_id="ci-run-1-of-the-first")
    submit(session, request)
    session.origin = "https://other.example.com"

    with pytest.raises(InvalidInputError, match="used here at"):
        submit(session, request)

    assert len(session.script.prompts) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param({"take": "1"}, {"take": "0001"}, id="leading-zeros"),
        pytest.param({"take": "1"}, {}, id="take-1-is-the-default"),
        pytest.param({"start": "1"}, {"start": "1.0"}, id="start-times"),
        pytest.param({"prompt": "a\nb"}, {"prompt": "a\r\nb \t\n"}, id="prompt-white-space"),
    ],
)
def test_equivalent_lines_share_a_shard(one: dict[str, str], other: dict[str, str]) -> None:
    base_fields = {"video": "a.mp4", "prompt": "warmer"}
    rows = "\n".join(json.dumps(base_fields | fields) for fields in (one, other))

    lines = parse_manifest(rows.encode(), name="m.jsonl", model=MODEL).lines

    shards = [[index for index in range(1, 65) if line.is_in_shard(index, 64)] for line in lines]

    assert shards[0] == shards[1]


def with_two_results(task_id: str) -> Task:
    urls = (f"{RESULTS_URL}/{task_id}.mp4", f"{RESULTS_URL}/{task_id}-b.mp4")
    return completed(task_id)._replace(result_urls=urls)


def test_a_missing_second_result_is_saved_by_the_next_run(session: BenchSession, cwd: Path) -> None:
    session.script.on_submit = lambda _: with_two_results("task-1")
    session.script.on_read = with_two_results
    edit(session, REQUEST, options())
    (cwd / "out-2.mp4").unlink()

    edit(session, REQUEST, options())

    assert (cwd / "out-2.mp4").exists()


@pytest.mark.parametrize("name", ["out.mp4", "out-2.mp4"])
def test_a_task_is_unsaved_until_every_result_is_saved(
    session: BenchSession, cwd: Path, name: str
) -> None:
    session.script.on_submit = lambda _: with_two_results("task-1")
    session.script.on_read = with_two_results
    edit(session, REQUEST, options())

    before = list(unsaved_results(session))
    (cwd / name).unlink()

    assert before == []
    assert [record.task_id for record, _ in unsaved_results(session)] == ["task-1"]


def test_a_saved_path_without_a_name_is_no_bug() -> None:
    root = Path("/")
    file = SavedFile(str(root), root.stat().st_size, "0" * 64)

    assert not is_unsaved(record_of(completed("task-1"), saved=(file,)))


def test_several_results_are_refused_on_stdout(session: BenchSession) -> None:
    session.script.on_read = with_two_results

    _, error = download(session, record_of(running("task-1")), Destination("-"))

    assert "2 results" in str(error)


def save_then_forget(session: BenchSession) -> Record:
    """Save an edit; an hour later the service no longer knows its task."""
    session.script.on_read = completed
    record = edit(session, REQUEST, options())
    session.time.advance(HOUR_S)
    session.script.on_read = lambda _: None
    return record


def test_a_finished_task_forgotten_by_the_service_is_gone(session: BenchSession, cwd: Path) -> None:
    save_then_forget(session)
    (cwd / "out.mp4").unlink()

    with pytest.raises(ResultGoneError, match="no longer knows"):
        edit(session, REQUEST, options())


@pytest.mark.parametrize(
    "read",
    [
        pytest.param(
            lambda session, record: follow(session, [record], None, timeout_s=60.0), id="wait"
        ),
        pytest.param(lambda session, record: read_all(session, [record]), id="status"),
    ],
)
def test_wait_and_status_report_a_forgotten_task_as_gone(
    session: BenchSession, cwd: Path, read: Callable[[Session, Record], Iterable[TaskOutcome]]
) -> None:
    record = save_then_forget(session)

    ((_, error),) = read(session, record)

    assert isinstance(error, ResultGoneError)


def test_a_task_forgotten_as_its_link_expires_is_gone(session: BenchSession) -> None:
    replies = iter([completed("task-1")])
    session.script.on_read = lambda _: next(replies, None)

    def expire_link(_: str) -> None:
        msg = "expired"
        raise RequestRefusedError(msg)

    session.script.on_download = expire_link

    _, error = download(session, record_of(running("task-1")), Destination("out.mp4"))

    assert isinstance(error, ResultGoneError)
    assert "no longer knows" in error.message


@pytest.mark.parametrize("other", ["service", "key"])
def test_another_service_or_account_never_marks_a_result_as_gone(
    session: BenchSession, other: str
) -> None:
    session.script.on_submit = completed
    record = submit(session, REQUEST)
    session.script.on_read = lambda _: None
    session.time.advance(3600)
    if other == "key":
        session.connection = Connection(BASE_URL, BASE_URL, "sk-evo-other")
    else:
        session.origin = "https://other.example"

    [(_, error)] = read_all(session, [record])

    assert isinstance(error, TaskNotFoundError)
    found = session.journal.find_task(str(record.task_id))
    assert found
    assert not found.is_result_gone


def test_a_completed_task_can_be_gone_within_its_first_minute(session: BenchSession) -> None:
    session.script.on_submit = completed
    record = submit(session, REQUEST)
    session.script.on_read = lambda _: None

    [(_, error)] = read_all(session, [record])

    assert isinstance(error, ResultGoneError)
    # It was read again before it counted as gone.
    assert len(session.script.single_reads) > 1


def test_a_running_task_unknown_to_the_service_is_skipped(
    session: BenchSession,
) -> None:
    session.script.on_submit = lambda _: running("task-1")
    submit(session, REQUEST)
    session.time.advance(HOUR_S)
    session.script.on_read = lambda _: None

    assert list(unsaved_results(session)) == []


def test_an_edit_waits_for_a_task_a_replica_does_not_know_yet(
    session: BenchSession, cwd: Path
) -> None:
    session.script.on_submit = lambda _: running("task-1")
    session.script.on_read = lambda task_id: completed(task_id) if session.time.now > 20 else None

    edit(session, REQUEST, options())

    assert (cwd / "out.mp4").exists()


@pytest.mark.parametrize(("known_after_s", "error"), [(10.0, None), (90.0, UnavailableError)])
def test_a_fresh_task_is_read_again_before_it_counts_as_unknown(
    session: BenchSession, known_after_s: float, error: type[OmniEditError] | None
) -> None:
    session.script.on_submit = lambda _: running("task-1")
    submitted = submit(session, REQUEST)
    session.script.on_read = lambda task_id: (
        running(task_id) if session.time.now > known_after_s else None
    )

    ((_, raised),) = read_all(session, [submitted])

    assert type(raised) is (error or type(None))


@pytest.mark.parametrize("spelling", ["sub/../out.mp4", "link/out.mp4"])
def test_a_saved_file_is_recognized_under_another_path(
    session: BenchSession, cwd: Path, spelling: str
) -> None:
    (cwd / "sub").mkdir()
    (cwd / "link").symlink_to(cwd)
    session.script.on_read = completed
    edit(session, REQUEST, options())

    edit(session, REQUEST, options(spelling))

    assert session.script.prompts == ["warmer"]


def test_a_result_whose_file_was_replaced_is_unsaved(session: BenchSession, cwd: Path) -> None:
    first = edit(session, REQUEST, options())
    session.script.on_submit = lambda _: completed("task-second")
    session.script.on_read = completed
    edit(session, REQUEST._replace(prompt="other"), options(force=True))

    unsaved = [record.task_id for record, _ in unsaved_results(session)]

    assert unsaved == [first.task_id]


def test_the_timeout_limits_waiting_for_another_process(
    tmp_path: Path,
) -> None:
    session = BenchSession(folder=tmp_path / "private")
    session.journal = Journal(tmp_path, clock=session.now)
    identity = prepare(session, REQUEST).identity

    with (
        Journal(tmp_path) as other,
        other.locked("editing", identity),
        pytest.raises(WaitTimeoutError, match="another process"),
    ):
        edit(session, REQUEST, options(timeout_s=2.0))

    assert session.script.prompts == []


@pytest.mark.parametrize(
    "settle",
    [
        pytest.param(
            lambda session, request_id: submit(session, REQUEST._replace(request_id=request_id)),
            id="submit",
        ),
        pytest.param(resume, id="resume"),
        pytest.param(lambda session, request_id: settle_as(session, request_id, "t-1"), id="as"),
    ],
)
def test_waiting_for_a_stopped_process_is_noted_and_ends(
    tmp_path: Path, settle: Callable[[Session, str], Record]
) -> None:
    session = BenchSession(folder=tmp_path / "private")
    session.journal = Journal(tmp_path, clock=session.now)
    request_id = "request-of-a-stopped-process"

    with (
        Journal(tmp_path) as other,
        other.locked("sending", request_id),
        pytest.raises(WaitTimeoutError, match=f"still sending submission {request_id}"),
    ):
        settle(session, request_id)

    assert session.time.now == pytest.approx(DEFAULT.busy_budget_s, abs=1)
    (note,) = [event.message for event in session.reported(Noted)]
    assert note == f"waiting for another process, which is sending submission {request_id}"
    assert session.script.prompts == []


def test_a_clip_that_a_stopped_process_uploads_is_uploaded_after_a_while(tmp_path: Path) -> None:
    session = BenchSession(folder=tmp_path / "private")
    session.journal = Journal(tmp_path, clock=session.now)
    edit = prepare(session, EditRequest(video=str(BUNDLED_CLIP), prompt="warmer"))
    key = str(edit.clip_sha256)
    uploaded = UploadedClip(CLIP_URL, NOW + 72 * 3600)
    session.journal.record_upload(key, uploaded, origin=BASE_URL, files_origin=BASE_URL)

    with Journal(tmp_path) as other, other.locked("uploading", key):
        url = uploaded_url(session, edit)

    assert url == CLIP_URL
    assert session.time.now == pytest.approx(DEFAULT.busy_budget_s, abs=1)
    assert ["uploading" in event.message for event in session.reported(Noted)] == [True]


def test_an_unknown_submission_is_not_replayed_with_another_api_key(session: BenchSession) -> None:
    request_id = submit_with_lost_reply(session)
    submissions = len(session.script.prompts)
    session.connection = Connection(BASE_URL, BASE_URL, "sk-evo-other")

    with pytest.raises(OutcomeUnknownError, match="another key") as raised:
        resume(session, request_id)
    resume(session, request_id, accepts_old=True)

    assert "--yes" in str(raised.value.hint)
    assert len(session.script.prompts) == submissions + 1


def test_settling_a_submission_names_a_second_task(
    session: BenchSession,
) -> None:
    request_id = submit_with_lost_reply(session)
    session.script.on_read = completed
    session.script.account_tasks = [completed("task-9"), completed("task-8")]

    settle_as(session, request_id, "task-9")

    assert any("task-8" in event.message for event in session.reported(Warned))


def test_settling_a_submission_names_an_adopted_second_task(session: BenchSession) -> None:
    request_id = submit_with_lost_reply(session)
    session.script.on_read = completed
    session.script.account_tasks = [completed("task-9"), completed("task-8")]
    list(list_account(session, MODELS, limit=0, adopt=True))

    settle_as(session, request_id, "task-9")

    assert any("task-8" in event.message for event in session.reported(Warned))


def test_an_adopted_task_is_suggested_for_an_old_submission(
    session: BenchSession,
) -> None:
    request_id = submit_with_lost_reply(session)
    session.script.account_tasks = [completed("task-9")]
    list(list_account(session, MODELS, limit=0, adopt=True))
    session.time.advance(2 * HOUR_S)

    with pytest.raises(OutcomeUnknownError) as raised:
        edit(session, REQUEST, options())

    assert f"submit --resume {request_id} --as task-9" in str(raised.value.hint)


def test_an_endless_account_list_is_not_read_forever(session: BenchSession) -> None:
    request_id = submit_with_lost_reply(session)
    pages = 0

    def list_endlessly(request: httpx.Request) -> httpx.Response:
        nonlocal pages
        if "page=" not in str(request.url):
            return session.script(request)
        pages += 1
        endless.time.advance(1.0)
        tasks = [{"id": f"task-{pages}-{n}", "status": "completed"} for n in range(50)]
        return httpx.Response(200, json={"data": tasks, "total": 10**9})

    endless = BenchSession(transport=list_endlessly)
    endless.journal = session.journal
    endless.time.now = session.time.now

    resume(endless, request_id)

    assert 0 < pages <= session.policy.duplicates_budget_s + 1
    # A list that was not read to its end does not prove that there is no second task.
    assert not any("no second task" in event.message for event in endless.reported(Noted))
    assert any("continues after" in event.message for event in endless.reported(Warned))


def test_a_submission_waiting_its_turn_is_not_recorded_as_unsettled() -> None:
    unsettled: list[Record] = []

    class WatchingClock(VirtualClock):
        def rest(self, seconds: float, /) -> None:
            super().rest(seconds)
            unsettled.extend(record for record in session.journal.recent() if record.is_unsettled)

    session = BenchSession(clock=WatchingClock())
    session.rate_limiter.slow_down(60.0)

    submit(session, REQUEST)

    assert session.time.rests
    assert unsettled == []
    assert session.script.prompts == ["warmer"]
