"""A result from its link to its final name: attempts, waits between them, and placement."""

import random
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from omniedit.downloads.part import PartFile
from omniedit.downloads.placing import open_target, place
from omniedit.downloads.target import saved_file
from omniedit.downloads.transfer import transfer
from omniedit.errors import BrokenDownloadError, OmniEditError, UnavailableError
from omniedit.http.retry import delay_s, is_transient
from omniedit.models import SavedFile
from omniedit.system import THIS_SYSTEM, System
from omniedit.system.folders import private_folder

if TYPE_CHECKING:
    from omniedit.http.client import HttpClient

MAX_FRUITLESS_ATTEMPTS: Final = 5
"""After so many attempts in a row without a new byte a download is given up."""
MAX_ATTEMPTS: Final = 200
"""A link that breaks every few bytes ends here."""
MAX_CHANGES: Final = 5
"""How often the file at a link may change under a download."""
LONGEST_RETRY_AFTER_S: Final = 120.0


class Downloader:
    """Saves results, whole or not at all.

    Args:
        http: Sends the requests, never with a key.
        sleep: How to rest between two attempts.
        jitter: A number in [0, 1).
        clock: Seconds, for the pace of progress reports.
        check_link: Refuses, by raising, a URL that must not be asked; a redirect's too.
        system: This one.
    """

    def __init__(
        self,
        http: "HttpClient",
        *,
        sleep: Callable[[float], object],
        jitter: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
        check_link: Callable[[str], None] = lambda _url: None,
        system: System = THIS_SYSTEM,
    ) -> None:
        self._http = http
        self._sleep = sleep
        self._jitter = jitter
        self._clock = clock
        self._check_link = check_link
        self._system = system

    def download(
        self,
        url: str,
        target: Path,
        *,
        task_id: str,
        overwrite: bool = False,
        on_progress: Callable[[int, int | None], None],
        on_retry: Callable[[str, float, int], None],
        on_verified: Callable[[SavedFile], None] | None = None,
    ) -> SavedFile:
        """Save the result at `url` as `target`, going on where an earlier run stopped.

        Args:
            url: The link; a fresh one to the same path goes on with the same part file.
            target: The final name; missing folders are made.
            task_id: The task it is the result of.
            overwrite: Replace what has that name.
            on_progress: Takes bytes so far and in all (None: unknown), ten times a second at most.
            on_retry: Takes what went wrong, seconds until the next attempt, and which one failed.
            on_verified: Takes what is about to get its name, whole and on the disk. Whoever
                notes it then knows the file also if a kill comes right after the placement.

        Raises:
            TargetExistsError: Another file has that name.
            LocalError: The disk, the folder or the name does not allow it.
            ResultGoneError: The link is dead, or delivers no video; a fresh one may help.
            UnavailableError: Given up; the bytes so far are kept for the next run.
        """
        target = target.absolute()
        part = open_target(
            target, task_id, overwrite=overwrite, sleep=self._sleep, system=self._system
        )
        if part is None:
            return saved_file(target)
        with part:
            part.resume()
            try:
                self._fill(part, url, on_progress=on_progress, on_retry=on_retry)
            except OmniEditError as error:
                error.about(task_id=task_id)
                raise
            part.sync()
            saved = SavedFile(path=str(target), size_bytes=part.size_bytes, sha256=part.sha256)
            if on_verified:
                on_verified(saved)
            place(part, target, overwrite=overwrite, sleep=self._sleep, system=self._system)
        return saved

    @contextmanager
    def fetch(
        self,
        url: str,
        *,
        task_id: str,
        folder: Path,
        on_progress: Callable[[int, int | None], None],
        on_retry: Callable[[str, float, int], None],
    ) -> Generator[Path]:
        """Hold the verified result in a private file below `folder` for the length of a block.

        Raises:
            LocalError: The disk or the folder does not allow it.
            ResultGoneError: The link is dead, or delivers no video; a fresh one may help.
            UnavailableError: Given up.
        """
        with private_folder(folder) as private:
            saved = self.download(
                url,
                private / "result.mp4",
                task_id=task_id,
                on_progress=on_progress,
                on_retry=on_retry,
            )
            yield Path(saved.path)

    def _fill(
        self,
        part: PartFile,
        url: str,
        *,
        on_progress: Callable[[int, int | None], None],
        on_retry: Callable[[str, float, int], None],
    ) -> None:
        """Ask until the part is whole."""
        patience = _Patience(part)
        while True:
            try:
                transfer(
                    self._http,
                    url,
                    part,
                    on_progress=on_progress,
                    clock=self._clock,
                    check_link=self._check_link,
                )
            except UnavailableError as error:
                fruitless_attempts = patience.failed(part, error)
                pause_s = delay_s(
                    max(1, fruitless_attempts),
                    retry_after_s=error.retry_after_s,
                    jitter=self._jitter,
                )
                on_retry(error.message, pause_s, patience.attempts)
                self._sleep(pause_s)
            else:
                return


class _Patience:
    """Decides how often a download that fails is tried again."""

    def __init__(self, part: PartFile) -> None:
        self.attempts = 0
        self._fruitless_attempts = 0
        self._changes = 0
        self._version = part.version
        self._most_bytes = part.size_bytes

    def failed(self, part: PartFile, error: UnavailableError) -> int:
        """Return how many attempts in a row brought nothing, this one included.

        Raises:
            UnavailableError: It is enough.
        """
        self.attempts += 1
        if self._version not in {None, part.version}:
            self._changes += 1
            self._most_bytes = 0
        self._version = part.version
        has_gained = part.size_bytes > self._most_bytes
        self._most_bytes = max(part.size_bytes, self._most_bytes)
        self._fruitless_attempts = 0 if has_gained else self._fruitless_attempts + 1
        if not is_transient(error) or (error.retry_after_s or 0.0) > LONGEST_RETRY_AFTER_S:
            raise error
        if (
            self._fruitless_attempts >= MAX_FRUITLESS_ATTEMPTS
            or self.attempts >= MAX_ATTEMPTS
            or self._changes >= MAX_CHANGES
        ):
            raise self._last_word(error) from error
        return self._fruitless_attempts

    def _last_word(self, error: UnavailableError) -> UnavailableError:
        if not self._most_bytes:
            return error
        msg = f"the download keeps breaking off ({self.attempts} attempts): {error.message}"
        return BrokenDownloadError(msg, http_status=error.http_status)
