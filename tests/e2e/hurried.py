"""The command line with every rest and time-out shortened, in a process of its own.

Run as a script it carries out one command line; with `--serve` and a path it carries out many, each
in a fork of a process that has imported everything: that saves half a second a command. At the path
it takes what shells call (`shell_command.py`).
"""

import gc
import io
import json
import marshal
import os
import pkgutil
import resource
import select
import socket
import sys
import tempfile
import time
import traceback
from contextlib import redirect_stderr, redirect_stdout, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Final, TypedDict

# A script's own folder comes first, and not that of the package it belongs to.
sys.path[0] = str(Path(__file__).parents[2])


import omniedit  # noqa: E402 - as above
from omniedit.cli.main import run  # noqa: E402 - as above
from omniedit.policy import Policy  # noqa: E402 - as above
from tests.e2e.effects import die_after, die_before  # noqa: E402 - as above
from tests.policies import HURRIED, resigned  # noqa: E402 - as above

IN_VAIN: Final = "HURRIED_IN_VAIN"
"""The variable that says that nothing is reached, however often it is tried."""


class Errand(TypedDict):
    """One command line to carry out."""

    argv: list[str]
    environ: dict[str, str]
    policy: dict[str, Any]
    folder: str
    stdout: str
    stderr: str
    dies_before: int
    """Which of its effects it does not live to see, from 1; 0: it lives."""
    dies_after: str
    """The name of an effect whose first it does not outlive; nothing: it lives."""
    largest_file: int | None
    """How many bytes a file may grow to (`ulimit -f`)."""


def serve(path: str) -> None:
    """Carry out the errands that come on stdin, those of one line side by side, and shells' commands.

    Each line is answered twice: with the process IDs, and at the end with the exit statuses.

    Args:
        path: Of the socket where commands of shells come in.
    """
    for module in pkgutil.walk_packages(omniedit.__path__, "omniedit."):
        if module.name != "omniedit.__main__":
            with suppress(ModuleNotFoundError):  # of an extra that is not installed
                import_module(module.name)
    _warm_up()
    gc.collect()
    # A collection in a fork would copy every page with an object.
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)  # as `omniedit/__main__.py` sets it
    errands = os.fdopen(os.dup(0), encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(path)
        door.listen()
        while True:
            ready, _, _ = select.select([errands.fileno(), door.fileno()], [], [])
            if door.fileno() in ready:
                _let_in(door)
                continue
            line = errands.readline()
            if not line:
                break
            children = [_begin(errand) for errand in json.loads(line)]
            answers.write(json.dumps(children) + "\n")
            answers.flush()
            ended = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
            answers.write(json.dumps(ended) + "\n")
            answers.flush()


def _warm_up() -> None:
    """Carry out an edit, so that what it imports, builds and keeps is there for every fork."""
    edit = "--sandbox", "edit", "https://example.com/clip.mp4", "warmer [sandbox:seconds=0]"
    with (
        tempfile.TemporaryDirectory() as folder,
        redirect_stdout(io.StringIO()),
        redirect_stderr(io.StringIO()),
    ):
        environ = {"OMNIEDIT_STATE_DIR": folder, "OMNIEDIT_CONFIG_DIR": folder}
        run(["--help"], environ)
        run([*edit, "--output", f"{folder}/out.mp4"], environ, policy=HURRIED)


def _let_in(door: socket.socket) -> None:
    """Have a process of its own carry out what a shell calls, and forget those that have ended."""
    connection, _ = door.accept()
    with connection:
        if os.fork() == 0:
            _carry_out_for_shell(connection)
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _carry_out_for_shell(connection: socket.socket) -> None:
    """Turn this process into the command that a shell has called, and end it.

    The other end of the connection is `shell_command.py`.
    """
    status = 1
    try:
        head, streams, _, _ = socket.recv_fds(connection, 8, 3)
        with connection.makefile("rb") as file:
            request = file.read(int.from_bytes(head, "little"))
        argv, environ, folder = marshal.loads(request)  # noqa: S302 - from a test
        os.environb.clear()
        os.environb.update(environ)
        time.tzset()
        os.chdir(folder)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        # Whether a stream can seek is found out when it is opened.
        sys.stdin = open(0, encoding="utf-8", errors="surrogateescape")  # noqa: SIM115
        sys.stdout = open(1, "w", encoding="utf-8", errors="surrogateescape")  # noqa: SIM115
        sys.stderr = open(2, "w", 1, encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
        status = run(argv, os.environ, policy=HURRIED)
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        connection.sendall(bytes([status]))
        os._exit(status)


def _begin(errand: Errand) -> int:
    child = os.fork()
    if child == 0:
        _carry_out(errand)
    return child


def _carry_out(errand: Errand) -> None:
    """Turn this process into that of a command line, and end it."""
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
            die_before(errand["dies_before"])
        if errand["dies_after"]:
            die_after(errand["dies_after"])
        status = run(errand["argv"], os.environ, policy=Policy(**errand["policy"]))
        sys.setprofile(None)
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        # What `run` lets through is worth seeing, and must not reach the loop above.
        traceback.print_exc()
        raise
    finally:
        os._exit(status)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2])
    else:
        patience = resigned() if IN_VAIN in os.environ else HURRIED
        sys.exit(run(sys.argv[1:], os.environ, policy=patience))
