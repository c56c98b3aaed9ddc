"""`doctor` compares the clocks and checks that the state folder supports locks."""

import errno
from email.utils import formatdate
from pathlib import Path

import pytest

from omniedit.edits.doctor import Verdict, check_clock, check_folder
from omniedit.errors import NotConnectedError
from omniedit.policy import DEFAULT
from tests.systems import linux
from tests.unit.edits.bench import NOW, BenchSession


@pytest.mark.parametrize(
    ("service_time", "verdict", "message"),
    [
        pytest.param(NOW, Verdict.OK, "agrees", id="same"),
        pytest.param(NOW + DEFAULT.clock_skew_s - 1, Verdict.OK, "agrees", id="within-tolerance"),
        pytest.param(NOW + 600, Verdict.WARNING, "600 s behind the service's", id="behind"),
        pytest.param(NOW - 600, Verdict.WARNING, "600 s ahead of the service's", id="ahead"),
        pytest.param(None, Verdict.WARNING, "cannot be compared", id="no-date"),
    ],
)
def test_the_clock_is_compared_with_the_services_clock(
    session: BenchSession, service_time: float | None, verdict: Verdict, message: str
) -> None:
    if service_time is not None:
        session.script.headers = {"date": formatdate(service_time, usegmt=True)}

    check = check_clock(session)

    assert (check.verdict, message in check.message) == (verdict, True), check


def test_an_unreachable_service_clock_is_only_a_warning(session: BenchSession) -> None:
    session.script.read_errors = [NotConnectedError("gone")]

    assert check_clock(session).verdict is Verdict.WARNING


def test_a_state_folder_without_file_locks_is_a_failure(tmp_path: Path) -> None:
    def lock(_: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    check = check_folder("state folder", tmp_path, used=tmp_path, system=linux(lock=lock))

    assert check.verdict is Verdict.FAILURE
    assert "cannot be locked: No locks available" in check.message
