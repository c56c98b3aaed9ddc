"""A sandbox without a socket: the WSGI application on a clock that tests advance."""

from __future__ import annotations

from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from werkzeug.test import Client, TestResponse

from omniedit.sandbox.exchange import Service
from omniedit.sandbox.server import SandboxApp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from omniedit.sandbox.store import Store

STARTED_AT = 1_757_169_743.0


@dataclass
class FakeClock:
    """A clock that stands still until it is advanced."""

    now: float = STARTED_AT

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@dataclass(kw_only=True)
class Bench:
    """One sandbox folder, its application, and a client with a key."""

    MODEL: ClassVar[str] = "gemini-omni-flash-video-edit"
    MP4: ClassVar[bytes] = b"\0\0\0\x18ftypisom" + bytes(range(256)) * 40
    STARTED_AT: ClassVar[float] = STARTED_AT

    folder: Path
    clock: FakeClock
    store: Store
    service: Service
    app: SandboxApp
    client: Client
    lines: list[str] = field(default_factory=list)

    def call(self, method: str, path: str, **options: Any) -> TestResponse:
        headers: dict[str, str | None] = {
            "Authorization": "Bearer sk-sandbox",
            "User-Agent": "omniedit/1",
        }
        headers |= options.pop("headers", {})
        given = {name: value for name, value in headers.items() if value is not None}
        # Buffered, because a streamed file stays open until its reply is garbage-collected.
        options.setdefault("buffered", True)
        return self.client.open(path, method=method, headers=given, **options)

    def get(self, path: str, **options: Any) -> TestResponse:
        return self.call("GET", path, **options)

    def submit(self, prompt: str = "warmer light", **options: Any) -> TestResponse:
        body = {"model": self.MODEL, "prompt": prompt, "video_urls": ["https://example.com/a.mp4"]}
        body |= options.pop("body", {})
        return self.call("POST", "/v1/videos/generations", json=body, **options)

    def task(self, task_id: str) -> dict[str, Any]:
        reply = self.get(f"/v1/tasks/{task_id}")
        assert reply.status_code == 200
        return dict(reply.get_json())

    def finished(self, prompt: str = "warmer light", **options: Any) -> dict[str, Any]:
        """Submit an edit, and return its task five seconds later."""
        task_id = self.submit(prompt, **options).get_json()["id"]
        self.clock.advance(5)
        return self.task(task_id)

    def download(self, url: str, **options: Any) -> TestResponse:
        return self.call(
            options.pop("method", "GET"),
            url.removeprefix("http://localhost"),
            headers={"Authorization": None} | options.pop("headers", {}),
            **options,
        )

    def upload(self, content: bytes | None = None, name: str = "clip.mp4") -> TestResponse:
        content = self.MP4 if content is None else content
        return self.call(
            "POST", "/api/v1/files/upload/stream", data={"file": (BytesIO(content), name)}
        )


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def make_bench(tmp_path: Path, clock: FakeClock) -> Iterator[Callable[..., Bench]]:
    """Build benches that share a folder and a clock, as processes do."""
    stores: list[Store] = []

    def make(**settings: Any) -> Bench:
        folder = tmp_path / "sandbox"
        lines = list[str]()
        service = Service(folder, log=lines.append, clock=clock, **settings)
        stores.append(service.store)
        app = SandboxApp(service)
        return Bench(
            folder=folder,
            clock=clock,
            store=service.store,
            service=service,
            app=app,
            client=Client(app),
            lines=lines,
        )

    yield make
    for store in stores:
        store.close()


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench()
