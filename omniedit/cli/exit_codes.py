"""What an error means to a script (exit status) and to a person (hint)."""

import math
import os
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from itertools import chain, count
from typing import TYPE_CHECKING, Final

from omniedit import errors
from omniedit.cli.parser import SUBMITTING
from omniedit.errors import Hint, OmniEditError
from omniedit.sanitize import quoted

if TYPE_CHECKING:
    from omniedit.models import EditRequest, Record

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


_CAUSES: Final[Mapping[ExitStatus, tuple[type[OmniEditError], ...]]] = {
    # The first of them decides the exit status of several tasks.
    ExitStatus.BUG: (OmniEditError,),
    ExitStatus.UNKNOWN: (errors.OutcomeUnknownError, errors.IdempotencyConflictError),
    ExitStatus.KEY: (
        errors.CredentialsError,
        errors.AuthenticationError,
        errors.ModelRefusedError,
    ),
    ExitStatus.CREDITS: (errors.QuotaError,),
    ExitStatus.TOO_EXPENSIVE: (errors.TooExpensiveError,),
    ExitStatus.UNAVAILABLE: (errors.ServiceError,),
    ExitStatus.USAGE: (
        errors.InvalidInputError,
        errors.RequestRefusedError,
        errors.EndpointMissingError,
    ),
    ExitStatus.FAILED: (errors.TaskFailedError,),
    ExitStatus.GONE: (errors.ResultGoneError,),
    ExitStatus.LOCAL: (errors.LocalError,),
    ExitStatus.UNFINISHED: (errors.NotFinishedError,),
    ExitStatus.NO_SUCH_TASK: (errors.TaskNotFoundError,),
}
"""The errors that end with each status, subclasses included unless they are listed elsewhere."""
_LENGTH_REFUSED: Final = (
    r"\bduration\b|\b(?:video|clip)\b(?! url\b).*\b(?:seconds|s long|too long)\b"
)
"""How the service refuses a clip that is too long; it has no code for that."""
_STATUSES: Final = {cls: status for status, classes in _CAUSES.items() for cls in classes}
_PRECEDENCE: Final = [*_CAUSES]


