"""`--sound` changes the saved file and never the edit, so another sound costs nothing."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.commandline import CommandLine
from tests.e2e.equipment import web_server
from tests.unit.media.clips import Sound, make_clip, probe_file, see, with_manifest

PROMPT = "warmer [sandbox:seconds=0]"
BEEPS = pytest.approx(range(4), abs=0.001)


@pytest.fixture
def served(served: CommandLine) -> CommandLine:
    make_clip(served.folder / "clip.mp4", seconds=4, sound=Sound())
    return served


def edited(served: CommandLine, *options: str, prompt: str = PROMPT) -> dict[str, Any]:
    """Return the document of the one task of an edit."""
    ended = served("edit", "clip.mp4", prompt, "--json", *options)
    assert ended.status == 0, ended
    [task] = ended.document["tasks"]
    return dict(task)


def count_of_tasks(served: CommandLine) -> int:
    return len(served("list", "--remote", "--json").document["tasks"])


def test_original_sound_is_restored_and_the_served_file_kept(
    served: CommandLine,
) -> None:
    ended = served("edit", "clip.mp4", PROMPT, "--sound", "original", "-o", "out.mp4")
    task = edited(served, "--sound", "original", "-o", "out.mp4")

    assert (ended.status, ended.stdout) == (0, "out.mp4\n")
    assert see(served.folder / "out.mp4").beeps == BEEPS
    assert (served.folder / "out.served.mp4").read_bytes() == (
        served.folder / "clip.mp4"
    ).read_bytes()
    [saved] = task["saved"]
    assert (task["sound"], Path(saved["path"]).name) == ("original", "out.mp4")
    assert Path(saved["served"]["path"]).name == "out.served.mp4"
    assert saved["served"]["sha256"] != saved["sha256"]


def test_another_sound_costs_nothing_and_makes_another_file(
    served: CommandLine,
) -> None:
    first = edited(served, "-o", "out.mp4")
    silent = edited(served, "--sound", "none", "-o", "silent.mp4")
    again = edited(served, "--sound", "new", "-o", "out.mp4")

    assert {first["task_id"], silent["task_id"], again["task_id"]} == {first["task_id"]}
    assert count_of_tasks(served) == 1
    assert not probe_file(served.folder / "silent.mp4", name="silent").audio
    assert probe_file(served.folder / "out.mp4", name="out").audio
    assert (served.folder / "silent.served.mp4").exists()


def test_a_file_with_another_sound_is_not_replaced_without_force(served: CommandLine) -> None:
    edited(served, "-o", "out.mp4")

    refused = served("edit", "clip.mp4", PROMPT, "--sound", "none", "-o", "out.mp4")
    forced = served("edit", "clip.mp4", PROMPT, "--sound", "none", "-o", "out.mp4", "--force")

    assert (refused.status, forced.status) == (10, 0)
    assert not probe_file(served.folder / "out.mp4", name="out").audio
    assert probe_file(served.folder / "out.served.mp4", name="served").audio


def test_default_names_include_the_sound(served: CommandLine) -> None:
    for sound in ("new", "original", "none"):
        served("edit", "clip.mp4", PROMPT, "--sound", sound)
    served("edit", "clip.mp4", PROMPT, "--sound", "none", "-o", "folder/")

    endings = {path.name.rpartition("-")[2] for path in served.folder.glob("clip-*-none*.mp4")}
    assert endings == {"none.mp4", "none.served.mp4"}
    assert len([*served.folder.glob("clip-*-original.mp4")]) == 1
    assert len([*served.folder.glob("folder/clip-*-none.mp4")]) == 1


def test_a_part_of_a_clip_gets_the_sound_of_that_part(served: CommandLine) -> None:
    make_clip(served.folder / "clip.mp4", seconds=8, sound=Sound())

    edited(served, "--sound", "original", "-o", "out.mp4", "--start", "2.45", "--end", "6.5")

    seen = see(served.folder / "out.mp4")
    assert seen.beeps == pytest.approx([0.5, 1.5, 2.5, 3.5], abs=0.001)


def test_a_url_is_downloaded_only_for_its_original_sound(
    served: CommandLine, tmp_path: Path
) -> None:
    (tmp_path / "web").mkdir()
    make_clip(tmp_path / "web" / "clip.mp4", seconds=3, sound=Sound())

    with web_server(tmp_path / "web") as (url, requests):
        first = served("edit", f"{url}/clip.mp4", PROMPT, "-o", "new.mp4")
        count = len(requests)
        other = served("edit", f"{url}/clip.mp4", PROMPT, "--sound", "original", "-o", "out.mp4")

    assert (first.status, other.status, count, len(requests)) == (0, 0, 0, 1)
    # The sandbox's result is not as long as the clip.
    assert "the clip's sound is " in other.stderr
    assert see(served.folder / "out.mp4").beeps == pytest.approx(range(3), abs=0.001)


def test_the_served_file_is_kept_if_the_clip_cannot_be_fetched(
    served: CommandLine, tmp_path: Path
) -> None:
    with web_server(tmp_path) as (url, _):
        argv = ["edit", f"{url}/none.mp4", PROMPT, "--sound", "original", "-o", "out.mp4"]
        ended = served(*argv)

    assert (ended.status, "the clip cannot be fetched: " in ended.stderr) == (2, True)
    kept = served.folder / "out.served.mp4"
    assert f"the result as it was served is kept: {kept}" in ended.stderr
    assert (kept.exists(), (served.folder / "out.mp4").exists()) == (True, False)


def test_removing_absent_sound_leaves_no_second_file(served: CommandLine) -> None:
    make_clip(served.folder / "clip.mp4", seconds=2)

    task = edited(served, "--sound", "none", "-o", "out.mp4")
    again = served("edit", "clip.mp4", PROMPT, "--sound", "none", "-o", "out.mp4")

    assert [path.name for path in served.folder.glob("out*")] == ["out.mp4"]
    assert [file["served"] for file in task["saved"]] == [None]
    assert (again.status, "already here" in again.stderr) == (0, True)


def test_a_copy_of_a_file_without_sound_is_known_as_the_result_itself(served: CommandLine) -> None:
    make_clip(served.folder / "clip.mp4", seconds=2)
    edited(served, "--sound", "none", "-o", "silent.mp4")

    edited(served, "-o", "out.mp4")
    again = served("edit", "clip.mp4", PROMPT, "-o", "out.mp4")

    assert (again.status, "already here" in again.stderr) == (0, True)


def test_sound_applies_to_standard_output(served: CommandLine) -> None:
    ended = served("edit", "clip.mp4", PROMPT, "--sound", "none", "-o", "-")
    (served.folder / "out.mp4").write_bytes(ended.stdout.encode(errors="surrogateescape"))

    assert not probe_file(served.folder / "out.mp4", name="out").audio


def test_sound_applies_to_batches_and_split_edits(served: CommandLine) -> None:
    make_clip(served.folder / "long.mp4", seconds=12, sound=Sound())
    manifest = json.dumps({"video": "clip.mp4", "prompt": PROMPT})
    (served.folder / "edits.jsonl").write_text(manifest)

    batch = served("batch", "edits.jsonl", "--sound", "none")
    split = served("edit", "long.mp4", PROMPT, "--split", "--yes", "--sound", "none")

    for ended in (batch, split):
        assert (ended.status, ended.stdout.endswith("-none.mp4\n")) == (0, True), ended
        path = served.folder / ended.stdout.strip()
        assert not probe_file(path, name="out").audio


def test_a_joined_clip_is_described_in_document_and_sidecar(served: CommandLine) -> None:
    make_clip(served.folder / "long.mp4", seconds=12, sound=Sound())

    argv = ["edit", "long.mp4", PROMPT, "--split", "--yes", "--sidecar", "-o", "out.mp4", "--json"]
    ended, again = served(*argv), served(*argv)

    joined = ended.document["joined"]
    assert joined == again.document["joined"]
    assert (joined["duration_seconds"], joined["marks"]) == (pytest.approx(12, abs=0.1), [])
    sidecar = json.loads((served.folder / "out.mp4.json").read_text())
    assert (sidecar["sound"], sidecar["sha256"]) == ("original", joined["sha256"])


def test_losing_the_c2pa_manifest_is_reported(served: CommandLine) -> None:
    with_manifest(served.folder / "clip.mp4")

    plain = edited(served, "-o", "plain.mp4")
    ended = served("edit", "clip.mp4", PROMPT, "--sound", "none", "-o", "silent.mp4")
    [changed] = served("list", "--json").document["tasks"]

    assert plain["saved"][0]["marks"] == ["c2pa"]
    assert "the C2PA manifest of the result is lost in silent.mp4" in ended.stderr
    assert [file["marks"] for file in changed["saved"]] == [["c2pa"], []]


def test_the_format_of_a_result_is_recorded_and_differences_noted(served: CommandLine) -> None:
    ended = served("edit", "clip.mp4", f"{PROMPT} [sandbox:as-served]", "-o", "out.mp4")

    assert "the result is 1280x720 at 24 fps; the clip is " in ended.stderr
    [task] = served("list", "--json").document["tasks"]
    [saved] = task["saved"]
    assert (saved["width"], saved["height"], saved["frame_rate"]) == (1280, 720, 24)
    assert saved["duration_seconds"] == pytest.approx(4, abs=0.1)
    assert (saved["marks"], saved["served"]) == ([], None)
