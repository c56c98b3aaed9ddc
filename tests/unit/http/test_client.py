"""The HTTP client: what it sends, how it maps errors, and what it never does."""

import gzip
import json
import ssl
import traceback
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from omniedit import __version__
from omniedit.errors import (
    InvalidInputError,
    LocalError,
    NetworkError,
    NotConnectedError,
    OmniEditError,
    UnreadableReplyError,
)
from omniedit.http.client import USER_AGENT, HttpClient
from omniedit.policy import DEFAULT
from omniedit.sanitize import sanitize

# Without TLS no certificates are loaded, which would take longer than the tests themselves.
URL = "http://api.example.com/v1/tasks/t-1"
SECURE_URL = "https://api.example.com/v1/tasks/t-1"
KEY = "sk-evo-abcdefghijklmnopqrstuvwxyz0123456789"

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
    """A body in pieces that may break off."""

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


def test_a_request_carries_the_user_agent_and_the_key() -> None:
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
        pytest.param(httpx.DecodingError("gzip"), NetworkError, id="decoding"),
        pytest.param(httpx.StreamClosed(), NetworkError, id="stream"),
        pytest.param(UnicodeError("idna"), UnreadableReplyError, id="host-name"),
    ],
)
def test_httpx_errors_become_omniedit_errors(
    error: Exception, expected: type[OmniEditError]
) -> None:
    with client_of(raising(error)) as client, pytest.raises(OmniEditError) as caught:
        client.request("GET", f"{URL}?signature=secret")

    assert type(caught.value) is expected
    assert "signature" not in caught.value.message


def test_every_httpx_error_becomes_an_omniedit_error() -> None:
    def below(cls: type[Exception]) -> Iterator[type[Exception]]:
        for subclass in cls.__subclasses__():
            yield subclass
            yield from below(subclass)

    for error in {*below(httpx.RequestError), *below(httpx.StreamError)}:
        made = error.__new__(error)
        Exception.__init__(made, "no")
        with client_of(raising(made)) as client, pytest.raises(OmniEditError):
            client.request("GET", URL)


def test_an_untrusted_certificate_hints_at_ssl_cert_file() -> None:
    error = httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")

    with client_of(raising(error)) as client, pytest.raises(NotConnectedError) as caught:
        client.request("GET", URL)

    assert caught.value.code == "certificate"
    assert "SSL_CERT_FILE" in (caught.value.hint or "")


def test_a_body_is_read_up_to_16_mib() -> None:
    most_bytes = DEFAULT.max_reply_bytes
    body = Trickle(iter([b'"', b"x" * (most_bytes - 2), b'"']))
    with client_of(lambda _: httpx.Response(200, stream=body)) as client:
        text = client.request("GET", URL).json
        assert isinstance(text, str)
        assert len(text) + 2 == most_bytes == 16 * 1024**2

    endless = Trickle(b"x" * 65536 for _ in range(40 * 16))
    with (
        client_of(lambda _: httpx.Response(200, stream=endless)) as client,
        pytest.raises(UnreadableReplyError, match="16 MiB"),
    ):
        client.request("GET", URL)
    assert endless.taken <= most_bytes + 65536


def encoded(body: bytes, encoding: str) -> Handler:
    return lambda _: httpx.Response(
        200, headers={"content-encoding": encoding}, stream=Trickle(iter([body]))
    )


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        pytest.param(gzip.compress(b'{"a": 1}'), "gzip", id="gzip"),
        pytest.param(zlib.compress(b'{"a": 1}'), "deflate", id="deflate"),
    ],
)
def test_an_unrequested_compression_is_decoded(body: bytes, encoding: str) -> None:
    with client_of(encoded(body, encoding)) as client:
        assert client.request("GET", URL).json == {"a": 1}


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        pytest.param(gzip.compress(bytes(17 * 1024**2)), "gzip", id="gzip-bomb"),
        pytest.param(gzip.compress(gzip.compress(b"{}")), "gzip, gzip", id="compressed-twice"),
        pytest.param(b"{}", "br", id="unknown-encoding"),
        pytest.param(b"{}", "gzip", id="not-compressed"),
        pytest.param(gzip.compress(b"{}" + b" " * 999)[:-9], "gzip", id="truncated"),
        pytest.param(gzip.compress(b"{}") + bytes(17 * 1024**2), "gzip", id="endless"),
    ],
)
def test_a_body_that_cannot_be_decoded_is_unreadable(body: bytes, encoding: str) -> None:
    with client_of(encoded(body, encoding)) as client, pytest.raises(UnreadableReplyError):
        client.request("GET", URL)


@pytest.mark.parametrize(
    "error", [httpx.ReadError("reset"), httpx.RemoteProtocolError("cut"), httpx.ReadTimeout("slow")]
)
def test_a_body_cut_short_is_a_network_error(error: Exception) -> None:
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


