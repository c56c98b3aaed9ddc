"""A manifest becomes numbered lines, or faults that name their line."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omniedit.edits.manifest import FIELDS, Line, Manifest, parse_manifest
from omniedit.models import EditRequest
from omniedit.sandbox.clips import BUNDLED_CLIP
from tests.unit.edits.bench import MODEL

URL = "https://example.com/clip.mp4"


def parse(*rows: object, name: str = "m.jsonl") -> Manifest:
    text = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)
    return parse_bytes(text.encode(errors="surrogatepass"), name=name)


def parse_bytes(content: bytes, *, name: str) -> Manifest:
    return parse_manifest(content, name=name, model=MODEL)


def faults_of(manifest: Manifest) -> list[tuple[int, str]]:
    return [(fault.number, fault.message) for fault in manifest.faults]


def row(**fields: object) -> dict[str, object]:
    return {"video": URL, "prompt": "warmer"} | fields


@pytest.mark.parametrize(
    ("content", "name"),
    [
        pytest.param(b'{"video": "v", "prompt": "p"}', "m.jsonl", id="json-lines"),
        pytest.param(b'{"video": "v", "prompt": "p"}\r\n\r\n', "m.jsonl", id="crlf-and-blank"),
        pytest.param(b'\xef\xbb\xbf{"video": "v", "prompt": "p"}', "m.jsonl", id="bom"),
        pytest.param(b"\xef\xbb\xbf\xef\xbb\xbfvideo,prompt\nv,p\n", "m.csv", id="two-boms"),
        pytest.param(
            '{"video": "v", "prompt": "p"}'.encode("utf-16"), "m.jsonl", id="utf-16-from-powershell"
        ),
        pytest.param(b'  {"video": "v", "prompt": "p"}', "-", id="json-on-stdin"),
        pytest.param(b"video,prompt\nv,p\n", "m.csv", id="csv"),
        pytest.param(b"\xef\xbb\xbfvideo,prompt\r\nv,p\r\n", "M.CSV", id="csv-with-bom-and-crlf"),
        pytest.param(b"prompt, video\n\np,v\n", "-", id="csv-on-stdin-in-any-column-order"),
        pytest.param(b'video,prompt\rv,"p"\r', "m.csv", id="csv-with-cr-only"),
    ],
)
def test_every_manifest_format_is_read(content: bytes, name: str) -> None:
    manifest = parse_bytes(content, name=name)

    assert [(line.request.video, line.request.prompt) for line in manifest.lines] == [("v", "p")]
    assert (manifest.faults, manifest.warnings) == ((), ())


def test_every_field_is_read() -> None:
    fields = {"output": "o.mp4", "callback_url": "https://c", "start": 1.5, "end": "3", "take": 2}

    manifest = parse(row(**fields))

    assert manifest.lines == [
        Line(
            number=1,
            request=EditRequest(
                video=URL,
                prompt="warmer",
                callback_url="https://c",
                start="1.5",
                end="3",
                take=2,
                model=MODEL.value,
                model_source=MODEL.source,
            ),
            output="o.mp4",
            manifest="m.jsonl",
        ),
    ]
    assert manifest.lines[0].name == "m.jsonl:1"


def test_duplicate_keys_in_unknown_fields_are_ignored() -> None:
    manifest = parse(row(more=1), '{"video": "v", "prompt": "p", "more": {"a": 1, "a": 2}}')

    assert (len(manifest.lines), manifest.faults) == (2, ())


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("header", ["video,prompt", "Video,PROMPT"])
def test_csv_separator_and_header_case_do_not_matter(header: str, separator: str) -> None:
    text = f'\n{header}\n{URL},"darker, and colder; both"\n'.replace(",", separator)

    manifest = parse_bytes(text.encode(), name="m.csv")

    [line] = manifest.lines
    assert (line.request.video, line.request.prompt) == (URL, f"darker{separator} and colder; both")


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        pytest.param("{", "is not JSON: Expecting property name", id="not-json"),
        pytest.param('{"a": ' * 100_000, "is not JSON: ", id="too-deep"),
        pytest.param('"x"', "is not a JSON object", id="not-an-object"),
        pytest.param(
            '{"video": "v", "prompt": "A", "prompt": "B"}',
            "has `prompt` twice",
            id="duplicate-field",
        ),
        pytest.param({"prompt": "p"}, "`video` is missing", id="missing-video"),
        pytest.param({"video": URL}, "`prompt` is missing", id="missing-prompt"),
        pytest.param(row(video=""), "`video` is missing", id="empty-video"),
        pytest.param(row(video=1), "`video` is not text", id="number-as-video"),
        pytest.param(row(prompt=["p"]), "`prompt` is not text", id="list-as-prompt"),
        pytest.param(row(output={}), "`output` is not text", id="object-as-output"),
        pytest.param(row(start=True), "`start` is not text or a number", id="boolean-as-start"),
        pytest.param(row(take=1.5), "`take` is not a whole number", id="fractional-take"),
        pytest.param(row(take="9" * 5000), "`take` is not a whole number", id="huge-take"),
        pytest.param(row(take="²"), "`take` is not a whole number", id="superscript-take"),
        pytest.param(row(output="\ud800"), "`output` is not valid Unicode", id="lone-surrogate"),
    ],
)
def test_a_fault_is_reported_with_its_line(line: object, fault: str) -> None:
    manifest = parse(row(), "", line, row(prompt="cooler"))

    [(number, message)] = faults_of(manifest)
    assert number == 3
    assert message.startswith(fault)
    assert [line.number for line in manifest.lines] == [1, 4]


@pytest.mark.parametrize(
    ("content", "name", "fault"),
    [
        pytest.param(b"", "m.jsonl", (1, "the manifest is empty"), id="empty"),
        pytest.param(b"\xef\xbb\xbf \r\n", "-", (1, "the manifest is empty"), id="blank"),
        pytest.param(b"video,prompt\n", "m.csv", (1, "the manifest is empty"), id="header-only"),
        pytest.param(b"{}\n\xff", "m.jsonl", (2, "is not valid UTF-8 text"), id="not-utf-8"),
        pytest.param(
            b'[\n{"video": "v"}]',
            "m.json",
            (1, "is a JSON array; write one object per line"),
            id="json-array",
        ),
        pytest.param(
            b' [{"video": "v"}]',
            "-",
            (1, "is a JSON array; write one object per line"),
            id="json-array-on-stdin",
        ),
        pytest.param(
            b"\nclip,prompt\nv,p\n",
            "-",
            (2, "the header has no column `video`"),
            id="missing-column",
        ),
        pytest.param(
            b"video,promt\nv,p\n",
            "m.csv",
            (1, "`promt` is not a manifest field; did you mean `prompt`?"),
            id="misspelt-column",
        ),
        pytest.param(
            b"video,prompt,prompt\nv,p,q\n",
            "m.csv",
            (1, "the header has column `prompt` twice"),
            id="duplicate-column",
        ),
        pytest.param(
            b"video,prompt\nv,p,q\n", "m.csv", (2, "has 3 cells, the header 2"), id="extra-cell"
        ),
        pytest.param(
            b'video,prompt\nv,p\nv,"p',
            "m.csv",
            (3, "is not CSV: unexpected end of data"),
            id="unclosed-quote",
        ),
    ],
)
def test_a_broken_manifest_has_a_single_fault(
    content: bytes, name: str, fault: tuple[int, str]
) -> None:
    assert faults_of(parse_bytes(content, name=name)) == [fault]


def test_a_multiline_csv_row_is_numbered_by_its_first_line() -> None:
    manifest = parse_bytes(b'video,prompt\nv,"two\nlines"\nv\n', name="m.csv")

    assert [line.number for line in manifest.lines] == [2]
    assert faults_of(manifest) == [(4, "`prompt` is missing")]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("strat", "start"),
        ("modle", "model"),
        ("ouput", "output"),
        ("Start", "start"),
        ("END", "end"),
        ("takes", "take"),
        ("callback", "callback_url"),
    ],
)
def test_a_misspelt_field_is_a_fault(name: str, meant: str) -> None:
    manifest = parse(row(), row(**{name: "1"}))

    message = f"`{name}` is not a manifest field; did you mean `{meant}`?"
    assert (len(manifest.lines), faults_of(manifest)) == (1, [(2, message)])


@pytest.mark.parametrize("name", ["status", "task", "notes", "video_id", "prompt_id", "width"])
def test_a_field_that_no_typo_explains_is_a_warning(name: str) -> None:
    manifest = parse(row(), row(**{name: "1"}), row(**{name: "2"}))

    warning = f"`{name}` is not a manifest field; known: {', '.join(FIELDS)}"
    assert (len(manifest.lines), manifest.faults) == (3, ())
    assert manifest.warnings == ((2, warning),)


def test_an_unknown_column_is_reported_at_the_header() -> None:
    content = b"\nvideo,prompt,notes,\nhttps://e.com/c.mp4,p,,\nhttps://e.com/c.mp4,q,n,m\n"

    manifest = parse_bytes(content, name="m.csv")

    assert [(number, text.partition(";")[0]) for number, text in manifest.warnings] == [
        (2, "`notes` is not a manifest field"),
        (4, "`` is not a manifest field"),  # the header has no name for it
    ]


def test_a_flood_of_unknown_fields_is_summed_up() -> None:
    fields = {f"{number:03d}" + "x" * 1000: "" for number in range(300)}

    warnings = parse(row(**fields)).warnings

    assert len(warnings) == 21
    assert all(len(text) < 200 for _, text in warnings)
    assert warnings[-1] == (1, "280 more unknown fields")


def test_the_time_to_parse_grows_no_faster_than_the_lines() -> None:
    def cpu_s(count: int) -> float:
        content = b"".join(
            b'{"video": "%s", "prompt": "%d"}\n' % (URL.encode(), n) for n in range(count)
        )
        began_s = time.process_time()
        assert len(parse_bytes(content, name="m.jsonl").lines) == count
        return time.process_time() - began_s

    assert cpu_s(100_000) < 30 * min(cpu_s(10_000) for _ in range(3))


def test_shards_cover_every_line_and_are_stable() -> None:
    lines = parse(*(row(prompt=str(n)) for n in range(200))).lines
    grown = parse(row(prompt="new"), "", *(row(prompt=str(n)) for n in range(200))).lines

    shards = [{line.request.prompt for line in lines if line.is_in_shard(i, 3)} for i in (1, 2, 3)]
    grown_shards = [
        {line.request.prompt for line in grown if line.is_in_shard(i, 3)} for i in (1, 2, 3)
    ]

    assert sum(len(shard) for shard in shards) == 200
    assert all(len(shard) > 40 for shard in shards)
    assert [shard - {"new"} for shard in grown_shards] == shards


def test_a_lines_shard_depends_only_on_the_edit() -> None:
    [line, renamed] = parse(
        row(take=1), row(take=1, output="o.mp4", callback_url="https://c")
    ).lines

    memberships = [(one.is_in_shard(1, 7), one.is_in_shard(2, 7)) for one in (line, renamed)]

    assert memberships[0] == memberships[1]
    # This must never change: a line stays in its shard from one release to the next.
    assert [i for i in range(1, 100) if line.is_in_shard(i, 99)] == [93]


def test_content_that_is_not_text_is_a_fault() -> None:
    manifest = parse_bytes(BUNDLED_CLIP.read_bytes(), name="clip.mp4")

    assert faults_of(manifest) == [(1, "is not valid UTF-8 text")]


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
ROWS = st.lists(
    st.dictionaries(st.sampled_from([*FIELDS, "other"]), JSON, max_size=5).map(
        lambda fields: json.dumps({"video": "v", "prompt": "p"} | fields)
    )
    | st.text(),
    max_size=6,
)


@given(st.binary(max_size=300), st.sampled_from(["m.csv", "m.jsonl", "-"]))
def test_any_bytes_give_lines_or_faults(content: bytes, name: str) -> None:
    manifest = parse_bytes(content, name=name)

    assert manifest.lines or manifest.faults


@given(ROWS)
def test_any_row_gives_at_most_one_line_or_fault(rows: list[Any]) -> None:
    content = "\n".join(row.replace("\n", " ") for row in rows).encode(errors="replace")

    manifest = parse_bytes(content, name="m.jsonl")

    numbers = [line.number for line in manifest.lines] + [
        number for number, _ in faults_of(manifest)
    ]
    assert len(numbers) == len(set(numbers))
