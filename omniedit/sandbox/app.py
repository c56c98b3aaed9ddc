"""The sandbox's WSGI application: routing, and the endpoints that only read."""

import re
import secrets
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, NamedTuple, cast

from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from omniedit.sandbox.exchange import (
    BrokenConnectionError,
    Exchange,
    Refusal,
    Service,
    Traffic,
    json_reply,
)
from omniedit.sandbox.files import delete_file, get_file, get_quota, get_result, upload_file
from omniedit.sandbox.store import CREDITS_AT_START
from omniedit.sandbox.submissions import submit
from omniedit.sandbox.tasks import Status, task_row

KEY_PREFIX = "sk-sandbox"
BATCH_LIMIT = 50
PAGE_LIMIT = 50
_PAGE_DEFAULT = 20
_RATE_WINDOW_S = 60.0
_KEY = re.compile(rf"(?i:Bearer) +{KEY_PREFIX}[\x21-\x7e]*")
_TASK_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_PAGE_NUMBER = re.compile(r"[0-9]{1,9}")
_STATUS_FILTERS = (Status.PROCESSING, Status.COMPLETED, Status.FAILED, Status.CANCELLED)
_OUTPUT_TYPES = ("text", "image", "audio", "video")


class SandboxApp:
    """Answers requests as the service would."""

    def __init__(
        self, service: Service, *, traffic: Traffic, rate_limit_per_min: int | None = None
    ) -> None:
        self._service = service
        self._traffic = traffic
        self._rate_limit_per_min = rate_limit_per_min
        self._answered_at = list[float]()
        self._lock = threading.Lock()

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer one WSGI request."""
        return self.answer(Exchange(environ))(environ, start_response)

    def answer(self, exchange: Exchange) -> Response:
        """Return the reply to one request, and write both to the log and the record.

        Raises:
            BrokenConnectionError: If the connection must be closed without a reply.
        """
        started = time.perf_counter()
        status: int | None = None
        try:
            response = self._reply(exchange)
            response.headers["x-request-id"] = f"req_{secrets.token_hex(8)}"
            status = response.status_code
        finally:
            self._traffic.note(exchange, status=status, elapsed_s=time.perf_counter() - started)
        return response

    def _reply(self, exchange: Exchange) -> Response:
        try:
            return self._dispatch(exchange)
        except BrokenConnectionError:
            raise
        except Refusal as error:
            refusal = error
        except HTTPException as error:
            refusal = Refusal(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
        except Exception:  # noqa: BLE001 - the boundary: a bug in the sandbox is the service's 500
            self._traffic.note_text(traceback.format_exc())
            refusal = Refusal(HTTPStatus.INTERNAL_SERVER_ERROR)
        return json_reply(refusal.envelope, status=refusal.status, headers=refusal.headers)

    def _dispatch(self, exchange: Exchange) -> Response:
        exchange.check_host()
        if not exchange.query_string.isascii():
            raise Refusal(HTTPStatus.BAD_REQUEST, "The query is not percent-encoded")
        route, segments = _find_route(exchange.method, exchange.path)
        if route.needs_key:
            if not _KEY.fullmatch(exchange.headers.get("Authorization", "")):
                raise Refusal(HTTPStatus.UNAUTHORIZED, headers={"WWW-Authenticate": "Bearer"})
            self._check_rate()
        return route.endpoint(self._service, exchange, *segments)

    def _check_rate(self) -> None:
        if self._rate_limit_per_min is None:
            return
        now = self._service.clock()
        with self._lock:
            self._answered_at = [at for at in self._answered_at if at > now - _RATE_WINDOW_S]
            if len(self._answered_at) < self._rate_limit_per_min:
                self._answered_at.append(now)
                return
            wait_s = max(int(self._answered_at[0] + _RATE_WINDOW_S - now) + 1, 1)
        raise Refusal(HTTPStatus.TOO_MANY_REQUESTS, headers={"Retry-After": str(wait_s)})


def get_task(service: Service, exchange: Exchange, task_id: str) -> Response:
    """Return one task."""
    if not _TASK_ID.fullmatch(task_id):
        raise Refusal(HTTPStatus.BAD_REQUEST, "The task ID is malformed", code="invalid_task_id")
    edit = service.store.task(task_id)
    if edit is None:
        raise Refusal(HTTPStatus.NOT_FOUND, "The task does not exist", code="task_not_found")
    exchange.task_id = task_id
    return json_reply(service.show(edit, origin=exchange.link_origin))


def get_tasks(service: Service, exchange: Exchange) -> Response:
    """Return up to 50 tasks by ID; unknown ones are absent."""
    given = exchange.read_json_object().get("task_ids")
    items = cast("list[object]", given) if isinstance(given, list) else [None]
    task_ids = [item for item in items if isinstance(item, str)]
    if len(task_ids) != len(items) or not 1 <= len(task_ids) <= BATCH_LIMIT:
        message = f"`task_ids` must be an array of 1 to {BATCH_LIMIT} strings"
        raise Refusal(HTTPStatus.BAD_REQUEST, message, param="task_ids")
    known = service.store.tasks_by_id(list(dict.fromkeys(task_ids)))
    origin = exchange.link_origin
    return json_reply({"data": [service.show(edit, origin=origin) for edit in known]})


def list_tasks(service: Service, exchange: Exchange) -> Response:
    """Return one page of the account's tasks, newest first."""
    page = _number(exchange, "page", default=1, highest=10**9)
    page_size = _number(exchange, "page_size", default=_PAGE_DEFAULT, highest=PAGE_LIMIT)
    status = exchange.args.get("status") or None
    if status and status not in _STATUS_FILTERS:
        raise Refusal(HTTPStatus.BAD_REQUEST, "Unknown status", param="status")
    output_type = exchange.args.get("type") or "video"
    if output_type not in _OUTPUT_TYPES:
        raise Refusal(HTTPStatus.BAD_REQUEST, "Unknown type", param="type")
    now = service.clock()
    model, offset = exchange.args.get("model"), (page - 1) * page_size
    edits, total = service.store.tasks(
        now=now, status=status, model=model, limit=page_size, offset=offset
    )
    if output_type != "video":
        edits, total = [], 0
    rows = [task_row(edit, now=now) for edit in edits]
    return json_reply({"data": rows, "total": total, "page": page, "page_size": page_size})


