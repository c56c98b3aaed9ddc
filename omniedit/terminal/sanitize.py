"""Foreign text sanitized: one line, no control, bidi or invisible characters."""

import re
import unicodedata
from typing import Final

# Printable by category, but invisible: fillers, joiners and variation selectors, which can hide
# text or make two different texts look the same.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]"
)
_LINE_BREAKS = re.compile(r"[ \t]*[\n\v\f\r\x1c-\x1e\x85\u2028\u2029][\s\x1c-\x1e]*")
_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
_ESCAPED_BYTES: Final = range(0xDC80, 0xDD00)
"""Where `surrogateescape` (PEP 383) keeps the bytes of file names that are no text."""


def sanitize(text: str) -> str:
    r"""Return `text` as one line that a terminal shows and never obeys.

    Line breaks become a space, other controls and undecodable bytes their escape (`\x1b`),
    invisible and bidi characters nothing.
    """
    text = _INVISIBLE.sub("", text)
    if text.isprintable():
        return text
    return "".join(map(_shown, _LINE_BREAKS.sub(" ", text).strip()))


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    match unicodedata.category(character):
        case "Zs":
            return " "
        case "Cc":
            return " " if character == "\t" else f"\\x{code:02x}"
        case "Cf":
            return ""
        case "Cs" if code in _ESCAPED_BYTES:
            return f"\\x{code - 0xDC00:02x}"
        case _:  # lone surrogates, private and unassigned characters
            return _REPLACEMENT
