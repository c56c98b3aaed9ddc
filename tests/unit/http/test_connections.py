"""One deadline for a whole request, and the addresses that a connection may reach."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext

import httpx
import pytest

from omniedit.errors import (
    OFFLINE_CODE,
    InvalidInputError,
    NetworkError,
    NotConnectedError,
    OmniEditError,
)
from omniedit.http.client import HttpClient, Reply
from omniedit.http.connections import addresses_of
from omniedit.http.urls import INTERNAL_NAME_CODE
from omniedit.policy import DEFAULT
from tests.unit.http.hostile import BROKEN, ENDLESS, ODD, TINY, Answer, HostileServer, whole

Serve = Callable[..., HostileServer]
LONG_S = 5.0
"""Far longer than any of these may take, even on a busy machine."""


@pytest.fixture
def impatient() -> Iterator[HttpClient]:
    """A client that gives up after milliseconds."""
    with HttpClient(policy=TINY) as client:
        yield client


@pytest.fixture
def http() -> Iterator[HttpClient]:
    with HttpClient() as client:
        yield client


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def answers(table: dict[str, Answer]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "answer", [pytest.param(answer, id=name) for name, answer in table.items()]
    )


@answers(ENDLESS)
def test_an_endless_reply_is_given_up_at_the_deadline(
    serve_bytes: Serve, impatient: HttpClient, answer: Answer
) -> None:
    server = serve_bytes(answer)
    began = time.monotonic()

    with pytest.raises(NetworkError):
        impatient.request("GET", server.url)

    assert time.monotonic() - began < LONG_S


@answers(ENDLESS)
def test_the_callers_deadline_cuts_a_request_short(serve_bytes: Serve, answer: Answer) -> None:
    server = serve_bytes(answer)
    began = time.monotonic()

    with HttpClient() as http, pytest.raises(NetworkError):
        http.request("GET", server.url, deadline=began + 0.06)

    assert time.monotonic() - began < LONG_S


def test_past_the_callers_deadline_nothing_is_sent(serve_bytes: Serve, http: HttpClient) -> None:
    server = serve_bytes(whole())

    with pytest.raises(NotConnectedError):
        http.request("GET", server.url, deadline=time.monotonic() - 1)

    assert server.heads == []


@answers(ENDLESS)
def test_a_stalled_transfer_is_aborted(serve_bytes: Serve, answer: Answer) -> None:
    server = serve_bytes(answer)

    with (
        HttpClient(policy=TINY._replace(stall_bytes_per_s=1_000_000)) as http,
        pytest.raises(NetworkError),
        http.stream("GET", server.url) as reply,
    ):
        for _ in reply.transfer():
            pass


@answers(BROKEN)
def test_an_invalid_reply_is_an_omniedit_error(
    serve_bytes: Serve, http: HttpClient, answer: Answer
) -> None:
    with pytest.raises(OmniEditError):
        http.request("GET", serve_bytes(answer).url)


@answers(ODD)
def test_an_odd_but_valid_reply_is_accepted(
    serve_bytes: Serve, http: HttpClient, answer: Answer
) -> None:
    reply = http.request("GET", serve_bytes(answer).url)

    assert isinstance(reply, Reply)
    assert reply.status == 200
    assert (reply.retry_after_s or 0) < 1e9
    assert reply.server_time is None


@pytest.mark.parametrize(
    ("chunk_bytes", "seconds", "is_completed"),
    [
        pytest.param(60_000, 59, True, id="fast-enough"),
        pytest.param(20_000, 19, True, id="in-small-chunks"),
        pytest.param(59_000, 61, False, id="too-slow"),
        pytest.param(1, 1, False, id="byte-by-byte"),
    ],
)
def test_a_transfer_is_aborted_only_below_the_minimum_speed(
    chunk_bytes: int, seconds: int, *, is_completed: bool
) -> None:
    clock = Clock()
    received = 0

    def chunks() -> Iterator[bytes]:
        for _ in range(100):
            clock.now += seconds
            yield b"x" * chunk_bytes

    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=Chunks(chunks()))

    http = HttpClient(transport=httpx.MockTransport(answer), clock=clock)
    with (
        nullcontext() if is_completed else pytest.raises(NetworkError, match="too little"),
        http.stream("GET", "http://media.example/") as reply,
    ):
        for chunk in reply.transfer():
            received += len(chunk)

    assert (received == 100 * chunk_bytes) is is_completed
    assert is_completed or clock.now <= 1000 + 62


class Chunks(httpx.SyncByteStream):
    """A body in chunks that can be read raw."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks


