"""Which errors are transient, which prove that nothing was accepted, and how retries wait."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omniedit import errors
from omniedit.errors import OmniEditError, UnavailableError
from omniedit.policy import DEFAULT, Retry, backoff_s, is_certainly_not_accepted, is_transient

EVERY_ERROR = [*OmniEditError.subclasses()]
jitters = st.floats(min_value=0, max_value=1, exclude_max=True)


@pytest.mark.parametrize("error", EVERY_ERROR)
def test_only_unavailability_is_transient(error: type[OmniEditError]) -> None:
    expected = issubclass(error, UnavailableError) and error is not errors.BlockedClientError

    assert is_transient(error("no")) is expected


def test_a_certificate_error_is_not_transient() -> None:
    assert not is_transient(errors.NotConnectedError("no", code="certificate"))


def test_a_clip_stored_without_a_url_is_not_uploaded_again() -> None:
    assert not is_transient(errors.UnreadableReplyError("no", code="no_clip_url"))


@pytest.mark.parametrize(
    "error",
    [
        errors.NetworkError,
        errors.ServerError,
        errors.UnreadableReplyError,
        errors.UnavailableError,
    ],
)
def test_a_lost_reply_may_have_been_an_acceptance(error: type[OmniEditError]) -> None:
    assert not is_certainly_not_accepted(error("no"))


@pytest.mark.parametrize(
    "error",
    [
        errors.NotConnectedError,
        errors.RateLimitedError,
        errors.BlockedClientError,
        errors.RequestRefusedError,
        errors.WrongBaseURLError,
        errors.AuthenticationError,
        errors.QuotaError,
    ],
)
def test_refusals_and_failed_connections_accepted_nothing(error: type[OmniEditError]) -> None:
    assert is_certainly_not_accepted(error("no"))


@given(st.integers(min_value=1, max_value=10_000), jitters)
def test_backoff_grows_to_a_limit(attempt: int, spread: float) -> None:
    rest_s = backoff_s(attempt, jitter=lambda: spread)

    full_s = min(DEFAULT.longest_backoff_s, DEFAULT.first_backoff_s * 2.0 ** min(attempt - 1, 60))
    assert full_s / 2 <= rest_s <= full_s
    assert rest_s <= backoff_s(attempt + 1, jitter=lambda: spread)


@given(st.integers(min_value=1, max_value=50), st.floats(min_value=0, max_value=1e6), jitters)
def test_backoff_is_never_shorter_than_retry_after(
    attempt: int, retry_after_s: float, spread: float
) -> None:
    rest_s = backoff_s(attempt, retry_after_s=retry_after_s, jitter=lambda: spread)

    assert max(retry_after_s, 0.1) <= rest_s <= max(retry_after_s, 0.1) + 0.25


def test_backoff_is_jittered() -> None:
    assert len({backoff_s(3, jitter=random.random) for _ in range(50)}) > 1
    assert len({backoff_s(3, jitter=random.random, retry_after_s=5) for _ in range(50)}) > 1


class Work:
    """A call that fails with each given error in turn, then succeeds."""

    def __init__(self, *failures: OmniEditError, took_s: float = 0.0) -> None:
        self.now = 100.0
        self.slept: list[float] = []
        self.retries: list[tuple[str, float, int]] = []
        self._failures = list(failures)
        self._took_s = took_s

    def attempt(self) -> str:
        self.now += self._took_s
        if self._failures:
            raise self._failures.pop(0)
        return "done"

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)

    def retry(self, budget_s: float = math.inf, deadline: float | None = None) -> Retry:
        return Retry(
            sleep=self.sleep,
            clock=lambda: self.now,
            jitter=lambda: 0.0,
            budget_s=budget_s,
            deadline=deadline,
            on_retry=lambda *retry: self.retries.append(retry),
        )


BUSY = errors.ServerError("busy")
CUT_OFF = errors.NotConnectedError("refused")
OFFLINE = errors.NotConnectedError("no network", code=errors.OFFLINE_CODE)


def test_each_retry_until_success_is_reported() -> None:
    work = Work(BUSY, BUSY, BUSY)

    assert work.retry(budget_s=30).call(work.attempt) == "done"
    assert work.slept == [0.5, 1.0, 2.0]
    assert work.retries == [("busy", 0.5, 1), ("busy", 1.0, 2), ("busy", 2.0, 3)]


def test_a_permanent_error_is_not_retried() -> None:
    refusal = errors.QuotaError("empty")
    work = Work(refusal)

    with pytest.raises(errors.QuotaError) as caught:
        work.retry(budget_s=30).call(work.attempt)

    assert caught.value is refusal
    assert work.slept == []


@pytest.mark.parametrize(
    ("work", "budget_s", "deadline", "expected_s"),
    [
        pytest.param(Work(*[BUSY] * 99), 120.0, None, (105, 120), id="budget"),
        pytest.param(Work(*[BUSY] * 99), 120.0, 110.0, (5, 10), id="deadline"),
        pytest.param(Work(*[BUSY] * 99, took_s=50), 120.0, None, (100, 120), id="slow-attempts"),
        pytest.param(Work(*[CUT_OFF] * 99), 120.0, None, (15, 30), id="connection-refused"),
        pytest.param(Work(*[OFFLINE] * 99), 120.0, None, (2, 5), id="no-network"),
        pytest.param(
            Work(errors.RateLimitedError("slow", retry_after_s=121)),
            120.0,
            None,
            (0, 0),
            id="retry-after-beyond-the-budget",
        ),
    ],
)
def test_no_backoff_begins_that_would_overrun(
    work: Work, budget_s: float, deadline: float | None, expected_s: tuple[float, float]
) -> None:
    with pytest.raises(errors.UnavailableError):
        work.retry(budget_s, deadline).call(work.attempt)

    assert expected_s[0] <= work.now - 100 - work._took_s <= expected_s[1]


def test_without_a_budget_a_lost_connection_is_retried_for_ever() -> None:
    work = Work(*[CUT_OFF] * 50)

    assert work.retry().call(work.attempt) == "done"
    assert work.slept[-1] == DEFAULT.longest_backoff_s / 2


def test_a_success_resets_the_backoff() -> None:
    work = Work(*[BUSY] * 6)
    retry = work.retry()

    for _ in range(3):
        retry.rest(BUSY)
    retry.succeeded()
    retry.rest(BUSY)

    assert work.slept == [0.5, 1.0, 2.0, 0.5]
    assert retry.attempts == 4
