"""Result names are valid on every system, and a sidecar records what a result is, or is absent."""

import hashlib
import json
from pathlib import Path, PureWindowsPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omniedit import __version__
from omniedit.downloads.part import part_path
from omniedit.edits.targets import Destination, default_name
from omniedit.models import is_local
from omniedit.sandbox.server import RunningSandbox
from tests.commandline import CommandLine
from tests.contract.test_blocks import service_tasks
from tests.schemas import fault
from tests.systems import windows
from tests.unit.cli.test_compare import HOSTILE
from tests.unit.media.clips import Sound, make_clip

IDENTITY = "0123456789abcdef"
NO_DELAY = "[sandbox:seconds=0]"


def name_for(video: str, prompt: str = "") -> str:
    return default_name(video, prompt, IDENTITY)


@pytest.mark.parametrize(
    ("video", "name"),
    [
        pytest.param("https://example.com/clip.mp4", "clip-012345.mp4", id="url"),
        pytest.param("clips/Take 2.mov", "Take-2-012345.mp4", id="local-file"),
        pytest.param("https://example.com/", "clip-012345.mp4", id="url-without-a-name"),
        pytest.param("https://example.com/%2e%2e%2fetc", "etc-012345.mp4", id="path-traversal"),
        pytest.param(
            "https://example.com/nul.mp4", "nul-012345.mp4", id="device-name-made-safe-by-digits"
        ),
        pytest.param(
            "https://example.com/con.cut.mp4",
            "clip-con.cut-012345.mp4",
            id="device-name-gets-a-prefix",
        ),
        pytest.param(
            "https://example.com/caf\u0065\u0301.mp4", "café-012345.mp4", id="composed-unicode"
        ),
    ],
)
def test_a_result_is_named_after_its_clip(video: str, name: str) -> None:
    assert name_for(video) == name


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        pytest.param("warmer lighting", "warmer-lighting", id="words"),
        pytest.param(" warmer: «lighting»!\n", "warmer-lighting", id="punctuation-is-dropped"),
        pytest.param("../../etc/passwd", "etc-passwd", id="path-traversal"),
        pytest.param(
            "テーブルを赤く、ほかはそのまま", "テーブルを赤く-ほかはそのまま", id="any-script"
        ),
        pytest.param("रात बना दो", "रात-बना-दो", id="combining-marks"),
        pytest.param("caf\u0065\u0301", "café", id="composed-unicode"),
        pytest.param(
            "make it night, and keep everything else unchanged",
            "make-it-night-and-keep-everything-else",
            id="whole-words-up-to-forty-characters",
        ),
        pytest.param("x" * 50, "x" * 40, id="long-word-is-cut"),
    ],
)
def test_a_result_is_named_after_its_prompts_first_words(prompt: str, words: str) -> None:
    assert name_for("clip.mp4", prompt) == f"clip-{words}-012345.mp4"


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_clip_and_prompt_give_a_name_valid_everywhere(name: str, prompt: str) -> None:
    result_name = name_for(f"https://example.com/{name}", prompt)

    assert windows().path_fault(f"C:\\out\\{result_name}") is None
    assert PureWindowsPath(result_name).name == result_name
    assert not result_name.startswith((".", "-"))
    assert len(result_name) <= 80 + 1 + 40 + 1 + 6 + 4
    assert len(result_name.encode()) <= 240


@pytest.mark.parametrize(
    ("video", "expected"),
    [
        ("https://example.com/clip.mp4", False),
        ("ftp://example.com/clip.mp4", False),
        ("C:\\clips\\clip.mp4", True),
        ("C:/clips/clip.mp4", True),
        ("c://clips/clip.mp4", True),
        ("\\\\server\\share\\clip.mp4", True),
        ("clip.mp4", True),
        ("/clips/clip.mp4", True),
    ],
)
def test_a_drive_letter_is_not_a_url_scheme(*, video: str, expected: bool) -> None:
    assert is_local(video) is expected


def test_a_name_in_a_folder_leaves_room_for_a_sidecar(cwd: Path) -> None:
    target = Destination("out/").target("漢" * 80 + ".mp4", "task-unified-1-01235023")
    assert target is not None

    assert len(f"{target.path.name}.json".encode()) <= 255


