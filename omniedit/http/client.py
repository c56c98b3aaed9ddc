"""The HTTP client and its replies: deadlines, redaction, tracing, proxies and TLS.

Errors of httpx are raised as those of `errors.py`; callers decide what an HTTP status means.
"""

import json
import re
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final, NamedTuple, NoReturn, Self, cast

import httpcore
import httpx

from omniedit import __version__
from omniedit.errors import InvalidInputError, LocalError, UnreadableReplyError
from omniedit.http.connections import FAILURES, Network, Timer, addresses_of, error_of
from omniedit.http.urls import HostKind, host_kind, is_loopback_url, shown_host, shown_url
from omniedit.policy import DEFAULT, Policy
from omniedit.sanitize import masked

USER_AGENT: Final = f"omniedit/{__version__} (+https://github.com/omniedit/omniedit)"
"""The result host refuses the default agents of HTTP libraries (Cloudflare error 1010)."""
LONGEST_RETRY_AFTER_S: Final = 366 * 24 * 3600.0

_MAX_ERROR_BYTES: Final = 64 * 1024
_SHORTEST_SECRET: Final = 8
"""The minimum length of a redacted key; a shorter one would match unrelated text by chance."""
_REDACTED: Final = "***"
_GZIP_OR_ZLIB: Final = zlib.MAX_WBITS | 32
_EARLIEST_DATE: Final = 1_000_000_000.0  # 2001
_LATEST_DATE: Final = 4_102_444_800.0  # 2100
# These patterns are compiled on first use: few commands need them.
_LENGTH: Final = r"[0-9]{1,18}"
_CONTENT_RANGE: Final = rf"(?i)bytes (?:({_LENGTH})-({_LENGTH})|\*)/({_LENGTH})"
_SURROGATE: Final = "[\ud800-\udfff]"
# Matches Cloudflare's HTML pages, plain text and JSON. No two alternatives begin alike and all
# repetition is bounded, so a hostile body cannot make the search backtrack for long.
_BLOCKED: Final = rb"(?i)error(?:[\s_\"':>-]|code|<[^<>]{0,100}>){0,40}1010\b"


class ContentRange(NamedTuple):
    """The part of a file that a reply delivers."""

    start: int | None
    """None in a 416, which states only the total."""
    end: int  # the offset after the last byte
    total_bytes: int


