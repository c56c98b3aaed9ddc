"""The recording in README: a picture for `<img>` of what the commands print today."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.contract.readme import README, ROOT
from tests.recording.screen import Screen

PICTURE = ROOT / ".github" / "recording.svg"
SVG = "{http://www.w3.org/2000/svg}"
MAX_BYTES = 100_000
MASKS = {
    r"task-unified-\d+-\w+": "TASK",
    r"(?m)^\w{8}(?= clip)": "TASK",
    r"\b\d+ [kM]?B\b": "SIZE",
    r"\b(?:\d+[dhms])+\b|\b\d+ s\b": "TIME",
}


def root_of(picture: Path) -> ET.Element:
    return ET.parse(picture).getroot()  # noqa: S314 - made by this repository


def texts(picture: Path) -> list[str]:
    """Return every piece of text that is ever shown."""
    return [text.text or "" for text in root_of(picture).iter(f"{SVG}text")]


def last_screen(picture: Path) -> list[str]:
    """Return the lines that remain at the end, which a viewer without animation shows."""
    strips = root_of(picture).findall(f"{SVG}svg/{SVG}g")
    return [" ".join(text.text or "" for text in strip[0].iter(f"{SVG}text")) for strip in strips]


def masked(lines: list[str]) -> list[str]:
    """Return the lines without the parts that differ from run to run."""
    text = "\n".join(lines)
    for pattern, name in MASKS.items():
        text = re.sub(pattern, name, text)
    return text.splitlines()


def test_the_picture_is_self_contained() -> None:
    root = root_of(PICTURE)

    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    names = {name for element in root.iter() for name in element.attrib}
    [style] = [element.text or "" for element in root.iter(f"{SVG}style")]

    assert tags == {"svg", "title", "style", "rect", "g", "text", "path"}
    assert not {name for name in names if "href" in name or name.startswith("on")}
    assert not re.search(r"url\(|@import|@font-face", style)
    assert PICTURE.stat().st_size < MAX_BYTES


def test_the_picture_stands_still_with_reduced_motion() -> None:
    [style] = [element.text or "" for element in root_of(PICTURE).iter(f"{SVG}style")]

    moving = [line for line in style.splitlines() if "animation:" in line]

    assert len(moving) == 1
    assert moving[0].startswith("@media (prefers-reduced-motion:no-preference){")


def test_the_picture_shows_no_absolute_path() -> None:
    assert not [text for text in texts(PICTURE) if re.search(r"(?:^|\s)[/~]", text)]


def test_readme_shows_the_picture_above_the_first_block() -> None:
    image = re.search(r"^!\[([^]]+)\]\(([^)]+)\)$", README.text, re.MULTILINE)

    assert image
    assert ROOT / image[2] == PICTURE
    assert README.text[: image.start()].count("\n\n") == 2
    assert image.end() < README.text.index("```")


def test_the_picture_starts_with_readmes_first_command() -> None:
    command = README.blocks("bash")[0].text.strip().partition(" && ")[2]

    assert last_screen(PICTURE)[0] == f"$ {command}"


@pytest.mark.e2e
@pytest.mark.pty
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_the_picture_shows_what_the_commands_print_today(tmp_path: Path) -> None:
    recorded = tmp_path / "recording.svg"

    subprocess.run(
        [sys.executable, "-m", "tests.recording", recorded], cwd=ROOT, timeout=120, check=True
    )

    assert masked(last_screen(PICTURE)) == masked(last_screen(recorded)), (
        "`python -m tests.recording` records it again"
    )


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([b"50%\r\x1b[2K100%"], id="one-write"),
        pytest.param([b"50%\r\x1b[", b"2K100%"], id="split-in-a-sequence"),
        pytest.param([b"\xe2\x94\x81\r", b"\x1b[2K", b"100%"], id="drawn-over-a-bar"),
    ],
)
def test_the_screen_shows_the_last_frame_of_a_bar(pieces: list[bytes]) -> None:
    screen = Screen()

    for piece in pieces:
        screen.write(piece)

    assert screen.cursor_line == "100%"


def test_the_screen_refuses_unsupported_sequences() -> None:
    with pytest.raises(ValueError, match="unsupported"):
        Screen().write(b"\x1b[5;5H")
