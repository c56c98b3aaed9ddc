"""Targets and placement: collisions, links in the way and dying processes."""

from __future__ import annotations

import errno
import os
import shutil
import socket
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from omniedit.downloads.part import (
    PartFile,
    Version,
    disk_errors,
    hidden_path,
    part_path,
)
from omniedit.downloads.placement import Placement, check_writable, make_folder, saved_file
from omniedit.errors import LocalError, TargetBusyError, TargetExistsError
from omniedit.policy import DEFAULT
from omniedit.system import THIS_SYSTEM
from tests.systems import linux, with_link
from tests.unit.downloads.saving import save

if TYPE_CHECKING:
    from collections.abc import Callable

    from omniedit.models import SavedFile
    from omniedit.system import System
    from tests.unit.downloads.conftest import Bench, Origin


@pytest.mark.parametrize("name", ["out.mp4", "a/b/c/out.mp4", "x" * 255, "ü" * 127])
def test_checking_a_usable_target_creates_nothing(tmp_path: Path, name: str) -> None:
    before = list(tmp_path.iterdir())

    check_writable(tmp_path / name)

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
def test_a_target_that_is_not_a_file_is_refused_even_with_force(
    tmp_path: Path,
    make: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
    *,
    overwrite: bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "out.mp4")

    with pytest.raises(LocalError) as caught:
        check_writable(tmp_path / "out.mp4", overwrite=overwrite)

    assert not isinstance(caught.value, TargetExistsError)


def _file(path: Path) -> None:
    path.write_bytes(b"mine")


def _link(path: Path) -> None:
    path.with_name("else").write_bytes(b"mine")
    path.symlink_to("else")


def _dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize("make", [_file, _link, _dangling_link])
def test_an_existing_target_needs_force(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "out.mp4")

    with pytest.raises(TargetExistsError):
        check_writable(tmp_path / "out.mp4")
    check_writable(tmp_path / "out.mp4", overwrite=True)


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
def test_an_unusable_target_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "dangling").symlink_to("nowhere")

    with pytest.raises(LocalError) as caught:
        check_writable(tmp_path / name)

    assert "\n" not in caught.value.message
    assert not isinstance(caught.value, TargetExistsError)


def test_folders_are_created_with_their_parents(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")

    assert (tmp_path / "a" / "b").is_dir()


def test_a_folder_that_cannot_be_created_is_a_local_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(LocalError):
        make_folder(tmp_path / "file" / "a")


@pytest.mark.parametrize("name", ["x" * 255, "ü" * 127, "\U0001f3ac" * 63])
def test_a_long_name_is_shortened_to_fit_and_stays_unique(tmp_path: Path, name: str) -> None:
    short = hidden_path(tmp_path / name, ".part").name
    other = hidden_path(tmp_path / (name[:-1] + "y"), ".part").name

    assert 240 < len(os.fsencode(short)) <= 255
    assert short.startswith(f".{name[0]}")
    assert short.endswith(".part")
    assert short != other


def test_a_hidden_name_is_as_short_as_the_given_system_requires(tmp_path: Path) -> None:
    system = linux(name_limit=lambda _: 100)

    assert len(hidden_path(tmp_path / ("x" * 99), ".part", system=system).name) == 100


@pytest.mark.posix
def test_a_part_name_is_as_short_as_a_folder_that_did_not_exist_requires(
    make_bench: Callable[..., Bench], tmp_path: Path
) -> None:
    def name_limit(folder: Path) -> int:
        if not folder.is_dir():
            raise FileNotFoundError
        return 100

    system = linux(name_limit=name_limit, user=os.getuid())
    names: list[str] = []

    def note_part_name(part: PartFile) -> None:
        names.append(part.path.name)
        part.append(b"result")

    make_bench(system).placement.write(
        tmp_path / "new" / ("x" * 90), "abcd1234", note_part_name, overwrite=False
    )

    assert [len(name) <= 100 for name in names] == [True]


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "free some space"),
        (errno.EFBIG, "ulimit"),
    ],
)
def test_a_full_disk_hints_at_the_remedy(number: int, advice: str) -> None:
    with pytest.raises(LocalError) as caught, disk_errors(Path("/v/out.mp4")):
        raise OSError(number, os.strerror(number))

    assert caught.value.message.startswith("cannot write /v/out.mp4: ")
    assert advice in str(caught.value.hint)


