"""The account's own list of tasks: what was paid for, wherever it was submitted from."""

from collections.abc import Iterator
from functools import partial
from itertools import count
from typing import Final

from omniedit.edits.ports import Session
from omniedit.edits.retries import with_retries
from omniedit.models import Task
from omniedit.policy import DEFAULT

CLOCK_SLACK_S: Final = 120.0
"""How far this machine's clock and the service's may be apart."""


def account_tasks(session: Session, *, budget_s: float = DEFAULT.read_budget_s) -> Iterator[Task]:
    """Yield the account's tasks of this model, newest first, page by page.

    Args:
        session: What it calls on.
        budget_s: How long a page that fails is asked for again.

    Raises:
        EndpointMissingError: The service offers no such list.
        ServiceError: It cannot be read.
    """
    seen: set[str] = set()
    for page_number in count(1):
        ask = partial(session.service.list_tasks, page=page_number)
        page = with_retries(session, ask, budget_s=budget_s)
        # A task that arrives meanwhile pushes others onto the next page.
        fresh = [task for task in page.tasks if task.task_id not in seen]
        yield from fresh
        seen.update(task.task_id for task in fresh)
        if not fresh or (page.total is not None and len(seen) >= page.total):
            return


def tasks_since(
    session: Session, since: float, *, budget_s: float = DEFAULT.read_budget_s
) -> list[Task]:
    """Return the account's tasks created since a Unix time, as far as clocks agree.

    Args:
        session: What it calls on.
        since: Unix time.
        budget_s: How long a page that fails is asked for again.

    Raises:
        ServiceError: The list cannot be read.
    """
    found: list[Task] = []
    for task in account_tasks(session, budget_s=budget_s):
        if task.created_at is not None and task.created_at < since - CLOCK_SLACK_S:
            break
        found.append(task)
    return found
