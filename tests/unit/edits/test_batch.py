"""A batch submits each new edit once, within its limits, and saves every result."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from omniedit.edits.batch import BatchRun, EditOutcome
from omniedit.edits.edit import EditOptions
from omniedit.edits.manifest import Line, Manifest
from omniedit.edits.planner import PlannedEdit, Planner
from omniedit.edits.targets import Destination
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
from omniedit.models import EditRequest, Task
from omniedit.policy import DEFAULT, RateLimiter
from tests.unit.edits.bench import CLIP_URL, BenchSession, completed, failed, running

WAIT_S = 10.0
OPTIONS = EditOptions(destination=Destination(None), timeout_s=100.0)


@pytest.fixture
def session(session: BenchSession) -> BenchSession:
    session.script.on_submit = lambda prompt: completed(f"task-{prompt}")
    session.script.on_read = completed
    return session


def plan(session: BenchSession, *prompts: str) -> Sequence[PlannedEdit]:
    lines = [
        Line(
            number=number,
            request=EditRequest(video=CLIP_URL, prompt=prompt),
            output=f"{prompt}.mp4",
            manifest="m.jsonl",
        )
        for number, prompt in enumerate(prompts, start=1)
    ]
    return Planner(session, OPTIONS).plan(Manifest(lines))


def run_batch(
    session: BenchSession,
    *prompts: str,
    concurrency: int = 2,
    keeps_going: bool = False,
    **fields: Any,
) -> dict[str, EditOutcome]:
    """Run a batch to its end; return the outcome for each prompt."""
    run = BatchRun(
        session, OPTIONS._replace(**fields), concurrency=concurrency, keeps_going=keeps_going
    )
    edits = plan(session, *prompts)
    return {outcome.edit.request.prompt: outcome for outcome in run.run(edits)}


def saved_names(cwd: Path) -> list[str]:
    return sorted(path.stem for path in cwd.iterdir())


def refuse(prompts: str, error: OmniEditError) -> Callable[[str], Task]:
    def on_submit(prompt: str) -> Task:
        if prompt in prompts:
            raise error
        return completed(f"task-{prompt}")

    return on_submit


def test_every_edit_of_a_batch_is_saved(session: BenchSession, cwd: Path) -> None:
    outcomes = run_batch(session, "a", "b", "c")

    assert saved_names(cwd) == ["a", "b", "c"]
    assert {prompt: outcome.error for prompt, outcome in outcomes.items()} == {
        "a": None,
        "b": None,
        "c": None,
    }


def test_edits_that_share_a_task_each_get_their_file(session: BenchSession, cwd: Path) -> None:
    session.script.on_submit = lambda _: running("t-1")
    session.script.on_read = running
    timed_out = run_batch(session, "a", "b", timeout_s=0.0)
    session.script.on_read = completed

    outcomes = run_batch(session, "a", "b")

    assert [outcome.error and outcome.error.code for outcome in timed_out.values()] == [
        "wait_timeout"
    ] * 2
    assert saved_names(cwd) == ["a", "b"]
    assert {prompt: outcome.error for prompt, outcome in outcomes.items()} == {"a": None, "b": None}


def test_a_second_run_submits_only_new_edits(session: BenchSession, cwd: Path) -> None:
    run_batch(session, "a", "b")

    run_batch(session, "new", "b", "a")

    assert sorted(session.script.prompts) == ["a", "b", "new"]
    assert saved_names(cwd) == ["a", "b", "new"]


def test_again_resubmits_a_known_edit(session: BenchSession, cwd: Path) -> None:
    run_batch(session, "a")
    (cwd / "a.mp4").unlink()

    run_batch(session, "a", again=True)

    assert session.script.prompts == ["a", "a"]


def test_a_running_task_is_followed_not_resubmitted(session: BenchSession, cwd: Path) -> None:
    session.script.on_submit = lambda _: failed("t-1", code="service_error")
    run_batch(session, "a")
    session.script.on_submit = lambda _: running("t-2")
    session.script.on_read = running
    edits = plan(session, "a")
    [timed_out] = BatchRun(session, OPTIONS._replace(timeout_s=0.0), concurrency=1).run(edits)
    session.script.on_read = completed

    run_batch(session, "a")

    assert timed_out.error is not None
    assert timed_out.error.code == "wait_timeout"
    assert len(session.script.prompts) == 2
    assert saved_names(cwd) == ["a"]


def test_one_refused_edit_does_not_stop_the_others(session: BenchSession, cwd: Path) -> None:
    session.script.on_submit = refuse("b", RequestRefusedError("no"))

    outcomes = run_batch(session, "a", "b", "c")

    assert saved_names(cwd) == ["a", "c"]
    assert outcomes["b"].error is not None
    [refused] = session.reported(LineFailed)
    assert (refused.name, refused.error.message) == ("m.jsonl:2", "no")


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(NotConnectedError("no network"), id="no-network"),
        pytest.param(RateLimitedError("busy", retry_after_s=3600.0), id="long-retry-after"),
    ],
)
def test_an_error_that_affects_every_edit_stops_submissions(
    session: BenchSession, cwd: Path, error: OmniEditError
) -> None:
    session.script.on_submit = refuse("b", error)

    outcomes = run_batch(session, "a", "b", "c", "d", concurrency=1)

    assert set(session.script.prompts) == {"a", "b"}
    assert saved_names(cwd) == ["a"]
    assert [(outcome.record, outcome.error) for outcome in (outcomes["c"], outcomes["d"])] == [
        (None, None)
    ] * 2


def test_paid_results_are_saved_after_credits_run_out(session: BenchSession, cwd: Path) -> None:
    run_batch(session, "a", "b")
    (cwd / "a.mp4").unlink()
    session.script.on_submit = refuse("vwxyz", QuotaError("empty"))

    outcomes = run_batch(session, *"vwxyz", "a", "b", "c", concurrency=1)

    assert saved_names(cwd) == ["a", "b"]
    assert session.script.prompts[2:] == [*"vwxyz"]
    assert outcomes["c"].record is None


@pytest.mark.parametrize(
    ("concurrency", "submissions_at_once"),
    [pytest.param(3, 32, id="concurrency-limit"), pytest.param(9, 3, id="submission-limit")],
)
def test_submissions_in_flight_never_exceed_the_limit(
    cwd: Path, concurrency: int, submissions_at_once: int
) -> None:
    session = BenchSession(policy=DEFAULT._replace(submissions_at_once=submissions_at_once))
    lock = threading.Lock()
    in_flight = 0
    peak = 0
    gate = threading.Barrier(3)

    def on_submit(prompt: str) -> Task:
        nonlocal in_flight, peak
        with lock:
            in_flight += 1
            peak = max(peak, in_flight)
        gate.wait(WAIT_S)
        with lock:
            in_flight -= 1
        return completed(f"task-{prompt}")

    session.script.on_submit = on_submit
    session.script.on_read = completed
    run_batch(session, *(str(n) for n in range(9)), concurrency=concurrency)

    assert peak == 3


def test_a_rate_limit_does_not_delay_downloads(session: BenchSession, cwd: Path) -> None:
    """Transfers have their own slots, so that waiting submissions do not block them."""
    resting, downloaded = threading.Event(), threading.Event()
    session.script.on_submit = lambda _: running("t-1")
    session.script.on_read = running
    run_batch(session, "known", concurrency=1, timeout_s=0.0)

    def rest(seconds: float, /) -> None:
        session.time.advance(seconds)
        resting.set()
        assert downloaded.wait(WAIT_S)

    def on_read(task_id: str) -> Task:
        assert resting.wait(WAIT_S)
        return completed(task_id)

    session.rate_limiter = RateLimiter(session.monotonic, rest)
    # Shorter than a read timeout: the rest also advances the clock that times replies.
    session.rate_limiter.slow_down(20.0)
    session.script.on_read = on_read
    session.script.on_submit = lambda prompt: completed(f"task-{prompt}")
    session.script.on_download = lambda _: downloaded.set()

    run_batch(session, "known", "new", concurrency=2)

    assert saved_names(cwd) == ["known", "new"]


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(RequestRefusedError("no"), id="refused-request"),
        pytest.param(QuotaError("empty", http_status=402), id="no-credits"),
        pytest.param(AuthenticationError("bad key"), id="bad-key"),
    ],
)
def test_five_identical_refusals_in_a_row_stop_submissions(
    session: BenchSession, cwd: Path, error: OmniEditError
) -> None:
    session.script.on_submit = refuse("abdefghi", error)

    outcomes = run_batch(session, *"abcdefghijk", concurrency=1)

    assert session.script.prompts == [*"abcdefgh"]
    assert [outcomes[prompt].error for prompt in "ijk"] == [None] * 3
    [warned] = session.reported(Warned)
    assert "`--keep-going`" in warned.message


@pytest.mark.parametrize("error", [RequestRefusedError("no"), QuotaError("empty")])
def test_keep_going_submits_despite_refusals(
    session: BenchSession, cwd: Path, error: OmniEditError
) -> None:
    session.script.on_submit = refuse("abcdefgh", error)

    run_batch(session, *"abcdefgh", concurrency=1, keeps_going=True)

    assert session.script.prompts == [*"abcdefgh"]


@pytest.mark.parametrize("concurrency", [1, 8])
def test_reserved_credits_count_against_the_limit(
    session: BenchSession, cwd: Path, concurrency: int
) -> None:
    def reserve(prompt: str) -> Task:
        return completed(f"task-{prompt}")._replace(credits_reserved=30.0)

    session.script.on_submit = reserve
    session.script.on_read = completed
    edits = [replace(edit, estimated_credits=10.0) for edit in plan(session, *"abcd")]
    run = BatchRun(session, OPTIONS, concurrency=concurrency, max_credits=50.0)

    outcomes = {outcome.edit.request.prompt: outcome for outcome in run.run(edits)}

    assert session.script.prompts == ["a", "b"]
    assert isinstance(outcomes["c"].error, TooExpensiveError)
    assert outcomes["d"] == EditOutcome(edit=edits[3])
    assert saved_names(cwd) == ["a", "b"]


def test_a_failed_task_frees_its_reserved_credits(session: BenchSession, cwd: Path) -> None:
    def reserve(prompt: str) -> Task:
        return failed(f"task-{prompt}")._replace(credits_reserved=30.0)

    session.script.on_submit = reserve
    edits = [replace(edit, estimated_credits=30.0) for edit in plan(session, *"abcd")]

    list(BatchRun(session, OPTIONS, concurrency=1, max_credits=50.0).run(edits))

    assert session.script.prompts == [*"abcd"]


def test_submissions_are_evenly_spaced(cwd: Path) -> None:
    # Submissions advance the clock that transfers share: keep transfers from timing out.
    long_timeouts = DEFAULT._replace(connect_timeout_s=1e6, read_timeout_s=1e6, stall_s=1e6)
    session = BenchSession(submission_interval_s=2000.0, policy=long_timeouts)
    posted_at: list[float] = []

    def on_submit(prompt: str) -> Task:
        posted_at.append(session.time.now)
        return completed(f"task-{prompt}")

    session.script.on_submit = on_submit
    session.script.on_read = completed

    run_batch(session, "a", "b", "c", concurrency=1, timeout_s=1e6)

    assert posted_at == [0.0, 2000.0, 4000.0]
    assert saved_names(cwd) == ["a", "b", "c"]


def test_a_failed_download_reports_its_task_id(session: BenchSession, cwd: Path) -> None:
    def fail_download(_: str) -> None:
        raise NotConnectedError("no way")

    session.script.on_download = fail_download

    outcomes = run_batch(session, "a")

    assert outcomes["a"].error is not None
    assert outcomes["a"].error.task_id == "task-a"
    assert outcomes["a"].record is not None


def test_a_bug_in_one_line_does_not_stop_the_others(session: BenchSession, cwd: Path) -> None:
    def fail_on_a(prompt: str) -> Task:
        if prompt == "a":
            raise ZeroDivisionError
        return completed(f"task-{prompt}")

    session.script.on_submit = fail_on_a

    outcomes = run_batch(session, "a", "b")

    assert outcomes["a"].error is not None
    assert outcomes["a"].error.code == "bug"
    assert saved_names(cwd) == ["b"]


def test_threads_share_one_client(session: BenchSession) -> None:
    with ThreadPoolExecutor(8) as pool:
        clients = set(pool.map(lambda _: id(session.service), range(64)))

    assert len(clients) == 1
