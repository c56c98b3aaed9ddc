"""Targets and placement: collisions, links in the way and dying processes."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from omniedit.downloads.part import (
    PartFile,
    Version,
    disk_error,
    open_part,
    part_path,
    shortened_name,
)
from omniedit.downloads.placement import check_target, copy_result, make_folder, place, verify
from omniedit.downloads.transfer import Downloader
from omniedit.errors import LocalError, TargetBusyError, TargetExistsError
from omniedit.policy import DEFAULT
from tests.systems import linux

if TYPE_CHECKING:
    from collections.abc import Callable

    from omniedit.models import SavedFile
    from omniedit.system import System
    from tests.unit.downloads.conftest import Desk, Origin


@pytest.mark.parametrize("name", ["out.mp4", "a/b/c/out.mp4", "x" * 255, "ü" * 127])
def test_a_name_that_can_be_had_passes_and_nothing_is_made(tmp_path: Path, name: str) -> None:
    before = list(tmp_path.iterdir())

    check_target(tmp_path / name)

    assert list(tmp_path.iterdir()) == before


def _folder(path: Path) -> None:
    path.mkdir()


def _link_to_folder(path: Path) -> None:
    path.symlink_to(path.parent)


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(path))


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        _folder,
        _link_to_folder,
        pytest.param(_pipe, marks=pytest.mark.posix),
        pytest.param(_socket, marks=pytest.mark.posix),
    ],
)
def test_what_is_no_file_is_refused_even_with_force(
    tmp_path: Path,
    make: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
    *,
    overwrite: bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "out.mp4")

    with pytest.raises(LocalError) as caught:
        check_target(tmp_path / "out.mp4", overwrite=overwrite)

    assert not isinstance(caught.value, TargetExistsError)


def _file(path: Path) -> None:
    path.write_bytes(b"mine")


def _link(path: Path) -> None:
    path.with_name("else").write_bytes(b"mine")
    path.symlink_to("else")


def _dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize("make", [_file, _link, _dangling_link])
def test_what_exists_wants_force(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "out.mp4")

    with pytest.raises(TargetExistsError):
        check_target(tmp_path / "out.mp4")
    check_target(tmp_path / "out.mp4", overwrite=True)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("x" * 256, id="too-long"),
        pytest.param("ü" * 128, id="too-many-bytes"),
        pytest.param("new/" + "x" * 256 + "/out.mp4", id="folder-too-long"),
        pytest.param("/".join(["x" * 200] * 30), id="path-too-long"),
        pytest.param("a\0b", id="null-character"),
        pytest.param("file/out.mp4", id="below-a-file"),
        pytest.param("dangling/out.mp4", id="below-a-dangling-link"),
        pytest.param("..", id="parent"),
        pytest.param("/", id="root"),
    ],
)
def test_a_name_that_cannot_be_had_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "dangling").symlink_to("nowhere")

    with pytest.raises(LocalError) as caught:
        check_target(tmp_path / name)

    assert "\n" not in caught.value.message
    assert not isinstance(caught.value, TargetExistsError)


def test_a_saved_file_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    path.write_bytes(b"video")
    sha256 = hashlib.sha256(b"video").hexdigest()

    assert verify(path, size_bytes=5, sha256=sha256)
    assert not verify(path, size_bytes=6, sha256=sha256)
    assert not verify(path, size_bytes=5, sha256="0" * 64)
    assert not verify(tmp_path / "other", size_bytes=5, sha256=sha256)
    assert not verify(tmp_path, size_bytes=tmp_path.stat().st_size, sha256=sha256)
    assert not verify(Path("a\0b"), size_bytes=5, sha256=sha256)


@pytest.mark.posix
def test_a_pipe_in_the_place_of_a_saved_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "out.mp4")

    assert not verify(tmp_path / "out.mp4", size_bytes=0, sha256=hashlib.sha256().hexdigest())


def test_folders_are_made_as_deep_as_needed(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")

    assert (tmp_path / "a" / "b").is_dir()


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(LocalError):
        make_folder(tmp_path / "file" / "a")


@pytest.mark.parametrize("name", ["x" * 255, "ü" * 127, "\U0001f3ac" * 63])
def test_a_long_name_is_shortened_to_what_fits(tmp_path: Path, name: str) -> None:
    short = shortened_name(".", name, ".part", folder=tmp_path)
    other = shortened_name(".", name[:-1] + "y", ".part", folder=tmp_path)

    assert 240 < len(os.fsencode(short)) <= 255
    assert short.startswith(f".{name[0]}")
    assert short.endswith(".part")
    assert short != other


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "free some space"),
        (errno.EFBIG, "ulimit"),
    ],
)
def test_a_full_disk_says_what_to_do(number: int, said: str) -> None:
    error = disk_error(Path("/v/out.mp4"), OSError(number, os.strerror(number)))

    assert error.message.startswith("cannot write /v/out.mp4: ")
    assert said in str(error.hint)


def _download_when(desk: Desk, act: Callable[[], object], *, overwrite: bool = False) -> None:
    """Download, and call `act` once the first bytes have arrived."""
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

    downloader = Downloader(desk.http, sleep=sleep, jitter=random.random)
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
    downloader = Downloader(desk.http, sleep=lambda _: other.close(), jitter=random.random)

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
    # The note is about 150 bytes long.
    has_room_for_note = limit_bytes > 500
    assert names == ([desk.PART, desk.NOTE] if has_room_for_note else [])
    assert origin.ranges == [f"bytes={limit_bytes}-" if has_room_for_note else None]
    assert desk.target.read_bytes() == origin.content


def test_bytes_that_cannot_be_brought_to_the_disk_are_void(desk: Desk) -> None:
    part = _complete_part(desk)
    path = part.path
    reading, writing = os.pipe()  # a pipe cannot be synced
    os.dup2(writing, part._descriptor)

    with pytest.raises(LocalError):
        part.sync()

    for descriptor in (reading, writing):
        os.close(descriptor)
    part.close()
    assert path.exists()


def _copy(desk: Desk, source: SavedFile, target: Path, *, overwrite: bool = False) -> SavedFile:
    return copy_result(source, target, overwrite=overwrite, sleep=desk.slept.append)


def test_a_saved_file_is_copied_whole(desk: Desk) -> None:
    target = desk.folder / "sub" / "copy.mp4"

    copy = _copy(desk, desk.download(), target)

    assert copy.path == str(target)
    assert verify(target, size_bytes=copy.size_bytes, sha256=copy.sha256)
    assert target.read_bytes() == desk.origin.content
    assert list(target.parent.iterdir()) == [target]


def test_a_copy_overwrites_only_when_asked_for(desk: Desk) -> None:
    saved = desk.download()
    target = desk.folder / "copy.mp4"
    target.write_bytes(b"mine")

    with pytest.raises(TargetExistsError):
        _copy(desk, saved, target)
    _copy(desk, saved, target, overwrite=True)

    assert target.read_bytes() == desk.origin.content


def test_a_source_that_changed_is_not_copied(desk: Desk) -> None:
    saved = desk.download()
    desk.target.write_bytes(b"edited by hand")

    with pytest.raises(LocalError, match="changed"):
        _copy(desk, saved, desk.folder / "copy.mp4")

    assert desk.names == ["out.mp4"]


def test_a_source_that_vanished_is_not_copied(desk: Desk) -> None:
    saved = desk.download()
    desk.target.unlink()

    with pytest.raises(LocalError, match="cannot read"):
        _copy(desk, saved, desk.folder / "copy.mp4")

    assert desk.names == []


def test_a_kill_right_after_a_copy_is_tidied_up(desk: Desk) -> None:
    saved = desk.download()
    target = desk.folder / "copy.mp4"
    _copy(desk, saved, target)
    part = desk.folder / f".copy.mp4.{saved.sha256[-8:]}.part"
    part.hardlink_to(target)

    copy = _copy(desk, saved, target)

    assert copy.sha256 == saved.sha256
    assert desk.names == ["copy.mp4", "out.mp4"]


NO_LOCKS = sorted(
    {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
)  # the last two are equal on Linux


def _system_without_locks(number: int = errno.ENOLCK) -> System:
    def lock(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    return linux(lock=lock, user=os.getuid())


@pytest.mark.posix
@pytest.mark.parametrize("number", NO_LOCKS)
def test_a_folder_without_locks_is_found_out_beforehand(tmp_path: Path, number: int) -> None:
    system = _system_without_locks(number)

    assert not check_target(tmp_path / "new" / "out.mp4", system=system)
    assert check_target(tmp_path / "out.mp4")
    assert not (tmp_path / "new").exists()


@pytest.mark.posix
def test_a_folder_whose_locks_fail_is_refused_beforehand(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="cannot write"):
        check_target(tmp_path / "out.mp4", system=_system_without_locks(errno.EIO))


@pytest.mark.posix
@pytest.mark.parametrize("number", NO_LOCKS)
def test_without_locks_a_result_is_saved_through_a_part_file_of_its_own(
    make_desk: Callable[..., Desk], number: int
) -> None:
    desk = make_desk(_system_without_locks(number))
    desk.origin.script = [desk.origin.cut(3000)]

    desk.download()

    assert desk.origin.ranges == [None, "bytes=3000-"]
    assert desk.target.read_bytes() == desk.origin.content
    assert desk.names == ["out.mp4"]


@pytest.mark.posix
def test_without_locks_nothing_is_left_for_a_run_that_could_not_know_it_is_free(
    make_desk: Callable[..., Desk],
) -> None:
    desk = make_desk(_system_without_locks())

    desk.leave_part()

    assert desk.names == []


@pytest.mark.posix
def test_without_locks_two_downloads_do_not_meet(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(_system_without_locks())

    _download_when(desk, desk.download)

    assert desk.target.read_bytes() == desk.origin.content
    assert desk.names == ["out.mp4"]


@pytest.mark.posix
def test_without_locks_and_links_nothing_is_overwritten_either(
    make_desk: Callable[..., Desk],
) -> None:
    desk = make_desk(_system_without_locks())

    with pytest.raises(TargetExistsError):
        _download_when(desk, lambda: desk.target.write_bytes(b"mine"))

    assert desk.target.read_bytes() == b"mine"
    assert desk.names == ["out.mp4"]


class Watched:
    """Records the names in a folder whenever the folder is synced."""

    def __init__(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[list[str]] = []

        def sync_folder(folder: Path) -> None:
            assert folder == desk.folder
            self.seen.append(desk.names)

        self.system = linux(user=os.getuid())
        monkeypatch.setattr(self.system, "sync_folder", sync_folder)


@pytest.mark.posix
@pytest.mark.parametrize("overwrite", [False, True])
def test_the_name_is_on_the_disk_before_the_part_loses_its_own_and_afterwards(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, *, overwrite: bool
) -> None:
    watched = Watched(desk, monkeypatch)

    with _complete_part(desk) as part:
        place(
            part,
            desk.target,
            overwrite=overwrite,
            sleep=desk.slept.append,
            system=watched.system,
        )

    between = ["out.mp4"] if overwrite else [desk.PART, desk.NOTE, "out.mp4"]
    assert watched.seen == [between, ["out.mp4"]]


def test_a_file_is_announced_whole_before_it_gets_its_name(desk: Desk, origin: Origin) -> None:
    seen: list[tuple[bool, bytes]] = []

    def note(saved: SavedFile) -> None:
        assert saved.path == str(desk.target)
        seen.append((desk.target.exists(), (desk.folder / desk.PART).read_bytes()))

    desk.download(on_verified=note)

    assert seen == [(False, origin.content)]


def test_a_copy_is_announced_whole_before_it_gets_its_name(desk: Desk, origin: Origin) -> None:
    saved, copy = desk.download(), desk.folder / "copy.mp4"
    seen: list[tuple[str, bool]] = []

    copy_result(
        saved,
        copy,
        overwrite=False,
        sleep=desk.slept.append,
        on_verified=lambda file: seen.append((file.sha256, copy.exists())),
    )

    assert seen == [(saved.sha256, False)]


def test_what_cannot_be_announced_gets_no_name(desk: Desk, origin: Origin) -> None:
    def fail(_saved: SavedFile) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        desk.download(on_verified=fail)

    assert desk.names == [desk.PART, desk.NOTE]
