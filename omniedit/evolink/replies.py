"""Parsing of replies from the API and the file service into `models` and `errors`.

Sources: the published API reference and, where it is silent, what the vendor's own open client
reads. If a reply disagrees with both, the reply counts: parsing never fails on a field that is
missing, new or of another type, only on a missing ID.
"""

import math
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from omniedit.errors import (
    AuthenticationError,
    BlockedClientError,
    IdempotencyConflictError,
    ModelRefusedError,
    OmniEditError,
    QuotaError,
    RateLimitedError,
    RequestRefusedError,
    ServerError,
    TaskNotFoundError,
    UnreadableReplyError,
)
from omniedit.models import (
    LAST,
    MOST_CREDITS,
    Credits,
    JSONObject,
    Task,
    TaskError,
    TaskStatus,
    UploadedClip,
    is_task_id,
)

if TYPE_CHECKING:
    from omniedit.http.client import Reply

MISSING_ENDPOINT: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED})
"""The statuses of a reply to a path or a method that the host does not know."""

_MAX_UNIX_S: Final = 32_503_680_000.0
"""The year 3000, which Windows can still convert; a larger number is taken for milliseconds."""

# The quota, key and model codes mean "refused before anything was charged", whatever the HTTP status.
# Sources: API reference, "Request errors", and the refusal codes of the vendor's own client.
_ERROR_BY_CODE: Final[Mapping[str, type[OmniEditError]]] = {
    "account_balance_insufficient": QuotaError,
    "insufficient_quota": QuotaError,
    "insufficient_token_quota": QuotaError,
    "insufficient_user_quota": QuotaError,
    "key_daily_quota_exhausted": QuotaError,
    "key_quota_exhausted": QuotaError,
    "quota_not_enough": QuotaError,
    "token_daily_quota_exceeded": QuotaError,
    "key_disabled": AuthenticationError,
    "key_expired": AuthenticationError,
    "unauthorized": AuthenticationError,
    "user_disabled": AuthenticationError,
    "key_model_not_allowed": ModelRefusedError,
    "model_access_denied": ModelRefusedError,
    "model_deprecated": ModelRefusedError,
    "model_not_found": ModelRefusedError,
    "model_retired": ModelRefusedError,
    "idempotency_conflict": IdempotencyConflictError,
    "invalid_task_id": TaskNotFoundError,
}
_ERROR_BY_STATUS: Final[Mapping[int, type[OmniEditError]]] = {
    HTTPStatus.UNAUTHORIZED: AuthenticationError,
    HTTPStatus.PAYMENT_REQUIRED: QuotaError,
    HTTPStatus.FORBIDDEN: AuthenticationError,
    HTTPStatus.TOO_MANY_REQUESTS: RateLimitedError,
}


class TaskPage(NamedTuple):
    """One page of the account's tasks, newest first."""

    tasks: tuple[Task, ...]
    total: int | None


class Refusal(NamedTuple):
    """Why the service refused a request, in its own words."""

    code: str | None = None
    """The service's code, if it is a name; older replies repeat the status as a number."""
    message: str | None = None
    hint: str | None = None
    """The page or the advice that the service gives."""
    suggestion: str | None = None
    """What to use instead, such as another model."""
    param: str | None = None
    """The request parameter that is refused."""

    @property
    def is_about_content(self) -> bool:
        """Whether a 404 concerns the request's content rather than a missing route."""
        return self.code is not None and self.code.isidentifier() and self.code != "not_found"


def parse_refusal(value: object) -> Refusal:
    """Return why a request was refused, from the JSON of the reply."""
    raw = as_object(value)
    error = parse_error(raw.get("error"))
    if error is None:
        return Refusal(message=_text(raw, "message", "msg"))
    details = as_object(raw, "error")
    is_name = error.code != "unknown_error" and not error.code.lstrip("-").isdigit()
    return Refusal(
        code=error.code if is_name else None,
        message=error.message,
        hint=_text(details, "action_url", "suggestion", "fallback_suggestion"),
        suggestion=error.suggestion,
        param=_text(details, "param"),
    )


