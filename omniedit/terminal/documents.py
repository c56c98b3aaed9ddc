"""The JSON documents that scripts read, and the summary table of a CI job.

The keys of a document are guaranteed and never omitted.
"""

import json
import math
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from omniedit.errors import OmniEditError, OutcomeUnknownError
from omniedit.events import (
    Completed,
    Event,
    Failed,
    LineFailed,
    Progressed,
    Retrying,
    Saved,
    Stalled,
    Submitted,
)
from omniedit.models import AttemptState, Record, SavedFile, TaskError, TaskStatus
from omniedit.sanitize import sanitize
from omniedit.schemas import instant, video_fields
from omniedit.terminal.human import (
    advice_on,
    failure_of,
    render_amount,
    render_clip,
)
from omniedit.terminal.streams import truncate

if TYPE_CHECKING:
    from omniedit.terminal.board import Board

SCHEMA: Final = 1

_LONGEST_PROMPT: Final = 80
_NOTHING: Final = "-"
_UNKNOWN: Final = "unknown"
_ACTIVE_IN_MARKDOWN: Final = re.compile(r"[&<>|\\`*_\[\]~$@#!:{}]")
"""Characters with a meaning in Markdown, HTML, or GitHub's extensions of them."""
_SUMMARY_HEADER: Final = (
    "| clip | prompt | state | credits | file |\n| --- | --- | --- | --- | --- |\n"
)

Document: TypeAlias = dict[str, Any]


def envelope(*, ok: bool, sandbox: bool, **fields: object) -> Document:
    """Return a command's document: the common keys, then the command's own."""
    return {"schema": SCHEMA, "ok": ok, "sandbox": sandbox, **fields}


def task_document(record: Record) -> Document:
    """Return the task document of an edit: everything known about it."""
    task = record.task
    return {
        "task_id": record.task_id,
        "status": record.status,
        "progress": task.progress if task else None,
        "model": record.shown_model,
        "created_at": instant(_created_at(record)),
        "estimated_seconds": task.estimated_s if task else None,
        "credits_reserved": task.credits_reserved if task else None,
        "credits_used": task.credits_used if task else None,
        "video": record.shown_video,
        "prompt": record.prompt,
        "request_id": record.request_id,
        "parent": record.parent,
        "sound": record.saved[-1].sound if record.saved else None,
        "results": list(task.result_urls) if task else [],
        "link_valid_until": instant(record.link_valid_until),
        "saved": _saved_documents(record.saved),
        "error": task_error_document(failure_of(record), is_refused=record.is_refused),
        "raw": task.raw if task else None,
    }


def saved_document(file: SavedFile, *, served: SavedFile | None = None) -> Document:
    """Return everything known about a result; `served` is the file as served, if kept separately."""
    return _file_document(file) | {"served": _file_document(served) if served else None}


def content_document(file: SavedFile) -> Document:
    """Return a file's path, and the size and digest that verify it."""
    return {"path": file.path, "bytes": file.size_bytes, "sha256": file.sha256}


def task_error_document(error: TaskError | None, *, is_refused: bool = False) -> Document | None:
    """Return why a task failed, or why a submission was refused if `is_refused`."""
    if error is None:
        return None
    return {
        "code": error.code,
        "message": error.message,
        "retryable": error.is_retryable or (is_refused and error.is_temporary),
        "hint": advice_on(error),
    }


def error_document(error: OmniEditError, *, exit_status: int, hint: str | None = None) -> Document:
    """Return why a command failed, for the key `error` of its document."""
    return {
        "code": error.code,
        "message": error.message,
        "hint": error.hint if hint is None else hint,
        "exit_status": exit_status,
        "task_id": error.task_id,
        "request_id": error.request_id,
        "http_status": error.http_status,
    }


def json_text(document: Mapping[str, Any], *, indent: int | None = None) -> str:
    """Return a document as ASCII JSON, even if it holds unusual values from the service.

    NaN and infinity become null, and so does a `raw` that is nested too deeply.
    """
    try:
        text = json.dumps(document, indent=indent, allow_nan=False)
    except (ValueError, RecursionError):
        text = json.dumps(_serialisable(document), indent=indent)
    # DEL is the one control character that JSON does not escape.
    return text.replace("\x7f", "\\u007f")


def event_line(
    name: str, task_id: str | None = None, *, at: float, sandbox: bool, **fields: object
) -> Document:
    """Return a line of NDJSON: the common keys, then the event's own."""
    moment = instant(at, timespec="milliseconds")
    common = {"schema": SCHEMA, "event": name, "at": moment, "sandbox": sandbox}
    return {**common, "task_id": task_id, **fields}


