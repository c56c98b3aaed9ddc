"""What a command imports: it starts fast only as long as it loads no slow module."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commandline import CommandLine
from tests.journals import add_task

_DUMP = """
import sys
from omniedit.__main__ import main
sys.argv = ["omniedit", *sys.argv[2:]]
try:
    main()
finally:
    modules = sorted(name for name, module in sys.modules.items() if module is not None)
    import json
    with open({path!r}, "w") as file:
        json.dump(modules, file)
"""
_SLOW = ("av", "click", "httpcore", "httpx", "pydantic", "pygments", "rich", "ssl", "werkzeug")


@pytest.fixture
def loaded_by(tmp_path: Path, folder: Path) -> "Loaded":
    return Loaded(tmp_path / "modules.json", folder)


class Loaded:
    """Lists the modules that a command line loads."""

    def __init__(self, path: Path, folder: Path) -> None:
        self._path = path
        self._folder = folder

    def __call__(self, *argv: str, **environ: str) -> set[str]:
        subprocess.run(
            [sys.executable, "-c", _DUMP.format(path=str(self._path)), "-", *argv],
            cwd=self._folder,
            env={**_environ_without_coverage(), **environ},
            capture_output=True,
            check=False,
            timeout=60,
        )
        return set(json.loads(self._path.read_text()))


def _environ_without_coverage() -> dict[str, str]:
    """Return the environment without the variables that load coverage into the command."""
    return {name: value for name, value in os.environ.items() if "COVERAGE" not in name}


def _roots(modules: set[str]) -> set[str]:
    return {module.partition(".")[0] for module in modules}


def _own(modules: set[str]) -> set[str]:
    return {module for module in modules if module.startswith("omniedit.")} - {"omniedit.__main__"}


def test_version_loads_no_other_module_of_omniedit(loaded_by: Loaded) -> None:
    modules = loaded_by("--version")

    assert _own(modules) == set()
    assert _roots(modules).isdisjoint({*_SLOW, "typer", "pathlib", "typing"})


@pytest.mark.parametrize("prompt", ["warmer", "wärmer"])
def test_completion_loads_no_command_line_parser(
    loaded_by: Loaded, home: Path, prompt: str
) -> None:
    add_task(home / "state/omniedit", "task-1", prompt=prompt)

    modules = loaded_by("__complete", "tasks", "task")

    assert _own(modules) - {"omniedit.sanitize"} == {
        "omniedit.cli",
        "omniedit.cli.completion",
    }
    assert _roots(modules).isdisjoint({*_SLOW, "datetime", "json", "pathlib", "sqlite3", "typer"})


@pytest.mark.parametrize(
    "argv",
    [
        ("list",),
        ("list", "--json"),
        ("config", "show"),
        ("config", "path"),
        ("edit", "--no-such-option"),
        ("no-such-command",),
        ("wait", "--json", "--events"),
        ("--help",),
        ("edit", "--help"),
    ],
    ids=" ".join,
)
def test_a_command_without_network_loads_no_slow_module(
    loaded_by: Loaded, home: Path, argv: tuple[str, ...]
) -> None:
    add_task(home / "state/omniedit", "task-1", prompt="warmer", status="completed")

    modules = loaded_by(*argv)

    assert "typer" in modules
    assert _roots(modules).isdisjoint(_SLOW)


def test_list_without_a_key_loads_no_http_client(loaded_by: Loaded, home: Path) -> None:
    add_task(home / "state/omniedit", "task-1", prompt="warmer", status="processing")

    assert _roots(loaded_by("list")).isdisjoint(_SLOW)


def test_list_loads_neither_events_nor_polling(loaded_by: Loaded) -> None:
    modules = loaded_by("list")

    assert modules.isdisjoint(
        {"omniedit.events", "omniedit.terminal.progress", "omniedit.edits.poller"}
    )
    assert modules.isdisjoint(
        {"omniedit.cli.commands.edit", "omniedit.cli.commands.batch", "getpass", "tomllib"}
    )


def test_a_usage_error_loads_neither_models_nor_settings(loaded_by: Loaded) -> None:
    modules = loaded_by("no-such-command")

    assert modules.isdisjoint(
        {"omniedit.settings", "omniedit.models", "omniedit.events", "sqlite3"}
    )


def test_submitting_a_url_loads_no_module_for_clips(loaded_by: Loaded, served: CommandLine) -> None:
    environ = {name: served.environ[name] for name in served.environ}

    modules = loaded_by("submit", "https://example.com/clip.mp4", "warmer", **environ)

    assert "omniedit.edits.submit" in modules
    assert modules.isdisjoint(
        {"omniedit.edits.clips", "omniedit.evolink.uploads", "omniedit.http.links"}
    )
    assert modules.isdisjoint({"omniedit.media.facts", "omniedit.media.timeline"})


def test_status_loads_httpx_and_nothing_heavier(loaded_by: Loaded, served: CommandLine) -> None:
    submitted = served("submit", "https://example.com/clip.mp4", "warmer")
    environ = {name: served.environ[name] for name in served.environ}

    modules = loaded_by("status", submitted.stdout.strip(), **environ)

    assert "httpx" in modules
    assert modules.isdisjoint(
        {"omniedit.terminal.progress", "omniedit.media", "omniedit.http.links"}
    )
    assert _roots(modules).isdisjoint({*_SLOW} - {"httpx", "httpcore", "ssl"})
    assert _roots(modules).isdisjoint({"asyncio", "av", "pydantic", "werkzeug"})


def test_full_and_fast_path_agree_on_the_version(omniedit: CommandLine) -> None:
    fast = omniedit("--version")
    full = omniedit("--quiet", "--version")

    assert (fast.status, fast.stdout, fast.stderr) == (full.status, full.stdout, full.stderr)
