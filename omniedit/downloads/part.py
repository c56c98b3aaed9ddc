"""The part file: the bytes so far, their only writer, and a note that identifies the whole file.

The note of `.<name>.<end of ID>.part` is `….part.json`. If it is missing or torn, or the machine
has been restarted since, the download starts over.
"""

import errno
import hashlib
import json
import os
import re
from collections.abc import Generator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Final, NamedTuple, Self

from omniedit.errors import LocalError
from omniedit.system import THIS_SYSTEM, System, error_reason
from omniedit.system.files import read_own_file
from omniedit.system.mp4 import MP4_HEAD_BYTES, is_mp4, is_whole_mp4

NOTE_SUFFIX: Final = ".json"

_END_OF_ID_LENGTH: Final = 8
_LONGEST_NOTE_BYTES: Final = 64 * 1024
_FREE_SPACE: Final = "free some space and run the same command again; it continues where it stopped"
_REMEDIES: Final = {
    errno.ENOSPC: _FREE_SPACE,
    getattr(errno, "EDQUOT", errno.ENOSPC): _FREE_SPACE,
    errno.EFBIG: "this file system, or `ulimit -f`, does not allow files of that size; choose another folder",
}


class Version(NamedTuple):
    """Identifies the remote file that a part file is the beginning of."""

    url_path: str  # of the URL that answered; the query is a signature and changes
    etag: str | None  # only a strong one
    total_bytes: int | None


_NO_VERSION: Final = Version("", None, None)


