"""The part file: what it keeps of an earlier run, and what it refuses."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from omniedit.downloads.part import is_whole_mp4
from omniedit.errors import LocalError
from tests.systems import linux

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.downloads.conftest import Desk


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
        pytest.param(FTYP + MOOV + MDAT + bytes(7), True, id="less-than-a-header-beyond"),
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


def _give_away(desk: Desk, name: str) -> None:
    """Give a file to another user, as the desk's system sees it."""
    if os.getuid() == 0:
        os.chown(desk.folder / name, 4242, -1)


@pytest.mark.posix
def test_a_part_of_another_user_is_neither_continued_nor_written_to(
    make_desk: Callable[..., Desk],
) -> None:
    desk = make_desk(linux(user=os.getuid() + 1))
    (desk.folder / desk.PART).write_bytes(b"theirs")
    _give_away(desk, desk.PART)

    with pytest.raises(LocalError, match=r"in the way.*another user"):
        desk.download()

    assert (desk.folder / desk.PART).read_bytes() == b"theirs"
    assert desk.origin.requests == []


@pytest.mark.posix
def test_a_part_that_others_may_write_to_starts_over(desk: Desk) -> None:
    desk.leave_part()
    (desk.folder / desk.PART).chmod(0o666)

    desk.download()

    assert desk.origin.ranges == [None]


def _pipe(desk: Desk) -> None:
    os.mkfifo(desk.folder / desk.NOTE)


def _endless(desk: Desk) -> None:
    (desk.folder / desk.NOTE).symlink_to("/dev/zero")


def _huge(desk: Desk) -> None:
    (desk.folder / desk.NOTE).touch(0o600)
    os.truncate(desk.folder / desk.NOTE, 1024**4)


def _deep(desk: Desk) -> None:
    (desk.folder / desk.NOTE).write_text("[" * 50_000)


def _writable(desk: Desk) -> None:
    note = desk.folder / desk.NOTE
    note.write_bytes(b'{"schema": 1}')
    note.chmod(0o666)


@pytest.mark.posix
@pytest.mark.parametrize("plant", [_pipe, _endless, _huge, _deep, _writable])
def test_a_planted_note_is_neither_waited_for_nor_believed(
    desk: Desk, plant: Callable[[Desk], None]
) -> None:
    desk.leave_part()
    (desk.folder / desk.NOTE).unlink()
    plant(desk)

    desk.download()

    assert desk.origin.ranges == [None]
    assert desk.names == ["out.mp4"]
