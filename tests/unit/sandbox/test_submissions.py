"""`POST /v1/videos/generations`: rules, envelope, request keys, and the markers that refuse."""

from __future__ import annotations

import json
import re
import threading
from typing import TYPE_CHECKING, Any

import pytest

from omniedit.sandbox.exchange import BrokenConnectionError, Refusal
from omniedit.sandbox.store import CREDITS_AT_START, RequestKeys
from omniedit.sandbox.submissions import (
    MARKERS,
    Faults,
    Marker,
    parse_markers,
)
from tests.unit.sandbox.boxes import mp4

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.sandbox.conftest import Bench

PATH = "/v1/videos/generations"
KEY = {"Idempotency-Key": "request-key-0001"}
URL = "https://example.com/a.mp4"


def test_an_accepted_edit_is_answered_with_its_task(bench: Bench) -> None:
    reply = bench.submit()

    task = reply.get_json()
    assert reply.status_code == 200
    assert reply.headers["x-request-id"]
    assert re.fullmatch(r"task-unified-1757169743-[a-z0-9]{8}", task.pop("id"))
    assert task == {
        "object": "video.generation.task",
        "type": "video",
        "model": bench.MODEL,
        "status": "pending",
        "progress": 0,
        "created": 1757169743,
        "task_info": {"can_cancel": False, "estimated_time": 5},
        "usage": {
            "billing_rule": "per_token",
            "credits_reserved": 31.8,
            "user_group": "default",
        },
    }


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        pytest.param({"model": None}, "model", id="model-null"),
        pytest.param({"prompt": ""}, "prompt", id="prompt-empty"),
        pytest.param({"prompt": " \n\t"}, "prompt", id="prompt-blank"),
        pytest.param({"prompt": 5}, "prompt", id="prompt-number"),
        pytest.param({"prompt": "[sandbox:boom]"}, "prompt", id="marker-unknown"),
        pytest.param({"video_urls": []}, "video_urls", id="no-url"),
        pytest.param({"video_urls": [URL, URL]}, "video_urls", id="two-urls"),
        pytest.param({"video_urls": URL}, "video_urls", id="url-bare"),
        pytest.param({"video_urls": [7]}, "video_urls", id="url-number"),
        pytest.param({"video_urls": ["file:///etc/passwd"]}, "video_urls", id="url-file"),
        pytest.param({"video_urls": ["https:///a.mp4"]}, "video_urls", id="url-without-host"),
        pytest.param({"duration": 5}, "duration", id="duration"),
        pytest.param({"aspect_ratio": "16:9"}, "aspect_ratio", id="aspect-ratio"),
        pytest.param({"negative_prompt": "text"}, "negative_prompt", id="negative-prompt"),
        pytest.param({"seed": 1}, "seed", id="unknown-field"),
        pytest.param({"callback_url": None}, "callback_url", id="callback-null"),
        pytest.param({"callback_url": "http://example.com/"}, "callback_url", id="callback-http"),
        pytest.param({"callback_url": "https://10.0.0.1/"}, "callback_url", id="callback-internal"),
        pytest.param({"callback_url": "https://0xa000001/"}, "callback_url", id="callback-hex"),
        pytest.param(
            {"callback_url": "https://e.com/" + "x" * 2035}, "callback_url", id="callback-long"
        ),
    ],
)
def test_an_invalid_parameter_is_named(bench: Bench, changes: dict[str, Any], param: str) -> None:
    reply = bench.submit(body=changes)

    error = reply.get_json()["error"]
    assert reply.status_code == 400
    assert error.keys() == {"code", "message", "type", "param"}
    assert (error["code"], error["type"]) == ("invalid_request", "invalid_request_error")
    assert error["param"] == param


@pytest.mark.parametrize(
    "callback_url",
    [
        pytest.param("https://example.com/hook", id="public"),
        pytest.param("https://e.com/" + "x" * 2034, id="longest-allowed"),
        pytest.param("http://127.0.0.1:9/hook", id="loopback-without-tls"),
    ],
)
def test_valid_callback_urls_are_accepted(bench: Bench, callback_url: str) -> None:
    assert bench.submit(body={"callback_url": callback_url}).status_code == 200


@pytest.mark.parametrize("missing", ["model", "prompt", "video_urls"])
def test_a_missing_field_is_named(bench: Bench, missing: str) -> None:
    body = {"model": bench.MODEL, "prompt": "x", "video_urls": [URL]}
    del body[missing]

    reply = bench.call("POST", PATH, json=body)

    assert reply.status_code == 400
    assert reply.get_json()["error"]["param"] == missing


