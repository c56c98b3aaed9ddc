"""The table of `omniedit list`, laid out for any width.

It is laid out by hand because importing Rich's tables would take longer than the whole command.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import tzinfo
from typing import Final, NamedTuple

from omniedit.models import DEFAULT_MODEL, AttemptState, Record, SavedFile, TaskStatus
from omniedit.sanitize import sanitize
from omniedit.terminal.human import (
    ID_CHARACTERS,
    NOT_SAVED,
    file_uri,
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
from omniedit.terminal.streams import Colour, Line, Span, cell_width, truncate

_NONE: Final = "-"
_GAP: Final = "  "
_SOON_S: Final = 6 * 3600
_VERY_SOON_S: Final = 3 * 3600
_LEAST_NAME: Final = 8
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
    """A column, and how it shrinks when space is short."""

    name: str
    least: int
    """The smallest useful width in cells."""
    rank: int = 0
    """The lowest rank is dropped first; a column without a rank is always kept."""
    keeps_end: bool = False


_COLUMNS: Final = (
    _Column("TASK", least=6, keeps_end=True),
    _Column("CLIP", least=8, keeps_end=True),
    _Column("PROMPT", least=10, rank=2),
    _Column("WHEN", least=6, rank=3),
    _Column("STATE", least=9),
    _Column("CREDITS", least=7),
    _Column("FILE", least=9, rank=4, keeps_end=True),
    _Column("LINK", least=5),
    _Column("MODEL", least=28, rank=1),
)
_STRETCHING: Final = ("PROMPT", "FILE", "CLIP")
"""Columns that are shortened before any column is dropped, the widest first."""


def render_table(
    records: Sequence[Record],
    now: float,
    width: int | None,
    *,
    known_ids: Collection[str] = (),
    lost_files: Mapping[str, str] | None = None,
    is_tree: bool = False,
    zone: tzinfo | None = None,
) -> list[Line]:
    """Return a header and a line per edit, or a few lines per edit if `width` is short.

    Args:
        records: The edits, in the order of the lines.
        now: Unix time.
        width: The terminal's width; None for a script, which gets every column in full.
        known_ids: Further IDs from which the shortened ones must differ.
        lost_files: By path, what happened to saved files that are gone or changed.
        is_tree: Whether to place edits of a result below the edit that made it.
        zone: The time zone of times on a terminal; None for that of this machine.
    """
    id_length = None if width is None else _id_length([*map(name_of, records), *known_ids])
    placed = _tree(records) if is_tree else [("", record) for record in records]
    rows = [_cells(record, now, id_length, branch, lost_files or {}) for branch, record in placed]
    for cells, (_, record) in zip(rows, placed, strict=True):
        moment = submitted_at(record)
        cells["WHEN"] = Span(render_when(moment, None if width is None else now, zone=zone))
    titles = {column.name: Span(column.name, Colour.BOLD) for column in _COLUMNS}
    table = [titles, *rows]
    if width is not None and {record.shown_model for record in records} <= {None, DEFAULT_MODEL}:
        # A column with the same value everywhere only takes space from the others.
        table = [{name: span for name, span in row.items() if name != "MODEL"} for row in table]
    widths = _natural_widths(table)
    if width is not None and _total(widths) > width:
        table = [row | {"FILE": _without_folder(row["FILE"])} for row in table]
        fitted = _fitted(_natural_widths(table), width)
        if fitted is None:
            return _as_records(table[1:], width)
        widths = fitted
    return [_laid_out(row, widths) for row in table]


def render_columns(rows: Sequence[Sequence[str]], width: int | None) -> list[Line]:
    """Return a line per row: a name with numbers to its right; the first row is the header.

    Args:
        rows: Rows of equal length.
        width: The terminal's width; None for a script. When space is short, columns without any
            number are dropped, then names are truncated, and finally the numbers are put below
            their name.
    """
    name, *columns = zip(*rows, strict=True)
    if width is not None and _width_of(name) + _room_for(columns) > width:
        columns = [column for column in columns if {*column[1:]} != {_NONE}]
    name_width = _width_of(name)
    if width is not None and name_width + _room_for(columns) > width:
        name_width = max(_LEAST_NAME, width - _room_for(columns))
        if name_width + _room_for(columns) > width:
            return _stacked(name, columns)
    lines: list[Line] = []
    for number, (first, *cells) in enumerate(zip(name, *columns, strict=True)):
        shown = truncate(sanitize(first), name_width, keeps_end=True)
        text = shown + " " * (name_width - cell_width(shown))
        text += "".join(
            _GAP + cell.rjust(_width_of(column))
            for cell, column in zip(cells, columns, strict=True)
        )
        lines.append([Span(text, Colour.BOLD)] if number == 0 else text)
    return lines


def _width_of(column: Sequence[str]) -> int:
    return max(map(cell_width, column))


def _room_for(columns: Sequence[Sequence[str]]) -> int:
    return sum(len(_GAP) + _width_of(column) for column in columns)


def _stacked(name: Sequence[str], columns: Sequence[Sequence[str]]) -> list[Line]:
    width = max(len(column[0]) for column in columns)
    lines: list[Line] = []
    for number, first in enumerate(name[1:], 1):
        lines.append([Span(first, Colour.BOLD)])
        lines += [
            f"{_GAP}{column[0].lower():{width}}{_GAP}{column[number]}"
            for column in columns
            if column[number] != _NONE
        ]
    return lines


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


def _cells(
    record: Record, now: float, id_length: int | None, branch: str, lost_files: Mapping[str, str]
) -> dict[str, Span]:
    task = record.task
    name = sanitize(name_of(record))
    left_s, file = link_left_s(record, now), shown_file(record, lost_files)
    fate = None if file is None else lost_files.get(file.path)
    cells = {
        "TASK": Span(branch + (name if id_length is None else name[-id_length:])),
        "CLIP": Span(render_clip(record.video) or _NONE),
        "PROMPT": Span((record.prompt or _NONE)[:_LONGEST_PROMPT]),
        "STATE": _state(record, now),
        "CREDITS": Span(_credits(record), None if task and task.is_terminal else Colour.DIM),
        "FILE": _file(record, file, fate),
        "LINK": Span(
            _NONE if left_s is None else render_duration(left_s) if left_s else "gone",
            _link_colour(left_s, is_needed=file is None or fate is not None),
        ),
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
        return Span(file.path, link=file_uri(file.path))
    is_completed = record.task is not None and record.task.is_completed
    return Span(NOT_SAVED) if is_completed else Span(_NONE, Colour.DIM)


def _link_colour(left_s: float | None, *, is_needed: bool) -> Colour:
    # Once the file is saved, the expiry of the link no longer matters.
    if not left_s or not is_needed:
        return Colour.DIM
    if left_s < _VERY_SOON_S:
        return Colour.RED
    return Colour.YELLOW if left_s < _SOON_S else Colour.GREEN


def _id_length(names: Collection[str]) -> int:
    """Return how many trailing characters are enough to distinguish all IDs."""
    different = set(names)
    length = ID_CHARACTERS
    while len({name[-length:] for name in different}) < len(different):
        length += 1
    return length


def _without_folder(file: Span) -> Span:
    return file._replace(text=file.text.replace("\\", "/").rpartition("/")[2])


def _natural_widths(table: Sequence[Mapping[str, Span]]) -> dict[str, int]:
    return {name: max(cell_width(row[name].text) for row in table) for name in table[0]}


def _total(widths: Mapping[str, int]) -> int:
    return sum(widths.values()) + len(_GAP) * (len(widths) - 1)


def _fitted(natural: Mapping[str, int], width: int) -> dict[str, int] | None:
    """Return the widths of the columns that fit, with the lowest ranks dropped.

    None if the columns that are always kept do not fit.
    """
    columns = [column for column in _COLUMNS if column.name in natural]
    least = {column.name: min(column.least, natural[column.name]) for column in columns}
    for dropped in range(max(column.rank for column in _COLUMNS) + 1):
        kept = [column.name for column in columns if not 0 < column.rank <= dropped]
        widths = {name: natural[name] for name in kept}
        excess = _total(widths) - width
        while excess > 0:
            longest = max(
                (name for name in _STRETCHING if widths.get(name, 0) > least[name]),
                key=lambda name: widths[name],
                default=None,
            )
            if longest is None:
                break
            widths[longest] -= 1
            excess -= 1
        if excess <= 0:
            return widths
    return None


def _as_records(rows: Sequence[Mapping[str, Span]], width: int) -> list[Line]:
    """Return each row as its task with the other columns below it, named and without gaps."""
    label_width = max(len(column.name) for column in _COLUMNS)
    room = width - label_width - 2 * len(_GAP)
    has_labels = room >= _LEAST_VALUE
    lines: list[Line] = []
    for row in rows:
        task = row["TASK"].text
        lines.append([Span(truncate(task, width, keeps_end=True), Colour.BOLD)])
        for column in _COLUMNS[1:]:
            span = row.get(column.name)
            if span is None or span.text == _NONE:
                continue
            label = f"{_GAP}{column.name.lower():{label_width}}{_GAP}" if has_labels else _GAP
            text = truncate(span.text, width - len(label), keeps_end=column.keeps_end)
            lines.append([Span(label), span._replace(text=text)])
    return lines


def _laid_out(row: Mapping[str, Span], widths: Mapping[str, int]) -> Line:
    """Return one line of the table, without padding after the last column."""
    spans: list[Span] = []
    for column in _COLUMNS:
        if column.name not in widths:
            continue
        width, span = widths[column.name], row[column.name]
        text = span.text
        if cell_width(text) > width:
            text = truncate(text, width, keeps_end=column.keeps_end)
        spans += [span._replace(text=text), Span(" " * (width - cell_width(text)) + _GAP)]
    return spans[:-1]
