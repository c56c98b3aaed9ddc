"""Conversions of a clip, and problems with it, are reported before it is paid for."""

import json
from pathlib import Path
from typing import Any

import pytest

from omniedit.media.facts import PQ
from tests.commandline import CommandLine, Ended
from tests.e2e.equipment import Bench
from tests.e2e.faulty import Endpoint, Exchange, answered
from tests.e2e.test_contract_equipment import check_failure
from tests.unit.media.clips import (
    Sound,
    interlaced,
    make_clip,
    overwrite_packet,
    probe_file,
    see,
    with_manifest,
)

pytestmark = pytest.mark.e2e

PROMPT = "make it night"
KEYS_ONLY = {"bf": "0", "g": "1"}
HDR: dict[str, Any] = {
    "codec": "libx265",
    "pixel_format": "yuv420p10le",
    "colours": {"color_range": 1, "color_primaries": 9, "color_trc": PQ, "colorspace": 9},
}
LOST_MANIFEST = "the C2PA manifest of clip.mp4 is lost in the uploaded copy"


def make_edit(bench: Bench, *argv: str) -> tuple[Ended, Path]:
    """Make an edit; return its outcome and the clip that was sent."""
    ended = bench.run("edit", *argv, "-o", "out.mp4")
    assert ended.status == 0, ended
    return ended, bench.folder / "out.mp4"


def make_damaged_clip(path: Path, *, bad_frames: int) -> Path:
    """Write a clip of forty frames, some of them undecodable."""
    clip = make_clip(path, seconds=4, codec_options=KEYS_ONLY)
    for number in range(bad_frames):
        overwrite_packet(clip, "video", 3 + 4 * number)
    return clip


@pytest.mark.parametrize(
    ("name", "settings", "marks", "conversion"),
    [
        pytest.param("a.mov", {}, (), "copied", id="other-container"),
        pytest.param(
            "a.mp4",
            {"codec_options": KEYS_ONLY},
            ("--start", "1"),
            "cut (copied)",
            id="cut-at-a-keyframe",
        ),
        pytest.param(
            "a.webm",
            {"codec": "libvpx-vp9"},
            (),
            "re-encoded: VP9, 64x48 → H.264, 64x48",
            id="other-codec",
        ),
        pytest.param(
            "a.mp4",
            HDR,
            (),
            "re-encoded: H.265, 64x48, 10 bits, HDR (PQ) → H.264, 64x48, 8 bits, SDR",
            id="hdr",
        ),
    ],
)
def test_one_line_reports_the_conversion(
    bench: Bench,
    folder: Path,
    name: str,
    settings: dict[str, Any],
    marks: tuple[str, ...],
    *,
    conversion: str,
) -> None:
    make_clip(folder / name, **settings)

    ended, _ = make_edit(bench, name, PROMPT, *marks)

    assert f"note: {conversion}\n" in ended.stderr
    assert "warning" not in ended.stderr


def test_interlaced_video_is_sent_progressive(bench: Bench, folder: Path) -> None:
    interlaced(folder / "a.avi")

    ended, out = make_edit(bench, "a.avi", PROMPT)

    assert "interlaced → H.264, 64x64, progressive" in ended.stderr
    assert not probe_file(out, name="out.mp4").is_interlaced


def test_conversion_progress_goes_to_stderr(bench: Bench, folder: Path) -> None:
    make_clip(folder / "a.avi", codec="mpeg4")

    ended, _ = make_edit(bench, "a.avi", PROMPT)
    quiet = bench.run("edit", "a.avi", "make it dawn", "--end", "1", "-q", "-o", "dawn.mp4")

    lines = ended.stderr.splitlines()
    assert lines[0] == "converting a.avi"
    assert lines[1].startswith("note: re-encoded")
    assert (quiet.status, quiet.stderr) == (0, ""), quiet


