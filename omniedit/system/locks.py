"""Locks between processes, which the system releases when their holder dies.

Temporary folders are locked as well, so that those of killed processes can be told and removed.
"""

import atexit
import os
import stat
import threading
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from omniedit.errors import LocalError, TargetBusyError
from omniedit.system import THIS_SYSTEM, System, error_reason
from omniedit.system.files import make_private_folder

PAUSE_S: Final = 0.05
"""The time between two attempts to get a lock that another process holds."""
ABANDONED_AFTER_S: Final = 3600.0
"""The age at which an unlocked folder counts as abandoned; a younger one may yet be locked."""

_FOLDER_PREFIX: Final = "omniedit-"
_FOLDER_LOCK: Final = ".lock"
_temporary_folders: Final[dict[Path, int | None]] = {}
"""This process's temporary folders, until they are removed, with the descriptors of their locks."""
_guard: Final = threading.Lock()
"""Held while `_temporary_folders` changes, so that no folder is created once the process is ending."""
_ending: Final = threading.Event()


def open_locked(path: Path, *, system: System = THIS_SYSTEM) -> int | None:
    """Open and lock the file at `path`, creating it if missing; return None if it is busy.

    A lock counts only while its file still has that name: the previous holder may have removed or
    renamed the file after this process opened it. Closing the descriptor drops the lock.
    """
    try:
        while True:
            with ExitStack() as stack:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
                stack.callback(os.close, descriptor)
                if not system.try_lock(descriptor):
                    return None
                with suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(descriptor), path.stat()):
                        stack.pop_all()
                        return descriptor
    except OSError as error:
        msg = f"cannot lock {path}: {error_reason(error)}"
        raise LocalError(msg) from error


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
        timeout_s: When to raise a TargetBusyError; None to wait for as long as it takes.
        system: The operating system; injected by tests.
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


@contextmanager
def private_folder(parent: Path, *, now: Callable[[], float] = time.time) -> Generator[Path]:
    """Provide a temporary private folder, and remove those that killed processes left behind.

    Args:
        parent: The folder to create it in; created if missing.
        now: Returns the Unix time.
    """
    import tempfile  # noqa: PLC0415 - every command loads this module, few create a folder

    try:
        with _guard:
            if _ending.is_set():
                msg = "the process is ending"
                raise LocalError(msg)
            make_private_folder(parent)
            folder = Path(tempfile.mkdtemp(prefix=_FOLDER_PREFIX, dir=parent))
            _temporary_folders[folder] = _locked(folder)
    except OSError as error:
        msg = f"cannot create a folder in {parent}: {error_reason(error)}"
        raise LocalError(msg) from error
    try:
        _remove_abandoned(parent, now())
        yield folder
    finally:
        _remove(folder)


def _locked(folder: Path) -> int | None:
    """Lock a folder; return the lock's descriptor, or None if that is impossible or it is busy."""
    try:
        return open_locked(folder / _FOLDER_LOCK)
    except LocalError:  # not every file system has locks
        return None


def _remove_abandoned(parent: Path, now: float) -> None:
    """Remove the folders of killed processes."""
    for folder in parent.glob(f"{_FOLDER_PREFIX}*"):
        with suppress(OSError):
            found = folder.lstat()
            is_young = now - found.st_mtime < ABANDONED_AFTER_S
            if folder in _temporary_folders or is_young or not stat.S_ISDIR(found.st_mode):
                continue
            lock = _locked(folder)
            if lock is not None:
                os.close(lock)
                _remove_tree(folder)


def _remove(folder: Path) -> None:
    """Remove a temporary folder; repeated at the end of the process if that interrupts it."""
    with _guard:
        lock = _temporary_folders.get(folder)
        _temporary_folders[folder] = None
    if lock is not None:
        # Windows cannot remove an open file.
        os.close(lock)
    # Once the folder is renamed, a thread can no longer add files to it.
    renamed = folder.with_name(f"{folder.name}-left")
    with suppress(OSError):
        folder.rename(renamed)
    for each in (renamed, folder):
        _remove_tree(each)
    with _guard:
        _temporary_folders.pop(folder, None)


def _remove_tree(folder: Path) -> None:
    import shutil  # noqa: PLC0415 - few commands remove a folder

    shutil.rmtree(folder, ignore_errors=True)


@atexit.register
def _remove_all() -> None:
    # When the process ends, worker threads may be in the middle of a block or of a removal.
    with _guard:
        _ending.set()
        folders = list(_temporary_folders)
    for folder in folders:
        _remove(folder)
