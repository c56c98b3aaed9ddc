"""The board keeps the records of a command, and the state of each edit between polls."""

from itertools import pairwise
from typing import Any

import pytest

from omniedit.errors import (
    NetworkError,
    NotFinishedError,
    OutcomeUnknownError,
    WaitTimeoutError,
)
from omniedit.events import (
    Completed,
    Event,
    Failed,
    LineFailed,
    Noted,
    Progressed,
    Retrying,
    Saved,
    Stalled,
    Submitted,
    Working,
)
from omniedit.models import Record, SavedFile, Task, TaskError
from omniedit.terminal.board import Board, EditState
from tests.journals import record_of

FILE = SavedFile(path="/a/out.mp4", size_bytes=7, sha256="00")
TASK = Task(task_id="t-1", status="processing", created_at=1.0)
DONE = TASK._replace(status="completed", progress=100)


class ClockedBoard(Board):
    """A board whose clock is set by tests."""

    def __init__(self, *events: Event, total: int = 1) -> None:
        self.now = 1000.0
        super().__init__(lambda: self.now)
        self.expect(total)
        for event in events:
            self.update(event)

    def update_at(self, now: float, event: Event) -> EditState:
        self.now = now
        self.update(event)
        return self.state_of(event)


def _task(status: str = "processing", task_id: str = "t-1", **fields: Any) -> Record:
    return record_of(Task(task_id=task_id, status=status, **fields))


def _progressed(
    progress: int | None,
    *,
    remaining_s: float | None = None,
    elapsed_s: float = 10.0,
    estimated_s: float | None = None,
) -> Progressed:
    record = _task(progress=progress, estimated_s=estimated_s)
    return Progressed(record=record, elapsed_s=elapsed_s, remaining_s=remaining_s)


def _transferring(
    done: int, total: int | None = 4000, *, what: str = "downloading", task_id: str | None = "t-1"
) -> Working:
    return Working(name="o", what=what, done=done, total=total, is_transfer=True, task_id=task_id)


def _saved(task_id: str = "t-1", **fields: Any) -> Saved:
    return Saved(task_id=task_id, file=FILE, shown_path="o", **fields)


def _percents(edit: EditState, start: float, seconds: float) -> list[float]:
    return [edit.percent(start + tick / 10) or 0.0 for tick in range(int(seconds * 10))]


def test_events_update_a_record() -> None:
    board = ClockedBoard(
        Submitted(record=_task("pending")),
        _progressed(40),
        Completed(record=record_of(DONE, prompt="warmer")),
    )

    [found] = board.records
    assert (found.status, found.task, found.prompt) == ("completed", DONE, "warmer")


def test_a_failed_record_has_its_error() -> None:
    reason = TaskError(code="service_error", message="no")

    [found] = ClockedBoard(Failed(record=_task("failed", error=reason))).records

    assert (found.status, found.error) == ("failed", reason)


def test_a_saved_file_is_added_once_and_kept() -> None:
    other = SavedFile(path="/b/out.mp4", size_bytes=7, sha256="00")
    board = ClockedBoard()
    board.add(record_of(TASK, saved=(other,)))

    for event in (_saved(), _saved(), _progressed(50)):
        board.update(event)

    assert board.records[0].saved == (other, FILE)


def test_an_added_error_does_not_replace_a_records_own() -> None:
    board = ClockedBoard()
    board.add_error(record_of(TASK), NetworkError("cut", hint="try again"))
    own = TaskError(code="service_error", message="its own")
    attempt = record_of(TASK)._replace(task=None, request_id="r-2", error=own)
    board.add_error(attempt, NetworkError("cut"))

    noted, kept = board.records
    assert noted.error == TaskError(
        code="network", message="cut", suggestion="try again", kind="network"
    )
    assert kept.error == own


def test_records_are_in_the_order_of_submission() -> None:
    board = ClockedBoard(
        Noted(message="hello"),
        Stalled(task_id="t-9", since_s=180),
        _saved("t-9"),
        Submitted(record=_task(task_id="t-2")),
        Submitted(record=_task()),
        Completed(record=_task("completed", "t-2")),
        total=3,
    )

    assert [found.task_id for found in board.records] == ["t-2", "t-1"]


def test_submitted_and_skipped_tasks_are_listed_separately() -> None:
    board = ClockedBoard(
        Submitted(record=_task()), _saved(), _saved("t-2", is_new=False), _saved(""), total=3
    )

    assert (board.submitted, board.skipped) == ({"t-1"}, {"t-2"})


