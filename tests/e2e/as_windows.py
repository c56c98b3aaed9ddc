"""Run the command line on a simulation of Windows, as far as POSIX allows it.

POSIX modules and names are missing, open files can be neither renamed nor removed, only the signals
of Windows exist, and standard output uses a code page and CRLF line breaks.

With `--serve` it runs many command lines, each in a fork of a process with everything imported.
"""

# Modules that check the system on import must be imported before it changes. omniedit, which is
# being tested, is imported afterwards.
import errno
import fcntl
import gc
import io
import json
import os
import pkgutil
import select
import signal
import sys
import time
import traceback
from importlib import import_module
from types import ModuleType
from typing import Any, Final

PRELOADED: Final = (
    *("asyncio", "concurrent.futures", "getpass", "multiprocessing", "platform", "shutil"),
    *("subprocess", "tempfile", "uuid", "sqlite3", "tomllib", "csv", "ctypes", "zoneinfo"),
    *("av", "httpcore", "httpx", "platformdirs", "typer.main", "typer.testing"),
    *("rich.console", "rich.progress_bar", "rich.table", "rich.live", "rich.markup"),
    *("werkzeug.serving", "werkzeug.routing", "werkzeug.formparser", "werkzeug.wrappers"),
)
MODULES: Final = (
    *("fcntl", "grp", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty"),
)
NAMES: Final[dict[ModuleType, tuple[str, ...]]] = {
    os: (
        *("O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "chown", "fchmod", "fork"),
        *(
            "getegid",
            "geteuid",
            "getgid",
            "getpgrp",
            "getsid",
            "getuid",
            "killpg",
            "lchown",
            "mkfifo",
            "openpty",
        ),
        *("pathconf", "sched_getaffinity", "setsid", "statvfs", "sysconf", "uname", "umask"),
    ),
    select: ("epoll", "poll"),
    signal: (
        *(
            "ITIMER_REAL",
            "SIGALRM",
            "SIGHUP",
            "SIGPIPE",
            "SIGQUIT",
            "SIGSTOP",
            "SIGTSTP",
            "SIGUSR1",
        ),
        *("alarm", "pthread_kill", "pthread_sigmask", "setitimer", "sigwait"),
    ),
    time: ("CLOCK_MONOTONIC", "clock_gettime", "tzset"),
}


def become_windows() -> None:
    """Remove what Windows lacks."""
    for name in PRELOADED:
        import_module(name)
    sys.modules["msvcrt"] = _msvcrt()
    for name in MODULES:
        # For the import system, None means that the module does not exist.
        sys.modules[name] = None  # type: ignore[assignment]
    for module, names in NAMES.items():
        for name in names:
            if hasattr(module, name):
                delattr(module, name)
    # These were determined on import, some of them only since Python 3.14.
    shutil = vars(import_module("shutil"))
    shutil["_use_fd_functions"] = False
    shutil["_rmtree_impl"] = shutil["_rmtree_unsafe"]
    vars(import_module("tempfile"))["_rmtree_use_dir_fd"] = False
    signal.SIGBREAK = signal.SIGTERM  # type: ignore[attr-defined]
    for name in ("remove", "rename", "replace", "unlink"):
        setattr(os, name, _refusing_open_files(getattr(os, name)))
    sys.platform = "win32"


def _use_code_page() -> None:
    sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding="cp1252", newline="\r\n")
    sys.stderr = io.TextIOWrapper(
        sys.stderr.buffer, encoding="cp1252", newline="\r\n", errors="backslashreplace"
    )


def serve() -> None:
    """Run the command line in each line of stdin, and reply with its exit status."""
    fork = os.fork
    become_windows()
    package = import_module("omniedit")
    for module in pkgutil.walk_packages(package.__path__, "omniedit."):
        import_module(module.name)
    gc.freeze()
    with os.fdopen(os.dup(0), encoding="utf-8") as calls:
        for call in calls:
            child = fork()
            if child == 0:
                _run_and_exit(**json.loads(call))
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            os.write(1, f"{status}\n".encode())


def _run_and_exit(
    *, argv: list[str], folder: str, environ: dict[str, str], streams: list[str]
) -> None:
    """Run a command line in this process, then exit."""
    end, status = os._exit, 1
    try:
        os.environ.clear()
        os.environ.update(environ)
        os.chdir(folder)
        for number, path in enumerate(streams):
            os.dup2(os.open(path, os.O_RDWR), number)
        sys.argv[1:] = argv
        status = _main()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        end(status)


def _main() -> int:
    _use_code_page()
    from omniedit.__main__ import main  # noqa: PLC0415 - only after the system has changed

    return main()


def _msvcrt() -> Any:
    fake: Any = ModuleType("msvcrt")
    flock = fcntl.flock

    def locking(descriptor: int, mode: int, size_bytes: int) -> None:
        try:
            flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PermissionError(errno.EACCES, "Permission denied") from None

    fake.locking = locking
    fake.LK_NBLCK = 2
    return fake


def _refusing_open_files(function: Any) -> Any:
    """Return a path function that fails if this process has the file open."""
    lstat, fstat = os.lstat, os.fstat

    def refuse(*paths: Any, **options: Any) -> None:
        for path in paths:
            if options or not os.path.lexists(path):
                continue
            found = lstat(path)
            for descriptor in range(256):
                try:
                    is_open = os.path.samestat(fstat(descriptor), found)
                except OSError:
                    continue
                if is_open:
                    raise PermissionError(errno.EACCES, f"{path} is open", path)
        function(*paths, **options)

    return refuse


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--serve"]:
            serve()
        case ["--import", *names]:
            become_windows()
            for module_name in names:
                import_module(module_name)
        case _:
            become_windows()
            sys.exit(_main())
