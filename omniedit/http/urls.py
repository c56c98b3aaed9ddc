"""URLs: which are valid, which lead to this machine or its network, and how they are shown."""

import ipaddress
import re
import unicodedata
from enum import Enum, auto
from functools import cache
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from omniedit.errors import InvalidInputError, refuse
from omniedit.models import is_video_name, without_query
from omniedit.sanitize import is_valid_unicode, quoted

INTERNAL_NAME_CODE: Final = "leads_inside"
"""The error code for a public name that resolves to an address of this machine or its network."""
MAX_CALLBACK_URL_LENGTH: Final = 2048
"""API reference, `callback_url`."""

_BAD_LABEL: Final = re.compile(r"^\.|\.\.|\.$|[^.]{64}")
"""Matches a host name with an empty label or one longer than 63 characters (RFC 1035, 2.3.4)."""
_URL_FORM: Final = "a URL is written https://HOST/PATH"
_CALLBACK_HINT: Final = "name a public address, such as https://example.com/hook"
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_INTERNAL_SUFFIXES: Final = (".local", ".internal", ".localdomain", ".home.arpa")
_LOOPBACK_NAMES: Final = {"localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"}
_VIDEO_SITES: Final = (
    ".youtube.com",
    ".youtube-nocookie.com",
    ".youtu.be",
    ".vimeo.com",
    ".dailymotion.com",
    ".dai.ly",
    ".tiktok.com",
    ".instagram.com",
    ".facebook.com",
    ".fb.watch",
    ".twitter.com",
    ".x.com",
    ".twitch.tv",
    ".reddit.com",
    ".bilibili.com",
    ".b23.tv",
    ".nicovideo.jp",
    ".rumble.com",
    ".streamable.com",
    ".loom.com",
)
"""Sites whose URLs lead to pages; their video files are on other hosts or have a video suffix."""
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
"""All public IPv6 addresses (RFC 4291, 2.4); the others embed IPv4 addresses or are internal."""


class HostKind(Enum):
    """Where a host name or address leads, judging by its text alone."""

    PUBLIC = auto()
    LOOPBACK = auto()
    INTERNAL = auto()


def parse_web_url(text: str, *, what: str) -> SplitResult:
    """Return the parts of an absolute http(s) URL with a host and no userinfo.

    Args:
        text: As typed; `urlsplit` alone would silently drop tabs and newlines from it.
        what: What the URL is for, as the message names it ("clip URL").

    Raises:
        InvalidInputError: If the text is not such a URL.
    """
    if re.search(r"[\x00-\x20\x7f-\x9f\\]", text) or not is_valid_unicode(text):
        raise _invalid(what, "contains a space, backslash or control character, or is not UTF-8")
    try:
        parts = urlsplit(text)
        host = parts.hostname
        _ = parts.port  # raises an error if it is not a valid one
    except ValueError as error:
        raise _invalid(what, f"is not a valid URL: {error}") from None
    if parts.scheme not in _DEFAULT_PORTS:
        is_file = parts.scheme == "file"
        hint = "for a file on this machine, give its path" if is_file else _URL_FORM
        raise _invalid(what, "must begin with http:// or https://", hint=hint)
    if not host or not host.strip("."):
        raise _invalid(what, "has no host")
    if _BAD_LABEL.search(host.removesuffix(".")):
        raise _invalid(what, f"has an invalid host name: {host}")
    if "@" in parts.netloc:
        hint = "use a signed or public URL instead, without `user:password@`"
        raise _invalid(what, "contains a user name or password", hint=hint)
    return parts


def check_clip_url(text: str, *, allow_internal: bool) -> None:
    """Refuse a clip URL that is invalid, or that the service could not fetch.

    Args:
        text: The URL as typed.
        allow_internal: Allow addresses of this machine and its network (sandbox, loopback API).
    """
    parts = parse_web_url(text, what="clip URL")
    host = parts.hostname or ""
    if not allow_internal and host_kind(host) is not HostKind.PUBLIC:
        msg = f"the clip URL names an address only this machine or network can reach: {host}"
        hint = "the service fetches the clip itself: give a public URL, or the path of a local file"
        raise InvalidInputError(msg, code="internal_address", hint=hint)


