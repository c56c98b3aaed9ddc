"""An unreachable path is at most a local error, never an internal one."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from omniedit.cli.main import run
from omniedit.sandbox.clips import BUNDLED_CLIP
from tests.commandline import CommandLine, sandbox_environ

pytestmark = pytest.mark.e2e

URL = "https://example.com/clip.mp4"
UNREACHABLE_URL = "http://127.0.0.1:9"
CLIP = str(BUNDLED_CLIP)
TOO_LONG_NAME = "a" * 300
"""A name too long for any file: accessing it fails, even for root, as without permission."""


@pytest.fixture
def removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working folder of this process, which has been removed."""
    folder = tmp_path / "removed"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    return folder


@pytest.mark.usefixtures("removed")
@pytest.mark.parametrize(
    ("line", "environ"),
    [
        pytest.param(f"edit {URL} warmer", {}, id="edit"),
        pytest.param(f"edit {URL} warmer -o out.mp4", {}, id="edit-with-output"),
        pytest.param("wait task-1 -d out.mp4", {}, id="wait"),
        pytest.param("download task-1 -o out.mp4", {}, id="download"),
        pytest.param(f"batch {CLIP} --prompt warmer", {}, id="batch"),
        pytest.param("probe clip.mp4", {}, id="probe"),
        pytest.param(f"probe {CLIP} --save-prepared out.mp4", {}, id="probe-save-prepared"),
        pytest.param(f"compare {CLIP} {CLIP} -o out.html", {}, id="compare"),
        pytest.param("list", {"OMNIEDIT_STATE_DIR": "state"}, id="state-folder"),
        pytest.param("list", {"OMNIEDIT_CONFIG_DIR": "config"}, id="config-folder"),
    ],
)
def test_a_missing_working_folder_is_status_10(
    capsys: pytest.CaptureFixture[str], home: Path, line: str, environ: Mapping[str, str]
) -> None:
    settings = {
        **sandbox_environ(UNREACHABLE_URL),
        "OMNIEDIT_STATE_DIR": str(home / "state"),
        **environ,
    }

    status = run([*line.split(), "--json"], settings)

    answer = capsys.readouterr()
    assert (status, json.loads(answer.out)["error"]["exit_status"]) == (10, 10)
    assert "the working folder is gone" in answer.err


@pytest.mark.usefixtures("removed")
def test_an_absolute_path_needs_no_working_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert (run(["probe", CLIP], {}), capsys.readouterr().err) == (0, "")


def test_a_known_result_cannot_be_saved_to_an_unreachable_folder(
    served: CommandLine,
) -> None:
    first = served("batch", CLIP, "--prompt", "warmer", "--dir", "out")
    again = served("batch", CLIP, "--prompt", "warmer", "--dir", f"{TOO_LONG_NAME}/out")

    assert (first.status, again.status) == (0, 10), (first, again)
    assert "File name too long" in again.stderr


@pytest.mark.parametrize("more", [[], ["--prompt", "warmer"]], ids=["manifest", "clip"])
def test_an_unreachable_batch_source_is_named(served: CommandLine, more: list[str]) -> None:
    ended = served("batch", TOO_LONG_NAME, *more)

    assert ended.status == 2, ended
    assert "File name too long" in ended.stderr


def test_an_unreachable_file_to_compare_is_not_taken_for_a_task(served: CommandLine) -> None:
    ended = served("compare", f"{TOO_LONG_NAME}.mp4", CLIP)

    assert ended.status == 2, ended
    assert "File name too long" in ended.stderr


def test_an_unwritable_summary_is_reported_once(served: CommandLine) -> None:
    ended = served("edit", URL, "warmer", "--summary", TOO_LONG_NAME)

    assert ended.status == 10, ended
    assert ended.stderr.count("cannot write the summary") == 1


def test_a_broken_symlink_in_a_folder_does_not_stop_other_clips(
    served: CommandLine,
) -> None:
    clips = served.folder / "clips"
    clips.mkdir()
    (clips / "clip.mp4").write_bytes(BUNDLED_CLIP.read_bytes())
    (clips / "lost.mp4").symlink_to(TOO_LONG_NAME)

    ended = served("batch", "clips", "--prompt", "warmer", "--dir", "out")

    assert ended.status == 0, ended
    assert len(ended.stdout.split()) == 1


def test_recover_reports_an_unreachable_journal(served: CommandLine) -> None:
    ended = served("journal", "recover", OMNIEDIT_STATE_DIR=f"/{TOO_LONG_NAME}")

    assert ended.status == 10, ended
    assert "journal.db: File name too long" in ended.stderr


def test_merge_refuses_an_unreachable_journal_by_name(
    served: CommandLine,
) -> None:
    ended = served("journal", "merge", TOO_LONG_NAME)

    assert ended.status == 10, ended
    assert "journal.db cannot be used: File name too long" in ended.stderr
    assert ended.stderr.endswith("hint: check the folder's name and its permissions\n")


def test_an_empty_list_survives_an_unreachable_sandbox_journal(
    capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    state = home / "journal"
    state.mkdir(mode=0o700)
    (state / "sandbox").symlink_to(TOO_LONG_NAME)

    status = run(["list", "--offline"], {"OMNIEDIT_STATE_DIR": str(state)})

    assert (status, capsys.readouterr().err) == (0, "note: nothing to list\n")


def test_an_unreachable_clip_is_not_called_missing(served: CommandLine) -> None:
    ended = served("edit", TOO_LONG_NAME, "warmer")

    assert ended.status == 2, ended
    assert "File name too long" in ended.stderr
