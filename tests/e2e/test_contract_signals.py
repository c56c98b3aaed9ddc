"""Signals while a reply is outstanding: exit status, what keeps running, and the recovery command."""

import importlib.util
import os
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.commandline import CommandLine, Ended
from tests.e2e.test_contract_equipment import (
    CLIP,
    TASK,
    Reply,
    Request,
    check_document,
    mp4,
    scripted,
    task,
)

pytestmark = pytest.mark.e2e

SIGNALS = [
    pytest.param(signal.SIGINT, 130, id="interrupted"),
    pytest.param(signal.SIGTERM, 143, id="terminated"),
    pytest.param(getattr(signal, "SIGHUP", 1), 129, id="hung-up"),
]


@pytest.fixture
def omniedit(omniedit: CommandLine, commands: Path) -> CommandLine:
    return replace(omniedit, command=commands / "omniedit")


@pytest.fixture
def held() -> Iterator[threading.Event]:
    """Yield the event for which the scripted service waits before it replies."""
    event = threading.Event()
    yield event
    event.set()


def end(running: subprocess.Popen[bytes], timeout_s: float = 25.0) -> Ended:
    try:
        out, err = running.communicate(timeout=timeout_s)
    finally:
        running.kill()
    return Ended(running.returncode, out.decode(), err.decode())


def suggested_commands(ended: Ended) -> list[list[str]]:
    """Return the commands between backticks on stderr, split like a shell does."""
    return [shlex.split(command) for command in ended.stderr.split("`")[1::2]]


@pytest.mark.parametrize(("signal_number", "status"), SIGNALS)
@pytest.mark.parametrize("argv", [["wait", TASK], ["wait", TASK, "-d", "a b.mp4"]], ids=len)
def test_an_interrupted_wait_ends_at_once_with_a_recovery_command(
    omniedit: CommandLine, held: threading.Event, signal_number: int, status: int, argv: list[str]
) -> None:
    with scripted(lambda _: Reply(body=task("processing"), after=held)) as service:
        running = omniedit.start(*argv, **service.environ())
        assert service.arrived.acquire(timeout=20)
        started = time.monotonic()
        running.send_signal(signal_number)
        ended = end(running)
        elapsed_s = time.monotonic() - started
        held.set()

    assert (ended.status, ended.stdout) == (status, ""), ended
    assert elapsed_s < 4
    assert "Traceback" not in ended.stderr
    (command,) = [
        command for command in suggested_commands(ended) if command[:2] == ["omniedit", "wait"]
    ]
    assert TASK in command
    assert ("a b.mp4" in command) is ("a b.mp4" in argv), command


@pytest.mark.parametrize(
    "command", [["edit", CLIP, "x"], ["batch", CLIP, "--prompt", "x"]], ids=len
)
def test_a_known_edit_interrupted_before_its_first_poll_has_a_recovery_command(
    omniedit: CommandLine, held: threading.Event, command: list[str]
) -> None:
    def reply(request: Request) -> Reply:
        return Reply(body=task("processing"), after=held if request.method == "GET" else None)

    with scripted(reply) as service:
        assert omniedit("submit", CLIP, "x", **service.environ()).status == 0
        assert service.arrived.acquire(timeout=20)
        running = omniedit.start(*command, **service.environ())
        assert service.arrived.acquire(timeout=20)
        running.send_signal(signal.SIGINT)
        ended = end(running)
        held.set()

    assert ended.status == 130, ended
    assert "not started" not in ended.stderr
    assert any(TASK in words or words[1] == "batch" for words in suggested_commands(ended)), ended


@pytest.mark.parametrize(("signal_number", "status"), SIGNALS)
@pytest.mark.parametrize("command", ["submit", "edit"])
def test_a_reply_within_the_grace_period_is_recorded(
    omniedit: CommandLine, held: threading.Event, command: str, signal_number: int, status: int
) -> None:
    with scripted(lambda _: Reply(body=task("processing"), after=held)) as service:
        running = omniedit.start(command, CLIP, "x", **service.environ())
        assert service.arrived.acquire(timeout=20)
        running.send_signal(signal_number)
        threading.Timer(0.5, held.set).start()
        ended = end(running)
        (row,) = check_document(omniedit("list", "--json", **service.environ()))["tasks"]

    assert ended.status == status, ended
    assert row["task_id"] == TASK
    assert TASK in ended.stderr
    assert [
        command
        for command in suggested_commands(ended)
        if (command[0] == "omniedit" and TASK in command) or "edit" in command
    ]
    assert len(service.requests_with("POST")) == 1


