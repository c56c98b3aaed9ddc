"""The part file: the bytes so far, their only writer, and a note that identifies the whole file.

The note of `.<name>.<end of ID>.part` is `….part.json`. If it is missing or torn, or the machine
has been restarted since, the download starts over.
"""

import errno
import hashlib
import json
import os
import re
import stat
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self, cast

from omniedit.errors import LocalError, TargetBusyError
from omniedit.policy import DEFAULT
from omniedit.system import THIS_SYSTEM, System, error_reason
from omniedit.system.files import read_own_file
from omniedit.system.mp4 import ReadAt, boxes

NOTE_SUFFIX: Final = ".json"
BUSY_PAUSE_S: Final = 0.1
MP4_HEAD_BYTES: Final = 8
"""The number of bytes that `is_mp4` needs."""

_END_OF_ID_LENGTH: Final = 8
_MAX_OPENINGS: Final = 1000
_LONGEST_NOTE_BYTES: Final = 64 * 1024
_BLOCK_BYTES: Final = 1024 * 1024
_BOX_HEADER_BYTES: Final = 8
_LONGEST_FTYP_BYTES: Final = 64 * 1024
_FULL: Final = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)})
_FLAGS: Final = (
    os.O_RDWR
    | os.O_CREAT
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)  # opening a planted pipe would block
    | getattr(os, "O_BINARY", 0)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """Identifies the remote file that a part file is the beginning of."""

    url_path: str  # of the URL that answered; the query is a signature and changes
    etag: str | None  # only a strong one
    total_bytes: int | None


