"""The tables of `omniedit list` and `omniedit usage`, laid out for any width.

They are laid out by hand because importing Rich's tables would take longer than the whole command.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain
from typing import Final, NamedTuple

from omniedit.models import DEFAULT_MODEL, AttemptState, Record, SavedFile, TaskStatus
from omniedit.sanitize import sanitize
from omniedit.terminal.human import (
    ID_CHARACTERS,
    NOT_SAVED,
    link_left_s,
    name_of,
    render_age,
    render_amount,
    render_clip,
    render_duration,
    render_when,
    shown_file,
    submitted_at,
)
from omniedit.terminal.streams import Colour, Line, Span, cell_width, narrowed, truncate

_NONE: Final = "-"
_GAP: Final = "  "
_SOON_S: Final = 6 * 3600
_VERY_SOON_S: Final = 3 * 3600
_LONGEST_PROMPT: Final = 200
_LEAST_VALUE: Final = 8
_RUNNING: Final = frozenset({TaskStatus.PENDING, TaskStatus.PROCESSING})
_STATE_COLOURS: Final[Mapping[str, Colour]] = {
    TaskStatus.COMPLETED: Colour.GREEN,
    TaskStatus.FAILED: Colour.RED,
    TaskStatus.CANCELLED: Colour.DIM,
}
_ATTEMPT_COLOURS: Final[Mapping[str, Colour]] = {
    AttemptState.REFUSED: Colour.RED,
    AttemptState.UNKNOWN: Colour.YELLOW,
}


class _Column(NamedTuple):
    """A column with its sanitized cells, and how it shrinks when space is short."""

    name: str
    cells: Sequence[Span] = ()
    least: int | None = None
    """The smallest useful width in cells; None if it is never shortened."""
    rank: int = 0
    """The lowest rank is dropped first; a column without a rank is always kept."""
    keeps_end: bool = False
    is_path: bool = False
    is_number: bool = False

    @property
    def width(self) -> int:
        """The width in cells that shows everything."""
        return max(cell_width(text) for text in (self.name, *(span.text for span in self.cells)))


_COLUMNS: Final = (
    _Column("TASK", keeps_end=True),
    _Column("CLIP", least=8, keeps_end=True),
    _Column("PROMPT", least=10, rank=2),
    _Column("WHEN", rank=3),
    _Column("STATE"),
    _Column("CREDITS"),
    _Column("FILE", least=9, rank=4, keeps_end=True, is_path=True),
    _Column("LINK"),
    _Column("MODEL", rank=1),
)


def render_table(
    records: Sequence[Record],
    now: float,
    width: int | None,
    *,
    known_ids: Collection[str] = (),
    lost_files: Mapping[str, str] | None = None,
    is_tree: bool = False,
) -> list[Line]:
    """Return a header and a line per edit, or a few lines per edit if `width` is short.

    Args:
        records: The edits, in the order of the lines.
        now: Unix time.
        width: The terminal's width; None for a script, which gets every column in full.
        known_ids: Further IDs from which the shortened ones must differ.
        lost_files: By path, what happened to saved files that are gone or changed.
        is_tree: Whether to place edits of a result below the edit that made it.
    """
    is_terminal = width is not None
    id_length = _id_length([*map(name_of, records), *known_ids]) if is_terminal else None
    placed = _tree(records) if is_tree else [("", record) for record in records]
    rows = [
        {
            "TASK": _id(record, id_length, branch),
            "WHEN": Span(render_when(submitted_at(record), now if is_terminal else None)),
            **_cells(record, now, lost_files or {}),
        }
        for branch, record in placed
    ]
    columns = [column._replace(cells=[row[column.name] for row in rows]) for column in _COLUMNS]
    if is_terminal and {record.shown_model for record in records} <= {None, DEFAULT_MODEL}:
        # A column with the same value everywhere only takes space from the others.
        columns.pop()
    return _laid_out(columns, width)


def render_columns(rows: Sequence[Sequence[str]], width: int | None) -> list[Line]:
    """Return a line per row, of which the first is the header.

    Each is a name with numbers to its right, which are never truncated.
    """
    cells = [[Span(sanitize(cell)) for cell in column] for column in zip(*rows[1:], strict=True)]
    (name, names), *others = zip(rows[0], cells, strict=True)
    columns = [
        _Column(name, names, least=_LEAST_VALUE, keeps_end=True),
        *(_Column(title, numbers, is_number=True) for title, numbers in others),
    ]
    return _laid_out(columns, width)


def _laid_out(columns: Sequence[_Column], width: int | None) -> list[Line]:
    """Return a table; when space is short, columns are shortened or dropped, then stacked."""
    widths = [column.width for column in columns]
    if width is not None and sum(widths) > _room(columns, width):
        first, *others = map(_without_folders, columns)
        columns = [first, *(column for column in others if _has_values(column))]
        fitted = _fitted(columns, width)
        if fitted is None:
            return _stacked(columns, width)
        columns, widths = fitted
    shown = [_padded(column, wide) for column, wide in zip(columns, widths, strict=True)]
    lines = [[*chain.from_iterable(row)] for row in zip(*shown, strict=True)]
    # Nothing follows the last column: neither a gap nor the padding of a text.
    following = 1 if columns[-1].is_number else 2
    return [line[:-following] for line in lines]


def _room(columns: Sequence[_Column], width: int) -> int:
    return width - len(_GAP) * (len(columns) - 1)


def _has_values(column: _Column) -> bool:
    return {span.text for span in column.cells} != {_NONE}


def _without_folders(column: _Column) -> _Column:
    if not column.is_path:
        return column
    names = (span.text.replace("\\", "/").rpartition("/")[2] for span in column.cells)
    cells = [span._replace(text=name) for span, name in zip(column.cells, names, strict=True)]
    return column._replace(cells=cells)


def _fitted(columns: Sequence[_Column], width: int) -> tuple[list[_Column], list[int]] | None:
    """Return the columns that fit, the lowest ranks dropped, and their widths.

    None if the columns that are always kept do not fit.
    """
    for dropped in range(max(column.rank for column in columns) + 1):
        kept = [column for column in columns if not 0 < column.rank <= dropped]
        natural = [column.width for column in kept]
        least = [column.least or wide for column, wide in zip(kept, natural, strict=True)]
        widths = narrowed(natural, least, _room(kept, width))
        if widths is not None:
            return kept, widths
    return None


def _stacked(columns: Sequence[_Column], width: int) -> list[Line]:
    """Return each row as its first cell with the others below it, named and without gaps."""
    first, *others = columns
    label_width = max(len(column.name) for column in others)
    has_labels = width - label_width - 2 * len(_GAP) >= _LEAST_VALUE
    lines: list[Line] = []
    for number, name in enumerate(first.cells):
        lines.append([Span(truncate(name.text, width, keeps_end=True), Colour.BOLD)])
        for column in others:
            span = column.cells[number]
            if span.text == _NONE:
                continue
            label = f"{_GAP}{column.name.lower():{label_width}}{_GAP}" if has_labels else _GAP
            if not column.is_number:
                text = truncate(span.text, width - len(label), keeps_end=column.keeps_end)
                span = span._replace(text=text)
            lines.append([Span(label), span])
    return lines


def _padded(column: _Column, width: int) -> Iterator[list[Span]]:
    """Yield the header and each cell in the column's width, with the gap after it."""
    for span in (Span(column.name, Colour.BOLD), *column.cells):
        text = truncate(span.text, width, keeps_end=column.keeps_end)
        shown = span._replace(text=text)
        padding = Span(" " * (width - cell_width(text)))
        yield [padding, shown, Span(_GAP)] if column.is_number else [shown, padding, Span(_GAP)]


