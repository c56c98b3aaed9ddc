"""`edit` is like make: a task that was accepted and has not failed is never paid again."""

import concurrent.futures
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from omniedit.sandbox.server import RunningSandbox
from tests.commandline import CommandLine
from tests.e2e.test_contract_equipment import (
    CLIP,
    NOW,
    check_document,
    check_failure,
    check_refusal,
    requests,
    submissions,
)

pytestmark = pytest.mark.e2e

PROMPT = f"warmer {NOW}"
REQUEST_ID = "run-1234567890-clip7"


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "record.jsonl"


@pytest.fixture
def service(start_sandbox: Callable[..., RunningSandbox], record: Path) -> RunningSandbox:
    return start_sandbox(record=record)


@pytest.fixture
def served(served: CommandLine, service: RunningSandbox) -> CommandLine:
    return served.in_(served.folder, OMNIEDIT_FILES_URL=service.url)


@pytest.fixture
def clip(served: CommandLine, service: RunningSandbox, record: Path) -> Path:
    """Return a real local MP4: a result of the sandbox."""
    assert served("edit", CLIP, f"clip {NOW}", "-o", "clip.mp4", "-q").status == 0
    record.unlink()
    return served.folder / "clip.mp4"


def test_a_repeated_edit_sends_nothing(served: CommandLine, record: Path) -> None:
    first = served("edit", CLIP, PROMPT, "-o", "a.mp4")
    inode = (served.folder / "a.mp4").stat().st_ino
    request_count = len(requests(record))
    second = served("edit", CLIP, PROMPT, "-o", "a.mp4")

    assert (first.status, first.stdout) == (0, "a.mp4\n"), first
    assert (second.status, second.stdout) == (0, "a.mp4\n"), second
    assert (served.folder / "a.mp4").stat().st_ino == inode
    assert len(requests(record)) == request_count
    assert len(submissions(record)) == 1


@pytest.mark.parametrize("value", ["state", ".", ""])
def test_one_journal_is_used_from_every_working_folder(
    served: CommandLine, home: Path, record: Path, value: str
) -> None:
    config = home / "config" / "omniedit"
    elsewhere = served.folder / "elsewhere"
    config.mkdir()
    elsewhere.mkdir()
    (config / "config.toml").write_text(f'state_dir = "{value}"\n')

    for command in (served, served.in_(elsewhere)):
        assert command("edit", CLIP, PROMPT, "-o", "a.mp4").status == 0

    assert len(submissions(record)) == 1


def test_the_default_output_is_named_after_clip_prompt_and_digest(served: CommandLine) -> None:
    first = served("edit", CLIP, PROMPT)
    again = served("edit", CLIP, PROMPT)
    other = served("edit", CLIP, f"colder {NOW}")

    assert re.fullmatch(r"clip-warmer-sandbox-seconds-0-[0-9a-f]{6}\.mp4\n", first.stdout), first
    assert again.stdout == first.stdout != other.stdout


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(["-o", "b.mp4"], id="other-output"),
        pytest.param(["-o", "new/folder/b.mp4"], id="output-in-a-new-folder"),
        pytest.param(["-o", "out/"], id="output-is-a-folder"),
        pytest.param(["-o", "a.mp4", "--callback-url", "https://example.com/"], id="callback"),
        pytest.param(["-o", "a.mp4", "--force"], id="force"),
        pytest.param(["-o", "-"], id="stdout"),
        pytest.param(["-o", "a.mp4", "--request-id", REQUEST_ID], id="request-id"),
    ],
)
def test_options_outside_the_edits_identity_do_not_pay_again(
    served: CommandLine, record: Path, change: list[str]
) -> None:
    served("edit", CLIP, PROMPT, "-o", "a.mp4")

    ended = served("edit", CLIP, PROMPT, *change)

    assert ended.status == 0, ended
    assert len(submissions(record)) == 1


@pytest.mark.parametrize("other", ["make it\r\nnight", "make it\nnight \t", "make it\nnight\n"])
def test_line_endings_and_trailing_space_do_not_change_the_prompt(
    served: CommandLine, record: Path, other: str
) -> None:
    served("submit", CLIP, "make it\nnight")

    ended = served("edit", CLIP, other, "-o", "a.mp4", "--timeout", "1")

    assert "nothing is paid again" in ended.stderr, ended
    assert len(submissions(record)) == 1


