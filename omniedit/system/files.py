"""Files and folders; only regular files are read, so that opening one never blocks."""

import codecs
import os
import stat
import sys
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, Final

from omniedit.errors import (
    CredentialsError,
    Hint,
    LocalError,
    MissingFileError,
    refuse,
)
from omniedit.system import THIS_SYSTEM, System, error_reason

_KINDS: Final = (
    (stat.S_ISREG, "a file"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_ESCAPE: Final = "surrogateescape"
_MOVE_IT: Final = "move it away, and run the command again"
# Opening a named pipe waits for a writer, and a pipe may replace the file after the first check.
_FLAGS: Final = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_BINARY", 0)
)


def file_name(text: str) -> str:
    """Return the name of a file in UTF-8 as this process spells it, whatever the locale (PEP 383)."""
    # In an ASCII locale, for example, Python has no other way to name it.
    if text.isascii():
        return text
    return text.encode(errors=_ESCAPE).decode(sys.getfilesystemencoding(), _ESCAPE)


def is_file(path: Path | str) -> bool:
    """Return whether a path leads to a regular file; False if that cannot be determined."""
    return os.path.isfile(path)  # noqa: PTH113 - `Path.is_file` raises for some paths


def is_folder(path: Path | str) -> bool:
    """Return whether a path leads to a folder; False if that cannot be determined."""
    return os.path.isdir(path)  # noqa: PTH112 - as above


def absolute_path(path: Path) -> Path:
    """Return a path that does not depend on the working folder, which may have been removed."""
    try:
        return path.absolute()
    except OSError as error:
        msg = f"cannot tell where {str(path)!r} is: the working folder is gone"
        raise LocalError(msg, hint="change to another folder, and run the command again") from error


def real_path(path: Path) -> Path:
    """Return an absolute path without links, whether or not it exists."""
    return Path(os.path.realpath(absolute_path(path)))


def stable_path(path: Path) -> Path:
    """Return a path that leads to the same file before and after its missing folders are created.

    Before there is a folder `new`, `new/../a.mp4` names nothing; afterwards it names `a.mp4`.
    """
    if ".." not in path.parts:
        return path
    return real_path(path.parent) / path.name


def unreadable(path: Path | str, error: Exception) -> LocalError:
    """Return the error for a file that cannot be read."""
    return LocalError(f"cannot read {path}: {error_reason(error)}")


def open_file(path: Path) -> BufferedReader:
    """Open a clip that the user named."""

    def check(found: os.stat_result) -> None:
        if not stat.S_ISREG(found.st_mode):
            hint = "save it to a file first"
            if stat.S_ISDIR(found.st_mode):
                hint = Hint("VIDEO is one file; {} edits many", "batch")
            refuse(f"{path} is {_kind(found)}, not a clip", code="invalid_clip", hint=hint)

    try:
        return _open(path, check)
    except FileNotFoundError:
        msg = f"no such file: {path}"
        hint = "VIDEO is an http(s) URL or the path of a local clip"
        raise MissingFileError(msg, hint=hint) from None
    except (OSError, ValueError) as error:
        msg = f"cannot read {str(path)!r}: {error_reason(error)}"
        raise MissingFileError(msg, hint="check its name and its permissions") from error


def open_own_file(
    path: Path, *, is_secret: bool = False, system: System = THIS_SYSTEM
) -> BufferedReader | None:
    """Open a file that omniedit or its user wrote; return None if it does not exist.

    Args:
        path: A file that no other user may have written: settings, keys, the note of a part file.
        is_secret: Whether other users must not be able to read it either.
        system: The operating system; injected by tests.

    Raises:
        CredentialsError: If it is a secret and others can read it.
        LocalError: If it cannot be used.
    """

    def check(found: os.stat_result) -> None:
        _check_kind(path, found)
        _check_owner(path, found, is_secret=is_secret, system=system)

    try:
        return _open(path, check)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error


def read_own_file(
    path: Path, *, max_bytes: int, is_secret: bool = False, system: System = THIS_SYSTEM
) -> bytes | None:
    """Return what `open_own_file` opens, unless it is longer than `max_bytes`; None if missing."""
    file = open_own_file(path, is_secret=is_secret, system=system)
    if file is None:
        return None
    with file:
        try:
            content = file.read(max_bytes + 1)
        except OSError as error:
            raise unreadable(path, error) from error
    if len(content) > max_bytes:
        msg = f"{path} is longer than {max_bytes} bytes"
        raise LocalError(msg, hint=_MOVE_IT)
    return content


def check_own_paths(*paths: Path, is_folder: bool = False) -> None:
    """Refuse existing paths that are of the wrong kind or that others may have written.

    Unlike `open_own_file`, this opens no file: closing it would drop the locks that SQLite holds on
    it in this process (POSIX).
    """
    for path in paths:
        found = check_kind(path, is_folder=is_folder)
        if found is not None:
            _check_owner(path, found)


def check_kind(path: Path, *, is_folder: bool = False) -> os.stat_result | None:
    """Refuse an existing path of the wrong kind, without opening it; return its properties."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(path, error) from error
    _check_kind(path, found, is_folder=is_folder)
    return found


def make_private_folder(folder: Path) -> None:
    """Create a folder and its missing parents, accessible to this user alone.

    They are created one by one, because `Path.mkdir` applies its mode only to the last.
    """
    for path in reversed((folder, *folder.parents)):
        if not path.exists():
            refuse_dangling_link(path)
            path.mkdir(mode=0o700, exist_ok=True)


def refuse_dangling_link(path: Path) -> None:
    """Refuse a dangling link: someone else may create a file of any mode at its target."""
    if path.is_symlink() and not path.exists():
        msg = f"{path} links to {path.readlink()}, which does not exist"
        raise LocalError(msg)


def read_at_most(file: BinaryIO, *, max_bytes: int, what: str) -> bytes:
    """Return everything that a file or a pipe holds; refuse more, because it may never end.

    Args:
        what: What the input is, for the message: "the prompt".
    """
    content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        refuse(f"{what} is longer than {max_bytes} bytes", code="too_long")
    return content


def decode_text(content: bytes) -> str:
    """Return the text of a file, without its byte order mark.

    Raises:
        UnicodeDecodeError: If it is neither UTF-8 nor UTF-16 with a byte order mark.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        # `>` writes UTF-16 in Windows PowerShell.
        return content.decode("utf-16")
    return content.decode("utf-8-sig")


def _open(path: Path, check: Callable[[os.stat_result], object]) -> BufferedReader:
    # Check it before opening it: merely opening some devices has an effect.
    check(path.stat())
    file = os.fdopen(os.open(path, _FLAGS), "rb")
    try:
        check(os.fstat(file.fileno()))
    except BaseException:
        file.close()
        raise
    return file


def _check_kind(path: Path, found: os.stat_result, *, is_folder: bool = False) -> None:
    if not (stat.S_ISDIR if is_folder else stat.S_ISREG)(found.st_mode):
        msg = f"{path} is {_kind(found)}, not {'a folder' if is_folder else 'a regular file'}"
        raise LocalError(msg, hint=_MOVE_IT)


def _kind(found: os.stat_result) -> str:
    return next((name for is_kind, name in _KINDS if is_kind(found.st_mode)), "a special file")


def _check_owner(
    path: Path, found: os.stat_result, *, is_secret: bool = False, system: System = THIS_SYSTEM
) -> None:
    if is_secret and not system.is_private(found.st_mode):
        msg = f"{path} can be read by other users"
        raise CredentialsError(msg, hint=f"chmod 600 '{path}'")
    # Root may work in folders of other users.
    folder = found if stat.S_ISDIR(found.st_mode) else path.parent.stat()
    if fault := system.write_fault(found, folder_owner=folder.st_uid):
        msg = f"{path} is not safe to use: {fault}"
        raise LocalError(msg, hint=f"make it yours alone: chown it, and chmod go-w '{path}'")
