"""Every exit status that these commands can reach, produced by its cause."""

import itertools
import re
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from omniedit.sandbox.server import RunningSandbox
from tests.commandline import CommandLine
from tests.e2e.test_contract_equipment import (
    CLIP,
    MP4,
    NOW,
    TASK,
    Reply,
    Request,
    check_document,
    check_failure,
    refusal,
    refused_port,
    requests,
    scripted,
    submissions,
    task,
)

pytestmark = pytest.mark.e2e

QUOTA_CODES = (
    *("insufficient_quota", "insufficient_user_quota", "quota_not_enough"),
    *("account_balance_insufficient", "insufficient_token_quota", "key_quota_exhausted"),
    *("token_daily_quota_exceeded", "key_daily_quota_exhausted"),
)
KEY_CODES = ("key_disabled", "key_expired", "key_model_not_allowed", "user_disabled")
LOST = Reply(is_lost=True)
HTML = {"Content-Type": "text/html"}


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "record.jsonl"


@pytest.fixture
def service(start_sandbox: Callable[..., RunningSandbox], record: Path) -> RunningSandbox:
    return start_sandbox(record=record)


@pytest.mark.parametrize(
    ("reply", "status", "posts"),
    [
        pytest.param(refusal(400, "invalid_request", "SAID"), 2, 1, id="400"),
        pytest.param(refusal(401, "unauthorized", "SAID"), 3, 1, id="401"),
        pytest.param(refusal(402, "insufficient_quota", "SAID"), 4, 1, id="402"),
        pytest.param(refusal(402, None, "SAID"), 4, 1, id="402-without-code"),
        pytest.param(refusal(402, 402, "SAID"), 4, 1, id="402-code-is-a-number"),
        pytest.param(refusal(403, "model_access_denied", "SAID"), 3, 1, id="403"),
        pytest.param(refusal(404, "not_found", "SAID"), 2, 1, id="404"),
        pytest.param(refusal(405, "method_not_allowed", "SAID"), 2, 1, id="405"),
        pytest.param(refusal(413, "request_too_large", "SAID"), 2, 1, id="413"),
        pytest.param(refusal(422, "unprocessable", "SAID"), 2, 1, id="422"),
        pytest.param(refusal(409, "idempotency_conflict", "SAID"), 9, 1, id="conflict"),
        pytest.param(refusal(429, "rate", "SAID", Retry_After="3600"), 8, 1, id="429-in-an-hour"),
        pytest.param(
            refusal(429, "rate", "SAID", Retry_After=formatdate(4102444800, usegmt=True)),
            *(8, 1),
            id="429-until-a-date",
        ),
        pytest.param(refusal(500, "insufficient_user_quota", "SAID"), 4, 1, id="quota-code-in-500"),
        pytest.param(refusal(503, "key_disabled", "SAID"), 3, 1, id="key-code-in-503"),
        pytest.param(Reply(status=401, body={"error": "SAID"}), 3, 1, id="error-is-a-string"),
        pytest.param(refusal(503, "service_unavailable", "SAID"), 9, 2, id="503"),
        pytest.param(refusal(500, "internal_error", "SAID"), 9, 2, id="500"),
    ],
)
def test_a_refused_submission_exits_with_the_status_of_its_cause(
    omniedit: CommandLine, reply: Reply, status: int, posts: int
) -> None:
    with scripted(lambda _: reply) as service:
        ended = omniedit("submit", CLIP, "x", timeout_s=30, **service.environ())

    check_failure(ended, status, "SAID")
    assert len(service.requests_with("POST")) == posts
    keys = {request.headers["idempotency-key"] for request in service.requests_with("POST")}
    assert len(keys) == 1
    assert len({request.body for request in service.requests_with("POST")}) == 1


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(LOST, id="connection-lost"),
        pytest.param(Reply(body=b"{", content_length=500), id="truncated-reply"),
        pytest.param(Reply(body=b"not json"), id="garbage-200"),
        pytest.param(Reply(body={}), id="empty-200"),
        pytest.param(Reply(body=[]), id="list-200"),
        pytest.param(Reply(status=502, body=b"<html>bad", headers=HTML), id="502-html"),
        pytest.param(Reply(body=b"<html>ok", headers=HTML), id="200-html"),
        pytest.param(Reply(status=504), id="504-empty"),
    ],
)
def test_a_submission_that_may_have_been_accepted_is_unknown(
    omniedit: CommandLine, reply: Reply
) -> None:
    with scripted(lambda _: reply) as service:
        ended = omniedit("submit", CLIP, "x", **service.environ())
        listed = omniedit("list", "--json", **service.environ())

    (row,) = check_document(listed)["tasks"]
    check_failure(ended, 9, "omniedit submit --resume", row["request_id"])
    assert len(service.requests_with("POST")) == 2
    assert (row["task_id"], row["status"]) == (None, "unknown")
    assert service.requests_with("POST")[0].headers["idempotency-key"] == row["request_id"]


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 422])
def test_a_refused_replay_stays_unknown_and_shows_the_refusal(
    omniedit: CommandLine, status: int
) -> None:
    replies = itertools.chain([LOST], itertools.repeat(refusal(status, "c", "ITS WORDS")))
    with scripted(lambda _: next(replies)) as service:
        ended = omniedit("submit", CLIP, "x", **service.environ())

    check_failure(ended, 9, "ITS WORDS", "--resume")
    assert len(service.requests_with("POST")) == 2