def test_the_bar_moves_between_polls_but_not_past_the_next() -> None:
    edit = ClockedBoard().update_at(1000.0, _progressed(40, remaining_s=30.0))

    percents = _percents(edit, 1000.0, 60)

    assert percents == sorted(percents)
    assert 45 < percents[79] < 60
    assert max(percents) <= 40 + 60 / 30 * 8


def test_the_bar_never_moves_backwards() -> None:
    board = ClockedBoard()
    before = _percents(board.update_at(1000.0, _progressed(40, remaining_s=5.0)), 1000.0, 10)

    after = _percents(board.update_at(1010.0, _progressed(41, remaining_s=50.0)), 1010.0, 10)

    assert after[0] >= before[-1]
    assert after == sorted(after)


def test_the_bar_stays_below_100_percent_until_completion() -> None:
    edit = ClockedBoard().update_at(1000.0, _progressed(99, remaining_s=0.5))

    assert max(_percents(edit, 1000.0, 60)) < 100


def test_without_an_estimate_the_bar_stays_at_the_last_poll() -> None:
    edit = ClockedBoard().update_at(1000.0, _progressed(40))

    assert _percents(edit, 1000.0, 60)[-1] == pytest.approx(40, abs=0.1)
    assert edit.remaining_s(1001.0) is None


def test_missing_progress_is_not_invented() -> None:
    edit = ClockedBoard().update_at(1000.0, _progressed(None, remaining_s=30.0))

    assert edit.percent(1010.0) is None
    assert edit.remaining_s(1010.0) == 20.0
    assert edit.remaining_s(1050.0) == 0.0
    assert edit.elapsed_s(1010.0) == 20.0


def test_time_left_never_jumps() -> None:
    board = ClockedBoard()
    shown: list[float] = []
    for second in range(40):
        if second % 8 == 0:
            # What each poll implies swings by half a minute.
            remaining_s = 60.0 - second + (30.0 if second % 16 else 0.0)
            board.update_at(1000.0 + second, _progressed(10, remaining_s=remaining_s))
        shown.append(board.latest.remaining_s(1000.0 + second) or 0.0)

    steps = [after - before for before, after in pairwise(shown)]
    assert max(map(abs, steps)) < 8


def test_a_clock_set_back_changes_nothing() -> None:
    edit = ClockedBoard().update_at(1000.0, _progressed(40, remaining_s=30.0))
    percent = edit.percent(1005.0)

    assert edit.percent(900.0) == percent
    assert edit.elapsed_s(900.0) == 10.0


def test_elapsed_time_excludes_the_download() -> None:
    board = ClockedBoard()
    board.update_at(1000.0, _progressed(90))
    board.update_at(1005.0, Completed(record=_task("completed")))

    edit = board.update_at(1060.0, _transferring(1))

    assert edit.elapsed_s(1070.0) == 15.0


def test_a_transfer_has_speed_and_time_left() -> None:
    board = ClockedBoard()
    for second, done in enumerate([1000, 1500, 2000]):
        board.update_at(1000.0 + second, _transferring(done))
    edit = board.latest

    assert edit.work is not None
    assert edit.percent(1002.0) == 50.0
    assert edit.work.speed(1002.0) == 500.0
    assert edit.remaining_s(1002.0) == 4.0


def test_a_transfer_of_unknown_size_has_no_percentage() -> None:
    edit = ClockedBoard().update_at(1000.0, _transferring(5, None))

    assert edit.percent(1001.0) is None
    assert edit.remaining_s(1001.0) is None


def test_a_download_that_starts_over_forgets_its_speed() -> None:
    board = ClockedBoard()
    for second, done in enumerate([1000, 2000, 0]):
        board.update_at(1000.0 + second, _transferring(done))
    edit = board.latest

    assert edit.work is not None
    assert edit.work.speed(1002.0) is None


def test_new_progress_ends_a_stall_and_a_pause() -> None:
    board = ClockedBoard()
    board.update_at(1000.0, _progressed(40))
    board.update_at(1001.0, Stalled(task_id="t-1", since_s=120.0))
    retrying = Retrying(message="x", delay_s=4.0, attempt=1, task_id="t-1")
    edit = board.update_at(1002.0, retrying)
    assert (edit.unchanged_since, edit.pause is None) == (881.0, False)

    board.update_at(1003.0, _progressed(41))

    assert (edit.unchanged_since, edit.pause) == (None, None)