@pytest.mark.parametrize("video", [CLIP, "clip.mp4"])
def test_a_known_edit_is_exempt_from_max_credits(
    served: CommandLine, clip: Path, record: Path, video: str
) -> None:
    pytest.importorskip("av")
    served("edit", video, PROMPT, "-o", "a.mp4")

    again = served("edit", video, PROMPT, "-o", "a.mp4", "--max-credits", "0.1")
    over_limit = served("edit", "clip.mp4", "another", "-o", "b.mp4", "--max-credits", "0.1")

    assert (again.status, again.stdout) == (0, "a.mp4\n"), again
    check_failure(over_limit, 12, "--max-credits 0.1")
    assert len(submissions(record)) == 1


def test_a_known_edit_is_copied_without_the_service(
    served: CommandLine, service: RunningSandbox, record: Path
) -> None:
    served("edit", CLIP, PROMPT, "-o", "a.mp4")
    service.close()

    ended = served("edit", CLIP, PROMPT, "-o", "b.mp4")

    assert (ended.status, ended.stdout) == (0, "b.mp4\n"), ended
    assert (served.folder / "b.mp4").read_bytes() == (served.folder / "a.mp4").read_bytes()


def test_a_deleted_file_is_fetched_again(served: CommandLine, record: Path) -> None:
    served("edit", CLIP, PROMPT, "-o", "a.mp4")
    (served.folder / "a.mp4").unlink()

    ended = served("edit", CLIP, PROMPT, "-o", "a.mp4")

    assert (ended.status, (served.folder / "a.mp4").exists()) == (0, True), ended
    assert len(submissions(record)) == 1


def test_a_file_changed_by_hand_is_kept_without_force(served: CommandLine, record: Path) -> None:
    served("edit", CLIP, PROMPT, "-o", "a.mp4")
    (served.folder / "a.mp4").write_bytes(b"my own cut")

    plain = served("edit", CLIP, PROMPT, "-o", "a.mp4")
    kept = (served.folder / "a.mp4").read_bytes()
    forced = served("edit", CLIP, PROMPT, "-o", "a.mp4", "--force")

    check_failure(plain, 10, "a.mp4")
    assert kept == b"my own cut"
    assert (forced.status, forced.stdout) == (0, "a.mp4\n"), forced
    assert (served.folder / "a.mp4").read_bytes()[4:8] == b"ftyp"
    assert len(submissions(record)) == 1


def test_an_existing_output_is_refused_before_submitting(served: CommandLine, record: Path) -> None:
    (served.folder / "a.mp4").write_bytes(b"mine")

    ended = served("edit", CLIP, PROMPT, "-o", "a.mp4")

    check_failure(ended, 10, "a.mp4", "--force")
    assert not requests(record)
    assert (served.folder / "a.mp4").read_bytes() == b"mine"


def test_a_file_as_output_folder_is_refused_before_submitting(
    served: CommandLine, record: Path
) -> None:
    (served.folder / "out").touch()

    ended = served("edit", CLIP, PROMPT, "-o", "out/")

    check_failure(ended, 10, "out is not a folder")
    assert not requests(record)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(["-o", "a.mp4", "--force"], id="over-the-older-file"),
        pytest.param(["-o", "out/"], id="beside-the-older-file"),
    ],
)
def test_an_unfinished_resubmission_is_picked_up_without_again(
    served: CommandLine, record: Path, options: list[str]
) -> None:
    argv = ["edit", CLIP, "x [sandbox:seconds=2]", *options, "--json"]
    served(*argv)
    timed_out = served(*argv, "--again", "--timeout", "0")

    ended = served(*argv)

    (resubmitted,), (picked_up,) = timed_out.document["tasks"], ended.document["tasks"]
    assert (timed_out.status, ended.status) == (6, 0), (timed_out, ended)
    assert picked_up["task_id"] == resubmitted["task_id"]
    assert len(submissions(record)) == 2


def test_the_again_flag_pays_a_second_time(served: CommandLine, record: Path) -> None:
    served("edit", CLIP, PROMPT, "-o", "a.mp4")

    ended = served("edit", CLIP, PROMPT, "-o", "b.mp4", "--again")

    assert (ended.status, ended.stdout) == (0, "b.mp4\n"), ended
    keys = {request["headers"]["idempotency-key"] for request in submissions(record)}
    assert len(keys) == 2