def _tree(records: Sequence[Record]) -> list[tuple[str, Record]]:
    """Return records with their branch lines; siblings are in order of age, the oldest first."""
    listed = {record.task_id for record in records if record.task_id}
    below: dict[str | None, list[Record]] = {}
    for record in records:
        is_below = record.parent in listed and record.parent != record.task_id
        below.setdefault(record.parent if is_below else None, []).insert(0, record)
    placed: list[tuple[str, Record]] = []
    # Iterative, because a chain may be longer than the recursion limit.
    waiting = [("", "", record) for record in below.pop(None, [])]
    while waiting:
        branch, indent, record = waiting.pop()
        placed.append((branch, record))
        children = below.pop(record.task_id, [])
        bends = [("├─ ", "│  ")] * (len(children) - 1) + [("└─ ", "   ")]
        waiting += reversed(
            [
                (indent + bend, indent + beside, child)
                for (bend, beside), child in zip(bends, children, strict=False)
            ]
        )
    # Keep records that are their own ancestors, although omniedit never writes such a journal.
    return placed + [("", record) for records in below.values() for record in records]


def _id(record: Record, length: int | None, branch: str) -> Span:
    name = sanitize(name_of(record))
    return Span(branch + (name if length is None else name[-length:]))


def _cells(record: Record, now: float, lost_files: Mapping[str, str]) -> dict[str, Span]:
    task = record.task
    left_s = link_left_s(record, now)
    file = shown_file(record, lost_files)
    fate = None if file is None else lost_files.get(file.path)
    cells = {
        "CLIP": Span(render_clip(record.video) or _NONE),
        "PROMPT": Span((record.prompt or _NONE)[:_LONGEST_PROMPT]),
        "STATE": _state(record, now),
        "CREDITS": Span(_credits(record), None if task and task.is_terminal else Colour.DIM),
        "FILE": _file(record, file, fate),
        "LINK": _link(left_s, is_needed=file is None or fate is not None),
        "MODEL": Span(record.shown_model or _NONE, Colour.DIM),
    }
    # Sanitize first: widths are measured on the text that is shown.
    return {title: span._replace(text=sanitize(span.text)) for title, span in cells.items()}


