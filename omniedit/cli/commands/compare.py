"""`omniedit compare`: a clip and its edits side by side, as a page or a picture."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import quote

import typer

from omniedit.cli.context import Context, Outcome
from omniedit.cli.options import Force, can_ask
from omniedit.cli.parser import OUTPUT, option
from omniedit.errors import refuse
from omniedit.journal import JournalUse
from omniedit.sanitize import sanitize
from omniedit.settings import KEY_VARIABLES
from omniedit.system.files import absolute_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from omniedit.edits.compare import ComparedVideo, Comparison
    from omniedit.media.comparison import Change
    from omniedit.models import SavedFile
    from omniedit.terminal.documents import Document

EXAMPLES: Final = """
omniedit compare --open
omniedit compare clip.mp4 warm.mp4 cold.mp4 -o looks.html
"""
_MOST_EMBEDDED_BYTES: Final = 256 * 1024 * 1024
_PAGE: Final = ".html"
_SHEET: Final = ".png"


def compare(
    ctx: typer.Context,
    videos: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TASK|FILE]...",
            help="Tasks, each with its clip; or files, compared with the first of them"
            " (default: the newest saved edit).",
        ),
    ] = None,
    *,
    output: Annotated[
        str | None,
        option(
            "--output -o PATH",
            "PAGE.html (default: beside the first result) or SHEET.png (8 moments of each).",
            OUTPUT,
        ),
    ] = None,
    embed: Annotated[
        bool, option("--embed", "Embed the videos in the page (at most 256 MiB in all).", OUTPUT)
    ] = False,
    opens: Annotated[bool, option("--open", "Open it in the browser.", OUTPUT)] = False,
    shows: Annotated[
        bool, option("--show", "Also draw 8 moments of each on the terminal.", OUTPUT)
    ] = False,
    force: Force = False,
) -> Outcome:
    """Show a clip and its edits, side by side and in step.

    The page is one file beside its videos, and needs no network. A clip behind a URL, or an unsaved
    result, is fetched once to make it.
    """
    from omniedit.cli.page import print_picture
    from omniedit.edits.compare import find_videos, measured

    context: Context = ctx.obj
    target = None if output is None else _checked(output, overwrite=force)
    is_sheet = target is not None and target.suffix.lower() == _SHEET
    if is_sheet and embed:
        refuse("--embed puts videos into a page, not into a picture")
    if shows and not (can_ask(context) and context.printer.stdout_width):
        refuse("--show requires a terminal to draw on", hint="`-o SHEET.png` writes the picture")
    with context.session(JournalUse.OPTIONAL) as session:
        folder = None if target is None else absolute_path(target).parent
        comparison = find_videos(session, videos or [], folder=folder)
        target = target or _checked(str(_default_target(comparison)), overwrite=force)
        _check_size(comparison, embeds=embed)
        for reason in comparison.missing:
            context.printer.warn(reason)
        sheet = _sheet(comparison) if is_sheet or shows else b""
        if is_sheet:
            chunks = iter([sheet])
        else:
            comparison = measured(session, comparison)
            chunks = _page(comparison, target, embeds=embed)
        written = session.placement().write_content(target, "compare", chunks, overwrite=force)
    context.printer.path(output or str(target))
    if shows and not print_picture(sheet):
        advice = "`-o SHEET.png` writes one to a file"
        context.printer.warn(f"this terminal cannot show pictures: {advice}")
    if opens:
        _open(context, written)
    return Outcome(fields=_fields(comparison, written))


def _checked(output: str, *, overwrite: bool) -> Path:
    """Return the target's path, after checking that it can be written."""
    from omniedit.downloads.placement import check_writable

    if Path(output).suffix.lower() not in {_PAGE, _SHEET}:
        refuse(
            f"{output} is neither a page nor a picture",
            hint="a page ends in .html, a picture in .png",
        )
    check_writable(Path(output), overwrite=overwrite)
    return Path(output)


def _default_target(comparison: "Comparison") -> Path:
    results = [video for video in comparison.videos if video.record is not None]
    path = Path((results or comparison.videos[1:])[0].file.path)
    target = path.with_name(f"{path.stem}-compare{_PAGE}")
    return Path(target.name) if target.parent == absolute_path(Path()) else target


def _check_size(comparison: "Comparison", *, embeds: bool) -> None:
    total = sum(video.file.size_bytes for video in comparison.videos)
    if embeds and total > _MOST_EMBEDDED_BYTES:
        message = f"the videos have {total} bytes, and a page holds at most {_MOST_EMBEDDED_BYTES}"
        refuse(message, code="too_large", hint="leave `--embed` out")


def _page(comparison: "Comparison", target: Path, *, embeds: bool) -> "Iterator[bytes]":
    from omniedit.cli.page import page_chunks

    folder = absolute_path(target).parent
    addresses = [
        None if embeds else _address(video.file.path, folder) for video in comparison.videos
    ]
    return page_chunks(comparison, addresses, moments=_moments(comparison))


def _sheet(comparison: "Comparison") -> bytes:
    from omniedit.media import require_extra

    require_extra("inspecting clips", "PIL")
    from omniedit.media.comparison import SheetRow, draw_sheet
    from omniedit.media.probing import read_clip

    rows = [
        SheetRow(
            read_clip(Path(video.file.path)).cut(None, video.until_s),
            _label_of(video),
            video.from_s,
        )
        for video in comparison.videos
    ]
    return draw_sheet(rows)


def _label_of(video: "ComparedVideo") -> str:
    """Return what the picture calls a video: its file name and, if known, the prompt."""
    words = [Path(video.file.path).name]
    if video.record is not None and video.record.prompt:
        words.append(video.record.prompt)
    return sanitize(" ".join(words))


def _address(path: str, folder: Path) -> str:
    """Return the address of a video relative to the page, percent-encoded."""
    try:
        relative = os.path.relpath(path, folder)
    except ValueError:
        # On another drive of Windows there is no relative path.
        return Path(path).as_uri()
    return quote(os.fsencode(relative.replace(os.sep, "/")))


def _moments(comparison: "Comparison") -> "tuple[Change, ...]":
    changes = [change for video in comparison.videos for change in video.changes]
    if not changes:
        return ()
    from omniedit.media.comparison import most_changed

    return most_changed(changes)


def _open(context: Context, page: "SavedFile") -> None:
    import webbrowser

    # The browser inherits the environment, and must not get the key.
    for name in KEY_VARIABLES:
        os.environ.pop(name, None)
    if not webbrowser.open(Path(page.path).as_uri()):
        context.printer.warn("no browser was found to open the page")


def _fields(comparison: "Comparison", page: "SavedFile") -> "Document":
    from omniedit.terminal.documents import content_document

    return {
        "output": content_document(page),
        "videos": [
            {
                **content_document(video.file),
                "task_id": video.record.task_id if video.record else None,
                "parents": list(video.parents),
                "similarity": _similarity(video.changes),
            }
            for video in comparison.videos
        ],
        "moments": [
            {"seconds": round(change.at_s, 3), "similarity": round(1 - change.amount, 6)}
            for change in _moments(comparison)
        ],
        "missing": list(comparison.missing),
    }


def _similarity(changes: "tuple[Change, ...]") -> float | None:
    """Return the mean SSIM between a video and the first one; None if it was not measured."""
    if not changes:
        return None
    return round(1 - sum(change.amount for change in changes) / len(changes), 6)
