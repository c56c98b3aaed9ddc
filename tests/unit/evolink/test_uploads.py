"""Checks of a local clip, and its upload to the file service."""

import errno
import hashlib
import io
import os
import re
import time
from collections.abc import Callable, Iterator
from email import message_from_bytes
from pathlib import Path

import httpx
import pytest

from omniedit.errors import (
    AuthenticationError,
    BlockedClientError,
    InvalidInputError,
    LocalError,
    MissingFileError,
    NetworkError,
    OmniEditError,
    QuotaError,
    RateLimitedError,
    RequestRefusedError,
    ServerError,
    UnreadableReplyError,
    WrongBaseURLError,
)
from omniedit.evolink.uploads import ClipDigest, Uploader, check_upload_size, digest_clip
from omniedit.http.client import HttpClient
from omniedit.models import MAX_UPLOAD_BYTES, UploadedClip
from tests.unit.http.hostile import ENDLESS, TINY, Answer, HostileServer

FILES_URL = "https://files.example"
MP4 = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(range(256)) * 4000
STORED = {
    "success": True,
    "code": 200,
    "msg": "ok",
    "data": {"file_url": "https://files.example/f/1.mp4", "expires_at": "2026-01-02T03:04:05Z"},
}


class FileService:
    """Records uploads and answers each with `reply`."""

    def __init__(self) -> None:
        self.reply = httpx.Response(200, json=STORED)
        self.requests: list[httpx.Request] = []
        self.bodies: list[bytes] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.bodies.append(request.read())
        return self.reply

    @property
    def form(self) -> tuple[object, object, str]:
        """The field, file name and type of the only part of the last upload."""
        content_type = self.requests[-1].headers["content-type"]
        head = f"Content-Type: {content_type}\r\n\r\n".encode()
        _, part = message_from_bytes(head + self.bodies[-1]).walk()
        field = part.get_param("name", header="content-disposition")
        return field, part.get_filename(), part.get_content_type()


@pytest.fixture
def service() -> FileService:
    return FileService()


@pytest.fixture
def uploader(service: FileService) -> Iterator[Uploader]:
    with HttpClient(transport=httpx.MockTransport(service)) as http:
        yield Uploader(http, files_url=FILES_URL, key="sk-evo-secret")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(MP4)
    return path


def _ignore(*_: object) -> None:
    """Ignore a progress report."""


def send(
    uploader: Uploader,
    clip: Path,
    *,
    on_progress: Callable[[int, int | None], None] = _ignore,
    deadline: float | None = None,
) -> UploadedClip:
    """Upload a clip as it is now."""
    expected = digest_clip(clip, check=False)
    return uploader.upload(clip, expected=expected, on_progress=on_progress, deadline=deadline)


def test_a_clip_is_uploaded_as_a_form(service: FileService, uploader: Uploader, clip: Path) -> None:
    progress: list[tuple[int, int | None]] = []

    uploaded = send(uploader, clip, on_progress=lambda *done: progress.append(done))

    request = service.requests[0]
    assert uploaded == UploadedClip(url="https://files.example/f/1.mp4", expires_at=1767323045.0)
    assert (request.method, str(request.url)) == (
        "POST",
        "https://files.example/api/v1/files/upload/stream",
    )
    assert request.headers["authorization"] == "Bearer sk-evo-secret"
    assert request.headers["content-length"] == str(len(service.bodies[0]))
    assert "transfer-encoding" not in request.headers
    assert service.form == ("file", "clip.mp4", "video/mp4")
    assert MP4 in service.bodies[0]
    assert progress[0] == (0, len(MP4))
    assert progress[-1] == (len(MP4), len(MP4))
    assert len(progress) == 5


@pytest.mark.parametrize(
    ("name", "sent", "content_type"),
    [
        ("clip.mp4", "clip.mp4", "video/mp4"),
        ("Clip 1 (final).MP4", "Clip_1_final.MP4", "video/mp4"),
        ("клип.mov", "clip.mov", "video/quicktime"),
        ("a.b.webm", "a_b.webm", "video/webm"),
        pytest.param(
            'x"; filename="y\r\n.mp4', "x_filename_y.mp4", "video/mp4", marks=pytest.mark.posix
        ),
        (".mp4", "mp4.mp4", "video/mp4"),
        ("clip", "clip.mp4", "video/mp4"),
        ("clip.кл", "clip.mp4", "video/mp4"),
        ("x" * 200 + ".mkv", "x" * 100 + ".mkv", "application/octet-stream"),
    ],
)
def test_a_file_name_is_reduced_to_safe_characters(
    service: FileService, uploader: Uploader, clip: Path, *, name: str, sent: str, content_type: str
) -> None:
    send(uploader, clip.rename(clip.with_name(name)))

    assert service.form[1:] == (sent, content_type)


def test_a_clip_that_matches_its_digest_is_sent(
    service: FileService, uploader: Uploader, clip: Path
) -> None:
    uploader.upload(clip, on_progress=_ignore, expected=digest_clip(clip))

    assert len(service.bodies) == 1


