"""Without TASK a command takes the newest attempt of its context, never an older task."""

import itertools
import shlex
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from omniedit.sandbox.server import RunningSandbox
from tests.commandline import CommandLine
from tests.e2e.test_contract_equipment import (
    CLIP,
    NOW,
    Reply,
    Request,
    check_document,
    check_failure,
    check_refusal,
    requests,
    scripted,
    task,
)

pytestmark = pytest.mark.e2e

CONTEXTS = [
    pytest.param({"OMNIEDIT_CONTEXT": "a"}, {"OMNIEDIT_CONTEXT": "b"}, id="own-name"),
    pytest.param({"CI_JOB_ID": "1"}, {"CI_JOB_ID": "2"}, id="gitlab-job"),
    pytest.param(
        {"GITHUB_RUN_ID": "1", "GITHUB_JOB": "x"},
        {"GITHUB_RUN_ID": "1", "GITHUB_JOB": "y"},
        id="github-job",
    ),
    pytest.param(
        {"GITHUB_RUN_ID": "1", "GITHUB_JOB": "x"},
        {"GITHUB_RUN_ID": "2", "GITHUB_JOB": "x"},
        id="github-run",
    ),
    pytest.param({"CI_JOB_ID": "1"}, {}, id="job-and-user"),
    pytest.param({}, {"OMNIEDIT_CONTEXT": "b"}, id="user-and-name"),
]


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "record.jsonl"


@pytest.fixture
def service(start_sandbox: Callable[..., RunningSandbox], record: Path) -> RunningSandbox:
    return start_sandbox(record=record)


@pytest.mark.parametrize("command", ["status", "wait", "download"])
def test_an_empty_journal_is_status_2(served: CommandLine, record: Path, command: str) -> None:
    for argv in ([command], [command, "last"]):
        check_failure(served(*argv), 2)
    assert not requests(record)


@pytest.mark.parametrize(
    ("attempt", "status"),
    [
        pytest.param(["submit", CLIP, "x [sandbox:http=402]"], 4, id="refused-by-the-service"),
        pytest.param(["edit", CLIP, "x [sandbox:http=402]"], 4, id="refused-edit"),
        pytest.param(["submit", CLIP, "x [sandbox:http=401]"], 3, id="key-refused"),
        pytest.param(["submit", CLIP, "x [sandbox:lost-reply][sandbox:http=402]"], 9, id="unknown"),
        pytest.param(["submit", "ftp://example.com/c.mp4", "x"], 2, id="bad-clip"),
        pytest.param(["edit", "missing.mp4", "x"], 2, id="missing-clip"),
        pytest.param(["submit", CLIP, ""], 2, id="empty-prompt"),
        pytest.param(["submit", CLIP, "--prompt-file", "none.txt"], 2, id="missing-prompt-file"),
        pytest.param(
            ["submit", CLIP, "x", "--callback-url", "http://a.example/"], 2, id="callback"
        ),
        pytest.param(["submit", CLIP, "x", "--request-id", "short"], 2, id="request-id"),
        pytest.param(["edit", CLIP, f"y {NOW}", "-o", "taken.mp4"], 10, id="target-taken"),
    ],
)
def test_after_a_failed_attempt_no_older_task_is_taken(
    served: CommandLine, record: Path, attempt: list[str], status: int
) -> None:
    (served.folder / "taken.mp4").write_bytes(b"mine")
    older = served("submit", CLIP, f"older {NOW}")
    tried = served(*attempt)
    request_count = len(requests(record))

    shown, waited, saved = served("status"), served("wait", "-d", "a.mp4"), served("download")

    assert (older.status, tried.status) == (0, status), tried
    for ended in (shown, waited, saved):
        check_refusal(ended, status)
        named = [each for each in ended.stderr.splitlines() if older.stdout.strip() in each]
        assert [each[: len("hint:")] for each in named] == ["hint:"], ended
    assert len(requests(record)) == request_count
    assert [path.name for path in served.folder.iterdir()] == ["taken.mp4"]


@pytest.mark.parametrize(
    ("newest", "status"),
    [
        pytest.param(["edit", "clpi.mp4", "y"], 2, id="refused"),
        pytest.param(["submit", CLIP, "x [sandbox:lost-reply][sandbox:http=402]"], 9, id="unknown"),
    ],
)
def test_the_hint_is_a_pasteable_command_for_the_previous_task(
    served: CommandLine, newest: list[str], status: int
) -> None:
    served("submit", CLIP, f"oldest {NOW}")
    previous = served("submit", CLIP, f"previous {NOW}").stdout.strip()
    served(*newest)

    waited = served("wait", "--download", "my out.mp4")
    line = f"omniedit wait {previous} --download 'my out.mp4'"
    pasted = served(*shlex.split(line)[1:])

    assert (waited.status, f"`{line}`" in waited.stderr) == (status, True), waited
    said = "was not sent" if status == 2 else "may or may not have been accepted"
    assert waited.stderr.count(said) == 1, waited
    assert (pasted.status, pasted.stdout) == (0, "my out.mp4\n"), pasted


