"""Equipment of the contract tests: a scripted service, a recorded sandbox, and common checks."""

import http.client
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.commandline import Ended

pytestmark = pytest.mark.e2e

CLIP = "https://example.com/clip.mp4"
NOW = "[sandbox:seconds=0]"
KEY = "sk-evo-0123456789abcdefghij"
TASK = "task-unified-1757169743-7cvnl5zw"


def mp4(content: bytes) -> bytes:
    """Return the content in MP4 boxes, so that it looks like a video."""
    head = b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2\x00\x00\x00\x08moov"
    return head + (len(content) + 8).to_bytes(4) + b"mdat" + content


MP4 = mp4(bytes(3984))
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
LONGEST_HOLD_S = 30.0


@dataclass(frozen=True, slots=True)
class Request:
    """A request that the scripted service has received."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A reply of the scripted service."""

    status: int = 200
    body: object = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    after: threading.Event | None = None
    is_lost: bool = False
    content_length: int | None = None

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


Script = Callable[[Request], Reply]


@dataclass(slots=True)
class Scripted:
    """A loopback service that replies as scripted and records its requests."""

    url: str
    requests: list[Request] = field(default_factory=list)
    arrived: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def requests_with(self, method: str) -> list[Request]:
        return [request for request in self.requests if request.method == method]

    def environ(self, key: str = KEY) -> dict[str, Any]:
        return {
            "OMNIEDIT_BASE_URL": self.url,
            "OMNIEDIT_FILES_URL": self.url,
            "EVOLINK_API_KEY": key,
        }


@contextmanager
def scripted(script: Script) -> Iterator[Scripted]:
    """Serve `script` until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            self.close_connection = True
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, self.path, headers, body)
            service.requests.append(request)
            service.arrived.release()
            reply = script(request)
            if reply.after:
                reply.after.wait(LONGEST_HOLD_S)
            if reply.is_lost:
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            content = reply.content
            headers = {"Content-Type": "application/json"}
            content_length = len(content) if reply.content_length is None else reply.content_length
            headers |= {"Content-Length": str(content_length), "Connection": "close"}
            self.send_response(reply.status)
            for name, value in {**headers, **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_POST = do_CONNECT = do_HEAD = _answer  # noqa: N815 - named by the base class

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named by the base class
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Ignore clients that have disconnected."""

    server = Server(("127.0.0.1", 0), Handler)
    service = Scripted(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def refused_port() -> Iterator[str]:
    """Yield a base URL that refuses every connection."""
    with socket.socket() as taken:
        # Bound but not listening: no other process can take the port, and connections are refused.
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def task(status: str = "completed", *, task_id: str = TASK, **more: object) -> dict[str, object]:
    """Return a task object of the service."""
    return {
        "id": task_id,
        "object": "video.generation.task",
        "type": "video",
        "model": "gemini-omni-flash-video-edit",
        "status": status,
        "progress": 100 if status == "completed" else 0,
        "created": 1757169743,
        "task_info": {"can_cancel": False, "estimated_time": 1},
        "usage": {"credits_reserved": 31.8},
    } | more


def refusal(status: int, code: object, message: str, **headers: str) -> Reply:
    """Return an error reply of the service."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    error = {"code": code, "message": message, "type": "api_error"}
    return Reply(status=status, body={"error": error}, headers=named)


def requests(record: Path, method: str = "", path: str = "") -> list[dict[str, Any]]:
    """Return the requests that a recorded sandbox has received."""
    lines = record.read_text("utf-8").splitlines() if record.exists() else []
    entries = [json.loads(line) for line in lines if line]
    return [entry for entry in entries if method in entry["method"] and path in entry["path"]]


def submissions(record: Path) -> list[dict[str, Any]]:
    """Return the submissions that a recorded sandbox has received."""
    return requests(record, "POST", "/v1/videos/generations")


def check_refusal(ended: Ended, status: int, *messages: str) -> None:
    """Check a failure's exit status, its one error line and its empty stdout."""
    errors = [line for line in ended.stderr.splitlines() if line.startswith("error:")]
    assert (ended.status, ended.stdout) == (status, ""), ended
    assert len(errors) == 1, ended
    assert "Traceback" not in ended.stderr, ended
    for message in messages:
        assert message in ended.stderr, ended


def check_failure(ended: Ended, status: int, *messages: str) -> None:
    """Check a failure's complete form: the error, and the hint on the next line."""
    check_refusal(ended, status, *messages)
    lines = ended.stderr.splitlines()
    (error,) = [number for number, line in enumerate(lines) if line.startswith("error:")]
    hints = [number for number, line in enumerate(lines) if line.startswith("hint:")]
    assert hints == [error + 1], ended


def check_document(ended: Ended) -> dict[str, Any]:
    """Check that the one JSON document matches the exit status; return it."""
    assert ended.stdout.isascii(), ended
    document = ended.document
    assert document["ok"] is (ended.status == 0), ended
    if ended.status:
        assert document["error"]["exit_status"] == ended.status, ended
    return document


def test_the_scripted_service_replies_as_scripted_and_records_requests() -> None:
    with scripted(lambda request: Reply(status=418, body={"path": request.path})) as service:
        address = service.url.removeprefix("http://")
        connection = http.client.HTTPConnection(address, timeout=10)
        connection.request("POST", "/x", body=b"{}")
        reply = connection.getresponse()
        answered = (reply.status, json.loads(reply.read()))
        connection.close()

    assert answered == (418, {"path": "/x"})
    assert [(request.method, request.body) for request in service.requests] == [("POST", b"{}")]