def _append(clip: Path) -> None:
    with clip.open("ab") as file:
        file.write(b"more")


def _truncate(clip: Path) -> None:
    os.truncate(clip, 500_000)


def _rewrite(clip: Path) -> None:
    with clip.open("r+b") as file:
        file.seek(700_000)
        file.write(b"other")
    os.utime(clip, ns=(0, 0))


@pytest.mark.parametrize("change", [_append, _truncate, _rewrite])
def test_a_clip_that_changes_during_its_upload_is_not_sent_whole(
    service: FileService, uploader: Uploader, clip: Path, change: Callable[[Path], None]
) -> None:
    def on_progress(done_bytes: int, _: int | None) -> None:
        if done_bytes == 262_144:
            change(clip)

    with pytest.raises(LocalError, match="changed"):
        send(uploader, clip, on_progress=on_progress)

    assert service.bodies == []


def test_a_clip_that_differs_from_its_digest_is_not_sent_whole(
    service: FileService, uploader: Uploader, clip: Path
) -> None:
    expected = ClipDigest(sha256=hashlib.sha256(b"other").hexdigest(), size_bytes=len(MP4))

    with pytest.raises(LocalError, match="changed"):
        uploader.upload(clip, on_progress=_ignore, expected=expected)

    assert service.bodies == []


def _refused(status: int, words: str) -> httpx.Response:
    return httpx.Response(status, json={"success": False, "code": status, "msg": words})


@pytest.mark.parametrize(
    ("reply", "error", "message"),
    [
        pytest.param(_refused(400, "bad name"), RequestRefusedError, "bad name", id="400"),
        pytest.param(
            _refused(401, "no"), AuthenticationError, "the file service answered: no", id="401"
        ),
        pytest.param(_refused(402, "empty"), QuotaError, "empty", id="402"),
        pytest.param(_refused(403, "no"), AuthenticationError, "no", id="403"),
        pytest.param(
            httpx.Response(403, text="error code: 1010"), BlockedClientError, "1010", id="1010"
        ),
        pytest.param(_refused(404, "?"), WrongBaseURLError, FILES_URL, id="404"),
        pytest.param(httpx.Response(405), WrongBaseURLError, FILES_URL, id="405"),
        pytest.param(httpx.Response(413), RequestRefusedError, "413", id="413"),
        pytest.param(_refused(415, "images only"), RequestRefusedError, "images only", id="415"),
        pytest.param(_refused(429, "slow"), RateLimitedError, "slow", id="429"),
        pytest.param(
            _refused(429, "file quota of 100 reached"),
            RequestRefusedError,
            "file quota of 100 reached",
            id="429-quota",
        ),
        pytest.param(_refused(500, "oops"), ServerError, "oops", id="500"),
        pytest.param(httpx.Response(502, html="<h1>Bad"), ServerError, "502", id="502-html"),
        pytest.param(httpx.Response(307), RequestRefusedError, "redirect", id="307"),
        pytest.param(
            httpx.Response(200, json={"success": False, "msg": "unsupported type"}),
            RequestRefusedError,
            "unsupported type",
            id="refused-in-a-200",
        ),
        pytest.param(
            httpx.Response(200, json={"success": False, "code": 503, "message": "later"}),
            ServerError,
            "later",
            id="failed-in-a-200",
        ),
        pytest.param(
            httpx.Response(200, json={"error": {"code": "invalid_type", "message": "no video"}}),
            RequestRefusedError,
            "no video",
            id="error-in-a-200",
        ),
        pytest.param(httpx.Response(200, text="ok"), UnreadableReplyError, "no URL", id="text"),
        pytest.param(
            httpx.Response(200, json={"success": True, "data": None}),
            UnreadableReplyError,
            "no URL",
            id="no-url",
        ),
    ],
)
def test_a_refusal_quotes_the_service(
    service: FileService,
    uploader: Uploader,
    clip: Path,
    *,
    reply: httpx.Response,
    error: type[OmniEditError],
    message: str,
) -> None:
    service.reply = reply

    with pytest.raises(error, match=re.escape(message)) as caught:
        send(uploader, clip)

    assert type(caught.value) is error
    assert len(service.requests) == 1
    has_hint = "public URL" in (caught.value.hint or "")
    assert has_hint is (error is RequestRefusedError and reply.status_code != 307)


def test_an_error_field_of_null_is_ignored(
    service: FileService, uploader: Uploader, clip: Path
) -> None:
    service.reply = httpx.Response(201, json=STORED | {"error": None})

    uploaded = send(uploader, clip)

    assert uploaded.url == "https://files.example/f/1.mp4"


def test_retry_after_and_code_are_passed_on(
    service: FileService, uploader: Uploader, clip: Path
) -> None:
    service.reply = httpx.Response(
        429, headers={"retry-after": "7"}, json={"error": {"code": "rate", "message": "slow"}}
    )

    with pytest.raises(RateLimitedError) as caught:
        send(uploader, clip)

    assert (caught.value.retry_after_s, caught.value.code) == (7.0, "rate")


