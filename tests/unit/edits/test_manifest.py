import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omniedit.edits.manifest import FIELDS, Line, Manifest, parse_manifest
from omniedit.sandbox.clips import BUNDLED_CLIP

URL = "https://example.com/clip.mp4"


def parse(*rows: object, name: str = "m.jsonl") -> Manifest:
    text = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)
    return parse_manifest(text.encode(errors="surrogatepass"), name=name)


def row(**fields: object) -> dict[str, object]:
    return {"video": URL, "prompt": "warmer"} | fields


@pytest.mark.parametrize(
    ("content", "name"),
    [
        pytest.param(b'{"video": "v", "prompt": "p"}', "m.jsonl", id="json-lines"),
        pytest.param(b'{"video": "v", "prompt": "p"}\r\n\r\n', "m.jsonl", id="crlf-and-blank"),
        pytest.param(b'\xef\xbb\xbf{"video": "v", "prompt": "p"}', "m.jsonl", id="bom"),
        pytest.param(
            '{"video": "v", "prompt": "p"}'.encode("utf-16"), "m.jsonl", id="of-powershell"
        ),
        pytest.param(b'  {"video": "v", "prompt": "p"}', "-", id="stdin-told-by-its-brace"),
        pytest.param(b"video,prompt\nv,p\n", "m.csv", id="csv"),
        pytest.param(b"\xef\xbb\xbfvideo,prompt\r\nv,p\r\n", "M.CSV", id="csv-of-a-spreadsheet"),
        pytest.param(b"prompt, video\n\np,v\n", "-", id="stdin-csv-in-any-order"),
        pytest.param(b'video,prompt\rv,"p"\r', "m.csv", id="csv-of-an-old-mac"),
    ],
)
def test_an_edit_is_read_from(content: bytes, name: str) -> None:
    manifest = parse_manifest(content, name=name)

    assert [(line.video, line.prompt) for line in manifest.lines] == [("v", "p")]
    assert manifest.faults == manifest.oddities == ()


def test_every_field_is_read() -> None:
    fields = {"output": "o.mp4", "callback_url": "https://c", "start": 1.5, "end": "3", "take": 2}

    manifest = parse(row(**fields))

    assert manifest.lines == [
        Line(
            number=1,
            video=URL,
            prompt="warmer",
            output="o.mp4",
            callback_url="https://c",
            start="1.5",
            end="3",
            take="2",
        ),
    ]


def test_what_nobody_reads_may_have_a_name_twice() -> None:
    manifest = parse(row(more=1), '{"video": "v", "prompt": "p", "more": {"a": 1, "a": 2}}')

    assert (len(manifest.lines), manifest.faults) == (2, ())


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("header", ["video,prompt", "Video,PROMPT"])
def test_a_spreadsheet_is_read_as_it_was_exported(header: str, separator: str) -> None:
    text = f'\n{header}\n{URL},"darker, and colder; both"\n'.replace(",", separator)

    manifest = parse_manifest(text.encode(), name="m.csv")

    [line] = manifest.lines
    assert (line.video, line.prompt) == (URL, f"darker{separator} and colder; both")


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        pytest.param("{", "is not JSON: Expecting property name", id="no-json"),
        pytest.param('{"a": ' * 100_000, "is not JSON: ", id="deeper-than-anybody-reads"),
        pytest.param('"x"', "is not a JSON object", id="no-object"),
        pytest.param(
            '{"video": "v", "prompt": "A", "prompt": "B"}', "has `prompt` twice", id="field-twice"
        ),
        pytest.param({"prompt": "p"}, "`video` is missing", id="no-video"),
        pytest.param({"video": URL}, "`prompt` is missing", id="no-prompt"),
        pytest.param(row(video=""), "`video` is missing", id="empty-video"),
        pytest.param(row(video=1), "`video` is not text", id="video-a-number"),
        pytest.param(row(prompt=["p"]), "`prompt` is not text", id="prompt-a-list"),
        pytest.param(row(output={}), "`output` is not text", id="output-an-object"),
        pytest.param(row(start=True), "`start` is not text or a number", id="start-a-truth"),
        pytest.param(row(take=1.5), "`take` is not a whole number", id="take-in-halves"),
        pytest.param(row(take="9" * 5000), "`take` is not a whole number", id="take-endless"),
        pytest.param(row(take="²"), "`take` is not a whole number", id="take-superscript"),
        pytest.param(row(output="\ud800"), "`output` is not valid Unicode", id="half-a-character"),
    ],
)
def test_a_fault_is_told_with_its_line(line: object, fault: str) -> None:
    manifest = parse(row(), "", line, row(prompt="cooler"))

    [(number, message)] = manifest.faults
    assert number == 3
    assert message.startswith(fault)
    assert [line.number for line in manifest.lines] == [1, 4]


