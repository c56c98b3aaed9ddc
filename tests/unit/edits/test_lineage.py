"""VIDEO may be `task:TASK`, the result of an earlier edit; a repeated chain is recognized."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from omniedit.sandbox.clips import BUNDLED_CLIP
from omniedit.sandbox.server import RunningSandbox
from tests.commandline import CommandLine, sandbox_environ, task_ids
from tests.contract.test_blocks import service_tasks

CLIP_URL = "https://example.com/clip.mp4"
NO_DELAY = "[sandbox:seconds=0]"


@pytest.fixture
def first_id(served: CommandLine) -> str:
    """Return the task ID of an edit whose result is saved as `first.mp4`."""
    (served.folder / "clip.mp4").write_bytes(BUNDLED_CLIP.read_bytes())
    [task] = served("--json", "edit", "clip.mp4", NO_DELAY, "-o", "first.mp4").document["tasks"]
    return str(task["task_id"])


def test_a_result_can_be_the_clip_of_the_next_edit(served: CommandLine, first_id: str) -> None:
    ended = served(
        "--json", "edit", f"task:{first_id[-8:]}", f"more {NO_DELAY}", "-o", "second.mp4"
    )

    [task] = ended.document["tasks"]
    assert (ended.status, task["parent"], task["video"]) == (0, first_id, f"task:{first_id}")
    assert ended.stderr.count("another encoding") == 1


@pytest.mark.parametrize("command", ["edit", "submit", "batch"])
def test_a_repeated_chain_is_recognized(
    served: CommandLine, service: RunningSandbox, first_id: str, command: str
) -> None:
    served("edit", f"task:{first_id}", f"more {NO_DELAY}", "-o", "second.mp4")
    (served.folder / "first.mp4").rename(served.folder / "moved.mp4")
    manifest = json.dumps(
        {"video": f"task:{first_id}", "prompt": f"more {NO_DELAY}", "output": "3.mp4"}
    )

    if command == "batch":
        ended = served("batch", "-", stdin=manifest)
    elif command == "edit":
        # The same bytes under another name are the same clip.
        ended = served("edit", "moved.mp4", f"more {NO_DELAY}", "-o", "3.mp4")
        assert served("edit", f"task:{first_id}", f"more {NO_DELAY}", "-o", "3.mp4").status == 0
    else:
        ended = served("submit", f"task:{first_id}", f"more {NO_DELAY}")
        assert "the same edit is known here" in ended.stderr

    assert ended.status == 0, ended
    assert len(service_tasks(service)) == (3 if command == "submit" else 2)


def test_a_missing_result_is_fetched_without_leaving_a_file(
    served: CommandLine, first_id: str
) -> None:
    (served.folder / "first.mp4").unlink()

    ended = served("edit", f"task:{first_id}", f"more {NO_DELAY}")

    assert ended.status == 0, ended
    assert ended.stdout.startswith(f"{first_id[-8:]}-more-")
    assert {path.name for path in served.folder.iterdir()} == {"clip.mp4", ended.stdout.strip()}
    assert not [*served.folder.parent.glob("home/state/**/result.mp4")]


@pytest.mark.parametrize("command", ["edit", "batch"])
def test_a_known_edit_needs_its_clip_no_more(
    served: CommandLine, start_sandbox: Callable[..., RunningSandbox], command: str
) -> None:
    later_s = 0.0
    service = start_sandbox(link_ttl_s=60.0, clock=lambda: time.time() + later_s)
    served = CommandLine(served.folder, sandbox_environ(service.url))
    [first] = served("--json", "edit", CLIP_URL, NO_DELAY, "-o", "first.mp4").document["tasks"]
    line = {"video": f"task:{first['task_id']}", "prompt": f"more {NO_DELAY}", "output": "2.mp4"}
    argv, stdin = ["edit", line["video"], line["prompt"], "-o", "2.mp4"], ""
    if command == "batch":
        argv, stdin = ["batch", "-"], json.dumps(line)
    served(*argv, stdin=stdin)
    (served.folder / "first.mp4").unlink()
    later_s = 100.0

    ended = served(*argv, stdin=stdin)

    assert (ended.status, ended.stdout) == (0, "2.mp4\n"), ended
    assert len(service_tasks(service)) == 2


def test_force_never_replaces_the_result_being_edited(served: CommandLine, first_id: str) -> None:
    ended = served("edit", f"task:{first_id}", f"more {NO_DELAY}", "-o", "first.mp4", "--force")

    assert ended.status == 10
    assert "a result never replaces it" in ended.stderr


@pytest.mark.parametrize(
    ("marker", "status"),
    [
        pytest.param("stall", 6, id="unfinished"),
        pytest.param("fail=content_policy_violation", 5, id="failed"),
        pytest.param("expired", 7, id="gone"),
    ],
)
@pytest.mark.parametrize("command", ["edit", "submit", "batch"])
def test_a_task_without_a_result_is_refused_as_a_clip(
    served: CommandLine, service: RunningSandbox, marker: str, status: int, command: str
) -> None:
    task_id = served("submit", "https://example.com/clip.mp4", f"[sandbox:{marker}]").stdout.strip()
    if status != 6:
        served("wait", task_id)
    argv = ["batch", "-"] if command == "batch" else [command, f"task:{task_id}", "more"]

    ended = served(*argv, stdin=json.dumps({"video": f"task:{task_id}", "prompt": "more"}))

    assert ended.status == status, ended
    assert len(service_tasks(service)) == 1


def test_an_invalid_line_outranks_an_unfinished_parent(
    served: CommandLine, service: RunningSandbox
) -> None:
    task_id = served("submit", "https://example.com/clip.mp4", "[sandbox:stall]").stdout.strip()
    unfinished = json.dumps({"video": f"task:{task_id}", "prompt": "more"})

    ended = served("--json", "batch", "-", stdin=f'{unfinished}\n{{"video": "x"}}\n')

    assert ended.status == 2, ended
    codes = [task["error"]["code"] for task in ended.document["tasks"]]
    assert codes == ["not_finished", "invalid_manifest"]
    assert len(service_tasks(service)) == 1


@pytest.mark.parametrize("command", ["edit", "submit", "batch"])
def test_task_last_is_refused_when_paying_and_the_id_is_named(
    served: CommandLine, service: RunningSandbox, first_id: str, command: str
) -> None:
    argv = ["batch", "-"] if command == "batch" else [command, "task:last", "more"]

    ended = served(*argv, stdin='{"video": "task:last", "prompt": "more"}')

    assert ended.status == 2
    assert f"`task:{first_id}`" in ended.stderr
    assert service_tasks(service) == [first_id]


def test_probe_accepts_task_last(served: CommandLine, first_id: str) -> None:
    ended = served("--json", "probe", "task:last")

    assert (ended.status, ended.document["fits"]) == (0, True)
    assert ended.document["bytes"] == (served.folder / "first.mp4").stat().st_size


def test_an_invalid_task_reference_is_refused(served: CommandLine) -> None:
    assert served("edit", "task:../x", "more").status == 2
    assert not [*Path(served.folder).iterdir()]
    assert task_ids(served("--json", "list").document["tasks"]) == []
