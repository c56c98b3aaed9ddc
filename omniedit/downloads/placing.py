"""From part file to final name: taking the part for oneself, and giving it its name."""

import errno
import os
import re
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from omniedit.downloads.part import NOTE_SUFFIX, PartFile, has_name
from omniedit.downloads.target import (
    check_target,
    disk_error,
    is_same_file,
    make_folder,
    shortened_name,
    verify,
)
from omniedit.errors import LocalError, TargetBusyError, TargetExistsError
from omniedit.system import THIS_SYSTEM, System
from omniedit.system.locks import hold

BUSY_LIMIT_S: Final = 600.0
"""How long to wait for another process that downloads the same result to the same target."""
BUSY_PAUSE_S: Final = 0.1

_END_OF_ID_LENGTH: Final = 8
_MAX_OPENINGS: Final = 1000
_FLAGS: Final = (
    os.O_RDWR
    | os.O_CREAT
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)  # a planted pipe would wait for its other end
    | getattr(os, "O_BINARY", 0)
)


def part_path(target: Path, ident: str) -> Path:
    """Return the name of the part file of what shall become `target`."""
    end_of_id = re.sub(r"[^A-Za-z0-9._-]", "_", ident)[-_END_OF_ID_LENGTH:]
    # Its note's name, the longest of all, must fit as well.
    name = shortened_name(".", target.name, f".{end_of_id}.part{NOTE_SUFFIX}", folder=target.parent)
    return target.with_name(name.removesuffix(NOTE_SUFFIX))


def open_target(
    target: Path,
    ident: str,
    *,
    overwrite: bool,
    sleep: Callable[[float], object],
    system: System = THIS_SYSTEM,
) -> PartFile | None:
    """Check a target, make its folder, and open its part file; None where it is finished already.

    Args:
        target: The final name, absolute.
        ident: What the file is a copy of: a task ID, say.
        overwrite: Whether a file of that name may be replaced.
        sleep: How to rest while another process writes the same.
        system: This one.

    Raises:
        TargetExistsError: Another file has that name.
        TargetBusyError: Another process kept it locked.
        LocalError: The disk, the folder or the name does not allow it.
    """
    try:
        check_target(target, overwrite=overwrite, system=system)
    except TargetExistsError:
        # A kill right after the placement leaves both names to the finished file.
        if not is_same_file(part_path(target, ident), target):
            raise
    make_folder(target.parent, system=system)
    path = part_path(target, ident)
    return open_part(path, target, overwrite=overwrite, sleep=sleep, system=system)


def open_part(
    path: Path,
    target: Path,
    *,
    overwrite: bool,
    sleep: Callable[[float], object],
    system: System = THIS_SYSTEM,
) -> PartFile | None:
    """Open and lock a part file; None where the target turns out to be that very file.

    That is so when the process that was waited for has placed it, or when a killed one had no
    time to tidy up after it.

    Raises:
        TargetBusyError: Another process kept it locked.
        LocalError: The file cannot be made or locked.
    """
    has_waited = False
    for _ in range(_MAX_OPENINGS):
        part = PartFile(path, descriptor := _open(path), system=system)
        try:
            has_waited |= _wait_for_lock(descriptor, target, sleep=sleep, system=system)
            is_placed = part.has_name(target)
            if not is_placed and _is_ours_alone(descriptor, path):
                return part
            # Never written to: the file has another name too, or the name another file.
            part.drop()
        except BaseException:
            part.close()
            raise
        part.close()
        if is_placed and (has_waited or not overwrite):
            return None
    msg = f"{path} keeps being replaced by another process"
    raise TargetBusyError(msg)


def place(
    part: PartFile,
    target: Path,
    *,
    overwrite: bool,
    sleep: Callable[[float], object],
    link: Callable[[Path, Path], None] = os.link,
    system: System = THIS_SYSTEM,
) -> None:
    """Give a part file its final name, in one step.

    Args:
        part: Complete and brought to the disk.
        target: In the same folder.
        overwrite: Whether a file of that name is replaced.
        sleep: How to rest while another process places a file of that name.
        link: Gives a file a second name.
        system: This one.

    Raises:
        TargetExistsError: Another file has that name; this one is removed.
        LocalError: It cannot be placed.
    """
    size_bytes, sha256 = part.size_bytes, part.sha256
    try:
        if not part.has_name(part.path):
            raise FileNotFoundError(errno.ENOENT, "the part file has vanished")
        if overwrite:
            _rename(part, target, system)
        else:
            _link_or_rename(part, target, sleep=sleep, link=link, system=system)
    except FileExistsError as error:
        part.drop()
        if not verify(target, size_bytes=size_bytes, sha256=sha256):
            msg = f"{target} appeared during the download and is another file; what was downloaded is dropped"
            raise TargetExistsError(msg) from error
    except OSError as error:
        raise disk_error(target, error) from error
    # The new name is on the disk before the old one goes.
    system.sync_folder(target.parent)
    part.drop()
    system.sync_folder(target.parent)


def tidy(target: Path, task_id: str) -> None:
    """Remove the second name that a kill right after the placement left of a result."""
    path = part_path(target.absolute(), task_id)
    if is_same_file(path, target):
        for left_over in (path.with_name(path.name + NOTE_SUFFIX), path):
            with suppress(OSError):
                left_over.unlink(missing_ok=True)


def _open(path: Path) -> int:
    try:
        # Not 0600: the file becomes the final one, and only the kernel knows the umask without
        # changing it under the other threads.
        descriptor = os.open(path, _FLAGS, 0o666)
    except OSError as error:
        raise disk_error(path, error) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        msg = f"{path} is in the way: it is not a regular file"
        raise LocalError(msg)
    return descriptor


def _wait_for_lock(
    descriptor: int, target: Path, *, sleep: Callable[[float], object], system: System
) -> bool:
    """Lock an open file; return whether somebody else had it locked.

    It stays open meanwhile, so that afterwards it can be told whether it became the target.
    """
    waited_s = 0.0
    while not system.try_lock(descriptor):
        if waited_s >= BUSY_LIMIT_S:
            msg = f"another omniedit is downloading {target}"
            raise TargetBusyError(msg)
        sleep(BUSY_PAUSE_S)
        waited_s += BUSY_PAUSE_S
    return waited_s > 0


def _is_ours_alone(descriptor: int, path: Path) -> bool:
    return has_name(descriptor, path) and os.fstat(descriptor).st_nlink == 1


def _link_or_rename(
    part: PartFile,
    target: Path,
    *,
    sleep: Callable[[float], object],
    link: Callable[[Path, Path], None],
    system: System,
) -> None:
    """Place a file where none of that name may be.

    Raises:
        FileExistsError: There is one.
    """
    try:
        link(part.path, target)
    except FileExistsError:
        # NFS says so also when its first reply was lost.
        if not part.has_name(target):
            raise
    except OSError:
        # FAT and some network file systems have no links: lock, check, rename.
        if not part.has_name(part.path):
            raise
        lock = target.with_name(shortened_name(".", target.name, ".lock", folder=target.parent))
        with hold(lock, sleep=sleep, timeout_s=BUSY_LIMIT_S, system=system):
            if os.path.lexists(target):
                raise FileExistsError from None
            _rename(part, target, system)


def _rename(part: PartFile, target: Path, system: System) -> None:
    # Once the part has lost its name, a note of that name may be the next writer's.
    part.drop_note()
    if not system.moves_open_files:
        part.close()
    try:
        system.replace(part.path, target)
    except OSError:
        part.write_note()
        raise
