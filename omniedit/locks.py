"""Locks between processes, which the operating system drops when their holder dies.

The one place that knows `fcntl` (POSIX) and `msvcrt` (Windows).
"""

import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from omniedit.errors import LocalError, TargetBusyError

PAUSE_S: Final = 0.05
"""Between two looks at a lock that another process holds."""

if sys.platform == "win32":
    import msvcrt

    _LOCKED_OFFSET: Final = 0x7FFF_FFFF  # far beyond the content, which others may read

    def try_lock(descriptor: int) -> bool:
        """Lock an open file for this process alone; return whether it was free."""
        position = os.lseek(descriptor, 0, os.SEEK_CUR)
        os.lseek(descriptor, _LOCKED_OFFSET, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            os.lseek(descriptor, position, os.SEEK_SET)
        return True

else:
    import fcntl

    def try_lock(descriptor: int) -> bool:
        """Lock an open file for this process alone; return whether it was free."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def open_locked(path: Path) -> int | None:
    """Open and lock the file at `path`, made where missing; return its descriptor, None if busy.

    The lock counts only while the descriptor's file still has that name: its last holder may
    have removed or renamed it between our opening and our locking.

    Raises:
        LocalError: The file cannot be made or locked.
    """
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        except OSError as error:
            raise _lock_error(path, error) from error
        try:
            is_locked = try_lock(descriptor)
            if is_locked and os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except FileNotFoundError:
            is_locked = True
        except OSError as error:
            os.close(descriptor)
            raise _lock_error(path, error) from error
        os.close(descriptor)
        if not is_locked:
            return None


@contextmanager
def hold(
    path: Path, *, sleep: Callable[[float], object], timeout_s: float | None = None
) -> Generator[None]:
    """Hold the lock named by `path` for the length of a block; its file goes away afterwards.

    Args:
        path: A file of no other use.
        sleep: How to rest between two tries.
        timeout_s: How long to try; None for as long as it takes.

    Raises:
        TargetBusyError: Another process held it all that time.
        LocalError: The file cannot be made or locked.
    """
    waited_s = 0.0
    while (descriptor := open_locked(path)) is None:
        if timeout_s is not None and waited_s >= timeout_s:
            msg = f"another omniedit holds {path.name}"
            raise TargetBusyError(msg)
        sleep(PAUSE_S)
        waited_s += PAUSE_S
    try:
        yield
    finally:
        release(path, descriptor)


def release(path: Path, descriptor: int) -> None:
    """Remove a lock's file and drop the lock."""
    if sys.platform == "win32":
        # An open file cannot be removed there.
        os.close(descriptor)
        _remove(path)
    else:
        # Removed while locked, so that nobody else's lock file is meant.
        _remove(path)
        os.close(descriptor)


def is_held(path: Path) -> bool:
    """Return whether a living process holds the lock named by `path`."""
    if not path.exists():
        return False
    try:
        descriptor = open_locked(path)
    except LocalError:
        return False
    if descriptor is None:
        return True
    release(path, descriptor)
    return False


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        # A lock file left over does no harm: the lock itself is gone.
        return


def _lock_error(path: Path, error: OSError) -> LocalError:
    return LocalError(f"cannot lock {path}: {error.strerror or error}")
