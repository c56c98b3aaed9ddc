"""An output stream that never raises, and through which no foreign text acts on a terminal."""

import codecs
import contextlib
import errno
import os
from collections.abc import Mapping
from enum import IntEnum
from functools import cached_property
from typing import Final, TextIO

from omniedit.sanitize import sanitize
from omniedit.system import THIS_SYSTEM, System
from omniedit.terminal.text import Line

_PLAINER: Final = {
    "…": "~",  # one cell, so that what was laid out still fits
    "├": "|",
    "│": "|",
    "└": "`",
    "─": "-",
    "·": "-",
    "•": "-",
    "\N{EN DASH}": "-",
    "—": "-",
    "\N{LEFT SINGLE QUOTATION MARK}": "'",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{LEFT DOUBLE QUOTATION MARK}": '"',
    "\N{RIGHT DOUBLE QUOTATION MARK}": '"',
    "→": ">",
    "\N{MULTIPLICATION SIGN}": "x",
    "✓": "+",
    "✗": "x",
    "\N{REPLACEMENT CHARACTER}": "?",
}
# EINVAL is how Windows reports a closed pipe.
READER_LEFT: Final = frozenset({errno.EPIPE, errno.EINVAL, errno.ESHUTDOWN})
"""What is raised where the reader at a pipe's other end went away."""
# EIO is how Linux reports a terminal that hung up.
_GONE: Final = READER_LEFT | {errno.EIO, errno.EBADF}
_DEFAULT_SIZE: Final = os.terminal_size((80, 24))
_VTE_WITH_LINKS: Final = 5000
_FINISHED: Final = "the edit has ended"


class ColourDepth(IntEnum):
    """How many colours a terminal shows."""

    NONE = 0
    BASIC = 16
    EIGHT_BIT = 256
    TRUE = 1 << 24


class OutputStream:
    """Standard output or standard error, whatever is behind it.

    Args:
        stream: None where the caller closed it (`2>&-`).
        environ: Says what the terminal can do.
        keeps_columns: On a terminal, show what the encoding lacks as `?`, not as its escape.
        system: The operating system; injected by tests.
    """

    def __init__(
        self,
        stream: TextIO | None,
        environ: Mapping[str, str],
        *,
        keeps_columns: bool = False,
        system: System = THIS_SYSTEM,
    ) -> None:
        self._stream = stream
        self._environ = environ
        self.is_terminal = _is_terminal(stream)
        self.is_closed = stream is None or stream.closed
        self.failure: OSError | None = None
        """Why it can no longer be written, where that is not a reader who left (a full disk)."""
        self.encoding: str = getattr(stream, "encoding", None) or "utf-8"
        is_exact = not (keeps_columns and self.is_terminal)
        self._errors = "omniedit.exact" if is_exact else "omniedit.shown"
        self._stopping = system.stopping
        self._obeys_escapes = self.is_terminal and system.obeys_escapes(self.fileno)

    @cached_property
    def depth(self) -> ColourDepth:
        """How many colours are wanted and shown here."""
        return _colour_depth(self._environ, is_terminal=self._obeys_escapes)

    @property
    def is_coloured(self) -> bool:
        """Whether colour is wanted and shown here."""
        return self.depth is not ColourDepth.NONE

    @property
    def is_animated(self) -> bool:
        """Whether it is a terminal on which the cursor can be moved."""
        return self._obeys_escapes and not _is_dumb(self._environ)

    @property
    def is_in_background(self) -> bool:
        """Whether its terminal is another job's meanwhile: the shell's, after `&` or `bg`."""
        try:
            return self._stopping is not None and self._stopping.is_in_background(self.fileno())
        except (OSError, ValueError):  # no terminal of this session: no other job is in front
            return False

    @property
    def shows_links(self) -> bool:
        """Whether the terminal is known to take links (OSC 8)."""
        return self._obeys_escapes and _knows_links(self._environ)

    @property
    def shows_taskbar(self) -> bool:
        """Whether the terminal is known to take progress for the taskbar (OSC 9;4)."""
        return self._obeys_escapes and _knows_taskbar(self._environ)

    @property
    def bell(self) -> str:
        """What calls the user back to a terminal that is known to take it; else nothing."""
        return _bell(self._environ) if self._obeys_escapes else ""

    def is_same_terminal(self, other: "OutputStream") -> bool:
        """Return whether both are the same terminal, so that each tears what the other draws."""
        if not (self.is_terminal and other.is_terminal):
            return False
        try:
            mine, its = os.fstat(self.fileno()), os.fstat(other.fileno())
        except (OSError, ValueError):  # no descriptor: two terminals are likelier the same one
            return True
        return os.path.samestat(mine, its)

    @property
    def size(self) -> os.terminal_size:
        """The terminal's size now, in cells; `COLUMNS` can narrow it."""
        width = self._environ.get("COLUMNS", "")
        wished = int(width) if width.isdecimal() else 0
        try:
            seen = os.get_terminal_size(self.fileno())
        except (OSError, ValueError):
            seen = os.terminal_size((0, 0))
        columns = min(filter(None, (seen.columns, wished)), default=_DEFAULT_SIZE.columns)
        return os.terminal_size((columns, seen.lines or _DEFAULT_SIZE.lines))

    def can_show(self, text: str) -> bool:
        """Return whether the encoding has every character of `text`."""
        try:
            text.encode(self.encoding)
        except UnicodeEncodeError:
            return False
        return True

    def shown(self, text: str) -> str:
        """Return foreign text as it is shown here: sanitized, in characters that are there."""
        return self._encodable(sanitize(text))

    def render(self, line: Line) -> str:
        """Return a line with the colours and links that are shown here, all text sanitized."""
        if isinstance(line, str):
            return sanitize(line)
        rendered = ""
        for span in line:
            text = sanitize(span.text)
            if span.colour is not None and text and self.is_coloured:
                text = f"\x1b[{span.colour}m{text}\x1b[0m"
            if span.link is not None and text and self.shows_links:
                from urllib.parse import quote  # noqa: PLC0415 - for links on few terminals only

                uri = quote(span.link, safe="%/:=&?~#+!$,;'@()*[]")
                text = f"\x1b]8;;{uri}\x1b\\{text}\x1b]8;;\x1b\\"
            rendered += text
        return rendered

    def _encodable(self, text: str) -> str:
        """Return `text` with plainer characters where the encoding lacks them."""
        if text.isascii():
            return text
        return text.encode(self.encoding, self._errors).decode(self.encoding)

    def write(self, text: str) -> int:
        """Write what was rendered at once; drop it when nobody is there to read it."""
        if self._stream is not None and not self.is_closed:
            try:
                self._stream.write(self._encodable(text))
                self._stream.flush()
            except (OSError, ValueError) as error:
                self._give_up(error)
        return len(text)

    def write_bytes(self, content: bytes) -> None:
        """Write bytes that are no text, such as the name of a file."""
        buffer = getattr(self._stream, "buffer", None)
        if buffer is None:
            self.write(content.decode(errors="backslashreplace"))
        elif not self.is_closed:
            try:
                buffer.write(content)
                buffer.flush()
            except (OSError, ValueError) as error:
                self._give_up(error)

    def flush(self) -> None:
        """Do nothing: every write is flushed."""

    def isatty(self) -> bool:
        """Return whether it is a terminal, as file objects do."""
        return self.is_terminal

    def fileno(self) -> int:
        """Return the descriptor behind it.

        Raises:
            OSError: If there is none.
        """
        if self._stream is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return self._stream.fileno()

    def _give_up(self, error: OSError | ValueError) -> None:
        self.is_closed = True
        if isinstance(error, OSError) and error.errno not in _GONE:
            self.failure = error
        # What is still buffered would fail once more when the interpreter flushes at its exit.
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except (OSError, ValueError):
        return False


