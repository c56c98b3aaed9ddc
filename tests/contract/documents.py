"""The keys of every JSON document, by command: what scripts may rely on."""

from collections.abc import Mapping
from typing import Final

ENVELOPE: Final = ("schema", "ok", "sandbox")
ERROR: Final = ("code", "message", "hint", "exit_status", "task_id", "request_id", "http_status")
TASK: Final = (
    "task_id",
    "status",
    "progress",
    "model",
    "created_at",
    "estimated_seconds",
    "credits_reserved",
    "credits_used",
    "video",
    "prompt",
    "request_id",
    "results",
    "link_valid_until",
    "saved",
    "error",
    "raw",
)
OF_A_BATCH: Final = ("line", "output")
OF_A_PIECE: Final = ("piece", "start_seconds", "end_seconds")
TASK_ERROR: Final = ("code", "message", "retryable", "hint")
SAVED: Final = ("path", "bytes", "sha256")
PROBLEM: Final = ("code", "message", "fix", "automatic")
CHECK: Final = ("name", "verdict", "message", "hint")

OWN_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "submit": ("task",),
    "submit --dry-run": ("request", "curl"),
    "status": ("tasks",),
    "wait": ("tasks",),
    "download": ("tasks",),
    "edit": ("tasks",),
    "edit --split": ("tasks", "joined"),
    "batch": ("tasks",),
    "list": ("tasks",),
    "probe": (
        "video",
        "fits",
        "problems",
        "container",
        "fragmented",
        "duration_seconds",
        "measured",
        "frames",
        "frame_rate",
        "variable_frame_rate",
        "video_codec",
        "width",
        "height",
        "rotation",
        "pixel_format",
        "color_range",
        "color_primaries",
        "color_transfer",
        "color_space",
        "audio_codec",
        "audio_rate",
        "audio_channels",
        "bytes",
        "estimated_credits",
        "estimated_usd",
    ),
    "credits": (
        "account_credits",
        "account_dollars",
        "account_used",
        "key_credits",
        "key_dollars",
        "key_used",
        "key_unlimited",
    ),
    "doctor": ("checks",),
    "config show": (
        "key",
        "key_source",
        "base_url",
        "base_url_source",
        "files_url",
        "files_url_source",
        "config_dir",
        "config_dir_source",
        "state_dir",
        "state_dir_source",
        "context",
        "context_source",
    ),
    "config set-key": ("key", "origin", "path"),
    "config unset-key": ("removed", "origin", "path"),
    "config path": ("config", "credentials", "journal"),
    "sandbox serve": ("url",),
    "sandbox reset": ("removed",),
    "help": ("topics",),
    "help TOPIC": ("topic", "text"),
}

EVENT: Final = ("schema", "event", "at", "sandbox", "task_id")
EVENT_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "submitted": ("request_id",),
    "progress": ("status", "progress", "elapsed_s", "remaining_s"),
    "stalled": ("since_s",),
    "retrying": ("message", "delay_s", "attempt"),
    "completed": (),
    "failed": ("error",),
    "saved": SAVED,
    "done": ("ok", "exit_status", "tasks", "error"),
}
