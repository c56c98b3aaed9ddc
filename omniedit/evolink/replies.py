"""The service's JSON, read into `models`.

Sources: the published API reference ("P" in the comments) and, where it is silent, what the
vendor's own open client reads ("C"). Where a reply disagrees with both, the reply is believed:
parsing never fails on a field that is missing, of another type or new, only on a missing ID.
"""

import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import cast

from omniedit.errors import UnreadableReplyError
from omniedit.models import (
    Credits,
    JSONObject,
    Task,
    TaskError,
    TaskPage,
    TaskStatus,
    UploadedClip,
    is_task_id,
)


def parse_task(value: object) -> Task:
    """Return the task in a reply of the service.

    Raises:
        UnreadableReplyError: It is not an object, or has no usable ID.
    """
    raw = as_object(value)
    task_id = raw.get("id", raw.get("task_id"))
    if not isinstance(task_id, str) or not is_task_id(task_id):
        msg = "the service's reply holds no usable task ID"
        raise UnreadableReplyError(msg)
    status = _status(raw.get("status"))
    usage = as_object(raw.get("usage"))
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
        estimated_s=_number(as_object(raw.get("task_info")).get("estimated_time")),
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
    raw = as_object(cast("object", value))
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
    entries = as_object(value).get("data")
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
    total = _number(as_object(value).get("total"))
    return TaskPage(tasks=parse_task_list(value), total=None if total is None else int(total))


def parse_uploaded_clip(value: object) -> UploadedClip:
    """Return the file service's answer to an upload.

    Raises:
        UnreadableReplyError: It names no http(s) URL.
    """
    stored = as_object(as_object(value).get("data"))
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
    stored = as_object(as_object(value).get("data"))
    key, account = as_object(stored.get("token")), as_object(stored.get("user"))
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
            url = entry if isinstance(entry, str) else as_object(entry).get("video_url")
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


def as_object(value: object) -> JSONObject:
    """Return a JSON object, an empty one in the place of anything else."""
    return cast("JSONObject", value) if isinstance(value, Mapping) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _instant(value: object) -> float | None:
    """Return Unix seconds of a number (seconds or, where too large, milliseconds) or ISO text."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return None
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    number = _number(value)
    year_5138_s = 1e11
    if number is None or not 0 < number < year_5138_s * 1000:
        return None
    return number / 1000 if number > year_5138_s else number
