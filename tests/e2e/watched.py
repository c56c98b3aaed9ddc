"""Watch commands: which hosts their Python processes contact, and which programs they start."""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.commandline import Ended

_HOOK: Final = """
import json
import os
import socket
import sys

ADDRESSES = {
    "socket.bind": 1,
    "socket.connect": 1,
    "socket.getaddrinfo": 0,
    "socket.gethostbyaddr": 0,
    "socket.gethostbyname": 0,
    "socket.getnameinfo": 0,
    "socket.sendmsg": 1,
    "socket.sendto": 1,
}
PROGRAMS = {
    "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.startfile", "os.system",
    "pty.spawn", "subprocess.Popen",
}
NOTES = os.open(os.environ["WATCHED_NOTES"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
listeners = []


def watch(event, values):
    if event in PROGRAMS:
        note(event, program=repr(values))
    elif event in ADDRESSES:
        host, port = address(event, values)
        is_own = (host, port) in [listener.getsockname()[:2] for listener in listeners]
        if event == "socket.bind":
            listeners.append(values[0])
        note(event, host=host, port=port, is_own=is_own)
        if not host.startswith(("127.", "::1", "localhost")):
            raise socket.gaierror(socket.EAI_NONAME, "nothing leaves this machine")


def address(event, values):
    value = values[:2] if event == "socket.getaddrinfo" else values[ADDRESSES[event]]
    host, port = value[:2] if isinstance(value, tuple) else (value, None)
    host = host.decode() if isinstance(host, bytes) else str(host)
    return host, int(port) if str(port).isdecimal() else port


def note(event, **what):
    os.write(NOTES, (json.dumps({"event": event, **what}) + "\\n").encode())


# A process cannot remove its audit hooks.
sys.addaudithook(watch)
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """The network and process activity of a command."""

    addressed: frozenset[str] = frozenset()
    """The contacted hosts with ports, except itself; without port if only resolved."""
    listened: bool = False
    programs: tuple[str, ...] = ()
    events: frozenset[str] = field(default=frozenset(), compare=False)


class Watch:
    """Watches Python processes and keeps them from contacting hosts beyond loopback.

    Args:
        folder: A folder for its own files.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._notes = folder / "notes.ndjson"
        # Python imports a module of this name on every start.
        hook = folder / "sitecustomize.py"
        hook.write_text(_HOOK, encoding="utf-8")
        self.environ = {
            "PYTHONPATH": str(folder),
            # A fork has passed its start already: `hurried.py` runs the hook itself.
            "WATCHED_HOOK": str(hook),
            "WATCHED_NOTES": str(self._notes),
        }

    def run(
        self, command: Sequence[str | Path], *, folder: Path, stdin: str = "", **environ: str
    ) -> tuple[Ended, Seen]:
        """Run a command to its end; return its outcome and its activity."""
        self._notes.unlink(missing_ok=True)
        ended = subprocess.run(
            command,
            input=stdin.encode(),
            capture_output=True,
            cwd=folder,
            env={**os.environ, **environ, **self.environ},
            timeout=60,
            check=False,
        )
        return Ended(ended.returncode, ended.stdout.decode(), ended.stderr.decode()), self.seen()

    def seen(self) -> Seen:
        """Return the activity since the latest start."""
        assert self._notes.exists(), "the watch was never put up"
        notes = [json.loads(line) for line in self._notes.read_text("utf-8").splitlines()]
        addresses = [note for note in notes if "host" in note]
        return Seen(
            addressed=frozenset(
                f"{note['host']}:{note['port']}" if note["port"] else note["host"]
                for note in addresses
                if note["event"] != "socket.bind" and not note["is_own"]
            ),
            listened=any(note["event"] == "socket.bind" for note in addresses),
            programs=tuple(note["program"] for note in notes if "program" in note),
            events=frozenset(note["event"] for note in notes),
        )
