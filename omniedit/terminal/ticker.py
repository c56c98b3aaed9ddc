"""A heartbeat in the background, for what must move while nothing is reported."""

import contextlib
import threading
from collections.abc import Callable, Generator
from typing import Final

_PATIENCE_S: Final = 2.0
"""How long the end of a tick is awaited; a terminal stopped by Ctrl-S may never take it."""


@contextlib.contextmanager
def ticking(tick: Callable[[], None], *, interval_s: float) -> Generator[None]:
    """Call `tick` every `interval_s` until the end of the block, never after it."""
    is_over = threading.Event()

    def beat() -> None:
        while not is_over.wait(interval_s):
            tick()

    thread = threading.Thread(target=beat, name="omniedit-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join(_PATIENCE_S)
