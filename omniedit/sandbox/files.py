"""Files over HTTP: uploads to the file service, and results as a CDN serves them."""

import hmac
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import IO, cast
from urllib.parse import quote

from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.formparser import FormDataParser
from werkzeug.wrappers import Response
from werkzeug.wsgi import ClosingIterator, FileWrapper

from omniedit.sandbox.clips import BUNDLED_CLIP, digest, mime_type, stated_length_s
from omniedit.sandbox.exchange import BrokenConnectionError, Exchange, Refusal, Service, json_reply
from omniedit.sandbox.store import Upload
from omniedit.sandbox.tasks import sign

UPLOAD_LIMIT_BYTES = 95 * 1024 * 1024
UPLOADS_PER_ACCOUNT = 100
UPLOAD_LIFETIME_S = 72 * 3600.0
_FORM_OVERHEAD_BYTES = 64 * 1024
# Werkzeug also applies this limit to each 64 KiB chunk of the file.
_FIELD_LIMIT_BYTES = 256 * 1024
_FORM_PARTS_LIMIT = 16
_NAME_LIMIT_CHARS = 100
_FILE_ID = re.compile(r"file_[0-9a-f]{16}")
_CHUNK_BYTES = 64 * 1024
# User agents that the CDN in front of the results treats as bots.
_BLOCKED_AGENTS = ("python-httpx/", "python-requests/", "python-urllib", "python/", "aiohttp/")


def upload_file(service: Service, exchange: Exchange) -> Response:
    """Accept one video, streamed to disk."""
    file_ids, task_ids = service.store.forget_expired(service.clock())
    service.clips.remove(file_ids=file_ids, task_ids=task_ids)
    service.clips.remove_abandoned()
    if exchange.mimetype != "multipart/form-data":
        raise Refusal(HTTPStatus.BAD_REQUEST, "Content-Type must be multipart/form-data")
    opened: list[IO[bytes]] = []

    def open_part(*_: object, **__: object) -> IO[bytes]:
        opened.append(service.clips.open_part())
        return opened[-1]

    parser = FormDataParser(
        stream_factory=open_part,
        max_content_length=UPLOAD_LIMIT_BYTES + _FORM_OVERHEAD_BYTES,
        max_form_memory_size=_FIELD_LIMIT_BYTES,
        max_form_parts=_FORM_PARTS_LIMIT,
        silent=False,
    )
    try:
        _, form, files = parser.parse_from_environ(exchange.environ)
        if "file" not in files:
            raise Refusal(HTTPStatus.BAD_REQUEST, "The field `file` is missing", param="file")
        file = files["file"]
        file.close()
        name = form.get("file_name") or file.filename or ""
        upload = _keep(service, exchange, Path(str(file.stream.name)), name=name)
    except ValueError as error:
        raise Refusal(HTTPStatus.BAD_REQUEST, "The form is malformed") from error
    finally:
        for part in opened:
            part.close()
            Path(part.name).unlink(missing_ok=True)
    url = f"{exchange.link_origin}/files/{upload.file_id}/{quote(upload.file_name)}"
    return _file_service_reply(
        "File uploaded successfully",
        {
            "file_id": upload.file_id,
            "file_name": upload.file_name,
            "file_url": url,
            "download_url": f"{url}?download=1",
            "file_size": upload.size_bytes,
            "mime_type": upload.mime_type,
            "upload_time": _iso(upload.created_at),
            "expires_at": _iso(upload.expires_at),
        },
    )


def get_quota(service: Service, _: Exchange) -> Response:
    """Return how many files the account may still upload."""
    used = service.store.count_uploads(now=service.clock())
    return _file_service_reply(
        "success",
        {
            "user_group": "default",
            "max_files": UPLOADS_PER_ACCOUNT,
            "used_files": used,
            "remaining_files": max(UPLOADS_PER_ACCOUNT - used, 0),
        },
    )


def delete_file(service: Service, _: Exchange, file_id: str) -> Response:
    """Delete one upload."""
    if not _FILE_ID.fullmatch(file_id) or not service.store.forget_upload(file_id):
        raise Refusal(HTTPStatus.NOT_FOUND, "The file does not exist", code="file_not_found")
    service.clips.remove(file_ids=[file_id])
    return _file_service_reply("File deleted successfully", None)


def get_file(service: Service, exchange: Exchange, file_id: str, file_name: str) -> Response:
    """Return an upload at its `file_url`."""
    if refusal := _refuse_client(exchange):
        return refusal
    upload = service.store.upload(file_id, now=service.clock())
    if upload is None or upload.file_name != file_name:
        raise Refusal(HTTPStatus.NOT_FOUND, "The file does not exist", code="file_not_found")
    path = service.clips.upload_path(file_id)
    return _file_reply(exchange, path, etag=upload.sha256, mime_type=upload.mime_type)


