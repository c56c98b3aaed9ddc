"""JSON Schemas of the documents that scripts read: a file each, and one of what they share.

They are the one place that says which keys a document has.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from omniedit.models import VideoFacts

ENVELOPE: Final = ("schema", "ok", "sandbox", "error")
"""The keys that every command's document has."""
FAILURE: Final = "failure"
"""The document of a call that names no command: it has no other keys."""

Schema: TypeAlias = dict[str, Any]

_FOLDER: Final = Path(__file__).parent
_DEFINITIONS: Final = "definitions"


def document_names() -> list[str]:
    """Return what there is a schema of: commands with `-` for a space, `event` and `failure`."""
    return sorted({path.stem for path in _FOLDER.glob("*.json")} - {_DEFINITIONS})


def load_schema(name: str) -> Schema:
    """Return a schema as it stands in its file; what it shares with others is referred to."""
    schema: Schema = json.loads((_FOLDER / f"{name}.json").read_text("ascii"))
    return schema


def load_whole_schema(name: str) -> Schema:
    """Return a schema that needs no other file: what it refers to is embedded by its `$id`."""
    schema = load_schema(name)
    return schema | {"$defs": schema.get("$defs", {}) | {_DEFINITIONS: load_schema(_DEFINITIONS)}}


def instant(unix_s: float | None, *, timespec: str = "seconds") -> str | None:
    """Return a moment as ISO 8601 UTC with `Z`; None for what is no moment."""
    if unix_s is None:
        return None
    try:
        moment = datetime.fromtimestamp(unix_s, UTC)
    except (OverflowError, ValueError, OSError):
        return None
    return moment.isoformat(timespec=timespec).replace("+00:00", "Z")


def video_fields(facts: "VideoFacts | None") -> dict[str, object]:
    """Return what a saved video is, as documents and sidecars name it; null where nobody looked."""
    return {
        "width": facts and facts.width,
        "height": facts and facts.height,
        "frame_rate": facts and facts.frame_rate,
        "duration_seconds": facts and facts.duration_s,
        "marks": None if facts is None else list(facts.marks),
    }


def unknown_values(name: str) -> dict[str, object]:
    """Return a document's own keys while nothing is known: lists are empty, all else is null."""
    return {
        key: [] if schema.get("type") == "array" else None
        for key, schema in load_schema(name)["properties"].items()
        if key not in ENVELOPE
    }