def test_resume_sends_the_same_key_and_body(
    omniedit: CommandLine,
) -> None:
    replies = itertools.chain([LOST, LOST], itertools.repeat(Reply(body=task("processing"))))
    with scripted(
        lambda request: next(replies) if request.method == "POST" else Reply(status=404)
    ) as service:
        environ = service.environ()
        unknown = omniedit("submit", CLIP, "x", **environ)
        posts = service.requests_with("POST")
        request_id = posts[0].headers["idempotency-key"]
        resumed = omniedit("submit", "--resume", request_id, **environ)

    assert (unknown.status, resumed.status, resumed.stdout) == (9, 0, f"{TASK}\n"), resumed
    assert {request.headers["idempotency-key"] for request in service.requests_with("POST")} == {
        request_id
    }
    assert len({request.body for request in service.requests_with("POST")}) == 1


@pytest.mark.parametrize("code", QUOTA_CODES)
def test_quota_codes_are_status_4_whatever_the_http_status(
    omniedit: CommandLine, code: str
) -> None:
    with scripted(lambda _: refusal(429, code, "SAID")) as service:
        ended = omniedit("submit", CLIP, "x", "--json", timeout_s=20, **service.environ())

    error = check_document(ended)["error"]
    assert (ended.status, error["code"], error["http_status"]) == (4, code, 429), ended
    assert "SAID" in error["message"]
    assert len(service.requests_with("POST")) == 1


@pytest.mark.parametrize("code", KEY_CODES)
def test_key_codes_are_status_3_whatever_the_http_status(omniedit: CommandLine, code: str) -> None:
    with scripted(lambda _: refusal(429, code, "SAID")) as service:
        ended = omniedit("submit", CLIP, "x", timeout_s=20, **service.environ())

    check_failure(ended, 3, "SAID")
    assert len(service.requests_with("POST")) == 1


@pytest.mark.parametrize("status", [404, 405])
def test_an_html_404_names_the_base_url(omniedit: CommandLine, status: int) -> None:
    with scripted(lambda _: Reply(status=status, body=b"<html>", headers=HTML)) as service:
        ended = omniedit("submit", CLIP, "x", **service.environ())

    check_failure(ended, 2, service.url)


@pytest.mark.parametrize("status", [404, 405])
def test_a_404_with_an_error_code_names_the_base_url_too(
    omniedit: CommandLine, status: int
) -> None:
    with scripted(lambda _: refusal(status, "route_gone", "SAID")) as service:
        ended = omniedit("submit", CLIP, "x", **service.environ())

    check_failure(ended, 2, f"SAID (answered {status} by {service.url})")


def test_a_429_is_retried_with_the_same_key(served: CommandLine, record: Path) -> None:
    ended = served("submit", CLIP, "x [sandbox:http=429*1]")

    assert ended.status == 0, ended
    posts = submissions(record)
    assert [request["status"] for request in posts] == [429, 200]
    assert len({request["headers"]["idempotency-key"] for request in posts}) == 1