def test_an_upload_becomes_the_task_of_a_single_edit() -> None:
    board = ClockedBoard(_transferring(4000, what="uploading", task_id=None))
    assert board.latest.state == "submitting"

    board.update(Submitted(record=_task("pending")))

    assert [(edit.state, edit.task_id) for edit in board.running] == [("pending", "t-1")]


def test_a_preparation_has_progress_and_disappears_at_its_end() -> None:
    board = ClockedBoard(total=9)
    step = Working(name="c.mp4", what="converting", done=3.0, total=12.0, remaining_s=9.0)

    edit = board.update_at(1000.0, step)

    assert (edit.label, edit.state, edit.percent(1000.0)) == ("c.mp4", "converting", 25.0)
    assert edit.remaining_s(1000.0) == 9.0
    board.update(step._replace(done=12.0))
    assert board.running == []


def test_time_left_does_not_rise_when_cut_pieces_are_submitted() -> None:
    board = ClockedBoard(
        _progressed(90, elapsed_s=60.0), Completed(record=record_of(DONE)), total=3
    )
    cutting = [
        Working(name=f"piece {n} of 3", what="cutting", done=1.0, total=9.0, remaining_s=8.0)
        for n in (2, 3)
    ]
    for step in cutting:
        board.update_at(1000.0, step)
    before_s = board.remaining_s()
    for number, step in enumerate(cutting, 2):
        board.update_at(1008.0, step._replace(done=9.0))
        board.update(Submitted(record=_task("pending", f"t-{number}", estimated_s=60.0)))

    after_s = board.remaining_s()

    assert before_s == pytest.approx(68.0)
    assert after_s == pytest.approx(60.0)


def test_a_join_has_its_own_time_left() -> None:
    board = ClockedBoard(_saved("t-1"), _saved("t-2"), total=2)

    board.update(Working(name="out.mp4", what="joining", done=1.0, total=9.0, remaining_s=2.0))

    assert board.remaining_s() == 2.0


def test_a_downloaded_clip_is_not_shown_as_submitting() -> None:
    board = ClockedBoard(_transferring(4000, what="downloading", task_id=None))

    assert board.running == []
    assert board.latest.state == "starting"


def test_finished_uploads_among_many_are_not_running() -> None:
    board = ClockedBoard(
        _transferring(1, 9, what="uploading", task_id=None),
        _transferring(9, 9, what="uploading", task_id=None),
        Retrying(message="429", delay_s=9.0, attempt=1),
        total=9,
    )

    assert board.running == []
    assert board.pause is not None


def test_an_existing_file_counts_as_saved_not_running() -> None:
    board = ClockedBoard(_saved("t-9", is_new=False), total=9)

    assert (len(board.saved), board.running) == (1, [])


def test_the_counts_are_of_saved_running_and_failed() -> None:
    board = ClockedBoard(total=120)
    for number in range(62):
        board.update(Submitted(record=_task("pending", f"t-{number}")))
    board.update(Working(name="a.mov", what="converting", done=1, total=4))
    assert board.counts == "0/120 saved, 62 running"

    for number in range(37):
        board.update(Completed(record=_task("completed", f"t-{number}")))
    assert board.counts == "0/120 saved, 62 running"

    for number in range(37):
        board.update(_saved(f"t-{number}"))
    board.update(Failed(record=_task("failed", "t-50")))
    board.update(LineFailed("line 7", TaskError("x", "no"), task_id="t-51"))

    assert board.counts == "37/120 saved, 23 running, 2 failed"
    assert board.percent() == pytest.approx(100 * 39 / 120)


def _line_failed(kind: str, *, name: str = "a.mp4", task_id: str | None = None) -> LineFailed:
    return LineFailed(name, TaskError(kind, "no", kind=kind), task_id)


def test_what_goes_on_or_is_in_doubt_does_not_count_as_failed() -> None:
    board = ClockedBoard(
        *(Submitted(record=_task("pending", f"t-{number}")) for number in range(4)), total=6
    )
    board.update(_line_failed(WaitTimeoutError.kind, task_id="t-0"))
    board.update(_line_failed(NotFinishedError.kind, task_id="t-1"))
    board.update(_line_failed(OutcomeUnknownError.kind))
    assert board.counts == "0/6 saved, 2 running, 2 not finished, 1 unknown"

    board.update(Failed(record=_task("failed", "t-2")))
    board.update(_line_failed(NetworkError.kind, name="b.mp4"))

    assert board.counts == "0/6 saved, 1 running, 2 failed, 2 not finished, 1 unknown"


