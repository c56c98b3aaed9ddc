"""How fast submissions go out: one pace for all that share it."""

import threading
from collections.abc import Callable
from typing import Final

SHORTEST_INTERVAL_S: Final = 0.5
LONGEST_INTERVAL_S: Final = 10.0


class Pace:
    """A pause that a rate limit asks for holds for everybody, and afterwards they go in single file.

    Args:
        monotonic: Seconds that never jump.
        sleep: How to rest.
    """

    def __init__(self, monotonic: Callable[[], float], sleep: Callable[[float], object]) -> None:
        self._monotonic = monotonic
        self._sleep = sleep
        self._lock = threading.Lock()
        self._open_at = 0.0
        self._interval_s = 0.0
        self._paused_until = 0.0
        self._pauses = 0
        self._resting = 0

    @property
    def resting(self) -> int:
        """How many callers wait for their turn."""
        return self._resting

    def wait(self) -> None:
        """Rest until it is the caller's turn."""
        while True:
            with self._lock:
                now = self._monotonic()
                pauses = self._pauses
                turn_at = max(now, self._open_at)
                self._open_at = turn_at + self._interval_s
            if turn_at > now:
                self._rest(turn_at - now)
            # A pause that began meanwhile voids every turn.
            if pauses == self._pauses:
                return

    def slow_down(self, rest_s: float) -> None:
        """Let nobody go for `rest_s` seconds, and then more slowly than before."""
        with self._lock:
            now = self._monotonic()
            if now >= self._paused_until:
                # The other replies to what was sent before a pause tell nothing new.
                doubled_s = max(SHORTEST_INTERVAL_S, 2 * self._interval_s)
                self._interval_s = min(LONGEST_INTERVAL_S, doubled_s)
            self._paused_until = max(self._paused_until, now + rest_s)
            self._open_at = self._paused_until
            self._pauses += 1

    def speed_up(self) -> None:
        """Go a little faster again."""
        with self._lock:
            slower_s = self._interval_s * 0.8
            self._interval_s = slower_s if slower_s >= SHORTEST_INTERVAL_S / 2 else 0.0

    def _rest(self, rest_s: float) -> None:
        with self._lock:
            self._resting += 1
        try:
            self._sleep(rest_s)
        finally:
            with self._lock:
                self._resting -= 1
