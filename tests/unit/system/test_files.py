"""What somebody named is opened where it is a file, and at once where it is not."""

import os
import socket
import sys
from pathlib import Path, PosixPath

import pytest

from omniedit.errors import InvalidInputError, MissingFileError
from omniedit.system.files import open_file


def test_a_file_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"\r\n\x1a\0")

    with open_file(tmp_path / "clip.mp4") as file:
        assert file.read() == b"\r\n\x1a\0"


def test_a_link_to_a_file_is_one(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"x")
    (tmp_path / "link.mp4").symlink_to("clip.mp4")

    with open_file(tmp_path / "link.mp4") as file:
        assert file.read() == b"x"


@pytest.mark.parametrize("name", ["missing.mp4", "missing/clip.mp4"])
def test_what_does_not_exist_is_missing(tmp_path: Path, name: str) -> None:
    with pytest.raises(MissingFileError, match="no such file"):
        open_file(tmp_path / name)


@pytest.mark.parametrize("name", ["a\0b.mp4", "x" * 300, "clip.mp4/clip.mp4"])
def test_a_name_that_no_file_can_have_is_missing(tmp_path: Path, name: str) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"x")

    with pytest.raises(MissingFileError, match="cannot read"):
        open_file(tmp_path / name)


@pytest.mark.skipif(sys.platform == "win32", reason="it has none of these")
def test_what_is_no_file_is_named_without_waiting_for_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The name of a socket is short.
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.mp4")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket.mp4")

    for path, kind in (
        (tmp_path, "a folder"),
        (tmp_path / "pipe.mp4", "a named pipe"),
        (tmp_path / "socket.mp4", "a socket"),
        (Path("/dev/zero"), "a device"),
    ):
        with pytest.raises(InvalidInputError, match=f"is {kind}, not a clip") as caught:
            open_file(path)
        assert caught.value.hint is not None


@pytest.mark.skipif(sys.platform == "win32", reason="it has no named pipes")
def test_a_pipe_that_takes_a_files_name_meanwhile_is_not_waited_for(tmp_path: Path) -> None:
    class Swapped(PosixPath):
        """A path whose file is replaced by a pipe right after the first look."""

        def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
            found = super().stat(follow_symlinks=follow_symlinks)
            self.unlink()
            os.mkfifo(self)
            return found

    path = Swapped(tmp_path / "clip.mp4")
    path.write_bytes(b"x")

    with pytest.raises(InvalidInputError, match="a named pipe"):
        open_file(path)
