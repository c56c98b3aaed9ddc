"""Draw a contact sheet: a row of moments per video, and rows of differences from the first."""

import io
from bisect import bisect_right
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Final, NamedTuple

from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFont, ImageOps

from omniedit.errors import InvalidInputError
from omniedit.media.filters import FrameSize
from omniedit.media.timeline import Part
from omniedit.media.video import shown_frames

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

MOMENTS: Final = 8
_SIDE: Final = 240
_GAP: Final = 8
_TEXT: Final = 16
_LINE: Final = _TEXT + 6
_AMPLIFIED: Final = 4
_BACKGROUND: Final = (22, 22, 26)
_FOREGROUND: Final = (236, 236, 241)
_FONTS: Final = ("NotoSansCJK-Regular.ttc", "Arial Unicode.ttf", "msyh.ttc", "DejaVuSans.ttf")
"""Fonts for labels beyond ASCII; Pillow's own font has Latin glyphs only."""


class Row(NamedTuple):
    """One video of a contact sheet."""

    part: Part
    label: str
    from_s: float
    """The position in the video at which the sheet begins."""


def draw_sheet(rows: Sequence[Row]) -> bytes:
    """Return a PNG contact sheet: a row per video, and a row of differences for all but the first.

    Raises:
        InvalidInputError: If a video cannot be read.
    """
    total_s = max(float(row.part.span.length_s) - row.from_s for row in rows)
    moments = [total_s * (number + 0.5) / MOMENTS for number in range(MOMENTS)]
    pictures = [_pictures(row, moments) for row in rows]
    strips = [(row.label, shown) for row, shown in zip(rows, pictures, strict=True)]
    strips += [
        (f"difference, {_AMPLIFIED}x: {row.label}", _differences(pictures[0], shown))
        for row, shown in zip(rows[1:], pictures[1:], strict=True)
    ]
    heights = [_LINE + shown[0].height + _GAP for _, shown in strips]
    sheet = Image.new(
        "RGB", (MOMENTS * (_SIDE + _GAP) + _GAP, _LINE + sum(heights) + _GAP), _BACKGROUND
    )
    draw = ImageDraw.Draw(sheet)
    for number, moment in enumerate(moments):
        _write(draw, f"{moment:.2f} s", _GAP + number * (_SIDE + _GAP), _GAP)
    top = _GAP + _LINE
    for (label, shown), height in zip(strips, heights, strict=True):
        _write(draw, label, _GAP, top)
        for number, picture in enumerate(shown):
            sheet.paste(picture, (_GAP + number * (_SIDE + _GAP), top + _LINE))
        top += height
    content = io.BytesIO()
    sheet.save(content, "PNG")
    return content.getvalue()


def _pictures(row: Row, moments: Sequence[float]) -> list[Image.Image]:
    """Return the picture at each moment; the previous frame stands in for a damaged one."""
    part, own = row.part, [moment + row.from_s for moment in moments]
    span, timeline = part.span, part.timeline
    ticks = [span.start + int(Fraction(moment) / span.tick_s) for moment in own]
    # Outside the span, the first or last frame is shown.
    wanted = {timeline.shown_at(min(max(at, span.start), span.end - 1)) for at in ticks}
    shown = shown_frames(part, _size_of(part), only=wanted)
    found = [(at_s, _image_of(frame)) for frame, at_s in shown]
    if not found:
        msg = f"no frame of {part.source} could be decoded: it is damaged"
        raise InvalidInputError(msg, code="damaged_clip")
    starts = [at_s for at_s, _ in found]
    return [found[max(0, bisect_right(starts, moment) - 1)][1] for moment in own]


def _differences(
    pictures: Sequence[Image.Image], others: Sequence[Image.Image]
) -> list[Image.Image]:
    differences = (
        ImageChops.difference(picture, ImageOps.fit(other, picture.size))
        for picture, other in zip(pictures, others, strict=True)
    )
    return [ImageEnhance.Brightness(each).enhance(_AMPLIFIED) for each in differences]


def _image_of(frame: "VideoFrame") -> Image.Image:
    shown = frame.reformat(format="rgb24")
    plane = shown.planes[0]
    size = (shown.width, shown.height)
    return Image.frombytes("RGB", size, bytes(plane), "raw", "RGB", plane.line_size)


def _size_of(part: Part) -> FrameSize:
    width, height = part.facts.shown_width, part.facts.shown_height
    scale = _SIDE / max(width, height)
    return FrameSize(
        width=max(2, round(width * scale / 2) * 2), height=max(2, round(height * scale / 2) * 2)
    )


def _write(draw: ImageDraw.ImageDraw, text: str, left: int, top: int) -> None:
    draw.text((left, top), text, fill=_FOREGROUND, font=_font_for(text))


def _font_for(text: str) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    for name in () if text.isascii() else _FONTS:
        try:
            return ImageFont.truetype(name, _TEXT)
        except OSError:
            continue
    return ImageFont.load_default(_TEXT)
