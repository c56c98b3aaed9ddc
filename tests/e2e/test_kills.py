"""`kill -9` at any instant, or other signals while a reply is outstanding: nothing paid is lost.

The points of the kills are drawn at random, with a seed, and spread over a command's run: half are
instants, half are right before one of its effects. A plain run has 24 kills, and 200 with
`OMNIEDIT_FULL=1`.
"""

import json
import os
import random
import re
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from omniedit.sandbox.clips import BUNDLED_CLIP
from tests.commandline import Ended
from tests.contract.readme import MANUAL
from tests.e2e.equipment import CLIP_URL, PROMPT, Bench
from tests.e2e.faulty import Endpoint, Exchange, held

pytestmark = pytest.mark.e2e

KILLS: Final = 200 if os.environ.get("OMNIEDIT_FULL") == "1" else 24
SEED: Final = 20_260
RESULT_BYTES: Final = BUNDLED_CLIP.read_bytes()
LATENCY_S: Final = 0.03


@dataclass(frozen=True, slots=True)
class Run:
    """The approximate duration of a command's run, mostly latency, and its number of effects."""

    duration_s: float
    effects: int
    """Calls with effects outside the process: on files, the journal and the network."""


RUNS: Final = {
    "submit": Run(0.4, 49),
    "wait": Run(0.35, 59),
    "edit": Run(0.7, 115),
    "download": Run(0.35, 54),
}
SIGNALS: Final = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129}


def kills() -> list[object]:
    """Return the kills of each command: half at an instant of its run, half before an effect."""
    draw = random.Random(SEED)  # noqa: S311 - not for secrets
    each = KILLS // len(RUNS) // 2
    cases: list[object] = []
    for command, run in RUNS.items():
        for number in range(each):
            after_s = run.duration_s * (number + draw.random()) / each
            cases.append(
                pytest.param(command, after_s, 0, id=f"{command}-{number}-after-{after_s:.3f}-s")
            )
            step = 1 + int(run.effects * (number + draw.random()) / each)
            cases.append(
                pytest.param(command, 0.0, step, id=f"{command}-{number}-before-effect-{step}")
            )
    return cases


@pytest.fixture
def slow_bench(make_bench: Callable[..., Bench], folder: Path) -> Bench:
    """Return a bench whose replies and edits take a moment, with a local clip in its folder."""
    bench = make_bench(edit_seconds=4.0)  # 0.2 s: the sandbox is twenty times as fast
    (folder.parent / "clip.mp4").write_bytes(RESULT_BYTES)
    for endpoint in (Endpoint.SUBMIT, Endpoint.POLL, Endpoint.UPLOAD, Endpoint.RESULT):
        bench.faulty.always(endpoint, _reply_slowly)
    return bench


@pytest.mark.parametrize(("command", "after_s", "effect"), kills())
def test_the_next_run_finishes_a_killed_command(
    slow_bench: Bench, command: str, after_s: float, effect: int
) -> None:
    bench = slow_bench
    argv = _prepare(bench, command)

    killed = _run_and_kill(bench, argv, after_s=after_s, effect=effect)

    _check_nothing_is_lost(bench)
    unknown = [task for task in bench.journal() if task["status"] == "unknown"]
    if command == "submit" and unknown:
        resumed = bench.run("submit", "--resume", unknown[0]["request_id"])
        assert resumed.status == 0, (killed, resumed)
    elif command in {"wait", "download"}:
        again = bench.run(*argv)
        assert (again.status, again.stdout) == (0, "out.mp4\n"), (killed, again)
    edited = bench.run("edit", "../clip.mp4", PROMPT, "-o", "out.mp4")
    assert (edited.status, edited.stdout) == (0, "out.mp4\n"), (killed, edited)
    assert len(bench.task_ids) == 1, (killed, edited)
    assert bench.files() == {"out.mp4": RESULT_BYTES}
    assert [path.name for path in bench.folder.iterdir()] == ["out.mp4"], "nothing is left over"
    _check_nothing_is_lost(bench)


