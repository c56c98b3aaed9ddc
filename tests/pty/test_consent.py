"""The question of `edit --split`, asked and answered on a real pseudo-terminal."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time

import pytest

from omniedit.sandbox import RunningSandbox
from tests.commandline import COMMAND, CommandLine
from tests.unit.media.clips import make_clip

pytestmark = [
    pytest.mark.pty,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals"),
]

QUESTION = "send 2 pieces for 76.3 credits (about $1.12)? [y/N]"
WAIT_S = 20.0
CTRL_C = "\x03"


def answered(served: CommandLine, answer: str) -> tuple[int, bytes, str]:
    """Return the exit status, stdout and the screen of a call whose question is answered."""
    terminal, far_end = os.openpty()
    process = subprocess.Popen(
        [
            COMMAND,
            "edit",
            "long.mp4",
            "make it night [sandbox:seconds=0]",
            "--split",
            "-o",
            "out.mp4",
        ],
        stdin=far_end,
        stdout=subprocess.PIPE,
        stderr=far_end,
        cwd=served.folder,
        env={**os.environ, **served.environ},
    )
    os.close(far_end)
    screen, has_answered, deadline = "", False, time.monotonic() + WAIT_S
    # Linux answers EIO, not EOF, once the other end has closed.
    with contextlib.suppress(OSError):
        while select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))[0]:
            screen += os.read(terminal, 65536).decode(errors="replace")
            if QUESTION in screen and not has_answered:
                has_answered = True
                if answer == CTRL_C:
                    process.send_signal(signal.SIGINT)
                else:
                    os.write(terminal, answer.encode())
    stdout, _ = process.communicate(timeout=WAIT_S)
    os.close(terminal)
    return process.returncode, stdout, screen


@pytest.mark.parametrize(
    ("answer", "status", "stdout", "tasks"),
    [
        pytest.param("y\n", 0, b"out.mp4\n", 2, id="yes"),
        pytest.param("n\n", 2, b"", 0, id="no"),
        pytest.param("\n", 2, b"", 0, id="enter-is-no"),
        pytest.param("\x04", 2, b"", 0, id="end-of-input-is-no"),
        pytest.param(CTRL_C, 130, b"", 0, id="ctrl-c"),
    ],
)
def test_nothing_is_sent_without_a_yes(
    served: CommandLine,
    service: RunningSandbox,
    answer: str,
    *,
    status: int,
    stdout: bytes,
    tasks: int,
) -> None:
    make_clip(served.folder / "long.mp4", seconds=12)

    ended = answered(served, answer)

    _, count = service.store.tasks(now=0.0, status=None, model=None, limit=10, offset=0)
    assert ended[:2] == (status, stdout), ended[2]
    assert "2 pieces of 6.0 s" in ended[2]
    assert count == tasks
