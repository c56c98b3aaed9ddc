"""The times of a clip's frames, and the parts that a cut leaves."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from itertools import pairwise
from math import floor
from pathlib import Path
from typing import TYPE_CHECKING, Final

from omniedit.errors import InvalidInputError
from omniedit.media.facts import ClipFacts
from omniedit.media.formats import is_random_access

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.stream import VideoStream

    from omniedit.media.containers import OpenClip

MAX_LENGTH_S: Final = 600.0
"""The longest clip that is read at all."""

_MOST_FRAMES: Final = 400_000  # ten minutes at 600 fps
# Even at a constant rate, rounding changes a frame's length by up to a tick at either end.
_ROUNDING_TICKS: Final = 2
_VARIABLE_SHARE: Final = 0.1
_TIME: Final = re.compile(r"(?:(?:(\d{1,3}):)?(\d{1,4}):)?(\d{1,6}(?:\.\d{1,9})?)", re.ASCII)
_TIME_HINT: Final = "write seconds (12.5) or minutes and seconds (1:02.5)"
_CUT_HINT: Final = "times count from the clip's beginning; without an end the rest is used"
_INVALID_CUT: Final = "invalid_mark"
_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
# Half the coarsest tick that containers use.
_HALF_TICK_S: Final = 0.0005
# A cut this close to a frame means that frame, whose time may be rounded.
_SNAP_S: Final = Fraction(2, 1000)


@dataclass(frozen=True, slots=True)
class CodedFrame:
    """One packet of the video stream; times are in ticks."""

    pts: int
    dts: int | None
    duration: int
    is_key: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The frames of a clip and their times."""

    tick_s: Fraction
    frames: tuple[CodedFrame, ...]
    """In decoding order."""
    times: tuple[int, ...]
    """When frames are shown, in ticks, ascending."""
    end: int
    """When the last frame ends, in ticks."""
    has_hidden: bool
    """Whether some frames are decoded but not shown (an edit list), or lack a time of their own."""
    has_slots: bool
    """Whether times belong to positions in the file (AVI): decoded frames take them one by one."""
    extradata: bytes
    """What a decoder needs beside the frames."""

    @property
    def start(self) -> int:
        """When the first frame is shown, in ticks."""
        return self.times[0]

    @property
    def duration_s(self) -> float:
        """Time from the first frame to the end of the last."""
        return float((self.end - self.start) * self.tick_s)

    @property
    def frame_s(self) -> float:
        """Average length of a frame."""
        return self.duration_s / len(self.times)

    @property
    def frame_rate(self) -> float:
        """Average number of frames per second."""
        return float(len(self.times) / ((self.end - self.start) * self.tick_s))

    @property
    def is_variable(self) -> bool:
        """Whether the frame rate is variable."""
        steps = _steps(self.times)
        if not steps:
            return False
        typical = steps[len(steps) // 2]
        return steps[-1] - steps[0] > _ROUNDING_TICKS + typical * _VARIABLE_SHARE

    def key_before(self, ticks: int) -> CodedFrame | None:
        """Return the last keyframe at or before a time; None if there is none to seek to."""
        if self.has_slots:
            return None
        keys = [frame for frame in self.frames if frame.is_key and frame.pts <= ticks]
        return max(keys, key=lambda frame: frame.pts, default=None)

    def shown_at(self, ticks: int) -> int:
        """Return the time of the frame on screen at an instant: the last one that has begun."""
        return self.times[max(0, bisect_right(self.times, ticks) - 1)]

    def ends(self) -> dict[int, int]:
        """Return when each frame ends, by the time at which it begins."""
        return dict(pairwise((*self.times, self.end)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a local clip, [start, end) in ticks, and its position in the result."""

    source: Path
    facts: ClipFacts
    """The facts about the whole clip."""
    timeline: Timeline
    start: int
    end: int
    at_s: Fraction = Fraction(0)

    @property
    def start_s(self) -> Fraction:
        """Start of the part, on the clip's own clock."""
        return self.start * self.timeline.tick_s

    @property
    def length_s(self) -> Fraction:
        """Length of the part."""
        return (self.end - self.start) * self.timeline.tick_s

    @property
    def is_whole(self) -> bool:
        """Whether this is all of the clip."""
        return (self.start, self.end) == (self.timeline.start, self.timeline.end)

    @property
    def shift(self) -> int:
        """Ticks from a frame's time in the clip to its time in the result."""
        return round(self.at_s / self.timeline.tick_s) - self.start

    def cut(self, start_s: float | None, end_s: float | None) -> "Part":
        """Return the part between two times, counted from the first frame of the clip.

        The part begins with the first frame at or after `start_s`, and ends before the first one at
        or after `end_s`; at a variable rate, where a frame may last for seconds, a frame is cut in
        two.

        Raises:
            InvalidInputError: If the cut leaves nothing, or lies beyond the clip.
        """
        name = self.facts.name
        timeline = self.timeline
        length_s = timeline.duration_s
        frame_s = timeline.frame_s
        check_cut(start_s, end_s, name=name, duration_s=length_s, frame_s=frame_s)
        start, end = timeline.start, timeline.end
        if start_s is not None:
            start = _snapped(timeline, start_s, otherwise=timeline.times[-1])
        if end_s is not None:
            end = min(max(_snapped(timeline, end_s, otherwise=end), start + 1), end)
        return replace(self, start=start, end=end)


class TimelineBuilder:
    """Collects the video packets of a clip into a timeline."""

    def __init__(self, clip: "OpenClip") -> None:
        stream = clip.video
        codec = stream.codec_context.codec.canonical_name
        self._extradata = stream.codec_context.extradata or b""
        self._is_random_access = partial(is_random_access, codec, self._extradata)
        self._has_slots = "avi" in clip.formats
        self._tick_s = Fraction(stream.time_base or Fraction(1, 1000))
        # Packets are many, and fractions slow: compare whole ticks.
        self._second = floor(1 / self._tick_s)
        self._max_length = floor(Fraction(MAX_LENGTH_S) / self._tick_s)
        self._rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        self._name = clip.name
        self._frames: list[CodedFrame] = []
        self._has_hidden = False
        self._last_dts: int | None = None

    def add(self, packet: "Packet[VideoStream]") -> None:
        """Add a packet.

        Raises:
            InvalidInputError: If the clip is too long, or its clock starts again.
        """
        if not packet.size:  # the end of the stream
            return
        if packet.dts is not None:
            # The frames of several recordings would overlap.
            if self._last_dts is not None and self._last_dts - packet.dts > self._second:
                msg = f"{self._name} holds several recordings: its clock starts again"
                hint = "join them with another program first, for example `ffmpeg -i IN OUT.mp4`"
                raise InvalidInputError(msg, code="damaged_clip", hint=hint)
            self._last_dts = packet.dts
        time = packet.dts if packet.pts is None or self._has_slots else packet.pts
        self._has_hidden |= packet.is_discard or packet.pts is None or time is None
        if packet.is_discard or time is None:
            return
        is_key = packet.is_keyframe and self._is_random_access(bytes(packet))
        self._frames.append(CodedFrame(time, packet.dts, packet.duration or 0, is_key))
        reach = time - self._frames[0].pts
        if reach > self._max_length or len(self._frames) > _MOST_FRAMES:
            raise too_long(self._name)

    def finish(self) -> Timeline | None:
        """Return the timeline; None if there is no frame."""
        if not self._frames:
            return None
        times = sorted({frame.pts for frame in self._frames})
        last = max(self._frames, key=lambda frame: frame.pts)
        steps = _steps(times)
        typical = steps[len(steps) // 2] if steps else round(1 / (self._rate * self._tick_s))
        # A muxer that does not know how long the last frame lasts writes 0 or an arbitrary value.
        length = last.duration if 0 < last.duration <= 10 * max(typical, 1) else typical
        return Timeline(
            tick_s=self._tick_s,
            frames=_with_decoding_times(self._frames, step=max(typical, 1)),
            times=tuple(times),
            end=times[-1] + max(length, 1),
            has_hidden=self._has_hidden or len(times) != len(self._frames),
            has_slots=self._has_slots,
            extradata=self._extradata,
        )


def too_long(name: str) -> InvalidInputError:
    """Return the error for a clip that is too long to be read."""
    msg = f"{name} is longer than {MAX_LENGTH_S / _MINUTE_S:.0f} minutes"
    return InvalidInputError(msg, code="clip_too_long", hint="cut it with another program first")


def parse_time(text: str, *, name: str = "time") -> float:
    """Parse `12`, `12.5`, `1:02.5` or `1:02:03` into seconds.

    Raises:
        InvalidInputError: If the text is not a valid time.
    """
    match = _TIME.fullmatch(text.strip())
    if match is None:
        msg = f"invalid {name} {text!r}"
        raise InvalidInputError(msg, code=_INVALID_CUT, hint=_TIME_HINT)
    hours, minutes, seconds = (float(group or 0) for group in match.groups())
    if match[2] is not None and (seconds >= _MINUTE_S or (match[1] and minutes >= _MINUTE_S)):
        msg = f"invalid {name} {text!r}: minutes and seconds after a colon go up to 59"
        raise InvalidInputError(msg, code=_INVALID_CUT, hint=_TIME_HINT)
    return hours * _HOUR_S + minutes * _MINUTE_S + seconds


def check_cut(
    start_s: float | None,
    end_s: float | None,
    *,
    name: str,
    duration_s: float | None = None,
    frame_s: float = 0.0,
) -> None:
    """Refuse a cut that leaves nothing of a clip, or lies beyond its end.

    Args:
        start_s: Where to begin; None for the beginning.
        end_s: Where to stop; None for the end.
        name: The clip, for messages.
        duration_s: The length of the clip; None if it is not known yet.
        frame_s: The length of a frame; an end up to one frame beyond the clip is accepted.

    Raises:
        InvalidInputError: If the cut leaves nothing, or lies beyond the clip.
    """
    if start_s is not None and end_s is not None and end_s <= start_s:
        msg = f"end {end_s:g} is not after start {start_s:g}"
    elif end_s is not None and end_s <= 0:
        msg = f"end {end_s:g} leaves nothing of {name}"
    elif duration_s is None:
        return
    elif start_s is not None and start_s > duration_s - frame_s + _HALF_TICK_S:
        msg = f"start {start_s:g} is beyond the end of {name}, which is {duration_s:.2f} s long"
    elif end_s is not None and end_s > duration_s + frame_s + _HALF_TICK_S:
        msg = f"end {end_s:g} is beyond the end of {name}, which is {duration_s:.2f} s long"
    else:
        return
    raise InvalidInputError(msg, code=_INVALID_CUT, hint=_CUT_HINT)


def _steps(times: Sequence[int]) -> list[int]:
    """Return the differences between times, in ascending order."""
    return sorted(after - before for before, after in pairwise(times))


def _snapped(timeline: Timeline, cut_s: float, *, otherwise: int) -> int:
    """Return where a clip is cut: at the next frame, or, at a variable rate, within a frame."""
    at = timeline.start + Fraction(cut_s) / timeline.tick_s
    tolerance = min(_SNAP_S, Fraction(timeline.frame_s) / 4) / timeline.tick_s
    index = bisect_left(timeline.times, at - tolerance)
    following = timeline.times[index] if index < len(timeline.times) else None
    if timeline.is_variable and (following is None or following > at + tolerance):
        return min(round(at), timeline.end)
    return otherwise if following is None else following


def _with_decoding_times(frames: list[CodedFrame], *, step: int) -> tuple[CodedFrame, ...]:
    """Fill in the decoding times that Matroska leaves out at the beginning."""
    known = next((index for index, frame in enumerate(frames) if frame.dts is not None), 0)
    first = frames[known].dts or 0
    filled = [
        replace(frame, dts=first - (known - index) * step)
        for index, frame in enumerate(frames[:known])
    ]
    return (*filled, *frames[known:])
