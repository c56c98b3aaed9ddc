"""The composite action: inputs are data, whatever they contain."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from omniedit.sandbox.server import RunningSandbox
from tests.commandline import sandbox_environ
from tests.contract.readme import ROOT

ACTION = ROOT / ".github/actions/edit"
INPUTS = re.compile(r"\$\{\{\s*inputs\.([a-z-]+)\s*\}\}")
HOSTILE = (
    "$(touch owned) `touch owned` ; touch owned && touch owned | touch owned\n"
    "path<<EOF\n/etc/passwd\nEOF\nname=value\n"
    "::error::fooled\n::set-output name=path::x\n##[error]fooled\n"
    "| a | b |\n| --- |\n</td></table><script>alert(1)</script> [x](javascript:y) @someone\n"
    "${{ secrets.EVOLINK_API_KEY }} '\"\\ %0A::warning::x \x1b]0;owned\x07 \u202eevil"
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the action runs in bash")


class Ended(NamedTuple):
    status: int
    stderr: str
    outputs: dict[str, str]
    summary: str


def outputs_of(text: str) -> dict[str, str]:
    """Return outputs as a runner reads them, each up to the line that holds only its delimiter."""
    found: dict[str, str] = {}
    lines = iter(text.split("\n"))
    for line in lines:
        if not line:
            continue
        name, is_long, mark = line.partition("<<")
        assert is_long, line
        value: list[str] = []
        while (part := next(lines)) != mark:
            value.append(part)
        found[name] = "\n".join(value)
    return found


def run_action(folder: Path, service: RunningSandbox, **inputs: str) -> Ended:
    files = {name: folder / name.lower() for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    environ = {f"EDIT_{name.upper()}": value for name, value in inputs.items()}
    ended = subprocess.run(
        [sys.executable, ACTION / "edit.py"],
        cwd=folder,
        env=os.environ
        | sandbox_environ(service.url)
        | {"GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "12345678901"}
        | {name: str(path) for name, path in files.items()}
        | environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    texts = {name: path.read_text("utf-8") for name, path in files.items()}
    outputs = outputs_of(texts["GITHUB_OUTPUT"])
    return Ended(ended.returncode, ended.stderr, outputs, texts["GITHUB_STEP_SUMMARY"])


def check_no_injection(ended: Ended, folder: Path) -> None:
    assert set(ended.outputs) == {"path", "task-id", "credits"}
    assert not (folder / "owned").exists()
    table = ended.summary.strip().split("\n")
    assert len(table) == 3, ended.summary
    assert {line.count("|") for line in table} == {6}
    assert not re.search(r"[<>`\x1b\u202e]", ended.summary)
    commands = [line for line in ended.stderr.splitlines() if line.lstrip().startswith("::")]
    assert all(line.startswith("::error::") for line in commands)
    assert "##[" not in ended.stderr


def test_a_hostile_prompt_reaches_the_service_unchanged(
    folder: Path, service: RunningSandbox
) -> None:
    prompt = f"{HOSTILE} [sandbox:seconds=0]"

    ended = run_action(folder, service, clip="https://example.com/clip.mp4", prompt=prompt)

    [edit], _ = service.store.tasks(now=0.0, status=None, model=None, limit=10, offset=0)
    assert ended.status == 0, ended
    assert edit.prompt == prompt
    assert ended.outputs["task-id"] == edit.task_id
    assert Path(ended.outputs["path"]).parent == folder
    assert float(ended.outputs["credits"]) == edit.credits_charged
    check_no_injection(ended, folder)


def test_another_model_in_the_same_run_is_another_edit(
    folder: Path, service: RunningSandbox
) -> None:
    edit = {"clip": "https://example.com/clip.mp4", "prompt": "x [sandbox:seconds=0]"}

    first = run_action(folder, service, **edit, output="one.mp4")
    second = run_action(
        folder, service, **edit, output="two.mp4", model="gemini-omni-1.1-flash-video-edit"
    )

    assert (first.status, second.status) == (0, 0), second
    assert first.outputs["task-id"] != second.outputs["task-id"]


@pytest.mark.parametrize(
    "inputs",
    [
        pytest.param({"clip": HOSTILE, "prompt": "x"}, id="clip"),
        pytest.param({"clip": "--help", "prompt": "x"}, id="clip-like-an-option"),
        pytest.param({"clip": "clip.mp4", "prompt": HOSTILE, "output": HOSTILE}, id="output"),
        pytest.param({"clip": "clip.mp4", "prompt": "x", "max_credits": HOSTILE}, id="max-credits"),
    ],
)
def test_a_hostile_input_is_refused_and_never_executed(
    folder: Path, service: RunningSandbox, inputs: dict[str, str]
) -> None:
    ended = run_action(folder, service, **inputs)

    assert ended.status == 2, ended
    assert ended.outputs == {"path": "", "task-id": "", "credits": ""}
    assert "::error::" in ended.stderr
    if ended.summary:
        check_no_injection(ended, folder)


def test_no_input_is_interpolated_into_the_script() -> None:
    text = (ACTION / "action.yml").read_text("utf-8")
    environment, script = text.split("      run: |\n")

    assert "${{" not in script
    assert len(INPUTS.findall(environment)) == 5
    assert environment.count("- id:") == 1
