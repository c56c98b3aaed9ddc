"""Every command's JSON document holds exactly the keys that README names."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from omniedit.events import (
    Completed,
    Event,
    Failed,
    Progressed,
    Retrying,
    Saved,
    Stalled,
    Submitted,
)
from omniedit.models import SavedFile, Task, TaskError
from omniedit.output.document import event_document
from tests.commandline import CommandLine, Ended
from tests.contract import documents, readme
from tests.contract.commands import every_command

CLIP = "https://example.com/clip.mp4"
TASK = Task(
    task_id="t-1", status="failed", error=TaskError(code="service_error", message="it broke")
)
FILE = SavedFile(path="/a/out.mp4", size_bytes=1, sha256="00")
EVENTS: Mapping[str, Event] = {
    "submitted": Submitted(task=TASK, request_id="r"),
    "progress": Progressed(task=TASK, progress=1, elapsed_s=1, remaining_s=None),
    "stalled": Stalled(task_id="t-1", since_s=180),
    "retrying": Retrying(message="busy", delay_s=1, attempt=1),
    "completed": Completed(task=TASK),
    "failed": Failed(task=TASK),
    "saved": Saved(task_id="t-1", file=FILE, shown_path="out.mp4"),
}
MORE_KEYS = {"batch": documents.OF_A_BATCH, "edit --split": documents.OF_A_PIECE}


def keys(document: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(document)


def check(ended: Ended, name: str, *, ok: bool = True) -> dict[str, Any]:
    """Hold a document to the table; return it."""
    document = ended.document
    own = documents.OWN_KEYS[name]
    assert keys(document) == (*documents.ENVELOPE, *own, "error"), ended
    assert (document["schema"], document["ok"]) == (1, ok)
    assert ended.stdout.isascii()
    if ok:
        assert (document["error"], ended.status) == (None, 0)
    else:
        assert keys(document["error"]) == documents.ERROR
        assert document["error"]["exit_status"] == ended.status != 0
    for task in document.get("tasks", []):
        check_task(task, more=MORE_KEYS.get(name, ()))
    return document


def check_task(task: Mapping[str, Any], *, more: tuple[str, ...] = ()) -> None:
    assert keys(task) == documents.TASK + more
    for saved in task["saved"]:
        assert keys(saved) == documents.SAVED
    if task["error"] is not None:
        assert keys(task["error"]) == documents.TASK_ERROR


def test_readme_names_the_keys_of_every_document() -> None:
    named: dict[str, list[str]] = {}
    for commands, own in readme.table("command", "its own keys"):
        for name in readme.words_in_code(commands):
            named[name] = readme.words_in_code(own)

    assert named.pop("config show") == [
        *(key for key in documents.OWN_KEYS["config show"] if not key.endswith("_source")),
        "…_source",
    ]
    checks = named.pop("doctor")
    assert [word for word in checks if word in {"checks", *documents.CHECK}] == [
        "checks",
        *documents.CHECK,
    ]
    topics = named.pop("help")
    assert topics == ["topics", "help TOPIC", "topic", "text"]
    assert named.pop("probe") == [
        word
        for key in documents.OWN_KEYS["probe"]
        for word in (key, *(documents.PROBLEM if key == "problems" else ()))
    ]
    rest = {"config show", "doctor", "help", "help TOPIC", "probe"}
    expected = {name: [*own] for name, own in documents.OWN_KEYS.items() if name not in rest}
    assert named == expected
    undocumented = {*every_command()} - {*documents.OWN_KEYS}
    assert not undocumented


def test_readme_names_the_keys_of_a_task() -> None:
    named: list[str] = []
    for names, value in readme.table("key", "value"):
        named += readme.words_in_code(names)
        if names == "`saved`":
            assert tuple(readme.words_in_code(value)) == documents.SAVED
        if names == "`error`":
            assert tuple(readme.words_in_code(value)) == documents.TASK_ERROR

    assert tuple(named) == documents.TASK
    for key in documents.OF_A_BATCH + documents.OF_A_PIECE:
        assert f"`{key}`" in readme.TEXT


def test_readme_names_the_keys_of_every_event() -> None:
    named = {
        readme.words_in_code(name)[0]: tuple(readme.words_in_code(own))
        for name, own in readme.table("event", "its own keys")
    }

    assert named == documents.EVENT_KEYS


@pytest.mark.parametrize("name", EVENTS)
def test_an_event_holds_its_keys(name: str) -> None:
    document = event_document(EVENTS[name], at=0.0, sandbox=True)

    assert document is not None
    assert keys(document) == (*documents.EVENT, *documents.EVENT_KEYS[name])
    assert document["event"] == name


def test_a_submission_and_everything_after_it(served: CommandLine) -> None:
    prompt = "warmer [sandbox:seconds=0]"
    dry = check(served("--json", "submit", CLIP, prompt, "--dry-run"), "submit --dry-run")
    submitted = check(served("--json", "submit", CLIP, prompt), "submit")
    task_id = submitted["task"]["task_id"]

    assert keys(dry["request"]) == ("method", "url", "headers", "body")
    check_task(submitted["task"])
    for name in ("status", "wait", "download"):
        document = check(served(name, "--json"), name)
        assert [task["task_id"] for task in document["tasks"]] == [task_id]
    listed = check(served("list", "--json"), "list")
    assert listed["tasks"][0]["saved"]
    check(served("list", "--remote", "--json"), "list")
    [saved] = listed["tasks"][0]["saved"]
    probed = check(served("probe", saved["path"], "--json"), "probe")
    assert (probed["fits"], probed["problems"]) == (True, [])


def test_an_edit_a_batch_and_their_failures(served: CommandLine) -> None:
    manifest = served.folder / "edits.jsonl"
    lines = [
        {"video": CLIP, "prompt": "warmer [sandbox:seconds=0]"},
        {"video": CLIP, "prompt": "colder [sandbox:fail=service_error]"},
    ]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))

    check(served("--json", "edit", CLIP, "warmer [sandbox:seconds=0]"), "edit")
    failed = check(served("--json", "batch", "edits.jsonl", "--dir", "out"), "batch", ok=False)
    unknown = served("--json", "status", "task-that-nobody-knows")

    assert [task["line"] for task in failed["tasks"]] == [1, 2]
    assert failed["tasks"][1]["error"]["code"] == "service_error"
    assert check(unknown, "status", ok=False)["error"]["exit_status"] == 11


def test_events_end_with_done(served: CommandLine) -> None:
    prompt = "warmer [sandbox:seconds=0] [sandbox:cut] [sandbox:lost-reply]"

    ended = served("edit", CLIP, prompt, "-o", "out.mp4", "--events")

    assert ended.status == 0, ended
    for event in ended.events:
        expected = documents.EVENT_KEYS[event["event"]]
        assert keys(event) == (*documents.EVENT, *expected)
    names = [event["event"] for event in ended.events]
    assert names[-3:] == ["completed", "saved", "done"] or names[-2:] == ["saved", "done"]
    assert {"submitted", "retrying", "saved", "done"} <= {*names}


def test_settings_and_account(omniedit: CommandLine, served: CommandLine) -> None:
    saved = omniedit("config", "set-key", "--json", stdin="sk-evo-0123456789abcdef0123456789")
    check(saved, "config set-key")
    assert "0123456789" not in saved.stdout
    shown = check(omniedit("config", "show", "--json"), "config show")
    assert shown["key"] == "sk-evo-…6789"
    check(omniedit("config", "path", "--json"), "config path")
    check(omniedit("config", "unset-key", "--json"), "config unset-key")
    check(served("credits", "--json"), "credits")
    checked = check(served("doctor", "--json"), "doctor")
    assert {keys(each) for each in checked["checks"]} == {documents.CHECK}
    assert {each["verdict"] for each in checked["checks"]} <= {"ok", "warning", "failure"}


def test_a_clip_that_does_not_fit(omniedit: CommandLine) -> None:
    (omniedit.folder / "clip.mp4").write_text("no video at all")

    document = check(omniedit("probe", "clip.mp4", "--json"), "probe", ok=False)

    assert document["fits"] in {None, False}
    for problem in document["problems"]:
        assert keys(problem) == documents.PROBLEM


def test_the_sandbox_and_help(omniedit: CommandLine) -> None:
    check(omniedit("sandbox", "reset", "--json"), "sandbox reset")
    check(omniedit("help", "--json"), "help")
    check(omniedit("help", "sandbox", "--json"), "help TOPIC")
    process = omniedit.start("sandbox", "serve", "--json")
    assert process.stdout is not None
    line = process.stdout.readline()
    process.terminate()
    process.communicate(timeout=20)
    check(Ended(0, line.decode(), ""), "sandbox serve")


@pytest.mark.parametrize(
    "argv",
    [
        pytest.param(["--json", "edit"], id="missing-argument"),
        pytest.param(["--json", "frobnicate"], id="no-such-command"),
        pytest.param(["edit", "--json", "--frobnicate"], id="no-such-option"),
        pytest.param(["wait", "--json", "--timeout", "soon"], id="no-duration"),
        pytest.param(["--json"], id="no-command"),
        pytest.param(["config", "--json"], id="no-sub-command"),
    ],
)
def test_a_wrong_call_is_a_document_too(omniedit: CommandLine, argv: list[str]) -> None:
    ended = omniedit(*argv)

    assert (ended.status, ended.document["ok"]) == (2, False)
    assert keys(ended.document["error"]) == documents.ERROR
    assert ended.document["error"]["exit_status"] == 2