class PartFile:
    """A part file that only this process writes; leaving its context releases it.

    On leaving, bytes that can be resumed are kept for the next run, and all others are removed.

    Args:
        path: The path of the file.
        descriptor: The open file; locked, unless `is_exclusive`.
        is_exclusive: Whether no other process, and no later run, knows its name.
        system: The operating system; injected by tests.
    """

    def __init__(
        self,
        path: Path,
        descriptor: int,
        *,
        is_exclusive: bool = False,
        system: System = THIS_SYSTEM,
    ) -> None:
        self.path = path
        self.is_exclusive = is_exclusive
        self.system = system
        self.size_bytes = 0
        self.version: Version | None = None
        self._descriptor = descriptor
        self._digest = hashlib.sha256()
        self._note_path = path.with_name(path.name + NOTE_SUFFIX)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.is_exclusive or not self.is_resumable:
            self.drop()
        self.close()

    @property
    def sha256(self) -> str:
        """The digest of the bytes so far."""
        return self._digest.hexdigest()

    @property
    def is_resumable(self) -> bool:
        """Whether a later request can ask for the rest of exactly this version."""
        return self.size_bytes > 0 and self.version is not None and self.version.etag is not None

    @property
    def total_bytes(self) -> int | None:
        """The size of the whole file, if it was announced."""
        return self.version.total_bytes if self.version else None

    @property
    def is_complete(self) -> bool:
        """Whether all announced bytes have arrived."""
        return self.total_bytes == self.size_bytes

    @property
    def is_whole_video(self) -> bool:
        """Whether the MP4's boxes show that nothing is missing."""
        try:
            return is_whole_mp4(self._read_at, self.size_bytes)
        finally:
            os.lseek(self._descriptor, self.size_bytes, os.SEEK_SET)

    def resume(self) -> None:
        """Continue with the bytes of an earlier run, if it is certain which file they belong to.

        Raises:
            LocalError: If the file cannot be read or cleared.
        """
        try:
            found = os.fstat(self._descriptor)
            folder_owner = self.path.parent.stat().st_uid
            is_safe = not self.system.write_fault(found, folder_owner=folder_owner)
            version = self._read_note() if found.st_size and is_safe else None
            if version is None or not is_mp4(self._read_at(0, MP4_HEAD_BYTES)):
                self.clear()
                return
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            while block := os.read(self._descriptor, _BLOCK_BYTES):
                self._digest.update(block)
                self.size_bytes += len(block)
        except OSError as error:
            raise disk_error(self.path, error) from error
        self.version = version
        if version.total_bytes is not None and self.size_bytes > version.total_bytes:
            self.clear()

    def begin(self, version: Version) -> None:
        """Discard all bytes and start over with `version`.

        Raises:
            LocalError: If the file or its note cannot be written.
        """
        self.clear()
        self.version = version
        self.write_note()

    def clear(self) -> None:
        """Discard all bytes.

        Raises:
            LocalError: If the file cannot be written.
        """
        self.version = None
        try:
            # In this order, so that the note never describes other bytes.
            self.system.remove(self._note_path)
            os.ftruncate(self._descriptor, 0)
            os.lseek(self._descriptor, 0, os.SEEK_SET)
        except OSError as error:
            raise disk_error(self.path, error) from error
        self.size_bytes = 0
        self._digest = hashlib.sha256()

    def append(self, chunk: bytes) -> None:
        """Write a chunk; count and hash exactly what was written.

        Raises:
            LocalError: If the disk is full or fails.
        """
        rest = memoryview(chunk)
        while rest:
            try:
                written_bytes = os.write(self._descriptor, rest)
            except OSError as error:
                raise disk_error(self.path, error) from error
            self._digest.update(rest[:written_bytes])
            self.size_bytes += written_bytes
            rest = rest[written_bytes:]

    def sync(self) -> None:
        """Flush the bytes to disk.

        Raises:
            LocalError: If the disk fails; all bytes are then discarded.
        """
        try:
            self.system.sync_file(self._descriptor)
        except OSError as error:
            # The system may have dropped the data that it could not write.
            self.clear()
            raise disk_error(self.path, error) from error

    def has_name(self, path: Path) -> bool:
        """Return whether `path` is this file itself, not a symbolic link to it."""
        try:
            return os.path.samestat(os.fstat(self._descriptor), path.lstat())
        except OSError:
            return False

    def write_note(self) -> None:
        """Write the note beside the file, if a later run can rely on it.

        Raises:
            LocalError: If the note cannot be written.
        """
        if self.is_exclusive or self.version is None or self.version.etag is None:
            return
        note = {"schema": 1, "boot_id": self.system.boot_id(), **asdict(self.version)}
        try:
            self.system.remove(self._note_path)
            # Exclusively, so that no planted link is followed.
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
            with os.fdopen(os.open(self._note_path, flags, 0o600), "wb") as file:
                file.write(json.dumps(note).encode())
        except OSError as error:
            raise disk_error(self._note_path, error) from error

    def drop_note(self) -> None:
        """Remove the note, while the file still has its name: later the next writer may own it."""
        self._unlink(self._note_path)

    def drop(self) -> None:
        """Remove the part file and its note, if they are still this writer's."""
        if self.has_name(self.path):
            self.drop_note()
            if not self.system.moves_open_files:
                self.close()
            self._unlink(self.path)

    def close(self) -> None:
        """Close the file, which releases its lock."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def _read_at(self, offset: int, size_bytes: int) -> bytes:
        os.lseek(self._descriptor, offset, os.SEEK_SET)
        return os.read(self._descriptor, size_bytes)

    def _read_note(self) -> Version | None:
        """Return the version in the note, or None if the note cannot be relied on."""
        try:
            content = read_own_file(
                self._note_path, max_bytes=_LONGEST_NOTE_BYTES, system=self.system
            )
            value: object = json.loads(content or b"null")
        except (LocalError, ValueError, RecursionError):
            return None
        note = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
        match note:
            case {
                "schema": 1,
                "boot_id": boot_id,
                "url_path": str(url_path),
                "etag": str(etag),
                "total_bytes": int() | None as total_bytes,
                # After a power cut, bytes that were written may be missing or zero on disk.
            } if boot_id == self.system.boot_id():
                return Version(url_path=url_path, etag=etag, total_bytes=total_bytes)
            case _:
                return None

    def _unlink(self, path: Path) -> None:
        try:
            self.system.remove(path)
        except OSError:
            # The next download of this target removes it.
            return


def is_mp4(head: bytes) -> bool:
    """Return whether a file that begins like this may be an MP4: its first box is `ftyp`."""
    size_bytes = int.from_bytes(head[:4], "big")
    return head[4:8] == b"ftyp" and _BOX_HEADER_BYTES <= size_bytes <= _LONGEST_FTYP_BYTES


def is_whole_mp4(read_at: ReadAt, size_bytes: int) -> bool:
    """Return whether a file consists of complete boxes, among them an index and media.

    Fewer bytes than a box header may follow the last box.

    Args:
        read_at: Returns bytes from an offset, up to a number of them.
        size_bytes: The size of the file.
    """
    end = 0
    seen: set[bytes] = set()
    for box in boxes(read_at, size_bytes):
        if box.end < box.content:
            return False
        seen.add(box.kind)
        end = box.end
    return 0 <= size_bytes - end < _BOX_HEADER_BYTES and {b"moov", b"mdat"} <= seen


def part_path(target: Path, source_id: str, *, system: System = THIS_SYSTEM) -> Path:
    """Return the path of `target`'s part file."""
    end_of_id = re.sub(r"[^A-Za-z0-9._-]", "_", source_id)[-_END_OF_ID_LENGTH:]
    # The note's name, which is the longest, must fit as well.
    name = hidden_path(target, f".{end_of_id}.part{NOTE_SUFFIX}", system=system)
    return name.with_suffix("")


