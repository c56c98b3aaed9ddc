"""Events of a running use case, as frozen values for its observers.

Use cases call one `report(event)`; observers decide whether it becomes a bar, a line, NDJSON or
nothing.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from omniedit.errors import (
    NotFinishedError,
    NotReplayedError,
    OutcomeUnknownError,
    WaitTimeoutError,
)
from omniedit.models import Record, SavedFile, TaskError


class Submitted(NamedTuple):
    """The service accepted a submission, or had accepted it earlier (`is_replay`)."""

    record: Record
    is_replay: bool = False
    estimated_credits: float | None = None  # None if the clip was not probed


class Known(NamedTuple):
    """An edit has a task already, which is continued: nothing is submitted."""

    record: Record


class Progressed(NamedTuple):
    """A task was polled; within one wait its progress never goes backwards."""

    record: Record
    elapsed_s: float  # since the task was created, or else since the wait began
    remaining_s: float | None


class Completed(NamedTuple):
    """A task completed successfully."""

    record: Record


class Failed(NamedTuple):
    """A task failed or was cancelled."""

    record: Record


class LineFailed(NamedTuple):
    """One of several edits failed, although no task did; the others continue."""

    name: str  # of the clip, the manifest line or the piece
    error: TaskError
    task_id: str | None = None

    @property
    def state(self) -> str:
        """How the edit stands: "failed", "not finished" (its task continues), or "unknown"."""
        match self.error.kind:
            case NotFinishedError.kind | WaitTimeoutError.kind:
                return "not finished"
            case OutcomeUnknownError.kind | NotReplayedError.kind:
                return "unknown"
            case _:
                return "failed"


class Stalled(NamedTuple):
    """A task has shown no change for minutes."""

    task_id: str
    since_s: float


class Retrying(NamedTuple):
    """A transient failure; the next attempt follows after `delay_s`."""

    message: str
    delay_s: float
    attempt: int  # the attempt that failed, from 1
    task_id: str | None = None
    record: Record | None = None  # of that task, if its newest status is unknown to omniedit


class Working(NamedTuple):
    """Work on this machine has progressed: a transfer, or the preparation of a clip or result."""

    name: str  # for the user: the clip, the target, "piece 7 of 30", or "standard output"
    what: str  # a verb and perhaps its object: "cutting", "replacing sound", "uploading"
    done: float  # in the unit of `total`
    total: float | None
    is_transfer: bool = False  # whether the unit is a byte
    task_id: str | None = None
    fps: float | None = None
    remaining_s: float | None = None  # None leaves the estimate to the observer

    @property
    def verb(self) -> str:
        """What is done, in one word."""
        return self.what.partition(" ")[0]


class Saved(NamedTuple):
    """A result is complete under its final name."""

    file: SavedFile
    shown_path: str  # as the user gave it
    task_id: str | None = None  # None if joined from the results of several tasks
    record: Record | None = None  # of that task
    is_new: bool = True  # False if the file already existed


class Noted(NamedTuple):
    """A note for the user, silenced by `--quiet`."""

    message: str


class Warned(NamedTuple):
    """A warning, shown even with `--quiet`."""

    message: str


Event: TypeAlias = (
    Submitted
    | Known
    | Progressed
    | Completed
    | Failed
    | LineFailed
    | Stalled
    | Retrying
    | Working
    | Saved
    | Noted
    | Warned
)
TaskEvent: TypeAlias = Submitted | Progressed | Completed | Failed
"""The events that show a task's newest state."""
Observer: TypeAlias = Callable[[Event], None]
