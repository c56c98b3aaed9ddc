"""Settled submissions stay settled, unknown outcomes are never guessed, nothing is paid twice."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import formatdate
from pathlib import Path

import httpx
import pytest

from omniedit.edits.edit import EditOptions, edit
from omniedit.edits.manifest import Line
from omniedit.edits.poller import Outcome
from omniedit.edits.reads import read_all
from omniedit.edits.records import forget, list_account, unsaved_results
from omniedit.edits.replay import resume, settle_as
from omniedit.edits.requests import prepare
from omniedit.edits.save import download
from omniedit.edits.session import Connection, Session
from omniedit.edits.submit import submit
from omniedit.edits.targets import Destination
from omniedit.edits.wait import FollowOptions, follow
from omniedit.errors import (
    IdempotencyConflictError,
    Interrupted,
    InvalidInputError,
    NetworkError,
    NoSuchReferenceError,
    OmniEditError,
    OutcomeUnknownError,
    RequestRefusedError,
    ResultGoneError,
    UnavailableError,
    WaitTimeoutError,
)
from omniedit.events import Noted, Warned
from omniedit.journal import Journal
from omniedit.models import MODELS, EditRequest, Record, Task
from omniedit.policy import DEFAULT
from tests.journals import attempt
from tests.unit.edits.bench import (
    BASE_URL,
    CLIP_URL,
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


def options(output: str | None = "out.mp4", *, timeout_s: float = 1800.0) -> EditOptions:
    return EditOptions(destination=Destination(output), timeout_s=timeout_s)


def lose_replies(session: BenchSession) -> None:
    """Lose the reply to every submission."""

    def accept(_: str) -> Task:
        msg = "reset"
        raise NetworkError(msg)

    session.script.accept = accept


def left_unknown(session: BenchSession) -> str:
    """Submit an edit whose replies are lost; return its request ID."""
    lose_replies(session)
    with pytest.raises(OutcomeUnknownError) as raised:
        submit(session, REQUEST)
    session.script.accept = lambda _: completed("task-1")
    assert raised.value.request_id is not None
    return raised.value.request_id


@pytest.mark.parametrize("status", ["refused", "unknown", "sending", "REFUSED "])
def test_a_status_that_reads_like_ours_is_not_paid_again(
    session: BenchSession, status: str
) -> None:
    session.script.accept = lambda _: replace(running("task-1"), status=status)
    session.script.look = lambda _: replace(running("task-1"), status=status)
    for _ in range(2):
        with pytest.raises(WaitTimeoutError):
            edit(session, REQUEST, options(timeout_s=60.0))

    assert session.script.prompts == ["warmer"]


def test_an_attempt_that_the_service_s_clock_knows_to_be_old_is_not_replayed(
    session: BenchSession,
) -> None:
    request_id = left_unknown(session)
    posts = len(session.script.prompts)
    # 25 hours have passed, but this machine's clock still shows the time of the attempt.
    session.script.headers = {"date": formatdate(NOW + 25 * HOUR_S, usegmt=True)}

    with pytest.raises(OutcomeUnknownError, match="25 h old"):
        resume(session, request_id)

    assert len(session.script.prompts) == posts


def test_an_attempt_from_the_future_is_not_replayed(session: BenchSession) -> None:
    request_id = left_unknown(session)
    posts = len(session.script.prompts)
    session.time.turn(-2 * HOUR_S)

    with pytest.raises(OutcomeUnknownError, match="dated in the future"):
        resume(session, request_id)

    assert len(session.script.prompts) == posts


def left_unknown_while_ahead(session: BenchSession, ahead_s: float) -> str:
    """Leave an outcome unknown while this machine's clock is ahead, then correct the clock."""
    session.script.headers = {"date": formatdate(NOW - ahead_s, usegmt=True)}
    request_id = left_unknown(session)
    session.time.turn(-ahead_s)
    return request_id


def pass_time(session: BenchSession, seconds: float) -> None:
    """Let time pass, both on this machine and on the service."""
    session.time.turn(seconds)
    now = session.now()
    session.script.headers = {"date": formatdate(now, usegmt=True)}


def test_a_task_is_found_although_the_clock_was_ahead_at_the_attempt(
    session: BenchSession,
) -> None:
    request_id = left_unknown_while_ahead(session, HOUR_S)
    session.script.listed = [replace(running("task-1"), created_at=NOW - HOUR_S)]
    pass_time(session, 3 * HOUR_S)

    with pytest.raises(OutcomeUnknownError, match="3 h old") as raised:
        resume(session, request_id)

    assert f"submit --resume {request_id} --as task-1" in str(raised.value.hint)


