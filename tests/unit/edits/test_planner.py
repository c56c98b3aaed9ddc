"""The lines of a manifest become edits with distinct outputs in the folder, or faults."""

import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import omniedit.sandbox
from omniedit.edits.edit import EditOptions
from omniedit.edits.manifest import Fault, Line, Manifest
from omniedit.edits.planner import PlannedEdit, Planner
from omniedit.edits.requests import digest_of
from omniedit.edits.targets import Destination
from omniedit.errors import LocalError
from omniedit.models import DEFAULT_MODEL, EditRequest, Sound
from omniedit.system import THIS_SYSTEM, System
from tests.systems import windows
from tests.unit.edits.bench import CLIP_URL, BenchSession

SAMPLE = Path(omniedit.sandbox.__file__).with_name("sandbox.mp4")


def clip(number: int) -> bytes:
    """Return a playable clip that is unique for each number: it ends in a box that players skip."""
    return SAMPLE.read_bytes() + b"\0\0\0\x0cfree" + number.to_bytes(4)


def line(
    number: int,
    *,
    video: str = CLIP_URL,
    prompt: str = "warmer",
    output: str | None = None,
    **fields: Any,
) -> Line:
    request = EditRequest(video=video, prompt=prompt, **fields)
    return Line(number=number, request=request, output=output)


def plan(
    *lines: Line,
    folder: str | None = None,
    shard: tuple[int, int] = (1, 1),
    system: System = THIS_SYSTEM,
    sound: Sound = Sound.NEW,
    overwrite: bool = False,
    writes_sidecars: bool = False,
) -> tuple[Sequence[PlannedEdit], list[tuple[int, str]]]:
    options = EditOptions(
        destination=Destination(folder, overwrite=overwrite), timeout_s=60.0, sound=sound
    )
    planner = Planner(
        BenchSession(writes_sidecars=writes_sidecars),
        options,
        shard=shard,
        system=system,
    )
    planned = planner.plan(Manifest([*lines]))
    return planned, [(fault.number, fault.message) for fault in planner.faults]


def test_a_default_output_is_named_after_clip_and_edit() -> None:
    [first, second], faults = plan(line(1), line(2, take=2), folder="out")

    assert faults == []
    assert first.output == f"out/clip-warmer-{first.identity[:6]}.mp4"
    assert second.output == f"out/clip-warmer-{second.identity[:6]}.mp4"
    assert first.output != second.output


def takes_with_one_prefix() -> tuple[int, int]:
    """Return two takes of one edit whose identities begin with the same six digits."""
    takes: dict[str, int] = {}
    for take in itertools.count(2):
        digits = digest_of([CLIP_URL, "warmer", None, None, DEFAULT_MODEL, str(take)])[:6]
        if digits in takes:
            return takes[digits], take
        takes[digits] = take
    raise AssertionError


def test_colliding_default_outputs_get_twelve_digits() -> None:
    one, other = takes_with_one_prefix()

    edits, faults = plan(line(1, take=one), line(2), line(3, take=other))

    assert faults == []
    digits = [edit.identity[:length] for edit, length in zip(edits, (12, 6, 12), strict=True)]
    assert [edit.output for edit in edits] == [f"clip-warmer-{each}.mp4" for each in digits]


@pytest.mark.parametrize(
    ("output", "folder", "shown"),
    [
        pytest.param("a/b.mp4", None, "a/b.mp4", id="no-folder"),
        pytest.param("a/b.mp4", "out", "out/a/b.mp4", id="in-folder"),
        pytest.param("a/../b.mp4", "out", "out/a/../b.mp4", id="parent-reference-inside-folder"),
        pytest.param("-", None, "./-", id="dash-is-a-file"),
        pytest.param("-", ".", "./-", id="dash-is-a-file-in-the-current-folder"),
        pytest.param("-", "out", "out/-", id="dash-is-a-file-in-folder"),
    ],
)
def test_an_output_goes_below_the_folder(output: str, folder: str | None, shown: str) -> None:
    [edit], faults = plan(line(1, output=output), folder=folder)

    assert (edit.output, faults) == (shown, [])


