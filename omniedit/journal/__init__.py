"""What this machine knows about every edit: attempts, tasks, saved files, uploads."""

from omniedit.journal.database import JOURNAL_FILE, check_version
from omniedit.journal.journal import Journal
from omniedit.journal.rows import Call, Recovery

__all__ = ["JOURNAL_FILE", "Call", "Journal", "Recovery", "check_version"]
