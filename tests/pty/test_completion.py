"""TAB completion in bash, zsh and fish, on a pseudo-terminal."""

import os
import re
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.commandline import COMMAND
from tests.journals import add_task

fcntl = pytest.importorskip("fcntl", reason="Windows has no pseudo-terminals")
termios = pytest.importorskip("termios", reason="Windows has no pseudo-terminals")

pytestmark = pytest.mark.pty

_DEADLINE_S = 30.0
_SCRIPTS = Path(__file__).parents[2] / "completions"
_SEQUENCE = re.compile(r"\x1b(\[[?>=0-9;]*[A-Za-z]|\][^\a]*\a|[=>()][0-9A-Za-z]?)")
_TASK = "task-unified-1757156493-a1b2c3d4"
_HOSTILE = "$(touch pwned) `touch pwned` ; touch pwned"
_ZSH_FUNCTIONS = f"fpath=('{_SCRIPTS}' $fpath); autoload -Uz compinit"
_SHELLS = {
    "bash": (
        ("bash", "--norc", "--noprofile", "-i"),
        (
            "bind 'set show-all-if-ambiguous on'; bind 'set enable-bracketed-paste off'",
            f"source '{_SCRIPTS}/omniedit.bash'",
        ),
    ),
    "zsh": (
        ("zsh", "-f", "-i"),
        (f"{_ZSH_FUNCTIONS}; compinit -C -d $ZSH_DUMP; PS1='$ '",),
    ),
    "fish": (
        ("fish", "--no-config", "-i"),
        (f"source '{_SCRIPTS}/omniedit.fish'", "function fish_prompt; echo '$ '; end"),
    ),
}
# Logs each call to a file; only completion of tasks reaches the real command.
_STAND_IN = f"""#!/bin/sh
echo "$*" >> "$CALLS"
[ "$1" != __complete ] || exec '{COMMAND}' "$@"
"""


@dataclass
class Shell:
    """A shell running on a terminal."""

    name: str
    folder: Path
    process: "subprocess.Popen[bytes]"
    terminal: int
    _pieces: list[bytes] = field(default_factory=list)

    @property
    def seen(self) -> str:
        """What the terminal shows, without colours and cursor movements."""
        return _SEQUENCE.sub("", b"".join(self._pieces).decode(errors="replace"))

    def type(self, keys: str) -> None:
        os.write(self.terminal, keys.encode())

    def read_until(self, pattern: str) -> None:
        deadline = time.monotonic() + _DEADLINE_S
        while not re.search(pattern, self.seen):
            assert time.monotonic() < deadline, (pattern, self.seen)
            self._read()

    def calls_after(self, keys: str) -> list[str]:
        """Press keys, then Return; return every call of the command so far."""
        self.type(keys)
        self._read()
        self.type("\recho do''ne\r")
        self.read_until(r"[\r\n]done")
        calls = self.folder.parent / "calls"
        return calls.read_text().splitlines() if calls.exists() else []

    def _read(self) -> None:
        if select.select([self.terminal], [], [], 1.0)[0]:
            self._pieces.append(os.read(self.terminal, 65536))


