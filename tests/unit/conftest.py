"""Fixtures for unit tests: sessions without a network, servers on loopback."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import certifi
import pytest

from tests.unit.edits.bench import BenchSession
from tests.unit.http.hostile import Answer, HostileServer


@pytest.fixture(scope="session")
def one_certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with one of the certificates that are trusted by default."""
    certificate, end, _ = Path(certifi.where()).read_text("utf-8").partition("-----END CERTIFICATE")
    path = tmp_path_factory.mktemp("trusted") / "one.pem"
    path.write_text(f"{certificate}{end}-----\n", "utf-8")
    return path


@pytest.fixture(autouse=True)
def trusted(home: Path, monkeypatch: pytest.MonkeyPatch, one_certificate: Path) -> None:
    """Trust a single certificate: loading all takes 20 ms, and no test here needs any."""
    monkeypatch.setenv("SSL_CERT_FILE", str(one_certificate))


@pytest.fixture(autouse=True)
def _closes_sessions() -> Iterator[None]:
    """Close the sessions that a test opened."""
    yield
    while BenchSession.opened:
        BenchSession.opened.pop().close()


@pytest.fixture
def session(tmp_path: Path) -> BenchSession:
    """Return a session whose service follows a script."""
    return BenchSession(folder=tmp_path / "private")


@pytest.fixture
def serve_bytes() -> Iterator[Callable[..., HostileServer]]:
    """Return a function that starts a server on loopback, whose answers are raw bytes."""
    with ExitStack() as stack:

        def serve(answer: Answer, *, reads_body: bool = True) -> HostileServer:
            return stack.enter_context(HostileServer(answer, reads_body=reads_body))

        yield serve
