"""omniedit in scripts with `bash -eu`: dry runs, pipes, closed and full streams."""

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from omniedit.sandbox.server import RunningSandbox
from tests.commandline import COMMAND, CommandLine
from tests.e2e.test_contract_equipment import (
    CLIP,
    KEY,
    NOW,
    TASK,
    check_document,
    mp4,
    requests,
    scripted,
    submissions,
    task,
)
from tests.e2e.test_contract_equipment import Reply as ScriptedReply

pytestmark = pytest.mark.e2e
full_disk = pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")

Bash = Callable[..., subprocess.CompletedProcess[bytes]]
HOSTILE_PROMPTS = (
    'it\'s "quoted" `id` $(touch pwned) $HOME ${EVOLINK_API_KEY} \\ !! %s',
    "line one\nline two\r\n\ttab",
    "把灯光调暖 其余保持不变",
    "@/etc/hostname",
    "'; touch pwned; '",
    "-x \u202e\u2028 \U0001f3ac",
)


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "record.jsonl"


@pytest.fixture
def service(start_sandbox: Callable[..., RunningSandbox], record: Path) -> RunningSandbox:
    return start_sandbox(record=record)


@pytest.fixture
def bash(served: CommandLine, commands: Path) -> Bash:
    """Return a function that runs scripts in `bash -eu -o pipefail` with the sandbox's settings."""

    def run(script: str, **environ: str) -> subprocess.CompletedProcess[bytes]:
        path = f"{commands}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            ["bash", "-eu", "-o", "pipefail", "-c", script],  # noqa: S607 - any bash will do
            cwd=served.folder,
            env={**os.environ, **served.environ, "PATH": path, **environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=100,
            check=False,
        )

    return run


def test_wait_saves_the_task_that_submit_started(bash: Bash, served: CommandLine) -> None:
    ended = bash(f"""
        id=$(omniedit submit {CLIP} "warmer {NOW}")
        omniedit wait --download out.mp4
        omniedit status "$id"
        omniedit download "$id" -o - > again.mp4
        cmp out.mp4 again.mp4
        path=$(omniedit wait "$id" -q -d other.mp4)
        test -s "$path"
    """)

    assert ended.returncode == 0, ended
    assert ended.stdout.startswith(b"out.mp4\n")
    assert b"Traceback" not in ended.stderr


def test_exit_statuses_can_be_tested_in_a_script(bash: Bash) -> None:
    ended = bash(f"""
        set +e
        out=$(omniedit edit {CLIP} "x [sandbox:http=402]" -q -o out.mp4); echo "$? <$out>"
        omniedit wait -q; echo $?
        if omniedit status nosuchtask 2> errors; then echo found; else echo "not: $?"; fi
    """)

    assert ended.stdout.decode() == "4 <>\n4\nnot: 11\n", ended


@pytest.mark.parametrize("reader", ["head -1", "true", "head -c 1"])
def test_a_closed_pipe_ends_quietly(bash: Bash, reader: str) -> None:
    ended = bash(f"""
        set +e
        omniedit submit {CLIP} "warmer {NOW}" -q > /dev/null
        for command in list "list --json" status "help exit-codes" --help; do
            omniedit $command | {reader} > /dev/null
            echo "${{PIPESTATUS[0]}}"
        done
    """)

    statuses = ended.stdout.decode().split()
    assert (len(statuses), {*statuses} <= {"0", "141"}) == (5, True), ended
    assert not [line for line in ended.stderr.splitlines() if line.startswith((b"error", b"Trace"))]


def test_a_save_finishes_without_a_reader(bash: Bash, served: CommandLine) -> None:
    ended = bash(f"""
        set +e
        omniedit edit {CLIP} "warmer {NOW}" -o a.mp4 | true
        omniedit submit {CLIP} "warmer {NOW}" -q > /dev/null
        omniedit wait -d b.mp4 | true
    """)

    assert {path.name for path in served.folder.iterdir()} == {"a.mp4", "b.mp4"}, ended
    assert b"Traceback" not in ended.stderr


