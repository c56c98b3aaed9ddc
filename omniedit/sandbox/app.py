"""The sandbox's WSGI application: who may ask, which endpoint answers, and what is logged."""

import re
import secrets
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, NamedTuple

from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from omniedit.sandbox.clips import delete_file, get_file, get_quota, get_result, upload_file
from omniedit.sandbox.exchange import (
    BrokenConnectionError,
    Exchange,
    Refusal,
    Service,
    Traffic,
    json_reply,
)
from omniedit.sandbox.submissions import submit
from omniedit.sandbox.tasks import get_credits, get_task, get_tasks, list_tasks

KEY_PREFIX = "sk-sandbox"
_RATE_WINDOW_S = 60.0
_KEY = re.compile(rf"(?i:Bearer) +{KEY_PREFIX}[\x21-\x7e]*")


class SandboxApp:
    """Answers requests as the service would."""

    def __init__(
        self, service: Service, *, traffic: Traffic, rate_limit_per_min: int | None = None
    ) -> None:
        self.service = service
        self.traffic = traffic
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
            self.traffic.note(exchange, status=status, elapsed_s=time.perf_counter() - started)
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
            self.traffic.note_text(traceback.format_exc())
            refusal = Refusal(HTTPStatus.INTERNAL_SERVER_ERROR)
        return json_reply(refusal.envelope, status=refusal.status, headers=refusal.headers)

    def _dispatch(self, exchange: Exchange) -> Response:
        exchange.check_host()
        if not exchange.query_string.isascii():
            raise Refusal(HTTPStatus.BAD_REQUEST, "The query is not percent-encoded")
        route, segments = _find_route(exchange.method, exchange.path)
        if route.needs_key:
            if not _KEY.fullmatch(exchange.headers.get("Authorization", "")):
                raise Refusal(HTTPStatus.UNAUTHORIZED, None, {"WWW-Authenticate": "Bearer"})
            self._check_rate()
        return route.endpoint(self.service, exchange, *segments)

    def _check_rate(self) -> None:
        if self._rate_limit_per_min is None:
            return
        now = self.service.clock()
        with self._lock:
            self._answered_at = [at for at in self._answered_at if at > now - _RATE_WINDOW_S]
            if len(self._answered_at) < self._rate_limit_per_min:
                self._answered_at.append(now)
                return
            wait_s = max(int(self._answered_at[0] + _RATE_WINDOW_S - now) + 1, 1)
        raise Refusal(HTTPStatus.TOO_MANY_REQUESTS, None, {"Retry-After": str(wait_s)})


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
        raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED, None, {"Allow": ", ".join(sorted(allowed))})
    raise Refusal(HTTPStatus.NOT_FOUND)
