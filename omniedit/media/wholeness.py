"""Whether all of a file is there, as far as the file itself tells how long it should be."""

import re
import struct
from collections.abc import Iterator
from typing import Final

from omniedit.errors import InvalidInputError
from omniedit.media.contents import Readable, is_boxed, read_exactly, top_boxes

ONCE_MORE: Final = "copy or export it once more"

# What a cut may go through, of all that stands at the top of an MP4.
_BOXES: Final = frozenset(
    {b"moov", b"mdat", b"moof", b"mfra", b"sidx", b"styp", b"free", b"skip", b"wide", b"uuid"}
)
_EBML: Final = b"\x1a\x45\xdf\xa3"
_SEGMENT: Final = 0x18538067
_CLUSTER: Final = 0x1F43B675
_LONGEST_HEADER: Final = 12
_MOST_ELEMENTS: Final = 1_000_000
_RIFF_HEADER: Final = struct.Struct("<4sI4s")
_RIFF_FORMS: Final = frozenset({b"AVI ", b"AVIX"})
# Some writers count the header in, and some leave the place for the size empty.
_RIFF_SLACK: Final = 8
_RIFF_UNKNOWN: Final = frozenset({0, 0xFFFFFFFF})
# The first byte of each packet of a transport stream, whose packets come in three sizes.
_SYNC: Final = re.compile(
    rb"(?P<at188>\x47.{187}\x47.{187}\x47)|(?P<at192>.{4}\x47.{191}\x47.{191}\x47)"
    rb"|(?P<at204>\x47.{203}\x47.{203}\x47)",
    re.DOTALL,
)


def check_is_whole(file: Readable, head: bytes, *, name: str, size_bytes: int) -> None:
    """Refuse a file that was cut off.

    Args:
        file: Seekable; at its beginning afterwards.
        head: Its first bytes.
        name: For the message.
        size_bytes: How long it is.

    Raises:
        InvalidInputError: Its end, or its index, is missing.
    """
    end: int | None = None
    if is_boxed(head):
        end = _end_of_boxes(file, name=name, size_bytes=size_bytes)
    elif head.startswith(_EBML):
        end = _end_of_elements(file, size_bytes)
    elif _is_riff(head):
        end = _end_of_chunks(file, size_bytes)
    elif (found := _SYNC.match(head)) is not None and found.lastgroup is not None:
        packet_bytes = int(found.lastgroup.removeprefix("at"))
        end = -(-size_bytes // packet_bytes) * packet_bytes
    file.seek(0)
    if end is not None and end > size_bytes:
        msg = f"{name} is cut off: {size_bytes} of at least {end} bytes are there"
        raise InvalidInputError(msg, code="damaged_clip", hint=ONCE_MORE)


def _end_of_boxes(file: Readable, *, name: str, size_bytes: int) -> int:
    """Return where the last box of an MP4 or MOV ends.

    Raises:
        InvalidInputError: None of them is the index.
    """
    kinds: set[bytes] = set()
    end = 0
    for box in top_boxes(file, size_bytes):
        if box.end > size_bytes and b"moov" in kinds and box.kind not in _BOXES:
            # No box, but what a camera or a copy left behind the end.
            break
        kinds.add(box.kind)
        end = box.end
    if b"moov" not in kinds and end <= size_bytes:
        msg = f"{name} is cut off or was never finished: its index is missing"
        raise InvalidInputError(msg, code="damaged_clip", hint=ONCE_MORE)
    return end


def _end_of_elements(file: Readable, size_bytes: int) -> int:
    """Return where the last element of a Matroska file ends (RFC 8794, 6)."""
    offset = 0
    for _ in range(_MOST_ELEMENTS):
        if offset >= size_bytes:
            break
        file.seek(offset)
        element = _element(read_exactly(file, _LONGEST_HEADER))
        if element is None:
            # A file that ends in the middle of a header; anything longer is junk behind the end.
            return size_bytes + (size_bytes - offset < _LONGEST_HEADER)
        kind, header_bytes, length = element
        if length is not None:
            offset += header_bytes + length
            if kind == _SEGMENT:
                break
        elif kind in {_SEGMENT, _CLUSTER}:
            # Written live: what is in it follows, without its length.
            offset += header_bytes
        else:
            break
    return offset


def _element(header: bytes) -> tuple[int, int, int | None] | None:
    """Return an element's ID, the length of its header, and that of its content, if it is known."""
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
    """Return how many bytes a number takes: as many as zeros lead its first byte, and one more."""
    return 9 - first[0].bit_length() if first and first[0] else 0


def _is_riff(head: bytes) -> bool:
    return head[:4] == b"RIFF" and head[8:12] in _RIFF_FORMS


def _end_of_chunks(file: Readable, size_bytes: int) -> int:
    """Return where the last part of an AVI ends; a long one has several."""
    return max(_ends_of_chunks(file, size_bytes), default=0)


def _ends_of_chunks(file: Readable, size_bytes: int) -> Iterator[int]:
    offset = 0
    while offset + _RIFF_HEADER.size <= size_bytes:
        file.seek(offset)
        tag, length, form = _RIFF_HEADER.unpack(read_exactly(file, _RIFF_HEADER.size))
        if tag != b"RIFF" or form not in _RIFF_FORMS or length in _RIFF_UNKNOWN:
            return
        offset += 8 + length
        is_nearly_there = offset - size_bytes <= _RIFF_SLACK
        yield min(offset, size_bytes) if is_nearly_there else offset
        offset += offset & 1
