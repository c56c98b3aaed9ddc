"""With an unusable journal every command says so, loses no ID, and avoids paying twice.

Each cell of the table is the exit status of a command with a certain kind of journal trouble. The
task named by `TASK` was submitted before the trouble or from another machine.
"""

import os
import re
import shlex
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Final

import pytest

from omniedit.sandbox.clips import BUNDLED_CLIP
from tests.e2e.equipment import CLIP_URL, PROMPT, Bench
from tests.e2e.faulty import Endpoint, Exchange, pass_through, reset_after

pytestmark = pytest.mark.e2e

RESULT_BYTES: Final = BUNDLED_CLIP.read_bytes()
COMMANDS: Final[Mapping[str, tuple[str, ...]]] = {
    "submit": ("submit", CLIP_URL, f"{PROMPT}, darker"),
    "edit": ("edit", CLIP_URL, f"{PROMPT}, darker", "-o", "out.mp4"),
    "--no-journal": ("edit", CLIP_URL, f"{PROMPT}, darker", "-o", "out.mp4", "--no-journal"),
    "status TASK": ("status", "TASK"),
    "wait TASK": ("wait", "TASK", "-d", "out.mp4"),
    "download TASK": ("download", "TASK", "-o", "out.mp4"),
    "status": ("status",),
    "wait": ("wait", "-d", "out.mp4"),
    "download --all": ("download", "--all", "-o", "./"),
    "list": ("list",),
}
TABLE: Final = """
                     | submit | edit | --no-journal | status TASK | wait TASK | download TASK | status | wait | download --all | list
file as state folder |   0    |  10  |      0       |      0      |     0     |       0       |   10   |  10  |       10       |  10
folder at its path   |   0    |  10  |      0       |      0      |     0     |       0       |   10   |  10  |       10       |  10
from a newer version |  10    |  10  |      10      |      0      |     0     |       0       |   10   |  10  |       10       |  10
not a database       |   0    |  10  |      0       |      0      |     0     |       0       |   10   |  10  |       10       |  10
garbage header       |   0    |  10  |      0       |      0      |     0     |       0       |   10   |  10  |       10       |  10
overwritten pages    |   0    |  10  |      0       |      0      |     0     |       0       |   10   |  10  |       10       |  10
read-only            |   0    |  10  |      0       |      0      |     0     |       0       |   0    |  0   |       0        |  0
on a full disk       |   0    |  10  |      0       |      0      |     0     |       0       |   0    |  0   |       0        |  0
no lock folder       |   0    |  10  |      0       |      0      |     0     |       0       |   0    |  0   |       0        |  0
"""
DAMAGED: Final = ("not a database", "garbage header", "overwritten pages")
READING_COMMANDS: Final = {"--no-journal", "status TASK", "status", "list"}
"""Commands that need not write if the journal can be read."""


def cells() -> list[object]:
    head, *lines = TABLE.strip("\n").splitlines()
    commands = [cell.strip() for cell in head.split("|")[1:]]
    cases: list[object] = []
    for line in lines:
        trouble, *statuses = (cell.strip() for cell in line.split("|"))
        for command, status in zip(commands, statuses, strict=True):
            name = f"{trouble}: {command}".replace(" ", "_")
            cases.append(pytest.param(trouble, command, int(status), id=name))
    return cases


def troubles() -> list[str]:
    return [line.partition("|")[0].strip() for line in TABLE.strip("\n").splitlines()[1:]]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the state folder of every command."""
    state = tmp_path / "state"
    monkeypatch.setenv("OMNIEDIT_STATE_DIR", str(state))
    return state


@pytest.fixture
def cause_trouble(state: Path) -> Iterator[Callable[[str], Path]]:
    """Yield a function that causes journal trouble and returns the journal's path."""
    with ExitStack() as undo:

        def cause_trouble(trouble: str) -> Path:
            journal = state / "sandbox" / "journal.db"
            TROUBLE_MAKERS[trouble](journal, undo)
            return journal

        yield cause_trouble


