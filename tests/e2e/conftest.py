"""The bench fixtures for tests of faults, kills and races."""

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from omniedit.sandbox.server import RunningSandbox
from tests.e2e.equipment import Bench, ForkServer
from tests.e2e.faulty import FaultyService

if importlib.util.find_spec("av") is None:
    # These tests make clips, which needs PyAV; `test_without_media.py` covers its absence.
    collect_ignore = [
        "test_bad_clips.py",
        "test_clip_uploads.py",
        "test_exact_clips.py",
        "test_local_clips.py",
        "test_probe.py",
        "test_split.py",
    ]


@pytest.fixture
def make_bench(
    start_sandbox: Callable[..., RunningSandbox],
    folder: Path,
    fork_server: ForkServer,
) -> Iterator[Callable[..., Bench]]:
    """Return a function that sets up a bench; by default an edit takes no time."""
    opened: list[FaultyService] = []

    def make(**options: Any) -> Bench:
        service = start_sandbox(**({"edit_seconds": 0.0} | options))
        opened.append(faulty := FaultyService(service.url))
        return Bench(service, faulty, folder, fork_server)

    yield make
    for faulty in opened:
        faulty.__exit__()


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    """Return a bench whose service finishes edits at once."""
    return make_bench()
