"""Local clips and the file service: first checks, digests, and streamed uploads."""

import hashlib
import os
import re
from collections.abc import Callable, Generator, Mapping
from http import HTTPStatus
from io import BufferedReader
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from omniedit.errors import (
    LocalError,
    OmniEditError,
    RequestRefusedError,
    WrongBaseURLError,
    install_command,
    refuse,
)
from omniedit.evolink.replies import (
    MISSING_ENDPOINT,
    as_object,
    error_from,
    parse_refusal,
    parse_uploaded_clip,
    value_of,
)
from omniedit.models import MAX_UPLOAD_BYTES, UploadedClip
from omniedit.system.files import open_file, unreadable

if TYPE_CHECKING:
    from omniedit.http.client import HttpClient, Reply

HOST_IT_HINT: Final = "host the clip yourself, and give its public URL instead of the file"

_NAME: Final = "the file service"
# Major brands of files that begin like an MP4 (mp4ra.org): QuickTime, audio, still images.
_OTHER_BRANDS: Final[Mapping[bytes, str]] = {
    b"qt  ": "a QuickTime file, not an MP4",
    b"M4A ": "audio without video, not an MP4",
    b"heic": "a still image, not an MP4",
    b"mif1": "a still image, not an MP4",
    b"avif": "a still image, not an MP4",
}
_BLOCK_BYTES: Final = 256 * 1024
_LONGEST_NAME: Final = 100
_LONGEST_SUFFIX: Final = 10
_CONTENT_TYPES: Final = {".mp4": "video/mp4", ".mov": "video/quicktime", ".webm": "video/webm"}


class ClipDigest(NamedTuple):
    """The digest and size of a local clip's content."""

    sha256: str
    size_bytes: int


def digest_clip(path: Path, *, check: bool = True) -> ClipDigest:
    """Return the digest and size of a local clip, read once.

    Args:
        path: The clip.
        check: Refuse a clip that is certainly too large or not an MP4.
    """
    with open_file(path) as file:
        size_bytes = os.fstat(file.fileno()).st_size
        if size_bytes == 0:
            refuse(f"{path} is empty", code="invalid_clip", hint="copy or export it again")
        try:
            if check:
                _check_clip(path, file.read(12), size_bytes)
                file.seek(0)
            digest = hashlib.file_digest(file, "sha256")
        except OSError as error:
            raise unreadable(path, error) from error
        return ClipDigest(sha256=digest.hexdigest(), size_bytes=file.tell())


def check_upload_size(size_bytes: int, *, name: str, hint: str = HOST_IT_HINT) -> None:
    """Refuse a file that is too large for the file service."""
    if size_bytes > MAX_UPLOAD_BYTES:
        most = f"{MAX_UPLOAD_BYTES // 1024**2} MiB, the most that the file service accepts"
        refuse(f"{name} is larger than {most}", code="clip_too_large", hint=hint)


def clip_changed_error(path: Path | str) -> LocalError:
    """Return the error for a clip that changed after it was checked."""
    msg = f"{path} changed after it was checked"
    hint = "run the same command again once nothing is writing to it"
    return LocalError(msg, code="clip_changed", hint=hint)


