"""The whole command line without POSIX, on a simulation of Windows."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

import omniedit
from omniedit.sandbox.clips import BUNDLED_CLIP
from tests.commandline import Ended
from tests.e2e.test_contract_equipment import CLIP, KEY, NOW

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(sys.platform == "win32", reason="on Windows every other test covers this"),
]

AS_WINDOWS: Final = Path(__file__).with_name("as_windows.py")
PACKAGE: Final = Path(omniedit.__file__).parent
PLATFORM_CHECK: Final = re.compile(
    r"sys\.platform|\bos\.name\b|^\s*(import|from) (fcntl|grp|msvcrt|pwd|resource|termios|winreg)\b",
    re.MULTILINE,
)

Run = Callable[..., Ended]


@pytest.fixture(scope="module")
def server() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, AS_WINDOWS, "--serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        yield server


@pytest.fixture
def run(folder: Path, tmp_path: Path, server: subprocess.Popen[str]) -> Run:
    (folder / "clip.mp4").write_bytes(BUNDLED_CLIP.read_bytes())
    streams = [tmp_path / name for name in ("stdin", "stdout", "stderr")]

    def run(*argv: str, stdin: str = "", **environ: str) -> Ended:
        for path in streams:
            path.write_bytes(stdin.encode() if path.name == "stdin" else b"")
        call = {
            "argv": argv,
            "folder": str(folder),
            "environ": {**os.environ, **environ},
            "streams": [*map(str, streams)],
        }
        assert server.stdin
        assert server.stdout
        print(json.dumps(call), file=server.stdin, flush=True)
        status = int(server.stdout.readline())
        stdout, stderr = (path.read_bytes().decode("cp1252") for path in streams[1:])
        assert "Traceback" not in stderr, stderr
        return Ended(status, stdout, stderr)

    return run


def test_every_module_imports_without_posix() -> None:
    parts = [
        path.relative_to(PACKAGE.parent).with_suffix("").parts for path in PACKAGE.rglob("*.py")
    ]
    names = [".".join(part for part in names if part != "__init__") for names in parts]

    ended = subprocess.run(
        [sys.executable, AS_WINDOWS, "--import", *{*names} - {"omniedit.__main__"}],
        capture_output=True,
        timeout=60,
        check=False,
    )

    assert (ended.returncode, ended.stderr) == (0, b"")
    assert len(names) > 100


def test_only_the_system_package_checks_the_platform() -> None:
    checking = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if PLATFORM_CHECK.search(path.read_text("utf-8"))
    }

    assert {name for name in checking if not name.startswith("system/")} == {
        "cli/completion/__init__.py",  # it must start too fast to import `system`
    }


def test_a_repeated_edit_is_made_once_and_saved(run: Run, folder: Path) -> None:
    edit = ("--sandbox", "edit", CLIP, f"wärmer {NOW} [sandbox:cut]", "-o", "café.mp4")

    first, again = run(*edit), run(*edit)

    assert (first.status, first.stdout) == (0, "café.mp4\n"), first
    assert (again.status, again.stdout) == (0, "café.mp4\n"), again
    assert "already here" in again.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["café.mp4", "clip.mp4"]
    assert (folder / "café.mp4").read_bytes() == BUNDLED_CLIP.read_bytes()


def test_a_cut_local_clip_is_uploaded_and_force_replaces_the_output(run: Run, folder: Path) -> None:
    (folder / "out.mp4").write_bytes(b"old")

    ended = run(
        *("--sandbox", "edit", "clip.mp4", f"warmer {NOW}", "--start", "1", "-o", "out.mp4"),
        "--force",
    )

    assert (ended.status, ended.stdout) == (0, "out.mp4\n"), ended
    assert (folder / "out.mp4").read_bytes()[4:8] == b"ftyp"
    assert sorted(path.name for path in folder.iterdir()) == ["clip.mp4", "out.mp4"]


def test_every_commands_json_document_is_one_line(run: Run) -> None:
    commands = (
        ("submit", "clip.mp4", f"wärmer {NOW}"),
        ("wait", "-d", "out/"),
        ("list",),
        ("doctor",),
        ("config", "show"),
        ("probe", "clip.mp4"),
        ("sandbox", "reset"),
    )

    for command in commands:
        ended = run("--sandbox", *command, "--json")

        assert ended.status == 0, ended
        assert ended.stdout.count("\n") == 1
        assert "\r" not in ended.stdout
        assert json.loads(ended.stdout)["ok"] is True


def test_a_batch_from_stdin_can_be_repeated(run: Run, folder: Path) -> None:
    lines = [{"video": f"https://example.com/{n}.mp4", "prompt": f"x {NOW}"} for n in range(6)]
    manifest = "\n".join(json.dumps(line) for line in lines)

    first = run("--sandbox", "batch", "-", "--dir", "out", stdin=manifest)
    again = run("--sandbox", "batch", "-", "--dir", "out", stdin=manifest)

    assert (first.status, again.status) == (0, 0), (first, again)
    assert sorted(first.stdout.splitlines()) == sorted(again.stdout.splitlines())
    assert len([*(folder / "out").iterdir()]) == 6


def test_a_device_name_is_refused_as_output(run: Run) -> None:
    ended = run("--sandbox", "edit", CLIP, "x", "-o", "nul.mp4")

    assert ended.status == 10, ended
    assert "nul.mp4 is the name of a device on Windows" in ended.stderr


def test_a_saved_key_can_be_replaced(run: Run) -> None:
    first = run("config", "set-key", stdin=f"{KEY}\r\n")
    second = run("config", "set-key", stdin=f"{KEY[:-1]}z\r\n")

    assert (first.status, second.status) == (0, 0), (first, second)
    assert "sk-evo-…ghiz" in run("config", "show").stdout


def test_a_damaged_journal_is_set_aside(run: Run, home: Path) -> None:
    run("--sandbox", "submit", CLIP, f"x {NOW}")
    journal = home / "state/omniedit/sandbox/journal.db"
    journal.write_bytes(b"no database" * 1000)

    ended = run("--sandbox", "submit", CLIP, f"y {NOW}")

    assert ended.status == 0, ended
    assert "was set aside as" in ended.stderr


@pytest.mark.parametrize(
    ("argv", "announcement", "status", "error"),
    [
        pytest.param(("sandbox", "serve"), "OMNIEDIT_BASE_URL", 130, "", id="sandbox-server"),
        pytest.param(
            ("--sandbox", "edit", CLIP, "x [sandbox:stall]"),
            "submitted",
            130,
            "error: interrupted",
            id="waiting-edit",
        ),
    ],
)
def test_ctrl_c_ends_a_waiting_command(
    folder: Path, argv: tuple[str, ...], announcement: str, status: int, error: str
) -> None:
    with subprocess.Popen(
        [sys.executable, AS_WINDOWS, *argv],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=folder,
        encoding="cp1252",
    ) as running:
        try:
            assert running.stderr
            assert any(announcement in line for line in running.stderr)

            running.send_signal(signal.SIGINT)

            _, stderr = running.communicate(timeout=20)
        finally:
            running.kill()
    assert running.returncode == status
    assert error in stderr
    assert bool(error) == ("error" in stderr)
    assert "Traceback" not in stderr
