"""A model of the service and the result host, as a transport for the real HTTP client."""

import json
from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx

from omniedit.errors import Interrupted
from omniedit.events import Event, Warned
from omniedit.models import Task, TaskError, TaskStatus
from omniedit.policy import RateLimiter
from tests.unit.edits.bench import NOW, RESULTS_URL, BenchSession, VirtualClock, as_json, video_of

KEY_LIFETIME_S: Final = 2 * 3600.0
EDIT_DURATION_S: Final = 20.0


class Killed(BaseException):
    """Raised where the process is killed."""


class Mishap(Enum):
    """What goes wrong with one submission, before or after the service accepts it."""

    NONE = auto()
    LOST_BEFORE = auto()
    LOST_AFTER = auto()
    FAILED_BEFORE = auto()
    FAILED_AFTER = auto()
    GARBLED_AFTER = auto()
    NOT_CONNECTED = auto()
    RATE_LIMITED = auto()
    RATE_LIMITED_FOR_AN_HOUR = auto()
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


_NOT_ACCEPTED: Final = frozenset(mishap for mishap in Mishap if mishap.name.endswith("BEFORE"))


def _refusal(mishap: Mishap) -> httpx.Response | None:
    """Return a reply that proves that nothing was accepted; None after any other mishap."""
    match mishap:
        case Mishap.NOT_CONNECTED:
            msg = "no route"
            raise httpx.ConnectError(msg)
        case Mishap.RATE_LIMITED:
            return httpx.Response(429, headers={"retry-after": "3"})
        case Mishap.RATE_LIMITED_FOR_AN_HOUR:
            return httpx.Response(429, headers={"retry-after": "3600"})
        case Mishap.NO_CREDITS:
            return httpx.Response(402)
        case Mishap.KEY_REFUSED:
            return httpx.Response(401)
        case Mishap.BAD_REQUEST:
            return httpx.Response(400)
        case _:
            return None


def _loss(mishap: Mishap) -> httpx.Response | None:
    """Return or raise what replaces the reply; None if the reply arrives."""
    match mishap:
        case Mishap.LOST_BEFORE | Mishap.LOST_AFTER:
            msg = "reset"
            raise httpx.ReadError(msg)
        case Mishap.FAILED_BEFORE | Mishap.FAILED_AFTER:
            return httpx.Response(503)
        case Mishap.GARBLED_AFTER:
            return httpx.Response(200, text="<html>")
        case Mishap.KILLED_BEFORE | Mishap.KILLED_AFTER:
            raise Killed
        case Mishap.INTERRUPTED_BEFORE | Mishap.INTERRUPTED_AFTER:
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

    def task_at(self, now: float, *, links: bool = True) -> Task:
        """Return the task as the service reports it."""
        status, error = TaskStatus.PROCESSING, None
        if now >= self.created_at + EDIT_DURATION_S:
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
class SubmissionHistory:
    """All submissions under one request ID."""

    bodies: set[bytes] = field(default_factory=set)
    posts: int = 0
    was_lost: bool = False
    was_answered: bool = False


class ModelWeb:
    """The result host and the service; if it honours request IDs, it remembers them for a while."""

    def __init__(self, clock: VirtualClock, *, honours_keys: bool) -> None:
        self.mishaps: deque[Mishap] = deque()
        self.next_end = End.COMPLETED
        self.accepted: list[Accepted] = []
        self.sent: dict[str, SubmissionHistory] = {}
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
            tasks = [as_json(accepted.task_at(self.now, links=False)) for accepted in self.accepted]
            return httpx.Response(200, json={"data": tasks[::-1], "total": len(tasks)})
        for accepted in self.accepted:
            if path.endswith(f"/{accepted.task_id}"):
                return httpx.Response(200, json=as_json(accepted.task_at(self.now)))
        return httpx.Response(404, json={"error": {"code": "task_not_found", "message": "?"}})

    def _submit(self, body: bytes, key: str) -> httpx.Response:
        sent = self.sent.setdefault(key, SubmissionHistory())
        sent.bodies.add(body)
        sent.posts += 1
        mishap = self.mishaps.popleft() if self.mishaps else Mishap.NONE
        refusal = _refusal(mishap)
        if refusal is not None:
            return refusal
        is_lost = mishap is not Mishap.NONE
        sent.was_lost = sent.was_lost or is_lost
        reply = None
        if mishap not in _NOT_ACCEPTED:
            reply = self._accept(body, key)
        loss = _loss(mishap)
        if loss is not None:
            return loss
        sent.was_answered = True
        assert reply is not None
        return reply

    def _accept(self, body: bytes, key: str) -> httpx.Response:
        oldest = self.now - KEY_LIFETIME_S
        for earlier in self.accepted:
            if self._honours_keys and earlier.key == key and earlier.created_at >= oldest:
                if earlier.body != body:
                    error = {"code": "idempotency_conflict", "message": "another body"}
                    return httpx.Response(409, json={"error": error})
                replayed = {"idempotency-replayed": "true"}
                return httpx.Response(
                    200, json=as_json(earlier.task_at(self.now)), headers=replayed
                )
        task_id = f"task-unified-{len(self.accepted):08}"
        accepted = Accepted(task_id, key, body, self.now, self.next_end)
        self.accepted.append(accepted)
        return httpx.Response(200, json=as_json(accepted.task_at(self.now)))

    def _send_result(self, task_id: str) -> httpx.Response:
        if self.has_dead_links:
            return httpx.Response(403)
        content = video_of(task_id)
        headers = {"content-length": str(len(content)), "etag": f'"{task_id}"'}
        return httpx.Response(200, stream=httpx.ByteStream(content), headers=headers)


class ModelSession(BenchSession):
    """A session whose transport is the model; it collects the warnings."""

    def __init__(self, folder: Path, *, honours_keys: bool) -> None:
        clock = VirtualClock()
        self.web = ModelWeb(clock, honours_keys=honours_keys)
        super().__init__(
            transport=self.web, clock=clock, folder=folder / "private", context="user:1"
        )
        self.warnings: list[str] = []
        self.on_report = self._keep_warning

    def forget_process_state(self) -> None:
        """Forget the state that is lost when a process ends."""
        self.rate_limiter = RateLimiter(self.monotonic, self.sleep)

    def _keep_warning(self, event: Event) -> None:
        if isinstance(event, Warned):
            self.warnings.append(event.message)


def clip_and_prompt(body: bytes) -> tuple[str, str]:
    """Return the clip URL and the prompt in a body."""
    request = json.loads(body)
    return request["video_urls"][0], request["prompt"]