def value_of(reply: "Reply", *, service: str | None = None) -> JSONObject:
    """Return the JSON object of a successful reply; `service` is as in `error_from`.

    Raises:
        OmniEditError: If the reply has another status, holds an error, or is not JSON.
    """
    value = as_object(reply.json)
    is_success = HTTPStatus.OK <= reply.status < HTTPStatus.MULTIPLE_CHOICES
    if is_success and "id" in value:
        # An `error` beside the ID is the task's own.
        return value
    refusal = parse_refusal(value)
    if not is_success or refusal.code:
        raise error_from(reply, refusal, service=service)
    if not isinstance(reply.json, Mapping):
        # For example, the page of a captive portal.
        name = service or "the service"
        msg = f"{name} answered {reply.status} with something that is not JSON"
        raise UnreadableReplyError(msg, http_status=reply.status)
    return value


def error_from(
    reply: "Reply", refusal: Refusal, *, service: str | None = None, status: int | None = None
) -> OmniEditError:
    """Return the error for a reply that is not a success.

    Args:
        service: The service's name in the message; None for the API, whose words need none.
        status: The status that counts, if it is not that of the reply.
    """
    status = status or reply.status
    kind = _error_type(status, refusal, blocks_client=reply.blocks_client)
    name = service or "the service"
    message = refusal.message
    if kind is BlockedClientError:
        message = f"{name} refuses this client (Cloudflare error 1010)"
    elif kind is RequestRefusedError and status < HTTPStatus.BAD_REQUEST:
        # Following it would send the key wherever it points.
        message = f"{name} answered with a redirect ({status}), which is never followed with a key"
    elif message is None:
        message = f"{name} answered {status} without a reason"
    elif service:
        message = f"{service} answered: {message}"
    return kind(
        message,
        code=refusal.code,
        http_status=reply.status,
        retry_after_s=reply.retry_after_s,
        hint=refusal.suggestion if kind is ModelRefusedError else refusal.hint,
    )


def parse_task(value: object) -> Task:
    """Return the task in a reply from the service.

    Raises:
        UnreadableReplyError: If it is not an object or has no usable ID.
    """
    raw = as_object(value)
    task_id = _first(raw, "id", "task_id")
    if not isinstance(task_id, str) or not is_task_id(task_id) or task_id == LAST:
        msg = "the service's reply contains no usable task ID"
        raise UnreadableReplyError(msg)
    status = _status(raw.get("status"))
    usage = as_object(raw, "usage")
    charges = (
        usage.get("credits_used"),
        as_object(usage, "cost").get("credits"),
        raw.get("credits_used"),
    )
    return Task(
        task_id=task_id,
        status=status,
        progress=100 if status == TaskStatus.COMPLETED else _percent(raw.get("progress")),
        model=_text(raw, "model"),
        created_at=_instant(_first(raw, "created", "created_at")),
        estimated_s=_number(as_object(raw, "task_info").get("estimated_time")),
        credits_reserved=_amount(usage.get("credits_reserved")),
        credits_used=_amount(next((charge for charge in charges if charge is not None), None)),
        result_urls=tuple(dict.fromkeys(_result_urls(raw))),
        error=parse_error(raw.get("error")),
        raw=raw,
    )


def parse_error(value: object) -> TaskError | None:
    """Return the `error` of a reply, whatever its form, or None if there is none."""
    if isinstance(value, str) and value.strip():
        return TaskError(code="unknown_error", message=value)
    raw = as_object(value)
    if not raw:
        return None
    code = raw.get("code")
    return TaskError(
        code=str(code) if isinstance(code, str | int) and code != "" else "unknown_error",
        message=_text(raw, "message") or "no reason was given",
        suggestion=_text(raw, "suggestion", "fallback_suggestion"),
    )


def parse_task_list(value: object) -> tuple[Task, ...]:
    """Return the tasks in `{"data": [task…]}`, skipping entries that are not tasks.

    Raises:
        UnreadableReplyError: If there is no such list.
    """
    entries = as_object(value).get("data")
    if not isinstance(entries, list):
        msg = "the service's reply contains no list of tasks"
        raise UnreadableReplyError(msg)
    tasks: list[Task] = []
    for entry in cast("list[object]", entries):
        with suppress(UnreadableReplyError):
            tasks.append(parse_task(entry))
    return tuple(tasks)


def parse_task_page(value: object) -> TaskPage:
    """Return one page of the account's tasks.

    Raises:
        UnreadableReplyError: If there is no such list.
    """
    total = _number(as_object(value).get("total"))
    return TaskPage(tasks=parse_task_list(value), total=None if total is None else int(total))