@pytest.mark.parametrize(("trouble", "command", "status"), cells())
def test_a_command_with_journal_trouble_follows_the_table(
    bench: Bench, cause_trouble: Callable[[str], Path], trouble: str, command: str, status: int
) -> None:
    for n in range(3):
        bench.run("submit", CLIP_URL, f"{PROMPT} {n}")
    task_id = bench.run("submit", CLIP_URL, PROMPT).stdout.strip()
    journal = cause_trouble(trouble)
    broken = journal.read_bytes() if journal.is_file() else b""
    argv = [task_id if word == "TASK" else word for word in COMMANDS[command]]

    ended = bench.run(*argv)

    assert ended.status == status, ended
    assert "Traceback" not in ended.stderr
    new = len(bench.task_ids) - 4
    assert new == (status == 0 and command in {"submit", "--no-journal"}), ended
    if command == "submit" and status == 0:
        assert ended.stdout.strip() == bench.task_ids[0], "the ID is printed regardless"
    if ended.stdout == "out.mp4\n":
        assert bench.files() == {"out.mp4": RESULT_BYTES}
    is_readable = trouble in {"read-only", "on a full disk", "no lock folder"}
    if command != "--no-journal" and not (is_readable and command in READING_COMMANDS):
        what = "(journal|lock)"
        if trouble != "no lock folder" or command in {"submit", "edit"}:
            assert re.search(rf"(error|warning): .*{what}", ended.stderr), ended
    if command == "edit":
        assert "\nhint: " in ended.stderr
    if trouble in DAMAGED and command != "--no-journal":
        backups = list(journal.parent.glob("journal.damaged-*.db"))
        assert [path.read_bytes() for path in backups] == [broken], "set aside, and not deleted"
        assert backups[0].name in ended.stderr
        assert bench.run("list").status == 0


@pytest.mark.parametrize(
    ("argv", "status"),
    [
        pytest.param(("edit", CLIP_URL, PROMPT, "-o", "a.mp4", "--no-journal"), 10, id="edit"),
        pytest.param(("batch", CLIP_URL, "--prompt", PROMPT, "--no-journal"), 10, id="batch"),
        pytest.param(("submit", CLIP_URL, PROMPT, "--dry-run"), 0, id="dry-run"),
        pytest.param(("usage", "--remote"), 0, id="usage"),
    ],
)
def test_nothing_is_paid_beside_a_newer_versions_journal(
    bench: Bench,
    state: Path,
    cause_trouble: Callable[[str], Path],
    argv: tuple[str, ...],
    status: int,
) -> None:
    bench.run("submit", CLIP_URL, PROMPT)
    journal = cause_trouble("from a newer version")
    paid = bench.task_ids
    before = (*journal.parent.iterdir(), journal.read_bytes())

    ended = bench.run(*argv)

    assert ended.status == status, ended
    assert bench.task_ids == paid
    assert (*journal.parent.iterdir(), journal.read_bytes()) == before


@pytest.mark.parametrize("trouble", [trouble for trouble in troubles() if "newer" not in trouble])
def test_a_lost_replys_recovery_command_works_despite_journal_trouble(
    bench: Bench, cause_trouble: Callable[[str], Path], trouble: str
) -> None:
    bench.run("submit", CLIP_URL, PROMPT)
    cause_trouble(trouble)
    bench.faulty.script(Endpoint.SUBMIT, reset_after, reset_after)

    ended = bench.run("submit", CLIP_URL, "it's darker", "--json")
    (recovery,) = re.findall(r"`(omniedit .*?)` settles", ended.stderr) or [""]
    settled = bench.run(*shlex.split(recovery)[1:])

    assert ended.status == 9, ended
    assert (settled.status, settled.stdout.split()) == (0, bench.task_ids[:1]), (ended, settled)
    assert len(bench.task_ids) == 2


@pytest.mark.parametrize("shell", ["bash", "zsh"])
@pytest.mark.parametrize(
    "prompt",
    [
        pytest.param("--no-captions, please", id="like-an-option"),
        pytest.param("make it night\nkeep the rest", id="two-lines"),
        pytest.param("tab\tCR\r\nESC\x1b[31m", id="control-characters"),
        pytest.param("bidi \u202e, no\xa0break, emoji \u2764\ufe0f", id="invisible-characters"),
        pytest.param("it's `x` $(y) !z \\n \n", id="shell-metacharacters"),
    ],
)
def test_a_recovery_command_can_be_pasted_with_any_prompt(
    bench: Bench, prompt: str, shell: str
) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    bench.faulty.script(Endpoint.SUBMIT, reset_after, reset_after)

    ended = bench.run("edit", "--no-journal", "--json", "--", CLIP_URL, prompt)
    (recovery,) = re.findall(r"`(omniedit .*?)` settles", ended.stderr) or [""]
    pasted = subprocess.run(
        [shell, "-c", f"printf '%s\\0' {recovery}"], capture_output=True, check=True
    )
    settled = bench.run(*pasted.stdout.decode().split("\0")[1:-1])

    assert ended.status == 9, ended
    assert f"`{recovery}`" in ended.document["error"]["hint"]
    assert (settled.status, settled.stdout.split()) == (0, bench.task_ids), (ended, settled)
    assert len(bench.task_ids) == 1


