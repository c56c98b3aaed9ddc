"""Private folders: readable by this user alone, temporary ones removed after use."""

import atexit
import os
import stat
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from omniedit.errors import LocalError
from omniedit.system.locks import open_locked

ABANDONED_AFTER_S: Final = 3600.0
"""The age at which an unlocked folder counts as abandoned; a younger one may be about to be locked."""

_PREFIX: Final = "omniedit-"
_LOCK: Final = ".lock"
_held: Final[dict[Path, int | None]] = {}
"""This process's temporary folders, each with the descriptor of its lock, until they are gone."""
_guard: Final = threading.Lock()
"""Held while `_held` changes, so that no folder is made once the process has begun to end."""
_ending: Final = threading.Event()


def make_private_folder(folder: Path) -> None:
    """Create a folder and its missing parents, for this user alone.

    `Path.mkdir` applies its mode to the last one only.

    Raises:
        OSError: If one cannot be created.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)


@contextmanager
def private_folder(parent: Path, *, now: Callable[[], float] = time.time) -> Generator[Path]:
    """Provide a temporary private folder, and remove those that killed processes left.

    Args:
        parent: The folder to create it in; created if missing.
        now: Returns the Unix time.

    Raises:
        LocalError: If it cannot be created.
    """
    import tempfile  # noqa: PLC0415 - every command loads this module, few create a folder

    try:
        with _guard:
            if _ending.is_set():
                msg = "the process is about to end"
                raise LocalError(msg)
            make_private_folder(parent)
            folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
            _held[folder] = _locked(folder)
    except OSError as error:
        msg = f"cannot create a folder in {parent}: {error.strerror or error}"
        raise LocalError(msg) from error
    try:
        _remove_abandoned(parent, now())
        yield folder
    finally:
        _remove(folder)


def _locked(folder: Path) -> int | None:
    """Lock a folder; return the lock's descriptor, or None if that is impossible or it is busy."""
    try:
        return open_locked(folder / _LOCK)
    except LocalError:  # not every file system has locks
        return None


def _remove_abandoned(parent: Path, now: float) -> None:
    """Remove the folders of killed processes."""
    for folder in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            found = folder.lstat()
            is_young = now - found.st_mtime < ABANDONED_AFTER_S
            if folder in _held or is_young or not stat.S_ISDIR(found.st_mode):
                continue
            lock = _locked(folder)
            if lock is not None:
                os.close(lock)
                _remove_tree(folder)


def _remove(folder: Path) -> None:
    _unlock(folder)
    _remove_tree(folder)
    with _guard:
        _held.pop(folder, None)


def _unlock(folder: Path) -> None:
    with _guard:
        lock, _held[folder] = _held.get(folder), None
    if lock is not None:
        # Windows removes no open file.
        os.close(lock)


def _remove_tree(folder: Path) -> None:
    import shutil  # noqa: PLC0415 - as above

    shutil.rmtree(folder, ignore_errors=True)


@atexit.register
def _remove_all() -> None:
    # A worker thread may not reach the end of its block, nor of a removal, when the process ends.
    with _guard:
        _ending.set()
        folders = list(_held)
    for folder in folders:
        _unlock(folder)
        # Once the folder is renamed, the thread cannot add files to it any more.
        renamed = folder.with_name(f"{folder.name}-left")
        with suppress(OSError):
            folder.rename(renamed)
        for each in (renamed, folder):
            _remove_tree(each)
