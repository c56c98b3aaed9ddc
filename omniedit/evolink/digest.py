"""What a local clip holds: a look at its first bytes, and its digest."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from omniedit.errors import InvalidInputError, LocalError
from omniedit.models import MAX_UPLOAD_BYTES
from omniedit.system.files import open_file

HOST_IT: Final = "host the clip yourself, and give its public URL instead of the file"
_CONVERT: Final = (
    "`python -m pip install 'omniedit[media]'` adds conversion; `--no-check` sends it as it is"
)
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
    with open_file(path) as file:
        size_bytes = os.fstat(file.fileno()).st_size
        if size_bytes == 0:
            msg = f"{path} is empty"
            raise InvalidInputError(msg, code="invalid_clip", hint="copy or export it once more")
        if check:
            _check_clip(path, file.read(12), size_bytes)
            file.seek(0)
        try:
            digest = hashlib.file_digest(file, "sha256")
        except OSError as error:
            raise unreadable(path, error) from error
        return ClipDigest(sha256=digest.hexdigest(), size_bytes=file.tell())


def check_size(size_bytes: int, *, name: str, hint: str = HOST_IT) -> None:
    """Refuse what the file service would not take.

    Args:
        size_bytes: How large it is.
        name: For the message.
        hint: What to do instead.

    Raises:
        InvalidInputError: It is too large.
    """
    if size_bytes > MAX_UPLOAD_BYTES:
        msg = (
            f"{name} is larger than {MAX_UPLOAD_BYTES // 1024**2} MiB, which the file service takes"
        )
        raise InvalidInputError(msg, code="clip_too_large", hint=hint)


def _check_clip(path: Path, head: bytes, size_bytes: int) -> None:
    check_size(size_bytes, name=str(path))
    found = _OTHER_BRANDS.get(head[8:12]) if head[4:8] == b"ftyp" else "not an MP4"
    if found:
        msg = f"{path} is {found}" + ("" if found == "not an MP4" else ", not an MP4")
        raise InvalidInputError(msg, code="not_an_mp4", hint=_CONVERT)


def unreadable(path: Path, error: OSError) -> LocalError:
    """Return the error of a disk that fails while a clip is read."""
    return LocalError(f"cannot read {path}: {error.strerror or error}")


def changed(path: Path) -> LocalError:
    """Return the error of a clip that is not what it was when it was looked at."""
    msg = f"{path} changed after it was looked at"
    hint = "run the same command again once nothing writes to it any more"
    return LocalError(msg, code="clip_changed", hint=hint)
