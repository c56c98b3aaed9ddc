"""What the tests of this room, and of the rooms that stand on it, have in common."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.unit.http.hostile import Answer, HostileServer


@pytest.fixture
def serve_bytes() -> Iterator[Callable[..., HostileServer]]:
    """Serve answers on loopback, by bytes, for the length of a test."""
    with ExitStack() as stack:

        def serve(answer: Answer, *, reads_body: bool = True) -> HostileServer:
            return stack.enter_context(HostileServer(answer, reads_body=reads_body))

        yield serve
