"""The one place that builds an httpx client: time-outs, user agent, proxies, TLS, tracing.

What httpx raises leaves this module as an error of `errors.py`; what a status means is for the
callers (`api.py`, `downloads.py`, `uploads.py`) to say.
"""

import json
import ssl
import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, Self
from urllib.parse import urlsplit

import httpcore
import httpx

from omniedit import __version__
from omniedit.errors import (
    InvalidInputError,
    LocalError,
    NetworkError,
    NotConnectedError,
    OmniEditError,
    UnreadableReplyError,
)
from omniedit.http.urls import is_loopback_url, without_query

USER_AGENT: Final = f"omniedit/{__version__} (+https://github.com/omniedit/omniedit)"
"""The result host refuses the default agents of HTTP libraries (Cloudflare error 1010)."""
MAX_REPLY_BYTES: Final = 8 * 1024 * 1024
CONNECT_TIMEOUT_S: Final = 10.0
READ_TIMEOUT_S: Final = 30.0
SUBMIT_TIMEOUT_S: Final = 60.0

# A download spends a fifth of its time on handling reads of the usual 64 KiB.
httpcore.HTTP11Connection.READ_NUM_BYTES = 256 * 1024  # pyright: ignore[reportAttributeAccessIssue] - taken for a literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A reply, read whole."""

    status: int
    headers: Mapping[str, str]  # case-insensitive
    body: bytes

    @property
    def json(self) -> object:
        """The body's JSON value; None where it is no JSON (HTML of a proxy, say)."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    @property
    def retry_after_s(self) -> float | None:
        """Seconds that `Retry-After` asks for, from a number or a date (RFC 9110, 10.2.3)."""
        return parse_retry_after(self.headers.get("retry-after", ""), now=datetime.now(UTC))


class HttpClient:
    """An httpx client with this product's manners.

    Args:
        trace: Takes a line for each request and reply, secrets masked; None for silence.
        transport: Replaces the network, for tests.
    """

    def __init__(
        self,
        *,
        trace: Callable[[str], None] | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._trace = trace
        self._transport = transport
        self._clients: dict[tuple[bool, bool], httpx.Client] = {}
        self._lock = threading.Lock()

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
        timeout_s: float = READ_TIMEOUT_S,
    ) -> Reply:
        """Send a request and read the reply, 8 MiB of it at most.

        Args:
            method: The HTTP method.
            url: Absolute; redirects are not followed.
            headers: Beside the product's own.
            content: The body.
            timeout_s: For each read, and for the whole body of the reply.

        Raises:
            NotConnectedError: Nothing was sent.
            NetworkError: The request may have arrived.
            UnreadableReplyError: The body is too large or encoded in an unknown way.
        """
        # Compressed, a body of 8 MiB could be the tip of gigabytes.
        sent = {"accept-encoding": "identity"} | dict(headers or {})
        with self.stream(
            method, url, headers=sent, content=content, timeout_s=timeout_s
        ) as response:
            with _mapped_errors(url):
                body = _read_bounded(response, deadline=time.monotonic() + timeout_s)
            return Reply(status=response.status_code, headers=response.headers, body=body)

    @contextmanager
    def stream(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | Iterable[bytes] | None = None,
        timeout_s: float = READ_TIMEOUT_S,
    ) -> Generator[httpx.Response]:
        """Send a request and hand out the reply before its body is read.

        Only errors up to the headers are mapped here; read the body within `reading`.

        Raises:
            NotConnectedError: Nothing was sent.
            NetworkError: The request may have arrived.
        """
        client = self._client_for(url)
        timeout = httpx.Timeout(timeout_s, connect=CONNECT_TIMEOUT_S, pool=CONNECT_TIMEOUT_S)
        started = time.monotonic()
        with _mapped_errors(url):
            request = client.build_request(
                method, url, headers=headers, content=content, timeout=timeout
            )
            self._trace_line(f"> {method} {_shown_url(url)}")
            try:
                response = client.send(request, stream=True)
            except Exception as error:
                self._trace_line(f"< {type(error).__name__} after {_ms(started)} ms")
                raise
        self._trace_line(
            f"< {response.status_code} after {_ms(started)} ms{_shown_request_id(response.headers)}"
        )
        try:
            yield response
        finally:
            response.close()

    @contextmanager
    def reading(self, url: str) -> Generator[None]:
        """Map what httpx raises while a body of `url` is read.

        Raises:
            NetworkError: The connection broke.
        """
        with _mapped_errors(url):
            yield

    def _client_for(self, url: str) -> httpx.Client:
        """Return the client for a URL: loopback never goes through a proxy, however it is set."""
        key = (is_loopback_url(url), urlsplit(url).scheme == "https")
        with self._lock:
            client = self._clients.get(key)
            if client is None:
                client = self._clients[key] = self._new_client(
                    is_direct=key[0], needs_certificates=key[1]
                )
        return client

    def _new_client(self, *, is_direct: bool, needs_certificates: bool) -> httpx.Client:
        try:
            return httpx.Client(
                headers={"user-agent": USER_AGENT, "accept": "*/*"},
                # Loading the certificates takes 40 ms, which plain http need not pay; a context
                # without any trusts nobody.
                verify=httpx.create_ssl_context()
                if needs_certificates
                else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
                trust_env=not is_direct,
                follow_redirects=False,
                transport=self._transport,
            )
        except OSError as error:  # ssl.SSLError is one
            msg = f"the certificates named by SSL_CERT_FILE or SSL_CERT_DIR cannot be read: {error}"
            raise LocalError(msg, code="certificates") from None
        except (ValueError, ImportError, httpx.InvalidURL):
            # The exception quotes the proxy's URL, which may hold a password.
            msg = (
                "the proxy variables (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY) hold no usable proxy URL"
            )
            raise InvalidInputError(msg, code="invalid_proxy") from None

    def _trace_line(self, line: str) -> None:
        if self._trace:
            self._trace(line)


def parse_retry_after(text: str, *, now: datetime) -> float | None:
    """Return the seconds of a `Retry-After` header, never below 0; None where it is none."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())


