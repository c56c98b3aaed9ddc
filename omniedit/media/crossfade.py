"""The sound of several clips as one, each faded into the next."""

from array import array
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import av

from omniedit.media.opening import opened_clip, picture_stream
from omniedit.media.probing import sound_stream

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame

RATE: Final = 48_000
LAYOUT: Final = "stereo"
FADE_S: Final = Fraction(20, 1000)

_CHANNELS: Final = 2
_FORMAT: Final = "fltp"
_FADE: Final = int(FADE_S * RATE)
_BLOCK: Final = 1024
_FLOAT: Final = "f"


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """How much of a clip's sound is heard, and from where on in the result."""

    path: Path
    at_s: Fraction
    length_s: Fraction


def crossfaded(parts: Sequence[Heard]) -> Generator["AudioFrame"]:
    """Yield the sound of several clips in a row, without a click between them and without shifting it.

    What fades out is the sound beyond a clip's end, or, where it has none there, its last 20 ms
    backwards: so the next one begins on time.
    """
    tails: list[array[float]] | None = None
    written = 0
    for part in parts:
        first, last = round(part.at_s * RATE), round((part.at_s + part.length_s) * RATE)
        channels = _samples(part.path, last - first)
        if tails is not None:
            for channel, tail in zip(channels, tails, strict=True):
                _fade_in(channel, tail)
        for begin in range(0, last - first, _BLOCK):
            end = min(begin + _BLOCK, last - first)
            frame = _frame([channel[begin:end] for channel in channels])
            frame.pts, frame.time_base = written, Fraction(1, RATE)
            written += end - begin
            yield frame
        tails = [channel[last - first :] for channel in channels]


def _samples(path: Path, count: int) -> list["array[float]"]:
    """Return so many samples of each channel and what fades out after them; silence where is none."""
    channels = [array(_FLOAT, bytes(4 * (count + _FADE))) for _ in range(_CHANNELS)]
    reach = 0
    for frame, at in _decoded(path):
        skipped, kept = max(0, -at), min(frame.samples, count + _FADE - at)
        if skipped >= kept:
            continue
        for channel, plane in zip(channels, frame.planes, strict=True):
            samples = array(_FLOAT, bytes(plane)[: 4 * frame.samples])
            channel[at + skipped : at + kept] = samples[skipped:kept]
        reach = max(reach, at + kept)
    for channel in channels:
        for index in range(max(reach, count), count + _FADE):
            mirrored = 2 * count - 1 - index
            channel[index] = channel[mirrored] if mirrored >= 0 else 0.0
    return channels


def _decoded(path: Path) -> Generator[tuple["AudioFrame", int]]:
    """Yield a clip's sound in the form that is mixed, with samples counted from its first picture."""
    with opened_clip(path) as clip:
        stream = sound_stream(clip)
        if stream is None:
            return
        pictures = picture_stream(clip, name=str(path))
        origin_s = (pictures.start_time or 0) * Fraction(pictures.time_base or 0)
        resampler = av.AudioResampler(format=_FORMAT, layout=LAYOUT, rate=RATE)
        at: int | None = None
        for decoded in (*clip.decode(stream), None):
            if decoded is not None and at is None and decoded.time_base is not None:
                at = round(((decoded.pts or 0) * decoded.time_base - origin_s) * RATE)
            for frame in resampler.resample(decoded):
                yield frame, at or 0
                at = (at or 0) + frame.samples


def _fade_in(channel: "array[float]", tail: "array[float]") -> None:
    for index in range(min(len(tail), len(channel))):
        share = (index + 0.5) / _FADE
        channel[index] = tail[index] * (1 - share) + channel[index] * share


def _frame(channels: Sequence["array[float]"]) -> Any:  # noqa: ANN401 - av's own type is incomplete
    frame = av.AudioFrame(format=_FORMAT, layout=LAYOUT, samples=len(channels[0]))
    frame.sample_rate = RATE
    for plane, channel in zip(frame.planes, channels, strict=True):
        held = channel.tobytes()
        plane.update(held + bytes(plane.buffer_size - len(held)))
    return frame
