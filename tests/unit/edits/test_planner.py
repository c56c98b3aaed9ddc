import itertools
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

import omniedit.sandbox
from omniedit.edits.manifest import Line, Manifest
from omniedit.edits.planner import PlannedEdit, Planner
from omniedit.edits.requests import digest_of
from omniedit.errors import LocalError
from omniedit.models import DEFAULT_MODEL
from omniedit.settings import Setting
from omniedit.system import THIS_SYSTEM, System
from tests.systems import windows
from tests.unit.edits.bench import CLIP_URL, MODEL, BenchSession

SAMPLE = Path(omniedit.sandbox.__file__).with_name("sandbox.mp4")


def clip(number: int) -> bytes:
    """Return a playable clip that is unique for each number: it ends in a box that players skip."""
    return SAMPLE.read_bytes() + b"\0\0\0\x0cfree" + number.to_bytes(4)


def line(number: int, *, video: str = CLIP_URL, prompt: str = "warmer", **fields: str) -> Line:
    return Line(number=number, video=video, prompt=prompt, **fields)


def planned(
    *lines: Line,
    model: Setting[str] = MODEL,
    folder: str | None = None,
    shard: tuple[int, int] = (1, 1),
    system: System = THIS_SYSTEM,
) -> tuple[Sequence[PlannedEdit], list[tuple[int, str]]]:
    planner = Planner(BenchSession(), model=model, folder=folder, shard=shard, system=system)
    return planner.plan(Manifest([*lines], (), ())), planner.faults


def test_an_output_without_a_name_is_called_after_clip_and_edit() -> None:
    [first, second], faults = planned(line(1), line(2, take="2"), folder="out")

    assert faults == []
    assert first.output == f"out/clip-warmer-{first.identity[:6]}.mp4"
    assert second.output == f"out/clip-warmer-{second.identity[:6]}.mp4"
    assert first.output != second.output


def meeting_takes() -> tuple[str, str]:
    """Return two takes of one edit whose identities begin with the same six digits."""
    takes: dict[str, str] = {}
    for take in map(str, itertools.count(2)):
        digits = digest_of([CLIP_URL, "warmer", None, None, DEFAULT_MODEL, take])[:6]
        if digits in takes:
            return takes[digits], take
        takes[digits] = take
    raise AssertionError


def test_outputs_that_would_meet_get_twelve_digits() -> None:
    one, other = meeting_takes()

    edits, faults = planned(line(1, take=one), line(2), line(3, take=other))

    assert faults == []
    digits = [edit.identity[:length] for edit, length in zip(edits, (12, 6, 12), strict=True)]
    assert [edit.output for edit in edits] == [f"clip-warmer-{each}.mp4" for each in digits]


@pytest.mark.parametrize(
    ("output", "folder", "shown"),
    [
        pytest.param("a/b.mp4", None, "a/b.mp4", id="here"),
        pytest.param("a/b.mp4", "out", "out/a/b.mp4", id="below-the-folder"),
        pytest.param("a/../b.mp4", "out", "out/a/../b.mp4", id="out-and-in-again"),
        pytest.param("-", None, "./-", id="a-dash-is-a-file-here"),
        pytest.param("-", "out", "out/-", id="a-dash-is-a-file-there"),
    ],
)
def test_an_output_goes_below_the_folder(output: str, folder: str | None, shown: str) -> None:
    [edit], faults = planned(line(1, output=output), folder=folder)

    assert (edit.output, faults) == (shown, [])


@pytest.mark.parametrize(
    ("output", "fault"),
    [
        pytest.param("../x.mp4", "`output` leaves the folder", id="upwards"),
        pytest.param("a/../../x.mp4", "`output` leaves the folder", id="down-and-upwards"),
        pytest.param("/x.mp4", "`output` leaves the folder", id="absolute"),
        pytest.param("link/x.mp4", "`output` leaves the folder", id="through-a-linked-folder"),
        pytest.param("dangling.mp4", "`output` leaves the folder", id="through-a-linked-file"),
        pytest.param(
            "out2/../../out-2/x", "`output` leaves the folder", id="a-name-that-begins-alike"
        ),
        pytest.param(".", "`output` does not name a file", id="the-folder-itself"),
        pytest.param("..", "`output` does not name a file", id="its-parent"),
        pytest.param("sub", "`output` does not name a file", id="a-folder"),
        pytest.param("new/", "`output` does not name a file", id="a-folder-to-be"),
        pytest.param("a\0b.mp4", "`output` does not name a file", id="no-name-at-all"),
    ],
)
def test_an_output_that_is_no_file_below_the_folder_is_a_fault(
    here: Path, output: str, fault: str
) -> None:
    (here / "out" / "sub").mkdir(parents=True)
    (here / "out" / "link").symlink_to(here.parent)
    (here / "out" / "dangling.mp4").symlink_to(here.parent / "nowhere.mp4")

    _, faults = planned(line(7, output=output), folder="out")

    [(number, message)] = faults
    assert number == 7
    assert message.startswith(fault)


