"""What happens while a use case runs, as frozen values for whoever watches.

Use cases call one `report(event)`; whether that becomes a bar, a line, NDJSON or nothing is the
observers' business.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from omniedit.models import Record, SavedFile


class Submitted(NamedTuple):
    """The service accepted a submission; `is_replay`: it had done so before."""

    record: Record
    is_replay: bool = False
    estimated_credits: float | None = None  # where the clip was looked at


class Progressed(NamedTuple):
    """A poll of a task. Its progress never runs backwards within one wait."""

    record: Record
    elapsed_s: float  # since the task was created, or since the wait began
    remaining_s: float | None


class Completed(NamedTuple):
    """A task ended well."""

    record: Record


class Failed(NamedTuple):
    """A task failed or was cancelled."""

    record: Record


class LineFailed(NamedTuple):
    """One edit of many came to nothing without a task that failed; the others go on."""

    name: str  # of the manifest's line, or of the piece
    message: str
    code: str
    kind: str  # of the error; see `TaskError`
    request_id: str | None = None
    task_id: str | None = None


class Stalled(NamedTuple):
    """A task has not moved for minutes."""

    task_id: str
    since_s: float


class Retrying(NamedTuple):
    """Something transient went wrong and is tried again after `delay_s`."""

    message: str
    delay_s: float
    attempt: int  # from 1: the one that just failed
    task_id: str | None = None
    record: Record | None = None  # of that task, where something was seen of it


class Preparing(NamedTuple):
    """A clip is being encoded, cut or joined on this machine."""

    name: str  # of the clip, or "piece 7 of 30"
    what: str  # "converting", "cutting", "joining", "checking"
    done: float
    total: float | None
    fps: float | None = None
    remaining_s: float | None = None


class Transferring(NamedTuple):
    """Bytes moved: a download (`name` is the target) or an upload (`name` is the clip)."""

    name: str
    direction: str  # "download" or "upload"
    done_bytes: int
    total_bytes: int | None
    task_id: str | None = None


class Saved(NamedTuple):
    """A result lies complete under its final name."""

    file: SavedFile
    shown_path: str  # as the user gave it
    task_id: str | None = None  # None: joined from the results of several tasks
    record: Record | None = None  # of that task, as it was last seen
    is_new: bool = True  # False: it was there already


class Noted(NamedTuple):
    """A hint: worth a line, silenced by `--quiet`."""

    message: str


class Warned(NamedTuple):
    """A warning: shown also with `--quiet`."""

    message: str


Event: TypeAlias = (
    Submitted
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
