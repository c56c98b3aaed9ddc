"""The progress bar on a real pseudo-terminal, while stdout is a pipe."""

import errno
import os
import re
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

fcntl = pytest.importorskip("fcntl", reason="Windows has no pseudo-terminals")
termios = pytest.importorskip("termios", reason="Windows has no pseudo-terminals")

pytestmark = pytest.mark.pty

_DEADLINE_S = 20.0
_SEQUENCE = re.compile(r"\x1b\[[?0-9;]*[A-Za-z]")
_DRIVER = """
import os, sys, time
from omniedit.cli.signals import Signals
from omniedit.errors import Interrupted
from omniedit.events import Progressed, Saved
from omniedit.models import Record, SavedFile, Task
from omniedit.terminal.printer import Printer
from omniedit.terminal.progress import watch
from omniedit.terminal.board import Board

task = Task(task_id="task-unified-1757156493-a1b2c3d4", status="processing", progress=47)
record = Record(request_id="oe-1", task=task, status=task.status, created_at=0.0)
printer = Printer(stdout=sys.stdout, stderr=sys.stderr, environ=os.environ)
try:
    board = Board()
    with (
        Signals(lambda: None).handled(on_suspend=printer.suspend),
        watch(printer, board, sandbox=False) as observe,
    ):
        def report(event):
            board.update(event)
            observe(event)
        report(Progressed(record=record, elapsed_s=28, remaining_s=31))
        printer.warn("the clip's host is slow")
        sys.stdin.readline()
        file = SavedFile(path="/x/out.mp4", size_bytes=2_134_000, sha256="00")
        report(Saved(task_id=task.task_id, file=file, shown_path="out.mp4"))
    printer.path("out.mp4")
except Interrupted:
    printer.error("interrupted; the task goes on", "`omniedit wait`")
    sys.exit(130)
"""


@dataclass
class Session:
    """A driver whose stderr is a terminal of 40 columns."""

    process: "subprocess.Popen[bytes]"
    terminal: int
    seen: str = ""
    _pieces: list[bytes] = field(default_factory=list)

    def read_until(self, pattern: str) -> None:
        deadline = time.monotonic() + _DEADLINE_S
        while not re.search(pattern, self.seen):
            assert time.monotonic() < deadline, self.seen
            if not self._read():
                pytest.fail(f"{pattern!r} never came: {self.seen!r}")

    def finish(self) -> bytes:
        out, _ = self.process.communicate(timeout=_DEADLINE_S)
        while self._read():
            pass
        return out

    def _read(self) -> bool:
        if not select.select([self.terminal], [], [], _DEADLINE_S)[0]:
            return False
        try:
            self._pieces.append(os.read(self.terminal, 65536))
        except OSError as error:
            # Linux answers EIO, not EOF, once the other end has closed.
            if error.errno != errno.EIO:
                raise
            return False
        self.seen = b"".join(self._pieces).decode(errors="ignore")
        return self._pieces[-1] != b""


