"""Tasks, edits, records and the other nouns of the service, as frozen values."""

import math
import os
import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias
from urllib.parse import unquote

from omniedit.errors import OmniEditError

LINK_LIFETIME_S: Final = 24 * 3600
"""Result links are valid for 24 hours after completion (API reference)."""
CREDITS_PER_DOLLAR: Final = 68
MOST_CREDITS: Final = 1e12
"""A larger amount is not an amount of credits, and the sum of some might be infinite."""
BATCH_SIZE: Final = 50
"""The maximum number of tasks in a batch read or on a page of the account's list."""
MAX_UPLOAD_BYTES: Final = 95 * 1024 * 1024
"""The largest upload that the vendor's own client sends to the file service."""
TASK_PREFIX: Final = "task:"
"""The prefix of a VIDEO that stands for the result of a task."""
LAST: Final = "last"
"""What users type for the newest task, so no task may have this ID."""

_VIDEO_SUFFIXES = frozenset(
    {".3g2", ".3gp", ".asf", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4"}
    | {".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm", ".wmv"}
)
_TASK_ID = re.compile(r"[A-Za-z0-9._][A-Za-z0-9._-]{0,127}")  # no option
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_INPUT_CODES = frozenset(
    {
        "image_dimension_mismatch",
        "image_processing_error",
        "invalid_parameters",
        "resource_not_found",
    }
)
_RETRYABLE_CODES = frozenset(
    {
        "generation_timeout",
        "quota_exceeded",
        "request_cancelled",
        "resource_exhausted",
        "service_error",
        "service_unavailable",
    }
)
_TEMPORARY_KINDS = frozenset(
    {"network", "not_connected", "rate_limited", "server_error", "unavailable"}
)

JSONObject: TypeAlias = Mapping[str, Any]


class Model(NamedTuple):
    """A model of the service: its limits and prices (the vendor's price pages, 2026)."""

    model_id: str
    longest_clip_s: float = math.inf
    # The possible widths and heights of its results.
    sizes: tuple[tuple[int, int], ...] = ((1280, 720), (720, 1280))
    # Tokens and their prices for a second of the clip, and of a result as long, with its audio.
    credits_per_s: float = 5792 * 86.7e-6 + 5792 * 1011.5e-6

    @property
    def is_known(self) -> bool:
        """Whether its limits and prices are known."""
        return self.model_id in MODELS

    def estimated_credits(self, clip_s: float | None) -> float | None:
        """Return the estimated minimum price of an edit, without thinking tokens; None if unknown."""
        return None if clip_s is None or not self.is_known else clip_s * self.credits_per_s


MODELS: Final[Mapping[str, Model]] = {
    model.model_id: model
    for model in (
        Model(model_id="gemini-omni-flash-video-edit", longest_clip_s=10.0),
        Model(model_id="gemini-omni-1.1-flash-video-edit", longest_clip_s=10.0),
    )
}
"""The known models, the default first."""
DEFAULT_MODEL: Final = next(iter(MODELS))


def find_model(model_id: str) -> Model:
    """Return the model with this ID; an unknown model has no limits and no price."""
    return MODELS.get(model_id) or Model(model_id=model_id, sizes=())


class TaskStatus(StrEnum):
    """The known statuses of a task, as the service spells them."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class AttemptState(StrEnum):
    """The states of a submission without a task.

    Never compare them with the service's statuses, which may be any text, even these words.
    """

    SENDING = "sending"
    UNKNOWN = "unknown"
    REFUSED = "refused"


_TERMINAL = frozenset({TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED})


class TaskError(NamedTuple):
    """Why a task failed, or a submission was refused."""

    code: str
    message: str
    suggestion: str | None = None
    kind: str | None = None  # for a refused submission, that of its error class (`errors.py`)
    http_status: int | None = None

    @classmethod
    def of(cls, error: OmniEditError, *, suggestion: str | None = None) -> "TaskError":
        """Return an error of ours in the form that journal and documents hold."""
        return cls(error.code, error.message, suggestion, error.kind, error.http_status)

    @property
    def is_retryable(self) -> bool:
        """Whether submitting the edit again may succeed (API reference, task error codes)."""
        return self.code in _RETRYABLE_CODES

    @property
    def is_temporary(self) -> bool:
        """Whether a submission was refused for a reason that passes, such as a rate limit."""
        return self.kind in _TEMPORARY_KINDS

    @property
    def is_about_input(self) -> bool:
        """Whether the service may have failed to fetch or decode the clip."""
        return self.code in _INPUT_CODES


def may_be_resubmitted(status: str | None, error: TaskError | None) -> bool:
    """Return whether an edit whose task ended like this is submitted again; a cancelled one is not."""
    return status == TaskStatus.FAILED and error is not None and error.is_retryable


class Task(NamedTuple):
    """One edit, as the service last reported it."""

    task_id: str
    status: str | None  # as the service spells it, possibly a new word; None if unknown
    progress: int | None = None  # per cent
    model: str | None = None
    created_at: float | None = None  # Unix time
    estimated_s: float | None = None
    credits_reserved: float | None = None
    credits_used: float | None = None
    result_urls: tuple[str, ...] = ()
    error: TaskError | None = None
    raw: JSONObject | None = None  # the service's own object, if just read

    @property
    def failure(self) -> TaskError | None:
        """Why the task failed; a general error if the service gave no reason."""
        if self.error is None and self.has_failed:
            is_cancelled = self.status == TaskStatus.CANCELLED
            code = "request_cancelled" if is_cancelled else "unknown_error"
            return TaskError(code=code, message="no reason was given")
        return self.error

    @property
    def shown_status(self) -> str:
        """The status to show; "status unknown" if there is none."""
        return self.status or "status unknown"

    @property
    def is_terminal(self) -> bool:
        """Whether the task has ended, so that its status is final."""
        return self.status in _TERMINAL

    @property
    def is_completed(self) -> bool:
        """Whether the task completed successfully."""
        return self.status == TaskStatus.COMPLETED

    @property
    def has_failed(self) -> bool:
        """Whether the task ended without a result: failed or cancelled, and not charged."""
        return self.is_terminal and not self.is_completed


OPTIONAL_TASK_FIELDS: Final = (
    "model",
    "created_at",
    "estimated_s",
    "credits_reserved",
    "credits_used",
)
"""Fields that a newer state of a task may omit; what is known of them is then kept."""


class Sound(StrEnum):
    """The sound of a saved result."""

    NEW = "new"  # as the service returned it
    ORIGINAL = "original"  # the clip's own
    NONE = "none"


class VideoFacts(NamedTuple):
    """The facts about a video that its viewer sees."""

    width: int
    height: int
    frame_rate: float | None
    duration_s: float | None
    codec: str
    marks: tuple[str, ...] = ()  # provenance marks, such as `c2pa`


class SavedFile(NamedTuple):
    """A saved result, complete and verified when it was written."""

    path: str  # absolute
    size_bytes: int
    sha256: str
    is_elsewhere: bool = False  # it was saved on another machine, whose journal was merged
    facts: VideoFacts | None = None  # None if not probed
    sound: Sound = Sound.NEW
    served_path: str | None = None  # of the file as the service returned it, if kept separately

    @property
    def is_served(self) -> bool:
        """Whether it holds the bytes that the service returned."""
        return self.served_path is None


class EditRequest(NamedTuple):
    """An edit as requested; `edits.requests.prepare` checks it."""

    video: str  # URL or path
    prompt: str
    callback_url: str | None = None
    request_id: str | None = None  # chosen by the caller
    start: str | None = None  # cut mark, as typed
    end: str | None = None
    take: int | None = None  # another edit of the same clip and prompt
    check: bool | None = None  # None: local clips are checked, URLs are not
    max_credits: float | None = None
    keeps_hdr: bool = False  # send HDR colours unchanged
    parent: str | None = None  # the task whose result is the clip (VIDEO was `task:TASK`)
    model: str = DEFAULT_MODEL
    model_source: str = "default"  # which setting chose it
    piece: str | None = None  # "piece 7 of 30" if the clip is split
    clip_path: str | None = None  # of the clip's file, if a URL has been fetched already

    @property
    def is_cut(self) -> bool:
        """Whether only a part of the clip is edited."""
        return self.start is not None or self.end is not None

    @property
    def is_checked(self) -> bool:
        """Whether a clip that does not fit is refused; by default only a local clip is."""
        return is_local(self.video) if self.check is None else self.check

    @property
    def shown_video(self) -> str:
        """The clip's name in the journal, documents and file names."""
        return self.video if self.parent is None else f"{TASK_PREFIX}{self.parent}"


class ClipPlan(NamedTuple):
    """How a clip is sent, as decided by probing it."""

    start_s: float | None = None
    end_s: float | None = None
    is_reencoded: bool = False  # cut, converted, or both before it is uploaded
    estimated_credits: float | None = None
    sent: VideoFacts | None = None  # the clip as the service gets it; None if it was not probed


class Credits(NamedTuple):
    """The account's balance and the limit of one key."""

    account_remaining: float | None
    account_used: float | None
    key_remaining: float | None  # also None if the key has no limit
    key_used: float | None
    is_key_unlimited: bool


class UploadedClip(NamedTuple):
    """A local clip that has been uploaded to the file service."""

    url: str
    expires_at: float | None  # Unix time


class Record(NamedTuple):
    """Everything this machine knows about one edit: the attempt, its task, the saved files."""

    request_id: str | None
    task: Task | None
    status: str | None  # the task's status, or sending, unknown, refused
    created_at: float  # Unix time of the attempt, or of the task if it was adopted
    # How far the service's clock was ahead of this machine's, which may be corrected later.
    clock_offset_s: float | None = None
    video: str | None = None
    prompt: str | None = None
    identity: str | None = None
    origin: str | None = None
    model: str | None = None
    clip_facts: VideoFacts | None = None  # of the clip as sent; None if not probed
    body: bytes | None = None
    body_digest: str | None = None
    clip_sha256: str | None = None  # of a local clip
    start_s: float | None = None  # the edited part of the clip
    end_s: float | None = None
    parent: str | None = None  # the task whose result is the clip
    error: TaskError | None = None
    saved: tuple[SavedFile, ...] = ()
    completed_after: float | None = None  # Unix time of the last poll that showed it unfinished
    is_result_gone: bool = False
    as_of: float | None = None  # Unix time when the task's state was recorded; None if just read

    @property
    def task_id(self) -> str | None:
        """The task ID; None until the service has given one."""
        return self.task.task_id if self.task else None

    @property
    def shown_status(self) -> str:
        """The status to show; "status unknown" if there is none."""
        return self.status or "status unknown"

    @property
    def shown_video(self) -> str | None:
        """The clip as submitted; once the task has ended, without the query of its URL."""
        if self.video is None or self.task is None or not self.task.is_terminal:
            return self.video
        return self.video if is_local(self.video) else without_query(self.video)

    @property
    def shown_model(self) -> str | None:
        """The model that the service reports, or else the requested one."""
        reported = self.task.model if self.task else None
        return reported or self.model

    @property
    def is_refused(self) -> bool:
        """Whether the submission was certainly not accepted."""
        return self.task is None and self.status == AttemptState.REFUSED

    @property
    def is_unsettled(self) -> bool:
        """Whether the submission may have been accepted although its task is unknown."""
        return self.task is None and self.status in {AttemptState.SENDING, AttemptState.UNKNOWN}

    @property
    def has_failed(self) -> bool:
        """Whether the task ended without a result."""
        return self.task is not None and self.task.has_failed

    @property
    def is_completed(self) -> bool:
        """Whether the task completed successfully."""
        return self.task is not None and self.task.is_completed

    @property
    def result_urls(self) -> tuple[str, ...]:
        """The links to the results; empty until they are known."""
        return self.task.result_urls if self.task else ()

    @property
    def is_open(self) -> bool:
        """Whether the task had not ended when it was last read."""
        return self.task is not None and not self.task.is_terminal

    @property
    def resume_command(self) -> str:
        """The command that settles the submission, without `omniedit`."""
        return f"submit --resume {self.request_id}"

    @property
    def refusal(self) -> OmniEditError:
        """The error that a refused submission ended with."""
        error = self.error or TaskError(
            "refused", "the reason is not known", kind="request_refused"
        )
        cls = OmniEditError.of_kind(error.kind)
        status = error.http_status
        return cls(error.message, code=error.code, http_status=status, request_id=self.request_id)

    def with_task(self, task: Task) -> "Record":
        """Return this record with a newer state of its task, which may omit what is known."""
        known = self.task
        if known is not None and known.task_id == task.task_id:
            omitted = [name for name in OPTIONAL_TASK_FIELDS if getattr(task, name) is None]
            omits_error = task.error is None and known.status == task.status
            task = task._replace(
                **{name: getattr(known, name) for name in omitted},
                result_urls=task.result_urls or known.result_urls,
                error=known.error if omits_error else task.error,
            )
        return self._replace(
            task=task,
            status=task.status,
            error=task.error,
            # A fresh link may work.
            is_result_gone=self.is_result_gone
            and (known is None or known.result_urls == task.result_urls),
            as_of=None,
        )

    @property
    def link_valid_until(self) -> float | None:
        """The Unix time until which the result link is certainly valid; None if unknown."""
        if self.task is None or not self.task.is_completed:
            return None
        since = max(self.completed_after or 0.0, self.task.created_at or 0.0)
        return since + LINK_LIFETIME_S if since else None


def compared_prompt(prompt: str) -> str:
    """Return the part of a prompt that identifies an edit; the prompt is sent as typed."""
    return prompt.replace("\r\n", "\n").replace("\r", "\n").rstrip()


def clip_name(video: str) -> str:
    """Return the file name at the end of a clip's path or URL."""
    if is_local(video):
        return Path(video).name
    path = without_query(video.partition("://")[2]).partition("/")[2]
    return unquote(path).rpartition("/")[2]


def without_query(url: str) -> str:
    """Return a URL without query and fragment, which may carry signatures."""
    return re.split(r"[?#]", url, maxsplit=1)[0]


def is_local(video: str) -> bool:
    """Return whether VIDEO is a path on this machine rather than a URL."""
    # `_SCHEME` needs two letters: one letter is a Windows drive.
    return _SCHEME.match(video) is None


def render_count(number: int, noun: str) -> str:
    """Return `1 task` or `12 tasks`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def known_sum(amounts: Iterable[float | None]) -> float | None:
    """Return the sum of some amounts; None if one of them is unknown."""
    amounts = list(amounts)
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if len(known) == len(amounts) else None


def is_task_id(text: str) -> bool:
    """Return whether `text` is safe in a URL as a task ID.

    Dots alone are refused: they would be removed as dot segments of the path (RFC 3986, 5.2.4).
    """
    return _TASK_ID.fullmatch(text) is not None and text.strip(".") != ""


def is_video_name(name: str) -> bool:
    """Return whether a file name or path has the suffix of a video."""
    return os.path.splitext(name)[1].lower() in _VIDEO_SUFFIXES  # noqa: PTH122 - faster than Path


@lru_cache(maxsize=1024)  # a screen of bars is sorted several times a second
def natural_order(name: str) -> list[tuple[bool, int, str, str]]:
    """Return a key that sorts `clip2` before `Clip10`."""
    # Digits stay text: `int` refuses more than 4,300 digits.
    parts = re.findall(r"0*([0-9]+)|([^0-9]+)", name.casefold())
    return [(not digits, len(digits), digits, text) for digits, text in parts]


def numbered(name: str, index: int) -> str:
    """Return the name of the file with this index: `name.mp4`, `name-2.mp4`, and so on."""
    path = Path(name)
    return name if index == 0 else f"{path.stem}-{index + 1}{path.suffix}"


def task_name(task_id: str | None) -> str:
    """Return the task's name for a sentence; most IDs already begin with `task`."""
    text = str(task_id)
    return text if text.startswith("task") else f"task {text}"
