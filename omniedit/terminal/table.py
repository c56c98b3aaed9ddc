"""The table of `omniedit list`, laid out for any width.

Without a library's table, whose import would take longer than the whole command.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from omniedit.models import AttemptState, Record, TaskError, TaskStatus
from omniedit.terminal.cells import cell_width, keep_end, keep_start
from omniedit.terminal.harmless import make_harmless
from omniedit.terminal.ink import Ink, paint
from omniedit.terminal.units import render_duration

NOT_SAVED: Final = "not saved"

_HEADER: Final[Sequence[str]] = ("TASK", "STATE", "AGE", "LINK", "SAVED", "PROMPT")
_NONE: Final = "-"
_GAP: Final = "  "
_SOON_S: Final = 6 * 3600
_VERY_SOON_S: Final = 3 * 3600
_SHORT_TASK: Final = 9  # an ellipsis and eight characters: enough to name the task by its end
_RUNNING: Final = frozenset({TaskStatus.PENDING, TaskStatus.PROCESSING})
_STATE_INKS: Final[Mapping[str, Ink]] = {
    TaskStatus.COMPLETED: Ink.GREEN,
    TaskStatus.FAILED: Ink.RED,
    AttemptState.REFUSED: Ink.RED,
    AttemptState.UNKNOWN: Ink.YELLOW,
    TaskStatus.CANCELLED: Ink.DIM,
}

_Columns: TypeAlias = dict[str, list[str]]
_Inks: TypeAlias = dict[str, list[Ink | None]]


class _Layout(NamedTuple):
    """What the columns may take; 0 drops a column, None leaves it as it is."""

    task: int | None
    saved: int | None
    prompt: int  # at least
    has_age: bool = True
    has_link: bool = True


_LAYOUTS: Final = (
    _Layout(task=None, saved=None, prompt=24),
    _Layout(task=None, saved=28, prompt=20),
    _Layout(task=_SHORT_TASK, saved=28, prompt=20),
    _Layout(task=_SHORT_TASK, saved=14, prompt=12),
    _Layout(task=_SHORT_TASK, saved=14, prompt=0),
    _Layout(task=_SHORT_TASK, saved=9, prompt=0, has_age=False),
    _Layout(task=_SHORT_TASK, saved=0, prompt=0, has_age=False),
    _Layout(task=_SHORT_TASK, saved=0, prompt=0, has_age=False, has_link=False),
)


def render_table(
    records: Sequence[Record], now: float, width: int | None, *, colour: bool = False
) -> list[str]:
    """Return a header and a line per edit, in at most `width` cells.

    Args:
        records: In the order of the lines.
        now: Unix time.
        width: Of the terminal; None for a script, which gets every column in full.
        colour: Mark states, and links by the time they have left.
    """
    rows = [_cells(record, now) for record in records]
    columns: _Columns = {name: [name, *(row[name] for row in rows)] for name in _HEADER}
    if width is not None:
        columns = _fitted(columns, width)
    row_inks = [_inks(record, now) for record in records]
    inks: _Inks = {name: [Ink.BOLD, *(row.get(name) for row in row_inks)] for name in columns}
    padded = [
        [
            paint(cell, ink, is_coloured=colour) + " " * (_width(cells) - cell_width(cell))
            for cell, ink in zip(cells, inks[name], strict=True)
        ]
        for name, cells in columns.items()
    ]
    return [_GAP.join(line).rstrip() for line in zip(*padded, strict=True)]


def name_of(record: Record) -> str:
    """Return the ID of the task, or of the request where there is no task."""
    return make_harmless(record.task_id or record.request_id or _NONE)


def failure_of(record: Record) -> TaskError | None:
    """Return why the task failed, or the submission was refused."""
    return record.error or (record.task.error if record.task else None)


def born_at(record: Record) -> float:
    """Return since when the edit is under way."""
    created_at = record.task.created_at if record.task else None
    return record.created_at if created_at is None else created_at


def link_left_s(record: Record, now: float) -> float | None:
    """Return for how long the result can surely be fetched; None where nothing is known."""
    if record.status != TaskStatus.COMPLETED:
        return None
    if record.is_result_gone:
        return 0.0
    if record.link_valid_until is None:
        return None
    return max(0.0, record.link_valid_until - now)


def _cells(record: Record, now: float) -> dict[str, str]:
    is_completed = record.status == TaskStatus.COMPLETED
    left_s = link_left_s(record, now)
    progress = record.task.progress if record.task and record.status in _RUNNING else None
    return {
        "TASK": name_of(record),
        "STATE": make_harmless(record.status) + (f" {progress}%" if progress else ""),
        "AGE": render_duration(now - born_at(record)),
        "LINK": _NONE if left_s is None else render_duration(left_s) if left_s else "gone",
        "SAVED": make_harmless(record.saved[-1].path)
        if record.saved
        else NOT_SAVED
        if is_completed
        else _NONE,
        "PROMPT": make_harmless(record.prompt or "") or _NONE,
    }


def _inks(record: Record, now: float) -> dict[str, Ink | None]:
    return {
        "STATE": _STATE_INKS.get(record.status),
        "AGE": Ink.DIM,
        "LINK": _link_ink(record, now),
        "SAVED": None if record.status == TaskStatus.COMPLETED else Ink.DIM,
    }


def _link_ink(record: Record, now: float) -> Ink:
    left_s = link_left_s(record, now)
    # Once the file is here, the end of the link is nobody's concern.
    if not left_s or record.saved:
        return Ink.DIM
    if left_s < _VERY_SOON_S:
        return Ink.RED
    return Ink.YELLOW if left_s < _SOON_S else Ink.GREEN


def _fitted(columns: _Columns, width: int) -> _Columns:
    """Return `columns` shortened, the least missed dropped, so that their lines fit `width`."""
    fitted = columns
    for layout in _LAYOUTS:
        fitted = _laid_out(columns, layout)
        room = width - sum(_width(cells) + len(_GAP) for cells in fitted.values())
        if layout.prompt and room >= min(layout.prompt, _width(columns["PROMPT"])):
            return {**fitted, "PROMPT": [keep_start(cell, room) for cell in columns["PROMPT"]]}
        if not layout.prompt and room + len(_GAP) >= 0:
            break
    return fitted


def _laid_out(columns: _Columns, layout: _Layout) -> _Columns:
    """Return the columns before the prompt, as `layout` wants them."""
    laid_out: _Columns = {"TASK": _at_most(columns["TASK"], layout.task)}
    # Beside a prompt the percentage has room; later the bare state must do.
    laid_out["STATE"] = (
        columns["STATE"] if layout.prompt else [cell.split(" ")[0] for cell in columns["STATE"]]
    )
    if layout.has_age:
        laid_out["AGE"] = columns["AGE"]
    if layout.has_link:
        laid_out["LINK"] = columns["LINK"]
    if layout.saved != 0:
        laid_out["SAVED"] = _at_most(
            [_file_name(c, layout.saved) for c in columns["SAVED"]], layout.saved
        )
    return laid_out


def _at_most(cells: list[str], width: int | None) -> list[str]:
    return cells if width is None else [keep_end(cell, width) for cell in cells]


def _file_name(path: str, width: int | None) -> str:
    """Return `path`, or only its last part where the whole does not fit."""
    if width is None or cell_width(path) <= width:
        return path
    return path.replace("\\", "/").rsplit("/", 1)[-1]


def _width(cells: Sequence[str]) -> int:
    return max(map(cell_width, cells))
