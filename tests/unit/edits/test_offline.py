"""A command without a network soon says so, and leaves no outcome unknown."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import httpx
import pytest

from omniedit.edits.edit import EditOptions, edit
from omniedit.edits.reads import read_task, refresh
from omniedit.edits.submit import submit
from omniedit.edits.targets import Destination
from omniedit.errors import NotConnectedError
from omniedit.http.connections import OFFLINE
from omniedit.models import AttemptState, EditRequest
from tests.unit.edits.bench import CLIP_URL, BenchSession, completed, record_of, running

REQUEST = EditRequest(video=CLIP_URL, prompt="warmer")
COMMANDS = {
    "submit": lambda session: submit(session, REQUEST),
    "edit": lambda session: edit(
        session, REQUEST, EditOptions(destination=Destination("out.mp4"), timeout_s=1800.0)
    ),
    "status": lambda session: read_task(session, record_of(running("task-1"))),
    "download": lambda session: refresh(session, record_of(completed("task-1"))),
}


def no_network(request: httpx.Request) -> NoReturn:
    raise httpx.ConnectError(OFFLINE, request=request)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[BenchSession]:
    session = BenchSession(folder=tmp_path / "private", transport=no_network)
    yield session
    session.close()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_reports_being_offline_within_ten_seconds(
    session: BenchSession, name: str
) -> None:
    command: Callable[[BenchSession], object] = COMMANDS[name]

    with pytest.raises(NotConnectedError) as caught:
        command(session)

    assert caught.value.message == "cannot reach api.evolink.ai: are you online?"
    assert 1 < session.time.now < 8
    assert all(record.status == AttemptState.REFUSED for record in session.journal.recent())


def test_a_network_that_has_worked_is_retried_for_longer(tmp_path: Path) -> None:
    replies = iter([httpx.Response(503)])

    def flaky(request: httpx.Request) -> httpx.Response:
        return next(replies, None) or no_network(request)

    session = BenchSession(folder=tmp_path / "private", transport=flaky)
    with pytest.raises(NotConnectedError):
        read_task(session, record_of(running("task-1")))

    assert session.time.now > 10
    session.close()
