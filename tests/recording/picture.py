"""A recording as one animated SVG without scripts, fonts or external resources."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from rich.color import blend_rgb
from rich.style import Style
from rich.terminal_theme import TerminalTheme

from tests.recording.screen import COLUMNS, CURSOR, Cell, Frame

_CELL: Final = 9
_LINE: Final = 20
_BASELINE: Final = 15
_MARGIN: Final = 16
_FONT: Final = "15px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace"
_DIMMED: Final = 0.35
# The colours of GitHub's dark pages; the border makes the picture stand out on them as well.
_BORDER: Final = "#3d444d"
_THEME: Final = TerminalTheme(
    (13, 17, 23),
    (209, 215, 224),
    [
        (101, 108, 118),
        (255, 123, 114),
        (63, 185, 80),
        (210, 153, 34),
        (88, 166, 255),
        (188, 140, 255),
        (57, 197, 207),
        (209, 215, 224),
    ],
)
# Fonts may leave gaps between these characters, so they are drawn as bars. Each bar is given by its
# start and end in the cell, and its thickness.
_DRAWN: Final = {
    "─": ((0, 9, 1),),
    "━": ((0, 9, 3),),
    "╸": ((0, 5, 3),),
    "╾": ((0, 5, 3), (5, 9, 1)),
    CURSOR: ((0, 9, 17),),
}
_LETTERS: Final = "".join(_DRAWN)
# Pieces end at more than one space, because every piece has its own position.
_PIECE: Final = re.compile(rf"(?P<drawn>[{_LETTERS}]+)|[^ {_LETTERS}]+(?: [^ {_LETTERS}]+)*")


def draw(frames: Sequence[Frame], *, title: str, length_s: float) -> str:
    """Return the picture of a recording.

    Each line of the terminal is a strip of all its contents, one below the other, which moves
    behind a window. The final content comes first, so that it is visible without animation.

    Args:
        frames: The frames, in order.
        title: The title for screen readers.
        length_s: The duration, after which the animation repeats.
    """
    height = max(len(frame.lines) for frame in frames)
    root, style = _canvas(COLUMNS * _CELL + 2 * _MARGIN, height * _LINE + 2 * _MARGIN, title)
    animation = f".line{{animation:{length_s:g}s step-end infinite}}"
    rules = [
        f"svg{{font:{_FONT};fill:{_THEME.foreground_color.hex}}}",
        f"@media (prefers-reduced-motion:no-preference){{{animation}}}",
    ]
    classes: dict[str, str] = {}
    for number in range(height):
        changes = [*_changes(frames, number)]
        strip = [*dict.fromkeys([changes[-1][1], *(cells for _, cells in changes)])]
        name = f"line-{number + 1}"
        _add_strip(_window(root, number, name), strip, classes)
        moves = "".join(
            f"{100 * start_s / length_s:.4g}%"
            f"{{transform:translateY({-_LINE * strip.index(cells)}px)}}"
            for start_s, cells in changes
        )
        rules += [f"#{name}{{animation-name:{name}}}", f"@keyframes {name}{{{moves}}}"]
    rules += [f".{name}{{{look}}}" for look, name in sorted(classes.items())]
    style.text = "\n".join(["", *rules, ""])
    ET.indent(root, "")
    return ET.tostring(root, "unicode") + "\n"


def _changes(frames: Sequence[Frame], number: int) -> Iterator[tuple[float, tuple[Cell, ...]]]:
    before = None
    for start_s, lines in frames:
        cells = lines[number] if number < len(lines) else ()
        if cells != before:
            yield start_s, cells
        before = cells


def _canvas(width: int, height: int, title: str) -> tuple[ET.Element, ET.Element]:
    root = ET.Element("svg", {"xmlns": "http://www.w3.org/2000/svg"})
    root.attrib |= {"viewBox": f"0 0 {width} {height}", "width": f"{width}", "height": f"{height}"}
    root.attrib |= {"role": "img", "aria-labelledby": "title"}
    _add(root, "title", id="title").text = title
    style = _add(root, "style")
    background = _add(root, "rect", x=0.5, y=0.5, width=width - 1, height=height - 1, rx=8)
    background.attrib |= {"fill": _THEME.background_color.hex, "stroke": _BORDER}
    return root, style


def _window(root: ET.Element, number: int, name: str) -> ET.Element:
    top = _MARGIN + number * _LINE
    window = _add(root, "svg", x=_MARGIN, y=top, width=COLUMNS * _CELL, height=_LINE)
    line = _add(window, "g", id=name)
    line.set("class", "line")
    return line


def _add_strip(line: ET.Element, strip: Sequence[Sequence[Cell]], classes: dict[str, str]) -> None:
    for number, cells in enumerate(strip):
        group = _add(line, "g")
        for look, text, column in _pieces(cells):
            left, top = column * _CELL, number * _LINE
            if text[0] in _DRAWN:
                element = _add(group, "path", d=_path(left, top, text))
            else:
                width = len(text) * _CELL
                element = _add(group, "text", x=left, y=top + _BASELINE, textLength=width)
                element.text = text
            if look:
                # Named after its rules, so that a new recording changes few lines of the file.
                name = "-".join(["c", *re.findall(r"(?<=#)\w+|bold", look)])
                element.set("class", classes.setdefault(look, name))


def _pieces(cells: Sequence[Cell]) -> Iterator[tuple[str, str, int]]:
    column = 0
    for look, same in groupby(cells, lambda cell: _look(cell.style)):
        text = "".join(cell.letter for cell in same)
        for piece in _PIECE.finditer(text):
            yield look, piece[0], column + piece.start()
        column += len(text)


def _path(left: int, top: int, letters: str) -> str:
    bars: list[tuple[int, int, int]] = []
    for number, letter in enumerate(letters):
        for begin, end, thickness in _DRAWN[letter]:
            bar = (left + number * _CELL + begin, left + number * _CELL + end, thickness)
            if bars and bars[-1][1:] == (bar[0], thickness):
                bar = (bars.pop()[0], *bar[1:])
            bars.append(bar)
    return "".join(
        # Centred on the letters, whose middle is below that of the cell.
        f"M{begin} {top + (_LINE + 2 - thickness) // 2}h{end - begin}v{thickness}H{begin}z"
        for begin, end, thickness in bars
    )


def _look(style: Style) -> str:
    """Return the style as CSS; empty for the default style."""
    if style.bgcolor or style.reverse or style.underline or style.italic:
        raise ValueError(f"no picture yet of {style}")
    colour = style.color.get_truecolor(_THEME) if style.color else _THEME.foreground_color
    if style.dim:
        colour = blend_rgb(colour, _THEME.background_color, _DIMMED)
    rules = [f"fill:{colour.hex}"] if colour != _THEME.foreground_color else []
    return ";".join([*rules, *(["font-weight:bold"] if style.bold else [])])


def _add(parent: ET.Element, tag: str, **attributes: object) -> ET.Element:
    return ET.SubElement(parent, tag, {name: f"{value}" for name, value in attributes.items()})
