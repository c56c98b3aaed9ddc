"""The installed command, as the tests run it: a process, its streams, its exit status."""

import json
import os
import subprocess
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    """The installed command, in a folder and an environment of its own."""

    folder: Path
    environ: Mapping[str, str]

    def __call__(
        self, *argv: str, stdin: str | bytes = b"", timeout_s: float = 60.0, **environ: str
    ) -> Ended:
        """Run it to its end; JSON that it prints is held to its schema."""
        ended = subprocess.run(
            [COMMAND, *argv],
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            capture_output=True,
            cwd=self.folder,
            env={**os.environ, **self.environ, **environ},
            timeout=timeout_s,
            check=False,
        )
        stdout = ended.stdout.decode(errors="surrogateescape")
        hold_to_schema(argv, stdout)
        return Ended(ended.returncode, stdout, ended.stderr.decode(errors="surrogateescape"))

    def start(self, *argv: str, **environ: str) -> subprocess.Popen[bytes]:
        """Start it and return at once."""
        return subprocess.Popen(
            [COMMAND, *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.folder,
            env={**os.environ, **self.environ, **environ},
        )

    def in_(self, folder: Path, **environ: str) -> "CommandLine":
        """Return the command in another folder, or with more in its environment."""
        return CommandLine(folder, {**self.environ, **environ})


def sandbox_environ(url: str) -> dict[str, str]:
    """Return the settings that lead to a served sandbox."""
    return {"OMNIEDIT_BASE_URL": url, "OMNIEDIT_API_KEY": SANDBOX_KEY}


def task_ids(documents: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the task IDs of task documents."""
    return [str(document["task_id"]) for document in documents]
