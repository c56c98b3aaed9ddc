"""README, taken apart: its tables and its blocks of code."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text("utf-8")
INSTALLS = re.compile(r"^ *(?:- )?(?:run: )?python -m pip install .*?(?: && |$)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of code."""

    language: str
    text: str
    line: int

    @property
    def name(self) -> str:
        """Where it stands, for people."""
        return f"line-{self.line}"


def blocks(language: str) -> list[Block]:
    """Return the blocks of a language, in order."""
    found = re.finditer(r"^```(\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    return [
        Block(match[1], match[2], TEXT.count("\n", 0, match.start()) + 1)
        for match in found
        if match[1] == language
    ]


def table(*header: str) -> list[list[str]]:
    """Return the rows of the one table with this header."""
    lines = TEXT.splitlines()
    [start] = [number for number, line in enumerate(lines) if _cells(line) == list(header)]
    rows: list[list[str]] = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append(_cells(line))
    return rows


def words_in_code(cell: str) -> list[str]:
    """Return what stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def _cells(line: str) -> list[str]:
    if not line.startswith("|"):
        return []
    return [cell.strip() for cell in line.strip().strip("|").split("|")]
