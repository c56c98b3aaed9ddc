"""Measure how much a result differs from its clip, moment by moment."""

import heapq
import time
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from av.error import BlockingIOError as TryAgain
from av.error import EOFError as EndOfFile
from av.filter import Graph

from omniedit.media.filters import FrameSize
from omniedit.media.mux import OnProgress, Progress, ignore_progress
from omniedit.media.probing import probe_with_timeline
from omniedit.media.timeline import Part, Timeline, marked_span
from omniedit.media.video import shown_frames

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

    from omniedit.media.facts import ClipFacts

_TICK_S: Final = Fraction(1, 90_000)
_HEIGHT: Final = 180
"""Frames are compared at this height: at full size SSIM would mostly measure encoder noise."""
_MOST_MOMENTS: Final = 3
_MOMENT_GAP_S: Final = 0.5
_LEAST_AMOUNT: Final = 0.02


class Change(NamedTuple):
    """How much one frame of a result differs from what its clip shows at that time."""

    at_s: float
    amount: float
    """1 - SSIM: 0 for the same picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A clip, or a part of it, to compare with others."""

    path: Path
    facts: "ClipFacts"
    timeline: Timeline
    start_s: float | None = None
    end_s: float | None = None

    @property
    def length_s(self) -> float:
        """Length of the clip, or of the part."""
        return float(self._part.span.length_s)

    def frames(self, size: FrameSize) -> "Iterable[tuple[VideoFrame, Fraction]]":
        """Return the frames as a player shows them, each with its seconds from the start."""
        return shown_frames(self._part, size)

    def frames_at(
        self, moments_s: Sequence[float], size: FrameSize
    ) -> "list[tuple[VideoFrame, Fraction]]":
        """Return the frames shown at given moments; outside the span, the first or last frame."""
        part = self._part
        span, timeline = part.span, part.timeline
        ticks = [span.start + int(Fraction(moment) / span.tick_s) for moment in moments_s]
        wanted = {timeline.shown_at(min(max(at, span.start), span.end - 1)) for at in ticks}
        return list(shown_frames(part, size, only=wanted))

    def size_of(self, *, height: int) -> FrameSize:
        """Return the size of the frames when scaled to a height."""
        facts = self.facts
        width = round(height * (facts.shown_width / facts.shown_height) / 2) * 2
        return FrameSize(width=max(width, 2), height=height)

    @property
    def _part(self) -> Part:
        span = marked_span(self.timeline, self.start_s, self.end_s, name=str(self.path))
        return Part(source=self.path, timeline=self.timeline, span=span)


def view(path: Path, *, start_s: float | None = None, end_s: float | None = None) -> View:
    """Return a clip, or a part of it, for comparison.

    Raises:
        InvalidInputError: If it cannot be read, or the marks leave nothing of it.
    """
    facts, timeline = probe_with_timeline(path)
    return View(path=path, facts=facts, timeline=timeline, start_s=start_s, end_s=end_s)


def measure_changes(
    reference: View, result: View, *, on_progress: OnProgress = ignore_progress
) -> tuple[Change, ...]:
    """Return how much each frame of a result differs from its clip.

    Raises:
        InvalidInputError: If either of them cannot be read.
    """
    size = reference.size_of(height=_HEIGHT)
    sides = [_with_side(side, view.frames(size)) for side, view in enumerate((result, reference))]
    changes: list[Change] = []
    meter, began = _Meter(size), time.monotonic()
    # At equal times the reference's frame goes first: the result's is measured against it.
    for at_s, side, frame in heapq.merge(*sides, key=lambda each: (each[0], -each[1])):
        changes += meter.take(side, frame, at_s)
        on_progress(
            Progress(
                done_s=float(at_s),
                total_s=result.length_s,
                frames=len(changes),
                elapsed_s=time.monotonic() - began,
            )
        )
    return (*changes, *meter.finish())


def most_changed(changes: Sequence[Change]) -> tuple[Change, ...]:
    """Return the moments of greatest change in order of time, none close to another."""
    moments: list[Change] = []
    for change in sorted(changes, key=lambda change: change.amount, reverse=True):
        is_close = any(abs(change.at_s - moment.at_s) < _MOMENT_GAP_S for moment in moments)
        if change.amount >= _LEAST_AMOUNT and not is_close:
            moments.append(change)
    return tuple(sorted(moments[:_MOST_MOMENTS]))


class _Meter:
    """FFmpeg's SSIM filter, for frames that arrive in order of time."""

    def __init__(self, size: FrameSize) -> None:
        kind = f"video_size={size.width}x{size.height}:pix_fmt=yuv420p:pixel_aspect=1/1"
        graph = self._graph = Graph()
        self._sources = [graph.add("buffer", f"{kind}:time_base={_TICK_S}") for _ in range(2)]
        ssim, self._sink = graph.add("ssim"), graph.add("buffersink")
        for side, source in enumerate(self._sources):
            source.link_to(ssim, 0, side)
        ssim.link_to(self._sink)
        graph.configure()

    def take(self, side: int, frame: "VideoFrame", at_s: Fraction) -> "Generator[Change]":
        frame.pts, frame.time_base = round(at_s / _TICK_S), _TICK_S
        self._sources[side].push(frame)
        yield from self._ready()

    def finish(self) -> "Generator[Change]":
        for source in self._sources:
            source.push(None)
        yield from self._ready()

    def _ready(self) -> "Generator[Change]":
        while True:
            try:
                frame = cast("VideoFrame", self._sink.pull())
            except (TryAgain, EndOfFile):
                return
            similarity = float(frame.metadata["lavfi.ssim.All"])
            yield Change(float((frame.pts or 0) * _TICK_S), max(0.0, 1 - similarity))


def _with_side(
    side: int, frames: "Iterable[tuple[VideoFrame, Fraction]]"
) -> "Generator[tuple[Fraction, int, VideoFrame]]":
    for frame, at_s in frames:
        yield at_s, side, frame
