"""The page and the picture of `omniedit compare`, and the drift between its videos."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from tests.benchmarks.verdicts import Verdict
from tests.browser.chromium import PROGRAM, browser
from tests.browser.test_page import DRIFT, DRIFT_WHILE_PLAYING, FRAME_S, UNTIL_SEEKED
from tests.commandline import COMMAND
from tests.unit.media.clips import Sound, make_clip

ROUNDS: Final = 3
_CLIPS: Final = {"clip.mp4": 30, "warm.mp4": 24}


_WITHOUT_MEDIA: Final = """
import sys
sys.modules["av"] = None
from omniedit.__main__ import main
main()
"""


def measure() -> Iterator[Verdict]:
    """Yield every figure, without the drift if Chromium is not installed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for clip, fps in _CLIPS.items():
            make_clip(folder / clip, seconds=10, fps=fps, size=(1280, 720), sound=Sound())
        without_media = [sys.executable, "-c", _WITHOUT_MEDIA]
        plain_s = _written(folder, without_media, "plain.html")
        yield Verdict(what="a page of two clips of 720p", measured=plain_s, target=1.0, unit="s")
        size_bytes = (folder / "plain.html").stat().st_size
        yield Verdict(what="its size", measured=size_bytes / 1000, target=15.0, unit="kB")
        for what, target, most_s in (
            ("a page with its curve", "page.html", 3.0),
            ("a contact sheet", "sheet.png", 2.0),
        ):
            took_s = _written(folder, [str(COMMAND)], target)
            yield Verdict(what=what, measured=took_s, target=most_s, unit="s")
        if PROGRAM is None:
            sys.stdout.write("  drift skipped: Chromium is not installed\n")
            return
        yield from _drift(folder)


def _written(folder: Path, program: Sequence[str], target: str) -> float:
    """Return the seconds that a command takes in its best run."""
    took_s: list[float] = []
    for _ in range(ROUNDS):
        started = time.monotonic()
        subprocess.run(
            [*program, "compare", *_CLIPS, "-o", target, "--force", "--quiet"],
            cwd=folder,
            env={**os.environ, "OMNIEDIT_STATE_DIR": str(folder / "state")},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        took_s.append(time.monotonic() - started)
    return min(took_s)


def _drift(folder: Path) -> Iterator[Verdict]:
    with browser(folder / "profile") as tab:
        tab.show_as(width=1280, height=900)
        tab.open(folder / "page.html")
        tab.press(" ")
        played_s = tab.evaluate(DRIFT_WHILE_PLAYING)
        yield Verdict(
            what="95th percentile of the drift over 10 s",
            measured=1000 * played_s,
            target=1000 * FRAME_S,
            unit="ms",
        )
        tab.evaluate("setPlaying(false)")
        for _ in range(50):
            tab.evaluate("seek(Math.random() * total)")
        tab.evaluate(UNTIL_SEEKED)
        rest_s = tab.evaluate(DRIFT)
        yield Verdict(
            what="drift at rest, after 50 seeks", measured=1000 * rest_s, target=0.0, unit="ms"
        )
