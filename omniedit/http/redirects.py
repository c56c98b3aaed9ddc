"""Links followed through redirects, by one set of rules: without a key, and never to less safety."""

from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin, urlsplit

from omniedit.errors import InvalidInputError, UnreadableReplyError
from omniedit.http.urls import parse_web_url

if TYPE_CHECKING:
    from omniedit.http.client import HttpClient, StreamedReply

MAX_REDIRECTS: Final = 5

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


@contextmanager
def followed(
    http: "HttpClient",
    url: str,
    *,
    what: str,
    headers: Mapping[str, str],
    timeout_s: float | None = None,
    deadline: float | None = None,
    public_only: bool = False,
) -> Generator["StreamedReply"]:
    """Hand out the reply at the end of a link's redirects; its `url` is the one that answered.

    Args:
        http: Sends the requests.
        url: The link.
        what: What the link is of, as messages name it: "clip" or "result".
        headers: For each request; none of them may be a key.
        timeout_s: For each request, as of `HttpClient.stream`.
        deadline: For all of them, a monotonic instant.
        public_only: Connect to no address of this machine or its network.

    Raises:
        InvalidInputError: If the link, or a redirect of it, must not be followed.
        NetworkError: If a host does not answer.
    """
    for _ in range(MAX_REDIRECTS + 1):
        parse_web_url(url, what=f"{what} link")
        with ExitStack() as stack:
            try:
                reply = stack.enter_context(
                    http.stream(
                        "GET",
                        url,
                        headers=headers,
                        timeout_s=timeout_s,
                        deadline=deadline,
                        public_only=public_only,
                    )
                )
            except UnreadableReplyError as error:
                # No body was read yet: the URL cannot be asked for at all.
                raise _unsafe(error.message) from error
            if reply.status not in _REDIRECTS:
                yield reply
                return
            url = _redirected(url, reply.headers.get("location", ""), what)
    msg = f"the {what} link redirects more than {MAX_REDIRECTS} times"
    raise _unsafe(msg)


def _redirected(url: str, location: str, what: str) -> str:
    try:
        target = urljoin(url, location) if location else ""
        is_downgrade = urlsplit(url).scheme == "https" and urlsplit(target).scheme == "http"
    except ValueError:
        target, is_downgrade = "", False
    if not target:
        msg = f"the {what} link redirects to nowhere"
        raise _unsafe(msg)
    if is_downgrade:
        msg = f"the {what} link redirects from https to http, which is not followed"
        raise _unsafe(msg)
    return target


def _unsafe(message: str) -> InvalidInputError:
    return InvalidInputError(message, code="unsafe_link")
