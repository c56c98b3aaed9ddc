"""Where a host's name leads."""

import socket
from collections.abc import Callable, Iterable
from contextlib import suppress

from omniedit.http.urls import HostKind, host_kind


def is_internal(host: str, *, resolve: Callable[[str], Iterable[str]] | None = None) -> bool:
    """Return whether a host is this machine's or its network's, for all that is known of it.

    Args:
        host: Its name or address.
        resolve: Returns the addresses of a host.
    """
    # A name that is unknown here may be known to a proxy.
    with suppress(OSError, UnicodeError):
        addresses = (resolve or addresses_of)(host)
        return any(host_kind(address) is not HostKind.PUBLIC for address in addresses)
    return False


def addresses_of(host: str) -> list[str]:
    """Return the addresses of a host.

    Raises:
        OSError: There are none.
    """
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]
