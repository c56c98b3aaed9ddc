"""Each system's class behaves like that system, on whichever system the tests run."""

import errno
import io
import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omniedit.system import PATIENCE_S, THIS_SYSTEM, System, is_reserved_name
from tests.systems import linux, macos, windows


def failing(error: OSError) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise error

    return fail


every_system = pytest.mark.parametrize(
    "system", [THIS_SYSTEM, linux(), macos(), windows()], ids=["this", "linux", "macos", "windows"]
)


@pytest.mark.parametrize("system", [THIS_SYSTEM, windows()], ids=["this", "windows"])
def test_a_file_is_locked_through_one_descriptor_at_a_time(tmp_path: Path, system: System) -> None:
    first = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    second = os.open(tmp_path / "lock", os.O_RDWR)

    assert system.try_lock(first)
    assert not system.try_lock(second)
    os.close(first)
    assert system.try_lock(second)
    os.close(second)


def test_a_file_system_without_locks_is_an_error() -> None:
    system = linux(lock=failing(OSError(errno.ENOLCK, "no locks")))

    with pytest.raises(OSError, match="no locks"):
        system.try_lock(0)


@every_system
def test_a_file_can_be_synced(tmp_path: Path, system: System) -> None:
    with (tmp_path / "file").open("wb") as file:
        system.sync_file(file.fileno())


def test_macos_flushes_the_drives_cache() -> None:
    synced: list[int] = []

    macos(synced.append).sync_file(7)

    assert synced == [7]


def test_macos_tolerates_a_drive_that_cannot_flush(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        macos(failing(OSError(errno.ENOTSUP, "not here"))).sync_file(file.fileno())


@every_system
def test_a_failed_sync_is_an_error(system: System) -> None:
    reading, writing = os.pipe()  # a pipe cannot be synced

    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        system.sync_file(writing)

    os.close(reading)
    os.close(writing)


@every_system
def test_a_folder_that_cannot_be_synced_is_not_an_error(tmp_path: Path, system: System) -> None:
    system.sync_folder(tmp_path)
    system.sync_folder(tmp_path / "nowhere")
    system.sync_folder(Path("/proc/self"))


@every_system
def test_replace_moves_a_file_over_another(tmp_path: Path, system: System) -> None:
    source, target = tmp_path / "new", tmp_path / "old"
    source.write_bytes(b"new")
    target.write_bytes(b"old")

    system.replace(source, target)

    assert (target.read_bytes(), source.exists()) == (b"new", False)


@every_system
def test_replacing_with_a_missing_file_is_an_error(tmp_path: Path, system: System) -> None:
    with pytest.raises(FileNotFoundError):
        system.replace(tmp_path / "missing", tmp_path / "target")


def test_windows_waits_for_another_program_to_close_the_file(tmp_path: Path) -> None:
    source, target = tmp_path / "new", tmp_path / "old"
    source.write_bytes(b"new")
    target.write_bytes(b"old")
    scanner = target.open("rb")
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            scanner.close()

    windows(sleep=sleep).replace(source, target)

    assert target.read_bytes() == b"new"
    assert len(slept) == 3


def test_windows_does_not_wait_forever(tmp_path: Path) -> None:
    source, target = tmp_path / "new", tmp_path / "old"
    source.write_bytes(b"new")
    target.write_bytes(b"old")
    slept: list[float] = []

    with target.open("rb"), pytest.raises(PermissionError):
        windows(sleep=slept.append).replace(source, target)

    assert target.read_bytes() == b"old"
    assert sum(slept) == pytest.approx(PATIENCE_S)


@every_system
def test_removing_a_missing_file_is_not_an_error(tmp_path: Path, system: System) -> None:
    path = tmp_path / "file"
    path.touch()

    system.remove(path)
    system.remove(path)

    assert not path.exists()


@pytest.mark.parametrize("system", [THIS_SYSTEM, windows()], ids=["this", "windows"])
def test_moves_open_files_tells_whether_an_open_file_can_be_removed(
    tmp_path: Path, system: System
) -> None:
    path = tmp_path / "file"

    with path.open("wb"):
        try:
            system.remove(path)
        except PermissionError:
            is_removed = False
        else:
            is_removed = True

    assert is_removed is system.moves_open_files


@pytest.mark.parametrize(
    "name",
    [
        *("CON", "con", "nul", "NUL.mp4", "nul.tar.gz", "aux .mp4", "prn.", "COM1", "com9.mp4"),
        *("LPT1", "lpt¹.mp4", "CONIN$", "conout$.txt"),
    ],
)
def test_a_device_name_is_reserved_with_any_extension(name: str) -> None:
    assert is_reserved_name(name)
    assert windows().path_fault(Path("C:/out") / name)


@pytest.mark.parametrize(
    "name", ["console.mp4", "com0", "com10", "nulls", "x.nul", "clip-con.mp4", "lpt", "auxin"]
)
def test_a_name_that_resembles_a_device_is_not_reserved(name: str) -> None:
    assert not is_reserved_name(name)
    assert windows().path_fault(Path("C:/out") / name) is None


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("C:\\out\\a:b.mp4", "':'"),
        ("C:\\out\\what?.mp4", "'?'"),
        ("C:\\out\\a*.mp4", "'*'"),
        ("C:\\out\\a<b>.mp4", "'<'"),
        ('C:\\out\\"a".mp4', "'\"'"),
        ("C:\\out\\a|b.mp4", "'|'"),
        ("C:\\out\\a\tb.mp4", "'\\t'"),
        ("C:\\out \\a.mp4", "' '"),
        ("C:\\out\\a.", "'.'"),
        ("C:\\nul\\a.mp4", "nul is the name of a device"),
    ],
)
def test_windows_names_the_fault_of_a_path(path: str, fault: str) -> None:
    found = windows().path_fault(Path(path))

    assert found is not None
    assert fault in found


