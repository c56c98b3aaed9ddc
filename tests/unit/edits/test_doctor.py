from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from omniedit.edits.doctor import CLOCK_TOLERANCE_S, Verdict, check_clock
from omniedit.errors import UnavailableError

if TYPE_CHECKING:
    from omniedit.edits.session import Session

NOW = 1_757_000_000.0


def checked(service_time: float | UnavailableError | None) -> tuple[Verdict, str]:
    def get_time() -> float | None:
        if isinstance(service_time, UnavailableError):
            raise service_time
        return service_time

    session = SimpleNamespace(now=lambda: NOW, service=SimpleNamespace(get_time=get_time))
    check = check_clock(cast("Session", session))
    return check.verdict, check.message


@pytest.mark.parametrize(
    ("service_time", "verdict", "message"),
    [
        pytest.param(NOW, Verdict.OK, "agrees", id="same"),
        pytest.param(NOW + CLOCK_TOLERANCE_S - 1, Verdict.OK, "agrees", id="a-little-behind"),
        pytest.param(NOW + 600, Verdict.WARNING, "600 s behind the service's", id="behind"),
        pytest.param(NOW - 600, Verdict.WARNING, "600 s ahead of the service's", id="ahead"),
        pytest.param(None, Verdict.WARNING, "cannot be compared", id="no-date"),
        pytest.param(
            UnavailableError("gone"), Verdict.WARNING, "cannot be compared", id="no-answer"
        ),
    ],
)
def test_the_clock_is_compared_with_the_services(
    service_time: float | UnavailableError | None, verdict: Verdict, message: str
) -> None:
    found, said = checked(service_time)

    assert (found, message in said) == (verdict, True), said
