"""Which failures pass by themselves, and how long to rest before the next attempt.

Pure arithmetic: nothing here sleeps or asks a clock.
"""

import random
from collections.abc import Callable
from typing import Final

from omniedit.errors import (
    BlockedClientError,
    NotConnectedError,
    OmniEditError,
    RateLimitedError,
    UnavailableError,
)

FIRST_DELAY_S: Final = 1.0
LONGEST_DELAY_S: Final = 30.0
SUBMIT_BUDGET_S: Final = 120.0
"""How long a submission that certainly was not accepted is tried again, in all."""
READ_BUDGET_S: Final = 30.0
"""How long a single look at the service is tried again, in all."""


def is_transient(error: OmniEditError) -> bool:
    """Return whether the same request may succeed a little later."""
    # A certificate or a proxy's refusal does not mend itself while somebody waits.
    return (
        isinstance(error, UnavailableError)
        and not isinstance(error, BlockedClientError)
        and error.code != "certificate"
    )


def is_certainly_not_accepted(error: OmniEditError) -> bool:
    """Return whether a submission that failed like this cannot have become a task.

    Never connected, 429, and every refusal; after a lost connection, a time-out, a 5xx or an
    unreadable 2xx the service may well be working on it.
    """
    if isinstance(error, UnavailableError):
        return isinstance(error, NotConnectedError | RateLimitedError)
    return True


def delay_s(
    attempt: int,
    *,
    retry_after_s: float | None = None,
    jitter: Callable[[], float] = random.random,
) -> float:
    """Return the rest after a failed attempt: exponential backoff with jitter, or as asked for.

    Args:
        attempt: The attempt that failed, from 1.
        retry_after_s: What the service asked for; obeyed to the second, however long.
        jitter: A number in [0, 1), so that many clients do not come back in step.
    """
    backoff_s = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(attempt - 1, 10))
    spread_s = backoff_s * (0.5 + 0.5 * jitter())
    if retry_after_s is None:
        return spread_s
    # Never earlier than asked for, and not everybody in the same instant.
    return max(retry_after_s, 0.1) + 0.25 * jitter()
