"""When each picture of a clip is shown, as its packets say."""

from bisect import bisect_right
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

from omniedit.errors import InvalidInputError
from omniedit.media.opening import MAX_LENGTH_S, NO_VIDEO, opened_clip, picture_stream
from omniedit.media.passes import READING_BUDGET_S, packets_of
from omniedit.media.wholeness import ONCE_MORE

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.stream import VideoStream

_MOST_PICTURES: Final = 400_000  # ten minutes at 600 a second
# Two times of constant pictures differ by a rounding, which is a tick at either end.
_ROUNDING_TICKS: Final = 2
_VARIABLE_SHARE: Final = 0.1


@dataclass(frozen=True, slots=True)
class Shot:
    """One packet of pictures, in ticks."""

    pts: int
    dts: int | None
    duration: int
    is_key: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """All pictures of a clip."""

    tick_s: Fraction
    shots: tuple[Shot, ...]
    """In the order of decoding."""
    times: tuple[int, ...]
    """When pictures are shown, in order, in ticks."""
    end: int
    """When the last one ends, in ticks."""
    has_hidden: bool
    """Whether pictures are decoded and not shown (an edit list), or have no time of their own."""

    @property
    def start(self) -> int:
        """When the first one is shown, in ticks."""
        return self.times[0]

    @property
    def duration_s(self) -> float:
        """From the first picture to the end of the last."""
        return float((self.end - self.start) * self.tick_s)

    @property
    def frame_s(self) -> float:
        """The length of a picture on average."""
        return self.duration_s / len(self.times)

    @property
    def is_variable(self) -> bool:
        """Whether pictures are shown for different times."""
        steps = sorted(after - before for before, after in pairwise(self.times))
        if not steps:
            return False
        typical = steps[len(steps) // 2]
        return steps[-1] - steps[0] > _ROUNDING_TICKS + typical * _VARIABLE_SHARE

    def shown_at(self, ticks: int) -> int:
        """Return the time of the picture that is shown then: the last one that has begun."""
        return self.times[max(0, bisect_right(self.times, ticks) - 1)]

    def ends(self) -> dict[int, int]:
        """Return when each picture makes room for the next, by the time when it is shown."""
        return dict(pairwise((*self.times, self.end)))


class TimelineBuilder:
    """Collects packets into a timeline.

    Args:
        stream: Of the pictures.
        name: Of the clip, for messages.
    """

    def __init__(self, stream: "VideoStream", *, name: str) -> None:
        self._tick_s = Fraction(stream.time_base or Fraction(1, 1000))
        self._rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        self._name = name
        self._shots: list[Shot] = []
        self._has_hidden = False

    def add(self, packet: "Packet[VideoStream]") -> None:
        """Take in a packet.

        Raises:
            InvalidInputError: The clip is too long.
        """
        if not packet.size:  # the end
            return
        time_ticks = packet.pts if packet.pts is not None else packet.dts
        if packet.is_discard or time_ticks is None:
            self._has_hidden = True
            return
        if packet.pts is None:
            self._has_hidden = True
        self._shots.append(Shot(time_ticks, packet.dts, packet.duration or 0, packet.is_keyframe))
        reach_s = float((time_ticks - self._shots[0].pts) * self._tick_s)
        if reach_s > MAX_LENGTH_S or len(self._shots) > _MOST_PICTURES:
            raise too_long(self._name)

    def finish(self) -> Timeline:
        """Return the timeline.

        Raises:
            InvalidInputError: There is no picture.
        """
        if not self._shots:
            msg = f"{self._name} holds no pictures"
            raise InvalidInputError(msg, code=NO_VIDEO, hint=ONCE_MORE)
        times = sorted({shot.pts for shot in self._shots})
        last = max(self._shots, key=lambda shot: shot.pts)
        steps = sorted(after - before for before, after in pairwise(times))
        typical = steps[len(steps) // 2] if steps else round(1 / (self._rate * self._tick_s))
        # A muxer that does not know how long the last picture lasts writes 0, or anything.
        length = last.duration if 0 < last.duration <= 10 * max(typical, 1) else typical
        return Timeline(
            tick_s=self._tick_s,
            shots=_with_decoding_times(self._shots, step=max(typical, 1)),
            times=tuple(times),
            end=times[-1] + max(length, 1),
            has_hidden=self._has_hidden or len(times) != len(self._shots),
        )


def _with_decoding_times(shots: list[Shot], *, step: int) -> tuple[Shot, ...]:
    """Return packets with the times of decoding that Matroska leaves out at the beginning."""
    known = next((index for index, shot in enumerate(shots) if shot.dts is not None), 0)
    first = shots[known].dts or 0
    filled = [replace(shot, dts=first - (known - i) * step) for i, shot in enumerate(shots[:known])]
    return (*filled, *shots[known:])


def read_timeline(path: Path) -> Timeline:
    """Return when each picture of a local clip is shown.

    Raises:
        InvalidInputError: It is no clip that can be read.
    """
    with opened_clip(path) as container:
        stream = picture_stream(container, name=str(path))
        builder = TimelineBuilder(stream, name=str(path))
        for packet in packets_of(container, stream, name=str(path), budget_s=READING_BUDGET_S):
            builder.add(packet)
        return builder.finish()


def too_long(name: str) -> InvalidInputError:
    """Return the error of a clip that nobody wants to wait for."""
    msg = f"{name} is longer than {MAX_LENGTH_S / 60:.0f} minutes"
    return InvalidInputError(msg, code="clip_too_long", hint="cut it with another program first")