@pytest.mark.parametrize(
    ("marker", "status"),
    [
        pytest.param("fail=content_policy_violation", 5, id="failed-permanently"),
        pytest.param("expired", 7, id="link-expired"),
    ],
)
def test_a_failed_or_expired_edit_is_reported_again_without_paying(
    served: CommandLine, record: Path, marker: str, status: int
) -> None:
    argv = ["edit", CLIP, f"x [sandbox:{marker}]{NOW}", "-o", "a.mp4"]

    for ended in (served(*argv), served(*argv)):
        check_failure(ended, status)

    assert status == 5 or "--again" in ended.stderr, ended
    assert len(submissions(record)) == 1


@pytest.mark.parametrize(
    ("prompt", "status"),
    [
        pytest.param(f"x [sandbox:fail=generation_timeout]{NOW}", 5, id="failed-retryable"),
        pytest.param("x [sandbox:http=402]", 4, id="refused"),
    ],
)
def test_a_refused_or_retryable_edit_is_submitted_again(
    served: CommandLine, record: Path, prompt: str, status: int
) -> None:
    for _ in range(2):
        check_failure(served("edit", CLIP, prompt, "-o", "a.mp4"), status)

    assert len(submissions(record)) == 2


def test_an_unknown_submission_is_replayed_with_its_own_key(
    served: CommandLine, record: Path
) -> None:
    prompt = f"x [sandbox:lost-reply][sandbox:http=503*2]{NOW}"
    unknown = served("edit", CLIP, prompt, "-o", "a.mp4")

    ended = served("edit", CLIP, prompt, "-o", "a.mp4")

    check_failure(unknown, 9, "run the same command again", "--resume")
    assert (ended.status, ended.stdout) == (0, "a.mp4\n"), ended
    assert len({request["headers"]["idempotency-key"] for request in submissions(record)}) == 1


def test_an_unknown_resubmission_is_replayed_without_again(
    served: CommandLine, record: Path
) -> None:
    prompt = f"x [sandbox:lost-reply][sandbox:http=503*2]{NOW}"
    unknown = served("edit", CLIP, prompt, "-o", "a.mp4", "--again")

    ended = served("edit", CLIP, prompt, "-o", "a.mp4")

    check_failure(unknown, 9, "the same command without `--again`")
    assert ended.status == 0, ended
    assert len({request["headers"]["idempotency-key"] for request in submissions(record)}) == 1


def test_a_running_edit_is_waited_for(served: CommandLine, record: Path) -> None:
    prompt = "x [sandbox:seconds=60]"
    early = served("edit", CLIP, prompt, "-o", "a.mp4", "--timeout", "1")

    ended = served("edit", CLIP, prompt, "-o", "a.mp4")

    check_failure(early, 6)
    assert (ended.status, ended.stdout) == (0, "a.mp4\n"), ended
    assert len(submissions(record)) == 1


def test_concurrent_runs_of_one_edit_pay_once(
    served: CommandLine, commands: Path, record: Path
) -> None:
    forked = replace(served, command=commands / "omniedit")
    argv = ["edit", CLIP, "x [sandbox:seconds=20]", "-o", "a.mp4"]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        ended = list(pool.map(lambda _: forked(*argv), range(3)))

    assert [(each.status, each.stdout) for each in ended] == [(0, "a.mp4\n")] * 3, ended
    assert len(submissions(record)) == 1


def test_edit_picks_up_a_submitted_task(served: CommandLine, record: Path) -> None:
    task_id = served("submit", CLIP, PROMPT).stdout.strip()

    document = check_document(served("edit", CLIP, PROMPT, "-o", "a.mp4", "--json"))

    assert document["tasks"][0]["task_id"] == task_id
    assert len(submissions(record)) == 1


def test_without_a_journal_a_request_id_prevents_a_second_payment(
    served: CommandLine, record: Path, tmp_path: Path
) -> None:
    state = tmp_path / "fresh-state"
    argv = ["edit", CLIP, PROMPT, "--no-journal", "--request-id", REQUEST_ID]
    environ: dict[str, Any] = {"OMNIEDIT_STATE_DIR": str(state)}

    first = served(*argv, "-o", "a.mp4", **environ)
    second = served(*argv, "-o", "b.mp4", **environ)

    assert (first.status, second.status) == (0, 0), (first, second)
    assert not list(state.rglob("*.db*"))
    assert len({request["task_id"] for request in submissions(record)}) == 1


