"""Which failures pass by themselves, how long to rest, and when to give up."""

import random
import time
from collections.abc import Callable
from math import inf
from typing import TypeVar

from omniedit.errors import (
    OFFLINE_CODE,
    BlockedClientError,
    NotConnectedError,
    OmniEditError,
    RateLimitedError,
    UnavailableError,
)
from omniedit.policy import DEFAULT, Policy

T = TypeVar("T")


class Retry:
    """The retries of one piece of work, be it a read, a submission, an upload or a download.

    Args:
        sleep: Rests.
        clock: Monotonic seconds.
        jitter: A number in [0, 1), so that many clients do not come back in step.
        policy: Backoff and budgets.
        budget_s: How long to go on, rests included; None for as long as the caller likes.
        deadline: A monotonic instant that no rest may overrun.
        on_retry: Takes what went wrong, the seconds until the next attempt, and the attempt that
            failed, from 1.
    """

    def __init__(
        self,
        *,
        sleep: Callable[[float], object],
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
        policy: Policy = DEFAULT,
        budget_s: float | None = None,
        deadline: float | None = None,
        on_retry: Callable[[str, float, int], None] | None = None,
    ) -> None:
        self.attempts = 0
        """How many have failed."""
        self._failures_in_a_row = 0
        self._sleep = sleep
        self._clock = clock
        self._jitter = jitter
        self._policy = policy
        self._budget_s = budget_s
        self._deadline = deadline
        self._on_retry = on_retry
        self._began = clock()

    def call(self, attempt: Callable[[], T]) -> T:
        """Return what `attempt` returns, calling it again while its failures are transient.

        Raises:
            OmniEditError: The last failure.
        """
        while True:
            try:
                return attempt()
            except OmniEditError as error:
                self.rest(error)

    def rest(self, error: OmniEditError) -> None:
        """Rest before the next attempt, having said so.

        Raises:
            OmniEditError: The error itself, if there is no next attempt.
        """
        rest_s = self.delay_s(error)
        if self._on_retry is not None:
            self._on_retry(error.message, rest_s, self.attempts)
        self._sleep(rest_s)

    def delay_s(self, error: OmniEditError) -> float:
        """Count a failed attempt; return how long to rest before the next one.

        Raises:
            OmniEditError: The error itself, if it will not pass or the time is up.
        """
        self.attempts += 1
        self._failures_in_a_row += 1
        rest_s = backoff_s(
            self._failures_in_a_row,
            retry_after_s=error.retry_after_s,
            jitter=self._jitter,
            policy=self._policy,
        )
        if not is_transient(error) or not self._has_time_for(rest_s, error):
            raise error
        return rest_s

    def succeeded(self) -> None:
        """Begin the backoff anew, since something was achieved."""
        self._failures_in_a_row = 0

    def _has_time_for(self, rest_s: float, error: OmniEditError) -> bool:
        ends_at = self._clock() + rest_s
        if self._deadline is not None and ends_at > self._deadline:
            return False
        if self._budget_s is None:
            return True
        return ends_at <= self._began + min(self._budget_s, longest_retry_s(error, self._policy))


def is_transient(error: OmniEditError) -> bool:
    """Return whether the same request may succeed a little later."""
    # A certificate or a proxy's refusal does not mend itself while somebody waits.
    return (
        isinstance(error, UnavailableError)
        and not isinstance(error, BlockedClientError)
        and error.code != "certificate"
    )


def longest_retry_s(error: OmniEditError, policy: Policy) -> float:
    """Return how long it makes sense to try again after an error, in all.

    A missing network shows at once and a wrong address soon; a limit passes later.
    """
    if not isinstance(error, NotConnectedError):
        return inf
    return policy.offline_budget_s if error.code == OFFLINE_CODE else policy.read_budget_s


def is_certainly_not_accepted(error: OmniEditError) -> bool:
    """Return whether a submission that failed like this cannot have become a task.

    Never connected, 429, and every refusal, a CDN's included; after a lost connection, a time-out,
    a 5xx or an unreadable 2xx the service may well be working on it.
    """
    if isinstance(error, UnavailableError):
        return isinstance(error, NotConnectedError | RateLimitedError | BlockedClientError)
    return True


def backoff_s(
    attempt: int,
    *,
    retry_after_s: float | None = None,
    jitter: Callable[[], float] = random.random,
    policy: Policy = DEFAULT,
) -> float:
    """Return the rest after a failed attempt: exponential with jitter, or as asked for.

    Args:
        attempt: The attempt that failed, from 1.
        retry_after_s: What the service asked for; obeyed to the second, however long.
        jitter: A number in [0, 1).
        policy: The first and the longest rest.
    """
    longest_s = policy.first_backoff_s * 2.0 ** min(attempt - 1, 10)
    spread_s = min(policy.longest_backoff_s, longest_s) * (0.5 + 0.5 * jitter())
    if retry_after_s is None:
        return spread_s
    # Never earlier than asked for, and not everybody in the same instant.
    return max(retry_after_s, 0.1) + 0.25 * jitter()
