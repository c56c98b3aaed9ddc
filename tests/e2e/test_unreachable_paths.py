"""What a path names may be out of reach: that is a local problem, or no problem, and never a bug."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from omniedit.cli.main import run
from omniedit.sandbox.clips import BUNDLED_CLIP
from tests.commandline import sandbox_environ

pytestmark = pytest.mark.e2e

URL = "https://example.com/clip.mp4"
NOBODY = "http://127.0.0.1:9"
CLIP = str(BUNDLED_CLIP)


@pytest.fixture
def removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working folder of this process, which is gone."""
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
        pytest.param(f"edit {URL} warmer -o out.mp4", {}, id="edit-to-a-name"),
        pytest.param("wait task-1 -d out.mp4", {}, id="wait"),
        pytest.param("download task-1 -o out.mp4", {}, id="download"),
        pytest.param(f"batch {CLIP} --prompt warmer", {}, id="batch"),
        pytest.param("probe clip.mp4", {}, id="probe"),
        pytest.param(f"probe {CLIP} --save-prepared out.mp4", {}, id="probe-to-a-name"),
        pytest.param(f"compare {CLIP} {CLIP} -o out.html", {}, id="compare"),
        pytest.param("list", {"OMNIEDIT_STATE_DIR": "state"}, id="state-folder"),
        pytest.param("list", {"OMNIEDIT_CONFIG_DIR": "config"}, id="config-folder"),
    ],
)
def test_what_depends_on_a_working_folder_that_is_gone_says_so(
    capsys: pytest.CaptureFixture[str], home: Path, line: str, environ: Mapping[str, str]
) -> None:
    settings = {**sandbox_environ(NOBODY), "OMNIEDIT_STATE_DIR": str(home / "state"), **environ}

    status = run([*line.split(), "--json"], settings)

    answer = capsys.readouterr()
    assert (status, json.loads(answer.out)["error"]["exit_status"]) == (10, 10)
    assert "the working folder is gone" in answer.err


@pytest.mark.usefixtures("removed")
def test_a_whole_path_needs_no_working_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert (run(["probe", CLIP], {}), capsys.readouterr().err) == (0, "")
