"""Run a command line inside this process, with its own streams, folder and environment."""

import io
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from types import FrameType
from typing import BinaryIO, Final, NoReturn

from omniedit.cli.main import run
from omniedit.policy import Policy
from omniedit.system import SYSTEM_CLOCK, Clock
from tests.policies import HURRIED

# The interpreter reads this variable when it creates the standard streams.
_ENCODING: Final = "PYTHONIOENCODING"
_STREAMS: Final = ("stdin", "stdout", "stderr")


class _Stderr(io.TextIOWrapper):
    """Standard error with a callback for what is written."""

    on_write: Callable[[str], object] | None = None

    def write(self, text: str, /) -> int:
        count = super().write(text)
        if self.on_write is not None:
            self.on_write(text)
        return count


class TooSlowError(AssertionError):
    """A command line did not end in time."""


def needs_process(argv: tuple[str, ...], environ: Mapping[str, str]) -> bool:
    """Return whether a command line can only be tested in its own process.

    Args:
        argv: The arguments; `main` handles some of them before it loads the parser.
        environ: The variables set for this command; some of them concern the interpreter itself.
    """
    affects_interpreter = any(
        name.startswith(("PYTHON", "LC_", "LANG")) and name != _ENCODING for name in environ
    )
    # Signal handlers can only be set in the main thread, and threads share folder and environment.
    is_other_thread = threading.current_thread() is not threading.main_thread()
    return affects_interpreter or is_other_thread or argv[:1] == ("__complete",)


def run_in_process(
    argv: Sequence[str],
    *,
    folder: Path,
    environ: Mapping[str, str],
    stdin: bytes = b"",
    stderr_path: Path | None = None,
    on_stderr: Callable[[str], object] | None = None,
    policy: Policy = HURRIED,
    clock: Clock = SYSTEM_CLOCK,
    timeout_s: float = 60.0,
) -> subprocess.CompletedProcess[bytes]:
    """Run a command line, then restore the state of this process.

    Args:
        argv: The arguments, without the command's name.
        folder: The current folder.
        environ: The complete environment.
        stdin: The complete standard input.
        stderr_path: A file for stderr, so that others can read it while the command runs.
        on_stderr: Called with each text that is written to stderr.
        policy: The policy.
        clock: The clock for rests and waits.
        timeout_s: How long it may take.

    Raises:
        TooSlowError: If it takes longer than `timeout_s`.
    """
    with ExitStack() as stack:
        source, stdout, stderr = (stack.enter_context(tempfile.TemporaryFile()) for _ in _STREAMS)
        if stderr_path is not None:
            stderr = stack.enter_context(stderr_path.open("w+b"))
        source.write(stdin)
        source.seek(0)
        stack.enter_context(_folder_and_environ(folder, environ))
        streams = stack.enter_context(_standard_streams(source, stdout, stderr, environ, on_stderr))
        with _deadline(argv, timeout_s):
            status = run(list(argv), os.environ, policy=policy, clock=clock)
        for stream in streams:
            stream.flush()
        return subprocess.CompletedProcess(argv, status, _content(stdout), _content(stderr))


@contextmanager
def _folder_and_environ(folder: Path, environ: Mapping[str, str]) -> Generator[None]:
    """Change to a folder and set exactly the variables in `environ` for the block."""
    before = dict(os.environ)
    back = Path.cwd()
    temporary = tempfile.tempdir
    _change_environ(before, environ)
    os.chdir(folder)
    tempfile.tempdir = None  # drop the cached value of the first caller
    try:
        yield
    finally:
        tempfile.tempdir = temporary
        os.chdir(back)
        _change_environ(dict(os.environ), before)


def _change_environ(before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """Set only what differs: every access to `os.environ` encodes and decodes."""
    for name in before.keys() - after.keys():
        del os.environ[name]
    for name, value in after.items():
        if before.get(name) != value:
            os.environ[name] = value
    if before.get("TZ") != after.get("TZ"):
        time.tzset()


@contextmanager
def _standard_streams(
    stdin: BinaryIO,
    stdout: BinaryIO,
    stderr: BinaryIO,
    environ: Mapping[str, str],
    on_stderr: Callable[[str], object] | None,
) -> Generator[tuple[io.TextIOWrapper, io.TextIOWrapper]]:
    """Replace the standard streams by those that the interpreter would create from these files."""
    named, _, errors = environ.get(_ENCODING, "").partition(":")
    encoding = named or "utf-8"
    # In the C.UTF-8 locale of the tests, stdin and stdout use `surrogateescape` (PEP 538).
    wrapped = (
        io.TextIOWrapper(stdin, encoding, errors or "surrogateescape"),
        io.TextIOWrapper(stdout, encoding, errors or "surrogateescape"),
        _Stderr(stderr, encoding, "backslashreplace", line_buffering=True),
    )
    wrapped[2].on_write = on_stderr
    names = [*_STREAMS, *(f"__{name}__" for name in _STREAMS)]
    before = {name: getattr(sys, name) for name in names}
    for name, stream in zip(names, wrapped * 2, strict=True):
        setattr(sys, name, stream)
    try:
        yield wrapped[1], wrapped[2]
    finally:
        for name, stream in before.items():
            setattr(sys, name, stream)
        for stream in wrapped:
            stream.detach()


@contextmanager
def _deadline(argv: Sequence[str], timeout_s: float) -> Generator[None]:
    """Interrupt the main thread if the block does not end in time, accurate to a second."""

    def fail(_number: int, _frame: FrameType | None) -> NoReturn:
        raise TooSlowError

    before = signal.signal(signal.SIGINT, fail)
    watchdog = _watchdog()
    watchdog.begin(timeout_s)
    try:
        yield
    finally:
        is_over = watchdog.end()
        signal.signal(signal.SIGINT, before)
        if is_over:
            # Whatever the outcome: a command turns an interrupt into an exit status.
            message = f"no end within {timeout_s} s: {' '.join(argv)}"
            raise TooSlowError(message)


class _Watchdog(threading.Thread):
    """Interrupts the main thread at a deadline; one thread serves thousands of commands."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._lock = threading.Lock()
        self._ends_at: float | None = None
        self._is_over = False

    def begin(self, timeout_s: float) -> None:
        """Start a timeout for the main thread."""
        with self._lock:
            self._ends_at = time.monotonic() + timeout_s
            self._is_over = False

    def end(self) -> bool:
        """Stop the timeout and return whether the main thread was interrupted."""
        with self._lock:
            self._ends_at = None
            return self._is_over

    def run(self) -> None:
        """Check the deadline once a second."""
        main = threading.main_thread().ident
        assert main is not None
        while True:
            time.sleep(1)
            with self._lock:
                if self._ends_at is not None and time.monotonic() > self._ends_at:
                    self._ends_at = None
                    self._is_over = True
                    signal.pthread_kill(main, signal.SIGINT)


@cache
def _watchdog() -> _Watchdog:
    started = _Watchdog()
    started.start()
    return started


def _content(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read()
