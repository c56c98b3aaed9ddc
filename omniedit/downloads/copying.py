"""A result that lies on this machine already, under another name."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from omniedit.downloads.placing import open_target, place
from omniedit.downloads.target import saved_file
from omniedit.errors import LocalError
from omniedit.models import SavedFile
from omniedit.system import THIS_SYSTEM, System

_BLOCK_BYTES: Final = 1024 * 1024


def copy_result(
    source: SavedFile,
    target: Path,
    *,
    overwrite: bool,
    sleep: Callable[[float], object],
    on_verified: Callable[[SavedFile], None] | None = None,
    system: System = THIS_SYSTEM,
) -> SavedFile:
    """Copy a saved result as carefully as if it were downloaded: whole, or not at all.

    Args:
        source: The file, and what it held when it was saved.
        target: The name of the copy; missing folders are made.
        overwrite: Replace what has that name.
        sleep: How to rest while another process writes the same target.
        on_verified: Takes what is about to get its name, whole and on the disk.
        system: This one.

    Raises:
        TargetExistsError: Another file has that name.
        LocalError: The disk does not allow it, or the source changed meanwhile.
    """
    target = target.absolute()
    part = open_target(target, source.sha256, overwrite=overwrite, sleep=sleep, system=system)
    if part is None:
        return saved_file(target)
    with part:
        part.clear()
        try:
            with Path(source.path).open("rb", buffering=0) as file:
                while block := file.read(_BLOCK_BYTES):
                    part.append(block)
        except OSError as error:
            msg = f"cannot read {source.path}: {error.strerror or error}"
            raise LocalError(msg) from error
        if part.sha256 != source.sha256:
            msg = f"{source.path} changed while it was copied"
            raise LocalError(msg)
        part.sync()
        copy = SavedFile(path=str(target), size_bytes=part.size_bytes, sha256=part.sha256)
        if on_verified:
            on_verified(copy)
        place(part, target, overwrite=overwrite, sleep=sleep, system=system)
    return copy
