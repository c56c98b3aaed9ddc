"""A command's one printer: it decides what goes to which stream in each mode."""

import contextlib
import os
import re
import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, TextIO

from omniedit.errors import Hint, render_hint
from omniedit.system import THIS_SYSTEM, System
from omniedit.terminal.streams import Colour, Line, OutputStream, Span, wrapped

if TYPE_CHECKING:
    from omniedit.terminal.bars import Bars

# What GitHub Actions obeys in a log: `::` after blanks and colours, and `##[` anywhere.
_COMMAND: Final = r"^((\s|\x1b\[[0-9;]*m)*):(?=:)"
_GROUP = "##["
_SHOWN_GROUP = "# #["

_LOCK_TIMEOUT_S: Final = 1.0
"""How long to wait for another thread to finish writing."""


class OutputMode(StrEnum):
    """The format of standard output."""

    TEXT = "text"
    JSON = "json"
    EVENTS = "events"


class ProgressMode(StrEnum):
    """How progress is shown on standard error."""

    AUTO = "auto"
    PLAIN = "plain"
    NONE = "none"


class Printer:
    """Prints the result to stdout, and errors, warnings, notes and progress to stderr.

    Printing never raises if a stream fails, never lets text control the terminal, and never breaks
    up progress bars on the screen.
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
        self.shows_saved_lines = False
        """Whether a progress line on the same terminal already names each saved file."""
        self.stderr = OutputStream(stderr, environ, system=system)
        self.stdout = OutputStream(stdout, environ, keeps_columns=True, system=system)
        self._has_byte_names = system.has_byte_names
        self._is_workflow = environ.get("GITHUB_ACTIONS") == "true"
        self.lock = threading.RLock()
        """Held while writing to either stream."""
        self._live: Bars | None = None
        self._has_document = False

    @property
    def stdout_width(self) -> int | None:
        """The width of stdout's terminal; None if stdout is not a terminal."""
        return self.stdout.size.columns if self.stdout.is_terminal else None

    @property
    def is_one_terminal(self) -> bool:
        """Whether stdout and stderr are the same terminal."""
        return self.stdout.is_same_terminal(self.stderr)

    @property
    def shows_progress(self) -> bool:
        """Whether progress is wanted and stderr is still open."""
        is_wanted = not self.quiet and self.progress is not ProgressMode.NONE
        return is_wanted and not self.stderr.is_closed

    def line(self, line: Line, *, label: Line = "") -> None:
        """Print one line of the result; on a terminal it is wrapped beside its label."""
        self.lines(_wrapped_on(self.stdout, line, label))

    def lines(self, lines: Iterable[Line]) -> None:
        """Print lines of the result."""
        if self.mode is OutputMode.TEXT:
            self._write(self.stdout, "".join(f"{self.stdout.render(line)}\n" for line in lines))

    def path(self, text: str) -> None:
        """Print the path of a saved file, unless a progress line has already shown it.

        In a pipe or a file it is written as the exact bytes of the name.
        """
        if self.shows_saved_lines:
            return
        if text.lstrip().startswith(("::", "##[")):
            # On GitHub, a line that begins like this is a command to the runner.
            text = f"./{text}"
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
        """Print an error and, unless quiet, its hint."""
        self._print_labelled("error", Colour.BOLD_RED, message)
        if self._is_workflow:
            self._write(self.stderr, _error_command(self.stderr, message))
        if hint and not self.quiet:
            self.hint(hint)

    def hint(self, message: str) -> None:
        """Print what to do next, even with `--quiet`."""
        self._print_labelled("hint", Colour.CYAN, message)

    def next_step(self, command: str) -> None:
        """Print the next command to type, unwrapped; only on a terminal."""
        if self.is_one_terminal and self.mode is OutputMode.TEXT and not self.quiet:
            text = render_hint(Hint("{}", command), is_sandbox=self._is_sandbox_flag).strip("`")
            self._print_message([[Span("next:", Colour.CYAN), Span(f" {text}")]])

    def warn(self, message: str) -> None:
        """Print a warning, even with `--quiet`."""
        self._print_labelled("warning", Colour.YELLOW, message)

    def note(self, message: str) -> None:
        """Print a note, unless quiet."""
        if not self.quiet:
            self._print_labelled("note", Colour.CYAN, message)

    def trace(self, message: str) -> None:
        """Print a line of the trace that `--verbose` asks for."""
        if self.verbose:
            self.message([Span(message, Colour.DIM)])

    def message(self, line: Line) -> None:
        """Print a line of progress or any other line for people on stderr."""
        self._print_message(_wrapped_on(self.stderr, line))

    def question(self, text: str) -> None:
        """Print a question on stderr; the answer is typed on the same line."""
        self._write(self.stderr, f"{self.stderr.render(text)} ")

    def verbatim(self, text: str) -> None:
        """Print text on stderr with its layout kept."""
        lines = text.rstrip("\n").split("\n")
        self._print_message(line if line.strip() else "" for line in lines)

    @contextlib.contextmanager
    def showing(self, live: "Bars") -> Generator[None]:
        """Show `live` for the duration of the block, and print everything above it."""
        self._live = live
        try:
            live.start()
            yield
        finally:
            self._live = None
            live.stop()

    def end_live(self) -> None:
        """Remove the bars from the screen for good."""
        with self.lock:
            if self._live is not None:
                self._live.stop()
            self._live = None

    def suspend(self, suspend: Callable[[], object]) -> None:
        """Call `suspend`, which suspends the process, with the bars off the screen."""
        # Another thread may be blocked on a terminal that accepts no output: do not wait for it.
        is_free = self.lock.acquire(timeout=_LOCK_TIMEOUT_S)
        live = self._live if is_free else None
        try:
            if live is not None:
                live.stop()
            suspend()
            if live is not None:
                live.start()
        finally:
            if is_free:
                self.lock.release()

    def _print_labelled(self, kind: str, colour: Colour, message: str) -> None:
        text = render_hint(message, is_sandbox=self._is_sandbox_flag)
        self.message([Span(f"{kind}:", colour), Span(" "), Span(text)])

    def _print_message(self, lines: Iterable[Line]) -> None:
        rendered = map(self.stderr.render, lines)
        shown = map(_without_commands, rendered) if self._is_workflow else rendered
        self._write(self.stderr, "".join(f"{line}\n" for line in shown))

    def _print_json(self, document: Mapping[str, Any], *, indent: int | None = None) -> None:
        from omniedit.terminal.documents import json_text  # noqa: PLC0415 - text does not need it

        self._write(self.stdout, f"{json_text(document, indent=indent)}\n")

    def _write(self, stream: OutputStream, text: str) -> None:
        with self.lock:
            live = self._live
            if live and (stream is self.stderr or stream.is_same_terminal(self.stderr)):
                live.print_above(text)
            else:
                stream.write(text)


