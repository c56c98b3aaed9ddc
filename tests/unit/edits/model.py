"""A model of the service, of the result host and of time: what a run of the use cases calls on."""

import hashlib
import json
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import count
from pathlib import Path
from typing import Final

from omniedit.edits.pace import Pace
from omniedit.edits.ports import Clips, Progress, Retry

from omniedit.errors import (
    AuthenticationError,
    IdempotencyConflictError,
    Interrupted,
    NetworkError,
    NotConnectedError,
    OmniEditError,
    QuotaError,
    RateLimitedError,
    RequestRefusedError,
    ResultGoneError,
    ServerError,
    TargetExistsError,
    TaskNotFoundError,
    UnreadableReplyError,
)
from omniedit.events import Event, Warned
from omniedit.journal import Journal
from omniedit.models import (
    Credits,
    SavedFile,
    Submission,
    Task,
    TaskError,
    TaskPage,
    TaskStatus,
)

EPOCH: Final = 1_700_000_000.0
KEYS_ARE_REMEMBERED_S: Final = 2 * 3600.0
EDIT_TAKES_S: Final = 20.0
ORIGIN: Final = "https://api.evolink.ai"


class Killed(BaseException):
    """The process ends here, without a word."""


class Weather(Enum):
    """What one submission meets on its way."""

    FINE = auto()
    LOST_BEFORE = auto()
    LOST_AFTER = auto()
    FAILED_BEFORE = auto()
    FAILED_AFTER = auto()
    GARBLED_AFTER = auto()
    NOT_CONNECTED = auto()
    RATE_LIMITED = auto()
    RATE_LIMITED_FOR_LONG = auto()
    NO_CREDITS = auto()
    KEY_REFUSED = auto()
    BAD_REQUEST = auto()
    KILLED_BEFORE = auto()
    KILLED_AFTER = auto()
    INTERRUPTED_BEFORE = auto()
    INTERRUPTED_AFTER = auto()


class End(Enum):
    """How a task ends."""

    COMPLETED = auto()
    FAILED_RETRYABLE = auto()
    FAILED_FOR_GOOD = auto()
    CANCELLED = auto()
    STALLED = auto()


_REFUSALS: Final[dict[Weather, Callable[[], OmniEditError]]] = {
    Weather.NOT_CONNECTED: lambda: NotConnectedError("no route"),
    Weather.RATE_LIMITED: lambda: RateLimitedError("slow down", retry_after_s=3.0),
    Weather.RATE_LIMITED_FOR_LONG: lambda: RateLimitedError("slow down", retry_after_s=3600.0),
    Weather.NO_CREDITS: lambda: QuotaError("no credits"),
    Weather.KEY_REFUSED: lambda: AuthenticationError("no such key"),
    Weather.BAD_REQUEST: lambda: RequestRefusedError("no such field"),
}
_LOSSES: Final[dict[Weather, Callable[[], BaseException]]] = {
    Weather.LOST_BEFORE: lambda: NetworkError("reset"),
    Weather.LOST_AFTER: lambda: NetworkError("reset"),
    Weather.FAILED_BEFORE: lambda: ServerError("503"),
    Weather.FAILED_AFTER: lambda: ServerError("502"),
    Weather.GARBLED_AFTER: lambda: UnreadableReplyError("HTML"),
    Weather.KILLED_BEFORE: Killed,
    Weather.KILLED_AFTER: Killed,
    Weather.INTERRUPTED_BEFORE: lambda: Interrupted(15),
    Weather.INTERRUPTED_AFTER: lambda: Interrupted(15),
}
_BEFORE: Final = frozenset(weather for weather in Weather if weather.name.endswith("BEFORE"))


