"""The name a result gets: whether it may be had, and whether it still holds what was saved."""

import errno
import hashlib
import os
import stat
import tempfile
from pathlib import Path
from typing import Final

from omniedit.errors import LocalError, TargetExistsError
from omniedit.models import SavedFile
from omniedit.system import THIS_SYSTEM, System

_FULL: Final = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)})


def check_target(target: Path, *, overwrite: bool = False, system: System = THIS_SYSTEM) -> None:
    """Refuse a target that could not be written, before anything is paid or waited for.

    Nothing is made or changed. With `overwrite` a symbolic link is let through: the link itself
    is replaced, never what it points to.

    Raises:
        TargetExistsError: It exists, and may not be overwritten.
        LocalError: It is no regular file, or its folder cannot be made or written to.
    """
    target = target.absolute()
    if fault := system.path_fault(target):
        msg = f"cannot write {target}: {fault}"
        raise LocalError(msg)
    try:
        found = _lstat(target)
        if target.name in {"", ".."} or target.is_dir():
            msg = f"{target} is a folder"
            raise LocalError(msg)
        _check_folder(target, system)
    except (OSError, ValueError) as error:  # ValueError: a null character
        msg = f"cannot write {str(target)!r}: {_reason(error)}"
        raise LocalError(msg, hint="choose another place for it") from error
    if found is None:
        return
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISLNK(found.st_mode):
        msg = f"{target} is not a regular file"
        raise LocalError(msg)
    if not overwrite:
        msg = f"{target} exists"
        raise TargetExistsError(msg)


def verify(path: Path, *, size_bytes: int, sha256: str) -> bool:
    """Return whether the file at `path` is, byte for byte, the one that was saved."""
    try:
        found = path.stat()
        return (
            stat.S_ISREG(found.st_mode)
            and found.st_size == size_bytes
            and saved_file(path).sha256 == sha256
        )
    except (OSError, ValueError, LocalError):
        return False


def saved_file(path: Path) -> SavedFile:
    """Return size and digest of a file as it lies on the disk.

    Raises:
        LocalError: It cannot be read.
    """
    try:
        with path.open("rb", buffering=0) as file:
            digest = hashlib.file_digest(file, "sha256")
            return SavedFile(
                path=str(path.absolute()), size_bytes=file.tell(), sha256=digest.hexdigest()
            )
    except OSError as error:
        msg = f"cannot read {path}: {_reason(error)}"
        raise LocalError(msg) from error


def make_folder(folder: Path, *, system: System = THIS_SYSTEM) -> None:
    """Make a folder and those above it, so that they outlive a power cut.

    Raises:
        LocalError: It cannot be made.
    """
    try:
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        for path in reversed(missing):
            path.mkdir(exist_ok=True)
            system.sync_folder(path.parent)
    except OSError as error:
        raise disk_error(folder, error) from error


def shortened_name(
    before: str, name: str, after: str, *, folder: Path, system: System = THIS_SYSTEM
) -> str:
    """Return `before + name + after`, the name cut so that the folder's file system takes it."""
    longest_bytes = system.longest_name_bytes(folder)
    if len(os.fsencode(before + name + after)) <= longest_bytes:
        return before + name + after
    # Two long names may differ at their ends only.
    after = f".{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}{after}"
    while name and len(os.fsencode(before + name + after)) > longest_bytes:
        name = name[:-1]
    return before + name + after


def is_same_file(path: Path, other: Path) -> bool:
    """Return whether both names exist and mean one file, without following links."""
    try:
        return os.path.samestat(path.lstat(), other.lstat())
    except (OSError, ValueError):
        return False


def disk_error(path: Path, error: OSError) -> LocalError:
    """Return what an operation on a file met, with what to do about it."""
    hint: str | None = None
    if error.errno in _FULL:
        hint = "free some space and run the same command again; it goes on where it stopped"
    elif error.errno == errno.EFBIG:
        hint = "this file system, or `ulimit -f`, does not take files of that size; choose another folder"
    elif error.errno == errno.ENOENT:
        return LocalError(f"cannot write {path}: its folder, or the file itself, has vanished")
    return LocalError(f"cannot write {path}: {_reason(error)}", hint=hint)


def _lstat(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _check_folder(target: Path, system: System) -> None:
    folder, names = target.parent, [target.name]
    while not os.path.lexists(folder):
        names.append(folder.name)
        folder = folder.parent
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, f"{folder} is not a folder")
    longest_bytes = system.longest_name_bytes(folder)
    for name in names:
        if len(os.fsencode(name)) > longest_bytes:
            raise OSError(errno.ENAMETOOLONG, f"the name is longer than {longest_bytes} bytes")
    # Permission bits tell neither what root may do nor what the file system does; where it can,
    # this makes a file that never has a name.
    with tempfile.TemporaryFile(dir=folder):
        pass


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