def exit_status(error: OmniEditError) -> ExitStatus:
    """Return the exit status of an error."""
    return next(_STATUSES[cls] for cls in type(error).__mro__ if cls in _STATUSES)


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
    model: str | None = None,
    request: "EditRequest | None" = None,
) -> str | None:
    """Return what to do about an error; None if there is no advice.

    Args:
        error: The error; its own hint takes precedence.
        command: The command that failed.
        destination: Where results go, as typed.
        record: What is known about the edit that the error is about.
        model: The model in force, which a command need not name.
        request: The edit that was asked for, if it is known.
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
        case errors.QuotaError() if "token" in error.code or "key" in error.code:
            return f"this key's own limit is reached, not the account's balance: raise it at {KEY_PAGE}"
        case errors.QuotaError():
            return f"top up at {CREDITS_PAGE}"
        case errors.TaskNotFoundError():
            return _no_task_hint(error)
        case errors.WrongBaseURLError():
            return Hint("{} shows where the base URL comes from", "config show")
        case errors.RequestRefusedError() if command in SUBMITTING:
            return _refused_hint(error, command, request)
        case errors.InvalidInputError() if error.code == "usage":
            return Hint("{} explains it", f"{command} --help")
        case errors.RequestRefusedError() | errors.EndpointMissingError():
            return Hint("{} checks the key, the base URL and the service", "doctor")
        case errors.BlockedClientError():
            return "the host blocks this client or network; try from another network"
        case errors.UnavailableError():
            return _later_hint(error, command)
        case errors.TaskFailedError() if error.code == "request_cancelled":
            return _again_hint("if you still want it, {} submits it again", command, record, model)
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
            return _again_hint("{} makes it again, and is charged again", command, record, model)
        case errors.TargetExistsError():
            option = {"edit": "--output", "download": "--output", "wait": "--download"}.get(command)
            name = f"another name with `{option}`" if option else "another name"
            return f"choose {name}, or replace the file with `--force`"
        case errors.JournalError() if command in {"edit", "batch"}:
            return (
                "nothing was sent; `--no-journal` continues without the journal and its protection"
            )
        case errors.JournalError():
            return Hint(
                "{} shows where it is; OMNIEDIT_STATE_DIR selects another folder", "config path"
            )
        case _:
            return None


def too_long_hint(request: "EditRequest | None", *, command: str) -> Hint:
    """Return how to edit a clip that is longer than the model takes.

    Args:
        request: The edit that was asked for, if it is known.
        command: The command that failed.
    """
    from omniedit.edits.requests import suggested_command
    from omniedit.media import is_available
    from omniedit.models import find_model

    longest_s = find_model(request.model).longest_clip_s if request else math.inf
    end = "T" if request is None or request.is_cut or math.isinf(longest_s) else f"{longest_s:g}"
    words = f"`--end {end}` cuts it, and {{}} edits it in pieces"
    if command == "batch":
        words = (
            "leave such a clip out, cut it with `start` and `end` in a manifest,"
            " or edit it alone: {}"
        )
    if not is_available():
        words += f"; cuts and pieces need the extra `media`: `{errors.install_command('media')}`"
    return Hint(words, suggested_command("edit", request, "--split"))


def saving_command(command: str, option: str, destination: str | None, *, force: bool) -> str:
    """Return a command with the options that say where a result goes, as typed."""
    where = [] if destination is None else [option, quoted(destination)]
    return " ".join([command, *where, *(["--force"] if force else [])])


def quoted_destination(destination: str | None) -> str:
    """Return where a result goes, quoted for a shell; a free name if nothing was typed."""
    if destination is not None:
        return quoted(destination)
    names = chain(["out.mp4"], (f"out-{number}.mp4" for number in count(2)))
    return next(name for name in names if not os.path.lexists(name))


def _refused_hint(error: OmniEditError, command: str, request: "EditRequest | None") -> Hint:
    from omniedit.edits.requests import suggested_command

    if re.search(_LENGTH_REFUSED, error.message, re.IGNORECASE):
        return too_long_hint(request, command=command)
    if command == "batch" or (request is not None and request.piece is not None):
        request = None  # edits that are refused for the same reason share one hint
    return Hint("{} shows the request", suggested_command("submit", request, "--dry-run"))


def _again_hint(text: str, command: str, record: "Record | None", model: str | None) -> str:
    """Return a hint with the command that makes an edit again; `{}` in the text stands for it."""
    if command in {"edit", "batch"}:
        which = " with this edit alone and" if command == "batch" else " with"
        return text.format(f"the same command{which} `--again`")
    from omniedit.edits.requests import known_command

    known = known_command(record, model=model) if record else None
    return Hint(text, known or "edit VIDEO PROMPT --again")


def _no_task_hint(error: OmniEditError) -> str:
    from omniedit.edits.records import SHORTEST_END

    words = "only the account that made a task can see it"
    if error.task_id and len(error.task_id) < SHORTEST_END:
        words = f"the end of a task ID must have at least {SHORTEST_END} characters"
    return Hint(f"{{}} shows the tasks known here; {words}", "list")


def _later_hint(error: OmniEditError, command: str) -> str:
    prefix = "nothing was accepted; " if command in SUBMITTING and error.request_id else ""
    if error.retry_after_s is not None:
        from omniedit.terminal.human import render_duration

        now = datetime.now(UTC)
        then = now + timedelta(seconds=error.retry_after_s)
        day = "" if then.date() == now.date() else f"{then:%Y-%m-%d} "
        left = render_duration(error.retry_after_s)
        return f"{prefix}retry in {left}, at {day}{then:%H:%M:%S} UTC"
    if error.code == "interrupted":
        return "nothing was sent: submit it again"
    if not isinstance(error, errors.NotConnectedError):
        return f"{prefix}try again later"
    refused = r"cannot connect to (?:127\.|localhost|\[::1\]).*refused"
    if re.search(refused, error.message, re.IGNORECASE):
        words = f"{prefix}nothing listens there: start it ({{}}), or check the base URL"
        return Hint(words, "sandbox serve")
    return f"{prefix}check the network and the proxy variables, then try again"