def event_document(event: Event, *, at: float, sandbox: bool) -> Document | None:  # noqa: C901, PLR0912 - one case per event
    """Return the NDJSON line of an event; None for events that are only shown to people."""
    line = partial(event_line, at=at, sandbox=sandbox)
    match event:
        case Submitted(record=record):
            return line("submitted", record.task_id, request_id=record.request_id)
        case Progressed(record=record):
            return line(
                "progress",
                record.task_id,
                status=record.status,
                progress=record.task.progress if record.task else None,
                elapsed_s=_tenths(event.elapsed_s),
                remaining_s=_tenths(event.remaining_s),
            )
        case Stalled():
            return line("stalled", event.task_id, since_s=_tenths(event.since_s))
        case Retrying():
            pause: Document = {"delay_s": _tenths(event.delay_s), "attempt": event.attempt}
            return line("retrying", event.task_id, message=event.message, **pause)
        case Completed(record=record):
            return line("completed", record.task_id)
        case Failed(record=record):
            error = task_error_document(failure_of(record))
            return line("failed", record.task_id, error=error)
        case LineFailed() if event.state != "not finished":  # otherwise the task continues
            cause = event.error._replace(message=f"{event.name}: {event.error.message}")
            return line("failed", event.task_id, error=task_error_document(cause))
        case Saved():
            return line("saved", event.task_id, **content_document(event.file))
        case _:
            return None


def render_summary(
    documents: Sequence[Document], error: OmniEditError | None, board: "Board"
) -> str:
    """Return a table with a row per task document, or with one that says why there are none."""
    rows = [_summary_row(document, board.known) for document in documents]
    if not rows:
        request = board.request
        clip, prompt = (request.shown_video, request.prompt) if request else (None, None)
        state = error.message if error else "nothing to do"
        credits_used = _UNKNOWN if isinstance(error, OutcomeUnknownError) else _NOTHING
        rows = [(render_clip(clip) or _NOTHING, _short(prompt), state, credits_used, _NOTHING)]
    lines = ("| " + " | ".join(map(_cell, row)) + " |\n" for row in rows)
    return f"\n{_SUMMARY_HEADER}{''.join(lines)}\n"


def _created_at(record: Record) -> float | None:
    """Return when the service created the task, or else when this machine first submitted it."""
    if record.task is not None and record.task.created_at is not None:
        return record.task.created_at
    return record.created_at if record.request_id is not None else None


def _saved_documents(files: Sequence[SavedFile]) -> list[Document]:
    """Return the saved files; one as it was served appears inside the file made from it."""
    by_path = {file.path: file for file in files}
    served_paths = {file.served_path for file in files}
    return [
        saved_document(file, served=by_path.get(file.served_path or ""))
        for file in files
        if file.path not in served_paths
    ]


def _file_document(file: SavedFile) -> Document:
    return content_document(file) | video_fields(file.facts)


def _serialisable(value: object) -> object:
    """Return `value` with None for numbers that JSON cannot represent."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        items = cast("Mapping[str, object]", value).items()
        return {key: _raw(item) if key == "raw" else _serialisable(item) for key, item in items}
    if isinstance(value, list | tuple):
        return [_serialisable(item) for item in cast("Iterable[object]", value)]
    return value


def _raw(value: object) -> object:
    """Return the service's own object; None if it is nested too deeply to be serialised."""
    try:
        found = _serialisable(value)
        # Leave some levels of nesting for the surrounding document.
        json.dumps([[[[[[[[found]]]]]]]], indent=2)
    except RecursionError:
        return None
    return found


def _tenths(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def _summary_row(document: Document, known: Collection[str]) -> tuple[str, ...]:
    failure = document["error"]
    files = [file["path"] for file in document["saved"] if os.path.lexists(file["path"])]
    state = document["status"] or _NOTHING
    if failure is not None:
        state += f" ({failure['code']})"
    return (
        render_clip(document["video"]) or _NOTHING,
        _short(document["prompt"]),
        state,
        _summary_credits(document, is_known=document["task_id"] in known),
        _shown_path(files[-1]) if files else _NOTHING,
    )


def _short(prompt: str | None) -> str:
    return truncate(" ".join((prompt or _NOTHING).split()), _LONGEST_PROMPT)


def _summary_credits(document: Document, *, is_known: bool) -> str:
    if document["credits_used"] is not None:
        charged = render_amount(document["credits_used"])
        return f"{charged} (paid before)" if is_known else charged
    if document["status"] in {TaskStatus.FAILED, TaskStatus.CANCELLED}:
        return "0"
    if document["credits_reserved"] is not None:
        reserved = f"{render_amount(document['credits_reserved'])} reserved"
        return f"{reserved} before" if is_known else reserved
    is_unknown = document["task_id"] or document["status"] == AttemptState.UNKNOWN
    return _UNKNOWN if is_unknown else _NOTHING


def _shown_path(path: str) -> str:
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except (OSError, ValueError):  # no current folder any more, or not below it
        return path


def _cell(text: str) -> str:
    """Return text that cannot leave its cell or act as markup."""
    plain = " ".join(sanitize(text).split())
    return _ACTIVE_IN_MARKDOWN.sub(lambda match: f"&#{ord(match[0])};", plain)
