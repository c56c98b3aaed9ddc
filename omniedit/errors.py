"""All expected errors, as one class tree; and the commands that install what is missing.

OmniEditError
├── InvalidInputError            invalid usage or input; nothing was sent
│   ├── MissingFileError         a named file does not exist
│   ├── MissingExtraError        an optional part of omniedit is not installed
│   └── NoSuchReferenceError     `last` or the end of an ID matches no task or several
├── CredentialsError             no usable key
│   ├── MissingKeyError
│   └── InvalidKeyError
├── TaskFailedError              the task failed or was cancelled
├── NotFinishedError             the task continues
│   └── WaitTimeoutError
├── ResultGoneError              the link expired, or the result is missing
│   └── NotAVideoError           the link delivers something else
├── OutcomeUnknownError          a submission may or may not have been accepted
│   └── NotReplayedError         only the user can decide
├── LocalError                   this machine's files and disk
│   ├── TargetExistsError
│   ├── TargetBusyError
│   └── JournalError
│       ├── JournalDamagedError
│       └── JournalTooNewError
├── TooExpensiveError            more expensive than the caller's own limit
└── ServiceError                 errors from the service or the network
    ├── RequestRefusedError      400 and similar: the request is wrong
    │   └── WrongBaseURLError    404 or 405 where an endpoint was expected
    ├── AuthenticationError      401, 403, and the key codes
    ├── ModelRefusedError        the model is unknown, retired, or not allowed
    ├── QuotaError               402, and the quota codes
    ├── TaskNotFoundError        the service does not know the task
    ├── EndpointMissingError     an optional endpoint is not offered; callers fall back
    ├── IdempotencyConflictError the request ID belongs to another request
    └── UnavailableError         worth trying later
        ├── RateLimitedError     429
        ├── ServerError          5xx
        ├── UnreadableReplyError the reply contradicts the API reference
        ├── NetworkError         the connection broke; the request may have arrived
        │   └── NotConnectedError  nothing was sent
        ├── BlockedClientError   the CDN refuses this client (1010)
        └── BrokenDownloadError  the download keeps breaking off

`cli/exit_codes.py` assigns the exit statuses.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Final, NoReturn, Self

_SOURCE: Final = "git+https://github.com/omniedit/omniedit"
"""The source for pipx and uv, because omniedit is not in a package index yet."""

OFFLINE_CODE: Final = "offline"
"""The code of errors on a machine that seems to have no network."""

_LONGEST_MESSAGE: Final = 10_000
"""In characters. It may quote a value of a manifest or a reply, which may have millions."""


class Hint(str):
    """Text that names commands, to which `render_hint` can add `--sandbox`.

    As a plain string it shows the commands without `--sandbox`.

    Args:
        text: One line; each `{}` stands for a command.
        commands: The commands without `omniedit`, quoted for a shell: `list --remote --adopt`.
    """

    text: str
    commands: tuple[str, ...]

    def __new__(cls, text: str, *commands: str) -> Self:
        """Return the hint."""
        hint = super().__new__(cls, _with_commands("omniedit", text, commands))
        hint.text = text
        hint.commands = commands
        return hint


def render_hint(text: str, *, is_sandbox: bool) -> str:
    """Return a text with its commands ready to paste, with `--sandbox` if it is in force."""
    if is_sandbox and isinstance(text, Hint):
        return _with_commands("omniedit --sandbox", text.text, text.commands)
    return str(text)


class OmniEditError(Exception):
    """An expected failure: one sentence that says what happened, and its details.

    Args:
        message: One line, lower case, no full stop.
        code: The service's own code; by default the class's `kind`.
        hint: What to do next, if only the raising code can know it.
        task_id: The task concerned.
        request_id: The submission concerned.
        http_status: The HTTP status of the reply that reported the error.
        retry_after_s: The delay that the service asked for.
    """

    kind: ClassVar[str] = "error"
    """The name of the class in the journal and in JSON; never changes once released."""

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        hint: str | None = None,
        task_id: str | None = None,
        request_id: str | None = None,
        http_status: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        if len(message) > _LONGEST_MESSAGE:
            message = f"{message[:_LONGEST_MESSAGE]}…"
        super().__init__(message)
        self.message = message
        self.code = code or self.kind
        self.hint = hint
        self.task_id = task_id
        self.request_id = request_id
        self.http_status = http_status
        self.retry_after_s = retry_after_s

    def about(self, *, task_id: str | None = None, request_id: str | None = None) -> Self:
        """Fill in the task or submission of this error, if not set yet; return the error."""
        self.task_id = self.task_id or task_id
        self.request_id = self.request_id or request_id
        return self

    @classmethod
    def subclasses(cls) -> Iterator[type["OmniEditError"]]:
        """Yield this class and all its subclasses."""
        yield cls
        for subclass in cls.__subclasses__():
            yield from subclass.subclasses()

    @classmethod
    def of_kind(cls, kind: str | None) -> type["OmniEditError"]:
        """Return the class of an error that the journal has recorded; this one if it is unknown."""
        return next((each for each in cls.subclasses() if each.kind == kind), cls)


NOTHING_SUBMITTED: Final = "nothing was submitted by this call; run the same command again"


class Interrupted(BaseException):
    """A signal asked the command to end; no `except Exception` may swallow it.

    Not a KeyboardInterrupt: Typer turns that into a return value.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number
        self.unknown_outcome: OmniEditError | None = None
        """Why the outcome of the submission that it interrupted is unknown."""
        self.hint: str | None = None
        """What became of the submission that it interrupted, if that is known."""


