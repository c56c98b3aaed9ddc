"""Linux, and what all systems have in common."""

import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Final, NamedTuple

LONGEST_NAME_BYTES: Final = 255
"""Of a file's name, on every usual file system."""
BOOT_ID_FILE: Final = Path("/proc/sys/kernel/random/boot_id")
"""Where Linux tells which start of the machine this is."""

_BOOT_PRECISION_S: Final = 10.0
_OTHERS: Final = 0o077


class AlarmClock(NamedTuple):
    """Sends this process a signal, which ends whatever its main thread waits for."""

    signal_number: int
    set: Callable[[float], object]
    """Has it sent so many seconds from now; 0: not at all."""


class System:
    """A POSIX system; what others do differently stands in their classes.

    No dataclass: to make one takes a tenth of the time in which a command starts.

    Args:
        lock: Locks an open file for this process alone; fails where another one has it.
        uptime: Returns the seconds since the machine was started.
        user_id: Returns what tells this user from the others.
        name_limit: Returns how many bytes a name in a folder may have.
        ending_signals: The signals that end a command.
        alarm_clock: None where no signal ends what the main thread waits for.
        sync: Brings an open file to the disk.
        boot_id_file: Tells which start of the machine this is; may be missing.
    """

    moves_open_files: bool = True
    """Whether a file can be renamed and removed while it is open."""
    has_byte_names: bool = True
    """Whether file names are bytes, rather than text."""

    def __init__(
        self,
        *,
        lock: Callable[[int], object],
        uptime: Callable[[], float],
        user_id: Callable[[], object],
        name_limit: Callable[[Path], int],
        ending_signals: tuple[int, ...],
        alarm_clock: AlarmClock | None,
        sync: Callable[[int], object] = os.fsync,
        boot_id_file: Path = BOOT_ID_FILE,
    ) -> None:
        self.user_id = user_id
        self.ending_signals = ending_signals
        self.alarm_clock = alarm_clock
        self._lock = lock
        self._uptime = uptime
        self._name_limit = name_limit
        self._sync = sync
        self._boot_id_file = boot_id_file

    def try_lock(self, descriptor: int) -> bool:
        """Lock an open file for this process alone; return whether it was free.

        Raises:
            OSError: Its file system has no locks.
        """
        try:
            self._lock(descriptor)
        except BlockingIOError:
            return False
        return True

    def sync_file(self, descriptor: int) -> None:
        """Bring an open file to the disk.

        Raises:
            OSError: The disk does not take it.
        """
        self._sync(descriptor)

    def sync_folder(self, folder: Path) -> None:
        """Bring the names in a folder to the disk, where the system can."""
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
        """Give a file another name, which it takes from the file that has it.

        Raises:
            OSError: It cannot have it.
        """
        source.replace(target)

    def remove(self, path: Path) -> None:
        """Remove a file; one that is missing is fine.

        Raises:
            OSError: It cannot be removed.
        """
        path.unlink(missing_ok=True)

    def longest_name_bytes(self, folder: Path) -> int:
        """Return how long a name in a folder may be."""
        try:
            longest_bytes = self._name_limit(folder)
        except (OSError, ValueError):
            return LONGEST_NAME_BYTES
        return longest_bytes if longest_bytes > 0 else LONGEST_NAME_BYTES

    def path_fault(self, path: Path | str) -> str | None:
        """Return why no file can have this absolute path, None where one can."""
        return None

    def name_key(self, path: str) -> str:
        """Return what two paths have in common that mean one file."""
        return path

    def is_private(self, mode: int) -> bool:
        """Return whether a file of this mode is its owner's alone."""
        return stat.S_IMODE(mode) & _OTHERS == 0

    def boot_id(self) -> str:
        """Return what changes with every start of the machine."""
        try:
            return self._boot_id_file.read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            # Clocks are set right by less than that; who sets one by more downloads once more.
            return f"{(time.time() - self._uptime()) / _BOOT_PRECISION_S:.0f}"

    def obeys_escapes(self, fileno: Callable[[], int]) -> bool:
        """Return whether a terminal obeys escape sequences, having told it to."""
        return True

    def pieces(self, timeout_s: float | None) -> Iterator[float | None]:
        """Yield, for waits one after the other, time-outs that come to `timeout_s` in all."""
        yield timeout_s

    def wait(self, event: Event, timeout_s: float | None = None) -> bool:
        """Wait until an event happens, a signal comes or the time is up; return whether it did."""
        return any(event.wait(piece_s) for piece_s in self.pieces(timeout_s))
