"""Without the extra `media` every command works and says in one line what it could not check."""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from omniedit.errors import install_command
from omniedit.sandbox.server import RunningSandbox
from omniedit.sanitize import quoted
from tests.commandline import CommandLine
from tests.e2e.equipment import ForkServer
from tests.e2e.test_contract_equipment import (
    CLIP,
    MP4,
    check_document,
    check_failure,
    requests,
    submissions,
)
from tests.unit.media.clips import make_clip

pytestmark = pytest.mark.e2e

PROMPT = "make it night [sandbox:seconds=0]"
INSTALL = install_command("media")
NOTE = (
    "note: only the clip's first bytes were checked, not its length and codecs:"
    f" `{INSTALL}` adds that"
)
MOV = b"\0\0\0\x14ftypqt  \0\0\0\0" + bytes(4000)


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "record.jsonl"


@pytest.fixture
def service(start_sandbox: Callable[..., RunningSandbox], record: Path) -> RunningSandbox:
    return start_sandbox(record=record)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for PYTHONPATH that makes PyAV appear not to be installed."""
    site = tmp_path_factory.mktemp("site")
    # Python runs this file on start; importing `av` then fails as if it were not installed.
    (site / "sitecustomize.py").write_text("import sys\nsys.modules['av'] = None\n")
    return site


@pytest.fixture(scope="module")
def bare_server(site: Path) -> Iterator[ForkServer]:
    """Yield a server that forks commands from a process without PyAV."""
    server = ForkServer(PYTHONPATH=str(site))
    yield server
    server.close()


@pytest.fixture
def bare(served: CommandLine, site: Path, bare_server: ForkServer) -> CommandLine:
    """Return the command without PyAV, and a local MP4 in its folder."""
    (served.folder / "clip.mp4").write_bytes(MP4)
    (served.folder / "clip.mov").write_bytes(MOV)
    if os.environ.get("OMNIEDIT_FULL"):
        return served.in_(served.folder, PYTHONPATH=str(site)).installed
    return replace(served, policy=None, command=bare_server.commands / "omniedit")


def notes(stderr: str) -> list[str]:
    return [line for line in stderr.splitlines() if line.startswith("note: only")]


def test_a_local_mp4_is_edited_with_a_note_on_unchecked_facts(
    bare: CommandLine, record: Path
) -> None:
    ended = bare("edit", "clip.mp4", PROMPT, "-o", "out.mp4")

    assert (ended.status, ended.stdout) == (0, "out.mp4\n"), ended
    assert (bare.folder / "out.mp4").read_bytes() == MP4
    assert notes(ended.stderr) == [NOTE]
    assert len(submissions(record)) == 1


def test_a_batch_shows_the_note_once(bare: CommandLine, record: Path) -> None:
    lines = [{"video": "clip.mp4", "prompt": f"{PROMPT} {number}"} for number in range(3)]
    (bare.folder / "edits.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    ended = bare("batch", "edits.jsonl", "--dir", "out")

    assert ended.status == 0, ended
    assert notes(ended.stderr) == [NOTE]
    assert len(submissions(record)) == 3


@pytest.mark.parametrize(
    "argv",
    [
        pytest.param(["clip.mp4", PROMPT, "--quiet"], id="quiet"),
        pytest.param(["clip.mp4", PROMPT, "--no-check"], id="no-check"),
        pytest.param([CLIP, PROMPT], id="url"),
    ],
)
def test_a_clip_that_needs_no_check_shows_no_note(bare: CommandLine, argv: list[str]) -> None:
    ended = bare("submit", *argv)

    assert ended.status == 0, ended
    assert notes(ended.stderr) == []


@pytest.mark.parametrize(
    ("argv", "status", "message"),
    [
        (["edit", "clip.mov", PROMPT], 2, "clip.mov is a QuickTime file, not an MP4"),
        (["edit", "clip.mp4", PROMPT, "--start", "1"], 2, "needs the extra `media`"),
        (["edit", "clip.mp4", PROMPT, "--split"], 2, "needs the extra `media`"),
        (["submit", CLIP, PROMPT, "--check"], 2, "needs the extra `media`"),
        (["submit", CLIP, PROMPT, "--end", "1"], 2, "needs the extra `media`"),
        (["submit", "clip.mp4", PROMPT, "--max-credits", "9"], 12, "without the extra `media`"),
        (["submit", CLIP, PROMPT, "--max-credits", "9"], 12, "without the extra `media`"),
        (["probe", "clip.mp4"], 2, "needs the extra `media`"),
        (["probe", CLIP], 2, "needs the extra `media`"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_command_that_needs_the_extra_names_the_install_command(
    bare: CommandLine, record: Path, argv: list[str], status: int, message: str
) -> None:
    ended = bare(*argv)

    check_failure(ended, status, message, INSTALL)
    assert not requests(record)


def test_a_clip_that_the_service_finds_too_long_gets_a_hint_at_the_extra(
    bare: CommandLine,
) -> None:
    make_clip(bare.folder / "long.mp4", seconds=11)

    ended = bare("edit", "long.mp4", PROMPT)

    assert ended.status == 2, ended
    assert ended.stderr.splitlines()[-1] == (
        "hint: `--end 10` cuts it, and"
        f" `omniedit edit long.mp4 {quoted(PROMPT)} --split` edits it in pieces;"
        f" cuts and pieces need the extra `media`: `{INSTALL}`"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "is empty", id="empty"),
        pytest.param(b"#EXTM3U\n#EXTINF:9,\nother.mp4\n", "is not an MP4", id="playlist"),
        pytest.param(b"\0\0\0\x14ftypheic" + bytes(99), "is a still image", id="still-image"),
    ],
)
def test_a_file_that_is_not_an_mp4_is_refused_by_its_first_bytes(
    bare: CommandLine, record: Path, content: bytes, message: str
) -> None:
    (bare.folder / "clip.mp4").write_bytes(content)

    check_failure(bare("edit", "clip.mp4", PROMPT), 2, message)
    assert not requests(record)


def test_commands_that_do_not_need_the_extra_never_mention_it(bare: CommandLine) -> None:
    assert bare("submit", CLIP, PROMPT).status == 0

    for argv in (["status"], ["wait", "-d", "out.mp4"], ["list"], ["credits"], ["--help"]):
        ended = bare(*argv)
        assert ended.status == 0, ended
        assert "media" not in ended.stderr
    document = check_document(bare("doctor", "--json"))
    (check,) = [each for each in document["checks"] if each["name"] == "extra media"]
    assert (check["verdict"], check["hint"]) == ("warning", INSTALL)
