"""How long to wait, how often to try again, and when to give up.

Every time-out, budget, interval and bound stands in one value, which tests replace.
"""

import time
from collections.abc import Callable
from math import inf
from typing import Final, NamedTuple, TypeVar

from omniedit.errors import (
    OFFLINE_CODE,
    BlockedClientError,
    NotConnectedError,
    OmniEditError,
    RateLimitedError,
    UnavailableError,
)

T = TypeVar("T")


class Policy(NamedTuple):
    """How long to wait, how often to try again, and where to stop.

    A NamedTuple, since a frozen dataclass of this size takes a millisecond of every start.
    """

    # One request.
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 30.0
    submit_timeout_s: float = 60.0
    upload_timeout_s: float = 60.0
    """For the reply after an upload's last byte."""
    clip_timeout_s: float = 3.0
    """For a look at a clip behind a URL, all range requests together."""
    max_reply_bytes: int = 16 * 1024**2

    # Trying again.
    first_backoff_s: float = 1.0
    longest_backoff_s: float = 30.0
    look_s: float = 2.0
    """For all that a listing asks the service."""
    looks: int = 5
    """How many tasks it asks for one by one, where they cannot be read at once."""
    read_budget_s: float = 30.0
    """How long one read of the service is tried again, in all."""
    offline_budget_s: float = 5.0
    """How long to try again, in all, as long as this machine seems to have no network."""
    submit_budget_s: float = 120.0
    """How long a submission that certainly was not accepted is tried again, in all."""
    duplicates_budget_s: float = 5.0
    """How long to look for a task that was paid twice; the task itself is known by then."""

    # Submissions.
    replay_window_s: float = 3600.0
    """How long after an attempt the service is trusted to remember its request ID."""
    clock_skew_s: float = 120.0
    """How far this machine's clock and the service's may be apart."""
    unknown_clock_skew_s: float = 24 * 3600.0
    """How far they may have been apart at an attempt to which the service never answered."""
    grace_s: float = 5.0
    """How long a first signal waits for the reply to a submission."""
    upload_margin_s: float = 3600.0
    """How long an uploaded clip must still live to be used again."""
    submissions_at_once: int = 32
    """How many edits are being submitted at a time; each takes a thread and a connection."""

    # Polling; `python -m tests.benchmarks polling` simulates it.
    early_poll_s: float = 3.0
    shortest_poll_s: float = 2.0
    steady_poll_s: float = 8.0
    longest_watched_poll_s: float = 8.0
    longest_unwatched_poll_s: float = 15.0
    stalled_after_s: float = 180.0
    last_reply_s: float = 2.0
    """How long the reply to a poll at the deadline may take."""

    # Transfers.
    transfers_at_once: int = 4
    """How many results are saved at a time, and how many clips uploaded."""
    fruitless_attempts: int = 5
    """How many attempts in a row may bring no byte."""
    download_attempts: int = 200
    longest_retry_after_s: float = 120.0
    stall_s: float = 60.0
    """How long a transfer may stay below `stall_bytes_per_s` before it is broken off."""
    stall_bytes_per_s: int = 1000
    max_result_bytes: int = 8 * 1024**3
    busy_budget_s: float = 600.0
    """How long to wait for another process that saves to the same target."""

    # Files of this machine.
    max_settings_bytes: int = 1024**2
    """The longest `config.toml` or `credentials`."""
    max_prompt_bytes: int = 1024**2
    max_manifest_bytes: int = 64 * 1024**2

    # The journal.
    journal_timeout_s: float = 30.0
    """How long to wait for another process that writes to the journal."""

    # Lists.
    max_list_pages: int = 2000
    list_budget_s: float = 120.0


DEFAULT: Final = Policy()


class Retry:
    """The retries of one piece of work, be it a read, a submission, an upload or a download.

    Args:
        sleep: Rests.
        jitter: A number in [0, 1), so that many clients do not come back in step.
        clock: Monotonic seconds.
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
        jitter: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
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
    jitter: Callable[[], float],
    retry_after_s: float | None = None,
    policy: Policy = DEFAULT,
) -> float:
    """Return the rest after a failed attempt: exponential with jitter, or as asked for.

    Args:
        attempt: The attempt that failed, from 1.
        jitter: A number in [0, 1).
        retry_after_s: What the service asked for; obeyed to the second, however long.
        policy: The first and the longest rest.
    """
    longest_s = policy.first_backoff_s * 2.0 ** min(attempt - 1, 10)
    spread_s = min(policy.longest_backoff_s, longest_s) * (0.5 + 0.5 * jitter())
    if retry_after_s is None:
        return spread_s
    # Never earlier than asked for, and not everybody in the same instant.
    return max(retry_after_s, 0.1) + 0.25 * jitter()
