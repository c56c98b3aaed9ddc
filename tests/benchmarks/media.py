"""Conversion, short cuts and splitting, compared with FFmpeg with the same settings."""

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.benchmarks.verdicts import Verdict

ROUNDS: Final = 3
_X264: Final = [
    "-c:v",
    "libx264",
    "-crf",
    "16",
    "-preset",
    "fast",
    "-maxrate",
    "70M",
    "-bufsize",
    "35M",
    "-threads",
    "8",
    "-pix_fmt",
    "yuv420p",
    "-c:a",
    "aac",
    "-b:a",
    "192k",
    "-movflags",
    "+faststart",
]
_PREPARE: Final = """
import sys
from pathlib import Path
from omniedit.media.writing import prepare_clip

source, target, start_s, end_s = sys.argv[1:]
prepare_clip(
    Path(source),
    Path(target),
    start_s=float(start_s) if start_s else None,
    end_s=float(end_s) if end_s else None,
)
"""
_SPLIT: Final = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from omniedit.media.writing import join, plan_split
from omniedit.media.writing import prepare_clip
from omniedit.models import Sound

source, target = Path(sys.argv[1]), Path(sys.argv[2])
pieces = plan_split(source, longest_s=10)

def written(numbered):
    number, piece = numbered
    path = target.with_name(f"piece-{number}.mp4")
    return prepare_clip(source, path, start_s=piece.cut_start_s, end_s=piece.cut_end_s).path

with ThreadPoolExecutor(8) as pool:
    results = list(pool.map(written, enumerate(pieces)))
join(pieces, results, target, original=source, sound=Sound.ORIGINAL)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    seconds: float
    memory_bytes: int


def measure() -> Iterator[Verdict]:
    """Yield every figure; none if FFmpeg is not installed."""
    if shutil.which("ffmpeg") is None:
        sys.stdout.write("  skipped: `ffmpeg` is not installed\n")
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # This format forces every piece to be encoded, so that all results have the same format,
        # as the service's results do.
        encoded = "-c:v mpeg4 -q:v 2 -c:a pcm_s16le"
        yield from _conversion(folder, _make_source(folder / "source.avi", encoded, seconds=10))
        long_gop = "-c:v libx264 -preset ultrafast -crf 20 -g 600 -c:a aac"
        yield from _short_cut(folder, _make_source(folder / "long.mp4", long_gop, seconds=20))
        yield from _split(folder, _make_source(folder / "minute.avi", encoded, seconds=60))
        uhd = _make_source(folder / "uhd.avi", encoded, seconds=60, size="uhd2160")
        yield from _split_memory(folder, uhd)


def _conversion(folder: Path, source: Path) -> Iterator[Verdict]:
    ours, theirs = folder / "ours.mp4", folder / "theirs.mp4"
    runs = _alternated(
        _ours(_PREPARE, source, ours, "", ""),
        [_ffmpeg("-i", source, *_X264, theirs)],
    )
    yield from _compared("conversion of 10 s of 1080p", *runs, at_most=1.1)
    own, reference = _ssim(ours, source), _ssim(theirs, source)
    yield Verdict(what="its SSIM", measured=own, target=0.99, unit="", is_least=True)
    yield Verdict(what="below FFmpeg's by", measured=1000 * (reference - own), target=1.0, unit="‰")


def _short_cut(folder: Path, source: Path) -> Iterator[Verdict]:
    runs = _alternated(
        _ours(_PREPARE, source, folder / "ours.mp4", "18", "18.5"),
        [_ffmpeg("-ss", "18", "-i", source, "-t", "0.5", *_X264, folder / "theirs.mp4")],
    )
    # Python's start and imports take a tenth of these two seconds.
    yield from _compared("a cut of 0.5 s from a long GOP", *runs, at_most=1.2, memory=None)


