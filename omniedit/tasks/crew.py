"""A few threads that carry out steps side by side, and one queue of what came of them."""

import queue
import threading
from collections.abc import Callable
from typing import Generic, Self, TypeVar

from omniedit.errors import Interrupted

T = TypeVar("T")
Step = Callable[[], T]


class Crew(Generic[T]):
    """Carries out steps, at most `size` at a time, in the order they are given.

    Its threads are daemons: when a command is to end, nobody waits for a transfer that can be
    resumed, nor for a reply that the journal knows to be outstanding.

    Args:
        size: How many threads.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._steps: queue.SimpleQueue[Step[T] | None] = queue.SimpleQueue()
        self._outcomes: queue.SimpleQueue[T | BaseException] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._given = 0
        self._taken = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for _thread in self._threads:
            self._steps.put(None)

    @property
    def busy(self) -> int:
        """How many steps were given whose outcome was not taken yet."""
        return self._given - self._taken

    def give(self, step: Step[T]) -> None:
        """Have a step carried out."""
        self._given += 1
        self._steps.put(step)
        if len(self._threads) < min(self._size, self.busy):
            thread = threading.Thread(target=self._work, daemon=True)
            self._threads.append(thread)
            thread.start()

    def take(self, *, timeout_s: float | None) -> T | None:
        """Return the outcome of some step; None where none is there within the time.

        Raises:
            BaseException: What the step raised.
        """
        try:
            outcome = self._outcomes.get(timeout=timeout_s)
        except queue.Empty:
            return None
        self._taken += 1
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def _work(self) -> None:
        while (step := self._steps.get()) is not None:
            try:
                self._outcomes.put(step())
            except (Exception, Interrupted) as error:  # noqa: BLE001 - raised again by `take`
                self._outcomes.put(error)
