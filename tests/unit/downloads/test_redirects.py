"""What redirects mean for a download; the rules themselves belong to `http`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from omniedit.errors import InvalidInputError, NotConnectedError, ResultGoneError
from omniedit.http.client import HttpClient
from omniedit.policy import DEFAULT
from tests.unit.downloads.saving import save

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.downloads.conftest import Bench, Origin


def test_an_unsafe_redirect_is_neither_followed_nor_retried(bench: Bench, origin: Origin) -> None:
    origin.script = [origin.reply(302, headers={"location": "http://cdn.example/b.mp4"})]

    with pytest.raises(ResultGoneError, match="from https to http") as caught:
        bench.download()

    assert (caught.value.code, caught.value.task_id) == ("unsafe_link", bench.TASK_ID)
    assert len(origin.requests) == 1
    assert bench.names == []


@pytest.mark.parametrize("location", ["http://[::1", "https://cdn.example/\x01", "https://a:b"])
def test_a_redirect_to_an_invalid_url_is_a_gone_result(
    bench: Bench, origin: Origin, location: str
) -> None:
    origin.script = [origin.reply(302, headers={"location": location})]

    with pytest.raises(ResultGoneError, match="redirects to an invalid URL"):
        bench.download()

    assert len(origin.requests) == 1


@pytest.mark.parametrize("url", ["file:///etc/passwd", "https://cdn.example/" + "a" * 70_000])
def test_an_unusable_link_is_a_gone_result(bench: Bench, origin: Origin, url: str) -> None:
    with pytest.raises(ResultGoneError) as caught:
        bench.download(url=url)

    assert caught.value.code in {"unsafe_link", "invalid_url"}
    assert origin.requests == []


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "169.254.169.254", "[::1]", "nas.local"]
)
def test_a_link_to_an_internal_address_is_not_fetched(
    bench: Bench, origin: Origin, host: str
) -> None:
    with pytest.raises(ResultGoneError, match="which omniedit does not contact") as caught:
        save(bench.http, f"http://{host}/a.mp4", bench.target, allow_internal=False)

    assert caught.value.code == "internal_address"
    assert origin.requests == []


def test_a_name_with_an_internal_address_is_not_a_gone_result(tmp_path: Path) -> None:
    policy = DEFAULT._replace(attempts_without_progress=2)

    with (
        HttpClient(policy=policy, resolve=lambda *_: ["127.0.0.1"]) as http,
        pytest.raises(NotConnectedError, match="leads to an address of this machine") as caught,
    ):
        save(http, "http://cdn.example/a.mp4", tmp_path / "out.mp4", allow_internal=False)

    assert "try from another network" in str(caught.value.hint)


def test_ranges_are_kept_across_a_redirect(bench: Bench, origin: Origin) -> None:
    moved = origin.reply(302, headers={"location": "/b.mp4"})
    origin.script = [moved, origin.cut(3000), moved]

    bench.download()

    assert origin.ranges == [None, None, "bytes=3000-", "bytes=3000-"]
    assert bench.target.read_bytes() == origin.content


def test_a_redirect_to_another_path_is_not_resumed(bench: Bench, origin: Origin) -> None:
    origin.script = [
        origin.reply(302, headers={"location": "/b.mp4"}),
        origin.cut(3000),
        origin.reply(302, headers={"location": "/c.mp4"}),
    ]

    bench.download()

    assert origin.ranges == [None, None, "bytes=3000-", "bytes=3000-", None]
    assert bench.target.read_bytes() == origin.content


def test_an_unusable_proxy_is_not_a_gone_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "socks9://proxy")

    with HttpClient() as http, pytest.raises(InvalidInputError, match="HTTP_PROXY"):
        save(http, "http://cdn.example/a.mp4", tmp_path / "out.mp4")
