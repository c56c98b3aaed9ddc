"""One output stream that never raises: another encoding, a closed pipe, a terminal that is gone."""

import codecs
import contextlib
import errno
import os
from collections.abc import Mapping
from enum import IntEnum
from typing import Final, NamedTuple, TextIO

from omniedit.system import THIS_SYSTEM, System

_PLAINER: Final = {
    "…": "~",  # one cell, so that what was laid out still fits
    "·": "-",
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
_DEFAULT_SIZE: Final = (80, 24)


class ColourDepth(IntEnum):
    """How many colours a terminal shows."""

    NONE = 0
    BASIC = 16
    EIGHT_BIT = 256
    TRUE = 1 << 24


class Size(NamedTuple):
    """Of a terminal, in cells."""

    width: int
    height: int


class Channel:
    """Standard output or standard error, whatever is behind it.

    Args:
        stream: None where the caller closed it (`2>&-`).
        environ: Says what the terminal can do.
        is_exact: Show what the encoding lacks as its escape, not as `?`.
        system: This one.
    """

    def __init__(
        self,
        stream: TextIO | None,
        environ: Mapping[str, str],
        *,
        is_exact: bool = True,
        system: System = THIS_SYSTEM,
    ) -> None:
        self._stream = stream
        self._environ = environ
        self.is_terminal = _is_terminal(stream)
        self.is_closed = stream is None or stream.closed
        self.failure: OSError | None = None
        """Why it can no longer be written, where that is not a reader who left (a full disk)."""
        self.encoding: str = getattr(stream, "encoding", None) or "utf-8"
        self._errors = "omniedit.exact" if is_exact else "omniedit.shown"
        self._obeys_escapes = self.is_terminal and system.obeys_escapes(self.fileno)
        self.depth = _colour_depth(environ, is_terminal=self._obeys_escapes)

    @property
    def is_coloured(self) -> bool:
        """Whether colour is wanted and shown here."""
        return self.depth is not ColourDepth.NONE

    @property
    def is_animated(self) -> bool:
        """Whether it is a terminal on which the cursor can be moved."""
        return self._obeys_escapes and not _is_dumb(self._environ)

    @property
    def is_reflowing(self) -> bool:
        """Whether the terminal wraps what it shows anew when it gets narrower; most do."""
        term = self._environ.get("TERM", "")
        is_screen = term.startswith("screen") and "TMUX" not in self._environ
        is_old = term.startswith(("linux", "rxvt", "vt")) or "XTERM_VERSION" in self._environ
        return not (is_screen or is_old)

    @property
    def size(self) -> Size:
        """The terminal's size now; `COLUMNS` can narrow it."""
        size = Size(*_DEFAULT_SIZE)
        width = self._environ.get("COLUMNS", "")
        wished = int(width) if width.isdecimal() and int(width) > 0 else None
        try:
            seen = os.get_terminal_size(self.fileno())
        except (OSError, ValueError):
            return Size(wished or size.width, size.height)
        narrowest = min(seen.columns or size.width, wished or seen.columns or size.width)
        if not seen.columns and wished:
            narrowest = wished
        return Size(narrowest, seen.lines or size.height)

    def can_show(self, text: str) -> bool:
        """Return whether the encoding has every character of `text`."""
        try:
            text.encode(self.encoding)
        except UnicodeEncodeError:
            return False
        return True

    def showable(self, text: str) -> str:
        """Return `text` with plainer characters where the encoding lacks them."""
        if text.isascii():
            return text
        return text.encode(self.encoding, self._errors).decode(self.encoding)

    def write(self, text: str) -> int:
        """Write `text` at once; drop it when nobody is there to read it."""
        if self._stream is not None and not self.is_closed:
            try:
                self._stream.write(self.showable(text))
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
            OSError: There is none.
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
