"""The boxes of an MP4 are walked in every form of size, and garbage ends the walk."""

import pytest

from omniedit.system.mp4 import Box, boxes, is_whole_mp4


def walk(content: bytes) -> list[Box]:
    return list(boxes(lambda offset, size: content[offset : offset + size], len(content)))


def test_boxes_with_every_form_of_size_are_walked() -> None:
    content = (
        b"\0\0\0\x0cftypisom"
        b"\0\0\0\1free\0\0\0\0\0\0\0\x14abcd"  # a 64-bit size
        b"\0\0\0\0mdatrest"  # size 0: to the end of the file
    )

    assert [(box.kind, content[box.content : box.end]) for box in walk(content)] == [
        (b"ftyp", b"isom"),
        (b"free", b"abcd"),
        (b"mdat", b"rest"),
    ]


def test_a_box_may_claim_to_end_beyond_the_file() -> None:
    content = b"\0\0\0\1mdat" + b"\xff" * 24

    (box,) = walk(content)

    assert box.end > len(content)


@pytest.mark.parametrize("content", [b"", b"\0\0", b"\0\0\0\1mdat\0\0", b"\0\0\0\4free" + bytes(8)])
def test_bytes_that_are_not_boxes_end_the_walk(content: bytes) -> None:
    assert len(walk(content)) <= 1


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
        pytest.param(FTYP + LARGE + MOOV, True, id="64-bit-size"),
        pytest.param(FTYP + MOOV + OPEN, True, id="open-ended-last-box"),
        pytest.param(
            FTYP + MOOV + MDAT + bytes(7), True, id="trailing-bytes-shorter-than-a-header"
        ),
        pytest.param(FTYP + MOOV + MDAT[:-1], False, id="truncated-media"),
        pytest.param(FTYP + MDAT + MOOV[:-1], False, id="truncated-index"),
        pytest.param(FTYP + MDAT + MOOV[:5], False, id="truncated-header"),
        pytest.param(FTYP + MDAT, False, id="no-index"),
        pytest.param(FTYP + MOOV, False, id="no-media"),
        pytest.param(FTYP + LARGE[:12], False, id="truncated-large-header"),
        pytest.param(FTYP + MOOV + MDAT + b"\0\0\0\x03junk", False, id="impossible-box-size"),
        pytest.param(b"", False, id="empty"),
    ],
)
def test_the_boxes_show_whether_an_mp4_is_complete(content: bytes, *, expected: bool) -> None:
    def read_at(offset: int, size_bytes: int) -> bytes:
        return content[offset : offset + size_bytes]

    assert is_whole_mp4(read_at, len(content)) is expected
