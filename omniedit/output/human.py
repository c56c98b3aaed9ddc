"""Records as people read them: pure functions from values to harmless lines."""

import os.path
from collections.abc import Sequence
from typing import Final

from omniedit.models import Record, TaskError, TaskStatus
from omniedit.output.advice import advice_on as advice_on
from omniedit.output.cells import cell_width, keep_end, keep_start, pad
from omniedit.output.harmless import make_harmless
from omniedit.output.ink import Ink, paint
from omniedit.output.units import render_clock as render_clock
from omniedit.output.units import render_credits as render_credits
from omniedit.output.units import render_duration as render_duration
from omniedit.output.units import render_moment as render_moment
from omniedit.output.units import render_size as render_size

NOT_SAVED: Final = "not saved"

_SOON_S: Final = 6 * 3600
_VERY_SOON_S: Final = 3 * 3600
_GAP: Final = "  "
_HEADER: Final = ("TASK", "STATE", "AGE", "LINK", "SAVED", "PROMPT")
_SHORT_TASK: Final = 9  # an ellipsis and eight characters, more than a reference to a task needs
_RUNNING: Final = frozenset({TaskStatus.PENDING, TaskStatus.PROCESSING})
_STATE_INKS: Final = {
    "completed": Ink.GREEN,
    "failed": Ink.RED,
    "refused": Ink.RED,
    "unknown": Ink.YELLOW,
    "cancelled": Ink.DIM,
}


def render_failure(error: TaskError) -> str:
    """Return `code: message` of a task's or a submission's error."""
    return make_harmless(f"{error.code}: {error.message}")


def render_status_line(record: Record, now: float) -> str:
    """Return one line about an edit, its task ID first."""
    error = failure_of(record)
    parts = [name_of(record), make_harmless(record.status)]
    if record.status == TaskStatus.COMPLETED:
        parts += [_rendered_place(record), _rendered_link_of(record, now)]
    elif error is not None:
        parts.append(render_failure(error))
    elif record.task is not None and not record.task.is_terminal:
        if record.task.progress is not None:
            parts.append(f"{record.task.progress} %")
        parts.append(f"{render_duration(now - _born_at(record))} elapsed")
    return _GAP.join(part for part in parts if part)


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
    table = [list(_HEADER), *(row.copy() for row in rows)]
    if width is not None:
        _fit(table, width)
    widths = [max(map(cell_width, column)) for column in zip(*table, strict=True)]
    inks = [[Ink.BOLD] * len(_HEADER), *(_row_inks(record, now) for record in records)]
    return [
        _joined(row, widths, row_inks if colour else None)
        for row, row_inks in zip(table, inks, strict=True)
    ]


def name_of(record: Record) -> str:
    """Return the ID of the task, or of the request where there is no task."""
    return make_harmless(record.task_id or record.request_id or "-")


def failure_of(record: Record) -> TaskError | None:
    """Return why the task failed, or the submission was refused."""
    return record.error or (record.task.error if record.task else None)


def link_left_s(record: Record, now: float) -> float | None:
    """Return for how long the result can surely be fetched; None where there is none to fetch."""
    if record.status != TaskStatus.COMPLETED:
        return None
    if record.is_result_gone:
        return 0.0
    if record.link_valid_until is None:
        return None
    return max(0.0, record.link_valid_until - now)


def _born_at(record: Record) -> float:
    created_at = record.task.created_at if record.task else None
    return record.created_at if created_at is None else created_at


def _rendered_place(record: Record) -> str:
    return f"saved {make_harmless(record.saved[-1].path)}" if record.saved else NOT_SAVED


def _rendered_link_of(record: Record, now: float) -> str:
    left_s = link_left_s(record, now)
    if left_s is None:
        return ""
    return f"link valid for {render_duration(left_s)}" if left_s else "link expired"


def _cells(record: Record, now: float) -> list[str]:
    left_s = link_left_s(record, now)
    link = "-" if left_s is None else render_duration(left_s) if left_s else "gone"
    state = make_harmless(record.status)
    progress = record.task.progress if record.task else None
    if record.status in _RUNNING and progress:
        state += f" {progress}%"
    is_saveable = record.status == TaskStatus.COMPLETED
    saved = (
        make_harmless(record.saved[-1].path) if record.saved else NOT_SAVED if is_saveable else "-"
    )
    prompt = make_harmless(record.prompt or "") or "-"
    age = render_duration(now - _born_at(record))
    return [name_of(record), state, age, link, saved, prompt]


def _row_inks(record: Record, now: float) -> list[Ink | None]:
    saved_ink = Ink.DIM if record.saved or record.status != TaskStatus.COMPLETED else None
    return [None, _STATE_INKS.get(record.status), Ink.DIM, _link_ink(record, now), saved_ink, None]


def _link_ink(record: Record, now: float) -> Ink:
    left_s = link_left_s(record, now)
    # Once the file is here, the end of the link is nobody's concern.
    if not left_s or record.saved:
        return Ink.DIM
    if left_s < _VERY_SOON_S:
        return Ink.RED
    return Ink.YELLOW if left_s < _SOON_S else Ink.GREEN


def _fit(table: list[list[str]], width: int) -> None:
    """Shorten and drop cells of `table`, the least missed first, until its lines fit `width`."""
    ...


def _joined(row: list[str], widths: list[int], inks: Sequence[Ink | None] | None) -> str:
    padded = [pad(cell, width) for cell, width in zip(row, widths, strict=True)]
    padded[-1] = padded[-1].rstrip()
    if inks is not None:
        padded = [
            paint(cell.rstrip(), ink) + " " * (len(cell) - len(cell.rstrip()))
            for cell, ink in zip(padded, inks, strict=True)
        ]
    return _GAP.join(padded)
