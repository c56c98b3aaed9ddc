"""One writer, one name: collisions, links in the way, and processes that die."""

from __future__ import annotations

import errno
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from omniedit.downloads.part import PartFile, Version, open_part, part_path
from omniedit.downloads.placement import place
from omniedit.downloads.transfer import Downloader
from omniedit.errors import LocalError, TargetBusyError, TargetExistsError
from omniedit.policy import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.unit.downloads.conftest import Desk, Origin


def _download_when(desk: Desk, act: Callable[[], object], *, overwrite: bool = False) -> None:
    """Download, with `act` done once the first bytes are here."""
    acts = [act]

    def on_progress(done_bytes: int, _: int | None) -> None:
        if done_bytes and acts:
            acts.pop()()

    desk.download(overwrite=overwrite, on_progress=on_progress)


def test_a_target_that_appears_meanwhile_is_not_overwritten(desk: Desk) -> None:
    with pytest.raises(TargetExistsError, match="appeared"):
        _download_when(desk, lambda: desk.target.write_bytes(b"mine"))

    assert desk.target.read_bytes() == b"mine"
    assert desk.names == ["out.mp4"]


def test_a_target_that_appears_meanwhile_with_the_same_content_is_success(
    desk: Desk, origin: Origin
) -> None:
    _download_when(desk, lambda: desk.target.write_bytes(origin.content))

    assert desk.names == ["out.mp4"]