def test_an_upload_that_nobody_reads_is_aborted(serve_bytes: Serve, impatient: HttpClient) -> None:
    server = serve_bytes(whole(), reads_body=False)
    block = bytes(256 * 1024)

    with pytest.raises(NetworkError, match="transferred too little"):
        impatient.request("POST", server.url, content=(block for _ in range(1000)))


def test_a_long_upload_does_not_use_up_the_replys_timeout(serve_bytes: Serve) -> None:
    server = serve_bytes(whole(b'{"a": 1}'))
    clock = Clock()

    def content() -> Iterator[bytes]:
        for _ in range(20):
            clock.now += 50
            yield bytes(60_000)

    with HttpClient(clock=clock) as http:
        reply = http.request(
            "POST",
            server.url,
            content=content(),
            headers={"content-length": "1200000"},
            timeout_s=60,
        )

    assert reply.json == {"a": 1}


def test_an_upload_ends_at_the_callers_deadline(serve_bytes: Serve) -> None:
    server = serve_bytes(whole())
    clock = Clock()

    def content() -> Iterator[bytes]:
        for _ in range(20):
            clock.now += 50
            yield bytes(60_000)

    with HttpClient(clock=clock) as http, pytest.raises(NetworkError):
        http.request(
            "POST",
            server.url,
            content=content(),
            headers={"content-length": "1200000"},
            deadline=clock.now + 500,
        )

    assert clock.now <= 1550


INTERNAL = ["127.0.0.1", "127.8.8.8", "10.1.2.3", "192.168.0.1", "169.254.169.254", "::1",
            "fd00::1", "fe80::1", "::ffff:127.0.0.1", "0.0.0.1", "100.64.0.1"]  # fmt: skip


@pytest.mark.parametrize("address", INTERNAL)
def test_a_public_name_with_an_internal_address_is_not_contacted(
    serve_bytes: Serve, address: str
) -> None:
    server = serve_bytes(whole())
    url = f"http://media.example:{server.port}/clip.mp4"

    with (
        HttpClient(policy=TINY, resolve=lambda *_: ["93.184.216.34", address]) as http,
        pytest.raises(InvalidInputError, match="leads to an address of this machine") as caught,
        http.stream("GET", url, allow_internal=False),
    ):
        pass

    assert caught.value.code == INTERNAL_NAME_CODE
    assert server.heads == []


def test_a_name_is_resolved_once_per_connection(serve_bytes: Serve) -> None:
    """A second lookup could return an internal address (DNS rebinding)."""
    server = serve_bytes(whole())
    addresses = iter([["127.0.0.1"]])

    with (
        HttpClient(resolve=lambda *_: next(addresses)) as http,
        http.stream("GET", f"http://media.example:{server.port}/") as reply,
    ):
        assert reply.status == 200

    assert list(addresses) == []


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]", "169.254.169.254",
             "127.0.0.1.", "a.localhost", "printer.local", "[::ffff:10.0.0.1]"],
)  # fmt: skip
def test_an_internal_literal_address_is_not_even_resolved(host: str) -> None:
    def resolve(*_: object) -> list[str]:
        pytest.fail("resolved")

    with (
        HttpClient(policy=TINY, resolve=resolve) as http,
        pytest.raises(InvalidInputError, match="which omniedit does not contact"),
        http.stream("GET", f"http://{host}/", allow_internal=False),
    ):
        pass


def test_a_connection_to_the_api_is_not_shared_with_links(serve_bytes: Serve) -> None:
    server = serve_bytes(whole())
    url = f"http://media.example:{server.port}/"

    with HttpClient(resolve=lambda *_: ["127.0.0.1"]) as http:
        assert http.request("GET", url).status == 200
        with pytest.raises(InvalidInputError), http.stream("GET", url, allow_internal=False):
            pass


@pytest.mark.parametrize("host", ["evil.localhost", "localhost.localdomain", "localhost"])
def test_a_localhost_name_resolving_elsewhere_never_gets_the_key(host: str) -> None:
    with (
        HttpClient(policy=TINY, resolve=lambda *_: ["93.184.216.34"]) as http,
        pytest.raises(InvalidInputError, match="does not lead to this machine") as caught,
    ):
        http.request("GET", f"http://{host}/v1", headers={"authorization": "Bearer sk-evo-secret"})

    assert caught.value.code == "not_loopback"


def test_a_localhost_name_resolving_to_loopback_is_contacted(serve_bytes: Serve) -> None:
    server = serve_bytes(whole())

    with HttpClient(resolve=lambda *_: ["127.0.0.1"]) as http:
        assert http.request("GET", f"http://api.localhost:{server.port}/").status == 200


