"""The boxes that MP4 and MOV files are made of (ISO/IEC 14496-12, 4.2)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

ReadAt: TypeAlias = Callable[[int, int], bytes]
"""Returns bytes from an offset, up to a number of them; fewer at the end of the file."""

MP4_HEAD_BYTES: Final = 8
"""The number of bytes that `is_mp4` needs."""

_HEADER_BYTES: Final = 8
_LARGE_HEADER_BYTES: Final = 16
_REST_OF_FILE: Final = 0
_LARGE_SIZE_FOLLOWS: Final = 1
_MOST_BOXES: Final = 100_000
_LONGEST_FTYP_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """One box: its four-letter type, and the offsets of its header, its content and its end."""

    kind: bytes
    offset: int
    content: int
    end: int


def boxes(read_at: ReadAt, end: int) -> Iterator[Box]:
    """Yield the boxes of a file of `end` bytes, without the boxes inside them.

    If the file is cut off or damaged, the last box may end beyond `end` or before its content.
    """
    offset = 0
    for _ in range(_MOST_BOXES):
        header = read_at(offset, _LARGE_HEADER_BYTES)
        if len(header) < _HEADER_BYTES:
            return
        size_bytes, header_bytes = int.from_bytes(header[:4]), _HEADER_BYTES
        if size_bytes == _LARGE_SIZE_FOLLOWS:
            if len(header) < _LARGE_HEADER_BYTES:
                return
            size_bytes, header_bytes = int.from_bytes(header[8:]), _LARGE_HEADER_BYTES
        box_end = end if size_bytes == _REST_OF_FILE else offset + size_bytes
        content = offset + header_bytes
        yield Box(kind=header[4:8], offset=offset, content=content, end=box_end)
        # A 64-bit size may exceed the largest seekable offset: never read beyond the end.
        if not content <= box_end < end:
            return
        offset = box_end


def is_mp4(head: bytes) -> bool:
    """Return whether a file that begins like this may be an MP4: its first box is `ftyp`."""
    size_bytes = int.from_bytes(head[:4])
    return head[4:8] == b"ftyp" and _HEADER_BYTES <= size_bytes <= _LONGEST_FTYP_BYTES


def is_whole_mp4(read_at: ReadAt, size_bytes: int) -> bool:
    """Return whether a file of this size consists of complete boxes, with an index and media.

    Fewer bytes than a box header may follow the last box.
    """
    end = 0
    seen: set[bytes] = set()
    for box in boxes(read_at, size_bytes):
        if box.end < box.content:
            return False
        seen.add(box.kind)
        end = box.end
    return 0 <= size_bytes - end < _HEADER_BYTES and {b"moov", b"mdat"} <= seen
