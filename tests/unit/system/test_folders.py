"""Private folders are removed with their block, and those of a killed process by the next one."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from omniedit.errors import LocalError
from omniedit.system.locks import ABANDONED_AFTER_S, private_folder

NOW = 1_800_000_000.0

_HOLDER = """
import pathlib, sys
from omniedit.system.locks import private_folder
with private_folder(pathlib.Path(sys.argv[1])) as folder:
    (folder / "clip.mp4").write_bytes(b"secret")
    print(folder, flush=True)
    sys.stdin.read()
"""


def start_holder(parent: Path) -> tuple["subprocess.Popen[str]", Path]:
    """Start a process that holds a private folder; return it and the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, parent],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    return process, Path(process.stdout.readline().strip())


def set_age(folder: Path, *, seconds: float) -> None:
    os.utime(folder, (NOW - seconds, NOW - seconds))


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    """Return the folder that the private folders are created in."""
    parent = tmp_path / "tmp"
    parent.mkdir()
    return parent


def test_a_folder_is_private_and_removed_after_its_block(tmp_path: Path) -> None:
    with private_folder(tmp_path / "state" / "tmp") as folder:
        (folder / "clip.mp4").write_bytes(b"x")
        for path in (folder, folder.parent, folder.parent.parent):
            assert sys.platform == "win32" or stat.S_IMODE(path.stat().st_mode) == 0o700

    assert list((tmp_path / "state" / "tmp").iterdir()) == []


def test_a_folder_is_removed_when_its_block_fails(parent: Path) -> None:
    def fail() -> None:
        with private_folder(parent):
            msg = "boom"
            raise RuntimeError(msg)

    with pytest.raises(RuntimeError, match="boom"):
        fail()

    assert list(parent.iterdir()) == []


def test_a_killed_processs_folder_is_removed_after_an_hour(parent: Path) -> None:
    process, left = start_holder(parent)
    process.kill()
    process.communicate()
    assert (left / "clip.mp4").exists()

    set_age(left, seconds=ABANDONED_AFTER_S - 60)
    with private_folder(parent, now=lambda: NOW):
        assert left.exists()
    set_age(left, seconds=ABANDONED_AFTER_S + 60)
    with private_folder(parent, now=lambda: NOW) as folder:
        assert [*parent.iterdir()] == [folder]


def test_a_running_processs_folder_is_kept_however_old(parent: Path) -> None:
    process, held = start_holder(parent)
    set_age(held, seconds=ABANDONED_AFTER_S * 100)

    with private_folder(parent, now=lambda: NOW), private_folder(parent, now=lambda: NOW):
        assert (held / "clip.mp4").exists()

    process.communicate("")
    assert not held.exists()


def test_only_folders_of_omniedit_are_removed(parent: Path) -> None:
    kept = parent / "kept"
    kept.mkdir()
    (parent / "omniedit-link").symlink_to(kept)
    (parent / "omniedit-file").write_bytes(b"x")
    (parent / "other").mkdir()
    for path in parent.iterdir():
        os.utime(path, (0, 0), follow_symlinks=False)

    with private_folder(parent, now=lambda: NOW):
        pass

    assert {path.name for path in parent.iterdir()} == {
        *("kept", "omniedit-link", "omniedit-file", "other")
    }
    assert list(kept.iterdir()) == []


def test_a_folder_that_cannot_be_created_is_a_local_error(parent: Path) -> None:
    (parent / "file").write_bytes(b"x")

    with pytest.raises(LocalError, match="cannot create a folder"), private_folder(parent / "file"):
        pass


_THREAD = """
import contextlib, pathlib, sys, threading
from omniedit.errors import LocalError
from omniedit.system.locks import private_folder

leaving = threading.Event()

def use():
    with private_folder(pathlib.Path(sys.argv[1])) as folder:
        for number in range(3000):
            (folder / str(number)).touch()
        leaving.set()
    with contextlib.suppress(LocalError):
        while True:
            with private_folder(pathlib.Path(sys.argv[1])):
                pass

threading.Thread(target=use, daemon=True).start()
leaving.wait()
"""


def test_exit_waits_for_no_thread_and_leaves_no_folder(parent: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _THREAD, str(parent)], stderr=subprocess.PIPE, check=False
    )

    assert ended.returncode == 0
    assert b"Fatal" not in ended.stderr
    assert [*parent.iterdir()] == []
