"""Where a result link may lead, and where not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from omniedit.downloads.transfer import MAX_REDIRECTS
from omniedit.errors import ResultGoneError

if TYPE_CHECKING:
    from tests.unit.downloads.conftest import Desk, Origin


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("location", "asked"),
    [
        ("https://other.example/b.mp4?x=1", "https://other.example/b.mp4?x=1"),
        ("//other.example/b.mp4", "https://other.example/b.mp4"),
        ("/b.mp4", "https://cdn.example/b.mp4"),
        ("b.mp4?x=1", "https://cdn.example/results/b.mp4?x=1"),
    ],
)
def test_a_redirect_is_followed_without_a_key(
    desk: Desk, origin: Origin, status: int, location: str, asked: str
) -> None:
    origin.script = [origin.reply(status, headers={"location": location})]

    desk.download()

    assert str(origin.requests[1].url) == asked
    assert "authorization" not in origin.requests[1].headers
    assert desk.target.read_bytes() == origin.content


def test_a_redirect_may_lead_from_http_to_https(desk: Desk, origin: Origin) -> None:
    origin.script = [origin.reply(302, headers={"location": "https://cdn.example/b.mp4"})]

    desk.download(url="http://cdn.example/a.mp4")

    assert desk.target.exists()


@pytest.mark.parametrize(
    "location",
    [
        pytest.param("http://cdn.example/b.mp4", id="https-to-http"),
        pytest.param("HTTP://cdn.example/b.mp4", id="https-to-HTTP"),
        pytest.param("file:///etc/passwd", id="file"),
        pytest.param("ftp://cdn.example/b.mp4", id="ftp"),
        pytest.param("data:video/mp4,ftyp", id="data"),
        pytest.param("https://user:secret@cdn.example/b.mp4", id="userinfo"),
        pytest.param("https://cdn.example:99999/b.mp4", id="no-url"),
        pytest.param("", id="nowhere"),
    ],
)
def test_an_unsafe_redirect_is_neither_followed_nor_tried_again(
    desk: Desk, origin: Origin, location: str
) -> None:
    origin.script = [origin.reply(302, headers={"location": location})]

    with pytest.raises(ResultGoneError) as caught:
        desk.download()

    assert caught.value.code == "unsafe_link"
    assert "secret" not in caught.value.message
    assert len(origin.requests) == 1
    assert desk.names == []


def test_a_downgrade_is_refused_at_every_hop(desk: Desk, origin: Origin) -> None:
    origin.script = [
        origin.reply(302, headers={"location": "https://b.example/"}),
        origin.reply(302, headers={"location": "http://c.example/"}),
    ]

    with pytest.raises(ResultGoneError):
        desk.download(url="http://a.example/out.mp4")

    assert len(origin.requests) == 2


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "https://user@cdn.example/a.mp4",
        "https://cdn.example/a b.mp4",
        "cdn.example/a.mp4",
        "",
        pytest.param("https://xn--a.example/", id="no-such-host-name"),
        pytest.param("https://cdn.example/\ud800", id="half-a-character"),
        pytest.param("https://cdn.example/" + "a" * 70_000, id="too-long"),
    ],
)
def test_a_link_that_cannot_be_asked_for_is_refused(desk: Desk, origin: Origin, url: str) -> None:
    with pytest.raises(ResultGoneError) as caught:
        desk.download(url=url)

    assert caught.value.code == "unsafe_link"
    assert origin.requests == []


def test_five_redirects_are_followed(desk: Desk, origin: Origin) -> None:
    origin.script = [origin.reply(302, headers={"location": "/again"})] * MAX_REDIRECTS

    desk.download()

    assert len(origin.requests) == 6


def test_six_redirects_are_not(desk: Desk, origin: Origin) -> None:
    origin.script = [origin.reply(302, headers={"location": "/again"})] * 9

    with pytest.raises(ResultGoneError, match="more than 5"):
        desk.download()

    assert len(origin.requests) == 6


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
