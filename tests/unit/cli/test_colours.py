"""Colours mark problems and change no text."""

import re

import pytest

from omniedit.terminal.streams import Colour
from tests.commandline import CommandLine

CODES = re.compile(r"\x1b\[([\d;]*)m")


def test_colours_leave_the_text_unchanged(served: CommandLine) -> None:
    for command in ("credits", "config show", "doctor"):
        coloured = served(*command.split(), FORCE_COLOR="1")
        plain = served(*command.split())

        assert Colour.GREEN in CODES.findall(coloured.stdout), command
        assert CODES.sub("", coloured.stdout) == plain.stdout


@pytest.mark.parametrize(
    ("command", "words", "colour"),
    [
        pytest.param("config show", "key         none", Colour.RED, id="no-key"),
        pytest.param("doctor", "failure  key", Colour.BOLD_RED, id="failure"),
        pytest.param("doctor", "warning  service", Colour.YELLOW, id="warning"),
    ],
)
def test_problems_are_coloured(
    omniedit: CommandLine, command: str, words: str, colour: Colour
) -> None:
    lines = omniedit(*command.split(), FORCE_COLOR="1").stdout.splitlines()

    (line,) = [line for line in lines if CODES.sub("", line).startswith(words)]
    assert colour in CODES.findall(line)
