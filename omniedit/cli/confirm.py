"""The one question that omniedit asks: whether to pay the price it has just named."""

import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from omniedit.errors import InvalidInputError

if TYPE_CHECKING:
    from omniedit.cli.context import Context


def require_consent(context: "Context", question: str) -> None:
    """Ask on a terminal; any answer but yes is a no.

    Raises:
        InvalidInputError: If the answer is no, or nobody is there to give one.
    """
    printer = context.printer
    if sys.stdin is None or not sys.stdin.isatty() or not printer.is_stderr_terminal:
        msg = "nothing was sent: there is no terminal to ask on"
        raise InvalidInputError(msg, code="needs_yes", hint="accept the price with `--yes`")
    # A bar would be drawn over the question.
    printer.end_live()
    printer.question(f"{question} [y/N]")
    answer = ""
    try:
        # Bytes that are not text are not a yes.
        with suppress(UnicodeDecodeError):
            answer = sys.stdin.readline()
    finally:
        if not answer.endswith("\n"):
            # Ctrl-C and Ctrl-D leave the cursor where it was.
            printer.message("")
    if answer.strip().lower() not in {"y", "yes"}:
        msg = "nothing was sent"
        raise InvalidInputError(msg, code="declined", hint="answer `y`, or use `--yes`")
