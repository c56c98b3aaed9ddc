"""From part file to final name: checks of the target, and placement in one step."""

import errno
import hashlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from omniedit.downloads.part import NOTE_SUFFIX, PartFile, disk_errors, hidden_path, part_path
from omniedit.errors import LocalError, TargetBusyError, TargetExistsError
from omniedit.models import SavedFile
from omniedit.policy import DEFAULT
from omniedit.system import THIS_SYSTEM, System, error_reason
from omniedit.system.files import absolute_path, is_file, stable_path, unreadable
from omniedit.system.locks import hold

BUSY_PAUSE_S: Final = 0.1

_MAX_OPENINGS: Final = 1000
_FLAGS: Final = (
    os.O_RDWR
    | os.O_CREAT
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)  # opening a planted pipe would block
    | getattr(os, "O_BINARY", 0)
)
_BLOCK_BYTES: Final = 1024 * 1024


def check_writable(target: Path, *, overwrite: bool = False, system: System = THIS_SYSTEM) -> bool:
    """Refuse a target that could not be written, before anything is paid or waited for.

    Nothing is created or changed. With `overwrite`, a symbolic link is accepted: the link itself
    is replaced, never what it points to.

    Returns:
        Whether files in its folder can be locked; some network file systems have no locks.

    Raises:
        TargetExistsError: If it exists and must not be overwritten.
        LocalError: If it is not a regular file, or its folder cannot be created or written to.
    """
    target = absolute_path(stable_path(target))
    try:
        _check_kind(target, system)
        has_locks = _check_folder(target, system)
    except (OSError, ValueError) as error:  # ValueError: a null character
        msg = f"cannot write {str(target)!r}: {error_reason(error)}"
        raise LocalError(msg, hint="choose another place for it") from error
    if not overwrite and os.path.lexists(target):
        msg = f"{target} exists"
        raise TargetExistsError(msg)
    return has_locks


def saved_file(path: Path) -> SavedFile:
    """Return the path, size and digest of a file on disk."""
    try:
        with path.open("rb", buffering=0) as file:
            digest = hashlib.file_digest(file, "sha256")
            return SavedFile(
                path=str(absolute_path(path)), size_bytes=file.tell(), sha256=digest.hexdigest()
            )
    except OSError as error:
        raise unreadable(path, error) from error


def make_folder(folder: Path, *, system: System = THIS_SYSTEM) -> None:
    """Create a folder and its parents so that they survive a power cut."""
    with disk_errors(folder):
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        for path in reversed(missing):
            path.mkdir(exist_ok=True)
            system.sync_folder(path.parent)