def test_an_attempt_without_a_key_counts_as_the_newest(omniedit: CommandLine) -> None:
    with scripted(lambda _: Reply(body=task("processing"))) as service:
        environ = service.environ()
        older = omniedit("submit", CLIP, "older", **environ)
        refused = omniedit("submit", CLIP, "x", **(environ | {"EVOLINK_API_KEY": ""}))
        waited = omniedit("wait", "--timeout", "1", **environ)

    assert (older.status, refused.status) == (0, 3), refused
    check_failure(waited, 3)
    assert not service.requests_with("GET")


def test_an_edit_whose_summary_cannot_be_written_counts_as_the_newest(
    omniedit: CommandLine,
) -> None:
    with scripted(lambda _: Reply(body=task("processing"))) as service:
        environ = service.environ()
        omniedit("submit", CLIP, "older", **environ)
        refused = omniedit("edit", CLIP, "x", "--summary", "missing/s.md", **environ)
        waited = omniedit("wait", "--timeout", "1", **environ)

    check_failure(refused, 10, "cannot write the summary")
    check_failure(waited, 10)
    assert not service.requests_with("GET")


def test_an_attempt_without_a_key_hints_to_submit_again(
    omniedit: CommandLine,
) -> None:
    with scripted(lambda _: Reply(body=task("processing"))) as service:
        environ = service.environ()
        omniedit("submit", CLIP, "x", **(environ | {"EVOLINK_API_KEY": ""}))
        waited = omniedit("wait", "--timeout", "1", **environ)

    check_failure(waited, 3, "no API key")
    assert "the newest submission was not sent: " in waited.stderr
    assert "hint: submit it again, or name a task ID\n" in waited.stderr


def test_the_newest_attempt_is_named_on_stderr(served: CommandLine) -> None:
    served("submit", CLIP, f"older {NOW}")
    task_id = served("submit", CLIP, f"newer {NOW}").stdout.strip()

    for argv in (["status"], ["wait"], ["download", "-o", "a.mp4"], ["status", "last"]):
        ended = served(*argv)
        assert ended.status == 0, ended
        assert task_id in ended.stderr, ended


def test_an_unknown_attempt_names_its_recovery_command(served: CommandLine) -> None:
    served("submit", CLIP, "x [sandbox:lost-reply][sandbox:http=402]")
    (row,) = check_document(served("list", "--json"))["tasks"]

    check_failure(served("wait"), 9, f"omniedit submit --resume {row['request_id']}")


@pytest.mark.parametrize(("mine", "other"), CONTEXTS)
def test_last_is_limited_to_its_context(
    served: CommandLine, mine: dict[str, Any], other: dict[str, Any]
) -> None:
    task_id = served("submit", CLIP, f"x {NOW}", **mine).stdout.strip()

    here, there = served("status", **mine), served("status", **other)

    assert (here.status, task_id in here.stdout) == (0, True), here
    check_failure(there, 2)


def test_adopted_tasks_are_never_last(served: CommandLine) -> None:
    task_id = served("submit", CLIP, f"x {NOW}").stdout.strip()
    laptop: dict[str, Any] = {"OMNIEDIT_STATE_DIR": str(served.folder / "laptop")}
    remote = served("list", "--remote", **laptop)
    adopted = served("list", "--remote", "--adopt", **laptop)

    listed = served("list", "--json", **laptop)

    assert task_id in remote.stdout
    assert (adopted.status, task_id in listed.stdout) == (0, True), (adopted, listed)
    check_failure(served("status", **laptop), 2)
    assert served("download", "--all", **laptop).status == 0


def test_the_last_six_characters_identify_a_task(served: CommandLine) -> None:
    task_id = served("submit", CLIP, f"x {NOW}").stdout.strip()

    assert task_id in served("status", task_id[-6:]).stdout
    assert task_id in served("status", task_id[-8:]).stdout
    assert served("status", task_id[-5:]).status in {2, 11}


def test_an_ambiguous_id_suffix_is_refused(omniedit: CommandLine) -> None:
    ids = iter(["task-one-abcdef", "task-two-abcdef"])

    def answer(request: Request) -> Reply:
        return (
            Reply(body=task("processing", task_id=next(ids)))
            if request.method == "POST"
            else Reply()
        )

    with scripted(answer) as service:
        for prompt in ("x", "y"):
            assert omniedit("submit", CLIP, prompt, **service.environ()).status == 0
        for command in ("status", "wait", "download"):
            check_failure(omniedit(command, "abcdef", **service.environ()), 2, "abcdef")

    assert not service.requests_with("GET")