def _split(folder: Path, source: Path) -> Iterator[Verdict]:
    cuts = [
        _ffmpeg("-ss", str(10 * n), "-i", source, "-t", "10", *_X264, folder / f"cut-{n}.mp4")
        for n in range(6)
    ]
    listed = folder / "list.txt"
    listed.write_text("".join(f"file cut-{n}.mp4\n" for n in range(6)))
    joined = _ffmpeg("-f", "concat", "-i", listed, "-c", "copy", folder / "theirs.mp4")
    runs = _alternated(_ours(_SPLIT, source, folder / "ours.mp4"), [*cuts, joined], rounds=1)
    yield from _compared("60 s of 1080p split and joined", *runs, at_most=1.1, memory=None)


def _split_memory(folder: Path, source: Path) -> Iterator[Verdict]:
    run = _timed([_ours(_SPLIT, source, folder / "ours.mp4")])
    yield Verdict(
        what="60 s of 4K split and joined, memory",
        measured=run.memory_bytes / 1024**3,
        target=1.5,
        unit="GiB",
    )
    yield Verdict(what="60 s of 4K split and joined", measured=run.seconds, target=None, unit="s")


def _compared(
    what: str, ours: _Run, theirs: _Run, *, at_most: float, memory: float | None = 0.75
) -> Iterator[Verdict]:
    yield Verdict(
        what=f"{what}, over FFmpeg", measured=ours.seconds / theirs.seconds, target=at_most
    )
    share = ours.memory_bytes / theirs.memory_bytes
    yield Verdict(what=f"{what}, memory over FFmpeg's", measured=share, target=memory)


def _alternated(
    ours: Sequence[str], theirs: Sequence[Sequence[str]], *, rounds: int = ROUNDS
) -> tuple[_Run, _Run]:
    own: list[_Run] = []
    others: list[_Run] = []
    for _ in range(rounds):
        own.append(_timed([ours]))
        others.append(_timed(theirs))
    return _median(own), _median(others)


def _median(runs: Sequence[_Run]) -> _Run:
    return _Run(
        seconds=statistics.median(run.seconds for run in runs),
        memory_bytes=max(run.memory_bytes for run in runs),
    )


def _timed(commands: Sequence[Sequence[str]]) -> _Run:
    """Run commands in sequence; return their total time and the highest memory use of one."""
    watcher = (
        "import json, resource, subprocess, sys, time\n"
        "began = time.monotonic()\n"
        "for command in json.loads(sys.argv[1]):\n"
        "    subprocess.run(command, check=True)\n"
        "seconds = time.monotonic() - began\n"
        "print(seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
    )
    text = _output([sys.executable, "-c", watcher, json.dumps([list(each) for each in commands])])
    seconds, kilobytes = text.split()
    return _Run(seconds=float(seconds), memory_bytes=int(kilobytes) * 1024)


def _ours(script: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", script, *map(str, arguments)]


def _ffmpeg(*arguments: object) -> list[str]:
    return ["ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error", "-y", *map(str, arguments)]


def _make_source(path: Path, codec: str, *, seconds: int, size: str = "hd1080") -> Path:
    video = f"testsrc2=size={size}:rate=30:duration={seconds},noise=alls=2:allf=t"
    sine = f"sine=440:duration={seconds}"
    _output(_ffmpeg("-f", "lavfi", "-i", video, "-f", "lavfi", "-i", sine, *codec.split(), path))
    return path


def _ssim(path: Path, source: Path) -> float:
    command = ["ffmpeg", "-nostdin", "-i", path, "-i", source, "-lavfi", "ssim", "-f", "null", "-"]
    ended = subprocess.run(
        [str(each) for each in command], capture_output=True, text=True, check=True
    )
    found = re.search(r"All:([\d.]+)", ended.stderr)
    return float(found[1]) if found else 0.0


def _output(command: Sequence[str]) -> str:
    environment = os.environ | {"PYTHONPATH": str(Path.cwd())}
    return subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env=environment
    ).stdout
