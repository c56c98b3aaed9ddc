"""Private folders, accessible to this user alone; temporary ones are removed after use."""

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
from omniedit.system import error_reason
from omniedit.system.locks import open_locked

ABANDONED_AFTER_S: Final = 3600.0
"""The age at which an unlocked folder counts as abandoned; a younger one may yet be locked."""

_PREFIX: Final = "omniedit-"
_LOCK: Final = ".lock"
_temporary_folders: Final[dict[Path, int | None]] = {}
"""This process's temporary folders, until they are removed, with the descriptors of their locks."""
_guard: Final = threading.Lock()
"""Held while `_temporary_folders` changes, so that no folder is created once the process is ending."""
_ending: Final = threading.Event()


def make_private_folder(folder: Path) -> None:
    """Create a folder and its missing parents, accessible to this user alone.

    They are created one by one, because `Path.mkdir` applies its mode only to the last.

    Raises:
        LocalError: If one of them is a dangling link.
        OSError: If one of them cannot be created.
    """
    for path in reversed((folder, *folder.parents)):
        if not path.exists():
            refuse_dangling_link(path)
            path.mkdir(mode=0o700, exist_ok=True)


def refuse_dangling_link(path: Path) -> None:
    """Refuse a dangling link: someone else may create a file of any mode at its target.

    Raises:
        LocalError: If `path` is a dangling link.
    """
    if path.is_symlink() and not path.exists():
        msg = f"{path} links to {path.readlink()}, which does not exist"
        raise LocalError(msg)


@contextmanager
def private_folder(parent: Path, *, now: Callable[[], float] = time.time) -> Generator[Path]:
    """Provide a temporary private folder, and remove those that killed processes left behind.

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
                msg = "the process is ending"
                raise LocalError(msg)
            make_private_folder(parent)
            folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
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
        return open_locked(folder / _LOCK)
    except LocalError:  # not every file system has locks
        return None


def _remove_abandoned(parent: Path, now: float) -> None:
    """Remove the folders of killed processes."""
    for folder in parent.glob(f"{_PREFIX}*"):
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
    _unlock(folder)
    _remove_tree(folder)
    with _guard:
        _temporary_folders.pop(folder, None)


def _unlock(folder: Path) -> None:
    with _guard:
        lock, _temporary_folders[folder] = _temporary_folders.get(folder), None
    if lock is not None:
        # Windows cannot remove an open file.
        os.close(lock)


def _remove_tree(folder: Path) -> None:
    import shutil  # noqa: PLC0415 - as above

    shutil.rmtree(folder, ignore_errors=True)


@atexit.register
def _remove_all() -> None:
    # When the process ends, worker threads may be in the middle of a block or of a removal.
    with _guard:
        _ending.set()
        folders = list(_temporary_folders)
    for folder in folders:
        _unlock(folder)
        # Once the folder is renamed, a thread can no longer add files to it.
        renamed = folder.with_name(f"{folder.name}-left")
        with suppress(OSError):
            folder.rename(renamed)
        for each in (renamed, folder):
            _remove_tree(each)
