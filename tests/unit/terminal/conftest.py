"""Streams that record what is written, a simulated terminal, and a clock that tests advance."""

import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest
from rich.cells import get_character_cell_size

from omniedit.models import Record, SavedFile, Task, TaskError
from omniedit.system import System
from omniedit.terminal.printer import OutputMode, Printer, ProgressMode
from tests.systems import linux

NOW = 1_757_169_743.0
LINUX = linux()  # on which every terminal supports escapes
TASK_ID = "task-unified-1757156493-a1b2c3d4"


@dataclass
class FakeClock:
    """A clock that stands still until it is advanced."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Stream(io.TextIOWrapper):
    """A terminal or a pipe that records the bytes written to it."""

    def __init__(
        self, *, is_terminal: bool = False, encoding: str = "utf-8", descriptor: int | None = None
    ) -> None:
        self.bytes = io.BytesIO()
        self._is_terminal = is_terminal
        self._descriptor = descriptor
        super().__init__(self.bytes, encoding=encoding, errors="strict", newline="")

    def isatty(self) -> bool:
        return self._is_terminal

    def fileno(self) -> int:
        return super().fileno() if self._descriptor is None else self._descriptor

    @property
    def text(self) -> str:
        return self.bytes.getvalue().decode(self.encoding)

    @property
    def content(self) -> bytes:
        return self.bytes.getvalue()


class BrokenStream(Stream):
    """A stream whose writes fail, as with a closed pipe or a full disk."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error

    def write(self, text: str, /) -> int:
        raise self.error


@dataclass
class Screen:
    """A terminal of a given width that supports the sequences used by bars."""

    width: int
    lines: list[list[str]] = field(default_factory=lambda: [[]])
    row: int = 0
    column: int = 0
    is_cursor_shown: bool = True
    has_wrapped: bool = False

    def feed(self, text: str) -> "Screen":
        for piece in re.findall(r"\x1b\[[?0-9;]*[A-Za-z]|[^\x1b]", text):
            if len(piece) == 1:
                self._put(piece)
            else:
                self._obey(piece)
        return self

    @property
    def shown(self) -> list[str]:
        return [text for line in self.lines if (text := "".join(line).rstrip())]

    def _put(self, character: str) -> None:
        if character == "\r":
            self.column = 0
        elif character == "\n":
            self._next_line()
        else:
            size = get_character_cell_size(character)
            if self.column + size > self.width:
                self.has_wrapped = True
                self._next_line()
            line = self.lines[self.row]
            line.extend(" " * (self.column + size - len(line)))
            line[self.column : self.column + size] = [character, *([""] * (size - 1))]
            self.column += size

    def _next_line(self) -> None:
        self.row = self.row + 1
        self.column = 0
        if self.row == len(self.lines):
            self.lines.append([])

    def _obey(self, sequence: str) -> None:
        match sequence[-1], sequence[2:-1]:
            case "K", "2":
                self.lines[self.row] = []
            case "A", rows:
                self.row = max(0, self.row - int(rows or 1))
            case ("h" | "l") as final, "?25":
                self.is_cursor_shown = final == "h"
            case "m", _:
                pass
            case _:
                pytest.fail(f"the screen does not know {sequence!r}")


MakePrinter = Callable[..., Printer]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def stdout() -> Stream:
    return Stream()


@pytest.fixture
def stderr() -> Stream:
    return Stream()


@pytest.fixture
def terminal() -> Stream:
    return Stream(is_terminal=True)


@pytest.fixture
def make_stream() -> type[Stream]:
    return Stream


@pytest.fixture
def make_broken() -> type[BrokenStream]:
    return BrokenStream


@pytest.fixture
def make_screen() -> type[Screen]:
    return Screen


@pytest.fixture
def make_printer(stdout: Stream, stderr: Stream, clock: FakeClock) -> MakePrinter:
    def make(
        *,
        out: Stream | None = stdout,
        err: Stream | None = stderr,
        environ: Mapping[str, str] | None = None,
        mode: OutputMode = OutputMode.TEXT,
        quiet: bool = False,
        progress: ProgressMode = ProgressMode.AUTO,
        verbose: bool = False,
        system: System = LINUX,
    ) -> Printer:
        return Printer(
            stdout=out,
            stderr=err,
            environ={"TERM": "xterm-256color", "COLUMNS": "100"} if environ is None else environ,
            mode=mode,
            quiet=quiet,
            progress=progress,
            verbose=verbose,
            clock=clock,
            system=system,
        )

    return make


@pytest.fixture
def make_task() -> Callable[..., Task]:
    def make(status: str = "processing", *, task_id: str = TASK_ID, **fields: object) -> Task:
        return Task(task_id=task_id, status=status, **fields)  # type: ignore[arg-type]  # a test's

    return make


@pytest.fixture
def make_record() -> Callable[..., Record]:
    def make(
        status: str = "completed",
        *,
        task_id: str | None = TASK_ID,
        progress: int | None = None,
        link_left_s: float | None = None,
        saved: str | None = None,
        error: TaskError | None = None,
        prompt: str | None = "make it dusk",
        is_result_gone: bool = False,
    ) -> Record:
        completed_after = None if link_left_s is None else NOW + link_left_s - 86400
        task = task_id and Task(
            task_id=task_id,
            status=status,
            progress=progress,
            created_at=NOW - 90 if completed_after is None else None,
            error=error,
        )
        return Record(
            request_id="oe-7f3a",
            task=task or None,
            status=status,
            created_at=NOW - 95,
            video="https://example.com/clip.mp4",
            prompt=prompt,
            error=None if task_id else error,
            saved=(SavedFile(path=saved, size_bytes=7, sha256="00"),) if saved else (),
            completed_after=completed_after,
            is_result_gone=is_result_gone,
        )

    return make
