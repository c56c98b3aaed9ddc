"""Text measured in terminal cells: a Chinese character takes two."""

from typing import Final

ELLIPSIS: Final = "…"


def cell_width(text: str) -> int:
    """Return how many terminal cells `text` takes."""
    if text.isascii():
        return len(text)
    # Only here, since the tables behind it cost as much to import as a whole listing.
    from rich.cells import cell_len  # noqa: PLC0415

    return cell_len(text)


def keep_start(text: str, width: int) -> str:
    """Return `text`, its end cut off where it takes more than `width` cells."""
    if cell_width(text) <= width:
        return text
    return _fitting(text, width - 1) + ELLIPSIS if width > 0 else ""


def keep_end(text: str, width: int) -> str:
    """Return `text`, its start cut off where it takes more than `width` cells."""
    if cell_width(text) <= width:
        return text
    return ELLIPSIS + _fitting(text[::-1], width - 1)[::-1] if width > 0 else ""


def _fitting(text: str, width: int) -> str:
    """Return the longest start of `text` that takes `width` cells at most."""
    kept = text[:width]
    while cell_width(kept) > width:
        kept = kept[:-1]
    return kept
