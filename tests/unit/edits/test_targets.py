"""Result names come from untrusted text and are valid on every system."""

from pathlib import Path, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omniedit.edits.targets import Destination
from omniedit.models import is_local
from tests.systems import windows

IDENTITY = "0123456789abcdef"


def name_for(video: str, prompt: str = "") -> str:
    target = Destination(None).target_of_edit(video, prompt, IDENTITY, None)
    assert target is not None
    return target.shown


@pytest.mark.parametrize(
    ("video", "name"),
    [
        pytest.param("https://example.com/clip.mp4", "clip-012345.mp4", id="url"),
        pytest.param("clips/Take 2.mov", "Take-2-012345.mp4", id="local-file"),
        pytest.param("https://example.com/", "clip-012345.mp4", id="url-without-a-name"),
        pytest.param("https://example.com/%2e%2e%2fetc", "etc-012345.mp4", id="path-traversal"),
        pytest.param(
            "https://example.com/nul.mp4", "nul-012345.mp4", id="device-name-made-safe-by-digits"
        ),
        pytest.param(
            "https://example.com/con.cut.mp4",
            "clip-con.cut-012345.mp4",
            id="device-name-gets-a-prefix",
        ),
        pytest.param(
            "https://example.com/caf\u0065\u0301.mp4", "café-012345.mp4", id="composed-unicode"
        ),
    ],
)
def test_a_result_is_named_after_its_clip(video: str, name: str) -> None:
    assert name_for(video) == name


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        pytest.param("warmer lighting", "warmer-lighting", id="words"),
        pytest.param(" warmer: «lighting»!\n", "warmer-lighting", id="punctuation-is-dropped"),
        pytest.param("../../etc/passwd", "etc-passwd", id="path-traversal"),
        pytest.param(
            "テーブルを赤く、ほかはそのまま", "テーブルを赤く-ほかはそのまま", id="any-script"
        ),
        pytest.param("रात बना दो", "रात-बना-दो", id="combining-marks"),
        pytest.param("caf\u0065\u0301", "café", id="composed-unicode"),
        pytest.param(
            "make it night, and keep everything else unchanged",
            "make-it-night-and-keep-everything-else",
            id="whole-words-up-to-forty-characters",
        ),
        pytest.param("x" * 50, "x" * 40, id="long-word-is-cut"),
    ],
)
def test_a_result_is_named_after_its_prompts_first_words(prompt: str, words: str) -> None:
    assert name_for("clip.mp4", prompt) == f"clip-{words}-012345.mp4"


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_clip_and_prompt_give_a_name_valid_everywhere(name: str, prompt: str) -> None:
    result_name = name_for(f"https://example.com/{name}", prompt)

    assert windows().path_fault(f"C:\\out\\{result_name}") is None
    assert PureWindowsPath(result_name).name == result_name
    assert not result_name.startswith((".", "-"))
    assert len(result_name) <= 80 + 1 + 40 + 1 + 6 + 4
    assert len(result_name.encode()) <= 240


@pytest.mark.parametrize(
    ("video", "expected"),
    [
        ("https://example.com/clip.mp4", False),
        ("ftp://example.com/clip.mp4", False),
        ("C:\\clips\\clip.mp4", True),
        ("C:/clips/clip.mp4", True),
        ("c://clips/clip.mp4", True),
        ("\\\\server\\share\\clip.mp4", True),
        ("clip.mp4", True),
        ("/clips/clip.mp4", True),
    ],
)
def test_a_drive_letter_is_not_a_url_scheme(*, video: str, expected: bool) -> None:
    assert is_local(video) is expected


def test_a_name_in_a_folder_leaves_room_for_a_sidecar(cwd: Path) -> None:
    target = Destination("out/").target("漢" * 80 + ".mp4", "task-unified-1-01235023")
    assert target is not None

    assert len(f"{target.path.name}.json".encode()) <= 255
