"""Recognise a file by its bytes, and check that it is complete."""

import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from omniedit.errors import InvalidInputError
from omniedit.media.facts import C2PA
from omniedit.system.mp4 import ReadAt, boxes

CLIP_HINT: Final = (
    "a clip is a file with video: MP4, MOV, WebM, Matroska, AVI, MPEG, FLV, OGV, WMV, GIF"
)
"""The hint for a file that is not a clip."""
EXPORT_AGAIN: Final = "copy or export it again"
"""The hint for a damaged file."""

_HEAD_BYTES: Final = 4096

# First bytes of files that cannot be videos.
_MAGIC: Final = (
    (rb"\xff\xd8\xff", "a JPEG image"),
    (rb"\x89PNG\r\n\x1a\n", "a PNG image"),
    (rb"RIFF....WEBP", "a WebP image"),
    (rb"BM.{4}\0{4}", "a BMP image"),
    (rb"II\*\0|MM\0\*", "a TIFF image"),
    (rb"....ftyp(?:heic|heix|heim|heis|mif1|msf1|avif|avis)", "a still image"),
    (rb"....ftypM4[AB] |ID3|fLaC|RIFF....WAVE|FORM....AIF", "audio without video"),
    (rb"OggS\0.{25}(?:\x01vorbis|OpusHead)", "audio without video"),
    (rb"%PDF-", "a PDF document"),
    (rb"PK\x03\x04", "a ZIP archive"),
    (rb"\x1f\x8b", "a gzip archive"),
)
# Scripts and playlists make FFmpeg open other files, which would then be uploaded.
_TEXTS: Final = (
    (rb"ffconcat version", "an ffconcat script, which names other files"),
    (rb"#EXTM3U", "an HLS playlist, which names other files"),
    (rb"<MPD|<\?xml[^>]*>\s*(?:<!--.*?-->\s*)?<MPD", "a DASH manifest, which names other files"),
    (rb"<smil|<asx|\[(?:playlist|Reference)\]|ASF http", "a playlist, which names other files"),
    (rb"v=0\r?\n", "an SDP description, which names other sources"),
    (rb"<!doctype html|<html|<\?xml|<", "an HTML or XML page"),
)
_FIRST_BOXES: Final = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})
# The top-level boxes in which an MP4 that was cut off may end.
_TOP_BOXES: Final = frozenset(
    {b"moov", b"mdat", b"moof", b"mfra", b"sidx", b"styp", b"free", b"skip", b"wide", b"uuid"}
)
# The first entry of a data reference box: its type, and the last byte of its flags.
_REFERENCE: Final = re.compile(rb"dref.{12}(?:alis|rsrc|url |urn ).{3}(.)", re.DOTALL)
_SELF_CONTAINED: Final = 1
_ALWAYS_ALLOWED_BYTES: Final = 1_000_000
# The size of every frame, or 0 if each has its own, and the number of frames.
_FRAME_SIZES: Final = re.compile(rb"stsz.{4}(.{4})(.{4})", re.DOTALL)
_LONGEST_INDEX: Final = 16 * 1024 * 1024
# Version, flags and two times; the timescale; the length (ISO/IEC 14496-12, 8.2.2).
_MOVIE_HEADER: Final = re.compile(
    rb"mvhd(?:\x01.{19}(.{4})(.{8})|[^\x01].{11}(.{4})(.{4}))", re.DOTALL
)
_UNKNOWN_LENGTHS: Final = frozenset({0, 0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF})
_C2PA_ID: Final = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
_START_CODE: Final = re.compile(rb"\x00\x00\x01(.)", re.DOTALL)
_IDR: Final = 5
_IRAP: Final = range(16, 24)
_EBML: Final = b"\x1a\x45\xdf\xa3"
_SEGMENT: Final = 0x18538067
_CLUSTER: Final = 0x1F43B675
_LONGEST_HEADER: Final = 12
_MOST_ELEMENTS: Final = 1_000_000
_RIFF_HEADER: Final = struct.Struct("<4sI4s")
_RIFF_FORMS: Final = frozenset({b"AVI ", b"AVIX"})
# Some writers include the header in the size, and some never fill it in.
_RIFF_SLACK: Final = 8
_RIFF_UNKNOWN: Final = frozenset({0, 0xFFFFFFFF})


