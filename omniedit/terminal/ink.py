"""Colour for single lines, without a library: sixteen colours that every theme has tuned."""

from enum import StrEnum


class Ink(StrEnum):
    """A way to set off a piece of text (ECMA-48, 8.3.117)."""

    BOLD = "1"
    DIM = "2"
    RED = "31"
    GREEN = "32"
    YELLOW = "33"
    CYAN = "36"
    BOLD_RED = "1;31"


def paint(text: str, ink: Ink | None, *, is_coloured: bool = True) -> str:
    """Return `text` in `ink`; as it is without colour."""
    if ink is None or not is_coloured or not text:
        return text
    return f"\x1b[{ink}m{text}\x1b[0m"
