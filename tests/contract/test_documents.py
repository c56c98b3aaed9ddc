"""The JSON of each command matches its schema, in success and in failure."""

import json
import re
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from omniedit.events import (
    Completed,
    Event,
    Failed,
    LineFailed,
    Progressed,
    Retrying,
    Saved,
    Stalled,
    Submitted,
)
from omniedit.models import SavedFile, Task, TaskError
from omniedit.sandbox.clips import BUNDLED_CLIP
from omniedit.schemas import FAILURE, load_schema
from omniedit.terminal.documents import event_document
from tests.commandline import CommandLine, Ended
from tests.contract.commands import every_command
from tests.journals import add_task, record_of
from tests.schemas import check_schema, definition, fault, is_valid, keys_of, mutations
from tests.unit.media.clips import Sound, make_clip

CLIP = "https://example.com/clip.mp4"
NOW = "[sandbox:seconds=0]"
TASK = Task(
    task_id="t-1", status="failed", error=TaskError(code="service_error", message="it broke")
)
FILE = SavedFile(path="/a/out.mp4", size_bytes=1, sha256="0" * 64)
EVENTS: Mapping[str, list[Event]] = {
    "submitted": [Submitted(record=record_of(TASK, request_id="r"))],
    "progress": [Progressed(record=record_of(TASK), elapsed_s=1.0, remaining_s=None)],
    "stalled": [Stalled(task_id="t-1", since_s=180.0)],
    "retrying": [
        Retrying(message="busy", delay_s=1.0, attempt=1),
        Retrying(message="busy", delay_s=1.0, attempt=1, task_id="t-1"),
    ],
    "completed": [Completed(record=record_of(TASK))],
    "failed": [
        Failed(record=record_of(TASK)),
        LineFailed("1", TaskError("not_connected", "no", kind="not_connected")),
    ],
    "saved": [Saved(task_id="t-1", file=FILE, shown_path="out.mp4")],
}


def check(ended: Ended, name: str, *, ok: bool = True) -> dict[str, Any]:
    """Check that a schema accepts a document and no faulty variant; return the document."""
    document = ended.document
    assert fault(document, name) is None, ended
    assert tuple(document) == keys_of(load_schema(name))
    assert document["ok"] is ok
    assert ended.stdout.isascii()
    if ok:
        assert ended.status == 0
    else:
        assert document["error"]["exit_status"] == ended.status != 0
    for what, mutated in mutations(document):
        assert not is_valid(mutated, name), what
    return document


def check_event(event: Mapping[str, Any]) -> None:
    """Check that the schema of events accepts an event and no faulty variant."""
    assert fault(event, "event") is None, event
    assert tuple(event) == keys_of(definition(event["event"], of="event"))
    for what, mutated in mutations(event):
        assert not is_valid(mutated, "event"), what


@pytest.mark.parametrize("name", EVENTS)
def test_an_event_matches_its_schema(name: str) -> None:
    for event in EVENTS[name]:
        document = event_document(event, at=0.0, sandbox=True)

        assert document is not None
        assert document["event"] == name
        check_event(document)


def test_documents_from_submit_to_probe_match_their_schemas(served: CommandLine) -> None:
    prompt = f"warmer {NOW}"
    check(served("--json", "submit", CLIP, prompt, "--dry-run"), "submit-dry-run")
    submitted = check(served("--json", "submit", CLIP, prompt), "submit")
    task_id = submitted["task"]["task_id"]

    for name in ("status", "wait", "download"):
        document = check(served(name, "--json"), name)
        assert [task["task_id"] for task in document["tasks"]] == [task_id]
    listed = check(served("list", "--json"), "list")
    assert listed["tasks"][0]["saved"]
    assert listed["as_of"] is None
    check(served("list", "--remote", "--json"), "list")
    [saved] = listed["tasks"][0]["saved"]
    probed = check(served("probe", saved["path"], "--json"), "probe")
    assert (probed["fits"], probed["problems"]) == (True, [])


def test_list_shows_the_current_state_of_open_tasks(served: CommandLine) -> None:
    served("submit", CLIP, "warmer [sandbox:seconds=60]")

    document = check(served("list", "--json"), "list")

    (task,) = document["tasks"]
    assert (document["as_of"], task["raw"]["id"]) == (None, task["task_id"])


