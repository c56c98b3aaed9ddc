"""Signals that end a command: at once, or after a grace period while a reply is outstanding."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from types import FrameType
from typing import Any, Final

from omniedit.errors import Interrupted
from omniedit.policy import DEFAULT, Policy
from omniedit.system import THIS_SYSTEM, System

_TICK_S: Final = 0.05


class Signals:
    """Turns SIGINT, SIGTERM and SIGHUP into `Interrupted`, raised in the main thread.

    A watcher thread makes sure that no signal is lost: one that arrives just before a system call
    does not interrupt the call, on Windows none ever does, and Python ignores exceptions that are
    raised while it destroys an object.

    Args:
        on_grace: Called when a first signal is held back to wait for a reply.
        policy: The longest time that a signal is held back, and how long the main thread may take
            to notice it before `on_overdue`.
        system: The operating system; injected by tests.
    """

    def __init__(
        self,
        on_grace: Callable[[], None],
        *,
        policy: Policy = DEFAULT,
        system: System = THIS_SYSTEM,
    ) -> None:
        self._on_grace = on_grace
        self._grace_s = policy.grace_s
        self._patience_s = policy.signal_patience_s
        self._system = system
        self._on_overdue: Callable[[Interrupted], None] = lambda _: None
        self._on_suspend: Callable[[Callable[[], object]], None] | None = None
        self._numbers: set[int] = set()
        self._shields = 0
        self._in_threads = 0
        self._idle = threading.Condition()
        self._pending: int | None = None
        self._ignored: int | None = None
        self._is_grace_over = False
        self._is_over = False
        # Plain booleans: a handler must not take a lock, because another signal may interrupt it.
        self._is_noticed = False
        self._is_overdue = False

    @contextmanager
    def handled(
        self,
        *,
        on_overdue: Callable[[Interrupted], None] = lambda _: None,
        on_suspend: Callable[[Callable[[], object]], None] | None = None,
    ) -> Generator[None]:
        """Handle the signals within a block; those ignored at start-up stay ignored.

        Args:
            on_overdue: Called in another thread if the main thread does not notice a signal.
            on_suspend: Called in another thread on Ctrl-Z, with a function that suspends the
                process; None leaves Ctrl-Z to the system.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._on_overdue = on_overdue
        self._on_suspend = on_suspend
        endings = self._system.ending_signals
        waking = self._system.waking
        # `nohup`, and shells that start a job in the background, have them ignored.
        self._numbers = {each for each in endings if signal.getsignal(each) is not signal.SIG_IGN}
        with ExitStack() as restoring:

            def install(number: int, handler: Callable[[int, FrameType | None], None]) -> None:
                restoring.callback(signal.signal, number, signal.signal(number, handler))

            for number in self._numbers:
                install(number, self._handle)
            if waking is not None:
                install(waking.signal_number, self._notice_late)
                restoring.enter_context(waking.unblock())
            with self._watched() as is_watched:
                stopping = self._system.stopping if on_suspend and is_watched else None
                if stopping and signal.getsignal(stopping.signal_number) is signal.SIG_DFL:
                    # The watcher acts on it: this thread may hold the lock of the progress display.
                    install(stopping.signal_number, lambda _number, _frame: None)
                yield

    @contextmanager
    def shielded(self) -> Generator[None]:
        """Hold back a first signal until the end of the block, for a few seconds at most."""
        if threading.current_thread() is not threading.main_thread():
            # Signals arrive in the main thread, which waits for other threads in `drain`.
            with self._idle:
                self._in_threads += 1
            try:
                yield
            finally:
                with self._idle:
                    self._in_threads -= 1
                    self._idle.notify_all()
            return
        self._shields += 1
        try:
            yield
        finally:
            self._shields -= 1
            if self._shields == 0 and self._pending is not None:
                # The signal takes precedence over any exception from the block.
                raise self._accept(self._pending)

    def drain(self) -> None:
        """Wait until no other thread is shielded, for the grace period at most."""
        with self._idle:
            if self._in_threads:
                self._on_grace()
            self._idle.wait_for(lambda: self._in_threads == 0, timeout=self._grace_s)

    @contextmanager
    def _watched(self) -> Generator[bool]:
        """Start a thread that makes the main thread notice these signals.

        Yields whether the thread could be started.
        """
        try:
            reader, writer = os.pipe()
        except OSError:
            # Out of file descriptors: a command that needs one will report it.
            yield False
            return
        # Missing on Windows before Python 3.12, where a blocking pipe is accepted.
        set_blocking: Any = getattr(os, "set_blocking", None)
        if set_blocking is not None:
            set_blocking(writer, False)
        before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        main_thread = threading.get_ident()
        watcher = threading.Thread(target=self._watch, args=[reader, main_thread], daemon=True)
        with suppress(RuntimeError):  # no thread can be started
            watcher.start()
        hook = sys.unraisablehook
        sys.unraisablehook = partial(self._redeliver, hook, writer)
        try:
            yield watcher.ident is not None
        finally:
            self._is_over = self._is_noticed = True
            sys.unraisablehook = hook
            signal.set_wakeup_fd(before)
            os.close(writer)
            if watcher.ident is not None:
                watcher.join()
            os.close(reader)

    def _redeliver(
        self,
        hook: Callable[["sys.UnraisableHookArgs"], object],
        writer: int,
        ignored: "sys.UnraisableHookArgs",
    ) -> None:
        """Redeliver a signal whose exception Python ignored, and pass on any other exception."""
        if not isinstance(ignored.exc_value, Interrupted):
            hook(ignored)
            return
        self._ignored = ignored.exc_value.signal_number
        self._is_noticed = False
        os.write(writer, bytes([self._ignored]))

    def _watch(self, reader: int, main_thread: int) -> None:
        """Read signal numbers, which arrive whatever the main thread does, and wake that thread."""
        stopping = self._system.stopping
        while received := os.read(reader, 1):
            if stopping and self._on_suspend and received[0] == stopping.signal_number:
                self._on_suspend(stopping.stop)
            waited_s = 0.0
            # Counted, not timed: the process may be suspended meanwhile.
            while received[0] in self._numbers and not self._is_noticed_soon():
                waited_s += _TICK_S
                allowed_s = self._grace_s if self._shields else 0.0
                if waited_s > allowed_s + self._patience_s:
                    self._is_overdue = True
                    self._on_overdue(Interrupted(received[0]))
                    return
                self._is_grace_over = waited_s >= allowed_s
                self._wake(main_thread, received[0])

    def _is_noticed_soon(self) -> bool:
        if not self._is_noticed:
            time.sleep(_TICK_S)
        return self._is_noticed

    def _wake(self, main_thread: int, number: int) -> None:
        if self._system.waking is not None:
            self._system.waking.send(main_thread)
        elif self._is_grace_over:
            # Act as if it had arrived a second time.
            signal.raise_signal(number)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self._is_over:
            # The outcome of the command is decided, and has been printed.
            return
        if self._shields == 0 or self._pending is not None:
            raise self._accept(number)
        self._pending = number
        self._on_grace()

    def _notice_late(self, _number: int, _frame: FrameType | None) -> None:
        if self._ignored is not None:
            number = self._ignored
            self._ignored = None
            self._handle(number, None)
        elif self._is_grace_over and self._pending is not None:
            raise self._accept(self._pending)

    def _accept(self, number: int) -> Interrupted:
        """Tell the watcher that this signal was noticed, and return the exception to raise.

        Never return once another thread is ending the process.
        """
        self._is_noticed = True
        self._pending = None
        while self._is_overdue:
            time.sleep(_TICK_S)
        return Interrupted(number)
