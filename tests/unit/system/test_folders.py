"""Private folders are removed with their block, and those of a killed process by the next one."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from omniedit.errors import LocalError
from omniedit.system.files import ABANDONED_AFTER_S, private_folder

NOW = 1_800_000_000.0

HOLDING = """
import pathlib, sys
from omniedit.system.files import private_folder
with private_folder(pathlib.Path(sys.argv[1])) as folder:
    (folder / "clip.mp4").write_bytes(b"secret")
    print(folder, flush=True)
    sys.stdin.read()
"""


def holding(above: Path) -> tuple["subprocess.Popen[str]", Path]:
    """Start a process that holds a private folder; return it and the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDING, above],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    return process, Path(process.stdout.readline().strip())


def aged(folder: Path, *, seconds: float) -> None:
    os.utime(folder, (NOW - seconds, NOW - seconds))


@pytest.fixture
def above(tmp_path: Path) -> Path:
    """Return the folder that the private folders are created in."""
    above = tmp_path / "tmp"
    above.mkdir()
    return above


def test_a_folder_is_private_and_gone_after_its_block(tmp_path: Path) -> None:
    with private_folder(tmp_path / "state" / "tmp") as folder:
        (folder / "clip.mp4").write_bytes(b"x")
        for path in (folder, folder.parent, folder.parent.parent):
            assert sys.platform == "win32" or stat.S_IMODE(path.stat().st_mode) == 0o700

    assert list((tmp_path / "state" / "tmp").iterdir()) == []


def test_a_folder_goes_away_whatever_ends_its_block(above: Path) -> None:
    def fail() -> None:
        with private_folder(above):
            msg = "boom"
            raise RuntimeError(msg)

    with pytest.raises(RuntimeError, match="boom"):
        fail()

    assert list(above.iterdir()) == []


def test_what_a_killed_process_left_is_removed_an_hour_later(above: Path) -> None:
    process, left = holding(above)
    process.kill()
    process.communicate()
    assert (left / "clip.mp4").exists()

    aged(left, seconds=ABANDONED_AFTER_S - 60)
    with private_folder(above, now=lambda: NOW):
        assert left.exists()
    aged(left, seconds=ABANDONED_AFTER_S + 60)
    with private_folder(above, now=lambda: NOW) as folder:
        assert [*above.iterdir()] == [folder]


def test_what_a_living_process_holds_stays_however_old(above: Path) -> None:
    process, held = holding(above)
    aged(held, seconds=ABANDONED_AFTER_S * 100)

    with private_folder(above, now=lambda: NOW), private_folder(above, now=lambda: NOW):
        assert (held / "clip.mp4").exists()

    process.communicate("")
    assert not held.exists()


def test_what_is_not_ours_stays(above: Path) -> None:
    kept = above / "kept"
    kept.mkdir()
    (above / "omniedit-link").symlink_to(kept)
    (above / "omniedit-file").write_bytes(b"x")
    (above / "other").mkdir()
    for path in above.iterdir():
        os.utime(path, (0, 0), follow_symlinks=False)

    with private_folder(above, now=lambda: NOW):
        pass

    assert {path.name for path in above.iterdir()} == {
        *("kept", "omniedit-link", "omniedit-file", "other")
    }
    assert list(kept.iterdir()) == []


def test_where_no_folder_can_be_made_this_machine_is_to_blame(above: Path) -> None:
    (above / "file").write_bytes(b"x")

    with pytest.raises(LocalError, match="cannot create a folder"), private_folder(above / "file"):
        pass


_THREAD = """
import contextlib, pathlib, sys, threading
from omniedit.errors import LocalError
from omniedit.system.files import private_folder

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


def test_the_end_of_the_process_waits_for_no_thread_and_leaves_nothing(above: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _THREAD, str(above)], stderr=subprocess.PIPE, check=False
    )

    assert ended.returncode == 0
    assert b"Fatal" not in ended.stderr
    assert [*above.iterdir()] == []
