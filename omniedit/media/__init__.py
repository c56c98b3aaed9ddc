"""Clips on this machine (extra `media`, PyAV): probe, cut, convert, split, join.

Nothing else imports av. What needs it is loaded when it is first named here, so that the package
itself can be imported without the extra.
"""

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any, Final

from omniedit.errors import MissingExtraError
from omniedit.media.facts import ClipFacts
from omniedit.media.marks import check_marks, parse_mark
from omniedit.media.verdicts import (
    CREDITS_PER_SECOND,
    MAX_CLIP_S,
    Problem,
    estimated_credits,
    fits,
    is_too_long,
    needs_conversion,
    verdict,
)

if TYPE_CHECKING:
    from omniedit.media.joining import Joined, join
    from omniedit.media.preparing import Prepared, prepare
    from omniedit.media.probing import probe
    from omniedit.media.splitting import Piece, plan_split

__all__ = [
    "CREDITS_PER_SECOND",
    "MAX_CLIP_S",
    "ClipFacts",
    "Joined",
    "Piece",
    "Prepared",
    "Problem",
    "check_marks",
    "estimated_credits",
    "fits",
    "is_available",
    "is_too_long",
    "join",
    "needs_conversion",
    "parse_mark",
    "plan_split",
    "prepare",
    "probe",
    "verdict",
]

_HOMES: Final = {
    "Joined": "joining",
    "Piece": "splitting",
    "Prepared": "preparing",
    "join": "joining",
    "plan_split": "splitting",
    "prepare": "preparing",
    "probe": "probing",
}


def is_available() -> bool:
    """Return whether the extra is installed."""
    return importlib.util.find_spec("av") is not None


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever has that name
    """Load what needs PyAV (PEP 562).

    Raises:
        MissingExtraError: It is not installed.
    """
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    try:
        module = importlib.import_module(f"{__name__}.{_HOMES[name]}")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "av":
            raise
        msg = "looking into clips needs the extra `media`"
        raise MissingExtraError(msg, hint="python -m pip install 'omniedit[media]'") from error
    return getattr(module, name)
