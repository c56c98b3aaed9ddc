"""Preparing a clip reports its progress, and stops when the command does."""

from pathlib import Path

import httpx
import pytest

from omniedit.edits.requests import prepare
from omniedit.errors import Interrupted, InvalidInputError
from omniedit.events import Working
from omniedit.models import EditRequest
from tests.unit.edits.bench import BenchSession

pytest.importorskip("av")
from omniedit.edits.upload import preparation_shown, uploaded_url
from omniedit.media.containers import Progress
from tests.unit.media.clips import make_clip


def progress_at(number: int, *, of: int = 100, elapsed_s: float | None = None) -> Progress:
    passed_s = number / 50 if elapsed_s is None else elapsed_s
    return Progress(done_s=number / 10, total_s=of / 10, frames=number, elapsed_s=passed_s)


def test_progress_is_reported_ten_times_a_second_until_the_end(
    session: BenchSession,
) -> None:
    with preparation_shown(session, "a.mov", "converting") as on_progress:
        for number in range(1, 101):
            session.time.advance(0.02)
            on_progress(progress_at(number))

    events = session.reported(Working)
    assert (events[0].name, events[0].what, events[0].done, events[0].total) == (
        *("a.mov", "converting"),
        *(0.0, None),
    )
    assert len(events) == pytest.approx(22, abs=2)
    assert (events[5].fps, events[5].total) == (pytest.approx(50), 10.0)
    assert events[5].remaining_s == pytest.approx(2 - events[5].done / 5)
    assert events[-1].done == events[-1].total
    assert sum(event.done == event.total for event in events) == 1


def test_an_instant_check_is_not_reported(session: BenchSession) -> None:
    with preparation_shown(session, "a.mp4", "checking", after_s=1.0) as on_progress:
        for number in range(50):
            on_progress(progress_at(number))

    assert session.reported(Working) == []


def test_a_long_check_is_reported(session: BenchSession) -> None:
    with preparation_shown(session, "a.mp4", "checking", after_s=1.0) as on_progress:
        on_progress(progress_at(10, elapsed_s=1.2))

    assert [event.done for event in session.reported(Working)] == [1.0, 1.0]


def test_preparing_a_clip_stops_with_its_session(session: BenchSession) -> None:
    def cut() -> None:
        with preparation_shown(session, "piece 1 of 2", "cutting") as on_progress:
            session.stop()
            on_progress(progress_at(1))

    with pytest.raises(Interrupted):
        cut()

    assert session.reported(Working)[-1].total == 1.0


def test_a_cut_beyond_the_end_names_the_url_that_was_typed(tmp_path: Path) -> None:
    content = make_clip(tmp_path / "a.mp4", seconds=1).read_bytes()
    # The host does not support ranges, so the clip is fetched before its length is known.
    session = BenchSession(
        transport=lambda _: httpx.Response(200, stream=httpx.ByteStream(content)),
        folder=tmp_path / "private",
    )
    url = "https://example.com/a.mp4"

    edit = prepare(session, EditRequest(video=url, prompt="warmer", start="9"))
    with pytest.raises(InvalidInputError) as raised:
        uploaded_url(session, edit)

    assert raised.value.message == f"start 9 is beyond the end of {url}, which is 1.00 s long"
    session.close()
