"""What this machine knows about every edit: attempts, tasks, saved files, uploads."""

from omniedit.journal.database import JOURNAL_FILE, check_version
from omniedit.journal.journal import Journal
from omniedit.journal.rows import Attempt, Call, Recovery

__all__ = ["JOURNAL_FILE", "Attempt", "Call", "Journal", "Recovery", "check_version"]
