import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from omniedit.edits.batch import BatchOptions, BatchRun, EditOutcome
from omniedit.edits.manifest import Line, Manifest
from omniedit.edits.planner import PlannedEdit, Planner
from omniedit.edits.session import RateLimiter
from omniedit.errors import (
    AuthenticationError,
    NotConnectedError,
    OmniEditError,
    QuotaError,
    RateLimitedError,
    RequestRefusedError,
    TooExpensiveError,
)
from omniedit.events import LineFailed, Warned
from omniedit.models import Task
from omniedit.policy import DEFAULT
from tests.unit.edits.bench import CLIP_URL, MODEL, BenchSession, completed, failed, running

WAIT_S = 10.0
OPTIONS = BatchOptions(concurrency=2, again=False, overwrite=False, timeout_s=100.0)


@pytest.fixture
def session(session: BenchSession) -> BenchSession:
    session.script.accept = lambda prompt: completed(f"task-{prompt}")
    session.script.look = completed
    return session


def plan(session: BenchSession, *prompts: str) -> Sequence[PlannedEdit]:
    lines = [
        Line(number=number, video=CLIP_URL, prompt=prompt, output=f"{prompt}.mp4")
        for number, prompt in enumerate(prompts, start=1)
    ]
    return Planner(session, model=MODEL, folder=None).plan(Manifest(lines, (), ()))


def run(
    session: BenchSession, *prompts: str, concurrency: int = 2, **fields: Any
) -> dict[str, EditOutcome]:
    """Run a batch to its end; return the outcome for each prompt."""
    options = replace(OPTIONS, concurrency=concurrency, **fields)
    edits = plan(session, *prompts)
    return {made.edit.request.prompt: made for made in BatchRun(session, options).run(edits)}


def saved(here: Path) -> list[str]:
    return sorted(path.stem for path in here.iterdir())


def refuse(prompts: str, error: OmniEditError) -> Callable[[str], Task]:
    def accept(asked: str) -> Task:
        if asked in prompts:
            raise error
        return completed(f"task-{asked}")

    return accept


def test_every_edit_is_made(session: BenchSession, here: Path) -> None:
    made = run(session, "a", "b", "c")

    assert saved(here) == ["a", "b", "c"]
    assert {prompt: one.error for prompt, one in made.items()} == {"a": None, "b": None, "c": None}


def test_edits_that_are_answered_with_one_task_are_each_delivered(
    session: BenchSession, here: Path
) -> None:
    session.script.accept = lambda _: running("t-1")
    session.script.look = running
    timed_out = run(session, "a", "b", timeout_s=0.0)
    session.script.look = completed

    made = run(session, "a", "b")

    assert [one.error and one.error.code for one in timed_out.values()] == ["wait_timeout"] * 2
    assert saved(here) == ["a", "b"]
    assert {prompt: one.error for prompt, one in made.items()} == {"a": None, "b": None}


def test_the_second_run_submits_only_what_is_new(session: BenchSession, here: Path) -> None:
    run(session, "a", "b")

    run(session, "new", "b", "a")

    assert sorted(session.script.prompts) == ["a", "b", "new"]
    assert saved(here) == ["a", "b", "new"]


def test_again_pays_anew(session: BenchSession, here: Path) -> None:
    run(session, "a")
    (here / "a.mp4").unlink()

    run(session, "a", again=True)

    assert session.script.prompts == ["a", "a"]


def test_a_task_that_runs_is_followed_not_submitted(session: BenchSession, here: Path) -> None:
    session.script.accept = lambda _: failed("t-1", code="service_error")
    run(session, "a")
    session.script.accept = lambda _: running("t-2")
    session.script.look = running
    edits = plan(session, "a")
    options = BatchOptions(concurrency=1, again=False, overwrite=False, timeout_s=0.0)
    [timed_out] = BatchRun(session, options).run(edits)
    session.script.look = completed

    run(session, "a")

    assert timed_out.error is not None
    assert timed_out.error.code == "wait_timeout"
    assert len(session.script.prompts) == 2
    assert saved(here) == ["a"]