class Reply:
    """A reply, without any key that it echoes, except in a body that is read as bytes.

    `HttpClient.request` reads the whole body; after `HttpClient.stream`, `transfer`, `whole` or
    `beginning` reads it.
    """

    def __init__(
        self, response: httpx.Response, headers: Mapping[str, str], *, url: str, timer: Timer
    ) -> None:
        self.status = response.status_code
        self.headers = headers  # case-insensitive
        self.url = url
        self.json: object = None
        """The body that `request` read; None if it is not JSON, such as a proxy's HTML."""
        self.blocks_client = False
        """Whether the body that was read is Cloudflare's error 1010: it concerns every request."""
        self._response = response
        self._timer = timer

    @property
    def retry_after_s(self) -> float | None:
        """The delay that `Retry-After` asks for (RFC 9110, 10.2.3), at most 366 days."""
        asked = self.headers.get("retry-after", "").strip()
        if asked.isascii() and asked.isdigit():
            return min(float(asked), LONGEST_RETRY_AFTER_S)
        moment = _unix_time(asked)
        if moment is None:
            return None
        # A date is meant by the server's own clock.
        delay_s = moment - (self._date or time.time())
        return min(max(0.0, delay_s), LONGEST_RETRY_AFTER_S)

    @property
    def server_time(self) -> float | None:
        """The server's time now; None if `Date` is missing, implausible or a cache's."""
        # A cache keeps the `Date` of the reply that it stored, and adds `Age` (RFC 9111, 5.1).
        is_stored = self.headers.get("age", "0").strip() != "0"
        return None if is_stored else self._date

    @property
    def content_range(self) -> ContentRange | None:
        """`Content-Range`; None if it is missing, invalid or does not state the total."""
        found = re.fullmatch(_CONTENT_RANGE, self.headers.get("content-range", ""))
        if found is None:
            return None
        total_bytes = int(found[3])
        if found[1] is None:
            return ContentRange(None, total_bytes, total_bytes)
        return ContentRange(int(found[1]), int(found[2]) + 1, total_bytes)

    @property
    def content_length(self) -> int | None:
        """`Content-Length`, unless the body is framed otherwise."""
        if "transfer-encoding" in self.headers:
            return None
        found = re.fullmatch(_LENGTH, self.headers.get("content-length", "").strip())
        return int(found[0]) if found else None

    @property
    def encoding(self) -> str | None:
        """The compression of the body, although none was asked for; None if there is none."""
        encoding = self.headers.get("content-encoding", "").strip().lower()
        return None if encoding in {"", "identity"} else encoding

    def transfer(self) -> Iterator[bytes]:
        """Yield the body as it was sent, under the stall rule."""
        self._timer.begin_transfer()
        for chunk in self._response.iter_raw():
            self._timer.moved(len(chunk))
            yield chunk
            self._timer.left_s()

    def whole(self, max_bytes: int) -> bytes:
        """Return the decoded body, which must not be larger."""
        body = bytearray()
        try:
            for chunk in self._decoded(max_bytes + 1):
                body += chunk
                # Compressed bytes may yield nothing, as after the end of a compressed body.
                if max(len(body), self._response.num_bytes_downloaded) > max_bytes:
                    msg = f"the reply is larger than {max_bytes / 1024**2:g} MiB"
                    raise UnreadableReplyError(msg, http_status=self.status)
                self._timer.left_s()
        except zlib.error as error:
            msg = f"the reply from {shown_host(self.url)} cannot be decoded"
            raise UnreadableReplyError(msg, http_status=self.status) from error
        self._look_for_block(body)
        return bytes(body)

    def beginning(self, max_bytes: int = _MAX_ERROR_BYTES) -> bytes:
        """Return the beginning of the raw body, as much as arrives in time."""
        body = bytearray()
        # The body only explains a refusal, so part of it is enough.
        with suppress(httpx.HTTPError, httpx.StreamError, httpcore.TimeoutException):
            for chunk in self._response.iter_raw():
                body += chunk
                if len(body) >= max_bytes:
                    break
                self._timer.left_s()
        self._look_for_block(body)
        return bytes(body[:max_bytes])

    def _look_for_block(self, body: bytearray) -> None:
        if self.status in range(400, 500):
            self.blocks_client = re.search(_BLOCKED, body[:_MAX_ERROR_BYTES]) is not None

    def _decoded(self, max_bytes: int) -> Iterator[bytes]:
        if self.encoding is None:
            yield from self._response.iter_bytes()
            return
        if self.encoding not in {"gzip", "x-gzip", "deflate"}:
            raise zlib.error
        # httpx would decode each chunk completely, and a megabyte may expand to a terabyte.
        inflater = zlib.decompressobj(_GZIP_OR_ZLIB)
        for chunk in self._response.iter_raw():
            yield inflater.decompress(chunk, max_bytes)
        if not inflater.eof:
            raise zlib.error

    @property
    def _date(self) -> float | None:
        moment = _unix_time(self.headers.get("date", ""))
        return moment if moment and _EARLIEST_DATE < moment < _LATEST_DATE else None