def parse_uploaded_clip(value: object) -> UploadedClip:
    """Return the uploaded clip in a reply from the file service.

    Raises:
        UnreadableReplyError: If it names no http(s) URL.
    """
    stored = as_object(value, "data")
    url = _text(stored, "file_url", "download_url")
    if url is None or not _is_web_url(url):
        msg = "the file service's reply contains no URL of the uploaded clip"
        is_stored = as_object(value).get("success") is True
        raise UnreadableReplyError(msg, code="no_clip_url" if is_stored else None)
    return UploadedClip(url=url, expires_at=_instant(stored.get("expires_at")))


def parse_credits(value: object) -> Credits:
    """Return the credits in a reply to `GET /v1/credits`.

    Raises:
        UnreadableReplyError: If it contains neither a balance nor a limit.
    """
    stored = as_object(value, "data")
    key = as_object(stored, "token")
    account = as_object(stored, "user")
    if not key and not account:
        reason = _text(as_object(value), "message")
        msg = f"the service's reply contains no credits{f': {reason}' if reason else ''}"
        raise UnreadableReplyError(msg)
    is_unlimited = key.get("unlimited_credits") is True
    return Credits(
        account_remaining=_number(account.get("remaining_credits")),
        account_used=_number(account.get("used_credits")),
        key_remaining=None if is_unlimited else _number(key.get("remaining_credits")),
        key_used=_number(key.get("used_credits")),
        is_key_unlimited=is_unlimited,
    )


def has_unreadable_results(task: Task) -> bool:
    """Return whether a task's reply lists results, but none with an http(s) link."""
    raw = as_object(task.raw)
    return not task.result_urls and any(raw.get(key) for key in ("results", "result_data"))


def as_object(value: object, *keys: str) -> JSONObject:
    """Return the JSON object at these keys, or an empty one if there is none."""
    for key in keys:
        value = cast("JSONObject", value).get(key) if isinstance(value, dict) else None
    return cast("JSONObject", value) if isinstance(value, dict) else {}


def _error_type(status: int, refusal: Refusal, *, blocks_client: bool) -> type[OmniEditError]:
    """Return the error class for a reply that is not a success; the service's `code` wins."""
    if found := _ERROR_BY_CODE.get(refusal.code or ""):
        return found
    if status == HTTPStatus.BAD_REQUEST and refusal.param == "model":
        return ModelRefusedError
    if blocks_client:
        return BlockedClientError
    if found := _ERROR_BY_STATUS.get(status):
        return found
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return ServerError
    return UnreadableReplyError if status < HTTPStatus.MULTIPLE_CHOICES else RequestRefusedError


def _result_urls(raw: JSONObject) -> Iterable[str]:
    """Yield the http(s) links of a task; the vendor's client also reads them in `result_data`."""
    for key in ("results", "result_data"):
        entries = raw.get(key)
        for entry in cast("list[object]", entries) if isinstance(entries, list) else []:
            fields = as_object(entry)
            url = entry if isinstance(entry, str) else _first(fields, "video_url", "url")
            # A malformed link counts, too: a task is saved only once each of its results is.
            if isinstance(url, str) and re.match(r"https?://[^/\s]", url, re.IGNORECASE):
                yield url


def _first(fields: JSONObject, name: str, other: str) -> object:
    """Return a field, or another one if the first is absent or null."""
    value = fields.get(name)
    return fields.get(other) if value is None else value


def _is_web_url(url: str) -> bool:
    # A space in the name of the file is the service's own business.
    return re.fullmatch(r"https?://[^/\s]+(?:/[^\x00-\x1f\x7f]*)?", url, re.IGNORECASE) is not None


def _status(value: object) -> str | None:
    status = value.strip().lower() if isinstance(value, str) else ""
    return "cancelled" if status == "canceled" else status or None


def _text(raw: JSONObject, *keys: str) -> str | None:
    """Return the first value of these keys that is a non-blank string."""
    for key in keys:
        value = raw.get(key)
        if isinstance(value, str) and value.strip():
            return value
    return None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _percent(value: object) -> int | None:
    number = _number(value)
    return None if number is None else max(0, min(100, int(number)))


def _instant(value: object) -> float | None:
    """Return the Unix seconds of a number (seconds, or milliseconds if too large) or ISO text."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
            seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            return None
        return seconds if 0 < seconds < _MAX_UNIX_S else None
    number = _number(value)
    if number is None or not 0 < number < _MAX_UNIX_S * 1000:
        return None
    return number / 1000 if number > _MAX_UNIX_S else number


def _amount(value: object) -> float | None:
    """Return an amount of credits, or None if it cannot be a price."""
    number = _number(value)
    return number if number is not None and 0 <= number < MOST_CREDITS else None
