"""Clips on disk: the bundled result, uploads, and the results that were uploads."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import shutil
import time
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import urlsplit

from omniedit.sandbox.addresses import loopback_address

if TYPE_CHECKING:
    from collections.abc import Iterable

BUNDLED_CLIP = Path(__file__).with_name("sandbox.mp4")
_ABANDONED_AFTER_S = 3600.0
_HEAD_BYTES = 16
_UPLOAD_PATH = re.compile(r"/files/(file_[0-9a-f]{16})/[^/]*")


class Part:
    """A file on its way in: written and digested chunk by chunk, kept or dropped as a whole."""

    def __init__(self, path: Path) -> None:
        """Create the file, for this user alone."""
        self.path = path
        self.size_bytes = 0
        self._digest = hashlib.sha256()
        self._file: IO[bytes] = os.fdopen(
            os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), 0o600),
            "wb",
        )
        self.head = b""

    @property
    def sha256(self) -> str:
        """Return the digest of what was written so far."""
        return self._digest.hexdigest()

    def write(self, chunk: bytes | bytearray) -> int:
        """Append one chunk."""
        if len(self.head) < _HEAD_BYTES:
            self.head += bytes(chunk[:_HEAD_BYTES])
        self._digest.update(chunk)
        self.size_bytes += len(chunk)
        return self._file.write(chunk)

    def seek(self, offset: int) -> int:
        """Do nothing: form parsers rewind what they have written, and nobody reads this."""
        return offset

    def close(self) -> None:
        """Close the file and, unless it was kept, remove it."""
        self._file.close()
        with contextlib.suppress(OSError):
            self.path.unlink()

    def keep(self, path: Path) -> None:
        """Give the finished file its final place."""
        self._file.close()
        self.path.replace(path)


class Clips:
    """The files under one sandbox folder; every name is made here, none comes from outside."""

    def __init__(self, folder: Path) -> None:
        """Take the folder; its sub-folders are made when something is stored."""
        self._uploads = folder / "uploads"
        self._results = folder / "results"

    @cached_property
    def bundled_etag(self) -> str:
        """Return the digest of the bundled clip."""
        return hashlib.sha256(BUNDLED_CLIP.read_bytes()).hexdigest()

    def new_part(self) -> Part:
        """Return an empty file for an upload."""
        self._uploads.mkdir(mode=0o700, exist_ok=True)
        return Part(self._uploads / f"{secrets.token_hex(8)}.part")

    def upload_path(self, file_id: str) -> Path:
        """Return where an upload stands."""
        return self._uploads / f"{file_id}.clip"

    def result_path(self, task_id: str, *, is_bundled: bool) -> Path:
        """Return where a task's result stands."""
        return BUNDLED_CLIP if is_bundled else self._results / f"{task_id}.mp4"

    def keep_result(self, task_id: str, file_id: str) -> bool:
        """Make an upload a task's result, which outlives the upload; return whether it could."""
        self._results.mkdir(mode=0o700, exist_ok=True)
        source, target = self.upload_path(file_id), self._results / f"{task_id}.mp4"
        try:
            os.link(source, target)
        except FileNotFoundError:
            return False
        except OSError:
            # Not every file system has links.
            shutil.copyfile(source, target)
        return True

    def remove(self, *, file_ids: Iterable[str] = (), task_ids: Iterable[str] = ()) -> None:
        """Remove uploads and results; what is in use or gone already is passed over."""
        paths = [self.upload_path(file_id) for file_id in file_ids]
        paths += [self.result_path(task_id, is_bundled=False) for task_id in task_ids]
        for path in paths:
            with contextlib.suppress(OSError):
                path.unlink()

    def remove_abandoned(self) -> None:
        """Remove what uploads left behind whose process was killed."""
        # File times are the real clock's, whatever clock the tasks follow.
        oldest = time.time() - _ABANDONED_AFTER_S
        for path in self._uploads.glob("*.part"):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < oldest:
                    path.unlink()

    def clear(self) -> None:
        """Remove every upload and result, but not an upload on its way in."""
        self.remove_abandoned()
        for path in [*self._uploads.glob("*.clip"), *self._results.glob("*.mp4")]:
            with contextlib.suppress(OSError):
                path.unlink()


def is_mp4(head: bytes) -> bool:
    """Return whether a file that begins like this is an MP4 or MOV."""
    return head[4:8] == b"ftyp"


def mime_type(head: bytes) -> str | None:
    """Return the type of a video that begins like this, or None when it is no video."""
    if is_mp4(head):
        return "video/quicktime" if head[8:12] == b"qt  " else "video/mp4"
    return "video/webm" if head.startswith(b"\x1a\x45\xdf\xa3") else None


def uploaded_file_id(url: str) -> str | None:
    """Return the ID of the upload that `url` names, on whichever port it was, or None."""
    parts = urlsplit(url)
    found = _UPLOAD_PATH.fullmatch(parts.path)
    return found[1] if found and loopback_address(parts.hostname or "") else None
