"""The sandbox on real sockets: connections, broken replies, ports, and several processes."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from omniedit.sandbox.clips import BUNDLED_CLIP
from omniedit.sandbox.exchange import Service
from omniedit.sandbox.server import RunningSandbox, serve
from omniedit.sandbox.store import reset

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CLIP = BUNDLED_CLIP.read_bytes()
KEY = {"Authorization": "Bearer sk-sandbox", "User-Agent": "omniedit/1"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "sandbox"


@pytest.fixture
def sandbox(folder: Path) -> Iterator[RunningSandbox]:
    with serve(Service(folder, edit_seconds=0)) as running:
        yield running


def connect(sandbox: RunningSandbox) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=10)


def submit(
    connection: http.client.HTTPConnection, prompt: str = "x", **headers: str
) -> dict[str, Any]:
    body = {
        "model": "gemini-omni-flash-video-edit",
        "prompt": prompt,
        "video_urls": ["https://example.com/a.mp4"],
    }
    connection.request(
        "POST",
        "/v1/videos/generations",
        json.dumps(body),
        KEY | {"Content-Type": "application/json"} | headers,
    )
    return dict(json.load(connection.getresponse()))


def path_and_query(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


def send_raw(sandbox: RunningSandbox, raw: bytes) -> bytes:
    """Send raw bytes and return the reply, up to the end of the connection."""
    with socket.create_connection(("127.0.0.1", sandbox.port), timeout=10) as connection:
        connection.sendall(raw)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_a_connection_is_kept_alive_after_errors(sandbox: RunningSandbox) -> None:
    with closing(connect(sandbox)) as connection:
        connection.connect()
        own = connection.sock.getsockname()
        statuses = []
        for headers in (KEY, {}, KEY):
            connection.request("POST", "/v1/credits", b"unread", headers)
            reply = connection.getresponse()
            reply.read()
            statuses.append(reply.status)
            assert connection.sock.getsockname() == own
    assert statuses == [405, 405, 405]


def test_the_date_header_uses_the_sandboxs_clock(folder: Path) -> None:
    with (
        serve(Service(folder, clock=lambda: 1_757_169_743.0)) as sandbox,
        closing(connect(sandbox)) as sent,
    ):
        sent.request("GET", "/v1/credits", headers=KEY)
        dated = sent.getresponse().headers["Date"]

    assert dated == "Sat, 06 Sep 2025 14:42:23 GMT"


def test_a_cut_download_can_be_resumed(sandbox: RunningSandbox) -> None:
    with closing(connect(sandbox)) as connection:
        task = submit(connection, "[sandbox:cut]")
        url = path_and_query(task["results"][0])

        connection.request("GET", url, headers={"User-Agent": "omniedit/1"})
        with pytest.raises(http.client.IncompleteRead) as caught:
            connection.getresponse().read()
        received = caught.value.partial
        connection.close()
        connection.request(
            "GET", url, headers={"User-Agent": "omniedit/1", "Range": f"bytes={len(received)}-"}
        )
        rest = connection.getresponse().read()

    assert len(received) >= len(CLIP) / 3
    assert received + rest == CLIP


def test_a_lost_reply_closes_the_connection_without_a_byte(sandbox: RunningSandbox) -> None:
    key = {"Idempotency-Key": "request-key-0001"}
    with closing(connect(sandbox)) as connection:
        with pytest.raises(http.client.RemoteDisconnected):
            submit(connection, "[sandbox:lost-reply]", **key)
        connection.close()

        task = submit(connection, "[sandbox:lost-reply]", **key)

    assert task["id"].startswith("task-unified-")


@pytest.mark.parametrize(
    ("framing", "body", "status"),
    [
        pytest.param(
            b"Transfer-Encoding: chunked", b"4\r\n{\"ta\r\n8;x=y\r\nsk_ids\":\r\n5\r\n[\"a\"]\r\n1\r\n}\r\n0\r\nT: v\r\n\r\n", 200, id="chunked"
        ),
        pytest.param(b"Transfer-Encoding: chunked", b"zz\r\n", 400, id="chunk-size-malformed"),
        pytest.param(b"Transfer-Encoding: chunked", b"2\r\n{}oops\r\n", 400, id="chunk-too-long"),
        pytest.param(
            b"Transfer-Encoding: chunked", b"0\r\n" + b"T: v\r\n" * 300_000, 400, id="endless-trailers"
        ),
        pytest.param(
            b"Transfer-Encoding: chunked", (b"1;" + b"x" * 4000 + b"\r\n \r\n") * 300, 400, id="endless-extensions"
        ),
        pytest.param(b"Transfer-Encoding: gzip", b"", 400, id="coding-unknown"),
        pytest.param(
            b"Transfer-Encoding: chunked\r\nContent-Length: 2", b"{}", 400, id="two-framings"
        ),
        pytest.param(b"Content-Length: 2\r\nContent-Length: 3", b"{}", 400, id="two-lengths"),
        pytest.param(b"Content-Length: -1", b"", 400, id="length-negative"),
        pytest.param(b"Content-Length: 10000000", b"{", 413, id="too-large"),
        pytest.param(b"Expect: 100-continue\r\nContent-Length: 9999999", b"", 413, id="expect"),
    ],
)  # fmt: skip
def test_every_body_framing_is_read_or_refused(
    sandbox: RunningSandbox, framing: bytes, body: bytes, status: int
) -> None:
    head = (
        b"POST /v1/tasks/batch HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer sk-sandbox\r\n"
        b"Content-Type: application/json\r\nConnection: close\r\n"
    )

    with socket.create_connection(("127.0.0.1", sandbox.port), timeout=10) as connection:
        connection.sendall(head + framing + b"\r\n\r\n" + body)
        connection.shutdown(socket.SHUT_WR)
        reply = b"".join(iter(lambda: connection.recv(65536), b""))

    assert reply.startswith(b"HTTP/1.1 %d " % status), reply
    assert json.loads(reply.partition(b"\r\n\r\n")[2])


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        pytest.param(b"GET /v1/credits HTTP/1.1\r\n", 400, id="no-host"),
        pytest.param(
            b"GET http://evil.example/v1/credits HTTP/1.1\r\nHost: localhost\r\n",
            403,
            id="foreign-absolute-target",
        ),
        pytest.param(
            b"GET http://[::1/ HTTP/1.1\r\nHost: localhost\r\n", 400, id="target-malformed"
        ),
        pytest.param(b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n", 404, id="asterisk-target"),
        pytest.param(b"BREW /v1/credits HTTP/1.1\r\nHost: localhost\r\n", 405, id="odd-method"),
        pytest.param(
            b"GET /v1/tasks?page=\xff HTTP/1.1\r\nHost: localhost\r\n", 400, id="query-not-ascii"
        ),
        pytest.param(b"nonsense\r\n", 400, id="nonsense"),
        pytest.param(b"GET /v1/credits\r\n", 505, id="http-0.9"),
        pytest.param(b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n", 414, id="line-too-long"),
    ],
)
def test_an_unusual_request_gets_a_json_error(
    sandbox: RunningSandbox, request_line: bytes, status: int
) -> None:
    reply = send_raw(sandbox, request_line + b"Connection: close\r\n\r\n")

    assert reply.startswith(b"HTTP/1.1 %d " % status), reply
    assert "error" in json.loads(reply.partition(b"\r\n\r\n")[2])


def test_the_next_process_keeps_the_port_and_the_tasks(folder: Path) -> None:
    with serve(Service(folder, edit_seconds=0)) as first, closing(connect(first)) as connection:
        task = submit(connection)
    with serve(Service(folder)) as second, closing(connect(second)) as connection:
        connection.request(
            "GET", path_and_query(task["results"][0]), headers={"User-Agent": "omniedit/1"}
        )
        content = connection.getresponse().read()

    assert second.url == first.url
    assert content == CLIP


def test_a_busy_port_is_skipped_and_used_again_once_free(folder: Path) -> None:
    with serve(Service(folder)) as first, serve(Service(folder)) as second:
        assert first.port != second.port
    with serve(Service(folder)) as third:
        assert third.port == first.port


def test_a_chosen_port_is_used_again_by_the_next_process(folder: Path) -> None:
    with serve(Service(folder)):
        pass
    with socket.create_server(("127.0.0.1", 0)) as probe:
        free = probe.getsockname()[1]

    with serve(Service(folder), port=free) as chosen:
        assert chosen.port == free
        with pytest.raises(OSError, match=r"(?i)address"):
            serve(Service(folder), port=free)
    with serve(Service(folder)) as after:
        assert after.port == free


def test_another_process_on_the_folder_shares_its_tasks(
    folder: Path, sandbox: RunningSandbox
) -> None:
    # given a second process on the same folder, which submits through its own server
    program = (
        "import sys, pathlib, json, urllib.request as u\n"
        "from omniedit.sandbox.server import Service, serve\n"
        "with serve(Service(pathlib.Path(sys.argv[1]), edit_seconds=0)) as s:\n"
        "    b = {'model': 'gemini-omni-flash-video-edit', 'prompt': 'x',\n"
        "         'video_urls': ['https://example.com/a.mp4']}\n"
        "    h = {'Authorization': 'Bearer sk-sandbox', 'Content-Type': 'application/json'}\n"
        "    r = u.Request(s.url + '/v1/videos/generations', json.dumps(b).encode(), h)\n"
        "    o = u.build_opener(u.ProxyHandler({}))\n"
        "    print(json.load(o.open(r))['id'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
        cwd=BUNDLED_CLIP.parents[2],
    )

    # when
    with closing(connect(sandbox)) as connection:
        connection.request("GET", f"/v1/tasks/{done.stdout.strip()}", headers=KEY)
        task = json.load(connection.getresponse())

    # then
    assert done.stderr == ""
    assert task["status"] == "completed"


@pytest.mark.parametrize(
    ("statement", "stdout"),
    [
        pytest.param(
            "import omniedit.sandbox.store as s; print(s.reset(f))", "0\n", id="a-reset-needs-none"
        ),
        pytest.param("import omniedit.sandbox.server", "", id="serving-names-werkzeug"),
    ],
)
def test_without_werkzeug_only_serving_fails(folder: Path, statement: str, stdout: str) -> None:
    program = (
        "import sys, pathlib\nsys.modules['werkzeug'] = None\n"
        f"f = pathlib.Path(sys.argv[1])\ntry: {statement}\n"
        "except ModuleNotFoundError as e: assert 'werkzeug' in str(e), e\n"
        "assert not f.exists()\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        cwd=BUNDLED_CLIP.parents[2],
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, stdout, "")


def test_a_record_that_cannot_be_written_fails_at_once(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="missing"):
        Service(folder, record=tmp_path / "missing" / "record.ndjson")


def test_local_callbacks_are_delivered_if_allowed(folder: Path) -> None:
    lines: list[str] = []
    delivered = threading.Event()

    def log(line: str) -> None:
        lines.append(line)
        if "callback of" in line:
            delivered.set()

    # The callback goes to the sandbox itself, which answers 401, because it carries no key.
    with (
        serve(Service(folder, edit_seconds=0, log=log), allow_local_callbacks=True) as running,
        closing(connect(running)) as connection,
    ):
        body = {
            "model": "gemini-omni-flash-video-edit",
            "prompt": "x",
            "video_urls": ["https://example.com/a.mp4"],
            "callback_url": f"{running.url}/v1/videos/generations",
        }
        headers = KEY | {"Content-Type": "application/json"}
        connection.request("POST", "/v1/videos/generations", json.dumps(body), headers)
        task_id = json.load(connection.getresponse())["id"]

        assert delivered.wait(5)
    assert any(line.endswith(f"callback of {task_id} 401") for line in lines)


def test_reset_is_safe_while_the_folder_is_served(folder: Path, sandbox: RunningSandbox) -> None:
    with closing(connect(sandbox)) as connection:
        first = submit(connection)
        submit(connection)

        removed = reset(folder)

        connection.request("GET", f"/v1/tasks/{first['id']}", headers=KEY)
        reply = connection.getresponse()
        reply.read()
        again = submit(connection)
    assert removed == 2
    assert reply.status == 404
    assert again["id"]


def test_resetting_a_missing_folder_creates_nothing(folder: Path) -> None:
    assert reset(folder) == 0
    assert not folder.exists()


def test_a_damaged_database_is_moved_aside(folder: Path) -> None:
    folder.mkdir()
    (folder / "sandbox.sqlite3").write_bytes(b"no database, " * 1000)

    with serve(Service(folder)) as running, closing(connect(running)) as connection:
        assert submit(connection)["id"]

    assert (folder / "sandbox.damaged").exists()


def test_closing_is_quick_and_silent_and_frees_the_port(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    running = serve(Service(folder))
    with closing(connect(running)) as idle:
        submit(idle)
        started = time.perf_counter()

        running.close()
        running.close()

        assert time.perf_counter() - started < 0.5
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", running.port), timeout=1)
    assert capfd.readouterr() == ("", "")


def test_a_thread_that_cannot_start_ends_only_one_connection(
    sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    # given a system that cannot start a thread for the first connection
    with monkeypatch.context() as patch:

        def refuse(_: threading.Thread) -> None:
            message = "can't start new thread"
            raise RuntimeError(message)

        patch.setattr(threading.Thread, "start", refuse)
        assert send_raw(sandbox, b"") == b""

    # then the next one is answered
    with closing(connect(sandbox)) as connection:
        assert submit(connection)["id"]
    assert capfd.readouterr().err == ""
