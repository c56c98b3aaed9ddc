"""One edit: its model and price, its state as a function of the clock, and its wire form."""

import hashlib
import hmac
import math
from enum import StrEnum
from typing import NamedTuple

MODELS = ("gemini-omni-flash-video-edit", "gemini-omni-1.1-flash-video-edit")
MAX_CLIP_S = 10.0
CREDITS_PER_USD = 68
# 5,792 tokens per second each way; 86.7 credits per million input tokens, 1,011.5 for output.
CREDITS_PER_SECOND = 5_792 * (86.7 + 1_011.5) / 1e6
# A clip that the sandbox does not hold is reserved as one length and charged as a shorter one, so
# that a client that confuses the two amounts is found out.
_ASSUMED_RESERVED_S = 5.0
_ASSUMED_CHARGED_S = 4.9
STALLED_AT_PER_CENT = 40
_PENDING_SHARE = 0.1

# code -> message and suggestion
_TASK_ERRORS = {
    "content_policy_violation": (
        "The request was rejected because it violates the content policy.",
        "Change the prompt or the video and submit again.",
    ),
    "invalid_parameters": ("Invalid request parameters.", "Check them against the API reference."),
    "image_processing_error": ("The input could not be processed.", "Check that it is an MP4."),
    "image_dimension_mismatch": ("The input's dimensions are not supported.", "Use another video."),
    "request_cancelled": ("The request was cancelled.", "Submit the task again."),
    "generation_failed_no_content": ("No content was generated.", "Try another prompt."),
    "service_error": ("The service encountered an error.", "Try again later."),
    "generation_timeout": ("Generation timed out.", "Try again later."),
    "resource_exhausted": ("Resources are temporarily exhausted.", "Try again later."),
    "quota_exceeded": ("Too many requests.", "Slow down and try again later."),
    "service_unavailable": ("The service is temporarily unavailable.", "Try again later."),
    "resource_not_found": ("The resource was not found.", "Check that the video URL is valid."),
    "unknown_error": ("An unknown error occurred.", "Contact support."),
}


class Status(StrEnum):
    """A task's status, as spelled on the wire."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Edit(NamedTuple):
    """One accepted edit; whatever happens to it later is decided at submission."""

    task_id: str
    model: str
    prompt: str
    video_url: str
    callback_url: str | None
    created_at: float
    duration_s: float
    final_status: Status | None  # None: it stalls
    fail_code: str | None
    is_empty: bool
    link_until: float
    result_etag: str | None  # None: the bundled clip
    credits_reserved: float
    credits_charged: float  # once settled

    @property
    def settles_at(self) -> float:
        """The instant from which nothing changes any more."""
        return math.inf if self.final_status is None else self.created_at + self.duration_s

    def status_at(self, now: float) -> Status:
        """Return the status that the service reports at `now`."""
        if self.final_status is not None and now >= self.settles_at:
            return Status(self.final_status)  # which is a plain string once stored
        is_pending = now < self.created_at + _PENDING_SHARE * self.duration_s
        return Status.PENDING if is_pending else Status.PROCESSING

    def progress_at(self, now: float) -> int:
        """Return the progress in per cent that the service reports at `now`."""
        status = self.status_at(now)
        if status is not Status.PROCESSING:
            return 100 if status is Status.COMPLETED else 0
        pending_s = _PENDING_SHARE * self.duration_s
        share = (now - self.created_at - pending_s) / max(self.duration_s - pending_s, 1e-9)
        return min(1 + int(98 * share), STALLED_AT_PER_CENT if self.final_status is None else 99)

    def link(self, *, origin: str, secret: bytes) -> str:
        """Return the signed link to the result."""
        expires = str(int(self.link_until))
        signature = sign(self.task_id, expires, secret=secret)
        return f"{origin}/results/{self.task_id}.mp4?expires={expires}&signature={signature}"


def sign(task_id: str, expires: str, *, secret: bytes) -> str:
    """Return the signature of a result's link."""
    return hmac.new(secret, f"{task_id}\n{expires}".encode(), hashlib.sha256).hexdigest()


def price(clip_s: float | None) -> tuple[float, float]:
    """Return the credits to reserve and to charge for a clip, whose length may be unknown."""
    assumed_s = (_ASSUMED_RESERVED_S, _ASSUMED_CHARGED_S)
    reserved_s, charged_s = assumed_s if clip_s is None else (clip_s, clip_s)
    return round(reserved_s * CREDITS_PER_SECOND, 2), round(charged_s * CREDITS_PER_SECOND, 2)


def task_object(edit: Edit, *, now: float, link: str) -> dict[str, object]:
    """Return the task as `GET /v1/tasks/{id}` shows it at `now`."""
    status = edit.status_at(now)
    usage: dict[str, object] = {
        "billing_rule": "per_token",
        "credits_reserved": edit.credits_reserved,
        "user_group": "default",
    }
    shown: dict[str, object] = {
        "id": edit.task_id,
        "object": "video.generation.task",
        "type": "video",
        "model": edit.model,
        "status": str(status),
        "progress": edit.progress_at(now),
        "created": int(edit.created_at),
        "task_info": {"can_cancel": False, "estimated_time": math.ceil(edit.duration_s)},
        "usage": usage,
    }
    if edit.settles_at <= now:
        charged = edit.credits_charged
        usage["credits_used"] = charged
        usage["cost"] = {"credits": charged, "usd": round(charged / CREDITS_PER_USD, 6)}
    if status is Status.COMPLETED:
        shown["results"] = [] if edit.is_empty else [link]
        shown["result_data"] = [] if edit.is_empty else [{"video_url": link}]
    elif edit.settles_at <= now:
        code = edit.fail_code or "unknown_error"
        message, suggestion = _TASK_ERRORS.get(code, ("The task failed.", None))
        error = {"code": code, "message": message}
        shown["error"] = error | {"suggestion": suggestion} if suggestion else error
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
        "has_results": status is Status.COMPLETED and not edit.is_empty,
        "has_error": status in {Status.FAILED, Status.CANCELLED},
    }
    if edit.settles_at <= now:
        row["credits_used"] = edit.credits_charged
    return row