def _state(record: Record, now: float) -> Span:
    colours = _ATTEMPT_COLOURS if record.task is None else _STATE_COLOURS
    progress = record.task.progress if record.task and record.status in _RUNNING else None
    text = record.shown_status + (f" {progress}%" if progress else "")
    if record.is_open and record.as_of is not None:
        text += f" {render_age(now - record.as_of)}"
    return Span(text, colours.get(record.status or ""))


def _credits(record: Record) -> str:
    """Return the charge, or the reservation in parentheses until the task has ended."""
    task = record.task
    if task is None:
        return _NONE
    if task.credits_used is not None:
        return render_amount(task.credits_used)
    if task.has_failed:
        return _NONE
    if task.is_completed:
        return "unknown"
    return _NONE if task.credits_reserved is None else f"({render_amount(task.credits_reserved)})"


def _file(record: Record, file: SavedFile | None, fate: str | None) -> Span:
    if file is not None:
        if file.is_elsewhere:
            return Span("elsewhere", Colour.DIM)
        if fate is not None:
            return Span(fate, Colour.YELLOW)
        return Span(file.path, file=file.path)
    is_completed = record.task is not None and record.task.is_completed
    return Span(NOT_SAVED) if is_completed else Span(_NONE, Colour.DIM)


def _link(left_s: float | None, *, is_needed: bool) -> Span:
    if left_s is None:
        return Span(_NONE, Colour.DIM)
    if left_s == 0:
        return Span("gone", Colour.DIM)
    colour = Colour.YELLOW if left_s < _SOON_S else Colour.GREEN
    if left_s < _VERY_SOON_S:
        colour = Colour.RED
    # Once the file is saved, the expiry of the link no longer matters.
    return Span(render_duration(left_s), colour if is_needed else Colour.DIM)


def _id_length(names: Collection[str]) -> int:
    """Return how many trailing characters are enough to distinguish all IDs."""
    different = set(names)
    length = ID_CHARACTERS
    while len({name[-length:] for name in different}) < len(different):
        length += 1
    return length
