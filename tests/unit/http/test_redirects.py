"""Where a link may lead: one set of rules for clips and results."""

from collections.abc import Callable

import httpx
import pytest

from omniedit.errors import InvalidInputError
from omniedit.http.client import HttpClient
from omniedit.http.links import MAX_REDIRECTS, Link

URL = "https://cdn.example/results/clip.mp4?signature=one"


class Host:
    """A host that redirects as scripted and then answers."""

    def __init__(self, *locations: str, status: int = 302) -> None:
        self.requests: list[httpx.Request] = []
        self._locations = list(locations)
        self._status = status

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if self._locations:
            return httpx.Response(self._status, headers={"location": self._locations.pop(0)})
        return httpx.Response(200)

    def follow(self, url: str = URL, *, allow_internal: bool = True) -> str:
        """Return the URL that answered after all redirects."""
        http = HttpClient(transport=httpx.MockTransport(self))
        link = Link(http, url, "result", allow_internal=allow_internal)
        with link.open({"range": "bytes=3-"}) as reply:
            return reply.url

    @property
    def requested_urls(self) -> list[str]:
        return [str(request.url) for request in self.requests]


def refused(follow: Callable[[], object]) -> InvalidInputError:
    with pytest.raises(InvalidInputError) as caught:
        follow()
    return caught.value


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("https://other.example/b.mp4?x=1", "https://other.example/b.mp4?x=1"),
        ("//other.example/b.mp4", "https://other.example/b.mp4"),
        ("/b.mp4", "https://cdn.example/b.mp4"),
        ("b.mp4?x=1", "https://cdn.example/results/b.mp4?x=1"),
    ],
)
def test_a_redirect_is_followed_with_the_same_headers_and_no_key(
    status: int, location: str, expected: str
) -> None:
    host = Host(location, status=status)

    assert host.follow() == expected
    assert host.requested_urls == [URL, expected]
    assert {request.headers["range"] for request in host.requests} == {"bytes=3-"}
    assert all("authorization" not in request.headers for request in host.requests)


def test_a_redirect_may_lead_from_http_to_https() -> None:
    assert Host("https://cdn.example/b.mp4").follow("http://cdn.example/a.mp4")


@pytest.mark.parametrize(
    "location",
    [
        pytest.param("http://cdn.example/b.mp4", id="https-to-http"),
        pytest.param("HTTP://cdn.example/b.mp4", id="https-to-HTTP"),
        pytest.param("file:///etc/passwd", id="file"),
        pytest.param("ftp://cdn.example/b.mp4", id="ftp"),
        pytest.param("data:video/mp4,ftyp", id="data"),
        pytest.param("https://user:secret@cdn.example/b.mp4", id="userinfo"),
        pytest.param("", id="empty"),
        pytest.param("https://cdn.example/a b", id="space"),
    ],
)
def test_an_unsafe_redirect_is_not_followed(location: str) -> None:
    host = Host(location)

    error = refused(host.follow)

    assert "secret" not in error.message
    assert len(host.requests) == 1


def test_a_downgrade_is_refused_at_every_hop() -> None:
    host = Host("https://b.example/", "http://c.example/")

    assert "https to http" in refused(lambda: host.follow("http://a.example/")).message
    assert len(host.requests) == 2


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "https://user@cdn.example/a.mp4",
        "https://cdn.example/a b.mp4",
        "cdn.example/a.mp4",
        "",
        pytest.param("https://xn--a.example/", id="invalid-host-name"),
        pytest.param("https://cdn.example/\ud800", id="lone-surrogate"),
        pytest.param("https://cdn.example/" + "a" * 70_000, id="too-long"),
    ],
)
def test_an_unusable_link_is_refused_before_any_request(url: str) -> None:
    host = Host()

    refused(lambda: host.follow(url))

    assert host.requests == []


@pytest.mark.parametrize(
    "location", ["http://127.0.0.1/", "http://localhost/", "http://[::1]/", "http://2130706433/",
                 "http://169.254.169.254/latest/", "http://10.0.0.1/", "http://nas.local/"],
)  # fmt: skip
def test_a_redirect_to_an_internal_address_is_refused_if_asked(location: str) -> None:
    host = Host(location)

    error = refused(lambda: host.follow("http://a.example/", allow_internal=False))

    assert error.code == "internal_address"
    assert len(host.requests) == 1


def test_five_redirects_are_followed_and_six_are_not() -> None:
    assert Host(*["/again"] * MAX_REDIRECTS).follow() == "https://cdn.example/again"

    host = Host(*["/again"] * 9)
    assert refused(host.follow).message == "the result link redirects more than 5 times"
    assert len(host.requests) == 6
