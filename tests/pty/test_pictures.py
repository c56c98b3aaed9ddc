"""`compare --show` draws on terminals that report support for pictures."""

import contextlib
import os
import re
import select
import struct
import subprocess
import time

import pytest

from tests.commandline import COMMAND, CommandLine
from tests.unit.media.clips import make_clip

fcntl = pytest.importorskip("fcntl", reason="Windows has no pseudo-terminals")
termios = pytest.importorskip("termios", reason="Windows has no pseudo-terminals")

pytestmark = pytest.mark.pty

WAIT_S = 30.0
QUERY = re.compile(rb"\x1b\[c|\x1b_G[^\x1b]*a=q[^\x1b]*\x1b\\|\x1b\[16t")


def run_on_terminal(
    served: CommandLine, answers: dict[bytes, bytes], *, columns: int = 100
) -> tuple[int, bytes]:
    """Return the exit status and screen of a call on a terminal that answers these queries."""
    terminal, far_end = os.openpty()
    fcntl.ioctl(far_end, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen(
        [COMMAND, "compare", "clip.mp4", "night.mp4", "-o", "sheet.png", "--show"],
        stdin=far_end,
        stdout=far_end,
        stderr=far_end,
        cwd=served.folder,
        env={**os.environ, **served.environ},
    )
    os.close(far_end)
    screen = b""
    seen = 0
    deadline = time.monotonic() + WAIT_S
    # Linux answers EIO, not EOF, once the other end has closed.
    with contextlib.suppress(OSError):
        while select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))[0]:
            screen += os.read(terminal, 65536)
            for query in QUERY.finditer(screen, seen):
                seen = query.end()
                for question, answer in answers.items():
                    if question in query.group():
                        os.write(terminal, answer)
    os.close(terminal)
    return process.wait(WAIT_S), screen


@pytest.fixture
def clips(served: CommandLine) -> CommandLine:
    for name in ("clip.mp4", "night.mp4"):
        make_clip(served.folder / name, seconds=1)
    return served


@pytest.mark.parametrize(
    ("answers", "drawn"),
    [
        pytest.param({b"\x1b[c": b"\x1b[?62;4c"}, b"\x1bP", id="sixels"),
        pytest.param(
            {b"\x1b[c": b"\x1b[?62c", b"a=q": b"\x1b_Gi=1;OK\x1b\\"}, b"f=100", id="kitty"
        ),
    ],
)
def test_the_sheet_is_drawn_below_its_path(
    clips: CommandLine, answers: dict[bytes, bytes], drawn: bytes
) -> None:
    status, screen = run_on_terminal(clips, answers)

    assert status == 0, screen
    path, _, picture = screen.partition(b"sheet.png\r\n")
    assert drawn in picture, screen[:2000]
    assert drawn not in path
    assert (clips.folder / "sheet.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("answers", "columns"),
    [
        pytest.param({}, 100, id="no-reply"),
        pytest.param({b"\x1b[c": b"\x1b[?62;22c"}, 100, id="no-picture-support"),
        pytest.param({b"\x1b[c": b"\x1b[?62;4c"}, 0, id="unknown-width"),
    ],
)
def test_a_terminal_without_picture_support_gets_only_the_path(
    clips: CommandLine, answers: dict[bytes, bytes], columns: int
) -> None:
    status, screen = run_on_terminal(clips, answers, columns=columns)

    assert status == 0, screen
    assert b"sheet.png\r\n" in screen
    assert b"cannot show pictures" in screen
    assert b"Traceback" not in screen


def test_show_without_a_terminal_is_refused(clips: CommandLine) -> None:
    ended = clips("compare", "clip.mp4", "night.mp4", "--show")

    assert (ended.status, ended.stdout) == (2, "")
    assert not [*clips.folder.glob("*.html")]