class Readable(Protocol):
    """A seekable binary file."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes; none at the end of the file."""
        ...

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move, and return the new position."""
        ...

    def tell(self) -> int:
        """Return the position."""
        ...


def reader_of(file: Readable) -> ReadAt:
    """Return a function that reads from an offset, fewer bytes only at the end of the file."""

    def read_at(offset: int, size: int) -> bytes:
        file.seek(offset)
        content = bytearray()
        while len(content) < size and (chunk := file.read(size - len(content))):
            content += chunk
        return bytes(content)

    return read_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognised:
    """A file that may be a clip, as far as its own bytes tell."""

    head: bytes
    """The first bytes."""
    size_bytes: int
    index: bytes
    """The index (`moov` box) of an MP4 or MOV; empty if there is none."""
    marks: tuple[str, ...]
    """Marks of origin: `c2pa` if an MP4 or MOV carries a C2PA manifest."""

    @property
    def is_fragmented(self) -> bool:
        """Whether it is a fragmented MP4: later boxes, not the index, list its frames."""
        return b"mvex" in self.index

    @property
    def is_encrypted(self) -> bool:
        """Whether the index lists encrypted streams (ISO/IEC 14496-12, 8.12, or Apple's DRM)."""
        return b"sinf" in self.index and (b"encv" in self.index or b"drmi" in self.index)

    @property
    def has_external_data(self) -> bool:
        """Whether the index refers to other files for its streams (ISO/IEC 14496-12, 8.7.2)."""
        return any(not found[1][0] & _SELF_CONTAINED for found in _REFERENCE.finditer(self.index))

    @property
    def lists_too_many_frames(self) -> bool:
        """Whether the index lists far more frames of one size than the file could hold.

        FFmpeg would reserve memory for each of them (ISO/IEC 14496-12, 8.7.3.2). Old QuickTime
        files count samples of compressed audio as a byte each, which is up to six times as many.
        """
        most_bytes = max(8 * self.size_bytes, _ALWAYS_ALLOWED_BYTES)
        listed = _FRAME_SIZES.findall(self.index)
        sizes = (int.from_bytes(size) * int.from_bytes(count) for size, count in listed)
        return max(sizes, default=0) > most_bytes and not self.has_external_data

    @property
    def stated_length_s(self) -> float | None:
        """The length of the whole file as the index states it; None if it does not."""
        found = None if self.is_fragmented else _MOVIE_HEADER.search(self.index)
        if found is None:
            return None
        timescale, length = (int.from_bytes(field) for field in found.groups() if field is not None)
        is_known = timescale and length not in _UNKNOWN_LENGTHS
        return length / timescale if is_known else None


def recognise(file: Readable, *, name: str, reads_all: bool) -> Recognised:
    """Read what a file's own bytes tell, without FFmpeg; the file is left at its beginning.

    Args:
        reads_all: Check that the file is whole, and look for marks beyond the frames.

    Raises:
        InvalidInputError: If it is empty, certainly not a video, cut off, encrypted, or a bomb.
    """
    read_at = reader_of(file)
    head = read_at(0, _HEAD_BYTES)
    _refuse_non_video(head, name=name)
    size_bytes = file.seek(0, os.SEEK_END)
    if reads_all:
        check_is_whole(read_at, name=name, size_bytes=size_bytes)
    index = b""
    marks: tuple[str, ...] = ()
    if _is_boxed(head):
        index = _index_of(read_at, size_bytes)
        marks = _marks_of(read_at, size_bytes, reads_all=reads_all)
    recognised = Recognised(head=head, size_bytes=size_bytes, index=index, marks=marks)
    if recognised.lists_too_many_frames:
        msg = f"{name} is damaged: its index lists more frames than it has bytes"
        raise InvalidInputError(msg, code="damaged_clip", hint=EXPORT_AGAIN)
    if recognised.is_encrypted:
        msg = f"{name} is encrypted"
        hint = "only a copy without DRM can be edited"
        raise InvalidInputError(msg, code="encrypted_clip", hint=hint)
    file.seek(0)
    return recognised


def describe_non_video(head: bytes) -> str | None:
    """Describe a file that cannot be a video, by its first bytes; None if it may be one."""
    for pattern, found in _MAGIC:
        if re.match(pattern, head, re.DOTALL):
            return found
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for pattern, found in _TEXTS:
        if re.match(pattern, text, re.DOTALL | re.IGNORECASE):
            return found
    return "text" if _is_text(head) else None


def container_of(format_names: str, head: bytes) -> str:
    """Return the container's name, from FFmpeg's names for it and the file's first bytes."""
    names = format_names.split(",")
    if "mp4" in names:
        if head[4:8] != b"ftyp" or head[8:12] == b"qt  ":
            return "mov"
        return "3gp" if head[8:11] in {b"3gp", b"3g2"} else "mp4"
    if "matroska" in names:
        # The DocType is part of the EBML header.
        return "webm" if b"webm" in head[:64] else "matroska"
    return names[0]


def is_random_access(codec: str, extradata: bytes, packet: bytes) -> bool:
    """Return whether decoding can begin at a packet that its container calls a keyframe.

    Streams with intra refresh flag recovery points as keyframes, although the picture is complete
    only many frames later. H.264 can be decoded from an IDR frame, H.265 from an IRAP frame.
    """
    if codec == "h264":
        return any(unit[0] & 0x1F == _IDR for unit in _units(extradata, packet, size_at=4))
    if codec == "hevc":
        return any(unit[0] >> 1 & 0x3F in _IRAP for unit in _units(extradata, packet, size_at=21))
    return True


def check_is_whole(read_at: ReadAt, *, name: str, size_bytes: int) -> None:
    """Refuse a file that was cut off, if its format states its length.

    A transport stream states none: it is made to be cut anywhere, even by a power failure.

    Raises:
        InvalidInputError: If the end or the index of the file is missing.
    """
    head = read_at(0, _LONGEST_HEADER)
    end = 0
    if _is_boxed(head):
        end = _end_of_boxes(read_at, name=name, size_bytes=size_bytes)
    elif head.startswith(_EBML):
        end = _end_of_elements(read_at, size_bytes)
    elif head.startswith(b"RIFF"):
        end = _end_of_chunks(read_at, size_bytes)
    if end > size_bytes:
        msg = f"{name} is cut off: {size_bytes} of at least {end} bytes are present"
        raise InvalidInputError(msg, code="damaged_clip", hint=EXPORT_AGAIN)


def _refuse_non_video(head: bytes, *, name: str) -> None:
    if not head:
        msg = f"{name} is empty"
        raise InvalidInputError(msg, code="invalid_clip", hint=EXPORT_AGAIN)
    found = describe_non_video(head)
    if found is not None:
        msg = f"{name} is {found}, not a video"
        raise InvalidInputError(msg, code="not_a_video", hint=CLIP_HINT)


def _marks_of(read_at: ReadAt, size_bytes: int, *, reads_all: bool) -> tuple[str, ...]:
    for box in boxes(read_at, size_bytes):
        if box.kind == b"mdat" and not reads_all:
            break
        if box.kind == b"uuid" and read_at(box.content, len(_C2PA_ID)) == _C2PA_ID:
            return (C2PA,)
    return ()


def _index_of(read_at: ReadAt, size_bytes: int) -> bytes:
    for box in boxes(read_at, size_bytes):
        if box.kind == b"moov":
            return read_at(box.offset, min(box.end - box.offset, _LONGEST_INDEX))
    return b""


def _is_boxed(head: bytes) -> bool:
    """Return whether a file with these first bytes is made of boxes, as MP4 and MOV are."""
    return head[4:8] in _FIRST_BOXES


def _units(extradata: bytes, packet: bytes, *, size_at: int) -> Iterator[bytes]:
    """Yield the first byte of each NAL unit in a packet (ISO/IEC 14496-15; H.264, annex B)."""
    if extradata[:1] != b"\1":
        yield from (found[1] for found in _START_CODE.finditer(packet))
        return
    size_bytes = (extradata[size_at] & 3) + 1 if len(extradata) > size_at else 4
    offset = 0
    while offset + size_bytes < len(packet):
        yield packet[offset + size_bytes : offset + size_bytes + 1]
        offset += size_bytes + int.from_bytes(packet[offset : offset + size_bytes])


def _end_of_boxes(read_at: ReadAt, *, name: str, size_bytes: int) -> int:
    """Return where the last box of an MP4 or MOV ends; refuse a file without an index."""
    kinds: set[bytes] = set()
    end = 0
    for box in boxes(read_at, size_bytes):
        if box.end > size_bytes and b"moov" in kinds and box.kind not in _TOP_BOXES:
            # Not a box, but bytes that a camera or a copy left after the end.
            break
        kinds.add(box.kind)
        end = box.end
    if b"moov" not in kinds and end <= size_bytes:
        msg = f"{name} is cut off or was never finished: its index is missing"
        raise InvalidInputError(msg, code="damaged_clip", hint=EXPORT_AGAIN)
    return end


def _end_of_elements(read_at: ReadAt, size_bytes: int) -> int:
    """Return where the last element of a Matroska file ends (RFC 8794, 6)."""
    offset = 0
    for _ in range(_MOST_ELEMENTS):
        if offset >= size_bytes:
            break
        element = _element(read_at(offset, _LONGEST_HEADER))
        if element is None:
            # Fewer bytes than a header are a cut-off element: claim one byte more than the file has.
            # More are junk after the end.
            is_cut_off = size_bytes - offset < _LONGEST_HEADER
            return size_bytes + 1 if is_cut_off else size_bytes
        kind, header_bytes, length = element
        if length is not None:
            offset += header_bytes + length
            if kind == _SEGMENT:
                break
        elif kind in {_SEGMENT, _CLUSTER}:
            # Written live, with an unknown length: its content follows.
            offset += header_bytes
        else:
            break
    return offset


def _element(header: bytes) -> tuple[int, int, int | None] | None:
    """Return an element's ID, the size of its header, and the size of its content if known."""
    kind_bytes = _width(header[:1])
    length_bytes = _width(header[kind_bytes : kind_bytes + 1])
    header_bytes = kind_bytes + length_bytes
    if not kind_bytes or not length_bytes or header_bytes > len(header):
        return None
    value_bits = 7 * length_bytes
    length = int.from_bytes(header[kind_bytes:header_bytes]) & ((1 << value_bits) - 1)
    is_unknown = length == (1 << value_bits) - 1
    return int.from_bytes(header[:kind_bytes]), header_bytes, None if is_unknown else length


def _width(first: bytes) -> int:
    """Return how many bytes a number takes: its first byte's leading zero bits, plus one."""
    return 9 - first[0].bit_length() if first and first[0] else 0


def _end_of_chunks(read_at: ReadAt, size_bytes: int) -> int:
    """Return where the last RIFF chunk of an AVI ends; a long file has several."""
    offset = end = 0
    while offset + _RIFF_HEADER.size <= size_bytes:
        tag, length, form = _RIFF_HEADER.unpack(read_at(offset, _RIFF_HEADER.size))
        if tag != b"RIFF" or form not in _RIFF_FORMS or length in _RIFF_UNKNOWN:
            break
        offset += 8 + length
        is_within_slack = offset - size_bytes <= _RIFF_SLACK
        end = max(end, min(offset, size_bytes) if is_within_slack else offset)
        offset += offset & 1
    return end


def _is_text(head: bytes) -> bool:
    """Return whether bytes are text: UTF-8 without control characters."""
    if not head or re.search(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]", head):
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        # The last character may be cut.
        return error.start > len(head) - 4
    return True