def read_sidecar(path: Path) -> dict[str, Any]:
    """Return the sidecar of a video, checked against its schema."""
    document: dict[str, Any] = json.loads((path.parent / f"{path.name}.json").read_bytes())
    assert fault(document, "sidecar") is None
    return document


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def clip(served: CommandLine) -> Path:
    return make_clip(served.folder / "clip.mp4", seconds=2)


def test_a_sidecar_records_the_result_and_its_origin(served: CommandLine, clip: Path) -> None:
    submitted = served("--json", "edit", "clip.mp4", f"one {NO_DELAY}", "-o", "1.mp4")
    first = submitted.document["tasks"][0]

    argv = ["edit", f"task:{first['task_id']}", f"two\n{NO_DELAY}", "--start", "1", "-o", "2.mp4"]
    ended = served("--json", *argv, "--sidecar")

    [task] = ended.document["tasks"]
    found = read_sidecar(served.folder / "2.mp4")
    assert ended.status == 0
    assert found["omniedit"] == __version__
    assert (found["video"], found["parents"]) == (f"task:{first['task_id']}", [first["task_id"]])
    assert found["video_sha256"] == sha256_of(served.folder / "1.mp4")
    assert (found["start_seconds"], found["end_seconds"]) == (1, None)
    for key in ("task_id", "request_id", "prompt", "model", "created_at", "credits_used"):
        assert found[key] == task[key], key
    assert (found["file"], found["sha256"]) == ("2.mp4", sha256_of(served.folder / "2.mp4"))
    assert [found[key] for key in ("width", "height", "frame_rate", "duration_seconds")] == [
        64,
        48,
        10,
        1,
    ]


def test_secrets_are_removed_from_the_clip_url(served: CommandLine) -> None:
    served("edit", "https://example.com/a.mp4?token=secret", NO_DELAY, "-o", "1.mp4", "--sidecar")

    assert read_sidecar(served.folder / "1.mp4")["video"] == "https://example.com/a.mp4"


def test_a_hostile_prompt_is_preserved_as_ascii_json(served: CommandLine, clip: Path) -> None:
    prompt = "".join(HOSTILE) + NO_DELAY

    served("edit", "clip.mp4", prompt, "-o", "1.mp4", "--sidecar")

    assert read_sidecar(served.folder / "1.mp4")["prompt"] == prompt
    assert (served.folder / "1.mp4.json").read_bytes().isascii()


@pytest.mark.parametrize("command", ["edit", "wait", "download", "batch"])
def test_every_saving_command_writes_a_sidecar(
    served: CommandLine, clip: Path, command: str
) -> None:
    task_id = ""
    if command in {"wait", "download"}:
        task_id = served("submit", "clip.mp4", NO_DELAY).stdout.strip()
        served("wait", task_id)
    argvs = {
        "edit": ["edit", "clip.mp4", NO_DELAY, "-o", "1.mp4"],
        "wait": ["wait", task_id, "-d", "1.mp4"],
        "download": ["download", task_id, "-o", "1.mp4"],
        "batch": ["batch", "-"],
    }
    line = json.dumps({"video": "clip.mp4", "prompt": NO_DELAY, "output": "1.mp4"})

    ended = served(*argvs[command], "--sidecar", stdin=line)

    assert ended.status == 0, ended
    assert read_sidecar(served.folder / "1.mp4")["sha256"] == sha256_of(served.folder / "1.mp4")


def test_the_sidecar_setting_enables_sidecars(
    served: CommandLine, clip: Path, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.mkdir()
    (config / "config.toml").write_text("sidecar = true\n")
    configured = served.in_(served.folder, OMNIEDIT_CONFIG_DIR=str(config))

    configured("edit", "clip.mp4", NO_DELAY, "-o", "1.mp4")

    assert read_sidecar(served.folder / "1.mp4")
    shown = configured("--json", "config", "show").document
    assert (shown["sidecar"], shown["sidecar_source"]) == ("true", f"file: {config}/config.toml")
    (config / "config.toml").write_text('sidecar = "yes"\n')
    assert configured("config", "show").status == 2


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '{"task_id": "t-1"}', "[" * 100_000, "\0", '{"task_id": null}']
)
def test_a_foreign_file_is_refused_before_submitting(
    served: CommandLine, service: RunningSandbox, clip: Path, content: str
) -> None:
    foreign = served.folder / "1.mp4.json"
    foreign.write_text(content)

    ended = served("edit", "clip.mp4", NO_DELAY, "-o", "1.mp4", "--sidecar")

    assert (ended.status, foreign.read_text()) == (10, content)
    assert service_tasks(service) == []
    assert served("edit", "clip.mp4", NO_DELAY, "-o", "1.mp4", "--sidecar", "--force").status == 0
    assert read_sidecar(served.folder / "1.mp4")["file"] == "1.mp4"