def _act_during_download(
    bench: Bench, act: Callable[[], object], *, overwrite: bool = False
) -> None:
    """Download, and call `act` once the first bytes have arrived."""
    acts = [act]

    def on_progress(done_bytes: int, _: int | None) -> None:
        if done_bytes and acts:
            acts.pop()()

    bench.download(overwrite=overwrite, on_progress=on_progress)


def test_a_target_that_appears_during_the_download_is_kept(bench: Bench) -> None:
    with pytest.raises(TargetExistsError, match="appeared"):
        _act_during_download(bench, lambda: bench.target.write_bytes(b"mine"))

    assert bench.target.read_bytes() == b"mine"
    assert bench.names == ["out.mp4"]


@pytest.mark.posix
def test_a_pipe_that_appears_during_the_download_is_kept_unread(bench: Bench) -> None:
    with pytest.raises(TargetExistsError, match="appeared"):
        _act_during_download(bench, lambda: os.mkfifo(bench.target))

    assert bench.target.is_fifo()
    assert bench.names == ["out.mp4"]


def test_a_target_that_appears_with_the_same_content_is_success(
    bench: Bench, origin: Origin
) -> None:
    _act_during_download(bench, lambda: bench.target.write_bytes(origin.content))

    assert bench.names == ["out.mp4"]


