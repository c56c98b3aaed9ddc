"""What operating systems do differently: a class for each, `THIS_SYSTEM`, and the clock.

No other module asks which system it runs on, except the sandbox, which is independent, and
completion, where every import counts. A class's rules are apart from its system calls, so that the
rules of each system can be tested on every system.
"""

import os
import re
import signal
import stat
import sys
import threading
import time
import unicodedata
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from math import inf
from pathlib import Path, PureWindowsPath
from typing import Final, NamedTuple

LONGEST_NAME_BYTES: Final = 255
"""The longest file name on common file systems."""
BOOT_ID_FILE: Final = Path("/proc/sys/kernel/random/boot_id")
"""Holds an ID of the current boot on Linux."""

_BOOT_PRECISION_S: Final = 10.0
_OTHERS: Final = 0o077
_ROOT: Final = 0
_M_ARENA_MAX: Final = -8
"""The parameter's number in glibc's `malloc.h`."""

LONGEST_WAIT_S: Final = 0.1
"""The longest single wait, because signals do not interrupt one."""
PATIENCE_S: Final = 2.0
"""How long to retry while another program has a file open."""

_PAUSE_S: Final = 0.05
_LONGEST_PATH: Final = 259
_LONGEST_ADDITION: Final = 25  # what a part file's note adds to the target's name
# Not compiled: only Windows needs them.
_RESERVED: Final = r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[1-9¹²³]) *(?:\..*)?"
_NOT_IN_NAMES: Final = r'[<>:"/\\|?*\x00-\x1f]'


class Waking(NamedTuple):
    """Interrupts a waiting thread by a signal reserved for that."""

    signal_number: int
    send: Callable[[int], object]
    """Sends the signal to the thread with this ID."""
    unblock: Callable[[], AbstractContextManager[object]]
    """Unblocks the signal for a block: the process may have been started with it blocked."""


class Stopping(NamedTuple):
    """Stops this process until its shell continues it, perhaps in the background."""

    signal_number: int
    """The signal that Ctrl-Z sends."""
    stop: Callable[[], object]
    """Stops the process; returns once it is continued."""
    is_in_background: Callable[[int], bool]
    """Returns whether another job owns the terminal behind this descriptor."""


class System:
    """The rules of POSIX; subclasses override what differs elsewhere, and make the system calls."""

    moves_open_files: bool = True
    """Whether a file can be renamed and removed while it is open."""
    has_byte_names: bool = True
    """Whether file names are bytes, not text."""
    end_of_input: str = "Ctrl-D"
    """The keys that end typed input, on a line of their own."""
    boot_id_file: Path = BOOT_ID_FILE
    ending_signals: tuple[int, ...] = ()
    """The signals that end a command."""
    waking: Waking | None = None
    """None if no signal can interrupt a waiting thread."""
    stopping: Stopping | None = None
    """None if processes cannot be stopped."""
    user_id: Callable[[], object]
    lock: Callable[[int], object]
    """Locks an open file for this process alone; raises `busy_error` if another process has it."""
    busy_error: type[OSError] = BlockingIOError
    uptime: Callable[[], float] = staticmethod(time.monotonic)
    name_limit: Callable[[Path], int]
    """Returns the longest file name in a folder, in bytes; not positive if there is no limit."""
    is_private_group: Callable[[int], bool]
    """Returns whether the current user is the only member of a group."""
    sync: Callable[[int], object] = staticmethod(os.fsync)
    """Flushes an open file to disk."""
    link: Callable[[Path, Path], object] = staticmethod(os.link)
    """Gives a file a second name; fails if there is a file of that name."""

    def try_lock(self, descriptor: int) -> bool:
        """Lock an open file for this process alone; return whether it was free.

        Raises:
            OSError: If its file system has no locks.
        """
        try:
            self.lock(descriptor)
        except self.busy_error:
            return False
        return True

    def sync_file(self, descriptor: int) -> None:
        """Flush an open file to disk."""
        self.sync(descriptor)

    def sync_folder(self, folder: Path) -> None:
        """Flush the names in a folder to disk, if the system can."""
        # A folder may be writable without being readable, and some file systems cannot sync folders;
        # the names are visible anyway.
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def replace(self, source: Path, target: Path) -> None:
        """Rename a file, replacing `target` if it exists."""
        source.replace(target)

    def remove(self, path: Path) -> None:
        """Remove a file, if it exists."""
        path.unlink(missing_ok=True)

    def longest_name_bytes(self, folder: Path) -> int:
        """Return the maximum length of a file name in a folder."""
        with suppress(OSError, ValueError):
            longest_bytes = self.name_limit(folder)
            if longest_bytes > 0:
                return longest_bytes
        return LONGEST_NAME_BYTES

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
            found: The status of the file or folder.
            folder_owner: The owner of the folder it is in, whom root trusts.
        """
        user = self.user_id()
        if found.st_uid not in {user, _ROOT} and (user, found.st_uid) != (_ROOT, folder_owner):
            return f"it belongs to another user ({found.st_uid})"
        if found.st_mode & stat.S_IWOTH:
            return "other users may write to it"
        if found.st_mode & stat.S_IWGRP and not self.is_private_group(found.st_gid):
            return "its group may write to it"
        return None

    def boot_id(self) -> str:
        """Return an ID of the current boot."""
        try:
            return self.boot_id_file.read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            # Rounded, to ignore clock corrections; after a large one, downloads start over.
            return f"{(time.time() - self.uptime()) / _BOOT_PRECISION_S:.0f}"

    def make_blocking(self, descriptor: int) -> None:
        """Make a pipe wait for its other end, whatever another process has set."""

    def enables_escapes(self, fileno: Callable[[], int]) -> bool:
        """Enable escape sequences on a terminal; return whether it obeys them."""
        return True

    def waits(self, timeout_s: float | None) -> Iterator[float | None]:
        """Split a wait into waits that a signal can interrupt."""
        yield timeout_s

    def wait(self, event: threading.Event, timeout_s: float | None = None) -> bool:
        """Wait for an event; return False if the time runs out first."""
        return any(event.wait(wait_s) for wait_s in self.waits(timeout_s))


class MacOS(System):
    """macOS, where only a full sync flushes the drive's cache."""

    def sync_file(self, descriptor: int) -> None:
        """Flush an open file to disk."""
        try:
            self.sync(descriptor)
        except OSError:
            # Network file systems have no full sync.
            os.fsync(descriptor)

    def name_key(self, path: str) -> str:
        """Return the path without differences of case and composition, which macOS ignores."""
        return unicodedata.normalize("NFC", path).casefold()