def open_part(
    path: Path,
    target: Path,
    *,
    overwrite: bool,
    sleep: Callable[[float], object],
    budget_s: float = DEFAULT.busy_budget_s,
    system: System = THIS_SYSTEM,
) -> PartFile | None:
    """Open and lock a part file; return None if the target turns out to be the same file.

    That is the case if the process that held the lock has placed it, or if a process was killed
    right after placing it.

    Raises:
        TargetBusyError: If another process kept it locked.
        LocalError: If the file cannot be created or locked.
    """
    has_waited = False
    for _ in range(_MAX_OPENINGS):
        part = PartFile(path, descriptor := _open(path, system=system), system=system)
        try:
            has_waited |= _wait_for_lock(
                descriptor, target, sleep=sleep, budget_s=budget_s, system=system
            )
            is_placed = part.has_name(target)
            if not is_placed and part.has_name(path) and os.fstat(descriptor).st_nlink == 1:
                return part
            # Never write to it: the file has a second name, or its name belongs to another file.
            part.drop()
        except BaseException:
            part.close()
            raise
        part.close()
        if is_placed and (has_waited or not overwrite):
            return None
    msg = f"{path} keeps being replaced by another process"
    raise TargetBusyError(msg)


def open_exclusive_part(target: Path, *, system: System = THIS_SYSTEM) -> PartFile:
    """Open a part file under a name that no other process knows, for lack of file locks.

    Raises:
        LocalError: If the file cannot be created.
    """
    path = part_path(target, os.urandom(_END_OF_ID_LENGTH // 2).hex(), system=system)
    return PartFile(
        path, _open(path, system=system, exclusively=True), is_exclusive=True, system=system
    )


def hidden_path(target: Path, suffix: str, *, system: System = THIS_SYSTEM) -> Path:
    """Return `.<name><suffix>` beside a target, shortening the name if the file system requires it."""
    name = target.name
    longest_bytes = system.longest_name_bytes(target.parent)
    if len(os.fsencode(f".{name}{suffix}")) > longest_bytes:
        # Two long names may differ only at their ends, so add a digest.
        suffix = f".{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}{suffix}"
    while name and len(os.fsencode(f".{name}{suffix}")) > longest_bytes:
        name = name[:-1]
    return target.with_name(f".{name}{suffix}")


def disk_error(path: Path, error: OSError) -> LocalError:
    """Return the error for a failed file operation, with a hint if there is a remedy."""
    hint: str | None = None
    if error.errno in _FULL:
        hint = "free some space and run the same command again; it continues where it stopped"
    elif error.errno == errno.EFBIG:
        hint = "this file system, or `ulimit -f`, does not allow files of that size; choose another folder"
    elif error.errno == errno.ENOENT:
        return LocalError(f"cannot write {path}: its folder, or the file itself, has vanished")
    return LocalError(f"cannot write {path}: {error_reason(error)}", hint=hint)


def _open(path: Path, *, system: System, exclusively: bool = False) -> int:
    try:
        # Not mode 0600: the part becomes the final file, and only the kernel can apply the umask
        # without changing it for the other threads.
        descriptor = os.open(path, _FLAGS | (os.O_EXCL if exclusively else 0), 0o666)
    except OSError as error:
        raise disk_error(path, error) from error
    found = os.fstat(descriptor)
    fault = None
    if not stat.S_ISREG(found.st_mode):
        fault = "it is not a regular file"
    elif not exclusively:
        # Check only the owner: the mode depends on the umask.
        owned = os.stat_result((found.st_mode & ~0o022, *found[1:]))
        fault = system.write_fault(owned, folder_owner=path.parent.stat().st_uid)
    if fault:
        os.close(descriptor)
        msg = f"{path} is in the way: {fault}"
        raise LocalError(msg)
    return descriptor


def _wait_for_lock(
    descriptor: int,
    target: Path,
    *,
    sleep: Callable[[float], object],
    budget_s: float,
    system: System,
) -> bool:
    """Lock an open file; return whether another process had it locked.

    The file stays open meanwhile, so that the caller can tell whether it became the target.
    """
    waited_s = 0.0
    try:
        while not system.try_lock(descriptor):
            if waited_s >= budget_s:
                msg = f"another omniedit is downloading {target}"
                raise TargetBusyError(msg)
            sleep(BUSY_PAUSE_S)
            waited_s += BUSY_PAUSE_S
    except OSError as error:
        raise disk_error(target, error) from error
    return waited_s > 0