def test_one_refusal_does_not_keep_the_others(session: BenchSession, here: Path) -> None:
    session.script.accept = refuse("b", RequestRefusedError("no"))

    made = run(session, "a", "b", "c")

    assert saved(here) == ["a", "c"]
    assert made["b"].error is not None
    [refused] = session.reported(LineFailed)
    assert (refused.name, refused.message) == ("line 2", "no")


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(NotConnectedError("no network"), id="no-network"),
        pytest.param(
            RateLimitedError("busy", retry_after_s=3600.0), id="told-to-come-back-much-later"
        ),
    ],
)
def test_what_meets_every_edit_ends_the_submissions(
    session: BenchSession, here: Path, error: OmniEditError
) -> None:
    session.script.accept = refuse("b", error)

    made = run(session, "a", "b", "c", "d", concurrency=1)

    assert set(session.script.prompts) == {"a", "b"}
    assert saved(here) == ["a"]
    assert [(one.record, one.error) for one in (made["c"], made["d"])] == [(None, None)] * 2


def test_without_credits_what_is_paid_for_is_still_saved(session: BenchSession, here: Path) -> None:
    run(session, "a", "b")
    (here / "a.mp4").unlink()
    session.script.accept = refuse("vwxyz", QuotaError("empty"))

    made = run(session, *"vwxyz", "a", "b", "c", concurrency=1)

    assert saved(here) == ["a", "b"]
    assert session.script.prompts[2:] == [*"vwxyz"]
    assert made["c"].record is None


@pytest.mark.parametrize(
    ("concurrency", "submissions_at_once"),
    [pytest.param(3, 32, id="under-way"), pytest.param(9, 3, id="being-submitted")],
)
def test_no_more_than_so_many_are_under_way_at_a_time(
    here: Path, concurrency: int, submissions_at_once: int
) -> None:
    session = BenchSession(policy=DEFAULT._replace(submissions_at_once=submissions_at_once))
    lock, together, most = threading.Lock(), 0, 0
    gate = threading.Barrier(3)

    def accept(prompt: str) -> Task:
        nonlocal together, most
        with lock:
            together += 1
            most = max(most, together)
        gate.wait(WAIT_S)
        with lock:
            together -= 1
        return completed(f"task-{prompt}")

    session.script.accept, session.script.look = accept, completed
    run(session, *(str(n) for n in range(9)), concurrency=concurrency)

    assert most == 3


def test_a_rate_limit_keeps_no_finished_result_waiting(session: BenchSession, here: Path) -> None:
    """Transfers have their own slots, so that waiting submissions do not block them."""
    resting, downloaded = threading.Event(), threading.Event()
    session.script.accept, session.script.look = lambda _: running("t-1"), running
    options = BatchOptions(concurrency=1, again=False, overwrite=False, timeout_s=0.0)
    list(BatchRun(session, options).run(plan(session, "known")))

    def rest(seconds: float, /) -> None:
        session.time.turn(seconds)
        resting.set()
        assert downloaded.wait(WAIT_S)

    def look(task_id: str) -> Task:
        assert resting.wait(WAIT_S)
        return completed(task_id)

    session.rate_limiter = RateLimiter(session.monotonic, rest)
    # Less than a read timeout: the rest also turns the clock of replies.
    session.rate_limiter.slow_down(20.0)
    session.script.look = look
    session.script.accept = lambda prompt: completed(f"task-{prompt}")
    session.script.on_download = lambda _: downloaded.set()

    run(session, "known", "new", concurrency=2)

    assert saved(here) == ["known", "new"]


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(RequestRefusedError("no"), id="request"),
        pytest.param(QuotaError("empty", http_status=402), id="credits"),
        pytest.param(AuthenticationError("bad key"), id="key"),
    ],
)
def test_five_refusals_in_a_row_with_one_code_end_the_submissions(
    session: BenchSession, here: Path, error: OmniEditError
) -> None:
    session.script.accept = refuse("abdefghi", error)

    made = run(session, *"abcdefghijk", concurrency=1)

    assert session.script.prompts == [*"abcdefgh"]
    assert [made[left].error for left in "ijk"] == [None] * 3
    [warned] = session.reported(Warned)
    assert "`--keep-going`" in warned.message


