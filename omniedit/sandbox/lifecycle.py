"""A task's state as a function of the clock, and the object the service publishes of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

MODEL = "gemini-omni-flash-video-edit"
CREDITS_PER_USD = 68
# About 6.36 credits per second of clip. The length of the clip is never looked at: 5 s assumed.
CREDITS_RESERVED = 31.8
CREDITS_USED = 31.17
STALLED_AT_PER_CENT = 40
_PENDING_SHARE = 0.1

# code -> (message, suggestion)
_TASK_ERRORS: Mapping[str, tuple[str, str | None]] = MappingProxyType(
    {
        "content_policy_violation": (
            "The request was rejected because it violates the content policy.",
            "Change the prompt or the video and submit again.",
        ),
        "invalid_parameters": (
            "Invalid request parameters.",
            "Check the parameters against the API reference.",
        ),
        "image_processing_error": (
            "The input could not be processed.",
            "Check that the input is a valid MP4 that can be downloaded.",
        ),
        "image_dimension_mismatch": (
            "The dimensions of the input are not supported.",
            "Use a video of supported dimensions.",
        ),
        "request_cancelled": ("The request was cancelled.", "Submit the task again."),
        "generation_failed_no_content": (
            "Generation finished without any content.",
            "Try another prompt.",
        ),
        "service_error": ("The service met an error.", "Try again later."),
        "generation_timeout": ("Generation timed out.", "Try again later."),
        "resource_exhausted": ("Resources are exhausted for now.", "Try again later."),
        "quota_exceeded": ("Too many requests for now.", "Slow down and try again later."),
        "service_unavailable": ("The service is unavailable for now.", "Try again later."),
        "resource_not_found": (
            "The requested resource was not found.",
            "Check that the video URL is still valid.",
        ),
        "unknown_error": ("An unknown error occurred.", "Contact support."),
    }
)


class Status(StrEnum):
    """A task's status in the wire's spelling."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One accepted edit: everything that will ever happen to it is decided at submission."""

    task_id: str
    model: str
    prompt: str
    video_url: str
    callback_url: str | None
    created_at: float
    duration_s: float
    ends_as: Status | None  # None: it stalls
    fail_code: str | None
    link_until: float
    clip_etag: str | None  # None: the bundled clip

    @property
    def settles_at(self) -> float:
        """Return the instant from which nothing changes any more."""
        return math.inf if self.ends_as is None else self.created_at + self.duration_s

    def status_at(self, now: float) -> Status:
        """Return the status the service reports at `now`."""
        if self.ends_as is not None and now >= self.settles_at:
            return self.ends_as
        is_queued = now < self.created_at + _PENDING_SHARE * self.duration_s
        return Status.PENDING if is_queued else Status.PROCESSING

    def progress_at(self, now: float) -> int:
        """Return the progress in per cent the service reports at `now`."""
        match self.status_at(now):
            case Status.COMPLETED:
                return 100
            case Status.PROCESSING:
                pending_s = _PENDING_SHARE * self.duration_s
                share = (now - self.created_at - pending_s) / max(self.duration_s - pending_s, 1e-9)
                highest = STALLED_AT_PER_CENT if self.ends_as is None else 99
                return min(1 + int(98 * share), highest)
            case _:
                return 0


def task_object(edit: Edit, *, now: float, link: str) -> dict[str, object]:
    """Return the task as `GET /v1/tasks/{id}` shows it at `now`."""
    status = edit.status_at(now)
    shown: dict[str, object] = {
        "id": edit.task_id,
        "object": "video.generation.task",
        "type": "video",
        "model": edit.model,
        "status": str(status),
        "progress": edit.progress_at(now),
        "created": int(edit.created_at),
        "task_info": {"can_cancel": False, "estimated_time": math.ceil(edit.duration_s)},
        "usage": _usage(status),
    }
    if status is Status.COMPLETED:
        shown["results"] = [link]
        shown["result_data"] = [{"video_url": link}]
    elif status in {Status.FAILED, Status.CANCELLED}:
        shown["error"] = _task_error(edit.fail_code or "unknown_error")
    return shown


def task_row(edit: Edit, *, now: float) -> dict[str, object]:
    """Return the task as `GET /v1/tasks` lists it at `now`."""
    status = edit.status_at(now)
    row: dict[str, object] = {
        "id": edit.task_id,
        "status": str(status),
        "model": edit.model,
        "type": "video",
        "progress": edit.progress_at(now),
        "created_at": int(edit.created_at),
        "has_results": status is Status.COMPLETED,
        "has_error": status in {Status.FAILED, Status.CANCELLED},
    }
    if edit.settles_at <= now:
        row["credits_used"] = _credits_used(status)
    return row


def _usage(status: Status) -> dict[str, object]:
    usage: dict[str, object] = {
        "billing_rule": "per_token",
        "credits_reserved": CREDITS_RESERVED,
        "user_group": "default",
    }
    if status not in {Status.PENDING, Status.PROCESSING}:
        used = _credits_used(status)
        usage["credits_used"] = used
        usage["cost"] = {"credits": used, "usd": round(used / CREDITS_PER_USD, 6)}
    return usage


def _credits_used(status: Status) -> float:
    return CREDITS_USED if status is Status.COMPLETED else 0.0


def _task_error(code: str) -> dict[str, str]:
    message, suggestion = _TASK_ERRORS.get(code, ("The task failed.", None))
    error = {"code": code, "message": message}
    return error | {"suggestion": suggestion} if suggestion else error
