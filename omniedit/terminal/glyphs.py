"""The shapes that bars are drawn with, and plainer ones for terminals that lack them."""

from dataclasses import astuple, dataclass
from typing import Final

from omniedit.terminal.channel import Channel


@dataclass(frozen=True, slots=True, kw_only=True)
class Glyphs:
    """One set of shapes, each one cell wide."""

    spinner: str
    filled: str
    half: str
    empty: str
    success: str
    failure: str
    separator: str


FINE: Final = Glyphs(
    spinner="⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏",
    filled="━",
    half="╾",
    empty="─",
    success="✓",
    failure="✗",
    separator="·",
)
PLAIN: Final = Glyphs(
    spinner="|/-\\",
    filled="#",
    half="",
    empty=".",
    success="+",
    failure="x",
    separator="-",
)


def glyphs_for(channel: Channel) -> Glyphs:
    """Return the finest shapes that `channel` can show."""
    return FINE if all(map(channel.can_show, astuple(FINE))) else PLAIN
