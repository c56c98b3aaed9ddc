"""Record a command line's effects outside its process, or kill it at any of them."""

import os
import signal
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

_EFFECTS: Final = frozenset(
    {"open", "write", "fsync", "ftruncate", "mkdir", "link", "rename", "replace", "unlink", "flock"}
)


@contextmanager
def recorded() -> Generator[list[str]]:
    """Yield a list that collects the names of this thread's effects during the block."""
    names: list[str] = []
    sys.setprofile(_on_effects("c_call", names.append))
    try:
        yield names
    finally:
        sys.setprofile(None)


def die_before(step: int) -> None:
    """Kill this process right before its n-th effect."""
    steps = 0

    def count(_: str) -> None:
        nonlocal steps
        steps += 1
        if steps == step:
            _die()

    sys.setprofile(_on_effects("c_call", count))


def die_after(name: str) -> None:
    """Kill this process right after its first effect of this name."""

    def on_event(done: str) -> None:
        if done == name:
            _die()

    sys.setprofile(_on_effects("c_return", on_event))


def _on_effects(
    event: str, callback: Callable[[str], object]
) -> Callable[[FrameType, str, Any], object]:
    def on_event(_frame: FrameType, happened: str, called: Any) -> None:
        if happened == event and _is_effect(called):
            callback(called.__name__)

    return on_event


def _is_effect(called: Any) -> bool:
    """Return whether a built-in function has an effect on files, locks or sockets."""
    owner = getattr(called, "__self__", None)
    name: str = called.__name__
    match type(owner).__name__:
        case "Connection":
            return name == "execute"
        case "socket":
            return name in {"connect", "sendall", "recv", "close"}
        case "module":
            return name in _EFFECTS
        case _:
            return False


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
