"""Run benchmarks: the named ones, or all."""

import argparse
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


def main(names: Iterable[str]) -> int:
    """Run benchmarks; return 1 if a target was missed."""
    missed = 0
    for name in names:
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
    parser = argparse.ArgumentParser(description=__doc__)
    # Not `choices`: on Python 3.11 it refuses an empty list of names.
    parser.add_argument("name", nargs="*", help=", ".join(BENCHMARKS))
    arguments = parser.parse_args()
    if unknown := set(arguments.name) - set(BENCHMARKS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    sys.exit(main(arguments.name or BENCHMARKS))
