"""Downloads on systems where an open file can be neither renamed nor removed."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from omniedit.downloads.part import PartFile, Version, open_part
from omniedit.downloads.placement import check_target, copy_result, place, saved_file
from omniedit.errors import LocalError, TargetExistsError
from omniedit.system.windows import PATIENCE_S
from tests.systems import windows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.unit.downloads.conftest import Desk, Origin

WINDOWS = windows()


@pytest.fixture
def desk(make_desk: Callable[..., Desk]) -> Desk:
    return make_desk(WINDOWS)


def _open(desk: Desk) -> PartFile:
    part = open_part(
        desk.folder / desk.PART,
        desk.target,
        overwrite=False,
        sleep=desk.slept.append,
        system=WINDOWS,
    )
    assert part is not None
    return part


def _complete(desk: Desk) -> PartFile:
    part = _open(desk)
    part.begin(Version(url_path="/results/clip.mp4", etag='"v1"', total_bytes=5000))
    part.append(desk.origin.content)
    return part


def _no_links(source: Path, target: Path) -> None:
    raise PermissionError(errno.EPERM, "no links here")


def test_a_result_gets_its_name_and_nothing_else_is_left(desk: Desk, origin: Origin) -> None:
    desk.download()

    assert desk.target.read_bytes() == origin.content
    assert desk.names == ["out.mp4"]


def test_what_broke_off_goes_on(desk: Desk, origin: Origin) -> None:
    desk.leave_part()

    desk.download()

    assert origin.ranges == ["bytes=3000-"]
    assert desk.names == ["out.mp4"]


def test_a_result_that_is_no_video_leaves_nothing(desk: Desk, origin: Origin) -> None:
    origin.content = b"<html>"

    with pytest.raises(Exception, match="instead of an MP4"):
        desk.download()

    assert desk.names == []


def test_force_replaces_a_file(desk: Desk, origin: Origin) -> None:
    desk.target.write_bytes(b"old")

    desk.download(overwrite=True)

    assert desk.target.read_bytes() == origin.content
    assert desk.names == ["out.mp4"]


def test_a_file_that_a_player_has_open_is_not_replaced_and_the_bytes_are_kept(
    desk: Desk, origin: Origin
) -> None:
    desk.target.write_bytes(b"old")

    with desk.target.open("rb"), pytest.raises(LocalError, match=r"out\.mp4"):
        desk.download(overwrite=True)

    assert desk.target.read_bytes() == b"old"
    assert desk.names == [desk.PART, desk.NOTE, "out.mp4"]
    origin.requests.clear()
    desk.download(overwrite=True)
    assert origin.requests == []
    assert desk.target.read_bytes() == origin.content


def test_a_file_that_a_scanner_opens_for_a_moment_is_replaced(
    make_desk: Callable[..., Desk],
) -> None:
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        scanner.close()

    desk = make_desk(windows(sleep=sleep))
    desk.target.write_bytes(b"old")
    scanner = desk.target.open("rb")

    desk.download(overwrite=True)

    assert desk.target.read_bytes() == desk.origin.content
    assert 0 < sum(waits) < PATIENCE_S


@pytest.mark.parametrize("link", [os.link, _no_links], ids=["links", "no-links"])
def test_where_there_are_no_links_a_file_is_renamed(
    desk: Desk, origin: Origin, link: Callable[[Path, Path], None]
) -> None:
    with _complete(desk) as part:
        place(
            part, desk.target, overwrite=False, sleep=desk.slept.append, link=link, system=WINDOWS
        )

    assert desk.target.read_bytes() == origin.content
    assert desk.names == ["out.mp4"]


@pytest.mark.parametrize("link", [os.link, _no_links], ids=["links", "no-links"])
def test_nothing_is_overwritten(desk: Desk, link: Callable[[Path, Path], None]) -> None:
    part = _complete(desk)
    desk.target.write_bytes(b"mine")

    with part, pytest.raises(TargetExistsError):
        place(
            part, desk.target, overwrite=False, sleep=desk.slept.append, link=link, system=WINDOWS
        )

    assert desk.target.read_bytes() == b"mine"
    assert desk.names == ["out.mp4"]


def test_who_waited_for_another_download_of_it_has_succeeded(desk: Desk, origin: Origin) -> None:
    other = _complete(desk)
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            with other:
                place(other, desk.target, overwrite=False, sleep=sleep, system=WINDOWS)

    part = open_part(
        desk.folder / desk.PART, desk.target, overwrite=False, sleep=sleep, system=WINDOWS
    )

    assert part is None
    assert len(waits) == 3
    assert desk.target.read_bytes() == origin.content
    # The other process could not remove the file that was open here, so it was removed here.
    assert desk.names == ["out.mp4"]


def test_a_result_that_lies_here_already_is_copied(desk: Desk, origin: Origin) -> None:
    desk.download()
    copy = desk.folder / "copy.mp4"

    copy_result(
        saved_file(desk.target), copy, overwrite=False, sleep=desk.slept.append, system=WINDOWS
    )

    assert copy.read_bytes() == origin.content
    assert desk.names == ["copy.mp4", "out.mp4"]


@pytest.mark.parametrize("name", ["nul.mp4", "a:b.mp4", "out.", "what?.mp4", "con/out.mp4"])
def test_a_name_that_means_something_else_is_refused_before_anything_is_asked(
    desk: Desk, origin: Origin, name: str
) -> None:
    with pytest.raises(LocalError, match="Windows"):
        check_target(desk.folder / name, system=WINDOWS)
    with pytest.raises(LocalError, match="Windows"):
        desk.download(desk.folder / name)

    assert origin.requests == []
    assert desk.names == []
