"""The JSON Schemas: valid, strict, printed by `help`, and in step with the manual and the code."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from omniedit.cli.batch_report import UNSENT
from omniedit.cli.exit_codes import ExitStatus
from omniedit.edits.doctor import Verdict
from omniedit.models import (
    DEFAULT_MODEL,
    AttemptState,
    Record,
    SavedFile,
    Task,
    TaskError,
    TaskStatus,
)
from omniedit.schemas import (
    ENVELOPE,
    FAILURE,
    Schema,
    document_names,
    load_schema,
    load_whole_schema,
)
from omniedit.terminal.documents import envelope, task_document
from tests.commandline import CommandLine
from tests.contract.commands import every_command
from tests.contract.readme import MANUAL, words_in_code
from tests.schemas import DEFINITIONS, OPEN, definition, fault, faults, is_valid, keys_of

NAMES = document_names()
PAGE = MANUAL["json"]
WITHOUT_A_COMMAND = {"edit-split", "event", FAILURE, "sidecar", "submit-dry-run"}
MORE_KEYS = {
    "batch_task": ("line", "output"),
    "piece_task": ("piece", "start_seconds", "end_seconds"),
}
TASK = Task(task_id="t-1", status="completed", progress=100, model=DEFAULT_MODEL, created_at=1.0)
FILE = SavedFile(path="/a/out.mp4", size_bytes=1, sha256="0" * 64)
RECORD = Record(
    request_id="r",
    task=TASK,
    status="completed",
    created_at=1.0,
    saved=(FILE,),
    error=TaskError(code="local_file", message="the disk is full"),
)


def own_keys(name: str) -> list[str]:
    """Return the keys that only this document has."""
    return [key for key in keys_of(load_schema(name)) if key not in ENVELOPE]


def objects(schema: object, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Yield every object that a schema describes, with its path."""
    if isinstance(schema, dict):
        if "object" in (schema.get("type"), *(schema.get("type") or ())):
            yield path, schema
        for key, item in schema.items():
            # The branches of a condition describe no further object.
            if key not in {"if", "then", "else"}:
                yield from objects(item, f"{path}/{key}")
    elif isinstance(schema, list):
        for item in schema:
            yield from objects(item, path)


def references(schema: object) -> Iterator[str]:
    """Yield every reference in a schema."""
    if isinstance(schema, dict):
        yield from (item for key, item in schema.items() if key == "$ref")
    if isinstance(schema, dict | list):
        for item in schema.values() if isinstance(schema, dict) else schema:
            yield from references(item)


def document(**task: object) -> dict[str, Any]:
    """Return the document of `list` for one task."""
    tasks = [task_document(RECORD) | task]
    return envelope(ok=True, sandbox=False, total=len(tasks), as_of=None, tasks=tasks, error=None)


@pytest.mark.parametrize("name", [*NAMES, DEFINITIONS])
def test_a_schema_is_valid(name: str) -> None:
    schema = load_schema(name)

    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"urn:omniedit:schema:1:{name}"
    assert schema["title"]


@pytest.mark.parametrize("name", [*NAMES, DEFINITIONS])
def test_every_object_requires_all_its_keys_and_allows_no_other(name: str) -> None:
    for path, schema in objects(load_schema(name)):
        if path.rpartition("/")[2] not in OPEN:
            assert schema["required"] == [*schema["properties"]], path
            assert schema["additionalProperties"] is False, path


@pytest.mark.parametrize("name", NAMES)
def test_a_whole_schema_has_no_outside_reference(name: str) -> None:
    whole = load_whole_schema(name)

    embedded = {
        whole["$id"]: whole,
        whole["$defs"][DEFINITIONS]["$id"]: whole["$defs"][DEFINITIONS],
    }
    for reference in references(load_schema(name)):
        place, _, pointer = reference.partition("#/$defs/")
        found = embedded[place or whole["$id"]]["$defs"]
        for step in pointer.split("/"):
            found = found[step]


