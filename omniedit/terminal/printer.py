"""The one printer of a command: what goes to which stream, in which mode."""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, TextIO

from omniedit.errors import Hint, render_hint
from omniedit.sanitize import sanitize
from omniedit.system import THIS_SYSTEM, System
from omniedit.terminal.streams import OutputStream
from omniedit.terminal.text import Colour, Line, Span, plain_text, wrapped

if TYPE_CHECKING:
    from omniedit.terminal.bars import Bars

_WORKFLOW_COMMANDS: Final = (("::", ": :"), ("##[", "# #["))
"""What a log of GitHub Actions obeys, and how it is shown instead."""

_PATIENCE_S: Final = 1.0
"""How long another thread may take to finish what it writes."""


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
        self.says_saved = False
        """Whether the user reads of each saved file where its path would be printed."""
        self.stderr = OutputStream(stderr, environ, system=system)
        self.stdout = OutputStream(stdout, environ, keeps_columns=True, system=system)
        self._has_byte_names = system.has_byte_names
        self._is_workflow = environ.get("GITHUB_ACTIONS") == "true"
        self.lock = threading.RLock()
        """Held by whoever writes to either stream."""
        self._live: Bars | None = None
        self._has_document = False

    @property
    def stdout_width(self) -> int | None:
        """The width of the terminal that shows the result; None where that is no terminal."""
        return self.stdout.size.columns if self.stdout.is_terminal else None

    @property
    def is_one_terminal(self) -> bool:
        """Whether result and messages go to the same terminal."""
        return self.stdout.is_same_terminal(self.stderr)

    @property
    def shows_progress(self) -> bool:
        """Whether progress is wanted, and anybody is there to read it."""
        is_wanted = not self.quiet and self.progress is not ProgressMode.NONE
        return is_wanted and not self.stderr.is_closed

    def line(self, line: Line) -> None:
        """Print one line of the result, between words as many as a terminal needs."""
        if self.stdout.is_terminal:
            self.lines(wrapped(self._shown(self.stdout, line), self.stdout.size.columns))
        else:
            self.lines([line])

    def lines(self, lines: Iterable[Line]) -> None:
        """Print lines of the result."""
        if self.mode is OutputMode.TEXT:
            text = ""
            for line in lines:
                text += f"{self.stdout.render(line)}\n"
            self._write(self.stdout, text)

    def path(self, text: str) -> None:
        """Print the path of a saved file, unless its user has read it already.

        A script gets its exact bytes.
        """
        if self.says_saved:
            return
        if self.stdout.is_terminal:
            self.lines([text])
        elif self.mode is OutputMode.TEXT:
            with self.lock:
                if self._has_byte_names or not self.stdout.can_show(text):
                    self.stdout.write_bytes(_file_name_bytes(text) + b"\n")
                else:
                    self.stdout.write(f"{text}\n")

    def document(self, document: Mapping[str, Any]) -> None:
        """Print the command's one JSON document; a second one is dropped."""
        if self.mode is OutputMode.JSON and not self._has_document:
            self._print_json(document, indent=2 if self.stdout.is_terminal else None)
            self._has_document = True

    def event(self, document: Mapping[str, Any]) -> None:
        """Print one line of NDJSON."""
        if self.mode is OutputMode.EVENTS:
            self._print_json(document)

    def error(self, message: str, hint: str | None = None) -> None:
        """Print what went wrong, and unless quiet what to do next."""
        self._say("error", Colour.BOLD_RED, message)
        if self._is_workflow:
            self._write(self.stderr, _error_command(self.stderr, message))
        if hint and not self.quiet:
            self.hint(hint)

    def hint(self, message: str) -> None:
        """Print what to do next, also when quiet."""
        self._say("hint", Colour.CYAN, message)

    def next_step(self, command: str) -> None:
        """Print on a terminal what to type next, in one piece; scripts know it."""
        if self.is_one_terminal and self.mode is OutputMode.TEXT and not self.quiet:
            text = render_hint(Hint("{}", command), is_sandbox=self._is_sandbox_flag).strip("`")
            self._print_message([[Span("next:", Colour.CYAN), Span(f" {text}")]])

    def warn(self, message: str) -> None:
        """Print a warning, also when quiet."""
        self._say("warning", Colour.YELLOW, message)

    def note(self, message: str) -> None:
        """Print something worth a line, unless quiet."""
        if not self.quiet:
            self._say("note", Colour.CYAN, message)

    def trace(self, message: str) -> None:
        """Print what only `--verbose` asks for."""
        if self.verbose:
            self.message([Span(message, Colour.DIM)])

    def message(self, line: Line) -> None:
        """Print a line of progress, or anything else for people, on stderr."""
        lines: list[Line] = [line]
        if self.stderr.is_terminal:
            lines = [*wrapped(self._shown(self.stderr, line), self.stderr.size.columns)]
        self._print_message(lines)

    def question(self, text: str) -> None:
        """Print a question on stderr; the answer is typed behind it."""
        self._write(self.stderr, f"{self.stderr.render(text)} ")

    def usage(self, text: str) -> None:
        """Print help, or a traceback, as it is laid out, line by line, on stderr."""
        lines = text.rstrip("\n").split("\n")
        self._print_message(line if line.strip() else "" for line in lines)

    @contextlib.contextmanager
    def showing(self, live: "Bars") -> Generator[None]:
        """Print above `live` until the end of the block."""
        self._live = live
        try:
            yield
        finally:
            self._live = None

    def end_live(self) -> None:
        """Take off the screen what is drawn there, for good."""
        with self.lock:
            if self._live is not None:
                self._live.stop()
            self._live = None

    def stop(self, stop: Callable[[], object]) -> None:
        """Have `stop` stop the process, and nothing drawn on the screen meanwhile."""
        # A terminal that takes nothing may keep another thread writing, but not this one waiting.
        is_free = self.lock.acquire(timeout=_PATIENCE_S)
        live = self._live if is_free else None
        try:
            with live.put_away() if live else contextlib.nullcontext():
                stop()
        finally:
            if is_free:
                self.lock.release()

    @staticmethod
    def _shown(stream: OutputStream, line: Line) -> list[Span]:
        """Return a line in the characters that a stream shows, whose widths count."""
        spans = [Span(line)] if isinstance(line, str) else line
        return [span._replace(text=stream.shown(span.text)) for span in spans]

    def _say(self, kind: str, colour: Colour, message: str) -> None:
        text = render_hint(message, is_sandbox=self._is_sandbox_flag)
        self.message([Span(f"{kind}:", colour), Span(" "), Span(text)])

    def _print_message(self, lines: Iterable[Line]) -> None:
        text = ""
        for line in lines:
            shown = self.stderr.render(line)
            text += f"{self._without_commands(line, shown) if self._is_workflow else shown}\n"
        self._write(self.stderr, text)

    def _without_commands(self, line: Line, text: str) -> str:
        """Return a rendered line in which a log of GitHub Actions finds nothing to obey."""
        (start, shown_start), (group, shown_group) = _WORKFLOW_COMMANDS
        if sanitize(plain_text(line)).lstrip().startswith(start):
            text = text.replace(start, shown_start, 1)
        return text.replace(group, shown_group)

    def _print_json(self, document: Mapping[str, Any], *, indent: int | None = None) -> None:
        from omniedit.terminal.documents import json_text  # noqa: PLC0415 - mostly text is printed

        self._write(self.stdout, f"{json_text(document, indent=indent)}\n")

    def _write(self, stream: OutputStream, text: str) -> None:
        with self.lock:
            is_torn = self._live is not None and (
                stream is self.stderr or stream.is_same_terminal(self.stderr)
            )
            if is_torn and self._live is not None:
                self._live.print_above(text)
            else:
                stream.write(text)


def _error_command(stream: OutputStream, message: str) -> str:
    """Return the line by which a log of GitHub Actions marks an error."""
    for character, escaped in (("%", "%25"), ("\r", "%0D"), ("\n", "%0A")):
        message = message.replace(character, escaped)
    _, (group, shown_group) = _WORKFLOW_COMMANDS
    return f"::error::{stream.render(message).replace(group, shown_group)}\n"


def _file_name_bytes(path: str) -> bytes:
    try:
        return os.fsencode(path)
    except UnicodeEncodeError:  # no name that this system could have given
        return path.encode(errors="backslashreplace")