def get_credits(service: Service, _: Exchange) -> Response:
    """Return the account's balance; the key itself has no limit."""
    taken = round(service.store.credits_taken(service.clock()), 2)
    left = round(CREDITS_AT_START - taken, 2)
    token = {"remaining_credits": 0, "unlimited_credits": True, "used_credits": taken}
    user = {"remaining_credits": left, "used_credits": taken}
    return json_reply({"success": True, "message": "", "data": {"token": token, "user": user}})


def _number(exchange: Exchange, name: str, *, default: int, highest: int) -> int:
    text = exchange.args.get(name)
    if text is None:
        return default
    if not _PAGE_NUMBER.fullmatch(text) or not 1 <= int(text) <= highest:
        message = f"`{name}` must be a number from 1 to {highest}"
        raise Refusal(HTTPStatus.BAD_REQUEST, message, param=name)
    return int(text)


class _Route(NamedTuple):
    method: str
    path: str  # a pattern; its groups are passed to the endpoint
    endpoint: Callable[..., Response]
    needs_key: bool = True


# Importing Werkzeug's routing would take as long as all other imports together.
_ROUTES = (
    _Route("POST", "/v1/videos/generations", submit),
    _Route("POST", "/v1/tasks/batch", get_tasks),
    _Route("GET", "/v1/tasks", list_tasks),
    _Route("GET", "/v1/tasks/([^/]+)", get_task),
    _Route("GET", "/v1/credits", get_credits),
    _Route("POST", "/api/v1/files/upload/stream", upload_file),
    _Route("GET", "/api/v1/files/quota", get_quota),
    _Route("DELETE", "/api/v1/files/([^/]+)", delete_file),
    _Route("GET", "/files/([^/]+)/([^/]+)", get_file, needs_key=False),
    _Route("GET", "/results/([^/]+)", get_result, needs_key=False),
)


def _find_route(method: str, path: str) -> tuple[_Route, tuple[str, ...]]:
    allowed = set[str]()
    for route in _ROUTES:
        found = re.fullmatch(route.path, path, re.DOTALL)
        if found:
            methods = {"GET", "HEAD"} if route.method == "GET" else {route.method}
            if method in methods:
                return route, found.groups()
            allowed |= methods
    if allowed:
        allow = ", ".join(sorted(allowed))
        raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": allow})
    raise Refusal(HTTPStatus.NOT_FOUND)
