"""What this machine knows of every edit: attempts before they are sent, tasks, saved files."""

from omniedit.journal.reader import JOURNAL_FILE, Call
from omniedit.journal.rescue import set_journal_aside
from omniedit.journal.writer import Attempt, Journal

__all__ = ["JOURNAL_FILE", "Attempt", "Call", "Journal", "set_journal_aside"]