class PartFile:
    """A part file that only this process writes; leaving its context releases it.

    On leaving, bytes that can be resumed are kept for the next run, and all others are removed. Its
    methods raise a LocalError if the disk is full or fails.

    Args:
        path: The path of the file.
        descriptor: The open file; locked, unless `is_exclusive`.
        is_exclusive: Whether no other process, and no later run, knows its name.
        system: The operating system.
    """

    def __init__(self, path: Path, descriptor: int, *, is_exclusive: bool, system: System) -> None:
        self.path = path
        self.is_exclusive = is_exclusive
        self.size_bytes = 0
        self.version = _NO_VERSION
        self._system = system
        self._file = FileIO(descriptor, "r+")
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
        return self.size_bytes > 0 and self.version.etag is not None

    @property
    def is_complete(self) -> bool:
        """Whether all announced bytes have arrived."""
        return self.version.total_bytes == self.size_bytes

    @property
    def is_whole_video(self) -> bool:
        """Whether the MP4's boxes show that nothing is missing."""
        try:
            return is_whole_mp4(self._read_at, self.size_bytes)
        finally:
            self._file.seek(self.size_bytes)

    def resume(self) -> None:
        """Continue with the bytes of an earlier run, if it is certain which file they belong to."""
        with disk_errors(self.path):
            found = os.fstat(self._file.fileno())
            folder_owner = self.path.parent.stat().st_uid
            is_safe = not self._system.write_fault(found, folder_owner=folder_owner)
            version = self._read_note() if found.st_size and is_safe else None
            if version is None or not is_mp4(self._read_at(0, MP4_HEAD_BYTES)):
                self.clear()
                return
            self._file.seek(0)
            self._digest = hashlib.file_digest(self._file, "sha256")
        self.size_bytes = self._file.tell()
        self.version = version
        if version.total_bytes is not None and self.size_bytes > version.total_bytes:
            self.clear()

    def begin(self, version: Version) -> None:
        """Discard all bytes and start over with `version`."""
        self.clear()
        self.version = version
        self.write_note()

    def clear(self) -> None:
        """Discard all bytes."""
        self.version = _NO_VERSION
        with disk_errors(self.path):
            # In this order, so that the note never describes other bytes.
            self._system.remove(self._note_path)
            self._file.truncate(0)
            self._file.seek(0)
        self.size_bytes = 0
        self._digest = hashlib.sha256()

    def append(self, chunk: bytes) -> None:
        """Write a chunk; count and hash exactly what was written."""
        rest = memoryview(chunk)
        with disk_errors(self.path):
            while rest:
                written_bytes = self._file.write(rest)
                self._digest.update(rest[:written_bytes])
                self.size_bytes += written_bytes
                rest = rest[written_bytes:]

    def sync(self) -> None:
        """Flush the bytes to disk; if that fails, discard them all."""
        with disk_errors(self.path):
            try:
                self._system.sync_file(self._file.fileno())
            except OSError:
                # The system may have dropped the data that it could not write.
                self.clear()
                raise

    def has_name(self, path: Path) -> bool:
        """Return whether `path` is this file itself, not a symbolic link to it."""
        try:
            return os.path.samestat(os.fstat(self._file.fileno()), path.lstat())
        except (OSError, ValueError):  # ValueError: it is closed
            return False

    def has_one_name(self) -> bool:
        """Return whether the file has one name only."""
        return os.fstat(self._file.fileno()).st_nlink == 1

    def try_lock(self) -> bool:
        """Lock the file for this process alone; return whether it was free."""
        with disk_errors(self.path):
            return self._system.try_lock(self._file.fileno())

    def move_to(self, target: Path) -> None:
        """Rename the file, replacing `target` if it exists; raise an OSError if that fails."""
        # While the file still has its name: later the next writer may own the note.
        self._unlink(self._note_path)
        if not self._system.moves_open_files:
            self.close()
        try:
            self._system.replace(self.path, target)
        except OSError:
            self.write_note()
            raise

    def write_note(self) -> None:
        """Write the note beside the file, if a later run can rely on it."""
        if self.is_exclusive or self.version.etag is None:
            return
        note = {"schema": 1, "boot_id": self._system.boot_id(), **self.version._asdict()}
        with disk_errors(self._note_path):
            self._system.remove(self._note_path)
            # Exclusively, so that no planted link is followed.
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
            with os.fdopen(os.open(self._note_path, flags, 0o600), "wb") as file:
                file.write(json.dumps(note).encode())

    def drop(self) -> None:
        """Remove the part file and its note, if they are still this writer's."""
        if self.has_name(self.path):
            self._unlink(self._note_path)
            if not self._system.moves_open_files:
                self.close()
            self._unlink(self.path)

    def close(self) -> None:
        """Close the file, which releases its lock."""
        self._file.close()

    def _read_at(self, offset: int, size_bytes: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(size_bytes)

    def _read_note(self) -> Version | None:
        """Return the version in the note, or None if the note cannot be relied on."""
        try:
            content = read_own_file(
                self._note_path, max_bytes=_LONGEST_NOTE_BYTES, system=self._system
            )
            note = json.loads(content or b"null")
        except (LocalError, ValueError, RecursionError):
            return None
        match note:
            case {
                "schema": 1,
                "boot_id": boot_id,
                "url_path": str(url_path),
                "etag": str(etag),
                "total_bytes": int() | None as total_bytes,
                # After a power cut, bytes that were written may be missing or zero on disk.
            } if boot_id == self._system.boot_id():
                return Version(url_path, etag, total_bytes)
            case _:
                return None

    def _unlink(self, path: Path) -> None:
        # What cannot be removed now is removed by the next download of this target.
        with suppress(OSError):
            self._system.remove(path)


def part_path(target: Path, source_id: str, *, system: System = THIS_SYSTEM) -> Path:
    """Return the path of `target`'s part file."""
    end_of_id = re.sub(r"[^A-Za-z0-9._-]", "_", source_id)[-_END_OF_ID_LENGTH:]
    # The note's name, which is the longest, must fit as well.
    name = hidden_path(target, f".{end_of_id}.part{NOTE_SUFFIX}", system=system)
    return name.with_suffix("")


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


@contextmanager
def disk_errors(path: Path) -> Generator[None]:
    """Raise an OSError from the block as a LocalError, with a hint if there is a remedy."""
    try:
        yield
    except OSError as error:
        msg = f"cannot write {path}: {error_reason(error)}"
        if error.errno == errno.ENOENT:
            msg = f"cannot write {path}: its folder, or the file itself, has vanished"
        raise LocalError(msg, hint=_REMEDIES.get(error.errno or 0)) from error
