"""The service's nouns, as frozen values, and the parsing of its JSON into them.

Sources: the published API reference ("P" in the comments) and, where it is silent, what the
vendor's own open client reads ("C"). Where a reply disagrees with both, the reply is believed:
parsing never fails on a field that is missing, of another type or new, only on a missing ID.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, TypeAlias, cast

from omniedit.errors import UnreadableReplyError

MODEL: Final = "gemini-omni-flash-video-edit"
LINK_LIFETIME_S: Final = 24 * 3600
"""Result links live 24 hours from completion (API reference)."""
CREDITS_PER_DOLLAR: Final = 68

_TASK_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
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

JSONObject: TypeAlias = Mapping[str, Any]


class TaskStatus(StrEnum):
    """The states a task is known to pass through, in the wire's spelling.

    The first three are omniedit's own: of submissions that have no task (yet).
    """

    SENDING = "sending"
    UNKNOWN = "unknown"
    REFUSED = "refused"
    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


_TERMINAL = frozenset({TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED})


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskError:
    """Why a task failed, or a submission was refused."""

    code: str
    message: str
    suggestion: str | None = None
    kind: str | None = None
    """Of a refused submission: which error class it was (`errors.py`)."""
    http_status: int | None = None

    @property
    def is_retryable(self) -> bool:
        """Whether submitting the same edit again is sensible (task error codes, API reference)."""
        return self.code in _RETRYABLE_CODES


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One edit, as the service last reported it."""

    task_id: str
    status: str  # the wire's spelling; not a TaskStatus, since new ones may appear
    progress: int | None = None  # per cent
    model: str | None = None
    created_at: float | None = None  # Unix time
    estimated_s: float | None = None
    credits_reserved: float | None = None
    credits_used: float | None = None
    result_urls: tuple[str, ...] = ()
    error: TaskError | None = None
    raw: JSONObject | None = field(default=None, compare=False, repr=False)

    @property
    def is_terminal(self) -> bool:
        """Whether the service will not change it any more."""
        return self.status in _TERMINAL

    @property
    def is_completed(self) -> bool:
        """Whether it ended well."""
        return self.status == TaskStatus.COMPLETED

    @property
    def has_failed(self) -> bool:
        """Whether it ended without a result: failed or cancelled, and not charged."""
        return self.is_terminal and not self.is_completed


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedFile:
    """A result on this machine's disk, complete and verified when it was written."""

    path: str  # absolute
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EditRequest:
    """What one edit asks for.

    `video` is the text that was typed; `clip` names the content: the URL, or `sha256:…` of a
    local file. Output, callback and folder are not part of an edit's identity.
    """

    video: str
    clip: str
    prompt: str
    callback_url: str | None = None
    start: str | None = None
    end: str | None = None
    take: int | None = None  # another edit of the same clip and prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """The service's answer to a submission: the task, and whether it is an earlier one's."""

    task: Task
    is_replay: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPage:
    """One page of the account's tasks, newest first."""

    tasks: tuple[Task, ...]
    total: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Credits:
    """What may still be spent: the account's balance, and the limit of one key."""

    account_remaining: float | None
    account_used: float | None
    key_remaining: float | None  # None as well where the key has no limit
    key_used: float | None
    is_key_unlimited: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadedClip:
    """A local clip as the file service holds it."""

    url: str
    expires_at: float | None  # Unix time


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One edit, as this machine knows it: the attempt, the task it became, the saved files."""

    request_id: str | None
    task: Task | None
    status: str  # the task's, or sending, unknown, refused
    created_at: float  # Unix time of the attempt, or of the task where it was adopted
    video: str | None = None
    prompt: str | None = None
    identity: str | None = None
    origin: str | None = None
    body: bytes | None = None
    body_digest: str | None = None
    error: TaskError | None = None
    saved: tuple[SavedFile, ...] = ()
    completed_after: float | None = None  # Unix time of the last look that showed it unfinished
    is_adopted: bool = False
    is_result_gone: bool = False

    @property
    def task_id(self) -> str | None:
        """The task's ID, once the service gave one."""
        return self.task.task_id if self.task else None

    @property
    def link_valid_until(self) -> float | None:
        """The Unix time until which a result's link lives at least; None before there is one."""
        if self.task is None or not self.task.is_completed:
            return None
        since = max(self.completed_after or 0.0, self.task.created_at or 0.0)
        return since + LINK_LIFETIME_S if since else None


def is_task_id(text: str) -> bool:
    """Return whether `text` may stand in a URL as a task ID.

    A text of dots alone would be taken for a path step by HTTP libraries (RFC 3986, 5.2.4).
    """
    return _TASK_ID.fullmatch(text) is not None and text.strip(".") != ""


