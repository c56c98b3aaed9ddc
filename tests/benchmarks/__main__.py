"""`python -m tests.benchmarks [NAME...]`: run all benchmarks, or the named ones.

NAME is startup, polling, download, many, scale, walk, media or compare.
"""

import sys
from collections.abc import Callable, Iterable, Mapping

from tests.benchmarks import compare, download, many, media, polling, scale, startup, walk
from tests.benchmarks.verdicts import Verdict

BENCHMARKS: Mapping[str, tuple[str, Callable[[], Iterable[Verdict]]]] = {
    "startup": ("start-up, over `python -c pass`", startup.measure),
    "polling": ("waiting, over polling every 8 s", polling.measure),
    "download": ("download of 128 MiB on loopback, over curl's throughput", download.measure),
    "many": ("1,000 tasks in one process", many.measure),
    "scale": ("100,000 lines and tasks, 10,000 edits", scale.measure),
    "walk": ("calls of our own code", walk.measure),
    "compare": ("pages and pictures of `compare`, and videos in step", compare.measure),
    "media": ("clips, over FFmpeg with the same settings", media.measure),
}


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all of them."""
    unknown = set(names) - set(BENCHMARKS)
    if unknown:
        sys.stderr.write(f"unknown: {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}\n")
        return 2
    missed = 0
    for name in names or BENCHMARKS:
        title, measure = BENCHMARKS[name]
        _say(f"{name}: {title}")
        for verdict in measure():
            _say(str(verdict))
            missed += not verdict.is_met
    _say("every target met" if not missed else f"{missed} not met")
    return 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
