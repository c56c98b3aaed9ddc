"""Keys: which are valid, what is shown of them, and the file that keeps them."""

import errno
import json
import os
import stat
import sys
import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omniedit.errors import CredentialsError, InvalidKeyError, LocalError
from omniedit.settings import CredentialsFile, Secret, mask_key, parse_key
from tests.systems import linux, windows

KEY = "sk-evo-abcdefghijklmnopqrstuvwxyz0123456789"
ORIGIN = "https://api.evolink.ai"
FILES = "https://files-api.evolink.ai"

posix_modes = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config" / "credentials"


@pytest.mark.parametrize("text", [KEY, f"  {KEY}\n", f"\t{KEY}\r\n"])
def test_whitespace_around_a_key_is_dropped(text: str) -> None:
    assert parse_key(text, source="X").reveal() == KEY


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("sk-evo-first\nsk-evo-second", id="line-break"),
        pytest.param("sk-evo-one sk-evo-two", id="space"),
        pytest.param("sk-evo-ключ", id="not-ascii"),
        pytest.param("sk-evo-\x00", id="nul"),
        pytest.param("sk-evo-\x7f", id="delete"),
        pytest.param("Bearer sk-evo-a", id="bearer"),
        pytest.param("k" * 513, id="too-long"),
        pytest.param("  ", id="empty"),
        pytest.param("“sk-evo-quoted”", id="typographic-quotes"),
        pytest.param('"sk-evo-quoted-0123456789"', id="quotes"),
        pytest.param("sk-evo-...", id="the-placeholder-of-the-readme"),
        pytest.param("EVOLINK_API_KEY=sk-evo-0123456789", id="line-of-an-env-file"),
        pytest.param("export KEY=sk-evo-0123456789", id="line-of-a-shell-script"),
    ],
)
def test_a_key_invalid_in_a_header_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(InvalidKeyError) as caught:
        parse_key(text, source="OMNIEDIT_API_KEY")

    shown = "".join(traceback.format_exception(caught.value))
    assert "OMNIEDIT_API_KEY" in str(caught.value)
    for word in text.split():
        assert word == "Bearer" or word not in shown


@given(st.text(max_size=60))
def test_every_accepted_key_is_valid_in_a_header(text: str) -> None:
    try:
        key = parse_key(text, source="X").reveal()
    except InvalidKeyError:
        return
    assert key.isascii()
    assert key.isprintable()
    assert " " not in key


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        (KEY, "sk-evo-…6789"),
        ("sk-sandbox-tests-longer", "sk-sandbox-…nger"),
        ("sk-sandbox-tests", "sk-sandbox-…"),
        ("sk-evo-short", "sk-evo-…"),
        ("sk-evo-", "sk-evo-…"),
        ("abcdefghijklmnop", "…mnop"),
        ("short", "…"),
        ("", "…"),
    ],
)
def test_a_key_is_shown_as_its_prefix_and_last_four_characters(key: str, shown: str) -> None:
    assert mask_key(key) == shown


@given(st.text(alphabet=st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=80))
def test_at_most_four_characters_of_the_secret_part_are_shown(key: str) -> None:
    secret = Secret(key)

    shown = str(secret).partition("…")[2]
    assert len(shown) <= 4
    assert repr(secret) == f"Secret({secret})"
    if len(key) > 12:
        assert key not in f"{secret!s}{secret!r}"


def test_a_saved_key_is_found_for_its_origin_only(path: Path) -> None:
    file = CredentialsFile(path)

    file.save(ORIGIN, Secret(KEY), files_origin=FILES)
    file.save("http://127.0.0.1:8000", Secret("sk-sandbox-x"), files_origin=FILES)

    assert CredentialsFile(path).load(ORIGIN, files_origin=FILES) == KEY
    assert file.load("http://127.0.0.1:8000", files_origin=FILES) == "sk-sandbox-x"
    assert file.load("https://api.evolink.ai.evil.example", files_origin=FILES) is None
    assert file.load("http://api.evolink.ai", files_origin=FILES) is None


def test_a_saved_key_is_bound_to_its_file_service(
    path: Path,
) -> None:
    other = "https://files.example.com"
    file = CredentialsFile(path)
    file.save(ORIGIN, Secret(KEY), files_origin=FILES)

    with pytest.raises(CredentialsError, match=f"for the file service {FILES}, not {other}"):
        file.load(ORIGIN, files_origin=other)
    file.save(ORIGIN, Secret(KEY), files_origin=other)

    assert file.load(ORIGIN, files_origin=other) == KEY


def test_without_a_file_there_is_no_key(path: Path) -> None:
    assert CredentialsFile(path).load(ORIGIN, files_origin=FILES) is None
    assert CredentialsFile(path).remove(ORIGIN) is False
    assert not path.parent.exists()


def test_removing_a_key_leaves_the_others(path: Path) -> None:
    file = CredentialsFile(path)
    file.save(ORIGIN, Secret(KEY), files_origin=FILES)
    file.save("https://other.example", Secret("sk-other-key"), files_origin=FILES)

    assert file.remove(ORIGIN) is True
    assert file.remove(ORIGIN) is False
    assert (
        file.load(ORIGIN, files_origin=FILES),
        file.load("https://other.example", files_origin=FILES),
    ) == (None, "sk-other-key")


