from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.edits.bench import BenchSession


@pytest.fixture
def session(tmp_path: Path) -> Iterator[BenchSession]:
    """Return a session whose service follows a script."""
    session = BenchSession(folder=tmp_path / "private")
    yield session
    session.close()
