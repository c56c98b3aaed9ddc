"""Locks between processes, which the operating system drops when their holder dies."""

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from omniedit.errors import LocalError, TargetBusyError
from omniedit.system import HERE, System

PAUSE_S: Final = 0.05
"""Between two looks at a lock that another process holds."""


def open_locked(path: Path, *, system: System = HERE) -> int | None:
    """Open and lock the file at `path`, made where missing; return its descriptor, None if busy.

    The lock counts only while the descriptor's file still has that name: its last holder may
    have removed or renamed it between our opening and our locking.

    Raises:
        LocalError: The file cannot be made or locked.
    """
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise _lock_error(path, error) from error
        try:
            is_locked = system.try_lock(descriptor)
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
    path: Path,
    *,
    sleep: Callable[[float], object],
    timeout_s: float | None = None,
    system: System = HERE,
) -> Generator[None]:
    """Hold the lock named by `path` for the length of a block; its file goes away afterwards.

    Args:
        path: A file of no other use.
        sleep: How to rest between two tries.
        timeout_s: How long to try; None for as long as it takes.
        system: This one.

    Raises:
        TargetBusyError: Another process held it all that time.
        LocalError: The file cannot be made or locked.
    """
    waited_s = 0.0
    while (descriptor := open_locked(path, system=system)) is None:
        if timeout_s is not None and waited_s >= timeout_s:
            msg = f"another omniedit holds {path.name}"
            raise TargetBusyError(msg)
        sleep(PAUSE_S)
        waited_s += PAUSE_S
    try:
        yield
    finally:
        release(path, descriptor, system=system)


def release(path: Path, descriptor: int, *, system: System = HERE) -> None:
    """Remove a lock's file and drop the lock."""
    if system.moves_open_files:
        # Removed while locked, so that nobody else's lock file is meant.
        _remove(path, system)
        os.close(descriptor)
    else:
        os.close(descriptor)
        _remove(path, system)


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


def _remove(path: Path, system: System) -> None:
    try:
        system.remove(path)
    except OSError:
        # A lock file left over does no harm: the lock itself is gone.
        return


def _lock_error(path: Path, error: OSError) -> LocalError:
    return LocalError(f"cannot lock {path}: {error.strerror or error}")
