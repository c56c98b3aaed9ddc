"""A real session with a virtual clock, and a service and a result host that follow a script."""

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import parse_qs, urlsplit

import httpx

from omniedit.edits.session import Connection, Session
from omniedit.errors import (
    AuthenticationError,
    NetworkError,
    NotConnectedError,
    OmniEditError,
    QuotaError,
    RateLimitedError,
    RequestRefusedError,
    ServerError,
    UnreadableReplyError,
)
from omniedit.events import Event
from omniedit.http.client import HttpClient
from omniedit.journal import Journal
from omniedit.models import DEFAULT_MODEL, Record, Task, TaskError
from omniedit.policy import DEFAULT, Policy
from omniedit.settings import Setting
from omniedit.system import Clock

NOW: Final = 1_700_000_000.0
CLIP_URL: Final = "https://example.com/clip.mp4"
MODEL: Final = Setting(DEFAULT_MODEL, "default")
BASE_URL: Final = "https://api.evolink.ai"
RESULTS_URL: Final = "https://results.example.com"
FTYP: Final = b"\0\0\0\x18ftypisom\0\0\2\0isomiso2"
MOOV: Final = b"\0\0\0\x08moov"

_STATUSES: Final[dict[type[OmniEditError], int]] = {
    RequestRefusedError: 400,
    AuthenticationError: 401,
    QuotaError: 402,
    RateLimitedError: 429,
    ServerError: 503,
}


def running(task_id: str, progress: int = 10) -> Task:
    return Task(task_id=task_id, status="processing", progress=progress, created_at=NOW)


def completed(task_id: str) -> Task:
    urls = (f"{RESULTS_URL}/{task_id}.mp4",)
    return Task(task_id=task_id, status="completed", progress=100, created_at=NOW, result_urls=urls)


def failed(task_id: str, code: str = "content_policy_violation") -> Task:
    return Task(
        task_id=task_id, status="failed", created_at=NOW, error=TaskError(code=code, message="no")
    )


def record_of(task: Task, **fields: Any) -> Record:
    return Record(request_id=None, task=task, status=task.status, created_at=NOW)._replace(**fields)


def video_of(task_id: str) -> bytes:
    """Return the result of a task: an MP4, judging by its boxes."""
    content = f"the video of {task_id}".encode()
    return FTYP + MOOV + (8 + len(content)).to_bytes(4) + b"mdat" + content


def error_reply(error: OmniEditError) -> httpx.Response:
    """Return the reply that makes the client raise this error.

    Raises:
        httpx.TransportError: If the error means that there is no reply.
    """
    if isinstance(error, NotConnectedError):
        raise httpx.ConnectError(error.message)
    if isinstance(error, NetworkError):
        raise httpx.ReadError(error.message)
    if isinstance(error, UnreadableReplyError):
        return httpx.Response(200, text="<html>")
    retry_after_s = error.retry_after_s
    return httpx.Response(
        _STATUSES[type(error)],
        json={"error": {"message": error.message, "code": None}},
        headers={} if retry_after_s is None else {"retry-after": f"{retry_after_s:.0f}"},
    )


def as_json(task: Task) -> dict[str, Any]:
    """Return a task as the service's JSON."""
    error = task.error and {"code": task.error.code, "message": task.error.message}
    return {
        "id": task.task_id,
        "status": task.status,
        "progress": task.progress,
        "created": task.created_at,
        "task_info": {"estimated_time": task.estimated_s},
        "usage": {"credits_reserved": task.credits_reserved, "credits_used": task.credits_used},
        "results": list(task.result_urls),
        "error": error,
    }


@dataclass
class VirtualClock:
    """A clock that advances only when the session rests or a test advances it."""

    now: float = 0.0
    rests: list[float] = field(default_factory=list[float])

    def advance(self, seconds: float) -> None:
        self.now += seconds

    def rest(self, seconds: float, /) -> None:
        self.rests.append(seconds)
        self.now += seconds

    def wait(self, stopping: threading.Event, seconds: float) -> bool:
        self.rest(seconds)
        return stopping.is_set()

    @property
    def clock(self) -> Clock:
        return Clock(now=lambda: NOW + self.now, monotonic=lambda: self.now, wait=self.wait)


