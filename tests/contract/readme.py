"""README and the pages of the manual, parsed into tables and blocks of code."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]
INSTALLS = re.compile(
    r"^ *(?:- )?(?:run: )?(?:python -m pip|pipx|uv tool) install .*?(?: && |$)", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of code."""

    page: str
    language: str
    text: str
    line: int

    @property
    def name(self) -> str:
        """The block's page and line, for test IDs."""
        return f"{self.page}-line-{self.line}"


@dataclass(frozen=True)
class Page:
    """A page of Markdown."""

    path: Path

    @cached_property
    def text(self) -> str:
        """The whole text."""
        return self.path.read_text("utf-8")

    def blocks(self, *languages: str) -> list[Block]:
        """Return the blocks in order, of some languages or all."""
        found = re.finditer(r"^```(\w*)\n(.*?)^```$", self.text, re.MULTILINE | re.DOTALL)
        return [
            Block(self.path.stem, match[1], match[2], self.text.count("\n", 0, match.start()) + 1)
            for match in found
            if match[1] in languages or not languages
        ]

    def table(self, *header: str) -> list[list[str]]:
        """Return the rows of the one table with this header."""
        lines = self.text.splitlines()
        [start] = [number for number, line in enumerate(lines) if _cells(line) == list(header)]
        rows: list[list[str]] = []
        for line in lines[start + 2 :]:
            if not line.startswith("|"):
                break
            rows.append(_cells(line))
        return rows

    def paragraph(self, start: str) -> str:
        """Return the one paragraph that starts like this, as one line."""
        [text] = [text for text in self.text.split("\n\n") if text.startswith(start)]
        return text.replace("\n", " ")


README = Page(ROOT / "README.md")
MANUAL = {path.stem: Page(path) for path in sorted((ROOT / "omniedit" / "manual").glob("*.md"))}
PAGES = (README, *MANUAL.values())


def blocks(*languages: str) -> list[Block]:
    """Return the blocks of all pages, of some languages or all."""
    return [block for page in PAGES for block in page.blocks(*languages)]


def words_in_code(cell: str) -> list[str]:
    """Return the words in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def _cells(line: str) -> list[str]:
    if not line.startswith("|"):
        return []
    return [cell.strip() for cell in line.strip().strip("|").split("|")]