def test_a_few_bad_frames_are_a_warning_and_sent(bench: Bench, folder: Path) -> None:
    clip = make_damaged_clip(folder / "clip.mp4", bad_frames=4)

    ended, out = make_edit(bench, "clip.mp4", PROMPT)

    assert "warning: clip.mp4: 4 of 40 frames cannot be decoded\n" in ended.stderr
    assert out.read_bytes() == clip.read_bytes()


@pytest.mark.parametrize("marks", [(), ("--start", "0.1")], ids=["whole", "cut"])
def test_more_than_a_tenth_of_bad_frames_is_refused(
    bench: Bench, folder: Path, marks: tuple[str, ...]
) -> None:
    make_damaged_clip(folder / "clip.mp4", bad_frames=5)

    for command in ("submit", "edit"):
        ended = bench.run(command, "clip.mp4", PROMPT, *marks)
        check_failure(ended, 2, "frames cannot be decoded", "`--no-check` sends it as it is")

    assert bench.posts == bench.faulty.count(Endpoint.UPLOAD) == 0
    unchecked, _ = make_edit(bench, "clip.mp4", PROMPT, *marks, "--no-check")
    assert ("warning" in unchecked.stderr) == bool(marks)


def test_an_unchecked_upload_does_not_hide_damage_from_the_next_edit(
    bench: Bench, folder: Path
) -> None:
    make_damaged_clip(folder / "clip.mp4", bad_frames=5)
    make_edit(bench, "clip.mp4", PROMPT, "--no-check")

    ended = bench.run("edit", "clip.mp4", "make it dawn")

    check_failure(ended, 2, "5 of 40 frames cannot be decoded")
    assert bench.posts == 1


