"""A result that lies here already, under another name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from omniedit.downloads.placement import copy_result, verify
from omniedit.errors import LocalError, TargetExistsError

if TYPE_CHECKING:
    from pathlib import Path

    from omniedit.models import SavedFile
    from tests.unit.downloads.conftest import Desk


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
