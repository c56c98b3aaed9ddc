"""The file service: a clip streamed to it, and what it says of that."""

import os
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final

from omniedit.errors import (
    AuthenticationError,
    OmniEditError,
    QuotaError,
    RateLimitedError,
    RequestRefusedError,
    ServerError,
    WrongBaseURLError,
)
from omniedit.evolink.digest import HOST_IT, ClipDigest
from omniedit.evolink.form import Framing, form_body
from omniedit.evolink.replies import as_object, parse_error, parse_uploaded_clip
from omniedit.models import UploadedClip
from omniedit.system.files import open_file

if TYPE_CHECKING:
    from omniedit.http.client import HttpClient, Reply

UPLOAD_TIMEOUT_S: Final = 60.0


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
        with open_file(path) as file:
            size_bytes = os.fstat(file.fileno()).st_size
            framing = Framing(name or path.name)
            reply = self._http.request(
                "POST",
                f"{self._files_url}/api/v1/files/upload/stream",
                headers=self._headers
                | {
                    "content-type": framing.content_type,
                    # Without it httpx sends chunks, and the service cannot refuse by size.
                    "content-length": str(len(framing.head) + size_bytes + len(framing.tail)),
                },
                content=form_body(file, path, framing, expected=expected, on_progress=on_progress),
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


def _uploaded(reply: "Reply", files_url: str) -> UploadedClip:
    """Return where the clip is now.

    Raises:
        ServiceError: The file service did not take it.
    """
    value = as_object(reply.json)
    is_success = HTTPStatus.OK <= reply.status < HTTPStatus.MULTIPLE_CHOICES
    if is_success and value.get("success") is not False and not value.get("error"):
        return parse_uploaded_clip(value)
    raise _refusal(reply, files_url)


def _refusal(reply: "Reply", files_url: str) -> OmniEditError:
    """Return why the file service did not take a clip; its own words, where it has any."""
    value = as_object(reply.json)
    error = parse_error(value.get("error"))
    words = error.message if error else _text(value.get("msg")) or _text(value.get("message"))
    status = _meant_status(reply.status, value.get("code"))
    reason = words or f"it answered {status}"
    message = f"the file service refuses the clip: {reason}"
    error_type: type[OmniEditError] = RequestRefusedError
    hint: str | None = HOST_IT
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


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value.strip() else None
