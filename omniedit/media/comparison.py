"""Compare clips: measure how much each moment changed, and draw a contact sheet."""

import heapq
import io
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from av.filter import Graph
from av.filter.context import FilterContext

from omniedit.errors import InvalidInputError
from omniedit.media.containers import OnProgress, ignore_progress, progress_to
from omniedit.media.filters import FrameSize, pulled
from omniedit.media.timeline import Part
from omniedit.media.video import shown_frames

if TYPE_CHECKING:
    from PIL import ImageDraw, ImageFont
    from PIL.Image import Image

_TICK_S: Final = Fraction(1, 90_000)
_MEASURED_HEIGHT: Final = 180
"""Frames are compared at this height: at full size SSIM would mostly measure encoder noise."""
_MOST_CHANGES: Final = 3
_CHANGE_GAP_S: Final = 0.5
_LEAST_AMOUNT: Final = 0.02
_SHEET_MOMENTS: Final = 8
_PICTURE_SIDE: Final = 240
_GAP: Final = 8
_FONT_SIZE: Final = 16
_LINE_HEIGHT: Final = _FONT_SIZE + 6
_AMPLIFICATION: Final = 4
_BACKGROUND: Final = (22, 22, 26)
_FOREGROUND: Final = (236, 236, 241)
_FONTS: Final = ("NotoSansCJK-Regular.ttc", "Arial Unicode.ttf", "msyh.ttc", "DejaVuSans.ttf")
"""Fonts for labels beyond ASCII; Pillow's own font has Latin glyphs only."""


class Change(NamedTuple):
    """How much one frame of a result differs from what its clip shows at that time."""

    at_s: float
    amount: float
    """1 - SSIM: 0 for the same picture."""


def measure_changes(
    reference: Part, result: Part, *, on_progress: OnProgress = ignore_progress
) -> tuple[Change, ...]:
    """Return how much each frame of a result differs from its clip."""
    aspect = reference.facts.shown_width / reference.facts.shown_height
    size = FrameSize(max(round(_MEASURED_HEIGHT * aspect / 2) * 2, 2), _MEASURED_HEIGHT)
    sides = [
        zip(shown_frames(result, size), repeat(0)),
        zip(shown_frames(reference, size), repeat(1)),
    ]
    changes: list[Change] = []
    graph, sources = _ssim_graph(size)
    report = progress_to(on_progress, total_s=result.length_s)
    # At equal times the reference's frame goes first: the result's is measured against it.
    for (frame, at_s), side in heapq.merge(*sides, key=lambda each: (each[0][1], -each[1])):
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
        is_close = any(abs(change.at_s - moment.at_s) < _CHANGE_GAP_S for moment in moments)
        if change.amount >= _LEAST_AMOUNT and not is_close:
            moments.append(change)
    return tuple(sorted(moments[:_MOST_CHANGES]))


class SheetRow(NamedTuple):
    """One video of a contact sheet."""

    part: Part
    label: str
    from_s: float
    """The position in the video at which the sheet begins."""


def draw_sheet(rows: Sequence[SheetRow]) -> bytes:
    """Return a PNG contact sheet: a row per video, and a row of differences for all but the first."""
    # Only a sheet needs Pillow.
    from PIL import Image, ImageDraw  # noqa: PLC0415

    total_s = max(float(row.part.length_s) - row.from_s for row in rows)
    moments = [total_s * (number + 0.5) / _SHEET_MOMENTS for number in range(_SHEET_MOMENTS)]
    pictures = [_pictures(row, moments) for row in rows]
    strips = [(row.label, shown) for row, shown in zip(rows, pictures, strict=True)]
    strips += [
        (f"difference, {_AMPLIFICATION}x: {row.label}", _differences(pictures[0], shown))
        for row, shown in zip(rows[1:], pictures[1:], strict=True)
    ]
    heights = [_LINE_HEIGHT + shown[0].height + _GAP for _, shown in strips]
    sheet = Image.new(
        "RGB",
        (_SHEET_MOMENTS * (_PICTURE_SIDE + _GAP) + _GAP, _LINE_HEIGHT + sum(heights) + _GAP),
        _BACKGROUND,
    )
    draw = ImageDraw.Draw(sheet)
    for number, moment in enumerate(moments):
        _write(draw, f"{moment:.2f} s", _GAP + number * (_PICTURE_SIDE + _GAP), _GAP)
    top = _GAP + _LINE_HEIGHT
    for (label, shown), height in zip(strips, heights, strict=True):
        _write(draw, label, _GAP, top)
        for number, picture in enumerate(shown):
            sheet.paste(picture, (_GAP + number * (_PICTURE_SIDE + _GAP), top + _LINE_HEIGHT))
        top += height
    content = io.BytesIO()
    sheet.save(content, "PNG")
    return content.getvalue()


