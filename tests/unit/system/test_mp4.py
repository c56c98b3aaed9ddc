"""The boxes of an MP4."""

import pytest

from omniedit.system.mp4 import Box, boxes


def found(content: bytes) -> list[Box]:
    return list(boxes(lambda offset, size: content[offset : offset + size], len(content)))


def test_boxes_of_any_length_are_walked() -> None:
    content = (
        b"\0\0\0\x0cftypisom"
        b"\0\0\0\1free\0\0\0\0\0\0\0\x14abcd"  # a large size
        b"\0\0\0\0mdatrest"  # up to the end
    )

    assert [(box.kind, content[box.content : box.end]) for box in found(content)] == [
        (b"ftyp", b"isom"),
        (b"free", b"abcd"),
        (b"mdat", b"rest"),
    ]


def test_boxes_within_a_box_are_walked_from_its_content() -> None:
    content = b"\0\0\0\x18moov" + b"\0\0\0\x08mvhd" + b"\0\0\0\x08trak"
    (outer,) = found(content)

    inner = boxes(
        lambda offset, size: content[offset : offset + size], outer.end, start=outer.content
    )

    assert [box.kind for box in inner] == [b"mvhd", b"trak"]


def test_nothing_is_read_beyond_the_end() -> None:
    content = b"\0\0\0\1mdat" + b"\xff" * 24

    (box,) = found(content)

    assert box.end > len(content)


@pytest.mark.parametrize("content", [b"", b"\0\0", b"\0\0\0\1mdat\0\0", b"\0\0\0\4free" + bytes(8)])
def test_bytes_that_are_no_boxes_end_the_walk(content: bytes) -> None:
    assert len(found(content)) <= 1
