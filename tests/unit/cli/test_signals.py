"""Signals that end a command: at once, or after an outstanding reply has arrived."""

# ruff: noqa: PT012 - what a block does after a signal is under test

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from omniedit.cli.signals import Signals
from omniedit.errors import Interrupted
from omniedit.policy import DEFAULT
from omniedit.system import THIS_SYSTEM
from tests.contract.readme import ROOT
from tests.systems import windows

pytestmark = pytest.mark.posix

NUMBERS = THIS_SYSTEM.ending_signals


@pytest.fixture
def grace_notices() -> list[str]:
    return []


@pytest.fixture
def signals(grace_notices: list[str]) -> Iterator[Signals]:
    signals = Signals(
        lambda: grace_notices.append("waiting"), policy=DEFAULT._replace(grace_s=0.05)
    )
    with signals.handled():
        yield signals


def interrupted_by(number: int) -> int:
    """Return the number that a signal's `Interrupted` carries."""
    with pytest.raises(Interrupted) as caught:
        signal.raise_signal(number)
    return caught.value.signal_number


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_ends_the_command_at_once(signals: Signals, number: int) -> None:
    assert interrupted_by(number) == number


@pytest.mark.parametrize("number", NUMBERS)
def test_an_outstanding_reply_is_waited_for(
    signals: Signals, grace_notices: list[str], number: int
) -> None:
    done: list[str] = []

    with pytest.raises(Interrupted) as caught, signals.shielded():
        signal.raise_signal(number)
        done.append("the reply came")

    assert (caught.value.signal_number, done, grace_notices) == (
        number,
        ["the reply came"],
        ["waiting"],
    )


def test_a_second_signal_does_not_wait(signals: Signals) -> None:
    with pytest.raises(Interrupted) as caught, signals.shielded():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        pytest.fail("the second one ends it")

    assert caught.value.signal_number == signal.SIGTERM


def test_the_grace_period_ends(signals: Signals) -> None:
    with pytest.raises(Interrupted) as caught, signals.shielded():
        signal.raise_signal(signal.SIGINT)
        # The wake signal ends it early.
        threading.Event().wait(20)
        pytest.fail("the grace is over")

    assert caught.value.signal_number == signal.SIGINT


def test_ctrl_z_is_passed_to_on_suspend() -> None:
    stopped = threading.Event()

    with Signals(lambda: None).handled(on_suspend=lambda _: stopped.set()):
        signal.raise_signal(signal.SIGTSTP)

        assert stopped.wait(20)

    assert signal.getsignal(signal.SIGTSTP) is signal.SIG_DFL


def test_a_signal_takes_precedence_over_an_error_in_the_block(signals: Signals) -> None:
    with pytest.raises(Interrupted), signals.shielded():
        signal.raise_signal(signal.SIGINT)
        msg = "the reply was lost"
        raise OSError(msg)


def test_nested_shields_end_with_the_outermost(signals: Signals) -> None:
    steps: list[str] = []

    with pytest.raises(Interrupted), signals.shielded():
        with signals.shielded():
            signal.raise_signal(signal.SIGINT)
        steps.append("still shielded")

    assert steps == ["still shielded"]


def test_a_shield_without_a_signal_has_no_effect(
    signals: Signals, grace_notices: list[str]
) -> None:
    with signals.shielded():
        pass

    assert grace_notices == []
    assert interrupted_by(signal.SIGINT) == signal.SIGINT


def test_handlers_are_restored_afterwards() -> None:
    before = [signal.getsignal(number) for number in (*NUMBERS, signal.SIGALRM)]

    with Signals(lambda: None).handled():
        during = [signal.getsignal(number) for number in NUMBERS]

    assert [signal.getsignal(number) for number in (*NUMBERS, signal.SIGALRM)] == before
    assert not {*during} & {*before}