@dataclass(frozen=True, slots=True)
class Placement:
    """Writes files under their final names, each completely or not at all.

    Args:
        sleep: Sleeps while another process is writing the same target.
        budget_s: How long to wait for that process.
        system: The operating system; injected by tests.
    """

    sleep: Callable[[float], object]
    budget_s: float = DEFAULT.busy_budget_s
    system: System = THIS_SYSTEM

    def write(
        self,
        target: Path,
        source_id: str,
        fill: Callable[[PartFile], None],
        *,
        overwrite: bool,
        on_verified: Callable[[SavedFile], None] | None = None,
    ) -> SavedFile:
        """Write a file.

        Args:
            target: The final path; missing folders are created.
            source_id: The source of the content, such as a task ID; part files are named after it.
            fill: Completes the part file.
            overwrite: Replace an existing file.
            on_verified: Called with the complete, synced file before it is placed, so that a record
                of it exists even if a kill follows right after the placement.

        Raises:
            TargetExistsError: If another file has that name.
            TargetBusyError: If another process kept the part file locked.
            LocalError: If the disk, the folder or the name does not allow it.
        """
        target = absolute_path(stable_path(target))
        part = self.open_part(target, source_id, overwrite=overwrite)
        if part is None:
            return saved_file(target)
        with part:
            fill(part)
            part.sync()
            saved = SavedFile(path=str(target), size_bytes=part.size_bytes, sha256=part.sha256)
            if on_verified:
                on_verified(saved)
            self.place(part, target, overwrite=overwrite)
        return saved

    def write_content(
        self, target: Path, source_id: str, chunks: Iterable[bytes], *, overwrite: bool
    ) -> SavedFile:
        """Write given content; arguments and errors are those of `write`."""

        def fill(part: PartFile) -> None:
            part.clear()
            for chunk in chunks:
                part.append(chunk)

        return self.write(target, source_id, fill, overwrite=overwrite)

    def copy(
        self,
        source: SavedFile,
        target: Path,
        *,
        overwrite: bool,
        on_verified: Callable[[SavedFile], None] | None = None,
    ) -> SavedFile:
        """Copy a saved result as carefully as if it were downloaded, unless it has changed since.

        Arguments and errors are those of `write`.
        """

        def fill(part: PartFile) -> None:
            part.clear()
            try:
                with Path(source.path).open("rb", buffering=0) as file:
                    while block := file.read(_BLOCK_BYTES):
                        part.append(block)
            except OSError as error:
                raise unreadable(source.path, error) from error
            if part.sha256 != source.sha256:
                msg = f"{source.path} changed while it was copied"
                raise LocalError(msg)

        return self.write(target, source.sha256, fill, overwrite=overwrite, on_verified=on_verified)

    def place(self, part: PartFile, target: Path, *, overwrite: bool) -> None:
        """Give a complete and synced part file its final name, in the same folder, in one step.

        Raises:
            TargetExistsError: If another file has that name; the part file is removed.
        """
        with disk_errors(target):
            try:
                if not part.has_name(part.path):
                    raise FileNotFoundError(errno.ENOENT, "the part file has vanished")
                if overwrite:
                    part.move_to(target)
                else:
                    self._link_or_rename(part, target)
            except FileExistsError as error:
                part.drop()
                if not is_file(target) or saved_file(target).sha256 != part.sha256:
                    msg = f"{target} appeared during the download and is another file; the download was discarded"
                    raise TargetExistsError(msg) from error
        # The new name must be on disk before the old one is removed.
        self.system.sync_folder(target.parent)
        part.drop()
        self.system.sync_folder(target.parent)

    def open_part(self, target: Path, source_id: str, *, overwrite: bool) -> PartFile | None:
        """Check a target, create its folder, and open its part file for this process alone.

        Returns:
            The part file; None if the target turns out to be the same file, because the process
            that held the lock has placed it, or one was killed right after placing it.

        Raises:
            TargetExistsError: If another file has that name.
            TargetBusyError: If another process kept the part file locked.
            LocalError: If the folder or the part file cannot be created or locked.
        """
        # If a process was killed right after the placement, the finished file has both names.
        is_placed = _is_same_file(part_path(target, source_id, system=self.system), target)
        has_locks = check_writable(target, overwrite=overwrite or is_placed, system=self.system)
        make_folder(target.parent, system=self.system)
        if not has_locks:
            # A name that no other process knows takes the place of a lock.
            return self._open_file(target, os.urandom(4).hex(), is_exclusive=True)
        has_waited = False
        for _ in range(_MAX_OPENINGS):
            with ExitStack() as stack:
                part = self._open_file(target, source_id)
                stack.callback(part.close)
                has_waited |= self._wait_for_lock(part, target)
                is_placed = part.has_name(target)
                if not is_placed and part.has_name(part.path) and part.has_one_name():
                    stack.pop_all()
                    return part
                # Never write to it: the file has a second name, or its name belongs to another.
                part.drop()
            if is_placed and (has_waited or not overwrite):
                return None
        msg = f"{target} keeps being replaced by another process"
        raise TargetBusyError(msg)

    def _open_file(self, target: Path, source_id: str, *, is_exclusive: bool = False) -> PartFile:
        # How long a name may be is known only now that the folder exists.
        path = part_path(target, source_id, system=self.system)
        with disk_errors(path):
            # Not mode 0600: the part becomes the final file, and only the kernel can apply the
            # umask without changing it for the other threads.
            descriptor = os.open(path, _FLAGS | (os.O_EXCL if is_exclusive else 0), 0o666)
        found = os.fstat(descriptor)
        fault = None
        if not stat.S_ISREG(found.st_mode):
            fault = "it is not a regular file"
        elif not is_exclusive:
            # Check only the owner: the mode depends on the umask.
            owned = os.stat_result((found.st_mode & ~0o022, *found[1:]))
            fault = self.system.write_fault(owned, folder_owner=path.parent.stat().st_uid)
        if fault:
            os.close(descriptor)
            msg = f"{path} is in the way: {fault}"
            raise LocalError(msg)
        return PartFile(path, descriptor, is_exclusive=is_exclusive, system=self.system)

    def _wait_for_lock(self, part: PartFile, target: Path) -> bool:
        """Lock a part file; return whether another process had it locked.

        The file stays open meanwhile, so that the caller can tell whether it became the target.
        """
        waited_s = 0.0
        while not part.try_lock():
            if waited_s >= self.budget_s:
                msg = f"another omniedit is downloading {target}"
                raise TargetBusyError(msg)
            self.sleep(BUSY_PAUSE_S)
            waited_s += BUSY_PAUSE_S
        return waited_s > 0

    def _link_or_rename(self, part: PartFile, target: Path) -> None:
        """Place a file under a name; raise a FileExistsError if it is taken."""
        try:
            self.system.link(part.path, target)
        except FileExistsError:
            # NFS reports this as well if it retried a request whose reply was lost.
            if not part.has_name(target):
                raise
        except OSError:
            # FAT and some network file systems have no links: lock, check, rename.
            if not part.has_name(part.path):
                raise
            lock = hidden_path(target, ".lock", system=self.system)
            held = hold(lock, sleep=self.sleep, timeout_s=self.budget_s, system=self.system)
            # Without locks, another process may create the target between the check and the rename.
            with nullcontext() if part.is_exclusive else held:
                if os.path.lexists(target):
                    raise FileExistsError from None
                part.move_to(target)


