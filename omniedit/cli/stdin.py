"""Standard input, and the text in what comes from there or from a file."""

import codecs
import sys

from omniedit.errors import InvalidInputError


def read_stdin() -> bytes:
    """Return all that standard input has.

    Raises:
        InvalidInputError: The caller has closed it.
        OSError: It cannot be read.
    """
    if sys.stdin is None:
        msg = "standard input is closed"
        raise InvalidInputError(msg, code="usage")
    return sys.stdin.buffer.read()


def text_of(content: bytes) -> str:
    """Return the text of a file, without its byte order mark.

    Raises:
        UnicodeDecodeError: It is neither UTF-8, nor UTF-16 that says so.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        # What `>` writes in Windows PowerShell.
        return content.decode("utf-16")
    return content.decode("utf-8-sig")
