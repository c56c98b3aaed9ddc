"""Log and record contain every exchange and no key; internal hosts are recognised however spelt."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from omniedit.sandbox.exchange import (
    BrokenConnectionError,
    is_internal,
    loopback_address,
    mask_keys,
    parse_web_url,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.unit.sandbox.conftest import Bench

KEY = {"Idempotency-Key": "request-key-0001"}


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "record.ndjson"


@pytest.fixture
def bench(make_bench: Callable[..., Bench], record: Path) -> Bench:
    return make_bench(record=record)


def entries(record: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in record.read_text("ascii").splitlines()]


def test_a_request_is_one_line_of_the_log(bench: Bench) -> None:
    bench.submit(headers=KEY)

    (line,) = bench.lines
    assert " POST /v1/videos/generations 200 " in line
    assert line.endswith("ms key=\u2026key-0001")


def test_a_request_is_one_entry_of_the_record(bench: Bench, record: Path) -> None:
    task_id = bench.submit(headers=KEY).get_json()["id"]

    (entry,) = entries(record)
    headers = entry.pop("headers")
    assert headers["authorization"] == "Bearer sk-\u2026****"
    assert headers["idempotency-key"] == KEY["Idempotency-Key"]
    assert entry == {
        "at": "2025-09-06T14:42:23.000Z",
        "method": "POST",
        "path": "/v1/videos/generations",
        "query": "",
        "body": {
            "model": bench.MODEL,
            "prompt": "warmer light",
            "video_urls": ["https://example.com/a.mp4"],
        },
        "status": 200,
        "task_id": task_id,
        "fault": None,
    }


def test_a_body_that_is_not_json_is_described(bench: Bench, record: Path) -> None:
    bench.upload()
    bench.call("POST", "/v1/tasks/batch", data=b"{oops", content_type="application/json")

    upload, broken = entries(record)
    assert upload["body"].keys() == {"size_bytes", "sha256"}
    assert upload["body"]["size_bytes"] == len(bench.MP4)
    assert broken["body"] == {"size_bytes": 5}


def test_a_lost_reply_is_recorded_without_a_status(bench: Bench, record: Path) -> None:
    with pytest.raises(BrokenConnectionError):
        bench.submit("[sandbox:lost-reply]", headers=KEY)

    (entry,) = entries(record)
    assert (entry["status"], entry["fault"]) == (None, "lost-reply")
    assert " --- " in bench.lines[0]


def test_a_leaked_key_is_recorded_as_a_fault_and_masked(bench: Bench, record: Path) -> None:
    bench.get("/results/x.mp4", headers={"Authorization": "Bearer sk-evo-verysecret"})

    (entry,) = entries(record)
    assert (entry["status"], entry["fault"]) == (400, "key sent to the result host")
    assert "verysecret" not in record.read_text()


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Bearer sk-evo-0123456789", "Bearer sk-\u2026****"),
        ("?key=sk-sandbox&x=1", "?key=sk-\u2026****&x=1"),
        ("a task-unified-1", "a task-unified-1"),
    ],
)
def test_keys_are_masked_anywhere_in_a_text(text: str, masked: str) -> None:
    assert mask_keys(text) == masked


def test_a_key_in_a_path_or_a_prompt_is_masked(bench: Bench, record: Path) -> None:
    bench.get("/v1/tasks/sk-evo-verysecret?k=sk-evo-verysecret")
    bench.submit("sk-evo-verysecret")

    assert "verysecret" not in record.read_text()
    assert "verysecret" not in "".join(bench.lines)


def test_control_characters_do_not_reach_the_log(bench: Bench) -> None:
    bench.get("/v1/tasks/%1b[2J%0aforged")

    assert "\x1b" not in bench.lines[0]
    assert "\n" not in bench.lines[0]


def test_a_failing_log_does_not_fail_the_request(bench: Bench) -> None:
    def closed_pipe(line: str) -> None:
        raise BrokenPipeError

    bench.service.traffic._log = closed_pipe

    assert bench.get("/v1/credits").status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST.",
        "a.localhost",
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "%31%32%37.0.0.1",
        "\uff11\uff12\uff17.0.0.1",
        "127\u30020\u30020\u30021",
        "::1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
    ],
)
def test_loopback_hosts_are_recognised(host: str) -> None:
    assert is_internal(host)
    assert loopback_address(host)


@pytest.mark.parametrize(
    "host",
    [
        "10.1.2.3",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "169.254.169.254",
        "0.0.0.0",  # noqa: S104 - recognised, not bound
        "100.64.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "fc00::1",
        "fe80::1",
        "::",
        "::ffff:10.0.0.1",
        "2002:a00:1::",
    ],
)
def test_other_internal_networks_are_recognised(host: str) -> None:
    assert is_internal(host)
    assert loopback_address(host) is None


@pytest.mark.parametrize(
    "host", ["example.com", "8.8.8.8", "172.32.0.1", "2606:4700::1111", "10.com"]
)
def test_public_hosts_are_not_internal(host: str) -> None:
    assert not is_internal(host)
    assert loopback_address(host) is None


@pytest.mark.parametrize(
    ("url", "is_web"),
    [
        pytest.param("https://example.com/a.mp4?x=1", True, id="https"),
        pytest.param("HTTP://example.com", True, id="uppercase-scheme"),
        pytest.param("https://例え.jp/片.mp4", True, id="not-ascii"),
        pytest.param("http://[::1]:80/", True, id="ipv6"),
        pytest.param("ftp://example.com/a.mp4", False, id="ftp"),
        pytest.param("https:///a.mp4", False, id="no-host"),
        pytest.param("https://:80/a.mp4", False, id="port-only"),
        pytest.param("https://[::1/", False, id="unclosed-bracket"),
        pytest.param("https://a:99999/", False, id="port-too-large"),
        pytest.param("https://a b/", False, id="space"),
        pytest.param("https://a\n/", False, id="newline"),
        pytest.param("https://a\\b/", False, id="backslash"),
        pytest.param("//example.com/a", False, id="no-scheme"),
        pytest.param("", False, id="empty"),
    ],
)
def test_web_urls_are_recognised(url: str, is_web: bool) -> None:  # noqa: FBT001 - a case's verdict
    assert (parse_web_url(url) is not None) is is_web
