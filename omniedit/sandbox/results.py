"""Files behind links, as a CDN gives them out: no key, ranges, strong ETags, links that die."""

from __future__ import annotations

import hashlib
import hmac
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.wrappers import Response
from werkzeug.wsgi import ClosingIterator, FileWrapper

from omniedit.sandbox.exchange import BrokenConnectionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from omniedit.sandbox.exchange import Context, Exchange
    from omniedit.sandbox.lifecycle import Edit

CHUNK_BYTES = 64 * 1024
# What the CDN in front of the results takes for a robot.
_BLOCKED_AGENTS = ("python-httpx/", "python-requests/", "python-urllib", "python/", "aiohttp/")


def link_to(edit: Edit, *, origin: str, secret: bytes) -> str:
    """Return the signed link to the edit's result."""
    expires = str(int(edit.link_until))
    signature = _sign(edit.task_id, expires, secret=secret)
    return f"{origin}/results/{edit.task_id}.mp4?expires={expires}&signature={signature}"


def get_result(context: Context, exchange: Exchange, file_name: str) -> Response:
    """Return a finished task's video to whoever holds a live link."""
    refused = refuse_client(exchange)
    if refused:
        return refused
    task_id = file_name.removesuffix(".mp4")
    expires = exchange.args.get("expires", "")
    given = exchange.args.get("signature", "")
    right = _sign(task_id, expires, secret=context.secret)
    if not hmac.compare_digest(given.encode(), right.encode()):
        return _xml(HTTPStatus.FORBIDDEN, "SignatureDoesNotMatch", "The signature does not match")
    edit = context.store.task(task_id) if file_name.endswith(".mp4") else None
    now = context.clock()
    # Links are given out on completion: an earlier one comes from a clock that ran ahead.
    if edit is None or now < edit.settles_at:
        return _xml(HTTPStatus.NOT_FOUND, "NoSuchKey", "The specified key does not exist")
    exchange.task_id = task_id
    if now >= edit.link_until:
        return _xml(HTTPStatus.FORBIDDEN, "AccessDenied", "Request has expired")
    path = context.clips.result_path(task_id, is_bundled=edit.clip_etag is None)
    etag = edit.clip_etag or context.clips.bundled_etag
    response = file_reply(exchange, path, etag=etag, mime_type="video/mp4")
    if exchange.method == "GET" and response.status_code in {
        HTTPStatus.OK,
        HTTPStatus.PARTIAL_CONTENT,
    }:
        _cut_once(context, exchange, response, task_id)
    return response


def refuse_client(exchange: Exchange) -> Response | None:
    """Return the refusal of a client that shows a key or looks like a robot, or None."""
    if "Authorization" in exchange.headers:
        # A signed link and a key at once: object stores refuse that, and a leaked key is a bug.
        message = "Only one authentication mechanism is allowed; the API key must not come here"
        exchange.fault = "key sent to the result host"
        return _xml(HTTPStatus.BAD_REQUEST, "InvalidArgument", message)
    agent = exchange.headers.get("User-Agent", "").lower()
    if not agent or agent.startswith(_BLOCKED_AGENTS):
        exchange.fault = "user agent blocked"
        return Response("error code: 1010", status=HTTPStatus.FORBIDDEN, content_type="text/plain")
    return None


def file_reply(exchange: Exchange, path: Path, *, etag: str, mime_type: str) -> Response:
    """Return a file, the range of it that was asked for, or 304."""
    try:
        # Closed by the response, or below.
        file = path.open("rb")
    except FileNotFoundError:
        return _xml(HTTPStatus.NOT_FOUND, "NoSuchKey", "The specified key does not exist")
    size_bytes = file.seek(0, 2)
    file.seek(0)
    response = Response(
        FileWrapper(file, CHUNK_BYTES), content_type=mime_type, direct_passthrough=True
    )
    response.call_on_close(file.close)
    response.content_length = size_bytes
    response.set_etag(etag)
    # Several ranges would have to be answered in parts; ignoring them is as good an answer.
    if "," in exchange.environ.get("HTTP_RANGE", ""):
        del exchange.environ["HTTP_RANGE"]
    try:
        response.make_conditional(exchange.environ, accept_ranges=True, complete_length=size_bytes)
    except RequestedRangeNotSatisfiable:
        response.close()
        refused = _xml(
            HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "InvalidRange", "Not satisfiable"
        )
        refused.headers["Content-Range"] = f"bytes */{size_bytes}"
        return refused
    return response


def _cut_once(context: Context, exchange: Exchange, response: Response, task_id: str) -> None:
    if not context.store.take_cut(task_id):
        return
    exchange.fault = "cut"
    half = (response.content_length or 0) // 2
    whole = cast("FileWrapper", response.response)
    response.response = ClosingIterator(_until(whole, half), whole.close)


def _until(chunks: Iterable[bytes], limit_bytes: int) -> Iterator[bytes]:
    left = limit_bytes
    for chunk in chunks:
        if len(chunk) >= left:
            yield chunk[:left]
            raise BrokenConnectionError
        left -= len(chunk)
        yield chunk


def _sign(task_id: str, expires: str, *, secret: bytes) -> str:
    text = f"{task_id}\n{expires}".encode()
    return hmac.new(secret, text, hashlib.sha256).hexdigest()


def _xml(status: HTTPStatus, code: str, message: str) -> Response:
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{code}</Code><Message>{message}</Message></Error>\n"
    )
    return Response(body, status=status, content_type="application/xml")