@pytest.fixture(scope="module")
def zsh_dump(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return zsh's completion dump, which takes a third of a second to build."""
    dump = tmp_path_factory.mktemp("zsh") / "dump"
    if shutil.which("zsh"):
        line = f"{_ZSH_FUNCTIONS}; compinit -u -d '{dump}'"
        subprocess.run(["zsh", "-f", "-c", line], check=True)  # noqa: S607 - as below
    return dump


@pytest.fixture(params=_SHELLS)
def shell(request: pytest.FixtureRequest, folder: Path, zsh_dump: Path) -> Iterator[Shell]:
    argv, preparations = _SHELLS[request.param]
    if shutil.which(argv[0]) is None:
        pytest.skip(f"{argv[0]} is not installed")
    binaries = folder.parent / "bin"
    binaries.mkdir()
    (binaries / "omniedit").write_text(_STAND_IN)
    (binaries / "omniedit").chmod(0o755)
    (folder / "clip.mp4").touch()
    (folder / "results").mkdir()
    terminal, far_end = os.openpty()
    fcntl.ioctl(far_end, termios.TIOCSWINSZ, b"\x28\0\x96\0\0\0\0\0")  # 40 lines, 150 columns
    process = subprocess.Popen(
        # The first terminal that a new session opens becomes its controlling terminal.
        ("/bin/sh", "-c", 'exec <"$0" >"$0" 2>&1 && exec "$@"', os.ttyname(far_end), *argv),
        cwd=folder,
        env={
            **os.environ,
            "PATH": f"{binaries}:{os.environ['PATH']}",
            "CALLS": str(folder.parent / "calls"),
            "ZSH_DUMP": str(zsh_dump),
            "TERM": "xterm",
        },
        start_new_session=True,
    )
    running = Shell(request.param, folder, process, terminal)
    for preparation in preparations:
        running.type(f"{preparation}\r")
    running.type("echo rea''dy\r")
    running.read_until(r"[\r\n]ready")
    yield running
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    os.close(terminal)
    os.close(far_end)


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        pytest.param("omniedit dow\t", "download", id="a-command"),
        pytest.param("omniedit config unset\t", "config unset-key", id="a-command-of-a-group"),
        pytest.param("omniedit --quiet -v sta\t", "--quiet -v status", id="after-flags"),
        pytest.param(
            "omniedit --progress none sta\t", "--progress none status", id="after-option-values"
        ),
        pytest.param("omniedit edit --fo\t", "edit --force", id="an-option"),
        pytest.param("omniedit wait --progress pl\t", "wait --progress plain", id="a-choice"),
        pytest.param(
            "omniedit wait --progress=pl\t",
            "wait --progress=plain",
            id="a-choice-after-an-equals-sign",
        ),
        pytest.param("omniedit edit --sound or\t", "edit --sound original", id="a-sound"),
        pytest.param(
            "omniedit edit --model gemini-omni-1\t",
            "edit --model gemini-omni-1.1-flash-video-edit",
            id="a-model",
        ),
        pytest.param("omniedit help exi\t", "help exit-codes", id="a-topic"),
        pytest.param("omniedit help prob\t", "help probe", id="the-help-of-a-command"),
        pytest.param("omniedit help json cred\t", "help json credits", id="a-document"),
        pytest.param("omniedit help ci cred\t", "help ci cred", id="no-document-after-a-topic"),
        pytest.param(
            "omniedit help config set\t", "help config set-key", id="the-help-of-a-groups-command"
        ),
        pytest.param("omniedit help ci --js\t", "help ci --json", id="an-option-after-a-topic"),
        pytest.param("omniedit edit cl\t", "edit clip.mp4", id="a-file"),
        pytest.param("omniedit edit -o cl\t", "edit -o clip.mp4", id="the-file-of-an-option"),
        pytest.param("omniedit batch --dir r\t", "batch --dir results", id="a-folder"),
        pytest.param("omniedit edit clip.mp4 cl\t", "edit clip.mp4 cl", id="no-file-for-a-prompt"),
        pytest.param(
            "omniedit edit x -- --fo\t", "edit x -- --fo", id="no-option-after-double-dash"
        ),
    ],
)
def test_the_script_completes_without_calling_the_command(
    shell: Shell, typed: str, completed: str
) -> None:
    calls = shell.calls_after(typed)

    assert [call.rstrip("/") for call in calls] == [completed]


def test_a_task_id_is_completed_from_the_journal(shell: Shell, home: Path) -> None:
    add_task(home / "state/omniedit", _TASK, prompt=_HOSTILE)

    calls = shell.calls_after("omniedit wait task\t")

    assert calls[-1] == f"wait {_TASK}"
    assert not (shell.folder / "pwned").exists()


def test_download_completes_only_finished_tasks(shell: Shell, home: Path) -> None:
    add_task(home / "state/omniedit", "task-done", prompt="x", status="completed")
    add_task(home / "state/omniedit", "task-open", prompt="x")

    calls = shell.calls_after("omniedit download task\t")

    assert calls[-1] == "download task-done"


def test_compare_completes_finished_tasks_and_files(shell: Shell, home: Path) -> None:
    add_task(home / "state/omniedit", "task-done", prompt="x", status="completed")

    calls = shell.calls_after("omniedit compare task\tcl\t")

    assert calls[-1].rstrip("/") == "compare task-done clip.mp4"


def test_bash_completes_an_id_from_its_end(shell: Shell, home: Path) -> None:
    if shell.name != "bash":
        pytest.skip("the other shells complete only beginnings")
    add_task(home / "state/omniedit", _TASK, prompt="x")

    calls = shell.calls_after("omniedit wait a1b2c3d4\t")

    assert calls[-1] == f"wait {_TASK}"


def test_the_sandbox_option_completes_the_sandboxs_tasks(shell: Shell, home: Path) -> None:
    add_task(home / "state/omniedit", "task-real", prompt="x")
    add_task(home / "state/omniedit/sandbox", "task-sandbox", prompt="x")

    calls = shell.calls_after("omniedit --sandbox wait -d out.mp4 task\t")

    assert calls[-1] == "--sandbox wait -d out.mp4 task-sandbox"


def test_candidates_are_shown_and_never_executed(shell: Shell, home: Path) -> None:
    add_task(home / "state/omniedit", _TASK, prompt=_HOSTILE)
    add_task(
        home / "state/omniedit", f"{_TASK}-2", prompt="warmer\n\x1b[31mlighting", status="failed"
    )

    shell.type("omniedit status \t")
    shell.read_until("last")
    shell.read_until(re.escape(f"{_TASK}-2"))
    calls = shell.calls_after("\x03")

    assert not (shell.folder / "pwned").exists()
    assert calls[0] == "__complete tasks "
    if shell.name != "bash":
        assert "processing clip.mp4: $(touch pwned) `touch pwned` ; touch pw" in shell.seen
        assert "failed clip.mp4: warmer [31mlighting" in shell.seen
