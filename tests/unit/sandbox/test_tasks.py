"""Tasks over time, the batch endpoint, the list, the credits, and authentication."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.sandbox.conftest import Bench


@pytest.mark.parametrize(
    ("after_s", "status", "progress"),
    [
        (0, "pending", 0),
        (0.4, "pending", 0),
        (0.5, "processing", 1),
        (2.75, "processing", 50),
        (4.99, "processing", 98),
        (5, "completed", 100),
        (90_000, "completed", 100),
    ],
)
def test_progress_follows_the_clock(
    bench: Bench, after_s: float, status: str, progress: int
) -> None:
    task_id = bench.submit().get_json()["id"]
    bench.clock.advance(after_s)

    task = bench.task(task_id)

    assert (task["status"], task["progress"]) == (status, progress)


def test_a_completed_task_shows_its_result_and_cost(bench: Bench) -> None:
    task = bench.finished()

    (url,) = task["results"]
    assert url.startswith(f"http://localhost/results/{task['id']}.mp4?expires=")
    assert task["result_data"] == [{"video_url": url}]
    assert task["usage"]["credits_used"] == 31.17
    assert task["usage"]["cost"] == {"credits": 31.17, "usd": 0.458382}
    assert "error" not in task


@pytest.mark.parametrize(
    ("marker", "status", "code"),
    [
        ("fail=content_policy_violation", "failed", "content_policy_violation"),
        ("fail=something_new", "failed", "something_new"),
        ("cancel", "cancelled", "request_cancelled"),
    ],
)
def test_a_failed_or_cancelled_task_costs_nothing(
    bench: Bench, marker: str, status: str, code: str
) -> None:
    task = bench.finished(f"[sandbox:{marker}]")

    assert (task["status"], task["progress"]) == (status, 0)
    assert task["error"]["code"] == code
    assert task["error"]["message"]
    assert "results" not in task
    assert task["usage"]["credits_used"] == 0


def test_a_stalled_task_never_changes(bench: Bench) -> None:
    task = bench.finished("[sandbox:stall]")
    bench.clock.advance(86_400)

    assert (task["status"], task["progress"]) == ("processing", 40)
    assert bench.task(task["id"]) == task


def test_an_edit_may_complete_without_a_result(bench: Bench) -> None:
    task = bench.finished("[sandbox:empty]")

    (row,) = bench.get("/v1/tasks").get_json()["data"]
    assert (task["status"], task["progress"], task["results"]) == ("completed", 100, [])
    assert task["usage"]["credits_used"] == 31.17
    assert (row["status"], row["has_results"]) == ("completed", False)


def test_the_seconds_marker_sets_the_duration(bench: Bench) -> None:
    task = bench.submit("[sandbox:seconds=60]").get_json()
    bench.clock.advance(59)
    before = bench.task(task["id"])
    bench.clock.advance(1)

    assert task["task_info"]["estimated_time"] == 60
    assert before["status"] == "processing"
    assert bench.task(task["id"])["status"] == "completed"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        pytest.param("/v1/tasks/task-unified-1-unknown0", 404, id="unknown"),
        pytest.param("/v1/tasks/..%2fcredits", 404, id="traversal-encoded"),
        pytest.param("/v1/tasks/../credits", 404, id="traversal"),
        pytest.param("/v1/tasks/%2e%2e", 404, id="dots"),
        pytest.param("/v1/tasks/a%00b", 400, id="nul"),
        pytest.param("/v1/tasks/%ff", 400, id="not-utf8"),
        pytest.param("/v1/tasks/" + "x" * 129, 400, id="too-long"),
        pytest.param("/v1/tasks/", 404, id="empty"),
        pytest.param("/v1", 404, id="no-such-path"),
        pytest.param("/results/../sandbox.sqlite3", 404, id="file-traversal"),
    ],
)
def test_an_invalid_path_is_refused(bench: Bench, path: str, status: int) -> None:
    reply = bench.get(path)

    assert reply.status_code == status
    assert reply.get_json()["error"].keys() >= {"code", "message", "type"}


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/v1/videos/generations", "POST"),
        ("DELETE", "/v1/tasks/x", "GET, HEAD"),
        ("OPTIONS", "/v1/credits", "GET, HEAD"),
        ("PUT", "/v1/tasks/batch", "GET, HEAD, POST"),
        ("GET", "/api/v1/files/upload/stream", "POST"),
        ("POST", "/results/a.mp4", "GET, HEAD"),
    ],
)
def test_a_wrong_method_is_answered_with_the_allowed_ones(
    bench: Bench, method: str, path: str, allow: str
) -> None:
    reply = bench.call(method, path)

    assert reply.status_code == 405
    assert reply.headers["Allow"] == allow
    assert reply.get_json()["error"]["code"] == "method_not_allowed"


def test_the_batch_endpoint_omits_unknown_tasks(bench: Bench) -> None:
    first, second = (bench.submit().get_json()["id"] for _ in range(2))

    reply = bench.call(
        "POST", "/v1/tasks/batch", json={"task_ids": [second, "unknown", first, second]}
    )

    assert [task["id"] for task in reply.get_json()["data"]] == [second, first]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({}, id="missing"),
        pytest.param({"task_ids": []}, id="empty"),
        pytest.param({"task_ids": ["x"] * 51}, id="too-many"),
        pytest.param({"task_ids": "x"}, id="string"),
        pytest.param({"task_ids": [1]}, id="numbers"),
    ],
)
def test_an_invalid_batch_is_refused(bench: Bench, body: dict[str, Any]) -> None:
    reply = bench.call("POST", "/v1/tasks/batch", json=body)

    assert reply.status_code == 400
    assert reply.get_json()["error"]["param"] == "task_ids"


def test_the_list_is_paged_newest_first(bench: Bench) -> None:
    task_ids = [bench.submit().get_json()["id"] for _ in range(5)]

    page = bench.get("/v1/tasks?page=2&page_size=2").get_json()

    assert [row["id"] for row in page.pop("data")] == task_ids[::-1][2:4]
    assert page == {"total": 5, "page": 2, "page_size": 2}


def test_a_list_row_contains_no_result_link(bench: Bench) -> None:
    task = bench.finished()

    (row,) = bench.get("/v1/tasks").get_json()["data"]

    assert row == {
        "id": task["id"],
        "status": "completed",
        "model": bench.MODEL,
        "type": "video",
        "progress": 100,
        "created_at": task["created"],
        "has_results": True,
        "has_error": False,
        "credits_used": 31.17,
    }


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("status=completed", ["done"]),
        ("status=failed", ["failed"]),
        ("status=cancelled", ["cancelled"]),
        ("status=processing", ["newer", "queued", "stalled"]),
        ("type=video&page_size=50", ["newer", "queued", "stalled", "cancelled", "failed", "done"]),
        (
            "type=video&model=gemini-omni-flash-video-edit",
            ["queued", "stalled", "cancelled", "failed", "done"],
        ),
        ("type=image", []),
        ("model=other", []),
        ("model=gemini-omni-1.1-flash-video-edit", ["newer"]),
    ],
)
def test_the_list_can_be_filtered(bench: Bench, query: str, found: list[str]) -> None:
    prompts = {
        "done": "x",
        "failed": "[sandbox:fail=service_error]",
        "cancelled": "[sandbox:cancel]",
        "stalled": "[sandbox:stall]",
    }
    names = {bench.submit(prompt).get_json()["id"]: name for name, prompt in prompts.items()}
    bench.clock.advance(5)
    names[bench.submit().get_json()["id"]] = "queued"
    newer = {"model": "gemini-omni-1.1-flash-video-edit"}
    names[bench.submit("[sandbox:cut]", body=newer).get_json()["id"]] = "newer"

    rows = bench.get(f"/v1/tasks?{query}").get_json()["data"]

    assert [names[row["id"]] for row in rows] == found


@pytest.mark.parametrize(
    "query",
    [
        "page=0",
        "page=x",
        "page=9999999999",
        "page_size=51",
        "page_size=0",
        "status=odd",
        "type=odd",
    ],
)
def test_an_invalid_filter_is_refused(bench: Bench, query: str) -> None:
    assert bench.get(f"/v1/tasks?{query}").status_code == 400


def test_credits_are_reserved_then_charged_or_refunded(bench: Bench) -> None:
    def balance() -> float:
        return float(bench.get("/v1/credits").get_json()["data"]["user"]["remaining_credits"])

    at_first = balance()
    bench.submit()
    bench.submit("[sandbox:fail=service_error]")
    while_running = balance()
    bench.clock.advance(5)

    assert round(at_first - while_running, 2) == 63.6
    assert round(at_first - balance(), 2) == 31.17
    token = bench.get("/v1/credits").get_json()["data"]["token"]
    assert token["unlimited_credits"] is True


@pytest.mark.parametrize(
    "authorization",
    [
        pytest.param(None, id="no-header"),
        pytest.param("Bearer sk-evo-0123456789", id="real-key"),
        pytest.param("sk-sandbox", id="no-scheme"),
        pytest.param("Basic sk-sandbox", id="other-scheme"),
        pytest.param("Bearer xsk-sandbox", id="other-prefix"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/credits", "/v1/tasks", "/api/v1/files/quota"])
def test_only_sandbox_keys_are_accepted(bench: Bench, authorization: str | None, path: str) -> None:
    reply = bench.get(path, headers={"Authorization": authorization})

    assert reply.status_code == 401
    assert reply.get_json()["error"] == {
        "code": "unauthorized",
        "message": "Invalid or expired token",
        "type": "authentication_error",
    }


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost@evil", "10.0.0.1"]
)
def test_a_foreign_host_header_is_refused(bench: Bench, host: str) -> None:
    reply = bench.get("/v1/credits", headers={"Host": host})

    assert reply.status_code == 403
    assert reply.get_json()["error"]["code"] == "host_not_allowed"


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1:1", "[::1]:9"])
def test_links_use_the_host_of_the_request(bench: Bench, host: str) -> None:
    task = bench.finished(headers={"Host": host})

    shown = bench.get(f"/v1/tasks/{task['id']}", headers={"Host": host}).get_json()

    assert shown["results"][0].startswith(f"http://{host}/results/")


def test_the_rate_limit_ends_after_retry_after(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(rate_limit_per_min=2)
    bench.get("/v1/credits")
    bench.clock.advance(20)
    bench.get("/v1/credits")

    refused = bench.get("/v1/credits")
    bench.clock.advance(int(refused.headers["Retry-After"]))

    assert refused.status_code == 429
    assert refused.get_json()["error"]["code"] == "rate_limit_exceeded"
    assert refused.headers["Retry-After"] == "41"
    assert bench.get("/v1/credits").status_code == 200


def test_head_is_get_without_a_body(bench: Bench) -> None:
    reply = bench.call("HEAD", "/v1/credits")

    assert reply.status_code == 200
    assert reply.data == b""
    assert int(reply.headers["Content-Length"]) > 0