@pytest.mark.parametrize(
    "path",
    [
        *("C:\\out\\a.mp4", "C:/out/a b.mp4", "D:\\out\\..\\a.mp4", "C:\\out\\.a.part"),
        *("\\\\server\\share$\\out\\a.mp4", "C:\\Übung\\日本.mp4", "C:\\out\\a;b&c'd.mp4"),
    ],
)
def test_windows_accepts_other_paths(path: str) -> None:
    assert windows().path_fault(Path(path)) is None


def test_windows_accepts_a_long_path_only_if_enabled() -> None:
    path = Path("C:\\", "folder" * 30, "x" * 80 + ".mp4")

    assert windows(has_long_paths=True).path_fault(path) is None
    assert "too long" in str(windows(has_long_paths=False).path_fault(path))


def test_a_path_just_short_enough_for_its_part_file_is_accepted() -> None:
    path = Path("C:\\", "x" * (259 - len("C:\\") - len("..12345678.part.json") - 5))

    assert windows(has_long_paths=False).path_fault(path) is None


@given(st.text(max_size=40))
def test_linux_and_macos_accept_any_name(name: str) -> None:
    assert linux().path_fault(Path("/out") / name) is None
    assert macos().path_fault(Path("/out") / name) is None


def test_name_keys_follow_each_systems_case_and_unicode_rules() -> None:
    composed, decomposed = "/out/caf\u00e9.mp4", "/out/CAFE\u0301.mp4"

    assert linux().name_key(composed) != linux().name_key(decomposed)
    assert macos().name_key(composed) == macos().name_key(decomposed)
    assert windows().name_key("C:\\Out\\A.mp4") == windows().name_key("c:\\out\\a.MP4")
    assert windows().name_key(composed) != windows().name_key(decomposed)


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        pytest.param(lambda _: 143, 143, id="limited"),
        pytest.param(lambda _: -1, 255, id="unlimited"),
        pytest.param(failing(OSError(errno.ENOENT, "gone")), 255, id="missing-folder"),
        pytest.param(failing(OSError(errno.EINVAL, "what")), 255, id="unsupported"),
    ],
)
def test_the_longest_name_is_what_the_file_system_reports(
    tmp_path: Path, limit: Callable[[Path], int], expected: int
) -> None:
    assert linux(name_limit=limit).longest_name_bytes(tmp_path) == expected


@pytest.mark.parametrize(
    ("mode", "is_private"), [(0o600, True), (0o700, True), (0o640, False), (0o604, False)]
)
def test_a_file_is_private_if_its_mode_shuts_others_out(mode: int, *, is_private: bool) -> None:
    assert linux().is_private(stat.S_IFREG | mode) is is_private


def test_on_windows_the_mode_does_not_decide_privacy() -> None:
    assert windows().is_private(stat.S_IFREG | 0o666)


def test_the_boot_id_is_stable_and_not_empty() -> None:
    assert THIS_SYSTEM.boot_id() == THIS_SYSTEM.boot_id() != ""


def test_without_a_boot_id_file_the_start_time_identifies_the_boot(tmp_path: Path) -> None:
    began = time.time() - 5000
    now = linux(uptime=lambda: time.time() - began, boot_id_file=tmp_path / "missing")
    later = linux(uptime=lambda: 60.0, boot_id_file=tmp_path / "missing")

    assert now.boot_id() == now.boot_id() != later.boot_id()


@pytest.mark.parametrize("timeout_s", [None, 0.0, 30.0])
def test_on_linux_a_wait_is_one_piece(timeout_s: float | None) -> None:
    assert [*linux().waits(timeout_s)] == [timeout_s]


def test_on_windows_an_endless_wait_is_many_short_pieces() -> None:
    pieces = windows().waits(None)

    assert [next(pieces) for _ in range(1000)] == [0.1] * 1000


@pytest.mark.parametrize("timeout_s", [0.0, 0.001, 0.02])
def test_on_windows_a_wait_ends_at_its_timeout(timeout_s: float) -> None:
    began = time.monotonic()

    pieces = [*windows().waits(timeout_s)]

    assert pieces[0] == timeout_s
    assert time.monotonic() - began >= timeout_s


@every_system
@pytest.mark.parametrize("timeout_s", [None, 20.0])
def test_an_event_ends_a_wait(system: System, timeout_s: float | None) -> None:
    event = threading.Event()
    thread = threading.Thread(target=event.set)
    thread.start()

    assert system.wait(event, timeout_s)
    thread.join()


@every_system
def test_a_wait_without_an_event_times_out(system: System) -> None:
    assert not system.wait(threading.Event(), 0.01)


def test_only_old_windows_consoles_lack_escapes() -> None:
    assert linux().enables_escapes(lambda: 2)
    assert macos().enables_escapes(lambda: 2)
    assert windows(enables_escapes=True).enables_escapes(lambda: 2)
    assert not windows(enables_escapes=False).enables_escapes(lambda: 2)


def test_a_stream_without_a_descriptor_has_no_escapes() -> None:
    assert not windows(enables_escapes=True).enables_escapes(io.StringIO().fileno)
