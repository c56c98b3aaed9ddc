"""Windows: reserved names, files that cannot be renamed while open, no sync of folders, short waits."""

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path, PureWindowsPath
from typing import Final

from omniedit.system import LONGEST_NAME_BYTES, System

LONGEST_WAIT_S: Final = 0.1
"""The longest single wait, because signals do not interrupt one."""
PATIENCE_S: Final = 2.0
"""How long to retry while another program has a file open."""

_PAUSE_S: Final = 0.05
_LONGEST_PATH: Final = 259
_LONGEST_ADDITION: Final = 25  # what a part file's note adds to the target's name
_RESERVED: Final = re.compile(
    r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[1-9¹²³]) *(?:\..*)?",
    re.IGNORECASE | re.DOTALL,
)
_NOT_IN_NAMES: Final = re.compile(r'[<>:"/\\|?*\x00-\x1f]')


class Windows(System):
    """The rules of Windows.

    It has reserved names, no sync of folders, and waits that no signal interrupts; a file that is
    open can be neither renamed nor removed.
    """

    moves_open_files = False
    has_byte_names = False
    end_of_input = "Ctrl-Z and Enter"
    busy_error = PermissionError
    enable_escapes: Callable[[int], bool]
    """Makes a console obey escape sequences; returns whether it can."""
    has_long_paths: Callable[[], bool]
    """Returns whether paths may be longer than 259 characters."""
    move: Callable[[Path, Path], object] = staticmethod(os.replace)
    unlink: Callable[[Path], object] = staticmethod(os.unlink)
    sleep: Callable[[float], object] = staticmethod(time.sleep)

    def sync_folder(self, folder: Path) -> None:
        """Do nothing: Windows cannot open folders."""

    def replace(self, source: Path, target: Path) -> None:
        """Rename a file, retrying for a while if another program has either file open."""
        for _ in range(round(PATIENCE_S / _PAUSE_S)):
            try:
                self.move(source, target)
            except PermissionError:
                # Virus scanners and indexers briefly open new files.
                self.sleep(_PAUSE_S)
            else:
                return
        self.move(source, target)

    def remove(self, path: Path) -> None:
        """Remove a file, if it exists."""
        with suppress(FileNotFoundError):
            self.unlink(path)

    def path_fault(self, path: Path | str) -> str | None:
        """Return why Windows would refuse or misread this path, or None."""
        pure = PureWindowsPath(str(path))
        for name in pure.parts[1:]:
            if found := _NOT_IN_NAMES.search(name):
                return f"Windows does not allow {found[0]!r} in a file name"
            if name not in {".", ".."} and name.endswith((" ", ".")):
                return f"Windows does not allow a file name that ends in {name[-1]!r}"
            if is_reserved_name(name):
                return f"{name} is the name of a device on Windows"
        if len(str(pure)) + _LONGEST_ADDITION > _LONGEST_PATH and not self.has_long_paths():
            return f"the path is too long for Windows: {len(str(pure))} characters"
        return None

    def name_key(self, path: str) -> str:
        """Return the path without differences of case, which Windows ignores."""
        return path.casefold()

    def is_private(self, mode: int) -> bool:
        """Return True: access lists decide, and those of a user's profile keep others out."""
        return True

    def longest_name_bytes(self, folder: Path) -> int:
        """Return the maximum length of a file name."""
        return LONGEST_NAME_BYTES

    def write_fault(self, found: os.stat_result, *, folder_owner: int) -> str | None:
        """Return None: access lists decide, as for `is_private`."""
        return None

    def enables_escapes(self, fileno: Callable[[], int]) -> bool:
        """Enable escape sequences on a console; return whether it obeys them."""
        try:
            return self.enable_escapes(fileno())
        except (OSError, ValueError):
            return False

    def waits(self, timeout_s: float | None) -> Iterator[float | None]:
        """Split a wait into short ones, between which signals are handled."""
        if timeout_s is None:
            while True:
                yield LONGEST_WAIT_S
        deadline = time.monotonic() + timeout_s
        yield min(LONGEST_WAIT_S, timeout_s)
        while (left_s := deadline - time.monotonic()) > 0:
            yield min(LONGEST_WAIT_S, left_s)


def is_reserved_name(name: str) -> bool:
    """Return whether a name is reserved for a device on Windows, whatever its suffix."""
    return _RESERVED.fullmatch(name) is not None