class InvalidInputError(OmniEditError):
    """The usage or the input is invalid; nothing was sent."""

    kind = "invalid_input"


def refuse(
    message: str, *, code: str = "usage", hint: str | None = None, request_id: str | None = None
) -> NoReturn:
    """Refuse invalid input, or usage that contradicts itself; see `OmniEditError`."""
    raise InvalidInputError(message, code=code, hint=hint, request_id=request_id)


class MissingFileError(InvalidInputError):
    """A named file does not exist or cannot be read."""

    kind = "file_not_found"


class MissingExtraError(InvalidInputError):
    """An optional part of omniedit is not installed."""

    kind = "missing_extra"


class NoSuchReferenceError(InvalidInputError):
    """`last` or the end of an ID matches no task or several."""

    kind = "no_such_task"


class CredentialsError(OmniEditError):
    """There is no usable key."""

    kind = "credentials"


class MissingKeyError(CredentialsError):
    """No key is set anywhere."""

    kind = "missing_key"


class InvalidKeyError(CredentialsError):
    """The configured key is malformed; its text is never part of the message."""

    kind = "invalid_key"


class TaskFailedError(OmniEditError):
    """The task failed or was cancelled."""

    kind = "task_failed"


class NotFinishedError(OmniEditError):
    """The task is not finished and continues on the service."""

    kind = "not_finished"


class WaitTimeoutError(NotFinishedError):
    """The task did not finish within the time given."""

    kind = "wait_timeout"


class ResultGoneError(OmniEditError):
    """The link expired, or the result is gone or was never there."""

    kind = "result_gone"


class NotAVideoError(ResultGoneError):
    """What the link delivers is not an MP4."""

    kind = "not_a_video"


class OutcomeUnknownError(OmniEditError):
    """A submission may or may not have been accepted."""

    kind = "outcome_unknown"


class NotReplayedError(OutcomeUnknownError):
    """A submission with an unknown outcome is not replayed unless the user decides it."""

    kind = "not_replayed"


class LocalError(OmniEditError):
    """A local file, folder or disk causes the failure."""

    kind = "local_file"


class TargetExistsError(LocalError):
    """The target exists and is not this task's file."""

    kind = "target_exists"


class TargetBusyError(LocalError):
    """Another process is writing the same target."""

    kind = "target_busy"


class JournalError(LocalError):
    """The journal cannot be opened, read or written."""

    kind = "journal_unavailable"


class JournalDamagedError(JournalError):
    """The journal's file is not a sound database."""

    kind = "journal_damaged"


class JournalTooNewError(JournalError):
    """The journal was written by a newer omniedit."""

    kind = "journal_too_new"


