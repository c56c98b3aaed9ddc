"""A bench for the tests of faults, kills and races."""

import importlib.util
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from omniedit.sandbox import RunningSandbox
from tests.e2e.equipment import Bench, ForkServer
from tests.e2e.faulty import FaultyService

LONGEST_TABLE = 8

if importlib.util.find_spec("av") is None:
    # What makes clips needs PyAV; without it, `test_without_media.py` has the say.
    collect_ignore = [
        "test_bad_clips.py",
        "test_clip_uploads.py",
        "test_local_clips.py",
        "test_probe.py",
        "test_split.py",
    ]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take some rows, evenly spread, of long tables whose rules unit tests hold row by row.

    `OMNIEDIT_FULL=1`, as in `.ci/run full`, takes all of them.
    """
    if os.environ.get("OMNIEDIT_FULL"):
        return
    tables: defaultdict[tuple[Path, str], list[pytest.Item]] = defaultdict(list)
    for item in items:
        if item.path.name.startswith("test_contract_"):
            tables[item.path, item.name.partition("[")[0]].append(item)
    left_out = {
        row
        for rows in tables.values()
        if len(rows) > LONGEST_TABLE
        for row in set(rows) - {rows[n * len(rows) // LONGEST_TABLE] for n in range(LONGEST_TABLE)}
    }
    if left_out:
        config.hook.pytest_deselected(items=[item for item in items if item in left_out])
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def fork_servers() -> Iterator[tuple[ForkServer, ForkServer]]:
    servers = ForkServer(budget_s=1.6), ForkServer(budget_s=0.3)
    yield servers
    for server in servers:
        server.close()


@pytest.fixture
def make_bench(
    start_sandbox: Callable[..., RunningSandbox],
    folder: Path,
    fork_servers: tuple[ForkServer, ForkServer],
) -> Iterator[Callable[..., Bench]]:
    """Return a function that sets up a bench; an edit takes no time unless told otherwise."""
    opened: list[FaultyService] = []

    def make(**options: Any) -> Bench:
        service = start_sandbox(**({"edit_seconds": 0.0} | options))
        opened.append(faulty := FaultyService(service.url))
        return Bench(service, faulty, folder, *fork_servers)

    yield make
    for faulty in opened:
        faulty.__exit__()


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    """Return a bench whose service finishes edits at once."""
    return make_bench()
