"""Completion: the committed scripts, what they may contain, and the fast path to the journal."""

import os
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest

from omniedit.cli.completion import PROMPT_WIDTH, journal_folder
from omniedit.cli.completion.scripts import (
    FILES,
    FOLDERS,
    OptionModel,
    command_model,
    scripts,
)
from omniedit.journal import Journal
from omniedit.models import TaskError
from omniedit.settings import load_settings
from tests.commandline import CommandLine
from tests.journals import add_task, attempt

_SCRIPTS = Path(__file__).parents[2] / "completions"
_SAVED = (
    '{{"keys": {{"https://api.evolink.ai": '
    '{{"key": "{}", "files_origin": "https://files-api.evolink.ai"}}}}}}'
)
POWERSHELL = shutil.which("pwsh") or shutil.which("powershell")
NAMES = ["omniedit.bash", "_omniedit", "omniedit.fish", "omniedit.ps1"]
_INSTALLED_PATHS = {
    "bash": ".local/share/bash-completion/completions/omniedit",
    "zsh": ".local/share/zsh/site-functions/_omniedit",
    "fish": ".config/fish/completions/omniedit.fish",
    "pwsh": ".local/share/omniedit/omniedit.ps1",
}


@pytest.mark.parametrize("name", NAMES)
def test_committed_scripts_are_up_to_date(name: str) -> None:
    committed = (_SCRIPTS / name).read_text(encoding="utf-8")

    assert committed == scripts()[name], (
        "run `python -m omniedit.cli.completion.scripts completions`"
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("forbidden", ["compgen", "eval", "xargs", "Invoke-Expression", "iex "])
def test_no_script_can_execute_candidates(name: str, forbidden: str) -> None:
    assert forbidden not in scripts()[name]


@pytest.mark.skipif(POWERSHELL is None, reason="PowerShell is not installed")
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        pytest.param("omniedit ed", "edit", id="command"),
        pytest.param("omniedit config sh", "show", id="sub-command"),
        pytest.param("omniedit edit --prompt-f", "--prompt-file", id="option"),
        pytest.param("omniedit edit --progress pl", "plain", id="choice"),
        pytest.param("omniedit help json cred", "credits", id="document"),
        pytest.param("omniedit help config set", "set-key", id="help-of-a-groups-command"),
    ],
)
def test_powershell_completes_commands_options_and_choices(line: str, offered: str) -> None:
    script = (
        f". '{_SCRIPTS / 'omniedit.ps1'}'\n"
        f"(TabExpansion2 '{line}' {len(line)}).CompletionMatches.CompletionText"
    )

    ended = subprocess.run(
        [str(POWERSHELL), "-NoProfile", "-NonInteractive", "-Command", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.stdout.split() == [offered], ended


def test_an_option_takes_the_same_values_in_every_command() -> None:
    # The scripts decide by the name alone whether a value follows.
    # `-o` takes a file in some commands and a folder in others: both complete as paths.
    meanings: dict[str, set[tuple[str, tuple[str, ...]] | None]] = {}
    for option in _all_options():
        kind = option.value and option.value.kind.replace(FOLDERS, FILES)
        value = (str(kind), option.value.choices) if option.value else None
        for name in option.names:
            meanings.setdefault(name, set()).add(value)

    assert {name: found for name, found in meanings.items() if len(found) > 1} == {}


def _all_options() -> list[OptionModel]:
    return [option for known in command_model().walk() for option in known.options]


@pytest.mark.parametrize("shell", _INSTALLED_PATHS)
def test_the_script_of_the_users_shell_is_installed(
    omniedit: CommandLine, home: Path, shell: str
) -> None:
    ended = omniedit(
        "--install-completion",
        SHELL=f"/usr/bin/{shell}",
        XDG_CONFIG_HOME="",
        XDG_DATA_HOME="",
        LC_ALL="C",
    )

    path = home / _INSTALLED_PATHS[shell]
    assert (ended.status, ended.stdout) == (0, f"{path}\n"), ended
    assert ended.stderr.startswith("note: ")
    assert "open a new shell" in ended.stderr
    assert path.read_text(encoding="utf-8") in scripts().values()


@pytest.mark.parametrize("shell", ["/bin/dash", ""])
def test_an_unsupported_shell_is_refused(omniedit: CommandLine, home: Path, shell: str) -> None:
    ended = omniedit("--install-completion", SHELL=shell)

    assert (ended.status, ended.stdout) == (2, "")
    assert "SHELL=bash omniedit --install-completion" in ended.stderr
    assert not (home / ".local").exists()


def test_an_unwritable_folder_is_a_local_error(omniedit: CommandLine, home: Path) -> None:
    (home / ".local").touch()

    ended = omniedit("--install-completion", SHELL="bash", XDG_DATA_HOME="")

    assert (ended.status, ended.stdout) == (10, "")
    assert "cannot write" in ended.stderr


@pytest.mark.parametrize(
    ("kind", "offered"),
    [("tasks", ["task-2", "task-1"]), ("unfinished", ["task-2"]), ("finished", ["task-1"])],
)
def test_tasks_come_newest_first_with_state_clip_and_prompt(
    omniedit: CommandLine, home: Path, kind: str, offered: list[str]
) -> None:
    folder = home / "state/omniedit"
    add_task(folder, "task-1", prompt="warmer", status="completed", now=1.0)
    add_task(folder, "task-2", prompt="colder", now=2.0)
    add_task(folder, "other", prompt="x", now=3.0)
    shown = {"task-1": "completed clip.mp4: warmer", "task-2": "processing clip.mp4: colder"}

    ended = omniedit("__complete", kind, "task-")

    assert ended.stdout == "".join(f"{task_id}\t{shown[task_id]}\n" for task_id in offered)


def test_each_command_offers_the_tasks_it_applies_to() -> None:
    kinds = {
        known.name: value.kind
        for known in command_model().walk()
        for value in known.arguments
        if value.name == "tasks"
    }

    assert kinds == {"status": "tasks", "wait": "unfinished", "download": "finished"}


def test_only_unsettled_submissions_are_offered_to_resume(
    omniedit: CommandLine, home: Path
) -> None:
    with Journal(home / "state/omniedit") as journal:
        journal.record_attempt(attempt("request-refused-1", prompt="x"), context=None)
        journal.record_refused("request-refused-1", TaskError(code="x", message="no"))
        journal.record_attempt(attempt("request-unknown-1", prompt="warmer"), context=None)
        journal.record_unknown("request-unknown-1", TaskError(code="x", message="lost"))

    ended = omniedit("__complete", "requests", "")

    assert ended.stdout == "request-unknown-1\tunknown clip.mp4: warmer\n"


@pytest.mark.parametrize(
    ("prompt", "shown"),
    [
        pytest.param("a\tb\nc\r\nd", "a b c d", id="line-breaks-and-tabs"),
        pytest.param("\x1b[31mred\x07\x9b\x7f", "[31mred", id="control-characters"),
        pytest.param("\u202eevil\u2066\u200b\ufeff", "evil", id="bidi-and-invisible"),
        pytest.param("x" * 40, "x" * 40, id="just-fits"),
        pytest.param("x" * 41, "x" * 39 + "…", id="too-long"),
        pytest.param("漢" * 19, "漢" * 19, id="wide-and-just-fits"),
        pytest.param("漢" * 30, "漢" * 19 + "…", id="wide-and-too-long"),
        pytest.param(
            "%B{red} $(touch pwned) `x`", "%B{red} $(touch pwned) `x`", id="shell-syntax-unchanged"
        ),
    ],
)
def test_a_prompt_is_sanitized_and_truncated_to_one_line(
    omniedit: CommandLine, home: Path, prompt: str, shown: str
) -> None:
    add_task(home / "state/omniedit", "task-1", prompt=prompt)

    ended = omniedit("__complete", "tasks", "")

    assert ended.stdout == f"task-1\tprocessing clip.mp4: {shown}\n"
    assert PROMPT_WIDTH == 40


@pytest.mark.parametrize("task_id", ["-rf", "a b", "a\nb", "$(x)", "../x", "é", "x" * 129])
def test_an_invalid_task_id_is_not_offered(omniedit: CommandLine, home: Path, task_id: str) -> None:
    add_task(home / "state/omniedit", task_id, prompt="x")

    ended = omniedit("__complete", "tasks", "")

    assert ended.stdout == ""


@pytest.mark.parametrize(
    "prepare",
    [
        pytest.param(lambda folder: None, id="no-journal"),
        pytest.param(
            lambda folder: folder.joinpath("journal.db").write_bytes(b"x" * 5000),
            id="not-a-database",
        ),
        pytest.param(
            lambda folder: folder.joinpath("journal.db").write_bytes(b""), id="empty-file"
        ),
    ],
)
def test_without_a_readable_journal_nothing_is_printed_or_created(
    omniedit: CommandLine, home: Path, prepare: object
) -> None:
    folder = home / "state/omniedit"
    folder.mkdir()
    assert callable(prepare)
    prepare(folder)
    before = sorted(folder.iterdir())

    ended = omniedit("__complete", "tasks", "")

    assert (ended.status, ended.stdout, ended.stderr) == (0, "", "")
    assert sorted(folder.iterdir()) == before


def test_a_locked_journal_can_still_be_read(omniedit: CommandLine, home: Path) -> None:
    folder = home / "state/omniedit"
    add_task(folder, "task-1", prompt="x")
    writer = sqlite3.connect(folder / "journal.db", isolation_level=None)
    writer.execute("begin immediate")

    ended = omniedit("__complete", "tasks", "")

    writer.close()
    assert ended.stdout == "task-1\tprocessing clip.mp4: x\n"


@pytest.mark.parametrize(
    ("environ", "files", "is_sandbox"),
    [
        pytest.param({}, {}, False, id="defaults"),
        pytest.param({"XDG_STATE_HOME": "", "XDG_CONFIG_HOME": ""}, {}, False, id="empty-xdg"),
        pytest.param({"XDG_STATE_HOME": "relative"}, {}, False, id="relative-xdg"),
        pytest.param({"OMNIEDIT_STATE_DIR": "/s %?#"}, {}, False, id="variable"),
        pytest.param({"OMNIEDIT_STATE_DIR": "~/s"}, {}, False, id="variable-with-tilde"),
        pytest.param({"OMNIEDIT_STATE_DIR": "s"}, {}, False, id="relative-variable"),
        pytest.param({}, {}, True, id="sandbox-option"),
        pytest.param({"OMNIEDIT_SANDBOX": "1"}, {}, False, id="sandbox-variable"),
        pytest.param({"OMNIEDIT_SANDBOX": "no"}, {}, False, id="sandbox-variable-off"),
        pytest.param({"EVOLINK_API_KEY": "sk-sandbox-1"}, {}, False, id="sandbox-key"),
        pytest.param({"EVOLINK_API_KEY": "sk-1"}, {}, False, id="real-key"),
        pytest.param(
            {"OMNIEDIT_API_KEY": "sk-1", "EVOLINK_API_KEY": "sk-sandbox-1"},
            {},
            False,
            id="two-keys",
        ),
        pytest.param({}, {"config.toml": 'state_dir = "/elsewhere"'}, False, id="config-file"),
        pytest.param(
            {}, {"credentials": _SAVED.format("sk-sandbox-1")}, False, id="saved-sandbox-key"
        ),
        pytest.param({}, {"credentials": _SAVED.format("sk-1")}, False, id="saved-key"),
        pytest.param({}, {"credentials": "torn"}, False, id="damaged-credentials"),
    ],
)
def test_the_fast_path_finds_the_journal_of_the_settings(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    environ: dict[str, str],
    files: dict[str, str],
    *,
    is_sandbox: bool,
) -> None:
    folder = home / "config/omniedit"
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_text(content)
        (folder / name).chmod(0o600)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    settings = load_settings(os.environ, sandbox=is_sandbox)

    assert journal_folder(os.environ, is_sandbox=is_sandbox) == str(settings.journal_folder)


@pytest.mark.posix
def test_named_pipes_instead_of_files_do_not_block(omniedit: CommandLine, home: Path) -> None:
    for name in ("config/omniedit/credentials", "state/omniedit/journal.db"):
        (home / name).parent.mkdir(parents=True)
        os.mkfifo(home / name, 0o600)

    ended = omniedit("__complete", "tasks", "")

    assert (ended.status, ended.stdout, ended.stderr) == (0, "", "")


@pytest.mark.posix
def test_a_named_pipe_beside_the_journal_does_not_block(omniedit: CommandLine, home: Path) -> None:
    with Journal(home / "state/omniedit"):
        pass
    os.mkfifo(home / "state/omniedit/journal.db-journal", 0o600)

    ended = omniedit("__complete", "tasks", "")

    assert (ended.status, ended.stdout, ended.stderr) == (0, "", "")


def test_invalid_settings_name_no_journal(home: Path) -> None:
    environ = {**os.environ, "OMNIEDIT_BASE_URL": "nonsense", "EVOLINK_API_KEY": "sk-sandbox-1"}

    assert journal_folder(environ, is_sandbox=False) is None
