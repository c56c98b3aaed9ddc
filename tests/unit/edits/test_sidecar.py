"""A sidecar records the origin of a saved result; it is whole or absent, never before its video."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from omniedit import __version__
from omniedit.downloads.part import part_path
from omniedit.sandbox import RunningSandbox
from tests.commandline import CommandLine
from tests.contract.test_blocks import service_tasks
from tests.schemas import fault
from tests.unit.cli.test_compare import HOSTILE
from tests.unit.media.clips import Sound, make_clip

NOW = "[sandbox:seconds=0]"


def told(path: Path) -> dict[str, Any]:
    """Return the content of a sidecar, which must match its schema."""
    document: dict[str, Any] = json.loads((path.parent / f"{path.name}.json").read_bytes())
    assert fault(document, "sidecar") is None
    return document


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def clip(served: CommandLine) -> Path:
    return make_clip(served.folder / "clip.mp4", seconds=2)


def test_a_sidecar_tells_all_that_is_known(served: CommandLine, clip: Path) -> None:
    first = served("--json", "edit", "clip.mp4", f"one {NOW}", "-o", "1.mp4").document["tasks"][0]

    argv = ["edit", f"task:{first['task_id']}", f"two\n{NOW}", "--start", "1", "-o", "2.mp4"]
    ended = served("--json", *argv, "--sidecar")

    [task] = ended.document["tasks"]
    found = told(served.folder / "2.mp4")
    assert ended.status == 0
    assert found["omniedit"] == __version__
    assert (found["video"], found["parents"]) == (f"task:{first['task_id']}", [first["task_id"]])
    assert found["video_sha256"] == digest(served.folder / "1.mp4")
    assert (found["start_seconds"], found["end_seconds"]) == (1, None)
    for key in ("task_id", "request_id", "prompt", "model", "created_at", "credits_used"):
        assert found[key] == task[key], key
    assert (found["file"], found["sha256"]) == ("2.mp4", digest(served.folder / "2.mp4"))
    assert [found[key] for key in ("width", "height", "frame_rate", "duration_seconds")] == [
        64,
        48,
        10,
        1,
    ]


def test_a_url_loses_what_may_be_secret(served: CommandLine) -> None:
    served("edit", "https://example.com/a.mp4?token=secret", NOW, "-o", "1.mp4", "--sidecar")

    assert told(served.folder / "1.mp4")["video"] == "https://example.com/a.mp4"


def test_outside_text_is_text_in_it(served: CommandLine, clip: Path) -> None:
    prompt = "".join(HOSTILE) + NOW

    served("edit", "clip.mp4", prompt, "-o", "1.mp4", "--sidecar")

    assert told(served.folder / "1.mp4")["prompt"] == prompt
    assert (served.folder / "1.mp4.json").read_bytes().isascii()


@pytest.mark.parametrize("command", ["edit", "wait", "download", "batch"])
def test_every_command_that_saves_writes_them(
    served: CommandLine, clip: Path, command: str
) -> None:
    task_id = ""
    if command in {"wait", "download"}:
        task_id = served("submit", "clip.mp4", NOW).stdout.strip()
        served("wait", task_id)
    argvs = {
        "edit": ["edit", "clip.mp4", NOW, "-o", "1.mp4"],
        "wait": ["wait", task_id, "-d", "1.mp4"],
        "download": ["download", task_id, "-o", "1.mp4"],
        "batch": ["batch", "-"],
    }
    line = json.dumps({"video": "clip.mp4", "prompt": NOW, "output": "1.mp4"})

    ended = served(*argvs[command], "--sidecar", stdin=line)

    assert ended.status == 0, ended
    assert told(served.folder / "1.mp4")["sha256"] == digest(served.folder / "1.mp4")


def test_the_settings_may_ask_for_them(served: CommandLine, clip: Path, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.mkdir()
    (config / "config.toml").write_text("sidecar = true\n")
    configured = served.in_(served.folder, OMNIEDIT_CONFIG_DIR=str(config))

    configured("edit", "clip.mp4", NOW, "-o", "1.mp4")

    assert told(served.folder / "1.mp4")
    shown = configured("--json", "config", "show").document
    assert (shown["sidecar"], shown["sidecar_source"]) == ("true", f"file: {config}/config.toml")
    (config / "config.toml").write_text('sidecar = "yes"\n')
    assert configured("config", "show").status == 2


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '{"task_id": "t-1"}', "[" * 100_000, "\0", '{"task_id": null}']
)
def test_a_foreign_file_is_refused_before_anything_is_paid(
    served: CommandLine, service: RunningSandbox, clip: Path, content: str
) -> None:
    foreign = served.folder / "1.mp4.json"
    foreign.write_text(content)

    ended = served("edit", "clip.mp4", NOW, "-o", "1.mp4", "--sidecar")

    assert (ended.status, foreign.read_text()) == (10, content)
    assert service_tasks(service) == []
    assert served("edit", "clip.mp4", NOW, "-o", "1.mp4", "--sidecar", "--force").status == 0
    assert told(served.folder / "1.mp4")["file"] == "1.mp4"


def test_the_next_run_completes_it_and_changes_no_whole_one(
    served: CommandLine, service: RunningSandbox, clip: Path
) -> None:
    argv = ["edit", "clip.mp4", NOW, "-o", "1.mp4"]
    served(*argv)
    assert not (served.folder / "1.mp4.json").exists()

    served(*argv, "--sidecar")
    first = told(served.folder / "1.mp4")
    written = (served.folder / "1.mp4.json").stat().st_mtime_ns
    served(*argv, "--sidecar")

    assert told(served.folder / "1.mp4") == first
    assert (served.folder / "1.mp4.json").stat().st_mtime_ns == written
    assert len(service_tasks(service)) == 1


def test_the_next_run_removes_the_part_file_that_a_kill_right_after_placement_left(
    served: CommandLine, clip: Path
) -> None:
    argv = ["edit", "clip.mp4", NOW, "-o", "1.mp4", "--sidecar"]
    served(*argv)
    sidecar = served.folder / "1.mp4.json"
    left_over = part_path(sidecar, told(served.folder / "1.mp4")["sha256"])
    left_over.hardlink_to(sidecar)

    served(*argv)

    assert not left_over.exists()
    assert sidecar.exists()


def test_download_of_all_completes_those_of_saved_results(served: CommandLine, clip: Path) -> None:
    served("edit", "clip.mp4", NOW, "-o", "1.mp4")
    served("edit", "clip.mp4", f"gone {NOW}", "-o", "2.mp4")
    served("edit", "clip.mp4", f"drop {NOW}", "--sound", "none", "-o", "3.mp4")
    (served.folder / "2.mp4").write_bytes(b"x" * (served.folder / "2.mp4").stat().st_size)

    assert served("download", "--all").status == 0
    assert not [*served.folder.glob("*.json")]
    ended = served("download", "--all", "--sidecar")

    assert (ended.status, ended.stdout) == (0, "")
    assert told(served.folder / "1.mp4")["file"] == "1.mp4"
    assert {path.name for path in served.folder.glob("*.json")} == {"1.mp4.json", "3.mp4.json"}


def test_another_try_replaces_the_sidecar_with_the_video(served: CommandLine, clip: Path) -> None:
    argv = ["edit", "clip.mp4", NOW, "-o", "1.mp4", "--sidecar"]
    served(*argv)
    first = told(served.folder / "1.mp4")["task_id"]

    again = served("--json", *argv, "--again", "--force").document["tasks"][0]["task_id"]

    assert told(served.folder / "1.mp4")["task_id"] == again != first


def test_a_joined_clip_has_one_as_its_pieces_have(served: CommandLine) -> None:
    make_clip(served.folder / "long.mp4", seconds=12, sound=Sound())
    argv = ["edit", "long.mp4", NOW, "--split", "--yes", "-o", "long-night.mp4", "--sidecar"]

    ended = served("--json", *argv)

    found = told(served.folder / "long-night.mp4")
    pieces = [told(Path(task["saved"][0]["path"])) for task in ended.document["tasks"]]
    assert (found["task_id"], len(pieces)) == (None, 2)
    assert found["credits_used"] == pytest.approx(sum(piece["credits_used"] for piece in pieces))
    assert [piece["end_seconds"] for piece in pieces] == [6, None]
    assert served(*argv).status == 0


@pytest.mark.parametrize("argv", [["edit", "clip.mp4", NOW, "-o", "-"], ["wait"]])
def test_without_a_file_there_is_none(served: CommandLine, clip: Path, argv: list[str]) -> None:
    assert served(*argv, "--sidecar").status == 2
