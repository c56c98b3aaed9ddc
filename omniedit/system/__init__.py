"""What operating systems do differently: a class for each, and `THIS_SYSTEM`, the one in use.

No other module asks which system it runs on, except the sandbox, which is independent, and
completion, where every import counts. System calls are passed in, so that each class can be
tested on every system.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from omniedit.system.posix import MacOS, Stopping, System, Waking

__all__ = ["THIS_SYSTEM", "System", "share_heap"]

_M_ARENA_MAX: Final = -8
"""The parameter's number in glibc's `malloc.h`."""

if sys.platform == "win32":
    import msvcrt

    from omniedit.system.windows import Windows

    _LOCKED_OFFSET: Final = 0x7FFF_FFFF  # beyond the content, which stays readable
    _OBEY_ESCAPES: Final = 0x0004  # ENABLE_VIRTUAL_TERMINAL_PROCESSING
    _FILE_SYSTEM_KEY: Final = r"SYSTEM\CurrentControlSet\Control\FileSystem"

    def _lock(descriptor: int) -> None:
        position = os.lseek(descriptor, 0, os.SEEK_CUR)
        os.lseek(descriptor, _LOCKED_OFFSET, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        finally:
            os.lseek(descriptor, position, os.SEEK_SET)

    def _enable_escapes(descriptor: int) -> bool:
        import ctypes  # noqa: PLC0415 - only where there is a console

        kernel32 = ctypes.WinDLL("kernel32")
        handle = ctypes.c_void_p(msvcrt.get_osfhandle(descriptor))
        mode = ctypes.c_uint32()
        if not kernel32.GetConsoleMode(handle, ctypes.byref(mode)):
            return False
        return bool(kernel32.SetConsoleMode(handle, mode.value | _OBEY_ESCAPES))

    def _has_long_paths() -> bool:
        import winreg  # noqa: PLC0415 - only where there is a long path

        try:
            with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, _FILE_SYSTEM_KEY) as key:
                return bool(winreg.QueryValueEx(key, "LongPathsEnabled")[0] == 1)
        except OSError:
            return False

    THIS_SYSTEM: Final[System] = Windows(
        lock=_lock,
        uptime=time.monotonic,
        user_id=lambda: os.environ.get("USERNAME", ""),
        # Closing the console's window sends SIGBREAK, too.
        ending_signals=(signal.SIGINT, signal.SIGTERM, signal.SIGBREAK),
        enable_escapes=_enable_escapes,
        has_long_paths=_has_long_paths,
    )
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _uptime() -> float:
        # On macOS `monotonic` stops while the machine sleeps.
        return time.clock_gettime(time.CLOCK_MONOTONIC)

    def _name_limit(folder: Path) -> int:
        return os.pathconf(folder, "PC_NAME_MAX")

    def _is_private_group(group_id: int) -> bool:
        """Return whether a group is the one that many systems create for each user."""
        import grp  # noqa: PLC0415 - only for a file that its group may write
        import pwd  # noqa: PLC0415

        try:
            user, group = pwd.getpwuid(os.getuid()), grp.getgrgid(group_id)
        except KeyError:
            return False
        is_own = (user.pw_gid, user.pw_name) == (group.gr_gid, group.gr_name)
        return is_own and {*group.gr_mem} <= {user.pw_name}

    def _wake(thread_id: int) -> None:
        signal.pthread_kill(thread_id, signal.SIGALRM)

    @contextmanager
    def _let_through() -> Generator[None]:
        before = signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _stop() -> None:
        # No shell continues a process that shares its group with the leader of the session.
        if os.getpgrp() != os.getsid(0):
            # To this thread: it does not return from the call before all of them have stopped.
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)

    def _is_in_background(descriptor: int) -> bool:
        # 0: a process that cannot be seen from here, as from within a container.
        return os.tcgetpgrp(descriptor) not in {0, os.getpgrp()}

    _STOPPING: Final = Stopping(signal.SIGTSTP, stop=_stop, is_in_background=_is_in_background)
    _WAKING: Final = Waking(signal.SIGALRM, send=_wake, let_through=_let_through)
    _SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    if sys.platform == "darwin":

        def _full_sync(descriptor: int) -> None:
            # `fsync` does not empty the drive's own cache there.
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)

        THIS_SYSTEM: Final[System] = MacOS(
            lock=_lock,
            uptime=_uptime,
            user_id=os.getuid,
            name_limit=_name_limit,
            ending_signals=_SIGNALS,
            waking=_WAKING,
            stopping=_STOPPING,
            is_private_group=_is_private_group,
            sync=_full_sync,
        )
    else:
        THIS_SYSTEM: Final[System] = System(
            lock=_lock,
            uptime=_uptime,
            user_id=os.getuid,
            name_limit=_name_limit,
            ending_signals=_SIGNALS,
            waking=_WAKING,
            stopping=_STOPPING,
            is_private_group=_is_private_group,
        )


def share_heap() -> None:
    """Have the threads of this process allocate from one heap, where the C library can be told.

    glibc gives threads up to eight heaps a core, and each keeps what its busiest moment took.
    """
    import ctypes  # noqa: PLC0415 - only work with many threads needs it

    # Other C libraries have no such call, and on Windows the library needs a name.
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
