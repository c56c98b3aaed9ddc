"""The output of `omniedit compare`: an HTML page that needs only its videos, or a picture.

Text from outside is escaped, and the page's content security policy allows no script but its own
and no network request.
"""

import base64
import hashlib
import io
import itertools
import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final

from omniedit.http.urls import without_secrets
from omniedit.media.facts import rate_name
from omniedit.models import VideoFacts
from omniedit.sanitize import sanitize
from omniedit.terminal.human import render_charge, render_size

if TYPE_CHECKING:
    from omniedit.edits.compare import ComparedVideo, Comparison

_TEMPLATE: Final = "page.html"
_PLACEHOLDER: Final = re.compile(r"\{\{(\w+)\}\}")
_BLOCK_BYTES: Final = 3 * 256 * 1024  # a multiple of 3: Base64 encodes groups of three bytes
_CAPTION_CHARACTERS: Final = 80
_MOST_SHOWN_BYTES: Final = 1000
"""The longest text, such as a prompt, so that the page of a pair stays below 15,000 bytes."""
_DIGITS: Final = 3
_LINE_STYLES: Final = ("solid", "dashed", "dotted")
"""How the page draws the curves, in turn."""


def page_chunks(
    comparison: "Comparison",
    addresses: Sequence[str | None],
    *,
    moments: Sequence[tuple[float, float]] = (),
) -> Iterator[bytes]:
    """Yield the page in chunks: an embedded video may have hundreds of megabytes.

    Args:
        comparison: The videos; the others are compared with the first.
        addresses: The address of each video relative to the page; None embeds it.
        moments: The times of the largest changes, and their amounts.
    """
    videos = comparison.videos
    plot, legend = _plot(videos, moments)
    template = Path(__file__).with_name(_TEMPLATE).read_text("utf-8")
    texts: dict[str, Iterable[str]] = {
        "style_digest": [_digest_of(template, "style")],
        "script_digest": [_digest_of(template, "script")],
        "title": [escape(" · ".join(map(_name_of, videos)))],
        "videos": itertools.chain.from_iterable(map(_figure, videos, addresses)),
        "plot": [plot],
        "changes": [legend],
        "details": [
            *map(_details, videos),
            *(f"<p>Not shown: {_shown(reason)}</p>\n" for reason in comparison.missing),
        ],
    }
    end = 0
    for match in _PLACEHOLDER.finditer(template):
        yield template[end : match.start()].encode()
        for text in texts[match[1]]:
            yield text.encode()
        end = match.end()
    yield template[end:].encode()


def print_picture(png: bytes) -> bool:
    """Print a picture as wide as the terminal; return whether the terminal supports pictures.

    It uses Kitty's graphics protocol or sixels. Standard input and output must be the terminal:
    importing the library queries its capabilities.
    """
    # The library divides by zero if the terminal's size is unknown, from 0.14 on when imported.
    if 0 in os.get_terminal_size():
        return False
    # The library warns if a terminal does not report its cell size, and assumes the usual one.
    logging.getLogger("textual_image").setLevel(logging.ERROR)
    from rich.console import Console
    from textual_image.renderable import Image, SixelImage, TGPImage

    if Image not in {SixelImage, TGPImage}:
        return False
    Console(file=sys.__stdout__).print(Image(io.BytesIO(png), width="100%", height="auto"))
    return True


