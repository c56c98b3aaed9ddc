"""The command line as tests run it: its streams and its exit status.

It runs inside the test process, in a few milliseconds, unless a test is about processes.
"""

import json
import os
import subprocess
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omniedit.policy import Policy
from omniedit.system import SYSTEM_CLOCK, Clock
from tests.inprocess import needs_process, run_in_process
from tests.policies import HURRIED
from tests.schemas import check_schema

COMMAND = Path(sysconfig.get_path("scripts")) / "omniedit"
SANDBOX_KEY = "sk-sandbox-tests"


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that has ended."""

    status: int
    stdout: str
    stderr: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document on stdout."""
        lines = self.stdout.splitlines()
        assert len(lines) == 1, self
        document: dict[str, Any] = json.loads(lines[0])
        return document

    @property
    def events(self) -> list[dict[str, Any]]:
        """The NDJSON on stdout."""
        return [json.loads(line) for line in self.stdout.splitlines()]


@dataclass(frozen=True, slots=True)
class CommandLine:
    """The command line with its own folder and environment."""

    folder: Path
    environ: Mapping[str, str]
    policy: Policy | None = HURRIED
    """None runs the installed command in its own process, with the real policy."""
    clock: Clock = SYSTEM_CLOCK
    command: Path = COMMAND
    """The program to start if it runs in its own process."""

    def __call__(
        self, *argv: str, stdin: str | bytes = b"", timeout_s: float = 60.0, **environ: str
    ) -> Ended:
        """Run it to its end and validate the JSON that it prints."""
        sent = stdin.encode() if isinstance(stdin, str) else stdin
        if self.policy is None or needs_process(argv, {**self.environ, **environ}):
            outcome = self._run(argv, sent, environ, timeout_s=timeout_s)
        else:
            outcome = run_in_process(
                argv,
                folder=self.folder,
                environ={**os.environ, **self.environ, **environ},
                stdin=sent,
                policy=self.policy,
                clock=self.clock,
                timeout_s=timeout_s,
            )
        return ended_with(argv, outcome)

    def _run(
        self, argv: Sequence[str], stdin: bytes, environ: Mapping[str, str], *, timeout_s: float
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [self.command, *argv],
            input=stdin,
            capture_output=True,
            cwd=self.folder,
            env={**os.environ, **self.environ, **environ},
            timeout=timeout_s,
            check=False,
        )

    @property
    def installed(self) -> "CommandLine":
        """The installed command, in its own process and with the real policy."""
        return replace(self, policy=None, command=COMMAND)

    def start(self, *argv: str, **environ: str) -> subprocess.Popen[bytes]:
        """Start it in its own process and return at once."""
        return subprocess.Popen(
            [self.command, *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.folder,
            env={**os.environ, **self.environ, **environ},
        )

    def in_(self, folder: Path, **environ: str) -> "CommandLine":
        """Return the command with another folder and additional environment variables."""
        return replace(self, folder=folder, environ={**self.environ, **environ})


def ended_with(argv: Sequence[str], outcome: subprocess.CompletedProcess[bytes]) -> Ended:
    """Return what a command line has printed, after validating its JSON."""
    stdout, stderr = (
        content.decode(errors="surrogateescape") for content in (outcome.stdout, outcome.stderr)
    )
    check_schema(argv, stdout)
    return Ended(outcome.returncode, stdout, stderr)


def sandbox_environ(url: str) -> dict[str, str]:
    """Return the environment that points to a served sandbox."""
    return {"OMNIEDIT_BASE_URL": url, "OMNIEDIT_API_KEY": SANDBOX_KEY}


def task_ids(documents: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the task IDs of task documents."""
    return [str(document["task_id"]) for document in documents]
