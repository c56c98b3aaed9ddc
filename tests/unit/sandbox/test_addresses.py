"""Internal hosts are recognised in every spelling that a resolver accepts."""

from __future__ import annotations

import pytest

from omniedit.sandbox.exchange import is_internal, loopback_address, parse_web_url


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