def test_an_edit_counts_once_at_every_moment() -> None:
    events: list[Event] = [
        Submitted(record=_task("pending")),
        _progressed(50),
        Completed(record=record_of(DONE)),
        _transferring(2000),
        _saved(),
        _line_failed("local_file", task_id="t-1"),  # its second result
    ]
    board = ClockedBoard(total=1)

    counts: list[list[int]] = []
    for event in events:
        board.update(event)
        numbers = board.counts.replace("/1", "").split(", ")
        counts.append([int(number.split()[0]) for number in numbers])

    assert counts == [[0, 1], [0, 1], [0, 1], [0, 1], [1, 0], [0, 0, 1]]


def test_a_task_with_two_results_counts_once() -> None:
    second = FILE._replace(path="/a/out-2.mp4")
    board = ClockedBoard(
        Completed(record=record_of(DONE)),
        Completed(record=record_of(DONE)),
        _saved(),
        Saved(task_id="t-1", file=second, shown_path="out-2.mp4"),
        total=2,
    )

    assert board.counts == "1/2 saved, 0 running"
    assert [len(record.saved) for record in board.records] == [2]


def test_more_tasks_than_expected_raise_the_total() -> None:
    board = ClockedBoard(
        *(Completed(record=_task("completed", f"t-{number}")) for number in range(3))
    )
    board.saves = False

    assert board.counts == "3/3 completed, 0 running"


@pytest.mark.parametrize(
    ("fields", "labels", "label"),
    [
        pytest.param(
            {"video": "https://example.com/a/clip.mp4?sig=1"}, {}, "clip.mp4", id="name-from-a-url"
        ),
        pytest.param({"video": "films/clip.mp4"}, {}, "clip.mp4", id="name-from-a-path"),
        pytest.param({"identity": "i"}, {"i": "7 clip.mp4"}, "7 clip.mp4", id="manifest-line"),
        pytest.param({}, {}, "t-1", id="task-id-only"),
    ],
)
def test_an_edit_is_labelled_by_its_line_or_clip(
    fields: dict[str, str], labels: dict[str, str], label: str
) -> None:
    board = ClockedBoard()
    board.expect(2, labels)

    edit = board.update_at(1000.0, Submitted(record=record_of(TASK, **fields)))

    assert edit.label == label


def test_time_left_of_many_is_known_once_one_has_completed() -> None:
    board = ClockedBoard(total=20)
    for number in range(8):
        board.update(Submitted(record=_task("pending", f"t-{number}", estimated_s=4.0)))
    assert board.remaining_s() is None

    for number in range(8):
        record = _task(task_id=f"t-{number}")
        board.update_at(1060.0, Progressed(record=record, elapsed_s=60.0, remaining_s=1.0))
        board.update(Completed(record=_task("completed", f"t-{number}")))

    # Twelve more, eight at a time, though none is running just now.
    assert board.remaining_s() == pytest.approx(90.0)


def test_a_result_being_downloaded_counts_once() -> None:
    board = ClockedBoard(total=4)
    for event in (_progressed(99), Completed(record=record_of(DONE)), _transferring(2000)):
        board.update(event)

    assert board.percent() == pytest.approx(100 * 0.5 / 4)


def test_spent_credits_are_those_charged_or_else_reserved() -> None:
    board = ClockedBoard(
        Submitted(record=_task("pending", "t-1", credits_reserved=34.0)),
        Submitted(record=_task("pending", "t-2", credits_reserved=34.0)),
        Submitted(record=_task("pending", "t-3", credits_reserved=34.0)),
        Completed(record=_task("completed", "t-2", credits_reserved=34.0, credits_used=31.5)),
        Failed(record=_task("failed", "t-3", credits_reserved=34.0)),
        Completed(record=_task("completed", "t-4", credits_used=99.0)),  # of another command
        total=4,
    )

    assert board.spent_credits == (65.5, False)
    board.update(Completed(record=_task("completed", "t-1", credits_used=30.0)))
    assert board.spent_credits == (61.5, True)


def test_credits_can_be_summed_while_another_thread_submits() -> None:
    class BusyBoard(Board):
        def task(self, task_id: str | None) -> Task | None:
            self.submitted.add(f"after {task_id}")
            return super().task(task_id)

    board = BusyBoard()
    board.expect(2)
    board.update(Submitted(record=_task("pending", "t-1", credits_reserved=34.0)))

    assert board.spent_credits == (34.0, False)
