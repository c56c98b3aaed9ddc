import pytest

from omniedit.events import (
    Completed,
    Failed,
    Progressed,
    Retrying,
    Saved,
    Stalled,
    Submitted,
    Transferring,
)
from omniedit.models import Record, SavedFile, Task
from omniedit.terminal.tracks import Board, Track
from tests.records import record_of

FILE = SavedFile(path="/x/out.mp4", size_bytes=7, sha256="00")


def _task(status: str = "processing", task_id: str = "t-1", progress: int | None = None) -> Record:
    return record_of(Task(task_id=task_id, status=status, progress=progress))


def _progressed(progress: int | None, *, remaining_s: float | None = None) -> Progressed:
    return Progressed(record=_task(progress=progress), elapsed_s=10.0, remaining_s=remaining_s)


def _percents(track: Track, start: float, seconds: float) -> list[float]:
    return [track.percent(start + tick / 10) or 0.0 for tick in range(int(seconds * 10))]


def test_between_looks_the_bar_moves_on_but_not_past_the_next_one() -> None:
    board = Board(total_tasks=1, now=1000.0)
    track = board.take(_progressed(40, remaining_s=30.0), 1000.0)

    percents = _percents(track, 1000.0, 60)

    assert percents == sorted(percents)
    assert 45 < percents[79] < 60
    assert max(percents) <= 40 + 60 / 30 * 8


def test_the_bar_never_runs_backwards() -> None:
    board = Board(total_tasks=1, now=1000.0)
    track = board.take(_progressed(40, remaining_s=5.0), 1000.0)
    before = _percents(track, 1000.0, 10)
    board.take(_progressed(41, remaining_s=50.0), 1010.0)

    after = _percents(track, 1010.0, 10)

    assert after[0] >= before[-1]
    assert after == sorted(after)


def test_the_bar_stays_below_the_end_until_the_end() -> None:
    board = Board(total_tasks=1, now=1000.0)
    track = board.take(_progressed(99, remaining_s=0.5), 1000.0)

    assert max(_percents(track, 1000.0, 60)) < 100


def test_without_an_estimate_it_rests_where_it_was_seen() -> None:
    board = Board(total_tasks=1, now=1000.0)
    track = board.take(_progressed(40), 1000.0)

    assert _percents(track, 1000.0, 60)[-1] == pytest.approx(40, abs=0.1)
    assert track.remaining_s(1001.0) is None


def test_missing_progress_is_not_invented() -> None:
    board = Board(total_tasks=1, now=1000.0)
    track = board.take(_progressed(None, remaining_s=30.0), 1000.0)

    assert track.percent(1010.0) is None
    assert track.remaining_s(1010.0) == 20.0
    assert track.remaining_s(1050.0) == 0.0
    assert track.elapsed_s(1010.0) == 20.0


def test_a_clock_set_back_does_no_harm() -> None:
    board = Board(total_tasks=1, now=1000.0)
    track = board.take(_progressed(40, remaining_s=30.0), 1000.0)
    percent = track.percent(1005.0)

    assert track.percent(900.0) == percent
    assert track.elapsed_s(900.0) == 10.0


def test_a_transfer_knows_its_speed_and_its_end() -> None:
    board = Board(total_tasks=1, now=1000.0)
    tracks = [
        board.take(
            Transferring(
                name="o", direction="download", done_bytes=done, total_bytes=4000, task_id="t-1"
            ),
            1000.0 + second,
        )
        for second, done in enumerate([1000, 1500, 2000])
    ]
    transfer = tracks[-1].transfer

    assert transfer is not None
    assert tracks[-1].percent(1002.0) == 50.0
    assert transfer.speed(1002.0) == 500.0
    assert transfer.remaining_s(1002.0) == 4.0


def test_a_transfer_of_unknown_size_has_no_percentage() -> None:
    board = Board(total_tasks=1, now=1000.0)
    event = Transferring(name="o", direction="download", done_bytes=5, total_bytes=None)

    track = board.take(event, 1000.0)

    assert track.percent(1001.0) is None
    assert track.remaining_s(1001.0) is None


def test_a_download_that_starts_over_forgets_its_speed() -> None:
    board = Board(total_tasks=1, now=1000.0)
    for second, done in enumerate([1000, 2000, 0]):
        event = Transferring(name="o", direction="download", done_bytes=done, total_bytes=4000)
        board.take(event, 1000.0 + second)

    transfer = board.tracks[""].transfer

    assert transfer is not None
    assert transfer.speed(1002.0) is None


def test_what_moves_again_is_neither_stalled_nor_paused() -> None:
    board = Board(total_tasks=1, now=1000.0)
    board.take(_progressed(40), 1000.0)
    board.take(Stalled(task_id="t-1", since_s=120.0), 1001.0)
    track = board.take(Retrying(message="x", delay_s=4.0, attempt=1, task_id="t-1"), 1002.0)
    assert (track.still_since, track.pause is None) == (881.0, False)

    board.take(_progressed(41), 1003.0)

    assert (track.still_since, track.pause) == (None, None)


def test_an_upload_becomes_the_single_task() -> None:
    board = Board(total_tasks=1, now=1000.0)
    whole = Transferring(name="c", direction="upload", done_bytes=9, total_bytes=9)
    assert board.take(whole, 1000.0).state == "submitting"

    track = board.take(Submitted(record=_task("pending")), 1001.0)

    assert (track.state, track.task_id, len(board.tracks)) == ("pending", "t-1", 1)


def test_the_summary_of_many() -> None:
    board = Board(total_tasks=120, now=1000.0)
    for number in range(62):
        board.take(Submitted(record=_task("pending", f"t-{number}")), 1000.0)
    assert board.summary == "0/120 saved, 62 running"

    for number in range(37):
        board.take(Completed(record=_task("completed", f"t-{number}")), 1001.0)
    assert board.summary == "37/120 completed, 25 running"

    for number in range(37):
        board.take(Saved(task_id=f"t-{number}", file=FILE, shown_path="o"), 1002.0)
    board.take(Failed(record=_task("failed", "t-50")), 1002.0)

    assert board.summary == "37/120 saved, 24 running, 1 failed"
    assert board.percent(1002.0) == pytest.approx(100 * 38 / 120)


def test_uploads_of_many_make_room_for_their_tasks() -> None:
    board = Board(total_tasks=9, now=1000.0)
    board.take(Transferring(name="c", direction="upload", done_bytes=1, total_bytes=9), 1000.0)
    board.take(Transferring(name="c", direction="upload", done_bytes=9, total_bytes=9), 1001.0)
    board.take(Retrying(message="429", delay_s=9.0, attempt=1), 1001.0)

    assert board.tracks == {}
    assert board.pause is not None


def test_a_file_that_is_here_already_leaves_no_track() -> None:
    board = Board(total_tasks=9, now=1000.0)

    board.take(Saved(task_id="t-9", file=FILE, shown_path="o", is_new=False), 1000.0)

    assert (board.saved, board.tracks) == (1, {})