class HttpClient:
    """Sends requests, each with one deadline for everything from connecting to the last byte.

    Args:
        trace: Takes a line for each request and reply, without secrets; None to trace nothing.
        transport: Replaces the network; injected by tests.
        policy: Timeouts and limits.
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
        self._clients: dict[tuple[HostKind | None, bool], httpx.Client] = {}
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

        Redirects are not followed.

        Args:
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
        value = _parse_json(body)
        # Escapes or invisible characters may hide a key.
        is_plain = body.isascii() and b"\\" not in body
        if not is_plain or any(secret.encode() in body for secret in self._secrets):
            value = _map_strings(value, self._cleaned)
        reply.json = value
        return reply

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
    ) -> Generator[Reply]:
        """Send a request as `request` does, and yield the reply before its body is read.

        Args:
            timeout_s: For the reply's headers, and for its body unless it is read as a transfer.
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
        began = self.clock()
        try:
            # The network backend gets the timer in place of each timeout.
            pool_s = timer.left_s(httpcore.ConnectTimeout)
            timeouts = {"connect": timer, "read": timer, "write": timer, "pool": pool_s}
            request = client.build_request(
                method, url, headers=headers, content=content, extensions={"timeout": timeouts}
            )
            self._trace_line(f"> {method} {shown_url(url)}")
            response = client.send(request, stream=True)
            self._has_connected = True
            try:
                found = httpx.Headers(
                    [(name, self._redact(text)) for name, text in response.headers.multi_items()],
                    encoding="utf-8",
                )
                request_id = found.get("x-request-id") or found.get("x-oneapi-request-id")
                suffix = f" (x-request-id {request_id})" if request_id else ""
                self._trace_line(f"< {response.status_code}{suffix}", began)
                yield Reply(response, found, url=url, timer=timer)
            finally:
                response.close()
        except FAILURES as error:
            self._trace_line(f"< {type(error).__name__}", began)
            self._raise_mapped(error, url, timer)

    def _client_for(self, url: str, *, allow_internal: bool) -> httpx.Client:
        """Return the client for a URL; only URLs that may lead to the same addresses share connections."""
        only = HostKind.LOOPBACK if is_loopback_url(url) else None
        if not allow_internal:
            host = shown_host(url)
            only = HostKind.PUBLIC
            if host_kind(host) is not only:
                msg = f"{host} is an address of this machine or network, which omniedit does not contact"
                hint = "give a public URL, or the path of a local file"
                raise InvalidInputError(msg, code="internal_address", hint=hint)
        key = (only, url.lower().startswith("https:"))
        with self._lock:
            if key not in self._clients:
                self._clients[key] = self._new_client(only, needs_certificates=key[1])
            return self._clients[key]

    def _new_client(self, only: HostKind | None, *, needs_certificates: bool) -> httpx.Client:
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
                trust_env=only is not HostKind.LOOPBACK,
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
            msg = "the proxy variables (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY) hold an invalid URL"
            hint = "set them to a URL such as http://proxy.example.com:8080, or unset them"
            raise InvalidInputError(msg, code="invalid_proxy", hint=hint) from None
        if self._transport is None:
            self._connect_through(client, only)
        return client

    def _connect_through(self, client: httpx.Client, only: HostKind | None) -> None:
        """Make a client use our network backend, for which httpx has no parameter."""
        inner = cast("Any", client)
        inner._transport._pool._network_backend = Network(only, self._resolve)  # noqa: SLF001 - see above
        for proxied in filter(None, inner._mounts.values()):  # noqa: SLF001 - see above
            # These connections lead to the proxy, and only the proxy resolves the host.
            proxied._pool._network_backend = Network(None, self._resolve)  # noqa: SLF001 - see above

    def _keep_secret(self, headers: Mapping[str, str] | None) -> None:
        secret = (headers or {}).get("authorization", "").rpartition(" ")[2]
        if len(secret) >= _SHORTEST_SECRET:
            self._secrets |= {secret}

    def _redact(self, text: str) -> str:
        for secret in self._secrets:
            text = masked(text, secret, _REDACTED)
        return text

    def _cleaned(self, text: str) -> str:
        # A lone surrogate cannot be written to a file.
        return self._redact(re.sub(_SURROGATE, "\ufffd", text))

    def _trace_line(self, line: str, began: float | None = None) -> None:
        if self._trace is not None:
            took = "" if began is None else f" after {round((self.clock() - began) * 1000)} ms"
            self._trace(self._redact(f"{line}{took}"))

    def _raise_mapped(self, error: Exception, url: str, timer: Timer) -> NoReturn:
        reason = self._redact(str(error))
        # A traceback shows the cause, which may quote a key from the reply, or the URL.
        is_quotable = reason == str(error) and not isinstance(error, UnicodeError)
        mapped = error_of(error, url, reason, timer, has_connected=self._has_connected)
        raise mapped from (error if is_quotable else None)


def _timed_upload(content: Iterable[bytes], timer: Timer, timeout_s: float) -> Iterator[bytes]:
    """Yield a body under the stall rule; the time for the reply starts after its last byte."""
    timer.begin_transfer()
    yield from content
    timer.begin_reply(timeout_s)


def _unix_time(date: str) -> float | None:
    """Return the time that a header states; None if it is not a date."""
    try:
        moment = parsedate_to_datetime(date)
        # A date without a time zone is in UTC (RFC 9110, 5.6.7).
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def _parse_json(body: bytes) -> object:
    """Return a JSON value; None if the body is not JSON."""
    with suppress(ValueError, RecursionError):
        # Given bytes, `json` would guess the encoding, but keys are redacted in UTF-8.
        text = body.decode("utf-8-sig")
        # NaN counts as null, so that another field of the same meaning is read instead.
        value = json.loads(text, parse_int=_readable_int, parse_constant=lambda _name: None)
        return cast("object", value)
    return None


def _readable_int(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:  # thousands of digits
        return None


def _map_strings(value: object, change: Callable[[str], str]) -> object:
    """Change all strings of a JSON value in place, at any depth."""
    root = [value]
    nodes: list[Any] = [root]
    for node in nodes:  # grows meanwhile
        entries: Iterable[tuple[Any, object]] = enumerate(cast("list[object]", node))
        if isinstance(node, dict):
            pairs = cast("dict[str, object]", node)
            entries = [(change(key), child) for key, child in pairs.items()]
            pairs.clear()
        for place, child in entries:
            node[place] = change(child) if isinstance(child, str) else child
            if isinstance(child, dict | list):
                nodes.append(child)
    return root[0]
