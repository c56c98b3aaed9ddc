"""A file on its way as a form: the bytes around it, and its own, read as they are sent."""

import hashlib
import os
import re
from collections.abc import Callable, Generator
from io import BufferedReader
from pathlib import Path
from typing import Final

from omniedit.evolink.digest import ClipDigest, changed, unreadable

_BLOCK_BYTES: Final = 256 * 1024
_LONGEST_NAME: Final = 100
_CONTENT_TYPES: Final = {".mp4": "video/mp4", ".mov": "video/quicktime", ".webm": "video/webm"}


class Framing:
    """The bytes around the one file of a form (RFC 7578).

    Args:
        name: Of the file, reduced to letters, digits and `-_.`.
    """

    def __init__(self, name: str) -> None:
        boundary = os.urandom(16).hex()
        name = _safe_name(name)
        content_type = _CONTENT_TYPES.get(Path(name).suffix.lower(), "application/octet-stream")
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self.head = (
            f"--{boundary}\r\n"
            f'Content-Disposition: form-data; name="file"; filename="{name}"\r\n'
            f"Content-Type: {content_type}\r\n\r\n"
        ).encode("ascii")
        self.tail = f"\r\n--{boundary}--\r\n".encode("ascii")


def form_body(
    file: BufferedReader,
    path: Path,
    framing: Framing,
    *,
    expected: ClipDigest | None,
    on_progress: Callable[[int, int | None], None],
) -> Generator[bytes]:
    """Yield a form; it stays without its end where the file is not what it was.

    Raises:
        LocalError: It changed meanwhile, or the disk fails.
    """
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
        raise changed(path)
    yield framing.tail


def _read(file: BufferedReader, path: Path) -> bytes:
    try:
        return file.read(_BLOCK_BYTES)
    except OSError as error:
        raise unreadable(path, error) from error


def _safe_name(name: str) -> str:
    """Return a file name that needs no quoting anywhere."""
    parts = re.split(r"[/\\]", name)[-1].rpartition(".")
    # Without a dot, or with the first one at the start, there is no suffix.
    stem, suffix = (parts[0], parts[2]) if parts[0] else (parts[2], "")
    stem, suffix = (re.sub(r"[^A-Za-z0-9_-]+", "_", part).strip("_-") for part in (stem, suffix))
    return f"{stem[:_LONGEST_NAME] or 'clip'}.{suffix[:10] or 'mp4'}"
