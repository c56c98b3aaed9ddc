"""Equipment for tests of faults, kills and races: a bench, and a command line that starts fast."""

import contextlib
import functools
import hashlib
import http.server
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from omniedit.policy import Policy
from omniedit.sandbox.server import RunningSandbox
from tests.commandline import COMMAND, SANDBOX_KEY, CommandLine, Ended, ended_with
from tests.e2e.faulty import Endpoint, FaultyService
from tests.inprocess import run_in_process
from tests.ledger import ledger
from tests.policies import HURRIED
from tests.schemas import check_schema

SCRIPT: Final = Path(__file__).with_name("hurried.py")
SHELL_COMMAND: Final = Path(__file__).with_name("shell_command.py")
CLIP_URL: Final = "https://example.com/clip.mp4"
PROMPT: Final = "warmer lighting, keep everything else unchanged"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRun:
    """A command line to run."""

    argv: Sequence[str]
    folder: Path
    environ: Mapping[str, str]
    policy: Policy
    dies_before: int = 0
    """The number of the effect right before which it is killed (`effects.py`)."""
    dies_after: str = ""
    """The name of the effect after whose first occurrence it is killed."""
    largest_file: int | None = None
    """The maximum size of a file in bytes."""


class ForkServer:
    """Runs command lines in forked processes, which saves the time for imports.

    Args:
        environ: Additional variables for the process that imports everything.
    """

    def __init__(self, **environ: str) -> None:
        self._environ = environ
        self._started: subprocess.Popen[str] | None = None
        self._folder = tempfile.TemporaryDirectory()
        self._outputs: list[tuple[Path, Path]] = []
        self._argvs: list[Sequence[str]] = []
        self._running: list[int] = []
        self._count = 0

    def begin(self, *runs: CommandRun) -> list[int]:
        """Start command lines concurrently and return their process IDs; then call `end`."""
        self._kill_running()
        self._outputs = [self._new_output() for _ in runs]
        self._argvs = [run.argv for run in runs]
        lines = [
            {
                "argv": run.argv,
                "environ": dict(run.environ),
                "policy": run.policy._asdict(),
                "folder": str(run.folder),
                "stdout": str(stdout),
                "stderr": str(stderr),
                "dies_before": run.dies_before,
                "dies_after": run.dies_after,
                "largest_file": run.largest_file,
            }
            for run, (stdout, stderr) in zip(runs, self._outputs, strict=True)
        ]
        assert self._process.stdin
        self._process.stdin.write(json.dumps(lines) + "\n")
        self._process.stdin.flush()
        self._running = self._read_reply()
        return self._running

    def end(self) -> list[Ended]:
        """Wait for the command lines that were begun, and validate their JSON."""
        ended = [
            Ended(status, stdout.read_text("utf-8"), stderr.read_text("utf-8"))
            for status, (stdout, stderr) in zip(self._read_reply(), self._outputs, strict=True)
        ]
        self._running = []
        for argv, each in zip(self._argvs, ended, strict=True):
            check_schema(argv, each.stdout)
        return ended

    def has_written(self, words: str) -> bool:
        """Return whether one of the latest command lines has written `words` to stderr."""
        return any(words in stderr.read_text("utf-8") for _, stderr in self._outputs)

    def close(self) -> None:
        """End the server."""
        self._kill_running()
        with self._started or contextlib.nullcontext(), self._folder:
            pass

    @property
    def commands(self) -> Path:
        """A folder with the `omniedit` command for shells, with shortened waits."""
        folder = Path(self._folder.name) / "commands"
        if not folder.exists():
            folder.mkdir()
            command = folder / "omniedit"
            # These lines are a command to the shell and a string to Python. They replace a `#!`
            # line, which supports neither long paths nor paths with spaces.
            head = f"#!/bin/sh\n'''exec' {shlex.quote(sys.executable)} -IS \"$0\" \"$@\"\n' '''\n"
            command.write_text(head + SHELL_COMMAND.read_text("utf-8"))
            command.chmod(0o700)
            # Once it has replied, it accepts connections.
            self.begin()
            self.end()
        return folder

    @property
    def _socket_path(self) -> Path:
        return Path(self._folder.name) / "socket"

    def _kill_running(self) -> None:
        """Kill the processes that a failed test did not wait for."""
        for pid in self._running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._running:
            self._read_reply()
        self._running = []

    @property
    def _process(self) -> subprocess.Popen[str]:
        if self._started is None:
            self._started = subprocess.Popen(
                [sys.executable, SCRIPT, self._socket_path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, **self._environ},
            )
        return self._started

    def _new_output(self) -> tuple[Path, Path]:
        self._count += 1
        paths = [Path(self._folder.name) / f"{self._count}.{name}" for name in ("out", "err")]
        for path in paths:
            path.touch()
        return paths[0], paths[1]

    def _read_reply(self) -> list[int]:
        assert self._process.stdout
        reply: list[int] = json.loads(self._process.stdout.readline())
        return reply


