from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.unit.edits.bench import BenchSession
from tests.unit.http.hostile import Answer, HostileServer


@pytest.fixture
def session(tmp_path: Path) -> Iterator[BenchSession]:
    """Return a session whose service follows a script."""
    session = BenchSession(folder=tmp_path / "private")
    yield session
    session.close()


@pytest.fixture
def serve_bytes() -> Iterator[Callable[..., HostileServer]]:
    """Serve answers on loopback, by bytes, for the length of a test."""
    with ExitStack() as stack:

        def serve(answer: Answer, *, reads_body: bool = True) -> HostileServer:
            return stack.enter_context(HostileServer(answer, reads_body=reads_body))

        yield serve