@pytest.mark.parametrize(
    ("raw", "content_type", "status"),
    [
        pytest.param(b"{", "application/json", 400, id="cut-short"),
        pytest.param(b"", "application/json", 400, id="empty"),
        pytest.param(b"[]", "application/json", 400, id="array"),
        pytest.param(b"null", "application/json", 400, id="null"),
        pytest.param(b'{"prompt": NaN}', "application/json", 400, id="nan"),
        pytest.param(b'{"prompt": "\xff"}', "application/json", 400, id="not-utf8"),
        pytest.param(b'{"prompt": "\\ud800"}', "application/json", 400, id="lone-surrogate"),
        pytest.param(b"[" * 200_000, "application/json", 400, id="deeply-nested"),
        pytest.param(b"1" * 10_000, "application/json", 400, id="number-too-long"),
        pytest.param(b'{"\\u0000": 1}', "application/json", 400, id="nul"),
        pytest.param(b"{}", "text/plain", 400, id="other-content-type"),
        pytest.param(b" " * (1024 * 1024 + 1), "application/json", 413, id="too-large"),
    ],
)
def test_an_invalid_body_is_refused(
    bench: Bench, raw: bytes, content_type: str, status: int
) -> None:
    reply = bench.call("POST", PATH, data=raw, content_type=content_type)

    assert reply.status_code == status
    assert reply.get_json()["error"].keys() >= {"code", "message", "type"}


def test_a_replay_returns_the_first_task(bench: Bench) -> None:
    first = bench.submit(headers=KEY)

    # The same body, ordered and spaced differently.
    body = {"video_urls": [URL], "prompt": "warmer light", "model": bench.MODEL}
    replay = bench.call(
        "POST",
        PATH,
        data=json.dumps(body, indent=4),
        content_type="application/json",
        headers=KEY,
    )

    assert "Idempotency-Replayed" not in first.headers
    assert replay.headers["Idempotency-Replayed"] == "true"
    assert replay.get_json()["id"] == first.get_json()["id"]


def test_the_same_key_with_another_body_is_a_conflict(bench: Bench) -> None:
    bench.submit("one", headers=KEY)

    reply = bench.submit("another", headers=KEY)

    assert reply.status_code == 409
    assert reply.get_json()["error"]["code"] == "idempotency_conflict"


def test_without_a_request_key_every_submission_is_a_new_edit(bench: Bench) -> None:
    assert bench.submit().get_json()["id"] != bench.submit().get_json()["id"]


@pytest.mark.parametrize("key", ["short", "x" * 97, "with space 12345678", "schlüssel-1234567"])
def test_a_malformed_request_key_is_refused(bench: Bench, key: str) -> None:
    reply = bench.submit(headers={"Idempotency-Key": key})

    assert reply.status_code == 400
    assert reply.get_json()["error"]["param"] == "Idempotency-Key"


def test_simultaneous_submissions_of_one_key_make_one_task(
    make_bench: Callable[..., Bench],
) -> None:
    # given the connections of two processes to one folder, with four threads on each
    benches = [make_bench(), make_bench()]
    together = threading.Barrier(8)
    seen: list[str] = []

    def submit(bench: Bench) -> None:
        together.wait(5)
        seen.append(bench.submit(headers=KEY).get_json()["id"])

    # when
    threads = [threading.Thread(target=submit, args=[benches[n % 2]]) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    # then
    assert len(seen) == 8
    assert len(set(seen)) == 1
    assert benches[0].get("/v1/tasks").get_json()["total"] == 1


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "invalid_request"),
        (401, "unauthorized"),
        (402, "insufficient_quota"),
        (403, "model_access_denied"),
        (404, "not_found"),
        (409, "idempotency_conflict"),
        (429, "rate_limit_exceeded"),
        (451, "unavailable_for_legal_reasons"),
        (500, "internal_error"),
        (503, "service_unavailable"),
        (599, "http_status_599"),
    ],
)
def test_the_http_marker_answers_with_the_documented_error(
    bench: Bench, status: int, code: str
) -> None:
    reply = bench.submit(f"[sandbox:http={status}]")

    assert reply.status_code == status
    assert reply.get_json()["error"]["code"] == code
    assert reply.headers.get("Retry-After") == ("1" if status == 429 else None)
    assert bench.get("/v1/tasks").get_json()["total"] == 0


