"""Markdown is rendered for terminals of any width and encoding."""

import pytest

from omniedit.terminal.markdown import render_markdown
from omniedit.terminal.streams import Colour, Line, Span, cell_width
from tests.unit.terminal.observing import plain_text

PAGE = """# Batch

Many edits from a **manifest**, with `batch`; run it again to make only what is missing.

```bash
omniedit batch edits.jsonl --dir a-folder-with-a-long-name --concurrency 2
```

- the first

| code | meaning |
| --- | --- |
| 6 | not finished: `wait` timed out |
"""
COMMAND = "  omniedit batch edits.jsonl --dir a-folder-with-a-long-name --concurrency 2"


def rendered(*, width: int = 60, encoding: str = "utf-8") -> list[Line]:
    return render_markdown(PAGE, width=width, encoding=encoding)


@pytest.mark.parametrize("width", [40, 60, 100, 300])
def test_everything_except_code_fits_the_width(width: int) -> None:
    lines = [plain_text(line) for line in rendered(width=width)]

    assert max(cell_width(line) for line in lines if line != COMMAND) <= min(width, 100)


def test_code_is_never_wrapped() -> None:
    assert COMMAND in [plain_text(line) for line in rendered(width=40)]


def test_lines_have_no_trailing_spaces() -> None:
    lines = [plain_text(line) for line in rendered()]

    assert lines == [line.rstrip() for line in lines]
    assert lines[0] == "Batch"


def test_headings_are_bold_and_code_is_cyan() -> None:
    spans = [span for line in rendered() for span in line if isinstance(span, Span)]

    colours = {span.text: span.colour for span in spans}
    assert colours["Batch"] is Colour.BOLD
    assert colours["manifest"] is Colour.BOLD
    assert colours["batch"] is colours[COMMAND] is Colour.CYAN
    assert colours["the first"] is None


def test_code_keeps_its_backticks_without_colour() -> None:
    lines = render_markdown(PAGE, width=60, encoding="utf-8", is_coloured=False)

    text = "\n".join(plain_text(line) for line in lines)
    assert "with `batch`;" in text
    assert "not finished: `wait` timed out" in text
    assert COMMAND in text.splitlines()


def test_tables_use_only_characters_of_the_encoding() -> None:
    def drawn(encoding: str) -> list[str]:
        lines = [plain_text(line) for line in rendered(encoding=encoding)]
        return [line for line in lines if "•" not in line]

    assert any("─" in line for line in drawn("utf-8"))
    assert all(line.isascii() for line in drawn("ascii"))


TABLE = """
| variable | option | meaning |
| --- | --- | --- |
| `OMNIEDIT_CONFIG_DIR` | `--callback-url` | a folder |
| `NO_COLOR` | | no colour |
"""


@pytest.mark.parametrize("width", range(12, 46))
def test_a_name_that_fits_a_line_is_never_broken(width: int) -> None:
    lines = [plain_text(line) for line in render_markdown(TABLE, width=width, encoding="utf-8")]

    text = "\n".join(lines)
    assert max(map(cell_width, lines)) <= width
    assert all(
        name in text
        for name in ("OMNIEDIT_CONFIG_DIR", "--callback-url", "folder", "NO_COLOR")
        if len(name) <= width - 2
    )
    assert "…" not in text


def test_cells_are_stacked_if_columns_would_break_words() -> None:
    lines = [plain_text(line) for line in render_markdown(TABLE, width=40, encoding="utf-8")]

    assert [line for line in lines if line] == [
        "OMNIEDIT_CONFIG_DIR",
        "  --callback-url",
        "  a folder",
        "NO_COLOR",
        "  no colour",
    ]
