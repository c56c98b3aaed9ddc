"""The reminder of unsaved results that are about to expire, and of a forgotten `--sandbox`."""

import io
import shlex
import time
from pathlib import Path

import pytest

from omniedit.cli import main
from omniedit.cli.context import Context
from omniedit.cli.main import remind
from omniedit.journal import Journal
from omniedit.models import SavedFile, Task
from omniedit.terminal.printer import Printer

EVOLINK = "https://api.evolink.ai"
OTHER_SERVICE = "https://api.example.com"
HOUR_S = 3600.0


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def reminder(folder: Path, *, command: str = "status", sandbox: bool = False) -> str:
    """Return the reminder that a successful command prints on a terminal."""
    stderr = Terminal()
    context = Context({"OMNIEDIT_STATE_DIR": str(folder), "OMNIEDIT_API_KEY": "sk-evo-0123456789"})
    context.command = command
    context.options = {"sandbox": True} if sandbox else {}
    context.printer = Printer(
        stdout=None, stderr=stderr, environ={"NO_COLOR": "1"}, is_sandbox_flag=sandbox
    )
    remind(context)
    return stderr.getvalue()


def record_finished(folder: Path, *, ago_s: float, origin: str = EVOLINK) -> None:
    """Record a task that finished some time ago and was never saved."""
    task = Task(
        task_id=f"task-unified-{ago_s:.0f}",
        status="completed",
        created_at=time.time() - ago_s,
        result_urls=("https://example.com/1.mp4",),
    )
    with Journal(folder) as journal:
        journal.record_adopted(task, origin=origin)


@pytest.mark.parametrize("command", ["submit", "status", "wait", "edit", "usage", "download"])
def test_results_about_to_expire_get_a_reminder_to_download_all(
    tmp_path: Path, command: str
) -> None:
    record_finished(tmp_path, ago_s=22.5 * HOUR_S)
    record_finished(tmp_path, ago_s=23.5 * HOUR_S)

    note = reminder(tmp_path, command=command)

    assert note.startswith("note: 2 unsaved results expire in 29m")
    assert note.endswith(": `omniedit download --all`\n")


@pytest.mark.parametrize(
    ("ago_s", "origin"),
    [
        pytest.param(25 * HOUR_S, EVOLINK, id="already-expired"),
        pytest.param(20 * HOUR_S, EVOLINK, id="valid-for-hours"),
        pytest.param(23 * HOUR_S, OTHER_SERVICE, id="at-another-service"),
    ],
)
def test_other_unsaved_results_get_no_reminder(tmp_path: Path, ago_s: float, origin: str) -> None:
    record_finished(tmp_path, ago_s=ago_s, origin=origin)

    assert reminder(tmp_path) == ""


def test_a_saved_result_gets_no_reminder(tmp_path: Path) -> None:
    record_finished(tmp_path, ago_s=23 * HOUR_S)
    saved = tmp_path / "out.mp4"
    saved.write_bytes(b"video")
    with Journal(tmp_path) as journal:
        file = SavedFile(path=str(saved), size_bytes=5, sha256="00")
        journal.record_saved(f"task-unified-{23 * HOUR_S:.0f}", file)

    assert reminder(tmp_path) == ""


def test_the_sandboxs_reminder_keeps_the_sandbox_option(tmp_path: Path) -> None:
    record_finished(tmp_path / "sandbox", ago_s=23 * HOUR_S, origin="sandbox")

    assert reminder(tmp_path, sandbox=True).endswith("`omniedit --sandbox download --all`\n")


FORGOTTEN = [
    "wait",
    "status last",
    "download -o 'my results/'",
    "download --all",
    "usage",
    "compare a.mp4",
    "list",
    "list --unsaved",
]


def stderr_of(line: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    main.run(shlex.split(line), {"OMNIEDIT_STATE_DIR": str(folder)})
    return capsys.readouterr().err.splitlines()


@pytest.mark.parametrize("line", FORGOTTEN)
def test_a_forgotten_sandbox_option_is_noted(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, line: str
) -> None:
    record_finished(tmp_path / "sandbox", ago_s=HOUR_S, origin="sandbox")

    *others, noted = stderr_of(line, tmp_path, capsys)

    assert noted == f"note: no edit is known here; `omniedit --sandbox {line}` asks the sandbox"
    assert not [other for other in others if other.startswith("note:")]


@pytest.mark.parametrize("line", [*FORGOTTEN, "list --state failed", "wait --no-such-option"])
@pytest.mark.parametrize("has_sandbox", [True, False])
def test_the_sandbox_is_not_noted_without_need(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, line: str, *, has_sandbox: bool
) -> None:
    if has_sandbox:
        record_finished(tmp_path / "sandbox", ago_s=HOUR_S, origin="sandbox")
        record_finished(tmp_path, ago_s=HOUR_S, origin="https://example.com")

    assert "sandbox" not in "".join(stderr_of(line, tmp_path, capsys))
