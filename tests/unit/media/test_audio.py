"""The audio of a clip replaces that of a result."""

from pathlib import Path

import pytest

from omniedit.media.writing import prepare_clip, replace_audio
from tests.unit.media.clips import Sound, make_clip, packets, probe_file, see, with_manifest


@pytest.fixture
def result(tmp_path: Path) -> Path:
    """Return a four-second result with its own audio, which begins at 0.3 s."""
    return make_clip(
        tmp_path / "result.mp4", seconds=4, sound=Sound(starts_s=0.3), codec_options={"bf": "2"}
    )


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
def test_the_original_audio_is_in_sync_with_the_result(
    tmp_path: Path, result: Path, codec: str
) -> None:
    original = make_clip(tmp_path / "a.mov", seconds=4, sound=Sound(codec=codec))

    difference_s = replace_audio(result, tmp_path / "out.mp4", original=original)

    before, after = see(original), see(tmp_path / "out.mp4")
    assert difference_s == pytest.approx(0)
    assert packets(tmp_path / "out.mp4") == packets(result)
    assert after.beeps == pytest.approx([0, 1, 2, 3], abs=0.001)
    assert after.level(1.01, 1.09) == pytest.approx(before.level(1.01, 1.09), abs=0.1)


def test_the_original_audio_of_a_cut_begins_at_the_cut(tmp_path: Path, result: Path) -> None:
    original = make_clip(tmp_path / "a.mp4", seconds=8, sound=Sound())

    difference_s = replace_audio(
        result,
        tmp_path / "out.mp4",
        original=original,
        original_start_s=2.45,
        original_end_s=6.5,
    )

    seen = see(tmp_path / "out.mp4")
    assert difference_s == pytest.approx(0)
    assert seen.beeps == pytest.approx([0.5, 1.5, 2.5, 3.5], abs=0.001)
    assert seen.level(1.51, 1.59) == pytest.approx(see(original).level(1.01, 1.09), abs=0.1)


@pytest.mark.parametrize(
    ("seconds", "difference_s"),
    [pytest.param(6, 2, id="longer-is-trimmed"), pytest.param(3, -1, id="shorter-is-padded")],
)
def test_original_audio_is_trimmed_or_padded_to_the_result(
    tmp_path: Path, result: Path, seconds: int, difference_s: float
) -> None:
    original = make_clip(tmp_path / "a.mp4", seconds=seconds, sound=Sound())

    found_s = replace_audio(result, tmp_path / "out.mp4", original=original)

    facts = probe_file(tmp_path / "out.mp4", name="out")
    assert found_s == pytest.approx(difference_s)
    assert facts.audio_end_s == pytest.approx(4, abs=0.025)
    assert facts.container_s == pytest.approx(4, abs=0.001)
    assert see(tmp_path / "out.mp4").beeps == pytest.approx(range(min(4, seconds)), abs=0.001)


@pytest.mark.parametrize("has_silent_original", [True, False])
def test_without_original_audio_the_result_is_silent(
    tmp_path: Path, result: Path, *, has_silent_original: bool
) -> None:
    original = make_clip(tmp_path / "a.mp4", seconds=4) if has_silent_original else None

    difference_s = replace_audio(result, tmp_path / "out.mp4", original=original)

    assert difference_s is None
    assert not probe_file(tmp_path / "out.mp4", name="out").audio
    assert packets(tmp_path / "out.mp4") == packets(result)


def test_marks_of_a_result_are_lost(tmp_path: Path, result: Path) -> None:
    replace_audio(with_manifest(result), tmp_path / "out.mp4", original=None)

    assert probe_file(result, name="result").marks == ("c2pa",)
    assert probe_file(tmp_path / "out.mp4", name="out").marks == ()


def test_replacing_audio_by_the_same_audio_changes_nothing(tmp_path: Path) -> None:
    original = make_clip(tmp_path / "a.mp4", seconds=6, sound=Sound())
    prepared = prepare_clip(original, tmp_path / "cut.mp4", start_s=1.3, end_s=5.3)

    replace_audio(prepared.path, tmp_path / "out.mp4", original=original, original_start_s=1.3)

    assert see(tmp_path / "out.mp4").beeps == pytest.approx(see(prepared.path).beeps, abs=0.001)