def test_an_attempt_is_as_old_as_the_service_s_clock_says(session: BenchSession) -> None:
    request_id = left_unknown_while_ahead(session, 0.5 * HOUR_S)
    posts = len(session.script.prompts)
    # By this machine's clock, 50 minutes have passed.
    pass_time(session, HOUR_S + 0.5 * HOUR_S - 600)

    with pytest.raises(OutcomeUnknownError, match="1 h old"):
        resume(session, request_id)

    assert len(session.script.prompts) == posts


def test_an_attempt_without_any_reply_is_looked_for_a_day_back(session: BenchSession) -> None:
    # The state that a process leaves if it is killed while it submits.
    body = prepare(session, REQUEST).body(clip_url=CLIP_URL)
    request_id = "request-of-a-killed-process"
    killed = attempt(request_id, prompt=REQUEST.prompt, origin=session.origin, body=body)
    session.journal.record_attempt(killed, context=None)
    session.script.listed = [replace(running("task-1"), created_at=NOW - 20 * HOUR_S)]
    pass_time(session, 2 * HOUR_S)

    with pytest.raises(OutcomeUnknownError) as raised:
        resume(session, request_id)

    assert f"submit --resume {request_id} --as task-1" in str(raised.value.hint)


def hours_later(session: BenchSession, *task_ids: str) -> None:
    """Let two hours pass; then the account lists these tasks from the time of the attempt."""
    session.script.headers = {"date": formatdate(NOW + 2 * HOUR_S, usegmt=True)}
    session.script.listed = [replace(running(each), created_at=NOW) for each in task_ids]
    session.time.turn(2 * HOUR_S)


def test_the_one_task_that_an_old_attempt_can_have_become_is_named(session: BenchSession) -> None:
    request_id = left_unknown(session)
    hours_later(session, "task-1")

    with pytest.raises(OutcomeUnknownError) as raised:
        resume(session, request_id)

    assert f"submit --resume {request_id} --as task-1" in str(raised.value.hint)


def test_of_several_tasks_none_is_put_into_an_old_attempt_s_way_back(
    session: BenchSession,
) -> None:
    request_id = left_unknown(session)
    hours_later(session, "task-2", "task-1")

    with pytest.raises(OutcomeUnknownError) as raised:
        resume(session, request_id)

    assert f"submit --resume {request_id} --as TASK" in str(raised.value.hint)


def test_of_several_old_attempts_none_is_given_another_s_task(session: BenchSession) -> None:
    left_unknown(session)
    request_id = left_unknown(session)
    hours_later(session, "task-1")

    with pytest.raises(OutcomeUnknownError) as raised:
        resume(session, request_id)

    assert f"submit --resume {request_id} --as TASK" in str(raised.value.hint)


def test_a_submission_whose_body_is_lost_has_ways_back_too(session: BenchSession) -> None:
    request_id = "request-of-long-ago"
    lost = attempt(request_id, prompt=REQUEST.prompt, origin=session.origin, body=None)
    session.journal.record_attempt(lost, context=None)

    with pytest.raises(OutcomeUnknownError) as raised:
        resume(session, request_id)

    hint = str(raised.value.hint)
    assert f"submit --resume {request_id} --as TASK" in hint
    assert f"list --forget {request_id}" in hint


def test_absence_is_claimed_with_the_instant_from_which_it_was_looked_for(
    session: BenchSession,
) -> None:
    session.script.headers = {"date": formatdate(NOW, usegmt=True)}
    request_id = left_unknown(session)
    hours_later(session)

    with pytest.raises(OutcomeUnknownError):
        resume(session, request_id)

    since = datetime.fromtimestamp(NOW - DEFAULT.clock_skew_s, UTC)
    (told,) = [event.message for event in session.reported(Warned) if "lists no" in event.message]
    assert told == f"the account lists no task since {since:%Y-%m-%d %H:%M} UTC"


def test_a_second_task_is_found_although_this_clock_is_ahead(session: BenchSession) -> None:
    request_id = left_unknown(session)
    service_now = NOW - 300
    session.script.headers = {"date": formatdate(service_now, usegmt=True)}
    session.script.listed = [replace(running("task-2"), created_at=service_now - 10)]

    resume(session, request_id)

    assert any("task-2" in event.message for event in session.reported(Warned))


