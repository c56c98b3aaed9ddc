"""The progress that is reported while a clip is prepared."""

from pathlib import Path

import httpx
import pytest

from omniedit.edits.requests import prepare
from omniedit.errors import Interrupted, InvalidInputError
from omniedit.events import Preparing
from omniedit.models import EditRequest
from tests.unit.edits.bench import BenchSession

pytest.importorskip("av")
from omniedit.edits.upload import preparation_shown, uploaded_url
from omniedit.media import Progress
from tests.unit.media.clips import make_clip


def frame(number: int, *, of: int = 100, elapsed_s: float | None = None) -> Progress:
    passed_s = number / 50 if elapsed_s is None else elapsed_s
    return Progress(done_s=number / 10, total_s=of / 10, frames=number, elapsed_s=passed_s)


def test_progress_is_told_ten_times_a_second_from_the_beginning_to_the_end(
    session: BenchSession,
) -> None:
    with preparation_shown(session, "a.mov", "converting") as on_progress:
        for number in range(1, 101):
            session.time.turn(0.02)
            on_progress(frame(number))

    told = session.reported(Preparing)
    assert (told[0].name, told[0].what, told[0].done, told[0].total) == (
        *("a.mov", "converting"),
        *(0.0, None),
    )
    assert len(told) == pytest.approx(22, abs=2)
    assert (told[5].fps, told[5].total) == (pytest.approx(50), 10.0)
    assert told[5].remaining_s == pytest.approx(2 - told[5].done / 5)
    assert told[-1].done == told[-1].total
    assert sum(event.done == event.total for event in told) == 1


def test_a_check_that_takes_no_time_is_not_worth_a_line(session: BenchSession) -> None:
    with preparation_shown(session, "a.mp4", "checking", after_s=1.0) as on_progress:
        for number in range(50):
            on_progress(frame(number))

    assert session.reported(Preparing) == []


def test_a_check_that_takes_long_is_told(session: BenchSession) -> None:
    with preparation_shown(session, "a.mp4", "checking", after_s=1.0) as on_progress:
        on_progress(frame(10, elapsed_s=1.2))

    assert [event.done for event in session.reported(Preparing)] == [1.0, 1.0]


def test_work_on_a_clip_ends_with_its_command(session: BenchSession) -> None:
    def cut() -> None:
        with preparation_shown(session, "piece 1 of 2", "cutting") as on_progress:
            session.stop()
            on_progress(frame(1))

    with pytest.raises(Interrupted):
        cut()

    assert session.reported(Preparing)[-1].total == 1.0


def test_what_cannot_be_cut_has_the_name_that_was_typed(tmp_path: Path) -> None:
    content = make_clip(tmp_path / "a.mp4", seconds=1).read_bytes()
    # Its host does not support ranges, so the clip is fetched before its length is known.
    session = BenchSession(
        transport=lambda _: httpx.Response(200, stream=httpx.ByteStream(content)),
        folder=tmp_path / "private",
    )
    url = "https://example.com/a.mp4"

    edit = prepare(session, EditRequest(video=url, prompt="warmer", start="9"))
    with pytest.raises(InvalidInputError) as raised:
        uploaded_url(session, edit)

    assert raised.value.message == f"--start 9 is beyond the end of {url}, which is 1.00 s long"
    session.close()