@pytest.mark.parametrize(
    ("output", "fault"),
    [
        pytest.param("../x.mp4", "`output` leaves the folder", id="parent-reference"),
        pytest.param(
            "a/../../x.mp4", "`output` leaves the folder", id="parent-reference-after-subfolder"
        ),
        pytest.param("/x.mp4", "`output` leaves the folder", id="absolute"),
        pytest.param("link/x.mp4", "`output` leaves the folder", id="through-a-folder-link"),
        pytest.param("dangling.mp4", "`output` leaves the folder", id="through-a-dangling-link"),
        pytest.param(
            "out2/../../out-2/x", "`output` leaves the folder", id="sibling-with-the-same-prefix"
        ),
        pytest.param(".", "`output` does not name a file", id="the-folder-itself"),
        pytest.param("a/" * 100_000 + "b", "`output` does not name a file", id="very-long"),
        pytest.param("..", "`output` does not name a file", id="parent-folder"),
        pytest.param("sub", "`output` does not name a file", id="existing-folder"),
        pytest.param("new/", "`output` does not name a file", id="trailing-slash"),
        pytest.param("a\0b.mp4", "`output` does not name a file", id="nul-character"),
    ],
)
def test_an_output_must_be_a_file_below_the_folder(cwd: Path, output: str, fault: str) -> None:
    (cwd / "out" / "sub").mkdir(parents=True)
    (cwd / "out" / "link").symlink_to(cwd.parent)
    (cwd / "out" / "dangling.mp4").symlink_to(cwd.parent / "nowhere.mp4")

    _, faults = plan(line(7, output=output), folder="out")

    [(number, message)] = faults
    assert number == 7
    assert message.startswith(fault)


def test_a_linked_output_folder_is_followed(cwd: Path) -> None:
    (cwd / "real").mkdir()
    (cwd / "out").symlink_to("real")

    _, faults = plan(line(1, output="a.mp4"), line(2, output="../real/a.mp4", take=2), folder="out")

    assert faults == [(2, "writes the same file as line 1: ../real/a.mp4")]


def test_files_beside_an_output_are_reserved() -> None:
    lines = line(1, output="x.mp4"), line(2, output="x.served.mp4", take=2)

    assert plan(*lines)[1] == []
    for reordered in (lines, lines[::-1]):
        _, [(_, fault)] = plan(*reordered, sound=Sound.NONE)
        assert fault.endswith(": x.served.mp4")
    _, faults = plan(
        line(1, output="x.mp4"), line(2, output="x.mp4.json", take=2), writes_sidecars=True
    )
    assert faults == [(2, "writes the same file as line 1: x.mp4.json")]


def test_no_output_replaces_the_clip_of_another_line(cwd: Path) -> None:
    for number, name in enumerate(("a.mp4", "b.mp4", "c.mp4")):
        (cwd / name).write_bytes(clip(number))
    (cwd / "link").symlink_to(cwd)
    (cwd / "link.mp4").symlink_to("c.mp4")
    lines = (
        line(1, video="a.mp4", output="link/b.mp4"),
        line(2, video="./b.mp4", output="b.new.mp4"),
        line(3, video="link.mp4", output="link.new.mp4"),
        line(4, output="c.mp4"),
    )

    _, faults = plan(*lines, overwrite=True)

    assert faults == [(1, "replaces the clip of line 2"), (4, "replaces the clip of line 3")]
    assert plan(*lines)[1] == []


def test_outputs_differing_only_in_case_collide_on_windows() -> None:
    lines = line(1, output="Out.mp4"), line(2, output="out.MP4", take=2)

    _, faults = plan(*lines, system=windows())

    assert faults == [(2, "writes the same file as line 1: out.MP4")]


@pytest.mark.parametrize("output", ["nul.mp4", "a/con", "a:b.mp4", "a."])
def test_an_output_name_reserved_by_windows_is_a_fault_there(output: str) -> None:
    _, [(number, fault)] = plan(line(4, output=output), system=windows())

    assert number == 4
    assert fault.startswith(f"`output` does not name a file: {output}: ")
    assert "Windows" in fault


def test_an_output_folder_that_is_a_file_is_refused(cwd: Path) -> None:
    (cwd / "out").write_bytes(b"")

    with pytest.raises(LocalError, match="out is not a folder"):
        plan(line(1), folder="out")


def test_a_repeated_edit_is_a_fault_that_names_both_lines() -> None:
    _, faults = plan(line(3), line(5), line(6, take=2), line(7, take=2))

    assert faults == [
        (5, "is the same edit as line 3; `take` makes it another one"),
        (7, "is the same edit as line 6; `take` makes it another one"),
    ]


def test_trailing_white_space_in_a_prompt_is_ignored() -> None:
    _, faults = plan(line(1, prompt="a\nb"), line(2, prompt="a\r\nb "))

    assert [number for number, _ in faults] == [2]


