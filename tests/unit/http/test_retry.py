"""What passes by itself, what proves that nothing was accepted, and how long to rest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omniedit import errors
from omniedit.errors import OmniEditError, UnavailableError
from omniedit.http.retry import (
    FIRST_DELAY_S,
    LONGEST_DELAY_S,
    delay_s,
    is_certainly_not_accepted,
    is_transient,
)

EVERY_ERROR = [*OmniEditError.subclasses()]
jitters = st.floats(min_value=0, max_value=1, exclude_max=True)


@pytest.mark.parametrize("error", EVERY_ERROR)
def test_only_trouble_that_passes_is_tried_again(error: type[OmniEditError]) -> None:
    expected = issubclass(error, UnavailableError) and error is not errors.BlockedClientError

    assert is_transient(error("no")) is expected


def test_a_certificate_does_not_mend_itself() -> None:
    assert not is_transient(errors.NotConnectedError("no", code="certificate"))


@pytest.mark.parametrize(
    "error",
    [
        errors.NetworkError,
        errors.ServerError,
        errors.UnreadableReplyError,
        errors.UnavailableError,
    ],
)
def test_a_lost_reply_proves_nothing(error: type[OmniEditError]) -> None:
    assert not is_certainly_not_accepted(error("no"))


@pytest.mark.parametrize(
    "error",
    [
        errors.NotConnectedError,
        errors.RateLimitedError,
        errors.RequestRefusedError,
        errors.WrongBaseURLError,
        errors.AuthenticationError,
        errors.QuotaError,
    ],
)
def test_a_refusal_and_a_missing_connection_are_certain(error: type[OmniEditError]) -> None:
    assert is_certainly_not_accepted(error("no"))


@given(st.integers(min_value=1, max_value=10_000), jitters)
def test_rests_grow_to_a_limit(attempt: int, spread: float) -> None:
    rest_s = delay_s(attempt, jitter=lambda: spread)

    full_s = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(attempt - 1, 60))
    assert full_s / 2 <= rest_s <= full_s
    assert rest_s <= delay_s(attempt + 1, jitter=lambda: spread)


@given(st.integers(min_value=1, max_value=50), st.floats(min_value=0, max_value=1e6), jitters)
def test_the_service_is_never_asked_earlier_than_it_wants(
    attempt: int, retry_after_s: float, spread: float
) -> None:
    rest_s = delay_s(attempt, retry_after_s=retry_after_s, jitter=lambda: spread)

    assert max(retry_after_s, 0.1) <= rest_s <= max(retry_after_s, 0.1) + 0.25


def test_clients_do_not_come_back_in_step() -> None:
    assert len({delay_s(3) for _ in range(50)}) > 1
    assert len({delay_s(3, retry_after_s=5) for _ in range(50)}) > 1
