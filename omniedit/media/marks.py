"""Cut marks: the values of `--start` and `--end`."""

import re
from typing import Final

from omniedit.errors import InvalidInputError

_MARK: Final = re.compile(r"(?:(?:(\d{1,3}):)?(\d{1,4}):)?(\d{1,6}(?:\.\d{1,9})?)", re.ASCII)
_HOW: Final = "write seconds (12.5) or minutes and seconds (1:02.5)"
_OPEN: Final = "marks count from the clip's beginning; without `--end` all of the rest is taken"
_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
# Half of the coarsest tick that containers use.
_ROUNDING_S: Final = 0.0005


def parse_mark(text: str) -> float:
    """Return the seconds of `12`, `12.5`, `1:02.5` or `1:02:03`.

    Raises:
        InvalidInputError: It is none.
    """
    match = _MARK.fullmatch(text.strip())
    if match is None:
        msg = f"{text!r} is no point in time"
        raise InvalidInputError(msg, code="invalid_mark", hint=_HOW)
    hours, minutes, seconds = (float(group or 0) for group in match.groups())
    if match[2] is not None and (seconds >= _MINUTE_S or (match[1] and minutes >= _MINUTE_S)):
        msg = f"{text!r} is no point in time: beside a colon, 59 is the most"
        raise InvalidInputError(msg, code="invalid_mark", hint=_HOW)
    return hours * _HOUR_S + minutes * _MINUTE_S + seconds


def check_marks(
    start_s: float | None, end_s: float | None, *, name: str, duration_s: float, frame_s: float
) -> None:
    """Refuse marks that leave nothing, or lie beyond the clip.

    Args:
        start_s: Where to begin; None for the beginning.
        end_s: Where to stop; None for the end.
        name: The clip, for the message.
        duration_s: Its length.
        frame_s: The length of its frames; an end that is at most one frame beyond is the end.

    Raises:
        InvalidInputError: With what is wrong with them.
    """
    if start_s is not None and end_s is not None and end_s <= start_s:
        msg = f"--end {end_s:g} is not after --start {start_s:g}"
    elif start_s is not None and start_s > duration_s - frame_s + _ROUNDING_S:
        msg = f"--start {start_s:g} is beyond the end of {name}, which is {duration_s:.2f} s long"
    elif end_s is not None and end_s <= 0:
        msg = f"--end {end_s:g} leaves nothing of {name}"
    elif end_s is not None and end_s > duration_s + frame_s + _ROUNDING_S:
        msg = f"--end {end_s:g} is beyond the end of {name}, which is {duration_s:.2f} s long"
    else:
        return
    raise InvalidInputError(msg, code="invalid_mark", hint=_OPEN)