class Windows(System):
    """The rules of Windows.

    It has reserved names, no sync of folders, and waits that no signal interrupts; a file that is
    open can be neither renamed nor removed.
    """

    moves_open_files = False
    has_byte_names = False
    end_of_input = "Ctrl-Z and Enter"
    busy_error = PermissionError
    enable_escapes: Callable[[int], bool]
    """Makes a console obey escape sequences; returns whether it can."""
    has_long_paths: Callable[[], bool]
    """Returns whether paths may be longer than 259 characters."""
    move: Callable[[Path, Path], object] = staticmethod(os.replace)
    sleep: Callable[[float], object] = staticmethod(time.sleep)

    def sync_folder(self, folder: Path) -> None:
        """Do nothing: Windows cannot open folders."""

    def replace(self, source: Path, target: Path) -> None:
        """Rename a file, retrying for a while if another program has either file open."""
        for _ in range(round(PATIENCE_S / _PAUSE_S)):
            try:
                self.move(source, target)
            except PermissionError:
                # Virus scanners and indexers briefly open new files.
                self.sleep(_PAUSE_S)
            else:
                return
        self.move(source, target)

    def longest_name_bytes(self, folder: Path) -> int:
        """Return the maximum length of a file name on every file system of Windows."""
        return LONGEST_NAME_BYTES

    def path_fault(self, path: Path | str) -> str | None:
        """Return why Windows would refuse or misread this path, or None."""
        pure = PureWindowsPath(str(path))
        for name in pure.parts[1:]:
            if found := re.search(_NOT_IN_NAMES, name):
                return f"Windows does not allow {found[0]!r} in a file name"
            if name not in {".", ".."} and name.endswith((" ", ".")):
                return f"Windows does not allow a file name that ends in {name[-1]!r}"
            if is_reserved_name(name):
                return f"{name} is the name of a device on Windows"
        if len(str(pure)) + _LONGEST_ADDITION > _LONGEST_PATH and not self.has_long_paths():
            return f"the path is too long for Windows: {len(str(pure))} characters"
        return None

    def name_key(self, path: str) -> str:
        """Return the path without differences of case, which Windows ignores."""
        return path.casefold()

    def is_private(self, mode: int) -> bool:
        """Return True: access lists decide, and those of a user's profile keep others out."""
        return True

    def write_fault(self, found: os.stat_result, *, folder_owner: int) -> str | None:
        """Return None: access lists decide, as for `is_private`."""
        return None

    def enables_escapes(self, fileno: Callable[[], int]) -> bool:
        """Enable escape sequences on a console; return whether it obeys them."""
        with suppress(OSError, ValueError):
            return self.enable_escapes(fileno())
        return False

    def waits(self, timeout_s: float | None) -> Iterator[float | None]:
        """Split a wait into short ones, between which signals are handled."""
        left_s = inf if timeout_s is None else timeout_s
        deadline = time.monotonic() + left_s
        yield min(LONGEST_WAIT_S, left_s)
        while (left_s := deadline - time.monotonic()) > 0:
            yield min(LONGEST_WAIT_S, left_s)


def is_reserved_name(name: str) -> bool:
    """Return whether a name is reserved for a device on Windows, whatever its suffix."""
    return re.fullmatch(_RESERVED, name, re.IGNORECASE | re.DOTALL) is not None


def share_heap() -> None:
    """Make all threads of this process allocate from one heap, if the C library supports that.

    glibc gives threads up to eight heaps per core, each of which keeps its peak size.
    """
    import ctypes  # noqa: PLC0415 - only needed with many threads

    # Other C libraries have no such function, and on Windows `CDLL` requires a name.
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def exists(path: Path) -> bool:
    """Return whether a path leads to anything; from Python 3.14 on `Path.exists` hides every error.

    Raises:
        OSError: If that cannot be told, for example because a folder may not be entered.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a null character
        return False
    return True


def error_reason(error: Exception) -> str:
    """Return the system's own words for a failed file operation."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


