"""The command line with every rest and time-out shortened, so that a test need not sit them out.

Nothing but numbers differs from the installed command. Run as a script it carries out one command
line; with `--serve` as its only argument it carries out many, each in a fork of a process that
has imported everything: that saves half a second a command.
"""

import json
import os
import resource
import signal
import sys
import traceback
from importlib import import_module
from types import FrameType
from typing import Any, Final, TypedDict

import omniedit.policy

TIMEOUT_S: Final = 1.2
"""Of each read of a reply; 30 and 60 s in the product."""
BUDGET_S: Final = float(os.environ.get("HURRIED_BUDGET_S", "1.6"))
"""How long what costs nothing is tried again; 120 and 30 s in the product."""
GRACE_S: Final = 0.5
"""How long a signal waits for an outstanding reply; 5 s in the product."""


_EFFECTS: Final = frozenset(
    {"open", "write", "fsync", "ftruncate", "mkdir", "link", "rename", "replace", "unlink", "flock"}
)


class Errand(TypedDict):
    """One command line to carry out."""

    argv: list[str]
    environ: dict[str, str]
    folder: str
    stdout: str
    stderr: str
    dies_before: int
    """Which of its effects it does not live to see, from 1; 0: it lives."""
    largest_file: int | None
    """How many bytes a file may grow to (`ulimit -f`)."""


def hurry() -> None:
    """Shorten everything, before the modules are imported that take numbers over by value."""
    omniedit.policy.DEFAULT = omniedit.policy.DEFAULT._replace(  # type: ignore[misc]
        first_backoff_s=0.05,
        longest_backoff_s=0.2,
        submit_budget_s=BUDGET_S,
        read_budget_s=BUDGET_S,
        read_timeout_s=TIMEOUT_S,
        submit_timeout_s=TIMEOUT_S,
        upload_timeout_s=TIMEOUT_S,
    )
    from omniedit.cli import signals  # noqa: PLC0415 - after the policy that it takes over
    from omniedit.edits import polling  # noqa: PLC0415

    polling.EARLY_LOOK_S = 0.05  # type: ignore[misc]
    polling.FLOOR_S = 0.05  # type: ignore[misc]
    polling.WATCHED_CAP_S = 0.3  # type: ignore[misc]
    polling.UNWATCHED_CAP_S = 0.3  # type: ignore[misc]
    shields: Any = signals.Signals.__init__
    shields.__kwdefaults__["grace_s"] = GRACE_S


def serve() -> None:
    """Carry out the errands that come on stdin, those of one line side by side.

    Each line is answered twice: with the process IDs, and at the end with the exit statuses.
    """
    for name in (
        "evolink.api",
        "cli.main",
        "cli.local_clips",
        "cli.local_results",
        "terminal.progress",
        "edits.editing",
        "edits.following",
    ):
        import_module(f"omniedit.{name}")

    errands = os.fdopen(os.dup(0), encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    for line in errands:
        children = [_begin(errand) for errand in json.loads(line)]
        answers.write(json.dumps(children) + "\n")
        answers.flush()
        ended = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        answers.write(json.dumps(ended) + "\n")
        answers.flush()


def _begin(errand: Errand) -> int:
    child = os.fork()
    if child == 0:
        _carry_out(errand)
    return child


def _carry_out(errand: Errand) -> None:
    """Turn this process into that of a command line, and end it."""
    from omniedit.cli.main import run  # noqa: PLC0415

    status = 1
    try:
        os.environ.clear()
        os.environ.update(errand["environ"])
        os.chdir(errand["folder"])
        for number, name, flags in (
            (0, os.devnull, os.O_RDONLY),
            (1, errand["stdout"], os.O_WRONLY),
            (2, errand["stderr"], os.O_WRONLY),
        ):
            opened = os.open(name, flags)
            os.dup2(opened, number)
            os.close(opened)
        if errand["largest_file"] is not None:
            limit = errand["largest_file"]
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        if errand["dies_before"]:
            _die_before(errand["dies_before"])
        status = run(errand["argv"], os.environ)
        sys.setprofile(None)
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        # What `run` lets through is worth seeing, and must not reach the loop above.
        traceback.print_exc()
        raise
    finally:
        os._exit(status)


def _die_before(step: int) -> None:
    """Kill this process right before the n-th of its calls that reach beyond it."""
    steps = 0

    def count(_frame: FrameType, event: str, called: Any) -> None:
        nonlocal steps
        if event == "c_call" and _is_effect(called):
            steps += 1
            if steps == step:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count)


def _is_effect(called: Any) -> bool:
    """Return whether a built-in function writes, syncs, locks, renames, removes, sends or receives."""
    owner = getattr(called, "__self__", None)
    name: str = called.__name__
    match type(owner).__name__:
        case "Connection":
            return name == "execute"
        case "socket":
            return name in {"connect", "sendall", "recv", "close"}
        case "module":
            return name in _EFFECTS
        case _:
            return False


if __name__ == "__main__":
    hurry()
    if sys.argv[1:] == ["--serve"]:
        serve()
    else:
        from omniedit.cli.main import run

        sys.exit(run(sys.argv[1:], os.environ))
