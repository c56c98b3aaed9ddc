"""The file service: uploads, their replies, their limits, and their return as results."""

from __future__ import annotations

import hashlib
import os
from io import BytesIO
from typing import TYPE_CHECKING

import pytest

from omniedit.sandbox.clips import BUNDLED_CLIP, UPLOAD_LIMIT_BYTES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.sandbox.conftest import Bench

PATH = "/api/v1/files/upload/stream"


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_an_upload_is_answered_with_its_url(bench: Bench) -> None:
    reply = bench.upload(name="my clip.mp4").get_json()

    value = reply["data"]
    file_id = value["file_id"]
    assert (reply["success"], reply["code"]) == (True, 200)
    assert value["file_url"] == f"http://localhost/files/{file_id}/my-clip.mp4"
    assert value["download_url"].startswith(value["file_url"])
    assert value["file_size"] == len(bench.MP4)
    assert value["mime_type"] == "video/mp4"
    assert value["expires_at"] == "2025-09-09T14:42:23Z"


def test_an_upload_can_be_downloaded_without_a_key(bench: Bench) -> None:
    value = bench.upload().get_json()["data"]

    whole = bench.download(value["file_url"])
    part = bench.download(value["file_url"], headers={"Range": "bytes=4-7"})

    assert whole.data == bench.MP4
    assert whole.headers["ETag"] == f'"{hashlib.sha256(bench.MP4).hexdigest()}"'
    assert (part.status_code, part.data) == (206, b"ftyp")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\clips\\a.mp4", "a.mp4"),
        ("片.mp4", "mp4"),
        ("..", "clip.mp4"),
        ("a\x00b.mp4", "a-b.mp4"),
        ("x" * 300 + ".mp4", "x" * 96 + ".mp4"),
    ],
)
def test_an_uploaded_name_is_never_used_as_a_path(bench: Bench, given: str, kept: str) -> None:
    value = bench.call(
        "POST", PATH, data={"file": (BytesIO(bench.MP4), "x.mp4"), "file_name": given}
    ).get_json()["data"]

    assert value["file_name"] == kept
    assert bench.download(value["file_url"]).status_code == 200


@pytest.mark.parametrize(
    ("origin", "is_own"),
    [
        pytest.param("http://localhost", True, id="same-origin"),
        pytest.param("http://127.0.0.1:9999", True, id="other-port"),
        pytest.param("https://example.com", False, id="foreign-host"),
    ],
)
def test_only_a_clip_uploaded_here_becomes_the_result(
    bench: Bench,
    origin: str,
    is_own: bool,  # noqa: FBT001 - a case's verdict
) -> None:
    value = bench.upload().get_json()["data"]
    url = value["file_url"].replace("http://localhost", origin)

    task = bench.finished(body={"video_urls": [url]})

    expected = bench.MP4 if is_own else BUNDLED_CLIP.read_bytes()
    assert bench.download(task["results"][0]).data == expected


def test_the_result_outlives_the_upload(bench: Bench) -> None:
    value = bench.upload().get_json()["data"]
    task = bench.finished(body={"video_urls": [value["file_url"]]})

    deleted = bench.call("DELETE", f"/api/v1/files/{value['file_id']}")

    assert deleted.get_json()["success"] is True
    assert bench.download(value["file_url"]).status_code == 404
    assert bench.download(task["results"][0]).data == bench.MP4


def test_a_webm_is_accepted_but_the_result_is_an_mp4(bench: Bench) -> None:
    value = bench.upload(b"\x1a\x45\xdf\xa3" + b"x" * 50, "a.webm").get_json()["data"]

    task = bench.finished(body={"video_urls": [value["file_url"]]})

    assert value["mime_type"] == "video/webm"
    assert bench.download(task["results"][0]).data == BUNDLED_CLIP.read_bytes()