def test_the_next_run_adds_a_missing_sidecar_and_keeps_it(
    served: CommandLine, service: RunningSandbox, clip: Path
) -> None:
    argv = ["edit", "clip.mp4", NO_DELAY, "-o", "1.mp4"]
    served(*argv)
    assert not (served.folder / "1.mp4.json").exists()

    served(*argv, "--sidecar")
    first = read_sidecar(served.folder / "1.mp4")
    written = (served.folder / "1.mp4.json").stat().st_mtime_ns
    served(*argv, "--sidecar")

    assert read_sidecar(served.folder / "1.mp4") == first
    assert (served.folder / "1.mp4.json").stat().st_mtime_ns == written
    assert len(service_tasks(service)) == 1


def test_the_next_run_removes_a_leftover_part_file(served: CommandLine, clip: Path) -> None:
    argv = ["edit", "clip.mp4", NO_DELAY, "-o", "1.mp4", "--sidecar"]
    served(*argv)
    sidecar = served.folder / "1.mp4.json"
    leftover_part = part_path(sidecar, read_sidecar(served.folder / "1.mp4")["sha256"])
    leftover_part.hardlink_to(sidecar)

    served(*argv)

    assert not leftover_part.exists()
    assert sidecar.exists()


def test_download_all_adds_missing_sidecars(served: CommandLine, clip: Path) -> None:
    served("edit", "clip.mp4", NO_DELAY, "-o", "1.mp4")
    served("edit", "clip.mp4", f"gone {NO_DELAY}", "-o", "2.mp4")
    served("edit", "clip.mp4", f"drop {NO_DELAY}", "--sound", "none", "-o", "3.mp4")
    (served.folder / "2.mp4").write_bytes(b"x" * (served.folder / "2.mp4").stat().st_size)

    assert served("download", "--all").status == 0
    assert not [*served.folder.glob("*.json")]
    ended = served("download", "--all", "--sidecar")

    assert (ended.status, ended.stdout) == (0, "")
    assert read_sidecar(served.folder / "1.mp4")["file"] == "1.mp4"
    assert {path.name for path in served.folder.glob("*.json")} == {"1.mp4.json", "3.mp4.json"}


def test_again_replaces_both_video_and_sidecar(served: CommandLine, clip: Path) -> None:
    argv = ["edit", "clip.mp4", NO_DELAY, "-o", "1.mp4", "--sidecar"]
    served(*argv)
    first = read_sidecar(served.folder / "1.mp4")["task_id"]

    again = served("--json", *argv, "--again", "--force").document["tasks"][0]["task_id"]

    assert read_sidecar(served.folder / "1.mp4")["task_id"] == again != first


def test_a_joined_clip_and_its_pieces_have_sidecars(served: CommandLine) -> None:
    make_clip(served.folder / "long.mp4", seconds=12, sound=Sound())
    argv = ["edit", "long.mp4", NO_DELAY, "--split", "--yes", "-o", "long-night.mp4", "--sidecar"]

    ended = served("--json", *argv)

    found = read_sidecar(served.folder / "long-night.mp4")
    pieces = [read_sidecar(Path(task["saved"][0]["path"])) for task in ended.document["tasks"]]
    assert (found["task_id"], len(pieces)) == (None, 2)
    assert found["credits_used"] == pytest.approx(sum(piece["credits_used"] for piece in pieces))
    assert [piece["end_seconds"] for piece in pieces] == [6, None]
    assert served(*argv).status == 0


@pytest.mark.parametrize("argv", [["edit", "clip.mp4", NO_DELAY, "-o", "-"], ["wait"]])
def test_a_sidecar_without_an_output_file_is_refused(
    served: CommandLine, clip: Path, argv: list[str]
) -> None:
    assert served(*argv, "--sidecar").status == 2