def test_a_link_swapped_in_is_not_written_through(desk: Desk, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")

    with pytest.raises(TargetExistsError):
        _download_when(desk, lambda: desk.target.symlink_to(victim))

    assert victim.read_bytes() == b"mine"


def test_force_replaces_a_link_and_not_what_it_points_to(
    desk: Desk, origin: Origin, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    desk.target.symlink_to(victim)

    desk.download(overwrite=True)

    assert victim.read_bytes() == b"mine"
    assert not desk.target.is_symlink()
    assert desk.target.read_bytes() == origin.content


def test_a_folder_swapped_in_is_an_error_and_the_bytes_are_kept(desk: Desk) -> None:
    with pytest.raises(LocalError, match="cannot write"):
        _download_when(desk, desk.target.mkdir, overwrite=True)

    desk.target.rmdir()
    desk.origin.requests.clear()
    desk.download()
    assert desk.origin.requests == []


@pytest.mark.posix
def test_a_folder_that_vanishes_is_an_error(desk: Desk) -> None:
    with pytest.raises(LocalError, match="vanished"):
        _download_when(desk, lambda: shutil.rmtree(desk.folder))


@pytest.mark.parametrize("name", ["PART", "NOTE"])
def test_a_planted_link_is_not_followed(desk: Desk, tmp_path: Path, name: str) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    (desk.folder / getattr(desk, name)).symlink_to(victim)

    if name == "PART":
        with pytest.raises(LocalError):
            desk.download()
    else:
        desk.download()

    assert victim.read_bytes() == b"mine"


@pytest.mark.posix
def test_a_planted_pipe_is_refused(desk: Desk) -> None:
    os.mkfifo(desk.folder / desk.PART)

    with pytest.raises(LocalError, match="in the way"):
        desk.download()


def test_a_part_with_another_name_is_not_written_to(
    desk: Desk, origin: Origin, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    (desk.folder / desk.PART).hardlink_to(victim)

    desk.download()

    assert victim.read_bytes() == b"mine"
    assert desk.target.read_bytes() == origin.content


def test_a_kill_right_after_placing_is_tidied_up(desk: Desk, origin: Origin) -> None:
    desk.leave_part(5000)
    (desk.folder / desk.PART).rename(desk.target)
    (desk.folder / desk.PART).hardlink_to(desk.target)

    saved = desk.download()

    assert origin.requests == []
    assert saved.size_bytes == 5000
    assert desk.names == ["out.mp4"]


def test_force_after_such_a_kill_asks_again(desk: Desk, origin: Origin) -> None:
    desk.leave_part(5000)
    (desk.folder / desk.PART).rename(desk.target)
    (desk.folder / desk.PART).hardlink_to(desk.target)

    desk.download(overwrite=True)

    assert len(origin.requests) == 1
    assert desk.target.read_bytes() == origin.content
    assert desk.names == ["out.mp4"]


def _other_process(desk: Desk) -> PartFile:
    part = open_part(desk.folder / desk.PART, desk.target, overwrite=False, sleep=lambda _: None)
    assert part is not None
    part.begin(Version(url_path="/results/clip.mp4", etag='"v1"', total_bytes=5000))
    return part


@pytest.mark.parametrize("overwrite", [False, pytest.param(True, marks=pytest.mark.posix)])
def test_who_waited_for_another_download_of_it_has_succeeded(
    desk: Desk, origin: Origin, *, overwrite: bool
) -> None:
    other = _other_process(desk)
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            with other:
                other.append(origin.content)
                place(other, desk.target, overwrite=overwrite, sleep=sleep)

    downloader = Downloader(desk.http, sleep=sleep)
    saved = downloader.download(
        desk.URL,
        desk.target,
        task_id=desk.TASK_ID,
        overwrite=overwrite,
        on_progress=lambda *_: None,
        on_retry=lambda *_: None,
    )

    assert origin.requests == []
    assert saved.size_bytes == 5000
    assert desk.names == ["out.mp4"]


def test_who_waited_for_a_process_that_died_goes_on_from_there(desk: Desk, origin: Origin) -> None:
    other = _other_process(desk)
    other.append(origin.content[:2000])
    downloader = Downloader(desk.http, sleep=lambda _: other.close())

    downloader.download(
        desk.URL,
        desk.target,
        task_id=desk.TASK_ID,
        on_progress=lambda *_: None,
        on_retry=lambda *_: None,
    )

    assert origin.ranges == ["bytes=2000-"]
    assert desk.target.read_bytes() == origin.content


def test_a_process_that_never_ends_is_not_waited_for_for_ever(desk: Desk) -> None:
    other = _other_process(desk)

    with pytest.raises(TargetBusyError):
        desk.download()

    other.close()
    assert DEFAULT.busy_budget_s - 1 < sum(desk.slept) < DEFAULT.busy_budget_s + 1


def _complete_part(desk: Desk) -> PartFile:
    part = _other_process(desk)
    part.append(desk.origin.content)
    return part


def _no_links(source: Path, target: Path) -> None:
    raise PermissionError(errno.EPERM, "no links here")


def test_without_links_a_file_is_renamed(desk: Desk, origin: Origin) -> None:
    with _complete_part(desk) as part:
        place(part, desk.target, overwrite=False, sleep=desk.slept.append, link=_no_links)

    assert desk.target.read_bytes() == origin.content
    assert desk.names == ["out.mp4"]


def test_without_links_nothing_is_overwritten_either(desk: Desk) -> None:
    part = _complete_part(desk)
    desk.target.write_bytes(b"mine")

    with part, pytest.raises(TargetExistsError):
        place(part, desk.target, overwrite=False, sleep=desk.slept.append, link=_no_links)

    assert desk.target.read_bytes() == b"mine"
    assert desk.names == ["out.mp4"]


def test_a_link_that_was_made_although_the_reply_was_lost_is_success(
    desk: Desk, origin: Origin
) -> None:
    def link(source: Path, target: Path) -> None:
        os.link(source, target)
        raise FileExistsError

    with _complete_part(desk) as part:
        place(part, desk.target, overwrite=False, sleep=desk.slept.append, link=link)

    assert desk.target.read_bytes() == origin.content


@pytest.mark.posix
def test_a_part_that_was_taken_away_is_not_placed(desk: Desk) -> None:
    part = _complete_part(desk)
    (desk.folder / desk.PART).rename(desk.folder / "elsewhere")

    with part, pytest.raises(LocalError, match="vanished"):
        place(part, desk.target, overwrite=False, sleep=desk.slept.append)

    assert not desk.target.exists()


@pytest.mark.parametrize("name", ["x" * 255, "ü" * 120 + ".mp4"])
def test_a_target_with_a_long_name_is_downloaded(desk: Desk, origin: Origin, name: str) -> None:
    desk.target = desk.folder / name
    desk.leave_part()

    desk.download()

    assert origin.ranges == ["bytes=3000-"]
    assert desk.names == [name]


def test_an_id_from_outside_does_not_leave_the_folder(tmp_path: Path) -> None:
    path = part_path(tmp_path / "out.mp4", "../../etc")

    assert path.parent == tmp_path
    assert "/" not in path.name


@pytest.mark.parametrize("limit_bytes", [0, 1, 7, 8, 90, 999, 1000, 1001, 4999])
def test_a_disk_that_is_full_at_any_byte_costs_no_byte_twice(
    desk: Desk, origin: Origin, limit_bytes: int
) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, before[1]))
    try:
        with pytest.raises(LocalError, match=r"cannot write .*/videos/") as caught:
            desk.download()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    names = desk.names
    origin.requests.clear()

    desk.download()

    assert "ulimit" in str(caught.value.hint)
    # The note is some 150 bytes long.
    has_room_for_note = limit_bytes > 500
    assert names == ([desk.PART, desk.NOTE] if has_room_for_note else [])
    assert origin.ranges == [f"bytes={limit_bytes}-" if has_room_for_note else None]
    assert desk.target.read_bytes() == origin.content


def test_bytes_that_cannot_be_brought_to_the_disk_are_void(desk: Desk) -> None:
    part = _complete_part(desk)
    path = part.path
    reading, writing = os.pipe()  # which cannot be synced
    os.dup2(writing, part._descriptor)

    with pytest.raises(LocalError):
        part.sync()

    for descriptor in (reading, writing):
        os.close(descriptor)
    part.close()
    assert path.exists()
