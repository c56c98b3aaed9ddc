"""Parsing a manifest, JSON lines or CSV, and collecting all its faults by line."""

import csv
import difflib
import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from omniedit.errors import InvalidInputError
from omniedit.media.timeline import check_cut, parse_time
from omniedit.models import clip_name, compared_prompt, is_local, render_count
from omniedit.sanitize import is_valid_unicode
from omniedit.system.files import decode_text, file_name
from omniedit.system.mp4 import is_mp4

FIELDS: Final = ("video", "prompt", "output", "callback_url", "start", "end", "take", "model")
_NUMBERS: Final = frozenset({"start", "end", "take"})
_UNSHOWABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_SHOWN_FIELDS: Final = 20
_LONGEST_FAULT: Final = 1000
_SHOWN_NAME: Final = 80
"""In characters, of an unknown field."""
_TAKE: Final = re.compile(r"[0-9]{1,9}")


class FaultyLineError(ValueError):
    """A line of the manifest is invalid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One edit, as written in the manifest."""

    number: int  # the line in the text, from 1
    video: str
    prompt: str
    output: str | None = None
    callback_url: str | None = None
    start: str | None = None
    end: str | None = None
    take: str | None = None
    model: str | None = None
    label: str | None = None
    manifest: str | None = None  # the name of the file that it comes from

    @property
    def name(self) -> str:
        """The name in messages."""
        return name_of_edit(self.number, label=self.label, manifest=self.manifest)

    def is_in_shard(self, index: int, count: int) -> bool:
        """Return whether the line belongs to shard `index` (from 1) of `count`.

        The shard is a hash of the line's own text, so that adding lines never moves others to
        another machine. Numbers are normalised: `1` and `1.0` are the same edit.
        """
        if count == 1:
            return True
        take = None if self.take is None or int(self.take) == 1 else int(self.take)
        marks = [_normalised(mark) for mark in (self.start, self.end)]
        model = [self.model] if self.model else []
        parts = [self.video, compared_prompt(self.prompt), *marks, take, *model]
        digest = hashlib.sha256(json.dumps(parts).encode()).digest()
        return int.from_bytes(digest[:8]) % count == index - 1


def name_of_edit(number: int, *, label: str | None, manifest: str | None) -> str:
    """Return the name of an edit in messages: `m.jsonl:7`, or the label of one without manifest."""
    return label or f"{manifest}:{number}"


@dataclass(frozen=True, slots=True)
class Manifest:
    """The valid lines of a manifest, with faults and warnings by line number."""

    lines: list[Line]
    faults: tuple[tuple[int, str], ...]
    warnings: tuple[tuple[int, str], ...]


def parse_manifest(content: bytes, *, name: str) -> Manifest:
    """Parse a manifest.

    Args:
        content: The content of the file, with or without a byte order mark, and any line endings.
        name: The name of the file; its suffix decides between CSV and JSON lines. Without a known
            suffix the first character decides.
    """
    try:
        # Joined files may have a byte order mark each.
        text = decode_text(content).lstrip("\ufeff")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        is_clip = is_mp4(content)
        fault = "is a clip: `--prompt TEXT` edits it" if is_clip else "is not valid UTF-8 text"
        return Manifest([], ((number, fault),), ())
    is_csv = name.lower().endswith(".csv") or not (
        name.lower().endswith((".jsonl", ".ndjson", ".json")) or text.lstrip()[:1] in {"{", "[", ""}
    )
    lines: list[Line] = []
    faults: list[tuple[int, str]] = []
    unknown: dict[str, int] = {}
    for number, row in _csv_rows(text) if is_csv else _json_rows(text):
        try:
            if isinstance(row, FaultyLineError):
                raise row
            lines.append(_parse_line(number, row, manifest=name))
        except FaultyLineError as fault:
            faults.append((number, str(fault)[:_LONGEST_FAULT]))
        else:
            for field in row.keys() - set(FIELDS):
                unknown.setdefault(str(field), number)
    if not lines and not faults:
        faults.append((1, "the manifest is empty"))
    return Manifest(lines, tuple(faults), tuple(_warnings_of(unknown)))


def _warnings_of(unknown: Mapping[str, int]) -> Iterator[tuple[int, str]]:
    """Yield a warning for each unknown field, by the number of its first line; not too many."""
    for name, number in islice(unknown.items(), _SHOWN_FIELDS):
        yield number, _unknown_field(name)
    if rest := [*islice(unknown.values(), _SHOWN_FIELDS, None)]:
        yield rest[0], f"{render_count(len(rest), 'more field')} of no meaning to a manifest"


def lines_of(clips: Sequence[str], prompts: Sequence[str], *, takes: int) -> Manifest:
    """Return a line for every clip with every prompt, `takes` times each."""
    lines: list[Line] = []
    for clip in clips:
        for position, prompt in enumerate(prompts, start=1):
            for take in range(1, takes + 1):
                label = clip_name(clip) or clip
                label += f", prompt {position}" if len(prompts) > 1 else ""
                label += f", take {take}" if takes > 1 else ""
                number = len(lines) + 1
                line = Line(number=number, video=clip, prompt=prompt, take=str(take), label=label)
                lines.append(line)
    return Manifest(lines, (), ())