def test_an_edit_stops_retrying_a_429_at_its_timeout(served: CommandLine) -> None:
    ended = served("edit", CLIP, "x [sandbox:http=429]", "--timeout", "2")

    check_failure(ended, 8, "Too many requests")


def test_a_retry_after_of_hours_ends_the_submission_as_refused(omniedit: CommandLine) -> None:
    with scripted(lambda _: refusal(429, "rate", "SAID", Retry_After="7200")) as service:
        ended = omniedit("submit", CLIP, "x", **service.environ())
        listed = omniedit("list", "--json", **service.environ())

    check_failure(ended, 8)
    (row,) = check_document(listed)["tasks"]
    assert (row["status"], row["task_id"]) == ("refused", None)


def test_an_edit_that_never_connects_is_status_8_and_refused(omniedit: CommandLine) -> None:
    with refused_port() as url:
        environ: dict[str, Any] = {"OMNIEDIT_BASE_URL": url, "OMNIEDIT_API_KEY": "sk-sandbox-x"}
        ended = omniedit("edit", CLIP, "x", "--timeout", "1", **environ)
        (row,) = check_document(omniedit("list", "--json", **environ))["tasks"]

    check_failure(ended, 8)
    assert row["status"] == "refused", "certainly nothing was accepted"


def test_a_lost_reply_is_replayed_into_one_task(served: CommandLine, record: Path) -> None:
    ended = served("submit", CLIP, f"x [sandbox:lost-reply]{NOW}")

    assert ended.status == 0, ended
    posts = submissions(record)
    assert [request["status"] for request in posts] == [None, 200]
    assert {request["task_id"] for request in posts} == {ended.stdout.strip()}


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        pytest.param(refusal(400, "invalid_request", "SAID"), 2, id="400"),
        pytest.param(refusal(401, "unauthorized", "SAID"), 3, id="401"),
        pytest.param(refusal(403, "model_access_denied", "SAID"), 3, id="403"),
        pytest.param(refusal(402, "insufficient_quota", "SAID"), 4, id="402"),
        pytest.param(refusal(404, "task_not_found", "SAID"), 11, id="404"),
    ],
)
@pytest.mark.parametrize("command", ["status", "wait", "download"])
def test_a_refused_read_exits_with_the_status_of_its_cause(
    omniedit: CommandLine, command: str, reply: Reply, status: int
) -> None:
    with scripted(lambda _: reply) as service:
        ended = omniedit(command, TASK, **service.environ())

    check_failure(ended, status, "SAID")
    assert len(service.requests) == 1


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(refusal(429, "rate", "SAID", Retry_After="0"), id="429"),
        pytest.param(refusal(500, "internal_error", "SAID"), id="500"),
        pytest.param(LOST, id="connection-lost"),
        pytest.param(Reply(body=b"garbage"), id="garbage"),
    ],
)
@pytest.mark.parametrize("command", ["status", "wait"])
def test_a_transient_failure_of_a_read_is_retried(
    omniedit: CommandLine, command: str, failure: Reply
) -> None:
    finished = Reply(body=task(results=["https://cdn.example.com/out.mp4"]))
    replies = itertools.chain([failure], itertools.repeat(finished))
    with scripted(lambda _: next(replies)) as service:
        ended = omniedit(command, TASK, **service.environ())

    assert ended.status == 0, ended
    assert len(service.requests) == 2


def test_an_unfinished_task_is_status_6_with_a_recovery_command(served: CommandLine) -> None:
    task_id = served("submit", CLIP, "x [sandbox:stall]").stdout.strip()

    waited = served("wait", "--timeout", "1")
    early = served("download", "-o", "a.mp4")

    check_failure(waited, 6, "omniedit wait", task_id)
    check_failure(early, 6, task_id)
    assert not (served.folder / "a.mp4").exists()


@pytest.mark.parametrize("command", ["wait", "download", "edit"])
@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ("fail=generation_timeout", "Generation timed out."),
        ("fail=content_policy_violation", "violates the content policy"),
        ("cancel", "The request was cancelled."),
    ],
)
def test_a_failed_task_is_status_5_with_its_reason(
    served: CommandLine, command: str, marker: str, message: str
) -> None:
    prompt = f"x [sandbox:{marker}]{NOW}"
    if command == "edit":
        ended = served("edit", CLIP, prompt)
    else:
        served("submit", CLIP, prompt)
        ended = served(command)

    check_failure(ended, 5, message)


