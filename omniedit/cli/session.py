"""What a session of a command is made of: its journal, standard output, and the sandbox."""

import contextlib
import shutil
import sys
from collections.abc import Callable, Generator
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING

from omniedit.errors import (
    Hint,
    JournalDamagedError,
    JournalTooNewError,
    LocalError,
    MissingExtraError,
    install_command,
)
from omniedit.journal import Journal, check_version
from omniedit.terminal.streams import READER_LEFT

if TYPE_CHECKING:
    from omniedit.sandbox import RunningSandbox


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


def serve_sandbox(folder: Path) -> "RunningSandbox":
    """Serve the sandbox inside this process; it ends with the block it is used in."""
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