def test_a_folder_that_is_a_link_is_followed(here: Path) -> None:
    (here / "real").mkdir()
    (here / "out").symlink_to("real")

    _, faults = planned(
        line(1, output="a.mp4"), line(2, output="../real/a.mp4", take="2"), folder="out"
    )

    assert faults == [(2, "has the same output as line 1: ../real/a.mp4")]


def test_two_outputs_that_differ_in_case_are_one_where_the_file_system_says_so() -> None:
    lines = line(1, output="Out.mp4"), line(2, output="out.MP4", take="2")

    _, faults = planned(*lines, system=windows())

    assert faults == [(2, "has the same output as line 1: out.MP4")]


@pytest.mark.parametrize("output", ["nul.mp4", "a/con", "a:b.mp4", "a."])
def test_an_output_that_windows_takes_for_something_else_is_a_fault_there(output: str) -> None:
    _, [(number, fault)] = planned(line(4, output=output), system=windows())

    assert number == 4
    assert fault.startswith(f"`output` does not name a file: {output}: ")
    assert "Windows" in fault


def test_a_folder_that_is_a_file_is_refused(here: Path) -> None:
    (here / "out").write_bytes(b"")

    with pytest.raises(LocalError, match="out is not a folder"):
        planned(line(1), folder="out")


def test_the_same_edit_twice_is_one_fault_that_names_both_lines() -> None:
    _, faults = planned(line(3), line(5), line(6, take="2"), line(7, take="002"))

    assert faults == [
        (5, "is the same edit as line 3; `take` makes it another one"),
        (7, "is the same edit as line 6; `take` makes it another one"),
    ]


def test_white_space_at_the_end_of_a_prompt_makes_no_other_edit() -> None:
    _, faults = planned(line(1, prompt="a\nb"), line(2, prompt="a\r\nb "))

    assert [number for number, _ in faults] == [2]


def test_the_same_content_under_two_names_is_the_same_edit(here: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        (here / name).write_bytes(clip(1))

    _, faults = planned(line(1, video="a.mp4"), line(2, video="b.mp4"))

    assert [number for number, _ in faults] == [2]


@pytest.mark.parametrize(
    ("faulty", "fault"),
    [
        pytest.param(line(1, video="no.mp4"), "no such file: no.mp4", id="no-clip"),
        pytest.param(line(1, video="x" * 5000), "File name too long", id="no-name-for-a-clip"),
        pytest.param(
            line(1, video="ftp://example.com/a.mp4"), "must begin with http", id="no-web-url"
        ),
        pytest.param(line(1, video="http://10.0.0.1/a.mp4"), "10.0.0.1", id="inside-address"),
        pytest.param(line(1, prompt="  "), "the prompt is empty", id="no-prompt"),
        pytest.param(line(1, prompt="a [sandbox:cut]"), "marker", id="marker-outside-the-sandbox"),
        pytest.param(line(1, callback_url="http://example.com"), "callback", id="callback"),
        pytest.param(line(1, start="soon"), "soon", id="no-mark"),
        pytest.param(
            line(1, output="é" * 128), "`output` does not name a file", id="output-too-long"
        ),
    ],
)
def test_a_line_that_is_no_edit_is_a_fault(faulty: Line, fault: str) -> None:
    edits, faults = planned(faulty, line(2, prompt="cooler"))

    [(number, message)] = faults
    assert (number, fault in message) == (1, True), message
    assert edits[-1].number == 2


def test_faults_come_in_the_order_of_the_lines() -> None:
    planner = Planner(BenchSession(), model=MODEL, folder=None)

    planner.plan(Manifest([line(1, prompt=" "), line(3, prompt=" ")], ((2, "is odd"),), ()))

    assert [number for number, _ in planner.faults] == [1, 2, 3]


def test_a_shard_needs_only_its_own_clips_but_checks_every_line(here: Path) -> None:
    lines = [line(n, video=f"{n}.mp4", output=f"{n}.mp4") for n in range(1, 41)]
    own = [one.number for one in lines if one.is_in_shard(1, 2)]
    for number in own:
        (here / f"{number}.mp4").write_bytes(clip(number))
    other = next(one for one in lines if not one.is_in_shard(1, 2))
    wrong = [
        line(50, video=other.video, prompt=other.prompt),
        line(51, video="51.mp4", output="../x.mp4"),
    ]

    edits, faults = planned(*lines, *wrong, folder="out", shard=(1, 2))

    assert [edit.number for edit in edits if edit.number < 50] == own
    assert (50, f"is the same edit as line {other.number}; `take` makes it another one") in faults


def test_shards_make_every_edit_once() -> None:
    lines = [line(n, prompt=str(n)) for n in range(1, 101)]

    made = [[edit.number for edit in planned(*lines, shard=(index, 3))[0]] for index in (1, 2, 3)]

    assert sorted(number for shard in made for number in shard) == list(range(1, 101))


def test_many_lines_are_planned_with_one_look_at_each_folder() -> None:
    lines = [line(n, prompt=str(n), output=f"{n % 9}{os.sep}{n}.mp4") for n in range(1, 20_001)]
    edits, faults = planned(*lines, folder="out")

    assert (len(edits), faults) == (20_000, [])