def _digest_of(template: str, element: str) -> str:
    """Return the hash source of the page's one style or script (CSP 3, 2.3.1)."""
    content = template.partition(f"<{element}>")[2].partition(f"</{element}>")[0]
    digest = hashlib.sha256(content.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _name_of(video: "ComparedVideo") -> str:
    return sanitize(Path(video.file.path).name)


def _figure(video: "ComparedVideo", address: str | None) -> Iterator[str]:
    yield '<figure><video src="'
    if address is None:
        yield "data:video/mp4;base64,"
        with Path(video.file.path).open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                yield base64.b64encode(block).decode()
    else:
        yield escape(address)
    rate = video.file.facts.frame_rate if video.file.facts else None
    marks = {"from": video.from_s or None, "until": video.until_s, "fps": rate}
    given = "".join(
        f' data-{name}="{value:.6g}"' for name, value in marks.items() if value is not None
    )
    label = escape(_name_of(video))
    yield f'"{given} muted playsinline preload="auto" aria-label="{label}"></video>'
    caption = "the clip" if video.is_clip else ""
    if video.record is not None:
        caption = video.record.prompt or ""
    caption = sanitize(caption)[:_CAPTION_CHARACTERS]
    about = f" · <bdi>{escape(caption)}</bdi>" if caption else ""
    yield f"<figcaption>{label}{about}</figcaption></figure>\n"


def _plot(
    videos: "Sequence[ComparedVideo]", moments: Sequence[tuple[float, float]]
) -> tuple[str, str]:
    """Return a plot of the change over time, and its legend; empty if no change was measured.

    The plot is scaled to the maximum, and the script sets its width. The legend has buttons that
    seek to the largest changes.
    """
    plotted = [video for video in videos if video.changes]
    if not plotted:
        return "", ""
    highest = max(amount for video in plotted for _, amount in video.changes)
    scale = f"{highest:.{_DIGITS}f} (1 - SSIM)"
    shapes = ""
    names = [escape(_name_of(video)) for video in plotted]
    buttons = ""
    for video in plotted:
        points = (f"{at_s:.3f},{1 - amount / (highest or 1):.3f}" for at_s, amount in video.changes)
        shapes += f'<polyline points="{" ".join(points)}"/>'
    for at_s, amount in moments:
        shapes += f'<line x1="{at_s:.3f}" x2="{at_s:.3f}" y1="0" y2="1"/>'
        buttons += f'<button data-at="{at_s:.3f}">{at_s:.2f} s ({amount:.{_DIGITS}f})</button>'
    if len(names) > 1:
        styles = itertools.cycle(_LINE_STYLES)
        names = [f"{name} ({style})" for name, style in zip(names, styles, strict=False)]
    legend = f"Change from {escape(_name_of(videos[0]))} to {', '.join(names)}: at most {scale}"
    largest = f"; largest at {buttons}" if moments else ""
    label = f"Change over time, from 0 to {scale}"
    attributes = f'role="img" aria-label="{label}" viewBox="0 0 1 1" preserveAspectRatio="none"'
    return f"<svg {attributes}>{shapes}</svg>", f'<p class="row">{legend}{largest}</p>'


def _details(video: "ComparedVideo") -> str:
    rows = "".join(
        f"<dt>{term}</dt><dd>{_shown(text)}</dd>" for term, text in _facts_of(video) if text
    )
    return f"<section><h2>{escape(_name_of(video))}</h2><dl>{rows}</dl></section>\n"


def _facts_of(video: "ComparedVideo") -> Iterator[tuple[str, str]]:
    record = video.record
    yield "Clip", without_secrets(video.clip_address or "")
    if record is not None:
        yield "Prompt", record.prompt or ""
        yield "Model", record.shown_model or ""
        yield "Sound", video.file.sound
        yield "Credits", render_charge(record.task)
        yield "Task", record.task_id or ""
    yield "Made from", " ← ".join(video.parents)
    yield "Video", _format_of(video.file.facts)
    yield "Size", render_size(video.file.size_bytes)
    yield "SHA-256", video.file.sha256


def _format_of(facts: VideoFacts | None) -> str:
    """Return dimensions, frame rate and length, as far as they are known."""
    if facts is None:
        return ""
    rate = "" if facts.frame_rate is None else f", {rate_name(facts.frame_rate)} fps"
    length = "" if facts.duration_s is None else f", {facts.duration_s:.2f} s"
    return f"{facts.width}x{facts.height}{rate}{length}"


def _shown(text: str) -> str:
    """Return outside text, escaped for the page and shortened, with its line breaks kept."""
    shown = "\n".join(map(sanitize, text[:_MOST_SHOWN_BYTES].splitlines()))
    sizes = itertools.accumulate(len(escape(character).encode()) for character in shown)
    length = sum(size <= _MOST_SHOWN_BYTES for size in sizes)
    is_cut = length < len(shown) or len(text) > _MOST_SHOWN_BYTES
    return escape(shown[:length]) + ("…" if is_cut else "")