def _is_dumb(environ: Mapping[str, str]) -> bool:
    return environ.get("TERM", "").lower() in {"dumb", "unknown"}


def _colour_depth(environ: Mapping[str, str], *, is_terminal: bool) -> ColourDepth:
    """Return what `NO_COLOR`, `FORCE_COLOR`, `TERM` and the like ask for, in this order."""
    forced = environ.get("FORCE_COLOR", "")
    is_wanted = is_terminal if not forced else forced not in {"0", "false"}
    if environ.get("NO_COLOR") or _is_dumb(environ) or not is_wanted:
        return ColourDepth.NONE
    if environ.get("COLORTERM", "") in {"truecolor", "24bit"} or "WT_SESSION" in environ:
        return ColourDepth.TRUE
    if "256" in environ.get("TERM", ""):
        return ColourDepth.EIGHT_BIT
    return ColourDepth.BASIC


def _knows_links(environ: Mapping[str, str]) -> bool:
    if _is_multiplexed(environ):
        return False
    if _is_modern(environ):
        return True
    vte = environ.get("VTE_VERSION", "")
    return (
        environ.get("TERM_PROGRAM") == "vscode"
        or environ.get("TERM") == "xterm-kitty"
        or "KONSOLE_VERSION" in environ
        or (vte.isdecimal() and int(vte) >= _VTE_WITH_LINKS)
    )


def _knows_taskbar(environ: Mapping[str, str]) -> bool:
    return _is_notifying(environ) and environ.get("TERM_PROGRAM") != "iTerm.app"


def _is_notifying(environ: Mapping[str, str]) -> bool:
    is_wanted = environ.get("OMNIEDIT_NOTIFY") != "0"
    return is_wanted and _is_modern(environ) and not _is_multiplexed(environ)


def _is_modern(environ: Mapping[str, str]) -> bool:
    """Return whether it is a terminal that takes links, progress and notifications."""
    program = environ.get("TERM_PROGRAM", "").lower()
    return (
        "WT_SESSION" in environ
        or environ.get("ConEmuANSI") == "ON"
        or program in {"ghostty", "wezterm", "iterm.app"}
    )


def _is_multiplexed(environ: Mapping[str, str]) -> bool:
    """Return whether tmux or screen stand between, which keep such sequences to themselves."""
    return (
        "TMUX" in environ
        or "STY" in environ
        or environ.get("TERM", "").startswith(("screen", "tmux"))
        or _is_dumb(environ)
    )


def _bell(environ: Mapping[str, str]) -> str:
    if not _is_notifying(environ):
        return ""
    match environ.get("TERM_PROGRAM", "").lower():
        case "iterm.app":
            return f"\x1b]9;{_FINISHED}\x07"
        case "ghostty" | "wezterm":
            return f"\x1b]777;notify;omniedit;{_FINISHED}\x07"
        case _:
            return "\x07"


def _plainer_or_escape(error: UnicodeError) -> tuple[str | bytes, int]:
    return _plainer(error, "backslashreplace")


def _plainer_or_question_mark(error: UnicodeError) -> tuple[str | bytes, int]:
    return _plainer(error, "replace")


def _plainer(error: UnicodeError, otherwise: str) -> tuple[str | bytes, int]:
    if isinstance(error, UnicodeEncodeError):
        plainer = _PLAINER.get(error.object[error.start])
        if plainer is not None:
            return plainer, error.start + 1
        error.end = error.start + 1
    return codecs.lookup_error(otherwise)(error)


codecs.register_error("omniedit.exact", _plainer_or_escape)
codecs.register_error("omniedit.shown", _plainer_or_question_mark)