def _json_rows(text: str) -> Iterator[tuple[int, Mapping[str, Any] | FaultyLineError]]:
    if text.lstrip().startswith("["):
        yield 1, FaultyLineError("is a JSON array; write one object per line")
        return
    # Not `splitlines`, which also splits at separators that JSON strings may hold.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value: object = json.loads(line, object_pairs_hook=_Object)
        except (ValueError, RecursionError) as error:
            yield number, FaultyLineError(f"is not JSON: {getattr(error, 'msg', error)}")
            continue
        if not isinstance(value, _Object):
            yield number, FaultyLineError("is not a JSON object")
        elif twice := _first_duplicate(name for name, _ in value):
            # There is no way to tell which of the two was meant.
            yield number, FaultyLineError(f"has `{twice}` twice")
        else:
            yield number, dict(value)


class _Object(list[tuple[str, Any]]):
    """A JSON object as a list of fields, so that duplicates are kept."""


def _first_duplicate(names: Iterable[str]) -> str | None:
    return next((name for name, count in Counter(names).items() if count > 1), None)


def _csv_rows(text: str) -> Iterator[tuple[int, Mapping[str, Any] | FaultyLineError]]:
    # Spreadsheets use another delimiter in locales in which the comma is the decimal separator.
    first = text.lstrip().partition("\n")[0]
    delimiter = next((each for each in ",;\t" if each in first), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    while True:
        number = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield number, FaultyLineError(f"is not CSV: {error}")
            return
        if not any(cell.strip() for cell in cells):
            continue
        if header is None:
            header = [cell.strip().lower() for cell in cells]
            if fault := _header_fault(header):
                yield number, FaultyLineError(fault)
                return
        elif len(cells) > len(header):
            yield number, FaultyLineError(f"has {len(cells)} cells, the header {len(header)}")
        else:
            yield number, {name: cell for name, cell in zip(header, cells, strict=False) if cell}


def _header_fault(header: list[str]) -> str | None:
    if missing := [name for name in ("video", "prompt") if name not in header]:
        fault = (
            f"the header has no column {' and no column '.join(f'`{name}`' for name in missing)}"
        )
        near = difflib.get_close_matches(missing[0], header, n=1)
        return f"{fault}; it has `{near[0]}`" if near else fault
    twice = _first_duplicate(name for name in header if name)
    return f"the header has column `{twice}` twice" if twice else None


def _parse_line(number: int, row: Mapping[str, Any], *, manifest: str) -> Line:
    values = {field: _parse_field(field, row.get(field)) for field in FIELDS}
    for field in ("video", "prompt"):
        if not values[field]:
            msg = f"`{field}` is missing"
            raise FaultyLineError(msg)
    take = values["take"]
    if take is not None and not _TAKE.fullmatch(take):
        msg = f"`take` is not a whole number of at most 9 digits: {take[:20]}"
        raise FaultyLineError(msg)
    if values["end"] is not None:
        _check_cut(values["start"], values["end"])
    video, prompt = values.pop("video"), values.pop("prompt")
    return Line(number=number, video=video or "", prompt=prompt or "", manifest=manifest, **values)


def _check_cut(start: str | None, end: str | None) -> None:
    marks = (_normalised(start), _normalised(end))
    start_s, end_s = (mark if isinstance(mark, float) else None for mark in marks)
    try:
        check_cut(start_s, end_s, name="the clip")
    except InvalidInputError as error:
        raise FaultyLineError(error.message) from None


def _normalised(mark: str | None) -> float | str | None:
    try:
        return mark if mark is None else parse_time(mark)
    except InvalidInputError:
        return mark  # reported later, as a fault of the line


def _parse_field(field: str, value: object) -> str | None:
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(value, str) or (is_number and field in _NUMBERS):
        text = str(value)
        if not is_valid_unicode(text):
            msg = f"`{field}` is not valid Unicode text"
            raise FaultyLineError(msg)
        if field == "output" and _UNSHOWABLE.search(text):
            msg = "`output` has control or bidirectional characters"
            raise FaultyLineError(msg)
        if field == "output" or (field == "video" and is_local(text)):
            text = file_name(text)
        return text or None
    kind = "text or a number" if field in _NUMBERS else "text"
    msg = f"`{field}` is not {kind}"
    raise FaultyLineError(msg)


def _unknown_field(name: str) -> str:
    name = name[:_SHOWN_NAME]
    near = difflib.get_close_matches(name, FIELDS, n=1)
    suggestion = f"; did you mean `{near[0]}`?" if near else f"; known: {', '.join(FIELDS)}"
    return f"`{name}` is not a manifest field{suggestion}"
