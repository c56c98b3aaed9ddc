"""A simulated user at a terminal: a shell, key presses, and the screen."""

import fcntl
import math
import os
import pty
import select
import struct
import sysconfig
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn, Self

from tests.recording.screen import COLUMNS, Frame, Screen

_LINES: Final = 24
_PROMPT: Final = "$ "
_ARROW_UP: Final = b"\x1b[A"
_DEADLINE_S: Final = 60.0
_SETTLED_S: Final = 0.02  # a single write may be read in several pieces
_FRAME_S: Final = 0.05
_KEYS_S: Final = 0.1
_KEYS_AT_ONCE: Final = 4
_THOUGHT_S: Final = 0.5
_LOOK_S: Final = 1.0
_LAST_LOOK_S: Final = 4.0


class Session:
    """A shell in an empty home with the environment of a plain terminal.

    Its time is real while a command runs; in between it simulates typing and reading. So two
    recordings hardly differ except in what was printed.

    Args:
        home: An empty folder.
    """

    def __init__(self, home: Path) -> None:
        self.frames: list[Frame] = []
        self.now_s = 0.0
        self._screen = Screen()
        self._line = ""
        self._shell, self._terminal = pty.fork()
        if self._shell == 0:
            _exec_shell(home)

    def __enter__(self) -> Self:
        self._read_until(_PROMPT)
        self._see(0.0)
        self.now_s = _THOUGHT_S
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._terminal)
        os.waitpid(self._shell, 0)

    def call(self, line: str) -> None:
        """Type a command line and wait for its end.

        Raises:
            RuntimeError: If the command fails.
        """
        for start in range(0, len(line), _KEYS_AT_ONCE):
            end = start + _KEYS_AT_ONCE
            self._press(line[start:end].encode(), _PROMPT + line[:end])
        self._line = line
        self._enter()

    def repeat(self) -> None:
        """Recall the previous line from the shell's history, run it, and wait for its end.

        Raises:
            RuntimeError: If the command fails.
        """
        self._press(_ARROW_UP, _PROMPT + self._line)
        self._enter()

    def rest(self) -> None:
        """Leave time to read the last screen."""
        self.now_s += _LAST_LOOK_S

    def _press(self, keys: bytes, shown: str) -> None:
        os.write(self._terminal, keys)
        self._read_until(shown)
        self.now_s += _KEYS_S
        self._see(self.now_s)

    def _enter(self) -> None:
        began_s = self.now_s + _THOUGHT_S - time.monotonic()
        os.write(self._terminal, b"\r")
        self._read_until(_PROMPT, lambda: self._see(began_s + time.monotonic()))
        self.now_s = math.ceil(self.frames[-1].start_s) + _LOOK_S

    def _read_until(self, shown: str, look: Callable[[], None] = lambda: None) -> None:
        """Read until the cursor's line is exactly `shown`; call `look` for every screen."""
        while self._screen.cursor_line != shown:
            timeout_s = _DEADLINE_S
            while select.select([self._terminal], [], [], timeout_s)[0]:
                self._screen.write(self._read())
                timeout_s = _SETTLED_S
            if timeout_s == _DEADLINE_S:
                raise RuntimeError(f"{shown!r} never came after {self._screen.cursor_line!r}")
            look()

    def _read(self) -> bytes:
        try:
            written = os.read(self._terminal, 65536)
        except OSError:  # once the shell has ended, Linux reports EIO instead of end of file
            written = b""
        if not written:
            raise RuntimeError(f"`{self._line}` failed")
        return written

    def _see(self, at_s: float) -> None:
        frame = Frame(round(at_s / _FRAME_S) * _FRAME_S, self._screen.lines())
        if self.frames and self.frames[-1].start_s == frame.start_s:
            self.frames.pop()
        self.frames.append(frame)


def _exec_shell(home: Path) -> NoReturn:
    environ = {
        "HOME": str(home),
        "PATH": os.pathsep.join([sysconfig.get_path("scripts"), os.defpath]),
        "TERM": "xterm-256color",
        "LC_ALL": "C.UTF-8",
        "PS1": rf"\[\e[32m\]{_PROMPT.strip()}\[\e[0m\] ",
        "PROMPT_COMMAND": "[ $? -eq 0 ] || exit",  # end the session if a command fails
        "HISTFILE": os.devnull,
        "INPUTRC": os.devnull,
        "BASH_SILENCE_DEPRECATION_WARNING": "1",  # macOS recommends another shell
    }
    try:
        os.chdir(home)
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", _LINES, COLUMNS, 0, 0))
        os.execvpe("bash", ["bash", "--noprofile", "--norc", "-i"], environ)  # noqa: S606, S607 - any bash will do
    finally:
        os._exit(127)
