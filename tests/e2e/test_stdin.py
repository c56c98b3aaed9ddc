"""Standard input as shells on every system provide it, or closed."""

import codecs
import os
import subprocess

import pytest

from tests.commandline import COMMAND, CommandLine
from tests.e2e.test_contract_equipment import CLIP, KEY, check_refusal

pytestmark = pytest.mark.e2e

ENCODINGS = [
    pytest.param(b"", "utf-8", id="utf-8"),
    pytest.param(codecs.BOM_UTF8, "utf-8", id="utf-8-bom"),
    pytest.param(codecs.BOM_UTF16_LE, "utf-16-le", id="utf-16-le"),
    pytest.param(codecs.BOM_UTF16_BE, "utf-16-be", id="utf-16-be"),
]


@pytest.mark.parametrize(("bom", "encoding"), ENCODINGS)
def test_a_key_is_read_in_any_shells_encoding(
    omniedit: CommandLine, bom: bytes, encoding: str
) -> None:
    ended = omniedit("config", "set-key", stdin=bom + f"{KEY}\r\n".encode(encoding))

    assert ended.status == 0, ended
    assert "sk-evo-…" in omniedit("config", "show").stdout


@pytest.mark.parametrize("encoding", ["", "utf-8:strict", "ascii"])
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"sk-evo-\xff\x81secretpart", id="not-utf-8"),
        pytest.param("sk-evo-secretpart".encode("utf-16-le"), id="utf-16-without-bom"),
        pytest.param("sk-evo-sécretpart".encode(), id="not-ascii"),
    ],
)
def test_an_undecodable_key_is_refused_without_being_shown(
    omniedit: CommandLine, content: bytes, encoding: str
) -> None:
    ended = omniedit("config", "set-key", stdin=content, PYTHONIOENCODING=encoding)

    check_refusal(ended, 3, "cannot be an API key")
    assert "secret" not in ended.stderr
    assert "cretpart" not in ended.stderr


@pytest.mark.parametrize(("bom", "encoding"), ENCODINGS)
def test_a_prompt_file_is_read_in_any_shells_encoding(
    omniedit: CommandLine, bom: bytes, encoding: str
) -> None:
    (omniedit.folder / "p.txt").write_bytes(bom + "wärmer, 暖\r\n".encode(encoding))

    ended = omniedit("--sandbox", "submit", CLIP, "--prompt-file", "p.txt", "--dry-run", "--json")

    assert ended.document["request"]["body"]["prompt"] == "wärmer, 暖"


@pytest.mark.skipif(os.name == "nt", reason="Windows shells cannot close a stream")
@pytest.mark.parametrize(
    "argv",
    [
        ("config", "set-key"),
        ("submit", CLIP, "-"),
        ("edit", CLIP, "--prompt-file", "-"),
        ("batch", "-"),
    ],
    ids=" ".join,
)
def test_closed_stdin_is_a_usage_error(omniedit: CommandLine, argv: tuple[str, ...]) -> None:
    ended = subprocess.run(
        ["sh", "-c", '"$0" "$@" <&-', COMMAND, *argv],  # noqa: S607 - any shell will do
        capture_output=True,
        cwd=omniedit.folder,
        check=False,
        text=True,
    )

    assert ended.returncode == 2, ended
    assert "standard input is closed" in ended.stderr


@pytest.mark.skipif(os.name == "nt", reason="Windows shells cannot close a stream")
def test_version_succeeds_with_closed_stdout(omniedit: CommandLine) -> None:
    ended = subprocess.run(
        ["sh", "-c", f"'{COMMAND}' --version >&-"],  # noqa: S607 - any shell will do
        capture_output=True,
        check=False,
    )

    assert (ended.returncode, ended.stderr) == (0, b"")