@pytest.mark.parametrize("effect", range(3, 140, 134 // (KILLS // 4)))
def test_a_killed_chained_edit_pays_once_and_writes_its_sidecar_last(
    bench: Bench, effect: int
) -> None:
    (bench.folder / "clip.mp4").write_bytes(RESULT_BYTES)
    bench.run("edit", "clip.mp4", PROMPT, "-o", "one.mp4")
    argv = ["edit", f"task:{bench.task_ids[0]}", f"{PROMPT}, twice", "-o", "two.mp4", "--sidecar"]

    bench.begin(*argv, dies_before=effect)
    killed = bench.end()

    video, sidecar = bench.folder / "two.mp4", bench.folder / "two.mp4.json"
    assert video.exists() or not sidecar.exists(), killed
    if killed.status == 0:
        return
    again = bench.run(*argv)
    assert again.status == 0, (killed, again)
    assert json.loads(sidecar.read_bytes())["parents"] == [bench.journal()[-1]["task_id"]]
    assert len(bench.task_ids) == 2, (killed, again)
    assert {path.name for path in bench.folder.iterdir()} == {
        "clip.mp4",
        "one.mp4",
        "two.mp4",
        "two.mp4.json",
    }, "nothing is left over"


def test_a_kill_never_makes_a_local_refusal_unknown(bench: Bench) -> None:
    status, effect = -signal.SIGKILL, 0
    while status == -signal.SIGKILL:
        effect += 1
        bench.begin("submit", CLIP_URL, PROMPT, "--request-id", "short", dies_before=effect)
        status = bench.end().status
        assert {task["status"] for task in bench.journal()} <= {"refused"}, effect

    assert status == 2
    assert bench.posts == 0


def test_the_number_of_kills_matches_the_manual() -> None:
    text = MANUAL["reliability"].paragraph("The tests run")
    assert re.search(rf"\b(?:kill|or) {len(kills())} ", text)


@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("command", ["submit", "edit"])
def test_a_signal_waits_for_the_outstanding_reply(bench: Bench, name: str, command: str) -> None:
    bench.faulty.script(Endpoint.SUBMIT, held)
    bench.faulty.always(Endpoint.RESULT, held)
    pid = bench.begin(command, CLIP_URL, PROMPT, *_output(command), "--json")
    _wait_until(lambda: bench.faulty.count(Endpoint.SUBMIT) == 1)

    os.kill(pid, getattr(signal, name))
    _wait_until(lambda: bench.fork_server.has_written("for the service's reply"))
    bench.faulty.released.set()
    ended = bench.end()

    (task_id,) = bench.task_ids
    assert ended.status == SIGNALS[name], ended
    assert (
        f"omniedit wait {task_id}" in ended.stderr or f"omniedit download {task_id}" in ended.stderr
    )
    assert ended.document["error"]["exit_status"] == SIGNALS[name]
    assert [task["task_id"] for task in bench.journal()] == [task_id]
    _check_edit_completes(bench)


@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("command", ["submit", "edit"])
@pytest.mark.parametrize("signals", [1, 2], ids=["grace-ends", "second-signal"])
def test_a_signal_without_a_reply_names_the_submission(
    bench: Bench, name: str, command: str, signals: int
) -> None:
    bench.faulty.script(Endpoint.SUBMIT, held)
    hurried = bench.with_policy(bench.policy._replace(grace_s=0.3)) if signals == 1 else bench
    pid = hurried.begin(command, CLIP_URL, PROMPT, *_output(command), "--json")
    _wait_until(lambda: bench.faulty.count(Endpoint.SUBMIT) == 1)

    os.kill(pid, getattr(signal, name))
    if signals == 2:
        _wait_until(lambda: bench.fork_server.has_written("for the service's reply"))
        os.kill(pid, getattr(signal, name))
    ended = bench.end()

    (request,) = bench.faulty.requests_to(Endpoint.SUBMIT)
    assert ended.status == SIGNALS[name], ended
    assert f"`omniedit submit --resume {request.key}`" in ended.stderr
    (listed,) = bench.journal()
    assert (listed["status"], listed["request_id"]) == ("unknown", request.key)
    bench.faulty.clear_faults()
    resumed = bench.run("submit", "--resume", request.key)
    assert (resumed.status, resumed.stdout.split()) == (0, bench.task_ids), resumed
    _check_edit_completes(bench)


@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_during_a_wait_names_the_task(make_bench: Callable[..., Bench], name: str) -> None:
    bench = make_bench(edit_seconds=100.0)
    task_id = bench.run("submit", CLIP_URL, PROMPT).stdout.strip()
    pid = bench.begin("wait", task_id, "-d", "out.mp4", "--json")
    _wait_until(lambda: bench.faulty.count(Endpoint.POLL) > 1)

    os.kill(pid, getattr(signal, name))
    ended = bench.end()

    assert ended.status == SIGNALS[name], ended
    assert f"`omniedit wait {task_id} --download out.mp4`" in ended.stderr
    assert [task["task_id"] for task in bench.journal()] == [task_id]


@pytest.mark.parametrize("name", SIGNALS)
def test_a_download_ended_by_a_signal_is_resumed(bench: Bench, name: str) -> None:
    task_id = bench.run("submit", CLIP_URL, PROMPT).stdout.strip()
    bench.faulty.always(Endpoint.RESULT, _stop_halfway)
    pid = bench.begin("download", task_id, "-o", "out.mp4")
    _wait_until(lambda: any(path.stat().st_size > 9 for path in bench.folder.glob(".*.part")))

    os.kill(pid, getattr(signal, name))
    ended = bench.end()

    assert ended.status == SIGNALS[name], ended
    assert bench.files() == {}
    bench.faulty.clear_faults()
    again = bench.run("download", task_id, "-o", "out.mp4")
    assert again.status == 0, again
    assert "range" in bench.faulty.requests_to(Endpoint.RESULT)[-1].headers
    assert bench.files() == {"out.mp4": RESULT_BYTES}


def _prepare(bench: Bench, command: str) -> list[str]:
    """Prepare for a command, and return the command line to kill."""
    edit = ["../clip.mp4", PROMPT]
    if command in {"submit", "edit"}:
        return [command, *edit, *_output(command)]
    task_id = bench.run("submit", *edit).stdout.strip()
    if command == "download":
        assert bench.run("wait", task_id).status == 0
    return [command, task_id, "-d" if command == "wait" else "-o", "out.mp4"]


def _run_and_kill(bench: Bench, argv: list[str], *, after_s: float, effect: int) -> Ended:
    pid = bench.begin(*argv, dies_before=effect)
    if not effect:
        time.sleep(after_s)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    ended = bench.end()
    assert ended.status in {0, -signal.SIGKILL}, ended
    return ended


def _check_nothing_is_lost(bench: Bench) -> None:
    """Check that the journal knows every task, and that files with final names are complete."""
    keys = bench.keys
    listed = bench.journal()
    known = {task["task_id"] for task in listed}
    unknown = {task["request_id"] for task in listed if task["status"] == "unknown"}
    assert [t for t, key in keys.items() if t not in known and key not in unknown] == [], listed
    assert all(content == RESULT_BYTES for content in bench.files().values())


def _check_edit_completes(bench: Bench) -> None:
    bench.faulty.clear_faults()
    edited = bench.run("edit", CLIP_URL, PROMPT, "-o", "out.mp4")
    assert edited.status == 0, edited
    assert len(bench.task_ids) == 1
    assert bench.files() == {"out.mp4": RESULT_BYTES}


def _output(command: str) -> list[str]:
    return ["-o", "out.mp4"] if command == "edit" else []


def _reply_slowly(exchange: Exchange) -> None:
    time.sleep(LATENCY_S)
    reply = exchange.forward()
    time.sleep(LATENCY_S)
    exchange.send(reply.head)
    for start in range(0, len(reply.body), 16_384):
        exchange.send(reply.body[start : start + 16_384])
        time.sleep(LATENCY_S / 10)


def _stop_halfway(exchange: Exchange) -> None:
    reply = exchange.forward()
    exchange.send(reply.head + reply.body[: len(reply.body) // 2])
    exchange.hold()


def _wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)
