"""Locks between processes, which the system releases when their holder dies."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from omniedit.errors import LocalError, TargetBusyError
from omniedit.system.locks import hold, is_held, open_locked, release
from tests.systems import linux, windows

_HOLDER = """
import sys
from pathlib import Path
from omniedit.system.locks import open_locked
assert open_locked(Path(sys.argv[1])) is not None
print("held", flush=True)
sys.stdin.read()
"""


class Holder:
    """Another process that holds a lock until it is told to end or is killed."""

    def __init__(self, path: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _HOLDER, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"held\n"

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "edit.lock"


@pytest.fixture
def holder(path: Path) -> Iterator[Holder]:
    holder = Holder(path)
    yield holder
    holder.kill()


class CountedSleep:
    """Stands in for `sleep`: counts its calls, and does something at the third."""

    def __init__(self, at_third: object = None) -> None:
        self.count = 0
        self._at_third = at_third

    def __call__(self, seconds: float) -> None:
        assert 0 < seconds < 1
        self.count += 1
        if self.count == 3 and callable(self._at_third):
            self._at_third()


def test_a_lock_held_by_another_process_is_busy(path: Path, holder: Holder) -> None:
    assert open_locked(path) is None
    assert is_held(path)


def test_a_killed_holder_releases_its_lock(path: Path, holder: Holder) -> None:
    holder.kill()

    assert not is_held(path)
    assert not path.exists()


def test_a_waiting_process_gets_the_lock_of_a_dead_holder(path: Path, holder: Holder) -> None:
    sleep = CountedSleep(at_third=holder.kill)

    with hold(path, sleep=sleep):
        assert path.exists()

    assert sleep.count == 3
    assert not path.exists()


def test_waiting_ends_at_the_timeout(path: Path, holder: Holder) -> None:
    sleep = CountedSleep()

    with (
        pytest.raises(TargetBusyError, match=r"edit\.lock"),
        hold(path, sleep=sleep, timeout_s=0.2),
    ):
        pytest.fail("it is held elsewhere")

    assert sleep.count == 4
    assert is_held(path)


def test_a_lock_is_exclusive_within_one_process_too(path: Path) -> None:
    with hold(path, sleep=CountedSleep()):
        assert open_locked(path) is None
        assert is_held(path)
    assert not is_held(path)


def test_a_lock_is_released_when_its_block_fails(path: Path) -> None:
    with pytest.raises(ZeroDivisionError), hold(path, sleep=CountedSleep()):
        _ = 1 / 0

    assert not path.exists()


@pytest.mark.posix
def test_a_removed_lock_file_is_created_again(path: Path) -> None:
    first = open_locked(path)
    assert first is not None
    path.unlink()

    second = open_locked(path)

    assert second is not None
    assert os.fstat(second).st_ino == path.stat().st_ino
    release(path, second)
    os.close(first)


@pytest.mark.posix
def test_a_lock_on_a_replaced_file_does_not_count(path: Path) -> None:
    locked: list[int] = []

    def lock(descriptor: int) -> None:
        locked.append(os.fstat(descriptor).st_ino)
        if len(locked) == 1:
            # The previous holder removes its file, and the next one creates another.
            path.unlink()
            path.touch()

    descriptor = open_locked(path, system=linux(lock=lock))

    assert descriptor is not None
    assert [*locked[1:]] == [os.fstat(descriptor).st_ino] == [path.stat().st_ino]
    os.close(descriptor)


def test_a_leftover_lock_file_is_not_a_lock(path: Path) -> None:
    path.touch()

    assert not is_held(path)


def test_a_missing_lock_file_is_not_held(path: Path) -> None:
    assert not is_held(path)


def test_a_missing_folder_is_a_local_error(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="cannot lock"):
        open_locked(tmp_path / "missing" / "edit.lock")


def test_a_folder_in_place_of_the_lock_file_is_not_held(path: Path) -> None:
    path.mkdir()

    assert not is_held(path)


def test_on_windows_a_lock_is_released_before_its_file_is_removed(path: Path) -> None:
    with hold(path, sleep=CountedSleep(), system=windows()):
        assert open_locked(path, system=windows()) is None

    assert not path.exists()


def test_on_windows_a_lock_file_open_elsewhere_is_kept(path: Path) -> None:
    first = open_locked(path, system=windows())
    assert first is not None
    waiting = os.open(path, os.O_RDWR)

    release(path, first, system=windows())

    assert path.exists()
    assert not is_held(path)  # a file alone is not a lock
    os.close(waiting)


def test_a_file_system_without_locks_is_a_local_error(path: Path) -> None:
    def lock(_: int) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    with pytest.raises(LocalError, match="no locks available"):
        open_locked(path, system=linux(lock=lock))
