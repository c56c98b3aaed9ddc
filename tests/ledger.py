"""What the sandbox's account has paid for, and how many edits it had in progress at once."""

import itertools
from typing import NamedTuple

from omniedit.sandbox.store import Store


class LedgerEntry(NamedTuple):
    """The credits of one edit: first reserved, and finally charged and refunded."""

    task_id: str
    model: str
    request_key: str | None
    reserved: float
    charged: float
    refunded: float


class Load(NamedTuple):
    """The number of edits in progress: now, and at the peak."""

    now: int
    peak: int


def ledger(store: Store, now: float) -> list[LedgerEntry]:
    """Return what each edit has reserved, charged and refunded by `now`, oldest first."""
    rows = store.rows(
        "select task_id, model, request_key, credits_reserved,"
        " iif(settles_at <= ?, credits_charged, 0.0),"
        " iif(settles_at <= ?, round(credits_reserved - credits_charged, 2), 0.0) from task order by rowid",
        [now, now],
    )
    return [*map(LedgerEntry._make, rows)]


def load(store: Store, now: float) -> Load:
    """Return how many edits are in progress at `now`, and the peak so far."""
    rows = store.rows(
        "select created_at, settles_at from task where created_at <= ? and settles_at > created_at",
        [now],
    )
    # An edit that ends makes room for one that begins at the same instant.
    changes = sorted([(end, -1) for _, end in rows] + [(begin, 1) for begin, _ in rows])
    counts = itertools.accumulate(step for _, step in changes)
    return Load(now=sum(end > now for _, end in rows), peak=max(counts, default=0))