def test_absence_is_not_claimed_without_the_service_s_time(session: BenchSession) -> None:
    request_id = left_unknown(session)

    resume(session, request_id)

    assert not any("no second task" in event.message for event in session.reported(Noted))
    assert any("may have been paid for" in event.message for event in session.reported(Warned))


def test_an_unknown_submission_is_settled_with_the_task_that_its_user_names(
    session: BenchSession, here: Path
) -> None:
    request_id = left_unknown(session)
    session.script.look = completed

    settled = settle_as(session, request_id, "task-9")
    edit(session, REQUEST, options())

    assert settled.task_id == "task-9"
    assert (here / "out.mp4").exists()
    assert "task-1" not in {record.task_id for record in session.journal.recent()}


def test_after_a_conflict_the_way_back_ends(session: BenchSession) -> None:
    def conflict(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            error = {"code": "idempotency_conflict", "message": "another body"}
            return httpx.Response(409, json={"error": error})
        return session.script(request)

    session = BenchSession(transport=conflict)
    session.script.look = completed
    with pytest.raises(IdempotencyConflictError) as raised:
        edit(session, REQUEST, options())
    request_id = raised.value.request_id
    assert request_id is not None
    assert f"submit --resume {request_id} --as TASK" in str(raised.value.hint)

    settle_as(session, request_id, "task-9")
    made = edit(session, REQUEST, options())
    session.close()

    assert made.task_id == "task-9"


def test_without_a_journal_a_conflict_names_no_command_that_needs_one() -> None:
    error = {"code": "idempotency_conflict", "message": "another body"}
    session = BenchSession(transport=lambda _: httpx.Response(409, json={"error": error}))
    session.has_journal = False

    with pytest.raises(IdempotencyConflictError) as raised:
        submit(session, REQUEST)

    assert str(raised.value.hint) == "`omniedit list --remote` shows the task it became"


def adopted(session: BenchSession) -> None:
    session.journal.record_adopted(completed("task-9"), origin=session.origin)


def submitted(session: BenchSession) -> None:
    session.script.accept = lambda _: completed("task-9")
    submit(session, REQUEST._replace(prompt="other"))


@pytest.mark.parametrize(
    ("prepare", "is_refused"),
    [
        pytest.param(adopted, False, id="adopted-before"),
        pytest.param(submitted, True, id="of-another-submission"),
    ],
)
def test_a_task_settles_one_submission(
    session: BenchSession, *, prepare: Callable[[BenchSession], None], is_refused: bool
) -> None:
    request_id = left_unknown(session)
    prepare(session)
    session.script.look = completed

    if is_refused:
        with pytest.raises(InvalidInputError, match="is the task of submission"):
            settle_as(session, request_id, "task-9")
    else:
        assert settle_as(session, request_id, "task-9").task_id == "task-9"


def test_a_task_of_another_model_settles_nothing(session: BenchSession) -> None:
    request_id = left_unknown(session)

    def look(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"id": "task-9", "status": "completed", "model": "other"})

    other = BenchSession(transport=look)
    other.journal = session.journal

    with pytest.raises(InvalidInputError, match="another model"):
        settle_as(other, request_id, "task-9")


def test_a_forgotten_submission_says_that_the_next_edit_may_pay_again(
    session: BenchSession,
) -> None:
    request_id = left_unknown(session)

    forget(session, request_id)

    assert session.journal.find_attempt(request_id) is None
    assert any("may pay again" in event.message for event in session.reported(Warned))
    with pytest.raises(NoSuchReferenceError):
        resume(session, request_id)


def test_nothing_is_sent_once_the_command_is_to_end(session: BenchSession) -> None:
    session.rate_limiter.slow_down(0.0)
    session.stop()

    with pytest.raises(Interrupted):
        submit(session, REQUEST)

    assert session.script.prompts == []


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
        pytest.param({"take": "1"}, {}, id="the-first-take-is-the-plain-edit"),
        pytest.param({"start": "1"}, {"start": "1.0"}, id="marks"),
        pytest.param({"prompt": "a\nb"}, {"prompt": "a\r\nb \t\n"}, id="white-space"),
    ],
)
def test_the_same_edit_is_in_the_same_shard(one: dict[str, str], other: dict[str, str]) -> None:
    usual = {"video": "a.mp4", "prompt": "warmer"}
    lines = [Line(number=1, **(usual | fields)) for fields in (one, other)]

    shards = [[index for index in range(1, 65) if line.is_in_shard(index, 64)] for line in lines]

    assert shards[0] == shards[1]


