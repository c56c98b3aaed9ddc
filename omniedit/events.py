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
from omniedit.models import Record, SavedFile


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
    message: str
    code: str
    kind: str  # of the error class; see `TaskError`
    request_id: str | None = None
    task_id: str | None = None

    @property
    def state(self) -> str:
        """How the edit stands: "failed", "not finished" (its task continues), or "unknown"."""
        match self.kind:
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


class Preparing(NamedTuple):
    """Work on a clip or a result has progressed on this machine."""

    name: str  # of the clip or result, or "piece 7 of 30"
    what: str  # a verb and perhaps its object: "cutting", "replacing sound"
    done: float  # in the unit of `total`
    total: float | None
    fps: float | None = None
    remaining_s: float | None = None


class Transferring(NamedTuple):
    """A download or an upload has progressed."""

    name: str  # for the user: the target, the clip, the task, or "standard output"
    direction: str  # "download" or "upload"
    done_bytes: int
    total_bytes: int | None
    task_id: str | None = None


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
    | Preparing
    | Transferring
    | Saved
    | Noted
    | Warned
)
Observer: TypeAlias = Callable[[Event], None]
