"""EvoLink's API: one method per endpoint, and the only reader of its statuses."""

import json
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final, cast
from urllib.parse import quote, urlencode

from omniedit.errors import (
    AuthenticationError,
    EndpointMissingError,
    IdempotencyConflictError,
    OmniEditError,
    QuotaError,
    RateLimitedError,
    RequestRefusedError,
    ServerError,
    TaskNotFoundError,
    UnreadableReplyError,
    WrongBaseURLError,
)
from omniedit.evolink.replies import (
    as_object,
    parse_credits,
    parse_error,
    parse_task,
    parse_task_list,
    parse_task_page,
)
from omniedit.http.client import SUBMIT_TIMEOUT_S, HttpClient, Reply
from omniedit.models import BATCH_SIZE, MODEL, Credits, Submission, Task, TaskPage

# The quota and key codes mean "refused before anything was charged", whatever the HTTP status.
_TYPES_BY_CODE: Final[Mapping[str, type[OmniEditError]]] = {
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
    "key_model_not_allowed": AuthenticationError,
    "model_access_denied": AuthenticationError,
    "unauthorized": AuthenticationError,
    "user_disabled": AuthenticationError,
    "idempotency_conflict": IdempotencyConflictError,
    "invalid_task_id": TaskNotFoundError,
}
_TYPES_BY_STATUS: Final[Mapping[int, type[OmniEditError]]] = {
    HTTPStatus.UNAUTHORIZED: AuthenticationError,
    HTTPStatus.PAYMENT_REQUIRED: QuotaError,
    HTTPStatus.FORBIDDEN: AuthenticationError,
    HTTPStatus.TOO_MANY_REQUESTS: RateLimitedError,
}
_MISSING_ENDPOINT: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED})


class EvoLinkClient:
    """The service, as the API reference describes it.

    Args:
        http: Sends the requests.
        base_url: Without a slash at the end.
        key: A validated key; it leaves this class in one header of requests to `base_url` only.
    """

    def __init__(self, http: HttpClient, *, base_url: str, key: str) -> None:
        self._http = http
        self._base_url = base_url
        self._headers = {"authorization": f"Bearer {key}"}

    def create_task(
        self, body: bytes, *, request_id: str, timeout_s: float = SUBMIT_TIMEOUT_S
    ) -> Submission:
        """Submit an edit: `POST /v1/videos/generations`. This is the request that costs money.

        Args:
            body: The exact JSON.
            request_id: Travels as `Idempotency-Key`, so that a replay finds the first task.
            timeout_s: For the reply.

        Raises:
            ServiceError: Any of its kinds; `retry.is_certainly_not_accepted` sorts them.
        """
        path = "/v1/videos/generations"
        reply = self._http.request(
            "POST",
            self._base_url + path,
            headers=self._headers
            | {"content-type": "application/json", "idempotency-key": request_id},
            content=body,
            timeout_s=timeout_s,
        )
        if reply.status in _MISSING_ENDPOINT and not _has_service_code(reply):
            raise _wrong_base_url(self._base_url, reply)
        task = parse_task(_value(reply))
        is_replay = reply.headers.get("idempotency-replayed", "").strip().lower() == "true"
        return Submission(task=task, is_replay=is_replay)

    def get_task(self, task_id: str) -> Task:
        """Return the task as the service now reports it: `GET /v1/tasks/{id}`.

        Raises:
            TaskNotFoundError: The service does not know it.
            ServiceError: Any other kind.
        """
        reply = self._get(f"/v1/tasks/{quote(task_id, safe='')}")
        if reply.status == HTTPStatus.NOT_FOUND:
            raise TaskNotFoundError(
                _message(reply) or "no such task",
                code=_code(reply),
                task_id=task_id,
                http_status=404,
            )
        try:
            task = parse_task(_value(reply))
        except OmniEditError as error:
            raise error.about(task_id=task_id) from None
        if task.task_id != task_id:
            msg = f"the service answered with another task: {task.task_id}"
            raise UnreadableReplyError(msg, task_id=task_id)
        return task

    def get_tasks(self, task_ids: Sequence[str]) -> dict[str, Task]:
        """Return what the service knows of up to 50 tasks: `POST /v1/tasks/batch`, a read.

        Tasks that it does not know are absent.

        Raises:
            EndpointMissingError: The endpoint is not offered (it is not in the published reference).
            ServiceError: Any other kind.
        """
        reply = self._http.request(
            "POST",
            f"{self._base_url}/v1/tasks/batch",
            headers=self._headers | {"content-type": "application/json"},
            content=json.dumps({"task_ids": list(task_ids)}).encode(),
        )
        if reply.status in _MISSING_ENDPOINT:
            msg = "this service offers no batch read"
            raise EndpointMissingError(msg, http_status=reply.status)
        return {task.task_id: task for task in parse_task_list(_value(reply))}

    def list_tasks(self, *, page: int, status: str | None = None) -> TaskPage:
        """Return a page of the account's tasks of this model, newest first: `GET /v1/tasks`.

        Args:
            page: From 1.
            status: `processing`, `completed`, `failed`, `cancelled`, or None for all.

        Raises:
            EndpointMissingError: The endpoint is not offered (it is not in the published reference).
            ServiceError: Any other kind.
        """
        query = {"page": page, "page_size": BATCH_SIZE, "type": "video", "model": MODEL}
        reply = self._get(f"/v1/tasks?{urlencode(query | ({'status': status} if status else {}))}")
        if reply.status in _MISSING_ENDPOINT:
            msg = "this service offers no list of tasks"
            raise EndpointMissingError(msg, http_status=reply.status)
        return parse_task_page(_value(reply))

    def get_credits(self) -> Credits:
        """Return the account's balance and this key's limit: `GET /v1/credits`.

        Raises:
            ServiceError: The service says no.
        """
        return parse_credits(_value(self._get("/v1/credits")))

    def get_time(self) -> float | None:
        """Return the service's own Unix time, from the `Date` of a free read; None without one.

        Raises:
            ServiceError: The service cannot be reached.
        """
        text = self._get("/v1/credits").headers.get("date", "")
        try:
            return parsedate_to_datetime(text).timestamp()
        except ValueError:
            return None

    def _get(self, path: str) -> Reply:
        return self._http.request("GET", self._base_url + path, headers=self._headers)


