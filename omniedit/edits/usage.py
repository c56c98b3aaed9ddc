"""What edits cost: charged, still reserved, or unknown."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

from omniedit.edits.reads import account_tasks, read_open_tasks
from omniedit.edits.session import Session
from omniedit.errors import OmniEditError
from omniedit.models import MODELS, Task, TaskStatus

_MOST_OPEN: Final = 1000
_DIGITS: Final = 6
"""Decimals kept in a sum; credits have fewer, so anything beyond is floating-point noise."""


class Expense(NamedTuple):
    """Tasks that cost the same, grouped for a bill."""

    group: str | None  # the month, day, clip or model
    status: str | None
    reserved: float | None
    used: float | None
    tasks: int = 1


@dataclass(slots=True)
class Bill:
    """The total cost of several tasks."""

    tasks: int = 0
    unknown: int = 0
    """The number of tasks whose cost is unknown."""
    charged: float = 0.0
    """The credits charged for tasks that have ended."""
    reserved: float = 0.0
    """The credits reserved for tasks that are unfinished."""

    def add(self, expense: Expense) -> None:
        """Add the tasks of an expense."""
        self.tasks += expense.tasks
        is_charged = expense.status == TaskStatus.COMPLETED
        amount = expense.used if is_charged else expense.reserved
        if expense.status in {TaskStatus.FAILED, TaskStatus.CANCELLED}:
            is_charged, amount = True, expense.used or 0.0
        if amount is None:
            self.unknown += expense.tasks
        elif is_charged:
            self.charged += amount * expense.tasks
        else:
            self.reserved += amount * expense.tasks


GROUPINGS: Final = ("month", "day", "clip", "model")
"""What bills can be grouped by."""


def bills(expenses: Iterable[Expense]) -> tuple[Mapping[str | None, Bill], Bill]:
    """Return a bill for each group, sorted by group, and one for everything."""
    rows: dict[str | None, Bill] = {}
    total = Bill()
    for expense in expenses:
        rows.setdefault(expense.group, Bill()).add(expense)
        total.add(expense)
    for bill in (*rows.values(), total):
        bill.charged = round(bill.charged, _DIGITS)
        bill.reserved = round(bill.reserved, _DIGITS)
    return dict(sorted(rows.items(), key=lambda row: row[0] or "")), total


def known_expenses(
    session: Session, by: str, *, since: float
) -> tuple[list[Expense], OmniEditError | None]:
    """Update open tasks; return the journal's expenses and why an update failed, if one did."""
    _, failure = read_open_tasks(session, most=_MOST_OPEN)
    rows = session.journal.expenses(by, since=since)
    return [*map(Expense._make, rows)], failure


def account_expenses(
    session: Session, by: str, *, since: float
) -> tuple[list[Expense], float | None]:
    """Return the expenses in the account's list, and the Unix time of the oldest task.

    Raises:
        OmniEditError: If the list cannot be read.
    """
    expenses: list[Expense] = []
    oldest: float | None = None
    for task in account_tasks(session, MODELS):
        if task.created_at is not None and task.created_at < since:
            break
        oldest = task.created_at or oldest
        cost = task.status, task.credits_reserved, task.credits_used
        expenses.append(Expense(_group_of(task, by), *cost))
    return expenses, oldest


def _group_of(task: Task, by: str) -> str | None:
    if by == "model":
        return task.model
    if by == "clip" or task.created_at is None:
        return None
    moment = datetime.fromtimestamp(task.created_at, UTC)
    return f"{moment:%Y-%m}" if by == "month" else f"{moment:%Y-%m-%d}"
