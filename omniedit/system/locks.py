"""Locks between processes; the system releases them when their holder dies."""

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from omniedit.errors import LocalError, TargetBusyError
from omniedit.system import THIS_SYSTEM, System, error_reason

PAUSE_S: Final = 0.05
"""The time between two attempts to get a lock that another process holds."""


def open_locked(path: Path, *, system: System = THIS_SYSTEM) -> int | None:
    """Open and lock the file at `path`, creating it if missing; return None if it is busy.

    A lock counts only while its file still has that name: the previous holder may have removed or
    renamed the file after this process opened it.

    Returns:
        The file's descriptor; closing it drops the lock.

    Raises:
        LocalError: If the file cannot be created or locked.
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
    system: System = THIS_SYSTEM,
) -> Generator[None]:
    """Hold the lock named by `path` for a block, after waiting for others; then remove its file.

    Args:
        path: A file with no other use.
        sleep: Sleeps between two attempts.
        timeout_s: How long to try; None for as long as it takes.
        system: The operating system; injected by tests.

    Raises:
        TargetBusyError: If another process holds it until then.
        LocalError: If the file cannot be created or locked.
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


def release(path: Path, descriptor: int, *, system: System = THIS_SYSTEM) -> None:
    """Drop a lock and remove its file."""
    if not system.moves_open_files:
        os.close(descriptor)
    # A leftover file does no harm: nobody holds its lock.
    with suppress(OSError):
        system.remove(path)
    if system.moves_open_files:
        # Close the file only now: its lock keeps the next holder's file from being removed above.
        os.close(descriptor)


def is_held(path: Path) -> bool:
    """Return whether a living process holds the lock named by `path`."""
    if not os.path.lexists(path):
        return False
    try:
        descriptor = open_locked(path)
    except LocalError:
        return False
    if descriptor is None:
        return True
    release(path, descriptor)
    return False


def _lock_error(path: Path, error: OSError) -> LocalError:
    return LocalError(f"cannot lock {path}: {error_reason(error)}")
