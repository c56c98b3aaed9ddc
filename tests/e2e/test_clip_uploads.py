"""Local clips on their way to the file service: as they were looked at, once, and for nothing."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.e2e.equipment import Bench
from tests.e2e.faulty import Endpoint, Visit
from tests.e2e.test_contract_equipment import check_failure
from tests.unit.media.clips import make_clip

pytestmark = pytest.mark.e2e

PROMPT = "make it night"


def heavy(path: Path) -> Path:
    """Write a clip that does not fit into the buffers between two sockets."""
    make_clip(path)
    with path.open("ab") as file:
        file.write((32 * 1024 * 1024).to_bytes(4) + b"free")
        file.truncate(file.tell() + 32 * 1024 * 1024 - 8)
    return path


def appended(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def shortened(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def rewritten(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(-9, os.SEEK_END)
        file.write(b"different")


@contextmanager
def file_service(on_upload: Callable[[], None]) -> Iterator[str]:
    """Serve a file service that does something once an upload has begun, and reads it then."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            on_upload()
            while self.rfile.read1():
                pass

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as its base
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("change", [appended, shortened, rewritten])
def test_a_clip_that_changes_while_it_is_uploaded_is_10_and_not_submitted(
    bench: Bench, folder: Path, change: Callable[[Path], None]
) -> None:
    clip = heavy(folder / "clip.mp4")

    with file_service(lambda: change(clip)) as url:
        ended = bench.run("edit", "clip.mp4", PROMPT, OMNIEDIT_FILES_URL=url)

    check_failure(ended, 10, "clip.mp4 changed after it was looked at", "run the same command")
    assert bench.posts == 0


def test_a_clip_that_changes_between_two_attempts_is_not_taken_for_what_it_was(
    bench: Bench, folder: Path
) -> None:
    clip = make_clip(folder / "clip.mp4")

    def break_off(visit: Visit) -> None:
        rewritten(clip)
        visit.reset()

    bench.faulty.script(Endpoint.UPLOAD, break_off)
    ended = bench.run("edit", "clip.mp4", PROMPT)

    check_failure(ended, 10, "clip.mp4 changed after it was looked at")
    assert bench.posts == 0
    assert bench.faulty.count(Endpoint.UPLOAD) == 1
