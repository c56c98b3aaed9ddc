"""The hidden prompt of `config set-key`, answered on a real pseudo-terminal."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time

import pytest

from tests.commandline import COMMAND, CommandLine

pytestmark = [
    pytest.mark.pty,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals"),
]

WAIT_S = 20.0
CTRL_C = b"\x03"


def run_and_answer(omniedit: CommandLine, answer: bytes, **environ: str) -> tuple[int, str]:
    """Answer the prompt for a key; return the exit status and the screen."""
    terminal, far_end = os.openpty()
    process = subprocess.Popen(
        [COMMAND, "config", "set-key"],
        stdin=far_end,
        stdout=far_end,
        stderr=far_end,
        cwd=omniedit.folder,
        env={**os.environ, **omniedit.environ, **environ},
        # Without a controlling terminal, `getpass` asks on stdin.
        start_new_session=True,
    )
    os.close(far_end)
    screen = ""
    has_answered = False
    deadline = time.monotonic() + WAIT_S
    # Linux answers EIO, not EOF, once the other end has closed.
    with contextlib.suppress(OSError):
        while select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))[0]:
            screen += os.read(terminal, 65536).decode(errors="replace")
            if "): " in screen and not has_answered:
                has_answered = True
                if answer == CTRL_C:
                    process.send_signal(signal.SIGINT)
                else:
                    os.write(terminal, answer)
    status = process.wait(timeout=WAIT_S)
    os.close(terminal)
    return status, screen


@pytest.mark.parametrize(
    ("answer", "status", "message"),
    [
        pytest.param(b"sk-evo-abcdefghijkl\n", 0, "saved key sk-evo-…ijkl", id="a-key"),
        pytest.param(b"\n", 2, "no key was given", id="empty-line"),
        pytest.param(b"\x04", 2, "no key was given", id="end-of-input"),
        pytest.param(b"sk-evo-\xff\n", 3, "cannot be an API key", id="invalid-utf-8"),
        pytest.param(CTRL_C, 130, "interrupted", id="ctrl-c"),
    ],
)
def test_a_typed_key_is_saved_or_refused_and_never_echoed(
    omniedit: CommandLine, answer: bytes, *, status: int, message: str
) -> None:
    ended = run_and_answer(omniedit, answer)

    _, _, after = ended[1].partition("): ")
    assert ended[0] == status, ended
    assert message in after
    assert after.startswith("\r\n"), ended
    assert "abcdefgh" not in after
    assert ("omniedit doctor" in after) is (status == 0)


def test_the_question_names_the_api_even_if_the_key_in_force_is_the_sandboxs(
    omniedit: CommandLine,
) -> None:
    ended = run_and_answer(omniedit, b"sk-evo-abcdefghijkl\n", EVOLINK_API_KEY="sk-sandbox-x")

    assert "API key for https://api.evolink.ai (" in ended[1]
    assert "saved key sk-evo-…ijkl for https://api.evolink.ai" in ended[1]
