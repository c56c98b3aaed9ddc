"""Long clips are split into pieces, and the results joined into one clip."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest

from omniedit.errors import Interrupted
from omniedit.media.containers import Progress
from omniedit.media.facts import find_problems
from omniedit.media.writing import Piece, join, plan_split, prepare_clip
from omniedit.models import Sound as Audio
from tests.unit.media.clips import Sound, make_clip, packets, probe_file, see, without_audio

FOUR_SECONDS = list(range(40))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "pieces"
    folder.mkdir()
    return folder


def write_pieces(source: Path, pieces: Sequence[Piece], folder: Path) -> list[Path]:
    """Write each piece as it would be sent."""
    return [
        prepare_clip(
            source,
            folder / f"piece-{index}.mp4",
            start_s=piece.cut_start_s,
            end_s=piece.cut_end_s,
        ).path
        for index, piece in enumerate(pieces)
    ]


def make_results(pieces: Sequence[Piece], folder: Path, **changes: object) -> list[Path]:
    """Return results for pieces: the same frames with new audio, all encoded alike."""
    results: list[Path] = []
    for index, piece in enumerate(pieces):
        count = round(piece.duration_s * 10)
        options: dict[str, object] = {"sound": Sound(), "seconds": piece.duration_s} | changes
        path = make_clip(
            folder / f"result-{index}.mp4",
            first_number=round(piece.start_s * 10),
            times=options.pop("times", range(count)),
            **options,
        )
        results.append(path)
    return results


def together(results: Sequence[Path]) -> list[bytes]:
    """Return the video packets of all results."""
    return [packet for result in results for packet in packets(result)]


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "libx264"), ("a.webm", "libvpx-vp9"), ("a.ts", "mpeg2video")]
)
def test_every_frame_is_in_exactly_one_piece(
    tmp_path: Path, folder: Path, name: str, codec: str
) -> None:
    fps = 25 if codec == "mpeg2video" else 10
    source = make_clip(
        tmp_path / name,
        seconds=10.16 if fps == 25 else 12,
        fps=fps,
        codec=codec,
        sound=Sound(codec="libopus" if codec == "libvpx-vp9" else "aac"),
    )

    pieces = plan_split(source, longest_s=10)

    paths = write_pieces(source, pieces, folder)
    seen = [see(path) for path in paths]
    assert len(pieces) == 2
    count = sum(len(each.numbers) for each in seen)
    assert [number for each in seen for number in each.numbers] == [n % 256 for n in range(count)]
    assert count == (254 if fps == 25 else 120)
    for piece, path, each in zip(pieces, paths, seen, strict=True):
        assert find_problems(probe_file(path, name="piece"), longest_s=10) == ()
        assert each.duration_s == pytest.approx(piece.duration_s, abs=0.002)
        assert piece.duration_s <= 10
        assert len(each.samples) / each.rate == pytest.approx(piece.duration_s, abs=0.045)
    for before, after in pairwise(pieces):
        assert after.start_s == pytest.approx(before.start_s + before.duration_s)


@pytest.mark.parametrize(
    ("seconds", "cut", "durations"),
    [
        pytest.param(12, {}, [6.0, 6.0], id="halves"),
        pytest.param(10, {}, [10.0], id="10-s-is-one-piece"),
        pytest.param(10.1, {}, [10.1], id="one-frame-over-is-one-piece"),
        pytest.param(12, {"end_s": 10.1}, [10.1], id="one-frame-over-in-a-cut"),
        pytest.param(10.2, {}, [5.1, 5.1], id="two-frames-over-is-two-pieces"),
        pytest.param(20.1, {}, [6.7, 6.7, 6.7], id="one-frame-over-20-s-is-three-pieces"),
        pytest.param(15, {"start_s": 2.0, "end_s": 13.0}, [5.5, 5.5], id="cut"),
        pytest.param(20, {}, [10.0, 10.0], id="full-pieces"),
    ],
)
def test_pieces_divide_a_cut_equally(
    tmp_path: Path, seconds: float, cut: dict[str, float], durations: list[float]
) -> None:
    source = make_clip(tmp_path / "a.mp4", seconds=seconds)

    plan = plan_split(source, longest_s=10, **cut)

    assert [piece.duration_s for piece in plan] == pytest.approx(durations)
    assert (plan[0].cut_start_s, plan[-1].cut_end_s) == (cut.get("start_s"), cut.get("end_s"))
    assert all(before.cut_end_s == after.cut_start_s for before, after in pairwise(plan))


def test_frames_at_a_fractional_rate_are_in_exactly_one_piece(tmp_path: Path, folder: Path) -> None:
    source = make_clip(tmp_path / "a.mp4", times=range(100), tick=Fraction(1001, 30000))

    pieces = plan_split(source, longest_s=0.5)

    seen = [see(path) for path in write_pieces(source, pieces, folder)]
    assert len(pieces) == 8
    assert max(piece.duration_s for piece in pieces) <= 0.5
    assert [number for each in seen for number in each.numbers] == list(range(100))


def test_a_frame_longer_than_a_piece_continues_in_the_next(tmp_path: Path, folder: Path) -> None:
    times = [0, 100, 200, 25000, 25100]
    source = make_clip(tmp_path / "a.mp4", times=times, tick=Fraction(1, 1000))

    pieces = plan_split(source, longest_s=10)

    seen = [see(path) for path in write_pieces(source, pieces, folder)]
    assert [each.numbers for each in seen] == [[0, 1, 2], [2], [2, 3, 4]]
    assert all(each.duration_s <= 10.001 for each in seen)
    assert sum(each.duration_s for each in seen) == pytest.approx(25.2, abs=0.01)


def test_a_slide_show_may_not_be_one_long_frame_too_long(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.mp4", times=[0, 4000, 8000], tick=Fraction(1, 1000))

    pieces = plan_split(source, longest_s=10)

    assert [piece.duration_s for piece in pieces] == pytest.approx([6.0, 6.0])
    [problem] = find_problems(probe_file(source, name="slides"), longest_s=10)
    assert problem.code == "clip_too_long"


def test_results_of_one_format_are_joined_without_reencoding(tmp_path: Path, folder: Path) -> None:
    source = make_clip(tmp_path / "a.mp4", seconds=4, sound=Sound())
    results = make_results(
        pieces := plan_split(source, longest_s=2), folder, sound=Sound(seconds=0.5)
    )

    out = tmp_path / "out.mp4"
    join(pieces, results, out, original=source, sound=Audio.ORIGINAL)

    assert packets(out) == together(results)
    assert packets(out, "audio") == packets(source, "audio")
    seen = see(out)
    assert seen.numbers == FOUR_SECONDS
    assert seen.times == pytest.approx([index / 10 for index in FOUR_SECONDS], abs=0.001)
    assert seen.duration_s == pytest.approx(4, abs=0.002)
    assert seen.beeps == pytest.approx(list(range(4)), abs=0.001)
    assert seen.level(1.01, 1.09) == pytest.approx(see(source).level(1.01, 1.09), abs=0.1)
    content = out.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


@pytest.mark.parametrize("sound", [Audio.ORIGINAL, Audio.NEW])
def test_results_of_different_sizes_are_reencoded(
    tmp_path: Path, folder: Path, sound: Audio
) -> None:
    source = make_clip(tmp_path / "a.mp4", seconds=4, sound=Sound())
    pieces = plan_split(source, longest_s=2)
    results = make_results(pieces[:1], folder)
    (folder / "b").mkdir()
    results += make_results(pieces[1:], folder / "b", size=(96, 72))

    out = tmp_path / "out.mp4"
    join(pieces, results, out, original=source, sound=sound)

    seen = see(out)
    assert packets(out) != together(results)
    assert seen.size == (64, 48)
    assert seen.numbers == FOUR_SECONDS
    assert seen.duration_s == pytest.approx(4, abs=0.01)
    # Audio that fades in at a join is heard slightly later.
    assert seen.beeps == pytest.approx(list(range(4)), abs=0.02 if sound is Audio.NEW else 0.001)


@pytest.mark.parametrize(
    ("changes", "copied", "gap_s"),
    [
        pytest.param({"times": range(16)}, True, 0.4, id="shorter-results-hold-their-last-frame"),
        pytest.param({"times": range(24)}, False, -0.4, id="longer-results-are-trimmed"),
        pytest.param(
            {"times": range(54), "tick": Fraction(1, 24), "fps": 24},
            False,
            -0.25,
            id="other-frame-rate",
        ),
    ],
)
def test_results_of_unexpected_length_stay_in_sync_with_the_audio(
    tmp_path: Path, folder: Path, changes: dict[str, object], *, copied: bool, gap_s: float
) -> None:
    source = make_clip(tmp_path / "a.mp4", seconds=4, sound=Sound())
    # B-frames prevent the end of a result from being dropped without re-encoding.
    options = changes | {"codec_options": {"bf": "2"}}
    results = make_results(pieces := plan_split(source, longest_s=2), folder, **options)

    out = tmp_path / "out.mp4"
    joined = join(pieces, results, out, original=source, sound=Audio.ORIGINAL)

    seen = see(out)
    assert joined.largest_gap_s == pytest.approx(gap_s, abs=0.001)
    assert packets(out) == together(results) or not copied
    assert seen.duration_s == pytest.approx(4, abs=0.45 if copied else 0.11)
    # The second result begins where the second piece did.
    assert any(abs(time - 2) < 0.001 for time in seen.times)
    assert seen.numbers[seen.times.index(min(seen.times, key=lambda time: abs(time - 2)))] == 20
    assert seen.beeps == pytest.approx(list(range(4)), abs=0.001)


def test_generated_audio_is_faded_without_a_shift(tmp_path: Path, folder: Path) -> None:
    source = make_clip(tmp_path / "a.mp4", seconds=5, sound=Sound())
    pieces = plan_split(source, longest_s=1)
    results = make_results(pieces, folder)

    out = tmp_path / "out.mp4"
    join(pieces, results, out, original=source, sound=Audio.NEW)

    seen = see(out)
    assert packets(out) == together(results)
    assert seen.beeps == pytest.approx(list(range(5)), abs=0.025)
    assert len(seen.samples) / seen.rate == pytest.approx(5, abs=0.045)
    # Beeps are as loud as in the source, and no step is steeper than the tone itself.
    assert seen.level(4.03, 4.09) == pytest.approx(-9, abs=0.5)
    steepest = max(abs(after - before) for before, after in pairwise(seen.samples))
    assert steepest < 0.12


def test_a_gap_in_generated_audio_moves_nothing(tmp_path: Path, folder: Path) -> None:
    source = make_clip(tmp_path / "a.mp4", seconds=8, sound=Sound())
    pieces = plan_split(source, longest_s=4)
    first, second = make_results(pieces, folder)
    results = [without_audio(first, folder / "gap.mp4", from_s=1.3, until_s=2.6), second]

    out = tmp_path / "out.mp4"
    join(pieces, results, out, original=source, sound=Audio.NEW)

    assert see(out).beeps == pytest.approx([0, 1, 3, 4, 5, 6, 7], abs=0.03)


def test_generated_audio_follows_results_of_any_length(tmp_path: Path, folder: Path) -> None:
    pieces = [
        Piece(start_s=0.0, duration_s=2.0),
        Piece(start_s=2.0, duration_s=2.0),
    ]
    results = make_results(pieces, folder, times=range(30), sound=Sound(seconds=3))

    out = tmp_path / "out.mp4"
    join(pieces, results, out, original=tmp_path / "a.mp4", sound=Audio.NEW)

    seen = see(out)
    assert seen.times == pytest.approx([index / 10 for index in range(60)], abs=0.001)
    assert seen.beeps == pytest.approx(list(range(6)), abs=0.025)


def test_results_without_audio_are_joined_with_silence(tmp_path: Path, folder: Path) -> None:
    pieces = [Piece(start_s=float(2 * i), duration_s=2.0) for i in range(2)]
    results = make_results(pieces, folder, sound=None)

    out = tmp_path / "out.mp4"
    join(pieces, results, out, original=tmp_path / "a.mp4", sound=Audio.NEW)

    seen = see(out)
    assert seen.beeps == []
    assert len(seen.samples) / seen.rate == pytest.approx(4, abs=0.045)


def test_a_silent_original_leaves_the_joined_clip_silent(tmp_path: Path, folder: Path) -> None:
    source = make_clip(tmp_path / "a.mp4", seconds=4)
    results = make_results(pieces := plan_split(source, longest_s=2), folder)

    out = tmp_path / "out.mp4"
    join(pieces, results, out, original=source, sound=Audio.ORIGINAL)

    assert not probe_file(out, name="out").audio


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
def test_the_audio_of_a_cut_original_begins_at_the_cut(
    tmp_path: Path, folder: Path, codec: str
) -> None:
    source = make_clip(tmp_path / "a.mov", seconds=7, sound=Sound(codec=codec))
    pieces = plan_split(source, start_s=1.5, end_s=5.5, longest_s=2)

    out = tmp_path / "out.mp4"
    join(
        pieces,
        make_results(pieces, folder),
        out,
        original=source,
        sound=Audio.ORIGINAL,
        original_start_s=1.5,
    )

    seen = see(out)
    assert seen.beeps == pytest.approx([second + 0.5 for second in range(4)], abs=0.001)
    assert len(seen.samples) / seen.rate == pytest.approx(4, abs=0.045)


def test_audio_begins_with_the_first_frame_after_the_cut(tmp_path: Path, folder: Path) -> None:
    source = make_clip(tmp_path / "a.mp4", seconds=6, fps=5, sound=Sound())
    pieces = plan_split(source, start_s=1.45, longest_s=3)
    results = write_pieces(source, pieces, folder)

    out = tmp_path / "out.mp4"
    join(pieces, results, out, original=source, sound=Audio.ORIGINAL, original_start_s=1.45)

    seen = see(out)
    assert seen.numbers[0] == 8
    assert seen.beeps == pytest.approx([second + 0.4 for second in range(4)], abs=0.001)


def test_an_interrupted_join_leaves_no_file(tmp_path: Path, folder: Path) -> None:
    pieces = [Piece(start_s=float(2 * i), duration_s=2.0) for i in range(2)]
    results = make_results(pieces, folder)
    private = tmp_path / "private"
    private.mkdir()

    def interrupt(_progress: Progress) -> None:
        raise Interrupted(2)

    with pytest.raises(Interrupted):
        join(
            pieces,
            results,
            private / "out.mp4",
            original=tmp_path / "a.mp4",
            sound=Audio.NEW,
            on_progress=interrupt,
        )

    assert list(private.iterdir()) == []