@pytest.mark.parametrize(
    ("options", "why"),
    [
        pytest.param((), ": no API key", id="without-a-key"),
        pytest.param(("--offline",), "", id="offline"),
    ],
)
def test_list_without_the_service_says_how_old_its_states_are(
    omniedit: CommandLine, home: Path, options: tuple[str, ...], why: str
) -> None:
    add_task(home / "state/omniedit", "task-1", prompt="warmer", now=time.time() - 600)

    ended = omniedit("list", *options)
    document = check(omniedit("list", "--json", *options), "list")

    assert ended.status == 0
    assert re.search(r"\ntask-1 .* processing 10m ago ", ended.stdout)
    assert ended.stderr == f"note: open edits are as last recorded, up to 10m ago{why}\n"
    assert document["as_of"] == document["tasks"][0]["created_at"]
    assert document["tasks"][0]["raw"] is None


def test_documents_of_edit_and_batch_match_their_schemas(served: CommandLine) -> None:
    manifest = served.folder / "edits.jsonl"
    lines = [
        {"video": CLIP, "prompt": f"warmer {NOW}"},
        {"video": CLIP, "prompt": "colder [sandbox:fail=service_error]"},
        {"video": CLIP, "prompt": "darker [sandbox:http=402]"},
    ]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))

    check(served("--json", "edit", CLIP, f"warmer {NOW}"), "edit")
    failed = check(served("--json", "batch", "edits.jsonl", "--dir", "out"), "batch", ok=False)
    manifest.write_text('{"video": ""}\n{"prompt": 1}\n')
    faulty = check(served("--json", "batch", "edits.jsonl"), "batch", ok=False)

    assert [task["line"] for task in failed["tasks"]] == [1, 2, 3]
    assert failed["tasks"][1]["error"]["code"] == "service_error"
    assert (failed["tasks"][2]["task_id"], failed["tasks"][2]["status"]) == (None, "refused")
    assert {task["status"] for task in faulty["tasks"]} == {"refused"}


def test_documents_of_a_split_edit_match_their_schema(served: CommandLine) -> None:
    make_clip(served.folder / "long.mp4", seconds=12)
    argv = ["edit", "long.mp4", "--split", "--yes", "-o", "out.mp4"]

    refused = check(served(*argv, "x [sandbox:http=402]", "--json"), "edit-split", ok=False)
    failed = check(
        served(*argv, f"x {NOW} [sandbox:fail=service_error]", "--json"), "edit-split", ok=False
    )
    events = served(*argv, f"x {NOW}", "--events").events
    joined = check(served(*argv, f"x {NOW}", "--json"), "edit-split")
    unconfirmed = check(
        served("edit", "long.mp4", "y", "--split", "--json"), "edit-split", ok=False
    )

    assert [task["status"] for task in refused["tasks"]] == ["refused", "refused"]
    assert [task["piece"] for task in failed["tasks"]] == [1, 2]
    for event in events:
        check_event(event)
    assert [event["task_id"] for event in events if event["event"] == "saved"].count(None) == 1
    assert joined["joined"]["path"] == str(served.folder / "out.mp4")
    assert (unconfirmed["tasks"], unconfirmed["joined"]) == ([], None)


@pytest.mark.parametrize(
    ("argv", "status"),
    [
        pytest.param(["submit", CLIP, "x [sandbox:http=400]"], 2, id="submit-refused"),
        pytest.param(["submit", CLIP, "x [sandbox:http=500]"], 9, id="submit-unknown"),
        pytest.param(
            ["submit", "--resume", "nobody-knows-this-one"], 2, id="resume-unknown-request"
        ),
        pytest.param(["edit", CLIP, "x [sandbox:http=402]"], 4, id="edit-refused"),
        pytest.param(["edit", CLIP, "x [sandbox:http=500]"], 9, id="edit-unknown"),
        pytest.param(["edit", CLIP, f"x [sandbox:cancel] {NOW}"], 5, id="edit-cancelled"),
        pytest.param(["edit", CLIP, f"x [sandbox:expired] {NOW}"], 7, id="edit-expired"),
        pytest.param(["edit", CLIP, "x", "--timeout", "0"], 6, id="edit-unfinished"),
        pytest.param(["edit", CLIP, "x", "-o", "clip.mp4"], 10, id="edit-target-exists"),
        pytest.param(["edit", "clip.mp4", "x", "--max-credits", "1"], 12, id="edit-too-expensive"),
        pytest.param(["status"], 2, id="status-empty-journal"),
        pytest.param(["status", "task-nobody-knows"], 11, id="status-unknown-task"),
        pytest.param(["wait"], 2, id="wait-empty-journal"),
        pytest.param(["wait", "task-nobody-knows"], 11, id="wait-unknown-task"),
        pytest.param(["download", "task-nobody-knows"], 11, id="download-unknown-task"),
        pytest.param(["batch", "nowhere.jsonl"], 2, id="batch-no-manifest"),
        pytest.param(["list", "--forget", "task-nobody-knows"], None, id="list-unknown-task"),
        pytest.param(["probe", "text.mp4"], 2, id="probe-not-a-video"),
        pytest.param(["help", "nonsense"], 2, id="help-unknown-topic"),
        pytest.param(["config", "set-key"], 2, id="set-key-without-a-key"),
    ],
)
def test_a_failure_matches_the_schema_of_its_command(
    served: CommandLine, argv: list[str], status: int | None
) -> None:
    (served.folder / "clip.mp4").write_bytes(BUNDLED_CLIP.read_bytes())
    (served.folder / "text.mp4").write_text("no video at all")

    ended = served(*argv, "--json")

    assert ended.status == status or (status is None and ended.status), ended
    check(ended, "-".join(argv[:2] if argv[0] == "config" else argv[:1]), ok=False)


