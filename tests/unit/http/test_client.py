"""The one HTTP client: what it sends, what it maps, what it never does."""

import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omniedit import __version__
from omniedit.errors import (
    InvalidInputError,
    LocalError,
    NetworkError,
    NotConnectedError,
    OmniEditError,
    UnreadableReplyError,
)
from omniedit.http.client import MAX_REPLY_BYTES, USER_AGENT, HttpClient, Reply, parse_retry_after

# Without TLS no certificates are loaded, which would take longer than all the rest.
URL = "http://api.example.com/v1/tasks/t-1"
SECURE_URL = "https://api.example.com/v1/tasks/t-1"
KEY = "sk-evo-abcdefghijklmnopqrstuvwxyz0123456789"
NOW = datetime(2025, 9, 6, 11, 0, 0, tzinfo=UTC)

Handler = Callable[[httpx.Request], httpx.Response]


def client_of(handler: Handler, trace: list[str] | None = None) -> HttpClient:
    return HttpClient(
        transport=httpx.MockTransport(handler), trace=None if trace is None else trace.append
    )


def raising(error: Exception) -> Handler:
    def handle(request: httpx.Request) -> httpx.Response:
        raise error

    return handle


class Trickle(httpx.SyncByteStream):
    """A body in pieces, which may break off."""

    def __init__(self, pieces: Iterator[bytes], error: Exception | None = None) -> None:
        self.pieces = pieces
        self.error = error
        self.taken = 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self.pieces:
            self.taken += len(piece)
            yield piece
        if self.error is not None:
            raise self.error


def test_it_introduces_itself() -> None:
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"a": 1}, headers={"X-Request-Id": "r"})

    with client_of(handle) as client:
        reply = client.request("GET", URL, headers={"authorization": f"Bearer {KEY}"})

    assert (reply.status, reply.json, reply.headers["x-request-id"]) == (200, {"a": 1}, "r")
    assert seen[0].headers["user-agent"] == USER_AGENT
    assert USER_AGENT.startswith(f"omniedit/{__version__} (+https://")
    assert "python" not in USER_AGENT.lower()
    assert seen[0].headers["accept-encoding"] == "identity"
    assert seen[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(httpx.ConnectError("refused"), NotConnectedError, id="refused"),
        pytest.param(httpx.ConnectTimeout("slow"), NotConnectedError, id="connect-timeout"),
        pytest.param(httpx.PoolTimeout("busy"), NotConnectedError, id="pool"),
        pytest.param(httpx.ProxyError("407"), NotConnectedError, id="proxy"),
        pytest.param(httpx.ReadTimeout("slow"), NetworkError, id="read-timeout"),
        pytest.param(httpx.WriteTimeout("slow"), NetworkError, id="write-timeout"),
        pytest.param(httpx.ReadError("reset"), NetworkError, id="read"),
        pytest.param(httpx.WriteError("reset"), NetworkError, id="write"),
        pytest.param(httpx.CloseError("close"), NetworkError, id="close"),
        pytest.param(httpx.RemoteProtocolError("cut"), NetworkError, id="remote-protocol"),
        pytest.param(httpx.LocalProtocolError("header"), NetworkError, id="local-protocol"),
        pytest.param(httpx.UnsupportedProtocol("file"), UnreadableReplyError, id="scheme"),
        pytest.param(httpx.InvalidURL("bad"), UnreadableReplyError, id="url"),
        pytest.param(httpx.DecodingError("gzip"), UnreadableReplyError, id="decoding"),
        pytest.param(httpx.StreamClosed(), NetworkError, id="stream"),
        pytest.param(UnicodeError("idna"), UnreadableReplyError, id="host-name"),
    ],
)
def test_what_httpx_raises_becomes_one_of_ours(
    error: Exception, expected: type[OmniEditError]
) -> None:
    with client_of(raising(error)) as client, pytest.raises(OmniEditError) as caught:
        client.request("GET", f"{URL}?signature=secret")

    assert type(caught.value) is expected
    assert "signature" not in caught.value.message


def test_every_error_of_httpx_has_a_row_in_the_table_above() -> None:
    def below(cls: type[Exception]) -> Iterator[type[Exception]]:
        for subclass in cls.__subclasses__():
            yield subclass
            yield from below(subclass)

    for error in {*below(httpx.RequestError), *below(httpx.StreamError)}:
        made = error.__new__(error)
        Exception.__init__(made, "no")
        with client_of(raising(made)) as client, pytest.raises(OmniEditError):
            client.request("GET", URL)


def test_a_certificate_that_is_not_trusted_names_the_variables() -> None:
    error = httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")

    with client_of(raising(error)) as client, pytest.raises(NotConnectedError) as caught:
        client.request("GET", URL)

    assert caught.value.code == "certificate"
    assert "SSL_CERT_FILE" in (caught.value.hint or "")


def test_a_body_of_8_mib_is_read_and_no_more() -> None:
    body = Trickle(iter([b"x" * MAX_REPLY_BYTES]))
    with client_of(lambda _: httpx.Response(200, stream=body)) as client:
        assert len(client.request("GET", URL).body) == MAX_REPLY_BYTES

    endless = Trickle(b"x" * 65536 for _ in range(20 * 16))
    with (
        client_of(lambda _: httpx.Response(200, stream=endless)) as client,
        pytest.raises(UnreadableReplyError, match="8 MiB"),
    ):
        client.request("GET", URL)
    assert endless.taken <= MAX_REPLY_BYTES + 65536


