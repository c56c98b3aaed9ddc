"""The command line with shortened waits and timeouts, in forked processes.

As a script it runs many command lines, each in a fork of a process that has imported everything:
that saves a fifth of a second per command. Its argument is the path of a socket on which it accepts
the commands of shells (`shell_command.py`).
"""

import atexit
import gc
import io
import json
import marshal
import os
import pkgutil
import resource
import select
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
from contextlib import redirect_stderr, redirect_stdout, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NoReturn, TypedDict

# For a script, the first entry is its own folder; replace it by the root of the repository.
sys.path[0] = str(Path(__file__).parents[2])


import omniedit  # noqa: E402 - as above
from omniedit.cli.main import run  # noqa: E402 - as above
from omniedit.policy import Policy  # noqa: E402 - as above
from tests.e2e.effects import die_after, die_before  # noqa: E402 - as above
from tests.policies import HURRIED, short_budget  # noqa: E402 - as above

SHORT_RETRIES: Final = "HURRIED_SHORT_RETRIES"
"""The variable that shortens retries, for tests in which they never succeed."""

WATCH: Final = "WATCHED_HOOK"
"""The variable with the path of code to run before a shell's command, to watch it."""


class CommandRun(TypedDict):
    """One command line to run."""

    argv: list[str]
    environ: dict[str, str]
    policy: dict[str, Any]
    folder: str
    stdout: str
    stderr: str
    dies_before: int
    """The number of the effect, from 1, right before which it is killed; 0 for none."""
    dies_after: str
    """The name of the effect after whose first occurrence it is killed; empty for none."""
    largest_file: int | None
    """The maximum size of a file in bytes (`ulimit -f`)."""


def serve(path: str) -> None:
    """Run the commands from stdin, those of one line concurrently, and the commands of shells.

    Each line is answered twice: first with the process IDs, then with the exit statuses.

    Args:
        path: The path of the socket for the commands of shells.
    """
    for module in pkgutil.walk_packages(omniedit.__path__, "omniedit."):
        if module.name != "omniedit.__main__":
            with suppress(ModuleNotFoundError):  # an extra is not installed
                import_module(module.name)
    _warm_up()
    gc.collect()
    # A garbage collection in a fork would copy every memory page with an object.
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)  # as `omniedit/__main__.py` sets it
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        call = _Server(listener).next_call()
    # Here we are in the fork of a command: `next_call` returns nowhere else.
    call.run_in_process()


class _Server:
    """Starts processes on request, and reports how they ended."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._requests = os.fdopen(os.dup(0), encoding="utf-8")
        self._replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
        self._statuses: dict[int, int | None] | None = None
        self._callers: dict[int, socket.socket] = {}
        # SIGCHLD writes to this pair, so that `select` notices the end of a process.
        self._wakeup_reader, self._wakeup_writer = socket.socketpair()
        for end in (self._wakeup_reader, self._wakeup_writer):
            end.settimeout(0)
        signal.set_wakeup_fd(self._wakeup_writer.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def next_call(self) -> "_Call":
        """Serve until stdin ends; return only in the fork for a command of a shell."""
        while True:
            by_connection = {connection: pid for pid, connection in self._callers.items()}
            sources: list[Any] = [
                self._requests,
                self._listener,
                self._wakeup_reader,
                *by_connection,
            ]
            for source in select.select(sources, [], [])[0]:
                if source is self._requests:
                    self._start_commands()
                elif source is self._wakeup_reader:
                    self._wakeup_reader.recv(4096)
                elif source is self._listener:
                    if call := self._accept():
                        return call
                else:
                    _forward_signals(source, by_connection[source])
            self._report_exits()

    def _start_commands(self) -> None:
        line = self._requests.readline()
        if not line:
            os._exit(0)
        children = [_fork(command) for command in json.loads(line)]
        self._statuses = dict.fromkeys(children)
        self._reply(children)

    def _accept(self) -> "_Call | None":
        connection, _ = self._listener.accept()
        head, streams, _, _ = socket.recv_fds(connection, 8, 3)
        with connection.makefile("rb") as file:
            request = file.read(int.from_bytes(head, "little"))
        try:
            call = _Call(streams, *marshal.loads(request))  # noqa: S302 - from a test
        except (EOFError, ValueError):  # the caller was killed before it had sent its request
            for stream in streams:
                os.close(stream)
            connection.close()
            return None
        child = os.fork()
        if child == 0:
            _forget_server()
            return call
        for stream in streams:
            os.close(stream)
        self._callers[child] = connection
        return None

    def _report_exits(self) -> None:
        if self._statuses is not None:
            for pid in [pid for pid, status in self._statuses.items() if status is None]:
                self._statuses[pid] = _status_of(pid)
            if None not in self._statuses.values():
                self._reply([*self._statuses.values()])
                self._statuses = None
        for pid, connection in [*self._callers.items()]:
            status = _status_of(pid)
            if status is not None:
                with suppress(OSError), connection:
                    connection.sendall(status.to_bytes(2, "little", signed=True))
                del self._callers[pid]

    def _reply(self, numbers: object) -> None:
        self._replies.write(json.dumps(numbers) + "\n")
        self._replies.flush()


def _forward_signals(caller: socket.socket, pid: int) -> None:
    """Pass the caller's signals on to a process, and kill it when the caller has gone."""
    try:
        signals = caller.recv(16)
    except OSError:
        signals = b""
    for number in signals or [signal.SIGKILL]:
        os.kill(pid, number)