def test_a_broken_connection_is_a_network_error(clip: Path) -> None:
    def break_off(request: httpx.Request) -> httpx.Response:
        request.read()
        msg = "reset"
        raise httpx.WriteError(msg)

    with HttpClient(transport=httpx.MockTransport(break_off)) as http, pytest.raises(NetworkError):
        send(Uploader(http, files_url=FILES_URL, key="k"), clip)


def test_a_clip_that_vanished_is_missing(uploader: Uploader, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError):
        uploader.upload(tmp_path / "gone.mp4", expected=ClipDigest("", 0), on_progress=_ignore)


def test_a_digest_is_a_sha256_and_a_size(clip: Path) -> None:
    assert digest_clip(clip) == ClipDigest(
        sha256=hashlib.sha256(MP4).hexdigest(), size_bytes=len(MP4)
    )


@pytest.mark.posix
@pytest.mark.parametrize("check", [False, True])
def test_a_path_that_is_not_a_readable_file_is_refused(tmp_path: Path, *, check: bool) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").touch()
    for path, error, message in (
        (tmp_path / "gone", MissingFileError, "no such file"),
        (tmp_path / "empty" / "x", MissingFileError, "cannot read"),
        (Path("a\0b"), MissingFileError, "cannot read"),
        (tmp_path, InvalidInputError, "a folder"),
        (tmp_path / "pipe", InvalidInputError, "a named pipe"),
        (Path("/dev/null"), InvalidInputError, "a device"),
        (tmp_path / "empty", InvalidInputError, "is empty"),
    ):
        with pytest.raises(error, match=message):
            digest_clip(path, check=check)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "not an MP4"),
        (b"\x1aE\xdf\xa3webm", "not an MP4"),
        (b"x", "not an MP4"),
        (b"\0\0\0\x14ftypqt  \0\0\0\0", "QuickTime"),
        (b"\0\0\0\x14ftypheic\0\0\0\0", "still image"),
        (b"\0\0\0\x14ftypM4A \0\0\0\0", "audio without video"),
    ],
)
def test_a_file_that_is_not_an_mp4_is_refused_unless_unchecked(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)

    with pytest.raises(InvalidInputError, match=message) as caught:
        digest_clip(path)

    assert "--no-check" in str(caught.value.hint)
    assert digest_clip(path, check=False).size_bytes == len(content)


def test_a_clip_that_is_too_large_is_refused(clip: Path) -> None:
    os.truncate(clip, MAX_UPLOAD_BYTES + 1)

    check_upload_size(MAX_UPLOAD_BYTES, name="clip.mp4")
    with pytest.raises(InvalidInputError, match="95 MiB") as caught:
        digest_clip(clip)

    assert "public URL" in str(caught.value.hint)


def test_a_clip_is_sent_in_chunks_of_256_kib(
    uploader: Uploader, clip: Path, service: FileService
) -> None:
    os.truncate(clip, 8 * 1024 * 1024)
    longest = 0

    def watch(request: httpx.Request) -> httpx.Response:
        nonlocal longest
        assert isinstance(request.stream, httpx.SyncByteStream)
        for chunk in request.stream:
            longest = max(longest, len(chunk))
        return httpx.Response(200, json=STORED)

    with HttpClient(transport=Streaming(watch)) as http:
        send(Uploader(http, files_url=FILES_URL, key="k"), clip)

    assert longest == 256 * 1024


class Streaming(httpx.BaseTransport):
    """Passes a request on before its body is read."""

    def __init__(self, handler: Callable[[httpx.Request], httpx.Response]) -> None:
        self._handler = handler

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._handler(request)


@pytest.mark.parametrize(
    "answer", [pytest.param(answer, id=name) for name, answer in ENDLESS.items()]
)
def test_an_endless_reply_to_an_upload_is_given_up(
    serve_bytes: Callable[[Answer], HostileServer], clip: Path, answer: Answer
) -> None:
    server = serve_bytes(answer)

    with HttpClient(policy=TINY) as http, pytest.raises(NetworkError):
        send(Uploader(http, files_url=server.url, key="k"), clip)


def test_an_upload_ends_at_the_callers_deadline(
    serve_bytes: Callable[[Answer], HostileServer], clip: Path
) -> None:
    server = serve_bytes(ENDLESS["silence"])

    with HttpClient() as http:
        uploader = Uploader(http, files_url=server.url, key="k")
        with pytest.raises(NetworkError):
            send(uploader, clip, deadline=time.monotonic() + 0.1)


def test_a_disk_error_while_reading_a_clip_is_a_local_error(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(io.BufferedReader):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("omniedit.evolink.uploads.open_file", lambda path: Failing(io.FileIO(path)))

    with pytest.raises(LocalError, match="cannot read"):
        digest_clip(clip)
