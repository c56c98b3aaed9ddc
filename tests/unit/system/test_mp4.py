"""The boxes of an MP4 are walked in every form of size, and garbage ends the walk."""

import pytest

from omniedit.system.mp4 import Box, boxes


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


def test_boxes_within_a_box_are_walked_from_its_content() -> None:
    content = b"\0\0\0\x18moov" + b"\0\0\0\x08mvhd" + b"\0\0\0\x08trak"
    (outer,) = walk(content)

    inner = boxes(
        lambda offset, size: content[offset : offset + size], outer.end, start=outer.content
    )

    assert [box.kind for box in inner] == [b"mvhd", b"trak"]


def test_a_box_may_claim_to_end_beyond_the_file() -> None:
    content = b"\0\0\0\1mdat" + b"\xff" * 24

    (box,) = walk(content)

    assert box.end > len(content)


@pytest.mark.parametrize("content", [b"", b"\0\0", b"\0\0\0\1mdat\0\0", b"\0\0\0\4free" + bytes(8)])
def test_bytes_that_are_not_boxes_end_the_walk(content: bytes) -> None:
    assert len(walk(content)) <= 1