def check_no_video_page(url: str) -> None:
    """Refuse an invalid URL, or a page of a well-known video site, judging by the URL alone."""
    parts = parse_web_url(url, what="clip URL")
    host = (parts.hostname or "").rstrip(".")
    is_of_site = f".{host}".endswith(_VIDEO_SITES)
    if is_of_site and not is_video_name(parts.path):
        hint = (
            f"fetch the video first: `yt-dlp -f mp4 -o clip.mp4 {quoted(url)}`, then give"
            " clip.mp4; `--no-check` sends the URL as it is"
        )
        refuse(f"this is a page of {host}, not a video file", code="web_page", hint=hint)


def check_callback_url(text: str, *, allow_loopback: bool) -> None:
    """Refuse a callback URL that is invalid, or that the service would refuse (API reference).

    Args:
        text: The URL as typed.
        allow_loopback: Allow http and addresses of this machine (sandbox keys only).
    """
    what = "callback URL"
    parts = parse_web_url(text, what=what)
    kind = host_kind(parts.hostname or "")
    fault = None
    if len(text) > MAX_CALLBACK_URL_LENGTH:
        fault = f"is longer than {MAX_CALLBACK_URL_LENGTH} characters: {len(text)}"
    elif allow_loopback and kind is HostKind.LOOPBACK:
        return
    elif parts.scheme != "https":
        fault = "must begin with https://"
    elif kind is not HostKind.PUBLIC:
        fault = f"names an address the service does not call: {parts.hostname}"
    if fault:
        raise _invalid(what, fault, code="invalid_callback_url", hint=_CALLBACK_HINT)


def origin_of(url: str) -> str:
    """Return the scheme and host of a URL, and its port unless that is the default."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    shown = f"[{host}]" if ":" in host else host
    if parts.port is None or parts.port == _DEFAULT_PORTS.get(parts.scheme):
        return f"{parts.scheme}://{shown}"
    return f"{parts.scheme}://{shown}:{parts.port}"


def without_secrets(text: str) -> str:
    """Return a URL without anything that may be secret: user, password, query and fragment."""
    return re.sub(r"(?<=://)[^/]*@", "", without_query(text)) if "://" in text else text


def shown_url(url: str) -> str:
    """Return a URL for a trace or a message, without its query, which may be a signature."""
    return without_query(url) + ("?…" if "?" in url else "")


def shown_host(url: str) -> str:
    """Return the host of a valid URL, for messages."""
    return urlsplit(url).hostname or ""


@cache
def host_kind(host: str) -> HostKind:
    """Return where a host leads, in any spelling that a resolver would understand.

    Names are not resolved: that would contact a third party.
    """
    # IDNA maps compatibility characters and ideographic full stops (UTS 46) before resolving.
    name = unicodedata.normalize("NFKC", unquote(host)).replace("。", ".").lower().rstrip(".")
    if name in _LOOPBACK_NAMES or name.endswith(".localhost"):
        return HostKind.LOOPBACK
    if name.endswith(_INTERNAL_SUFFIXES):
        return HostKind.INTERNAL
    address = _parse_ipv6(name) if ":" in name else _parse_ipv4(name)
    if address is None:
        return HostKind.PUBLIC
    if address.is_loopback:
        return HostKind.LOOPBACK
    is_public = address.is_global and not address.is_multicast
    if isinstance(address, ipaddress.IPv6Address):
        is_public = is_public and address in _GLOBAL_UNICAST
    return HostKind.PUBLIC if is_public else HostKind.INTERNAL


def is_loopback_url(url: str) -> bool:
    """Return whether a URL names this machine; connecting to it checks that it leads there."""
    try:
        return host_kind(urlsplit(url).hostname or "") is HostKind.LOOPBACK
    except ValueError:
        return False


def _invalid(
    what: str, fault: str, *, code: str = "invalid_url", hint: str = _URL_FORM
) -> InvalidInputError:
    return InvalidInputError(f"the {what} {fault}", code=code, hint=hint)


def _parse_ipv6(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address, or the IPv4 address that is embedded in it."""
    try:
        address = ipaddress.IPv6Address(name.strip("[]").partition("%")[0])
    except ValueError:
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _parse_ipv4(name: str) -> ipaddress.IPv4Address | None:
    """Return the address given by one to four decimal, octal or hex numbers, as resolvers do."""
    if not name[:1].isdigit():
        return None
    import socket  # noqa: PLC0415 - most URLs name no address

    # A proxy may understand more than this system: 08 as a decimal, 0x as 0 (WHATWG URL, 3.5).
    name = re.sub(r"\b0+(?=[0-9]*[89])|(?<=\b0)x\b", "", name)
    try:
        return ipaddress.IPv4Address(socket.inet_aton(name))
    except (OSError, ValueError):  # ValueError: a null character
        return None