@dataclass(slots=True)
class Accepted:
    """A task as the service knows it."""

    task_id: str
    key: str
    body: bytes
    created_at: float
    end: End

    def shown(self, now: float, *, links: bool = True) -> Task:
        """Return it as the service reports it."""
        status, error = TaskStatus.PROCESSING, None
        if now >= self.created_at + EDIT_TAKES_S:
            match self.end:
                case End.COMPLETED:
                    status = TaskStatus.COMPLETED
                case End.FAILED_RETRYABLE:
                    status = TaskStatus.FAILED
                    error = TaskError(code="service_unavailable", message="later")
                case End.FAILED_FOR_GOOD:
                    status = TaskStatus.FAILED
                    error = TaskError(code="content_policy_violation", message="no")
                case End.CANCELLED:
                    status = TaskStatus.CANCELLED
                    error = TaskError(code="request_cancelled", message="cancelled")
                case End.STALLED:
                    pass
        is_linked = links and status is TaskStatus.COMPLETED
        return Task(
            task_id=self.task_id,
            status=status,
            created_at=self.created_at,
            result_urls=(f"https://cdn.example/{self.task_id}.mp4",) if is_linked else (),
            error=error,
        )


@dataclass(slots=True)
class Sent:
    """What became of one request ID, over all its submissions."""

    bodies: set[bytes] = field(default_factory=set)
    posts: int = 0
    was_lost: bool = False
    was_answered: bool = False


class ModelService:
    """The service: it remembers keys for a while, where it honours them at all."""

    def __init__(self, clock: Callable[[], float], *, honours_keys: bool) -> None:
        self.weather: deque[Weather] = deque()
        self.next_end = End.COMPLETED
        self.accepted: list[Accepted] = []
        self.sent: dict[str, Sent] = {}
        self._clock = clock
        self._honours_keys = honours_keys

    def create_task(self, body: bytes, *, request_id: str, timeout_s: float = 60.0) -> Submission:
        """Accept a submission, or not, and answer, or not."""
        sent = self.sent.setdefault(request_id, Sent())
        sent.bodies.add(body)
        sent.posts += 1
        weather = self.weather.popleft() if self.weather else Weather.FINE
        if weather in _REFUSALS:
            refusal = _REFUSALS[weather]()
            raise refusal
        loss = _LOSSES[weather]() if weather in _LOSSES else None
        sent.was_lost = sent.was_lost or loss is not None
        if loss and weather in _BEFORE:
            raise loss
        task, is_replay = self._accept(body, request_id)
        if loss:
            raise loss
        sent.was_answered = True
        return Submission(task=task.shown(self._clock()), is_replay=is_replay)

    def get_task(self, task_id: str) -> Task:
        """Return one task."""
        for accepted in self.accepted:
            if accepted.task_id == task_id:
                return accepted.shown(self._clock())
        raise TaskNotFoundError("unknown")

    def get_tasks(self, task_ids: Sequence[str]) -> dict[str, Task]:
        """Return several tasks."""
        return {task_id: self.get_task(task_id) for task_id in task_ids}

    def list_tasks(self, *, page: int, status: str | None = None) -> TaskPage:
        """Return all tasks on one page, newest first."""
        tasks = [accepted.shown(self._clock(), links=False) for accepted in self.accepted]
        return TaskPage(tasks=tuple(reversed(tasks)) if page == 1 else (), total=len(tasks))

    def get_credits(self) -> Credits:
        """Refuse: nobody asks here."""
        raise AssertionError

    def get_time(self) -> float | None:
        """Return the time."""
        return self._clock()

    def _accept(self, body: bytes, key: str) -> tuple[Accepted, bool]:
        oldest = self._clock() - KEYS_ARE_REMEMBERED_S
        for known in self.accepted:
            if self._honours_keys and known.key == key and known.created_at >= oldest:
                if known.body != body:
                    raise IdempotencyConflictError("another body")
                return known, True
        accepted = Accepted(
            f"task-unified-{len(self.accepted):08}", key, body, self._clock(), self.next_end
        )
        self.accepted.append(accepted)
        return accepted, False


