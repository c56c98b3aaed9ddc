"""A session whose clock is turned by hand, and whose service follows a script."""

import hashlib
import json
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omniedit.edits.pace import Pace

from omniedit.errors import (
    EndpointMissingError,
    OmniEditError,
    TargetExistsError,
    TaskNotFoundError,
)
from omniedit.events import Event
from omniedit.http.ranges import Incomplete
from omniedit.journal import Journal
from omniedit.models import (
    Credits,
    Record,
    SavedFile,
    Submission,
    Task,
    TaskError,
    TaskPage,
    UploadedClip,
)

if TYPE_CHECKING:
    from omniedit.media import Piece

NOW = 1_700_000_000.0
CLIP_URL = "https://example.com/clip.mp4"


def running(task_id: str, progress: int = 10) -> Task:
    return Task(task_id=task_id, status="processing", progress=progress, created_at=NOW)


def completed(task_id: str) -> Task:
    urls = (f"https://results.example.com/{task_id}.mp4",)
    return Task(task_id=task_id, status="completed", progress=100, created_at=NOW, result_urls=urls)


def failed(task_id: str, code: str = "content_policy_violation") -> Task:
    return Task(
        task_id=task_id, status="failed", created_at=NOW, error=TaskError(code=code, message="no")
    )


def record_of(task: Task, **fields: Any) -> Record:
    record = Record(
        request_id=None, task=task, status=task.status, created_at=NOW, error=task.error
    )
    return replace(record, **fields)


@dataclass
class FakeClock:
    now: float = 0.0
    rests: list[float] = field(default_factory=list[float])

    def turn(self, seconds: float) -> None:
        self.now += seconds

    def rest(self, seconds: float, /) -> None:
        self.rests.append(seconds)
        self.now += seconds


class FakeService:
    """Answers reads with what `look` says of each task, submissions with what `accept` says."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.look: Callable[[str], Task | None] = running
        self.accept: Callable[[str], Task] = completed
        self.time: float | None = None
        self.has_batch_read = True
        self.left_out: set[str] = set()  # of batch reads
        self.trouble: list[OmniEditError] = []  # of the next reads, one each
        self.batch_reads: list[list[str]] = []
        self.single_reads: list[str] = []
        self.read_at: list[float] = []
        self.prompts: list[str] = []
        self._lock = threading.Lock()

    def get_tasks(self, task_ids: Sequence[str]) -> dict[str, Task]:
        self.read_at.append(self.clock.now)
        if not self.has_batch_read:
            msg = "this service offers no batch read"
            raise EndpointMissingError(msg)
        self.batch_reads.append(list(task_ids))
        if self.trouble:
            raise self.trouble.pop(0)
        looks = {task_id: self.look(task_id) for task_id in task_ids}
        return {key: task for key, task in looks.items() if task and key not in self.left_out}

    def get_task(self, task_id: str) -> Task:
        self.read_at.append(self.clock.now)
        self.single_reads.append(task_id)
        if self.trouble:
            raise self.trouble.pop(0)
        task = self.look(task_id)
        if task is None:
            msg = "Task not found"
            raise TaskNotFoundError(msg, task_id=task_id)
        return task

    def create_task(self, body: bytes, *, request_id: str, timeout_s: float = 0.0) -> Submission:
        prompt: str = json.loads(body)["prompt"]
        with self._lock:
            self.prompts.append(prompt)
        return Submission(task=self.accept(prompt), is_replay=False)

    def list_tasks(self, *, page: int, status: str | None = None) -> TaskPage:
        return TaskPage(tasks=(), total=0)

    def get_credits(self) -> Credits:
        raise NotImplementedError

    def get_time(self) -> float | None:
        if self.trouble:
            raise self.trouble.pop(0)
        return self.time


class FakeResults:
    """A result's host; `on_download` is called in the thread that downloads."""

    def __init__(self) -> None:
        self.on_download: Callable[[str], None] = lambda _: None

    def download(self, url: str, target: Path, *, task_id: str, **options: Any) -> SavedFile:
        self.on_download(task_id)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(task_id.encode())
        digest = hashlib.sha256(task_id.encode()).hexdigest()
        path = str(target.absolute())
        return SavedFile(path=path, size_bytes=len(task_id), sha256=digest)

    def fetch(self, url: str, **options: Any) -> AbstractContextManager[Path]:
        raise NotImplementedError

    def copy(self, source: SavedFile, target: Path, **options: Any) -> SavedFile:
        target.write_bytes(Path(source.path).read_bytes())
        return replace(source, path=str(target.absolute()))

    def is_whole(self, file: SavedFile) -> bool:
        return Path(file.path).exists()

    def tidy(self, target: Path, *, task_id: str) -> None:
        pass

    def check_target(self, target: Path, *, overwrite: bool) -> None:
        if target.exists() and not overwrite:
            msg = f"{target} exists"
            raise TargetExistsError(msg)


class FakeClips:
    """Clips on this machine, by their content."""

    can_look = False

    def look(self, video: str, *, name: str | None = None) -> Incomplete:
        return Incomplete(reason="not looked at")

    def fetched(self, url: str, **options: Any) -> AbstractContextManager[Path]:
        raise NotImplementedError

    def plan_split(self, source: Path, **marks: Any) -> "Sequence[Piece]":
        raise NotImplementedError

    def joined(
        self, pieces: "Sequence[Piece]", results: Sequence[Path], **options: Any
    ) -> AbstractContextManager[tuple[SavedFile, float]]:
        raise NotImplementedError

    def prepared(self, source: Path, **options: Any) -> AbstractContextManager[Path]:
        return nullcontext(source)

    def digest(self, path: Path, *, check: bool) -> str:
        return hashlib.sha256(path.read_bytes()).hexdigest()

    def upload(self, path: Path, **options: Any) -> UploadedClip:
        return UploadedClip(url=f"https://files.example.com/{path.name}", expires_at=None)

    def check_service(self) -> None:
        pass


class FakeSession:
    """What use cases call on."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.service = FakeService(self.clock)
        self.results = FakeResults()
        self.clips = FakeClips()
        # Not a method of this object, which would then live as long as its journal.
        me = weakref.proxy(self)
        self.journal = Journal(None, clock=lambda: me.now())  # noqa: PLW0108 - as said
        weakref.finalize(self, self.journal.close)
        self.pace = Pace(self.monotonic, self.sleep)
        self.requires_journal = True
        self.has_journal = True
        self.is_sandbox = False
        self.allows_internal_clips = False
        self.is_watched = False
        self.origin = "https://api.evolink.ai"
        self.context: str | None = None
        self.private_folder = Path("tmp")
        self.events: list[Event] = []
        self.on_report: Callable[[Event], object] = lambda _: None
        self._numbers = iter(range(10_000_000))
        self._lock = threading.Lock()

    def report(self, event: Event) -> None:
        with self._lock:
            self.events.append(event)
        self.on_report(event)

    def now(self) -> float:
        return NOW + self.clock.now

    def monotonic(self) -> float:
        return self.clock.now

    def sleep(self, seconds: float, /) -> None:
        self.clock.rest(seconds)

    def jitter(self) -> float:
        return 0.0

    def new_request_id(self) -> str:
        with self._lock:
            return f"request-{next(self._numbers):016d}"

    def stream_out(self, path: Path, /) -> None:
        raise NotImplementedError

    def shielded(self) -> AbstractContextManager[None]:
        return nullcontext()

    def reported(self, kind: type[Event]) -> list[Any]:
        """Return the events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]
