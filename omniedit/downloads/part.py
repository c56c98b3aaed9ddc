"""The part file: the bytes so far, and a note beside it of what they are the beginning of.

The note of `.<name>.<end of ID>.part` is `….part.json`. Without it, or where it is torn or the
machine was restarted since, a download starts over.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self, cast

from omniedit.downloads.mp4 import HEAD_BYTES, is_mp4, is_whole_mp4
from omniedit.downloads.target import disk_error
from omniedit.system import THIS_SYSTEM, System

NOTE_SUFFIX: Final = ".json"

_LONGEST_NOTE_BYTES: Final = 64 * 1024
_BLOCK_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """Which bytes a part file holds the beginning of."""

    url_path: str  # of the URL that answered; the query is a signature and changes
    etag: str | None  # a strong one
    total_bytes: int | None


class PartFile:
    """A part file that this process alone writes: a context that releases it.

    On leaving, bytes that can be resumed are kept for the next run, all others removed.

    Args:
        path: The file's name.
        descriptor: The file, open and locked.
        system: This one.
    """

    def __init__(self, path: Path, descriptor: int, *, system: System = THIS_SYSTEM) -> None:
        self.path = path
        self.size_bytes = 0
        self.version: Version | None = None
        self._descriptor = descriptor
        self._system = system
        self._digest = hashlib.sha256()
        self._note_path = path.with_name(path.name + NOTE_SUFFIX)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.is_resumable:
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
    def is_complete(self) -> bool:
        """Whether all announced bytes are here."""
        return self.version is not None and self.version.total_bytes == self.size_bytes

    @property
    def is_whole_video(self) -> bool:
        """Whether the MP4's own boxes say that nothing is missing."""
        try:
            return is_whole_mp4(self._read_at, self.size_bytes)
        finally:
            os.lseek(self._descriptor, self.size_bytes, os.SEEK_SET)

    def resume(self) -> None:
        """Take over the bytes that an earlier run left, if it is certain what they are.

        Raises:
            LocalError: The file cannot be read.
        """
        try:
            size_bytes = os.fstat(self._descriptor).st_size
            version = self._read_note() if size_bytes else None
            if version is None or not is_mp4(self._read_at(0, HEAD_BYTES)):
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
        """Throw away what is here, to go on with the first byte of `version`.

        Raises:
            LocalError: The file, or the note beside it, cannot be written.
        """
        self.clear()
        self.version = version
        self.write_note()

    def clear(self) -> None:
        """Throw away what is here.

        Raises:
            LocalError: The file cannot be written.
        """
        self.version = None
        try:
            # In this order, so that at no instant the note speaks of other bytes.
            self._system.remove(self._note_path)
            os.ftruncate(self._descriptor, 0)
            os.lseek(self._descriptor, 0, os.SEEK_SET)
        except OSError as error:
            raise disk_error(self.path, error) from error
        self.size_bytes = 0
        self._digest = hashlib.sha256()

    def append(self, chunk: bytes) -> None:
        """Write a chunk; what is counted and hashed is what was written.

        Raises:
            LocalError: The disk is full, say.
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
        """Bring the bytes to the disk.

        Raises:
            LocalError: It does not take them; they are void.
        """
        try:
            self._system.sync_file(self._descriptor)
        except OSError as error:
            # What the system could not write, it may have dropped from memory as well.
            self.clear()
            raise disk_error(self.path, error) from error

    def has_name(self, path: Path) -> bool:
        """Return whether `path` itself, not a link there, is this very file."""
        return has_name(self._descriptor, path)

    def write_note(self) -> None:
        """Note beside the file what its bytes are, if that can be said for certain.

        Raises:
            LocalError: The note cannot be written.
        """
        if self.version is None or self.version.etag is None:
            return
        note = {"schema": 1, "boot_id": self._system.boot_id(), **asdict(self.version)}
        try:
            self._system.remove(self._note_path)
            # Exclusive, so that no link that was put there is followed.
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
            with os.fdopen(os.open(self._note_path, flags, 0o600), "wb") as file:
                file.write(json.dumps(note).encode())
        except OSError as error:
            raise disk_error(self._note_path, error) from error

    def drop_note(self) -> None:
        """Remove the note; only while the part has its name, as the next writer's is the same."""
        self._unlink(self._note_path)

    def drop(self) -> None:
        """Remove the part file and its note, if they are still this writer's."""
        if self.has_name(self.path):
            self.drop_note()
            if not self._system.moves_open_files:
                self.close()
            self._unlink(self.path)

    def close(self) -> None:
        """Close the file, and with it drop the lock."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def _read_at(self, offset: int, size_bytes: int) -> bytes:
        os.lseek(self._descriptor, offset, os.SEEK_SET)
        return os.read(self._descriptor, size_bytes)

    def _read_note(self) -> Version | None:
        """Return what the note says, None unless it can be relied on."""
        try:
            with self._note_path.open("rb") as file:
                value: object = json.loads(file.read(_LONGEST_NOTE_BYTES))
        except (OSError, ValueError, RecursionError):
            return None
        note = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
        match note:
            case {
                "schema": 1,
                "boot_id": boot_id,
                "url_path": str(url_path),
                "etag": str(etag),
                "total_bytes": int() | None as total_bytes,
                # After a power cut the disk may lack, or hold zeros for, what the part once held.
            } if boot_id == self._system.boot_id():
                return Version(url_path=url_path, etag=etag, total_bytes=total_bytes)
            case _:
                return None

    def _unlink(self, path: Path) -> None:
        try:
            self._system.remove(path)
        except OSError:
            # Left over, it is cleared by the next download of this target.
            return


def has_name(descriptor: int, path: Path) -> bool:
    """Return whether `path` itself, not a link there, is the open file."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except OSError:
        return False
