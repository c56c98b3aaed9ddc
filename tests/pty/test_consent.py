"""The questions before a paid split or batch, answered on a real pseudo-terminal."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from omniedit.sandbox.server import RunningSandbox
from tests.commandline import CommandLine
from tests.e2e.equipment import web_server
from tests.unit.media.clips import make_clip

pytestmark = [
    pytest.mark.pty,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals"),
]

QUESTION = "send 2 pieces for about 76.3 credits ($1.12)? [y/N]"
PROMPT = "make it night [sandbox:seconds=0]"
WAIT_S = 20.0
CTRL_C = "\x03"
NOTHING = "nothing was submitted by this call; run the same command again\r\n"


@pytest.fixture
def served(served: CommandLine, commands: Path) -> CommandLine:
    return replace(served, command=commands / "omniedit")


def run_and_answer(
    served: CommandLine,
    answer: str,
    *,
    video: str = "long.mp4",
    delay_s: float = 0.0,
    argv: Sequence[str] = (),
    question: str = QUESTION,
) -> tuple[int, bytes, str]:
    """Answer a call's question after a delay; return its exit status, stdout and screen."""
    terminal, far_end = os.openpty()
    process = subprocess.Popen(
        [served.command, *(argv or ["edit", video, PROMPT, "--split", "-o", "out.mp4"])],
        stdin=far_end,
        stdout=subprocess.PIPE,
        stderr=far_end,
        cwd=served.folder,
        env={**os.environ, **served.environ},
    )
    os.close(far_end)
    screen = ""
    has_answered = False
    deadline = time.monotonic() + WAIT_S
    # Linux answers EIO, not EOF, once the other end has closed.
    with contextlib.suppress(OSError):
        while select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))[0]:
            screen += os.read(terminal, 65536).decode(errors="replace")
            if question in screen and not has_answered:
                has_answered = True
                if select.select([terminal], [], [], delay_s)[0]:
                    screen += os.read(terminal, 65536).decode(errors="replace")
                if answer == CTRL_C:
                    process.send_signal(signal.SIGINT)
                else:
                    os.write(terminal, answer.encode(errors="surrogateescape"))
    stdout, _ = process.communicate(timeout=WAIT_S)
    os.close(terminal)
    return process.returncode, stdout, screen


@pytest.mark.parametrize(
    ("answer", "status", "stdout", "tasks"),
    [
        pytest.param("y\n", 0, b"out.mp4\n", 2, id="yes"),
        pytest.param("n\n", 2, b"", 0, id="no"),
        pytest.param("\n", 2, b"", 0, id="enter-is-no"),
        pytest.param("\udcff\n", 2, b"", 0, id="invalid-utf-8-is-no"),
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

    ended = run_and_answer(served, answer)

    _, count = service.store.tasks(now=0.0, status=None, model=None, limit=10, offset=0)
    assert ended[:2] == (status, stdout), ended[2]
    assert "2 pieces of 6.0 s" in ended[2]
    assert ended[2].endswith(NOTHING) is (answer == CTRL_C), ended[2]
    assert count == tasks


def test_no_bar_is_drawn_over_the_question(served: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    make_clip(tmp_path / "web" / "long.mp4", seconds=12)

    with web_server(tmp_path / "web") as (url, _):
        status, _, screen = run_and_answer(served, "n\n", video=f"{url}/long.mp4", delay_s=0.5)

    assert status == 2, screen
    assert "downloading" in screen
    assert screen.partition(QUESTION)[2].lstrip().startswith("n\r\n"), screen


def test_end_of_input_at_the_question_ends_the_line(served: CommandLine) -> None:
    make_clip(served.folder / "long.mp4", seconds=12)

    _, _, screen = run_and_answer(served, "\x04")

    assert screen.partition(QUESTION)[2].startswith(" \r\n"), screen


@pytest.mark.parametrize(
    ("answer", "status", "tasks"),
    [
        pytest.param("y\n", 0, 3, id="yes"),
        pytest.param("n\n", 2, 1, id="no"),
        pytest.param(CTRL_C, 130, 1, id="ctrl-c"),
    ],
)
def test_a_batch_asks_before_paying_for_several_edits(
    served: CommandLine, service: RunningSandbox, answer: str, *, status: int, tasks: int
) -> None:
    (served.folder / "clips").mkdir()
    for seconds in (1, 2, 3):
        make_clip(served.folder / "clips" / f"{seconds}.mp4", seconds=seconds)
    served("edit", "clips/2.mp4", PROMPT)

    ended = run_and_answer(
        served,
        answer,
        argv=["batch", "clips", "--prompt", PROMPT],
        question="send 2 edits for about 25.4 credits ($0.37)? [y/N]",
    )

    _, count = service.store.tasks(now=0.0, status=None, model=None, limit=10, offset=0)
    assert ended[0] == status, ended[2]
    assert "3 edits: 1 known here, 2 to be paid, about 25.4 credits ($0.37)" in ended[2]
    assert ended[2].endswith(NOTHING) is (answer == CTRL_C), ended[2]
    assert count == tasks
