"""JSON Schemas of the documents that scripts read: one file each, and one for what they share.

The keys of a document are defined here and nowhere else, as are the values that sidecars share with
documents.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from omniedit.models import VideoFacts

ENVELOPE: Final = ("schema", "ok", "sandbox", "error")
"""The keys of every command's document."""
FAILURE: Final = "failure"
"""The document of a call that names no command; it has no further keys."""

Schema: TypeAlias = dict[str, Any]

_FOLDER: Final = Path(__file__).parent
_DEFINITIONS: Final = "definitions"


def document_names() -> list[str]:
    """Return the names of all schemas: commands with `-` for spaces, `event`, `failure` and `sidecar`."""
    return sorted({path.stem for path in _FOLDER.glob("*.json")} - {_DEFINITIONS})


def load_schema(name: str) -> Schema:
    """Return a schema as in its file, with references to the shared definitions."""
    schema: Schema = json.loads((_FOLDER / f"{name}.json").read_text("ascii"))
    return schema


def load_whole_schema(name: str) -> Schema:
    """Return a self-contained schema: the shared definitions are embedded under their `$id`."""
    schema = load_schema(name)
    return schema | {"$defs": schema.get("$defs", {}) | {_DEFINITIONS: load_schema(_DEFINITIONS)}}


def instant(unix_s: float | None, *, timespec: str = "seconds") -> str | None:
    """Return a time as ISO 8601 UTC with `Z`; None if it is unknown or out of range."""
    if unix_s is None:
        return None
    try:
        moment = datetime.fromtimestamp(unix_s, UTC)
    except (OverflowError, ValueError, OSError):
        return None
    return moment.isoformat(timespec=timespec).replace("+00:00", "Z")


def video_fields(facts: "VideoFacts | None") -> dict[str, object]:
    """Return a saved video's facts for documents and sidecars; all null if it was not probed."""
    return {
        "width": facts.width if facts else None,
        "height": facts.height if facts else None,
        "frame_rate": facts.frame_rate if facts else None,
        "duration_seconds": facts.duration_s if facts else None,
        "marks": list(facts.marks) if facts else None,
    }


def unknown_values(name: str) -> dict[str, object]:
    """Return a document's own keys with nothing known: empty lists, and null for the rest."""
    return {
        key: [] if schema.get("type") == "array" else None
        for key, schema in load_schema(name)["properties"].items()
        if key not in ENVELOPE
    }
