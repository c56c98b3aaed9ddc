"""What the tests of faults, kills and races stand on: a bench, and a quick command line."""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from omniedit.sandbox import RunningSandbox
from tests.commandline import COMMAND, SANDBOX_KEY, CommandLine, Ended
from tests.e2e.faulty import Endpoint, FaultyService

HURRIED: Final = Path(__file__).with_name("hurried.py")
CLIP_URL: Final = "https://example.com/clip.mp4"
PROMPT: Final = "warmer lighting, keep everything else unchanged"


class ForkServer:
    """Carries out hurried command lines without the time that imports take."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, HURRIED, "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._stderr: Path | None = None

    def has_said(self, words: str) -> bool:
        """Return whether the command that is running has said something on stderr."""
        try:
            return self._stderr is not None and words in self._stderr.read_text("utf-8")
        except FileNotFoundError:
            return False

    def run(self, argv: tuple[str, ...], *, folder: Path, environ: Mapping[str, str]) -> Ended:
        """Carry out one command line."""
        assert self._process.stdin
        assert self._process.stdout
        with tempfile.NamedTemporaryFile() as stdout, tempfile.NamedTemporaryFile() as stderr:
            errand = {
                "argv": argv,
                "environ": dict(environ),
                "folder": str(folder),
                "stdout": stdout.name,
                "stderr": stderr.name,
            }
            self._stderr = Path(stderr.name)
            self._process.stdin.write(json.dumps(errand) + "\n")
            self._process.stdin.flush()
            status = int(self._process.stdout.readline())
            return Ended(status, stdout.read().decode(), stderr.read().decode())

    def close(self) -> None:
        """End it."""
        with self._process:
            pass


@dataclass(frozen=True, slots=True)
class Bench:
    """A sandbox behind a faulty way to it, and one user's folder and journal."""

    service: RunningSandbox
    faulty: FaultyService
    folder: Path
    fork_server: ForkServer

    @property
    def environ(self) -> dict[str, str]:
        """What a command finds set."""
        return {"OMNIEDIT_API_KEY": SANDBOX_KEY, **self.faulty.environ}

    def run(self, *argv: str, folder: Path | None = None, **environ: str) -> Ended:
        """Carry out a command line, hurried."""
        return self.fork_server.run(
            argv,
            folder=folder or self.folder,
            environ={**os.environ, **self.environ, **environ},
        )

    def start(self, *argv: str, **environ: str) -> subprocess.Popen[bytes]:
        """Start a hurried command in a process of its own."""
        return subprocess.Popen(
            [sys.executable, HURRIED, *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.folder,
            env={**os.environ, **self.environ, **environ},
        )

    @property
    def installed(self) -> CommandLine:
        """The installed command, at its own pace."""
        assert COMMAND.exists()
        return CommandLine(self.folder, self.environ)

    @property
    def posts(self) -> int:
        """How many submissions reached the door."""
        return self.faulty.count(Endpoint.SUBMIT)

    @property
    def task_ids(self) -> list[str]:
        """The tasks that the service has accepted."""
        edits, _ = self.service.store.tasks(
            now=0.0, status=None, model=None, limit=10_000, offset=0
        )
        return [edit.task_id for edit in edits]

    def journal(self) -> list[dict[str, Any]]:
        """What `omniedit list` says."""
        listed = self.run("list", "--json", "--limit", "10000")
        assert listed.status == 0, listed
        tasks: list[dict[str, Any]] = listed.document["tasks"]
        return tasks

    def files(self, folder: Path | None = None) -> dict[str, bytes]:
        """The files under their final names, with what they hold."""
        return {
            path.name: path.read_bytes()
            for path in sorted((folder or self.folder).iterdir())
            if path.is_file() and not path.name.startswith(".")
        }


def digest(content: bytes) -> str:
    """Return the SHA-256 of some bytes."""
    return hashlib.sha256(content).hexdigest()
