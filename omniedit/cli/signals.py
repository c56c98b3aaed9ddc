"""Signals that end a command: at once, or after a grace while a reply is outstanding."""

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from omniedit.errors import Interrupted

GRACE_S: Final = 5.0
_NAMES: Final = ("SIGINT", "SIGTERM", "SIGHUP")


class Signals:
    """Turns SIGINT, SIGTERM and SIGHUP into `Interrupted`, raised in the main thread.

    Args:
        on_grace: Called when a first signal waits for a reply.
        grace_s: How long it waits at most.
    """

    def __init__(self, on_grace: Callable[[], None], *, grace_s: float = GRACE_S) -> None:
        self._on_grace = on_grace
        self._grace_s = grace_s
        self._shields = 0
        self._in_threads = 0
        self._idle = threading.Condition()
        self._pending: int | None = None

    @contextmanager
    def handled(self) -> Generator[None]:
        """Handle the signals for the length of a block; those ignored from outside stay ignored."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
        # `nohup`, and shells that start a job in the background, ask for that.
        numbers = [n for n in numbers if signal.getsignal(n) is not signal.SIG_IGN]
        before = {number: signal.signal(number, self._handle) for number in numbers}
        if hasattr(signal, "SIGALRM"):
            before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._end_grace)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def shielded(self) -> Generator[None]:
        """Let a first signal wait for the end of the block, for some seconds."""
        if threading.current_thread() is not threading.main_thread():
            # Signals arrive in the main thread, which waits for the others with `drain`.
            with self._counted():
                yield
            return
        self._shields += 1
        try:
            yield
        finally:
            self._shields -= 1
            if self._shields == 0 and self._pending is not None:
                self._stop_clock()
                number, self._pending = self._pending, None
                # It replaces whatever the block raised: the command is to end.
                raise Interrupted(number)

    def drain(self) -> None:
        """Wait until no other thread is shielded, as long as the grace lasts."""
        with self._idle:
            self._idle.wait_for(lambda: self._in_threads == 0, timeout=self._grace_s)

    @contextmanager
    def _counted(self) -> Generator[None]:
        with self._idle:
            self._in_threads += 1
        try:
            yield
        finally:
            with self._idle:
                self._in_threads -= 1
                self._idle.notify_all()

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self._shields == 0 or self._pending is not None:
            self._pending = None
            self._stop_clock()
            raise Interrupted(number)
        self._pending = number
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, self._grace_s)
        self._on_grace()

    def _end_grace(self, _number: int, _frame: FrameType | None) -> None:
        if self._pending is not None:
            number, self._pending = self._pending, None
            raise Interrupted(number)

    def _stop_clock(self) -> None:
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
