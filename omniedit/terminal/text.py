"""Lines of text for a terminal: colours, links, and widths in cells."""

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Final, NamedTuple, TypeAlias

from omniedit.sanitize import sanitize

_ELLIPSIS: Final = "…"
_WORDS: Final = re.compile(r"([^\s`]*`[^`]*`\S*|\S+)(\s*)")
"""Words and the blanks after them; a command in backticks is one word, so that it can be pasted."""
_NARROWEST: Final = 16
"""The fewest cells beside a label; with less, wrapping is left to the terminal."""


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
    link: str | None = None  # a URI


Line: TypeAlias = str | Sequence[Span]
"""One line of output; the stream that writes it sanitizes its text."""


def plain_text(line: Line) -> str:
    """Return a line's text without colours and links."""
    return line if isinstance(line, str) else "".join(span.text for span in line)


def cell_width(text: str) -> int:
    """Return how many terminal cells `text` takes: a Chinese character takes two."""
    if text.isascii():
        return len(text)
    # Imported only here: its tables take as long to import as a whole listing takes.
    from rich.cells import cell_len  # noqa: PLC0415

    return cell_len(text)


def truncate(text: str, width: int, *, keeps_end: bool = False, head: int = 0) -> str:
    """Return `text` in at most `width` cells, with an ellipsis for what was cut off.

    Args:
        text: Sanitized text.
        width: The maximum width in cells.
        keeps_end: Whether to keep the end instead of the beginning.
        head: With `keeps_end`, how many cells of the beginning to keep as well.
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


def wrapped(spans: Sequence[Span], width: int) -> list[list[Span]]:
    """Return a line wrapped between words into lines of `width` cells."""
    lines: list[list[Span]] = [[]]
    used = 0
    for span in spans:
        start = 0  # of the text that is not in a line yet
        used += cell_width(span.text) - cell_width(span.text.lstrip())
        for word in _WORDS.finditer(span.text):
            needed = cell_width(word[1])
            if used and used + needed > width:
                lines[-1].append(span._replace(text=span.text[start : word.start()].rstrip()))
                lines.append([])
                start, used = word.start(), 0
            used += needed + cell_width(word[2])
        lines[-1].append(span._replace(text=span.text[start:]))
    return lines


def labelled(label: Sequence[Span], text: Span, width: int | None) -> list[Line]:
    """Return a text beside its label, wrapped to the terminal's width.

    Args:
        label: The label, including the gap after it.
        text: The text.
        width: The terminal's width; None for a script, which gets one line.
    """
    text = text._replace(text=sanitize(text.text))
    label_width = sum(cell_width(span.text) for span in label)
    if width is None or width - label_width < _NARROWEST:
        return [[*label, text]]
    # A long path is left to the terminal to wrap, so that it can still be copied.
    margin = [Span(" " * label_width)]
    return [
        [*(margin if number else label), *part]
        for number, part in enumerate(wrapped([text], width - label_width))
    ]


def _fitting(text: str, width: int) -> str:
    """Return the longest prefix of `text` that takes at most `width` cells."""
    kept = text[:width]
    while cell_width(kept) > width:
        kept = kept[:-1]
    return kept
