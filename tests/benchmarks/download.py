"""A complete download of a large result on loopback, compared with curl."""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.benchmarks.startup import spare_environ
from tests.benchmarks.verdicts import Verdict

ROUNDS: Final = 7
SIZE_BYTES: Final = 128 * 1024 * 1024
_SMALL_BYTES: Final = 8 * 1024 * 1024
_SERVER: Final = """
import os, socket, sys, threading

size = int(sys.argv[1])
head = b"\\0\\0\\0\\x18ftypisom\\0\\0\\2\\0isomiso2\\0\\0\\0\\x08moov"
head += (size - len(head)).to_bytes(4) + b"mdat"
block = os.urandom(1024 * 1024)
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)

def answer(connection):
    with connection:
        while b"\\r\\n\\r\\n" not in connection.recv(65536):
            pass
        connection.sendall(
            f'HTTP/1.1 200 OK\\r\\nETag: "1"\\r\\nContent-Length: {size}\\r\\n'
            'Content-Type: video/mp4\\r\\nConnection: close\\r\\n\\r\\n'.encode() + head
        )
        left = size - len(head)
        while left:
            left -= connection.send(memoryview(block)[:left])

while True:
    connection, _ = server.accept()
    threading.Thread(target=answer, args=(connection,), daemon=True).start()
"""
_CLIENT: Final = """
import json, os, pty, sys, threading, time
from tests.benchmarks.memory import peak_kib
from pathlib import Path
from omniedit.events import Working
from omniedit.http.client import HttpClient
from omniedit.terminal.board import Board
from omniedit.terminal.printer import Printer
from omniedit.terminal.progress import watch
from tests.unit.downloads.saving import save

url, target = sys.argv[1], Path(sys.argv[2])
terminal, far_end = os.openpty()
screen = os.fdopen(far_end, "w")

def drain():
    while os.read(terminal, 65536):
        pass

threading.Thread(target=drain, daemon=True).start()
printer = Printer(stdout=sys.stdout, stderr=screen, environ={"TERM": "xterm-256color"})
board = Board()
with HttpClient() as http, watch(printer, board, sandbox=False) as observe:
    def report(event):
        board.update(event)
        observe(event)

    began = time.perf_counter()
    save(
        http, url, target, sleep=time.sleep, task_id="task-1", overwrite=True,
        on_progress=lambda done, total: report(Working(
            name=target.name, what="downloading", done=done, total=total, is_transfer=True,
        )),
    )
    took = time.perf_counter() - began
print(json.dumps({"took": took, "rss": peak_kib()}))
"""


def measure() -> Iterator[Verdict]:
    """Download alternately, and compare throughput and memory."""
    if shutil.which("curl") is None:
        return
    # In memory, so that the disk is not measured.
    shared = Path("/dev/shm")  # noqa: S108 - used only as the parent of a new folder
    with tempfile.TemporaryDirectory(dir=shared if os.access(shared, os.W_OK) else None) as name:
        folder = Path(name)
        with Server(SIZE_BYTES) as url:
            speeds = [_curl_s(url, folder) / _ours(url, folder)["took"] for _ in range(ROUNDS)]
            large = _ours(url, folder)["rss"]
        with Server(_SMALL_BYTES) as url:
            small = _ours(url, folder)["rss"]
    yield Verdict(
        what="with SHA-256, bar and fsync",
        measured=statistics.median(speeds),
        target=0.7,
        is_least=True,
    )
    yield Verdict(what="memory", measured=large / 1024, target=45, unit="MiB")
    yield Verdict(
        what="extra memory over 8 MiB", measured=(large - small) / 1024, target=2, unit="MiB"
    )


class Server:
    """A process that serves one file."""

    def __init__(self, size_bytes: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVER, str(size_bytes)], stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> str:
        assert self._process.stdout is not None
        return f"http://127.0.0.1:{int(self._process.stdout.readline())}/result.mp4"

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


def _curl_s(url: str, folder: Path) -> float:
    argv = [
        "curl",
        "-sS",
        "--noproxy",
        "*",
        "-o",
        str(folder / "curl.mp4"),
        "-w",
        "%{time_total}",
        url,
    ]
    return float(subprocess.run(argv, capture_output=True, check=True, text=True).stdout)


def _ours(url: str, folder: Path) -> dict[str, float]:
    argv = [sys.executable, "-c", _CLIENT, url, str(folder / "ours.mp4")]
    with tempfile.TemporaryDirectory() as home:
        environ = spare_environ(Path(home))
        ended = subprocess.run(argv, capture_output=True, check=True, text=True, env=environ)
    found: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
    return found
