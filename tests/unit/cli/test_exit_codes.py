"""An error's exit status for scripts, and its hint for people."""

import hashlib
import random
import re
import signal
from pathlib import Path

import pytest

from omniedit import errors
from omniedit.cli.exit_codes import (
    ExitStatus,
    exit_status,
    exit_status_of_signal,
    hint_for,
    worst,
)
from omniedit.edits.requests import digest_of
from omniedit.errors import OmniEditError, render_hint
from omniedit.models import DEFAULT_MODEL, EditRequest, Record, Task
from tests.journals import record_of

EXPECTED = {
    errors.InvalidInputError: 2,
    errors.MissingFileError: 2,
    errors.MissingExtraError: 2,
    errors.NoSuchReferenceError: 2,
    errors.RequestRefusedError: 2,
    errors.WrongBaseURLError: 2,
    errors.EndpointMissingError: 2,
    errors.CredentialsError: 3,
    errors.MissingKeyError: 3,
    errors.InvalidKeyError: 3,
    errors.AuthenticationError: 3,
    errors.ModelRefusedError: 3,
    errors.QuotaError: 4,
    errors.TaskFailedError: 5,
    errors.NotFinishedError: 6,
    errors.WaitTimeoutError: 6,
    errors.ResultGoneError: 7,
    errors.NotAVideoError: 7,
    errors.ServiceError: 8,
    errors.UnavailableError: 8,
    errors.RateLimitedError: 8,
    errors.ServerError: 8,
    errors.UnreadableReplyError: 8,
    errors.NetworkError: 8,
    errors.NotConnectedError: 8,
    errors.BlockedClientError: 8,
    errors.BrokenDownloadError: 8,
    errors.OutcomeUnknownError: 9,
    errors.NotReplayedError: 9,
    errors.IdempotencyConflictError: 9,
    errors.LocalError: 10,
    errors.TargetExistsError: 10,
    errors.TargetBusyError: 10,
    errors.JournalError: 10,
    errors.JournalDamagedError: 10,
    errors.JournalTooNewError: 10,
    errors.TaskNotFoundError: 11,
    errors.TooExpensiveError: 12,
}


@pytest.mark.parametrize(("error", "status"), EXPECTED.items())
def test_an_error_has_its_exit_status(error: type[OmniEditError], status: int) -> None:
    assert exit_status(error("no")) == status


@pytest.mark.parametrize("error", [*OmniEditError.subclasses()][1:])
def test_every_error_class_has_an_exit_status(error: type[OmniEditError]) -> None:
    assert error in EXPECTED
    assert exit_status(error.__new__(error)) is not ExitStatus.BUG


def test_a_bare_omniedit_error_is_a_bug() -> None:
    assert exit_status(OmniEditError("no")) is ExitStatus.BUG


# The precedence if there are several tasks (`omniedit help exit-codes`).
PRECEDENCE = [1, 9, 3, 4, 12, 8, 2, 5, 7, 10, 6, 11]


def test_the_worst_of_several_errors_wins() -> None:
    by_status = {status: error for error, status in EXPECTED.items()} | {1: OmniEditError}
    worst_first = [by_status[status]("no") for status in PRECEDENCE]

    for index, expected in enumerate(worst_first):
        rest = worst_first[index:]
        random.Random(index).shuffle(rest)  # noqa: S311 - only an order
        assert worst(rest) is expected


def test_ties_go_to_the_first_error_and_no_errors_give_none() -> None:
    first, second = errors.TaskFailedError("a"), errors.TaskFailedError("b")

    assert worst([first, second]) is first
    assert worst([]) is None


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (signal.SIGINT, 130),
        (signal.SIGTERM, 143),
        pytest.param(getattr(signal, "SIGHUP", 1), 129, marks=pytest.mark.posix),
    ],
)
def test_a_signals_exit_status_is_128_plus_its_number(number: int, status: int) -> None:
    assert exit_status_of_signal(number) == status == 128 + number


# The other errors get a more specific hint from the code that raises them.
ALWAYS_WITH_A_HINT = (
    errors.MissingKeyError,
    errors.AuthenticationError,
    errors.ModelRefusedError,
    errors.QuotaError,
    errors.TaskNotFoundError,
    errors.WrongBaseURLError,
    errors.ResultGoneError,
    errors.NotAVideoError,
    errors.UnavailableError,
    errors.RateLimitedError,
    errors.ServerError,
    errors.UnreadableReplyError,
    errors.NetworkError,
    errors.NotConnectedError,
    errors.BlockedClientError,
    errors.BrokenDownloadError,
    errors.TargetExistsError,
    errors.TargetBusyError,
    errors.NotFinishedError,
    errors.WaitTimeoutError,
    errors.TaskFailedError,
    errors.JournalError,
    errors.JournalDamagedError,
)


