"""What this machine knows about every edit: attempts, tasks, saved files, uploads."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from enum import Enum, auto
from functools import partial
from pathlib import Path

from omniedit.errors import Hint, JournalDamagedError, JournalTooNewError, LocalError
from omniedit.journal.database import JOURNAL_FILE, Recovery, check_version
from omniedit.journal.journal import Journal
from omniedit.journal.reading import Call
from omniedit.policy import DEFAULT
from omniedit.system import SYSTEM_CLOCK, Clock

__all__ = ["JOURNAL_FILE", "Call", "Journal", "JournalUse", "Recovery", "opened_journal"]


class JournalUse(Enum):
    """What a command does when the journal cannot be opened."""

    REQUIRED = auto()
    """It ends before anything is sent."""
    PAYS = auto()
    """It warns and continues, but refuses to pay beside a journal of a newer version."""
    OPTIONAL = auto()
    """It warns and continues."""
    DECLINED = auto()
    """It uses no journal, as requested, but refuses to pay beside one of a newer version."""
    NONE = auto()
    """It uses no journal."""


@contextmanager
def opened_journal(
    folder: Path,
    use: JournalUse,
    *,
    warn: Callable[[str], None],
    enclosing: Path | None = None,
    clock: Clock = SYSTEM_CLOCK,
    timeout_s: float = DEFAULT.journal_timeout_s,
) -> Generator[Journal]:
    """Open the journal for a block; if `use` allows, fall back to one that is kept in memory.

    Raises:
        JournalError: If the journal cannot be opened and `use` allows no other, or turns out to be
            damaged; a damaged one is set aside.
    """
    open_at = partial(Journal, enclosing=enclosing, clock=clock.now, timeout_s=timeout_s)
    with _open(folder, use, open_at, warn=warn, timeout_s=timeout_s) as journal:
        try:
            yield journal
        except JournalDamagedError as error:
            # The damage was found only during use.
            journal.close()
            _recover(folder, error, timeout_s=timeout_s)
            raise


def _open(
    folder: Path,
    use: JournalUse,
    open_at: Callable[[Path | None], Journal],
    *,
    warn: Callable[[str], None],
    timeout_s: float,
) -> Journal:
    if use is JournalUse.DECLINED:
        check_version(folder)
    if use in {JournalUse.DECLINED, JournalUse.NONE}:
        return open_at(None)
    try:
        try:
            return open_at(folder)
        except JournalDamagedError as error:
            _recover(folder, error, timeout_s=timeout_s)
            if use is JournalUse.REQUIRED:
                raise
            warn(error.message)
            return open_at(folder)
    except LocalError as error:
        is_newer = isinstance(error, JournalTooNewError)
        if use is JournalUse.REQUIRED or (use is JournalUse.PAYS and is_newer):
            raise
        warn(f"{error.message}; continuing without it")
        return open_at(None)


def _recover(folder: Path, error: JournalDamagedError, *, timeout_s: float) -> None:
    from omniedit.journal.recovery import recover  # noqa: PLC0415 - rarely needed

    recovery = recover(folder, timeout_s=timeout_s)
    error.hint = "run the command again"
    if recovery is not None:
        error.message += f"; {recovery.summary}"
        if not recovery.is_complete:
            error.hint = Hint("{} shows what is missing and accepts the loss", "journal recover")