@posix_modes
def test_file_and_folder_are_private(path: Path) -> None:
    CredentialsFile(path).save(ORIGIN, Secret(KEY), files_origin=FILES)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@posix_modes
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644, 0o666])
def test_a_file_that_others_can_open_is_refused(path: Path, mode: int) -> None:
    file = CredentialsFile(path)
    file.save(ORIGIN, Secret(KEY), files_origin=FILES)
    path.chmod(mode)

    with pytest.raises(CredentialsError) as caught:
        file.load(ORIGIN, files_origin=FILES)
    with pytest.raises(CredentialsError):
        file.save(ORIGIN, Secret("sk-new"), files_origin=FILES)

    assert KEY not in str(caught.value)
    assert caught.value.hint == f"chmod 600 '{path}'"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(KEY, id="bare-key"),
        pytest.param(f'{{"keys": "{KEY}"}}', id="not-a-table"),
        pytest.param(f'["{KEY}"]', id="list"),
        pytest.param(f'{{"{KEY}', id="truncated"),
        pytest.param(f'{{"keys": {{"{ORIGIN}": "{KEY}"}}}}', id="without-a-file-service"),
        pytest.param("[" * 20_000, id="nested-too-deep"),
        pytest.param("", id="empty"),
        pytest.param("\udcff", id="not-utf-8"),
    ],
)
def test_an_invalid_credentials_file_is_refused_without_quoting_it(
    path: Path, content: str
) -> None:
    path.parent.mkdir()
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    path.chmod(0o600)

    with pytest.raises(CredentialsError) as caught:
        CredentialsFile(path).load(ORIGIN, files_origin=FILES)

    assert KEY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.posix
def test_a_pipe_in_place_of_the_file_is_refused_without_blocking(path: Path) -> None:
    path.parent.mkdir()
    os.mkfifo(path, 0o600)

    with pytest.raises(LocalError, match="credentials is a named pipe") as caught:
        CredentialsFile(path).load(ORIGIN, files_origin=FILES)

    assert caught.value.hint == "move it away, and run the command again"


def test_saving_a_key_replaces_the_whole_file(path: Path) -> None:
    file = CredentialsFile(path)
    file.save(ORIGIN, Secret(KEY), files_origin=FILES)
    before = path.stat().st_ino

    file.save(ORIGIN, Secret("sk-evo-new"), files_origin=FILES)

    assert path.stat().st_ino != before
    saved = {"key": "sk-evo-new", "files_origin": FILES}
    assert json.loads(path.read_text()) == {"schema": 1, "keys": {ORIGIN: saved}}
    assert [entry.name for entry in path.parent.iterdir()] == ["credentials"]


class WaitedError(Exception):
    """Raised in place of waiting."""


def test_a_concurrent_change_waits_for_the_first(path: Path) -> None:
    def wait(_seconds: float) -> None:
        raise WaitedError

    def move(source: Path, target: Path) -> None:
        other = CredentialsFile(path, sleep=wait)
        with pytest.raises(WaitedError):
            other.save("https://other.example", Secret(KEY), files_origin=FILES)
        source.replace(target)

    file = CredentialsFile(path, system=windows(move=move))
    file.save(ORIGIN, Secret(KEY), files_origin=FILES)
    file.remove(ORIGIN)

    assert json.loads(path.read_text())["keys"] == {}


@pytest.mark.posix
def test_a_key_is_saved_even_where_files_cannot_be_locked(path: Path) -> None:
    def refuse(_descriptor: int) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    file = CredentialsFile(path, system=linux(lock=refuse, user=os.getuid()))
    file.save(ORIGIN, Secret(KEY), files_origin=FILES)

    assert file.load(ORIGIN, files_origin=FILES) == KEY


def test_a_folder_that_cannot_be_created_is_reported_without_the_key(tmp_path: Path) -> None:
    (tmp_path / "config").symlink_to("nowhere")

    with pytest.raises(LocalError, match="links to nowhere") as caught:
        CredentialsFile(tmp_path / "config" / "credentials").save(
            ORIGIN, Secret(KEY), files_origin=FILES
        )

    assert KEY not in "".join(traceback.format_exception(caught.value))


def test_on_windows_the_mode_of_the_file_is_ignored(path: Path) -> None:
    file = CredentialsFile(path, system=windows())
    file.save(ORIGIN, Secret(KEY), files_origin=FILES)
    path.chmod(0o666)

    assert file.load(ORIGIN, files_origin=FILES) == KEY


def test_on_windows_saving_waits_for_a_reader_of_the_file(path: Path) -> None:
    CredentialsFile(path).save(ORIGIN, Secret(KEY), files_origin=FILES)
    reader = path.open("rb")

    CredentialsFile(path, system=windows(sleep=lambda _: reader.close())).save(
        ORIGIN, Secret("sk-evo-new"), files_origin=FILES
    )

    assert CredentialsFile(path).load(ORIGIN, files_origin=FILES) == "sk-evo-new"
    assert [entry.name for entry in path.parent.iterdir()] == ["credentials"]
