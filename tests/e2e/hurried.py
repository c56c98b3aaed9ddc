"""The command line with every rest and time-out shortened, so that a test need not sit them out.

Nothing but numbers differs from the installed command. Run as a script it carries out one command
line; with `--serve` as its only argument it carries out many, one after the other, each in a
fork of a process that has imported everything: that saves half a second a command.
"""

import json
import os
import sys
from importlib import import_module
from typing import Any, Final, TypedDict

import omniedit.http
import omniedit.retry
import omniedit.schedule

TIMEOUT_S: Final = 1.2
"""Of each read of a reply; 30 and 60 s in the product."""
SUBMIT_BUDGET_S: Final = 1.6
READ_BUDGET_S: Final = 1.5
GRACE_S: Final = 1.0
"""How long a signal waits for an outstanding reply; 5 s in the product."""


class Errand(TypedDict):
    """One command line to carry out."""

    argv: list[str]
    environ: dict[str, str]
    folder: str
    stdout: str
    stderr: str


def hurry() -> None:
    """Shorten everything, before the modules are imported that take numbers over by value."""
    omniedit.retry.FIRST_DELAY_S = 0.05  # type: ignore[misc]
    omniedit.retry.LONGEST_DELAY_S = 0.2  # type: ignore[misc]
    omniedit.retry.SUBMIT_BUDGET_S = SUBMIT_BUDGET_S  # type: ignore[misc]
    omniedit.retry.READ_BUDGET_S = READ_BUDGET_S  # type: ignore[misc]
    omniedit.schedule.EARLY_LOOK_S = 0.05  # type: ignore[misc]
    omniedit.schedule.FLOOR_S = 0.05  # type: ignore[misc]
    omniedit.schedule.WATCHED_CAP_S = 0.3  # type: ignore[misc]
    omniedit.schedule.UNWATCHED_CAP_S = 0.3  # type: ignore[misc]
    omniedit.http.SUBMIT_TIMEOUT_S = TIMEOUT_S  # type: ignore[misc]
    stream: Any = omniedit.http.HttpClient.stream
    for function in (omniedit.http.HttpClient.request, stream.__wrapped__):
        function.__kwdefaults__["timeout_s"] = TIMEOUT_S

    from omniedit import uploads  # noqa: PLC0415 - after the numbers they take over
    from omniedit.cli import signals  # noqa: PLC0415

    uploads.UPLOAD_TIMEOUT_S = TIMEOUT_S  # type: ignore[misc]
    shields: Any = signals.Signals.__init__
    shields.__kwdefaults__["grace_s"] = GRACE_S


def serve() -> None:
    """Carry out the errands that come on stdin, a JSON object a line; answer with statuses."""
    for name in ("api", "cli.adapters", "cli.app", "output.progress", "tasks.editing", "tasks.following"):
        import_module(f"omniedit.{name}")

    errands = os.fdopen(os.dup(0), encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    for line in errands:
        errand: Errand = json.loads(line)
        child = os.fork()
        if child == 0:
            _carry_out(errand)
        _, status = os.waitpid(child, 0)
        answers.write(f"{os.waitstatus_to_exitcode(status)}\n")
        answers.flush()


def _carry_out(errand: Errand) -> None:
    """Turn this process into that of a command line, and end it."""
    from omniedit.cli.app import run  # noqa: PLC0415

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
        status = run(errand["argv"], os.environ)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)


if __name__ == "__main__":
    hurry()
    if sys.argv[1:] == ["--serve"]:
        serve()
    else:
        from omniedit.cli.app import run

        sys.exit(run(sys.argv[1:], os.environ))
