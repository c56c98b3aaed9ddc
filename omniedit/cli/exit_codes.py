"""What an error means to a script (exit status) and to a person (hint)."""

import os
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from itertools import chain, count
from typing import TYPE_CHECKING, Final

from omniedit import errors
from omniedit.errors import Hint, OmniEditError
from omniedit.sanitize import quoted

if TYPE_CHECKING:
    from omniedit.models import Record

MISSING_COMMAND: Final = "command_missing"
"""The code of the error whose message is a group's help."""
_REFUSED: Final = re.compile(
    r"cannot connect to (?:127\.|localhost|\[::1\]).*refused", re.IGNORECASE
)
CREDITS_PAGE: Final = "https://evolink.ai/dashboard/credits"


class ExitStatus(IntEnum):
    """What scripts branch on; `omniedit help exit-codes` explains each status."""

    DONE = 0
    BUG = 1
    USAGE = 2
    KEY = 3
    CREDITS = 4
    FAILED = 5
    UNFINISHED = 6
    GONE = 7
    UNAVAILABLE = 8
    UNKNOWN = 9
    LOCAL = 10
    NO_SUCH_TASK = 11
    TOO_EXPENSIVE = 12
    HUNG_UP = 129
    INTERRUPTED = 130
    TERMINATED = 143


_PRECEDENCE: Final = (
    ExitStatus.INTERRUPTED,
    ExitStatus.TERMINATED,
    ExitStatus.HUNG_UP,
    ExitStatus.BUG,
    ExitStatus.UNKNOWN,
    ExitStatus.KEY,
    ExitStatus.CREDITS,
    ExitStatus.TOO_EXPENSIVE,
    ExitStatus.UNAVAILABLE,
    ExitStatus.USAGE,
    ExitStatus.FAILED,
    ExitStatus.GONE,
    ExitStatus.LOCAL,
    ExitStatus.UNFINISHED,
    ExitStatus.NO_SUCH_TASK,
)


def exit_status(error: OmniEditError) -> ExitStatus:  # noqa: C901, PLR0912 - one line per row of the table
    """Return the exit status of an error."""
    # The most specific classes come first.
    match error:
        case errors.OutcomeUnknownError() | errors.IdempotencyConflictError():
            return ExitStatus.UNKNOWN
        case errors.CredentialsError() | errors.AuthenticationError() | errors.ModelRefusedError():
            return ExitStatus.KEY
        case errors.QuotaError():
            return ExitStatus.CREDITS
        case errors.TaskNotFoundError():
            return ExitStatus.NO_SUCH_TASK
        case (
            errors.InvalidInputError()
            | errors.RequestRefusedError()
            | errors.EndpointMissingError()
        ):
            return ExitStatus.USAGE
        case errors.ServiceError():
            return ExitStatus.UNAVAILABLE
        case errors.TaskFailedError():
            return ExitStatus.FAILED
        case errors.NotFinishedError():
            return ExitStatus.UNFINISHED
        case errors.ResultGoneError():
            return ExitStatus.GONE
        case errors.LocalError():
            return ExitStatus.LOCAL
        case errors.TooExpensiveError():
            return ExitStatus.TOO_EXPENSIVE
        case _:
            return ExitStatus.BUG


def exit_status_of_signal(signal_number: int) -> ExitStatus:
    """Return 128 + the signal's number, as shells do."""
    status = 128 + signal_number
    # Ctrl-Break on Windows is an interrupt, too.
    return ExitStatus(status) if status in {*ExitStatus} else ExitStatus.INTERRUPTED


def worst(found: Iterable[OmniEditError]) -> OmniEditError | None:
    """Return the error that decides the exit status of several tasks."""
    return min(found, key=lambda error: _PRECEDENCE.index(exit_status(error)), default=None)


