"""The sandbox as a WSGI application: the order in which a request is judged."""

from __future__ import annotations

import re
import secrets
import threading
import time
import traceback
from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING

from werkzeug.exceptions import HTTPException

from omniedit.sandbox.exchange import BrokenConnectionError, Exchange, json_reply
from omniedit.sandbox.refusals import Refusal
from omniedit.sandbox.routes import find_route

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

    from werkzeug.wrappers import Response

    from omniedit.sandbox.exchange import Context
    from omniedit.sandbox.traffic import Traffic

KEY_PREFIX = "sk-sandbox"
_RATE_WINDOW_S = 60.0
_KEY = re.compile(rf"(?i:Bearer) +{KEY_PREFIX}[\x21-\x7e]*")


class SandboxApp:
    """Answers requests as the service would."""

    def __init__(
        self, context: Context, *, traffic: Traffic, rate_limit_per_min: int | None = None
    ) -> None:
        """Take what the endpoints work on, and who is told of every exchange."""
        self._context = context
        self._traffic = traffic
        self._rate_limit_per_min = rate_limit_per_min
        self._answered_at: deque[float] = deque()
        self._lock = threading.Lock()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request.

        Raises:
            BrokenConnectionError: the connection is to be closed without a reply.
        """
        started = time.perf_counter()
        exchange = Exchange(environ)
        status: int | None = None
        try:
            response = self._answer(exchange)
            response.headers["x-request-id"] = f"req_{secrets.token_hex(8)}"
            status = response.status_code
        finally:
            self._traffic.tell(exchange, status=status, elapsed_s=time.perf_counter() - started)
        return response(environ, start_response)

    def _answer(self, exchange: Exchange) -> Response:
        try:
            return self._dispatch(exchange)
        except Refusal as refusal:
            return _envelope(refusal)
        except BrokenConnectionError:
            raise
        except HTTPException as error:
            return _envelope(Refusal(error.code or HTTPStatus.INTERNAL_SERVER_ERROR))
        except Exception:  # noqa: BLE001 - the boundary: a bug here must look like the service's own
            self._traffic.tell_text(traceback.format_exc())
            return _envelope(Refusal(HTTPStatus.INTERNAL_SERVER_ERROR))

    def _dispatch(self, exchange: Exchange) -> Response:
        # Read for its check: a foreign Host header ends here, whatever is asked for.
        _ = exchange.link_origin
        if not exchange.query_string.isascii():
            raise Refusal(HTTPStatus.BAD_REQUEST, "The query is not percent-encoded")
        route, named = find_route(exchange.method, exchange.path)
        if route.needs_key:
            if not _KEY.fullmatch(exchange.headers.get("Authorization", "")):
                raise Refusal(HTTPStatus.UNAUTHORIZED, headers={"WWW-Authenticate": "Bearer"})
            self._keep_to_rate()
        return route.endpoint(self._context, exchange, **named)

    def _keep_to_rate(self) -> None:
        if self._rate_limit_per_min is None:
            return
        now = self._context.clock()
        with self._lock:
            while self._answered_at and self._answered_at[0] <= now - _RATE_WINDOW_S:
                self._answered_at.popleft()
            if len(self._answered_at) < self._rate_limit_per_min:
                self._answered_at.append(now)
                return
            oldest = self._answered_at[0] if self._answered_at else now
        wait_s = max(int(oldest + _RATE_WINDOW_S - now) + 1, 1)
        raise Refusal(HTTPStatus.TOO_MANY_REQUESTS, headers={"Retry-After": str(wait_s)})


def _envelope(refusal: Refusal) -> Response:
    return json_reply(refusal.envelope(), status=refusal.status, headers=refusal.headers)