@pytest.mark.parametrize(
    ("content", "code"),
    [
        pytest.param(b"hello, I am text", "unsupported_file_type", id="text"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + b"0" * 20, "unsupported_file_type", id="image"),
        pytest.param(b"", "unsupported_file_type", id="empty"),
    ],
)
def test_a_file_that_is_not_a_video_is_refused_and_removed(
    bench: Bench, content: bytes, code: str
) -> None:
    reply = bench.upload(content)

    assert reply.status_code == 400
    assert reply.get_json()["error"]["code"] == code
    assert files_in(bench.folder) == ["sandbox.sqlite3"]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        pytest.param(b"x", "application/json", id="json"),
        pytest.param(b"x", "multipart/form-data", id="no-boundary"),
        pytest.param(b"x", "multipart/form-data; boundary=\xff", id="boundary-not-ascii"),
        pytest.param(b"x", "multipart/form-data; boundary=b", id="no-parts"),
        pytest.param(
            b'--b\r\nContent-Disposition: form-data; name="other"\r\n\r\nx\r\n--b--',
            "multipart/form-data; boundary=b",
            id="no-file",
        ),
        pytest.param(
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'
            b"\0\0\0\x18ftypisomhalf of",
            "multipart/form-data; boundary=b",
            id="ends-early",
        ),
    ],
)
def test_an_invalid_form_is_refused_and_removed(
    bench: Bench, body: bytes, content_type: str
) -> None:
    reply = bench.call("POST", PATH, data=body, content_type=content_type)

    assert reply.status_code == 400
    assert files_in(bench.folder) == ["sandbox.sqlite3"]


def test_an_upload_over_95_mib_is_refused_before_it_is_read(bench: Bench) -> None:
    reply = bench.call(
        "POST",
        PATH,
        content_type="multipart/form-data; boundary=b",
        environ_overrides={"CONTENT_LENGTH": str(UPLOAD_LIMIT_BYTES + 1_000_000)},
    )

    assert reply.status_code == 413
    assert reply.get_json()["error"]["code"] == "request_too_large"


def test_expired_uploads_do_not_count_towards_the_quota(bench: Bench) -> None:
    bench.upload()
    one = bench.get("/api/v1/files/quota").get_json()["data"]
    bench.clock.advance(72 * 3600)
    bench.upload()
    still_one = bench.get("/api/v1/files/quota").get_json()["data"]

    assert one == {
        "user_group": "default",
        "max_files": 100,
        "used_files": 1,
        "remaining_files": 99,
    }
    assert still_one == one
    assert len(list(bench.folder.glob("uploads/*"))) == 1


def test_the_101st_upload_is_refused(bench: Bench) -> None:
    for _ in range(100):
        assert bench.upload().status_code == 200

    reply = bench.upload()

    assert reply.status_code == 400
    assert reply.get_json()["error"]["code"] == "file_quota_exceeded"


@pytest.mark.parametrize("file_id", ["file_0123456789abcdef", "..", "a%2f..%2fb", "file_'--"])
def test_an_unknown_file_cannot_be_deleted(bench: Bench, file_id: str) -> None:
    assert bench.call("DELETE", f"/api/v1/files/{file_id}").status_code == 404


def test_the_next_upload_removes_an_expired_result(bench: Bench) -> None:
    value = bench.upload().get_json()["data"]
    bench.finished(body={"video_urls": [value["file_url"]]})
    assert len(list(bench.folder.glob("results/*"))) == 1
    bench.clock.advance(90_000)

    bench.upload()

    assert list(bench.folder.glob("results/*")) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no file modes")
def test_all_files_are_private_to_the_user(bench: Bench) -> None:
    value = bench.upload().get_json()["data"]
    bench.finished(body={"video_urls": [value["file_url"]]})

    modes = {path.name: path.stat().st_mode & 0o777 for path in bench.folder.rglob("*")}

    assert bench.folder.stat().st_mode & 0o777 == 0o700
    assert {mode for name, mode in modes.items() if name in {"uploads", "results"}} == {0o700}
    assert {mode for name, mode in modes.items() if name not in {"uploads", "results"}} == {0o600}
