"""The values people type into options."""

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from omniedit.cli.options import parse_credits, parse_duration, parse_shard, parse_since


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("15m", 900),
        ("1h30m", 5400),
        ("1h", 3600),
        ("1h5s", 3605),
        ("2m30", 150),
        ("0", 0),
        ("1.5", 1.5),
        ("0.5s", 0.5),
        (" 6h ", 21600),
    ],
)
def test_durations_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", " ", "h", "1d", "-5", "1m1h", "1.5m", "1 h", "inf", "nan", "1e3", "٣", "5s5s"]
)
def test_an_invalid_duration_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="write 90, 90s, 15m or 1h30m"):
        parse_duration(text)


@given(
    st.integers(min_value=0, max_value=500),
    st.integers(min_value=0, max_value=500),
    st.integers(min_value=0, max_value=500),
)
def test_parts_of_a_duration_add_up(hours: int, minutes: int, seconds: int) -> None:
    total_s = parse_duration(f"{hours}h{minutes}m{seconds}s")

    assert total_s == hours * 3600 + minutes * 60 + seconds


@given(st.text(max_size=20))
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    try:
        assert parse_duration(text) >= 0
    except typer.BadParameter:
        return


def test_a_default_that_is_a_number_passes_through() -> None:
    assert parse_duration(1800.0) == 1800.0


def test_days_ago_are_a_date() -> None:
    assert parse_since("7d", now=1_000_000.0) == 1_000_000.0 - 7 * 24 * 3600


@pytest.mark.parametrize(("text", "shard"), [("1/1", (1, 1)), (" 2/4 ", (2, 4)), ("7/7", (7, 7))])
def test_a_shard_is_a_number_and_a_count(text: str, shard: tuple[int, int]) -> None:
    assert parse_shard(text) == shard


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "a/b", "-1/4", "1/0", "1/2/3", "", "１/２"])  # noqa: RUF001
def test_an_invalid_shard_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="invalid shard"):
        parse_shard(text)


@pytest.mark.parametrize(("text", "amount"), [("0", 0), ("80", 80), ("12.5", 12.5), ("1e3", 1000)])
def test_credits_are_a_number(text: str, amount: float) -> None:
    assert parse_credits(text) == amount


@pytest.mark.parametrize("text", ["", "many", "-1", "-0.1", "nan", "1,5"])
def test_an_invalid_credit_limit_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="write 80 or"):
        parse_credits(text)