def get_result(service: Service, exchange: Exchange, file_name: str) -> Response:
    """Return a finished task's video to any client with a valid link."""
    if refusal := _refuse_client(exchange):
        return refusal
    task_id = file_name.removesuffix(".mp4")
    expected = sign(task_id, exchange.args.get("expires", ""), secret=service.secret)
    if not hmac.compare_digest(exchange.args.get("signature", "").encode(), expected.encode()):
        return _xml(HTTPStatus.FORBIDDEN, "SignatureDoesNotMatch", "The signature does not match")
    edit = service.store.task(task_id) if file_name.endswith(".mp4") else None
    now = service.clock()
    # Links exist from completion on: an earlier one was issued by a clock that was ahead.
    if edit is None or edit.is_empty or now < edit.settles_at:
        return _xml(HTTPStatus.NOT_FOUND, "NoSuchKey", "The specified key does not exist")
    exchange.task_id = task_id
    if now >= edit.link_until:
        return _xml(HTTPStatus.FORBIDDEN, "AccessDenied", "Request has expired")
    path = service.clips.result_path(task_id) if edit.result_etag else BUNDLED_CLIP
    etag = edit.result_etag or service.clips.bundled_etag
    response = _file_reply(exchange, path, etag=etag, mime_type="video/mp4")
    is_sent = exchange.method == "GET" and response.status_code // 100 == HTTPStatus.OK // 100
    if is_sent and service.store.take_cut(task_id):
        exchange.fault = "cut"
        whole = cast("FileWrapper", response.response)
        half = _until(whole, (response.content_length or 0) // 2)
        response.response = ClosingIterator(half, whole.close)
    return response


def _keep(service: Service, exchange: Exchange, part: Path, *, name: str) -> Upload:
    size_bytes, sha256, kind = part.stat().st_size, digest(part), mime_type(part)
    exchange.noted_body = {"size_bytes": size_bytes, "sha256": sha256}
    if size_bytes > UPLOAD_LIMIT_BYTES:
        raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The file is larger than 95 MiB")
    if kind is None:
        message = "Unsupported file type: only MP4, MOV and WebM videos can be uploaded"
        raise Refusal(HTTPStatus.BAD_REQUEST, message, code="unsupported_file_type", param="file")
    now = service.clock()
    if service.store.count_uploads(now=now) >= UPLOADS_PER_ACCOUNT:
        message = f"The account already holds {UPLOADS_PER_ACCOUNT} files; delete one first"
        raise Refusal(HTTPStatus.BAD_REQUEST, message, code="file_quota_exceeded")
    # The name comes from outside and goes into a URL: never a path, never a hidden file.
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", re.split(r"[/\\]", name)[-1]).strip(".-")
    file_id = f"file_{secrets.token_hex(8)}"
    upload = Upload(
        file_id=file_id,
        file_name=plain[-_NAME_LIMIT_CHARS:].strip(".-") or "clip.mp4",
        mime_type=kind,
        size_bytes=size_bytes,
        sha256=sha256,
        length_s=stated_length_s(part),
        created_at=now,
        expires_at=now + UPLOAD_LIFETIME_S,
    )
    part.replace(service.clips.upload_path(file_id))
    service.store.add_upload(upload)
    return upload


def _refuse_client(exchange: Exchange) -> Response | None:
    """Return the refusal for a client that sends a key or looks like a bot, or None."""
    if "Authorization" in exchange.headers:
        # Object stores refuse a signed link sent with a key; and sending the key here leaks it.
        message = "Only one authentication mechanism is allowed; the API key must not be sent here"
        exchange.fault = "key sent to the result host"
        return _xml(HTTPStatus.BAD_REQUEST, "InvalidArgument", message)
    agent = exchange.headers.get("User-Agent", "").lower()
    if not agent or agent.startswith(_BLOCKED_AGENTS):
        exchange.fault = "user agent blocked"
        return Response("error code: 1010", status=HTTPStatus.FORBIDDEN, content_type="text/plain")
    return None


def _file_reply(exchange: Exchange, path: Path, *, etag: str, mime_type: str) -> Response:
    """Return a file, the requested range of it, or 304."""
    try:
        file = path.open("rb")  # closed with the response
    except FileNotFoundError:
        return _xml(HTTPStatus.NOT_FOUND, "NoSuchKey", "The specified key does not exist")
    size_bytes = file.seek(0, 2)
    file.seek(0)
    chunks = FileWrapper(file, _CHUNK_BYTES)
    response = Response(chunks, content_type=mime_type, direct_passthrough=True)
    response.content_length = size_bytes
    response.set_etag(etag)
    # Several ranges would need a multipart reply; a server may ignore Range (RFC 9110, 14.2).
    if "," in exchange.environ.get("HTTP_RANGE", ""):
        del exchange.environ["HTTP_RANGE"]
    try:
        response.make_conditional(exchange.environ, accept_ranges=True, complete_length=size_bytes)
    except RequestedRangeNotSatisfiable:
        response.close()
        status = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
        response = _xml(status, "InvalidRange", "The requested range is not satisfiable")
        response.headers["Content-Range"] = f"bytes */{size_bytes}"
    return response


def _until(chunks: Iterable[bytes], limit_bytes: int) -> Iterator[bytes]:
    left = limit_bytes
    for chunk in chunks:
        if len(chunk) >= left:
            yield chunk[:left]
            raise BrokenConnectionError
        left -= len(chunk)
        yield chunk


def _xml(status: HTTPStatus, code: str, message: str) -> Response:
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{code}</Code><Message>{message}</Message></Error>\n"
    )
    return Response(body, status=status, content_type="application/xml")


def _file_service_reply(message: str, value: Mapping[str, object] | None) -> Response:
    reply: dict[str, object] = {"success": True, "code": int(HTTPStatus.OK), "msg": message}
    return json_reply(reply if value is None else reply | {"data": value})


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
