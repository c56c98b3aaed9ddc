"""stdout carries the result and nothing else, in every output mode of every command."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from omniedit.sandbox.server import RunningSandbox
from tests.commandline import CommandLine, Ended
from tests.e2e.test_contract_equipment import (
    CLIP,
    INSTANT,
    KEY,
    NOW,
    Reply,
    check_document,
    check_failure,
    requests,
    scripted,
    task,
)

pytestmark = pytest.mark.e2e

TASK_COMMANDS = ("status", "wait", "download", "edit", "list")


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "record.jsonl"


@pytest.fixture
def service(start_sandbox: Callable[..., RunningSandbox], record: Path) -> RunningSandbox:
    return start_sandbox(record=record)


def submit_finished(served: CommandLine) -> str:
    return served("submit", CLIP, f"warmer {NOW}").stdout.strip()


def argv_of(command: str) -> list[str]:
    return [command, CLIP, f"warmer {NOW}"] if command == "edit" else [command]


def check_events(ended: Ended) -> list[dict[str, Any]]:
    events = ended.events
    assert ended.stdout.isascii()
    assert [event["event"] for event in events].count("done") == 1, ended
    done = events[-1]
    assert (done["event"], done["ok"]) == ("done", ended.status == 0), ended
    assert done["exit_status"] == ended.status, ended
    return events


def test_text_output_is_the_result_alone(served: CommandLine) -> None:
    submitted = served("submit", CLIP, f"warmer {NOW}")
    task_id = submitted.stdout.strip()
    status, waited = served("status"), served("wait")
    saved = served("wait", "-d", "a.mp4")
    downloaded = served("download", "-o", "new/b.mp4")

    assert submitted.stdout == f"{task_id}\n"
    assert task_id in status.stdout
    assert status.stdout.count("\n") == 1
    assert waited.stdout.startswith("http://127.0.0.1:")
    assert waited.stdout.count("\n") == 1
    assert (saved.stdout, downloaded.stdout) == ("a.mp4\n", "new/b.mp4\n"), (saved, downloaded)


def test_a_wait_without_a_path_names_the_download_command(
    served: CommandLine,
) -> None:
    task_id = submit_finished(served)

    ended = served("wait")

    assert "omniedit download" in ended.stderr, ended
    assert task_id in ended.stderr, ended


@pytest.mark.parametrize("command", TASK_COMMANDS)
def test_task_commands_report_the_task_in_json(served: CommandLine, command: str) -> None:
    submit_finished(served)

    document = check_document(served(*argv_of(command), "--json"))

    assert document["sandbox"] is True
    (shown,) = document["tasks"]
    assert shown["status"] == "completed"
    assert (shown["video"], shown["prompt"]) == (CLIP, f"warmer {NOW}")
    assert INSTANT.fullmatch(shown["created_at"])
    assert INSTANT.fullmatch(shown["link_valid_until"] or ""), shown


@pytest.mark.parametrize("command", TASK_COMMANDS)
def test_quiet_output_is_the_result_alone(served: CommandLine, command: str) -> None:
    submit_finished(served)

    loud, quiet = served(*argv_of(command)), served(*argv_of(command), "-q")

    assert (quiet.status, quiet.stderr) == (0, ""), quiet
    assert bool(quiet.stdout) == bool(loud.stdout)


def test_submit_reports_the_task_in_json(served: CommandLine) -> None:
    document = check_document(served("submit", CLIP, "warmer [sandbox:seconds=60]", "--json"))

    shown = document["task"]
    assert shown["status"] in {"pending", "processing"}
    assert shown["estimated_seconds"] == 3
    assert shown["credits_reserved"] == 31.8
    assert (shown["credits_used"], shown["link_valid_until"], shown["error"]) == (None, None, None)
    assert (shown["results"], shown["saved"]) == ([], [])


@pytest.mark.parametrize("sandboxed", ["before", "after"])
@pytest.mark.parametrize("json_", ["before", "after"])
def test_flags_are_accepted_before_or_after_the_command(
    omniedit: CommandLine, sandboxed: str, json_: str
) -> None:
    flags = [("--sandbox", sandboxed), ("--json", json_), ("-q", json_), ("-v", sandboxed)]
    before = [flag for flag, place in flags if place == "before"]
    after = [flag for flag, place in flags if place == "after"]

    document = check_document(omniedit(*before, "list", *after))

    assert (document["ok"], document["sandbox"], document["tasks"]) == (True, True, [])


@pytest.mark.parametrize(
    ("argv", "status"),
    [
        pytest.param(["status"], 2, id="empty-journal"),
        pytest.param(["wait", "../credits"], 2, id="invalid-task-id"),
        pytest.param(["download", "nosuchtask"], 11, id="unknown-task"),
        pytest.param(["submit", "ftp://example.com/c.mp4", "x"], 2, id="bad-clip"),
        pytest.param(["submit", CLIP, "x [sandbox:http=402]"], 4, id="refused-submit"),
        pytest.param(["edit", CLIP, "x [sandbox:http=402]"], 4, id="refused-edit"),
        pytest.param(["edit", CLIP, f"x [sandbox:cancel]{NOW}"], 5, id="cancelled"),
        pytest.param(["status", "--no-such-option"], 2, id="unknown-option"),
        pytest.param(["submit"], 2, id="missing-argument"),
        pytest.param(["submit", CLIP, "a", "b"], 2, id="extra-argument"),
        pytest.param(["nonsense"], 2, id="unknown-command"),
        pytest.param(["wait", "--timeout", "soon"], 2, id="invalid-duration"),
        pytest.param(["list", "--limit", "none"], 2, id="invalid-number"),
        pytest.param(["list", "--forget", "nosuchtask"], None, id="forget-unknown"),
        pytest.param(["help", "nonsense"], 2, id="unknown-topic"),
        pytest.param(["config", "set-key"], None, id="set-key-without-input"),
        pytest.param(["wait", "-d", "-"], 2, id="json-and-video-on-stdout"),
    ],
)
def test_a_failure_is_reported_as_one_document(
    served: CommandLine, argv: list[str], status: int | None
) -> None:
    after, before = served(*argv, "--json"), served("--json", *argv)

    document = check_document(after)
    assert after.status == status or (status is None and after.status), after
    assert document["ok"] is False
    assert check_document(before)["error"]["code"] == document["error"]["code"]


@pytest.mark.parametrize(
    "argv",
    [
        pytest.param(["status"], id="empty-journal"),
        pytest.param(["wait", "nosuchtask"], id="unknown-task"),
        pytest.param(["download", "nosuchtask"], id="download-unknown-task"),
        pytest.param(["edit", CLIP, "x [sandbox:http=402]"], id="refused-edit"),
    ],
)
def test_a_failed_commands_document_keeps_its_task_list(
    served: CommandLine, argv: list[str]
) -> None:
    document = check_document(served(*argv, "--json"))

    assert isinstance(document.get("tasks"), list), document


def test_a_failed_tasks_error_is_reported_in_full(served: CommandLine) -> None:
    served("submit", CLIP, f"x [sandbox:fail=content_policy_violation]{NOW}")

    waited, status = served("wait", "--json"), served("status", "--json")

    assert (waited.status, status.status) == (5, 0)
    for ended in (waited, status):
        error = check_document(ended)["tasks"][0]["error"]
        assert error["code"] == "content_policy_violation"
        assert "violates the content policy" in error["message"]
        assert error["retryable"] is False
    assert check_document(waited)["error"]["code"] == "content_policy_violation"


@pytest.mark.parametrize(
    "argv",
    [
        ["config", "show"],
        ["config", "path"],
        ["config", "unset-key"],
        ["sandbox", "reset"],
        ["help", "exit-codes"],
        ["help", "environment"],
        ["help", "sandbox"],
        ["submit", CLIP, "x", "--dry-run"],
    ],
    ids=" ".join,
)
def test_every_other_command_reports_one_document(omniedit: CommandLine, argv: list[str]) -> None:
    environ: dict[str, Any] = {"EVOLINK_API_KEY": KEY}
    text, document = omniedit(*argv, **environ), omniedit(*argv, "--json", **environ)

    assert text.status == document.status == 0, (text, document)
    assert check_document(document)["sandbox"] is False
    assert KEY not in text.stdout + text.stderr + document.stdout + document.stderr


def test_json_output_is_ascii_whatever_the_prompt(served: CommandLine) -> None:
    prompt = f"把灯光调暖 \u202e\x1b[31m é {NOW}"
    served("submit", CLIP, prompt)

    document = check_document(served("list", "--json", PYTHONIOENCODING="ascii"))

    assert document["tasks"][0]["prompt"] == prompt


def test_json_and_events_are_refused_together(served: CommandLine, record: Path) -> None:
    submit_finished(served)
    request_count = len(requests(record))

    ended = served("wait", "--json", "--events")

    assert ended.status == 2, ended
    assert all(json.loads(line) for line in ended.stdout.splitlines())
    assert sum(line.startswith("error:") for line in ended.stderr.splitlines()) == 1, ended
    assert len(requests(record)) == request_count


@pytest.mark.parametrize("option", ["--json", "--events"])
@pytest.mark.parametrize("command", ["wait", "edit"])
def test_a_video_and_a_report_cannot_share_stdout(
    served: CommandLine, record: Path, command: str, option: str
) -> None:
    path = ["-d", "-"] if command == "wait" else ["-o", "-"]

    ended = served(*argv_of(command), *path, option)

    assert ended.status == 2, ended
    assert b"ftyp" not in ended.stdout.encode(errors="surrogateescape")
    assert not requests(record)


@pytest.mark.parametrize("seconds", ["0", "20"])
def test_an_edits_events_run_from_submitted_to_done(served: CommandLine, seconds: str) -> None:
    ended = served("edit", CLIP, f"warmer [sandbox:seconds={seconds}]", "--events")

    events = check_events(ended)
    names = [event["event"] for event in events]
    assert names[0] == "submitted"
    assert names[-3:] == ["completed", "saved", "done"], names
    assert {event["sandbox"] for event in events} == {True}
    assert len({event["task_id"] for event in events[:-1]}) == 1
    (shown,) = events[-1]["tasks"]
    assert Path(shown["saved"][0]["path"]).is_absolute()
    assert INSTANT.fullmatch(shown["link_valid_until"] or ""), shown


@pytest.mark.parametrize(
    ("argv", "status"),
    [
        pytest.param(["wait"], 2, id="empty-journal"),
        pytest.param(["wait", "nosuchtask"], 11, id="unknown-task"),
        pytest.param(["wait", ".."], 2, id="invalid-task-id"),
        pytest.param(["wait", "--bogus"], 2, id="unknown-option"),
        pytest.param(["edit", "ftp://example.com/c.mp4", "x"], 2, id="bad-clip"),
        pytest.param(["edit", CLIP, "x [sandbox:http=401]"], 3, id="refused"),
        pytest.param(["edit", CLIP, f"x [sandbox:cancel]{NOW}"], 5, id="cancelled"),
        pytest.param(["edit", CLIP, f"x [sandbox:expired]{NOW}"], 7, id="expired"),
    ],
)
def test_events_always_end_with_done(served: CommandLine, argv: list[str], status: int) -> None:
    ended = served(*argv, "--events")

    events = check_events(ended)
    assert ended.status == status, ended
    assert [event for event in events if event["event"] == "failed"] or status in {2, 3, 7, 11}


def test_unknown_values_are_null_not_omitted(omniedit: CommandLine) -> None:
    with scripted(lambda _: Reply(body={"id": "t-1", "status": "dreaming"})) as service:
        ended = omniedit("status", "t-1", "--json", **service.environ())

    document = check_document(ended)
    (shown,) = document["tasks"]
    assert (ended.status, document["sandbox"]) == (0, False)
    assert shown["status"] == "dreaming"
    for name in ("progress", "model", "created_at", "estimated_seconds", "credits_reserved"):
        assert shown[name] is None, (name, shown)
    for name in ("credits_used", "video", "prompt", "request_id", "link_valid_until", "error"):
        assert shown[name] is None, (name, shown)
    assert shown["raw"] == {"id": "t-1", "status": "dreaming"}


def test_progress_goes_to_stderr_and_can_be_disabled(served: CommandLine) -> None:
    served("submit", CLIP, "warmer [sandbox:seconds=10]")

    plain, none = served("wait", "--progress", "plain"), served("wait", "--progress", "none")

    assert plain.status == none.status == 0
    assert "completed" in plain.stderr
    assert "elapsed" not in none.stderr


def test_quiet_shows_errors_without_hints(served: CommandLine) -> None:
    ended = served("status", "nosuchtask", "-q")

    assert (ended.status, ended.stdout) == (11, ""), ended
    assert [line.partition(":")[0] for line in ended.stderr.splitlines()] == ["error"], ended


def test_json_failures_are_shown_on_stderr_too(served: CommandLine) -> None:
    ended = served("status", "nosuchtask", "--json")

    assert "error:" in ended.stderr
    check_document(ended)


def test_a_failure_without_json_has_one_error_and_one_hint(served: CommandLine) -> None:
    check_failure(served("status"), 2)
    check_failure(served("status", "--no-such-option"), 2)
    check_failure(served("nonsense"), 2)


def test_list_and_status_agree_on_every_field(omniedit: CommandLine) -> None:
    with scripted(lambda _: Reply(body=task("processing"))) as service:
        environ = service.environ()
        omniedit("submit", CLIP, "x", **environ)
        shown = check_document(omniedit("status", "--json", **environ))["tasks"][0]
        listed = check_document(omniedit("list", "--json", **environ))["tasks"][0]

    # Progress is not journalled, and `raw` is only present in commands that ask the service.
    for name in sorted({*shown} - {"raw", "progress"}):
        assert json.dumps(shown[name]) == json.dumps(listed[name]), name
