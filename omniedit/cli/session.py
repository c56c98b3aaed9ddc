"""The composition root: makes what the use cases call on, each thing when it is first needed."""

import contextlib
import functools
import shutil
import sys
from collections.abc import Callable, Generator, Sequence
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING, Final

from omniedit.cli.signals import Signals
from omniedit.edits.session import Connection, Session
from omniedit.errors import (
    Hint,
    JournalDamagedError,
    JournalTooNewError,
    LocalError,
    MissingExtraError,
    install_command,
)
from omniedit.journal import Journal, check_version
from omniedit.policy import Policy
from omniedit.terminal.printer import Printer, ProgressMode
from omniedit.terminal.streams import READER_LEFT

if TYPE_CHECKING:
    from omniedit.events import Observer
    from omniedit.http.client import HttpClient
    from omniedit.sandbox import RunningSandbox
    from omniedit.settings import Settings

_SANDBOX_KEY: Final = "sk-sandbox-embedded"


class JournalUse(Enum):
    """What a command does when the journal cannot be opened."""

    REQUIRED = auto()
    """It ends before anything is sent."""
    PAYS = auto()
    """It says so and goes on, but pays for nothing beside a journal of a newer version."""
    OPTIONAL = auto()
    """It says so and goes on."""
    DECLINED = auto()
    """It does without one, as asked, but pays for nothing beside one of a newer version."""
    NONE = auto()
    """It needs none."""


def make_session(
    journal: Journal,
    use: JournalUse,
    closing: contextlib.ExitStack,
    *,
    settings: "Settings",
    printer: Printer,
    signals: Signals,
    observers: "Sequence[Observer]",
    policy: Policy,
    told: set[str],
    writes_sidecars: bool = False,
    is_batch: bool = False,
    submission_interval_s: float = 0.0,
) -> Session:
    """Return what the use cases call on, over the real network, disk and clock.

    Args:
        journal: Open.
        use: Whether something may be paid for without it.
        closing: Closes at the end what is made here.
        settings: In force.
        printer: Traces HTTP, and knows whether somebody watches.
        signals: Shield submissions.
        observers: Told what happens.
        policy: Time-outs, budgets and intervals.
        told: Notes about all edits that were shown before.
        writes_sidecars: Each saved result gets a file that says where it comes from.
        is_batch: Many edits are made side by side.
        submission_interval_s: At least so long from one submission to the next.
    """

    def open_http() -> "HttpClient":
        from omniedit.http.client import HttpClient

        client = HttpClient(trace=printer.trace if printer.verbose else None, policy=policy)
        return closing.enter_context(client)

    def find_connection() -> Connection:
        if not settings.is_embedded:
            key = settings.require_key().reveal()
            return Connection(settings.base_url.value, settings.files_url.value, key)
        url = closing.enter_context(_serve_sandbox(settings.sandbox_folder)).url
        return Connection(url, url, _SANDBOX_KEY)

    is_shown = printer.progress is ProgressMode.AUTO and not printer.quiet
    return Session(
        journal=journal,
        origin=settings.origin,
        open_http=open_http,
        find_connection=functools.cache(find_connection),
        private_folder=settings.journal_folder / "tmp",
        context=settings.context.value,
        requires_journal=use is JournalUse.REQUIRED,
        is_sandbox=settings.is_sandbox,
        allows_internal_clips=settings.allows_internal_clips,
        writes_sidecars=writes_sidecars,
        is_watched=is_shown and printer.stderr.is_animated,
        is_batch=is_batch,
        submission_interval_s=submission_interval_s,
        observers=observers,
        shielded=signals.shielded,
        drain=signals.drain,
        stream_out=stream_out,
        policy=policy,
        told=told,
        closing=closing,
    )


def stream_out(path: Path) -> None:
    """Write a file to standard output; a reader that leaves early ends it quietly.

    Raises:
        LocalError: If it cannot be read or written.
    """
    try:
        with path.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    except OSError as error:
        if error.errno in READER_LEFT:
            return
        msg = f"cannot write to standard output: {error.strerror}"
        raise LocalError(msg) from None


def _serve_sandbox(folder: Path) -> "RunningSandbox":
    with sandbox_required("serve"):
        from omniedit.sandbox import serve

        return serve(folder)


@contextlib.contextmanager
def opened_journal(
    folder: Path, use: JournalUse, *, warn: Callable[[str], None]
) -> Generator[Journal]:
    """Open the journal for a block; one that lasts only as long where it may be done without.

    Raises:
        JournalError: If it is required and cannot be opened; a damaged one is set aside.
    """
    with _open(folder, use, warn) as journal:
        try:
            yield journal
        except JournalDamagedError as error:
            # Found only while it was used.
            journal.close()
            _recover(folder, error)
            raise


def _open(folder: Path, use: JournalUse, warn: Callable[[str], None]) -> Journal:
    if use is JournalUse.DECLINED:
        check_version(folder)
    if use in {JournalUse.DECLINED, JournalUse.NONE}:
        return Journal(None)
    try:
        try:
            return Journal(folder)
        except JournalDamagedError as error:
            _recover(folder, error)
            if use is JournalUse.REQUIRED:
                raise
            warn(error.message)
            return Journal(folder)
    except LocalError as error:
        is_newer = isinstance(error, JournalTooNewError)
        if use is JournalUse.REQUIRED or (use is JournalUse.PAYS and is_newer):
            raise
        warn(f"{error.message}; going on without it")
        return Journal(None)


def _recover(folder: Path, error: JournalDamagedError) -> None:
    from omniedit.journal.recovery import recover

    recovery = recover(folder)
    error.hint = "run the command again"
    if recovery is not None:
        error.message += f"; {recovery.summary}"
        if not recovery.is_complete:
            error.hint = Hint("{} shows what is missing, and accepts it", "journal recover")


@contextlib.contextmanager
def sandbox_required(action: str) -> Generator[None]:
    """Say in a block what keeps the sandbox from being used.

    Args:
        action: What is done with it there.

    Raises:
        MissingExtraError: If it is not installed.
        LocalError: If its folder or its port cannot be had.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        msg = "the sandbox is not installed"
        raise MissingExtraError(msg, hint=install_command("sandbox")) from error
    except OSError as error:
        msg = f"cannot {action} the sandbox: {error.strerror or error}"
        raise LocalError(msg) from error