def _read_bounded(response: httpx.Response, *, deadline: float) -> bytes:
    parts: list[bytes] = []
    size_bytes = 0
    for part in response.iter_bytes():
        parts.append(part)
        size_bytes += len(part)
        if size_bytes > MAX_REPLY_BYTES:
            msg = f"the reply is larger than {MAX_REPLY_BYTES // 1024**2} MiB"
            raise UnreadableReplyError(msg, http_status=response.status_code)
        # A read time-out starts anew with every byte that trickles in.
        if time.monotonic() > deadline:
            msg = "the reply came too slowly"
            raise NetworkError(msg, http_status=response.status_code)
    return b"".join(parts)


@contextmanager
def _mapped_errors(url: str) -> Generator[None]:
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        raise _error_from(error, url) from error
    except UnicodeError:
        # Of a host name that is none, or of half a character; the exception quotes what it met.
        msg = f"not an http(s) URL: {_shown_url(url)!a}"
        raise UnreadableReplyError(msg) from None


def _error_from(error: Exception, url: str) -> OmniEditError:
    host = urlsplit(url).netloc.rpartition("@")[2]
    match error:
        case httpx.UnsupportedProtocol() | httpx.InvalidURL():
            return UnreadableReplyError(f"not an http(s) URL: {_shown_url(url)}")
        case httpx.ConnectTimeout() | httpx.PoolTimeout():
            return NotConnectedError(f"{host} did not answer within {CONNECT_TIMEOUT_S:.0f} s")
        case httpx.ConnectError() if "certificate" in str(error).lower():
            return NotConnectedError(
                f"the certificate of {host} is not trusted",
                code="certificate",
                hint="behind a company proxy, name its CA bundle in SSL_CERT_FILE or SSL_CERT_DIR",
            )
        case httpx.ConnectError():
            return NotConnectedError(f"cannot connect to {host}: {_reason(error)}")
        case httpx.ProxyError():
            # The proxy answers CONNECT before anything of the request is sent on.
            return NotConnectedError(f"the proxy does not let through to {host}: {_reason(error)}")
        case httpx.TimeoutException():
            return NetworkError(f"{host} did not answer in time")
        case httpx.DecodingError():
            return UnreadableReplyError(f"the reply of {host} cannot be decoded")
        case _:
            return NetworkError(f"the connection to {host} broke: {_reason(error)}")


def _reason(error: Exception) -> str:
    return str(error).rstrip(".") or type(error).__name__


def _shown_url(url: str) -> str:
    """Return a URL for a trace; a query may be a signature."""
    return without_query(url) + ("?…" if "?" in url else "")


def _shown_request_id(headers: Mapping[str, str]) -> str:
    request_id = headers.get("x-request-id") or headers.get("x-oneapi-request-id")
    return f" (x-request-id {request_id})" if request_id else ""


def _ms(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