def test_damage_is_reported_once_per_clip_in_a_batch(bench: Bench, folder: Path) -> None:
    make_damaged_clip(folder / "clip.mp4", bad_frames=2)
    lines = [{"video": "clip.mp4", "prompt": f"{number}"} for number in range(4)]
    (folder / "edits.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))

    ended = bench.run("batch", "edits.jsonl", "--dir", "out")

    assert ended.status == 0, ended
    assert ended.stderr.count("2 of 40 frames cannot be decoded") == 1


def test_a_bad_audio_packet_is_replaced_by_silence_with_a_warning(
    bench: Bench, folder: Path
) -> None:
    clip = make_clip(folder / "clip.mp4", seconds=4, sound=Sound())
    overwrite_packet(clip, "audio", 70)

    ended, out = make_edit(bench, "clip.mp4", PROMPT, "--start", "0.5")

    silence_warning = "warning: clip.mp4: 1 audio packet cannot be decoded: replaced by silence\n"
    assert silence_warning in ended.stderr
    assert see(out).beeps == pytest.approx([0.5, 1.5, 2.5], abs=0.003)


def test_a_clip_is_trimmed_to_the_length_of_its_video(bench: Bench, folder: Path) -> None:
    make_clip(folder / "clip.mp4", seconds=9.9, sound=Sound(seconds=11.5))

    ended, out = make_edit(bench, "clip.mp4", PROMPT)

    assert "note: copied\n" in ended.stderr
    assert probe_file(out, name="out.mp4").container_s == pytest.approx(9.9, abs=0.001)


def test_a_cut_is_exact_even_if_the_audio_outlasts_the_video(bench: Bench, folder: Path) -> None:
    make_clip(folder / "clip.mp4", seconds=12, sound=Sound(seconds=14))

    _, out = make_edit(bench, "clip.mp4", PROMPT, "--end", "10")

    assert probe_file(out, name="out.mp4").container_s == pytest.approx(10, abs=0.001)


def test_keep_hdr_does_not_reuse_an_sdr_upload(bench: Bench, folder: Path) -> None:
    clip = make_clip(folder / "clip.mp4", **HDR)
    make_edit(bench, "clip.mp4", PROMPT, "--end", "1")

    kept = [
        bench.run("edit", "clip.mp4", PROMPT, *marks, "--keep-hdr", "--again", "-o", name)
        for marks, name in ((("--end", "1"), "cut.mp4"), ((), "whole.mp4"))
    ]

    assert [ended.status for ended in kept] == [0, 0], kept
    assert [probe_file(folder / name, name=name).hdr for name in ("out.mp4", "cut.mp4")] == [
        None,
        "PQ",
    ]
    assert (folder / "whole.mp4").read_bytes() == clip.read_bytes()
    assert bench.faulty.count(Endpoint.UPLOAD) == 3


def test_keep_hdr_is_not_part_of_the_edits_identity(bench: Bench, folder: Path) -> None:
    make_clip(folder / "clip.mp4", **HDR)
    make_edit(bench, "clip.mp4", PROMPT)

    ended = bench.run("edit", "clip.mp4", PROMPT, "--keep-hdr", "-o", "out.mp4")

    assert (ended.status, bench.posts) == (0, 1), ended


@pytest.mark.parametrize(
    ("marks", "is_lost"), [((), False), (("--end", "1"), True)], ids=["whole", "cut"]
)
def test_a_lost_manifest_is_a_warning(
    bench: Bench, folder: Path, marks: tuple[str, ...], *, is_lost: bool
) -> None:
    with_manifest(make_clip(folder / "clip.mp4"))

    ended, out = make_edit(bench, "clip.mp4", PROMPT, *marks)

    assert (f"warning: {LOST_MANIFEST}\n" in ended.stderr) == is_lost
    assert probe_file(out, name="out.mp4").marks == (() if is_lost else ("c2pa",))


def test_manifests_lost_by_joining_are_one_warning(
    bench: Bench, tmp_path: Path, folder: Path
) -> None:
    with_manifest(make_clip(folder / "clip.mp4", seconds=12, sound=Sound()))

    def marked(exchange: Exchange) -> None:
        result = tmp_path / "result.mp4"
        result.write_bytes(exchange.forward().body)
        answered(200, with_manifest(result).read_bytes())(exchange)

    bench.faulty.script(Endpoint.RESULT, marked, marked)
    ended, out = make_edit(bench, "clip.mp4", PROMPT, "--split", "--yes")

    assert ended.stderr.count(LOST_MANIFEST) == 1
    joined = "warning: the C2PA manifest of the results is lost in the joined clip\n"
    assert ended.stderr.count(joined) == 1
    assert probe_file(out, name="out.mp4").marks == ()


def test_a_split_reports_each_piece_and_the_joining(bench: Bench, folder: Path) -> None:
    make_clip(folder / "clip.mp4", seconds=12, sound=Sound())

    ended, _ = make_edit(bench, "clip.mp4", PROMPT, "--split", "--yes")

    lines = ended.stderr.splitlines()
    assert {"cutting piece 1 of 2", "cutting piece 2 of 2", "joining out.mp4"} <= {*lines}


@pytest.mark.parametrize(
    ("settings", "argv", "expected_text"),
    [
        pytest.param(
            {"seconds": 16},
            ("--end", "15"),
            "the cut is 15.00 s long, and the model takes 10 s at most",
            id="cut-too-long",
        ),
        pytest.param(
            {"codec": "rawvideo", "size": (1, 1), "format": "avi"},
            (),
            "is too small: 1x1",
            id="one-pixel",
        ),
    ],
)
def test_a_clip_that_does_not_fit_is_refused_with_a_hint(
    bench: Bench,
    folder: Path,
    settings: dict[str, Any],
    argv: tuple[str, ...],
    *,
    expected_text: str,
) -> None:
    make_clip(folder / "clip.mp4", **settings)

    ended = bench.run("submit", "clip.mp4", PROMPT, *argv)

    check_failure(ended, 2, expected_text)
    assert "--help" not in ended.stderr
    assert bench.posts == 0


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        pytest.param("clip.flv", {"codec": "flv"}, id="flv"),
        pytest.param("clip.mpg", {"codec": "mpeg2video", "fps": 25}, id="mpg"),
        pytest.param("clip.wmv", {"codec": "wmv2"}, id="wmv"),
        pytest.param("clip.gif", {"codec": "gif", "pixel_format": "rgb8"}, id="gif"),
    ],
)
def test_older_containers_are_converted(
    bench: Bench, folder: Path, name: str, settings: dict[str, Any]
) -> None:
    make_clip(folder / name, codec_options={"q": "2"}, **settings)

    ended, out = make_edit(bench, name, PROMPT)

    assert "note: re-encoded: " in ended.stderr
    assert see(out).numbers == list(range(2 * settings.get("fps", 10)))


