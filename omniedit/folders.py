"""Folders that are nobody else's business."""

import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from omniedit.errors import LocalError


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
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
