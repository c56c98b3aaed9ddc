"""Clips: uploads to the file service, results as a CDN serves them, and what their bytes reveal."""

import contextlib
import functools
import hashlib
import hmac
import importlib
import mmap
import os
import re
import secrets
import shutil
import struct
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any, cast
from urllib.parse import quote

from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.formparser import FormDataParser
from werkzeug.utils import send_file
from werkzeug.wrappers import Response
from werkzeug.wsgi import ClosingIterator, FileWrapper

from omniedit.sandbox.exchange import (
    BrokenConnectionError,
    Exchange,
    Refusal,
    Service,
    instant,
    json_reply,
    refuse,
)
from omniedit.sandbox.store import Store, Upload, remove_files

BUNDLED_CLIP = Path(__file__).with_name("sandbox.mp4")
UPLOAD_LIMIT_BYTES = 95 * 1024 * 1024
UPLOADS_PER_ACCOUNT = 100
UPLOAD_LIFETIME_S = 72 * 3600.0
_FORM_OVERHEAD_BYTES = 64 * 1024
# Werkzeug also applies this limit to each 64 KiB chunk of the file.
_FIELD_LIMIT_BYTES = 256 * 1024
_FORM_PARTS_LIMIT = 16
_NAME_LIMIT_CHARS = 100
_FILE_ID = re.compile(r"file_[0-9a-f]{16}")
# More boxes than any real clip has; a file with more is made to keep its reader busy.
_BOXES_LIMIT = 1000
# User agents that the CDN in front of the results treats as bots.
_BLOCKED_AGENTS = ("python-httpx/", "python-requests/", "python-urllib", "python/", "aiohttp/")

Span = tuple[int, int]


def upload_file(service: Service, exchange: Exchange) -> Response:
    """Accept one video, streamed to disk."""
    service.store.remove_expired(service.clock())
    if exchange.mimetype != "multipart/form-data":
        raise Refusal(HTTPStatus.BAD_REQUEST, "Content-Type must be multipart/form-data")
    opened: list[IO[bytes]] = []

    def open_part(*_: object, **__: object) -> IO[bytes]:
        opened.append(service.store.open_part())
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
            refuse("file", "The field `file` is missing")
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
            "upload_time": instant(upload.created_at),
            "expires_at": instant(upload.expires_at),
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
    if not _FILE_ID.fullmatch(file_id) or not service.store.remove_upload(file_id):
        raise Refusal(HTTPStatus.NOT_FOUND, "The file does not exist", code="file_not_found")
    return _file_service_reply("File deleted successfully", None)


def get_file(service: Service, exchange: Exchange, file_id: str, file_name: str) -> Response:
    """Return an upload at its `file_url`."""
    if refusal := _refuse_client(exchange):
        return refusal
    upload = service.store.upload(file_id, now=service.clock())
    if upload is None or upload.file_name != file_name:
        raise Refusal(HTTPStatus.NOT_FOUND, "The file does not exist", code="file_not_found")
    path = service.store.upload_path(file_id)
    return _file_reply(exchange, path, etag=upload.sha256, mime_type=upload.mime_type)


def get_result(service: Service, exchange: Exchange, file_name: str) -> Response:
    """Return a finished task's video to any client with a valid link."""
    if refusal := _refuse_client(exchange):
        return refusal
    task_id = file_name.removesuffix(".mp4")
    expected = service.store.sign(task_id, exchange.args.get("expires", ""))
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
    path = service.store.result_path(task_id) if edit.result_etag else BUNDLED_CLIP
    etag = edit.result_etag or _bundled_etag()
    response = _file_reply(exchange, path, etag=etag, mime_type="video/mp4")
    is_sent = exchange.method == "GET" and response.status_code // 100 == HTTPStatus.OK // 100
    if is_sent and service.store.take_cut(task_id):
        exchange.fault = "cut"
        whole = cast("FileWrapper", response.response)
        half = _until(whole, (response.content_length or 0) // 2)
        response.response = ClosingIterator(half, whole.close)
    return response


def keep_result(
    store: Store, task_id: str, file_id: str | None, *, is_as_served: bool
) -> str | None:
    """Make an upload, or the bundled clip if None, the result of a task; return its digest.

    The digest is None if it is the unchanged bundled clip. A result outlives its upload.
    """
    source = store.upload_path(file_id) if file_id else BUNDLED_CLIP
    target = store.result_path(task_id)
    if not (is_as_served and _reencode_as_served(source, target)):
        if file_id is None:
            return None
        try:
            os.link(source, target)
        except FileNotFoundError:
            return None  # deleted in the meantime
        except OSError:
            # Not every file system supports hard links.
            shutil.copyfile(source, target)
    return _digest(target)


def stated_length_s(path: Path) -> float | None:
    """Return the length that an MP4 states for its video or else for the whole file, or None."""
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        # Raised for boxes that are cut short.
        contextlib.suppress(IndexError, struct.error),
    ):
        for at, _ in _boxes(content, b"moov", b"mvhd"):
            layout, offset = (">IQ", 20) if content[at] else (">II", 12)
            timescale, ticks = struct.unpack_from(layout, content, at + offset)
            ticks = _video_ticks(content) or ticks
            return ticks / timescale if ticks and timescale else None
    return None


