"""What people supply: the values of options, prompts and manifests."""

import io
import os
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from omniedit.cli.context import Context
from omniedit.cli.options import (
    parse_amount,
    parse_duration,
    parse_shard,
    parse_since,
    read_prompt,
    read_source,
)
from omniedit.errors import InvalidInputError, MissingFileError
from omniedit.policy import DEFAULT
from omniedit.system import THIS_SYSTEM
from omniedit.terminal.printer import Printer


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("15m", 900),
        ("1h30m", 5400),
        ("1h", 3600),
        ("1h5s", 3605),
        ("2m30", 150),
        ("0", 0),
        ("1.5", 1.5),
        ("0.5s", 0.5),
        (" 6h ", 21600),
    ],
)
def test_durations_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", " ", "h", "1d", "-5", "1m1h", "1.5m", "1 h", "inf", "nan", "1e3", "٣", "5s5s"]
)
def test_an_invalid_duration_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="write 90, 90s, 15m or 1h30m"):
        parse_duration(text)


@given(
    st.integers(min_value=0, max_value=500),
    st.integers(min_value=0, max_value=500),
    st.integers(min_value=0, max_value=500),
)
def test_parts_of_a_duration_add_up(hours: int, minutes: int, seconds: int) -> None:
    total_s = parse_duration(f"{hours}h{minutes}m{seconds}s")

    assert total_s == hours * 3600 + minutes * 60 + seconds


@given(st.text(max_size=20))
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    try:
        assert parse_duration(text) >= 0
    except typer.BadParameter:
        return


def test_a_default_that_is_a_number_passes_through() -> None:
    assert parse_duration(1800.0) == 1800.0


def test_days_ago_are_a_date() -> None:
    assert parse_since("7d", now=1_000_000.0) == 1_000_000.0 - 7 * 24 * 3600


@pytest.mark.parametrize(("text", "shard"), [("1/1", (1, 1)), (" 2/4 ", (2, 4)), ("7/7", (7, 7))])
def test_a_shard_is_a_number_and_a_count(text: str, shard: tuple[int, int]) -> None:
    assert parse_shard(text) == shard


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "a/b", "-1/4", "1/0", "1/2/3", "", "１/２"])  # noqa: RUF001
def test_an_invalid_shard_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="invalid shard"):
        parse_shard(text)


@pytest.mark.parametrize(("text", "amount"), [("0", 0), ("80", 80), ("12.5", 12.5), ("1e3", 1000)])
def test_credits_are_a_number(text: str, amount: float) -> None:
    assert parse_amount(text) == amount


@pytest.mark.parametrize("text", ["", "many", "-1", "-0.1", "nan", "1,5"])
def test_an_invalid_credit_limit_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="write 80 or"):
        parse_amount(text)


class Prompting:
    """A command that reads a prompt of 16 bytes at most, and the notes that it prints."""

    def __init__(self, *, is_sandbox_flag: bool = False) -> None:
        self._stderr = io.StringIO()
        self.context = Context({}, policy=DEFAULT._replace(max_prompt_bytes=16))
        self.context.printer = Printer(
            stdout=None, stderr=self._stderr, environ={}, is_sandbox_flag=is_sandbox_flag
        )

    def read(self, prompt: str | None, prompt_file: str | None) -> str:
        video = "https://example.com/clip.mp4"
        return read_prompt(self.context, prompt, prompt_file, video=video)

    @property
    def notes(self) -> list[str]:
        lines = self._stderr.getvalue().splitlines()
        assert all(line.startswith("note: ") for line in lines)
        return [line.removeprefix("note: ") for line in lines]


@pytest.fixture
def prompting() -> Prompting:
    return Prompting()


def test_a_prompt_file_of_exactly_the_limit_is_read(prompting: Prompting, tmp_path: Path) -> None:
    (tmp_path / "prompt").write_bytes(b"x" * 16)

    assert prompting.read(None, str(tmp_path / "prompt")) == "x" * 16


@pytest.mark.posix
def test_a_prompt_file_that_never_ends_is_refused(prompting: Prompting) -> None:
    with pytest.raises(InvalidInputError, match="the prompt in /dev/zero is longer than 16 bytes"):
        prompting.read(None, "/dev/zero")


def test_standard_input_that_is_too_long_is_refused(
    prompting: Prompting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"x" * 17)))

    with pytest.raises(InvalidInputError, match="the prompt on standard input is longer"):
        prompting.read("-", None)


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
    prompting: Prompting,
    monkeypatch: pytest.MonkeyPatch,
    file: io.BytesIO,
    expected: list[str],
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(file))

    assert prompting.read("-", None) == "warmer"
    assert prompting.notes == expected


@pytest.mark.posix
def test_a_prompt_can_be_read_from_a_pipe(prompting: Prompting) -> None:
    # As with `--prompt-file <(command)`.
    reader, writer = os.pipe()
    os.write(writer, b"warmer\n")
    os.close(writer)

    assert prompting.read(None, f"/dev/fd/{reader}") == "warmer"
    os.close(reader)


@pytest.mark.parametrize("name", ["none", "a\0b"])
def test_a_path_that_cannot_be_opened_is_a_missing_file(
    prompting: Prompting, tmp_path: Path, name: str
) -> None:
    with pytest.raises(MissingFileError, match="cannot read the manifest from"):
        read_source(prompting.context, str(tmp_path / name), what="manifest", max_bytes=8)


@pytest.mark.parametrize(
    ("prompt", "prompt_file", "message"),
    [
        pytest.param("a", "b", "PROMPT and --prompt-file are both given", id="both-given"),
        pytest.param(None, None, "PROMPT is missing", id="none-given"),
    ],
)
def test_exactly_one_prompt_is_required(
    prompting: Prompting, prompt: str | None, prompt_file: str | None, message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        prompting.read(prompt, prompt_file)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        pytest.param(b"warmer\r\n", "warmer", id="final-line-break"),
        pytest.param(b"\xef\xbb\xbfwarmer", "warmer", id="byte-order-mark"),
        pytest.param("wärmer".encode("utf-16"), "wärmer", id="utf-16-of-powershell"),
    ],
)
def test_what_editors_add_is_stripped_from_the_prompt(
    prompting: Prompting, tmp_path: Path, content: bytes, text: str
) -> None:
    (tmp_path / "prompt").write_bytes(content)

    assert prompting.read(None, str(tmp_path / "prompt")) == text


@pytest.mark.parametrize("mark", ["", "@"])
def test_a_prompt_that_names_a_file_is_noted(
    prompting: Prompting, tmp_path: Path, mark: str
) -> None:
    path = tmp_path / "prompt.txt"
    path.write_text("make it night")

    assert prompting.read(f"{mark}{path}", None) == f"{mark}{path}"
    assert prompting.read("make it night", None) == "make it night"

    assert [f"--prompt-file {path}" in note for note in prompting.notes] == [True]


@pytest.mark.parametrize(
    ("is_sandbox", "command"), [(False, "omniedit batch"), (True, "omniedit --sandbox batch")]
)
def test_a_clip_named_like_a_prompt_file_points_to_batch(
    tmp_path: Path, *, is_sandbox: bool, command: str
) -> None:
    prompting = Prompting(is_sandbox_flag=is_sandbox)
    (tmp_path / "clip.mp4").touch()

    prompting.read(f"@{tmp_path / 'clip.mp4'}", None)

    assert prompting.notes == [f"the prompt names a file: `{command}` edits several clips"]