@pytest.mark.parametrize("error", [RequestRefusedError("no"), QuotaError("empty")])
def test_refusals_do_not_end_what_was_told_to_keep_going(
    session: BenchSession, here: Path, error: OmniEditError
) -> None:
    session.script.accept = refuse("abcdefgh", error)

    run(session, *"abcdefgh", concurrency=1, keeps_going=True)

    assert session.script.prompts == [*"abcdefgh"]


@pytest.mark.parametrize("concurrency", [1, 8])
def test_what_was_reserved_counts_against_the_limit(
    session: BenchSession, here: Path, concurrency: int
) -> None:
    def reserve(prompt: str) -> Task:
        return replace(completed(f"task-{prompt}"), credits_reserved=30.0)

    session.script.accept, session.script.look = reserve, completed
    edits = [replace(edit, estimated_credits=10.0) for edit in plan(session, *"abcd")]
    options = replace(OPTIONS, concurrency=concurrency, max_credits=50.0)

    made = {one.edit.request.prompt: one for one in BatchRun(session, options).run(edits)}

    assert session.script.prompts == ["a", "b"]
    assert isinstance(made["c"].error, TooExpensiveError)
    assert made["d"] == EditOutcome(edit=edits[3])
    assert saved(here) == ["a", "b"]


def test_what_failed_gives_back_what_it_had_reserved(session: BenchSession, here: Path) -> None:
    def reserve(prompt: str) -> Task:
        return replace(failed(f"task-{prompt}"), credits_reserved=30.0)

    session.script.accept = reserve
    edits = [replace(edit, estimated_credits=30.0) for edit in plan(session, *"abcd")]
    options = replace(OPTIONS, concurrency=1, max_credits=50.0)

    list(BatchRun(session, options).run(edits))

    assert session.script.prompts == [*"abcd"]


def test_submissions_are_evenly_spaced(here: Path) -> None:
    # Submissions turn the clock that transfers share: keep those from timing out.
    patient = DEFAULT._replace(connect_timeout_s=1e6, read_timeout_s=1e6, stall_s=1e6)
    paced = BenchSession(submission_interval_s=2000.0, policy=patient)
    posted_at: list[float] = []

    def accept(prompt: str) -> Task:
        posted_at.append(paced.time.now)
        return completed(f"task-{prompt}")

    paced.script.accept, paced.script.look = accept, completed

    run(paced, "a", "b", "c", concurrency=1, timeout_s=1e6)

    assert posted_at == [0.0, 2000.0, 4000.0]
    assert saved(here) == ["a", "b", "c"]


def test_a_download_that_fails_is_told_with_its_task(session: BenchSession, here: Path) -> None:
    def break_off(_: str) -> None:
        raise NotConnectedError("no way")

    session.script.on_download = break_off

    made = run(session, "a")

    assert made["a"].error is not None
    assert made["a"].error.task_id == "task-a"
    assert made["a"].record is not None


def test_a_bug_met_by_one_line_is_that_line_s_alone(session: BenchSession, here: Path) -> None:
    def stumble(prompt: str) -> Task:
        if prompt == "a":
            raise ZeroDivisionError
        return completed(f"task-{prompt}")

    session.script.accept = stumble

    made = run(session, "a", "b")

    assert made["a"].error is not None
    assert made["a"].error.code == "bug"
    assert saved(here) == ["b"]