def parse_task(value: object) -> Task:
    """Return the task in a reply of the service.

    Raises:
        UnreadableReplyError: It is not an object, or has no usable ID.
    """
    raw = _object(value)
    task_id = raw.get("id", raw.get("task_id"))
    if not isinstance(task_id, str) or not is_task_id(task_id):
        msg = "the service's reply holds no usable task ID"
        raise UnreadableReplyError(msg)
    status = _status(raw.get("status"))
    usage = _object(raw.get("usage"))
    progress = _number(raw.get("progress"))
    return Task(
        task_id=task_id,
        status=status,
        progress=100
        if status == TaskStatus.COMPLETED
        else None
        if progress is None
        else max(0, min(100, int(progress))),
        model=_text(raw.get("model")),
        created_at=_instant(raw.get("created", raw.get("created_at"))),
        estimated_s=_number(_object(raw.get("task_info")).get("estimated_time")),
        credits_reserved=_number(usage.get("credits_reserved")),
        credits_used=_number(usage.get("credits_used", raw.get("credits_used"))),
        result_urls=tuple(dict.fromkeys(_result_urls(raw))),
        error=_task_error(raw.get("error"), status),
        raw=raw,
    )


def parse_error(value: object) -> TaskError | None:
    """Return the `error` of a reply, whatever form it has; None where there is none."""
    if isinstance(value, str) and value.strip():
        return TaskError(code="unknown_error", message=value)
    if not isinstance(value, Mapping) or not value:
        return None
    raw = _object(cast("object", value))
    code = raw.get("code")
    return TaskError(
        code=str(code) if isinstance(code, str | int) and code != "" else "unknown_error",
        message=_text(raw.get("message")) or "no reason was given",
        suggestion=_text(raw.get("suggestion", raw.get("fallback_suggestion"))),
    )


def parse_task_list(value: object) -> tuple[Task, ...]:
    """Return the tasks in `{"data": [task…]}`, leaving out what is none.

    Raises:
        UnreadableReplyError: There is no such list.
    """
    entries = _object(value).get("data")
    if not isinstance(entries, list):
        msg = "the service's reply holds no list of tasks"
        raise UnreadableReplyError(msg)
    tasks: list[Task] = []
    for entry in cast("list[object]", entries):
        try:
            tasks.append(parse_task(entry))
        except UnreadableReplyError:
            continue
    return tuple(tasks)


def parse_task_page(value: object) -> TaskPage:
    """Return one page of the account's tasks.

    Raises:
        UnreadableReplyError: There is no such list.
    """
    total = _number(_object(value).get("total"))
    return TaskPage(tasks=parse_task_list(value), total=None if total is None else int(total))


def parse_uploaded_clip(value: object) -> UploadedClip:
    """Return the file service's answer to an upload.

    Raises:
        UnreadableReplyError: It names no http(s) URL.
    """
    stored = _object(_object(value).get("data"))
    url = _text(stored.get("file_url")) or _text(stored.get("download_url"))
    if url is None or not _is_web_url(url):
        msg = "the file service's reply names no URL of the uploaded clip"
        raise UnreadableReplyError(msg)
    return UploadedClip(url=url, expires_at=_instant(stored.get("expires_at")))


def parse_credits(value: object) -> Credits:
    """Return the answer of `GET /v1/credits`.

    Raises:
        UnreadableReplyError: It holds neither a balance nor a limit.
    """
    stored = _object(_object(value).get("data"))
    key, account = _object(stored.get("token")), _object(stored.get("user"))
    if not key and not account:
        msg = "the service's reply holds no credits"
        raise UnreadableReplyError(msg)
    is_unlimited = key.get("unlimited_credits") is True
    return Credits(
        account_remaining=_number(account.get("remaining_credits")),
        account_used=_number(account.get("used_credits")),
        key_remaining=None if is_unlimited else _number(key.get("remaining_credits")),
        key_used=_number(key.get("used_credits")),
        is_key_unlimited=is_unlimited,
    )


def _result_urls(raw: JSONObject) -> Iterable[str]:
    """Yield the http(s) links of a task; (C) they may also stand in `result_data`."""
    for key in ("results", "result_data"):
        entries = raw.get(key)
        for entry in cast("list[object]", entries) if isinstance(entries, list) else []:
            url = entry if isinstance(entry, str) else _object(entry).get("video_url")
            if isinstance(url, str) and _is_web_url(url):
                yield url


def _is_web_url(url: str) -> bool:
    return re.match(r"https?://[^/\s]", url, re.IGNORECASE) is not None


def _status(value: object) -> str:
    status = value.strip().lower() if isinstance(value, str) else ""
    return {"canceled": "cancelled", "": "pending"}.get(status, status)


def _task_error(value: object, status: str) -> TaskError | None:
    error = parse_error(value)
    if error is None and status in {TaskStatus.FAILED, TaskStatus.CANCELLED}:
        code = "unknown_error" if status == TaskStatus.FAILED else "request_cancelled"
        return TaskError(code=code, message="no reason was given")
    return error


def _object(value: object) -> JSONObject:
    return cast("JSONObject", value) if isinstance(value, Mapping) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value


def _instant(value: object) -> float | None:
    """Return Unix seconds of a number (seconds or, where too large, milliseconds) or ISO text."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return None
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    number = _number(value)
    if number is None or number <= 0:
        return None
    year_5138_s = 1e11
    return number / 1000 if number > year_5138_s else number
