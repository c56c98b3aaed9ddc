"""Results on this machine and their host, fitted to what the use cases call."""

import shutil
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from omniedit.downloads.placement import check_target, copy_result, tidy, verify
from omniedit.downloads.transfer import Downloader
from omniedit.edits.ports import Progress, Retry
from omniedit.errors import LocalError
from omniedit.models import SavedFile
from omniedit.terminal.channel import READER_LEFT

if TYPE_CHECKING:
    from omniedit.http.client import HttpClient


class LocalResults:
    """Results on this machine.

    Args:
        connect: Returns the HTTP client, when first needed.
        sleep: Rests between two attempts.
        public_only: Ask no host of this machine or its network.
    """

    def __init__(
        self,
        connect: Callable[[], "HttpClient"],
        *,
        sleep: Callable[[float], object],
        public_only: bool,
    ) -> None:
        self._connect = connect
        self._public_only = public_only
        self._sleep = sleep

    def download(
        self,
        url: str,
        target: Path,
        *,
        task_id: str,
        overwrite: bool,
        on_progress: Progress,
        on_retry: Retry,
        on_verified: Callable[[SavedFile], None] | None,
    ) -> SavedFile:
        """Save a result."""
        return self._downloader().download(
            url,
            target,
            task_id=task_id,
            overwrite=overwrite,
            on_progress=on_progress,
            on_retry=on_retry,
            on_verified=on_verified,
        )

    @contextmanager
    def fetch(
        self, url: str, *, task_id: str, folder: Path, on_progress: Progress, on_retry: Retry
    ) -> Generator[Path]:
        """Hold a verified result in a private file."""
        with self._downloader().fetch(
            url, task_id=task_id, folder=folder, on_progress=on_progress, on_retry=on_retry
        ) as path:
            yield path

    def copy(
        self,
        source: SavedFile,
        target: Path,
        *,
        overwrite: bool,
        on_verified: Callable[[SavedFile], None],
    ) -> SavedFile:
        """Copy a saved result."""
        return copy_result(
            source, target, overwrite=overwrite, sleep=self._sleep, on_verified=on_verified
        )

    def is_whole(self, file: SavedFile) -> bool:
        """Return whether a saved result is still what it was."""
        return verify(Path(file.path), size_bytes=file.size_bytes, sha256=file.sha256)

    def tidy(self, target: Path, *, task_id: str) -> None:
        """Remove what a kill right after a download left beside its result."""
        tidy(target, task_id)

    def check_target(self, target: Path, *, overwrite: bool) -> None:
        """Refuse a target that could not be written."""
        check_target(target, overwrite=overwrite)

    def _downloader(self) -> Downloader:
        return Downloader(self._connect(), sleep=self._sleep, public_only=self._public_only)


def stream_out(path: Path) -> None:
    """Write a file to standard output; a reader that leaves early ends it quietly.

    Raises:
        LocalError: It cannot be read or written.
    """
    try:
        with path.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    except OSError as error:
        if error.errno in READER_LEFT:
            return
        msg = f"cannot write to standard output: {error.strerror}"
        raise LocalError(msg) from None
