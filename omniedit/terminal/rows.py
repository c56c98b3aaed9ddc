"""One line of the screen, composed of pieces, the least missed left out where it is narrow."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from rich.text import Text

from omniedit.terminal.cells import cell_width

_ROOMY: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A fixed text in a line."""

    text: str
    rank: int
    """The lowest rank is left out first; 9 never."""
    style: str = ""

    @property
    def width(self) -> int:
        """How many cells it needs."""
        return cell_width(self.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A part of a line that takes what room the others leave."""

    draw: Callable[[int], Text]
    rank: int
    width: int
    """At least."""
    most: int


def compose(pieces: Sequence[Piece | Stretch], width: int) -> Text:
    """Return the pieces in one line of at most `width` cells."""
    gap = 2 if width >= _ROOMY else 1
    kept = [piece for piece in pieces if piece.width]
    while _needed(kept, gap) > width and any(piece.rank < 9 for piece in kept):  # noqa: PLR2004
        kept.remove(min(kept, key=lambda piece: piece.rank))
    spare = width - _needed(kept, gap)
    line = Text()
    for piece in kept:
        if line.plain:
            # The first piece is a mark of one cell that belongs to the second.
            line.append(" " * (gap if line.cell_len > 1 else 1))
        if isinstance(piece, Piece):
            line.append(piece.text, piece.style)
        else:
            line.append_text(piece.draw(min(piece.most, piece.width + max(0, spare))))
    line.truncate(max(0, width))
    return line


def _needed(pieces: Sequence[Piece | Stretch], gap: int) -> int:
    return sum(piece.width for piece in pieces) + gap * max(0, len(pieces) - 1)