def test_the_http_marker_refuses_as_often_as_it_says(bench: Bench) -> None:
    prompt = "[sandbox:http=503*2]"

    statuses = [bench.submit(prompt, headers=KEY).status_code for _ in range(4)]

    assert statuses == [503, 503, 200, 200]
    other = bench.submit(prompt, headers={"Idempotency-Key": "request-key-0002"})
    assert other.status_code == 503


def test_a_replay_returns_the_task_of_a_lost_reply(bench: Bench) -> None:
    with pytest.raises(BrokenConnectionError):
        bench.submit("[sandbox:lost-reply]", headers=KEY)

    replay = bench.submit("[sandbox:lost-reply]", headers=KEY)

    assert replay.headers["Idempotency-Replayed"] == "true"
    assert bench.get("/v1/tasks").get_json()["total"] == 1


def test_a_lost_reply_can_be_a_refusal(bench: Bench) -> None:
    prompt = "[sandbox:lost-reply][sandbox:http=402*2]"
    with pytest.raises(BrokenConnectionError):
        bench.submit(prompt, headers=KEY)

    refused = bench.submit(prompt, headers=KEY)
    accepted = bench.submit(prompt, headers=KEY)

    assert refused.status_code == 402
    assert accepted.status_code == 200
    assert "Idempotency-Replayed" not in accepted.headers


def test_an_account_short_of_credits_is_refused(bench: Bench) -> None:
    # given an account whose balance is one edit short
    with bench.store.writing() as database:
        database.execute(
            "insert into task (task_id, settles_at, body_digest, is_cut, credits_charged)"
            " values ('t', 0, '', 0, ?)",
            [CREDITS_AT_START - 31],
        )

    # when
    reply = bench.submit()

    # then
    assert reply.status_code == 402
    assert reply.get_json()["error"]["code"] == "insufficient_quota"


@pytest.mark.parametrize(
    "model", ["gemini-omni-flash-video-edit", "gemini-omni-1.1-flash-video-edit"]
)
def test_each_known_model_is_accepted(bench: Bench, model: str) -> None:
    task = bench.submit(body={"model": model}).get_json()

    assert task["model"] == model


def test_an_unknown_model_is_refused_with_a_suggestion(bench: Bench) -> None:
    reply = bench.submit(body={"model": "gemini-omni-2"})

    assert reply.status_code == 400
    assert reply.get_json()["error"] == {
        "code": "model_not_found",
        "message": "The model `gemini-omni-2` does not exist",
        "type": "invalid_request_error",
        "param": "model",
        "fallback_suggestion": bench.MODEL,
    }


def test_a_retired_model_is_refused_with_its_successor(bench: Bench) -> None:
    reply = bench.submit("[sandbox:retired]")

    error = reply.get_json()["error"]
    assert reply.status_code == 400
    assert (error["code"], error["param"]) == ("model_retired", "model")
    assert error["fallback_suggestion"] == "gemini-omni-1.1-flash-video-edit"
    assert bench.get("/v1/tasks").get_json()["total"] == 0


def test_an_uploaded_clip_is_priced_by_its_length(bench: Bench) -> None:
    url = bench.upload(mp4(video_s=3.2)).get_json()["data"]["file_url"]

    task = bench.finished(body={"video_urls": [url]})

    assert task["usage"]["credits_reserved"] == 20.35  # 6.36077 credits per second
    assert task["usage"]["credits_used"] == 20.35


@pytest.mark.parametrize(
    ("length_s", "status"),
    [
        pytest.param(10.0, 200, id="longest-allowed"),
        pytest.param(10.04, 200, id="one-frame-over"),
        pytest.param(10.5, 400, id="longer"),
        pytest.param(32.0, 400, id="much-longer"),
    ],
)
def test_a_clip_that_is_too_long_is_refused(bench: Bench, length_s: float, status: int) -> None:
    url = bench.upload(mp4(video_s=length_s)).get_json()["data"]["file_url"]

    reply = bench.submit(body={"video_urls": [url]})

    assert reply.status_code == status
    if status == 400:
        error = reply.get_json()["error"]
        assert error["param"] == "video_urls"
        assert error["message"] == (
            f"The video is {length_s:.2f} s long; at most 10 s are supported"
        )