def test_without_a_journal_the_recovery_command_is_printed(served: CommandLine) -> None:
    ended = served("edit", CLIP, "x [sandbox:lost-reply][sandbox:http=503*3]", "--no-journal")

    check_failure(ended, 9, "omniedit submit", CLIP, "--request-id")


def test_submit_always_submits_but_mentions_the_known_task(
    served: CommandLine, record: Path
) -> None:
    first, second = served("submit", CLIP, PROMPT), served("submit", CLIP, PROMPT)

    assert first.stdout != second.stdout
    assert len(submissions(record)) == 2
    assert first.stdout.strip() in second.stderr, second
    assert "omniedit edit" in second.stderr or "known" in second.stderr, second


@pytest.mark.parametrize("machine", ["same", "another"])
def test_a_repeated_request_id_replays_the_submission(
    served: CommandLine, record: Path, machine: str
) -> None:
    other: dict[str, Any] = (
        {"OMNIEDIT_STATE_DIR": str(served.folder / "b")} if machine == "another" else {}
    )
    first = served("submit", CLIP, PROMPT, "--request-id", REQUEST_ID)

    second = served("submit", CLIP, PROMPT, "--request-id", REQUEST_ID, **other)

    assert first.status == second.status == 0, (first, second)
    assert first.stdout == second.stdout
    assert {request["headers"]["idempotency-key"] for request in submissions(record)} == {
        REQUEST_ID
    }


def test_the_again_flag_has_no_effect_on_a_known_request_id(
    served: CommandLine, record: Path
) -> None:
    call = ("edit", CLIP, PROMPT, "--request-id", REQUEST_ID)
    first = served(*call, "-o", "a.mp4")

    again = served(*call, "--again", "-o", "b.mp4")

    assert first.status == again.status == 0, (first, again)
    assert "`--again` has no effect" in again.stderr
    assert len(submissions(record)) == 1


def test_a_failed_edit_reports_what_it_was_charged(served: CommandLine) -> None:
    ended = served("edit", CLIP, f"x [sandbox:fail=generation_timeout]{NOW}", "-o", "a.mp4")

    check_failure(ended, 5)
    assert re.search(r": failed.*, 0\.0 credits \(\$0\.00\)\n", ended.stderr), ended


@pytest.mark.parametrize("command", ["submit", "edit"])
def test_a_request_id_of_another_edit_is_refused_unsent(
    served: CommandLine, record: Path, command: str
) -> None:
    served("submit", CLIP, PROMPT, "--request-id", REQUEST_ID)

    ended = served(command, CLIP, f"other {NOW}", "--request-id", REQUEST_ID)

    check_failure(ended, 2, REQUEST_ID)
    assert len(submissions(record)) == 1


def test_a_request_id_conflict_at_the_service_is_status_9(served: CommandLine) -> None:
    served("submit", CLIP, PROMPT, "--request-id", REQUEST_ID)
    elsewhere: dict[str, Any] = {"OMNIEDIT_STATE_DIR": str(served.folder / "b")}

    ended = served("submit", CLIP, f"other {NOW}", "--request-id", REQUEST_ID, **elsewhere)

    check_failure(ended, 9, "already used with another request body")


@pytest.mark.parametrize(
    "request_id", ["short", "x" * 97, "with space in the id", "a/b/c/d/e/f/g/h/i/j"]
)
@pytest.mark.parametrize("command", ["submit", "edit"])
def test_an_invalid_request_id_is_refused_unsent(
    served: CommandLine, record: Path, command: str, request_id: str
) -> None:
    check_refusal(served(command, CLIP, PROMPT, "--request-id", request_id), 2)
    assert not requests(record)


def test_a_local_clip_is_identified_by_its_content(
    served: CommandLine, record: Path, clip: Path
) -> None:
    first = served("edit", "clip.mp4", PROMPT, "-o", "a.mp4")
    clip.rename(served.folder / "moved.mp4")
    second = served("edit", "moved.mp4", PROMPT, "-o", "b.mp4")

    assert (first.status, second.status) == (0, 0), (first, second)
    assert len(submissions(record)) == 1
    assert len(requests(record, "POST", "/upload/")) == 1
    assert (served.folder / "b.mp4").read_bytes() == (served.folder / "moved.mp4").read_bytes()


def test_a_clip_cannot_be_its_own_output(served: CommandLine, record: Path, clip: Path) -> None:
    ended = served("edit", "clip.mp4", PROMPT, "-o", "clip.mp4")

    check_failure(ended, 10)
    assert not submissions(record)
