import io
import time
from pathlib import Path

import pytest

from omniedit.cli.context import Context
from omniedit.cli.main import remind
from omniedit.cli.signals import Signals
from omniedit.journal import Journal
from omniedit.models import SavedFile, Task
from omniedit.terminal.printer import Printer

HERE = "https://api.evolink.ai"
ELSEWHERE = "https://api.example.com"
HOUR_S = 3600.0


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def reminded(folder: Path, *, command: str = "status", sandbox: bool = False) -> str:
    """Return what a successful command prints on a terminal."""
    stderr = Terminal()
    context = Context(
        environ={"OMNIEDIT_STATE_DIR": str(folder), "OMNIEDIT_API_KEY": "sk-evo-0123456789"},
        printer=Printer(
            stdout=None, stderr=stderr, environ={"NO_COLOR": "1"}, is_sandbox_flag=sandbox
        ),
        signals=Signals(lambda: None),
        command=command,
        is_sandbox_flag=sandbox,
    )
    remind(context)
    return stderr.getvalue()


def finished(folder: Path, *, ago_s: float, origin: str = HERE) -> None:
    """Record a task that finished some time ago and was never saved."""
    made = Task(
        task_id=f"task-unified-{ago_s:.0f}",
        status="completed",
        created_at=time.time() - ago_s,
        result_urls=("https://example.com/1.mp4",),
    )
    with Journal(folder) as journal:
        journal.record_adopted(made, origin=origin)


@pytest.mark.parametrize("command", ["submit", "status", "wait", "edit", "usage", "download"])
def test_results_that_expire_soon_are_named_with_what_saves_them(
    tmp_path: Path, command: str
) -> None:
    finished(tmp_path, ago_s=22.5 * HOUR_S)
    finished(tmp_path, ago_s=23.5 * HOUR_S)

    said = reminded(tmp_path, command=command)

    assert said.startswith("note: 2 unsaved results expire in 29m")
    assert said.endswith(": `omniedit download --all`\n")


@pytest.mark.parametrize(
    ("ago_s", "origin"),
    [
        pytest.param(25 * HOUR_S, HERE, id="dead-already"),
        pytest.param(20 * HOUR_S, HERE, id="alive-for-long"),
        pytest.param(23 * HOUR_S, ELSEWHERE, id="of-another-service-that-download-all-passes-over"),
    ],
)
def test_what_download_all_need_not_or_would_not_save_is_not_told(
    tmp_path: Path, ago_s: float, origin: str
) -> None:
    finished(tmp_path, ago_s=ago_s, origin=origin)

    assert reminded(tmp_path) == ""


def test_what_is_saved_is_not_told(tmp_path: Path) -> None:
    finished(tmp_path, ago_s=23 * HOUR_S)
    saved = tmp_path / "out.mp4"
    saved.write_bytes(b"video")
    with Journal(tmp_path) as journal:
        file = SavedFile(path=str(saved), size_bytes=5, sha256="00")
        journal.record_saved(f"task-unified-{23 * HOUR_S:.0f}", file)

    assert reminded(tmp_path) == ""


def test_the_sandbox_s_results_are_saved_with_the_flag(tmp_path: Path) -> None:
    finished(tmp_path / "sandbox", ago_s=23 * HOUR_S, origin="sandbox")

    assert reminded(tmp_path, sandbox=True).endswith("`omniedit --sandbox download --all`\n")