def hint_for(  # noqa: C901, PLR0912 - one line per case
    error: OmniEditError,
    *,
    command: str,
    destination: str | None = None,
    record: "Record | None" = None,
) -> str | None:
    """Return what to do about an error; None if there is no advice.

    Args:
        error: The error; its own hint takes precedence.
        command: The command that failed.
        destination: Where results go, as typed.
        record: What is known about the edit that the error is about.
    """
    if error.hint:
        return error.hint
    from omniedit.settings import KEY_PAGE

    match error:
        case errors.MissingKeyError():
            return Hint(f"set EVOLINK_API_KEY or run {{}} (keys: {KEY_PAGE})", "config set-key")
        case errors.AuthenticationError() | errors.InvalidKeyError():
            return Hint(f"{{}} shows which key was used; create keys at {KEY_PAGE}", "config show")
        case errors.ModelRefusedError():
            return Hint(
                "choose another model with `--model ID`; {} shows which is set", "config show"
            )
        case errors.QuotaError():
            return _quota_hint(error)
        case errors.TaskNotFoundError():
            return _no_task_hint(error)
        case errors.WrongBaseURLError():
            return Hint("{} shows where the base URL comes from", "config show")
        case errors.RequestRefusedError() if command in {"edit", "submit", "batch"}:
            return Hint("{} shows the request", 'submit VIDEO "PROMPT" --dry-run')
        case errors.InvalidInputError() if error.code == "usage":
            return Hint("{} explains it", f"{command} --help")
        case errors.RequestRefusedError() | errors.EndpointMissingError():
            return Hint("{} checks the key, the base URL and the service", "doctor")
        case errors.BlockedClientError():
            return "the host blocks this client or network; try from another network"
        case errors.UnavailableError():
            return _later_hint(error, command)
        case errors.TaskFailedError() if error.code == "request_cancelled":
            return _again_hint("if you still want it, {} submits it again", command, record)
        case errors.TaskFailedError():
            from omniedit.models import TaskError
            from omniedit.terminal.human import advice_on

            return advice_on(TaskError(code=error.code, message=error.message))
        case errors.NotFinishedError() if error.task_id:
            wait = f"wait {error.task_id} --download {quoted_destination(destination)}"
            return Hint("it is still running: {}", wait)
        case errors.NotFinishedError() | errors.TargetBusyError():
            return "wait for the other process to end, then run the same command again"
        case errors.ResultGoneError():
            return _again_hint("{} makes it again, and is charged again", command, record)
        case errors.TargetExistsError():
            option = {"edit": "--output", "download": "--output", "wait": "--download"}.get(command)
            name = f"choose another name with `{option}`" if option else "choose another name"
            return f"{name}, or replace the file with `--force`"
        case errors.JournalError() if command in {"edit", "batch"}:
            return (
                "nothing was sent; `--no-journal` continues without the journal and its protection"
            )
        case errors.JournalError():
            words = "{} shows where it is; OMNIEDIT_STATE_DIR selects another folder"
            return Hint(words, "config path")
        case _:
            return None


def saving_options(option: str, destination: str | None, *, force: bool) -> str:
    """Return the options that say where a result goes, as typed."""
    words = [] if destination is None else [option, quoted(destination)]
    return " ".join([*words, "--force"] if force else words)


def quoted_destination(destination: str | None) -> str:
    """Return where a result goes, quoted for a shell; a free name if nothing was typed."""
    if destination is not None:
        return quoted(destination)
    names = chain(["out.mp4"], (f"out-{number}.mp4" for number in count(2)))
    return next(name for name in names if not os.path.lexists(name))


def _again_hint(text: str, command: str, record: "Record | None") -> str:
    """Return a hint with the command that makes an edit again; `{}` in the text stands for it."""
    if command == "edit":
        return text.format("the same command with `--again`")
    if command == "batch":
        return text.format("the same command with this edit alone and `--again`")
    from omniedit.edits.requests import known_command

    known = known_command(record) if record else None
    return Hint(text, known or "edit VIDEO PROMPT --again")


def _no_task_hint(error: OmniEditError) -> str:
    from omniedit.edits.records import SHORTEST_END

    words = "only the account that made a task can see it"
    if error.task_id and len(error.task_id) < SHORTEST_END:
        words = f"the end of a task ID must have at least {SHORTEST_END} characters"
    return Hint(f"{{}} shows the tasks known here; {words}", "list")


def _quota_hint(error: OmniEditError) -> str:
    from omniedit.settings import KEY_PAGE

    if "token" in error.code or "key" in error.code:
        return f"this key's own limit is reached, not the account's balance: raise it at {KEY_PAGE}"
    return f"top up at {CREDITS_PAGE}"


def _later_hint(error: OmniEditError, command: str) -> str:
    is_unsent = command in {"submit", "edit", "batch"} and error.request_id
    prefix = "nothing was accepted; " if is_unsent else ""
    if error.retry_after_s is not None:
        from omniedit.terminal.human import render_duration

        now = datetime.now(UTC)
        then = now + timedelta(seconds=error.retry_after_s)
        day = "" if then.date() == now.date() else f"{then:%Y-%m-%d} "
        left = render_duration(error.retry_after_s)
        return f"{prefix}retry in {left}, at {day}{then:%H:%M:%S} UTC"
    if error.code == "interrupted":
        return "nothing was sent: submit it again"
    if isinstance(error, errors.NotConnectedError) and _REFUSED.search(error.message):
        return Hint(
            f"{prefix}nothing listens there: start it ({{}}), or check the base URL",
            "sandbox serve",
        )
    if isinstance(error, errors.NotConnectedError):
        return f"{prefix}check the network and the proxy variables, then try again"
    return f"{prefix}try again later"
