"""Problems of a clip are found, and how a result differs from it is described."""

from dataclasses import replace

import pytest

from omniedit.media.facts import (
    AudioTrack,
    ClipFacts,
    describe_difference,
    find_problems,
    is_suspiciously_short,
    needs_conversion,
)

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
    audio_tracks=(AudioTrack(codec="aac", rate=48000, channels=2, language=None, is_used=True),),
)


def fits(facts: ClipFacts) -> bool:
    return all(problem.is_automatic for problem in find_problems(facts, longest_s=10))


def codes(facts: ClipFacts) -> list[str]:
    return [problem.code for problem in find_problems(facts, longest_s=10)]


@pytest.mark.parametrize(
    ("duration_s", "expected"),
    [
        pytest.param(10.0, [], id="10-seconds"),
        pytest.param(10.04, [], id="one-frame-over"),
        pytest.param(10.08, ["clip_too_long"], id="two-frames-over"),
        pytest.param(None, [], id="unknown-length"),
    ],
)
def test_a_clip_may_be_one_frame_too_long(duration_s: float | None, expected: list[str]) -> None:
    assert codes(replace(GOOD, duration_s=duration_s)) == expected


def test_every_problem_is_found_and_has_a_fix() -> None:
    facts = replace(GOOD, duration_s=30.0, container="webm", video_codec="vp9")

    problems = find_problems(facts, longest_s=10)

    assert codes(facts) == ["clip_too_long", "not_an_mp4", "unsuitable_codec"]
    assert all(problem.fix and "\n" not in problem.message for problem in problems)
    assert "--start" in problems[0].fix
    assert "--split" in problems[0].fix


def test_conversion_is_automatic_for_local_clips_only() -> None:
    local = replace(GOOD, container="mov")
    remote = replace(local, is_local=False)

    assert fits(local)
    assert needs_conversion(local, longest_s=10)
    assert not fits(remote)
    assert fits(GOOD)
    assert not needs_conversion(GOOD, longest_s=10)


def test_a_local_clip_over_the_upload_limit_is_too_large() -> None:
    facts = replace(GOOD, size_bytes=96 * 1024 * 1024)

    assert codes(facts) == ["clip_too_large"]
    assert codes(replace(facts, is_local=False)) == []
    assert codes(replace(facts, container="mov")) == ["not_an_mp4"]


def test_a_cut_that_is_too_long_is_called_a_cut() -> None:
    facts = replace(GOOD, duration_s=15.0)

    assert find_problems(facts, longest_s=10)[0].message.startswith("it is 15.00 s long")
    assert find_problems(facts, longest_s=10, is_cut=True)[0].message.startswith(
        "the cut is 15.00 s long"
    )


def test_a_local_container_longer_than_its_video_is_rewritten() -> None:
    facts = replace(GOOD, duration_s=9.96, container_s=11.5)

    assert codes(facts) == ["container_too_long"]
    assert fits(facts)
    assert not fits(replace(facts, is_local=False))
    assert codes(replace(facts, container_s=10.03)) == []


def test_hdr_is_converted_in_local_clips_only() -> None:
    facts = replace(GOOD, color_transfer=18)

    assert facts.hdr == "HLG"
    assert codes(facts) == ["hdr"]
    assert needs_conversion(facts, longest_s=10)
    assert not needs_conversion(facts, longest_s=10, keeps_hdr=True)
    assert codes(replace(facts, is_local=False)) == []


def test_a_difference_in_size_and_frame_rate_is_described() -> None:
    clip = replace(GOOD, width=1080, height=1920, rotation=90, frame_rate=30000 / 1001)
    result = replace(GOOD, frame_rate=24.0, duration_s=10.01)

    assert describe_difference(clip.video_facts, result.video_facts) == (
        "the result is 1280x720 at 24 fps; the clip is 1920x1080 at 29.97 fps"
    )
    assert describe_difference(GOOD.video_facts, GOOD.video_facts) is None


def test_a_difference_in_length_is_described() -> None:
    result = replace(GOOD, duration_s=4.5)

    assert describe_difference(GOOD.video_facts, result.video_facts) == (
        "the result is 1280x720 at 25 fps, 4.50 s; the clip is 1280x720 at 25 fps, 10.00 s"
    )
    assert is_suspiciously_short(GOOD.video_facts, result.video_facts)
    assert not is_suspiciously_short(GOOD.video_facts, GOOD.video_facts._replace(duration_s=5.0))
