"""What this machine knows about every edit: attempts, tasks, saved files, uploads."""

from omniedit.journal.database import JOURNAL_FILE
from omniedit.journal.journal import Attempt, Call, Journal
from omniedit.journal.recovery import set_journal_aside

__all__ = ["JOURNAL_FILE", "Attempt", "Call", "Journal", "set_journal_aside"]
