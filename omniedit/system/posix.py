"""Linux and macOS, and what every system has in common."""

import os
import stat
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Event
from typing import Final, NamedTuple

LONGEST_NAME_BYTES: Final = 255
"""The longest file name, on every usual file system."""
BOOT_ID_FILE: Final = Path("/proc/sys/kernel/random/boot_id")
"""Holds an ID of the current boot on Linux."""

_BOOT_PRECISION_S: Final = 10.0
_OTHERS: Final = 0o077
_ROOT: Final = 0


class Waking(NamedTuple):
    """Interrupts whatever a thread waits for, by a signal of its own."""

    signal_number: int
    send: Callable[[int], object]
    """Sends it to the thread with this ID."""
    let_through: Callable[[], AbstractContextManager[object]]
    """Unblocks it for a block: a process may have been started with it blocked."""


class Stopping(NamedTuple):
    """Stops this process until its shell continues it, perhaps in the background."""

    signal_number: int
    """What asks for that: Ctrl-Z."""
    stop: Callable[[], object]
    """Returns when the process goes on."""
    is_in_background: Callable[[int], bool]
    """Returns whether another job has the terminal behind this descriptor."""


class System:
    """A POSIX system; subclasses override what differs elsewhere.

    Not a dataclass: creating one takes a tenth of a command's start-up time.

    Args:
        lock: Locks an open file for this process alone; raises if another process has it.
        uptime: Returns the seconds since boot.
        user_id: Returns an ID of the current user.
        name_limit: Returns the longest file name in a folder, in bytes.
        ending_signals: The signals that end a command.
        waking: None where no signal interrupts what a thread waits for.
        stopping: None where no process can be stopped.
        is_private_group: Returns whether a group has no other member than the current user.
        sync: Flushes an open file to disk.
        boot_id_file: Holds an ID of the current boot; may be missing.
    """

    moves_open_files: bool = True
    """Whether a file can be renamed and removed while it is open."""
    has_byte_names: bool = True
    """Whether file names are bytes, not text."""
    end_of_input: str = "Ctrl-D"
    """What ends an input that is typed, on a line of its own."""

    def __init__(
        self,
        *,
        lock: Callable[[int], object],
        uptime: Callable[[], float],
        user_id: Callable[[], object],
        name_limit: Callable[[Path], int],
        ending_signals: tuple[int, ...],
        waking: Waking | None,
        stopping: Stopping | None = None,
        is_private_group: Callable[[int], bool] = lambda _: False,
        sync: Callable[[int], object] = os.fsync,
        boot_id_file: Path = BOOT_ID_FILE,
    ) -> None:
        self.user_id = user_id
        self.ending_signals = ending_signals
        self.waking = waking
        self.stopping = stopping
        self._is_private_group = is_private_group
        self._lock = lock
        self._uptime = uptime
        self._name_limit = name_limit
        self._sync = sync
        self._boot_id_file = boot_id_file

    def try_lock(self, descriptor: int) -> bool:
        """Lock an open file for this process alone; return whether it was free.

        Raises:
            OSError: If its file system has no locks.
        """
        try:
            self._lock(descriptor)
        except BlockingIOError:
            return False
        return True

    def sync_file(self, descriptor: int) -> None:
        """Flush an open file to disk.

        Raises:
            OSError: If the disk does not take it.
        """
        self._sync(descriptor)

    def sync_folder(self, folder: Path) -> None:
        """Flush the names in a folder to disk, where the system can."""
        try:
            descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
        except OSError:
            # A folder may be writable without being readable.
            return
        try:
            os.fsync(descriptor)
        except OSError:
            # Some file systems have no such operation; the names are visible all the same.
            return
        finally:
            os.close(descriptor)

    def replace(self, source: Path, target: Path) -> None:
        """Rename a file, replacing `target` if it exists.

        Raises:
            OSError: If it cannot be renamed.
        """
        source.replace(target)

    def remove(self, path: Path) -> None:
        """Remove a file, if it exists.

        Raises:
            OSError: If it cannot be removed.
        """
        path.unlink(missing_ok=True)

    def longest_name_bytes(self, folder: Path) -> int:
        """Return how long a file name in a folder may be."""
        try:
            longest_bytes = self._name_limit(folder)
        except (OSError, ValueError):
            return LONGEST_NAME_BYTES
        return longest_bytes if longest_bytes > 0 else LONGEST_NAME_BYTES

    def path_fault(self, path: Path | str) -> str | None:
        """Return why no file can have this absolute path, or None."""
        return None

    def name_key(self, path: str) -> str:
        """Return a key that is equal for all spellings of one path."""
        return path

    def is_private(self, mode: int) -> bool:
        """Return whether only the owner can access a file of this mode."""
        return stat.S_IMODE(mode) & _OTHERS == 0

    def write_fault(self, found: os.stat_result, *, folder_owner: int) -> str | None:
        """Return why another user may have written a file or folder, or None.

        Args:
            found: Describes it.
            folder_owner: The owner of its folder, whom root trusts.
        """
        user = self.user_id()
        if found.st_uid not in {user, _ROOT} and (user, found.st_uid) != (_ROOT, folder_owner):
            return f"it belongs to another user ({found.st_uid})"
        if found.st_mode & stat.S_IWOTH:
            return "other users may write to it"
        if found.st_mode & stat.S_IWGRP and not self._is_private_group(found.st_gid):
            return "its group may write to it"
        return None

    def boot_id(self) -> str:
        """Return an ID of the current boot."""
        try:
            return self._boot_id_file.read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            # Clock corrections are smaller than that; after a larger one a download starts over.
            return f"{(time.time() - self._uptime()) / _BOOT_PRECISION_S:.0f}"

    def obeys_escapes(self, fileno: Callable[[], int]) -> bool:
        """Return whether a terminal obeys escape sequences, after enabling them."""
        return True

    def pieces(self, timeout_s: float | None) -> Iterator[float | None]:
        """Split a wait into waits that a signal can interrupt."""
        yield timeout_s

    def wait(self, event: Event, timeout_s: float | None = None) -> bool:
        """Wait for an event; return False if the time is up first."""
        return any(event.wait(piece_s) for piece_s in self.pieces(timeout_s))


class MacOS(System):
    """macOS, where only a full sync empties the drive's own cache."""

    def sync_file(self, descriptor: int) -> None:
        """Flush an open file to disk."""
        try:
            self._sync(descriptor)
        except OSError:
            # Network file systems have no full sync.
            os.fsync(descriptor)

    def name_key(self, path: str) -> str:
        """Return the path without case and composition, which its file systems ignore."""
        return unicodedata.normalize("NFC", path).casefold()
