"""A pool of threads that run steps in parallel."""

import queue
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, Self, TypeAlias, TypeVar

from omniedit.errors import Interrupted
from omniedit.system import THIS_SYSTEM

T = TypeVar("T")
Step: TypeAlias = Callable[[], T]


class WorkerPool(Generic[T]):
    """Starts steps in the order they are given, and runs at most `size` at a time.

    Its threads are daemons: a command can end without waiting for a transfer that can be resumed,
    or for a reply that the journal records as outstanding.

    Args:
        size: The maximum number of steps that run at a time.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._steps: deque[Step[T]] = deque()
        self._outcomes: queue.SimpleQueue[T | BaseException] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._active = 0
        self._submitted = 0
        self._returned = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._steps.clear()

    @property
    def busy(self) -> int:
        """The number of steps whose outcome has not been returned yet."""
        return self._submitted - self._returned

    def submit(self, step: Step[T]) -> None:
        """Run a step in a worker thread as soon as one is free."""
        self._submitted += 1
        with self._lock:
            self._steps.append(step)
        if (next_step := self._next_step()) is not None:
            threading.Thread(target=self._work, args=[next_step], daemon=True).start()

    def next_outcome(self, *, timeout_s: float | None) -> T | None:
        """Return the next outcome of any step; None if there is none within the time.

        Raises:
            BaseException: The exception that the step raised.
        """
        for wait_s in THIS_SYSTEM.waits(timeout_s):
            with suppress(queue.Empty):
                outcome = self._outcomes.get(timeout=wait_s)
                break
        else:
            return None
        self._returned += 1
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def _work(self, first: Step[T]) -> None:
        step: Step[T] | None = first
        while step is not None:
            try:
                outcome: T | BaseException = step()
            except (Exception, Interrupted) as error:  # noqa: BLE001 - raised again by `next_outcome`
                outcome = error
            step = self._next_step(is_done_with_one=True)
            self._outcomes.put(outcome)

    def _next_step(self, *, is_done_with_one: bool = False) -> Step[T] | None:
        """Return the next step if it may start now, and count it as active."""
        with self._lock:
            if is_done_with_one:
                self._active -= 1
            if not self._steps or self._active >= self._size:
                return None
            self._active += 1
            return self._steps.popleft()
