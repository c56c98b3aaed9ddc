"""Clips on this machine, as the use cases see them."""

from pathlib import Path
from typing import NoReturn

import pytest
from omniedit.cli.local_clips import LocalClips

from tests.unit.media.clips import make_clip


@pytest.fixture
def clips() -> LocalClips:
    def nothing() -> NoReturn:
        raise AssertionError

    return LocalClips(nothing, nothing, allow_internal=False, sleep=lambda _: None)


def test_a_clip_is_looked_at_once_until_it_changes(clips: LocalClips, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", seconds=1)

    first, second = clips.look(str(clip)), clips.look(str(clip))
    make_clip(clip, seconds=2)
    third = clips.look(str(clip))

    assert first is second
    assert third != first
