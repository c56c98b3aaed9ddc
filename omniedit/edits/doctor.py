"""Checking everything that an edit needs without spending anything."""

import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from omniedit import __version__
from omniedit.errors import Hint, JournalDamagedError, LocalError, OmniEditError, install_command
from omniedit.models import render_count
from omniedit.system import THIS_SYSTEM, System, error_reason, exists

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from omniedit.edits.session import Session
    from omniedit.settings import Setting, Settings

_EXTRAS: Final = {"sandbox": "werkzeug", "media": "av"}
_PROXY_VARIABLES: Final = frozenset({"HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"})
_CERTIFICATE_VARIABLES: Final = frozenset({"SSL_CERT_FILE", "SSL_CERT_DIR"})


class Verdict(Enum):
    """The result of a check."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"


class Check(NamedTuple):
    """The outcome of one check; `error` determines the exit status."""

    name: str
    message: str
    verdict: Verdict = Verdict.OK
    hint: str | None = None
    error: OmniEditError | None = None


def every_check(
    environ: Mapping[str, str],
    *,
    load_settings: "Callable[[], Settings]",
    open_session: "Callable[[], AbstractContextManager[Session]]",
) -> Iterator[Check]:
    """Yield the result of each check as it is done.

    Args:
        environ: The process's environment variables.
        load_settings: Returns the settings, or raises an error if they are invalid.
        open_session: Opens a session; called only if the settings are valid.
    """
    yield Check("python", f"{platform.python_version()} on {platform.system()} ({sys.executable})")
    yield Check("omniedit", __version__)
    try:
        settings = load_settings()
    except OmniEditError as error:
        yield _failure("settings", error)
    else:
        yield from _checks_of_settings(settings, open_session)
    for extra, module in _EXTRAS.items():
        yield _extra(extra, module)
    for name, value in sorted(environ.items()):
        if value and name.upper() in _PROXY_VARIABLES:
            yield Check(name, _without_userinfo(value))
        elif value and name in _CERTIFICATE_VARIABLES:
            yield _certificates(name, value)


def check_clock(session: "Session") -> Check:
    """Compare this machine's clock with the service's."""
    try:
        service_time = session.service.get_time()
    except OmniEditError:
        service_time = None
    if service_time is None:
        return _warning("clock", "cannot be compared: the service did not send its time")
    off_s = session.now() - service_time
    if abs(off_s) > session.policy.clock_skew_s:
        message = f"{abs(off_s):.0f} s {'ahead of' if off_s > 0 else 'behind'} the service's"
        return _warning("clock", message, "set the clock: the time left on links depends on it")
    return Check("clock", "agrees with the service's")


def check_folder(
    name: str, folder: Path, *, used: Path | None = None, system: System = THIS_SYSTEM
) -> Check:
    """Check that a folder can be written.

    Args:
        name: The name of the check.
        folder: The folder, which need not exist yet.
        used: The folder inside it in which files must also be lockable.
        system: The operating system; injected by tests.
    """
    hint = "set OMNIEDIT_CONFIG_DIR and OMNIEDIT_STATE_DIR, or change its owner"
    fault = f"{folder} cannot be written"
    try:
        nearest = used or folder
        while not exists(nearest) and nearest != nearest.parent:
            nearest = nearest.parent
        # Write a file: permissions do not reveal read-only file systems, quotas or full disks.
        with tempfile.TemporaryFile(dir=nearest) as file:
            file.write(b"omniedit")
            file.flush()
            if used is not None:
                hint = "set OMNIEDIT_STATE_DIR to a folder on a disk of this machine"
                fault = f"files in {folder} cannot be locked"
                system.try_lock(file.fileno())
    except OSError as failure:
        return _failure(name, LocalError(f"{fault}: {error_reason(failure)}", hint=hint))
    return Check(name, str(folder))


def _checks_of_settings(
    settings: "Settings", open_session: "Callable[[], AbstractContextManager[Session]]"
) -> Iterator[Check]:
    key = _check("key", lambda: _shown_key(settings))
    yield key
    if key.error is None:
        with open_session() as session:
            yield from _checks_of_service(settings, session)
    else:
        yield _warning("service", "not checked without a key")
    folder = settings.journal_folder
    yield check_folder("config folder", settings.config_dir.value)
    yield check_folder("state folder", settings.state_dir.value, used=folder)
    yield _check("journal", lambda: _shown_journal(folder, settings.enclosing_folder))


def _shown_key(settings: "Settings") -> str:
    if settings.is_embedded:
        return "the sandbox needs none"
    return f"{settings.require_key()} ({settings.key.source if settings.key else ''})"


def _checks_of_service(settings: "Settings", session: "Session") -> Iterator[Check]:
    from omniedit.edits.upload import uploader  # noqa: PLC0415 - brings the HTTP library

    def ask_service() -> str:
        session.service.get_credits()
        return f"{settings.origin} answers and accepts the key"

    def ask_file_service() -> str:
        uploader(session).check_service()
        return "answers"

    service = _check("service", ask_service)
    yield service
    yield _check("file service", ask_file_service)
    if service.error is None:
        yield check_clock(session)
        yield _model(session, settings.model)


def _model(session: "Session", model: "Setting[str]") -> Check:
    """Report whether the account has used a model; only a submission can tell if it still may."""
    try:
        tasks = session.service.list_tasks(model=model.value, page=1).tasks
    except OmniEditError as error:
        found = f"; cannot tell whether your key may use it: {error.message}"
    else:
        found = "; only an edit can tell whether your key may use it"
        if any(task.model == model.value for task in tasks):
            found = ", which this account has used"
    return Check("model", f"{model.value} ({model.source}){found}")


def _shown_journal(folder: Path, enclosing: Path | None) -> str:
    from omniedit.journal import JOURNAL_FILE, Journal  # noqa: PLC0415 - brings SQLite

    path = folder / JOURNAL_FILE
    # If the folder cannot be read at all, `check_folder` reports it.
    if not os.path.lexists(path):
        return f"none yet: {path}"
    try:
        with Journal(folder, enclosing=enclosing) as journal:
            journal.check()
            edits = render_count(journal.count(skips_unsent=True), "edit")
            return f"{edits}, intact: {path}"
    except JournalDamagedError as error:
        error.hint = Hint("the next {} restores what can be read", "submit")
        raise


def _extra(extra: str, module: str) -> Check:
    name = f"extra {extra}"
    try:
        import_module(module)
    except ImportError as error:
        reason = f"cannot be loaded: {error}" if find_spec(module) else "not installed"
        return _warning(name, reason, install_command(extra))
    return Check(name, "installed")


def _certificates(name: str, path: str) -> Check:
    if os.access(path, os.R_OK):
        return Check(name, path)
    hint = f"unset {name}, or set it to an existing file"
    return _warning(name, f"{path} does not exist or cannot be read", hint)


def _without_userinfo(text: str) -> str:
    """Return a proxy's URL, whose scheme may be missing, without user name and password."""
    before, at_sign, after = text.rpartition("@")
    if not at_sign:
        return text
    scheme, has_scheme, _ = before.partition("://")
    start = f"{scheme}://" if has_scheme else ""
    return f"{start}…@{after}"


def _check(name: str, find: Callable[[], str]) -> Check:
    """Return a check with the message that `find` returns, or with the error that it raises."""
    try:
        return Check(name, find())
    except OmniEditError as error:
        return _failure(name, error)


def _warning(name: str, message: str, hint: str | None = None) -> Check:
    return Check(name, message, Verdict.WARNING, hint)


def _failure(name: str, error: OmniEditError) -> Check:
    return Check(name, error.message, Verdict.FAILURE, error=error)
