"""A local clip is uploaded exactly as it was checked, and no more often than necessary."""

import json
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.e2e.equipment import Bench
from tests.e2e.faulty import Endpoint, Exchange, answered, read_late, reset_after, reset_before
from tests.e2e.test_contract_equipment import check_failure
from tests.unit.media.clips import Sound, make_clip, see

pytestmark = pytest.mark.e2e

PROMPT = "make it night"


def make_large_clip(path: Path) -> Path:
    """Write a clip that is larger than the socket buffers."""
    make_clip(path)
    with path.open("ab") as file:
        file.write((32 * 1024 * 1024).to_bytes(4) + b"free")
        file.truncate(file.tell() + 32 * 1024 * 1024 - 8)
    return path


def append_bytes(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def truncate_clip(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def rewrite_end(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(-9, os.SEEK_END)
        file.write(b"different")


@contextmanager
def file_service(on_upload: Callable[[], None]) -> Iterator[str]:
    """Serve a file service that calls `on_upload` when an upload begins, before it reads it."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            on_upload()
            while self.rfile.read1():
                pass

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named by the base class
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("change", [append_bytes, truncate_clip, rewrite_end])
def test_a_clip_that_changes_during_its_upload_is_not_submitted(
    bench: Bench, folder: Path, change: Callable[[Path], None]
) -> None:
    clip = make_large_clip(folder / "clip.mp4")

    with file_service(lambda: change(clip)) as url:
        ended = bench.run("edit", "clip.mp4", PROMPT, OMNIEDIT_FILES_URL=url)

    check_failure(ended, 10, "clip.mp4 changed after it was checked", "run the same command")
    assert bench.posts == 0


def test_a_clip_that_changes_between_upload_attempts_is_not_submitted(
    bench: Bench, folder: Path
) -> None:
    clip = make_clip(folder / "clip.mp4")

    def change_and_reset(exchange: Exchange) -> None:
        rewrite_end(clip)
        exchange.reset()

    bench.faulty.script(Endpoint.UPLOAD, change_and_reset)
    ended = bench.run("edit", "clip.mp4", PROMPT)

    check_failure(ended, 10, "clip.mp4 changed after it was checked")
    assert bench.posts == 0
    assert bench.faulty.count(Endpoint.UPLOAD) == 1


def write_manifest(folder: Path, *lines: Mapping[str, object]) -> str:
    (folder / "edits.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return "edits.jsonl"


@pytest.mark.parametrize("name", ["clip.mp4", "clip.webm"])
def test_a_clip_is_uploaded_once_for_all_its_edits(bench: Bench, folder: Path, name: str) -> None:
    make_clip(folder / name, codec="libvpx" if name.endswith("webm") else "libx264")

    for prompt in ("make it night", "make it dawn"):
        assert bench.run("edit", name, prompt).status == 0

    assert bench.posts == 2
    assert bench.faulty.count(Endpoint.UPLOAD) == 1


@pytest.mark.parametrize("name", ["clip.mp4", "clip.webm"])
def test_a_clip_is_uploaded_once_for_all_lines_of_a_batch(
    bench: Bench, folder: Path, name: str
) -> None:
    make_clip(folder / name, codec="libvpx" if name.endswith("webm") else "libx264")
    (folder / "copy").write_bytes((folder / name).read_bytes())
    lines = [{"video": video, "prompt": f"{n}"} for n, video in enumerate([name] * 4 + ["copy"])]

    ended = bench.run("batch", write_manifest(folder, *lines), "--dir", "out", "--concurrency", "5")

    assert ended.status == 0, ended
    assert bench.posts == 5
    assert bench.faulty.count(Endpoint.UPLOAD) == 1


def test_each_cut_of_a_clip_is_uploaded_separately(bench: Bench, folder: Path) -> None:
    make_clip(folder / "clip.mp4", seconds=3, sound=Sound())
    marks: list[dict[str, object]] = [
        {"start": "0.5", "end": "1.5"},
        {"start": 0.5, "end": 1.5, "prompt": "make it dawn"},
        {"start": "0:01.5"},
        {},
    ]
    lines = [
        {"video": "clip.mp4", "prompt": PROMPT, "output": f"{n}.mp4"} | each
        for n, each in enumerate(marks)
    ]

    ended = bench.run("batch", write_manifest(folder, *lines), "--dir", "out")

    assert ended.status == 0, ended
    assert bench.faulty.count(Endpoint.UPLOAD) == 3
    shown = [see(folder / "out" / f"{n}.mp4").numbers for n in range(4)]
    assert shown == [[*range(5, 15)], [*range(5, 15)], [*range(15, 30)], [*range(30)]]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        pytest.param(400, "Unsupported file type", id="type"),
        pytest.param(413, "File too large", id="size"),
        pytest.param(400, "File quota exceeded: 100 of 100 files", id="quota"),
        pytest.param(429, "Storage quota exceeded", id="quota-as-429"),
    ],
)
def test_a_file_service_refusal_is_status_2_and_suggests_a_public_url(
    bench: Bench, folder: Path, status: int, words: str
) -> None:
    make_clip(folder / "clip.mp4")
    body = json.dumps({"success": False, "code": status, "msg": words}).encode()
    bench.faulty.always(Endpoint.UPLOAD, answered(status, body))

    ended = bench.run("edit", "clip.mp4", PROMPT)

    check_failure(ended, 2, f"the file service refuses the clip: {words}", "its public URL instead")
    assert bench.posts == 0
    assert bench.faulty.count(Endpoint.UPLOAD) == 1


def test_a_failed_upload_is_retried_without_converting_again(bench: Bench, folder: Path) -> None:
    make_clip(folder / "clip.webm", codec="libvpx")
    bench.faulty.script(Endpoint.UPLOAD, answered(503), reset_before, answered(429), reset_after)

    ended = bench.run("edit", "clip.webm", PROMPT)

    assert ended.status == 0, ended
    assert (bench.posts, bench.faulty.count(Endpoint.UPLOAD)) == (1, 5)
    # The clip is converted only once for all attempts.
    assert ended.stderr.count("re-encoded") == 1


def test_an_upload_about_to_expire_is_not_reused(bench: Bench, folder: Path) -> None:
    make_clip(folder / "clip.mp4")
    expiry = datetime.now(UTC) + timedelta(minutes=50)

    def shorten(exchange: Exchange) -> None:
        reply = exchange.forward()
        stored = json.loads(reply.body)
        stored["data"]["expires_at"] = expiry.isoformat()
        body = json.dumps(stored).encode()
        head = f"HTTP/1.1 200 -\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        exchange.send(head.encode() + body)

    bench.faulty.always(Endpoint.UPLOAD, shorten)
    for prompt in ("make it night", "make it dawn"):
        assert bench.run("edit", "clip.mp4", prompt).status == 0

    assert bench.faulty.count(Endpoint.UPLOAD) == 2


def test_upload_progress_names_the_clip(bench: Bench, folder: Path) -> None:
    make_large_clip(folder / "clip.mp4")
    bench.faulty.always(Endpoint.UPLOAD, read_late)

    ended = bench.run("submit", "clip.mp4", PROMPT)
    quiet = bench.run("submit", "clip.mp4", "make it dawn", "-q")

    assert re.search(r"^uploading clip\.mp4, \d+ % of 34 MB$", ended.stderr, re.MULTILINE), ended
    assert (quiet.status, quiet.stderr) == (0, ""), quiet
