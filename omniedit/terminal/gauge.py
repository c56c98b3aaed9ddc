"""The bar itself: a line that fills, with a soft light running along it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from operator import itemgetter
from typing import Final

from rich.color import Color
from rich.style import Style
from rich.text import Text

from omniedit.terminal.channel import ColourDepth
from omniedit.terminal.glyphs import Glyphs

_START: Final = (124, 92, 255)  # violet to teal: legible on white and on black
_END: Final = (20, 184, 166)
_LIGHT: Final = (235, 240, 255)
_GREY: Final = (128, 128, 128)
_GLOW: Final = 0.45
_LIGHT_WIDTH: Final = 3.0  # cells
_SWEEP_S: Final = 2.6  # one passage of the light
_SWING_S: Final = 3.2  # to and fro, while nothing is known
_FAINT: Final = 0.1
_STEPS: Final = 16  # shades; more would only make styles that nobody can tell apart

_RGB = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """Draws bars for one terminal."""

    glyphs: Glyphs
    depth: ColourDepth

    def filled(self, percent: float, *, width: int, now: float | None = None) -> Text:
        """Return a bar that is filled up to `percent`; at a time `now` with the light on it."""
        halves = int(width * 2 * min(100.0, percent) / 100)
        full, rest = divmod(halves, 2)
        bar = self.glyphs.filled * full + (self.glyphs.half if rest else "")
        if now is None:
            return self._drawn(bar, width, lambda _cell: 0.0)
        # The light enters and leaves outside of what is filled, so that it never jumps.
        reach = full + 6 * _LIGHT_WIDTH
        light = (now % _SWEEP_S) / _SWEEP_S * reach - 3 * _LIGHT_WIDTH

        def glow(cell: int) -> float:
            return _GLOW * math.exp(-(((cell - light) / _LIGHT_WIDTH) ** 2))

        return self._drawn(bar, width, glow)

    def swinging(self, *, width: int, now: float) -> Text:
        """Return a bar on which something moves to and fro, since nothing is known."""
        middle = (1 - math.cos(now % _SWING_S / _SWING_S * 2 * math.pi)) / 2 * (width - 1)
        if self.depth <= ColourDepth.BASIC:
            size = max(2, width // 6)
            start = min(width - size, max(0, round(middle - size / 2)))
            text = Text(self.glyphs.empty * start, self._track)
            text.append(self.glyphs.filled * size, self._plain_fill)
            return text.append(self.glyphs.empty * (width - size - start), self._track)
        spread = max(2.0, width / 8)
        text = Text()
        for cell in range(width):
            strength = math.exp(-(((cell - middle) / spread) ** 2))
            colour = _mixed(_GREY, _mixed(_START, _END, cell / width), strength)
            text.append(
                self.glyphs.filled if strength > _FAINT else self.glyphs.empty, _style(colour)
            )
        return text

    def _drawn(self, bar: str, width: int, glow: Callable[[int], float]) -> Text:
        if self.depth <= ColourDepth.BASIC:
            text = Text(bar, self._plain_fill)
        else:
            text = Text()
            hues = [_mixed(_START, _END, cell / max(1, width - 1)) for cell in range(len(bar))]
            shades = [_mixed(hue, _LIGHT, glow(cell)) for cell, hue in enumerate(hues)]
            for shade, cells in groupby(zip(shades, bar, strict=True), key=itemgetter(0)):
                text.append("".join(shape for _, shape in cells), _style(shade))
        return text.append(self.glyphs.empty * (width - len(bar)), self._track)

    @property
    def _plain_fill(self) -> str:
        return "cyan" if self.depth else ""

    @property
    def _track(self) -> str | Style:
        if not self.depth:
            return ""
        return "bright_black" if self.depth is ColourDepth.BASIC else _style(_GREY)


def _mixed(one: _RGB, other: _RGB, share: float) -> _RGB:
    """Return the colour between two, in few enough steps to be remembered."""
    share = round(share * _STEPS) / _STEPS
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


@cache
def _style(colour: _RGB) -> Style:
    return Style.from_color(Color.from_rgb(*colour))