def _ssim_graph(size: FrameSize) -> tuple[Graph, list[FilterContext]]:
    """Return FFmpeg's SSIM filter, for frames that arrive in order of time, and its two inputs."""
    graph = Graph()
    kind = f"video_size={size.width}x{size.height}:pix_fmt=yuv420p:pixel_aspect=1/1"
    sources = [graph.add("buffer", f"{kind}:time_base={_TICK_S}") for _ in range(2)]
    ssim = graph.add("ssim")
    for side, source in enumerate(sources):
        source.link_to(ssim, 0, side)
    graph.link_nodes(ssim, graph.add("buffersink")).configure()
    return graph, sources


def _measured(graph: Graph) -> Iterator[Change]:
    for frame in pulled(graph.pull):
        similarity = float(frame.metadata["lavfi.ssim.All"])
        yield Change(float((frame.pts or 0) * _TICK_S), max(0.0, 1 - similarity))


def _pictures(row: SheetRow, moments: Sequence[float]) -> "list[Image]":
    """Return the picture at each moment; the previous frame stands in for a damaged one."""
    part = row.part
    own = [moment + row.from_s for moment in moments]
    ticks = [part.start + int(Fraction(moment) / part.timeline.tick_s) for moment in own]
    # Outside the part, its first or last frame is shown.
    wanted = {part.timeline.shown_at(min(max(at, part.start), part.end - 1)) for at in ticks}
    shown = shown_frames(part, _size_of(part), only=wanted)
    found = [(at_s, cast("Image", cast("Any", frame).to_image())) for frame, at_s in shown]
    if not found:
        msg = f"no frame of {part.source} could be decoded: it is damaged"
        raise InvalidInputError(msg, code="damaged_clip")
    starts = [at_s for at_s, _ in found]
    return [found[max(0, bisect_right(starts, moment) - 1)][1] for moment in own]


def _differences(pictures: "Sequence[Image]", others: "Sequence[Image]") -> "list[Image]":
    from PIL import ImageChops, ImageEnhance, ImageOps  # noqa: PLC0415 - see `draw_sheet`

    differences = (
        ImageChops.difference(picture, ImageOps.fit(other, picture.size))
        for picture, other in zip(pictures, others, strict=True)
    )
    return [ImageEnhance.Brightness(each).enhance(_AMPLIFICATION) for each in differences]


def _size_of(part: Part) -> FrameSize:
    scale = _PICTURE_SIDE / max(part.facts.shown_width, part.facts.shown_height)

    def scaled(side: int) -> int:
        return max(2, round(side * scale / 2) * 2)

    return FrameSize(scaled(part.facts.shown_width), scaled(part.facts.shown_height))


def _write(draw: "ImageDraw.ImageDraw", text: str, left: int, top: int) -> None:
    draw.text((left, top), text, fill=_FOREGROUND, font=_font_for(text))


def _font_for(text: str) -> "ImageFont.ImageFont | ImageFont.FreeTypeFont":
    from PIL import ImageFont  # noqa: PLC0415 - see `draw_sheet`

    for name in () if text.isascii() else _FONTS:
        with suppress(OSError):
            return ImageFont.truetype(name, _FONT_SIZE)
    return ImageFont.load_default(_FONT_SIZE)
