"""Markdown rendered by Rich as lines for a terminal."""

import io
from collections.abc import Iterable, Sequence
from typing import Final

from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import CodeBlock, Heading, Markdown, TableElement
from rich.padding import Padding
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text
from rich.theme import Theme

from omniedit.terminal.streams import Colour, Line, Span, cell_width, narrowed

_WIDEST: Final = 100  # longer lines are hard to read
_CELL_PADDING: Final = 2
_THEME: Final = Theme(
    {
        **dict.fromkeys(("markdown.h1", "markdown.h2", "markdown.h3"), "bold"),
        **dict.fromkeys(("markdown.strong", "markdown.table.header"), "bold"),
        **dict.fromkeys(("markdown.hr", "markdown.item.bullet", "markdown.table.border"), "dim"),
        **dict.fromkeys(("markdown.code", "markdown.code_block"), "cyan"),
    }
)


def render_markdown(
    text: str, *, width: int, encoding: str, is_coloured: bool = True
) -> list[Line]:
    """Return a Markdown document as lines of at most `width` cells; code is not wrapped.

    The encoding decides how tables are drawn; without colour, code keeps its backticks.
    """
    console = Console(
        file=io.TextIOWrapper(io.BytesIO(), encoding=encoding),
        width=min(width, _WIDEST),
        color_system="standard",
        force_terminal=True,
        legacy_windows=False,
        theme=_THEME,
        _environ={},
    )
    page = _Page(text, hyperlinks=False)
    if not is_coloured:
        for span in (span for token in page.parsed for span in token.children or ()):
            if span.type == "code_inline":
                span.content = f"`{span.content}`"
    segments = console.render(page)
    return [_line(segments) for segments in Segment.split_lines(segments)]


class _LeftHeading(Heading):
    """A heading that is not centred."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.text


class _PlainCode(CodeBlock):
    """Code that can be pasted: no background, padding, or inserted line breaks."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in str(self.text).rstrip().splitlines():
            yield Text(f"  {line}", self.style_name, no_wrap=True, overflow="ignore")


class _Table(TableElement):
    """A table; its rows become paragraphs if the columns cannot hold whole words."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        head = self.header.row.cells if self.header and self.header.row else []
        rows = [[cell.content for cell in row.cells] for row in self.body.rows] if self.body else []
        columns = [*zip([cell.content for cell in head], *rows, strict=True)]
        widths = _whole_widths(columns, options.max_width - _CELL_PADDING * len(columns))
        if widths is not None:
            for table in super().__rich_console__(console, options):
                if isinstance(table, Table):
                    for column, width in zip(table.columns, widths, strict=True):
                        column.width = width
                yield table
            return
        for name, *cells in rows:
            yield Text.assemble(name, style="markdown.strong")
            yield from (Padding(cell, (0, 0, 0, 2)) for cell in cells if cell)
        yield ""


class _Page(Markdown):
    elements = {  # noqa: RUF012 - Rich declares it without ClassVar
        **Markdown.elements,
        "heading_open": _LeftHeading,
        "fence": _PlainCode,
        "table_open": _Table,
    }


def _whole_widths(columns: Sequence[Sequence[Text]], width: int) -> list[int] | None:
    """Return column widths that break no word; None if `width` is too small for that."""
    widest = [max(cell.cell_len for cell in column) for column in columns]
    return narrowed(widest, [*map(_widest_word, columns)], width)


def _widest_word(column: Sequence[Text]) -> int:
    words = [word for cell in column for word in cell.plain.split()]
    return max(map(cell_width, words), default=0)


def _line(segments: Iterable[Segment]) -> Line:
    """Return one line without the blanks that Rich pads it with."""
    spans = [Span(segment.text, _colour(segment.style)) for segment in segments]
    while spans and not spans[-1].text.strip():
        spans.pop()
    if spans:
        spans[-1] = spans[-1]._replace(text=spans[-1].text.rstrip())
    return spans


def _colour(style: Style | None) -> Colour | None:
    if style is None:
        return None
    if style.color is not None:
        return Colour.CYAN
    if style.bold:
        return Colour.BOLD
    return Colour.DIM if style.dim else None
