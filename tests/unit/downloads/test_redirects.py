"""What redirects mean for a download; the rules themselves belong to `http`."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from omniedit.downloads.transfer import Downloader
from omniedit.errors import InvalidInputError, NotConnectedError, ResultGoneError
from omniedit.http.client import HttpClient
from omniedit.policy import DEFAULT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.downloads.conftest import Desk, Origin


def test_an_unsafe_redirect_is_neither_followed_nor_tried_again(desk: Desk, origin: Origin) -> None:
    origin.script = [origin.reply(302, headers={"location": "http://cdn.example/b.mp4"})]

    with pytest.raises(ResultGoneError, match="from https to http") as caught:
        desk.download()

    assert (caught.value.code, caught.value.task_id) == ("unsafe_link", desk.TASK_ID)
    assert len(origin.requests) == 1
    assert desk.names == []


@pytest.mark.parametrize("location", ["http://[::1", "https://cdn.example/\x01", "https://a:b"])
def test_a_redirect_to_what_is_no_url_is_a_result_that_is_gone(
    desk: Desk, origin: Origin, location: str
) -> None:
    origin.script = [origin.reply(302, headers={"location": location})]

    with pytest.raises(ResultGoneError, match="redirects to an invalid URL"):
        desk.download()

    assert len(origin.requests) == 1


@pytest.mark.parametrize("url", ["file:///etc/passwd", "https://cdn.example/" + "a" * 70_000])
def test_a_link_that_cannot_be_asked_for_is_a_result_that_is_gone(
    desk: Desk, origin: Origin, url: str
) -> None:
    with pytest.raises(ResultGoneError) as caught:
        desk.download(url=url)

    assert caught.value.code in {"unsafe_link", "invalid_url"}
    assert origin.requests == []


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "169.254.169.254", "[::1]", "nas.local"]
)
def test_a_link_to_this_machine_or_network_is_not_fetched(
    desk: Desk, origin: Origin, host: str
) -> None:
    downloader = Downloader(
        desk.http, sleep=desk.slept.append, jitter=random.random, public_only=True
    )

    with pytest.raises(ResultGoneError, match="which omniedit does not contact") as caught:
        downloader.download(
            f"http://{host}/a.mp4",
            desk.target,
            on_progress=lambda *_: None,
            on_retry=lambda *_: None,
        )

    assert caught.value.code == "internal_address"
    assert origin.requests == []


def test_a_name_that_leads_inside_today_does_not_make_a_result_gone(tmp_path: Path) -> None:
    policy = DEFAULT._replace(attempts_without_progress=2)

    with (
        HttpClient(policy=policy, resolve=lambda *_: ["127.0.0.1"]) as http,
        pytest.raises(NotConnectedError, match="leads to an address of this machine") as caught,
    ):
        Downloader(http, sleep=lambda _: None, jitter=random.random, public_only=True).download(
            "http://cdn.example/a.mp4",
            tmp_path / "out.mp4",
            on_progress=lambda *_: None,
            on_retry=lambda *_: None,
        )

    assert "try from another network" in str(caught.value.hint)


def test_ranges_travel_through_a_redirect(desk: Desk, origin: Origin) -> None:
    moved = origin.reply(302, headers={"location": "/b.mp4"})
    origin.script = [moved, origin.cut(3000), moved]

    desk.download()

    assert origin.ranges == [None, None, "bytes=3000-", "bytes=3000-"]
    assert desk.target.read_bytes() == origin.content


def test_a_redirect_to_another_path_is_not_continued(desk: Desk, origin: Origin) -> None:
    origin.script = [
        origin.reply(302, headers={"location": "/b.mp4"}),
        origin.cut(3000),
        origin.reply(302, headers={"location": "/c.mp4"}),
    ]

    desk.download()

    assert origin.ranges == [None, None, "bytes=3000-", "bytes=3000-", None]
    assert desk.target.read_bytes() == origin.content


def test_a_proxy_that_cannot_be_used_says_nothing_about_the_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "socks9://proxy")

    with HttpClient() as http, pytest.raises(InvalidInputError, match="HTTP_PROXY"):
        Downloader(http, sleep=lambda _: None, jitter=random.random).download(
            "http://cdn.example/a.mp4",
            tmp_path / "out.mp4",
            on_progress=lambda *_: None,
            on_retry=lambda *_: None,
        )
