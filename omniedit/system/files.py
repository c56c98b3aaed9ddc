"""Files opened for reading: only if they are regular files, and without waiting for anything."""

import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, Final

from omniedit.errors import CredentialsError, Hint, InvalidInputError, LocalError, MissingFileError
from omniedit.system import THIS_SYSTEM, System

_KINDS: Final = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_MOVE_IT: Final = "move it away, and run the command again"
# Opening a named pipe waits for a writer, and a pipe may replace the file after the first check.
_FLAGS: Final = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_BINARY", 0)
)


class _IrregularFileError(Exception):
    """A path names something else than a regular file."""

    def __init__(self, mode: int) -> None:
        super().__init__(mode)
        self.is_folder = stat.S_ISDIR(mode)
        self.kind = next((name for is_kind, name in _KINDS if is_kind(mode)), "no regular file")


def settled_path(path: Path) -> Path:
    """Return a path that leads to the same file once missing folders on it were made.

    `new/../a.mp4` names nothing before there is a folder `new`, and then the file beside it.
    """
    if ".." not in path.parts:
        return path
    return Path(os.path.realpath(path.parent)) / path.name


def open_file(path: Path) -> BufferedReader:
    """Open a clip that the user named.

    Raises:
        MissingFileError: If it does not exist or cannot be read.
        InvalidInputError: If it is not a regular file.
    """
    try:
        return _open_regular(path)
    except FileNotFoundError:
        msg = f"no such file: {path}"
        hint = "VIDEO is an http(s) URL or the path of a local clip"
        raise MissingFileError(msg, hint=hint) from None
    except _IrregularFileError as error:
        msg = f"{path} is {error.kind}, not a clip"
        hint = "save it to a file first"
        if error.is_folder:
            hint = Hint("VIDEO is one file; {} edits many", "batch")
        raise InvalidInputError(msg, code="invalid_clip", hint=hint) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        msg = f"cannot read {str(path)!r}: {reason}"
        raise MissingFileError(msg, hint="check its name and its permissions") from error


def open_own_file(
    path: Path, *, is_secret: bool = False, system: System = THIS_SYSTEM
) -> BufferedReader | None:
    """Open a file that omniedit or its user wrote; return None if it does not exist.

    Args:
        path: A setting, a key, the note of a part file: nobody else may have written it.
        is_secret: Whether nobody else may read it, either.
        system: The operating system; injected by tests.

    Raises:
        CredentialsError: If others can read a secret.
        LocalError: If it cannot be read, is not a regular file, or others may have written it.
    """
    try:
        file = _open_regular(path)
    except FileNotFoundError:
        return None
    except _IrregularFileError as error:
        msg = f"{path} is {error.kind}, not a regular file"
        raise LocalError(msg, hint=_MOVE_IT) from None
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    try:
        _check_owner(path, os.fstat(file.fileno()), is_secret=is_secret, system=system)
    except BaseException:
        file.close()
        raise
    return file


def read_own_file(
    path: Path, *, max_bytes: int, is_secret: bool = False, system: System = THIS_SYSTEM
) -> bytes | None:
    """Return the content of a file that omniedit or its user wrote, or None; see `open_own_file`.

    Raises:
        CredentialsError: If others can read a secret.
        LocalError: If it cannot be used, or is longer than `max_bytes`.
    """
    file = open_own_file(path, is_secret=is_secret, system=system)
    if file is None:
        return None
    with file:
        try:
            content = file.read(max_bytes + 1)
        except OSError as error:
            raise _unreadable(path, error) from error
    if len(content) > max_bytes:
        msg = f"{path} is longer than {max_bytes} bytes"
        raise LocalError(msg, hint=_MOVE_IT)
    return content


def check_own_path(path: Path, *, is_folder: bool = False, system: System = THIS_SYSTEM) -> None:
    """Refuse an existing path that is of another kind, or that others may have written.

    Unlike `open_own_file` it does not open the file: closing it would drop the locks that SQLite
    holds on it in this process.

    Raises:
        LocalError: If it is refused.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unreadable(path, error) from error
    if not (stat.S_ISDIR if is_folder else stat.S_ISREG)(found.st_mode):
        kind = "a file" if stat.S_ISREG(found.st_mode) else _IrregularFileError(found.st_mode).kind
        msg = f"{path} is {kind}, not {'a folder' if is_folder else 'a regular file'}"
        raise LocalError(msg, hint=_MOVE_IT)
    # As root, omniedit works in the folders of others.
    _check_owner(path, found, system=system, folder_owner=found.st_uid if is_folder else None)


def read_at_most(file: BinaryIO, *, max_bytes: int, what: str) -> bytes:
    """Return everything that a file or a pipe holds, as long as that is not too much.

    Args:
        file: The input, which may never end.
        max_bytes: The most that is accepted.
        what: What it is, for the message: "the prompt".

    Raises:
        InvalidInputError: If it is longer.
        OSError: If it cannot be read.
    """
    content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        msg = f"{what} is longer than {max_bytes} bytes"
        raise InvalidInputError(msg, code="too_long")
    return content


def _open_regular(path: Path) -> BufferedReader:
    # Check it before opening it: merely opening some devices has an effect.
    _check_kind(path.stat().st_mode)
    file = os.fdopen(os.open(path, _FLAGS), "rb")
    try:
        _check_kind(os.fstat(file.fileno()).st_mode)
    except _IrregularFileError:
        file.close()
        raise
    return file


def _check_kind(mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise _IrregularFileError(mode)


def _check_owner(
    path: Path,
    found: os.stat_result,
    *,
    system: System,
    is_secret: bool = False,
    folder_owner: int | None = None,
) -> None:
    if is_secret and not system.is_private(found.st_mode):
        msg = f"{path} can be read by other users"
        raise CredentialsError(msg, hint=f"chmod 600 '{path}'")
    if folder_owner is None:
        folder_owner = path.parent.stat().st_uid
    if fault := system.write_fault(found, folder_owner=folder_owner):
        msg = f"{path} is not safe to use: {fault}"
        raise LocalError(msg, hint=f"make it yours alone: chown it, and chmod go-w '{path}'")


def _unreadable(path: Path, error: OSError | ValueError) -> LocalError:
    reason = error.strerror if isinstance(error, OSError) else error
    return LocalError(f"cannot read {path}: {reason or error}")