@pytest.mark.parametrize("stream", [">&-", pytest.param(">/dev/full", marks=full_disk)])
def test_a_task_is_not_lost_without_stdout(
    bash: Bash, served: CommandLine, record: Path, stream: str
) -> None:
    ended = bash(f'omniedit submit {CLIP} "warmer {NOW}" {stream}')

    (row,) = check_document(served("list", "--json"))["tasks"]
    assert ended.returncode in {0, 10, 141}, ended
    assert b"Traceback" not in ended.stderr
    assert row["task_id"] == submissions(record)[0]["task_id"]
    assert row["task_id"].encode() in ended.stderr


@pytest.mark.parametrize("stream", [">&-", pytest.param(">/dev/full", marks=full_disk)])
def test_a_save_finishes_without_stdout(bash: Bash, served: CommandLine, stream: str) -> None:
    ended = bash(f'omniedit edit {CLIP} "warmer {NOW}" -o a.mp4 {stream}')

    assert ended.returncode in {0, 10, 141}, ended
    assert b"Traceback" not in ended.stderr
    assert [path.name for path in served.folder.iterdir()] == ["a.mp4"], ended
    assert (served.folder / "a.mp4").read_bytes()[4:8] == b"ftyp"


@pytest.mark.parametrize("buffering", ["PYTHONUNBUFFERED=", "PYTHONUNBUFFERED=1"])
def test_output_that_was_cut_short_is_no_success(bash: Bash, buffering: str) -> None:
    ended = bash(f"""
        set +e
        ulimit -f 4
        {buffering} {COMMAND} help json edit > schema.json
    """)

    assert ended.returncode == 10, ended
    assert b"cannot write to standard output" in ended.stderr


@pytest.mark.parametrize(
    "command", [f'edit {CLIP} "warmer {NOW}" -o -', "download -o -", "wait -d -"]
)
def test_a_video_to_a_closed_stdout_is_refused_before_submitting(
    bash: Bash, record: Path, command: str
) -> None:
    ended = bash(f"omniedit {command} >&-")

    assert (ended.returncode, ended.stdout) == (10, b""), ended
    assert b"standard output is closed" in ended.stderr
    assert not submissions(record)


@pytest.mark.parametrize(
    "stream", ["2>&-", pytest.param("2>/dev/full", marks=full_disk), "<&-", "2>&- <&-"]
)
def test_a_result_is_delivered_without_stderr(bash: Bash, stream: str) -> None:
    ended = bash(f"""
        omniedit submit {CLIP} "warmer {NOW}" {stream}
        omniedit wait -d a.mp4 -v {stream}
        omniedit download -o - {stream} | cmp - a.mp4
        omniedit status nosuchtask {stream} || echo $?
    """)

    lines = ended.stdout.decode().splitlines()
    assert (len(lines), lines[1:]) == (3, ["a.mp4", "11"]), ended


@full_disk
def test_a_full_disk_under_a_video_is_status_10(bash: Bash) -> None:
    ended = bash(f"""
        omniedit submit {CLIP} "warmer {NOW}" -q > /dev/null
        omniedit download -o - > /dev/full || echo $?
    """)

    assert ended.stdout == b"10\n", ended
    assert b"error:" in ended.stderr
    assert b"Traceback" not in ended.stderr


@pytest.mark.parametrize("prompt", HOSTILE_PROMPTS, ids=range(len(HOSTILE_PROMPTS)))
def test_a_dry_runs_curl_line_sends_what_submit_sends(
    served: CommandLine, bash: Bash, record: Path, prompt: str
) -> None:
    clip = "https://example.com/it's a $(clip).mp4?a=1&b=2".replace(" ", "%20")
    options = ["--callback-url", "https://example.com/h?a='b'&c"]
    dry_run = served("submit", "--dry-run", "--json", *options, "--", clip, prompt)
    document = check_document(dry_run)
    text = served("submit", "--dry-run", *options, "--", clip, prompt)
    unsent = not requests(record)

    ran = bash(document["curl"], EVOLINK_API_KEY="sk-sandbox-curl")
    sent = served("submit", *options, "--", clip, prompt)

    assert unsent
    assert "$EVOLINK_API_KEY" in document["curl"]
    assert text.stdout.rstrip().splitlines()[-1].startswith("curl ")
    assert served.environ["OMNIEDIT_API_KEY"] not in dry_run.stdout + text.stdout
    assert ran.returncode == sent.status == 0, (ran, sent)
    assert json.loads(ran.stdout)["id"].startswith("task-")
    by_curl, by_submit = submissions(record)
    assert by_curl["status"] == 200, by_curl
    assert by_curl["body"] == by_submit["body"] == document["request"]["body"]
    assert by_curl["body"]["prompt"] == prompt
    assert not list(served.folder.iterdir())


