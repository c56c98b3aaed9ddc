"""EvoLink's API: one method per endpoint."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Final
from urllib.parse import quote, urlencode

from omniedit.errors import (
    EndpointMissingError,
    NetworkError,
    OmniEditError,
    RateLimitedError,
    RequestRefusedError,
    ServerError,
    ServiceError,
    TaskNotFoundError,
    UnreadableReplyError,
    WrongBaseURLError,
)
from omniedit.evolink.replies import (
    MISSING_ENDPOINT,
    TaskPage,
    error_from,
    parse_credits,
    parse_refusal,
    parse_task,
    parse_task_list,
    parse_task_page,
    value_of,
)
from omniedit.http.client import HttpClient, Reply
from omniedit.models import BATCH_SIZE, Credits, Task

_REFUSALS: Final = range(400, 500)


class EvoLinkClient:
    """The service, as the API reference describes it.

    Every method takes a `deadline`, a monotonic instant that its request does not outlive, and
    raises a `ServiceError` if the service or the network fails.

    Args:
        http: Sends the requests.
        base_url: Without a trailing slash.
        key: A validated key; sent only in the `Authorization` header of requests to `base_url`.
        now: Returns the Unix time.
    """

    def __init__(
        self,
        http: HttpClient,
        *,
        base_url: str,
        key: str,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.clock_offset_s: float | None = None
        """How far the service's clock is ahead of this machine's, by the latest reply's `Date`."""
        self._http = http
        self._base_url = base_url
        self._headers = {"authorization": f"Bearer {key}"}
        self._now = now

    def create_task(
        self, body: bytes, *, request_id: str, deadline: float | None = None
    ) -> tuple[Task, bool]:
        """Submit an edit: `POST /v1/videos/generations`. This is the request that costs money.

        Args:
            body: The exact JSON.
            request_id: Sent as `Idempotency-Key`, so that a replay finds the first task.
            deadline: A monotonic instant.

        Returns:
            The task, and whether the service says that it replayed an earlier submission.

        Raises:
            ServiceError: If no task came back; see `policy.is_certainly_not_accepted`.
        """
        reply = self._ask(
            "POST",
            "/v1/videos/generations",
            body,
            headers={"idempotency-key": request_id},
            timeout_s=self._http.policy.submit_timeout_s,
            deadline=deadline,
        )
        if reply.status in MISSING_ENDPOINT:
            refusal = parse_refusal(reply.json)
            if refusal.is_about_content:
                error = error_from(reply, refusal)
                if isinstance(error, RequestRefusedError):
                    error.message += f" (answered {reply.status} by {self._base_url})"
                raise error
            said = f": {refusal.message}" if refusal.message else ""
            msg = f"there is no EvoLink API at {self._base_url} (answered {reply.status}{said})"
            raise WrongBaseURLError(msg, http_status=reply.status)
        if reply.status == HTTPStatus.SEE_OTHER:
            # It leads to the outcome of a request that was processed (RFC 9110, 15.4.4).
            msg = f"the service answered with a redirect ({reply.status}), as after accepting it"
            raise UnreadableReplyError(msg, http_status=reply.status)
        try:
            task = parse_task(value_of(reply))
        except TaskNotFoundError as error:
            if reply.status in _REFUSALS:
                raise
            # Beside a 2xx or a 5xx, a code about a task does not prove that nothing was accepted.
            raise UnreadableReplyError(error.message, http_status=reply.status) from error
        is_replay = reply.headers.get("idempotency-replayed", "").strip().lower() == "true"
        return task, is_replay

    def get_task(self, task_id: str, *, deadline: float | None = None) -> Task:
        """Return the task as the service now reports it: `GET /v1/tasks/{id}`.

        Raises:
            TaskNotFoundError: If the service does not know it.
        """
        reply = self._ask("GET", f"/v1/tasks/{quote(task_id, safe='')}", deadline=deadline)
        if reply.status == HTTPStatus.NOT_FOUND:
            found = parse_refusal(reply.json)
            msg = found.message or "no such task"
            status = reply.status
            raise TaskNotFoundError(msg, code=found.code, task_id=task_id, http_status=status)
        try:
            task = parse_task(value_of(reply))
        except OmniEditError as error:
            raise error.about(task_id=task_id) from None
        if task.task_id != task_id:
            msg = f"the service answered with another task: {task.task_id}"
            raise UnreadableReplyError(msg, task_id=task_id)
        return task

    def get_tasks(
        self, task_ids: Sequence[str], *, deadline: float | None = None
    ) -> dict[str, Task]:
        """Return up to 50 tasks in one read: `POST /v1/tasks/batch`.

        Tasks that the service does not know are absent. The endpoint is not in the published
        reference, so an error other than 429 or a transient 5xx proves nothing about the tasks.

        Raises:
            EndpointMissingError: If the tasks must be read one by one.
        """
        body = json.dumps({"task_ids": list(task_ids)}).encode()
        try:
            reply = self._ask("POST", "/v1/tasks/batch", body, deadline=deadline)
            return {task.task_id: task for task in parse_task_list(value_of(reply))}
        except ServiceError as error:
            is_passing = isinstance(error, NetworkError | RateLimitedError | ServerError)
            if is_passing and error.http_status != HTTPStatus.NOT_IMPLEMENTED:
                raise
            msg = f"this service offers no batch read: {error.message}"
            raise EndpointMissingError(msg, http_status=error.http_status) from error

    def list_tasks(self, *, model: str, page: int, deadline: float | None = None) -> TaskPage:
        """Return a page of the account's tasks for a model, newest first: `GET /v1/tasks`.

        Args:
            model: The model's ID.
            page: The page number, from 1.
            deadline: A monotonic instant.

        Raises:
            EndpointMissingError: If the service does not offer this unpublished endpoint.
        """
        query = {"page": page, "page_size": BATCH_SIZE, "type": "video", "model": model}
        reply = self._ask("GET", f"/v1/tasks?{urlencode(query)}", deadline=deadline)
        if reply.status in MISSING_ENDPOINT:
            msg = "this service offers no list of tasks"
            raise EndpointMissingError(msg, http_status=reply.status)
        return parse_task_page(value_of(reply))

    def get_credits(self, *, deadline: float | None = None) -> Credits:
        """Return the account's balance and this key's limit: `GET /v1/credits`."""
        return parse_credits(value_of(self._ask("GET", "/v1/credits", deadline=deadline)))

    def get_time(self, *, deadline: float | None = None) -> float | None:
        """Return the service's Unix time from the `Date` of a free read; None if it is missing."""
        return self._ask("GET", "/v1/credits", deadline=deadline).server_time

    def _ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        deadline: float | None,
    ) -> Reply:
        content_type = {} if body is None else {"content-type": "application/json"}
        reply = self._http.request(
            method,
            self._base_url + path,
            headers={**self._headers, **content_type, **(headers or {})},
            content=body,
            timeout_s=timeout_s,
            deadline=deadline,
        )
        if reply.server_time is not None:
            self.clock_offset_s = reply.server_time - self._now()
        return reply
