"""Probe, cut, convert, split, join and compare clips locally (extra `media`, PyAV).

Apart from the sandbox, nothing else imports `av`. A submodule is imported when one of its names is
first used, so that the package itself can be imported without the extra.
"""

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any, Final

from omniedit.errors import MissingExtraError, install_command

if TYPE_CHECKING:
    from omniedit.media.comparison import Change, View, measure_changes, most_changed, view
    from omniedit.media.facts import (
        C2PA,
        AudioTrack,
        ClipFacts,
        Problem,
        codec_name,
        container_name,
        describe_difference,
        find_problems,
        is_suspiciously_short,
        needs_conversion,
        rate_name,
    )
    from omniedit.media.mux import Progress
    from omniedit.media.pieces import Joined, Piece, join, plan_split
    from omniedit.media.preparing import (
        Prepared,
        check_frames,
        prepare,
        refuse_damage,
        save_prepared,
    )
    from omniedit.media.probing import probe
    from omniedit.media.sheet import Row, draw_sheet
    from omniedit.media.soundtrack import ReplacedAudio, replace_audio
    from omniedit.media.timeline import check_marks, check_order, parse_mark
    from omniedit.media.video import FrameCheck

__all__ = [
    "C2PA",
    "AudioTrack",
    "Change",
    "ClipFacts",
    "FrameCheck",
    "Joined",
    "Piece",
    "Prepared",
    "Problem",
    "Progress",
    "ReplacedAudio",
    "Row",
    "View",
    "check_frames",
    "check_marks",
    "check_order",
    "codec_name",
    "container_name",
    "describe_difference",
    "draw_sheet",
    "find_problems",
    "is_available",
    "is_suspiciously_short",
    "join",
    "measure_changes",
    "most_changed",
    "needs_conversion",
    "parse_mark",
    "plan_split",
    "prepare",
    "probe",
    "rate_name",
    "refuse_damage",
    "replace_audio",
    "save_prepared",
    "view",
]

_MODULES: Final = {
    "AudioTrack": "facts",
    "C2PA": "facts",
    "Change": "comparison",
    "ClipFacts": "facts",
    "FrameCheck": "video",
    "Joined": "pieces",
    "ReplacedAudio": "soundtrack",
    "Piece": "pieces",
    "Prepared": "preparing",
    "Problem": "facts",
    "Progress": "mux",
    "Row": "sheet",
    "View": "comparison",
    "check_frames": "preparing",
    "check_marks": "timeline",
    "check_order": "timeline",
    "codec_name": "facts",
    "container_name": "facts",
    "describe_difference": "facts",
    "draw_sheet": "sheet",
    "is_suspiciously_short": "facts",
    "join": "pieces",
    "replace_audio": "soundtrack",
    "measure_changes": "comparison",
    "most_changed": "comparison",
    "needs_conversion": "facts",
    "parse_mark": "timeline",
    "plan_split": "pieces",
    "prepare": "preparing",
    "probe": "probing",
    "rate_name": "facts",
    "refuse_damage": "preparing",
    "save_prepared": "preparing",
    "find_problems": "facts",
    "view": "comparison",
}


def is_available() -> bool:
    """Return whether the extra is installed."""
    return importlib.util.find_spec("av") is not None


def __getattr__(name: str) -> Any:  # noqa: ANN401 - depends on the name
    """Import the submodule that defines a name, on first access (PEP 562).

    Raises:
        MissingExtraError: If PyAV is not installed.
    """
    if name not in _MODULES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    try:
        module = importlib.import_module(f"{__name__}.{_MODULES[name]}")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"av", "PIL"}:
            raise
        msg = "inspecting clips needs the extra `media`"
        raise MissingExtraError(msg, hint=install_command("media")) from error
    return getattr(module, name)