def _keep(service: Service, exchange: Exchange, part: Path, *, name: str) -> Upload:
    size_bytes = part.stat().st_size
    sha256 = _digest(part)
    kind = _mime_type(part)
    exchange.noted_body = {"size_bytes": size_bytes, "sha256": sha256}
    if size_bytes > UPLOAD_LIMIT_BYTES:
        raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The file is larger than 95 MiB")
    if kind is None:
        message = "Unsupported file type: only MP4, MOV and WebM videos can be uploaded"
        refuse("file", message, code="unsupported_file_type")
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
    service.store.add_upload(upload, part)
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
    # Several ranges would need a multipart reply; a server may ignore Range (RFC 9110, 14.2).
    if "," in exchange.environ.get("HTTP_RANGE", ""):
        del exchange.environ["HTTP_RANGE"]
    try:
        return send_file(path, exchange.environ, mimetype=mime_type, etag=etag)
    except FileNotFoundError:
        return _xml(HTTPStatus.NOT_FOUND, "NoSuchKey", "The specified key does not exist")
    except RequestedRangeNotSatisfiable:
        status = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
        response = _xml(status, "InvalidRange", "The requested range is not satisfiable")
        response.headers["Content-Range"] = f"bytes */{path.stat().st_size}"
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


def _mime_type(path: Path) -> str | None:
    """Return the type of a video, judged by its first bytes, or None if it is not a video."""
    with path.open("rb") as file:
        head = file.read(12)
    if head[4:8] == b"ftyp":
        return "video/quicktime" if head[8:12] == b"qt  " else "video/mp4"
    return "video/webm" if head.startswith(b"\x1a\x45\xdf\xa3") else None


def _video_ticks(content: mmap.mmap) -> int:
    for trak in _boxes(content, b"moov", b"trak"):
        handlers = _boxes(content, b"mdia", b"hdlr", within=trak)
        if b"vide" in [content[at + 8 : at + 12] for at, _ in handlers]:
            for at, _ in _boxes(content, b"tkhd", within=trak):
                layout, offset = (">Q", 28) if content[at] else (">I", 20)
                return int(struct.unpack_from(layout, content, at + offset)[0])
    return 0


def _boxes(
    content: mmap.mmap, kind: bytes, *inner: bytes, within: Span | None = None
) -> Iterator[Span]:
    """Yield where the contents of boxes of one kind, or of the inner ones, begin and end."""
    at, end = within or (0, len(content))
    for _ in range(_BOXES_LIMIT):
        if at + 8 > end:
            return
        size, found = struct.unpack_from(">I4s", content, at)
        begin = at + 8
        if size == 1:  # the size follows, in 64 bits
            (size,) = struct.unpack_from(">Q", content, begin)
            begin += 8
        elif size == 0:  # the box reaches to the end
            size = end - at
        if size < begin - at:
            return
        if found == kind:
            span = begin, min(at + size, end)
            yield from _boxes(content, *inner, within=span) if inner else [span]
        at += size


def _reencode_as_served(source: Path, target: Path) -> bool:
    """Write the clip as the real service would, in 720p at 24 fps; return whether it succeeded."""
    try:
        av: Any = importlib.import_module("av")  # the extra `media`, which is slow to import
    except ImportError:
        return False
    target.touch(mode=0o600)
    try:
        # Name the demuxer: otherwise FFmpeg would also follow a playlist to other files.
        with av.open(source, format="mov") as given, av.open(target, "w", format="mp4") as made:
            video = given.streams.video[0]
            width, height = (720, 1280) if video.height > video.width else (1280, 720)
            encoder = made.add_stream("libx264", rate=24, options={"preset": "ultrafast"})
            encoder.width = width
            encoder.height = height
            encoder.pix_fmt = "yuv420p"
            copies = {one.index: made.add_stream_from_template(one) for one in given.streams.audio}
            graph = av.filter.Graph()
            graph.link_nodes(
                graph.add_buffer(template=video),
                graph.add("fps", "24"),
                graph.add("scale", f"{width}:{height}:force_original_aspect_ratio=decrease"),
                graph.add("pad", f"{width}:{height}:-1:-1"),
                graph.add("buffersink"),
            ).configure()
            for packet in given.demux():
                if packet.stream_index in copies and packet.size:
                    packet.stream = copies[packet.stream_index]
                    made.mux(packet)
                elif packet.stream_index == video.index:
                    for frame in [*packet.decode(), *([] if packet.size else [None])]:
                        graph.push(frame)
                    with contextlib.suppress(av.error.BlockingIOError, av.error.EOFError):
                        while True:
                            made.mux(encoder.encode(graph.vpull()))
            made.mux(encoder.encode(None))
    except (av.error.FFmpegError, IndexError, ValueError):
        remove_files([target])
        return False
    return True


def _digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@functools.cache
def _bundled_etag() -> str:
    return _digest(BUNDLED_CLIP)
