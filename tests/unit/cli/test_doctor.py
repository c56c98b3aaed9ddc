from typing import TYPE_CHECKING, cast

import pytest

from omniedit.cli.checks import CLOCK_TOLERANCE_S, Verdict, check_clock
from omniedit.errors import UnavailableError
from tests.unit.edits.bench import NOW, FakeSession

if TYPE_CHECKING:
    from omniedit.cli.session import LiveSession


def checked(there: float | None) -> tuple[Verdict, str]:
    session = FakeSession()
    session.service.time = there
    check = check_clock(cast("LiveSession", session))
    return check.verdict, check.message


@pytest.mark.parametrize(
    ("there", "verdict", "message"),
    [
        pytest.param(NOW, Verdict.OK, "agrees", id="same"),
        pytest.param(NOW + CLOCK_TOLERANCE_S - 1, Verdict.OK, "agrees", id="a-little-behind"),
        pytest.param(NOW + 600, Verdict.WARNING, "600 s behind the service's", id="behind"),
        pytest.param(NOW - 600, Verdict.WARNING, "600 s ahead of the service's", id="ahead"),
        pytest.param(None, Verdict.WARNING, "cannot be compared", id="no-date"),
    ],
)
def test_the_clock_is_compared_with_the_service_s(
    there: float | None, verdict: Verdict, message: str
) -> None:
    found, said = checked(there)

    assert (found, message in said) == (verdict, True), said


def test_a_clock_that_cannot_be_asked_for_is_no_failure() -> None:
    session = FakeSession()
    session.service.trouble = [UnavailableError("gone")]

    assert check_clock(cast("LiveSession", session)).verdict is Verdict.WARNING
