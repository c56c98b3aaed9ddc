"""What this machine knows of every edit: attempts before they are sent, tasks, saved files."""

from omniedit.journal.reader import Call
from omniedit.journal.writer import Attempt, Journal, set_journal_aside

__all__ = ["Attempt", "Call", "Journal", "set_journal_aside"]