def test_a_body_that_trickles_past_its_time_is_given_up() -> None:
    body = Trickle(iter([b"{", b"}"]))

    with (
        client_of(lambda _: httpx.Response(200, stream=body)) as client,
        pytest.raises(NetworkError, match="too slowly"),
    ):
        client.request("GET", URL, timeout_s=-1)


@pytest.mark.parametrize(
    "error", [httpx.ReadError("reset"), httpx.RemoteProtocolError("cut"), httpx.ReadTimeout("slow")]
)
def test_a_body_that_breaks_off_is_a_network_error(error: Exception) -> None:
    body = Trickle(iter([b'{"id": ']), error)

    with (
        client_of(lambda _: httpx.Response(200, stream=body)) as client,
        pytest.raises(NetworkError),
    ):
        client.request("GET", URL)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_never_followed(status: int) -> None:
    seen: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(str(request.url))
        return httpx.Response(status, headers={"Location": "https://evil.example/"})

    with client_of(handle) as client:
        reply = client.request("GET", URL, headers={"authorization": f"Bearer {KEY}"})

    assert (reply.status, seen) == (status, [URL])


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"\xff\xfe", b"[" * 100_000, b'{"a": ', b"NaN, 1"]
)
def test_a_body_that_is_no_json_has_none(body: bytes) -> None:
    assert Reply(status=200, headers={}, body=body).json is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("7", 7.0, id="seconds"),
        pytest.param(" 0 ", 0.0, id="zero"),
        pytest.param("3600", 3600.0, id="an-hour"),
        pytest.param("9" * 400, 999999999.0, id="for-ever"),
        pytest.param(format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0, id="date"),
        pytest.param(format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0.0, id="past"),
        pytest.param("Sat, 06 Sep 2025 11:01:30 -0000", 90.0, id="date-without-zone"),
        pytest.param("", None, id="missing"),
        pytest.param("-5", None, id="negative"),
        pytest.param("1.5", None, id="fraction"),
        pytest.param("soon", None, id="word"),
        pytest.param("٣", None, id="arabic-digit"),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str, expected: float | None) -> None:
    assert parse_retry_after(text, now=NOW) == expected


@given(st.text(max_size=40))
def test_any_retry_after_is_read_or_none(text: str) -> None:
    found = parse_retry_after(text, now=NOW)

    assert found is None or found >= 0


def test_a_reply_knows_its_retry_after() -> None:
    headers = httpx.Headers({"Retry-After": "12"})

    assert Reply(status=429, headers=headers, body=b"").retry_after_s == 12
    assert Reply(status=429, headers={}, body=b"").retry_after_s is None


def test_a_trace_shows_neither_key_nor_query() -> None:
    trace: list[str] = []
    headers = {"x-request-id": "req-7"}

    with client_of(lambda _: httpx.Response(200, headers=headers), trace) as client:
        client.request("GET", f"{URL}?X-Signature=abc", headers={"authorization": f"Bearer {KEY}"})
    with (
        client_of(raising(httpx.ReadTimeout("slow")), trace) as client,
        pytest.raises(NetworkError),
    ):
        client.request("POST", URL, content=b"{}")

    text = "\n".join(trace)
    assert KEY not in text
    assert "abc" not in text
    assert f"> GET {URL}?…" in trace
    assert "req-7" in text
    assert "ReadTimeout" in text


PROXY = "http://proxy.example:3128"


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000/x", "http://localhost/x", "https://[::1]/x"]
)
def test_loopback_never_goes_through_a_proxy(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, PROXY)

    with HttpClient() as client:
        transport = client._client_for(url)._transport_for_url(httpx.URL(url))
        elsewhere = client._client_for(SECURE_URL)._transport_for_url(httpx.URL(SECURE_URL))

    assert isinstance(transport, httpx.HTTPTransport)
    assert isinstance(elsewhere, httpx.HTTPTransport)
    assert "Proxy" not in type(transport._pool).__name__
    assert "Proxy" in type(elsewhere._pool).__name__


def test_a_proxy_that_is_no_url_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks9://user:secret@proxy")

    with HttpClient() as client, pytest.raises(InvalidInputError, match="HTTPS_PROXY") as caught:
        client.request("GET", SECURE_URL)

    assert "secret" not in str(caught.value)


def test_certificates_that_cannot_be_read_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))

    with HttpClient() as client, pytest.raises(LocalError, match="SSL_CERT_FILE"):
        client.request("GET", SECURE_URL)


def test_only_https_pays_for_certificates() -> None:
    with HttpClient() as client:
        plain = client._client_for("http://127.0.0.1:1/")._transport
        secure = client._client_for(SECURE_URL)._transport

    assert isinstance(plain, httpx.HTTPTransport)
    assert isinstance(secure, httpx.HTTPTransport)
    contexts = [transport._pool._ssl_context for transport in (plain, secure)]
    assert all(context is not None for context in contexts)
    # A context without certificates trusts nobody.
    assert [context.verify_mode for context in contexts if context] == [ssl.CERT_REQUIRED] * 2
    assert [context.check_hostname for context in contexts if context] == [True, True]


def test_connections_are_reused_and_closed() -> None:
    client = client_of(lambda _: httpx.Response(200))
    client.request("GET", SECURE_URL)
    inner = client._client_for(SECURE_URL)
    client.request("GET", SECURE_URL)

    assert client._client_for("https://other.example/") is inner
    client.close()
    assert inner.is_closed
    client.close()