@pytest.mark.parametrize("name", ["submit", "edit", "list --remote", "credits", "doctor"])
def test_a_missing_key_matches_the_schema_of_its_command(omniedit: CommandLine, name: str) -> None:
    clip = [CLIP, "x"] if name in {"submit", "edit"} else []

    ended = omniedit(*name.split(), *clip, "--json")

    assert check(ended, name.split(maxsplit=1)[0], ok=False)["error"]["code"] == "missing_key"


def test_documents_of_mixed_tasks_match_their_schemas(served: CommandLine) -> None:
    prompts = [
        NOW,
        f"{NOW} [sandbox:fail=service_error]",
        "[sandbox:http=402]",
        "[sandbox:http=500]",
    ]
    for prompt in prompts:
        served("submit", CLIP, f"x {prompt}")
    listed = check(served("list", "--json"), "list")["tasks"]
    task_ids = [task["task_id"] for task in listed if task["task_id"]]

    waited = check(served("wait", *task_ids, "-d", "out/", "--json"), "wait", ok=False)

    assert [task["status"] for task in listed][:2] == ["unknown", "refused"]
    assert {task["status"] for task in waited["tasks"]} == {"completed", "failed"}
    check(served("status", *task_ids, "--json"), "status")
    check(served("download", *task_ids, "-o", "out/", "--json"), "download", ok=False)


@pytest.mark.parametrize(
    ("prompt", "status", "expected"),
    [
        pytest.param("[sandbox:cut] [sandbox:lost-reply]", 0, {"retrying", "saved"}, id="saved"),
        pytest.param("[sandbox:fail=service_error]", 5, {"submitted", "failed"}, id="failed"),
        pytest.param("[sandbox:expired]", 7, {"completed"}, id="expired"),
        pytest.param("[sandbox:http=402]", 4, {"done"}, id="refused"),
        pytest.param("[sandbox:http=500]", 9, {"retrying"}, id="unknown"),
    ],
)
def test_events_match_their_schema_and_end_with_done(
    served: CommandLine, prompt: str, status: int, expected: set[str]
) -> None:
    ended = served("edit", CLIP, f"warmer {NOW} {prompt}", "-o", "out.mp4", "--events")

    assert ended.status == status, ended
    for event in ended.events:
        check_event(event)
    names = [event["event"] for event in ended.events]
    assert names.index("done") == len(names) - 1
    assert expected <= {*names}


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot be interrupted there")
@pytest.mark.parametrize("option", ["--json", "--events"])
def test_an_interrupted_edit_still_prints_a_document(
    served: CommandLine, commands: Path, option: str
) -> None:
    installed = replace(served, command=commands / "omniedit")
    process = installed.start("edit", CLIP, "x [sandbox:seconds=600]", "-v", option)
    assert process.stderr is not None
    assert any(b"/v1/tasks/" in line for line in process.stderr)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=20)

    ended = Ended(process.returncode, stdout.decode(), stderr.decode())
    assert ended.status == 130, ended
    check_schema(["edit", option], ended.stdout)
    [*_, last] = ended.events
    assert (last["error"]["code"], last["error"]["exit_status"]) == ("interrupted", 130)
    assert {task["status"] for task in last["tasks"]} <= {"pending", "processing"}


def test_documents_of_settings_and_account_match_their_schemas(
    omniedit: CommandLine, served: CommandLine
) -> None:
    saved = omniedit("config", "set-key", "--json", stdin="sk-evo-0123456789abcdef0123456789")
    check(saved, "config-set-key")
    assert "0123456789" not in saved.stdout
    shown = check(omniedit("config", "show", "--json"), "config-show")
    assert shown["key"] == "sk-evo-…6789"
    check(omniedit("config", "path", "--json"), "config-path")
    check(omniedit("journal", "recover", "--json"), "journal-recover")
    check(omniedit("usage", "--json"), "usage")
    check(omniedit("config", "unset-key", "--json"), "config-unset-key")
    check(served("credits", "--json"), "credits")
    check(served("doctor", "--json"), "doctor")


