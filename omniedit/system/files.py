"""Files that somebody named: opened for reading, and only where they are files."""

import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import Final

from omniedit.errors import Hint, InvalidInputError, MissingFileError

_KINDS: Final = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
# Opening a named pipe waits for its other end, and one may take a name after the first look.
_FLAGS: Final = os.O_RDONLY | sum(
    getattr(os, name, 0) for name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY")
)


def open_file(path: Path) -> BufferedReader:
    """Open a regular file, and nothing else.

    Raises:
        MissingFileError: It does not exist, or cannot be read.
        InvalidInputError: It is a folder, a pipe, a device.
    """
    try:
        # Before it is opened: with some devices that alone sets something going.
        _check(path, path.stat().st_mode)
        file = os.fdopen(os.open(path, _FLAGS), "rb")
    except FileNotFoundError:
        msg = f"no such file: {path}"
        hint = "VIDEO is an http(s) URL or the path of a local clip"
        raise MissingFileError(msg, hint=hint) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        msg = f"cannot read {str(path)!r}: {reason}"
        raise MissingFileError(msg, hint="check its name and its permissions") from error
    try:
        _check(path, os.fstat(file.fileno()).st_mode)
    except InvalidInputError:
        file.close()
        raise
    return file


def _check(path: Path, mode: int) -> None:
    if stat.S_ISREG(mode):
        return
    kind = next((name for is_kind, name in _KINDS if is_kind(mode)), "no file")
    msg = f"{path} is {kind}, not a clip"
    hint = "save it to a file first"
    if stat.S_ISDIR(mode):
        hint = Hint("VIDEO is one file; {} edits many", "batch")
    raise InvalidInputError(msg, code="invalid_clip", hint=hint)
