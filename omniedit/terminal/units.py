"""Durations, sizes, credits and moments, as people read them."""

from datetime import UTC, datetime
from typing import Final

from omniedit.models import CREDITS_PER_DOLLAR

_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_DAY_S: Final = 86400
_KILO: Final = 1000


def render_duration(seconds: float) -> str:
    """Return `58s`, `1m05s`, `3h07m` or `2d04h`: two units at most, one word."""
    total = max(0, int(seconds))
    if total < _MINUTE_S:
        return f"{total}s"
    if total < _HOUR_S:
        return f"{total // _MINUTE_S}m{total % _MINUTE_S:02d}s"
    if total < _DAY_S:
        return f"{total // _HOUR_S}h{total % _HOUR_S // _MINUTE_S:02d}m"
    return f"{total // _DAY_S}d{total % _DAY_S // _HOUR_S:02d}h"


def render_clock(seconds: float) -> str:
    """Return `0:58`, `1:05` or `3:07:09`: digits that stay in place while they count."""
    total = max(0, int(seconds))
    minutes, second = divmod(total, _MINUTE_S)
    hours, minute = divmod(minutes, _MINUTE_S)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def render_size(size_bytes: float) -> str:
    """Return `812 B`, `2.1 MB` or `95 MB` (a kB is 1,000 bytes)."""
    size = float(size_bytes)
    if size < _KILO:
        return f"{int(size)} B"
    for unit in ("kB", "MB", "GB"):
        size /= _KILO
        # 9.96 would be shown as 10.0, and 999.7 as 1000.
        if size < 9.95:  # noqa: PLR2004
            return f"{size:.1f} {unit}"
        if size < _KILO - 0.5:
            return f"{size:.0f} {unit}"
    return f"{size / _KILO:.1f} TB"


def render_credits(amount: float) -> str:
    """Return `64.2 credits (about $0.94)`."""
    number = f"{amount:,.1f}".removesuffix(".0")
    unit = "credit" if number == "1" else "credits"
    return f"{number} {unit} (about ${amount / CREDITS_PER_DOLLAR:,.2f})"


def render_moment(unix_s: float) -> str:
    """Return `2026-09-06 14:03 UTC`."""
    try:
        moment = datetime.fromtimestamp(unix_s, UTC)
    except (OverflowError, ValueError, OSError):
        return "at an unknown time"
    return f"{moment:%Y-%m-%d %H:%M} UTC"
