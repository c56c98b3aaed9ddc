"""What tells an MP4 from an error page, and a whole one from one that was cut."""

from typing import Final

from omniedit.system.mp4 import ReadAt, boxes

HEAD_BYTES: Final = 8
"""How many bytes `is_mp4` needs to see."""

_BOX_HEADER_BYTES: Final = 8
_LONGEST_FTYP_BYTES: Final = 64 * 1024


def is_mp4(head: bytes) -> bool:
    """Return whether a file that begins like this may be an MP4: its first box is `ftyp`."""
    size_bytes = int.from_bytes(head[:4], "big")
    return head[4:8] == b"ftyp" and _BOX_HEADER_BYTES <= size_bytes <= _LONGEST_FTYP_BYTES


def is_whole_mp4(read_at: ReadAt, size_bytes: int) -> bool:
    """Return whether the boxes of a file add up to its size, with an index and media among them.

    Args:
        read_at: Returns so many bytes from an offset.
        size_bytes: The size of the file.
    """
    end = 0
    seen: set[bytes] = set()
    for box in boxes(read_at, size_bytes):
        seen.add(box.kind)
        end = box.end
    return end == size_bytes and {b"moov", b"mdat"} <= seen


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
