"""`probe` shows the facts of a clip at any width."""

import io
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

import pytest

from omniedit.cli.commands.probe import findings_document, show_findings
from omniedit.edits.clips import Findings
from omniedit.media.facts import C2PA, AudioTrack, ClipFacts, find_problems
from omniedit.models import DEFAULT_MODEL, find_model
from omniedit.schemas import unknown_values
from omniedit.terminal.printer import Printer
from omniedit.terminal.streams import Colour, cell_width
from tests.unit.media.test_facts import GOOD

FACTS = replace(
    GOOD,
    size_bytes=2_100_000,
    container="mov",
    duration_s=9.8,
    container_s=9.85,
    frames=294,
    frame_rate=30.0,
    is_variable_rate=True,
    video_codec="hevc",
    width=1920,
    height=1080,
    rotation=90,
    bit_depth=8,
    chroma="4:2:0",
    audio_tracks=(AudioTrack(codec="aac", rate=44100, channels=2, language=None, is_used=True),),
)
MODEL = find_model(DEFAULT_MODEL)
MODEL_LINE = f"model      {DEFAULT_MODEL}: clips of 10 s at most, results of 1280x720 or 720x1280"
NO_COLOUR = {"NO_COLOR": "1"}
UNKNOWN = replace(FACTS, duration_s=None, frames=None, frame_rate=None, is_variable_rate=False)


def findings(facts: ClipFacts) -> Findings:
    return Findings(facts, find_problems(facts, longest_s=10), MODEL)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def rendered(
    facts: ClipFacts,
    *,
    width: int | None = None,
    environ: Mapping[str, str] = NO_COLOUR,
) -> list[str]:
    stdout = io.StringIO() if width is None else Terminal()
    printer = Printer(stdout=stdout, stderr=None, environ={"COLUMNS": str(width), **environ})
    show_findings(printer, findings(facts))
    return stdout.getvalue().splitlines()


def test_each_fact_has_a_line_and_the_verdict_comes_last() -> None:
    assert rendered(FACTS) == [
        "length     9.800 s, 294 frames, 30 fps, variable",
        "container  QuickTime (MOV), 9.850 s",
        "video      H.265, 1080x1920, rotated by 90 degrees, SAR 1:1, DAR 9:16, progressive",
        "colours    8 bits, 4:2:0, SDR",
        "audio      AAC, 44100 Hz, 2 channels",
        "size       2.1 MB",
        MODEL_LINE,
        "estimate   about 62.3 credits ($0.92), plus thinking tokens",
        "verdict    it is QuickTime (MOV), not MP4: it is converted before the upload",
    ]


def test_tracks_interlacing_colours_and_marks_are_shown() -> None:
    track = FACTS.audio_tracks[0]
    facts = replace(
        FACTS,
        is_interlaced=True,
        pixel_aspect=Fraction(64, 45),
        width=720,
        height=576,
        rotation=0,
        bit_depth=10,
        color_transfer=16,
        audio_tracks=(
            replace(track, language="eng", is_used=False),
            replace(track, codec="opus", rate=48000, channels=1, language="fra"),
        ),
        marks=(C2PA,),
    )

    lines = rendered(facts)

    assert lines[2:6] == [
        "video      H.265, 720x576, SAR 64:45, DAR 16:9, interlaced",
        "colours    10 bits, 4:2:0, HDR (PQ)",
        "audio      AAC, 44100 Hz, 2 channels, eng, not used",
        "audio      Opus, 48000 Hz, 1 channel, fra, used",
    ]
    assert "marks      C2PA manifest (Content Credentials)" in lines


def test_unknown_facts_are_shown_as_unknown() -> None:
    silent = replace(
        UNKNOWN, container="mp4", container_s=None, bit_depth=None, chroma=None, audio_tracks=()
    )
    silent = replace(silent, size_bytes=None)

    lines = rendered(replace(silent, is_fragmented=True))

    assert lines == [
        "length     unknown: not in the header",
        "container  MP4, fragmented",
        "video      H.265, 1080x1920, rotated by 90 degrees, SAR 1:1, DAR 9:16, progressive",
        "colours    SDR",
        "audio      none",
        "size       unknown",
        MODEL_LINE,
        "estimate   unknown",
        "verdict    no problems found",
    ]


@pytest.mark.parametrize("width", [40, 31])
def test_a_narrow_terminal_gets_values_wrapped_between_words(width: int) -> None:
    lines = rendered(replace(FACTS, container="avi", video_codec="mpeg4"), width=width)

    # A model's ID stays whole, so that it can be copied.
    too_wide = [line for line in lines if cell_width(line) > width]
    assert all(line.split()[-1].startswith(DEFAULT_MODEL) for line in too_wide)
    assert [line[:9].strip() for line in lines if line[0] != " "] == [
        *("length", "container", "video", "colours", "audio", "size", "model", "estimate"),
        *("verdict", "verdict"),
    ]
    values = " ".join(line[11:] for line in lines)
    assert values.endswith(
        "its video is MPEG-4 Part 2, not H.264 or H.265: it is converted before the upload"
    )


def test_a_terminal_too_narrow_for_columns_gets_lines_wrapped_at_the_margin() -> None:
    lines = rendered(FACTS, width=20)

    assert lines[:3] == ["length     9.800 s,", "294 frames, 30 fps,", "variable"]


@pytest.mark.parametrize(
    ("facts", "text", "colour"),
    [
        pytest.param(replace(FACTS, container="mp4"), "fits", Colour.GREEN, id="green-if-it-fits"),
        pytest.param(FACTS, "it is QuickTime", Colour.YELLOW, id="yellow-if-converted"),
        pytest.param(
            replace(FACTS, duration_s=11.0), "does not fit", Colour.RED, id="red-if-refused"
        ),
    ],
)
def test_only_the_verdict_is_coloured(facts: ClipFacts, text: str, colour: Colour) -> None:
    lines = rendered(facts, environ={"FORCE_COLOR": "1"})

    coloured = [line for line in lines if "\x1b" in line]
    assert f"\x1b[{colour}m{text}" in coloured[0]
    assert {line[:7] for line in coloured} == {"verdict"}


def test_names_from_a_file_are_sanitized() -> None:
    hostile = replace(FACTS, video_codec="\x1b[2Jevil", container="mp4")

    assert not any("\x1b" in line for line in rendered(hostile))


def test_a_document_has_all_fields_of_a_clip() -> None:
    full = findings_document("clip.mov", findings(FACTS))

    assert {*full, "prepared"} == unknown_values("probe").keys()
    assert (full["pixel_aspect"], full["display_aspect"]) == ("1:1", "9:16")
    assert full["audio_tracks"] == [
        {"codec": "aac", "rate": 44100, "channels": 2, "language": None, "used": True}
    ]
    assert (full["duration_seconds"], full["bytes"], full["fits"]) == (9.8, 2_100_000, True)
    assert (full["estimated_credits"], full["estimated_usd"]) == (62.3, 0.92)
    assert full["problems"] == [
        {
            "code": "not_an_mp4",
            "message": "it is QuickTime (MOV), not MP4",
            "fix": "it is converted before the upload",
            "automatic": True,
        }
    ]
