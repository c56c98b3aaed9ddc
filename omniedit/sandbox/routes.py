"""Which endpoint a path and a method lead to, and which methods a path has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from werkzeug.wrappers import Response

from omniedit.sandbox.reading import get_credits, get_task, get_tasks, list_tasks
from omniedit.sandbox.refusals import Refusal
from omniedit.sandbox.results import get_result
from omniedit.sandbox.submissions import submit
from omniedit.sandbox.uploads import delete_file, get_file, get_quota, upload_file

Endpoint = Callable[..., Response]


@dataclass(frozen=True, slots=True)
class Route:
    """One path of the service; `{name}` stands for one segment, given to the endpoint."""

    method: str
    path: str
    endpoint: Endpoint
    needs_key: bool = True

    def match(self, segments: list[str]) -> dict[str, str] | None:
        """Return the named segments when the path is this route's, else None."""
        own = self.path.split("/")
        if len(own) != len(segments):
            return None
        named: dict[str, str] = {}
        for expected, segment in zip(own, segments, strict=True):
            if expected.startswith("{") and segment:
                named[expected.strip("{}")] = segment
            elif expected != segment:
                return None
        return named


# Werkzeug's own routing would take as long to import as everything else here together.
ROUTES = (
    Route("POST", "/v1/videos/generations", submit),
    Route("POST", "/v1/tasks/batch", get_tasks),
    Route("GET", "/v1/tasks", list_tasks),
    Route("GET", "/v1/tasks/{task_id}", get_task),
    Route("GET", "/v1/credits", get_credits),
    Route("POST", "/api/v1/files/upload/stream", upload_file),
    Route("GET", "/api/v1/files/quota", get_quota),
    Route("DELETE", "/api/v1/files/{file_id}", delete_file),
    Route("GET", "/files/{file_id}/{file_name}", get_file, needs_key=False),
    Route("GET", "/results/{file_name}", get_result, needs_key=False),
)


def find_route(method: str, path: str) -> tuple[Route, dict[str, str]]:
    """Return the route and the named segments of its path.

    Raises:
        Refusal: no route has this path (404), or none this method (405).
    """
    segments = path.split("/")
    allowed: set[str] = set()
    for route in ROUTES:
        named = route.match(segments)
        if named is None:
            continue
        if method in _methods(route):
            return route, named
        allowed.update(_methods(route))
    if allowed:
        allow = ", ".join(sorted(allowed))
        raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": allow})
    raise Refusal(HTTPStatus.NOT_FOUND)


def _methods(route: Route) -> tuple[str, ...]:
    return ("GET", "HEAD") if route.method == "GET" else (route.method,)