class ModelResults:
    """The result host and the disk, as names and contents."""

    def __init__(self) -> None:
        self.files: dict[Path, bytes] = {}
        self.has_dead_links = False

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
        self.check_target(target, overwrite=overwrite)
        if self.has_dead_links:
            raise ResultGoneError("403")
        saved = _saved(target, video_of(task_id))
        if on_verified:
            on_verified(saved)
        self.files[target.absolute()] = video_of(task_id)
        return saved

    def fetch(
        self, url: str, *, task_id: str, folder: Path, on_progress: Progress, on_retry: Retry
    ) -> AbstractContextManager[Path]:
        """Refuse: nothing is streamed here."""
        raise AssertionError

    def copy(
        self,
        source: SavedFile,
        target: Path,
        *,
        overwrite: bool,
        on_verified: Callable[[SavedFile], None],
    ) -> SavedFile:
        """Copy a saved result."""
        self.check_target(target, overwrite=overwrite)
        content = self.files[Path(source.path)]
        saved = _saved(target, content)
        on_verified(saved)
        self.files[target.absolute()] = content
        return saved

    def is_whole(self, file: SavedFile) -> bool:
        """Return whether a saved file is what it was."""
        content = self.files.get(Path(file.path))
        return content is not None and hashlib.sha256(content).hexdigest() == file.sha256

    def tidy(self, target: Path, *, task_id: str) -> None:
        """Do nothing: nothing is ever left over here."""

    def check_target(self, target: Path, *, overwrite: bool) -> None:
        """Refuse a name that is taken."""
        if target.absolute() in self.files and not overwrite:
            msg = f"{target} exists"
            raise TargetExistsError(msg)


class ModelSession:
    """A session whose clock moves only when somebody rests."""

    def __init__(self, *, honours_keys: bool) -> None:
        self._now = EPOCH
        self._numbers = count(1)
        # Not a method of this object, which would then live as long as its journal.
        me = weakref.proxy(self)
        clock, sleep = lambda: me.now(), lambda s: me.sleep(s)  # noqa: PLW0108 - as said
        self.journal = Journal(None, clock=clock, sleep=sleep)
        weakref.finalize(self, self.journal.close)
        self.service = ModelService(self.now, honours_keys=honours_keys)
        self.results = ModelResults()
        self.pace = Pace(self.monotonic, self.sleep)
        self.warnings: list[str] = []
        self.requires_journal = self.has_journal = True
        self.is_sandbox = self.allows_internal_clips = self.is_watched = False
        self.origin = ORIGIN
        self.context: str | None = "user:1"
        self.private_folder = Path("/nonexistent")

    @property
    def clips(self) -> Clips:
        """Refuse: no clip of this model lies on this machine."""
        raise AssertionError

    def report(self, event: Event) -> None:
        """Keep the warnings."""
        if isinstance(event, Warned):
            self.warnings.append(event.message)

    def now(self) -> float:
        """Return the Unix time."""
        return self._now

    def monotonic(self) -> float:
        """Return the same."""
        return self._now

    def sleep(self, seconds: float, /) -> None:
        """Let time pass."""
        self._now += max(0.0, seconds)

    def jitter(self) -> float:
        """Return no randomness."""
        return 0.5

    def new_request_id(self) -> str:
        """Return the next ID."""
        return f"omniedit-{next(self._numbers):032}"

    def stream_out(self, path: Path, /) -> None:
        """Refuse: nothing is streamed here."""
        raise AssertionError

    def shielded(self) -> AbstractContextManager[None]:
        """Return a block like any other."""
        return nullcontext()

    def begin_anew(self) -> None:
        """Forget what only a process knows."""
        self.pace = Pace(self.monotonic, self.sleep)


def video_of(task_id: str) -> bytes:
    """Return what a task made."""
    return f"the video of {task_id}".encode()


def clip_and_prompt(body: bytes) -> tuple[str, str]:
    """Return what a body asks for."""
    asked = json.loads(body)
    return asked["video_urls"][0], asked["prompt"]


def _saved(target: Path, content: bytes) -> SavedFile:
    return SavedFile(
        path=str(target.absolute()),
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )
