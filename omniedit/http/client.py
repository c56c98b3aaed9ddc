"""The HTTP client: deadlines, redaction, tracing, proxies, TLS, and the mapping of errors.

Errors of httpx are raised as those of `errors.py`; callers decide what an HTTP status means.
"""

import ssl
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final, NoReturn, Self, cast
from urllib.parse import urlsplit

import httpcore
import httpx

from omniedit import __version__
from omniedit.errors import (
    OFFLINE_CODE,
    InvalidInputError,
    LocalError,
    NetworkError,
    NotConnectedError,
    OmniEditError,
    UnreadableReplyError,
)
from omniedit.http.connections import OFFLINE, STALLED, Network, Reach, Timer, addresses_of
from omniedit.http.reply import Reply, decode, map_strings, parse_json
from omniedit.http.urls import (
    HostKind,
    host_kind,
    is_loopback_url,
    shown_host,
    shown_url,
)
from omniedit.policy import DEFAULT, Policy
from omniedit.sanitize import masked

USER_AGENT: Final = f"omniedit/{__version__} (+https://github.com/omniedit/omniedit)"
"""The result host refuses the default agents of HTTP libraries (Cloudflare error 1010)."""

_FAILURES: Final = (
    httpx.HTTPError,
    httpx.InvalidURL,
    httpx.StreamError,
    httpcore.TimeoutException,
    UnicodeError,
)
"""The errors raised by httpx and by the timer."""
_MAX_ERROR_BYTES: Final = 64 * 1024
_SHORTEST_SECRET: Final = 8
"""The minimum length of a redacted key; a shorter one would match unrelated text by chance."""
_REDACTED: Final = "***"


class StreamedReply:
    """A reply whose body has not been read yet.

    Args:
        response: The httpx response.
        url: The requested URL.
        headers: The response's headers, without any key that they echo.
        timer: The time left for the request.
    """

    def __init__(
        self, response: httpx.Response, url: str, headers: Mapping[str, str], timer: Timer
    ) -> None:
        self.status: int = response.status_code
        self.url: str = url
        self.headers: Mapping[str, str] = headers
        self._response = response
        self._timer = timer

    def transfer(self) -> Iterator[bytes]:
        """Yield the body as it was sent, under the stall rule."""
        self._timer.begin_transfer()
        for chunk in self._response.iter_raw():
            self._timer.moved(len(chunk))
            yield chunk
            self._timer.left_s()

    def whole(self, max_bytes: int) -> bytes:
        """Return the decoded body.

        Raises:
            UnreadableReplyError: If the body is too large or cannot be decoded.
        """
        encoding = self.headers.get("content-encoding", "").strip().lower()
        is_plain = encoding in {"", "identity"}
        body = bytearray()
        # httpx would decode each chunk completely, and a megabyte may expand to a terabyte.
        chunks = self._response.iter_bytes() if is_plain else self._response.iter_raw()
        for chunk in chunks:
            body += chunk
            self._check_size(len(body), max_bytes)
            self._timer.left_s()
        if is_plain:
            return bytes(body)
        decoded = decode(bytes(body), encoding, max_bytes=max_bytes + 1)
        if decoded is None:
            msg = f"the reply from {shown_host(self.url)} cannot be decoded"
            raise UnreadableReplyError(msg, http_status=self.status)
        self._check_size(len(decoded), max_bytes)
        return decoded

    def _check_size(self, size_bytes: int, max_bytes: int) -> None:
        if size_bytes > max_bytes:
            msg = f"the reply is larger than {max_bytes / 1024**2:g} MiB"
            raise UnreadableReplyError(msg, http_status=self.status)

    def beginning(self, max_bytes: int = _MAX_ERROR_BYTES) -> bytes:
        """Return the beginning of the raw body, as much as arrives in time."""
        body = bytearray()
        try:
            for chunk in self._response.iter_raw():
                body += chunk
                if len(body) >= max_bytes:
                    break
                self._timer.left_s()
        except (httpx.HTTPError, httpx.StreamError, httpcore.TimeoutException):
            # The body only explains a refusal, so part of it is enough.
            return bytes(body)
        return bytes(body[:max_bytes])


class HttpClient:
    """Sends requests, each with one deadline for everything from connecting to the last byte.

    Args:
        trace: Takes a line for each request and reply, without secrets; None to trace nothing.
        transport: Replaces the network; injected by tests.
        policy: Time-outs and limits.
        clock: Returns monotonic seconds.
        resolve: Returns the addresses of a host and port.
    """

    def __init__(
        self,
        *,
        trace: Callable[[str], None] | None = None,
        transport: httpx.BaseTransport | None = None,
        policy: Policy = DEFAULT,
        clock: Callable[[], float] = time.monotonic,
        resolve: Callable[[str, int], Iterable[str]] = addresses_of,
    ) -> None:
        self.policy = policy
        self.clock = clock
        self._trace = trace
        self._transport = transport
        self._resolve = resolve
        self._clients: dict[tuple[Reach, bool], httpx.Client] = {}
        self._lock = threading.Lock()
        self._has_connected = False
        self._secrets: frozenset[str] = frozenset()  # replaced, never mutated: threads read it
        self._certificates: ssl.SSLContext | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        while self._clients:
            self._clients.popitem()[1].close()

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | Iterable[bytes] | None = None,
        timeout_s: float | None = None,
        deadline: float | None = None,
    ) -> Reply:
        """Send a request and read the whole reply.

        Args:
            method: The HTTP method.
            url: Absolute; redirects are not followed.
            headers: Added to the client's own. From now on, a key in `authorization` is redacted
                from all replies and traces.
            content: The body. While an iterable is being sent, only the stall rule applies.
            timeout_s: For the whole exchange; if `content` is an iterable, only for the reply.
                The policy's by default.
            deadline: The caller's own, a monotonic instant.

        Raises:
            NotConnectedError: If nothing was sent.
            NetworkError: If the request may have arrived.
            UnreadableReplyError: If the body is too large or encoded in an unknown way.
        """
        with self.stream(
            method, url, headers=headers, content=content, timeout_s=timeout_s, deadline=deadline
        ) as reply:
            body = reply.whole(self.policy.max_reply_bytes)
        for secret in self._secrets:
            body = body.replace(secret.encode(), _REDACTED.encode())
        value = parse_json(body)
        if b"\\" in body or not body.isascii():
            # Escapes or invisible characters may have hidden a key from the replacement above.
            value = map_strings(value, self._redact)
        return Reply(status=reply.status, headers=reply.headers, body=body, json=value)

    @contextmanager
    def stream(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | Iterable[bytes] | None = None,
        timeout_s: float | None = None,
        deadline: float | None = None,
        allow_internal: bool = True,
    ) -> Generator[StreamedReply]:
        """Send a request and yield the reply before its body is read.

        Args:
            method: The HTTP method.
            url: Absolute; redirects are not followed.
            headers: Added to the client's own.
            content: The body.
            timeout_s: For the reply's headers, and for its body unless it is read as a transfer.
            deadline: The caller's own, a monotonic instant.
            allow_internal: Allow addresses of this machine and its network.

        Raises:
            InvalidInputError: If the host leads to a forbidden address; nothing was sent.
            NotConnectedError: If nothing was sent.
            NetworkError: If the request may have arrived; also if the body breaks off, comes too
                slowly or not in time, while the block reads it.
            UnreadableReplyError: If the URL cannot be requested.
        """
        self._keep_secret(headers)
        timeout_s = self.policy.read_timeout_s if timeout_s is None else timeout_s
        client = self._client_for(url, allow_internal=allow_internal)
        timer = Timer(timeout_s, deadline=deadline, policy=self.policy, clock=self.clock)
        if content is not None and not isinstance(content, bytes):
            content = _timed_upload(content, timer, timeout_s)
        try:
            # The network backend gets the timer in place of each time-out.
            pool_s = timer.left_s(httpcore.ConnectTimeout)
            time_outs = {"connect": timer, "read": timer, "write": timer, "pool": pool_s}
            request = client.build_request(
                method, url, headers=headers, content=content, extensions={"timeout": time_outs}
            )
            if self._trace is None:
                response = client.send(request, stream=True)
            else:
                response = self._send_traced(client, request, url)
            self._has_connected = True
        except _FAILURES as error:
            self._raise_mapped(error, url)
        try:
            yield StreamedReply(response, url, self._redacted(response.headers), timer)
        except _FAILURES as error:
            self._raise_mapped(error, url)
        finally:
            response.close()

    def _send_traced(
        self, client: httpx.Client, request: httpx.Request, url: str
    ) -> httpx.Response:
        began = self.clock()
        self._trace_line(f"> {request.method} {shown_url(url)}")
        try:
            response = client.send(request, stream=True)
        except Exception as error:
            self._trace_line(f"< {type(error).__name__} after {self._since(began)}")
            raise
        names = ("x-request-id", "x-oneapi-request-id")
        request_id = next((text for name in names if (text := response.headers.get(name))), None)
        suffix = f" (x-request-id {request_id})" if request_id else ""
        self._trace_line(f"< {response.status_code} after {self._since(began)}{suffix}")
        return response

    def _client_for(self, url: str, *, allow_internal: bool) -> httpx.Client:
        """Return the client for a URL; only URLs with the same reach share connections.

        Raises:
            InvalidInputError: If the URL itself names a forbidden address.
        """
        reach = Reach.LOOPBACK if is_loopback_url(url) else Reach.ANY
        if not allow_internal:
            if host_kind(shown_host(url)) is not HostKind.PUBLIC:
                host = shown_host(url)
                msg = f"{host} is an address of this machine or network, which omniedit does not contact"
                hint = "give a public URL, or the path of a local file"
                raise InvalidInputError(msg, code="internal_address", hint=hint)
            reach = Reach.PUBLIC
        key = (reach, url.lower().startswith("https:"))
        with self._lock:
            client = self._clients.get(key)
            if client is None:
                client = self._clients[key] = self._new_client(reach, needs_certificates=key[1])
        return client

    def _new_client(self, reach: Reach, *, needs_certificates: bool) -> httpx.Client:
        try:
            if needs_certificates and self._certificates is None:
                self._certificates = httpx.create_ssl_context()
            client = httpx.Client(
                headers={
                    "user-agent": USER_AGENT,
                    "accept": "*/*",
                    # Ranges count encoded bytes, so ask for all bytes as they are.
                    "accept-encoding": "identity",
                },
                # Loading the certificates takes 40 ms, so plain http skips it; without CAs every
                # certificate is rejected.
                verify=self._certificates or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
                # Loopback never goes through a proxy, whatever the proxy variables say.
                trust_env=reach is not Reach.LOOPBACK,
                follow_redirects=False,
                # A cookie may hold an echoed key, and cookies are sent to every port of a host.
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
                transport=self._transport,
            )
        except OSError as error:  # ssl.SSLError is one
            msg = f"the certificates named by SSL_CERT_FILE or SSL_CERT_DIR cannot be read: {error}"
            hint = "unset them, or set them to files that exist"
            raise LocalError(msg, code="certificates", hint=hint) from None
        except (ValueError, ImportError, httpx.InvalidURL):
            # The exception quotes the proxy's URL, which may hold a password.
            msg = (
                "the proxy variables (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY) hold an invalid proxy URL"
            )
            hint = "set them to a URL such as http://proxy.example.com:8080, or unset them"
            raise InvalidInputError(msg, code="invalid_proxy", hint=hint) from None
        if self._transport is None:
            self._connect_through(client, reach)
        return client

    def _connect_through(self, client: httpx.Client, reach: Reach) -> None:
        """Make a client use our network backend, for which httpx has no parameter."""
        inner = cast("Any", client)
        inner._transport._pool._network_backend = Network(reach, self._resolve)  # noqa: SLF001 - as above
        for proxied in filter(None, inner._mounts.values()):  # noqa: SLF001 - as above
            # These connections lead to the proxy, and only the proxy resolves the host.
            proxied._pool._network_backend = Network(Reach.ANY, self._resolve)  # noqa: SLF001 - as above

    def _keep_secret(self, headers: Mapping[str, str] | None) -> None:
        secret = (headers or {}).get("authorization", "").rpartition(" ")[2]
        if len(secret) >= _SHORTEST_SECRET and secret not in self._secrets:
            self._secrets |= {secret}

    def _redact(self, text: str) -> str:
        for secret in self._secrets:
            text = masked(text, secret, _REDACTED)
        return text

    def _redacted(self, headers: httpx.Headers) -> httpx.Headers:
        values = "\n".join(headers.values())
        if self._redact(values) == values:
            return headers
        return httpx.Headers([(name, self._redact(value)) for name, value in headers.multi_items()])

    def _trace_line(self, line: str) -> None:
        if self._trace:
            self._trace(self._redact(line))

    def _since(self, began: float) -> str:
        return f"{round((self.clock() - began) * 1000)} ms"

    def _raise_mapped(self, error: Exception, url: str) -> NoReturn:
        """Raise an error of httpx or of the timer as one of ours.

        Raises:
            NetworkError: If the connection broke or was never established.
            UnreadableReplyError: If the URL cannot be requested or the reply cannot be decoded.
        """
        if isinstance(error, UnicodeError):
            # Raised for an invalid host name or a lone surrogate; the exception quotes the text.
            msg = f"not an http(s) URL: {shown_url(url)!a}"
            raise UnreadableReplyError(msg) from None
        reason = self._redact(str(error))
        # A traceback shows the cause, which may quote a key from the reply.
        cause = error if reason == str(error) else None
        has_connected = self._has_connected
        raise _error_from(error, url, reason.rstrip("."), has_connected=has_connected) from cause


def _error_from(  # noqa: C901, PLR0912 - one line a case
    error: Exception, url: str, reason: str, *, has_connected: bool
) -> OmniEditError:
    host = urlsplit(url).netloc.rpartition("@")[2]
    reason = reason or type(error).__name__
    match error:
        case httpx.UnsupportedProtocol() | httpx.InvalidURL():
            return UnreadableReplyError(f"not an http(s) URL: {shown_url(url)}")
        case httpx.RemoteProtocolError() if "location header" in reason:
            # httpx parses the header even though it does not follow it.
            return UnreadableReplyError(f"{host} redirects to an invalid URL")
        case httpx.ConnectTimeout() | httpx.PoolTimeout() | httpcore.ConnectTimeout():
            return NotConnectedError(f"{host} did not answer in time")
        case httpx.ConnectError() if "certificate" in reason.lower():
            return NotConnectedError(
                f"the certificate of {host} is not trusted",
                code="certificate",
                hint="behind a company proxy, name its CA bundle in SSL_CERT_FILE or SSL_CERT_DIR",
            )
        case httpx.ConnectError() if reason == OFFLINE:
            code = None if has_connected else OFFLINE_CODE
            return NotConnectedError(f"cannot reach {host}: {OFFLINE}", code=code)
        case httpx.ConnectError():
            return NotConnectedError(f"cannot connect to {host}: {reason}")
        case httpx.ProxyError():
            # The proxy answers CONNECT before any part of the request is sent.
            return NotConnectedError(f"the proxy refuses to connect to {host}: {reason}")
        case httpx.TimeoutException() | httpcore.TimeoutException():
            return NetworkError(
                f"{host} {STALLED if reason == STALLED else 'did not answer in time'}"
            )
        case _:
            return NetworkError(f"the connection to {host} broke: {reason}")


def _timed_upload(content: Iterable[bytes], timer: Timer, timeout_s: float) -> Iterator[bytes]:
    """Yield a body under the stall rule; the time for the reply starts after its last byte."""
    timer.begin_transfer()
    yield from content
    timer.begin_reply(timeout_s)