if sys.platform == "win32":
    import msvcrt

    _LOCKED_OFFSET: Final = 0x7FFF_FFFF  # beyond the content, which stays readable
    _OBEY_ESCAPES: Final = 0x0004  # ENABLE_VIRTUAL_TERMINAL_PROCESSING
    _FILE_SYSTEM_KEY: Final = r"SYSTEM\CurrentControlSet\Control\FileSystem"

    class _ThisWindows(Windows):
        """The system calls of Windows."""

        # Closing the console window also sends SIGBREAK.
        ending_signals = (signal.SIGINT, signal.SIGTERM, signal.SIGBREAK)

        @staticmethod
        def user_id() -> str:
            return os.environ.get("USERNAME", "")

        @staticmethod
        def lock(descriptor: int) -> None:
            position = os.lseek(descriptor, 0, os.SEEK_CUR)
            os.lseek(descriptor, _LOCKED_OFFSET, os.SEEK_SET)
            try:
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            finally:
                os.lseek(descriptor, position, os.SEEK_SET)

        @staticmethod
        def enable_escapes(descriptor: int) -> bool:
            import ctypes  # noqa: PLC0415 - only needed on a console

            kernel32 = ctypes.WinDLL("kernel32")
            handle = ctypes.c_void_p(msvcrt.get_osfhandle(descriptor))
            mode = ctypes.c_uint32()
            if not kernel32.GetConsoleMode(handle, ctypes.byref(mode)):
                return False
            return bool(kernel32.SetConsoleMode(handle, mode.value | _OBEY_ESCAPES))

        @staticmethod
        def has_long_paths() -> bool:
            import winreg  # noqa: PLC0415 - only needed for a long path

            try:
                with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, _FILE_SYSTEM_KEY) as key:
                    return bool(winreg.QueryValueEx(key, "LongPathsEnabled")[0] == 1)
            except OSError:
                return False

    THIS_SYSTEM: Final[System] = _ThisWindows()
else:
    import fcntl

    def _wake(thread_id: int) -> None:
        signal.pthread_kill(thread_id, signal.SIGALRM)

    @contextmanager
    def _unblock() -> Generator[None]:
        before = signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _stop() -> None:
        # A process in the session leader's group would stay stopped: no shell continues it.
        if os.getpgrp() != os.getsid(0):
            # Sent to this thread, the call returns only after the whole process was stopped.
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)

    def _is_in_background(descriptor: int) -> bool:
        # 0 stands for a process group that is not visible from here, for example in a container.
        return os.tcgetpgrp(descriptor) not in {0, os.getpgrp()}

    if sys.platform == "darwin":
        _Rules = MacOS
    else:
        _Rules = System

    class _ThisPosix(_Rules):
        """The system calls of Linux and macOS."""

        ending_signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        waking = Waking(signal.SIGALRM, send=_wake, unblock=_unblock)
        stopping = Stopping(signal.SIGTSTP, stop=_stop, is_in_background=_is_in_background)
        user_id = staticmethod(os.getuid)

        @staticmethod
        def lock(descriptor: int) -> None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

        def make_blocking(self, descriptor: int) -> None:
            os.set_blocking(descriptor, True)

        @staticmethod
        def uptime() -> float:
            # On macOS, `time.monotonic` stops while the machine sleeps.
            return time.clock_gettime(time.CLOCK_MONOTONIC)

        @staticmethod
        def name_limit(folder: Path) -> int:
            return os.pathconf(folder, "PC_NAME_MAX")

        @staticmethod
        def is_private_group(group_id: int) -> bool:
            """Return whether a group is the user's own, as many systems create it for each user."""
            import grp  # noqa: PLC0415 - only needed for a file that its group may write
            import pwd  # noqa: PLC0415 - as above

            try:
                user = pwd.getpwuid(os.getuid())
                group = grp.getgrgid(group_id)
            except KeyError:
                return False
            is_own = (user.pw_gid, user.pw_name) == (group.gr_gid, group.gr_name)
            return is_own and {*group.gr_mem} <= {user.pw_name}

        if sys.platform == "darwin":

            @staticmethod
            def sync(descriptor: int) -> None:
                # On macOS, `fsync` does not flush the drive's cache.
                fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)

    THIS_SYSTEM: Final[System] = _ThisPosix()


class Clock(NamedTuple):
    """The current time, and ways to wait."""

    now: Callable[[], float] = time.time  # Unix time
    monotonic: Callable[[], float] = time.monotonic
    wait: Callable[[threading.Event, float], bool] = THIS_SYSTEM.wait
    """Waits for an event, at most for this many seconds; returns whether it was set."""

    def sleep(self, seconds: float) -> None:
        """Wait for this many seconds."""
        self.wait(threading.Event(), seconds)


SYSTEM_CLOCK: Final = Clock()