def remove_leftover_part(target: Path, source_id: str) -> None:
    """Remove the part file's name if a kill right after placement left it beside the file."""
    path = part_path(absolute_path(target), source_id)
    if _is_same_file(path, target):
        for left_over in (path.with_name(path.name + NOTE_SUFFIX), path):
            with suppress(OSError):
                left_over.unlink(missing_ok=True)


def _is_same_file(path: Path, other: Path) -> bool:
    """Return whether both paths exist and are the same file, without following links."""
    try:
        return os.path.samestat(path.lstat(), other.lstat())
    except (OSError, ValueError):
        return False


def _check_kind(target: Path, system: System) -> None:
    """Raise an OSError for a path that no file can have, or that something else has."""
    fault = system.path_fault(target)
    if target.name in {"", ".."} or target.is_dir():
        fault = "it is a folder"
    with suppress(FileNotFoundError, NotADirectoryError):
        mode = target.lstat().st_mode
        if not fault and not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
            fault = "it is not a regular file"
    if fault:
        raise OSError(errno.EINVAL, fault)


def _check_folder(target: Path, system: System) -> bool:
    """Return whether files in the target's folder can be locked, having created one there."""
    folder = target.parent
    names = [target.name]
    while not os.path.lexists(folder):
        names.append(folder.name)
        folder = folder.parent
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, f"{folder} is not a folder")
    longest_bytes = system.longest_name_bytes(folder)
    for name in names:
        if len(os.fsencode(name)) > longest_bytes:
            raise OSError(errno.ENAMETOOLONG, f"the name is longer than {longest_bytes} bytes")
    # Permission bits do not tell what root may do or what the file system allows, so try it. If
    # the system supports that, the file never has a name.
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            return system.try_lock(file.fileno())
        except OSError:
            # NFS without its lock daemon, Lustre without `flock`, FUSE without the operation.
            return False
