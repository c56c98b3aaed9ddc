"""Parsing a reply: every value is read or None, and nothing raises."""

import math
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omniedit.http.client import LONGEST_RETRY_AFTER_S, HttpClient, Reply
from omniedit.http.connections import Timer
from omniedit.policy import DEFAULT

NOW = datetime(2025, 9, 6, 11, 0, 0, tzinfo=UTC)
NOW_S = NOW.timestamp()
NOW_TEXT = format_datetime(NOW, usegmt=True)


def reply_to(status: int, **response: Any) -> Reply:
    """Return the reply of a host that answers so."""
    with HttpClient(
        transport=httpx.MockTransport(lambda _: httpx.Response(status, **response))
    ) as http:
        return http.request("GET", "http://api.example.com/")


def parse_json(body: bytes) -> object:
    return reply_to(200, content=body).json


def with_headers(**headers: str) -> Reply:
    named = {name.lower().replace("_", "-"): value for name, value in headers.items()}
    timer = Timer(1.0, deadline=None, policy=DEFAULT, clock=time.monotonic)
    return Reply(httpx.Response(200), named, url="http://api.example.com/", timer=timer)


ABSURD_DATES = [
    "Fri, 31 Dec 9999 23:59:59 -2359",
    "Mon, 01 Jan 0001 00:00:00 +2359",
    "Sat, 06 Sep 2025 11:01:30 +99999999999999999999",
    "Sat, 06 Sep 99999999999999999999 11:01:30 GMT",
    "Sat, 99 Sep 2025 11:01:30 GMT",
    "Sat, 06 Sep 2025 99:99:99 GMT",
    "Sat,",
    ",,,,",
]


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"\xff\xfe", b"[" * 100_000, b'{"a": ', b"NaN, 1"]
)
def test_invalid_json_is_none(body: bytes) -> None:
    assert parse_json(body) is None


def test_an_integer_that_is_too_long_is_null() -> None:
    value = parse_json(b"[1.5, 7, %b]" % (b"9" * 5000))

    assert value == [1.5, 7, None]


def test_a_lone_surrogate_is_replaced() -> None:
    value = parse_json(rb'{"status": "a\ud800", "\uDFFF": ["\ud83d\ude00"]}')

    assert value == {"status": "a\ufffd", "\ufffd": ["\U0001f600"]}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_json_in_an_encoding_that_redaction_does_not_search_is_none(encoding: str) -> None:
    assert parse_json('{"message": "sk-evo-0123456789"}'.encode(encoding)) is None


def test_a_byte_order_mark_before_json_is_skipped() -> None:
    assert parse_json(b"\xef\xbb\xbf[1]") == [1]


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_body_is_json_or_none(body: bytes) -> None:
    value = parse_json(body)

    assert not isinstance(value, float) or math.isfinite(value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("7", 7.0, id="seconds"),
        pytest.param(" 0 ", 0.0, id="zero"),
        pytest.param("3600", 3600.0, id="an-hour"),
        pytest.param("9" * 400, LONGEST_RETRY_AFTER_S, id="absurdly-long"),
        pytest.param(format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0, id="date"),
        pytest.param(
            format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0.0, id="past-date"
        ),
        pytest.param("Sat, 06 Sep 2025 11:01:30 -0000", 90.0, id="date-without-zone"),
        pytest.param("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_RETRY_AFTER_S, id="year-9999"),
        pytest.param("", None, id="missing"),
        pytest.param("-5", None, id="negative"),
        pytest.param("1.5", None, id="fraction"),
        pytest.param("soon", None, id="word"),
        pytest.param("\u0663", None, id="arabic-digit"),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str, expected: float | None) -> None:
    assert with_headers(retry_after=text, date=NOW_TEXT).retry_after_s == expected


@pytest.mark.parametrize("text", ABSURD_DATES)
def test_an_absurd_date_never_raises(text: str) -> None:
    delay_s = with_headers(retry_after=text, date=NOW_TEXT).retry_after_s

    assert delay_s is None or 0 <= delay_s <= LONGEST_RETRY_AFTER_S
    assert with_headers(date=text).server_time is None


@settings(deadline=None)
@given(st.text(max_size=40))
def test_any_retry_after_is_parsed_or_none(text: str) -> None:
    found = with_headers(retry_after=text, date=NOW_TEXT).retry_after_s

    assert found is None or 0 <= found <= LONGEST_RETRY_AFTER_S


def test_date_and_retry_after_are_read_from_headers() -> None:
    reply, bare = with_headers(Retry_After="12", Date=NOW_TEXT), with_headers()

    assert (reply.retry_after_s, reply.server_time) == (12, NOW_S)
    assert (bare.retry_after_s, bare.server_time) == (None, None)


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        pytest.param("0", NOW_S, id="just-stored"),
        pytest.param("18000", None, id="stored-long-ago"),
        pytest.param("?", None, id="unreadable"),
    ],
)
def test_the_date_of_a_stored_reply_is_not_the_time_now(age: str, expected: float | None) -> None:
    assert with_headers(date=NOW_TEXT, age=age).server_time == expected


def test_a_retry_after_date_is_relative_to_the_servers_clock() -> None:
    """This machine's clock may be wrong by years."""
    retry_at = format_datetime(NOW + timedelta(seconds=90), usegmt=True)

    assert with_headers(retry_after=retry_at, date=NOW_TEXT).retry_after_s == 90


@pytest.mark.parametrize(
    "body",
    [
        b"error code: 1010",
        b'{"status": 403, "error_code": 1010}',
        b'{"error_code":"1010"}',
        b'<title>Access denied</title><span class="cf-error-code">1010</span>',
        b"<h1>Error 1010</h1> Ray ID: 1010",
        b'<h1><span data-translate="error">Error</span>\n <span>1010</span></h1>',
    ],
)
def test_a_blocked_client_is_distinguished_from_a_refusal(body: bytes) -> None:
    assert reply_to(403, content=body).blocks_client
    assert not reply_to(200, content=body).blocks_client
    assert not reply_to(403, content=body.replace(b"1010", b"10100")).blocks_client


@pytest.mark.parametrize("unit", [b" ", b"error ", b"error<", b"error<a", b"error<a>"])
def test_a_long_refusal_is_searched_in_linear_time(unit: bytes) -> None:
    began = time.process_time()

    assert not reply_to(403, content=b"error" + unit * 40_000).blocks_client

    assert time.process_time() - began < 1
