"""A batch that is killed or interrupted, and then run again."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.equipment import Bench, digest
from tests.policies import HURRIED

pytestmark = pytest.mark.e2e

URL = "https://example.com/clip.mp4"
WAIT_S = 30.0


def write_manifest(folder: Path, count: int, *, seconds: float) -> str:
    lines = [
        {"video": URL, "prompt": f"{n} [sandbox:seconds={seconds}]", "output": f"out/{n}.mp4"}
        for n in range(count)
    ]
    (folder / "m.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    return "m.jsonl"


def wait_until(is_so: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_batch_of_200_survives_three_kills_without_duplicates(bench: Bench, folder: Path) -> None:
    manifest = write_manifest(folder, 200, seconds=6)  # 0.3 s
    out = folder / "out"

    def files() -> int:
        return len(list(out.glob("[0-9]*.mp4"))) if out.exists() else 0

    for count in (30, 80, 130):
        process = bench.start("batch", manifest, "-q", "--concurrency", "8")
        wait_until(lambda count=count: files() >= count, process)  # type: ignore[misc]
        process.kill()
        process.communicate()
    ended = bench.run("batch", manifest, "--json", "--concurrency", "8")

    assert ended.status == 0, ended.stderr
    assert len(ended.document["tasks"]) == len({t["task_id"] for t in ended.document["tasks"]})
    assert len(bench.task_ids) == 200
    assert sorted(path.name for path in out.iterdir()) == sorted(f"{n}.mp4" for n in range(200))
    for task in ended.document["tasks"]:
        assert digest((folder / task["output"]).read_bytes()) == task["saved"][0]["sha256"]


@pytest.mark.parametrize(
    ("signal_number", "status"),
    [
        pytest.param(signal.SIGINT, 130, id="ctrl-c"),
        pytest.param(signal.SIGTERM, 143, id="terminated"),
        pytest.param(getattr(signal, "SIGHUP", 1), 129, id="hung-up"),
    ],
)
def test_an_interrupted_batch_is_picked_up_by_the_same_command(
    bench: Bench, folder: Path, signal_number: signal.Signals, status: int
) -> None:
    manifest = write_manifest(folder, 12, seconds=20)  # 1 s

    process = bench.start("batch", manifest, "--events", "--concurrency", "6")
    wait_until(lambda: len(bench.task_ids) >= 6, process)
    process.send_signal(signal_number)
    stdout, stderr = process.communicate(timeout=WAIT_S)
    again = bench.run("batch", manifest)

    events = [json.loads(line) for line in stdout.splitlines()]
    done = events[-1]
    submitted = [task for task in done["tasks"] if task["task_id"]]
    assert (process.returncode, done["event"], done["exit_status"]) == (status, "done", status)
    assert len(done["tasks"]) == 12
    assert len(submitted) >= 6
    recovery_hint = (
        f"`omniedit batch {manifest} --events --concurrency 6` picks up {len(submitted)} already"
    )
    assert f"error: {done['error']['message']}\nhint: {recovery_hint}".encode() in stderr
    assert stderr.count(b"hint: ") == 1
    assert done["error"]["hint"].startswith(recovery_hint)
    assert again.status == 0, again
    assert len(bench.task_ids) == 12
    assert len(again.stdout.split()) == 12


def test_a_closed_stdout_does_not_stop_saving(bench: Bench, folder: Path) -> None:
    manifest = write_manifest(folder, 8, seconds=0)

    process = bench.start("batch", manifest, "--concurrency", "1")
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, stderr = process.communicate(timeout=WAIT_S)

    assert process.returncode in {0, 141}, stderr
    assert len(list((folder / "out").iterdir())) == 8


@pytest.mark.parametrize("argv", [[], ["--no-journal"]], ids=["journal", "no-journal"])
def test_an_interrupted_batch_names_a_submission_that_rests_after_a_lost_reply(
    bench: Bench, folder: Path, argv: list[str]
) -> None:
    (folder / "m.jsonl").write_text(json.dumps({"video": URL, "prompt": "x [sandbox:lost-reply]"}))
    patient = HURRIED._replace(first_backoff_s=60.0, longest_backoff_s=60.0, submit_budget_s=120.0)

    def interrupt(text: str) -> None:
        if "retry" in text:
            os.kill(os.getpid(), signal.SIGINT)

    ended = bench.with_policy(patient).run("batch", "m.jsonl", "--json", *argv, on_stderr=interrupt)

    (request_id,) = bench.keys.values()
    (task,) = ended.document["tasks"]
    assert ended.status == 130, ended
    assert (task["status"], task["request_id"]) == ("unknown", request_id)
    assert "1 with unknown outcome" in ended.stderr
    assert "not started" not in ended.stderr
    (recovery_command,) = [
        command for command in ended.stderr.split("`")[1::2] if request_id in command
    ]
    assert recovery_command.startswith("omniedit submit ")
