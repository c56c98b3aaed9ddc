"""Folders that are nobody else's business."""

import atexit
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from omniedit.errors import LocalError

_held: Final[set[Path]] = set()


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
def private_folder(above: Path) -> Generator[Path]:
    """Hold a private folder below another one for a block; it goes away with all that is in it.

    Raises:
        LocalError: It cannot be made.
    """
    try:
        make_private_folder(above)
        folder = Path(tempfile.mkdtemp(prefix="omniedit-", dir=above))
    except OSError as error:
        msg = f"cannot make a folder in {above}: {error.strerror or error}"
        raise LocalError(msg) from error
    _held.add(folder)
    try:
        yield folder
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    _held.discard(folder)


@atexit.register
def _remove_all() -> None:
    # A thread that a signal found at work does not come to the end of its block. Under another
    # name nothing can be added to what is being removed.
    for folder in list(_held):
        left = folder.with_name(f"{folder.name}-left")
        with suppress(OSError):
            folder.rename(left)
        _remove(left)
        _remove(folder)
