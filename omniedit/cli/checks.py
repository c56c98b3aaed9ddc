"""What `doctor` looks at: each thing an edit needs, with what to do where it is amiss."""

import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from omniedit import __version__
from omniedit.cli.context import Runtime
from omniedit.cli.exit_codes import hint_for
from omniedit.cli.session import JournalUse
from omniedit.errors import JournalDamagedError, LocalError, OmniEditError

if TYPE_CHECKING:
    from omniedit.edits.session import Session

CLOCK_TOLERANCE_S: Final = 120.0
_EXTRAS: Final = {"sandbox": "werkzeug", "media": "av"}
_PROXY_VARIABLES: Final = frozenset({"HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"})
_CERTIFICATE_VARIABLES: Final = frozenset({"SSL_CERT_FILE", "SSL_CERT_DIR"})


class Verdict(Enum):
    """How a check went."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at; `error` decides about the exit status."""

    name: str
    verdict: Verdict
    message: str
    hint: str | None = None
    error: OmniEditError | None = None


def every_check(runtime: Runtime) -> Iterator[Check]:
    """Yield each check as it is done."""
    yield _ok("python", f"{platform.python_version()} on {platform.system()} ({sys.executable})")
    yield _ok("omniedit", __version__)
    try:
        _ = runtime.settings
    except OmniEditError as error:
        yield _failure(runtime, "settings", error)
    else:
        yield from _checks_of_settings(runtime)
    for extra, module in _EXTRAS.items():
        yield _extra(extra, module)
    for name, value in sorted(runtime.environ.items()):
        if value and name.upper() in _PROXY_VARIABLES:
            yield _ok(name, _without_userinfo(value))
        elif value and name in _CERTIFICATE_VARIABLES:
            yield _certificates(name, value)


def _checks_of_settings(runtime: Runtime) -> Iterator[Check]:
    key = _key(runtime)
    yield key
    if key.error is None:
        with runtime.session(JournalUse.NONE, shows_progress=False) as session:
            yield _service(runtime, session)
            yield _file_service(runtime, session)
            yield check_clock(session)
    else:
        yield _warning("service", "not asked without a key")
    yield _folder("config folder", runtime.settings.config_dir.value)
    yield _folder("state folder", runtime.settings.journal_folder)
    yield _journal(runtime)


def _key(runtime: Runtime) -> Check:
    settings = runtime.settings
    if settings.is_embedded:
        return _ok("key", "the sandbox needs none")
    try:
        key = settings.require_key()
    except OmniEditError as error:
        return _failure(runtime, "key", error)
    return _ok("key", f"{key} ({settings.key.source if settings.key else ''})")


def _service(runtime: Runtime, session: "Session") -> Check:
    where = runtime.settings.origin
    try:
        session.service.get_credits()
    except OmniEditError as error:
        return _failure(runtime, "service", error)
    return _ok("service", f"{where} answers and accepts the key")


def _file_service(runtime: Runtime, session: "Session") -> Check:
    from omniedit.edits.upload import uploader

    try:
        uploader(session).check_service()
    except OmniEditError as error:
        return _failure(runtime, "file service", error)
    return _ok("file service", "answers")


def check_clock(session: "Session") -> Check:
    """Compare this machine's clock with the service's."""
    try:
        there = session.service.get_time()
    except OmniEditError:
        there = None
    if there is None:
        return _warning("clock", "cannot be compared: the service did not tell its time")
    off_s = session.now() - there
    if abs(off_s) > CLOCK_TOLERANCE_S:
        message = f"{abs(off_s):.0f} s {'ahead of' if off_s > 0 else 'behind'} the service's"
        return _warning("clock", message, "set it: the time left on links is reckoned with it")
    return _ok("clock", "agrees with the service's")


def _folder(name: str, folder: Path) -> Check:
    try:
        nearest = folder
        while not nearest.exists() and nearest != nearest.parent:
            nearest = nearest.parent
        # Permissions alone do not tell of read-only file systems, quotas and full disks.
        with tempfile.TemporaryFile(dir=nearest) as file:
            file.write(b"omniedit")
    except OSError as failure:
        error = LocalError(f"{folder} cannot be written: {failure.strerror}")
        hint = "set OMNIEDIT_CONFIG_DIR and OMNIEDIT_STATE_DIR, or change its owner"
        return Check(
            name=name, verdict=Verdict.FAILURE, message=error.message, hint=hint, error=error
        )
    return _ok(name, str(folder))


def _journal(runtime: Runtime) -> Check:
    from omniedit.journal import JOURNAL_FILE, Journal

    folder = runtime.settings.journal_folder
    # What keeps a look from being taken is told of the folder.
    if not os.path.lexists(folder / JOURNAL_FILE):
        return _ok("journal", "none yet")
    try:
        with Journal(folder) as journal:
            journal.check()
            return _ok("journal", f"{len(journal.recent())} edits, sound")
    except JournalDamagedError as error:
        error.hint = "the next `omniedit submit` sets it aside and starts a new one"
        return _failure(runtime, "journal", error)
    except OmniEditError as error:
        return _failure(runtime, "journal", error)


def _extra(extra: str, module: str) -> Check:
    if find_spec(module) is not None:
        return _ok(f"extra {extra}", "installed")
    hint = f"python -m pip install 'omniedit[{extra}]'"
    return _warning(f"extra {extra}", "not installed", hint)


def _certificates(name: str, path: str) -> Check:
    if os.access(path, os.R_OK):
        return _ok(name, path)
    hint = f"unset {name}, or name what exists"
    return _warning(name, f"{path} does not exist, or cannot be read", hint)


def _without_userinfo(text: str) -> str:
    before, found, after = text.rpartition("@")
    scheme, has_scheme, _ = before.partition("://")
    return f"{scheme + '://' if has_scheme else ''}…@{after}" if found else text


def _ok(name: str, message: str) -> Check:
    return Check(name=name, verdict=Verdict.OK, message=message)


def _warning(name: str, message: str, hint: str | None = None) -> Check:
    return Check(name=name, verdict=Verdict.WARNING, message=message, hint=hint)


def _failure(runtime: Runtime, name: str, error: OmniEditError) -> Check:
    hint = hint_for(error, command="doctor", is_sandbox_flag=runtime.is_sandbox_flag)
    return Check(name=name, verdict=Verdict.FAILURE, message=error.message, hint=hint, error=error)
