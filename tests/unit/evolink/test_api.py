"""The API: every status and error code of a reply, and what each endpoint sends."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import httpx
import pytest

from omniedit.errors import (
    AuthenticationError,
    BlockedClientError,
    EndpointMissingError,
    IdempotencyConflictError,
    ModelRefusedError,
    NetworkError,
    OmniEditError,
    QuotaError,
    RateLimitedError,
    RequestRefusedError,
    ServerError,
    ServiceError,
    TaskNotFoundError,
    UnavailableError,
    UnreadableReplyError,
    WrongBaseURLError,
)
from omniedit.evolink.api import EvoLinkClient
from omniedit.http.client import HttpClient
from omniedit.models import DEFAULT_MODEL
from omniedit.policy import is_certainly_not_accepted, is_transient
from omniedit.terminal.documents import json_text
from tests.unit.http.hostile import BROKEN, ENDLESS, ODD, Answer, HostileServer

# Over loopback no certificates are loaded, which would take longer than the tests themselves.
BASE_URL = "http://127.0.0.1:8000"
KEY = "sk-evo-abcdefghijklmnopqrstuvwxyz0123456789"
TASK_ID = "task-unified-1757156493-a1b2c3d4"
TASK: dict[str, Any] = {"id": TASK_ID, "status": "pending", "progress": 0, "created": 1757156493}
REQUEST_ID = "omniedit-0123456789abcdef"
BODY = b'{"model": "m", "prompt": "warmer", "video_urls": ["https://example.com/c.mp4"]}'

Call = Callable[[EvoLinkClient], object]
CALLS: dict[str, Call] = {
    "create_task": lambda api: api.create_task(BODY, request_id=REQUEST_ID),
    "get_task": lambda api: api.get_task(TASK_ID),
    "get_tasks": lambda api: api.get_tasks([TASK_ID]),
    "list_tasks": lambda api: api.list_tasks(model=DEFAULT_MODEL, page=1),
    "get_credits": lambda api: api.get_credits(),
}
every_call = pytest.mark.parametrize("call", [pytest.param(c, id=n) for n, c in CALLS.items()])
# A failed batch read falls back to single reads, whose errors count instead.
every_other_call = pytest.mark.parametrize(
    "call", [pytest.param(c, id=n) for n, c in CALLS.items() if n != "get_tasks"]
)


class Service:
    """A fake service that answers every request alike and records it."""

    def __init__(self, response: httpx.Response, *, now: Callable[[], float] = time.time) -> None:
        self.requests: list[httpx.Request] = []
        self._response = response
        self.http = HttpClient(transport=httpx.MockTransport(self._answer))
        self.api = EvoLinkClient(self.http, base_url=BASE_URL, key=KEY, now=now)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self._response


@pytest.fixture
def serve() -> Iterator[Callable[..., Service]]:
    services: list[Service] = []

    def serve(status: int, **response: Any) -> Service:
        services.append(Service(httpx.Response(status, **response)))
        return services[-1]

    yield serve
    for service in services:
        service.http.close()


Serve = Callable[..., Service]


def error(code: object, message: str = "no", **more: Any) -> dict[str, object]:
    return {"error": {"code": code, "message": message, "type": "t", **more}}


def test_a_submission_posts_its_exact_body_with_its_request_id(serve: Serve) -> None:
    service = serve(200, json=TASK)

    task, is_replay = service.api.create_task(BODY, request_id=REQUEST_ID)

    [request] = service.requests
    assert (request.method, str(request.url)) == ("POST", f"{BASE_URL}/v1/videos/generations")
    assert request.read() == BODY
    assert request.headers["idempotency-key"] == REQUEST_ID
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["content-type"] == "application/json"
    assert (task.task_id, is_replay) == (TASK_ID, False)


@pytest.mark.parametrize(
    ("header", "is_replay"), [("true", True), (" True", True), ("false", False), ("1", False)]
)
def test_a_replay_is_recognised_by_its_header(
    serve: Serve, header: str, *, is_replay: bool
) -> None:
    service = serve(200, json=TASK, headers={"Idempotency-Replayed": header})

    assert service.api.create_task(BODY, request_id=REQUEST_ID)[1] is is_replay


def test_a_task_is_read_by_its_id(serve: Serve) -> None:
    service = serve(200, json=TASK)

    assert service.api.get_task(TASK_ID).status == "pending"
    [request] = service.requests
    assert (request.method, str(request.url)) == ("GET", f"{BASE_URL}/v1/tasks/{TASK_ID}")
    assert "idempotency-key" not in request.headers


@pytest.mark.parametrize("task_id", ["../credits", "..%2fcredits", "a/b", "a?b=c", "a#b", "a b"])
def test_no_task_id_reaches_another_endpoint(serve: Serve, task_id: str) -> None:
    service = serve(200, json=TASK)

    with pytest.raises(OmniEditError):
        service.api.get_task(task_id)

    path = service.requests[0].url.raw_path.decode()
    assert path.startswith("/v1/tasks/")
    assert path.count("/") == 3
    assert "?" not in path


def test_a_reply_about_another_task_is_unreadable(serve: Serve) -> None:
    service = serve(200, json=TASK | {"id": "task-of-somebody-else"})

    with pytest.raises(UnreadableReplyError, match="another task"):
        service.api.get_task(TASK_ID)


def test_many_tasks_are_read_with_one_post(serve: Serve) -> None:
    service = serve(200, json={"data": [TASK, {"id": "t-2"}, None]})

    tasks = service.api.get_tasks([TASK_ID, "t-2", "t-3"])

    assert [*tasks] == [TASK_ID, "t-2"]
    [request] = service.requests
    assert (request.method, request.url.path) == ("POST", "/v1/tasks/batch")
    assert json.loads(request.read()) == {"task_ids": [TASK_ID, "t-2", "t-3"]}


def test_the_accounts_list_asks_for_this_model_only(serve: Serve) -> None:
    service = serve(200, json={"data": [TASK], "total": 1})

    page = service.api.list_tasks(model=DEFAULT_MODEL, page=3)

    assert (page.total, [task.task_id for task in page.tasks]) == (1, [TASK_ID])
    assert dict(service.requests[0].url.params) == {
        "page": "3",
        "page_size": "50",
        "type": "video",
        "model": "gemini-omni-flash-video-edit",
    }


def test_credits_and_time_come_from_the_credits_endpoint(serve: Serve) -> None:
    reply = {"data": {"token": {"unlimited_credits": True}, "user": {"remaining_credits": 12}}}
    service = serve(200, json=reply, headers={"Date": "Sat, 06 Sep 2025 11:01:33 GMT"})

    assert service.api.get_credits().account_remaining == 12
    assert service.api.get_time() == 1757156493
    assert {request.url.path for request in service.requests} == {"/v1/credits"}


@pytest.mark.parametrize("date", ["", "yesterday"])
def test_without_a_valid_date_header_there_is_no_time(serve: Serve, date: str) -> None:
    assert serve(200, json={}, headers={"Date": date}).api.get_time() is None


STATUSES = {
    400: RequestRefusedError,
    401: AuthenticationError,
    402: QuotaError,
    403: AuthenticationError,
    409: RequestRefusedError,
    413: RequestRefusedError,
    422: RequestRefusedError,
    429: RateLimitedError,
    500: ServerError,
    502: ServerError,
    503: ServerError,
    504: ServerError,
    599: ServerError,
    301: RequestRefusedError,
    307: RequestRefusedError,
}
every_status = pytest.mark.parametrize(("status", "expected"), STATUSES.items())


def check_refusal(service: Service, call: Call, status: int, expected: type[Exception]) -> None:
    with pytest.raises(OmniEditError) as caught:
        call(service.api)

    assert type(caught.value) is expected
    assert (caught.value.http_status, caught.value.retry_after_s) == (status, 7)
    assert len(service.requests) == 1
    assert KEY not in str(caught.value)


@every_status
@every_other_call
def test_each_status_maps_to_one_error(
    serve: Serve, call: Call, status: int, expected: type[OmniEditError]
) -> None:
    service = serve(status, json=error(None), headers={"Retry-After": "7"})

    check_refusal(service, call, status, expected)


@every_status
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(json.dumps({"error": "no"}).encode(), id="error-as-text"),
        pytest.param(b"<html>502 Bad Gateway</html>", id="html"),
        pytest.param(b"", id="empty"),
        pytest.param(b'["a"]', id="list"),
    ],
)
def test_the_status_decides_if_the_body_holds_no_code(
    serve: Serve, body: bytes, status: int, expected: type[OmniEditError]
) -> None:
    service = serve(status, content=body, headers={"Retry-After": "7"})

    check_refusal(service, CALLS["create_task"], status, expected)


QUOTA_CODES = (
    "insufficient_quota", "insufficient_user_quota", "quota_not_enough",
    "account_balance_insufficient", "insufficient_token_quota", "key_quota_exhausted",
    "token_daily_quota_exceeded", "key_daily_quota_exhausted",
)  # fmt: skip
KEY_CODES = ("key_disabled", "key_expired", "user_disabled", "unauthorized")
MODEL_CODES = (
    "key_model_not_allowed", "model_access_denied", "model_deprecated", "model_not_found",
    "model_retired",
)  # fmt: skip


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 429, 500, 503])
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        *((code, QuotaError) for code in QUOTA_CODES),
        *((code, AuthenticationError) for code in KEY_CODES),
        *((code, ModelRefusedError) for code in MODEL_CODES),
        ("idempotency_conflict", IdempotencyConflictError),
    ],
)
def test_an_error_code_outranks_the_status(
    serve: Serve, code: str, expected: type[OmniEditError], status: int
) -> None:
    service = serve(status, json=error(code, "the service's own words"))

    with pytest.raises(OmniEditError) as caught:
        service.api.create_task(BODY, request_id=REQUEST_ID)

    assert type(caught.value) is expected
    assert (caught.value.code, caught.value.message) == (code, "the service's own words")
    assert is_certainly_not_accepted(caught.value)


def test_a_bad_request_naming_the_model_is_a_model_refusal(serve: Serve) -> None:
    refusal = {"code": "invalid_request", "message": "no", "param": "model", "suggestion": "other"}
    service = serve(400, json={"error": refusal})

    with pytest.raises(ModelRefusedError) as caught:
        service.api.create_task(BODY, request_id=REQUEST_ID)

    assert caught.value.hint == "other"


@pytest.mark.parametrize("code", [404, "503", -1, None, "", "unknown_error"])
def test_a_meaningless_code_is_ignored(serve: Serve, code: object) -> None:
    service = serve(400, json=error(code))

    with pytest.raises(RequestRefusedError) as caught:
        service.api.get_task(TASK_ID)

    assert caught.value.code == RequestRefusedError.kind


@pytest.mark.parametrize(
    "response",
    [
        pytest.param({"json": error("invalid_task_id")}, id="code"),
        pytest.param({"json": error(404)}, id="numeric-code"),
        pytest.param({"content": b"<html>"}, id="html"),
        pytest.param({"content": b""}, id="empty"),
    ],
)
def test_any_404_for_a_task_is_task_not_found(serve: Serve, response: dict[str, Any]) -> None:
    service = serve(404, **response)

    with pytest.raises(TaskNotFoundError) as caught:
        service.api.get_task(TASK_ID)

    assert caught.value.task_id == TASK_ID


def test_an_invalid_task_id_is_task_not_found(serve: Serve) -> None:
    with pytest.raises(TaskNotFoundError):
        serve(400, json=error("invalid_task_id")).api.get_task(TASK_ID)


@pytest.mark.parametrize("status", [200, 500, 503])
def test_a_code_about_a_task_does_not_prove_a_refused_submission(serve: Serve, status: int) -> None:
    service = serve(status, json=error("invalid_task_id"))

    with pytest.raises(UnavailableError) as caught:
        service.api.create_task(BODY, request_id=REQUEST_ID)

    assert not is_certainly_not_accepted(caught.value)


@pytest.mark.parametrize("status", [404, 405])
@pytest.mark.parametrize(
    "response",
    [{"content": b"<html>"}, {"json": error(404)}, {"json": error("not_found")}, {"content": b""}],
)
def test_a_missing_submission_endpoint_means_a_wrong_base_url(
    serve: Serve, status: int, response: dict[str, Any]
) -> None:
    service = serve(status, **response)

    with pytest.raises(WrongBaseURLError, match=BASE_URL):
        service.api.create_task(BODY, request_id=REQUEST_ID)


@pytest.mark.parametrize("status", [404, 405])
def test_a_missing_list_endpoint_is_reported_as_missing(serve: Serve, status: int) -> None:
    with pytest.raises(EndpointMissingError):
        CALLS["list_tasks"](serve(status, json=error("not_found")).api)


@pytest.mark.parametrize("status", [307, 400, 401, 402, 403, 404, 405, 409, 410, 422, 501])
@pytest.mark.parametrize(
    "response", [{"content": b"<html>"}, {"json": error("invalid_request")}, {"json": error(403)}]
)
def test_a_refused_batch_read_counts_as_a_missing_endpoint(
    serve: Serve, status: int, response: dict[str, Any]
) -> None:
    with pytest.raises(EndpointMissingError):
        CALLS["get_tasks"](serve(status, **response).api)


@pytest.mark.parametrize(
    "content", [b"<html>", b"", b"null", b"[1]", b'{"data": 3}', b"x" * 17 * 2**20]
)
def test_an_unreadable_batch_read_counts_as_a_missing_endpoint(
    serve: Serve, content: bytes
) -> None:
    with pytest.raises(EndpointMissingError):
        CALLS["get_tasks"](serve(200, content=content).api)


@pytest.mark.parametrize(
    ("status", "expected"), [(429, RateLimitedError), (500, ServerError), (503, ServerError)]
)
def test_a_transient_failure_of_a_batch_read_is_raised(
    serve: Serve, status: int, expected: type[OmniEditError]
) -> None:
    with pytest.raises(expected):
        CALLS["get_tasks"](serve(status).api)


@every_other_call
def test_a_cdn_block_is_not_a_refused_key(serve: Serve, call: Call) -> None:
    with pytest.raises(BlockedClientError) as caught:
        call(serve(403, content=b"error code: 1010").api)

    assert is_certainly_not_accepted(caught.value)
    assert not is_transient(caught.value)


@pytest.mark.parametrize(
    "date", ["Fri, 31 Dec 9999 23:59:59 -2359", "Mon, 01 Jan 0001 00:00:00 +2359"]
)
def test_an_absurd_date_is_ignored(serve: Serve, date: str) -> None:
    service = serve(429, headers={"Date": date, "Retry-After": date})

    assert service.api.get_time() is None
    with pytest.raises(RateLimitedError) as caught:
        CALLS["create_task"](service.api)
    assert (caught.value.retry_after_s or 0) < 1e9


def test_each_reply_updates_the_clock_offset() -> None:
    reply = httpx.Response(200, json=TASK, headers={"Date": "Sat, 06 Sep 2025 11:01:33 GMT"})
    service = Service(reply, now=lambda: 1757156433.0)

    before = service.api.clock_offset_s
    service.api.get_task(TASK_ID)

    assert (before, service.api.clock_offset_s) == (None, 60.0)


def test_a_task_too_deep_for_json_loses_only_raw(serve: Serve) -> None:
    deep = json.dumps(TASK)[:-1] + ', "a": ' + "[" * 800 + "1e999" + "]" * 800 + "}"

    task, _ = serve(200, content=deep).api.create_task(BODY, request_id=REQUEST_ID)
    document = json.loads(json_text({"task_id": task.task_id, "raw": task.raw}, indent=2))

    assert document == {"task_id": TASK_ID, "raw": None}


def test_numbers_outside_json_are_unknown_and_shown_as_null(serve: Serve) -> None:
    odd = json.dumps(TASK)[:-1] + ', "progress": NaN, "created": 1e999, "a": [-Infinity]}'

    task = serve(200, content=odd).api.get_task(TASK_ID)
    document = json.loads(json_text(task.raw or {}), parse_constant=pytest.fail)

    assert (task.progress, task.created_at) == (None, None)
    assert document == TASK | {"progress": None, "created": None, "a": [None]}


def test_a_field_that_is_nan_counts_as_missing(serve: Serve) -> None:
    fields = '"id": NaN, "task_id": "task-1", "created": NaN, "created_at": 1700000000'
    odd = f'{{{fields}, "usage": {{"credits_used": NaN}}, "credits_used": 31.2}}'

    task, _ = serve(200, content=odd).api.create_task(BODY, request_id=REQUEST_ID)

    assert (task.task_id, task.created_at, task.credits_used) == ("task-1", 1_700_000_000, 31.2)


def test_an_echoed_key_reaches_neither_task_nor_error(serve: Serve) -> None:
    failed = (
        TASK
        | {"status": "failed", "results": [f"https://a.example/{KEY}"]}
        | error("invalid_request", f"bad {KEY}", suggestion=KEY)
    )

    task = serve(200, json=failed).api.get_task(TASK_ID)
    with pytest.raises(RequestRefusedError) as caught:
        serve(400, json=error("invalid_request", f"bad {KEY}", action_url=KEY)).api.get_task(
            TASK_ID
        )

    assert KEY not in f"{task} {task.raw} {vars(caught.value)}"
    assert task.result_urls == ("https://a.example/***",)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"<html>login</html>", id="html"),
        pytest.param(b"", id="empty"),
        pytest.param(b"null", id="null"),
        pytest.param(b"[1]", id="list"),
        pytest.param(b'{"id": "../x"}', id="unusable-id"),
        pytest.param(b"{}", id="empty-object"),
        pytest.param(b'{"id": "t-', id="truncated"),
    ],
)
@every_other_call
def test_garbage_with_status_200_is_unreadable_not_a_refusal(
    serve: Serve, call: Call, content: bytes
) -> None:
    with pytest.raises(UnreadableReplyError) as caught:
        call(serve(200, content=content).api)

    assert not is_certainly_not_accepted(caught.value)


def test_a_refusal_sent_with_status_200_is_a_refusal(serve: Serve) -> None:
    with pytest.raises(QuotaError):
        CALLS["create_task"](serve(200, json=error("insufficient_quota")).api)


def test_a_failed_task_is_returned_not_raised(serve: Serve) -> None:
    failed = TASK | {"status": "failed"} | error("content_policy_violation", "line\nline")

    task = serve(200, json=failed).api.get_task(TASK_ID)

    assert task.error is not None
    assert (task.error.code, task.error.message) == ("content_policy_violation", "line\nline")


@pytest.mark.parametrize(
    ("status", "is_certain"), [(301, True), (302, True), (303, False), (307, True)]
)
def test_a_submission_may_have_been_accepted_if_it_is_redirected_to_its_outcome(
    serve: Serve, status: int, *, is_certain: bool
) -> None:
    service = serve(status, headers={"Location": "https://other.example/v1/tasks"})

    with pytest.raises(ServiceError, match="redirect") as caught:
        service.api.create_task(BODY, request_id=REQUEST_ID)

    assert is_certainly_not_accepted(caught.value) is is_certain


@pytest.mark.parametrize("status", [200, 404, 500])
def test_a_code_about_a_task_refuses_a_read_but_proves_no_refused_submission(
    serve: Serve, status: int
) -> None:
    api = serve(status, json={"error": {"code": "invalid_task_id", "message": "unknown"}}).api

    with pytest.raises(TaskNotFoundError):
        api.get_task(TASK_ID)
    with pytest.raises(ServiceError) as caught:
        api.create_task(BODY, request_id=REQUEST_ID)

    assert is_certainly_not_accepted(caught.value) is (status == 404)


@every_other_call
def test_a_redirect_is_never_followed_with_the_key(serve: Serve, call: Call) -> None:
    service = serve(307, headers={"Location": "https://evil.example/v1/tasks"})

    with pytest.raises(RequestRefusedError, match="redirect"):
        call(service.api)

    assert [request.url.host for request in service.requests] == ["127.0.0.1"]


@pytest.mark.parametrize(
    ("more", "hint"),
    [
        ({"action_url": "https://evolink.ai/fix"}, "https://evolink.ai/fix"),
        ({"suggestion": "use another clip"}, "use another clip"),
        ({"fallback_suggestion": "try later"}, "try later"),
        ({"action_url": ""}, None),
        ({"action_url": 3}, None),
    ],
)
def test_the_services_own_advice_becomes_the_hint(
    serve: Serve, more: dict[str, Any], hint: str | None
) -> None:
    with pytest.raises(RequestRefusedError) as caught:
        CALLS["create_task"](serve(400, json=error("invalid_request", **more)).api)

    assert caught.value.hint == hint


def test_a_message_without_an_error_object_is_shown(serve: Serve) -> None:
    with pytest.raises(ServerError, match="upstream is down"):
        CALLS["get_task"](serve(502, json={"message": "upstream is down"}).api)


@pytest.mark.parametrize(
    "answer", [pytest.param(answer, id=name) for name, answer in (BROKEN | ODD).items()]
)
@every_call
def test_any_reply_ends_in_a_value_or_an_omniedit_error(
    serve_bytes: Callable[[Answer], HostileServer], call: Call, answer: Answer
) -> None:
    server = serve_bytes(answer)

    with HttpClient() as http, suppress(OmniEditError):
        call(EvoLinkClient(http, base_url=server.url, key=KEY))

    assert len(server.heads) == 1


@every_call
def test_no_call_outlives_the_callers_deadline(
    serve_bytes: Callable[[Answer], HostileServer], call: Call
) -> None:
    server = serve_bytes(ENDLESS["one-header-line-after-another"])

    with HttpClient() as http, pytest.raises(NetworkError):
        call(_ClientWithDeadline(http, base_url=server.url, key=KEY))


class _ClientWithDeadline(EvoLinkClient):
    """Passes a deadline of milliseconds to each call."""

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        return partial(value, deadline=time.monotonic() + 0.05) if name in CALLS else value
