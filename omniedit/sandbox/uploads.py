"""The file service: uploads streamed to disk, given back at their URL, deleted, counted."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, cast
from urllib.parse import quote

from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge
from werkzeug.formparser import FormDataParser

from omniedit.sandbox.clips import mime_type
from omniedit.sandbox.exchange import json_reply
from omniedit.sandbox.refusals import Refusal
from omniedit.sandbox.results import file_reply, refuse_client
from omniedit.sandbox.store import Upload

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import IO

    from werkzeug.wrappers import Response

    from omniedit.sandbox.clips import Part
    from omniedit.sandbox.exchange import Context, Exchange

UPLOAD_LIMIT_BYTES = 95 * 1024 * 1024
UPLOADS_PER_ACCOUNT = 100
UPLOAD_LIFETIME_S = 72 * 3600.0
_FORM_OVERHEAD_BYTES = 64 * 1024
# Werkzeug also holds a chunk of the file, 64 KiB, to this limit.
_FIELD_LIMIT_BYTES = 256 * 1024
_FORM_PARTS_LIMIT = 16
_NAME_LIMIT_CHARS = 100
_FILE_ID = re.compile(r"file_[0-9a-f]{16}")


def upload_file(context: Context, exchange: Exchange) -> Response:
    """Take one video.

    Raises:
        Refusal: it is missing, too large, no video, or one too many.
    """
    remove_dead_files(context)
    parts: list[Part] = []

    def open_part(*_: object, **__: object) -> IO[bytes]:
        parts.append(context.clips.new_part())
        # The parser writes and seeks, and nothing else.
        return cast("IO[bytes]", parts[-1])

    parser = FormDataParser(
        stream_factory=open_part,
        max_content_length=UPLOAD_LIMIT_BYTES + _FORM_OVERHEAD_BYTES,
        max_form_memory_size=_FIELD_LIMIT_BYTES,
        max_form_parts=_FORM_PARTS_LIMIT,
        silent=False,
    )
    try:
        return _take(context, exchange, parser, parts)
    except RequestEntityTooLarge as error:
        raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE) from error
    except ClientDisconnected as error:
        raise Refusal(HTTPStatus.BAD_REQUEST, "The body ended early") from error
    except ValueError as error:
        raise Refusal(HTTPStatus.BAD_REQUEST, "The form is malformed") from error
    finally:
        for part in parts:
            part.close()


def get_quota(context: Context, exchange: Exchange) -> Response:  # noqa: ARG001 - every endpoint is called alike
    """Return how many files the account may still upload."""
    used = context.store.count_uploads(now=context.clock())
    return _file_service_reply(
        "success",
        {
            "user_group": "default",
            "max_files": UPLOADS_PER_ACCOUNT,
            "used_files": used,
            "remaining_files": max(UPLOADS_PER_ACCOUNT - used, 0),
        },
    )


def delete_file(context: Context, exchange: Exchange, file_id: str) -> Response:  # noqa: ARG001 - every endpoint is called alike
    """Delete one upload.

    Raises:
        Refusal: it is unknown.
    """
    if not _FILE_ID.fullmatch(file_id) or not context.store.forget_upload(file_id):
        raise Refusal(HTTPStatus.NOT_FOUND, "The file does not exist", code="file_not_found")
    context.clips.remove(file_ids=[file_id])
    return _file_service_reply("File deleted successfully", None)


def get_file(context: Context, exchange: Exchange, file_id: str, file_name: str) -> Response:
    """Return an upload at its `file_url`.

    Raises:
        Refusal: it is unknown or has expired.
    """
    refused = refuse_client(exchange)
    if refused:
        return refused
    upload = context.store.upload(file_id, now=context.clock())
    if upload is None or upload.file_name != file_name:
        raise Refusal(HTTPStatus.NOT_FOUND, "The file does not exist", code="file_not_found")
    path = context.clips.upload_path(file_id)
    return file_reply(exchange, path, etag=upload.sha256, mime_type=upload.mime_type)


def remove_dead_files(context: Context) -> None:
    """Make room: drop uploads that have expired and results whose link has died."""
    file_ids, task_ids = context.store.forget_dead(context.clock())
    context.clips.remove(file_ids=file_ids, task_ids=task_ids)
    context.clips.remove_abandoned()


def _take(
    context: Context, exchange: Exchange, parser: FormDataParser, parts: list[Part]
) -> Response:
    if exchange.mimetype != "multipart/form-data":
        raise Refusal(HTTPStatus.BAD_REQUEST, "Content-Type must be multipart/form-data")
    _, form, files = parser.parse_from_environ(exchange.environ)
    file = files.get("file")
    if file is None:
        raise Refusal(HTTPStatus.BAD_REQUEST, "The field `file` is missing", param="file")
    part = next(part for part in parts if cast("object", file.stream) is part)
    exchange.body_seen = {"size_bytes": part.size_bytes, "sha256": part.sha256}
    if part.size_bytes > UPLOAD_LIMIT_BYTES:
        raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The file is larger than 95 MiB")
    kind = mime_type(part.head)
    if kind is None:
        message = "Unsupported file type: only MP4, MOV and WebM videos can be uploaded"
        raise Refusal(HTTPStatus.BAD_REQUEST, message, code="unsupported_file_type", param="file")
    now = context.clock()
    if context.store.count_uploads(now=now) >= UPLOADS_PER_ACCOUNT:
        message = f"The account already holds {UPLOADS_PER_ACCOUNT} files; delete one first"
        raise Refusal(HTTPStatus.BAD_REQUEST, message, code="file_quota_exceeded")
    upload = Upload(
        file_id=f"file_{secrets.token_hex(8)}",
        file_name=_safe_name(form.get("file_name") or file.filename or ""),
        mime_type=kind,
        size_bytes=part.size_bytes,
        sha256=part.sha256,
        created_at=now,
        expires_at=now + UPLOAD_LIFETIME_S,
    )
    part.keep(context.clips.upload_path(upload.file_id))
    context.store.add_upload(upload)
    return _file_service_reply("File uploaded successfully", _upload_object(exchange, upload))


def _upload_object(exchange: Exchange, upload: Upload) -> dict[str, object]:
    url = f"{exchange.link_origin}/files/{upload.file_id}/{quote(upload.file_name)}"
    return {
        "file_id": upload.file_id,
        "file_name": upload.file_name,
        "file_url": url,
        "download_url": f"{url}?download=1",
        "file_size": upload.size_bytes,
        "mime_type": upload.mime_type,
        "upload_time": _iso(upload.created_at),
        "expires_at": _iso(upload.expires_at),
    }


def _file_service_reply(message: str, value: Mapping[str, object] | None) -> Response:
    reply: dict[str, object] = {"success": True, "code": int(HTTPStatus.OK), "msg": message}
    return json_reply(reply if value is None else reply | {"data": value})


def _safe_name(given: str) -> str:
    # The name comes from outside and goes into a URL: never a path, never a dot file.
    last = re.split(r"[/\\]", given)[-1]
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", last).strip(".-")
    return plain[-_NAME_LIMIT_CHARS:].strip(".-") or "clip.mp4"


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
