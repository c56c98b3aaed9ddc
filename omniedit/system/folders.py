"""Folders that are nobody else's business."""

import atexit
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from omniedit.errors import LocalError
from omniedit.system.locks import open_locked

ABANDONED_AFTER_S: Final = 3600.0
"""A folder that nobody holds may be about to be held; not for so long."""

_PREFIX: Final = "omniedit-"
_LOCK: Final = ".lock"
_held: Final[dict[Path, int | None]] = {}
"""The folders of this process, each with the descriptor of its lock."""


def make_private_folder(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for this user alone.

    `Path.mkdir` gives its mode to the last one only.

    Raises:
        OSError: One cannot be made.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)


@contextmanager
def private_folder(above: Path, *, now: Callable[[], float] = time.time) -> Generator[Path]:
    """Hold a private folder below another one for a block; it goes away with all that is in it.

    So do those that were left by processes that were killed.

    Args:
        above: Made where it is missing.
        now: Unix time.

    Raises:
        LocalError: It cannot be made.
    """
    try:
        make_private_folder(above)
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=above))
    except OSError as error:
        msg = f"cannot make a folder in {above}: {error.strerror or error}"
        raise LocalError(msg) from error
    _held[folder] = _locked(folder)
    try:
        _remove_abandoned(above, now())
        yield folder
    finally:
        _remove(folder)


def _locked(folder: Path) -> int | None:
    """Lock a folder; return the lock's descriptor, None where that is impossible or busy."""
    try:
        return open_locked(folder / _LOCK)
    except LocalError:  # not every file system has locks
        return None


def _remove_abandoned(above: Path, now: float) -> None:
    """Remove the folders whose process was killed."""
    for folder in above.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            found = folder.lstat()
            is_young = now - found.st_mtime < ABANDONED_AFTER_S
            if folder in _held or is_young or not stat.S_ISDIR(found.st_mode):
                continue
            lock = _locked(folder)
            if lock is not None:
                os.close(lock)
                shutil.rmtree(folder, ignore_errors=True)


def _remove(folder: Path) -> None:
    lock = _held.pop(folder, None)
    if lock is not None:
        # Not every system removes what is open.
        os.close(lock)
    shutil.rmtree(folder, ignore_errors=True)


@atexit.register
def _remove_all() -> None:
    # A thread that a signal found at work does not come to the end of its block. Under another
    # name nothing can be added to what is being removed.
    for folder in list(_held):
        lock = _held.pop(folder)
        if lock is not None:
            os.close(lock)
        left = folder.with_name(f"{folder.name}-left")
        with suppress(OSError):
            folder.rename(left)
        for each in (left, folder):
            shutil.rmtree(each, ignore_errors=True)
