"""Every code block of README and the manual works as written."""

import os
import re
import shutil
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from importlib import resources
from pathlib import Path

import pytest

from omniedit.sandbox.server import RunningSandbox
from omniedit.sandbox.submissions import MARKERS as SANDBOX_MARKERS
from tests.commandline import CommandLine, sandbox_environ
from tests.contract.readme import INSTALLS, MANUAL, README, ROOT, Block, blocks
from tests.unit.media.clips import Sound, make_clip

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(sys.platform == "win32", reason="the blocks are written for bash"),
]
TEST_LINE = 'python -m pip install -e ".[dev]" && python -m pytest -n auto'
# Installing takes minutes; `.ci/run` does it, with the line that README names.
INSTALL_LINES = {
    'python -m pip install ".[sandbox]" && ',
    'python -m pip install -e ".[dev]" && ',
    'python -m pip install "omniedit[all] @ git+https://github.com/omniedit/omniedit"',
    'pipx install "omniedit[all] @ git+https://github.com/omniedit/omniedit"',
    'uv tool install "omniedit[all] @ git+https://github.com/omniedit/omniedit"',
    "- run: python -m pip install git+https://github.com/omniedit/omniedit",
    "- python -m pip install git+https://github.com/omniedit/omniedit",
}
FREE_PORT = "8123"
MP4_MAGIC = b"ftyp"
Run = Callable[[str, Mapping[str, str]], None]
MARKERS = {
    "fail=content_policy_violation": 5,
    "cancel": 5,
    "empty": 7,
    "retired": 3,
    "as-served": 0,
    "http=400": 2,
    "http=401": 3,
    "http=402": 4,
    "http=403": 3,
    "http=429": 8,
    "http=500": 9,
    "http=503": 9,
    "seconds=3": 0,
    "stall": 6,
    "expired": 7,
    "cut": 0,
    "lost-reply": 0,
}

(MANIFEST,) = blocks("jsonl")

CACHED = r"^ +paths?:( \[\.omniedit.*\]| \|\n +\.omniedit\n(?: +\w+\n)+)"
"""What a workflow caches."""

ACTION = ROOT / ".github/actions/edit/edit.py"

shell_blocks = pytest.mark.parametrize("block", blocks("bash"), ids=lambda block: block.name)
workflow_blocks = pytest.mark.parametrize("block", blocks("yaml"), ids=lambda block: block.name)


@pytest.fixture
def workspace(folder: Path) -> Path:
    """Return a folder with the files that the blocks assume."""
    clip = resources.files("omniedit.sandbox").joinpath("sandbox.mp4").read_bytes()
    (folder / "clip.mp4").write_bytes(clip)
    make_clip(folder / "long.mp4", seconds=12, sound=Sound())
    (folder / "clips").mkdir()
    for number in (1, 2):
        make_clip(folder / "clips" / f"{number}.mp4", seconds=number)
    (folder / "edits.jsonl").write_text(MANIFEST.text)
    return folder