@pytest.mark.parametrize("argv", [["wait", "-d", "a.mp4"], ["download", "-o", "a.mp4"]])
def test_an_expired_link_is_status_7_after_rereading_the_task(
    served: CommandLine, record: Path, argv: list[str]
) -> None:
    served("submit", CLIP, f"x [sandbox:expired]{NOW}")

    ended = served(*argv)

    check_failure(ended, 7)
    assert len(requests(record, "GET", "/results/")) <= 2
    assert len(requests(record, "GET", "/v1/tasks/")) == 2
    assert not list(served.folder.iterdir())


def result(request: Request, reply: Reply) -> Reply:
    """Answer API requests with a finished task, and its result link with `reply`."""
    if not request.path.startswith("/v1/"):
        return reply
    return Reply(body=task(results=[f"http://{request.headers['host']}/files/out.mp4?sig=S"]))


XML = {"Content-Type": "application/xml"}


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        pytest.param(Reply(status=401, body=b"<Error/>", headers=XML), 7, id="401"),
        pytest.param(Reply(status=403, body=b"<Error/>", headers=XML), 7, id="403"),
        pytest.param(Reply(status=404, body=b"<Error/>", headers=XML), 7, id="404"),
        pytest.param(Reply(status=410), 7, id="410"),
        pytest.param(Reply(body=b"<html>gone</html>", headers=HTML), 7, id="html"),
        pytest.param(Reply(body={"error": "gone"}), 7, id="json"),
        pytest.param(Reply(body=b"", headers={"Content-Type": "video/mp4"}), 7, id="empty"),
        pytest.param(Reply(status=403, body=b"error code: 1010"), 8, id="blocked-client"),
        pytest.param(
            Reply(body=MP4, headers={"Content-Type": "video/mp4"}, content_length=9000),
            8,
            id="truncated",
        ),
    ],
)
def test_an_unusable_result_exits_with_the_status_of_its_cause(
    omniedit: CommandLine, reply: Reply, status: int
) -> None:
    with scripted(lambda request: result(request, reply)) as service:
        ended = omniedit("download", TASK, "-o", "a.mp4", timeout_s=110, **service.environ())

    check_failure(ended, status)
    assert not (omniedit.folder / "a.mp4").exists()
    reads = [request for request in service.requests if request.path.startswith("/v1/")]
    assert len(reads) == 2 or status == 8, "the task is read once more"
    assert not [
        request
        for request in service.requests
        if "/files" in request.path and "authorization" in request.headers
    ]


def test_a_fresh_link_replaces_an_expired_one(omniedit: CommandLine) -> None:
    reads = itertools.count()

    def answer(request: Request) -> Reply:
        if request.path.startswith("/v1/"):
            link = f"http://{request.headers['host']}/files/{next(reads)}.mp4"
            return Reply(body=task(results=[link]))
        return Reply(status=403) if request.path == "/files/0.mp4" else Reply(body=MP4)

    with scripted(answer) as service:
        ended = omniedit("download", TASK, "-o", "a.mp4", **service.environ())

    assert (ended.status, ended.stdout) == (0, "a.mp4\n"), ended
    assert (omniedit.folder / "a.mp4").read_bytes() == MP4


@pytest.mark.parametrize("argv", [["wait", "-d"], ["download", "-o"]], ids=" ".join)
@pytest.mark.parametrize(
    "path",
    [
        pytest.param("taken.mp4", id="exists"),
        pytest.param("taken.mp4/a.mp4", id="under-a-file"),
        pytest.param("taken.mp4/", id="file-as-folder"),
        pytest.param("/proc/a.mp4", id="cannot-be-written"),
    ],
)
def test_an_unusable_target_is_status_10_before_any_request(
    served: CommandLine, record: Path, argv: list[str], path: str
) -> None:
    served("submit", CLIP, "x [sandbox:stall]")
    (served.folder / "taken.mp4").write_bytes(b"mine")
    request_count = len(requests(record))

    limit = ["--timeout", "1"] if argv[0] == "wait" else []
    ended = served(*argv, path, *limit, "--json")

    document = check_document(ended)
    assert (ended.status, document["error"]["exit_status"]) == (10, 10), ended
    assert (served.folder / "taken.mp4").read_bytes() == b"mine"
    assert len(requests(record)) == request_count


