"""How pytest runs the tests, and the fixtures that all share: a home, the command line, a sandbox."""

import gc
import importlib.util
import itertools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from omniedit.sandbox.exchange import Service
from omniedit.sandbox.server import RunningSandbox, serve
from tests.commandline import COMMAND, CommandLine, sandbox_environ
from tests.e2e.equipment import ForkServer

_CLEARED_PREFIXES = ("OMNIEDIT_", "EVOLINK_", "GITHUB_", "CI", "XDG_", "NO_COLOR", "FORCE_COLOR")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")


# The e2e tests that Windows can run in addition to the unit and contract tests.
_ALSO_ON_WINDOWS = frozenset({"test_first_minute.py", "test_no_other_host.py", "test_stdin.py"})
_POSIX_ONLY = frozenset({"test_blocks.py", "test_completion.py", "test_recording.py"})

_MEMORY = Path("/dev/shm")  # noqa: S108 - pytest makes a folder of its own there
_MIN_FREE_BYTES = 2 * 1024**3
_TEMPORARY_VARIABLE = "PYTEST_DEBUG_TEMPROOT"

_TESTS = Path(__file__).parent
_MIN_STALE_FILES = 20

_DESELECTED = pytest.StashKey[int]()
_DESELECTED_NAME = "deselected"

_FINISHED_TESTS = itertools.count(1)
_FREEZE_EVERY = 64


def pytest_configure(config: pytest.Config) -> None:
    """Keep temporary files in memory if there is room, and let modules be compiled only once.

    The journal must wait for the disk after every row; thousands of tests need not.
    """
    gc.set_threshold(50_000, 20, 20)  # as `omniedit/__main__.py` sets it
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if (
        config.option.basetemp
        or _TEMPORARY_VARIABLE in os.environ
        or not os.access(_MEMORY, os.W_OK)
    ):
        return
    if shutil.disk_usage(_MEMORY).free >= _MIN_FREE_BYTES:
        os.environ[_TEMPORARY_VARIABLE] = str(_MEMORY)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return the number of workers for `-n auto`: tests wait more than they compute."""
    return 3 * _cores()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Compile the tests of a fresh clone once, so that the workers need not.

    The workers start at the same moment, so each would compile everything itself.
    """
    config = session.config
    is_whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    if not is_whole or not getattr(config.option, "numprocesses", None):
        return
    stale = sorted(_uncompiled(), key=lambda path: path.stat().st_size)
    if len(stale) >= _MIN_STALE_FILES:
        shares = [stale[number :: _cores()] for number in range(_cores())]
        for collecting in [_collect(share) for share in shares]:
            # Errors in a file will be reported by the workers.
            collecting.wait()


def _uncompiled() -> Iterator[Path]:
    """Yield the test files that have changed since pytest last compiled them."""
    name = f"{sys.implementation.cache_tag}-pytest-{pytest.__version__}.pyc"
    for path in _TESTS.rglob("test_*.py"):
        compiled = Path(importlib.util.cache_from_source(path)).with_name(f"{path.stem}.{name}")
        if not compiled.exists() or compiled.stat().st_mtime < path.stat().st_mtime:
            yield path


