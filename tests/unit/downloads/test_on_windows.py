"""Downloads on systems where an open file can be neither renamed nor removed."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from omniedit.downloads.part import PartFile, Version
from omniedit.downloads.placement import Placement, check_writable, saved_file
from omniedit.errors import LocalError, TargetExistsError
from omniedit.system import PATIENCE_S
from tests.systems import windows, with_link

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.unit.downloads.conftest import Bench, Origin

WINDOWS = windows()


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench(WINDOWS)


def _open(bench: Bench) -> PartFile:
    part = bench.placement.open_part(bench.target, bench.TASK_ID, overwrite=False)
    assert part is not None
    return part


def _complete(bench: Bench) -> PartFile:
    part = _open(bench)
    part.begin(Version(url_path="/results/clip.mp4", etag='"v1"', total_bytes=5000))
    part.append(bench.origin.content)
    return part


def _no_hard_links(source: Path, target: Path) -> None:
    raise PermissionError(errno.EPERM, "no links here")


def _with_link(bench: Bench, link: Callable[[Path, Path], None]) -> Placement:
    return replace(bench.placement, system=with_link(bench.placement.system, link))


def test_a_result_is_saved_and_nothing_else_is_left(bench: Bench, origin: Origin) -> None:
    bench.download()

    assert bench.target.read_bytes() == origin.content
    assert bench.names == ["out.mp4"]


def test_an_interrupted_download_is_resumed(bench: Bench, origin: Origin) -> None:
    bench.leave_part()

    bench.download()

    assert origin.ranges == ["bytes=3000-"]
    assert bench.names == ["out.mp4"]


def test_a_body_that_is_not_a_video_leaves_nothing(bench: Bench, origin: Origin) -> None:
    origin.content = b"<html>"

    with pytest.raises(Exception, match="instead of an MP4"):
        bench.download()

    assert bench.names == []


def test_force_replaces_a_file(bench: Bench, origin: Origin) -> None:
    bench.target.write_bytes(b"old")

    bench.download(overwrite=True)

    assert bench.target.read_bytes() == origin.content
    assert bench.names == ["out.mp4"]


def test_a_target_open_in_a_player_is_kept_and_so_is_the_part(bench: Bench, origin: Origin) -> None:
    bench.target.write_bytes(b"old")

    with bench.target.open("rb"), pytest.raises(LocalError, match=r"out\.mp4"):
        bench.download(overwrite=True)

    assert bench.target.read_bytes() == b"old"
    assert bench.names == [bench.PART, bench.NOTE, "out.mp4"]
    origin.requests.clear()
    bench.download(overwrite=True)
    assert origin.requests == []
    assert bench.target.read_bytes() == origin.content


def test_a_target_briefly_open_in_a_scanner_is_replaced(
    make_bench: Callable[..., Bench],
) -> None:
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        scanner.close()

    bench = make_bench(windows(sleep=sleep))
    bench.target.write_bytes(b"old")
    scanner = bench.target.open("rb")

    bench.download(overwrite=True)

    assert bench.target.read_bytes() == bench.origin.content
    assert 0 < sum(waits) < PATIENCE_S


@pytest.mark.parametrize("link", [os.link, _no_hard_links], ids=["hard-links", "no-hard-links"])
def test_a_result_is_placed_with_or_without_hard_links(
    bench: Bench, origin: Origin, link: Callable[[Path, Path], None]
) -> None:
    with _complete(bench) as part:
        _with_link(bench, link).place(part, bench.target, overwrite=False)

    assert bench.target.read_bytes() == origin.content
    assert bench.names == ["out.mp4"]


@pytest.mark.parametrize("link", [os.link, _no_hard_links], ids=["hard-links", "no-hard-links"])
def test_an_existing_target_is_not_overwritten(
    bench: Bench, link: Callable[[Path, Path], None]
) -> None:
    part = _complete(bench)
    bench.target.write_bytes(b"mine")

    with part, pytest.raises(TargetExistsError):
        _with_link(bench, link).place(part, bench.target, overwrite=False)

    assert bench.target.read_bytes() == b"mine"
    assert bench.names == ["out.mp4"]


def test_waiting_for_another_download_of_the_target_succeeds(bench: Bench, origin: Origin) -> None:
    other = _complete(bench)
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            with other:
                bench.placement.place(other, bench.target, overwrite=False)

    placement = Placement(sleep=sleep, system=WINDOWS)
    part = placement.open_part(bench.target, bench.TASK_ID, overwrite=False)

    assert part is None
    assert len(waits) == 3
    assert bench.target.read_bytes() == origin.content
    # The other process could not remove the file that was open here, so it was removed here.
    assert bench.names == ["out.mp4"]


def test_a_saved_result_is_copied(bench: Bench, origin: Origin) -> None:
    bench.download()
    copy = bench.folder / "copy.mp4"

    bench.placement.copy(saved_file(bench.target), copy, overwrite=False)

    assert copy.read_bytes() == origin.content
    assert bench.names == ["copy.mp4", "out.mp4"]


@pytest.mark.parametrize("name", ["nul.mp4", "a:b.mp4", "out.", "what?.mp4", "con/out.mp4"])
def test_a_reserved_or_invalid_name_is_refused_before_any_request(
    bench: Bench, origin: Origin, name: str
) -> None:
    with pytest.raises(LocalError, match="Windows"):
        check_writable(bench.folder / name, system=WINDOWS)
    with pytest.raises(LocalError, match="Windows"):
        bench.download(bench.folder / name)

    assert origin.requests == []
    assert bench.names == []
