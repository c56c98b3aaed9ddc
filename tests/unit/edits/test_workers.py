import signal
import threading
from collections.abc import Callable

import pytest

from omniedit.edits.workers import WorkerPool
from omniedit.errors import Interrupted

WAIT_S = 10.0


def test_every_outcome_is_taken() -> None:
    with WorkerPool[int](3) as pool:
        for number in range(20):
            pool.submit(lambda number=number: number)  # type: ignore[misc]
        taken = {pool.next_outcome(timeout_s=WAIT_S) for _ in range(20)}

    assert (taken, pool.busy) == (set(range(20)), 0)


def test_one_alone_works_in_the_order_given() -> None:
    pool = WorkerPool[int](1)
    for number in range(10):
        pool.submit(lambda number=number: number)  # type: ignore[misc]

    assert [pool.next_outcome(timeout_s=WAIT_S) for _ in range(10)] == list(range(10))


def test_nothing_is_taken_before_it_is_done() -> None:
    assert WorkerPool[int](1).next_outcome(timeout_s=0.0) is None


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(ZeroDivisionError(), id="a-bug"),
        pytest.param(Interrupted(signal.SIGINT), id="an-interruption"),
    ],
)
def test_what_a_step_raises_is_raised_by_take(error: BaseException) -> None:
    def stumble() -> int:
        raise error

    pool = WorkerPool[int](1)
    pool.submit(stumble)

    with pytest.raises(type(error)):
        pool.next_outcome(timeout_s=WAIT_S)
    assert pool.busy == 0


class Gate:
    """Steps that start, and end only when the test lets them through."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.through = threading.Semaphore(0)
        self.inside = 0
        self.most_inside = 0
        self.lock = threading.Lock()

    def step(self) -> int:
        with self.lock:
            self.inside += 1
            self.most_inside = max(self.most_inside, self.inside)
        self.begun.release()
        assert self.through.acquire(timeout=WAIT_S)
        with self.lock:
            self.inside -= 1
        return 1

    def have_begun(self, count: int) -> bool:
        return all(self.begun.acquire(timeout=WAIT_S) for _ in range(count))


def filled(pool: WorkerPool[int], gate: Gate, count: int) -> Callable[[], None]:
    for _ in range(count):
        pool.submit(gate.step)

    def finish() -> None:
        gate.through.release(count)
        for _ in range(count):
            assert pool.next_outcome(timeout_s=WAIT_S) == 1

    return finish


def test_no_more_than_its_size_are_at_work() -> None:
    gate = Gate()
    finish = filled(WorkerPool[int](3), gate, 10)
    assert gate.have_begun(3)

    finish()

    assert gate.most_inside == 3


def test_what_was_not_begun_at_the_end_never_is() -> None:
    gate = Gate()
    with WorkerPool[int](1) as pool:
        pool.submit(gate.step)
        pool.submit(gate.step)
        assert gate.have_begun(1)
    gate.through.release(2)
    pool.next_outcome(timeout_s=WAIT_S)

    assert pool.next_outcome(timeout_s=0.05) is None
    assert not gate.begun.acquire(blocking=False)


def test_its_threads_keep_no_process_alive() -> None:
    gate, before = Gate(), set(threading.enumerate())
    finish = filled(WorkerPool[int](1), gate, 1)
    assert gate.have_begun(1)

    [thread] = set(threading.enumerate()) - before

    assert thread.daemon
    finish()