class Echo:
    """Answers each request with the reply that `reply` builds from its key."""

    def __init__(self, reply: Callable[[str], httpx.Response]) -> None:
        self.reply = reply

    def __call__(self, request: httpx.Request) -> httpx.Response:
        return self.reply(
            request.headers.get("authorization", f"Bearer {KEY}").removeprefix("Bearer ")
        )


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(lambda key: httpx.Response(401, json={"error": f"bad key {key}"}), id="text"),
        pytest.param(lambda key: httpx.Response(200, json={"a": [{key: [key]}]}), id="name"),
        pytest.param(
            lambda key: httpx.Response(200, content=f'{{"a": "{key}"}}'.replace("-", "\\u002d")),
            id="escaped",
        ),
        pytest.param(
            lambda key: httpx.Response(200, content="[" * 800 + f'"{key}"' + "]" * 800),
            id="deeply-nested",
        ),
        pytest.param(lambda key: httpx.Response(200, json=key), id="bare-string"),
        pytest.param(
            lambda key: httpx.Response(400, json={"message": f"{key[:9]}\u200b{key[9:]}"}),
            id="with-an-invisible-character",
        ),
        pytest.param(lambda key: httpx.Response(502, text=f"<html>{key}"), id="html"),
        pytest.param(lambda key: httpx.Response(200, headers={"x-request-id": key}), id="header"),
    ],
)
def test_an_echoed_key_is_removed_from_reply_and_trace(
    reply: Callable[[str], httpx.Response],
) -> None:
    trace: list[str] = []
    with client_of(Echo(reply), trace) as client:
        found = client.request("GET", URL, headers={"authorization": f"Bearer {KEY}"})

    assert KEY not in json.dumps(dict(found.headers))
    assert KEY not in str([*map(sanitize, _strings(found.json))])
    assert KEY not in "\n".join(trace)


def _strings(value: object) -> list[str]:
    """Return all strings of a JSON value, which may be too deeply nested for `repr`."""
    found = []
    left = [value]
    while left:
        match left.pop():
            case str() as text:
                found.append(text)
            case dict() as pairs:
                left += [*pairs, *pairs.values()]
            case list() as items:
                left += items
    return found


@pytest.mark.parametrize("server", ["caf\u00e9".encode("latin-1"), "caf\u00e9".encode()])
def test_a_header_may_hold_any_character(server: bytes) -> None:
    headers = [(b"server", server), (b"x-request-id", KEY.encode())]
    with client_of(lambda _: httpx.Response(200, headers=headers)) as client:
        found = client.request("GET", URL, headers={"authorization": f"Bearer {KEY}"})

    assert (found.headers["server"], found.headers["x-request-id"]) == ("caf\u00e9", "***")


def test_a_key_echoed_by_a_later_reply_is_removed_too() -> None:
    with client_of(
        Echo(lambda key: httpx.Response(200, json={"url": f"https://a/{key}"}))
    ) as client:
        client.request("GET", URL, headers={"authorization": f"Bearer {KEY}"})
        found = client.request("GET", "http://files.example/")

    assert found.json == {"url": "https://a/***"}


def test_a_cookie_is_never_sent_back() -> None:
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={}, headers={"Set-Cookie": f"key={KEY}; Path=/"})

    with client_of(handle) as client:
        client.request("GET", "http://127.0.0.1:8000/v1/credits")
        client.request("GET", "http://127.0.0.1:9000/result.mp4")

    assert not any("cookie" in request.headers for request in seen)


def test_an_error_never_quotes_the_key() -> None:
    error = httpx.RemoteProtocolError(f"illegal header line: {KEY}")

    with client_of(raising(error)) as client, pytest.raises(NetworkError) as caught:
        client.request("GET", URL, headers={"authorization": f"Bearer {KEY}"})

    shown = "".join(traceback.format_exception(caught.value)) + caught.value.message
    assert "illegal header line" in shown
    assert KEY not in shown


PROXY = "http://proxy.example:3128"


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000/x", "http://localhost/x", "https://[::1]/x"]
)
def test_loopback_never_goes_through_a_proxy(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, PROXY)

    with HttpClient() as client:
        transport = client._client_for(url, allow_internal=True)._transport_for_url(httpx.URL(url))
        elsewhere = client._client_for(SECURE_URL, allow_internal=True)._transport_for_url(
            httpx.URL(SECURE_URL)
        )

    assert isinstance(transport, httpx.HTTPTransport)
    assert isinstance(elsewhere, httpx.HTTPTransport)
    assert "Proxy" not in type(transport._pool).__name__
    assert "Proxy" in type(elsewhere._pool).__name__


def test_an_invalid_proxy_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks9://user:secret@proxy")

    with HttpClient() as client, pytest.raises(InvalidInputError, match="HTTPS_PROXY") as caught:
        client.request("GET", SECURE_URL)

    assert "secret" not in str(caught.value)


def test_unreadable_certificates_name_ssl_cert_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))

    with HttpClient() as client, pytest.raises(LocalError, match="SSL_CERT_FILE"):
        client.request("GET", SECURE_URL)


def test_http_and_https_clients_both_verify_certificates() -> None:
    with HttpClient() as client:
        plain = client._client_for("http://127.0.0.1:1/", allow_internal=True)._transport
        secure = client._client_for(SECURE_URL, allow_internal=True)._transport

    assert isinstance(plain, httpx.HTTPTransport)
    assert isinstance(secure, httpx.HTTPTransport)
    contexts = [transport._pool._ssl_context for transport in (plain, secure)]
    assert all(context is not None for context in contexts)
    # Without CAs, every certificate is rejected.
    assert [context.verify_mode for context in contexts if context] == [ssl.CERT_REQUIRED] * 2
    assert [context.check_hostname for context in contexts if context] == [True, True]


def test_connections_are_reused_and_closed() -> None:
    client = client_of(lambda _: httpx.Response(200))
    client.request("GET", SECURE_URL)
    inner = client._client_for(SECURE_URL, allow_internal=True)
    client.request("GET", SECURE_URL)

    assert client._client_for("https://other.example/", allow_internal=True) is inner
    client.close()
    assert inner.is_closed
    client.close()