def test_the_same_content_under_two_names_is_the_same_edit(cwd: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        (cwd / name).write_bytes(clip(1))

    _, faults = plan(line(1, video="a.mp4"), line(2, video="b.mp4"))

    assert [number for number, _ in faults] == [2]


@pytest.mark.parametrize(
    ("faulty", "fault"),
    [
        pytest.param(line(1, video="no.mp4"), "no such file: no.mp4", id="missing-clip"),
        pytest.param(line(1, video="x" * 5000), "File name too long", id="clip-name-too-long"),
        pytest.param(
            line(1, video="ftp://example.com/a.mp4"), "must begin with http", id="not-a-web-url"
        ),
        pytest.param(line(1, video="http://10.0.0.1/a.mp4"), "10.0.0.1", id="internal-address"),
        pytest.param(line(1, prompt="  "), "the prompt is empty", id="empty-prompt"),
        pytest.param(line(1, prompt="a [sandbox:cut]"), "marker", id="sandbox-marker"),
        pytest.param(
            line(1, callback_url="http://example.com"), "callback", id="insecure-callback"
        ),
        pytest.param(line(1, start="soon"), "soon", id="invalid-start"),
        pytest.param(
            line(1, output="é" * 128), "`output` does not name a file", id="output-too-long"
        ),
    ],
)
def test_an_invalid_line_is_a_fault(faulty: Line, fault: str) -> None:
    edits, faults = plan(faulty, line(2, prompt="cooler"))

    [(number, message)] = faults
    assert (number, fault in message) == (1, True), message
    assert edits[-1].number == 2


@pytest.mark.parametrize("outputs", [("e", "e/f.mp4"), ("e/f.mp4", "e"), ("a/b", "a/b/c/d.mp4")])
def test_an_output_in_the_folder_of_another_is_a_fault(cwd: Path, outputs: tuple[str, str]) -> None:
    lines = [line(n, prompt=str(n), output=output) for n, output in enumerate(outputs, start=1)]

    _, faults = plan(*lines, folder="out")

    [(number, fault)] = faults
    assert outputs[number - 1] == min(outputs, key=len)
    assert fault == f"writes a file where line {3 - number} needs a folder"


@pytest.mark.parametrize("shard", [1, 2, 3])
@pytest.mark.parametrize(("start", "end"), [("5", "3"), ("0:02", "2"), (None, "0")])
def test_an_empty_time_range_is_a_fault_in_every_shard(
    start: str | None, end: str, shard: int
) -> None:
    _, faults = plan(line(1), line(2, start=start, end=end), shard=(shard, 3))

    ((number, fault),) = faults
    assert number == 2
    assert fault.startswith("end ")


def test_faults_are_sorted_by_line() -> None:
    options = EditOptions(destination=Destination(None), timeout_s=60.0)
    planner = Planner(BenchSession(), options)

    planner.plan(Manifest([line(1, prompt=" "), line(3, prompt=" ")], (Fault(2, "is odd"),)))

    assert [fault.number for fault in planner.faults] == [1, 2, 3]


def test_a_shard_needs_only_its_own_clips_but_checks_every_line(cwd: Path) -> None:
    lines = [line(n, video=f"{n}.mp4", output=f"{n}.mp4") for n in range(1, 41)]
    own = [one.number for one in lines if one.is_in_shard(1, 2)]
    for number in own:
        (cwd / f"{number}.mp4").write_bytes(clip(number))
    other = next(one for one in lines if not one.is_in_shard(1, 2))
    faulty_lines = [
        line(50, video=other.request.video, prompt=other.request.prompt),
        line(51, video="51.mp4", output="../x.mp4"),
    ]

    edits, faults = plan(*lines, *faulty_lines, folder="out", shard=(1, 2))

    assert [edit.number for edit in edits if edit.number < 50] == own
    assert (50, f"is the same edit as line {other.number}; `take` makes it another one") in faults


def test_shards_plan_every_edit_once() -> None:
    lines = [line(n, prompt=str(n)) for n in range(1, 101)]

    numbers_by_shard = [
        [edit.number for edit in plan(*lines, shard=(index, 3))[0]] for index in (1, 2, 3)
    ]

    assert sorted(number for shard in numbers_by_shard for number in shard) == list(range(1, 101))


def test_twenty_thousand_lines_are_planned_without_faults() -> None:
    lines = [line(n, prompt=str(n), output=f"{n % 9}{os.sep}{n}.mp4") for n in range(1, 20_001)]
    edits, faults = plan(*lines, folder="out")

    assert (len(edits), faults) == (20_000, [])
