"""Probe, cut, convert, split, join and compare clips locally (extra `media`, PyAV).

Apart from the sandbox, nothing else imports `av`. `facts`, `formats` and `timeline` need no extra;
the others are imported where they are used, after a check that it is installed.
"""

import importlib
import importlib.util

from omniedit.errors import MissingExtraError, install_command


def is_available() -> bool:
    """Return whether the extra is installed and can be loaded, which it then is."""
    try:
        importlib.import_module("av")
    except ImportError:
        return False
    return True


def check_available(*packages: str) -> None:
    """Refuse to go on without packages of the extra.

    Raises:
        MissingExtraError: If one of them is not installed.
    """
    if not all(importlib.util.find_spec(package) for package in packages):
        msg = "inspecting clips needs the extra `media`"
        raise MissingExtraError(msg, hint=install_command("media"))