class Script:
    """Answers reads with the result of `on_read`, and submissions with that of `on_submit`.

    If either raises an error, the reply is one that makes the client raise it.
    """

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.on_read: Callable[[str], Task | None] = running
        self.on_submit: Callable[[str], Task] = completed
        self.on_download: Callable[[str], object] = lambda _: None
        self.video: Callable[[str], bytes] = video_of
        self.has_batch_read = True
        self.missing_from_batch: set[str] = set()
        self.read_errors: list[OmniEditError] = []  # raised by the next reads, one each
        self.account_tasks: list[Task] = []  # as the account's list shows them
        self.batch_reads: list[list[str]] = []
        self.single_reads: list[str] = []
        self.read_at: list[float] = []
        self.prompts: list[str] = []
        self.headers: dict[str, str] = {}  # added to every reply
        self._lock = threading.Lock()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        url = str(request.url)
        try:
            if url.startswith(RESULTS_URL):
                return self._send_result(Path(urlsplit(url).path).stem)
            reply = self._reply(request.method, urlsplit(url).path, request)
        except OmniEditError as error:
            return error_reply(error)
        reply.headers.update(self.headers)
        return reply

    def _reply(self, method: str, path: str, request: httpx.Request) -> httpx.Response:
        match method, path:
            case "POST", "/v1/videos/generations":
                return self._accept(request)
            case "POST", "/v1/tasks/batch":
                return self._read_many(json.loads(request.content)["task_ids"])
            case "GET", "/v1/tasks":
                page = int(parse_qs(urlsplit(str(request.url)).query)["page"][0])
                tasks = [as_json(task) for task in self.account_tasks[50 * (page - 1) : 50 * page]]
                return httpx.Response(200, json={"data": tasks, "total": len(self.account_tasks)})
            case "GET", _:
                return self._read_one(path.rpartition("/")[2])
        return httpx.Response(404)

    def _accept(self, request: httpx.Request) -> httpx.Response:
        prompt: str = json.loads(request.content)["prompt"]
        with self._lock:
            self.prompts.append(prompt)
        return httpx.Response(200, json=as_json(self.on_submit(prompt)))

    def _read_many(self, task_ids: Sequence[str]) -> httpx.Response:
        self.read_at.append(self.clock.now)
        if not self.has_batch_read:
            return httpx.Response(404)
        self.batch_reads.append(list(task_ids))
        if self.read_errors:
            raise self.read_errors.pop(0)
        found = {task_id: self.on_read(task_id) for task_id in task_ids}
        tasks = [
            as_json(task)
            for key, task in found.items()
            if task and key not in self.missing_from_batch
        ]
        return httpx.Response(200, json={"data": tasks})

    def _read_one(self, task_id: str) -> httpx.Response:
        self.read_at.append(self.clock.now)
        self.single_reads.append(task_id)
        if self.read_errors:
            raise self.read_errors.pop(0)
        task = self.on_read(task_id)
        if task is None:
            error = {"code": "task_not_found", "message": "Task not found"}
            return httpx.Response(404, json={"error": error})
        return httpx.Response(200, json=as_json(task))

    def _send_result(self, task_id: str) -> httpx.Response:
        self.on_download(task_id)
        content = self.video(task_id)
        return httpx.Response(
            200,
            stream=httpx.ByteStream(content),
            headers={"etag": f'"{task_id}"', "content-length": str(len(content))},
        )


class BenchSession(Session):
    """A session whose transport is a script; it collects its events."""

    opened: ClassVar[list["BenchSession"]] = []
    """The sessions opened by the current test, closed when it ends."""

    def __init__(
        self,
        *,
        transport: Callable[[httpx.Request], httpx.Response] | None = None,
        clock: VirtualClock | None = None,
        folder: Path = Path("private"),
        policy: Policy = DEFAULT,
        probes_results: bool = False,  # most of them are not videos
        **options: Any,
    ) -> None:
        self.time = clock or VirtualClock()
        self.script = Script(self.time)
        self.events: list[Event] = []
        self.on_report: Callable[[Event], object] = lambda _: None
        self._request_numbers = iter(range(10_000_000))
        self._events_lock = threading.Lock()
        system_clock = self.time.clock
        self._in_memory = Journal(None, clock=system_clock.now)
        super().__init__(
            journal=self._in_memory,
            origin=BASE_URL,
            open_http=lambda: HttpClient(
                transport=httpx.MockTransport(transport or self.script),
                clock=system_clock.monotonic,
                policy=policy,
            ),
            find_connection=lambda: Connection(BASE_URL, BASE_URL, "sk-evo-tests"),
            private_folder=folder,
            observers=(self._observe,),
            probes_results=probes_results,
            clock=system_clock,
            policy=policy,
            **options,
        )
        # The journal is in memory for speed, but must count as a persistent one.
        self.has_journal = True
        self.opened.append(self)

    def close(self) -> None:
        for journal in (self._in_memory, self.journal):  # tests may replace it
            journal.close()
        if "http" in self.__dict__:
            self.http.close()

    def _observe(self, event: Event) -> None:
        with self._events_lock:
            self.events.append(event)
        self.on_report(event)

    def jitter(self) -> float:
        return 0.0

    def new_request_id(self) -> str:
        with self._events_lock:
            return f"request-{next(self._request_numbers):016d}"

    def reported(self, kind: type[Event]) -> list[Any]:
        """Return the events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]
