"""Whole MP4s, and those that were cut."""

import pytest

from omniedit.downloads.mp4 import is_whole_mp4


def box(kind: bytes, content: bytes = b"") -> bytes:
    return (8 + len(content)).to_bytes(4, "big") + kind + content


FTYP, MOOV, MDAT = box(b"ftyp", b"mp42"), box(b"moov", b"index"), box(b"mdat", b"frames")
LARGE = (1).to_bytes(4, "big") + b"mdat" + (22).to_bytes(8, "big") + b"frames"
OPEN = (0).to_bytes(4, "big") + b"mdat" + b"frames to the end"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(FTYP + MOOV + MDAT, True, id="index-first"),
        pytest.param(FTYP + MDAT + MOOV, True, id="index-last"),
        pytest.param(FTYP + LARGE + MOOV, True, id="size-of-64-bits"),
        pytest.param(FTYP + MOOV + OPEN, True, id="last-box-to-the-end"),
        pytest.param(FTYP + MOOV + MDAT[:-1], False, id="cut-in-the-media"),
        pytest.param(FTYP + MDAT + MOOV[:-1], False, id="cut-in-the-index"),
        pytest.param(FTYP + MDAT + MOOV[:5], False, id="cut-in-a-header"),
        pytest.param(FTYP + MDAT, False, id="no-index"),
        pytest.param(FTYP + MOOV, False, id="no-media"),
        pytest.param(FTYP + LARGE[:12], False, id="cut-in-a-large-header"),
        pytest.param(FTYP + MOOV + MDAT + b"\0\0\0\x03junk", False, id="box-of-no-size"),
        pytest.param(b"", False, id="empty"),
    ],
)
def test_the_boxes_tell_whether_something_is_missing(content: bytes, *, expected: bool) -> None:
    def read_at(offset: int, size_bytes: int) -> bytes:
        return content[offset : offset + size_bytes]

    assert is_whole_mp4(read_at, len(content)) is expected
