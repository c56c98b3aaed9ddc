"""What tells an MP4 from an error page, and a whole one from one that was cut.

Boxes: ISO/IEC 14496-12, 4.2.
"""

from collections.abc import Callable
from typing import Final

HEAD_BYTES: Final = 8
"""How many bytes `is_mp4` needs to see."""

_BOX_HEADER_BYTES: Final = 8
_LARGE_BOX_HEADER_BYTES: Final = 16
_LONGEST_FTYP_BYTES: Final = 64 * 1024
_REST_OF_FILE: Final = 0
_LARGE_SIZE_FOLLOWS: Final = 1


def is_mp4(head: bytes) -> bool:
    """Return whether a file that begins like this may be an MP4: its first box is `ftyp`."""
    size_bytes = int.from_bytes(head[:4], "big")
    return head[4:8] == b"ftyp" and _BOX_HEADER_BYTES <= size_bytes <= _LONGEST_FTYP_BYTES


def is_whole_mp4(read_at: Callable[[int, int], bytes], size_bytes: int) -> bool:
    """Return whether the boxes of a file add up to its size, with an index and media among them.

    Args:
        read_at: Returns so many bytes from an offset.
        size_bytes: The size of the file.
    """
    offset = 0
    seen: set[bytes] = set()
    while offset < size_bytes:
        header = read_at(offset, _LARGE_BOX_HEADER_BYTES)
        if len(header) < _BOX_HEADER_BYTES:
            return False
        seen.add(header[4:8])
        box_bytes, shortest_bytes = int.from_bytes(header[:4], "big"), _BOX_HEADER_BYTES
        if box_bytes == _REST_OF_FILE:
            break
        if box_bytes == _LARGE_SIZE_FOLLOWS:
            box_bytes, shortest_bytes = int.from_bytes(header[8:], "big"), _LARGE_BOX_HEADER_BYTES
        offset += box_bytes
        if box_bytes < shortest_bytes or offset > size_bytes:
            return False
    return {b"moov", b"mdat"} <= seen


def described(head: bytes, content_type: str) -> str:
    """Return what a body that is no MP4 seems to be, for a message."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"<?xml"):
        return "XML"
    if text.startswith(b"<"):
        return "an XML or HTML page"
    if text.startswith((b"{", b"[")):
        return "JSON"
    if not head:
        return "nothing"
    return content_type.partition(";")[0].strip()[:60] or "something else"
