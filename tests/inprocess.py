"""A command line carried out in this process, with streams, folder and environment of its own."""

import io
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from types import FrameType
from typing import BinaryIO, Final, NamedTuple, NoReturn

from omniedit.cli.main import run
from omniedit.policy import Policy
from omniedit.system import SYSTEM_CLOCK, Clock
from tests.policies import HURRIED

# What a stream is made of before anybody can ask for something else.
_ENCODING: Final = "PYTHONIOENCODING"
_STREAMS: Final = ("stdin", "stdout", "stderr")


class Outcome(NamedTuple):
    """The exit status of a command line, and all that it wrote."""

    status: int
    stdout: bytes
    stderr: bytes


class _Stderr(io.TextIOWrapper):
    """Standard error, with somebody who hears what is said there."""

    hear: Callable[[str], object] | None = None

    def write(self, text: str, /) -> int:
        count = super().write(text)
        if self.hear is not None:
            self.hear(text)
        return count


class TooSlowError(AssertionError):
    """A command line did not come to its end in time."""


def needs_process(argv: tuple[str, ...], environ: Mapping[str, str]) -> bool:
    """Return whether only a process of its own shows what a command line does.

    Args:
        argv: What `main` answers before the parser is loaded.
        environ: What is set for this command; the interpreter itself heeds some of it.
    """
    is_interpreters = any(
        name.startswith(("PYTHON", "LC_", "LANG")) and name != _ENCODING for name in environ
    )
    # Signal handlers, folder and environment are the main thread's.
    is_elsewhere = threading.current_thread() is not threading.main_thread()
    return is_interpreters or is_elsewhere or argv[:1] == ("__complete",)


def carry_out(
    argv: Sequence[str],
    *,
    folder: Path,
    environ: Mapping[str, str],
    stdin: bytes = b"",
    stderr_path: Path | None = None,
    hear: Callable[[str], object] | None = None,
    policy: Policy = HURRIED,
    clock: Clock = SYSTEM_CLOCK,
    timeout_s: float = 60.0,
) -> Outcome:
    """Carry out a command line, and leave this process as it was.

    Args:
        argv: Without the name of the command.
        folder: Where it runs.
        environ: All that is set.
        stdin: All that comes from there.
        stderr_path: Where others may read what was said so far.
        hear: Gets what is said on stderr, while it is said.
        policy: How long it rests and waits.
        clock: By which it rests and waits.
        timeout_s: How long it may take.

    Raises:
        TooSlowError: It took longer than `timeout_s`.
    """
    with ExitStack() as stack:
        source, stdout, stderr = (stack.enter_context(tempfile.TemporaryFile()) for _ in _STREAMS)
        if stderr_path is not None:
            stderr = stack.enter_context(stderr_path.open("w+b"))
        source.write(stdin)
        source.seek(0)
        stack.enter_context(_surroundings(folder, environ))
        streams = stack.enter_context(_standard_streams(source, stdout, stderr, environ, hear))
        with _deadline(argv, timeout_s):
            status = run(list(argv), os.environ, policy=policy, clock=clock)
        for stream in streams:
            stream.flush()
        return Outcome(status, _content(stdout), _content(stderr))


@contextmanager
def _surroundings(folder: Path, environ: Mapping[str, str]) -> Generator[None]:
    """Be in a folder, with nothing but `environ` set."""
    before, back, temporary = dict(os.environ), Path.cwd(), tempfile.tempdir
    _change_environ(before, environ)
    os.chdir(folder)
    tempfile.tempdir = None  # it would be that of whoever asked first
    try:
        yield
    finally:
        tempfile.tempdir = temporary
        os.chdir(back)
        _change_environ(dict(os.environ), before)


def _change_environ(before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """Set what differs: every look at `os.environ` itself encodes and decodes."""
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
    hear: Callable[[str], object] | None,
) -> Generator[tuple[io.TextIOWrapper, io.TextIOWrapper]]:
    """Replace the standard streams by what the interpreter makes of these files."""
    named, _, errors = environ.get(_ENCODING, "").partition(":")
    encoding = named or "utf-8"
    # `C.UTF-8`, which tests run in, has names of files in mind.
    wrapped = (
        io.TextIOWrapper(stdin, encoding, errors or "surrogateescape"),
        io.TextIOWrapper(stdout, encoding, errors or "surrogateescape"),
        _Stderr(stderr, encoding, "backslashreplace", line_buffering=True),
    )
    wrapped[2].hear = hear
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
    """Interrupt the main thread where a block does not end in time, to within a second."""

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
            # Whatever came of it: a command turns an interrupt into an exit status.
            message = f"no end within {timeout_s} s: {' '.join(argv)}"
            raise TooSlowError(message)


class _Watchdog(threading.Thread):
    """Interrupts the main thread at its deadline: one for all commands, which are thousands."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._lock = threading.Lock()
        self._ends_at: float | None = None
        self._is_over = False

    def begin(self, timeout_s: float) -> None:
        """Let the main thread go on for so long."""
        with self._lock:
            self._ends_at, self._is_over = time.monotonic() + timeout_s, False

    def end(self) -> bool:
        """Let it go on, and return whether it was interrupted."""
        with self._lock:
            self._ends_at = None
            return self._is_over

    def run(self) -> None:
        """Look at the clock once a second."""
        main = threading.main_thread().ident
        assert main is not None
        while True:
            time.sleep(1)
            with self._lock:
                if self._ends_at is not None and time.monotonic() > self._ends_at:
                    self._ends_at, self._is_over = None, True
                    signal.pthread_kill(main, signal.SIGINT)


@cache
def _watchdog() -> _Watchdog:
    started = _Watchdog()
    started.start()
    return started


def _content(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read()