@pytest.mark.parametrize(
    ("request_keys", "outcomes", "tasks"),
    [
        pytest.param(RequestKeys.HONOURED, [(200, None), (200, "true")], 1, id="honoured"),
        pytest.param(RequestKeys.IGNORED, [(200, None), (200, None)], 2, id="ignored"),
        pytest.param(RequestKeys.REFUSED, [(200, None), (409, None)], 1, id="refused"),
    ],
)
def test_replays_are_honoured_ignored_or_refused_as_configured(
    make_bench: Callable[..., Bench],
    request_keys: RequestKeys,
    outcomes: list[tuple[int, str | None]],
    tasks: int,
) -> None:
    bench = make_bench(request_keys=request_keys)

    replies = [bench.submit(headers=KEY) for _ in range(2)]

    seen = [(reply.status_code, reply.headers.get("Idempotency-Replayed")) for reply in replies]
    assert seen == outcomes
    assert bench.get("/v1/tasks").get_json()["total"] == tasks


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        pytest.param("warmer", {}, id="no-marker"),
        pytest.param("a [b] [sand:box]", {}, id="other-brackets-are-text"),
        pytest.param("[sandbox:fail=service_error]", {"fail": "service_error"}, id="fail-has-code"),
        pytest.param("[sandbox:cancel]", {"cancel": ""}, id="cancel"),
        pytest.param("[sandbox:empty]", {"empty": ""}, id="empty"),
        pytest.param("[sandbox:retired]", {"retired": ""}, id="retired"),
        pytest.param("[sandbox:as-served]", {"as-served": ""}, id="as-served"),
        pytest.param("[sandbox:http=503*2]", {"http": "503*2"}, id="http-counted"),
        pytest.param("[sandbox:seconds=0.5]", {"seconds": "0.5"}, id="seconds-may-be-fractions"),
        pytest.param("[SANDBOX:Stall]", {"stall": ""}, id="case-does-not-matter"),
        pytest.param("x[sandbox:expired]y", {"expired": ""}, id="inside-a-word"),
        pytest.param(
            "[sandbox:cut][sandbox:seconds=1] [sandbox:lost-reply]",
            {"cut": "", "seconds": "1", "lost-reply": ""},
            id="several-combine",
        ),
    ],
)
def test_markers_are_parsed(prompt: str, expected: Faults) -> None:
    assert parse_markers(prompt) == expected


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        pytest.param("[sandbox:boom]", "unknown marker `[sandbox:boom]`", id="unknown"),
        pytest.param("[sandbox:]", "unknown marker", id="empty"),
        pytest.param("[sandbox:stall", "unknown marker", id="unclosed"),
        pytest.param("[sandbox:fail]", "unknown marker", id="missing-value"),
        pytest.param("[sandbox:stall=1]", "unknown marker", id="unexpected-value"),
        pytest.param("[sandbox:fail=a b]", "invalid value in", id="code-with-space"),
        pytest.param("[sandbox:http=200]", "invalid value in", id="http-success"),
        pytest.param("[sandbox:http=429*0]", "invalid value in", id="http-zero-times"),
        pytest.param("[sandbox:seconds=-1]", "invalid value in", id="seconds-negative"),
        pytest.param("[sandbox:seconds=nan]", "invalid value in", id="seconds-nan"),
        pytest.param("[sandbox:seconds=soon]", "invalid value in", id="seconds-words"),
        pytest.param("[sandbox:cut][sandbox:cut]", "given twice", id="twice"),
        pytest.param("[sandbox:stall][sandbox:cancel]", "exclude each other", id="two-outcomes"),
        pytest.param(
            "[sandbox:empty][sandbox:fail=x]", "exclude each other", id="empty-and-failed"
        ),
    ],
)
def test_an_invalid_marker_is_named(prompt: str, message: str) -> None:
    with pytest.raises(Refusal) as caught:
        parse_markers(prompt)

    assert message in str(caught.value)


def test_the_error_for_an_unknown_marker_lists_the_known_ones() -> None:
    with pytest.raises(Refusal) as caught:
        parse_markers("[sandbox:boom]")

    assert all(marker.usage in str(caught.value) for marker in MARKERS)


@pytest.mark.parametrize("marker", MARKERS, ids=lambda marker: marker.name)
def test_every_marker_is_parsed_as_its_usage_shows(marker: Marker) -> None:
    usage = marker.usage.partition(" or ")[0].replace("CODE", "service_error")

    assert [*parse_markers(usage)] == [marker.name]