@pytest.mark.parametrize("name", NAMES)
def test_the_validator_of_these_tests_agrees_with_jsonschema(name: str) -> None:
    wrong = {
        key: {"neither": "known", "nor": 1.5} for key in load_schema(name).get("properties", "a")
    }
    validator = Draft202012Validator(load_whole_schema(name))

    found = [(error.json_path, error.message) for error in validator.iter_errors(wrong)]
    assert found
    assert sorted(found) == sorted(faults(wrong, name))


def test_every_command_has_a_schema() -> None:
    expected = {command.replace(" ", "-") for command in every_command()}

    assert {*NAMES} - WITHOUT_A_COMMAND == expected
    for name in NAMES:
        if name not in {"event", "sidecar"}:
            assert keys_of(load_schema(name)) == (*ENVELOPE[:-1], *own_keys(name), ENVELOPE[-1])


def test_the_manual_names_the_keys_of_every_document() -> None:
    named: dict[str, list[str]] = {}
    for commands, keys in PAGE.table("command", "its own keys"):
        for command in words_in_code(commands):
            named[command.replace(" --", " ").replace(" ", "-")] = words_in_code(keys)

    verdicts = {verdict.value for verdict in Verdict}
    assert verdicts < {*named["doctor"]}
    named["doctor"] = [word for word in named["doctor"] if word not in verdicts]
    expected = {
        name: [*own_keys(name)] for name in NAMES if name not in {"event", FAILURE, "sidecar"}
    }
    expected["config-show"] = [
        *(key for key in expected["config-show"] if not key.endswith("_source")),
        "…_source",
    ]
    expected["doctor"] += _keys_of_items("doctor", "checks")
    expected["journal-merge"] += _keys_of_items("journal-merge", "folders")
    expected["usage"] += keys_of(load_schema("usage")["$defs"]["bill"])
    expected["journal-recover"] += _keys_of_items("journal-recover", "recoveries")
    for key in ("problems", "audio_tracks"):
        after = expected["probe"].index(key) + 1
        expected["probe"][after:after] = _keys_of_items("probe", key)
    expected["probe"] += keys_of(load_schema("probe")["properties"]["prepared"])
    assert named == expected


def _keys_of_items(name: str, key: str) -> tuple[str, ...]:
    return keys_of(load_schema(name)["properties"][key]["items"])


def test_the_manual_names_the_keys_that_all_documents_have() -> None:
    words = words_in_code(PAGE.paragraph("`--json` prints"))

    assert words == ["--json", *ENVELOPE, *keys_of(definition("failure")), "code"]


def test_the_manual_names_the_keys_of_a_task() -> None:
    named: list[str] = []
    for names, value in PAGE.table("key", "value"):
        named += words_in_code(names)
        if names == "`saved`":
            assert tuple(words_in_code(value)) == keys_of(definition("saved_file"))
        if names == "`error`":
            assert tuple(words_in_code(value)) == keys_of(definition("task_error"))
        if names == "`status`":
            assert {*words_in_code(value)} == {*TaskStatus, *AttemptState}

    assert tuple(named) == keys_of(definition("task"))
    for name, more in MORE_KEYS.items():
        assert keys_of(definition(name)) == (*named, *more)
        assert all(f"`{key}`" in PAGE.text for key in more)


def test_the_manual_names_the_keys_of_every_event() -> None:
    named = {
        words_in_code(name)[0]: words_in_code(keys)
        for name, keys in PAGE.table("event", "its own keys")
    }
    shared = words_in_code(PAGE.paragraph("`--events` of").partition("Each holds")[2])

    events = [branch["$ref"].rpartition("/")[2] for branch in load_schema("event")["oneOf"]]
    assert [*named] == events
    for name in events:
        schema = definition(name, of="event")
        assert [*keys_of(schema)] == [*shared, *named[name]]
        assert schema["properties"]["event"] == {"const": name}


