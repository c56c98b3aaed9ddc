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


def require_extra(what: str, *packages: str) -> None:
    """Refuse what needs the extra if it, or one of its other packages, is not installed.

    Raises:
        MissingExtraError: If it is not.
    """
    if not (is_available() and all(importlib.util.find_spec(package) for package in packages)):
        msg = f"{what} needs the extra `media`"
        raise MissingExtraError(msg, hint=install_command("media"))