def test_a_symlink_that_takes_the_target_is_not_followed(bench: Bench, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")

    with pytest.raises(TargetExistsError):
        _act_during_download(bench, lambda: bench.target.symlink_to(victim))

    assert victim.read_bytes() == b"mine"


@pytest.mark.posix
def test_a_symlink_that_cannot_be_followed_and_takes_the_target_is_kept(bench: Bench) -> None:
    with pytest.raises(TargetExistsError, match="appeared"):
        _act_during_download(bench, lambda: bench.target.symlink_to("x" * 300))

    assert bench.names == ["out.mp4"]


def test_force_replaces_a_symlink_and_not_its_destination(
    bench: Bench, origin: Origin, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    bench.target.symlink_to(victim)

    bench.download(overwrite=True)

    assert victim.read_bytes() == b"mine"
    assert not bench.target.is_symlink()
    assert bench.target.read_bytes() == origin.content


def test_a_folder_that_takes_the_target_fails_and_keeps_the_part(bench: Bench) -> None:
    with pytest.raises(LocalError, match="cannot write"):
        _act_during_download(bench, bench.target.mkdir, overwrite=True)

    bench.target.rmdir()
    bench.origin.requests.clear()
    bench.download()
    assert bench.origin.requests == []


@pytest.mark.posix
def test_a_folder_that_vanishes_is_a_local_error(bench: Bench) -> None:
    with pytest.raises(LocalError, match="vanished"):
        _act_during_download(bench, lambda: shutil.rmtree(bench.folder))


@pytest.mark.parametrize("name", ["PART", "NOTE"])
def test_a_planted_symlink_is_not_followed(bench: Bench, tmp_path: Path, name: str) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    (bench.folder / getattr(bench, name)).symlink_to(victim)

    if name == "PART":
        with pytest.raises(LocalError):
            bench.download()
    else:
        bench.download()

    assert victim.read_bytes() == b"mine"


@pytest.mark.posix
def test_a_planted_pipe_is_refused(bench: Bench) -> None:
    os.mkfifo(bench.folder / bench.PART)

    with pytest.raises(LocalError, match="in the way"):
        bench.download()


def test_a_part_that_is_a_hard_link_is_not_written_to(
    bench: Bench, origin: Origin, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    (bench.folder / bench.PART).hardlink_to(victim)

    bench.download()

    assert victim.read_bytes() == b"mine"
    assert bench.target.read_bytes() == origin.content


def test_a_part_left_by_a_kill_after_placing_is_removed(bench: Bench, origin: Origin) -> None:
    bench.leave_part(5000)
    (bench.folder / bench.PART).rename(bench.target)
    (bench.folder / bench.PART).hardlink_to(bench.target)

    saved = bench.download()

    assert origin.requests == []
    assert saved.size_bytes == 5000
    assert bench.names == ["out.mp4"]


def test_force_after_a_kill_after_placing_downloads_again(bench: Bench, origin: Origin) -> None:
    bench.leave_part(5000)
    (bench.folder / bench.PART).rename(bench.target)
    (bench.folder / bench.PART).hardlink_to(bench.target)

    bench.download(overwrite=True)

    assert len(origin.requests) == 1
    assert bench.target.read_bytes() == origin.content
    assert bench.names == ["out.mp4"]


def _part_held_elsewhere(bench: Bench, system: System = THIS_SYSTEM) -> PartFile:
    placement = Placement(sleep=lambda _: None, system=system)
    part = placement.open_part(bench.target, bench.TASK_ID, overwrite=False)
    assert part is not None
    part.begin(Version(url_path="/results/clip.mp4", etag='"v1"', total_bytes=5000))
    return part


@pytest.mark.parametrize("overwrite", [False, pytest.param(True, marks=pytest.mark.posix)])
def test_waiting_for_another_download_of_the_target_succeeds(
    bench: Bench, origin: Origin, *, overwrite: bool
) -> None:
    other = _part_held_elsewhere(bench)
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            with other:
                other.append(origin.content)
                bench.placement.place(other, bench.target, overwrite=overwrite)

    saved = save(
        bench.http,
        bench.URL,
        bench.target,
        sleep=sleep,
        task_id=bench.TASK_ID,
        overwrite=overwrite,
    )

    assert origin.requests == []
    assert saved.size_bytes == 5000
    assert bench.names == ["out.mp4"]


def test_the_part_of_a_process_that_died_is_resumed(bench: Bench, origin: Origin) -> None:
    other = _part_held_elsewhere(bench)
    other.append(origin.content[:2000])

    save(
        bench.http,
        bench.URL,
        bench.target,
        sleep=lambda _: other.close(),
        task_id=bench.TASK_ID,
    )

    assert origin.ranges == ["bytes=2000-"]
    assert bench.target.read_bytes() == origin.content


@pytest.mark.parametrize("budget_s", [20.0, DEFAULT.busy_budget_s])
def test_waiting_for_another_download_times_out(
    make_bench: Callable[..., Bench], budget_s: float
) -> None:
    bench = make_bench(policy=DEFAULT._replace(busy_budget_s=budget_s))
    other = _part_held_elsewhere(bench)

    with pytest.raises(TargetBusyError):
        bench.download()

    other.close()
    assert budget_s - 1 < sum(bench.slept) < budget_s + 1


def _complete_part(bench: Bench, system: System = THIS_SYSTEM) -> PartFile:
    part = _part_held_elsewhere(bench, system)
    part.append(bench.origin.content)
    return part


def _no_hard_links(source: Path, target: Path) -> None:
    raise PermissionError(errno.EPERM, "no links here")


def _with_link(bench: Bench, link: Callable[[Path, Path], None]) -> Placement:
    return replace(bench.placement, system=with_link(bench.placement.system, link))


def test_without_hard_links_a_result_is_renamed(bench: Bench, origin: Origin) -> None:
    with _complete_part(bench) as part:
        _with_link(bench, _no_hard_links).place(part, bench.target, overwrite=False)

    assert bench.target.read_bytes() == origin.content
    assert bench.names == ["out.mp4"]


def test_without_hard_links_an_existing_target_is_kept(bench: Bench) -> None:
    part = _complete_part(bench)
    bench.target.write_bytes(b"mine")

    with part, pytest.raises(TargetExistsError):
        _with_link(bench, _no_hard_links).place(part, bench.target, overwrite=False)

    assert bench.target.read_bytes() == b"mine"
    assert bench.names == ["out.mp4"]


def test_a_hard_link_created_despite_an_error_is_success(bench: Bench, origin: Origin) -> None:
    def link(source: Path, target: Path) -> None:
        os.link(source, target)
        raise FileExistsError

    with _complete_part(bench) as part:
        _with_link(bench, link).place(part, bench.target, overwrite=False)

    assert bench.target.read_bytes() == origin.content


@pytest.mark.posix
def test_a_part_that_was_moved_away_is_not_placed(bench: Bench) -> None:
    part = _complete_part(bench)
    (bench.folder / bench.PART).rename(bench.folder / "elsewhere")

    with part, pytest.raises(LocalError, match="vanished"):
        bench.placement.place(part, bench.target, overwrite=False)

    assert not bench.target.exists()


@pytest.mark.parametrize("name", ["x" * 255, "ü" * 120 + ".mp4"])
def test_a_target_with_a_long_name_is_downloaded(bench: Bench, origin: Origin, name: str) -> None:
    bench.target = bench.folder / name
    bench.leave_part()

    bench.download()

    assert origin.ranges == ["bytes=3000-"]
    assert bench.names == [name]


def test_a_hostile_task_id_does_not_leave_the_folder(tmp_path: Path) -> None:
    path = part_path(tmp_path / "out.mp4", "../../etc")

    assert path.parent == tmp_path
    assert "/" not in path.name


@pytest.mark.parametrize("limit_bytes", [0, 1, 7, 8, 90, 999, 1000, 1001, 4999])
def test_a_full_disk_keeps_the_part_if_its_note_fits(
    bench: Bench, origin: Origin, limit_bytes: int
) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, before[1]))
    try:
        with pytest.raises(LocalError, match=r"cannot write .*/videos/") as caught:
            bench.download()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    names = bench.names
    origin.requests.clear()

    bench.download()

    assert "ulimit" in str(caught.value.hint)
    # The note is about 150 bytes long.
    has_room_for_note = limit_bytes > 500
    assert names == ([bench.PART, bench.NOTE] if has_room_for_note else [])
    assert origin.ranges == [f"bytes={limit_bytes}-" if has_room_for_note else None]
    assert bench.target.read_bytes() == origin.content


def test_a_failed_sync_is_an_error_and_keeps_the_part(bench: Bench) -> None:
    part = _complete_part(bench)
    path = part.path
    reading, writing = os.pipe()  # a pipe cannot be synced
    os.dup2(writing, part._file.fileno())

    with pytest.raises(LocalError):
        part.sync()

    for descriptor in (reading, writing):
        os.close(descriptor)
    part.close()
    assert path.exists()


def _copy(bench: Bench, source: SavedFile, target: Path, *, overwrite: bool = False) -> SavedFile:
    return bench.placement.copy(source, target, overwrite=overwrite)


def test_a_saved_file_is_copied_whole(bench: Bench) -> None:
    target = bench.folder / "sub" / "copy.mp4"

    copy = _copy(bench, bench.download(), target)

    assert copy.path == str(target)
    assert saved_file(target) == copy
    assert target.read_bytes() == bench.origin.content
    assert list(target.parent.iterdir()) == [target]


def test_a_copy_overwrites_only_when_asked(bench: Bench) -> None:
    saved = bench.download()
    target = bench.folder / "copy.mp4"
    target.write_bytes(b"mine")

    with pytest.raises(TargetExistsError):
        _copy(bench, saved, target)
    _copy(bench, saved, target, overwrite=True)

    assert target.read_bytes() == bench.origin.content


def test_a_source_that_changed_is_not_copied(bench: Bench) -> None:
    saved = bench.download()
    bench.target.write_bytes(b"edited by hand")

    with pytest.raises(LocalError, match="changed"):
        _copy(bench, saved, bench.folder / "copy.mp4")

    assert bench.names == ["out.mp4"]


def test_a_source_that_vanished_is_not_copied(bench: Bench) -> None:
    saved = bench.download()
    bench.target.unlink()

    with pytest.raises(LocalError, match="cannot read"):
        _copy(bench, saved, bench.folder / "copy.mp4")

    assert bench.names == []


def test_a_part_left_by_a_kill_after_copying_is_removed(bench: Bench) -> None:
    saved = bench.download()
    target = bench.folder / "copy.mp4"
    _copy(bench, saved, target)
    part = bench.folder / f".copy.mp4.{saved.sha256[-8:]}.part"
    part.hardlink_to(target)

    copy = _copy(bench, saved, target)

    assert copy.sha256 == saved.sha256
    assert bench.names == ["copy.mp4", "out.mp4"]


NO_LOCKS = sorted(
    {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EIO}
)  # two of them are equal on Linux


def _system_without_locks(number: int = errno.ENOLCK) -> System:
    def lock(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    return linux(lock=lock, user=os.getuid())


@pytest.mark.posix
@pytest.mark.parametrize("number", NO_LOCKS)
def test_check_target_reports_whether_the_folder_supports_locks(
    tmp_path: Path, number: int
) -> None:
    system = _system_without_locks(number)

    assert not check_writable(tmp_path / "new" / "out.mp4", system=system)
    assert check_writable(tmp_path / "out.mp4")
    assert not (tmp_path / "new").exists()


@pytest.mark.posix
@pytest.mark.parametrize("number", NO_LOCKS)
def test_without_locks_a_result_is_still_resumed_and_saved(
    make_bench: Callable[..., Bench], number: int
) -> None:
    bench = make_bench(_system_without_locks(number))
    bench.origin.script = [bench.origin.cut(3000)]

    bench.download()

    assert bench.origin.ranges == [None, "bytes=3000-"]
    assert bench.target.read_bytes() == bench.origin.content
    assert bench.names == ["out.mp4"]


@pytest.mark.posix
def test_without_locks_no_part_is_left_for_the_next_run(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(_system_without_locks())

    bench.leave_part()

    assert bench.names == []


@pytest.mark.posix
def test_without_locks_two_downloads_do_not_interfere(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(_system_without_locks())

    _act_during_download(bench, bench.download)

    assert bench.target.read_bytes() == bench.origin.content
    assert bench.names == ["out.mp4"]


@pytest.mark.posix
def test_without_locks_a_target_that_appears_is_kept(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(_system_without_locks())

    with pytest.raises(TargetExistsError):
        _act_during_download(bench, lambda: bench.target.write_bytes(b"mine"))

    assert bench.target.read_bytes() == b"mine"
    assert bench.names == ["out.mp4"]


class SyncRecorder:
    """Records the names in a folder whenever the folder is synced."""

    def __init__(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[list[str]] = []

        def sync_folder(folder: Path) -> None:
            assert folder == bench.folder
            self.seen.append(bench.names)

        self.system = linux(user=os.getuid())
        monkeypatch.setattr(self.system, "sync_folder", sync_folder)


@pytest.mark.posix
@pytest.mark.parametrize("overwrite", [False, True])
def test_the_folder_is_synced_before_and_after_the_part_is_removed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, *, overwrite: bool
) -> None:
    recorder = SyncRecorder(bench, monkeypatch)

    placement = replace(bench.placement, system=recorder.system)
    with _complete_part(bench, recorder.system) as part:
        placement.place(part, bench.target, overwrite=overwrite)

    before_removal = ["out.mp4"] if overwrite else [bench.PART, bench.NOTE, "out.mp4"]
    assert recorder.seen == [before_removal, ["out.mp4"]]


def test_a_result_is_complete_when_announced_and_named_afterwards(
    bench: Bench, origin: Origin
) -> None:
    seen: list[tuple[bool, bytes]] = []

    def record(saved: SavedFile) -> None:
        assert saved.path == str(bench.target)
        seen.append((bench.target.exists(), (bench.folder / bench.PART).read_bytes()))

    bench.download(on_verified=record)

    assert seen == [(False, origin.content)]


def test_a_copy_is_announced_before_it_gets_its_name(bench: Bench, origin: Origin) -> None:
    saved = bench.download()
    copy = bench.folder / "copy.mp4"
    seen: list[tuple[str, bool]] = []

    bench.placement.copy(
        saved,
        copy,
        overwrite=False,
        on_verified=lambda file: seen.append((file.sha256, copy.exists())),
    )

    assert seen == [(saved.sha256, False)]


def test_a_result_that_cannot_be_announced_stays_a_part(bench: Bench, origin: Origin) -> None:
    def fail(_saved: SavedFile) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.download(on_verified=fail)

    assert bench.names == [bench.PART, bench.NOTE]