def test_a_dry_run_prints_json_and_a_curl_line(served: CommandLine, bash: Bash) -> None:
    text = served("submit", CLIP, f"x {NOW}", "--dry-run").stdout

    shown, _, curl = text.rstrip().rpartition("\ncurl ")
    assert json.loads(shown)["body"]["prompt"] == f"x {NOW}"
    assert bash(f"curl {curl}", EVOLINK_API_KEY="sk-sandbox-curl").returncode == 0


def test_a_dry_run_needs_no_key_and_makes_no_task(omniedit: CommandLine) -> None:
    ended = omniedit("submit", CLIP, "x", "--dry-run")
    unset = omniedit("list", "--json")

    assert ended.status == 0, ended
    assert not [task for task in check_document(unset)["tasks"] if task["task_id"]]


def test_a_sandbox_dry_run_never_names_the_real_api(omniedit: CommandLine) -> None:
    ended = omniedit("--sandbox", "submit", CLIP, "x", "--dry-run", "--json")

    shown = check_document(ended)
    assert shown["request"]["url"].startswith("http://127.0.0.1:8123/")
    assert "evolink.ai" not in ended.stdout
    assert "`omniedit sandbox serve --port 8123` takes this request" in ended.stderr


def test_a_dry_run_cannot_resume_a_submission(served: CommandLine) -> None:
    served("submit", CLIP, "x [sandbox:http=500]")
    (unknown,) = served("list", "--json").document["tasks"]

    ended = served("submit", "--resume", unknown["request_id"], "--dry-run")

    assert (ended.status, ended.stdout) == (2, ""), ended
    assert "--resume" in ended.stderr
    assert served("list", "--json").document["tasks"] == [unknown]


def test_a_dry_run_uses_the_callers_request_id(served: CommandLine) -> None:
    ended = served("submit", CLIP, "x", "--dry-run", "--request-id", "my-own-request-1")

    assert "my-own-request-1" in ended.stdout.splitlines()[-1]


PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")


@pytest.mark.parametrize("bypass", [{}, {"NO_PROXY": "example.com"}, {"NO_PROXY": ""}], ids=str)
def test_loopback_never_goes_through_a_proxy(
    omniedit: CommandLine, served: CommandLine, bypass: Mapping[str, Any]
) -> None:
    with scripted(lambda _: ScriptedReply(status=502)) as proxy_server:
        environ = {**dict.fromkeys(PROXIES, proxy_server.url), **bypass}
        embedded = omniedit("--sandbox", "edit", CLIP, f"x {NOW}", "-o", "a.mp4", **environ)
        over_socket = served("edit", CLIP, f"y {NOW}", "-o", "b.mp4", **environ)

    assert (embedded.status, over_socket.status) == (0, 0), (embedded, over_socket)
    assert not proxy_server.requests


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "nonsense", "http://[::1"])
def test_an_unusable_proxy_does_not_affect_the_sandbox(omniedit: CommandLine, proxy: str) -> None:
    ended = omniedit("--sandbox", "edit", CLIP, f"x {NOW}", "-o", "a.mp4", ALL_PROXY=proxy)

    assert ended.status == 0, ended


def test_a_result_on_localhost_bypasses_the_proxy(omniedit: CommandLine) -> None:
    with (
        scripted(lambda _: ScriptedReply(status=502)) as proxy_server,
        scripted(
            lambda request: (
                ScriptedReply(body=task(results=[f"http://localhost:{port}/a.mp4?s=1"]))
                if request.path.startswith("/v1/")
                else ScriptedReply(body=mp4(bytes(100)))
            )
        ) as service,
    ):
        port = service.url.rpartition(":")[2]
        environ = dict.fromkeys(PROXIES, proxy_server.url) | service.environ(KEY)
        ended = omniedit("download", TASK, "-o", "a.mp4", **environ)

    assert ended.status == 0, ended
    assert not proxy_server.requests
