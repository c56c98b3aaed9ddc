"""The one printer of a command: what goes to which stream, in which mode."""

import contextlib
import json
import math
import os
import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import AbstractContextManager
from enum import StrEnum
from typing import Any, Protocol, TextIO, cast

from omniedit.errors import render_hint
from omniedit.system import THIS_SYSTEM, System
from omniedit.terminal.channel import Channel
from omniedit.terminal.harmless import make_harmless
from omniedit.terminal.ink import Ink, paint


class OutputMode(StrEnum):
    """What standard output carries."""

    TEXT = "text"
    JSON = "json"
    EVENTS = "events"


class ProgressMode(StrEnum):
    """How progress is shown on standard error."""

    AUTO = "auto"
    PLAIN = "plain"
    NONE = "none"


class Overlay(Protocol):
    """Something drawn on the terminal that must make room for a line."""

    def hidden(self) -> AbstractContextManager[None]:
        """Take it off the screen, and draw it again at the end."""
        ...

    def end(self) -> None:
        """Take it off the screen for good."""
        ...


class Printer:
    """The result on stdout; errors, warnings, notes and progress on stderr.

    Nothing that is printed can raise for what is behind the streams, act on the terminal, or tear
    a bar that is being drawn.
    """

    def __init__(
        self,
        *,
        stdout: TextIO | None,
        stderr: TextIO | None,
        environ: Mapping[str, str],
        mode: OutputMode = OutputMode.TEXT,
        quiet: bool = False,
        progress: ProgressMode = ProgressMode.AUTO,
        verbose: bool = False,
        is_sandbox_flag: bool = False,
        clock: Callable[[], float] = time.time,
        system: System = THIS_SYSTEM,
    ) -> None:
        self.environ = environ
        self.mode = mode
        self.quiet = quiet
        self.progress = progress
        self.verbose = verbose
        self._is_sandbox_flag = is_sandbox_flag
        self.clock = clock
        self.stderr = Channel(stderr, environ, system=system)
        is_exact = not _is_a_terminal(stdout)
        self._stdout = Channel(stdout, environ, is_exact=is_exact, system=system)
        self._has_byte_names = system.has_byte_names
        self._lock = threading.RLock()
        self._overlay: Overlay | None = None
        self._has_document = False

    @property
    def is_stdout_closed(self) -> bool:
        """Whether nobody reads the result any more."""
        return self._stdout.is_closed

    @property
    def stdout_failure(self) -> OSError | None:
        """Why the result could not be written, unless its reader just left (a full disk)."""
        return self._stdout.failure

    @property
    def is_stderr_terminal(self) -> bool:
        """Whether a person reads the messages."""
        return self.stderr.is_terminal

    @property
    def is_stdout_coloured(self) -> bool:
        """Whether the result may be coloured."""
        return self._stdout.is_coloured

    @property
    def stdout_width(self) -> int | None:
        """The width of the terminal that shows the result; None where that is no terminal."""
        return self._stdout.size.width if self._stdout.is_terminal else None

    def line(self, text: str) -> None:
        """Print one line of the result."""
        self.lines([make_harmless(text)])

    def lines(self, rendered: Iterable[str]) -> None:
        """Print lines as `human.py` rendered them: already harmless, perhaps in colour."""
        if self.mode is OutputMode.TEXT:
            self._write(self._stdout, "".join(f"{line}\n" for line in rendered))

    def path(self, text: str) -> None:
        """Print a path: its exact bytes for a script, something harmless for a person."""
        if self._stdout.is_terminal:
            self.line(text)
        elif self.mode is OutputMode.TEXT:
            with self._lock:
                if self._has_byte_names or not self._stdout.can_show(text):
                    self._stdout.write_bytes(_file_name_bytes(text) + b"\n")
                else:
                    self._stdout.write(f"{text}\n")

    def document(self, document: Mapping[str, Any]) -> None:
        """Print the command's one JSON document; a second one is dropped."""
        if self.mode is OutputMode.JSON and not self._has_document:
            indent = 2 if self._stdout.is_terminal else None
            text = _json_text(document, indent=indent)
            self._has_document = True
            self._write(self._stdout, text + "\n")

    def event(self, document: Mapping[str, Any]) -> None:
        """Print one line of NDJSON."""
        if self.mode is OutputMode.EVENTS:
            self._write(self._stdout, _json_text(document) + "\n")

    def error(self, message: str, hint: str | None = None) -> None:
        """Print what went wrong, and unless quiet what to do next."""
        self._say("error", Ink.BOLD_RED, message)
        if hint and not self.quiet:
            self.hint(hint)

    def hint(self, message: str) -> None:
        """Print what to do next, also when quiet."""
        self._say("hint", Ink.CYAN, message)

    def warn(self, message: str) -> None:
        """Print a warning, also when quiet."""
        self._say("warning", Ink.YELLOW, message)

    def note(self, message: str) -> None:
        """Print something worth a line, unless quiet."""
        if not self.quiet:
            self._say("note", Ink.CYAN, message)

    def trace(self, message: str) -> None:
        """Print what only `--verbose` asks for."""
        if self.verbose:
            text = make_harmless(message)
            self._tell(paint(text, Ink.DIM, is_coloured=self.stderr.is_coloured))

    def plain(self, message: str) -> None:
        """Print a line of progress on stderr."""
        self._tell(make_harmless(message))

    def question(self, text: str) -> None:
        """Print a question on stderr; the answer is typed behind it."""
        self._write(self.stderr, f"{make_harmless(text)} ")

    def usage(self, text: str) -> None:
        """Print help or usage as it is laid out, line by line, on stderr."""
        for line in text.splitlines():
            self._tell(make_harmless(line) if line.strip() else "")

    @contextlib.contextmanager
    def overlaid(self, overlay: Overlay) -> Generator[None]:
        """Let lines go above `overlay` from now on."""
        self._overlay = overlay
        try:
            yield
        finally:
            self._overlay = None

    def end_overlay(self) -> None:
        """Take off the screen what is drawn there, for good."""
        with self._lock:
            if self._overlay is not None:
                self._overlay.end()
            self._overlay = None

    @property
    def lock(self) -> threading.RLock:
        """Held by whoever writes to either stream."""
        return self._lock

    def _say(self, kind: str, ink: Ink, message: str) -> None:
        label = paint(f"{kind}:", ink, is_coloured=self.stderr.is_coloured)
        text = render_hint(message, is_sandbox=self._is_sandbox_flag)
        self._tell(f"{label} {make_harmless(text)}")

    def _tell(self, line: str) -> None:
        self._write(self.stderr, f"{line}\n")

    def _write(self, channel: Channel, text: str) -> None:
        with self._lock:
            if self._overlay is None or not channel.is_terminal:
                channel.write(text)
            else:
                with self._overlay.hidden():
                    channel.write(text)


def _is_a_terminal(stream: TextIO | None) -> bool:
    return Channel(stream, {}).is_terminal


def _file_name_bytes(path: str) -> bytes:
    try:
        return os.fsencode(path)
    except UnicodeEncodeError:  # no name that this system could have given
        return path.encode(errors="backslashreplace")


def _json_text(document: Mapping[str, Any], *, indent: int | None = None) -> str:
    try:
        text = json.dumps(document, indent=indent, allow_nan=False)
    except ValueError:
        text = json.dumps(_without_nan(document), indent=indent)
    # The one control character that JSON leaves as it is.
    return text.replace("\x7f", "\\u007f")


def _without_nan(value: object) -> object:
    """Return `value` with null for the numbers that JSON has not (a service may send them)."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {
            key: _without_nan(item) for key, item in cast("Mapping[str, object]", value).items()
        }
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in cast("Iterable[object]", value)]
    return value
