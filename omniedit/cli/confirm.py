"""The one question that omniedit asks: whether to pay the price it has just named."""

import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from omniedit.errors import InvalidInputError

if TYPE_CHECKING:
    from omniedit.cli.context import Context


def can_ask(context: "Context") -> bool:
    """Return whether somebody is there to answer."""
    is_typed = sys.stdin is not None and sys.stdin.isatty()
    return is_typed and context.printer.is_stderr_terminal


def require_consent(context: "Context", question: str) -> None:
    """Ask on a terminal; any answer but yes is a no.

    Raises:
        InvalidInputError: If the answer is no, or nobody is there to give one.
    """
    printer = context.printer
    if not can_ask(context):
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