@pytest.fixture
def session() -> Iterator[Session]:
    terminal, far_end = os.openpty()
    fcntl.ioctl(far_end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
    environ = {name: value for name, value in os.environ.items() if name not in _UNWANTED}
    process = subprocess.Popen(
        [sys.executable, "-c", _DRIVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=far_end,
        env=environ | {"TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"},
        process_group=0,  # a job of its own, as in a shell
    )
    os.close(far_end)
    yield Session(process, terminal)
    process.kill()
    process.communicate()
    os.close(terminal)


_UNWANTED = frozenset({"NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "COLORTERM"})


def _frames(seen: str) -> list[str]:
    """Return what was written to each line of the terminal, without colour."""
    return [_SEQUENCE.sub("", line) for line in re.split(r"[\r\n]+|\x1b\[2K", seen)]


def test_the_bar_is_on_the_terminal_and_the_result_in_the_pipe(session: Session) -> None:
    session.read_until("[2-4][0-9]%")
    assert session.process.stdin is not None
    session.process.stdin.write(b"\n")
    session.process.stdin.flush()

    out = session.finish()

    assert (out, session.process.returncode) == (b"out.mp4\n", 0)
    shown = _SEQUENCE.sub("", session.seen)
    assert "✓ saved out.mp4\r\n" in shown
    assert "  2.1 MB · 28 s · credits unknown\r\n" in shown


def test_at_40_columns_no_line_wraps(session: Session) -> None:
    session.read_until("[2-4][0-9]%")
    session.process.send_signal(signal.SIGINT)
    session.finish()

    frames = _frames(session.seen)

    assert len(frames) > 5
    assert max(map(len, frames[: frames.index("error: interrupted; the task goes on")])) <= 40


def test_an_interrupt_restores_the_cursor_and_clears_the_bar(session: Session) -> None:
    session.read_until("[2-4][0-9]%")
    session.process.send_signal(signal.SIGINT)

    out = session.finish()

    assert (out, session.process.returncode) == (b"", 130)
    bar, _, after = session.seen.rpartition("\x1b[?25h")
    assert "\x1b[?25l" in bar
    # The bar's line is cleared, and what follows begins there.
    assert bar.endswith("\r\x1b[2K")
    assert _SEQUENCE.sub("", after).strip("\r") == (
        "error: interrupted; the task goes on\r\nhint: `omniedit wait`\r\n"
    )


def test_a_stopped_job_leaves_the_terminal_clean(session: Session) -> None:
    session.read_until("[2-4][0-9]%")
    session.process.send_signal(signal.SIGTSTP)
    _, status = os.waitpid(session.process.pid, os.WUNTRACED)
    session.read_until(r"\x1b\[\?25h")
    stopped = session.seen
    session.process.send_signal(signal.SIGCONT)
    session.read_until(r"\x1b\[\?25h[^h]*\x1b\[\?25l[^h]*[2-4][0-9]%")
    session.process.communicate(b"\n", timeout=_DEADLINE_S)

    assert os.WIFSTOPPED(status)
    # The bar's line is empty, and the cursor at its beginning.
    assert stopped.endswith("\r\x1b[2K\x1b[?25h\r")
    assert session.process.returncode == 0


_SHELL = """
import fcntl, os, signal, subprocess, sys, termios

fcntl.ioctl(2, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
job = subprocess.Popen(
    [sys.executable, "-c", sys.argv[1]],
    stdin=subprocess.PIPE,
    process_group=0,
    preexec_fn=lambda: os.tcsetpgrp(2, os.getpid()),
)
sys.stdin.readline()
os.kill(job.pid, signal.SIGTSTP)
os.waitpid(job.pid, os.WUNTRACED)
os.tcsetpgrp(2, os.getpgrp())
os.write(2, b"$ bg\\n")
os.kill(job.pid, signal.SIGCONT)
job.communicate(b"\\n")
sys.exit(job.returncode)
"""


def test_a_background_job_draws_no_bar() -> None:
    terminal, far_end = os.openpty()
    fcntl.ioctl(far_end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
    environ = {name: value for name, value in os.environ.items() if name not in _UNWANTED}
    process = subprocess.Popen(
        [sys.executable, "-c", _SHELL, _DRIVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=far_end,
        env=environ | {"TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"},
        start_new_session=True,
    )
    os.close(far_end)
    session = Session(process, terminal)
    try:
        session.read_until("[2-4][0-9]%")
        process.communicate(b"\n", timeout=_DEADLINE_S)
        session.read_until("saved out.mp4")
    finally:
        process.kill()
        process.wait()
        os.close(terminal)

    drawn, _, after = session.seen.partition("$ bg")
    assert "\x1b[?25l" in drawn
    assert "\x1b[?25l" not in after
    assert "processing" not in after
    assert process.returncode == 0
