"""What to say of a call that could not be parsed."""

import re
from collections.abc import Sequence
from typing import Any, Final

import typer

from omniedit.errors import InvalidInputError

HELP: Final = "command_missing"
"""The code of the error whose message is a group's help."""


def usage_error(
    error: typer.TyperException, argv: Sequence[str], *, command: str
) -> InvalidInputError:
    """Return the error that tells what is wrong with a call.

    Args:
        error: What Typer says of it.
        argv: The call.
        command: The command, as far as it is known.
    """
    context: typer.Context | None = getattr(error, "ctx", None)
    path = context.command_path if context else f"omniedit {command}".rstrip()
    message = error.format_message()
    kind = type(error).__name__
    if kind == "NoArgsIsHelpError":
        return InvalidInputError(message, code=HELP)
    is_word_too_much = "unexpected extra argument" in message
    if is_word_too_much and path.endswith(" set-key"):
        # Not shown: it is the key.
        hint = f"`{path}` asks for it, `{path} < key.txt` reads it from a file"
        message = "a key is never an argument, where others could read it"
        return InvalidInputError(message, code="usage", hint=hint)
    hint = f"`{path} --help`"
    if is_word_too_much and path.endswith((" edit", " submit")):
        hint = f'put the whole PROMPT in quotes: `{path} VIDEO "PROMPT"`'
    elif kind == "NoSuchOption" and {"submit", "edit"} & set(argv) and not _is_misspelt(error):
        hint = (
            "a PROMPT that begins with `-` goes last, behind `--`:"
            f' `{path} VIDEO -- "PROMPT"`, or into a file: `--prompt-file FILE`'
        )
    shown = message[:1].lower() + message[1:].rstrip(".")
    return InvalidInputError(_in_plain_words(shown), code="usage", hint=hint)


def _is_misspelt(error: Any) -> bool:
    return bool(error.possibilities) and not re.search(r"\s", error.option_name)


def _in_plain_words(message: str) -> str:
    message = message.replace("is not a valid int range", "is not a whole number")
    return message.replace("is not a valid float range", "is not a number")
