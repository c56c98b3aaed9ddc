"""macOS."""

import os
import unicodedata

from omniedit.system.posix import System


class MacOS(System):
    """macOS, where `sync` is to empty the drive's own cache as well."""

    def sync_file(self, descriptor: int) -> None:
        """Bring an open file to the disk."""
        try:
            self._sync(descriptor)
        except OSError:
            # Network file systems do not know it.
            os.fsync(descriptor)

    def name_key(self, path: str) -> str:
        """Return the path without case and composition, which its file systems ignore."""
        return unicodedata.normalize("NFC", path).casefold()
