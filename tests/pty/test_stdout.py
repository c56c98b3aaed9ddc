"""A file is never written to a terminal, which would act on its bytes."""

import os
import subprocess
import sys

import pytest

from tests.commandline import COMMAND, CommandLine

pytestmark = [
    pytest.mark.pty,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals"),
]

EDIT = ["edit", "https://example.com/clip.mp4", "x [sandbox:seconds=0]"]


@pytest.mark.parametrize(
    "argv",
    [
        pytest.param([*EDIT, "-o", "-"], id="edit"),
        pytest.param(["wait", "-o", "-"], id="wait"),
        pytest.param(["download", "-o", "-"], id="download"),
    ],
)
def test_output_to_a_terminal_is_refused_before_sending(
    served: CommandLine, argv: list[str]
) -> None:
    terminal, far_end = os.openpty()

    ended = subprocess.run(
        [COMMAND, *argv],
        stdin=subprocess.DEVNULL,
        stdout=far_end,
        stderr=subprocess.PIPE,
        cwd=served.folder,
        env={**os.environ, **served.environ},
        check=False,
    )
    os.close(far_end)
    os.close(terminal)

    assert ended.returncode == 2, ended
    assert b"to your terminal" in ended.stderr
    assert served("list", "--json").document["tasks"] == []