def _collect(paths: Sequence[Path]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", "-n0", "--collect-only", "--quiet", *paths],
        cwd=_TESTS.parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # exists on Linux only
        return os.cpu_count() or 1


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect tests marked `full` unless `OMNIEDIT_FULL` is set; skip POSIX tests on Windows.

    They are deselected, not skipped, because workers would take seconds to report a thousand skips.
    """
    deselected = [item for item in items if item.get_closest_marker("full")]
    if deselected and not os.environ.get("OMNIEDIT_FULL"):
        items[:] = [item for item in items if not item.get_closest_marker("full")]
        config.hook.pytest_deselected(items=deselected)
        _note_deselected(config, len(deselected))
    for item in items if os.name == "nt" else ():
        is_e2e = item.path.parent.name in {"e2e", "pty"} and item.path.name not in _ALSO_ON_WINDOWS
        if is_e2e or item.path.name in _POSIX_ONLY or item.get_closest_marker("posix"):
            item.add_marker(pytest.mark.skip(reason="needs POSIX"))


def _note_deselected(config: pytest.Config, count: int) -> None:
    config.stash[_DESELECTED] = count
    if (output := getattr(config, "workeroutput", None)) is not None:
        output[_DESELECTED_NAME] = count


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Copy the number of deselected tests from a worker; it is the same in all workers."""
    count = getattr(node, "workeroutput", {}).get(_DESELECTED_NAME)
    if count is not None:
        node.config.stash[_DESELECTED] = count


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print how many tests were deselected, and how to run them."""
    if count := config.stash.get(_DESELECTED, 0):
        terminalreporter.write_line(
            f"{count} tests have the mark `full`: `.ci/run full`, or OMNIEDIT_FULL=1, runs them too"
        )


def pytest_collection_finish() -> None:
    """Exempt pytest's many objects from garbage collection; a command has a fraction of them."""
    _freeze_objects()


@pytest.hookimpl(trylast=True)
def pytest_runtest_logfinish() -> None:
    """Exempt test reports as well, whose number grows with every test."""
    if next(_FINISHED_TESTS) % _FREEZE_EVERY == 0:
        _freeze_objects()


def _freeze_objects() -> None:
    gc.collect()
    gc.freeze()


# A shell's background jobs ignore SIGINT, and programs started by `nohup` ignore SIGHUP. All
# commands that the tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty home, set for this process and all its children."""
    for name in list(os.environ):
        if name.startswith(_CLEARED_PREFIXES) or name.upper() in _PROXIES:
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    for name, folder in (
        ("HOME", ""),
        ("USERPROFILE", ""),
        ("XDG_CONFIG_HOME", "config"),
        ("XDG_STATE_HOME", "state"),
    ):
        (home / folder).mkdir(parents=True, exist_ok=True)
        monkeypatch.setenv(name, str(home / folder))
    if sys.platform in {"darwin", "win32"}:
        # These systems do not use XDG's folders.
        for name, folder in (("CONFIG", "config"), ("STATE", "state")):
            monkeypatch.setenv(f"OMNIEDIT_{name}_DIR", str(home / folder / "omniedit"))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    return home


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder that commands run in."""
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def omniedit(folder: Path) -> CommandLine:
    """Return the command line without any settings."""
    return CommandLine(folder, {})


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    """Return a server that forks a process for each command line."""
    server = ForkServer()
    yield server
    server.close()


@pytest.fixture
def commands(fork_server: ForkServer) -> Path:
    """Return the folder with the `omniedit` command for shells.

    `.ci/run full` and Windows use the installed command, which takes ten times as long to start.
    """
    is_installed = os.environ.get("OMNIEDIT_FULL") or os.name == "nt"
    return COMMAND.parent if is_installed else fork_server.commands


@pytest.fixture
def start_sandbox(tmp_path: Path) -> Iterator[Callable[..., RunningSandbox]]:
    """Return a function that serves a sandbox whose time runs 20 times as fast as usual."""
    running: list[RunningSandbox] = []

    def start(**options: Any) -> RunningSandbox:
        started = serve(Service(tmp_path / "service", **({"time_scale": 0.05} | options)))
        running.append(started)
        return started

    yield start
    for started in running:
        started.close()


@pytest.fixture
def service(start_sandbox: Callable[..., RunningSandbox]) -> RunningSandbox:
    """Return a sandbox served by this process."""
    return start_sandbox()


@pytest.fixture
def served(folder: Path, service: RunningSandbox) -> CommandLine:
    """Return the command line, configured for the served sandbox."""
    return CommandLine(folder, sandbox_environ(service.url))