def test_an_edit_without_a_usable_journal_is_status_10_unsent(
    served: CommandLine, record: Path
) -> None:
    (served.folder / "file").touch()
    environ: dict[str, Any] = {"OMNIEDIT_STATE_DIR": str(served.folder / "file" / "state")}

    edited = served("edit", CLIP, f"x {NOW}", "-o", "a.mp4", **environ)
    paid = submissions(record)
    unprotected = served("edit", CLIP, f"x {NOW}", "-o", "a.mp4", "--no-journal", **environ)
    submitted = served("submit", CLIP, f"y {NOW}", **environ)

    check_failure(edited, 10, "--no-journal")
    assert not paid
    assert (unprotected.status, unprotected.stdout) == (0, "a.mp4\n"), unprotected
    assert (submitted.status, submitted.stdout[:5]) == (0, "task-"), submitted
    assert submitted.stderr


@pytest.mark.parametrize(
    ("markers", "status"),
    [
        pytest.param(["seconds=0", "fail=service_error"], 5, id="finished-and-failed"),
        pytest.param(["stall", "fail=service_error"], 5, id="failed-before-unfinished"),
        pytest.param(["seconds=0", "stall"], 6, id="finished-and-unfinished"),
    ],
)
def test_the_worst_of_several_tasks_sets_the_exit_status(
    served: CommandLine, markers: list[str], status: int
) -> None:
    tasks = []
    for marker in markers:
        extra = NOW if marker.startswith("fail") else ""
        tasks.append(served("submit", CLIP, f"x [sandbox:{marker}]{extra}").stdout.strip())

    document: dict[str, Any] = check_document(served("wait", *tasks, "--timeout", "1", "--json"))

    assert document["error"]["exit_status"] == status, document
    assert [task["task_id"] for task in document["tasks"]] == tasks


def test_an_unknown_task_does_not_hide_the_others(served: CommandLine) -> None:
    known = served("submit", CLIP, f"x {NOW}").stdout.strip()

    ended = served("status", "task-unified-1-nobodys", known)

    assert ended.status == 11, ended
    assert known in ended.stdout
    assert "task-unified-1-nobodys" in ended.stderr


@pytest.mark.parametrize("command", ["status", "wait", "download"])
def test_a_task_the_service_does_not_know_has_a_null_status(
    served: CommandLine, command: str
) -> None:
    document: dict[str, Any] = check_document(served(command, "task-unified-1-nobodys", "--json"))

    assert document["error"]["exit_status"] == 11, document
    assert [(task["task_id"], task["status"]) for task in document["tasks"]] == [
        ("task-unified-1-nobodys", None)
    ]


def test_a_failed_download_does_not_stop_the_others(served: CommandLine) -> None:
    expired = served("submit", CLIP, f"x [sandbox:expired]{NOW}").stdout.strip()
    finished = served("submit", CLIP, f"y {NOW}").stdout.strip()

    ended = served("download", expired, finished, "-o", "out/")

    assert ended.status == 7, ended
    assert ended.stdout.startswith("out/clip-")
    assert len(list((served.folder / "out").iterdir())) == 1


def test_a_404_from_the_batch_endpoint_falls_back_to_single_reads(omniedit: CommandLine) -> None:
    def answer(request: Request) -> Reply:
        if request.method == "POST":
            return Reply(status=404, body=b"<html>")
        return Reply(
            body=task(task_id=request.path.rpartition("/")[2], results=["https://x.example/a"])
        )

    with scripted(answer) as service:
        ended = omniedit("wait", "task-aaaaaa", "task-bbbbbb", **service.environ())

    assert (ended.status, ended.stdout.count("https://x.example/a")) == (0, 2), ended


def test_help_lists_every_exit_status(omniedit: CommandLine) -> None:
    text = omniedit("help", "exit-codes")

    assert text.status == 0
    rows = [line.split("|") for line in text.stdout.splitlines() if line.startswith("|")]
    listed = {int(number) for row in rows for number in re.findall(r"\d+", row[1])}
    assert listed >= {*range(13), 129, 130, 143}
