"""The manual's recipes for workflow engines, run if installed (`.ci/run full` installs them)."""

import os
import re
import shutil
import subprocess
import textwrap
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import pytest

from tests.commandline import COMMAND
from tests.contract.readme import MANUAL
from tests.e2e.equipment import Bench
from tests.e2e.faulty import Endpoint, refusal

pytestmark = [pytest.mark.e2e, pytest.mark.full]

MARKERS = ("seconds=0", "lost-reply", "seconds=1", "cut")
BATCH = MANUAL["batch"].text


def recipe(beginning: str) -> str:
    """Return the code block of the manual's `batch` page that begins with this text."""
    blocks = re.findall(
        r"^ *```(?:sh|snakemake|k8s)\n(.*?)^ *```$", BATCH, re.MULTILINE | re.DOTALL
    )
    [found] = [text for text in map(textwrap.dedent, blocks) if text.startswith(beginning)]
    return found


@pytest.fixture
def workspace(folder: Path) -> Path:
    """Return a folder with a clip for each fault, named after it, and the retry script."""
    sample = resources.files("omniedit.sandbox").joinpath("sandbox.mp4").read_bytes()
    (folder / "clips").mkdir()
    for number, marker in enumerate(MARKERS):
        # A box that players skip makes the content of each clip different.
        content = sample + b"\0\0\0\x0cfree" + number.to_bytes(4)
        (folder / "clips" / f"{marker}.mp4").write_bytes(content)
    again = folder / "again.sh"
    again.write_text(recipe("#!/usr/bin/env bash\nfor"))
    again.chmod(0o700)
    return folder


def run(argv: Sequence[str], workspace: Path, bench: Bench) -> None:
    path = f"{COMMAND.parent}{os.pathsep}{os.environ['PATH']}"
    environ = os.environ | bench.environ | {"PATH": path, "AGAIN_AFTER": "0"}
    ended = subprocess.run(
        argv, cwd=workspace, env=environ, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stderr


def check_each_once(workspace: Path, bench: Bench) -> None:
    tasks, count = bench.service.store.tasks(now=0.0, status=None, model=None, limit=10, offset=0)
    assert count == len({task.prompt for task in tasks}) == len(MARKERS)
    assert sorted(path.stem for path in (workspace / "night").iterdir()) == sorted(MARKERS)


@pytest.mark.skipif(shutil.which("parallel") is None, reason="GNU parallel is not installed")
def test_gnu_parallel_makes_each_edit_once(workspace: Path, bench: Bench) -> None:
    script = recipe("mkdir -p night").replace("make it night", "make it night [sandbox:{/.}]")

    bench.faulty.script(Endpoint.SUBMIT, refusal(503, "service_unavailable"))

    for _ in range(2):
        run(["bash", "-euc", script], workspace, bench)

    check_each_once(workspace, bench)


@pytest.mark.skipif("SNAKEMAKE" not in os.environ, reason="SNAKEMAKE is not set")
def test_snakemake_makes_each_edit_once(workspace: Path, bench: Bench) -> None:
    rules = recipe("CLIPS =").replace(
        'prompt="make it night"', "prompt=lambda found: f'make it night [sandbox:{found.clip}]'"
    )
    (workspace / "Snakefile").write_text(rules)
    line = [os.environ["SNAKEMAKE"], "--cores", "4", "--quiet", "all"]

    bench.faulty.script(Endpoint.SUBMIT, refusal(503, "service_unavailable"))
    run(line, workspace, bench)
    before = {path: path.stat().st_mtime_ns for path in (workspace / "night").iterdir()}
    run(line, workspace, bench)

    check_each_once(workspace, bench)
    assert {path: path.stat().st_mtime_ns for path in (workspace / "night").iterdir()} == before


@pytest.mark.skipif(
    "KUBERNETES_VALIDATE" not in os.environ, reason="KUBERNETES_VALIDATE is not set"
)
def test_the_kubernetes_job_is_valid(folder: Path) -> None:
    (folder / "job.yaml").write_text(recipe("apiVersion: batch/v1"))

    subprocess.run(
        [os.environ["KUBERNETES_VALIDATE"], "--strict", "job.yaml"], cwd=folder, check=True
    )


def test_the_slurm_and_kubernetes_scripts_are_valid_bash() -> None:
    job = recipe("apiVersion: batch/v1")
    inner = job.partition("- |\n")[2].partition("          volumeMounts")[0]

    for script in (
        recipe("#!/usr/bin/env bash\n#SBATCH"),
        inner,
        recipe("#!/usr/bin/env bash\nfor"),
    ):
        subprocess.run(["bash", "-n", "-c", script], check=True)  # noqa: S607 - any bash will do
