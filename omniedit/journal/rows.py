"""The journal's rows as values, and values as the journal stores them."""

import json
import math
import sys
from collections.abc import Callable, Mapping
from sqlite3 import Row
from types import NoneType
from typing import Any, Final, TypeAlias, cast

from omniedit.journal.database import COUNTED_TABLES
from omniedit.models import (
    MOST_CREDITS,
    SavedFile,
    Sound,
    Task,
    TaskError,
    TaskStatus,
    VideoFacts,
    is_local,
    is_task_id,
)
from omniedit.system.files import file_name

_UNRECORDED_MODEL: Final = "gemini-omni-flash-video-edit"
"""The model of attempts made before the model was recorded, when there was only one."""
UNPARSABLE: Final = (LookupError, TypeError, ValueError, RecursionError)
"""The errors that parsers raise for damaged columns."""
ParsedRow: TypeAlias = dict[str, Any]
"""A row by column, each value checked and converted by `parse_row`."""


def from_stored(value: str | bytes | None) -> str | None:
    """Return stored text; bytes are a file name that is not valid UTF-8 (PEP 383)."""
    return value.decode(errors="surrogateescape") if isinstance(value, bytes) else value


def name_to_stored(name: str) -> str | bytes:
    """Return a URL, or a file name in the locale's encoding, in a form that SQLite accepts."""
    return to_stored(name, encoding=sys.getfilesystemencoding() if is_local(name) else "utf-8")


def to_stored(text: str, *, encoding: str = "utf-8") -> str | bytes:
    """Return text in a form that SQLite accepts: as bytes if it is not UTF-8 (PEP 383)."""
    content = text.encode(encoding, "surrogateescape")
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content


def saved_file(row: ParsedRow) -> SavedFile:
    """Return the saved file of a row."""
    return SavedFile(
        path=row["path"],
        size_bytes=row["size_bytes"],
        sha256=row["sha256"],
        is_elsewhere=bool(row["is_elsewhere"]),
        facts=row["facts"],
        sound=row["sound"],
        served_path=row["served_path"],
    )


def stored_task(row: ParsedRow) -> Task:
    """Return the task of a row; progress is not recorded."""
    return Task(
        task_id=row["task_id"],
        status=row["status"] or None,
        progress=100 if row["status"] == TaskStatus.COMPLETED else None,
        model=row["model"],
        created_at=row["created_at"],
        estimated_s=row["estimated_s"],
        credits_reserved=row["credits_reserved"],
        credits_used=row["credits_used"],
        result_urls=row["result_urls"],
        error=row["error"],
    )


def chosen_model(row: ParsedRow) -> str | None:
    """Return the model that an attempt requested, or None for an adopted task."""
    chosen: str | None = row["chosen_model"]
    return _UNRECORDED_MODEL if chosen is None and row["request_id"] is not None else chosen


def render_json(value: TaskError | VideoFacts | None) -> str | None:
    """Return an error or a video's facts as JSON."""
    return json.dumps(value._asdict()) if value else None


def parse_row(row: Row | Mapping[str, object]) -> ParsedRow:
    """Return the values of a row, or of some columns, whoever wrote them.

    Raises:
        ValueError: If a value is damaged; any other error of `UNPARSABLE` means the same.
    """
    values = _checked(dict(row))
    return values | {
        name: parse(values[name]) for name, parse in _PARSERS.items() if name in values
    }


def _checked(values: ParsedRow) -> ParsedRow:
    """Return columns, or the fields of stored JSON, if their types are right."""
    for name, value in values.items():
        is_infinite = isinstance(value, float) and not math.isfinite(value)
        if is_infinite or not isinstance(value, _TYPES.get(name, object)):
            msg = f"invalid {name}"
            raise TypeError(msg)
    return values


def _parse_id(value: str | None) -> str | None:
    if value is not None and not is_task_id(value):
        msg = "invalid ID"
        raise ValueError(msg)
    return value


def _parse_amount(value: float | None) -> float | None:
    if value is not None and not 0 <= value < MOST_CREDITS:
        msg = "invalid amount of credits"
        raise ValueError(msg)
    return value


def _parse_name(value: str | bytes | None) -> str | None:
    """Return a URL, or a file name, which cannot hold a NUL."""
    name = from_stored(value)
    if name and "\0" in name:
        msg = "invalid file name"
        raise ValueError(msg)
    return file_name(name) if name and is_local(name) else name


def _parse_texts(text: str | None) -> tuple[str, ...]:
    texts: object = json.loads(text or "[]")
    if not isinstance(texts, list):
        msg = "not a list"
        raise TypeError(msg)
    return tuple(map(str, cast("list[object]", texts)))


def _parse_counts(text: str) -> dict[str, int]:
    counts = json.loads(text)
    return {table: int(counts[table]) for table in COUNTED_TABLES}


def _parse_facts(text: str | None) -> VideoFacts | None:
    if not text:
        return None
    stored = _checked(dict(json.loads(text)))
    stored["marks"] = tuple(map(str, stored["marks"]))
    return VideoFacts(**stored)


def _parse_error(text: str | None) -> TaskError | None:
    return TaskError(**_checked(dict(json.loads(text)))) if text else None


_TEXT: Final = (str, NoneType)
_NUMBER: Final = (float, int, NoneType)
_TYPES: Final[Mapping[str, type | tuple[type, ...]]] = {
    **dict.fromkeys(("sha256", "code", "message", "codec"), str),
    **dict.fromkeys(
        ("origin", "status", "model", "chosen_model", "identity", "body_digest"), _TEXT
    ),
    **dict.fromkeys(("clip_sha256", "key_digest", "context", "url", "files_origin"), _TEXT),
    **dict.fromkeys(("suggestion", "kind"), _TEXT),
    **dict.fromkeys(("video", "prompt", "path", "served_path"), (str, bytes, NoneType)),
    "body": (bytes, NoneType),
    **dict.fromkeys(("size_bytes", "unreadable_pages", "width", "height"), int),
    **dict.fromkeys(
        ("is_adopted", "is_elsewhere", "is_result_gone", "http_status"), (int, NoneType)
    ),
    "begun_at": (float, int),
    **dict.fromkeys(("created_at", "recorded_at", "completed_after", "saved_at"), _NUMBER),
    **dict.fromkeys(("called_at", "expires_at", "recovered_at", "clock_offset_s"), _NUMBER),
    **dict.fromkeys(("estimated_s", "start_s", "end_s", "frame_rate", "duration_s"), _NUMBER),
    **dict.fromkeys(("credits_reserved", "credits_used"), _NUMBER),
}
"""The types of columns and of the fields of stored JSON; a name means the same everywhere."""
_PARSERS: Final[Mapping[str, Callable[[Any], object]]] = {
    **dict.fromkeys(("request_id", "task_id", "parent"), _parse_id),
    **dict.fromkeys(("video", "path", "served_path", "damaged_file"), _parse_name),
    "prompt": from_stored,
    **dict.fromkeys(("credits_reserved", "credits_used"), _parse_amount),
    **dict.fromkeys(("error", "refusal"), _parse_error),
    **dict.fromkeys(("clip", "facts"), _parse_facts),
    "sound": lambda value: Sound(value or Sound.NEW),
    **dict.fromkeys(("result_urls", "missing_ids"), _parse_texts),
    "rows_restored": _parse_counts,
}
"""How the columns that need it are converted."""
