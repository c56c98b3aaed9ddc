"""Validate the command line's output against the package's JSON Schemas."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache, reduce
from operator import getitem
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import best_match
from jsonschema.validators import extend

from omniedit.schemas import FAILURE, Schema, document_names, load_schema

DEFINITIONS = "definitions"
GROUPS = frozenset({"config", "journal", "sandbox"})
OPEN = frozenset({"raw", "body"})
"""The keys of objects that belong to the service."""

# For JSON Schema 40.0 is an integer, but scripts may disagree.
_TYPES = Draft202012Validator.TYPE_CHECKER.redefine(
    "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
)
_FORMATS = FormatChecker(formats=())
_FORMATS.checks("date-time", raises=ValueError)(
    lambda value: not isinstance(value, str) or datetime.fromisoformat(value) is not None
)
_VALIDATOR: Any = extend(  # type: ignore[no-untyped-call]  # its stub names no types
    Draft202012Validator, type_checker=_TYPES
)


def fault(document: object, name: str) -> str | None:
    """Return how a document violates its schema; None if it is valid."""
    error = best_match(_validator(name).iter_errors(document))
    return None if error is None else f"{name}: {error.json_path}: {error.message[:500]}"


def faults(document: object, name: str) -> list[tuple[str, str]]:
    """Return all violations of a schema: their places and messages."""
    errors = _validator(name).iter_errors(document)
    return [(error.json_path, error.message) for error in errors]


def is_valid(document: object, name: str) -> bool:
    """Return whether a document is valid against its schema."""
    valid: bool = _validator(name).is_valid(document)
    return valid


def keys_of(schema: Schema) -> tuple[str, ...]:
    """Return the keys of an object, in the order of its schema."""
    return tuple(schema["properties"])


def definition(name: str, *, of: str = DEFINITIONS) -> Schema:
    """Return a schema's definition of a name."""
    found: Schema = load_schema(of)["$defs"][name]
    return found


def check_schema(argv: Sequence[str], stdout: str) -> None:
    """Assert that the JSON printed by a command line is valid against its schema."""
    options = argv[: argv.index("--")] if "--" in argv else argv
    if not {"--json", "--events"} & {*options} or {"--help", "-h"} & {*options}:
        return
    for line in stdout.splitlines():
        document = json.loads(line)
        found = fault(document, name_of(document, options))
        assert found is None, f"{found}\n{line}"


def name_of(document: Mapping[str, Any], options: Sequence[str]) -> str:
    """Return the schema name of a command line's document."""
    if "event" in document:
        return "event"
    words = [
        word
        for before, word in zip(("", *options), options, strict=False)
        if not word.startswith("-") and before != "--progress"
    ]
    name = "-".join(words[:2] if words[:1] and words[0] in GROUPS else words[:1])
    if name == "submit" and "request" in document:
        return "submit-dry-run"
    if name == "edit" and "joined" in document:
        return "edit-split"
    return name if name in document_names() else FAILURE


def mutations(value: object) -> Iterator[tuple[str, Any]]:
    """Yield descriptions and copies of a document, each with a single fault."""
    if isinstance(value, dict):
        yield "an extra key", value | {"extra": None}
        for key, item in value.items():
            yield f"no {key}", {name: item for name, item in value.items() if name != key}
            other: object = {"another": "type"} if isinstance(item, list) else ["another type"]
            yield f"{key} is {other}", value | {key: other}
            for what, changed in () if key in OPEN else mutations(item):
                yield f"{key}: {what}", value | {key: changed}
    elif isinstance(value, list):
        for index, item in enumerate(value):
            for what, changed in mutations(item):
                yield what, [*value[:index], changed, *value[index + 1 :]]
    elif isinstance(value, int) and not isinstance(value, bool):
        yield "not an integer", float(value)


@cache
def _validator(name: str) -> Any:
    return _VALIDATOR(_without_references(_schema(name), name), format_checker=_FORMATS)


_schema = cache(load_schema)


def _without_references(part: Any, name: str) -> Any:
    """Return a part of a schema with its references replaced by their targets.

    Following references takes half of the validation time.
    """
    if isinstance(part, list):
        return [_without_references(item, name) for item in part]
    if not isinstance(part, dict):
        return part
    whole = {key: _without_references(item, name) for key, item in part.items() if key != "$ref"}
    if "$ref" in part:
        place, _, path = part["$ref"].partition("#/")
        owner = place.rpartition(":")[2] or name
        target = reduce(getitem, path.split("/"), _schema(owner))
        target = _without_references(target, owner)
        assert "allOf" not in whole
        whole = whole | {"allOf": [target]} if whole else target
    return whole
