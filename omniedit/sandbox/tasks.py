"""Tasks as the service shows them: one by one, in lists, and in callbacks to this machine."""

import contextlib
import http.client
import json
import math
import re
import sqlite3
import threading
from http import HTTPStatus
from typing import NamedTuple, cast
from urllib.parse import urlsplit

from werkzeug.wrappers import Response

from omniedit.sandbox.exchange import (
    Exchange,
    Refusal,
    Service,
    json_reply,
    loopback_address,
    refuse,
)
from omniedit.sandbox.store import CREDITS_AT_START, Edit, Status

BATCH_LIMIT = 50
PAGE_LIMIT = 50
CALLBACK_TIMEOUT_S = 10.0
CREDITS_PER_USD = 68
RETRY_DELAYS_S = (1.0, 2.0, 4.0)
_CALLBACK_INTERVAL_S = 0.2
_PAGE_DEFAULT = 20
_PAGE_NUMBER = re.compile(r"[0-9]{1,9}")
_TASK_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_STATUS_FILTERS = (Status.PROCESSING, Status.COMPLETED, Status.FAILED, Status.CANCELLED)
_OUTPUT_TYPES = ("text", "image", "audio", "video")

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


def get_task(service: Service, exchange: Exchange, task_id: str) -> Response:
    """Return one task."""
    if not _TASK_ID.fullmatch(task_id):
        raise Refusal(HTTPStatus.BAD_REQUEST, "The task ID is malformed", code="invalid_task_id")
    edit = service.store.task(task_id)
    if edit is None:
        raise Refusal(HTTPStatus.NOT_FOUND, "The task does not exist", code="task_not_found")
    exchange.task_id = task_id
    return json_reply(task_object(service, edit, origin=exchange.link_origin))


def get_tasks(service: Service, exchange: Exchange) -> Response:
    """Return up to 50 tasks by ID; unknown ones are absent."""
    given = exchange.read_json_object().get("task_ids")
    items = cast("list[object]", given) if isinstance(given, list) else [None]
    task_ids = [item for item in items if isinstance(item, str)]
    if len(task_ids) != len(items) or not 1 <= len(task_ids) <= BATCH_LIMIT:
        refuse("task_ids", f"`task_ids` must be an array of 1 to {BATCH_LIMIT} strings")
    known = service.store.tasks_by_id(list(dict.fromkeys(task_ids)))
    origin = exchange.link_origin
    return json_reply({"data": [task_object(service, edit, origin=origin) for edit in known]})


def list_tasks(service: Service, exchange: Exchange) -> Response:
    """Return one page of the account's tasks, newest first."""
    page = _number(exchange, "page", default=1, highest=10**9)
    page_size = _number(exchange, "page_size", default=_PAGE_DEFAULT, highest=PAGE_LIMIT)
    status = exchange.args.get("status") or None
    if status and status not in _STATUS_FILTERS:
        refuse("status", "Unknown status")
    output_type = exchange.args.get("type") or "video"
    if output_type not in _OUTPUT_TYPES:
        refuse("type", "Unknown type")
    now = service.clock()
    model = exchange.args.get("model")
    offset = (page - 1) * page_size
    edits, total = service.store.tasks(
        now=now, status=status, model=model, limit=page_size, offset=offset
    )
    if output_type != "video":
        edits = []
        total = 0
    rows = [_list_row(edit, now=now) for edit in edits]
    return json_reply({"data": rows, "total": total, "page": page, "page_size": page_size})


def get_credits(service: Service, _: Exchange) -> Response:
    """Return the account's balance; the key itself has no limit."""
    taken = round(service.store.credits_taken(service.clock()), 2)
    left = round(CREDITS_AT_START - taken, 2)
    token = {"remaining_credits": 0, "unlimited_credits": True, "used_credits": taken}
    user = {"remaining_credits": left, "used_credits": taken}
    return json_reply({"success": True, "message": "", "data": {"token": token, "user": user}})


