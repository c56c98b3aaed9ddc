"""Count the calls, functions and files of our own code that a command line uses.

As a script it runs one command line and prints the counts as the last line of stdout.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import CodeType, FrameType
from typing import Final, NamedTuple

import omniedit
from tests.benchmarks.verdicts import Verdict

CLIP_URL: Final = "https://example.com/clip.mp4"
PROMPT: Final = "warmer lighting, keep everything else unchanged"
REFUSED: Final = f"{PROMPT} [sandbox:http=402]"

_OURS: Final = str(Path(omniedit.__file__).parent) + os.sep
_SANDBOX: Final = _OURS + "sandbox" + os.sep


class Walk(NamedTuple):
    """Our own code that one command line calls."""

    calls: int
    functions: int
    files: int


class _Row(NamedTuple):
    what: str
    argv: Sequence[str]
    calls: int
    """The maximum number of calls."""
    files: int
    """The maximum number of files."""


# The order matters: the second command reads the task of the first.
_ROWS: Final = (
    _Row("submit", ("submit", CLIP_URL, PROMPT), 330, 34),
    _Row("status", ("status",), 270, 28),
    _Row("submit answered by 402", ("submit", CLIP_URL, REFUSED), 300, 32),
)


def measure() -> Iterator[Verdict]:
    """Run each command line once, with a sandbox that this process serves."""
    from omniedit.sandbox.exchange import Service  # noqa: PLC0415 - the measured process needs none
    from omniedit.sandbox.server import serve  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as name, serve(Service(Path(name) / "service")) as service:
        environ = {
            "HOME": name,
            "PATH": os.environ["PATH"],
            "LC_ALL": "C.UTF-8",
            "PYTHONPATH": os.pathsep.join(sys.path),
            "OMNIEDIT_BASE_URL": service.url,
            "OMNIEDIT_API_KEY": "sk-sandbox-walk",
        }
        for row in _ROWS:
            walk = _walk_of(row.argv, environ)
            yield _verdict(row, "calls", walk.calls, row.calls)
            yield _verdict(row, "functions", walk.functions, None)
            yield _verdict(row, "files", walk.files, row.files)


def _verdict(row: _Row, unit: str, measured: int, target: int | None) -> Verdict:
    return Verdict(what=f"`{row.what}`: {unit}", measured=measured, target=target, unit="")


def _walk_of(argv: Sequence[str], environ: Mapping[str, str]) -> Walk:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.walk", *argv],
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return Walk(**json.loads(ended.stdout.splitlines()[-1]))


def _count_calls(argv: Sequence[str]) -> Walk:
    """Run a command line and count its calls."""
    counts: Counter[CodeType] = Counter()

    def count(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and _is_ours(frame.f_code):
            counts[frame.f_code] += 1

    threading.setprofile(count)
    sys.setprofile(count)
    try:
        from omniedit.__main__ import main  # noqa: PLC0415 - its imports are counted

        sys.argv[1:] = argv
        main()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    files = {code.co_filename for code in counts}
    return Walk(calls=counts.total(), functions=len(counts), files=len(files))


def _is_ours(code: CodeType) -> bool:
    """Return whether code is ours and not a module body, which runs once on the first import."""
    place = code.co_filename
    is_ours = place.startswith(_OURS) and not place.startswith(_SANDBOX)
    return is_ours and code.co_name != "<module>"


if __name__ == "__main__":
    walk = _count_calls(sys.argv[1:])
    sys.stdout.write(json.dumps(walk._asdict()) + "\n")
