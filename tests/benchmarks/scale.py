"""Scaling to a hundred thousand clips: the cost of plans, journals and a whole batch."""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from omniedit.edits.requests import digest_of
from omniedit.models import DEFAULT_MODEL
from tests.benchmarks.startup import run_timed, spare_environ
from tests.benchmarks.verdicts import Verdict
from tests.commandline import COMMAND, SANDBOX_KEY
from tests.journals import add_finished

LINES: Final = 100_000
EDITS: Final = 10_000
ROUNDS: Final = 7
CLIP_URL: Final = "https://example.com/clip.mp4"
# Measures a command line without the start of the interpreter.
_MEASURED: Final = """
import json, os, resource, sys, time
from omniedit.cli.main import run
from tests.benchmarks.memory import peak_kib
began = time.perf_counter()
status = run(sys.argv[2:], os.environ)
used = resource.getrusage(resource.RUSAGE_SELF)
with open(sys.argv[1], "w") as file:
    json.dump([status, time.perf_counter() - began, used.ru_utime + used.ru_stime, peak_kib() / 1024], file)
"""


class Cost(NamedTuple):
    """The cost of one command line."""

    status: int
    wall_s: float
    cpu_s: float
    memory_mib: float


def measure() -> Iterator[Verdict]:
    """Plan a manifest, use a large journal, and run a long batch."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        yield from _plan(folder)
        yield from _journal(folder)
        yield from _batch(folder)


def _plan(folder: Path) -> Iterator[Verdict]:
    """Plan a whole manifest whose last line is invalid, so that nothing is sent."""
    manifest = folder / "plan.jsonl"
    lines = [
        {"video": f"https://example.com/{number}.mp4", "prompt": f"make it night {number}"}
        for number in range(LINES)
    ]
    _write(manifest, [*lines, lines[0]])
    environ = spare_environ(folder / "plan") | {"OMNIEDIT_SANDBOX": "1"}
    cost = measured(["batch", str(manifest), "--dir", str(folder / "out")], folder, environ)
    assert cost.status == 2, cost
    yield Verdict(what=f"plan of {LINES:,} lines", measured=cost.cpu_s, target=10, unit="s")
    yield Verdict(what="memory of the plan", measured=cost.memory_mib, target=120, unit="MiB")


def _journal(folder: Path) -> Iterator[Verdict]:
    prompt = "make it night"
    identity = digest_of([CLIP_URL, prompt, None, None, DEFAULT_MODEL])
    environs = {count: spare_environ(folder / str(count)) for count in (1, LINES)}
    for count, found in environs.items():
        add_finished(Path(found["OMNIEDIT_STATE_DIR"]), count, identity=identity, folder=folder)
    edit = ["edit", CLIP_URL, prompt, "-o", str(folder / "known.mp4")]
    full = environs[LINES]
    calls: dict[str, tuple[Sequence[str], Mapping[str, str]]] = {
        "pass": ([sys.executable, "-c", "pass"], full),
        "list": ([str(COMMAND), "list"], full),
        "tab": ([str(COMMAND), "__complete", "tasks", ""], full),
        "usage": ([str(COMMAND), "usage"], full),
        "edit": ([str(COMMAND), *edit], full),
        "edit, small journal": ([str(COMMAND), *edit], environs[1]),
    }
    times: dict[str, list[float]] = {what: [] for what in calls}
    for _ in range(ROUNDS):
        for what, (argv, around) in calls.items():
            times[what].append(run_timed(argv, around))
    took = {what: statistics.median(seconds) for what, seconds in times.items()}
    base, many = took["pass"], f"with {LINES:,} tasks"
    yield Verdict(
        what=f"`list` minus 0.1 s, {many}", measured=(took["list"] - 0.1) / base, target=9
    )
    yield Verdict(what=f"a TAB, {many}", measured=took["tab"] / base, target=2.5)
    yield Verdict(what=f"`usage`, {many}", measured=took["usage"], target=1, unit="s")
    extra_s = took["edit"] - took["edit, small journal"]
    yield Verdict(
        what=f"extra time for a known edit, {many}", measured=extra_s, target=0.2, unit="s"
    )


def _batch(folder: Path) -> Iterator[Verdict]:
    manifest = folder / "batch.jsonl"
    prompts = (f"{number} [sandbox:seconds=1]" for number in range(EDITS))
    _write(manifest, [{"video": CLIP_URL, "prompt": prompt} for prompt in prompts])
    environ = {**spare_environ(folder / "batch")}
    with subprocess.Popen(
        [COMMAND, "-q", "sandbox", "serve"], env=environ, stdout=subprocess.PIPE, text=True
    ) as service:
        assert service.stdout is not None
        environ |= {
            "OMNIEDIT_BASE_URL": service.stdout.readline().strip(),
            "OMNIEDIT_API_KEY": SANDBOX_KEY,
        }
        argv = [
            "batch",
            str(manifest),
            "--dir",
            str(folder / "edits"),
            "--concurrency",
            "200",
            "-q",
        ]
        cost = measured(argv, folder, environ)
        service.terminate()
    assert cost.status == 0, cost
    assert len([*(folder / "edits").iterdir()]) == EDITS
    yield Verdict(
        what=f"memory of {EDITS:,} edits", measured=cost.memory_mib, target=150, unit="MiB"
    )
    cpu_ms = 1000 * cost.cpu_s / EDITS
    yield Verdict(what="CPU per edit, saving included", measured=cpu_ms, target=None, unit="ms")


def measured(argv: Sequence[str], folder: Path, environ: Mapping[str, str]) -> Cost:
    """Return the cost of a command line."""
    found = folder / "cost.json"
    subprocess.run(
        [sys.executable, "-c", _MEASURED, str(found), *argv],
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return Cost(*json.loads(found.read_text()))


def _write(path: Path, lines: Sequence[Mapping[str, object]]) -> None:
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
