"""A model of the service and the result host, as a transport for the real HTTP client."""

import json
from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx

from omniedit.edits.session import RateLimiter
from omniedit.errors import Interrupted
from omniedit.events import Event, Warned
from omniedit.models import Task, TaskError, TaskStatus
from tests.unit.edits.bench import NOW, RESULTS_URL, BenchSession, VirtualClock, shown, video_of

KEYS_ARE_REMEMBERED_S: Final = 2 * 3600.0
EDIT_TAKES_S: Final = 20.0


class Killed(BaseException):
    """The process is killed at this point."""


class Weather(Enum):
    """What happens to one submission."""

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


_BEFORE: Final = frozenset(weather for weather in Weather if weather.name.endswith("BEFORE"))


def _refusal(weather: Weather) -> httpx.Response | None:
    """Return a reply that proves that nothing was accepted; None for other weather."""
    match weather:
        case Weather.NOT_CONNECTED:
            msg = "no route"
            raise httpx.ConnectError(msg)
        case Weather.RATE_LIMITED:
            return httpx.Response(429, headers={"retry-after": "3"})
        case Weather.RATE_LIMITED_FOR_LONG:
            return httpx.Response(429, headers={"retry-after": "3600"})
        case Weather.NO_CREDITS:
            return httpx.Response(402)
        case Weather.KEY_REFUSED:
            return httpx.Response(401)
        case Weather.BAD_REQUEST:
            return httpx.Response(400)
        case _:
            return None


def _loss(weather: Weather) -> httpx.Response | None:
    """Return or raise what replaces the reply; None in fine weather."""
    match weather:
        case Weather.LOST_BEFORE | Weather.LOST_AFTER:
            msg = "reset"
            raise httpx.ReadError(msg)
        case Weather.FAILED_BEFORE | Weather.FAILED_AFTER:
            return httpx.Response(503)
        case Weather.GARBLED_AFTER:
            return httpx.Response(200, text="<html>")
        case Weather.KILLED_BEFORE | Weather.KILLED_AFTER:
            raise Killed
        case Weather.INTERRUPTED_BEFORE | Weather.INTERRUPTED_AFTER:
            raise Interrupted(15)
        case _:
            return None


@dataclass(slots=True)
class Accepted:
    """A task on the service."""

    task_id: str
    key: str
    body: bytes
    created_at: float
    end: End

    def seen(self, now: float, *, links: bool = True) -> Task:
        """Return the task as the service reports it."""
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
            result_urls=(f"{RESULTS_URL}/{self.task_id}.mp4",) if is_linked else (),
            error=error,
        )


@dataclass(slots=True)
class Sent:
    """The history of one request ID over all its submissions."""

    bodies: set[bytes] = field(default_factory=set)
    posts: int = 0
    was_lost: bool = False
    was_answered: bool = False


class ModelWeb:
    """The result host and the service, which may honour request IDs, and then for a while."""

    def __init__(self, clock: VirtualClock, *, honours_keys: bool) -> None:
        self.weather: deque[Weather] = deque()
        self.next_end = End.COMPLETED
        self.accepted: list[Accepted] = []
        self.sent: dict[str, Sent] = {}
        self.has_dead_links = False
        self._clock = clock
        self._honours_keys = honours_keys

    @property
    def now(self) -> float:
        """The service's Unix time."""
        return NOW + self._clock.now

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer a request, or raise a network error."""
        path = urlsplit(str(request.url)).path
        if str(request.url).startswith(RESULTS_URL):
            return self._send_result(Path(path).stem)
        if request.method == "POST" and path == "/v1/videos/generations":
            return self._submit(request.content, request.headers["idempotency-key"])
        if path == "/v1/tasks":
            tasks = [shown(accepted.seen(self.now, links=False)) for accepted in self.accepted]
            return httpx.Response(200, json={"data": tasks[::-1], "total": len(tasks)})
        for accepted in self.accepted:
            if path.endswith(f"/{accepted.task_id}"):
                return httpx.Response(200, json=shown(accepted.seen(self.now)))
        return httpx.Response(404, json={"error": {"code": "task_not_found", "message": "?"}})

    def _submit(self, body: bytes, key: str) -> httpx.Response:
        sent = self.sent.setdefault(key, Sent())
        sent.bodies.add(body)
        sent.posts += 1
        weather = self.weather.popleft() if self.weather else Weather.FINE
        refusal = _refusal(weather)
        if refusal is not None:
            return refusal
        is_lost = weather is not Weather.FINE
        sent.was_lost = sent.was_lost or is_lost
        reply = None
        if weather not in _BEFORE:
            reply = self._accept(body, key)
        loss = _loss(weather)
        if loss is not None:
            return loss
        sent.was_answered = True
        assert reply is not None
        return reply

    def _accept(self, body: bytes, key: str) -> httpx.Response:
        oldest = self.now - KEYS_ARE_REMEMBERED_S
        for known in self.accepted:
            if self._honours_keys and known.key == key and known.created_at >= oldest:
                if known.body != body:
                    error = {"code": "idempotency_conflict", "message": "another body"}
                    return httpx.Response(409, json={"error": error})
                replayed = {"idempotency-replayed": "true"}
                return httpx.Response(200, json=shown(known.seen(self.now)), headers=replayed)
        task_id = f"task-unified-{len(self.accepted):08}"
        accepted = Accepted(task_id, key, body, self.now, self.next_end)
        self.accepted.append(accepted)
        return httpx.Response(200, json=shown(accepted.seen(self.now)))

    def _send_result(self, task_id: str) -> httpx.Response:
        if self.has_dead_links:
            return httpx.Response(403)
        content = video_of(task_id)
        headers = {"content-length": str(len(content)), "etag": f'"{task_id}"'}
        return httpx.Response(200, stream=httpx.ByteStream(content), headers=headers)


class ModelSession(BenchSession):
    """A session with the model as its transport, which collects the warnings."""

    def __init__(self, folder: Path, *, honours_keys: bool) -> None:
        clock = VirtualClock()
        self.web = ModelWeb(clock, honours_keys=honours_keys)
        super().__init__(
            transport=self.web, clock=clock, folder=folder / "private", context="user:1"
        )
        self.warnings: list[str] = []
        self.on_report = self._keep

    def begin_anew(self) -> None:
        """Forget what would be lost with the process."""
        self.rate_limiter = RateLimiter(self.monotonic, self.sleep)

    def _keep(self, event: Event) -> None:
        if isinstance(event, Warned):
            self.warnings.append(event.message)


def clip_and_prompt(body: bytes) -> tuple[str, str]:
    """Return the clip URL and the prompt in a body."""
    asked = json.loads(body)
    return asked["video_urls"][0], asked["prompt"]
