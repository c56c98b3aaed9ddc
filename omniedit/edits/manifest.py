"""Parsing a manifest, JSON lines or CSV, and collecting all its faults by line."""

import csv
import difflib
import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice, product
from typing import Any, Final, NamedTuple

from omniedit.errors import InvalidInputError, OmniEditError, refuse
from omniedit.media.timeline import parse_time
from omniedit.models import EditRequest, clip_name, compared_prompt, is_local, render_count
from omniedit.sanitize import is_valid_unicode
from omniedit.settings import Setting
from omniedit.system.files import decode_text, file_name

FIELDS: Final = ("video", "prompt", "output", "callback_url", "start", "end", "take", "model")
_NUMBERS: Final = frozenset({"start", "end", "take"})
_UNSHOWABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_SHOWN_FIELDS: Final = 20
_SHOWN_NAME: Final = 80
"""In characters, of an unknown field."""
_LEAST_SIMILARITY: Final = 0.76
"""Allows one typo in a name of five letters; any lower, and `status` would be taken for `start`."""
_TAKE: Final = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One edit, as written in a manifest, or made from a clip and a prompt."""

    number: int  # the line in the text, from 1
    request: EditRequest
    output: str | None
    model: str | None = None  # as written; the request has one in any case
    label: str | None = None  # `clip.mp4, take 2`, `piece 2 of 4`
    manifest: str | None = None  # the name of the file that it comes from

    @property
    def name(self) -> str:
        """The name in messages: the label, or `m.jsonl:7`."""
        return self.label or f"{self.manifest}:{self.number}"

    def is_in_shard(self, index: int, count: int) -> bool:
        """Return whether the line belongs to shard `index` (from 1) of `count`.

        The shard is a hash of the line's own text, so that adding lines never moves others to
        another machine. Numbers are normalised: `1` and `1.0` are the same edit.
        """
        if count == 1:
            return True
        request = self.request
        take = None if request.take == 1 else request.take
        marks = [_normalised(mark) for mark in (request.start, request.end)]
        model = [self.model] if self.model else []
        parts = [request.video, compared_prompt(request.prompt), *marks, take, *model]
        digest = hashlib.sha256(json.dumps(parts).encode()).digest()
        return int.from_bytes(digest[:8]) % count == index - 1


class Fault(NamedTuple):
    """Why a line cannot be made."""

    number: int
    message: str
    line: Line | None = None  # None if it could not be parsed
    cause: OmniEditError | None = None  # not the manifest's fault, such as a network failure
    is_too_long: bool = False  # the clip, for the model


@dataclass(frozen=True, slots=True)
class Manifest:
    """The valid lines of a manifest, with faults and warnings by line number."""

    lines: list[Line]
    faults: tuple[Fault, ...] = ()
    warnings: tuple[tuple[int, str], ...] = ()


def parse_manifest(content: bytes, *, name: str, model: Setting[str]) -> Manifest:
    """Parse a manifest.

    Args:
        content: The content of the file, with or without a byte order mark, and any line endings.
        name: The name of the file; its suffix decides between CSV and JSON lines. Without a known
            suffix the first character decides.
        model: The model for lines without one.
    """
    try:
        # Joined files may have a byte order mark each.
        text = decode_text(content).lstrip("\ufeff")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        return Manifest([], (Fault(number, "is not valid UTF-8 text"),))
    is_csv = name.lower().endswith(".csv") or not (
        name.lower().endswith((".jsonl", ".ndjson", ".json")) or text.lstrip()[:1] in {"{", "[", ""}
    )
    lines: list[Line] = []
    faults: list[Fault] = []
    unknown: dict[str, int] = {}
    for number, row in _csv_rows(text, unknown) if is_csv else _json_rows(text):
        if isinstance(row, str):
            faults.append(Fault(number, row))
            continue
        for field in row:
            if field not in FIELDS:
                unknown.setdefault(field, number)
        try:
            lines.append(_parse_line(number, row, manifest=name, model=model))
        except InvalidInputError as error:
            faults.append(Fault(number, error.message))
    if not lines and not faults:
        faults.append(Fault(1, "the manifest is empty"))
    return Manifest(lines, tuple(faults), tuple(_warnings_of(unknown)))


def lines_of(
    clips: Sequence[str], prompts: Sequence[str], *, takes: int, model: Setting[str]
) -> Manifest:
    """Return a line for every clip with every prompt, `takes` times each."""
    lines: list[Line] = []
    for clip, (position, prompt), take in product(
        clips, enumerate(prompts, start=1), range(1, takes + 1)
    ):
        label = clip_name(clip) or clip
        label += f", prompt {position}" if len(prompts) > 1 else ""
        label += f", take {take}" if takes > 1 else ""
        request = EditRequest(clip, prompt, take=take, model=model.value, model_source=model.source)
        lines.append(Line(number=len(lines) + 1, request=request, output=None, label=label))
    return Manifest(lines)


def _warnings_of(unknown: Mapping[str, int]) -> Iterator[tuple[int, str]]:
    """Yield a warning for each unknown field, by the number of its line; not too many."""
    for name, number in islice(unknown.items(), _SHOWN_FIELDS):
        yield number, f"{_not_a_field(name)}; known: {', '.join(FIELDS)}"
    rest = [*islice(unknown.values(), _SHOWN_FIELDS, None)]
    if rest:
        yield rest[0], render_count(len(rest), "more unknown field")


def _json_rows(text: str) -> Iterator[tuple[int, Mapping[str, Any] | str]]:
    """Yield the fields of each line with its number, or the fault of the line."""
    if text.lstrip().startswith("["):
        yield 1, "is a JSON array; write one object per line"
        return
    # Not `splitlines`, which also splits at separators that JSON strings may hold.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value: object = json.loads(line, object_pairs_hook=_Object)
        except (ValueError, RecursionError) as error:
            yield number, f"is not JSON: {getattr(error, 'msg', error)}"
            continue
        if not isinstance(value, _Object):
            yield number, "is not a JSON object"
        elif twice := _first_duplicate(name for name, _ in value):
            # There is no way to tell which of the two was meant.
            yield number, f"has `{twice}` twice"
        else:
            fields = dict(value)
            yield number, _misspelling(fields) or fields


class _Object(list[tuple[str, Any]]):
    """A JSON object as a list of fields, so that duplicates are kept."""


def _first_duplicate(names: Iterable[str]) -> str | None:
    return next((name[:_SHOWN_NAME] for name, count in Counter(names).items() if count > 1), None)


def _misspelling(names: Collection[str]) -> str | None:
    """Return the fault of a misspelt field, which would be ignored; None if there is none."""
    for name in names:
        if name in FIELDS:
            continue
        # If there is a `video` too, `video_id` is not a misspelling of it.
        meant = next((field for field in _similar_fields(name) if field not in names), None)
        if meant is not None:
            return f"{_not_a_field(name)}; did you mean `{meant}`?"
    return None


@cache
def _similar_fields(name: str) -> list[str]:
    return difflib.get_close_matches(name[:_SHOWN_NAME].lower(), FIELDS, cutoff=_LEAST_SIMILARITY)


def _not_a_field(name: str) -> str:
    return f"`{name[:_SHOWN_NAME]}` is not a manifest field"


def _csv_rows(text: str, unknown: dict[str, int]) -> Iterator[tuple[int, Mapping[str, Any] | str]]:
    """Yield the fields of each row, as `_json_rows` does.

    Args:
        text: The manifest.
        unknown: Receives the number of the header's line for each unknown column with a name.
    """
    # Spreadsheets use another delimiter in locales in which the comma is the decimal separator.
    first = text.lstrip().partition("\n")[0]
    delimiter = next((each for each in ",;\t" if each in first), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    next_number = 1
    try:
        for cells in reader:
            number, next_number = next_number, reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                header = [cell.strip().lower() for cell in cells]
                if fault := _header_fault(header):
                    yield number, fault
                    return
                unknown.update((name, number) for name in header if name and name not in FIELDS)
            elif len(cells) > len(header):
                yield number, f"has {len(cells)} cells, the header {len(header)}"
            else:
                row = {name: cell for name, cell in zip(header, cells, strict=False) if cell}
                yield number, row
    except csv.Error as error:
        yield next_number, f"is not CSV: {error}"


def _header_fault(header: list[str]) -> str | None:
    misspelling = _misspelling(header)
    if misspelling is not None:
        return misspelling
    missing = [f"`{name}`" for name in ("video", "prompt") if name not in header]
    if missing:
        return f"the header has no column {' and no column '.join(missing)}"
    twice = _first_duplicate(name for name in header if name)
    return f"the header has column `{twice}` twice" if twice else None


def _parse_line(number: int, row: Mapping[str, Any], *, manifest: str, model: Setting[str]) -> Line:
    values = {field: _parse_field(field, row.get(field)) for field in FIELDS}
    for field in ("video", "prompt"):
        if not values[field]:
            refuse(f"`{field}` is missing")
    take = values["take"]
    own_model = values["model"]
    if take is not None and not _TAKE.fullmatch(take):
        refuse(f"`take` is not a whole number of at most 9 digits: {take[:20]}")
    request = EditRequest(
        video=values["video"] or "",
        prompt=values["prompt"] or "",
        callback_url=values["callback_url"],
        start=values["start"],
        end=values["end"],
        take=None if take is None else int(take),
        model=own_model or model.value,
        model_source=f"manifest: line {number}" if own_model else model.source,
    )
    output = values["output"]
    return Line(number=number, request=request, output=output, model=own_model, manifest=manifest)


def _normalised(mark: str | None) -> float | str | None:
    try:
        return mark if mark is None else parse_time(mark)
    except InvalidInputError:
        return mark  # reported later, as a fault of the line


def _parse_field(field: str, value: object) -> str | None:
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (isinstance(value, str) or (is_number and field in _NUMBERS)):
        refuse(f"`{field}` is not {'text or a number' if field in _NUMBERS else 'text'}")
    text = str(value)
    if not is_valid_unicode(text):
        refuse(f"`{field}` is not valid Unicode text")
    if field == "output" and _UNSHOWABLE.search(text):
        refuse("`output` has control or bidirectional characters")
    if field == "output" or (field == "video" and is_local(text)):
        text = file_name(text)
    return text or None
