"""The command line as the tests run it: its streams, its exit status.

It is carried out in this process, in a few milliseconds, except where a process is the subject.
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
from tests.inprocess import Outcome, carry_out, needs_process
from tests.policies import HURRIED
from tests.schemas import hold_to_schema

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
    """The command line, in a folder and an environment of its own."""

    folder: Path
    environ: Mapping[str, str]
    policy: Policy | None = HURRIED
    """None: it is the installed command, in a process of its own and at its own pace."""
    clock: Clock = SYSTEM_CLOCK
    command: Path = COMMAND
    """What is started in a process of its own."""

    def __call__(
        self, *argv: str, stdin: str | bytes = b"", timeout_s: float = 60.0, **environ: str
    ) -> Ended:
        """Carry it out to its end; JSON that it prints is held to its schema."""
        sent = stdin.encode() if isinstance(stdin, str) else stdin
        if self.policy is None or needs_process(argv, {**self.environ, **environ}):
            outcome = self._run(argv, sent, environ, timeout_s=timeout_s)
        else:
            outcome = carry_out(
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
    ) -> Outcome:
        ended = subprocess.run(
            [self.command, *argv],
            input=stdin,
            capture_output=True,
            cwd=self.folder,
            env={**os.environ, **self.environ, **environ},
            timeout=timeout_s,
            check=False,
        )
        return Outcome(ended.returncode, ended.stdout, ended.stderr)

    @property
    def installed(self) -> "CommandLine":
        """The installed command, in a process of its own and at its own pace."""
        return replace(self, policy=None, command=COMMAND)

    def start(self, *argv: str, **environ: str) -> subprocess.Popen[bytes]:
        """Start it in a process of its own and return at once."""
        return subprocess.Popen(
            [self.command, *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.folder,
            env={**os.environ, **self.environ, **environ},
        )

    def in_(self, folder: Path, **environ: str) -> "CommandLine":
        """Return the command in another folder, or with more in its environment."""
        return replace(self, folder=folder, environ={**self.environ, **environ})


def ended_with(argv: Sequence[str], outcome: Outcome) -> Ended:
    """Return what a command line has printed; its JSON is held to its schema."""
    stdout, stderr = (
        content.decode(errors="surrogateescape") for content in (outcome.stdout, outcome.stderr)
    )
    hold_to_schema(argv, stdout)
    return Ended(outcome.status, stdout, stderr)


def sandbox_environ(url: str) -> dict[str, str]:
    """Return the settings that lead to a served sandbox."""
    return {"OMNIEDIT_BASE_URL": url, "OMNIEDIT_API_KEY": SANDBOX_KEY}


def task_ids(documents: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the task IDs of task documents."""
    return [str(document["task_id"]) for document in documents]
