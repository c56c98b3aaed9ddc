"""A result host whose every reply can be scripted, and downloads from it."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import ClassVar, Protocol

import httpx
import pytest

from omniedit.downloads.placement import Placement
from omniedit.http.client import HttpClient
from omniedit.models import SavedFile
from omniedit.policy import DEFAULT, Policy
from omniedit.system import THIS_SYSTEM, System
from tests.unit.downloads.saving import save
from tests.unit.http.hostile import Answer, HostileServer

TASK_ID = "task-unified-1700000000-abcd1234"
URL = "https://cdn.example/results/clip.mp4?signature=one"


def box(kind: bytes, content: bytes) -> bytes:
    return (8 + len(content)).to_bytes(4, "big") + kind + content


def video(fill: bytes = b"frames", size_bytes: int = 5000) -> bytes:
    """Return a file that is an MP4, judging by its boxes."""
    start = box(b"ftyp", b"mp42\0\0\0\0mp42isom") + box(b"moov", b"index")
    content = (fill * size_bytes)[: size_bytes - len(start) - 8]
    return start + box(b"mdat", content)


class Body(httpx.SyncByteStream):
    """A body in chunks; unlike `content=`, it can be read raw and can break off."""

    def __init__(self, chunks: Iterable[bytes], error: BaseException | None = None) -> None:
        self._chunks = chunks
        self._error = error

    def __iter__(self) -> Iterator[bytes]:
        yield from self._chunks
        if self._error:
            raise self._error


def chunked(content: bytes, chunk_bytes: int = 1000) -> list[bytes]:
    return [content[i : i + chunk_bytes] for i in range(0, len(content), chunk_bytes)]


class Step(Protocol):
    def __call__(self, request: httpx.Request, /) -> httpx.Response: ...


class Origin:
    """A host with one file; `script` holds the answers to the next requests, if not the file."""

    video = staticmethod(video)
    box = staticmethod(box)
    chunked = staticmethod(chunked)
    Body = Body

    def __init__(self) -> None:
        self.content = video()
        self.etag: str | None = '"v1"'
        self.script: list[Step] = []
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        step = self.script.pop(0) if self.script else self.whole
        return step(request)

    @property
    def ranges(self) -> list[str | None]:
        return [request.headers.get("range") for request in self.requests]

    def whole(self, request: httpx.Request, *, cut_after: int | None = None) -> httpx.Response:
        """Answer according to RFC 9110, or break off after `cut_after` bytes of the body."""
        headers = {"etag": self.etag} if self.etag else {}
        content = self.content
        status = 200
        start = self._start(request)
        if start is not None:
            status = 206
            content = content[start:]
            headers["content-range"] = f"bytes {start}-{len(self.content) - 1}/{len(self.content)}"
        headers["content-length"] = str(len(content))
        if cut_after is None:
            return httpx.Response(status, headers=headers, stream=Body(chunked(content)))
        body = Body(chunked(content[:cut_after]), httpx.ReadError("cut"))
        return httpx.Response(status, headers=headers, stream=body)

    @staticmethod
    def reply(status: int, content: bytes = b"", headers: dict[str, str] | None = None) -> Step:
        return lambda _: httpx.Response(status, headers=headers, stream=Body([content]))

    def cut(self, after: int) -> Step:
        return lambda request: self.whole(request, cut_after=after)

    def _start(self, request: httpx.Request) -> int | None:
        asked = request.headers.get("range", "")
        if not asked or request.headers.get("if-range") != self.etag:
            return None
        return int(asked.removeprefix("bytes=").removesuffix("-"))


class Bench:
    """Downloads from an origin, with a record of their waits and reports."""

    TASK_ID: ClassVar[str] = TASK_ID
    URL: ClassVar[str] = URL
    PART: ClassVar[str] = ".out.mp4.abcd1234.part"
    NOTE: ClassVar[str] = PART + ".json"

    def __init__(
        self, origin: Origin, folder: Path, system: System = THIS_SYSTEM, policy: Policy = DEFAULT
    ) -> None:
        self.origin = origin
        self.folder = folder
        self.target = folder / "out.mp4"
        self.slept: list[float] = []
        self.progress: list[tuple[int, int | None]] = []
        self.retries: list[tuple[str, float, int]] = []
        self.verified: list[SavedFile] = []
        self.lines: list[str] = []
        self.now = 0.0
        self.tick_s = 0.05
        self.http = HttpClient(
            transport=httpx.MockTransport(origin),
            trace=self.lines.append,
            policy=policy,
            clock=self.clock,
        )
        self.placement = Placement(
            sleep=self.slept.append, budget_s=policy.busy_budget_s, system=system
        )

    def clock(self) -> float:
        self.now += self.tick_s
        return self.now

    def download(
        self,
        target: Path | None = None,
        *,
        url: str = URL,
        overwrite: bool = False,
        on_progress: Callable[[int, int | None], None] | None = None,
        on_verified: Callable[[SavedFile], None] | None = None,
    ) -> SavedFile:
        return save(
            self.http,
            url,
            target or self.target,
            placement=self.placement,
            sleep=self.slept.append,
            jitter=lambda: 0.0,
            task_id=TASK_ID,
            overwrite=overwrite,
            on_progress=on_progress or (lambda *done: self.progress.append(done)),
            on_retry=lambda *retry: self.retries.append(retry),
            on_verified=on_verified or self.verified.append,
        )

    def leave_part(self, size_bytes: int = 3000) -> None:
        """Leave the files of a run that was interrupted after `size_bytes`."""
        self.origin.script = [self.origin.cut(size_bytes)]
        try:
            save(
                self.http,
                URL,
                self.target,
                placement=self.placement,
                task_id=TASK_ID,
                on_retry=_interrupt,
            )
        except KeyboardInterrupt:
            self.origin.requests.clear()

    @property
    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.fixture
def make_bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """Return a function that makes benches, each with its own origin and empty folder."""
    benches: list[Bench] = []

    def make(system: System = THIS_SYSTEM, policy: Policy = DEFAULT) -> Bench:
        folder = tmp_path / str(len(benches)) / "videos"
        folder.mkdir(parents=True)
        benches.append(Bench(Origin(), folder, system, policy))
        return benches[-1]

    yield make
    for bench in benches:
        bench.http.close()


@pytest.fixture
def bench(make_bench: Callable[[], Bench]) -> Bench:
    return make_bench()


@pytest.fixture
def origin(bench: Bench) -> Origin:
    return bench.origin


@pytest.fixture
def serve(serve_bytes: Callable[[Answer], HostileServer]) -> Callable[[Answer], str]:
    """Return a function that serves a result on loopback as raw bytes and returns its URL."""
    return lambda answer: serve_bytes(answer).url + "/results/clip.mp4"