@pytest.mark.parametrize(
    ("content", "name", "fault"),
    [
        pytest.param(b"", "m.jsonl", (1, "the manifest is empty"), id="empty"),
        pytest.param(b"\xef\xbb\xbf \r\n", "-", (1, "the manifest is empty"), id="blank"),
        pytest.param(b"video,prompt\n", "m.csv", (1, "the manifest is empty"), id="header-only"),
        pytest.param(b"{}\n\xff", "m.jsonl", (2, "is not valid UTF-8 text"), id="no-utf-8"),
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
            b"\nclip,prompt\nv,p\n", "-", (2, "the header has no column `video`"), id="no-column"
        ),
        pytest.param(
            b"video,prompt,prompt\nv,p,q\n",
            "m.csv",
            (1, "the header has column `prompt` twice"),
            id="column-twice",
        ),
        pytest.param(
            b"video,prompt\nv,p,q\n", "m.csv", (2, "has 3 cells, the header 2"), id="a-comma-more"
        ),
        pytest.param(
            b'video,prompt\nv,p\nv,"p',
            "m.csv",
            (3, "is not CSV: unexpected end of data"),
            id="quote",
        ),
    ],
)
def test_a_manifest_that_is_wrong_as_a_whole_has_one_fault(
    content: bytes, name: str, fault: tuple[int, str]
) -> None:
    assert parse_manifest(content, name=name).faults == (fault,)


def test_a_line_of_csv_is_numbered_where_it_begins() -> None:
    manifest = parse_manifest(b'video,prompt\nv,"two\nlines"\nv\n', name="m.csv")

    assert [line.number for line in manifest.lines] == [2]
    assert manifest.faults == ((4, "`prompt` is missing"),)


def test_unknown_columns_are_told_once_with_the_nearest_known() -> None:
    manifest = parse(row(ouput="a"), row(ouput="b", zzz=1))

    assert len(manifest.lines) == 2
    assert manifest.oddities == (
        (1, "`ouput` is not a manifest field; did you mean `output`?"),
        (2, f"`zzz` is not a manifest field; known: {', '.join(FIELDS)}"),
    )


def test_a_hundred_thousand_lines_are_read_within_seconds() -> None:
    content = b"".join(
        b'{"video": "%s", "prompt": "%d"}\n' % (URL.encode(), n) for n in range(100_000)
    )
    began = time.process_time()

    manifest = parse_manifest(content, name="m.jsonl")

    assert len(manifest.lines) == 100_000
    assert time.process_time() - began < 5


def test_shards_share_a_manifest_out_and_growing_moves_nothing() -> None:
    lines = parse(*(row(prompt=str(n)) for n in range(200))).lines
    grown = parse(row(prompt="new"), "", *(row(prompt=str(n)) for n in range(200))).lines

    shards = [{line.prompt for line in lines if line.is_in_shard(i, 3)} for i in (1, 2, 3)]
    later = [{line.prompt for line in grown if line.is_in_shard(i, 3)} for i in (1, 2, 3)]

    assert sum(len(shard) for shard in shards) == 200
    assert all(len(shard) > 40 for shard in shards)
    assert [shard - {"new"} for shard in later] == shards


def test_a_shard_depends_on_what_is_edited_alone() -> None:
    [line, renamed] = parse(
        row(take=1), row(take=1, output="o.mp4", callback_url="https://c")
    ).lines

    places = [(one.is_in_shard(1, 7), one.is_in_shard(2, 7)) for one in (line, renamed)]

    assert places[0] == places[1]
    # This must never change: a line stays in its shard from one release to the next.
    assert [i for i in range(1, 100) if line.is_in_shard(i, 99)] == [93]


def test_a_clip_in_the_place_of_a_manifest_is_told_as_one() -> None:
    manifest = parse_manifest(BUNDLED_CLIP.read_bytes(), name="clip.mp4")

    assert manifest.faults == ((1, "is a clip: `--prompt TEXT` edits it"),)


@pytest.mark.parametrize(("start", "end"), [(5, 3), ("0:02", "2"), (None, 0)])
def test_marks_that_leave_nothing_are_a_fault_of_their_line(start: object, end: object) -> None:
    manifest = parse(row(), row(start=start, end=end))

    ((number, fault),) = manifest.faults
    assert number == 2
    assert "--end" in fault


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
def test_whatever_bytes_are_a_manifest_or_have_faults(content: bytes, name: str) -> None:
    manifest = parse_manifest(content, name=name)

    assert manifest.lines or manifest.faults


@given(ROWS)
def test_whatever_rows_are_lines_or_faults_in_order(rows: list[Any]) -> None:
    content = "\n".join(row.replace("\n", " ") for row in rows).encode(errors="replace")

    manifest = parse_manifest(content, name="m.jsonl")

    numbers = [line.number for line in manifest.lines] + [number for number, _ in manifest.faults]
    assert len(numbers) == len(set(numbers))
