"""Reading a clip takes a limited time, and errors blame the clip or the disk, as is due."""

import errno
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from omniedit.errors import InvalidInputError, LocalError
from omniedit.media.containers import opened_clip, translated_errors
from tests.unit.media.clips import make_clip


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_clip(tmp_path / "a.mp4")


def packet_sizes(clip: Path, *, budget_s: float, ticks: Iterator[float]) -> Iterator[int]:
    with opened_clip(clip) as opened:
        for packet in opened.packets(opened.video, budget_s=budget_s, clock=lambda: next(ticks)):
            yield packet.size


def test_a_pass_within_its_time_budget_yields_every_packet(clip: Path) -> None:
    sizes = list(packet_sizes(clip, budget_s=60.0, ticks=count(0.0, 2.0)))

    assert len(sizes) == 21  # 20 frames, and an empty packet at the end


def test_a_pass_over_its_time_budget_fails_with_a_hint(clip: Path) -> None:
    sizes = packet_sizes(clip, budget_s=60.0, ticks=count(0.0, 10.0))

    with pytest.raises(InvalidInputError, match="takes longer than 60 s") as caught:
        list(sizes)

    assert caught.value.code == "clip_too_slow"
    assert caught.value.hint


def test_a_seek_to_an_impossible_offset_is_the_fault_of_the_clip() -> None:
    with (
        pytest.raises(InvalidInputError, match="invalid argument") as caught,
        translated_errors("a.mp4"),
    ):
        raise OSError(errno.EINVAL, "Invalid argument")

    assert caught.value.code == "damaged_clip"


def test_a_file_that_cannot_be_read_is_a_local_error() -> None:
    with pytest.raises(LocalError, match=r"cannot read a\.mp4"), translated_errors("a.mp4"):
        raise OSError(errno.EIO, "Input/output error")
