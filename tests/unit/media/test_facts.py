"""Whether a clip fits, and what it costs."""

from dataclasses import replace

import pytest

from omniedit.media import ClipFacts, estimated_credits, fits, needs_conversion, verdict

GOOD = ClipFacts(
    name="clip.mp4",
    is_local=True,
    size_bytes=1_000_000,
    container="mp4",
    is_fragmented=False,
    duration_s=10.0,
    is_measured=True,
    frames=250,
    frame_rate=25.0,
    is_variable_rate=False,
    video_codec="h264",
    width=1280,
    height=720,
    rotation=0,
    pixel_format="yuv420p",
    color_range=None,
    color_primaries=None,
    color_transfer=None,
    color_space=None,
    audio_codec="aac",
    audio_rate=48000,
    audio_channels=2,
)


def codes(facts: ClipFacts) -> list[str]:
    return [problem.code for problem in verdict(facts)]


@pytest.mark.parametrize(
    ("duration_s", "expected"),
    [
        pytest.param(10.0, [], id="10-seconds"),
        pytest.param(10.04, [], id="one-frame-over"),
        pytest.param(10.08, ["clip_too_long"], id="two-frames-over"),
        pytest.param(None, [], id="unknown-refuses-nothing"),
    ],
)
def test_length_may_be_one_frame_over(duration_s: float | None, expected: list[str]) -> None:
    assert codes(replace(GOOD, duration_s=duration_s)) == expected


def test_every_reason_is_given_each_with_a_fix() -> None:
    facts = replace(GOOD, duration_s=30.0, container="webm", video_codec="vp9")

    problems = verdict(facts)

    assert codes(facts) == ["clip_too_long", "not_an_mp4", "unsuitable_codec"]
    assert all(problem.fix and "\n" not in problem.message for problem in problems)
    assert "--start" in problems[0].fix
    assert "--split" in problems[0].fix


def test_conversion_is_automatic_for_local_clips_only() -> None:
    local = replace(GOOD, container="mov")
    remote = replace(local, is_local=False)

    assert fits(local)
    assert needs_conversion(local)
    assert not fits(remote)
    assert fits(GOOD)
    assert not needs_conversion(GOOD)


def test_a_clip_the_file_service_would_not_take_is_too_large() -> None:
    facts = replace(GOOD, size_bytes=96 * 1024 * 1024)

    assert codes(facts) == ["clip_too_large"]
    assert codes(replace(facts, is_local=False)) == []
    assert codes(replace(facts, container="mov")) == ["not_an_mp4"]


def test_ten_seconds_cost_about_64_credits() -> None:
    assert round(estimated_credits(10), 1) == 63.6
