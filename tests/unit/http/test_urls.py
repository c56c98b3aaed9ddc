"""URLs: hosts in every spelling that a resolver understands, and which URLs are refused."""

import ipaddress
import shlex
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omniedit.errors import InvalidInputError
from omniedit.http.urls import (
    MAX_CALLBACK_URL_LENGTH,
    HostKind,
    check_callback_url,
    check_clip_url,
    check_no_video_page,
    host_kind,
    is_loopback_url,
    origin_of,
    parse_web_url,
)
from omniedit.models import without_query

LOOPBACK = (
    "localhost",
    "LocalHost",
    "localhost.",
    "clip.localhost",
    "ip6-localhost",
    "localhost.localdomain",
    "127.0.0.1",
    "127.0.0.1.",
    "127.1",
    "127.255.255.254",
    "2130706433",
    "0x7f000001",
    "0x7F.0.0.1",
    "017700000001",
    "0177.0.0.01",
    "0x7f.0x.0x.1",
    "127.0.0.08",
    "::1",
    "[::1]",
    "0:0:0:0:0:0:0:1",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "64:ff9b::127.0.0.1",
    "2002:7f00:0001::",
    "%6c%6f%63alhost",
    "１２７.0.0.1",  # noqa: RUF001 - full-width digits
    "127。0。0。1",
    "ⓛocalhost",
)
INTERNAL = (
    "10.0.0.1",
    "10.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "192.168.257",
    "3232235777",
    "0xc0a80101",
    "0300.0250.1.1",
    "169.254.169.254",
    "0xa9fea9fe",
    "0.0.0.0",  # noqa: S104 - an address to refuse
    "0",
    "100.64.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fe80::1%eth0",
    "ff02::1",
    "::ffff:10.0.0.1",
    "::ffff:192.168.1.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::7f00:1",  # NAT64 prefix for local use (RFC 8215)
    "::127.0.0.1",
    "::ffff:0:127.0.0.1",
    "fec0::1",
    "printer.local",
    "metadata.google.internal",
    "nas.home.arpa",
    "router.localdomain",
)
PUBLIC = (
    "example.com",
    "example.com.",
    "münchen.example",
    "8.8.8.8",
    "134744072",
    "0x08080808",
    "2606:4700::1111",
    "::ffff:8.8.8.8",
    "172.32.0.1",
    "localhost.example.com",
    "127.0.0.1.example.com",
    "10.0.0.1.2",
    "999.1.1.1.1",
    "4294967296",
    "local",
    "internal.example",
)


@pytest.mark.parametrize("host", LOOPBACK)
def test_loopback_hosts_are_recognised(host: str) -> None:
    assert host_kind(host) is HostKind.LOOPBACK


@pytest.mark.parametrize("host", INTERNAL)
def test_internal_addresses_are_recognised(host: str) -> None:
    assert host_kind(host) is HostKind.INTERNAL


@pytest.mark.parametrize("host", PUBLIC)
def test_other_hosts_are_public(host: str) -> None:
    assert host_kind(host) is HostKind.PUBLIC


@settings(deadline=None)
@given(st.ip_addresses(v=4))
def test_every_spelling_of_an_ipv4_address_means_the_same(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    parts = address.packed

    kinds = {
        host_kind(text)
        for text in (
            str(address),
            f"{address}.",
            str(number),
            hex(number),
            f"0{number:o}",
            ".".join(hex(part) for part in parts),
            ".".join(f"0{part:o}" for part in parts),
            f"{parts[0]}.{number & 0xFF_FFFF}",
            f"{parts[0]}.{parts[1]}.{number & 0xFFFF}",
            f"[::ffff:{address}]",
            f"64:ff9b::{address}",
        )
    }

    assert len(kinds) == 1
    assert (kinds == {HostKind.LOOPBACK}) == address.is_loopback
    if address.is_private or address.is_multicast or address.is_link_local:
        assert kinds != {HostKind.PUBLIC}


@given(st.ip_addresses(v=6))
def test_private_ipv6_addresses_are_never_public(address: ipaddress.IPv6Address) -> None:
    is_wrapped = bool(address.ipv4_mapped or address.sixtofour)
    kind = host_kind(str(address))

    if not is_wrapped and (address.is_private or address.is_link_local or address.is_multicast):
        assert kind is not HostKind.PUBLIC


@given(st.text(max_size=40))
def test_any_text_has_a_kind_or_is_refused(text: str) -> None:
    assert host_kind(text) in HostKind
    assert is_loopback_url(f"http://{text}/") in {True, False}
    try:
        parts = parse_web_url(f"https://{text}/clip.mp4", what="clip URL")
    except InvalidInputError:
        return
    assert parts.hostname


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        pytest.param("ftp://example.com/a.mp4", "must begin with http", id="other-scheme"),
        pytest.param("file:///etc/passwd", "must begin with http", id="file"),
        pytest.param("//example.com/a.mp4", "must begin with http", id="no-scheme"),
        pytest.param("https:///a.mp4", "has no host", id="no-host"),
        pytest.param("https://./a.mp4", "has no host", id="only-dots"),
        pytest.param("https://a..b/a.mp4", "invalid host name", id="empty-label"),
        pytest.param(f"https://{'a' * 64}.b/a.mp4", "invalid host name", id="long-label"),
        pytest.param("https://user:pw@example.com/a.mp4", "user name", id="userinfo"),
        pytest.param("https://@example.com/a.mp4", "user name", id="empty-userinfo"),
        pytest.param("https://exam\tple.com/a.mp4", "control character", id="tab"),
        pytest.param("https://example.com/a\n.mp4", "control character", id="line-break"),
        pytest.param("https://example.com/a b.mp4", "a space", id="space"),
        pytest.param("https://example.com\\@evil.example/", "backslash", id="backslash"),
        pytest.param("https://example.com/\x9b31m", "control character", id="c1"),
        pytest.param("https://example.com/\udcff.mp4", "not UTF-8", id="not-utf-8"),
        pytest.param("http://[::1/", "not a valid URL", id="open-bracket"),
        pytest.param("http://example.com:99999/", "not a valid URL", id="port"),
        pytest.param("http://example.com:x/", "not a valid URL", id="port-text"),
    ],
)
def test_an_invalid_clip_url_is_refused(url: str, reason: str) -> None:
    with pytest.raises(InvalidInputError, match=reason) as caught:
        check_clip_url(url, allow_internal=True)

    assert caught.value.code == "invalid_url"
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("host", [*LOOPBACK[:5], "2130706433", "0x7f.1", "10.0.0.1", "nas.local"])
def test_an_internal_clip_url_is_accepted_only_where_allowed(host: str) -> None:
    url = f"http://{host}:8000/clip.mp4"

    check_clip_url(url, allow_internal=True)
    with pytest.raises(InvalidInputError) as caught:
        check_clip_url(url, allow_internal=False)

    assert caught.value.code == "internal_address"


