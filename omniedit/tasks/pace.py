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

    def wait(self) -> None:
        """Rest until it is the caller's turn."""
        with self._lock:
            now = self._monotonic()
            turn_at = max(now, self._open_at)
            self._open_at = turn_at + self._interval_s
        if turn_at > now:
            self._sleep(turn_at - now)

    def slow_down(self, rest_s: float) -> None:
        """Let nobody go for `rest_s` seconds, and then more slowly than before."""
        with self._lock:
            self._open_at = max(self._open_at, self._monotonic() + rest_s)
            doubled_s = max(SHORTEST_INTERVAL_S, 2 * self._interval_s)
            self._interval_s = min(LONGEST_INTERVAL_S, doubled_s)

    def speed_up(self) -> None:
        """Go a little faster again."""
        with self._lock:
            slower_s = self._interval_s * 0.8
            self._interval_s = slower_s if slower_s >= SHORTEST_INTERVAL_S / 2 else 0.0