@pytest.mark.parametrize("error", ALWAYS_WITH_A_HINT)
@pytest.mark.parametrize(
    "command", ["submit", "status", "wait", "download", "edit", "list", "usage"]
)
def test_an_error_has_a_hint_in_every_command(error: type[OmniEditError], command: str) -> None:
    assert hint_for(error("no"), command=command)


def test_only_wrong_usage_gets_a_hint_to_read_the_help() -> None:
    usage = hint_for(errors.InvalidInputError("no", code="usage"), command="edit")
    clip = hint_for(errors.InvalidInputError("no", code="invalid_clip"), command="edit")

    assert (usage, clip) == ("`omniedit edit --help` explains it", None)


@pytest.mark.parametrize("command", ["edit", "submit", "batch"])
def test_a_refused_edit_gets_a_hint_at_what_was_sent(command: str) -> None:
    hint = hint_for(errors.RequestRefusedError("no"), command=command)

    assert hint == '`omniedit submit VIDEO "PROMPT" --dry-run` shows the request'


def test_a_refused_edit_gets_a_hint_with_what_was_typed() -> None:
    request = EditRequest(video="a.mp4", prompt="make it night", end="5")

    hint = hint_for(errors.RequestRefusedError("no"), command="edit", request=request)

    command = "omniedit submit a.mp4 'make it night' --end 5 --dry-run"
    assert hint == f"`{command}` shows the request"


def test_a_hint_does_not_repeat_a_long_prompt() -> None:
    request = EditRequest(video="a.mp4", prompt="night " * 100)

    hint = hint_for(errors.RequestRefusedError("no"), command="edit", request=request)

    assert hint == '`omniedit submit VIDEO "PROMPT" --dry-run` shows the request'


@pytest.mark.parametrize(
    "message",
    [
        "The video is 25.00 s long; at most 10 s are supported",
        "the input video must not exceed 10 seconds",
        "Invalid duration: 25.0",
        "video too long",
    ],
)
@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        pytest.param(
            EditRequest(video="a.mp4", prompt="night", max_credits=90.0),
            "`--end 10` cuts it, and `omniedit edit a.mp4 night --max-credits 90 --split`",
            id="whole-clip",
        ),
        pytest.param(
            EditRequest(video="a.mp4", prompt="night", start="5"),
            "`--end T` cuts it, and `omniedit edit a.mp4 night --start 5 --split`",
            id="cut",
        ),
        pytest.param(
            EditRequest(video="a.mp4", prompt="night", model="new", model_source="option"),
            "`--end T` cuts it, and `omniedit edit a.mp4 night --model new --split`",
            id="model-with-unknown-limit",
        ),
    ],
)
def test_a_clip_refused_for_its_length_gets_a_hint_to_cut_or_split_it(
    message: str, request_: EditRequest, expected: str
) -> None:
    hint = hint_for(errors.RequestRefusedError(message), command="edit", request=request_)

    assert hint == f"{expected} edits it in pieces"


@pytest.mark.parametrize(
    "message", ["the prompt is too long", "the video URL is too long", "callback_url is too long"]
)
def test_what_else_is_too_long_gets_no_hint_to_cut_the_clip(message: str) -> None:
    hint = hint_for(errors.RequestRefusedError(message), command="edit")

    assert hint == '`omniedit submit VIDEO "PROMPT" --dry-run` shows the request'


def test_an_errors_own_hint_takes_precedence() -> None:
    error = errors.QuotaError("no", hint="https://evolink.ai/fix")

    assert hint_for(error, command="submit") == "https://evolink.ai/fix"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("insufficient_user_quota", "dashboard/credits"),
        ("account_balance_insufficient", "dashboard/credits"),
        ("insufficient_token_quota", "dashboard/keys"),
        ("key_daily_quota_exhausted", "dashboard/keys"),
    ],
)
def test_key_limits_and_the_balance_get_different_hints(code: str, words: str) -> None:
    hint = hint_for(errors.QuotaError("no", code=code), command="submit")

    assert words in (hint or "")


def test_the_hint_for_an_unfinished_task_names_it() -> None:
    error = errors.WaitTimeoutError("no", task_id="t-1")

    assert "`omniedit wait t-1 --download out.mp4`" in (hint_for(error, command="wait") or "")


GONE = errors.ResultGoneError("no", task_id="t-1")
CANCELLED = errors.TaskFailedError("no", code="request_cancelled", task_id="t-1")
CLIP = b"a clip"


def edit_of(video: str, *, identity: str | None = None, model: str = DEFAULT_MODEL) -> Record:
    """Return the record of an edit; of an uncut one if the identity is not given."""
    sha256 = None if "://" in video else hashlib.sha256(CLIP).hexdigest()
    clip = f"sha256:{sha256}" if sha256 else video
    return record_of(
        Task(task_id="t-1", status="completed"),
        video=video,
        prompt="make it night",
        model=model,
        clip_sha256=sha256,
        identity=identity or digest_of([clip, "make it night", None, None, model]),
    )