def test_a_signal_ignored_at_start_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Signals(lambda: None).handled():
            signal.raise_signal(signal.SIGHUP)
            assert interrupted_by(signal.SIGTERM) == signal.SIGTERM
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("module", "name", "error"),
    [
        pytest.param(os, "pipe", OSError(24, "Too many open files"), id="no-descriptor-left"),
        pytest.param(
            threading.Thread, "start", RuntimeError("can't start new thread"), id="no-thread-left"
        ),
    ],
)
def test_signals_are_handled_even_if_the_watcher_cannot_start(
    monkeypatch: pytest.MonkeyPatch, module: object, name: str, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(module, name, fail)

    with Signals(lambda: None).handled():
        assert interrupted_by(signal.SIGTERM) == signal.SIGTERM


class SignalsInDestructor:
    """Raises a signal while it is destroyed, when Python ignores exceptions."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGTERM)


def test_a_signal_in_a_destructor_is_not_lost(signals: Signals) -> None:
    with pytest.raises(Interrupted) as caught:
        SignalsInDestructor()
        threading.Event().wait(20)
        pytest.fail("it was lost")

    assert caught.value.signal_number == signal.SIGTERM


def test_a_signal_during_a_handler_ends_the_command() -> None:
    signals = Signals(lambda: signal.raise_signal(signal.SIGTERM))

    with signals.handled(), pytest.raises(Interrupted) as caught, signals.shielded():
        signal.raise_signal(signal.SIGINT)

    assert caught.value.signal_number == signal.SIGTERM


def test_a_signal_after_the_command_has_ended_is_ignored() -> None:
    signals = Signals(lambda: None)
    with signals.handled():
        handler = signal.getsignal(signal.SIGTERM)

    assert callable(handler)
    handler(signal.SIGTERM, None)


def test_other_threads_change_no_signal_handlers() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen: list[object] = []

    def work() -> None:
        with Signals(lambda: None).handled():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert seen == [before]


def test_drain_waits_for_replies_in_other_threads() -> None:
    signals = Signals(lambda: None, policy=DEFAULT._replace(grace_s=20))
    is_shielded, may_end = threading.Event(), threading.Event()
    ended: list[str] = []

    def work() -> None:
        with signals.shielded():
            is_shielded.set()
            may_end.wait(20)
            ended.append("the reply came")

    thread = threading.Thread(target=work)
    thread.start()
    is_shielded.wait(20)
    may_end.set()
    signals.drain()

    assert ended == ["the reply came"]
    thread.join()


def test_drain_gives_up_after_the_grace_period() -> None:
    signals = Signals(lambda: None, policy=DEFAULT._replace(grace_s=0.01))
    is_shielded, may_end = threading.Event(), threading.Event()

    def work() -> None:
        with signals.shielded():
            is_shielded.set()
            may_end.wait(20)

    thread = threading.Thread(target=work)
    thread.start()
    is_shielded.wait(20)

    signals.drain()

    assert thread.is_alive()
    may_end.set()
    thread.join()


@pytest.fixture
def overdue() -> list[int]:
    return []


@pytest.fixture
def windows_signals(grace_notices: list[str], overdue: list[int]) -> Iterator[Signals]:
    """Handle signals as on Windows, where none interrupts a system call."""
    policy = DEFAULT._replace(grace_s=0.05, signal_patience_s=20)
    signals = Signals(lambda: grace_notices.append("waiting"), policy=policy, system=windows())
    with signals.handled(on_overdue=lambda interrupted: overdue.append(interrupted.signal_number)):
        yield signals


def test_on_windows_a_signal_ends_the_command_at_once(
    windows_signals: Signals, overdue: list[int]
) -> None:
    assert interrupted_by(signal.SIGTERM) == signal.SIGTERM
    assert overdue == []


def test_on_windows_an_outstanding_reply_is_waited_for(
    windows_signals: Signals, grace_notices: list[str], overdue: list[int]
) -> None:
    done: list[str] = []

    with pytest.raises(Interrupted) as caught, windows_signals.shielded():
        signal.raise_signal(signal.SIGINT)
        done.append("the reply came")

    assert (caught.value.signal_number, done) == (signal.SIGINT, ["the reply came"])
    assert (grace_notices, overdue) == (["waiting"], [])


def test_on_windows_the_grace_period_ends(windows_signals: Signals, overdue: list[int]) -> None:
    with pytest.raises(Interrupted) as caught, windows_signals.shielded():
        signal.raise_signal(signal.SIGINT)
        windows().wait(threading.Event(), 20)
        pytest.fail("the grace is over")

    assert caught.value.signal_number == signal.SIGINT
    assert overdue == []


def test_on_windows_a_second_signal_does_not_wait(windows_signals: Signals) -> None:
    with pytest.raises(Interrupted) as caught, windows_signals.shielded():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        pytest.fail("the second one ends it")

    assert caught.value.signal_number == signal.SIGTERM


def test_on_windows_a_signal_in_a_destructor_is_not_lost(windows_signals: Signals) -> None:
    with pytest.raises(Interrupted) as caught:
        SignalsInDestructor()
        windows().wait(threading.Event(), 20)
        pytest.fail("it was lost")

    assert caught.value.signal_number == signal.SIGTERM


def test_on_windows_handlers_and_threads_are_restored_afterwards() -> None:
    before = signal.getsignal(signal.SIGINT), threading.active_count()

    with Signals(lambda: None, system=windows()).handled():
        pass

    assert (signal.getsignal(signal.SIGINT), threading.active_count()) == before
    assert signal.set_wakeup_fd(-1) == -1


_STUCK = """
import os, signal, sys, threading
from contextlib import nullcontext
from omniedit.cli.signals import Signals
from omniedit.errors import Interrupted
from omniedit.policy import DEFAULT
from omniedit.system import THIS_SYSTEM
from tests.systems import windows

def end(interrupted):
    print("overdue", interrupted.signal_number, flush=True)
    os._exit(130)

def announce():
    gate.acquire()
    print("stuck", flush=True)

system = windows() if "windows" in sys.argv else THIS_SYSTEM
if "blocked" in sys.argv:
    # A process inherits its signal mask.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
policy = DEFAULT._replace(grace_s=0.2, signal_patience_s=0.1)
signals = Signals(lambda: None, policy=policy, system=system)
gate, never = threading.Lock(), threading.Lock()
shielded = signals.shielded() if "shielded" in sys.argv else nullcontext()
try:
    with gate, never, signals.handled(on_overdue=end), shielded:
        # Signals go to another thread and interrupt no system call of this one, as always on
        # Windows, and elsewhere if a signal arrives just before the call.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        threading.Thread(target=announce, daemon=True).start()
        # The other thread must not continue before this one is in a system call.
        sys.setswitchinterval(1000)
        gate.release()
        never.acquire()
except Interrupted as interrupted:
    print("noticed", interrupted.signal_number, flush=True)
    sys.exit(130)
"""


@pytest.mark.parametrize(
    ("system", "outcome"), [("this-system", "noticed"), ("windows", "overdue")]
)
@pytest.mark.parametrize("at", ["work", "shielded", "blocked"])
def test_a_stuck_main_thread_does_not_keep_the_command_alive(
    system: str, outcome: str, at: str
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _STUCK, system, at], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "stuck\n"

        process.send_signal(signal.SIGINT)

        assert process.communicate(timeout=20)[0] == f"{outcome} {signal.SIGINT:d}\n"
    assert process.returncode == 130