@pytest.mark.parametrize(
    ("marker", "words"),
    [
        pytest.param("[sandbox:http=402]", "refused", id="refused"),
        pytest.param("[sandbox:lost-reply][sandbox:http=402]", "submit --resume", id="unknown"),
    ],
)
def test_the_id_of_a_submission_without_a_task_says_so(
    served: CommandLine, record: Path, marker: str, words: str
) -> None:
    served("submit", CLIP, f"x {marker}")
    [listed] = check_document(served("list", "--all", "--json"))["tasks"]
    request_count = len(requests(record))

    for command in ("status", "wait", "download"):
        ended = served(command, listed["request_id"][-8:])

        check_failure(ended, 2, listed["request_id"])
        assert words in ended.stderr
    assert len(requests(record)) == request_count


@pytest.mark.parametrize(
    "reference",
    [
        "../credits",
        "..",
        "a/b",
        "a b",
        "task?x=1",
        "task#",
        "%2e%2e",
        "x" * 129,
        "",
        "é" * 8,
        "a\nb",
    ],
)
@pytest.mark.parametrize("command", ["status", "wait", "download"])
def test_an_invalid_task_id_is_refused_unsent(
    served: CommandLine, record: Path, command: str, reference: str
) -> None:
    check_failure(served(command, reference), 2)
    assert not requests(record)


@pytest.mark.parametrize("reference", [".", ".."])
def test_a_dotted_task_id_never_reaches_another_endpoint(
    omniedit: CommandLine, reference: str
) -> None:
    with scripted(lambda _: Reply(body=task())) as service:
        omniedit("status", reference, **service.environ())

    assert not [
        request for request in service.requests if not request.path.startswith("/v1/tasks/")
    ]


def test_forgotten_tasks_are_not_listed(served: CommandLine) -> None:
    ids = [served("submit", CLIP, f"{number} {NOW}").stdout.strip() for number in range(2)]

    forgotten = served("list", "--forget", ids[1])

    rows = check_document(served("list", "--json"))["tasks"]
    assert forgotten.status == 0, forgotten
    assert [row["task_id"] for row in rows] == [ids[0]]


def test_the_sandbox_has_its_own_journal(omniedit: CommandLine) -> None:
    with scripted(lambda _: Reply(body=task("processing"))) as service:
        omniedit("submit", CLIP, "x", **service.environ())

    check_failure(omniedit("--sandbox", "status"), 2)
    assert check_document(omniedit("--sandbox", "list", "--json"))["tasks"] == []


def test_the_list_starts_with_the_newest_task(served: CommandLine) -> None:
    ids = [served("submit", CLIP, f"{number} {NOW}").stdout.strip() for number in range(3)]

    rows = check_document(served("list", "--limit", "2", "--json"))["tasks"]

    assert [row["task_id"] for row in rows] == list(itertools.islice(reversed(ids), 2))


@pytest.mark.parametrize(
    "flags",
    [
        pytest.param([[]], id="real"),
        pytest.param([["--sandbox"]], id="sandbox"),
        pytest.param([["--sandbox"], []], id="sandbox-then-real"),
    ],
)
def test_the_journal_is_readable_by_its_owner_only(
    omniedit: CommandLine, home: Path, flags: list[list[str]]
) -> None:
    for flag in flags:
        omniedit(*flag, "submit", CLIP, "x")

    journals = list(home.rglob("journal.db"))
    assert len(journals) == len(flags)
    for journal in journals:
        assert stat.S_IMODE(journal.stat().st_mode) == 0o600, journal
        assert stat.S_IMODE(journal.parent.stat().st_mode) == 0o700, journal.parent


def test_fields_missing_from_a_later_reply_are_kept(omniedit: CommandLine) -> None:
    bare = {"id": "task-bare-1", "object": "video.generation.task", "status": "processing"}

    def answer(request: Request) -> Reply:
        return Reply(
            body=task("pending", task_id="task-bare-1") if request.method == "POST" else bare
        )

    with scripted(answer) as service:
        submitted = omniedit("submit", CLIP, "x", "--json", **service.environ())
        shown = omniedit("status", "--json", **service.environ())

    (known,) = check_document(shown)["tasks"]
    first = check_document(submitted)["task"]
    for key in ("credits_reserved", "estimated_seconds", "model", "created_at"):
        assert first[key] is not None, first
        assert known[key] == first[key], known