class Uploader:
    """Sends local clips to the file service.

    Args:
        http: Sends the requests.
        files_url: The file service's base URL, without a trailing slash.
        key: A validated key; sent only in the `Authorization` header of requests to `files_url`.
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
        expected: ClipDigest,
        deadline: float | None = None,
    ) -> UploadedClip:
        """Upload a clip once, streamed from disk: `POST /api/v1/files/upload/stream`.

        Args:
            path: A regular file; its name is sent, too, reduced to letters, digits and `-_.`.
            on_progress: Takes the bytes so far and the total.
            expected: What was checked; if the file differs, the upload is aborted before its end.
            deadline: A monotonic instant that the upload does not outlive.

        Raises:
            MissingFileError: If the clip cannot be read.
            LocalError: If the clip changed during the upload.
            RequestRefusedError: If the file service refuses its type or size, or the quota is used
                up.
            AuthenticationError: If the file service refuses the key.
            UnavailableError: If a retry may help; an upload costs nothing.
        """
        with open_file(path) as file:
            boundary = os.urandom(16).hex()
            head, tail = _form_ends(boundary, _safe_name(path.name))
            reply = self._http.request(
                "POST",
                f"{self._files_url}/api/v1/files/upload/stream",
                headers=self._headers
                | {
                    "content-type": f"multipart/form-data; boundary={boundary}",
                    # Without it, httpx sends chunks and the service cannot refuse by size.
                    "content-length": str(len(head) + expected.size_bytes + len(tail)),
                },
                content=chain(
                    (head,),
                    # The end follows only if this raises nothing.
                    _clip_blocks(file, path, expected=expected, on_progress=on_progress),
                    (tail,),
                ),
                timeout_s=self._http.policy.upload_timeout_s,
                deadline=deadline,
            )
        value = as_object(reply.json)
        is_success = HTTPStatus.OK <= reply.status < HTTPStatus.MULTIPLE_CHOICES
        if is_success and value.get("success") is not False and not value.get("error"):
            return parse_uploaded_clip(value)
        raise self._refusal(reply)

    def check_service(self) -> None:
        """Check the file service by reading the quota, which is free: `GET /api/v1/files/quota`."""
        url = f"{self._files_url}/api/v1/files/quota"
        reply = self._http.request("GET", url, headers=self._headers)
        # This endpoint is not in the published reference: a file service without it works, too.
        if reply.status not in MISSING_ENDPOINT:
            value_of(reply, service=_NAME)

    def _refusal(self, reply: "Reply") -> OmniEditError:
        refusal = parse_refusal(reply.json)
        status = reply.status
        code = as_object(reply.json).get("code")
        if status < HTTPStatus.MULTIPLE_CHOICES:
            # A refusal may come in the body of a 200.
            status = code if isinstance(code, int) and code in range(400, 600) else 400
        if status in MISSING_ENDPOINT:
            msg = f"there is no file service at {self._files_url} (answered {status})"
            return WrongBaseURLError(msg, code=refusal.code, http_status=reply.status)
        if status == HTTPStatus.TOO_MANY_REQUESTS and "quota" in (refusal.message or "").lower():
            # Waiting does not help if the account's storage is full.
            status = HTTPStatus.BAD_REQUEST
        error = error_from(reply, refusal, service=_NAME, status=status)
        if isinstance(error, RequestRefusedError) and status >= HTTPStatus.BAD_REQUEST:
            reason = refusal.message or f"it answered {reply.status}"
            error.message = f"{_NAME} refuses the clip: {reason}"
            error.hint = HOST_IT_HINT
        return error


def _check_clip(path: Path, head: bytes, size_bytes: int) -> None:
    check_upload_size(size_bytes, name=str(path))
    found = _OTHER_BRANDS.get(head[8:12]) if head[4:8] == b"ftyp" else "not an MP4"
    if found:
        hint = f"`{install_command('media')}` adds conversion; `--no-check` sends it as it is"
        refuse(f"{path} is {found}", code="not_an_mp4", hint=hint)


def _form_ends(boundary: str, name: str) -> tuple[bytes, bytes]:
    """Return the bytes around the only file of a multipart form (RFC 7578)."""
    content_type = _CONTENT_TYPES.get(Path(name).suffix.lower(), "application/octet-stream")
    head = (
        f"--{boundary}\r\n"
        f'Content-Disposition: form-data; name="file"; filename="{name}"\r\n'
        f"Content-Type: {content_type}\r\n\r\n"
    )
    return head.encode("ascii"), f"\r\n--{boundary}--\r\n".encode("ascii")


def _clip_blocks(
    file: BufferedReader,
    path: Path,
    *,
    expected: ClipDigest,
    on_progress: Callable[[int, int | None], None],
) -> Generator[bytes]:
    """Yield the bytes of a clip; raise a LocalError at the end if they are not the expected ones."""
    digest = hashlib.sha256()
    done_bytes = 0
    on_progress(0, expected.size_bytes)
    while block := _read(file, path):
        digest.update(block)
        done_bytes += len(block)
        # The file grew: do not send more than was announced.
        if done_bytes > expected.size_bytes:
            break
        yield block
        on_progress(done_bytes, expected.size_bytes)
    if digest.hexdigest() != expected.sha256:
        raise clip_changed_error(path)


def _read(file: BufferedReader, path: Path) -> bytes:
    try:
        return file.read(_BLOCK_BYTES)
    except OSError as error:
        raise unreadable(path, error) from error


def _safe_name(name: str) -> str:
    """Return a file name that needs no quoting anywhere."""
    stem, _, suffix = re.split(r"[/\\]", name)[-1].rpartition(".")
    if not stem:
        # Without a dot, or with its only dot at the start, a name has no suffix.
        stem = suffix
        suffix = ""
    stem = _plain(stem)[:_LONGEST_NAME] or "clip"
    suffix = _plain(suffix)[:_LONGEST_SUFFIX] or "mp4"
    return f"{stem}.{suffix}"


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "_", text).strip("_-")
