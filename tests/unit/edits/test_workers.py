"""A worker pool runs a limited number of steps at once, in daemon threads."""

import signal
import threading
from collections.abc import Callable

import pytest

from omniedit.edits.workers import WorkerPool
from omniedit.errors import Interrupted

WAIT_S = 10.0


def test_every_outcome_is_returned() -> None:
    with WorkerPool[int](3) as pool:
        for number in range(20):
            pool.submit(lambda number=number: number)  # type: ignore[misc]
        outcomes = {pool.next_outcome(timeout_s=WAIT_S) for _ in range(20)}

    assert (outcomes, pool.busy) == (set(range(20)), 0)


def test_a_single_worker_keeps_the_order() -> None:
    pool = WorkerPool[int](1)
    for number in range(10):
        pool.submit(lambda number=number: number)  # type: ignore[misc]

    assert [pool.next_outcome(timeout_s=WAIT_S) for _ in range(10)] == list(range(10))


def test_an_idle_pool_returns_no_outcome() -> None:
    assert WorkerPool[int](1).next_outcome(timeout_s=0.0) is None


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(ZeroDivisionError(), id="bug"),
        pytest.param(Interrupted(signal.SIGINT), id="interruption"),
    ],
)
def test_next_outcome_raises_the_error_of_a_step(error: BaseException) -> None:
    def fail() -> int:
        raise error

    pool = WorkerPool[int](1)
    pool.submit(fail)

    with pytest.raises(type(error)):
        pool.next_outcome(timeout_s=WAIT_S)
    assert pool.busy == 0


class Gate:
    """Steps that end only when the test lets them."""

    def __init__(self) -> None:
        self.started = threading.Semaphore(0)
        self.may_finish = threading.Semaphore(0)
        self.running = 0
        self.peak = 0
        self.lock = threading.Lock()

    def step(self) -> int:
        with self.lock:
            self.running += 1
            self.peak = max(self.peak, self.running)
        self.started.release()
        assert self.may_finish.acquire(timeout=WAIT_S)
        with self.lock:
            self.running -= 1
        return 1

    def have_started(self, count: int) -> bool:
        return all(self.started.acquire(timeout=WAIT_S) for _ in range(count))


def submit_steps(pool: WorkerPool[int], gate: Gate, count: int) -> Callable[[], None]:
    for _ in range(count):
        pool.submit(gate.step)

    def finish() -> None:
        gate.may_finish.release(count)
        for _ in range(count):
            assert pool.next_outcome(timeout_s=WAIT_S) == 1

    return finish


def test_no_more_steps_run_than_the_pool_has_workers() -> None:
    gate = Gate()
    finish = submit_steps(WorkerPool[int](3), gate, 10)
    assert gate.have_started(3)

    finish()

    assert gate.peak == 3


def test_queued_steps_are_dropped_when_the_pool_closes() -> None:
    gate = Gate()
    with WorkerPool[int](1) as pool:
        pool.submit(gate.step)
        pool.submit(gate.step)
        assert gate.have_started(1)
    gate.may_finish.release(2)
    pool.next_outcome(timeout_s=WAIT_S)

    assert pool.next_outcome(timeout_s=0.05) is None
    assert not gate.started.acquire(blocking=False)


def test_worker_threads_are_daemons() -> None:
    gate, before = Gate(), set(threading.enumerate())
    finish = submit_steps(WorkerPool[int](1), gate, 1)
    assert gate.have_started(1)

    [thread] = set(threading.enumerate()) - before

    assert thread.daemon
    finish()
