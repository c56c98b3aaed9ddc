"""Whatever a host does and whenever a run is killed, the result is one whole version or none."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from omniedit.errors import OmniEditError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from tests.unit.downloads.conftest import Bench, Origin, Step

SIZES = (300, 700, 701)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What happens to one request."""

    kind: str
    version: int
    etag: str = "strong"
    after: int = 0


class Killed(BaseException):
    """Stands for SIGKILL: only what is on disk at that instant is left."""


faults = st.builds(
    Fault,
    kind=st.sampled_from(
        [
            "cut",
            "cut-without-length",
            "silent-cut",
            "kill",
            "ignored-range",
            "shifted-range",
            "other-total",
            "range-of-any-version",
            "416",
            "416-at-end",
            "longer",
            "shorter",
            "503",
            "404",
            "html",
            "whole",
        ]
    ),
    version=st.integers(0, 2),
    etag=st.sampled_from(["strong", "strong", "weak", "none"]),
    after=st.integers(0, 701),
)


class FickleHost:
    """A host with three versions of a file; its strong ETags are honest, and nothing else is."""

    def __init__(self, origin: Origin, folder: Path) -> None:
        self.origin = origin
        self.folder = folder
        self.versions = [
            origin.video(fill, size) for fill, size in zip((b"a", b"b", b"c"), SIZES, strict=True)
        ]
        self.disk: dict[str, bytes] = {}

    def step(self, fault: Fault) -> Step:
        return lambda request: self.answer(request, fault)

    def answer(self, request: httpx.Request, fault: Fault) -> httpx.Response:
        content = self.versions[fault.version]
        etag = f'"v{fault.version}"'
        asked = request.headers.get("range")
        start = int(asked[6:-1]) if asked else None
        if start is not None and (
            fault.kind == "ignored-range"
            or (request.headers["if-range"] != etag and fault.kind != "range-of-any-version")
        ):
            start = None
        match fault.kind:
            case "503" | "404":
                return self.reply(int(fault.kind), [b"<Error/>"], {})
            case "html":
                return self.reply(200, [b"<html>"], {"etag": etag})
            case "416" | "416-at-end":
                total = len(content) if fault.kind == "416" else start or 0
                return self.reply(416, [], {"content-range": f"bytes */{total}"})
            case _:
                return self.body(fault, content, start)

    def body(self, fault: Fault, content: bytes, start: int | None) -> httpx.Response:
        total = len(content)
        kind = fault.kind
        first = start or 0
        if start is not None and kind == "shifted-range":
            first = min(start + 1 + fault.after % 3, total - 1)
        rest = content[first:]
        etag = {"strong": f'"v{fault.version}"', "weak": f'W/"v{fault.version}"'}.get(fault.etag)
        headers = {"etag": etag} if etag else {}
        if kind not in {"cut-without-length", "silent-cut"}:
            headers["content-length"] = str(len(rest))
        if start is not None:
            shown = total + 1 if kind == "other-total" else total
            headers["content-range"] = f"bytes {first}-{total - 1}/{shown}"
        if kind in {"cut", "cut-without-length", "silent-cut", "shorter", "kill"}:
            rest = rest[: fault.after]
        chunks: Iterable[bytes] = self.origin.chunked(
            rest + b"surplus" if kind == "longer" else rest, 97
        )
        return self.reply(
            200 if start is None else 206,
            self.then_kill(chunks) if kind == "kill" else chunks,
            headers,
            httpx.ReadError("cut") if kind in {"cut", "cut-without-length"} else None,
        )

    def reply(
        self,
        status: int,
        chunks: Iterable[bytes],
        headers: dict[str, str],
        error: BaseException | None = None,
    ) -> httpx.Response:
        return httpx.Response(status, headers=headers, stream=self.origin.Body(chunks, error))

    def then_kill(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        yield from chunks
        self.disk = {path.name: path.read_bytes() for path in self.folder.iterdir()}
        raise Killed

    def restore(self) -> None:
        for path in self.folder.iterdir():
            path.unlink()
        for name, content in self.disk.items():
            (self.folder / name).write_bytes(content)


@settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(runs=st.lists(st.lists(faults, max_size=5), min_size=1, max_size=4))
def test_the_file_is_always_one_whole_version(
    make_bench: Callable[[], Bench], runs: list[list[Fault]]
) -> None:
    bench = make_bench()
    host = FickleHost(bench.origin, bench.folder)

    for script in runs:
        bench.origin.script = [host.step(fault) for fault in script]
        bench.origin.content = host.versions[2]
        bench.origin.etag = '"v2"'
        try:
            with suppress(OmniEditError):
                saved = bench.download()
                assert hashlib.sha256(bench.target.read_bytes()).hexdigest() == saved.sha256
        except Killed:
            host.restore()
            event("killed")
        if bench.target.exists():
            break

    if not bench.target.exists():
        event("finished by the last run")
        bench.origin.script = []
        bench.download()
    assert bench.target.read_bytes() in host.versions
    assert bench.names == ["out.mp4"]