def task_object(service: Service, edit: Edit, *, origin: str) -> dict[str, object]:
    """Return the task as `GET /v1/tasks/{id}` shows it now."""
    now = service.clock()
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
        link = result_link(service, edit, origin=origin)
        shown["results"] = [] if edit.is_empty else [link]
        shown["result_data"] = [] if edit.is_empty else [{"video_url": link}]
    elif edit.settles_at <= now:
        code = edit.fail_code or "unknown_error"
        message, suggestion = _TASK_ERRORS.get(code, ("The task failed.", None))
        error = {"code": code, "message": message}
        shown["error"] = error | {"suggestion": suggestion} if suggestion else error
    return shown


def result_link(service: Service, edit: Edit, *, origin: str) -> str:
    """Return the signed link to the result."""
    expires = str(int(edit.link_until))
    signature = service.store.sign(edit.task_id, expires)
    return f"{origin}/results/{edit.task_id}.mp4?expires={expires}&signature={signature}"


class CallbackSender(NamedTuple):
    """Delivers callbacks to receivers on this machine when they are due, until it is stopped."""

    service: Service
    origin: str
    stopped: threading.Event

    def start(self) -> None:
        """Start to look for due callbacks, in a daemon thread."""
        threading.Thread(target=self._deliver_due, name="sandbox-callbacks", daemon=True).start()

    def deliver(self, edit: Edit) -> bool:
        """Post the task, with retries after 1, 2 and 4 s; return whether it was accepted."""
        if self._post(edit):
            return True
        for delay_s in RETRY_DELAYS_S:
            if self.stopped.wait(delay_s * self.service.time_scale):
                return False
            if self._post(edit):
                return True
        return False

    def _deliver_due(self) -> None:
        interval_s = _CALLBACK_INTERVAL_S * min(max(self.service.time_scale, 0.1), 1)
        # Closing the store ends this loop.
        with contextlib.suppress(sqlite3.Error):
            while not self.stopped.wait(interval_s):
                edit = self.service.store.take_callback(self.service.clock())
                # Raised if no thread can be started.
                with contextlib.suppress(RuntimeError):
                    if edit:
                        threading.Thread(target=self.deliver, args=[edit], daemon=True).start()

    def _post(self, edit: Edit) -> bool:
        parts = urlsplit(edit.callback_url or "")
        # An address, never a name: nothing is resolved, nothing leaves this machine.
        address = loopback_address(parts.hostname or "")
        if address is None:
            self.service.traffic.note_text(
                f"callback of {edit.task_id} not delivered: its host is not this machine"
            )
            return True
        body = json.dumps(task_object(self.service, edit, origin=self.origin))
        host = parts.netloc.rpartition("@")[2]
        headers = {"Host": host, "Content-Type": "application/json", "User-Agent": "sandbox"}
        is_tls = parts.scheme == "https"
        kind = http.client.HTTPSConnection if is_tls else http.client.HTTPConnection
        connection = kind(address, parts.port, timeout=CALLBACK_TIMEOUT_S)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        status: int | None = None
        failures = (OSError, ValueError, http.client.HTTPException)
        with contextlib.closing(connection), contextlib.suppress(*failures):
            connection.request("POST", target, body, headers)
            status = connection.getresponse().status
        self.service.traffic.note_text(f"callback of {edit.task_id} {status or 'not answered'}")
        return status is not None and status // 100 == HTTPStatus.OK // 100


def _list_row(edit: Edit, *, now: float) -> dict[str, object]:
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


def _number(exchange: Exchange, name: str, *, default: int, highest: int) -> int:
    text = exchange.args.get(name)
    if text is None:
        return default
    if not _PAGE_NUMBER.fullmatch(text) or not 1 <= int(text) <= highest:
        refuse(name, f"`{name}` must be a number from 1 to {highest}")
    return int(text)