@pytest.mark.parametrize("command", ["submit", "edit"])
def test_without_a_reply_in_five_seconds_the_outcome_is_unknown(
    omniedit: CommandLine, held: threading.Event, command: str
) -> None:
    with scripted(lambda _: Reply(body=task("processing"), after=held)) as service:
        running = omniedit.installed.start("--json", command, CLIP, "x", **service.environ())
        assert service.arrived.acquire(timeout=20)
        started = time.monotonic()
        running.send_signal(signal.SIGTERM)
        ended = end(running)
        elapsed_s = time.monotonic() - started
        (row,) = check_document(omniedit("list", "--json", **service.environ()))["tasks"]
        held.set()

    assert ended.status == 143, ended
    assert 3.5 < elapsed_s < 9
    assert (row["task_id"], row["status"]) == (None, "unknown")
    assert f"omniedit submit --resume {row['request_id']}" in ended.stderr
    error = check_document(ended)["error"]
    assert error["request_id"] == row["request_id"]
    assert f"omniedit submit --resume {row['request_id']}" in error["hint"]
    assert len(service.requests_with("POST")) == 1


@pytest.mark.parametrize("argv", [[], ["--no-journal"]], ids=["journal", "no-journal"])
def test_an_interrupted_batch_names_every_unsettled_submission(
    omniedit: CommandLine, held: threading.Event, argv: list[str]
) -> None:
    lines = [f'{{"video": "{CLIP}", "prompt": "{prompt}"}}\n' for prompt in ("one", "two")]
    (omniedit.folder / "m.jsonl").write_text("".join(lines), encoding="utf-8")
    with scripted(lambda _: Reply(body=task("processing"), after=held)) as service:
        running = omniedit.start("batch", "m.jsonl", "--json", *argv, **service.environ())
        assert running.stderr is not None
        for _ in lines:
            assert service.arrived.acquire(timeout=20)
        running.send_signal(signal.SIGINT)
        # An impatient user presses Ctrl-C again.
        waiting = running.stderr.readline().decode()
        running.send_signal(signal.SIGINT)
        ended = end(running)
        keys = {request.headers["idempotency-key"] for request in service.requests_with("POST")}
        held.set()

    assert "press again to stop at once" in waiting
    assert ended.status == 130, ended
    tasks = ended.document["tasks"]
    assert [task["status"] for task in tasks] == ["unknown", "unknown"]
    assert {task["request_id"] for task in tasks} == keys
    assert all(task["created_at"] > "2026" for task in tasks)
    assert "note: 2 with unknown outcome" in ended.stderr
    for key in keys:
        (recovery_command,) = [command for command in suggested_commands(ended) if key in command]
        assert recovery_command[:2] == ["omniedit", "submit"]


def test_a_second_signal_ends_the_command_at_once(
    omniedit: CommandLine, held: threading.Event
) -> None:
    with scripted(lambda _: Reply(body=task("processing"), after=held)) as service:
        running = omniedit.start("submit", CLIP, "x", **service.environ())
        assert service.arrived.acquire(timeout=20)
        started = time.monotonic()
        running.send_signal(signal.SIGINT)
        time.sleep(0.7)
        running.send_signal(signal.SIGINT)
        ended = end(running)
        elapsed_s = time.monotonic() - started
        held.set()

    assert ended.status == 130, ended
    assert elapsed_s < 4
    assert "--resume" in ended.stderr


@pytest.mark.parametrize("option", ["--json", "--events"])
def test_an_interrupted_wait_still_prints_its_document(
    omniedit: CommandLine, held: threading.Event, option: str
) -> None:
    with scripted(lambda _: Reply(body=task("processing"), after=held)) as service:
        running = omniedit.start("wait", TASK, option, **service.environ())
        assert service.arrived.acquire(timeout=20)
        running.send_signal(signal.SIGTERM)
        ended = end(running)
        held.set()

    assert ended.status == 143, ended
    if option == "--json":
        assert check_document(ended)["error"]["exit_status"] == 143
    else:
        last = ended.events[-1]
        assert (last["event"], last["ok"], last["exit_status"]) == ("done", False, 143)