@pytest.fixture
def run(workspace: Path, commands: Path) -> Run:
    """Return a function that runs a script in the workspace; bash stops at the first error."""

    def run(script: str, environ: Mapping[str, str]) -> None:
        ended = subprocess.run(
            ["bash", "-eu", "-o", "pipefail", "-c", script],  # noqa: S607 - whichever bash is on PATH
            cwd=workspace,
            env={
                **os.environ,
                **environ,
                "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
                "SHELL": "/bin/bash",
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        for name in re.findall(r"(?:-o|--download) (\S+\.mp4)", script):
            assert (workspace / name).read_bytes()[4:8] == MP4_MAGIC, name

    return run


def without_installing(text: str) -> str:
    return INSTALLS.sub("", text)


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def scripts(workflow: str) -> Iterator[str]:
    """Yield the scripts of a workflow: the indented lines below each one that ends in `|`."""
    for match in re.finditer(r"^( *)- (?:run: )?\|\n((?:\1 +.*\n)+)", workflow, re.MULTILINE):
        yield textwrap.dedent(match[2])


@shell_blocks
def test_a_block_of_commands_succeeds(run: Run, service: RunningSandbox, block: Block) -> None:
    script = without_installing(block.text).replace(FREE_PORT, free_port())
    if script.strip() == "python -m pytest -n auto":
        return
    # A block without a sandbox of its own talks to one that is ten times as fast.
    has_own_sandbox = "sandbox" in script
    run(script, {} if has_own_sandbox else sandbox_environ(service.url))


@pytest.mark.parametrize("folder_name", ["looks", "night"])
def test_a_recipe_for_many_edits_pays_for_each_once(
    run: Run, workspace: Path, service: RunningSandbox, folder_name: str
) -> None:
    [block] = [block for block in README.blocks("bash") if f"--dir {folder_name}" in block.text]

    for _ in range(2):
        run(block.text, sandbox_environ(service.url))

    saved = [*(workspace / folder_name).iterdir()]
    assert len(saved) == len(service_tasks(service)) == {"looks": 5, "night": 2}[folder_name]


@workflow_blocks
def test_a_workflow_that_runs_twice_pays_once(
    run: Run, workspace: Path, service: RunningSandbox, block: Block
) -> None:
    found = [*scripts(block.text)]
    environ = {
        **sandbox_environ(service.url),
        "OMNIEDIT_STATE_DIR": ".omniedit",
        "GITHUB_RUN_ID": "12345678901",
        "GITHUB_JOB": "edit",
        "CI_PIPELINE_ID": "1234567",
    }
    if "uses: omniedit/" in block.text:
        # What the action's one step runs, once omniedit is installed.
        found = [f"{sys.executable} {ACTION}"]
        environ |= {"GITHUB_OUTPUT": "outputs", "GITHUB_STEP_SUMMARY": "summary.md"}
        inputs = re.findall(r"^          (\w+): (.*)$", block.text, re.MULTILINE)
        environ |= {f"EDIT_{name.upper()}": value for name, value in inputs}

    assert len(found) == 1
    for _ in range(2):
        run(found[0], environ)
        # Again on a fresh machine, with neither cache nor file.
        shutil.rmtree(workspace / ".omniedit")
        for path in workspace.glob("intro*.mp4"):
            path.unlink()
    assert len(service_tasks(service)) == 1


@pytest.mark.parametrize("block", blocks("yml"), ids=lambda block: block.name)
def test_a_matrix_that_runs_twice_pays_for_each_line_once(
    run: Run, service: RunningSandbox, block: Block
) -> None:
    (script,) = scripts(block.text)

    for _ in range(2):
        for shard in "1234":
            environ = {"SHARD": shard, "OMNIEDIT_STATE_DIR": f".omniedit-{shard}"}
            run(script, sandbox_environ(service.url) | environ)

    assert len(service_tasks(service)) == len(MANIFEST.text.splitlines())


@pytest.mark.parametrize(
    "block",
    [block for block in blocks("yaml", "yml") if "cache" in block.text],
    ids=lambda block: block.name,
)
def test_a_workflow_keeps_its_results_beyond_the_links(
    run: Run, workspace: Path, start_sandbox: Callable[..., RunningSandbox], block: Block
) -> None:
    hours: list[float] = []
    service = start_sandbox(clock=lambda: time.time() + 3600 * sum(hours))
    (script,) = scripts(block.text)
    script = script.replace("$SHARD/4", "1/1")
    environ = {"OMNIEDIT_STATE_DIR": ".omniedit", "CI_PIPELINE_ID": "1234567"}
    [lists] = {match[1] for match in re.finditer(CACHED, block.text, re.MULTILINE)}
    cached = re.findall(r"[^\s,|\[\]]+", lists)
    before = {path.name for path in workspace.iterdir()}

    for _ in range(2):
        run(script, sandbox_environ(service.url) | environ)
        made = {path.name for path in workspace.iterdir()} - before
        assert made == {name.rstrip("/") for name in cached}
        hours.append(25)

    assert service_tasks(service)


def service_tasks(service: RunningSandbox) -> list[str]:
    """Return the IDs of the tasks that a sandbox holds."""
    tasks, _ = service.store.tasks(now=0.0, status=None, model=None, limit=100, offset=0)
    return [task.task_id for task in tasks]


@pytest.mark.full
@pytest.mark.parametrize(("marker", "status"), MARKERS.items())
def test_a_marker_gives_the_exit_status_of_the_manual(
    served: CommandLine, marker: str, status: int
) -> None:
    name = marker.partition("=")[0]
    [documented] = [
        documented
        for usage, _, documented in MANUAL["sandbox"].table(
            "marker", "what it does", "exit status of `omniedit edit`"
        )
        if f"`[sandbox:{name}" in usage
    ]
    prompt = f"make it night [sandbox:{marker}]"

    ended = served("edit", "https://example.com/clip.mp4", prompt, "--timeout", "4")

    assert ended.status == status, ended
    assert str(status) in re.findall(r"(?:^|: )(\d+)", documented)


def test_every_marker_of_the_sandbox_is_tried() -> None:
    known = {name for marker in SANDBOX_MARKERS for name in re.findall(r":([a-z-]+)", marker.usage)}

    assert {marker.partition("=")[0] for marker in MARKERS} == known


def test_every_block_is_in_a_language_that_is_run() -> None:
    # `sh`, `snakemake` and `k8s` are run in tests/e2e/test_recipes.py, if their tools are installed.
    languages = {"bash", "yaml", "yml", "jsonl", "sh", "snakemake", "k8s"}
    assert {block.language for block in blocks()} == languages


def test_only_lines_that_install_are_not_run() -> None:
    text = "".join(block.text for block in blocks("bash", "yaml", "yml"))

    left_out = {" ".join(match[0].split()) for match in INSTALLS.finditer(text)}

    assert left_out == {" ".join(line.split()) for line in INSTALL_LINES}


def test_ci_runs_the_test_line_of_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text()

    assert README.blocks("bash")[-1].text.strip() == TEST_LINE
    assert f"test_line='{TEST_LINE}'\n" in script
    assert 'bash -c "$test_line"\n' in script


def test_the_first_block_installs_and_edits_in_the_sandbox() -> None:
    first = README.blocks("bash")[0].text

    assert first.startswith('python -m pip install ".[sandbox]" && omniedit --sandbox edit ')
    assert first.count("\n") == 1
