"""Stand-ins for each operating system, to be used on any other."""

import errno
import os
import signal
from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Final

from omniedit.system import BOOT_ID_FILE, THIS_SYSTEM, MacOS, Stopping, System, Windows

_DESCRIPTORS: Final = range(1024)


def linux(
    *,
    lock: Callable[[int], object] = lambda _: None,
    name_limit: Callable[[Path], int] = lambda _: 255,
    uptime: Callable[[], float] = lambda: 0.0,
    boot_id_file: Path = BOOT_ID_FILE,
    user: int = 1000,
    is_private_group: Callable[[int], bool] = lambda _: False,
    stopping: Stopping | None = None,
) -> System:
    """Return a Linux system."""
    system = System()
    system.lock = lock
    system.name_limit = name_limit
    system.uptime = uptime
    system.user_id = lambda: user
    system.is_private_group = is_private_group
    system.boot_id_file = boot_id_file
    system.stopping = stopping
    return system


def macos(sync: Callable[[int], object] = os.fsync) -> MacOS:
    """Return a macOS system."""
    system = MacOS()
    system.lock = lambda _: None
    system.sync = sync
    system.name_limit = lambda _: 255
    return system


def windows(
    *,
    sleep: Callable[[float], object] = lambda _: None,
    enables_escapes: bool = True,
    has_long_paths: bool = True,
    move: Callable[[Path, Path], object] | None = None,
) -> Windows:
    """Return a Windows system, on which open files can be neither renamed nor removed."""
    system = _Windows()
    system.ending_signals = (signal.SIGINT, signal.SIGTERM)
    system.user_id = lambda: "Jane"
    system.lock = _lock
    system.enable_escapes = lambda _: enables_escapes
    system.has_long_paths = lambda: has_long_paths
    system.move = move or _move
    system.sleep = sleep
    return system


def with_link(system: System, link: Callable[[Path, Path], object]) -> System:
    """Return a copy of a system that creates hard links in another way."""
    system = copy(system)
    system.link = link
    return system


class _Windows(Windows):
    def remove(self, path: Path) -> None:
        _refuse_open(path)
        super().remove(path)


def _lock(descriptor: int) -> None:
    if not THIS_SYSTEM.try_lock(descriptor):
        raise PermissionError(errno.EACCES, "locked")


def _move(source: Path, target: Path) -> None:
    _refuse_open(source)
    _refuse_open(target)
    source.replace(target)


def _refuse_open(path: Path) -> None:
    """Fail if this process has the file open."""
    if not os.path.lexists(path):
        return
    found = path.lstat()
    for descriptor in _DESCRIPTORS:
        try:
            is_open = os.path.samestat(os.fstat(descriptor), found)
        except OSError:
            continue
        if is_open:
            raise PermissionError(errno.EACCES, f"{path.name} is open")
