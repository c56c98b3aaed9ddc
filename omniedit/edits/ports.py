"""What the use cases call on, as they need it; `cli/runtime.py` brings the real ones."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from omniedit.edits.pace import Pace
from omniedit.models import Credits, SavedFile, Submission, Task, TaskPage, UploadedClip

if TYPE_CHECKING:
    from omniedit.events import Report
    from omniedit.http.ranges import Incomplete
    from omniedit.journal import Journal
    from omniedit.media import ClipFacts, Piece

Progress = Callable[[int, int | None], None]
"""Takes the bytes done and, where known, the bytes in all."""
Retry = Callable[[str, float, int], None]
"""Takes what went wrong, the seconds until the next attempt, and the attempt that failed."""


class Service(Protocol):
    """The API (`api.EvoLinkClient`)."""

    def create_task(self, body: bytes, *, request_id: str) -> Submission: ...
    def get_task(self, task_id: str) -> Task: ...
    def get_tasks(self, task_ids: Sequence[str]) -> dict[str, Task]: ...
    def list_tasks(self, *, page: int, status: str | None = None) -> TaskPage: ...
    def get_credits(self) -> Credits: ...
    def get_time(self) -> float | None: ...


class Clips(Protocol):
    """The file service, and the clips on this machine (`uploads`)."""

    @property
    def can_look(self) -> bool:
        """Whether the extra `media` is installed."""
        ...

    def look(self, video: str, *, name: str | None = None) -> "ClipFacts | Incomplete": ...
    def fetched(
        self, url: str, *, folder: Path, on_progress: Progress, on_retry: Retry
    ) -> AbstractContextManager[Path]: ...
    def prepared(
        self, source: Path, *, start_s: float | None, end_s: float | None, folder: Path
    ) -> AbstractContextManager[Path]: ...
    def plan_split(
        self, source: Path, *, start_s: float | None, end_s: float | None
    ) -> "Sequence[Piece]": ...
    def joined(
        self,
        pieces: "Sequence[Piece]",
        results: Sequence[Path],
        *,
        original: Path,
        original_start_s: float | None,
        new_audio: bool,
        folder: Path,
    ) -> AbstractContextManager[tuple[SavedFile, float]]: ...
    def digest(self, path: Path, *, check: bool) -> str: ...
    def upload(self, path: Path, *, on_progress: Progress) -> UploadedClip: ...
    def check_service(self) -> None: ...


class Results(Protocol):
    """Finished videos, there and here (`downloads`)."""

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
    ) -> SavedFile: ...
    def fetch(
        self,
        url: str,
        *,
        task_id: str,
        folder: Path,
        on_progress: Progress,
        on_retry: Retry,
    ) -> AbstractContextManager[Path]: ...
    def copy(
        self,
        source: SavedFile,
        target: Path,
        *,
        overwrite: bool,
        on_verified: Callable[[SavedFile], None],
    ) -> SavedFile: ...
    def is_whole(self, file: SavedFile) -> bool: ...
    def tidy(self, target: Path, *, task_id: str) -> None: ...
    def check_target(self, target: Path, *, overwrite: bool) -> None: ...


class Session(Protocol):
    """One run of a command: its settings, its clock, and everything it calls on.

    `service`, `clips` and `results` are made when first touched, so that what needs no network
    neither needs a key nor pays for an HTTP library.
    """

    @property
    def service(self) -> Service: ...
    @property
    def clips(self) -> Clips: ...
    @property
    def results(self) -> Results: ...
    @property
    def journal(self) -> "Journal": ...
    @property
    def requires_journal(self) -> bool:
        """Whether nothing may be paid for without a journal."""
        ...

    @property
    def has_journal(self) -> bool:
        """Whether the journal outlives this process."""
        ...

    @property
    def is_sandbox(self) -> bool: ...
    @property
    def allows_internal_clips(self) -> bool: ...
    @property
    def is_watched(self) -> bool:
        """Whether somebody looks at a progress bar."""
        ...

    @property
    def origin(self) -> str: ...
    @property
    def context(self) -> str | None:
        """Whose `last` a submission becomes; None for the many of a batch."""
        ...

    @property
    def pace(self) -> Pace: ...
    @property
    def report(self) -> "Report": ...

    def now(self) -> float:
        """Return the Unix time."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never jump."""
        ...

    def sleep(self, seconds: float, /) -> None: ...
    def jitter(self) -> float:
        """Return a random number in [0, 1)."""
        ...

    @property
    def private_folder(self) -> Path:
        """Where files of no lasting name may lie."""
        ...

    def new_request_id(self) -> str: ...
    def stream_out(self, path: Path, /) -> None:
        """Write a file to standard output.

        Raises:
            LocalError: It cannot be read or written.
        """
        ...

    def shielded(self) -> AbstractContextManager[None]:
        """Return a block that a first signal ends only after some seconds' grace."""
        ...
