"""What becomes of a journal that is no longer sound."""

import time
from pathlib import Path

from omniedit.errors import JournalDamagedError
from omniedit.journal.database import set_aside
from omniedit.journal.holding import held_lock
from omniedit.journal.reader import JOURNAL_FILE
from omniedit.journal.writer import Journal


def set_journal_aside(folder: Path) -> Path | None:
    """Give a damaged journal another name; the next `Journal` starts anew.

    Returns None where another process has done so already: the journal is sound by now.

    Raises:
        JournalError: It cannot be renamed.
    """
    with held_lock(folder / "locks", "set-aside", time.sleep):
        try:
            with Journal(folder) as journal:
                journal.check()
        except JournalDamagedError:
            return set_aside(folder / JOURNAL_FILE)
    return None
