"""What this machine knows about every edit: attempts, tasks, saved files, uploads."""

from omniedit.journal.database import JOURNAL_FILE, Recovery
from omniedit.journal.journal import Journal, JournalUse, opened_journal
from omniedit.journal.reading import Call

__all__ = ["JOURNAL_FILE", "Call", "Journal", "JournalUse", "Recovery", "opened_journal"]
