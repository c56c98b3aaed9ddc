"""Output streams that never raise, and the lines they render: colours, links, widths in cells."""

import codecs
import contextlib
import errno
import os
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import cached_property, partial
from typing import IO, AnyStr, Final, NamedTuple, TextIO, TypeAlias

from omniedit.sanitize import sanitize
from omniedit.system import THIS_SYSTEM, System

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
_ELLIPSIS: Final = "…"
_WORDS: Final = re.compile(r"([^\s`]*`[^`]*`\S*|\S+)(\s*)")
"""Words and the blanks after them; a command in backticks is one word, so that it can be pasted."""
_NARROWEST: Final = 16
"""The fewest cells beside a label; with less, further lines begin at the margin."""

_FINISHED: Final = "the edit has ended"
_NOTIFICATION: Final = f"\x1b]777;notify;omniedit;{_FINISHED}\x07"
_BELLS: Final = {
    "windows terminal": "\x07",
    "conemu": "\x07",
    "iterm.app": f"\x1b]9;{_FINISHED}\x07",
    "ghostty": _NOTIFICATION,
    "wezterm": _NOTIFICATION,
}
"""What calls the user back, by the terminals known to support it."""
_WITH_TASKBAR: Final = _BELLS.keys() - {"iterm.app"}
_WITH_LINKS: Final = _BELLS.keys() | {"vscode", "kitty", "konsole", "vte"}
_VTE_WITH_LINKS: Final = 5000


class Colour(StrEnum):
    """SGR parameters (ECMA-48, 8.3.117), limited to the 16 colours that terminal themes define."""

    BOLD = "1"
    DIM = "2"
    RED = "31"
    GREEN = "32"
    YELLOW = "33"
    CYAN = "36"
    BOLD_RED = "1;31"
    BOLD_GREEN = "1;32"


class Span(NamedTuple):
    """A part of a line; colour and link are kept apart from its text, which is never trusted."""

    text: str
    colour: Colour | None = None
    file: str | None = None  # the path that it links to


Line: TypeAlias = str | Sequence[Span]
"""One line of output; the stream that writes it sanitizes its text."""


class OutputStream:
    """Standard output or standard error: a terminal, a pipe, a file, or closed.

    Args:
        stream: The stream; None if the caller closed it (`2>&-`).
        environ: The variables that describe the terminal's capabilities.
        keeps_columns: On a terminal, replace characters that the encoding lacks by as many `?` as
            they take cells, not by longer escapes.
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
        self.is_closed = stream is None or stream.closed
        self.is_terminal = stream is not None and not stream.closed and stream.isatty()
        self.failure: OSError | None = None
        """Why writing failed, such as a full disk; None if only the reader or terminal has gone."""
        self.encoding: str = getattr(stream, "encoding", None) or "utf-8"
        is_exact = not (keeps_columns and self.is_terminal)
        self._errors = "omniedit.exact" if is_exact else "omniedit.shown"
        self._stopping = system.stopping
        self._obeys_escapes = self.is_terminal and system.enables_escapes(self.fileno)

    @cached_property
    def colour_system(self) -> str | None:
        """The colours that `NO_COLOR`, `TERM`, `FORCE_COLOR` and `COLORTERM` ask for, or None.

        The names are Rich's.
        """
        environ = self._environ
        forced = environ.get("FORCE_COLOR", "")
        is_wanted = forced not in {"0", "false"} if forced else self._obeys_escapes
        if environ.get("NO_COLOR") or self._is_dumb or not is_wanted:
            return None
        if environ.get("COLORTERM", "") in {"truecolor", "24bit"} or "WT_SESSION" in environ:
            return "truecolor"
        return "256" if "256" in environ.get("TERM", "") else "standard"

    @property
    def is_coloured(self) -> bool:
        """Whether colour is wanted and supported."""
        return self.colour_system is not None

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
        return self._program in _WITH_LINKS

    @property
    def shows_taskbar(self) -> bool:
        """Whether the terminal is known to support taskbar progress (OSC 9;4)."""
        return self._program in _WITH_TASKBAR and self._is_notifying

    @property
    def bell(self) -> str:
        """The sequence that calls the user back to the terminal; empty if not supported."""
        return _BELLS.get(self._program, "") if self._is_notifying else ""

    @property
    def _is_notifying(self) -> bool:
        return self._environ.get("OMNIEDIT_NOTIFY") != "0"

    @cached_property
    def _program(self) -> str:
        """The terminal's program; empty if sequences beyond colours do not reach it."""
        environ = self._environ
        term = environ.get("TERM", "")
        vte = environ.get("VTE_VERSION", "")
        named = environ.get("TERM_PROGRAM", "").lower()
        # tmux and screen intercept the sequences.
        is_multiplexed = (
            "TMUX" in environ or "STY" in environ or term.startswith(("screen", "tmux"))
        )
        if not self.is_animated or is_multiplexed:
            return ""
        signs = {
            "windows terminal": "WT_SESSION" in environ,
            "conemu": environ.get("ConEmuANSI") == "ON",
            named: named in _WITH_LINKS,
            "kitty": term == "xterm-kitty",
            "konsole": "KONSOLE_VERSION" in environ,
            "vte": vte.isdecimal() and int(vte) >= _VTE_WITH_LINKS,
        }
        return next((name for name, is_found in signs.items() if is_found), "")

    @property
    def _is_dumb(self) -> bool:
        return self._environ.get("TERM", "").lower() in {"dumb", "unknown"}

    def is_same_terminal(self, other: "OutputStream") -> bool:
        """Return whether both streams are the same terminal, so that their output interferes."""
        if not (self.is_terminal and other.is_terminal):
            return False
        try:
            mine = os.fstat(self.fileno())
            its = os.fstat(other.fileno())
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
            if span.file is not None and text and self.shows_links:
                text = _linked(text, span.file)
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
        if self._stream is not None:
            self._put(self._stream.buffer, content)

    def flush(self) -> None:
        """Flush what was written past this object; every write of its own flushes already."""
        self._put(self._stream, "")

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