def test_the_next_download_finishes_an_interrupted_one(
    omniedit: CommandLine, held: threading.Event
) -> None:
    video = mp4(bytes(200_000))

    def answer(request: Request) -> Reply:
        if request.path.startswith("/v1/"):
            return Reply(body=task(results=[f"http://{request.headers['host']}/a.mp4"]))
        return Reply(body=video, after=held)

    with scripted(answer) as service:
        running = omniedit.start("download", TASK, "-o", "a.mp4", **service.environ())
        assert service.arrived.acquire(timeout=20)
        assert service.arrived.acquire(timeout=20)
        running.send_signal(signal.SIGTERM)
        ended = end(running)
        held.set()
        again = omniedit("download", TASK, "-o", "a.mp4", **service.environ())

    assert (ended.status, ended.stdout) == (143, ""), ended
    assert TASK in ended.stderr
    assert (again.status, (omniedit.folder / "a.mp4").read_bytes()) == (0, video), again


@pytest.mark.parametrize(("signal_number", "status"), SIGNALS)
@pytest.mark.parametrize("command", ["wait", "edit"])
def test_a_sandbox_recovery_command_stays_in_the_sandbox(
    omniedit: CommandLine, command: str, signal_number: int, status: int
) -> None:
    prompt = "x [sandbox:stall]"
    if command == "wait":
        omniedit("--sandbox", "submit", CLIP, prompt)
    argv = ["wait"] if command == "wait" else ["edit", CLIP, prompt, "-o", "a.mp4"]
    running = omniedit.start("--sandbox", *argv, "--progress", "plain")
    lines = read_stderr_until(running, b"processing")
    running.send_signal(signal_number)
    rest = end(running)
    ended = Ended(rest.status, rest.stdout, lines + rest.stderr)

    assert (ended.status, ended.stdout) == (status, ""), ended
    recovery_commands = [
        command for command in suggested_commands(ended) if command[:1] == ["omniedit"]
    ]
    assert recovery_commands
    assert all("--sandbox" in command for command in recovery_commands), recovery_commands


def read_stderr_until(running: subprocess.Popen[bytes], word: bytes) -> str:
    assert running.stderr
    lines = b""
    for line in running.stderr:
        lines += line
        if word in line:
            return lines.decode()
    pytest.fail(f"no {word!r} in {lines!r}")


@pytest.mark.parametrize(
    ("signal_number", "status"),
    [
        pytest.param(signal.SIGINT, 130, id="ctrl-c"),
        pytest.param(signal.SIGTERM, 143, id="terminated"),
    ],
)
def test_serve_prints_its_url_first_and_a_signal_stops_it_quietly(
    omniedit: CommandLine, signal_number: int, status: int
) -> None:
    running = omniedit.start("--quiet", "sandbox", "serve")
    assert running.stdout
    url = running.stdout.readline().decode().strip()
    submitted = omniedit(
        "submit", CLIP, "x", OMNIEDIT_BASE_URL=url, OMNIEDIT_API_KEY="sk-sandbox-x"
    )
    running.send_signal(signal_number)
    ended = end(running)

    assert url.startswith("http://127.0.0.1:")
    assert submitted.status == 0, submitted
    assert (ended.status, ended.stderr) == (status, "")


def test_an_interrupt_during_start_up_shows_no_traceback(omniedit: CommandLine) -> None:
    spec = importlib.util.find_spec("omniedit")
    package = spec.submodule_search_locations if spec else None
    for delay_s in (0.0, 0.03, 0.08, 0.15):
        running = omniedit.installed.start("list")
        time.sleep(delay_s)
        running.send_signal(signal.SIGINT)
        ended = end(running)
        is_ours = any(f"{place}{os.sep}" in ended.stderr for place in package or [])
        is_early = "KeyboardInterrupt" in ended.stderr or "Error processing line" in ended.stderr
        if is_early and not is_ours:
            continue  # from the interpreter's start or pip's script, before omniedit's code runs
        assert ended.status in {0, 130, -signal.SIGINT}, ended
        assert "Traceback" not in ended.stderr, ended
