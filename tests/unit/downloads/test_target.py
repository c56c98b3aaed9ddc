"""Whether a name may be had, and whether it still holds what was saved."""

import errno
import hashlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from omniedit.downloads.part import disk_error, shortened_name
from omniedit.downloads.placement import check_target, make_folder, verify
from omniedit.errors import LocalError, TargetExistsError


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