@pytest.mark.parametrize("command", ["submit", "status TASK", "status", "list"])
def test_a_file_size_limit_is_handled_like_a_full_disk(bench: Bench, command: str) -> None:
    task_id = bench.run("submit", CLIP_URL, PROMPT).stdout.strip()
    argv = [task_id if word == "TASK" else word for word in COMMANDS[command]]

    ended = bench.run(*argv, largest_file=4096)

    assert ended.status == 0, ended
    assert "Traceback" not in ended.stderr
    assert len(bench.task_ids) == 1 + (command == "submit")
    if command == "submit":
        assert ended.stdout.strip() == bench.task_ids[0]
        assert re.search("warning: .*journal", ended.stderr)


def test_a_journal_damaged_before_the_reply_loses_no_task_id(bench: Bench, state: Path) -> None:
    bench.run("submit", CLIP_URL, PROMPT)

    def overwrite_pages(exchange: Exchange) -> None:
        _overwritten_pages(state / "sandbox" / "journal.db", ExitStack())
        pass_through(exchange)

    bench.faulty.script(Endpoint.SUBMIT, overwrite_pages)

    ended = bench.run("submit", CLIP_URL, "darker")

    assert (ended.status, ended.stdout.split()) == (0, bench.task_ids[:1]), ended
    assert f"note the task ID: {bench.task_ids[0]}" in ended.stderr


def _file_as_state_folder(journal: Path, undo: ExitStack) -> None:
    state = journal.parent.parent
    state.rename(state.with_name("before"))
    state.write_text("a file")


def _folder_at_its_path(journal: Path, undo: ExitStack) -> None:
    journal.unlink()
    journal.mkdir()


def _from_a_newer_version(journal: Path, undo: ExitStack) -> None:
    with closing(sqlite3.connect(journal)) as database:
        database.execute("pragma user_version=99")


def _not_a_database(journal: Path, undo: ExitStack) -> None:
    journal.write_text("the dog ate it\n" * 1000)


def _garbage_header(journal: Path, undo: ExitStack) -> None:
    with journal.open("r+b") as file:
        file.write(bytes(range(100)))


def _overwritten_pages(journal: Path, undo: ExitStack) -> None:
    """Overwrite the pages with the attempts, as if the disk had lost them."""
    with closing(sqlite3.connect(journal)) as database:
        ((size,),) = database.execute("pragma page_size")
        pages = database.execute(
            "select rootpage from sqlite_master where tbl_name in ('attempts', 'tasks')"
        ).fetchall()
    with journal.open("r+b") as file:
        for (page,) in pages:
            file.seek((page - 1) * size)
            file.write(b"\xde\xad" * (size // 2))


def _read_only(journal: Path, undo: ExitStack) -> None:
    paths = [*journal.parent.rglob("*"), journal.parent]
    if os.geteuid() != 0:
        for path in paths:
            path.chmod(0o555 if path.is_dir() else 0o444)
            undo.callback(path.chmod, 0o755)
        return
    # Permission bits do not apply to root.
    _run_or_skip("chattr", "+i", *map(str, paths))
    undo.callback(_run_or_skip, "chattr", "-i", *map(str, paths))


def _on_a_full_disk(journal: Path, undo: ExitStack) -> None:
    folder = journal.parent
    kept = folder.with_name("before")
    folder.rename(kept)
    folder.mkdir()
    _run_or_skip("mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", str(folder))
    undo.callback(_run_or_skip, "umount", "-l", str(folder))
    shutil.copytree(kept, folder, dirs_exist_ok=True)
    with suppress(OSError), (folder / "filler").open("wb", 0) as filler:
        while True:
            filler.write(bytes(4096))


def _no_lock_folder(journal: Path, undo: ExitStack) -> None:
    locks = journal.with_name("locks")
    locks.rename(locks.with_name("before"))
    locks.write_text("a file")


def _run_or_skip(*argv: str) -> None:
    ended = subprocess.run(argv, capture_output=True, text=True, check=False)
    if ended.returncode:
        pytest.skip(f"needs {argv[0]}, which says: {ended.stderr.strip()}")


TROUBLE_MAKERS: Final[Mapping[str, Callable[[Path, ExitStack], None]]] = {
    "file as state folder": _file_as_state_folder,
    "folder at its path": _folder_at_its_path,
    "from a newer version": _from_a_newer_version,
    "not a database": _not_a_database,
    "garbage header": _garbage_header,
    "overwritten pages": _overwritten_pages,
    "read-only": _read_only,
    "on a full disk": _on_a_full_disk,
    "no lock folder": _no_lock_folder,
}
