"""Only regular files are opened, and settings only if no other user could write them."""

import io
import os
import socket
import stat
import sys
from pathlib import Path, PosixPath

import pytest

from omniedit.errors import CredentialsError, InvalidInputError, LocalError, MissingFileError
from omniedit.system.files import check_own_paths, open_file, read_at_most, read_own_file
from tests.systems import linux, windows


def test_a_file_is_read_as_bytes(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"\r\n\x1a\0")

    with open_file(tmp_path / "clip.mp4") as file:
        assert file.read() == b"\r\n\x1a\0"


def test_a_symlink_to_a_file_is_opened(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"x")
    (tmp_path / "link.mp4").symlink_to("clip.mp4")

    with open_file(tmp_path / "link.mp4") as file:
        assert file.read() == b"x"


@pytest.mark.parametrize("name", ["missing.mp4", "missing/clip.mp4"])
def test_a_missing_file_is_reported_as_missing(tmp_path: Path, name: str) -> None:
    with pytest.raises(MissingFileError, match="no such file"):
        open_file(tmp_path / name)


@pytest.mark.parametrize("name", ["a\0b.mp4", "x" * 300, "clip.mp4/clip.mp4"])
def test_an_impossible_file_name_is_reported_as_missing(tmp_path: Path, name: str) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"x")

    with pytest.raises(MissingFileError, match="cannot read"):
        open_file(tmp_path / name)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has none of these")
def test_what_is_not_a_regular_file_is_refused_without_blocking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The path of a socket must be short.
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


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes in its file system")
def test_a_file_swapped_for_a_pipe_is_refused_without_blocking(tmp_path: Path) -> None:
    class Swapped(PosixPath):
        """A path whose file is replaced by a pipe right after the first `stat`."""

        def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
            found = super().stat(follow_symlinks=follow_symlinks)
            self.unlink()
            os.mkfifo(self)
            return found

    path = Swapped(tmp_path / "clip.mp4")
    path.write_bytes(b"x")

    with pytest.raises(InvalidInputError, match="a named pipe"):
        open_file(path)


@pytest.fixture
def own_file(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_bytes(b"content")
    path.chmod(0o644)
    return path


def stat_result(*, mode: int = 0o600, uid: int = 1000, gid: int = 1000) -> os.stat_result:
    return os.stat_result((stat.S_IFREG | mode, 1, 1, 1, uid, gid, 0, 0, 0, 0))


def test_an_own_file_is_read_whole_and_a_missing_one_is_none(own_file: Path) -> None:
    assert read_own_file(own_file, max_bytes=7) == b"content"
    assert read_own_file(own_file.with_name("missing"), max_bytes=7) is None


def test_an_own_file_that_is_too_long_is_refused_by_name(own_file: Path) -> None:
    with pytest.raises(LocalError, match=r"config\.toml is longer than 6 bytes"):
        read_own_file(own_file, max_bytes=6)


@pytest.mark.posix
@pytest.mark.parametrize("kind", ["a named pipe", "a device", "a folder"])
def test_an_obstacle_in_place_of_an_own_file_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "config.toml"
    match kind:
        case "a named pipe":
            os.mkfifo(path)
        case "a device":
            path.symlink_to("/dev/zero")
        case _:
            path.mkdir()

    with pytest.raises(LocalError, match=rf"config\.toml is {kind}"):
        read_own_file(path, max_bytes=100)
    with pytest.raises(LocalError, match=rf"config\.toml is {kind}"):
        check_own_paths(path)


@pytest.mark.posix
def test_a_file_writable_by_others_is_refused(own_file: Path) -> None:
    own_file.chmod(0o666)

    with pytest.raises(LocalError, match="other users may write") as caught:
        read_own_file(own_file, max_bytes=100)

    assert "chmod go-w" in (caught.value.hint or "")


@pytest.mark.posix
def test_a_folder_writable_by_others_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    check_own_paths(folder, is_folder=True)
    folder.chmod(0o777)

    with pytest.raises(LocalError, match="other users may write"):
        check_own_paths(folder, is_folder=True)


def test_a_file_in_place_of_a_folder_is_refused(own_file: Path) -> None:
    with pytest.raises(LocalError, match="is a file, not a folder"):
        check_own_paths(own_file, is_folder=True)


@pytest.mark.posix
def test_a_secret_readable_by_others_is_refused(own_file: Path) -> None:
    with pytest.raises(CredentialsError, match="can be read by other users"):
        read_own_file(own_file, max_bytes=100, is_secret=True)


@pytest.mark.parametrize(
    ("user", "found", "fault"),
    [
        pytest.param(1000, stat_result(uid=1000), None, id="owned-by-the-user"),
        pytest.param(1000, stat_result(uid=0), None, id="owned-by-root"),
        pytest.param(1000, stat_result(uid=1001), "another user", id="owned-by-another-user"),
        pytest.param(1000, stat_result(uid=1002), "another user", id="owned-by-the-folder-owner"),
        pytest.param(0, stat_result(uid=1002), None, id="root-trusts-the-folder-owner"),
        pytest.param(0, stat_result(uid=1001), "another user", id="root-distrusts-another-user"),
        pytest.param(1000, stat_result(mode=0o644), None, id="readable-by-others"),
        pytest.param(
            1000, stat_result(mode=0o666), "other users may write", id="writable-by-others"
        ),
        pytest.param(
            1000, stat_result(mode=0o664, gid=7), "its group may write", id="writable-by-a-group"
        ),
        pytest.param(1000, stat_result(mode=0o664), None, id="writable-by-the-users-private-group"),
    ],
)
def test_only_this_user_and_root_may_own_or_write_a_file(
    user: int, found: os.stat_result, fault: str | None
) -> None:
    system = linux(user=user, is_private_group=lambda group: group == 1000)

    reported = system.write_fault(found, folder_owner=1002)

    assert (fault in reported) if reported and fault else reported is fault


def test_on_windows_owner_and_mode_are_ignored() -> None:
    assert windows().write_fault(stat_result(mode=0o666, uid=7), folder_owner=0) is None


class Endless(io.RawIOBase):
    """A device like /dev/zero."""

    def __init__(self) -> None:
        self.read_bytes = 0

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        assert size >= 0
        self.read_bytes += size
        return bytes(size)


def test_an_endless_input_is_refused_at_the_limit() -> None:
    endless = Endless()

    with pytest.raises(InvalidInputError, match="the prompt is longer than 1000 bytes"):
        read_at_most(endless, max_bytes=1000, what="the prompt")  # type: ignore[arg-type]  # only `read` is used

    assert endless.read_bytes == 1001


def test_an_input_of_the_maximum_length_is_read_whole() -> None:
    assert read_at_most(io.BytesIO(b"x" * 9), max_bytes=9, what="the prompt") == b"x" * 9