def of_two_files(task_id: str) -> Task:
    urls = (f"{RESULTS_URL}/{task_id}.mp4", f"{RESULTS_URL}/{task_id}-b.mp4")
    return replace(completed(task_id), result_urls=urls)


def test_a_second_result_that_was_cut_off_is_saved_by_the_next_run(
    session: BenchSession, here: Path
) -> None:
    session.script.accept = lambda _: of_two_files("task-1")
    session.script.look = of_two_files
    edit(session, REQUEST, options())
    (here / "out-2.mp4").unlink()

    edit(session, REQUEST, options())

    assert (here / "out-2.mp4").exists()


@pytest.mark.parametrize("name", ["out.mp4", "out-2.mp4"])
def test_a_task_is_saved_once_each_of_its_results_is(
    session: BenchSession, here: Path, name: str
) -> None:
    session.script.accept = lambda _: of_two_files("task-1")
    session.script.look = of_two_files
    edit(session, REQUEST, options())

    before = list(unsaved_results(session))
    (here / name).unlink()

    assert before == []
    assert [record.task_id for record, _ in unsaved_results(session)] == ["task-1"]


def test_several_results_are_not_one_stream(session: BenchSession) -> None:
    session.script.look = of_two_files

    with pytest.raises(InvalidInputError, match="2 results"):
        download(session, record_of(running("task-1")), Destination("-"), overwrite=False)


def saved_before(session: BenchSession) -> Record:
    """Save an edit, and let the service forget it an hour later."""
    session.script.look = completed
    made = edit(session, REQUEST, options())
    session.time.turn(HOUR_S)
    session.script.look = lambda _: None
    return made


def test_a_finished_task_that_the_service_has_forgotten_is_gone(
    session: BenchSession, here: Path
) -> None:
    saved_before(session)
    (here / "out.mp4").unlink()

    with pytest.raises(ResultGoneError, match="no longer knows"):
        edit(session, REQUEST, options())


WAITING = FollowOptions(destination=None, overwrite=False, timeout_s=60.0)


@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(lambda session, record: follow(session, [record], WAITING), id="wait"),
        pytest.param(lambda session, record: read_all(session, [record]), id="status"),
    ],
)
def test_a_finished_task_is_gone_whoever_asks_for_it(
    session: BenchSession, here: Path, ask: Callable[[Session, Record], Iterable[Outcome]]
) -> None:
    made = saved_before(session)

    ((_, error),) = ask(session, made)

    assert isinstance(error, ResultGoneError)


def test_a_task_that_is_forgotten_while_its_link_dies_is_gone(session: BenchSession) -> None:
    looks = iter([completed("task-1")])
    session.script.look = lambda _: next(looks, None)

    def die(_: str) -> None:
        msg = "expired"
        raise RequestRefusedError(msg)

    session.script.on_download = die

    with pytest.raises(ResultGoneError, match="no longer knows"):
        download(session, record_of(running("task-1")), Destination("out.mp4"), overwrite=False)


def test_a_task_that_was_completed_is_gone_also_in_its_first_minute(session: BenchSession) -> None:
    session.script.accept = completed
    record = submit(session, REQUEST)
    session.script.look = lambda _: None

    [(_, error)] = read_all(session, [record])

    assert isinstance(error, ResultGoneError)
    # It was read again first.
    assert len(session.script.single_reads) > 1


def test_a_running_task_that_the_service_does_not_know_is_passed_over(
    session: BenchSession,
) -> None:
    session.script.accept = lambda _: running("task-1")
    submit(session, REQUEST)
    session.time.turn(HOUR_S)
    session.script.look = lambda _: None

    assert list(unsaved_results(session)) == []


def test_a_task_that_a_replica_does_not_know_yet_is_looked_at_again(
    session: BenchSession, here: Path
) -> None:
    session.script.accept = lambda _: running("task-1")
    session.script.look = lambda task_id: completed(task_id) if session.time.now > 20 else None

    edit(session, REQUEST, options())

    assert (here / "out.mp4").exists()


@pytest.mark.parametrize(("known_after_s", "error"), [(10.0, None), (90.0, UnavailableError)])
def test_a_task_that_was_just_submitted_is_looked_at_again(
    session: BenchSession, known_after_s: float, error: type[OmniEditError] | None
) -> None:
    session.script.accept = lambda _: running("task-1")
    submitted = submit(session, REQUEST)
    session.script.look = lambda task_id: (
        running(task_id) if session.time.now > known_after_s else None
    )

    ((_, raised),) = read_all(session, [submitted])

    assert type(raised) is (error or type(None))


