"""Probe, cut, convert, split, join and compare clips locally (extra `media`, PyAV).

Apart from the sandbox, nothing else imports `av`. The modules `facts` and `timeline` need no extra;
the others are imported where they are used, after a check that it is installed.
"""

import importlib.util

from omniedit.errors import MissingExtraError, install_command


def is_available() -> bool:
    """Return whether the extra is installed."""
    return importlib.util.find_spec("av") is not None


def check_available(*packages: str) -> None:
    """Refuse to go on without packages of the extra.

    Raises:
        MissingExtraError: If one of them is not installed.
    """
    if not all(importlib.util.find_spec(package) for package in packages):
        msg = "inspecting clips needs the extra `media`"
        raise MissingExtraError(msg, hint=install_command("media"))
