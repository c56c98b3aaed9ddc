"""One request and its reply, with what the log and the record want to know of them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge
from werkzeug.wrappers import Request, Response

from omniedit.sandbox.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from omniedit.sandbox.clips import Clips
    from omniedit.sandbox.store import Store

JSON_LIMIT_BYTES = 1024 * 1024
_LOOPBACK_HOST = re.compile(
    r"(localhost|127\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE
)


class BrokenConnectionError(Exception):
    """The reply ends here: the connection is to be closed as it stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What every endpoint works on."""

    store: Store
    clips: Clips
    secret: bytes
    clock: Callable[[], float]
    link_ttl_s: float
    time_scale: float
    edit_seconds: float


class Exchange(Request):
    """A request on its way through the sandbox."""

    # Digests and sizes stand in for bodies that are no JSON.
    body_seen: object = None
    task_id: str | None = None
    fault: str | None = None

    @property
    def link_origin(self) -> str:
        """Return the origin the client used, so that links also work behind a mapped port.

        Raises:
            Refusal: the host is not this machine (DNS rebinding), or is missing.
        """
        host = self.environ.get("HTTP_HOST", "")
        if not host:
            raise Refusal(HTTPStatus.BAD_REQUEST, "The Host header is missing")
        if not _LOOPBACK_HOST.fullmatch(host):
            raise Refusal(
                HTTPStatus.FORBIDDEN,
                "The sandbox answers only to names of this machine",
                code="host_not_allowed",
            )
        return f"http://{host.lower()}"

    def read_json_object(self) -> dict[str, object]:
        """Return the body, which must be a JSON object.

        Raises:
            Refusal: it is not, or it is too large.
        """
        raw = self._read_limited()
        if self.mimetype != "application/json":
            raise Refusal(HTTPStatus.BAD_REQUEST, "Content-Type must be application/json")
        try:
            body = json.loads(raw.decode(), parse_constant=_refuse_constant)
            # What cannot be UTF-8 (a lone surrogate) cannot be stored or answered either.
            json.dumps(body, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as error:
            raise Refusal(HTTPStatus.BAD_REQUEST, "The body is not valid JSON") from error
        self.body_seen = body
        if not isinstance(body, dict):
            raise Refusal(HTTPStatus.BAD_REQUEST, "The body must be a JSON object")
        return cast("dict[str, object]", body)

    def _read_limited(self) -> bytes:
        self.max_content_length = JSON_LIMIT_BYTES
        try:
            raw = self.get_data(cache=False)
        except RequestEntityTooLarge as error:
            raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE) from error
        except ClientDisconnected as error:
            raise Refusal(HTTPStatus.BAD_REQUEST, "The body ended early") from error
        self.body_seen = {"size_bytes": len(raw)}
        return raw


def json_reply(
    value: object, *, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a reply with `value` as its JSON body."""
    return Response(
        json.dumps(value, ensure_ascii=False),
        status=status,
        headers=dict(headers or {}),
        content_type="application/json",
    )


def _refuse_constant(name: str) -> object:
    message = f"{name} is no JSON value"
    raise ValueError(message)
