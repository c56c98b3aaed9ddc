"""Stand-ins for each operating system, to be used on any other."""

import errno
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from omniedit.system import BOOT_ID_FILE, THIS_SYSTEM, MacOS, Stopping, System
from omniedit.system.windows import Windows

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
    return System(
        lock=lock,
        uptime=uptime,
        user_id=lambda: user,
        name_limit=name_limit,
        ending_signals=(),
        waking=None,
        stopping=stopping,
        is_private_group=is_private_group,
        boot_id_file=boot_id_file,
    )


def macos(sync: Callable[[int], object] = os.fsync) -> MacOS:
    """Return a macOS system."""
    return MacOS(
        lock=lambda _: None,
        uptime=lambda: 0.0,
        user_id=lambda: 501,
        name_limit=lambda _: 255,
        ending_signals=(),
        waking=None,
        sync=sync,
    )


def windows(
    *,
    sleep: Callable[[float], object] = lambda _: None,
    enables_escapes: bool = True,
    has_long_paths: bool = True,
    move: Callable[[Path, Path], object] | None = None,
) -> Windows:
    """Return a Windows system, on which open files can be neither renamed nor removed."""
    return Windows(
        lock=_lock,
        uptime=time.monotonic,
        user_id=lambda: "Jane",
        ending_signals=(signal.SIGINT, signal.SIGTERM),
        enable_escapes=lambda _: enables_escapes,
        has_long_paths=lambda: has_long_paths,
        move=move or _move,
        unlink=_unlink,
        sleep=sleep,
    )


def _lock(descriptor: int) -> None:
    if not THIS_SYSTEM.try_lock(descriptor):
        raise PermissionError(errno.EACCES, "locked")


def _move(source: Path, target: Path) -> None:
    _refuse_open(source)
    _refuse_open(target)
    source.replace(target)


def _unlink(path: Path) -> None:
    _refuse_open(path)
    path.unlink()


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
