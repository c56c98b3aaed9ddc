"""Prompts and manifests from files and stdin."""

import io
import os
from pathlib import Path

import pytest

from omniedit.cli.input import read_prompt, read_source
from omniedit.errors import InvalidInputError, MissingFileError
from omniedit.policy import DEFAULT
from omniedit.system import THIS_SYSTEM

SMALL = DEFAULT._replace(max_prompt_bytes=8)


def test_a_prompt_file_of_exactly_the_limit_is_read(tmp_path: Path) -> None:
    (tmp_path / "prompt").write_bytes(b"x" * 8)

    assert read_prompt(None, str(tmp_path / "prompt"), policy=SMALL) == "x" * 8


@pytest.mark.posix
def test_a_prompt_file_that_never_ends_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="the prompt in /dev/zero is longer than 8 bytes"):
        read_prompt(None, "/dev/zero", policy=SMALL)


def test_standard_input_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"x" * 9)))

    with pytest.raises(InvalidInputError, match="the prompt on standard input is longer"):
        read_prompt("-", None, policy=SMALL)


class _Terminal(io.BytesIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        pytest.param(
            _Terminal(b"warmer\n"),
            [f"type the prompt; {THIS_SYSTEM.end_of_input} ends it"],
            id="typed",
        ),
        pytest.param(io.BytesIO(b"warmer\n"), [], id="piped"),
    ],
)
def test_the_note_to_type_a_prompt_appears_only_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, file: io.BytesIO, expected: list[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(file))
    notes: list[str] = []

    assert read_prompt("-", None, note=notes.append) == "warmer"
    assert notes == expected


@pytest.mark.posix
def test_a_prompt_can_be_read_from_a_pipe() -> None:
    # As with `--prompt-file <(command)`.
    reader, writer = os.pipe()
    os.write(writer, b"warmer\n")
    os.close(writer)

    assert read_prompt(None, f"/dev/fd/{reader}") == "warmer"
    os.close(reader)


@pytest.mark.parametrize("name", ["none", "a\0b"])
def test_a_path_that_cannot_be_opened_is_a_missing_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(MissingFileError, match="cannot read the manifest from"):
        read_source(str(tmp_path / name), what="manifest", max_bytes=8)


@pytest.mark.parametrize(
    ("prompt", "prompt_file", "message"),
    [
        pytest.param("a", "b", "PROMPT and --prompt-file are both given", id="both-given"),
        pytest.param(None, None, "PROMPT is missing", id="none-given"),
    ],
)
def test_exactly_one_prompt_is_required(
    prompt: str | None, prompt_file: str | None, message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        read_prompt(prompt, prompt_file)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        pytest.param(b"warmer\r\n", "warmer", id="final-line-break"),
        pytest.param(b"\xef\xbb\xbfwarmer", "warmer", id="byte-order-mark"),
        pytest.param("wärmer".encode("utf-16"), "wärmer", id="utf-16-of-powershell"),
    ],
)
def test_what_editors_add_is_stripped_from_the_prompt(
    tmp_path: Path, content: bytes, text: str
) -> None:
    (tmp_path / "prompt").write_bytes(content)

    assert read_prompt(None, str(tmp_path / "prompt")) == text


@pytest.mark.parametrize("mark", ["", "@"])
def test_a_prompt_that_names_a_file_is_noted(tmp_path: Path, mark: str) -> None:
    path = tmp_path / "prompt.txt"
    path.write_text("make it night")
    notes: list[str] = []

    assert read_prompt(f"{mark}{path}", None, note=notes.append) == f"{mark}{path}"
    assert read_prompt("make it night", None, note=notes.append) == "make it night"

    assert [f"--prompt-file {path}" in note for note in notes] == [True]


def test_a_clip_in_place_of_the_prompt_points_to_batch(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").touch()
    notes: list[str] = []

    read_prompt(str(tmp_path / "clip.mp4"), None, note=notes.append)

    assert notes == ["the prompt names a file: `omniedit batch` edits several clips"]