def test_probe_says_which_problems_are_fixed_automatically(omniedit: CommandLine) -> None:
    make_clip(omniedit.folder / "long.mp4", seconds=11)
    make_clip(omniedit.folder / "clip.mkv", seconds=1, sound=Sound())

    long = check(omniedit("probe", "long.mp4", "--json"), "probe", ok=False)
    other = check(omniedit("probe", "clip.mkv", "--json"), "probe")

    assert [problem["automatic"] for problem in long["problems"]] == [False]
    assert [problem["automatic"] for problem in other["problems"]] == [True]


def test_documents_of_sandbox_and_help_match_their_schemas(omniedit: CommandLine) -> None:
    check(omniedit("sandbox", "reset", "--json"), "sandbox-reset")
    check(omniedit("help", "--json"), "help")
    check(omniedit("help", "sandbox", "--json"), "help")
    schema = check(omniedit("help", "json", "edit", "--json"), "help")["text"]
    assert json.loads(schema)["title"] == "omniedit edit"
    process = omniedit.start("sandbox", "serve", "--json")
    assert process.stdout is not None
    line = process.stdout.readline()
    process.terminate()
    process.communicate(timeout=20)
    check(Ended(0, line.decode(), ""), "sandbox-serve")


def test_a_port_in_use_matches_the_schema_of_serve(
    omniedit: CommandLine, served: CommandLine
) -> None:
    port = served.environ["OMNIEDIT_BASE_URL"].rpartition(":")[2]

    ended = omniedit("sandbox", "serve", "--port", port, "--json")

    check(ended, "sandbox-serve", ok=False)


@pytest.mark.parametrize("command", every_command())
def test_an_unknown_option_matches_the_schema_of_its_command(
    omniedit: CommandLine, command: str
) -> None:
    ended = omniedit(*command.split(), "--no-such-option", "--json")

    assert ended.status == 2
    check(ended, command.replace(" ", "-"), ok=False)


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        pytest.param(["--json", "edit"], "edit", id="missing-argument"),
        pytest.param(["wait", "--json", "--timeout", "soon"], "wait", id="invalid-duration"),
        pytest.param(["--json", "config", "show", "x"], "config-show", id="extra-argument"),
        pytest.param(
            ["submit", "--dry-run", "--json"], "submit-dry-run", id="dry-run-without-arguments"
        ),
        pytest.param(["--json", "frobnicate"], FAILURE, id="no-such-command"),
        pytest.param(["--json", "--frobnicate"], FAILURE, id="no-such-option"),
        pytest.param(["--json"], FAILURE, id="no-command"),
        pytest.param(["config", "--json"], FAILURE, id="no-sub-command"),
    ],
)
def test_a_usage_error_is_a_document(omniedit: CommandLine, argv: list[str], name: str) -> None:
    ended = omniedit(*argv)

    assert ended.status == 2
    check(ended, name, ok=False)


@pytest.mark.parametrize("group", ["", "config", "journal", "sandbox"])
def test_a_missing_command_is_the_same_with_json_first_or_last(
    omniedit: CommandLine, group: str
) -> None:
    before = omniedit("--json", *group.split())
    after = omniedit(*group.split(), "--json")

    assert before == after
    error = before.document["error"]
    assert (error["message"], error["hint"]) == (
        "missing command",
        f"`{' '.join(['omniedit', *group.split(), '--help'])}` lists all",
    )
    assert before.stderr == f"error: missing command\nhint: {error['hint']}\n"


@pytest.mark.parametrize("command", ["list", "wait", "status", "usage", "download", "batch"])
@pytest.mark.parametrize("broken", ["journal", "settings"])
def test_an_unusable_journal_or_settings_file_gets_a_hint(
    omniedit: CommandLine, folder: Path, broken: str, command: str
) -> None:
    (folder / "m.jsonl").write_text('{"video": "https://example.com/c.mp4", "prompt": "x"}\n')
    (folder / "state/journal.db").mkdir(parents=True)
    (folder / "config.toml").write_text("state_dir =\n")
    environ = {
        "journal": {"OMNIEDIT_STATE_DIR": str(folder / "state")},
        "settings": {"OMNIEDIT_CONFIG_DIR": str(folder)},
    }
    source = ["m.jsonl"] if command == "batch" else []

    ended = omniedit.in_(folder, **environ[broken])(command, *source, "--json")

    assert ended.status == (10 if broken == "journal" else 2)
    hint = ended.document["error"]["hint"]
    assert hint
    assert f"hint: {hint}\n" in ended.stderr
