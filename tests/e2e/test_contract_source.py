"""No result ever replaces the local clip from which it was made, even with `--force`."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from omniedit.sandbox.server import RunningSandbox
from tests.commandline import CommandLine
from tests.e2e.test_contract_equipment import CLIP, NOW, check_failure, submissions

pytestmark = pytest.mark.e2e

PROMPT = f"warmer {NOW}"


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "record.jsonl"


@pytest.fixture
def service(start_sandbox: Callable[..., RunningSandbox], record: Path) -> RunningSandbox:
    return start_sandbox(record=record)


@pytest.fixture
def served(served: CommandLine, service: RunningSandbox) -> CommandLine:
    return served.in_(served.folder, OMNIEDIT_FILES_URL=service.url)


@pytest.fixture
def clip(served: CommandLine, service: RunningSandbox, record: Path) -> Path:
    """Return a real local MP4, a result of the sandbox, with two links to it and a copy."""
    assert served("edit", CLIP, f"clip {NOW}", "-o", "clip.mp4", "-q").status == 0
    record.unlink()
    folder = served.folder
    (folder / "sub").mkdir()
    (folder / "link.mp4").symlink_to("clip.mp4")
    os.link(folder / "clip.mp4", folder / "hard.mp4")
    shutil.copy(folder / "clip.mp4", folder / "copy.mp4")
    return folder / "clip.mp4"


@pytest.mark.parametrize(
    "target",
    ["clip.mp4", "sub/../clip.mp4", "new/../clip.mp4", "link.mp4", "hard.mp4", "copy.mp4"],
)
def test_an_edit_never_replaces_its_clip(
    served: CommandLine, clip: Path, record: Path, target: str
) -> None:
    before = clip.read_bytes()

    ended = served("edit", "clip.mp4", PROMPT, "-o", target, "--force")

    check_failure(ended, 10, "clip")
    assert clip.read_bytes() == before
    assert not record.exists() or not submissions(record)


@pytest.mark.parametrize(
    "command", [["wait", "-o"], ["download", "-o"], ["edit", "clip.mp4", PROMPT, "-o"]]
)
def test_a_submitted_task_never_replaces_its_clip(
    served: CommandLine, clip: Path, command: list[str]
) -> None:
    before = clip.read_bytes()
    assert served("submit", "clip.mp4", PROMPT).status == 0

    for target in ("clip.mp4", "new/../clip.mp4", "hard.mp4"):
        check_failure(served(*command, target, "--force"), 10, "clip")

    assert clip.read_bytes() == before
    assert (clip.parent / "hard.mp4").samefile(clip)


@pytest.mark.parametrize("command", ["wait", "download"])
def test_a_task_saved_from_another_folder_never_replaces_its_clip(
    served: CommandLine, clip: Path, command: str
) -> None:
    before = clip.read_bytes()
    assert served("submit", "clip.mp4", PROMPT).status == 0
    elsewhere = served.in_(clip.parent / "sub")
    (elsewhere.folder / "clip.mp4").write_bytes(b"another file of that name")

    check_failure(elsewhere(command, "-o", "../clip.mp4", "--force"), 10, "clip")
    replaced = elsewhere(command, "-o", "clip.mp4", "--force")

    assert clip.read_bytes() == before
    assert (replaced.status, replaced.stdout) == (0, "clip.mp4\n"), replaced


def test_a_target_behind_a_missing_folder_is_resolved_before_submitting(
    served: CommandLine, clip: Path, record: Path
) -> None:
    before = clip.read_bytes()

    check_failure(served("edit", CLIP, PROMPT, "-o", "new/../clip.mp4"), 10, "exists")
    check_failure(served("probe", "hard.mp4", "--save-prepared", "new/../clip.mp4"), 10, "exists")

    assert clip.read_bytes() == before
    assert not record.exists() or not submissions(record)


@pytest.mark.parametrize("output", ["clip.mp4", "new/../clip.mp4", "copy.mp4"])
def test_a_batch_line_never_replaces_its_clip(
    served: CommandLine, clip: Path, record: Path, output: str
) -> None:
    before = clip.read_bytes()
    line = {"video": "clip.mp4", "prompt": PROMPT, "output": output}
    (clip.parent / "edits.jsonl").write_text(json.dumps(line))

    ended = served("batch", "edits.jsonl", "--force")

    check_failure(ended, 10, "clip")
    assert clip.read_bytes() == before
    assert not record.exists() or not submissions(record)


@pytest.mark.parametrize("content", [b"", b"a note"], ids=["empty", "text"])
@pytest.mark.parametrize(
    "command", [["wait", "-o"], ["download", "-o"], ["edit", "clip.mp4", PROMPT, "-o"]]
)
def test_a_file_that_is_no_clip_is_replaced_with_force_only(
    served: CommandLine, clip: Path, command: list[str], content: bytes
) -> None:
    assert served("submit", "clip.mp4", PROMPT).status == 0
    target = clip.parent / "out.mp4"
    target.write_bytes(content)

    refused = served(*command, "out.mp4")
    kept = target.read_bytes()
    replaced = served(*command, "out.mp4", "--force")

    check_failure(refused, 10, "exists")
    assert kept == content
    assert (replaced.status, replaced.stdout) == (0, "out.mp4\n"), replaced
    assert target.read_bytes()[4:8] == b"ftyp"


def test_a_forgotten_sandbox_result_is_explained(served: CommandLine, clip: Path) -> None:
    assert served("edit", "clip.mp4", PROMPT, "-o", "out.mp4").status == 0
    fresh = served.in_(clip.parent, OMNIEDIT_STATE_DIR=str(clip.parent / "new-state"))

    own = fresh("edit", "clip.mp4", PROMPT, "-o", "clip.mp4", "--force")
    forgotten = fresh("edit", "clip.mp4", PROMPT, "-o", "out.mp4")

    check_failure(own, 10, "hint: choose another name for the result\n")
    check_failure(
        forgotten, 10, "sandbox results are copies of the clip: if this is one, remove it"
    )
