"""Times are parsed, and cuts are checked."""

import pytest

from omniedit.errors import InvalidInputError
from omniedit.media.timeline import check_cut, parse_time


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param("0", 0.0, id="zero"),
        pytest.param("12", 12.0, id="seconds"),
        pytest.param("12.25", 12.25, id="fractions"),
        pytest.param("90", 90.0, id="more-than-a-minute-of-seconds"),
        pytest.param("1:02.5", 62.5, id="minutes-and-seconds"),
        pytest.param("0:05", 5.0, id="leading-zero"),
        pytest.param("1:02:03.5", 3723.5, id="hours"),
        pytest.param(" 3 ", 3.0, id="surrounding-spaces"),
    ],
)
def test_times_are_seconds_or_clock_times(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-1",
        "1.",
        ".5",
        "1:60",
        "1:60:00",
        "1:2:3:4",
        "3s",
        "nan",
        "inf",
        "1e3",
        "\u0661",
        "1,5",
    ],
)
def test_other_forms_of_times_are_refused(text: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_time(text)

    assert caught.value.code == "invalid_mark"
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("start_s", "end_s", "words"),
    [
        pytest.param(3.0, 2.0, "is not after start", id="end-before-start"),
        pytest.param(2.0, 2.0, "is not after start", id="nothing-between"),
        pytest.param(5.0, None, "beyond the end", id="start-at-the-end"),
        pytest.param(None, 5.3, "beyond the end", id="end-beyond-the-end"),
        pytest.param(None, 0.0, "leaves nothing", id="end-at-0"),
    ],
)
def test_cuts_that_leave_nothing_are_refused(
    start_s: float | None, end_s: float | None, words: str
) -> None:
    with pytest.raises(InvalidInputError, match=words):
        check_cut(start_s, end_s, name="clip.mp4", duration_s=5.0, frame_s=0.1)


@pytest.mark.parametrize(("start_s", "end_s"), [(None, None), (0.0, 5.0), (4.9, None), (None, 5.1)])
def test_cuts_within_a_frame_of_the_end_are_accepted(
    start_s: float | None, end_s: float | None
) -> None:
    check_cut(start_s, end_s, name="clip.mp4", duration_s=5.0, frame_s=0.1)