@pytest.mark.parametrize("url", ["https://example.com/clip.mp4", "HTTP://EXAMPLE.COM/a?b=c#d"])
def test_a_public_clip_url_is_accepted(url: str) -> None:
    check_clip_url(url, allow_internal=False)


@pytest.mark.parametrize(
    "url",
    [
        "https://www.youtube.com/watch?v=dQw4w9WgXcQ",
        "https://YouTu.be/dQw4w9WgXcQ",
        "https://m.youtube.com/shorts/abc",
        "https://vimeo.com/76979871",
        "https://vm.tiktok.com/ZM8abc/",
        "https://x.com./somebody/status/1",
    ],
)
def test_a_video_site_page_is_refused_with_a_download_command(url: str) -> None:
    with pytest.raises(InvalidInputError, match="not a video file") as caught:
        check_no_video_page(url)

    assert caught.value.code == "web_page"
    assert f"`yt-dlp -f mp4 -o clip.mp4 {shlex.quote(url)}`" in (caught.value.hint or "")


def test_a_malformed_url_is_refused_as_invalid_rather_than_as_a_video_page() -> None:
    with pytest.raises(InvalidInputError, match="clip URL") as caught:
        check_no_video_page("https://[::1/clip.mp4")

    assert caught.value.code == "invalid_url"


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/clip.mp4",
        "https://notyoutube.com/watch?v=1",
        "https://player.vimeo.com/external/1.hd.MP4?s=1",
        "https://video.twimg.com/ext_tw_video/1/vid.mp4",
    ],
)
def test_a_direct_video_url_is_not_a_page(url: str) -> None:
    check_no_video_page(url)


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("http://example.com/hook", id="http"),
        pytest.param("https://127.0.0.1/hook", id="loopback"),
        pytest.param("https://0x7f000001/hook", id="loopback-in-hex"),
        pytest.param("https://192.168.1.1/hook", id="private"),
        pytest.param("https://[fe80::1]/hook", id="link-local"),
        pytest.param("https://example.com/" + "a" * MAX_CALLBACK_URL_LENGTH, id="too-long"),
    ],
)
def test_a_callback_the_service_would_refuse_is_refused(url: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        check_callback_url(url, allow_loopback=False)

    assert caught.value.code == "invalid_callback_url"


def test_a_callback_of_the_maximum_length_is_accepted() -> None:
    url = "https://example.com/"
    check_callback_url(url + "a" * (MAX_CALLBACK_URL_LENGTH - len(url)), allow_loopback=False)


def test_a_sandbox_callback_may_use_http_only_on_loopback() -> None:
    check_callback_url("http://127.0.0.1:9/hook", allow_loopback=True)
    with pytest.raises(InvalidInputError):
        check_callback_url("http://example.com/hook", allow_loopback=True)
    with pytest.raises(InvalidInputError):
        check_callback_url("https://10.0.0.1/hook", allow_loopback=True)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://API.example.com/v1", "https://api.example.com"),
        ("https://api.example.com:443/", "https://api.example.com"),
        ("https://api.example.com./", "https://api.example.com"),
        ("https://api.example.com:8443", "https://api.example.com:8443"),
        ("http://api.example.com:80", "http://api.example.com"),
        ("http://api.example.com:443", "http://api.example.com:443"),
        ("http://[::1]:8000/x", "http://[::1]:8000"),
    ],
)
def test_an_origin_is_scheme_host_and_non_default_port(url: str, origin: str) -> None:
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    ("url", "is_loopback"),
    [
        ("http://127.0.0.1:8000/x", True),
        ("https://localhost/", True),
        ("http://[::1]/", True),
        ("https://example.com/?u=http://127.0.0.1", False),
        ("http://127.0.0.1@example.com/", False),
        ("http://[::1/", False),
    ],
)
def test_a_loopback_url_is_recognised_by_its_host(url: str, *, is_loopback: bool) -> None:
    assert is_loopback_url(url) is is_loopback


@given(st.text(alphabet=st.characters(exclude_characters="?#"), max_size=30), st.text(max_size=30))
def test_without_query_keeps_everything_before_the_query(before: str, query: str) -> None:
    assert without_query(f"https://h/{before}?{query}") == f"https://h/{before}"
    assert without_query(f"https://h/{before}#{query}") == f"https://h/{before}"


def test_parsing_a_url_changes_nothing() -> None:
    url = "https://example.com:8443/a%20b/clip.mp4?signature=x%2By"
    assert parse_web_url(url, what="clip URL") == urlsplit(url)
