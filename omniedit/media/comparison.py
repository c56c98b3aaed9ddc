"""Measure how much a result differs from its clip, moment by moment."""

import heapq
from collections.abc import Generator, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Final, NamedTuple

from av.filter import Graph

from omniedit.media.filters import FrameSize, pulled
from omniedit.media.mux import OnProgress, ignore_progress, progress_to
from omniedit.media.timeline import Part
from omniedit.media.video import shown_frames

if TYPE_CHECKING:
    from av.filter.context import FilterContext
    from av.video.frame import VideoFrame

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


def measure_changes(
    reference: Part, result: Part, *, on_progress: OnProgress = ignore_progress
) -> tuple[Change, ...]:
    """Return how much each frame of a result differs from its clip.

    Raises:
        InvalidInputError: If either of them cannot be read.
    """
    aspect = reference.facts.shown_width / reference.facts.shown_height
    size = FrameSize(width=max(round(_HEIGHT * aspect / 2) * 2, 2), height=_HEIGHT)
    sides = [_with_side(side, part, size) for side, part in enumerate((result, reference))]
    changes: list[Change] = []
    graph, sources = _ssim_graph(size)
    report = progress_to(on_progress, total_s=result.span.length_s)
    # At equal times the reference's frame goes first: the result's is measured against it.
    for at_s, side, frame in heapq.merge(*sides, key=lambda each: (each[0], -each[1])):
        frame.pts, frame.time_base = round(at_s / _TICK_S), _TICK_S
        sources[side].push(frame)
        changes += _measured(graph)
        report(at_s, len(changes))
    graph.push(None)
    return (*changes, *_measured(graph))


def most_changed(changes: Sequence[Change]) -> tuple[Change, ...]:
    """Return the moments of greatest change in order of time, none close to another."""
    moments: list[Change] = []
    for change in sorted(changes, key=lambda change: change.amount, reverse=True):
        is_close = any(abs(change.at_s - moment.at_s) < _MOMENT_GAP_S for moment in moments)
        if change.amount >= _LEAST_AMOUNT and not is_close:
            moments.append(change)
    return tuple(sorted(moments[:_MOST_MOMENTS]))


def _ssim_graph(size: FrameSize) -> "tuple[Graph, list[FilterContext]]":
    """Return FFmpeg's SSIM filter, for frames that arrive in order of time, and its two inputs."""
    graph = Graph()
    kind = f"video_size={size.width}x{size.height}:pix_fmt=yuv420p:pixel_aspect=1/1"
    sources = [graph.add("buffer", f"{kind}:time_base={_TICK_S}") for _ in range(2)]
    ssim = graph.add("ssim")
    for side, source in enumerate(sources):
        source.link_to(ssim, 0, side)
    graph.link_nodes(ssim, graph.add("buffersink")).configure()
    return graph, sources


def _measured(graph: Graph) -> "Generator[Change]":
    for frame in pulled(graph.pull):
        similarity = float(frame.metadata["lavfi.ssim.All"])
        yield Change(float((frame.pts or 0) * _TICK_S), max(0.0, 1 - similarity))


def _with_side(
    side: int, part: Part, size: FrameSize
) -> "Generator[tuple[Fraction, int, VideoFrame]]":
    for frame, at_s in shown_frames(part, size):
        yield at_s, side, frame