def _status_of(pid: int) -> int | None:
    """Return the exit status of a process that has ended."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def _forget_server() -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def _warm_up() -> None:
    """Run an edit, so that every fork inherits what it imports, builds and caches."""
    edit = "--sandbox", "edit", "https://example.com/clip.mp4", "warmer [sandbox:seconds=0]"
    with (
        tempfile.TemporaryDirectory() as folder,
        redirect_stdout(io.StringIO()),
        redirect_stderr(io.StringIO()),
    ):
        environ = {"OMNIEDIT_STATE_DIR": folder, "OMNIEDIT_CONFIG_DIR": folder}
        run(["--help"], environ)
        run([*edit, "--output", f"{folder}/out.mp4"], environ, policy=HURRIED)


class _Call:
    """A command called by a shell; the other end of the connection is `shell_command.py`."""

    def __init__(
        self,
        streams: list[int],
        argv: list[str],
        environ: dict[bytes, bytes],
        folder: str,
        numbers: list[int],
    ) -> None:
        self._argv = argv
        self._environ = environ
        self._folder = folder
        self._streams = dict(zip(numbers, streams, strict=True))

    def run_in_process(self) -> NoReturn:
        """Run the command in this process, then exit."""
        status = 1
        try:
            self._adopt_surroundings()
            status = run(self._argv, os.environ, policy=_policy())
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            _end(status)

    def _adopt_surroundings(self) -> None:
        os.environb.clear()
        os.environb.update(self._environ)
        time.tzset()
        os.chdir(self._folder)
        for number in range(3):
            # The caller may have closed this stream.
            os.close(number)
            if number in self._streams:
                os.dup2(self._streams[number], number)
                os.close(self._streams[number])
        # Reopen the streams: whether one is seekable is determined when it is opened.
        sys.stdin = self._open_stream(0, "r", errors="surrogateescape")
        sys.stdout = self._open_stream(1, "w", errors="surrogateescape")
        sys.stderr = self._open_stream(2, "w", errors="backslashreplace", buffering=1)
        if watch := os.environ.get(WATCH):
            exec(Path(watch).read_text("utf-8"), {})  # noqa: S102 - from a test

    def _open_stream(self, number: int, mode: str, *, errors: str, buffering: int = -1) -> Any:
        if number not in self._streams:
            return None
        return open(number, mode, buffering, encoding="utf-8", errors=errors)


def _end(status: int) -> NoReturn:
    """End this process like the interpreter, but without tearing down what all forks share."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except OSError:
        status = 120
    os._exit(status)


def _policy() -> Policy:
    return short_budget() if SHORT_RETRIES in os.environ else HURRIED


def _fork(command: CommandRun) -> int:
    child = os.fork()
    if child == 0:
        _forget_server()
        _run_and_exit(command)
    return child


def _run_and_exit(command: CommandRun) -> None:
    """Run a command line in this process, then exit."""
    status = 1
    try:
        os.environ.clear()
        os.environ.update(command["environ"])
        os.chdir(command["folder"])
        for number, name, flags in (
            (0, os.devnull, os.O_RDONLY),
            (1, command["stdout"], os.O_WRONLY),
            (2, command["stderr"], os.O_WRONLY),
        ):
            opened = os.open(name, flags)
            os.dup2(opened, number)
            os.close(opened)
        if command["largest_file"] is not None:
            limit = command["largest_file"]
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        if command["dies_before"]:
            die_before(command["dies_before"])
        if command["dies_after"]:
            die_after(command["dies_after"])
        status = run(command["argv"], os.environ, policy=Policy(**command["policy"]))
        sys.setprofile(None)
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        # Show an exception that escapes from `run`; the process must not return to the server loop.
        traceback.print_exc()
        raise
    finally:
        os._exit(status)


if __name__ == "__main__":
    serve(sys.argv[1])
