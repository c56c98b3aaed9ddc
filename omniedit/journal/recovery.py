"""Recovery from a damaged journal."""

import time
import uuid
from pathlib import Path

from omniedit.errors import JournalDamagedError
from omniedit.journal.database import JOURNAL_FILE, mapped_errors
from omniedit.journal.journal import Journal, held_lock


def set_journal_aside(folder: Path) -> Path | None:
    """Rename a damaged journal, so that the next `Journal` starts a new one.

    Returns:
        The new name; None if another process has already renamed it.

    Raises:
        JournalError: If it cannot be renamed.
    """
    with held_lock(folder / "locks", "set-aside", sleep=time.sleep):
        try:
            with Journal(folder) as journal:
                journal.check()
        except JournalDamagedError:
            return set_aside(folder / JOURNAL_FILE)
    return None


def set_aside(path: Path) -> Path:
    """Rename a damaged journal and its rollback journal; return the new name.

    Raises:
        JournalError: If it cannot be renamed.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    aside = path.with_name(f"{path.stem}.damaged-{stamp}-{uuid.uuid4().hex[:8]}{path.suffix}")
    with mapped_errors(path):
        path.rename(aside)
        rollback = path.with_name(f"{path.name}-journal")
        if rollback.exists():
            rollback.rename(aside.with_name(f"{aside.name}-journal"))
    return aside
