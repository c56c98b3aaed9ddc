"""The time that commands take from their spawn, compared with `python -c pass`."""

import compileall
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Self

import omniedit
from tests.benchmarks.verdicts import Verdict
from tests.commandline import COMMAND
from tests.journals import add_task

ROUNDS: Final = 25
_TARGETS: Final[Mapping[str, tuple[Sequence[str], float]]] = {
    "`--version`": (("--version",), 1.5),
    "a TAB after `wait`": (("__complete", "tasks", ""), 1.6),
    "`edit --help`": (("edit", "--help"), 9.0),
    "`list`": (("list",), 6.5),
    "`config show`": (("config", "show"), 6.0),
    "a usage error": (("no-such-command",), 5.4),
}


def measure() -> Iterator[Verdict]:
    """Run all commands alternately, and compare medians."""
    compileall.compile_dir(Path(omniedit.__file__).parent, quiet=2)
    with tempfile.TemporaryDirectory() as name, Listener() as listener:
        folder = Path(name)
        environ = spare_environ(folder)
        for number in range(50):
            add_task(folder / "state", f"task-unified-1757156493-{number:08}", prompt="warmer")
        calls: dict[str, Callable[[], float]] = {
            what: partial(run_timed, [str(COMMAND), *argv], environ)
            for what, (argv, _) in _TARGETS.items()
        }
        calls["pass"] = partial(run_timed, [sys.executable, "-c", "pass"], environ)
        status = [str(COMMAND), "status", "task-unified-1757156493-00000001"]
        asked = environ | {"OMNIEDIT_BASE_URL": listener.url, "OMNIEDIT_API_KEY": "sk-benchmark"}
        calls["status"] = partial(listener.time_to_first_byte, status, asked)
        times: dict[str, list[float]] = {what: [] for what in calls}
        for _ in range(ROUNDS):
            for what, call in calls.items():
                times[what].append(call())
    baseline = statistics.median(times["pass"])
    for what, (_, target) in _TARGETS.items():
        yield Verdict(what=what, measured=statistics.median(times[what]) / baseline, target=target)
    first_byte = statistics.median(times["status"]) / baseline
    yield Verdict(what="`status`, until its first byte arrives", measured=first_byte, target=10)


class Listener:
    """A server that records when the first byte of a request arrives, then answers 404."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._arrived_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def time_to_first_byte(self, argv: Sequence[str], environ: Mapping[str, str]) -> float:
        """Spawn a command and return the seconds until its first byte arrives."""
        waiter = threading.Thread(target=self._answer)
        waiter.start()
        started = time.perf_counter()
        run_timed(argv, environ)
        waiter.join()
        return self._arrived_at - started

    def _answer(self) -> None:
        connection, _ = self._socket.accept()
        with connection:
            connection.recv(1)
            self._arrived_at = time.perf_counter()
            connection.recv(65536)
            body = b'{"error": {"code": "task_not_found", "message": "no such task"}}'
            head = f"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)


def run_timed(argv: Sequence[str], environ: Mapping[str, str]) -> float:
    """Run a process and return the seconds that it took."""
    started = time.perf_counter()
    subprocess.run(
        argv,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return time.perf_counter() - started


def spare_environ(folder: Path) -> dict[str, str]:
    """Make an empty home and return a minimal environment for it."""
    folder.mkdir(parents=True, exist_ok=True)
    return {
        "HOME": str(folder),
        "PATH": os.environ["PATH"],
        "LC_ALL": "C.UTF-8",
        "OMNIEDIT_STATE_DIR": str(folder / "state"),
    }
