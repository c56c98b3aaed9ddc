"""The one question that omniedit asks: whether what it has just said may be paid."""

import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from omniedit.errors import InvalidInputError

if TYPE_CHECKING:
    from omniedit.cli.context import Runtime


def require_consent(runtime: "Runtime", question: str) -> None:
    """Ask on a terminal, and take anything but a yes for a no.

    Raises:
        InvalidInputError: It was no yes, or nobody is there to answer.
    """
    printer = runtime.printer
    if sys.stdin is None or not sys.stdin.isatty() or not printer.is_stderr_terminal:
        msg = "nothing was sent: there is no terminal to ask for a yes"
        raise InvalidInputError(msg, code="needs_yes", hint="`--yes` says yes beforehand")
    # A bar would be drawn over the question.
    printer.end_live()
    printer.question(f"{question} [y/N]")
    answer = ""
    try:
        # Bytes that are no text are no yes.
        with suppress(UnicodeDecodeError):
            answer = sys.stdin.readline()
    finally:
        if not answer.endswith("\n"):
            # Ctrl-C and Ctrl-D leave the cursor where it was.
            printer.message("")
    if answer.strip().lower() not in {"y", "yes"}:
        msg = "nothing was sent"
        raise InvalidInputError(msg, code="declined", hint="`y` or `--yes` goes on")
