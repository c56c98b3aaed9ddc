"""Local clips on their way to the file service: a look at the file, and a streamed upload."""

import hashlib
import os
import re
import stat
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from omniedit.errors import (
    AuthenticationError,
    InvalidInputError,
    LocalError,
    MissingFileError,
    OmniEditError,
    QuotaError,
    RateLimitedError,
    RequestRefusedError,
    ServerError,
    WrongBaseURLError,
)
from omniedit.models import UploadedClip
from omniedit.wire import parse_error, parse_uploaded_clip

if TYPE_CHECKING:
    from omniedit.http import HttpClient, Reply

MAX_CLIP_BYTES: Final = 95 * 1024 * 1024
UPLOAD_TIMEOUT_S: Final = 60.0

_BLOCK_BYTES: Final = 256 * 1024
_LONGEST_NAME: Final = 100
_HOST_IT: Final = "host the clip yourself, and give its public URL instead of the file"
_SEND_ANYWAY: Final = "convert the clip to an MP4; `--no-check` sends it as it is"
_CONTENT_TYPES: Final = {".mp4": "video/mp4", ".mov": "video/quicktime", ".webm": "video/webm"}
# Major brands of files that begin like an MP4 (mp4ra.org): QuickTime, sound, still pictures.
_OTHER_BRANDS: Final[Mapping[bytes, str]] = {
    b"qt  ": "a QuickTime file",
    b"M4A ": "sound without a picture",
    b"heic": "a still picture",
    b"mif1": "a still picture",
    b"avif": "a still picture",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipDigest:
    """What a local clip holds."""

    sha256: str
    size_bytes: int


class Uploader:
    """Sends local clips to the file service.

    Args:
        http: Sends the requests.
        files_url: The file service's base URL, without a slash at the end.
        key: A validated key; it leaves this class in one header of requests to `files_url` only.
    """

    def __init__(self, http: "HttpClient", *, files_url: str, key: str) -> None:
        self._http = http
        self._files_url = files_url
        self._headers = {"authorization": f"Bearer {key}"}

    def upload(
        self,
        path: Path,
        *,
        on_progress: Callable[[int, int | None], None],
        name: str | None = None,
        expected: ClipDigest | None = None,
    ) -> UploadedClip:
        """Upload a clip once, streamed from the disk: `POST /api/v1/files/upload/stream`.

        Args:
            path: A regular file.
            on_progress: Takes bytes so far and in all.
            name: What the file service shall call it, reduced to letters, digits and `-_.`; the
                file's own by default.
            expected: What the file held when it was looked at; anything else is not sent whole.

        Raises:
            MissingFileError: It cannot be read.
            LocalError: It changed while it was uploaded.
            RequestRefusedError: The file service refuses the clip: its type, its size, the quota.
            AuthenticationError: It refuses the key.
            UnavailableError: Worth another try; an upload costs nothing.
        """
        with _opened(path) as file:
            size_bytes = os.fstat(file.fileno()).st_size
            framing = _Framing(_safe_name(name or path.name))
            reply = self._http.request(
                "POST",
                f"{self._files_url}/api/v1/files/upload/stream",
                headers=self._headers
                | {
                    "content-type": framing.content_type,
                    # Without it httpx sends chunks, and the service cannot refuse by size.
                    "content-length": str(len(framing.head) + size_bytes + len(framing.tail)),
                },
                content=_body(file, path, framing, expected=expected, on_progress=on_progress),
                timeout_s=UPLOAD_TIMEOUT_S,
            )
        return _uploaded(reply, self._files_url)

    def check_service(self) -> None:
        """Ask for the quota, a free read: `GET /api/v1/files/quota`.

        Raises:
            ServiceError: The file service does not answer, or refuses the key.
        """
        url = f"{self._files_url}/api/v1/files/quota"
        reply = self._http.request("GET", url, headers=self._headers)
        # It is not in the published reference: a file service without it answers all the same.
        missing = {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}
        if reply.status >= HTTPStatus.BAD_REQUEST and reply.status not in missing:
            raise _refusal(reply, self._files_url)


def digest_clip(path: Path, *, check: bool = True) -> ClipDigest:
    """Return what a local clip holds, read once.

    Args:
        path: The clip.
        check: Refuse what is certainly too large or not an MP4.

    Raises:
        MissingFileError: It does not exist, or cannot be read.
        InvalidInputError: It is no file, empty, or refused by the check.
        LocalError: The disk fails.
    """
    with _opened(path) as file:
        size_bytes = os.fstat(file.fileno()).st_size
        if size_bytes == 0:
            msg = f"{path} is empty"
            raise InvalidInputError(msg, code="invalid_clip")
        if check:
            _check_clip(path, file.read(12), size_bytes)
            file.seek(0)
        try:
            digest = hashlib.file_digest(file, "sha256")
        except OSError as error:
            raise _unreadable(path, error) from error
        return ClipDigest(sha256=digest.hexdigest(), size_bytes=file.tell())


def _opened(path: Path) -> BufferedReader:
    """Open a regular file, and nothing else: opening a pipe would wait for its other end."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            return path.open("rb")
    except FileNotFoundError:
        msg = f"no such file: {path}"
        raise MissingFileError(msg) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        msg = f"cannot read {str(path)!r}: {reason}"
        raise MissingFileError(msg) from error
    msg = f"{path} is {'a folder' if stat.S_ISDIR(mode) else 'not a regular file'}, not a clip"
    raise InvalidInputError(msg, code="invalid_clip")


def _check_clip(path: Path, head: bytes, size_bytes: int) -> None:
    if size_bytes > MAX_CLIP_BYTES:
        msg = f"{path} is larger than {MAX_CLIP_BYTES // 1024**2} MiB, which the file service takes"
        raise InvalidInputError(msg, code="clip_too_large", hint=_HOST_IT)
    found = _OTHER_BRANDS.get(head[8:12]) if head[4:8] == b"ftyp" else "not an MP4"
    if found:
        msg = f"{path} is {found}" + ("" if found == "not an MP4" else ", not an MP4")
        raise InvalidInputError(msg, code="not_an_mp4", hint=_SEND_ANYWAY)


class _Framing:
    """The bytes around the one file of a form (RFC 7578)."""

    def __init__(self, name: str) -> None:
        boundary = os.urandom(16).hex()
        content_type = _CONTENT_TYPES.get(Path(name).suffix.lower(), "application/octet-stream")
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self.head = (
            f"--{boundary}\r\n"
            f'Content-Disposition: form-data; name="file"; filename="{name}"\r\n'
            f"Content-Type: {content_type}\r\n\r\n"
        ).encode("ascii")
        self.tail = f"\r\n--{boundary}--\r\n".encode("ascii")


def _body(
    file: BufferedReader,
    path: Path,
    framing: _Framing,
    *,
    expected: ClipDigest | None,
    on_progress: Callable[[int, int | None], None],
) -> Generator[bytes]:
    """Yield a form; it stays without its end where the file is not what it was."""
    before = os.fstat(file.fileno())
    digest, done_bytes = hashlib.sha256(), 0
    yield framing.head
    on_progress(0, before.st_size)
    while block := _read(file, path):
        digest.update(block)
        done_bytes += len(block)
        # Longer than announced: it grew.
        if done_bytes > before.st_size:
            break
        yield block
        on_progress(done_bytes, before.st_size)
    after = os.fstat(file.fileno())
    is_unchanged = (
        done_bytes == before.st_size == after.st_size and before.st_mtime_ns == after.st_mtime_ns
    )
    if not is_unchanged or (expected and expected.sha256 != digest.hexdigest()):
        msg = f"{path} changed while it was uploaded"
        raise LocalError(msg, code="clip_changed")
    yield framing.tail


def _read(file: BufferedReader, path: Path) -> bytes:
    try:
        return file.read(_BLOCK_BYTES)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> LocalError:
    return LocalError(f"cannot read {path}: {error.strerror or error}")


def _safe_name(name: str) -> str:
    """Return a file name that needs no quoting anywhere."""
    parts = re.split(r"[/\\]", name)[-1].rpartition(".")
    # Without a dot, or with the first one at the start, there is no suffix.
    stem, suffix = (parts[0], parts[2]) if parts[0] else (parts[2], "")
    stem, suffix = (re.sub(r"[^A-Za-z0-9_-]+", "_", part).strip("_-") for part in (stem, suffix))
    return f"{stem[:_LONGEST_NAME] or 'clip'}.{suffix[:10] or 'mp4'}"


def _uploaded(reply: "Reply", files_url: str) -> UploadedClip:
    """Return where the clip is now.

    Raises:
        ServiceError: The file service did not take it.
    """
    value = _mapping(reply.json)
    is_success = HTTPStatus.OK <= reply.status < HTTPStatus.MULTIPLE_CHOICES
    if is_success and value.get("success") is not False and not value.get("error"):
        return parse_uploaded_clip(value)
    raise _refusal(reply, files_url)


def _refusal(reply: "Reply", files_url: str) -> OmniEditError:
    """Return why the file service did not take a clip; its own words, where it has any."""
    value = _mapping(reply.json)
    error = parse_error(value.get("error"))
    words = error.message if error else _text(value.get("msg")) or _text(value.get("message"))
    status = _meant_status(reply.status, value.get("code"))
    reason = words or f"it answered {status}"
    message = f"the file service refuses the clip: {reason}"
    error_type: type[OmniEditError] = RequestRefusedError
    hint: str | None = _HOST_IT
    match status:
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            error_type, hint = AuthenticationError, None
            message = f"the file service refuses the key: {reason}"
        case HTTPStatus.PAYMENT_REQUIRED:
            error_type, hint = QuotaError, None
        case HTTPStatus.NOT_FOUND | HTTPStatus.METHOD_NOT_ALLOWED:
            error_type, hint = WrongBaseURLError, None
            message = f"there is no file service at {files_url} (answered {status})"
        # A full account does not empty itself while somebody waits.
        case HTTPStatus.TOO_MANY_REQUESTS if "quota" not in reason.lower():
            error_type, hint = RateLimitedError, None
            message = f"the file service asks to slow down: {reason}"
        case _ if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            error_type, hint = ServerError, None
            message = f"the file service failed: {reason}"
        case _ if status < HTTPStatus.BAD_REQUEST:
            hint = None
            message = f"the file service answered with a redirect ({status}), which is never followed with a key"
        case _:
            pass
    return error_type(
        message,
        code=error.code if error and error.code != "unknown_error" else None,
        hint=hint,
        http_status=reply.status,
        retry_after_s=reply.retry_after_s,
    )


def _meant_status(status: int, code: object) -> int:
    """Return the status of a refusal; in a 200 it stands in the body, if anywhere."""
    if status >= HTTPStatus.MULTIPLE_CHOICES:
        return status
    if isinstance(code, int) and code in range(400, 600):
        return code
    return HTTPStatus.BAD_REQUEST


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value.strip() else None