@dataclass(frozen=True, slots=True)
class Bench:
    """A sandbox behind a faulty connection, and one user's folder and journal."""

    service: RunningSandbox
    faulty: FaultyService
    folder: Path
    fork_server: ForkServer
    policy: Policy = HURRIED

    def with_policy(self, policy: Policy) -> "Bench":
        """Return this bench with another policy."""
        return replace(self, policy=policy)

    @property
    def environ(self) -> dict[str, str]:
        """The environment of a command."""
        return {"OMNIEDIT_API_KEY": SANDBOX_KEY, **self.faulty.environ}

    def run(
        self,
        *argv: str,
        folder: Path | None = None,
        largest_file: int | None = None,
        on_stderr: Callable[[str], object] | None = None,
        **environ: str,
    ) -> Ended:
        """Run a command line with shortened waits; in its own process if it has limits.

        `on_stderr` is called with each text that is written to stderr.
        """
        run = self._command_run(argv, folder=folder, environ=environ)
        if largest_file is not None:
            self.fork_server.begin(replace(run, largest_file=largest_file))
            (ended,) = self.fork_server.end()
            return ended
        outcome = run_in_process(
            argv,
            folder=run.folder,
            environ=run.environ,
            stderr_path=self._stderr_path,
            on_stderr=on_stderr,
            policy=self.policy,
        )
        return ended_with(argv, outcome)

    def has_written(self, words: str) -> bool:
        """Return whether the command line in this process has written `words` to stderr."""
        return self._stderr_path.exists() and words in self._stderr_path.read_text("utf-8")

    @property
    def _stderr_path(self) -> Path:
        return self.folder.with_name("stderr.txt")

    def run_at_once(self, *argvs: Sequence[str]) -> list[Ended]:
        """Run command lines concurrently, each in its own process."""
        self.fork_server.begin(*(self._command_run(argv) for argv in argvs))
        ended = self.fork_server.end()
        assert all("Traceback" not in each.stderr for each in ended), ended
        return ended

    def begin(
        self,
        *argv: str,
        folder: Path | None = None,
        dies_before: int = 0,
        dies_after: str = "",
        **environ: str,
    ) -> int:
        """Start a command line with shortened waits and return its process ID; then call `end`."""
        run = self._command_run(argv, folder=folder, environ=environ)
        run = replace(run, dies_before=dies_before, dies_after=dies_after)
        (pid,) = self.fork_server.begin(run)
        return pid

    def end(self) -> Ended:
        """Wait for the command line that `begin` started."""
        (ended,) = self.fork_server.end()
        return ended

    def _command_run(
        self,
        argv: Sequence[str],
        *,
        folder: Path | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> CommandRun:
        return CommandRun(
            argv=argv,
            folder=folder or self.folder,
            environ={**os.environ, **self.environ, **(environ or {})},
            policy=self.policy,
        )

    def start(self, *argv: str, **environ: str) -> subprocess.Popen[bytes]:
        """Start a command with shortened waits in its own process, which can receive signals.

        Once its streams have ended, the process has ended too, for whatever reason.
        """
        return subprocess.Popen(
            [self.fork_server.commands / "omniedit", *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.folder,
            env={**os.environ, **self.environ, **environ},
        )

    @property
    def installed(self) -> CommandLine:
        """The installed command, in its own process and with the real policy."""
        assert COMMAND.exists()
        return CommandLine(self.folder, self.environ).installed

    @property
    def posts(self) -> int:
        """The number of submissions that reached the faulty service."""
        return self.faulty.count(Endpoint.SUBMIT)

    @property
    def task_ids(self) -> list[str]:
        """The IDs of the tasks that the service has accepted."""
        edits, _ = self.service.store.tasks(
            now=0.0, status=None, model=None, limit=10_000, offset=0
        )
        return [edit.task_id for edit in edits]

    @property
    def keys(self) -> dict[str, str]:
        """The `Idempotency-Key` of each task that the service has accepted."""
        return {entry.task_id: str(entry.request_key) for entry in ledger(self.service.store, 0.0)}

    def journal(self) -> list[dict[str, Any]]:
        """The tasks as shown by `omniedit list`."""
        listed = self.run("list", "--json", "--all", "--limit", "0")
        assert listed.status == 0, listed
        tasks: list[dict[str, Any]] = listed.document["tasks"]
        return tasks

    def files(self, folder: Path | None = None) -> dict[str, bytes]:
        """The contents of the files that have their final names."""
        return {
            path.name: path.read_bytes()
            for path in sorted((folder or self.folder).iterdir())
            if path.is_file() and not path.name.startswith(".")
        }


def digest(content: bytes) -> str:
    """Return the SHA-256 of some bytes."""
    return hashlib.sha256(content).hexdigest()


@contextlib.contextmanager
def web_server(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Serve a folder; yield its URL and a list of requested paths."""
    requested: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named by the base class
            requested.append(str(args[0]))

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", requested
        finally:
            server.shutdown()
            thread.join()
