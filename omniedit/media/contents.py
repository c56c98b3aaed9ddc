"""What a file is by its own bytes: what it begins with, and the boxes of an MP4."""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

HEAD_BYTES: Final = 4096


class Readable(Protocol):
    """A file, as far as it is needed here."""

    def read(self, size: int, /) -> bytes:
        """Return bytes, none at the end."""
        ...

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move, and return the position."""
        ...

    def tell(self) -> int:
        """Return the position."""
        ...


# First bytes, and what they tell; none of these is a video with sound and pictures.
_MAGIC: Final = (
    (rb"\xff\xd8\xff", "a JPEG image"),
    (rb"\x89PNG\r\n\x1a\n", "a PNG image"),
    (rb"GIF8[79]a", "a GIF image"),
    (rb"RIFF....WEBP", "a WebP image"),
    (rb"BM.{4}\0{4}", "a BMP image"),
    (rb"II\*\0|MM\0\*", "a TIFF image"),
    (rb"....ftyp(?:heic|heix|heim|heis|mif1|msf1|avif|avis)", "a still picture"),
    (rb"....ftypM4[AB] ", "sound without pictures"),
    (
        rb"ID3|fLaC|OggS\0.{25}(?:\x01vorbis|OpusHead)|RIFF....WAVE|FORM....AIF",
        "sound without pictures",
    ),
    (rb"%PDF-", "a PDF document"),
    (rb"PK\x03\x04", "a ZIP archive"),
    (rb"\x1f\x8b", "a gzip archive"),
)
# Scripts and playlists make FFmpeg open other files, which would then be uploaded.
_TEXTS: Final = (
    (rb"ffconcat version", "an ffconcat script, which names other files"),
    (rb"#EXTM3U", "an HLS playlist, which names other files"),
    (rb"<MPD|<\?xml[^>]*>\s*(?:<!--.*?-->\s*)?<MPD", "a DASH manifest, which names other files"),
    (rb"<smil|<asx|\[playlist\]", "a playlist, which names other files"),
    (rb"v=0\r?\n", "an SDP description, which names other sources"),
    (rb"<!doctype html|<html|<\?xml|<", "an HTML or XML page"),
)
_BOX_HEADER: Final = struct.Struct(">I4s")
_LARGE_SIZE: Final = struct.Struct(">Q")
_REST_OF_FILE: Final = 0
_LARGE_SIZE_FOLLOWS: Final = 1
_FIRST_BOXES: Final = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})
# The first entry of a list of places: its type, and the last byte of its flags.
_REFERENCE: Final = re.compile(rb"dref.{12}(?:alis|rsrc|url |urn ).{3}(.)", re.DOTALL)
_SELF_CONTAINED: Final = 1
_LONGEST_INDEX: Final = 16 * 1024 * 1024
_MOST_BOXES: Final = 100_000


def unsuitable(head: bytes) -> str | None:
    """Return what a file certainly is that begins like this and is no video; None otherwise."""
    for pattern, found in _MAGIC:
        if re.match(pattern, head, re.DOTALL):
            return found
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for pattern, found in _TEXTS:
        if re.match(pattern, text, re.DOTALL | re.IGNORECASE):
            return found
    return "text" if _is_text(head) else None


def container_of(format_names: str, head: bytes) -> str:
    """Return the container's name, from FFmpeg's names of it and the file's first bytes."""
    names = format_names.split(",")
    if "mp4" in names:
        if head[4:8] != b"ftyp" or head[8:12] == b"qt  ":
            return "mov"
        return "3gp" if head[8:11] in {b"3gp", b"3g2"} else "mp4"
    if "matroska" in names:
        # The DocType stands in the EBML header.
        return "webm" if b"webm" in head[:64] else "matroska"
    return names[0]


def is_boxed(head: bytes) -> bool:
    """Return whether a file that begins like this is made of boxes, as MP4 and MOV are."""
    return head[4:8] in _FIRST_BOXES


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A box at the top of an MP4 (ISO/IEC 14496-12, 4.2)."""

    kind: bytes
    offset: int
    end: int


def top_boxes(file: Readable, size_bytes: int) -> Iterator[Box]:
    """Yield the boxes of an MP4 or MOV; the last one may end beyond the file, which was cut then."""
    offset = 0
    for _ in range(_MOST_BOXES):
        file.seek(offset)
        header = read_exactly(file, _BOX_HEADER.size)
        if len(header) < _BOX_HEADER.size:
            return
        length, kind = _BOX_HEADER.unpack(header)
        if length == _LARGE_SIZE_FOLLOWS:
            large = read_exactly(file, _LARGE_SIZE.size)
            if len(large) < _LARGE_SIZE.size:
                return
            (length,) = _LARGE_SIZE.unpack(large)
        end = size_bytes if length == _REST_OF_FILE else offset + length
        yield Box(kind=kind, offset=offset, end=end)
        # Beyond the end there is nothing, and no system goes as far as 64 bits reach.
        if not offset + _BOX_HEADER.size <= end <= size_bytes:
            return
        offset = end


def index_of(file: Readable, size_bytes: int) -> bytes:
    """Return the index of an MP4 or MOV (its `moov` box); nothing where there is none."""
    for box in top_boxes(file, size_bytes):
        if box.kind == b"moov":
            file.seek(box.offset)
            return read_exactly(file, min(box.end - box.offset, _LONGEST_INDEX))
    return b""


def is_fragmented(index: bytes) -> bool:
    """Return whether an index leaves the pictures to be listed further on, piece by piece."""
    return b"mvex" in index


def is_encrypted(index: bytes) -> bool:
    """Return whether an index tells of protected pictures (ISO/IEC 14496-12, 8.12; Apple's before)."""
    return b"sinf" in index and (b"encv" in index or b"drmi" in index)


def refers_to_others(index: bytes) -> bool:
    """Return whether an index leaves pictures or sound to other files (ISO/IEC 14496-12, 8.7.2)."""
    return any(not found[1][0] & _SELF_CONTAINED for found in _REFERENCE.finditer(index))


def read_exactly(file: Readable, size: int) -> bytes:
    """Return so many bytes, fewer only at the end of the file."""
    parts = bytearray()
    while len(parts) < size and (part := file.read(size - len(parts))):
        parts += part
    return bytes(parts)


def _is_text(head: bytes) -> bool:
    """Return whether these bytes are text without any control character that text has not."""
    if not head or re.search(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]", head):
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        # The last character may have been cut.
        return error.start > len(head) - 4
    return True