@pytest.mark.parametrize(
    ("record", "edit"),
    [
        pytest.param(edit_of("a b.mp4"), "edit 'a b.mp4' 'make it night'", id="path"),
        pytest.param(
            edit_of("https://example.com/a.mp4"),
            "edit https://example.com/a.mp4 'make it night'",
            id="url",
        ),
        pytest.param(
            edit_of("a b.mp4", model="other"),
            "edit 'a b.mp4' 'make it night' --model other",
            id="model",
        ),
        pytest.param(edit_of("c.mp4"), "edit VIDEO PROMPT", id="no-such-file-here"),
        pytest.param(edit_of("other.mp4"), "edit VIDEO PROMPT", id="another-clip-here"),
        pytest.param(edit_of("a b.mp4", identity="cut"), "edit VIDEO PROMPT", id="cut-or-no-query"),
        pytest.param(None, "edit VIDEO PROMPT", id="unknown"),
    ],
)
@pytest.mark.parametrize("command", ["wait", "download"])
def test_the_hint_for_a_lost_result_names_the_edit_that_made_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, record: Record | None, edit: str, command: str
) -> None:
    (tmp_path / "a b.mp4").write_bytes(CLIP)
    (tmp_path / "other.mp4").write_bytes(b"another clip")
    monkeypatch.chdir(tmp_path)

    gone, cancelled = (
        hint_for(error, command=command, record=record, model=DEFAULT_MODEL)
        for error in (GONE, CANCELLED)
    )

    assert gone == f"`omniedit {edit} --again` makes it again, and is charged again"
    assert cancelled == f"if you still want it, `omniedit {edit} --again` submits it again"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("edit", "the same command with `--again` makes it again"),
        ("batch", "the same command with this edit alone and `--again` makes it again"),
    ],
)
def test_the_hint_for_a_lost_result_of_the_same_command_does_not_repeat_it(
    command: str, words: str
) -> None:
    assert hint_for(GONE, command=command) == f"{words}, and is charged again"


@pytest.mark.parametrize(
    ("task_id", "words"),
    [
        ("abcde", "the end of a task ID must have at least 6 characters"),
        ("abcdef", "only the account that made a task can see it"),
    ],
)
def test_the_hint_says_if_a_partial_task_id_is_too_short(task_id: str, words: str) -> None:
    error = errors.TaskNotFoundError("no", task_id=task_id)

    assert words in (hint_for(error, command="wait") or "")


def test_a_blocked_client_is_not_blamed_on_the_result_host() -> None:
    # API, file service and results may each refuse a client.
    assert "result" not in str(hint_for(errors.BlockedClientError("no"), command="credits"))


def test_the_hint_of_a_rate_limit_says_when_to_retry() -> None:
    error = errors.RateLimitedError("no", retry_after_s=3600, request_id="r" * 16)

    hint = hint_for(error, command="submit")

    assert hint
    assert "nothing was accepted; " in hint
    assert re.search(r"retry in 1h00m, at (20\d\d-\d\d-\d\d )?\d\d:\d\d:\d\d UTC$", hint)


def test_a_retry_time_after_today_has_a_date() -> None:
    hint = hint_for(errors.RateLimitedError("no", retry_after_s=3 * 86400), command="submit")

    assert re.search(r"retry in 3d00h, at 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC$", hint or "")


def test_an_interrupted_submission_does_not_blame_the_network() -> None:
    error = errors.NotConnectedError("interrupted before anything was sent", code="interrupted")

    assert hint_for(error, command="status") == "nothing was sent: submit it again"


@pytest.mark.parametrize("error", [*OmniEditError.subclasses()])
@pytest.mark.parametrize("command", ["submit", "wait", "edit"])
def test_every_command_in_a_hint_keeps_the_sandbox_option(
    error: type[OmniEditError], command: str
) -> None:
    hint = hint_for(error("no", task_id="t-1"), command=command) or ""

    assert render_hint(hint, is_sandbox=False) == hint
    assert render_hint(hint, is_sandbox=True) == hint.replace("`omniedit ", "`omniedit --sandbox ")


@pytest.mark.parametrize("error", [*OmniEditError.subclasses()])
@pytest.mark.parametrize("command", ["submit", "wait", "edit", "batch", "list", "journal merge"])
@pytest.mark.parametrize("code", [None, "request_cancelled"])
def test_no_hint_abbreviates_its_command(
    error: type[OmniEditError], command: str, code: str | None
) -> None:
    assert "…" not in (hint_for(error("no", code=code), command=command) or "")
