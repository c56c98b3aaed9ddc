"""Callbacks are delivered to this machine only, with the documented retries."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from omniedit.sandbox.tasks import CallbackSender

if TYPE_CHECKING:
    from collections.abc import Iterator

    from omniedit.sandbox.store import Edit
    from tests.unit.sandbox.conftest import Bench


class Receiver(BaseHTTPRequestHandler):
    """Answers with the given statuses and records the bodies it receives."""

    statuses: ClassVar[list[int]] = []
    bodies: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        self.bodies.append(json.loads(raw))
        self.send_response(self.statuses.pop(0))
        self.send_header("Location", "http://example.com/")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        pass


class RecordedWaits(threading.Event):
    """A stop event that records the requested delays and never waits."""

    def __init__(self) -> None:
        super().__init__()
        self.delays_s: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.delays_s.append(timeout)
        return self.is_set()


@pytest.fixture
def receiver() -> Iterator[str]:
    Receiver.statuses.clear()
    Receiver.bodies.clear()
    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/hook?x=1"
        server.shutdown()
        thread.join(5)


@pytest.fixture
def sender(bench: Bench) -> CallbackSender:
    return CallbackSender(
        service=bench.service,
        origin="http://127.0.0.1:1",
        stopped=RecordedWaits(),
    )


def due_edit(bench: Bench, url: str, prompt: str = "x") -> Edit:
    bench.submit(prompt, body={"callback_url": url})
    assert bench.store.take_callback(bench.clock()) is None
    bench.clock.advance(5)
    edit = bench.store.take_callback(bench.clock())
    assert edit is not None
    return edit


@pytest.mark.parametrize(
    ("prompt", "status"),
    [
        ("x", "completed"),
        ("[sandbox:fail=service_error]", "failed"),
        ("[sandbox:cancel]", "cancelled"),
    ],
)
def test_a_callback_delivers_the_ended_task(
    bench: Bench, sender: CallbackSender, receiver: str, prompt: str, status: str
) -> None:
    Receiver.statuses.append(204)

    delivered = sender.deliver(due_edit(bench, receiver, prompt))

    assert delivered
    (body,) = Receiver.bodies
    assert body["status"] == status
    assert bench.task(body["id"])["status"] == status


@pytest.mark.parametrize(
    ("statuses", "delays_s"),
    [
        pytest.param([500, 200], [1], id="one-retry"),
        pytest.param([500, 404, 302, 201], [1, 2, 4], id="three-retries"),
        pytest.param([500, 500, 500, 500], [1, 2, 4], id="no-fourth-retry"),
    ],
)
def test_a_failed_callback_is_retried(
    bench: Bench,
    sender: CallbackSender,
    receiver: str,
    statuses: list[int],
    delays_s: list[float],
) -> None:
    Receiver.statuses.extend(statuses)

    is_delivered = sender.deliver(due_edit(bench, receiver))

    assert is_delivered is (statuses[-1] < 300)

    assert isinstance(sender.stopped, RecordedWaits)
    assert sender.stopped.delays_s == delays_s
    assert len(Receiver.bodies) == len(statuses)
    assert bench.store.take_callback(bench.clock()) is None


def test_a_callback_to_an_external_host_is_never_sent(bench: Bench, sender: CallbackSender) -> None:
    sender.deliver(due_edit(bench, "https://example.com/hook"))

    assert "not delivered" in bench.lines[-1]


def test_a_stalled_task_sends_no_callback(bench: Bench) -> None:
    bench.submit("[sandbox:stall]", body={"callback_url": "http://127.0.0.1:9/"})
    bench.clock.advance(1_000_000)

    assert bench.store.take_callback(bench.clock()) is None


def test_the_sender_delivers_due_callbacks(bench: Bench, receiver: str) -> None:
    # given
    Receiver.statuses.append(200)
    delivered = threading.Event()
    bench.service.traffic._log = lambda line: delivered.set() if "callback" in line else None
    sender = CallbackSender(
        service=bench.service, origin="http://127.0.0.1:1", stopped=threading.Event()
    )
    bench.submit(body={"callback_url": receiver})
    bench.clock.advance(5)

    # when
    sender.start()

    # then
    assert delivered.wait(5)
    sender.stopped.set()
