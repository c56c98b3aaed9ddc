"""An output stream that never raises and lets no foreign text control the terminal."""

import codecs
import contextlib
import errno
import os
from collections.abc import Mapping
from enum import IntEnum
from functools import cached_property
from typing import IO, AnyStr, Final, TextIO

from omniedit.sanitize import sanitize
from omniedit.system import THIS_SYSTEM, System
from omniedit.terminal.text import Line

_PLAINER: Final = {
    "…": "~",  # one cell, like the original, so that the layout still fits
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
# Windows reports a closed pipe as EINVAL.
READER_LEFT: Final = frozenset({errno.EPIPE, errno.EINVAL, errno.ESHUTDOWN})
"""Error numbers of a write to a pipe whose reader has gone."""
# Linux reports a terminal that has hung up as EIO.
_GONE: Final = READER_LEFT | {errno.EIO, errno.EBADF}
_DEFAULT_SIZE: Final = os.terminal_size((80, 24))
_VTE_WITH_LINKS: Final = 5000
_FINISHED: Final = "the edit has ended"


class ColourDepth(IntEnum):
    """The number of colours that a terminal shows."""

    NONE = 0
    BASIC = 16
    EIGHT_BIT = 256
    TRUE = 1 << 24


class OutputStream:
    """Standard output or standard error: a terminal, a pipe, a file, or closed.

    Args:
        stream: The stream; None if the caller closed it (`2>&-`).
        environ: The variables that describe the terminal's capabilities.
        keeps_columns: On a terminal, replace characters that the encoding lacks by `?`, not by
            longer escapes.
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
        """Why writing failed, such as a full disk; None if only the reader or terminal has gone."""
        self.encoding: str = getattr(stream, "encoding", None) or "utf-8"
        is_exact = not (keeps_columns and self.is_terminal)
        self._errors = "omniedit.exact" if is_exact else "omniedit.shown"
        self._stopping = system.stopping
        self._obeys_escapes = self.is_terminal and system.enables_escapes(self.fileno)

    @cached_property
    def depth(self) -> ColourDepth:
        """The colours that `NO_COLOR`, `TERM`, `FORCE_COLOR` and `COLORTERM` ask for."""
        environ = self._environ
        forced = environ.get("FORCE_COLOR", "")
        is_wanted = forced not in {"0", "false"} if forced else self._obeys_escapes
        if environ.get("NO_COLOR") or self._is_dumb or not is_wanted:
            return ColourDepth.NONE
        if environ.get("COLORTERM", "") in {"truecolor", "24bit"} or "WT_SESSION" in environ:
            return ColourDepth.TRUE
        if "256" in environ.get("TERM", ""):
            return ColourDepth.EIGHT_BIT
        return ColourDepth.BASIC

    @property
    def is_coloured(self) -> bool:
        """Whether colour is wanted and supported."""
        return self.depth is not ColourDepth.NONE

    @property
    def is_animated(self) -> bool:
        """Whether it is a terminal with a movable cursor."""
        return self._obeys_escapes and not self._is_dumb

    @property
    def is_in_background(self) -> bool:
        """Whether another job is in the foreground of the terminal (after `&` or `bg`)."""
        try:
            return self._stopping is not None and self._stopping.is_in_background(self.fileno())
        except (OSError, ValueError):  # not this session's terminal: no job control applies
            return False

    @property
    def shows_links(self) -> bool:
        """Whether the terminal is known to support links (OSC 8)."""
        environ = self._environ
        vte = environ.get("VTE_VERSION", "")
        return self._obeys_sequences and (
            self._is_modern
            or environ.get("TERM_PROGRAM") == "vscode"
            or environ.get("TERM") == "xterm-kitty"
            or "KONSOLE_VERSION" in environ
            or (vte.isdecimal() and int(vte) >= _VTE_WITH_LINKS)
        )

    @property
    def shows_taskbar(self) -> bool:
        """Whether the terminal is known to support taskbar progress (OSC 9;4)."""
        return self._is_notifying and self._environ.get("TERM_PROGRAM") != "iTerm.app"

    @property
    def bell(self) -> str:
        """The sequence that calls the user back to the terminal; empty if not supported."""
        if not self._is_notifying:
            return ""
        match self._environ.get("TERM_PROGRAM", "").lower():
            case "iterm.app":
                return f"\x1b]9;{_FINISHED}\x07"
            case "ghostty" | "wezterm":
                return f"\x1b]777;notify;omniedit;{_FINISHED}\x07"
            case _:
                return "\x07"

    @property
    def _is_notifying(self) -> bool:
        is_wanted = self._environ.get("OMNIEDIT_NOTIFY") != "0"
        return is_wanted and self._is_modern and self._obeys_sequences

    @property
    def _is_modern(self) -> bool:
        """Whether the terminal supports links, progress and notifications."""
        environ = self._environ
        return (
            "WT_SESSION" in environ
            or environ.get("ConEmuANSI") == "ON"
            or environ.get("TERM_PROGRAM", "").lower() in {"ghostty", "wezterm", "iterm.app"}
        )

    @property
    def _obeys_sequences(self) -> bool:
        """Whether sequences beyond colours reach the terminal: tmux and screen intercept them."""
        environ = self._environ
        is_multiplexed = (
            "TMUX" in environ
            or "STY" in environ
            or environ.get("TERM", "").startswith(("screen", "tmux"))
        )
        return self.is_animated and not is_multiplexed

    @property
    def _is_dumb(self) -> bool:
        return self._environ.get("TERM", "").lower() in {"dumb", "unknown"}

    def is_same_terminal(self, other: "OutputStream") -> bool:
        """Return whether both streams are the same terminal, so that their output interferes."""
        if not (self.is_terminal and other.is_terminal):
            return False
        try:
            mine, its = os.fstat(self.fileno()), os.fstat(other.fileno())
        except (OSError, ValueError):  # no descriptor: most likely it is the same terminal
            return True
        return os.path.samestat(mine, its)

    @property
    def size(self) -> os.terminal_size:
        """The terminal's current size in cells; `COLUMNS` can narrow it."""
        width = self._environ.get("COLUMNS", "")
        wanted = int(width) if width.isdecimal() else 0
        try:
            actual = os.get_terminal_size(self.fileno())
        except (OSError, ValueError):
            actual = os.terminal_size((0, 0))
        columns = min(filter(None, (actual.columns, wanted)), default=_DEFAULT_SIZE.columns)
        return os.terminal_size((columns, actual.lines or _DEFAULT_SIZE.lines))

    def can_show(self, text: str) -> bool:
        """Return whether the encoding has every character of `text`."""
        try:
            text.encode(self.encoding)
        except UnicodeEncodeError:
            return False
        return True

    def shown(self, text: str) -> str:
        """Return foreign text as it is shown here: sanitized and encodable."""
        return self._encodable(sanitize(text))

    def render(self, line: Line) -> str:
        """Return a line of sanitized text with the colours and links that the stream supports."""
        if isinstance(line, str):
            return sanitize(line)
        rendered = ""
        for span in line:
            text = sanitize(span.text)
            if span.colour is not None and text and self.is_coloured:
                text = f"\x1b[{span.colour}m{text}\x1b[0m"
            if span.link is not None and text and self.shows_links:
                from urllib.parse import quote  # noqa: PLC0415 - only few terminals show links

                uri = quote(span.link, safe="%/:=&?~#+!$,;'@()*[]")
                text = f"\x1b]8;;{uri}\x1b\\{text}\x1b]8;;\x1b\\"
            rendered += text
        return rendered

    def _encodable(self, text: str) -> str:
        """Return `text` with plainer characters for those that the encoding lacks."""
        if text.isascii():
            return text
        return text.encode(self.encoding, self._errors).decode(self.encoding)

    def write(self, text: str) -> int:
        """Write rendered text and flush it; drop it if the stream is closed."""
        self._put(self._stream, self._encodable(text))
        return len(text)

    def write_bytes(self, content: bytes) -> None:
        """Write bytes that may not be text, such as a file name."""
        buffer = getattr(self._stream, "buffer", None)
        if buffer is None:
            self.write(content.decode(errors="backslashreplace"))
        else:
            self._put(buffer, content)

    def flush(self) -> None:
        """Flush what was written past this object; every write of its own flushes already."""
        self._put(self._stream, "")

    def isatty(self) -> bool:
        """Return whether it is a terminal (the file object protocol)."""
        return self.is_terminal

    def fileno(self) -> int:
        """Return the underlying file descriptor.

        Raises:
            OSError: If there is none.
        """
        if self._stream is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return self._stream.fileno()

    def _put(self, target: IO[AnyStr] | None, content: AnyStr) -> None:
        if target is None or self.is_closed:
            return
        try:
            target.write(content)
            target.flush()
        except (OSError, ValueError) as error:
            self._give_up(error)

    def _give_up(self, error: OSError | ValueError) -> None:
        self.is_closed = True
        if isinstance(error, OSError) and error.errno not in _GONE:
            self.failure = error
        # Otherwise the interpreter's flush at exit would fail again on what is still buffered.
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except (OSError, ValueError):
        return False


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