@pytest.mark.parametrize("spelling", ["sub/../out.mp4", "link/out.mp4"])
def test_a_verified_file_is_the_same_however_its_path_is_spelled(
    session: BenchSession, here: Path, spelling: str
) -> None:
    (here / "sub").mkdir()
    (here / "link").symlink_to(here)
    session.script.look = completed
    edit(session, REQUEST, options())

    edit(session, REQUEST, options(spelling))

    assert session.script.prompts == ["warmer"]


def test_a_file_that_another_result_replaced_is_not_the_saved_one(
    session: BenchSession, here: Path
) -> None:
    first = edit(session, REQUEST, options())
    session.script.accept = lambda _: completed("task-second")
    session.script.look = completed
    edit(session, REQUEST._replace(prompt="other"), options()._replace(overwrite=True))

    unsaved = [record.task_id for record, _ in unsaved_results(session)]

    assert unsaved == [first.task_id]


def test_another_process_that_holds_the_edit_is_not_waited_for_longer_than_allowed(
    tmp_path: Path,
) -> None:
    session = BenchSession(folder=tmp_path / "private")
    session.journal = Journal(tmp_path, clock=session.now, sleep=session.sleep)
    identity = prepare(session, REQUEST).identity

    with (
        Journal(tmp_path) as other,
        other.locked("editing", identity),
        pytest.raises(WaitTimeoutError, match="another process"),
    ):
        edit(session, REQUEST, options(timeout_s=2.0))

    assert session.script.prompts == []


def test_an_unknown_submission_is_not_replayed_with_another_key(session: BenchSession) -> None:
    request_id = left_unknown(session)
    posts = len(session.script.prompts)
    session.find_connection = lambda: Connection(BASE_URL, BASE_URL, "sk-evo-other")

    with pytest.raises(OutcomeUnknownError, match="another key") as raised:
        resume(session, request_id)
    resume(session, request_id, accepts_old=True)

    assert "--yes" in str(raised.value.hint)
    assert len(session.script.prompts) == posts + 1


def test_a_second_task_is_named_when_one_of_them_settles_a_submission(
    session: BenchSession,
) -> None:
    request_id = left_unknown(session)
    session.script.look = completed
    session.script.listed = [completed("task-9"), completed("task-8")]

    settle_as(session, request_id, "task-9")

    assert any("task-8" in event.message for event in session.reported(Warned))


def test_a_second_task_that_was_adopted_is_named_as_well(session: BenchSession) -> None:
    request_id = left_unknown(session)
    session.script.look = completed
    session.script.listed = [completed("task-9"), completed("task-8")]
    list(list_account(session, MODELS, limit=0, adopt=True))

    settle_as(session, request_id, "task-9")

    assert any("task-8" in event.message for event in session.reported(Warned))


def test_an_adopted_task_is_offered_for_a_submission_too_old_to_replay(
    session: BenchSession,
) -> None:
    request_id = left_unknown(session)
    session.script.listed = [completed("task-9")]
    list(list_account(session, MODELS, limit=0, adopt=True))
    session.time.turn(2 * HOUR_S)

    with pytest.raises(OutcomeUnknownError) as raised:
        edit(session, REQUEST, options())

    assert f"submit --resume {request_id} --as task-9" in str(raised.value.hint)


def test_pages_with_ever_new_tasks_are_not_read_for_ever(session: BenchSession) -> None:
    request_id = left_unknown(session)
    pages = 0

    def list_for_ever(request: httpx.Request) -> httpx.Response:
        nonlocal pages
        if "page=" not in str(request.url):
            return session.script(request)
        pages += 1
        endless.time.turn(1.0)
        tasks = [{"id": f"task-{pages}-{n}", "status": "completed"} for n in range(50)]
        return httpx.Response(200, json={"data": tasks, "total": 10**9})

    endless = BenchSession(transport=list_for_ever)
    endless.journal, endless.time.now = session.journal, session.time.now

    resume(endless, request_id)

    assert 0 < pages <= session.policy.duplicates_budget_s + 1
    # A list that was not read to its end does not prove that there is no second task.
    assert not any("no second task" in event.message for event in endless.reported(Noted))
    assert any("continues after" in event.message for event in endless.reported(Warned))


def test_a_submission_that_waits_for_its_turn_leaves_no_doubt_when_it_is_killed() -> None:
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
