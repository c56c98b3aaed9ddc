"""Waits of minutes under the real policy, with a clock that skips the waiting."""

import re
import threading
import time
from dataclasses import dataclass, replace

import pytest

from omniedit.policy import DEFAULT
from omniedit.system import Clock
from tests.commandline import CommandLine
from tests.e2e.test_contract_equipment import CLIP, check_failure

pytestmark = pytest.mark.e2e


@dataclass
class SkippingClock:
    """A clock that runs normally, but jumps to the end of every wait."""

    waited_s: float = 0.0

    def clock(self) -> Clock:
        return Clock(
            now=lambda: time.time() + self.waited_s,
            monotonic=lambda: time.monotonic() + self.waited_s,
            wait=self.wait,
        )

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.waited_s += seconds
        return event.is_set()


@pytest.fixture
def skipping_clock() -> SkippingClock:
    return SkippingClock()


@pytest.fixture
def omniedit(served: CommandLine, skipping_clock: SkippingClock) -> CommandLine:
    return replace(served, policy=DEFAULT, clock=skipping_clock.clock())


def test_wait_times_out_after_half_an_hour_by_default(
    omniedit: CommandLine, skipping_clock: SkippingClock
) -> None:
    task_id = omniedit("submit", CLIP, "x [sandbox:seconds=86400]").stdout.strip()

    ended = omniedit("wait", task_id)

    check_failure(ended, 6, f"{task_id} is not finished after 1800 s")
    assert skipping_clock.waited_s == pytest.approx(1800, abs=5)


def test_a_rate_limited_submission_is_retried_for_two_minutes(
    omniedit: CommandLine, skipping_clock: SkippingClock
) -> None:
    ended = omniedit("submit", CLIP, "x [sandbox:http=429]")

    check_failure(ended, 8, "nothing was accepted")
    assert 60 < skipping_clock.waited_s <= 120
    assert re.search(r"attempt 1 failed, retrying in \ds", ended.stderr), ended


def test_an_edit_outlasts_several_rate_limits(
    omniedit: CommandLine, skipping_clock: SkippingClock
) -> None:
    ended = omniedit("edit", CLIP, "x [sandbox:http=429*5][sandbox:seconds=0]", "-o", "out.mp4")

    assert (ended.status, ended.stdout) == (0, "out.mp4\n"), ended
    assert skipping_clock.waited_s > 1