def test_enums_match_the_code() -> None:
    status = definition("task")
    words = {*status["properties"]["status"]["examples"]}
    without_a_task = {*status["then"]["properties"]["status"]["enum"]}

    assert words == {*TaskStatus}
    assert without_a_task == {*AttemptState}
    for name in MORE_KEYS:
        one_of_many = definition(name)
        assert {*one_of_many["properties"]["status"]["examples"]} == words
        assert {*one_of_many["then"]["properties"]["status"]["enum"]} == without_a_task | {UNSENT}
    ended = definition("done", of="event")["properties"]["exit_status"]["enum"]
    failed = definition("failure")["properties"]["exit_status"]["enum"]
    assert ended == sorted(ExitStatus)
    assert failed == ended[1:]
    checks = load_schema("doctor")["properties"]["checks"]["items"]
    assert checks["properties"]["verdict"]["enum"] == [verdict.value for verdict in Verdict]


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"progress": 101}, id="progress-above-100"),
        pytest.param({"progress": -1}, id="negative-progress"),
        pytest.param({"progress": 40.0}, id="progress-as-a-float"),
        pytest.param({"created_at": "2025-09-06T14:42:23+00:00"}, id="time-without-z"),
        pytest.param({"created_at": "2025-09-06 14:42:23Z"}, id="time-without-t"),
        pytest.param({"created_at": "2025-13-06T14:42:23Z"}, id="thirteenth-month"),
        pytest.param({"created_at": 1757169743}, id="unix-time"),
        pytest.param({"results": ["file:///etc/passwd"]}, id="not-a-web-link"),
        pytest.param({"task_id": "../credits"}, id="invalid-task-id"),
        pytest.param({"task_id": None}, id="completed-without-a-task"),
        pytest.param({"status": ""}, id="task-without-a-status"),
        pytest.param(
            {"saved": [{"path": "a.mp4", "bytes": 1, "sha256": "0" * 64}]}, id="relative-path"
        ),
        pytest.param({"saved": [{"path": "/a", "bytes": 1, "sha256": "00"}]}, id="short-digest"),
        pytest.param({"line": 1, "output": "a.mp4"}, id="line-outside-a-batch"),
    ],
)
def test_an_impossible_value_is_refused(changed: Mapping[str, object]) -> None:
    assert fault(document(), "list") is None
    assert not is_valid(document(**changed), "list")


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"status": "queued"}, id="new-status-of-the-service"),
        pytest.param({"task_id": None, "status": "refused"}, id="refused"),
        pytest.param({"raw": {"anything": ["the service", "says"]}}, id="raw"),
    ],
)
def test_values_that_the_service_decides_are_left_open(changed: Mapping[str, object]) -> None:
    assert fault(document(**changed), "list") is None


def test_ok_and_error_exclude_each_other() -> None:
    error = dict.fromkeys(keys_of(definition("failure"))) | {
        "code": "usage",
        "message": "no such option",
        "exit_status": 2,
    }

    assert fault(document() | {"ok": False, "error": error}, "list") is None
    assert not is_valid(document() | {"error": error}, "list")
    assert not is_valid(document() | {"ok": False}, "list")


def test_help_prints_self_contained_schemas(omniedit: CommandLine) -> None:
    listed = omniedit("help", "json")
    printed = omniedit("help", "json", "list")

    assert (listed.status, listed.stderr, printed.status, printed.stderr) == (0, "", 0, "")
    for name in NAMES:
        assert f"\n| `{name}` | {load_schema(name)['description']} |\n" in listed.stdout
    schema = json.loads(printed.stdout)
    assert schema == load_whole_schema("list")
    # Without a registry, a reference that is not embedded would have to be fetched.
    Draft202012Validator(schema).validate(document())
    assert not Draft202012Validator(schema).is_valid(document(progress=101))


@pytest.mark.parametrize("argv", [("json", "nonsense"), ("json", DEFINITIONS)])
def test_help_on_an_unknown_schema_points_to_the_list(
    omniedit: CommandLine, argv: tuple[str, str]
) -> None:
    ended = omniedit("help", *argv)

    assert (ended.status, ended.stdout) == (2, "")
    assert "`omniedit help json`" in ended.stderr


def test_help_on_a_grouped_command_is_its_help_page(omniedit: CommandLine) -> None:
    shown = omniedit("help", "config", "set-key")
    unknown = omniedit("help", "sandbox", "edit")

    assert shown == omniedit("config", "set-key", "--help")
    assert (unknown.status, unknown.stdout) == (2, "")
    assert "there is no help on `sandbox edit`" in unknown.stderr
