from pathlib import Path

import pytest

from omniedit.edits.clips import look
from tests.unit.edits.bench import BenchSession

pytest.importorskip("av")
from tests.unit.media.clips import make_clip


def test_a_clip_is_looked_at_once_until_it_changes(session: BenchSession, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", seconds=1)

    first, second = look(session, str(clip)), look(session, str(clip))
    make_clip(clip, seconds=2)
    third = look(session, str(clip))

    assert first is second
    assert third != first
