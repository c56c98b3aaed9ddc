"""What edits cost: charged, still reserved, or told by nobody."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, NamedTuple, TypeAlias

from omniedit.edits.reads import account_tasks, look_at_open
from omniedit.edits.session import Session
from omniedit.errors import OmniEditError
from omniedit.models import Task, TaskStatus

_MOST_OPEN: Final = 1000
_DIGITS: Final = 6
"""Of a sum: credits have fewer, and no sum of them has more than noise beyond."""


class Expense(NamedTuple):
    """One task, as a bill sees it."""

    day: str | None  # of its submission, in UTC
    clip: str | None
    model: str | None
    status: str
    reserved: float | None
    used: float | None


@dataclass(slots=True)
class Bill:
    """What several tasks cost together."""

    tasks: int = 0
    unknown: int = 0
    """How many of them nobody told the price of."""
    _charged: list[float] = field(default_factory=list[float])
    _reserved: list[float] = field(default_factory=list[float])

    @property
    def charged(self) -> float:
        """What was charged, of those that ended."""
        return round(math.fsum(self._charged), _DIGITS)

    @property
    def reserved(self) -> float:
        """What is reserved, of those that go on."""
        return round(math.fsum(self._reserved), _DIGITS)

    def add(self, expense: Expense) -> None:
        """Add a task."""
        self.tasks += 1
        amount, amounts = expense.reserved, self._reserved
        if expense.status in {TaskStatus.FAILED, TaskStatus.CANCELLED}:
            amount, amounts = expense.used or 0.0, self._charged
        elif expense.status == TaskStatus.COMPLETED:
            amount, amounts = expense.used, self._charged
        if amount is None:
            self.unknown += 1
        else:
            amounts.append(amount)


Key: TypeAlias = Callable[[Expense], str | None]
KEYS: Final[Mapping[str, Key]] = {
    "month": lambda expense: expense.day and expense.day[:7],
    "day": lambda expense: expense.day,
    "clip": lambda expense: expense.clip,
    "model": lambda expense: expense.model,
}


def bills(expenses: Iterable[Expense], key: Key) -> tuple[Mapping[str | None, Bill], Bill]:
    """Return a bill for each key, in order, and one for everything."""
    rows: dict[str | None, Bill] = {}
    total = Bill()
    for expense in expenses:
        rows.setdefault(key(expense), Bill()).add(expense)
        total.add(expense)
    return dict(sorted(rows.items(), key=lambda row: row[0] or "")), total


def known_expenses(session: Session, *, since: float) -> tuple[list[Expense], OmniEditError | None]:
    """Return what the journal knows, once open tasks were asked for; what kept some from that."""
    _, failure = look_at_open(session, most=_MOST_OPEN)
    rows = session.journal.expenses(since=since)
    return [Expense._make(row) for row in rows], failure


def account_expenses(session: Session, *, since: float) -> Iterator[Expense]:
    """Yield what the account's list knows, newest first, as far back as it goes.

    Raises:
        OmniEditError: If it cannot be read.
    """
    for task in account_tasks(session):
        if task.created_at is not None and task.created_at < since:
            return
        yield _expense(task)


def _expense(task: Task) -> Expense:
    day = None
    if task.created_at is not None:
        day = f"{datetime.fromtimestamp(task.created_at, UTC):%Y-%m-%d}"
    return Expense(day, None, task.model, task.status, task.credits_reserved, task.credits_used)