def cell_width(text: str) -> int:
    """Return how many terminal cells `text` takes: a Chinese character takes two."""
    if text.isascii():
        return len(text)
    # Imported only here: its tables take as long to import as a whole listing takes.
    from rich.cells import cell_len  # noqa: PLC0415

    return cell_len(text)


def truncate(text: str, width: int, *, keeps_end: bool = False, head: int = 0) -> str:
    """Return `text` in at most `width` cells, with an ellipsis for what was cut off.

    With `keeps_end`, the end is kept instead of the beginning, and `head` cells of the beginning.
    """
    if cell_width(text) <= width:
        return text
    if width <= 0:
        return ""
    if not keeps_end:
        return _fitting(text, width - 1) + _ELLIPSIS
    start = _fitting(text, min(head, width - 1))
    end = _fitting(text[::-1], width - 1 - cell_width(start))[::-1]
    return f"{start}{_ELLIPSIS}{end}"


def narrowed(widths: Sequence[int], least: Sequence[int], room: int) -> list[int] | None:
    """Return column widths of at most `room` cells, the widest column narrowed first.

    None if `room` is too small for the `least` widths.
    """
    narrow = [*widths]
    while sum(narrow) > room:
        wider = [index for index, width in enumerate(narrow) if width > least[index]]
        if not wider:
            return None
        narrow[max(wider, key=narrow.__getitem__)] -= 1
    return narrow


def wrapped(text: Sequence[Span], width: int, *, label: Sequence[Span] = ()) -> list[list[Span]]:
    """Return a text wrapped between words into lines of `width` cells.

    A long path is left to the terminal to wrap, so that it can still be copied.

    Args:
        text: The text.
        width: The terminal's width.
        label: What stands to the left of the text, including the gap between them.
    """
    indent = sum(cell_width(span.text) for span in label)
    if indent and width - indent < _NARROWEST:
        return wrapped([*label, *text], width)
    lines = [[*label]]
    used = 0
    for span in text:
        start = 0  # of the text that is not in a line yet
        used += cell_width(span.text) - cell_width(span.text.lstrip())
        for word in _WORDS.finditer(span.text):
            needed = cell_width(word[1])
            if used and indent + used + needed > width:
                lines[-1].append(span._replace(text=span.text[start : word.start()].rstrip()))
                lines.append([Span(" " * indent)])
                start = word.start()
                used = 0
            used += needed + cell_width(word[2])
        lines[-1].append(span._replace(text=span.text[start:]))
    return lines


def _fitting(text: str, width: int) -> str:
    """Return the longest prefix of `text` that takes at most `width` cells."""
    kept = text[:width]
    while cell_width(kept) > width:
        kept = kept[:-1]
    return kept


def _linked(text: str, path: str) -> str:
    """Return text that links to a file (OSC 8); unchanged if the path cannot be a URI."""
    from pathlib import Path  # noqa: PLC0415 - only few terminals show links

    try:
        uri = Path(path).as_uri()
    except (ValueError, UnicodeError):
        return text
    return f"\x1b]8;;{uri}\x1b\\{text}\x1b]8;;\x1b\\"


def _plainer(error: UnicodeError, *, keeps_width: bool) -> tuple[str | bytes, int]:
    if isinstance(error, UnicodeEncodeError):
        character = error.object[error.start]
        plainer = _PLAINER.get(character)
        if plainer is None and keeps_width:
            plainer = "?" * cell_width(character)
        if plainer is not None:
            return plainer, error.start + 1
        error.end = error.start + 1
    return codecs.backslashreplace_errors(error)


codecs.register_error("omniedit.exact", partial(_plainer, keeps_width=False))
codecs.register_error("omniedit.shown", partial(_plainer, keeps_width=True))
