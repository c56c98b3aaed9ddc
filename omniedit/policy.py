"""How long to wait, how often to retry, and when to give up.

All timeouts, budgets, intervals and limits are in one value, which tests replace.
"""

import threading
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

SHORTEST_INTERVAL_S: Final = 0.5
LONGEST_INTERVAL_S: Final = 10.0
"""The bounds of the interval between submissions after the service has asked to slow down."""


class Policy(NamedTuple):
    """All timeouts, budgets, intervals and limits.

    It is a NamedTuple because a frozen dataclass of this size adds a millisecond to every start.
    """

    # One request.
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 30.0
    submit_timeout_s: float = 60.0
    upload_timeout_s: float = 60.0  # for the reply after the last byte of an upload
    clip_timeout_s: float = 3.0  # for probing a clip behind a URL, all range requests together
    max_reply_bytes: int = 16 * 1024**2

    # Retries; a budget is how long to retry in total, rests included.
    first_backoff_s: float = 1.0
    longest_backoff_s: float = 30.0
    listing_budget_s: float = 2.0  # each batch read of a listing, or all its single reads together
    listing_reads: int = 5  # tasks a listing reads one by one if the service has no batch read
    read_budget_s: float = 30.0
    offline_budget_s: float = 5.0  # while this machine seems to have no network
    submit_budget_s: float = 120.0  # for a submission that was certainly not accepted, or an upload
    duplicates_budget_s: float = 5.0  # for the search for an accidental second task

    # Submissions.
    replay_window_s: float = 3600.0  # how long the service is trusted to remember a request ID
    clock_skew_s: float = 120.0  # how far this machine's clock and the service's may differ
    # How far they may have differed at an attempt to which the service never replied.
    unknown_clock_skew_s: float = 24 * 3600.0
    grace_s: float = 5.0  # how long the first signal waits for the reply to a submission
    # How long the main thread may take to notice a signal that is not held back.
    signal_patience_s: float = 2.0
    upload_margin_s: float = 3600.0  # the lifetime that an uploaded clip must have to be reused
    submissions_at_once: int = 32  # each takes a thread and a connection

    # Polling; `python -m tests.benchmarks polling` simulates it.
    early_poll_s: float = 3.0
    shortest_poll_s: float = 2.0
    steady_poll_s: float = 8.0
    longest_watched_poll_s: float = 8.0
    longest_unwatched_poll_s: float = 15.0
    stalled_after_s: float = 180.0
    last_reply_s: float = 2.0  # the timeout of a poll at the deadline

    # Transfers.
    transfers_at_once: int = 4  # downloads, and likewise uploads
    attempts_without_progress: int = 5  # attempts in a row that may transfer no bytes
    download_attempts: int = 200
    longest_retry_after_s: float = 120.0
    # A transfer that moves fewer bytes per second than this, for this long, is aborted.
    stall_s: float = 60.0
    stall_bytes_per_s: int = 1000
    max_result_bytes: int = 8 * 1024**3
    # How long to wait for another process that saves to the same target, or sends the same edit,
    # and after how long a note says so.
    busy_budget_s: float = 600.0
    quiet_wait_s: float = 3.0

    # Local files.
    max_settings_bytes: int = 32 * 1024  # of each file; a long TOML key takes quadratic time
    max_prompt_bytes: int = 1024**2
    max_manifest_bytes: int = 64 * 1024**2

    # The journal.
    journal_timeout_s: float = 30.0  # for another process that is writing to it

    # Lists.
    max_list_pages: int = 2000
    list_budget_s: float = 120.0


DEFAULT: Final = Policy()


class Retry:
    """The retries of one operation: a read, a submission, an upload or a download.

    Args:
        sleep: Sleeps for some seconds.
        clock: Returns monotonic seconds.
        jitter: Returns a number in [0, 1), so that clients do not retry in step.
        on_retry: Called with the error message, the seconds until the next attempt, and the number
            of the failed attempt, from 1.
        policy: Backoff and budgets.
        budget_s: How long to keep trying, including the rests.
        deadline: A monotonic instant that no rest may overrun.
    """

    def __init__(
        self,
        *,
        sleep: Callable[[float], object],
        clock: Callable[[], float],
        jitter: Callable[[], float],
        on_retry: Callable[[str, float, int], None],
        policy: Policy = DEFAULT,
        budget_s: float = inf,
        deadline: float | None = None,
    ) -> None:
        self.attempts = 0  # how many have failed
        self._failures_in_a_row = 0
        self._sleep = sleep
        self._clock = clock
        self._jitter = jitter
        self._on_retry = on_retry
        self._policy = policy
        self._latest = inf if deadline is None else deadline
        self._budget_s = budget_s
        self._began = clock()

    def call(self, attempt: Callable[[], T]) -> T:
        """Call `attempt` until it succeeds, while its failures are transient; return its result.

        Raises:
            OmniEditError: The last failure.
        """
        while True:
            try:
                return attempt()
            except OmniEditError as error:
                self.rest(error)

    def rest(self, error: OmniEditError) -> None:
        """Report a failed attempt and rest before the next one.

        Raises:
            OmniEditError: The error itself, if it is not transient or the time is up.
        """
        rest_s = self.next_rest_s(error) if is_transient(error) else None
        if rest_s is None:
            raise error
        self._sleep(rest_s)

    def next_rest_s(self, error: OmniEditError) -> float | None:
        """Report a failed attempt; return the rest before the next one, or None if time is up."""
        self.attempts += 1
        self._failures_in_a_row += 1
        rest_s = backoff_s(
            self._failures_in_a_row,
            retry_after_s=error.retry_after_s,
            jitter=self._jitter,
            policy=self._policy,
        )
        budget_s = self._budget_s
        if budget_s < inf:
            budget_s = min(budget_s, longest_retry_s(error, self._policy))
        latest = min(self._latest, self._began + budget_s)
        if self._clock() + rest_s > latest:
            return None
        self._on_retry(error.message, rest_s, self.attempts)
        return rest_s

    def succeeded(self) -> None:
        """Restart the backoff after some success."""
        self._failures_in_a_row = 0


