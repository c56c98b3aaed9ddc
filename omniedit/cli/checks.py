"""What `doctor` looks at: each thing an edit needs, with what to do where it is amiss."""

import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from omniedit import __version__
from omniedit.cli.failures import hint_for
from omniedit.cli.runtime import Runtime
from omniedit.cli.session import JournalUse
from omniedit.errors import JournalDamagedError, LocalError, OmniEditError

if TYPE_CHECKING:
    from omniedit.cli.session import LiveSession

CLOCK_TOLERANCE_S: Final = 120.0
_EXTRAS: Final = {"sandbox": "werkzeug", "media": "av"}
_NETWORK_VARIABLES: Final = (
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)


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
    key = _key(runtime)
    yield key
    if key.error is None:
        with runtime.session(JournalUse.NONE, shows_progress=False) as session:
            yield _service(runtime, session)
            yield _file_service(runtime, session)
            yield _clock(session)
    else:
        yield _warning("service", "not asked without a key")
    settings = runtime.settings
    yield _folder("config folder", settings.config_dir.value)
    yield _folder("state folder", settings.journal_folder)
    yield _journal(runtime)
    for extra, module in _EXTRAS.items():
        yield _extra(extra, module)
    for name in _NETWORK_VARIABLES:
        for spelling in (name, name.lower()):
            if value := runtime.environ.get(spelling):
                yield _ok(spelling, _without_userinfo(value))


def _key(runtime: Runtime) -> Check:
    settings = runtime.settings
    if settings.is_embedded:
        return _ok("key", "the sandbox needs none")
    try:
        key = settings.require_key()
    except OmniEditError as error:
        return _failure(runtime, "key", error)
    return _ok("key", f"{key} ({settings.key.source if settings.key else ''})")


def _service(runtime: Runtime, session: "LiveSession") -> Check:
    where = runtime.settings.origin
    try:
        session.service.get_credits()
    except OmniEditError as error:
        return _failure(runtime, "service", error)
    return _ok("service", f"{where} answers and accepts the key")


def _file_service(runtime: Runtime, session: "LiveSession") -> Check:
    try:
        session.clips.check_service()
    except OmniEditError as error:
        return _failure(runtime, "file service", error)
    return _ok("file service", "answers")


def _clock(session: "LiveSession") -> Check:
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
    nearest = folder
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK):
        return _ok(name, str(folder))
    error = LocalError(f"{folder} cannot be written")
    return Check(
        name=name,
        verdict=Verdict.FAILURE,
        message=error.message,
        hint="set OMNIEDIT_CONFIG_DIR and OMNIEDIT_STATE_DIR, or change its owner",
        error=error,
    )


def _journal(runtime: Runtime) -> Check:
    from omniedit.journal import Journal

    folder = runtime.settings.journal_folder
    if not (folder / "journal.db").exists():
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


def _without_userinfo(text: str) -> str:
    before, found, after = text.rpartition("@")
    return f"{before.partition('://')[0]}://…@{after}" if found and "://" in before else text


def _ok(name: str, message: str) -> Check:
    return Check(name=name, verdict=Verdict.OK, message=message)


def _warning(name: str, message: str, hint: str | None = None) -> Check:
    return Check(name=name, verdict=Verdict.WARNING, message=message, hint=hint)


def _failure(runtime: Runtime, name: str, error: OmniEditError) -> Check:
    hint = hint_for(error, command="doctor", is_sandbox_flag=runtime.is_sandbox_flag)
    return Check(name=name, verdict=Verdict.FAILURE, message=error.message, hint=hint, error=error)