class TooExpensiveError(OmniEditError):
    """The estimate exceeds the caller's own limit, or no estimate is possible."""

    kind = "too_expensive"


class ServiceError(OmniEditError):
    """An error from the service or the network."""

    kind = "service"


class RequestRefusedError(ServiceError):
    """The service rejects the request (400 and other 4xx)."""

    kind = "request_refused"


class WrongBaseURLError(RequestRefusedError):
    """A known endpoint answers 404 or 405: the base URL is not the API's."""

    kind = "wrong_base_url"


class AuthenticationError(ServiceError):
    """The key was refused (401, 403, and the key codes)."""

    kind = "unauthorized"


class ModelRefusedError(ServiceError):
    """The model is unknown to the service, retired, or not allowed for this key or account."""

    kind = "model_refused"


class QuotaError(ServiceError):
    """Not enough credits, or the key's own limit is reached (402, and the quota codes)."""

    kind = "insufficient_quota"


class TaskNotFoundError(ServiceError):
    """The service does not know the task."""

    kind = "task_not_found"


class EndpointMissingError(ServiceError):
    """The service does not offer an endpoint that is missing from the published reference."""

    kind = "endpoint_missing"


class IdempotencyConflictError(ServiceError):
    """The request ID already belongs to another request."""

    kind = "idempotency_conflict"


class UnavailableError(ServiceError):
    """The service or the network does not respond; trying later may help."""

    kind = "unavailable"


class RateLimitedError(UnavailableError):
    """Too many requests (429); certainly nothing was accepted."""

    kind = "rate_limited"


class ServerError(UnavailableError):
    """The service failed (5xx); a submission may still have been accepted."""

    kind = "server_error"


class UnreadableReplyError(UnavailableError):
    """The reply contradicts the API reference; a submission may have been accepted."""

    kind = "unreadable_reply"


class NetworkError(UnavailableError):
    """The connection broke or timed out; the request may have arrived."""

    kind = "network"


class NotConnectedError(NetworkError):
    """No connection was established; certainly nothing was sent."""

    kind = "not_connected"


class BlockedClientError(UnavailableError):
    """The CDN refuses this client (Cloudflare error 1010); a fresh link would not help."""

    kind = "blocked_client"


class BrokenDownloadError(UnavailableError):
    """The download keeps breaking off."""

    kind = "broken_download"


def install_command(extra: str, *, environment: str = sys.prefix) -> str:
    """Return the command that installs an optional part of omniedit.

    Args:
        extra: The name of the extra.
        environment: The Python environment in which omniedit is installed.
    """
    tool = _installer(environment)
    if tool is None:
        return f'{_python()} -m pip install "omniedit[{extra}]"'
    # pipx and uv replace the whole environment: install all extras, so that none is lost.
    return f'{tool} install --force "omniedit[all] @ {_SOURCE}"'


def upgrade_command(*, environment: str = sys.prefix) -> str:
    """Return the command that installs the newest omniedit; see `install_command`."""
    tool = _installer(environment)
    if tool is None:
        return f'{_python()} -m pip install -U "omniedit @ {_SOURCE}"'
    return f"{tool} upgrade omniedit"


def _with_commands(program: str, text: str, commands: tuple[str, ...]) -> str:
    # Not `format`: the text may contain braces.
    shown, *rest = text.split("{}", len(commands))
    for command, after in zip(commands, rest, strict=True):
        shown += f"`{program} {command}`{after}"
    return shown


def _python() -> str:
    """Return the shell command for the Python that is running."""
    import shutil  # noqa: PLC0415 - rarely needed, like the next one

    from omniedit.sanitize import quoted  # noqa: PLC0415

    found = shutil.which("python")
    is_this = found is not None and Path(found).parent == Path(sys.executable).parent
    return "python" if is_this else quoted(sys.executable)


def _installer(environment: str) -> str | None:
    """Return the tool that made an environment for omniedit alone; None if there was none."""
    if Path(environment, "pipx_metadata.json").exists():
        return "pipx"
    return "uv tool" if Path(environment, "uv-receipt.toml").exists() else None
