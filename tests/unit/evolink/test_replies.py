"""Parsing the service's replies: documented fields, odd forms and garbage."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omniedit.errors import UnreadableReplyError
from omniedit.evolink.replies import (
    parse_credits,
    parse_error,
    parse_task,
    parse_task_list,
    parse_task_page,
    parse_uploaded_clip,
)
from omniedit.models import Task, TaskError, is_task_id

TASK_ID = "task-unified-1757156493-a1b2c3d4"
DOCUMENTED: dict[str, Any] = {
    "created": 1757156493,
    "id": TASK_ID,
    "model": "gemini-omni-flash-video-edit",
    "object": "video.generation.task",
    "progress": 40,
    "status": "processing",
    "task_info": {"can_cancel": True, "estimated_time": 60},
    "type": "video",
    "usage": {"billing_rule": "per_token", "credits_reserved": 31.8, "user_group": "default"},
}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=15,
)
FIELDS = (
    "status",
    "progress",
    "created",
    "created_at",
    "error",
    "results",
    "result_data",
    "usage",
    "task_info",
    "model",
    "credits_used",
)
task_like = st.fixed_dictionaries(
    {"id": st.just(TASK_ID)}, optional=dict.fromkeys(FIELDS, json_values)
)


def parsed(**changes: object) -> Task:
    return parse_task(DOCUMENTED | changes)


def test_every_documented_field_of_a_task_is_read() -> None:
    task = parse_task(DOCUMENTED)

    assert (task.task_id, task.status, task.progress) == (TASK_ID, "processing", 40)
    assert (task.model, task.created_at) == ("gemini-omni-flash-video-edit", 1757156493)
    assert (task.estimated_s, task.credits_reserved, task.credits_used) == (60, 31.8, None)
    assert (task.result_urls, task.error, task.raw) == ((), None, DOCUMENTED)


@given(json_values)
def test_any_json_is_a_task_or_unreadable(value: object) -> None:
    try:
        task = parse_task(value)
    except UnreadableReplyError:
        return
    assert is_task_id(task.task_id)


@given(task_like)
def test_a_task_needs_only_a_valid_id(value: dict[str, object]) -> None:
    task = parse_task(value)

    assert task.task_id == TASK_ID
    assert task.progress is None or 0 <= task.progress <= 100
    assert all(url.lower().startswith(("http://", "https://")) for url in task.result_urls)
    assert task.status is None or task.status.strip()
    assert task.is_completed <= task.is_terminal
    assert task.has_failed <= task.is_terminal


@given(json_values)
def test_any_json_is_an_error_or_none(value: object) -> None:
    error = parse_error(value)

    assert error is None or (error.code and error.message)


@given(json_values)
def test_lists_pages_uploads_and_credits_are_read_or_unreadable(value: object) -> None:
    for parse in (parse_task_list, parse_task_page, parse_uploaded_clip, parse_credits):
        for reply in (value, {"data": value}, {"data": {"file_url": value, "token": value}}):
            try:
                parse(reply)
            except UnreadableReplyError:
                continue


@pytest.mark.parametrize(
    "task_id",
    [None, 7, "", ".", "..", "last", "../credits", "a/b", "a b", "é", "a" * 129, "a\n", ["x"]],
)
def test_a_task_id_unsafe_in_a_url_is_unreadable(task_id: object) -> None:
    with pytest.raises(UnreadableReplyError):
        parsed(id=task_id)


@pytest.mark.parametrize("task_id", ["a", "a" * 128, "A.b_c-9", "..a"])
def test_a_task_id_of_safe_characters_is_accepted(task_id: str) -> None:
    assert parsed(id=task_id).task_id == task_id


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(None, None, id="null"),
        pytest.param({}, None, id="empty"),
        pytest.param("", None, id="empty-text"),
        pytest.param(
            "it broke", TaskError(code="unknown_error", message="it broke"), id="text"
        ),
        pytest.param(
            {"code": 503, "message": "busy"}, TaskError(code="503", message="busy"), id="numeric-code"
        ),
        pytest.param(
            {"message": "busy"}, TaskError(code="unknown_error", message="busy"), id="no-code"
        ),
        pytest.param(
            {"code": "service_error"},
            TaskError(code="service_error", message="no reason was given"),
            id="no-message",
        ),
        pytest.param(
            {"code": ["x"], "message": {"a": 1}},
            TaskError(code="unknown_error", message="no reason was given"),
            id="other-types",
        ),
        pytest.param(
            {"code": "a", "message": "line\nline", "fallback_suggestion": "do b"},
            TaskError(code="a", message="line\nline", suggestion="do b"),
            id="suggestion",
        ),
        pytest.param(
            {"code": "a", "message": "b", "suggestion": "", "fallback_suggestion": "do c"},
            TaskError(code="a", message="b", suggestion="do c"),
            id="empty-suggestion",
        ),
        pytest.param(["x"], None, id="list"),
    ],
)  # fmt: skip
def test_an_error_is_read_in_every_known_form(error: object, expected: TaskError | None) -> None:
    assert parse_error(error) == expected
    assert parsed(error=error).error == expected


def test_a_failed_task_always_has_an_error() -> None:
    assert parsed(status="failed").failure == TaskError(
        code="unknown_error", message="no reason was given"
    )
    cancelled = parsed(status="cancelled").failure
    assert cancelled is not None
    assert (cancelled.code, cancelled.is_retryable) == ("request_cancelled", True)


@pytest.mark.parametrize(
    ("changes", "field", "expected"),
    [
        pytest.param({"id": None, "task_id": "task-2"}, "task_id", "task-2", id="task-id"),
        pytest.param(
            {"created": None, "created_at": 1757156494}, "created_at", 1757156494.0, id="time"
        ),
        pytest.param(
            {"usage": {"credits_used": None}, "credits_used": 3}, "credits_used", 3.0, id="charge"
        ),
        pytest.param({"usage": {"cost": {"credits": 3}}}, "credits_used", 3.0, id="cost"),
        pytest.param(
            {"result_data": [{"video_url": None, "url": "https://a.example/v"}]},
            "result_urls",
            ("https://a.example/v",),
            id="link",
        ),
    ],
)
def test_a_null_field_does_not_hide_its_alternative(
    changes: dict[str, object], field: str, expected: object
) -> None:
    assert getattr(parsed(**changes), field) == expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (" Processing ", "processing"),
        ("canceled", "cancelled"),
        ("CANCELED", "cancelled"),
        ("archived", "archived"),
        ("", None),
        (None, None),
        (3, None),
    ],
)
def test_statuses_are_normalised(status: object, expected: str | None) -> None:
    assert parsed(status=status).status == expected


def test_an_unknown_status_is_not_terminal() -> None:
    task = parsed(status="archived")

    assert (task.is_terminal, task.is_completed, task.has_failed) == (False, False, False)


@pytest.mark.parametrize(
    ("progress", "expected"),
    [(None, None), (0, 0), (33.9, 33), (-5, 0), (250, 100), ("40", None), (True, None)],
)
def test_progress_is_a_percentage_or_unknown(progress: object, expected: int | None) -> None:
    assert parsed(progress=progress).progress == expected


def test_missing_progress_is_unknown_until_the_task_completes() -> None:
    without = {key: value for key, value in DOCUMENTED.items() if key != "progress"}

    assert parse_task(without).progress is None
    assert parse_task(without | {"status": "completed"}).progress == 100
    assert parsed(status="completed", progress=0).progress == 100


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, (), id="missing"),
        pytest.param({"results": None}, (), id="null"),
        pytest.param({"results": []}, (), id="empty"),
        pytest.param({"results": "https://a.example/v.mp4"}, (), id="not-a-list"),
        pytest.param(
            {"results": [None, 3, "", "v.mp4", "ftp://a/b", "file:///x"]}, (), id="not-urls"
        ),
        pytest.param({"results": ["https://", "http:///x", "https:// a"]}, (), id="no-host"),
        pytest.param(
            {"results": ["http://a.example/v?s=1"]}, ("http://a.example/v?s=1",), id="http"
        ),
        pytest.param(
            {"results": ["HTTPS://a.example/v"]}, ("HTTPS://a.example/v",), id="upper-case-scheme"
        ),
        pytest.param(
            {"result_data": [{"video_url": "https://a.example/v"}, {"video_url": 3}, "x"]},
            ("https://a.example/v",),
            id="result-data",
        ),
        pytest.param(
            {"results": [{"url": "https://a.example/v"}]}, ("https://a.example/v",), id="object"
        ),
        pytest.param(
            {
                "results": ["https://a.example/1", "https://a.example/2"],
                "result_data": [{"video_url": "https://a.example/2"}],
            },
            ("https://a.example/1", "https://a.example/2"),
            id="duplicates-once",
        ),
    ],
)
def test_only_fetchable_links_are_results(
    changes: dict[str, object], expected: tuple[str, ...]
) -> None:
    assert parsed(status="completed", **changes).result_urls == expected


def test_a_result_with_a_malformed_link_is_still_a_result() -> None:
    urls = ("https://a.example/1", "https://a .example/2", "https://a.example/3\n")

    assert parsed(status="completed", results=list(urls)).result_urls == urls


@pytest.mark.parametrize(
    ("created", "expected"),
    [
        (1757156493, 1757156493.0),
        (1757156493123, 1757156493.123),
        ("2025-09-06T11:01:33Z", 1757156493.0),
        ("2025-09-06T11:01:33", 1757156493.0),
        ("2025-09-06T13:01:33+02:00", 1757156493.0),
        ("9999-12-31T23:59:59-14:00", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("yesterday", None),
        (0, None),
        (-1, None),
        (None, None),
        (True, None),
    ],
)
def test_timestamps_are_seconds_milliseconds_or_iso_dates(
    created: object, expected: float | None
) -> None:
    assert parsed(created=created).created_at == expected


@pytest.mark.parametrize("amount", [-1, 1e308, "31", True])
def test_an_impossible_price_is_unknown(amount: object) -> None:
    task = parsed(usage={"credits_reserved": amount, "credits_used": amount})

    assert (task.credits_reserved, task.credits_used) == (None, None)


def test_nan_infinity_and_text_are_unknown_numbers() -> None:
    value = json.loads('{"credits_reserved": NaN, "credits_used": "31"}')

    task = parsed(usage=value, task_info={"estimated_time": float("inf")})

    assert (task.credits_reserved, task.credits_used, task.estimated_s) == (None, None, None)


def test_a_list_skips_entries_that_are_not_tasks() -> None:
    value = {"data": [DOCUMENTED, None, {"id": "../x"}, {"id": "t-2"}], "total": 9.0}

    assert [task.task_id for task in parse_task_list(value)] == [TASK_ID, "t-2"]
    assert parse_task_page(value).total == 9
    assert parse_task_page({"data": []}).total is None


@pytest.mark.parametrize("value", [None, [], {}, {"data": None}, {"data": {"a": 1}}])
def test_a_reply_without_a_list_is_unreadable(value: object) -> None:
    with pytest.raises(UnreadableReplyError):
        parse_task_list(value)


BAD_URLS = ("file:///etc/passwd", "https://a b/c.mp4", "https://a.example/c.mp4\n")


def test_an_upload_has_a_url_and_an_expiry() -> None:
    stored = {"file_url": "https://f.example/c.mp4", "expires_at": "2025-09-09T11:01:33Z"}

    clip = parse_uploaded_clip({"data": stored})

    assert (clip.url, clip.expires_at) == ("https://f.example/c.mp4", 1757415693.0)
    assert parse_uploaded_clip({"data": {"download_url": "http://f.example/my c"}}).url
    bad: object
    for bad in ({}, {"data": {}}, *({"data": {"file_url": url}} for url in BAD_URLS)):
        with pytest.raises(UnreadableReplyError):
            parse_uploaded_clip(bad)


def test_credits_separate_the_account_from_the_key() -> None:
    found = parse_credits(
        {
            "data": {
                "token": {"remaining_credits": 5, "unlimited_credits": False, "used_credits": 1},
                "user": {"remaining_credits": 70.5, "used_credits": 2},
            }
        }
    )

    assert (found.account_remaining, found.account_used) == (70.5, 2)
    assert (found.key_remaining, found.key_used, found.is_key_unlimited) == (5, 1, False)


def test_a_reply_without_credits_shows_the_services_reason() -> None:
    with pytest.raises(UnreadableReplyError, match="no credits: account is frozen"):
        parse_credits({"success": False, "message": "account is frozen", "data": None})


def test_an_unlimited_key_has_no_remaining_credits() -> None:
    token = {"remaining_credits": 0, "unlimited_credits": True}

    found = parse_credits({"data": {"token": token}})

    assert (found.key_remaining, found.is_key_unlimited) == (None, True)
