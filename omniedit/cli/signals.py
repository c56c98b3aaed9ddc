"""Signals that end a command: at once, or after a grace while a reply is outstanding."""

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from types import FrameType
from typing import TYPE_CHECKING, Final

from omniedit.errors import Interrupted
from omniedit.policy import DEFAULT
from omniedit.system import THIS_SYSTEM, System

if TYPE_CHECKING:
    from socket import socket

PATIENCE_S: Final = 2.0
"""How long the main thread may take to notice a signal, where signals end no system call."""


class Signals:
    """Turns SIGINT, SIGTERM and SIGHUP into `Interrupted`, raised in the main thread.

    Args:
        on_grace: Called when a first signal waits for a reply.
        grace_s: How long it waits at most.
        patience_s: How long the main thread may take to notice a signal, before `on_overdue`.
        system: The operating system; injected by tests.
    """

    def __init__(
        self,
        on_grace: Callable[[], None],
        *,
        grace_s: float = DEFAULT.grace_s,
        patience_s: float = PATIENCE_S,
        system: System = THIS_SYSTEM,
    ) -> None:
        self._on_grace = on_grace
        self._grace_s = grace_s
        self._patience_s = patience_s
        self._system = system
        self._shields = 0
        self._in_threads = 0
        self._idle = threading.Condition()
        self._pending: int | None = None
        self._is_noticed = threading.Event()

    @contextmanager
    def handled(
        self, *, on_overdue: Callable[[Interrupted], None] = lambda _: None
    ) -> Generator[None]:
        """Handle the signals within a block; those that the caller ignores stay ignored.

        Args:
            on_overdue: Called in another thread if the main thread does not notice a signal.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        # As `nohup` does, and shells that start a job in the background.
        numbers = [
            number
            for number in self._system.ending_signals
            if signal.getsignal(number) is not signal.SIG_IGN
        ]
        before = {number: signal.signal(number, self._handle) for number in numbers}
        clock = self._system.alarm_clock
        if clock is not None:
            before[clock.signal_number] = signal.signal(clock.signal_number, self._end_grace)
        try:
            with nullcontext() if clock else self._watched(on_overdue):
                yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def shielded(self) -> Generator[None]:
        """Hold back a first signal until the end of the block, for a few seconds at most."""
        if threading.current_thread() is not threading.main_thread():
            # Signals arrive in the main thread, which waits for other threads in `drain`.
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
                # It takes precedence over whatever the block raised.
                raise self._noticed(number)

    def drain(self) -> None:
        """Wait until no other thread is shielded, for the grace period at most."""
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

    @contextmanager
    def _watched(self, on_overdue: Callable[[Interrupted], None]) -> Generator[None]:
        """Let another thread end the process, where the main thread may be stuck in a system call."""
        import socket

        reader, writer = socket.socketpair()
        writer.settimeout(0)
        before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        watcher = threading.Thread(target=self._watch, args=[reader, on_overdue], daemon=True)
        watcher.start()
        try:
            yield
        finally:
            self._is_noticed.set()
            signal.set_wakeup_fd(before)
            writer.close()
            watcher.join()
            reader.close()

    def _watch(self, reader: "socket", on_overdue: Callable[[Interrupted], None]) -> None:
        """Read the numbers of signals, which arrive here whatever the main thread is doing."""
        while came := reader.recv(1):
            if self._shields:
                reader.settimeout(self._grace_s)
                try:
                    if not reader.recv(1):
                        return
                except TimeoutError:
                    self._end_shield(came[0])
                reader.settimeout(None)
            if not self._is_noticed.wait(self._patience_s):
                on_overdue(Interrupted(came[0]))

    def _end_shield(self, number: int) -> None:
        if not self._is_noticed.is_set():
            # Act as if it had arrived a second time.
            signal.raise_signal(number)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self._shields == 0 or self._pending is not None:
            self._pending = None
            self._stop_clock()
            raise self._noticed(number)
        self._pending = number
        if self._system.alarm_clock is not None:
            self._system.alarm_clock.set(self._grace_s)
        self._on_grace()

    def _end_grace(self, _number: int, _frame: FrameType | None) -> None:
        if self._pending is not None:
            number, self._pending = self._pending, None
            raise self._noticed(number)

    def _stop_clock(self) -> None:
        if self._system.alarm_clock is not None:
            self._system.alarm_clock.set(0)

    def _noticed(self, number: int) -> Interrupted:
        self._is_noticed.set()
        return Interrupted(number)
