"""Records as people read them: pure functions from values to harmless lines."""

from typing import Final

from omniedit.models import Record, TaskError, TaskStatus
from omniedit.terminal.advice import advice_on
from omniedit.terminal.harmless import make_harmless
from omniedit.terminal.table import (
    NOT_SAVED,
    born_at,
    failure_of,
    link_left_s,
    name_of,
    render_table,
)
from omniedit.terminal.units import (
    render_clock,
    render_credits,
    render_duration,
    render_moment,
    render_size,
)

__all__ = [
    "NOT_SAVED",
    "advice_on",
    "failure_of",
    "link_left_s",
    "name_of",
    "render_clock",
    "render_credits",
    "render_duration",
    "render_failure",
    "render_moment",
    "render_size",
    "render_status_line",
    "render_table",
]

_GAP: Final = "  "


def render_failure(error: TaskError) -> str:
    """Return `code: message` of a task's or a submission's error."""
    return make_harmless(f"{error.code}: {error.message}")


def render_status_line(record: Record, now: float) -> str:
    """Return one line about an edit, its task ID first."""
    error = failure_of(record)
    parts = [name_of(record), make_harmless(record.status)]
    if record.status == TaskStatus.COMPLETED:
        parts += [_place(record), _link(record, now)]
    elif error is not None:
        parts.append(render_failure(error))
    elif record.task is not None and not record.task.is_terminal:
        if record.task.progress is not None:
            parts.append(f"{record.task.progress} %")
        parts.append(f"{render_duration(now - born_at(record))} elapsed")
    return _GAP.join(part for part in parts if part)


def _place(record: Record) -> str:
    return f"saved {make_harmless(record.saved[-1].path)}" if record.saved else NOT_SAVED


def _link(record: Record, now: float) -> str:
    left_s = link_left_s(record, now)
    if left_s is None:
        return ""
    return f"link valid for {render_duration(left_s)}" if left_s else "link expired"
