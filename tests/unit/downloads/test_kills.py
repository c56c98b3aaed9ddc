"""Downloads survive SIGKILL at any step, and several processes and threads at once."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from omniedit.http.client import HttpClient
from tests.unit.downloads.saving import save

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from omniedit.models import SavedFile
    from tests.unit.downloads.conftest import Bench
    from tests.unit.http.hostile import Answer

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks")

_STEPS = ("open", "os.")
_SCRIPT = """
import sys, time
from pathlib import Path
from omniedit.errors import TargetExistsError
from omniedit.http.client import HttpClient
from tests.unit.downloads.saving import save
from tests.unit.downloads.saving import save

with HttpClient() as http:
    try:
        saved = save(http, sys.argv[1], Path(sys.argv[2]), sleep=time.sleep, task_id="task-1-abcdef")
    except TargetExistsError:
        sys.exit()  # this process came after the others had finished
print(saved.sha256)
"""


def _killed_at(step: int, bench: Bench, *, overwrite: bool) -> bool:
    """Download in a process that is killed before its n-th step; return whether it was killed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # about threads: none are used here
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
            bench.download(overwrite=overwrite)
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert status in {0, signal.SIGKILL}
    return status != 0


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_kill_at_any_step_leaves_the_whole_file_or_none(
    make_bench: Callable[[], Bench], *, overwrite: bool
) -> None:
    steps = 0
    is_killed = True
    while is_killed:
        steps += 1
        bench = make_bench()
        bench.origin.script = [bench.origin.cut(1500), bench.origin.cut(1500)]
        if overwrite:
            bench.target.write_bytes(b"mine")

        is_killed = _killed_at(steps, bench, overwrite=overwrite)

        left = bench.target.read_bytes() if bench.target.exists() else None
        assert left in {bench.origin.content, b"mine" if overwrite else None}
        bench.origin.script = []
        if left != bench.origin.content or bench.PART in bench.names:
            bench.download(overwrite=overwrite)
        assert bench.names == ["out.mp4"]
        assert bench.target.read_bytes() == bench.origin.content
    assert steps > 10


def test_concurrent_processes_saving_one_target_all_succeed(
    tmp_path: Path, serve: Callable[[Answer], str], make_bench: Callable[[], Bench]
) -> None:
    content = make_bench().origin.video(size_bytes=3_000_000)
    head = b'HTTP/1.1 200 OK\r\nEtag: "v1"\r\nContent-Length: 3000000\r\n\r\n'
    target = tmp_path / "videos" / "out.mp4"
    url = serve(lambda _: [head, content])

    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _SCRIPT, url, target],
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        for _ in range(4)
    ]
    outcomes = {process.communicate(timeout=30)[0].strip() for process in processes}

    assert {process.returncode for process in processes} == {0}
    assert outcomes <= {hashlib.sha256(content).hexdigest().encode(), b""}
    assert target.read_bytes() == content
    assert [path.name for path in target.parent.iterdir()] == ["out.mp4"]


def test_concurrent_threads_saving_one_target_all_succeed(
    tmp_path: Path, serve: Callable[[Answer], str], make_bench: Callable[[], Bench]
) -> None:
    content = make_bench().origin.video(size_bytes=3_000_000)
    requests: list[bytes] = []
    are_all_waiting = threading.Event()

    def answer(head: bytes) -> Iterator[bytes]:
        requests.append(head)
        yield b'HTTP/1.1 200 OK\r\nEtag: "v1"\r\nContent-Length: 3000000\r\n\r\n'
        yield content[:100]
        # Wait until the others have found the part file locked.
        assert are_all_waiting.wait(timeout=20)
        yield content[100:]

    url = serve(answer)
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) >= 20:
            are_all_waiting.set()
        threading.Event().wait(0.01)

    def save_here() -> SavedFile:
        with HttpClient() as http:
            return save(http, url, tmp_path / "out.mp4", sleep=sleep, task_id="task-1-abcdef")

    with ThreadPoolExecutor(4) as pool:
        saved = {future.result() for future in [pool.submit(save_here) for _ in range(4)]}

    assert len(requests) == 1
    assert [file.sha256 for file in saved] == [hashlib.sha256(content).hexdigest()]
    assert [path.name for path in tmp_path.glob("*out*")] == ["out.mp4"]