def test_save_prepared_saves_the_clip_that_edit_would_send(bench: Bench, folder: Path) -> None:
    make_clip(folder / "clip.webm", codec="libvpx", sound=Sound(codec="libopus"))

    ended = bench.run("probe", "clip.webm", "--save-prepared", "prepared.mp4")
    _, sent = make_edit(bench, "clip.webm", PROMPT)

    assert ended.status == 0, ended
    assert "note: re-encoded: VP8, 64x48 → H.264, 64x48\n" in ended.stderr
    assert "saved prepared.mp4 (" in ended.stderr
    assert bench.posts == 1
    assert (folder / "prepared.mp4").read_bytes() == sent.read_bytes()


def test_save_prepared_copies_a_clip_that_already_fits(omniedit: CommandLine, folder: Path) -> None:
    clip = with_manifest(make_clip(folder / "clip.mp4"))

    ended = omniedit("probe", "clip.mp4", "--save-prepared", "new/prepared.mp4", "--json")

    prepared = ended.document["prepared"]
    assert (ended.status, prepared["done"]) == (0, "copied"), ended
    assert prepared["path"] == str(folder / "new" / "prepared.mp4")
    assert prepared["bytes"] == clip.stat().st_size
    assert (folder / "new" / "prepared.mp4").read_bytes() == clip.read_bytes()
    assert ended.document["marks"] == ["c2pa"]


@pytest.mark.parametrize(
    ("argv", "status", "expected_text"),
    [
        pytest.param(("clip.mp4", "taken.mp4"), 10, "taken.mp4 exists", id="existing-file"),
        pytest.param(("clip.mp4", "./clip.mp4"), 10, "clip.mp4 exists", id="source"),
        pytest.param(("clip.mp4", "."), 10, "is a folder", id="folder"),
        pytest.param(("clip.mp4", "-"), 2, "writes to a file", id="stdout"),
        pytest.param(("long.mp4", "new.mp4"), 2, "it is 12.00 s long", id="too-long"),
        pytest.param(("bad.mp4", "new.mp4"), 2, "frames cannot be decoded", id="damaged"),
        pytest.param(("https://example.com/a.mp4", "new.mp4"), 2, "needs a local", id="url"),
    ],
)
def test_save_prepared_writes_nothing_on_an_error(
    omniedit: CommandLine, folder: Path, argv: tuple[str, str], *, status: int, expected_text: str
) -> None:
    clip = make_clip(folder / "clip.mp4").read_bytes()
    make_clip(folder / "long.mp4", seconds=12)
    make_damaged_clip(folder / "bad.mp4", bad_frames=5)
    (folder / "taken.mp4").write_text("mine")

    ended = omniedit("probe", argv[0], "--save-prepared", argv[1], "--json")

    assert (ended.status, ended.document["prepared"]) == (status, None), ended
    assert expected_text in ended.document["error"]["message"]
    assert "--force" not in (ended.document["error"]["hint"] or "")
    assert (folder / "clip.mp4").read_bytes() == clip
    assert (folder / "taken.mp4").read_text() == "mine"
    assert not (folder / "new.mp4").exists()
