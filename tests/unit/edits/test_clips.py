from pathlib import Path

import pytest

from omniedit.edits.clips import look, probe
from omniedit.edits.requests import prepare
from omniedit.errors import InvalidInputError
from omniedit.models import DEFAULT_MODEL, EditRequest, find_model
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


def test_a_page_of_a_video_site_is_refused_unless_its_user_insists(session: BenchSession) -> None:
    request = EditRequest(video="https://youtu.be/dQw4w9WgXcQ", prompt="warmer")

    for refused in (
        lambda: prepare(session, request),
        lambda: probe(session, request.video, find_model(DEFAULT_MODEL)),
    ):
        with pytest.raises(InvalidInputError, match=r"a page of youtu\.be"):
            refused()

    assert prepare(session, request._replace(check=False)).clip == request.video