def error_from(reply: Reply) -> OmniEditError:
    """Return what a reply other than a success means; the service's `code` decides first.

    Sources: API reference, "Request errors", and the refusal codes of the vendor's own client.
    """
    status, code = reply.status, _code(reply)
    error_type = _type_of(status, code)
    message = _message(reply) or f"the service answered {status} without a reason"
    if error_type is RequestRefusedError and status < HTTPStatus.BAD_REQUEST:
        # Following it would carry the key to wherever it points.
        message = (
            f"the service answered with a redirect ({status}), which is never followed with a key"
        )
    return error_type(
        message,
        code=code,
        http_status=status,
        retry_after_s=reply.retry_after_s,
        hint=_hint(reply),
    )


def _type_of(status: int, code: str | None) -> type[OmniEditError]:
    by_code = _TYPES_BY_CODE.get(code or "")
    by_status = _TYPES_BY_STATUS.get(status)
    if by_code or by_status:
        return by_code or by_status or RequestRefusedError
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return ServerError
    return UnreadableReplyError if status < HTTPStatus.MULTIPLE_CHOICES else RequestRefusedError


def _value(reply: Reply) -> object:
    """Return the JSON of a success.

    Raises:
        OmniEditError: It is none: another status, or an error in a 200.
    """
    value = reply.json
    is_success = HTTPStatus.OK <= reply.status < HTTPStatus.MULTIPLE_CHOICES
    if not is_success or (_code(reply) and "id" not in as_object(value)):
        raise error_from(reply)
    if not isinstance(value, Mapping):
        msg = f"the service answered {reply.status} with something that is not JSON"
        raise UnreadableReplyError(msg, http_status=reply.status)
    return cast("object", value)


def _has_service_code(reply: Reply) -> bool:
    """Return whether a 404 speaks of the request's content rather than of a missing route."""
    return (_code(reply) or "").isidentifier() and _code(reply) not in {
        "not_found",
        "unknown_error",
    }


def _wrong_base_url(base_url: str, reply: Reply) -> OmniEditError:
    said = f": {words}" if (words := _message(reply)) else ""
    msg = f"there is no EvoLink API at {base_url} (answered {reply.status}{said})"
    return WrongBaseURLError(msg, http_status=reply.status)


def _code(reply: Reply) -> str | None:
    """Return the service's code where it is a name; older replies repeat the status as a number."""
    error = parse_error(as_object(reply.json).get("error"))
    if error is None or error.code == "unknown_error" or error.code.lstrip("-").isdigit():
        return None
    return error.code


def _message(reply: Reply) -> str | None:
    value = as_object(reply.json)
    error = parse_error(value.get("error"))
    if error is not None:
        return error.message
    message = value.get("message", value.get("msg"))
    return message if isinstance(message, str) and message.strip() else None


def _hint(reply: Reply) -> str | None:
    """Return the page or the advice that the service itself names for this error."""
    raw = as_object(as_object(reply.json).get("error"))
    advice = raw.get("action_url") or raw.get("suggestion") or raw.get("fallback_suggestion")
    return advice if isinstance(advice, str) and advice.strip() else None
