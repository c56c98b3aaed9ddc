"""Reading a clip's packets takes a limited time, whatever they contain."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from omniedit.errors import InvalidInputError
from omniedit.media.containers import opened_clip
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
