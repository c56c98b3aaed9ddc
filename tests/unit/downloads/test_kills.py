"""SIGKILL between any two steps, and several processes at once."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import warnings
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.unit.downloads.conftest import Desk

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks")

_STEPS = ("open", "os.")
_SCRIPT = """
import sys, time
from pathlib import Path
from omniedit.downloads import Downloader
from omniedit.http import HttpClient

with HttpClient() as http:
    saved = Downloader(http, sleep=time.sleep).download(
        sys.argv[1], Path(sys.argv[2]), task_id="task-1-abcdef",
        on_progress=lambda *_: None, on_retry=lambda *_: None,
    )
print(saved.sha256)
"""


def _killed_at(step: int, desk: Desk, *, overwrite: bool) -> bool:
    """Download in a process that is killed before its n-th step; return whether it was."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, none of which is used
        child = os.fork()
    if child == 0:
        left = [step]

        def count(event: str, _: object) -> None:
            if event.startswith(_STEPS):
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        status = 1
        try:
            sys.addaudithook(count)
            desk.download(overwrite=overwrite)
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert status in {0, signal.SIGKILL}
    return status != 0


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_kill_at_any_step_leaves_the_whole_file_or_none(
    make_desk: Callable[[], Desk], overwrite: bool
) -> None:
    steps = 0
    is_killed = True
    while is_killed:
        steps += 1
        desk = make_desk()
        desk.origin.script = [desk.origin.cut(1500), desk.origin.cut(1500)]
        if overwrite:
            desk.target.write_bytes(b"mine")

        is_killed = _killed_at(steps, desk, overwrite=overwrite)

        left = desk.target.read_bytes() if desk.target.exists() else None
        assert left in {desk.origin.content, b"mine" if overwrite else None}
        desk.origin.script = []
        if left != desk.origin.content or desk.PART in desk.names:
            desk.download(overwrite=overwrite)
            assert desk.names == ["out.mp4"]
        assert desk.target.read_bytes() == desk.origin.content
    assert steps > 15


class SlowHost:
    """A host on loopback that serves one file in many small pieces."""

    def __init__(self, content: bytes) -> None:
        import socket  # noqa: PLC0415 - only this test opens one

        self.content = content
        self.requests = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}/out.mp4"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self.requests += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: object) -> None: ...


def test_processes_that_save_one_target_at_once_all_succeed(
    tmp_path: Path, make_desk: Callable[[], Desk]
) -> None:
    content = make_desk().origin.video(size_bytes=3_000_000)
    with _host(content) as url:
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", _SCRIPT, url, tmp_path / "v" / "out.mp4"],
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(4)
        ]
        outcomes = [process.communicate(timeout=30)[0].strip() for process in processes]

    assert [process.returncode for process in processes] == [0] * 4 or outcomes == []
    assert set(outcomes) == {hashlib.sha256(content).hexdigest()}
    assert [path.name for path in (tmp_path / "v").iterdir()] == ["out.mp4"]
