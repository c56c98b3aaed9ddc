"""Pages of the manual and listings on a real pseudo-terminal."""

import os
import subprocess
import sys

import pytest

from tests.commandline import COMMAND, CommandLine

pytestmark = [
    pytest.mark.pty,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals"),
]


def terminal_output(*argv: str, **environ: str) -> str:
    """Return what a command writes to a terminal."""
    terminal, far_end = os.openpty()
    with subprocess.Popen(
        [COMMAND, *argv], stdin=far_end, stdout=far_end, env={**os.environ, **environ}
    ) as process:
        os.close(far_end)
        written = b""
        while chunk := _read(terminal):
            written += chunk
    os.close(terminal)
    assert process.returncode == 0, written
    return written.decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux answers EIO, not EOF, once the other end has closed
        return b""


def test_a_page_is_rendered_on_a_terminal() -> None:
    page = terminal_output("help", "exit-codes", COLUMNS="60")

    assert page.startswith("\x1b[1mExit codes\x1b[0m\n")
    assert "| ---" not in page


def test_links_to_other_pages_are_commands_on_a_terminal() -> None:
    page = " ".join(terminal_output("help", "batch", NO_COLOR="1").split())

    assert "see `omniedit help clips`." in page
    assert ".md" not in page


def test_a_schema_is_printed_verbatim_on_a_terminal() -> None:
    piped = subprocess.run([COMMAND, "help", "json", "edit"], capture_output=True, check=True)

    assert terminal_output("help", "json", "edit") == piped.stdout.decode()


@pytest.mark.parametrize(
    ("command", "labels"),
    [
        pytest.param("credits", ["account", "key"], id="credits"),
        pytest.param(
            "config show",
            [
                *("key", "base_url", "files_url", "config_dir"),
                *("state_dir", "context", "sidecar", "model"),
            ],
            id="config-show",
        ),
        pytest.param("doctor", ["ok", "warning", "failure"], id="doctor"),
        pytest.param("help", ["omniedit"], id="help"),
    ],
)
def test_a_narrow_terminal_gets_values_wrapped_beside_their_labels(
    served: CommandLine, command: str, labels: list[str]
) -> None:
    environ = {**served.environ, "NO_COLOR": "1", "COLUMNS": "44"}

    lines = terminal_output(*command.split(), **environ).splitlines()

    assert {line.split()[0] for line in lines if line[0] != " "} <= {*labels}
    assert any(line[0] == " " for line in lines)
    # A long path stays whole, so that it can be copied.
    assert all(len(line) <= 44 or len(line.split()) <= 4 for line in lines)
