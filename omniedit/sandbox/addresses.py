"""URLs and hosts, recognised by their text: no name is resolved."""

import ipaddress
import re
import socket
import unicodedata
from urllib.parse import SplitResult, unquote, urlsplit

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_LOCALHOST = re.compile(r"(.*\.)?localhost")
_UNSAFE = re.compile(r"[\x00-\x20\x7f-\x9f\\]")


def parse_web_url(text: str) -> SplitResult | None:
    """Return the parts of an http(s) URL that has a host, or None."""
    # urlsplit silently drops tabs and newlines.
    if _UNSAFE.search(text):
        return None
    try:
        parts = urlsplit(text)
        # `.port` is parsed on access and raises there.
        is_web = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if is_web else None


def is_internal(host: str) -> bool:
    """Return whether `host` is this machine or an address that is not on the public internet."""
    address = _parse_address(host)
    if address is None:
        return bool(_LOCALHOST.fullmatch(_normalize(host)))
    return not address.is_global or address.is_multicast


def loopback_address(host: str) -> str | None:
    """Return the address to connect to if `host` is this machine, or None."""
    address = _parse_address(host)
    if address is None:
        return "127.0.0.1" if _LOCALHOST.fullmatch(_normalize(host)) else None
    return str(address) if address.is_loopback else None


def _normalize(host: str) -> str:
    # Resolvers also accept full-width digits, ideographic full stops and `%31`.
    return unicodedata.normalize("NFKC", unquote(host)).replace("\u3002", ".").lower().rstrip(".")


def _parse_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    text = _normalize(host)
    try:
        address = ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        try:
            # inet_aton also accepts octal, hexadecimal and shortened spellings, as libc does.
            return ipaddress.IPv4Address(socket.inet_aton(text))
        except (OSError, ValueError):
            return None
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(address.packed[-4:])
    return address.ipv4_mapped or address.sixtofour or address
