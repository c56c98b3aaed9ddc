"""What a run made, as a table of Markdown for the summary of a CI job."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from omniedit.errors import OmniEditError
from omniedit.models import TaskStatus
from omniedit.sanitize import sanitize
from omniedit.terminal.documents import Document
from omniedit.terminal.human import clip_name, render_amount
from omniedit.terminal.text import truncate

_LONGEST_PROMPT: Final = 80
_NOTHING: Final = "-"
_ACTIVE: Final = re.compile(r"[&<>|\\`*_\[\]~$@#!:{}]")
"""What Markdown, HTML, or GitHub's own additions to them may take for more than text."""
_HEADER: Final = "| clip | prompt | state | credits | file |\n| --- | --- | --- | --- | --- |\n"


def render_summary(documents: Sequence[Document], error: OmniEditError | None) -> str:
    """Return a table with a row for each task, or one that says why there is none.

    Args:
        documents: Of the tasks.
        error: What ended the run, if anything did.
    """
    rows = [_row(document) for document in documents]
    if not rows:
        state = error.message if error else "nothing to do"
        rows = [(_NOTHING, _NOTHING, state, _NOTHING, _NOTHING)]
    lines = ("| " + " | ".join(map(_cell, row)) + " |\n" for row in rows)
    return f"\n{_HEADER}{''.join(lines)}\n"


def _row(document: Document) -> tuple[str, ...]:
    video, prompt, failure = document["video"], document["prompt"], document["error"]
    saved = document["saved"]
    state = document["status"] or _NOTHING
    if failure is not None:
        state += f" ({failure['code']})"
    return (
        clip_name(video) or _NOTHING,
        truncate(" ".join((prompt or _NOTHING).split()), _LONGEST_PROMPT),
        state,
        _credits(document),
        _shown_path(saved[-1]["path"]) if saved else _NOTHING,
    )


def _credits(document: Document) -> str:
    if document["credits_used"] is not None:
        return render_amount(document["credits_used"])
    if document["status"] in {TaskStatus.FAILED, TaskStatus.CANCELLED}:
        return "0"
    if document["credits_reserved"] is not None:
        return f"{render_amount(document['credits_reserved'])} reserved"
    return "unknown" if document["task_id"] else _NOTHING


def _shown_path(path: str) -> str:
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path


def _cell(text: str) -> str:
    """Return a text that stays one, in its cell."""
    plain = " ".join(sanitize(text).split())
    return _ACTIVE.sub(lambda match: f"&#{ord(match[0])};", plain)