class RateLimiter:
    """Gives threads turns to submit, so that a rate limit that one of them hits holds for all.

    After a rate limit every thread pauses, and for a while turns are farther apart.

    Even without a rate limit, two turns are `least_interval_s` apart.
    """

    def __init__(
        self,
        monotonic: Callable[[], float],
        sleep: Callable[[float], object],
        *,
        least_interval_s: float = 0.0,
    ) -> None:
        self._monotonic = monotonic
        self._sleep = sleep
        self._least_interval_s = least_interval_s
        self._lock = threading.Lock()
        self._open_at = 0.0  # when the next turn may begin
        self._interval_s = 0.0  # between turns, after a rate limit
        self._paused_until = 0.0
        self._pauses = 0
        self._last_turn_at = -inf

    def wait(self) -> float:
        """Rest until it is the caller's turn; return how many seconds that took."""
        began = self._monotonic()
        while True:
            with self._lock:
                now = self._monotonic()
                pauses = self._pauses
                turn_at = max(now, self._open_at)
                self._open_at = turn_at + max(self._interval_s, self._least_interval_s)
            if turn_at > now:
                self._sleep(turn_at - now)
            with self._lock:
                # A pause that began in the meantime makes every assigned turn void.
                if pauses == self._pauses:
                    self._last_turn_at = self._monotonic()
                    return self._last_turn_at - began

    def slow_down(self, rest_s: float) -> None:
        """Give no turns for `rest_s` seconds, and then at a longer interval than before."""
        with self._lock:
            now = self._monotonic()
            if now >= self._paused_until:
                # Slow down only once per pause: further rate limits are replies to requests that
                # were sent before it.
                doubled_s = max(SHORTEST_INTERVAL_S, 2 * self._interval_s)
                self._interval_s = min(LONGEST_INTERVAL_S, doubled_s)
            self._paused_until = max(self._paused_until, now + rest_s)
            self._open_at = max(self._paused_until, self._last_turn_at + self._least_interval_s)
            self._pauses += 1

    def speed_up(self) -> None:
        """Shorten the interval a little after a success."""
        with self._lock:
            slower_s = self._interval_s * 0.8
            self._interval_s = slower_s if slower_s >= SHORTEST_INTERVAL_S / 2 else 0.0


def is_transient(error: OmniEditError) -> bool:
    """Return whether the same request may succeed a little later."""
    # A refused certificate or a blocked client does not recover while we wait, and a clip that was
    # stored without a URL would be stored once more by every retry.
    return (
        isinstance(error, UnavailableError)
        and not isinstance(error, BlockedClientError)
        and error.code not in {"certificate", "no_clip_url"}
    )


def longest_retry_s(error: OmniEditError, policy: Policy) -> float:
    """Return how long retrying after an error makes sense, in total.

    Without a network, retries are soon pointless, and a little later also with a wrong address; a
    rate limit is worth waiting for.
    """
    if not isinstance(error, NotConnectedError):
        return inf
    return policy.offline_budget_s if error.code == OFFLINE_CODE else policy.read_budget_s


def is_certainly_not_accepted(error: OmniEditError) -> bool:
    """Return whether a submission that failed with this error cannot have become a task.

    That holds if no connection was established, for 429, and for every refusal, even by a CDN.
    After a lost connection, a timeout, a 5xx or an unreadable 2xx a task may exist.
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
    """Return the rest after a failed attempt: exponential with jitter, or as the service asks.

    The first attempt is number 1. What the service asks for is always obeyed, however long.
    """
    longest_s = policy.first_backoff_s * 2.0 ** min(attempt - 1, 10)
    spread_s = min(policy.longest_backoff_s, longest_s) * (0.5 + 0.5 * jitter())
    if retry_after_s is None:
        return spread_s
    # Never earlier than the service asked, and not all clients at the same instant.
    return max(retry_after_s, 0.1) + 0.25 * jitter()