def test_behind_a_proxy_only_literal_addresses_are_checked(
    serve_bytes: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve_bytes(whole(b"by proxy"))
    monkeypatch.setenv("HTTP_PROXY", proxy.url)

    def resolve(host: str, _port: int) -> list[str]:
        pytest.fail(f"resolved {host}")

    with HttpClient(resolve=resolve) as http:
        with http.stream("GET", "http://media.example/a", allow_internal=False) as reply:
            assert reply.beginning() == b"by proxy"
        with (
            pytest.raises(InvalidInputError),
            http.stream("GET", "http://10.0.0.1/a", allow_internal=False),
        ):
            pass

    assert len(proxy.heads) == 1


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="hangs-up"),
        pytest.param(b"\x00\xff\r\n\r\n", id="not-http"),
        pytest.param(None, id="silence"),
    ],
)
def test_a_failing_proxy_means_nothing_was_sent(
    monkeypatch: pytest.MonkeyPatch, answer: bytes | None
) -> None:
    policy = DEFAULT._replace(connect_timeout_s=0.2)
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.getsockname()[1]}")

        def serve() -> None:
            connection, _ = proxy.accept()
            with connection:
                connection.recv(65536)
                if answer is None:
                    connection.recv(1)  # until the client gives up
                else:
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with (
            HttpClient(policy=policy) as http,
            pytest.raises(NotConnectedError),
        ):
            http.request("POST", "https://api.example/", content=b"{}", timeout_s=10.0)
        thread.join(5.0)


def test_the_next_address_is_tried_when_one_refuses(serve_bytes: Serve) -> None:
    server = serve_bytes(whole())

    with HttpClient(resolve=lambda *_: ["127.0.0.9", "127.0.0.1"]) as http:
        assert http.request("GET", f"http://localhost:{server.port}/").status == 200


@pytest.mark.parametrize(
    "resolve",
    [
        pytest.param(lambda *_: ["127.0.0.9", "127.0.0.8"], id="all-refuse"),
        pytest.param(lambda *_: [], id="no-addresses"),
    ],
)
def test_a_host_with_no_reachable_address_is_not_connected(
    resolve: Callable[..., list[str]],
) -> None:
    with (
        HttpClient(resolve=resolve) as http,
        pytest.raises(NotConnectedError, match="cannot connect to localhost"),
    ):
        http.request("GET", "http://localhost:1/")


def test_an_unresolvable_name_means_offline_unless_a_host_answered(serve_bytes: Serve) -> None:
    server = serve_bytes(whole())

    def resolve(host: str, _port: int) -> list[str]:
        return ["127.0.0.1"] if host == "localhost" else _raise(socket.gaierror(-2, "unknown"))

    codes: list[str] = []
    with HttpClient(resolve=resolve) as http:
        for _ in range(2):
            with pytest.raises(NotConnectedError, match=r"reach no\.example: are you") as caught:
                http.request("GET", "http://no.example/")
            codes.append(caught.value.code)
            http.request("GET", f"http://localhost:{server.port}/")

    assert codes == [OFFLINE_CODE, NotConnectedError.kind]


@pytest.mark.posix
def test_a_missing_route_asks_whether_you_are_online() -> None:
    with (
        HttpClient(resolve=lambda *_: ["255.255.255.255"]) as http,
        pytest.raises(NotConnectedError, match=r"reach no\.example: are you online"),
    ):
        http.request("GET", "http://no.example/")


def test_an_impossible_host_name_is_an_omniedit_error() -> None:
    with HttpClient(policy=TINY) as http, pytest.raises(OmniEditError):
        http.request("GET", f"http://{'a' * 300}.example/")


def test_a_hanging_resolver_is_given_up() -> None:
    release = threading.Event()

    def hang(*_: object) -> list[str]:
        release.wait(LONG_S)
        return []

    policy = TINY._replace(connect_timeout_s=0.02)
    try:
        with HttpClient(policy=policy, resolve=hang) as http, pytest.raises(NotConnectedError):
            http.request("GET", "http://media.example/")
    finally:
        release.set()


def test_an_endless_tls_handshake_is_given_up(serve_bytes: Serve) -> None:
    server = serve_bytes(ENDLESS["silence"])

    with (
        HttpClient(policy=TINY._replace(connect_timeout_s=0.05)) as http,
        pytest.raises(NotConnectedError),
    ):
        http.request("GET", server.url.replace("http:", "https:"))


def test_addresses_come_from_the_system() -> None:
    assert "127.0.0.1" in addresses_of("localhost", 80)


def _raise(error: Exception) -> list[str]:
    raise error
