"""Make foreign text safe to show on one line, and words safe to paste into a shell."""

import re
import sys
import unicodedata
from typing import Final

# Fillers, joiners and variation selectors: Unicode calls them printable, but they are invisible and
# can hide text or make different texts look the same. These patterns are compiled on first use.
_INVISIBLE: Final = (
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]"
)
# The lookbehind keeps the search linear: it never starts again within the same blanks.
_LINE_BREAKS: Final = r"(?<![ \t])[ \t]*[\n\v\f\r\x1c-\x1e\x85\u2028\u2029][\s\x1c-\x1e]*"
_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
_ESCAPED_BYTES: Final = range(0xDC80, 0xDD00)
"""The surrogates by which `surrogateescape` (PEP 383) represents undecodable bytes."""
_ESCAPES: Final = {"\n": r"\n", "\r": r"\r", "\t": r"\t", "\\": r"\\"}


def sanitize(text: str) -> str:
    r"""Return `text` as one line that cannot control a terminal.

    Line breaks become a space; other controls and undecodable bytes are escaped (`\x1b`);
    invisible and bidi characters are removed.
    """
    if not text.isascii():
        text = re.sub(_INVISIBLE, "", text)
    if text.isprintable():
        return text
    return "".join(map(_shown, re.sub(_LINE_BREAKS, " ", text).strip()))


def is_valid_unicode(text: str) -> bool:
    """Return whether `text` has no lone surrogates, which no request body can hold.

    Python decodes bytes that are not UTF-8 to such surrogates (PEP 383), and JSON can encode them
    (RFC 8259, 8.2).
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def masked(text: str, secret: str, mask: str) -> str:
    """Replace a secret in `text`, even if `sanitize` would have to uncover it first."""
    text = text.replace(secret, mask)
    if text.isascii():
        return text
    shown = sanitize(text)
    return shown.replace(secret, mask) if secret in shown else text


def quoted(*words: str) -> str:
    r"""Return words quoted for a shell, in a form that `sanitize` does not change.

    Characters that it would change, that this terminal cannot show, and backticks (they delimit
    commands in messages) are escaped for bash, zsh and ksh: `$'make it night\nkeep the rest'`.
    """
    import shlex  # noqa: PLC0415 - completion does not need it

    return " ".join(
        shlex.quote(word) if all(map(_is_shown, word)) else f"$'{''.join(map(_escaped, word))}'"
        for word in words
    )


def _is_shown(character: str) -> bool:
    if character.isascii():
        return character.isprintable() and character != "`"
    return _shows_unicode() and character.isprintable() and not re.match(_INVISIBLE, character)


def _shows_unicode() -> bool:
    encoding: str = getattr(sys.stderr, "encoding", None) or "utf-8"
    return encoding.lower().startswith("utf")


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if _is_shown(character) and character != "'":
        return character
    is_byte = ord(character) in _ESCAPED_BYTES
    encoded = character.encode(errors="surrogateescape" if is_byte else "surrogatepass")
    # Octal escapes end after three digits; in some shells hexadecimal ones may be longer.
    return "".join(f"\\{byte:03o}" for byte in encoded)


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