def _wrapped_on(stream: OutputStream, line: Line, label: Line = "") -> Sequence[Line]:
    """Return a line as it fits a terminal, wrapped between words; a pipe gets it as it is."""
    start = _spans(label)
    text = _spans(line)
    if not stream.is_terminal:
        return [[*start, *text]]
    # Widths are those of the characters that the stream can show.
    shown = [span._replace(text=stream.shown(span.text)) for span in text]
    return wrapped(shown, stream.size.columns, label=start)


def _spans(line: Line) -> Sequence[Span]:
    return [Span(line)] if isinstance(line, str) else line


def _without_commands(text: str) -> str:
    """Return a rendered line without workflow commands."""
    return re.sub(_COMMAND, r"\1: ", text).replace(_GROUP, _SHOWN_GROUP)


def _error_command(stream: OutputStream, message: str) -> str:
    """Return the workflow command that marks an error in a GitHub Actions log."""
    for character, escaped in (("%", "%25"), ("\r", "%0D"), ("\n", "%0A")):
        message = message.replace(character, escaped)
    return f"::error::{stream.render(message).replace(_GROUP, _SHOWN_GROUP)}\n"


def _file_name_bytes(path: str) -> bytes:
    try:
        return os.fsencode(path)
    except UnicodeEncodeError:  # not a name that this system could produce
        return path.encode(errors="backslashreplace")
