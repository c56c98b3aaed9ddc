"""What a user supplies besides options: prompts, manifests, keys, and consent to a price."""

import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from omniedit.errors import Hint, InvalidInputError, MissingFileError
from omniedit.models import EditRequest, is_video_name
from omniedit.policy import DEFAULT, Policy
from omniedit.sanitize import quoted
from omniedit.system import THIS_SYSTEM, error_reason
from omniedit.system.files import decode_text, is_file, read_at_most

if TYPE_CHECKING:
    from omniedit.cli.context import Context
    from omniedit.edits.session import Session

STDIN: Final = "-"


def read_request(
    context: "Context",
    session: "Session",
    request: EditRequest,
    *,
    prompt: str | None,
    prompt_file: str | None,
) -> EditRequest:
    """Return a request with its prompt, and record a refused attempt if that cannot be read.

    Args:
        context: The command's context.
        session: The session.
        request: The request without its prompt.
        prompt: The PROMPT argument.
        prompt_file: The `--prompt-file` option.

    Raises:
        InvalidInputError: If there is no prompt, or if there are two.
        MissingFileError: If the file cannot be read.
    """
    from omniedit.edits.submit import refusal_recorded

    context.board.request = request
    with refusal_recorded(session, request):
        text = read_prompt(
            prompt, prompt_file, argv=context.argv, note=session.note, policy=session.policy
        )
    context.board.request = request._replace(prompt=text)
    return context.board.request


def read_prompt(
    prompt: str | None,
    prompt_file: str | None,
    *,
    argv: Sequence[str] = (),
    note: Callable[[str], object] = lambda _message: None,
    policy: Policy = DEFAULT,
) -> str:
    """Return the text of a prompt.

    Only `--prompt-file` and a PROMPT of `-` are read from elsewhere; any other text is the prompt
    itself, even if a file has that name.

    Args:
        prompt: The PROMPT argument.
        prompt_file: The `--prompt-file` option.
        argv: The command line as typed, for a hint if there is no prompt.
        note: Called with an explanation before input is read from a terminal.
        policy: Limits the length.

    Raises:
        InvalidInputError: If there is no prompt, or if there are two.
        MissingFileError: If the file cannot be read.
    """
    if prompt is not None and prompt_file is not None:
        msg = "PROMPT and --prompt-file are both given"
        raise InvalidInputError(msg, code="usage", hint="leave one of them out")
    if prompt is not None and prompt != STDIN:
        note_named_file(prompt, note=note, advice="`--prompt-file {}` sends its text instead")
        return decode_argument(prompt)
    source = STDIN if prompt is not None else prompt_file
    if source is None:
        msg = "PROMPT is missing"
        raise InvalidInputError(msg, code="usage", hint=_missing_prompt_hint(argv))
    content = read_source(source, what="prompt", max_bytes=policy.max_prompt_bytes, note=note)
    try:
        # The byte order mark and last line break of a text editor are not part of the prompt.
        return decode_text(content).rstrip("\r\n")
    except UnicodeDecodeError:
        where = "on standard input" if source == STDIN else f"in {source}"
        msg = f"the prompt {where} is not valid UTF-8 text"
        raise InvalidInputError(msg, code="invalid_prompt") from None


def note_named_file(prompt: str, *, note: Callable[[str], object], advice: str) -> None:
    """Note that a prompt, which is sent as it is, names a file; `{}` in the advice stands for it."""
    # curl and others read a file from `@prompt.txt`.
    name = prompt if is_file(Path(prompt)) else prompt.removeprefix("@")
    if not is_file(Path(name)):
        return
    if is_video_name(name):
        advice = "`omniedit batch` edits several clips"
    note(f"the prompt names a file: {advice.replace('{}', quoted(name))}")


def _missing_prompt_hint(argv: Sequence[str]) -> str:
    """Return what probably became of the prompt, or an example of one."""
    for word in argv:
        if word.startswith("-o") and len(word) > len("-o"):
            from omniedit.cli.exit_codes import prompt_hint

            hint = prompt_hint("edit")
            # At the end, because what was typed may contain `{}`.
            read_as = f"`-o {quoted(word[2:])}` was read from {quoted(word)}"
            return Hint(f"{hint.text}; {read_as}", *hint.commands)
    if re.match(r"https?://[^?]*\?", argv[-1] if argv else "", re.IGNORECASE):
        return "the shell cuts a URL off at `&`: put the URL in quotes"
    from omniedit.edits.requests import EXAMPLE_HINT

    return EXAMPLE_HINT


def read_source(
    source: str,
    *,
    what: str,
    max_bytes: int,
    note: Callable[[str], object] = lambda _message: None,
    hint: str = "check its name and its permissions",
) -> bytes:
    """Return the content of a file or a pipe; `-` is standard input.

    Args:
        source: Its path.
        what: What it contains, for messages.
        max_bytes: The longest content that is accepted; `/dev/zero` never ends.
        note: Called with an explanation before input is read from a terminal.
        hint: What to do if it cannot be read.

    Raises:
        InvalidInputError: If it is too long.
        MissingFileError: If it cannot be read.
    """
    try:
        if source == STDIN:
            if sys.stdin is not None and sys.stdin.isatty():
                note(f"type the {what}; {THIS_SYSTEM.end_of_input} ends it")
            return read_stdin(what=what, max_bytes=max_bytes)
        with Path(source).open("rb") as file:
            return read_at_most(file, max_bytes=max_bytes, what=f"the {what} in {source}")
    except (OSError, ValueError) as error:
        reason = error_reason(error)
        msg = f"cannot read the {what} from {source}: {reason}"
        raise MissingFileError(msg, hint=hint) from None


def read_stdin(*, what: str, max_bytes: int) -> bytes:
    """Return everything on standard input.

    Raises:
        InvalidInputError: If it is closed, or too long.
        OSError: If it cannot be read.
    """
    if sys.stdin is None:
        msg = "standard input is closed"
        raise InvalidInputError(msg, code="usage")
    what = f"the {what} on standard input"
    return read_at_most(sys.stdin.buffer, max_bytes=max_bytes, what=what)


def decode_argument(text: str) -> str:
    """Return an argument decoded as UTF-8, even if the locale has another encoding (PEP 383)."""
    try:
        return os.fsencode(text).decode("utf-8")
    except UnicodeError:
        # Refused later, like any other text that is not UTF-8.
        return text


def can_ask(context: "Context") -> bool:
    """Return whether the user can answer a question on a terminal."""
    is_typed = sys.stdin is not None and sys.stdin.isatty()
    return is_typed and context.printer.stderr.is_terminal


def require_consent(context: "Context", question: str) -> None:
    """Ask for consent on a terminal; any answer but yes is a no.

    Raises:
        InvalidInputError: If the answer is no, or there is no terminal.
    """
    printer = context.printer
    if not can_ask(context):
        msg = "nothing was sent: there is no terminal to ask on"
        raise InvalidInputError(msg, code="needs_yes", hint="accept the price with `--yes`")
    # A progress bar would be drawn over the question.
    printer.end_live()
    printer.question(f"{question} [y/N]")
    answer = ""
    try:
        # Invalid UTF-8 is not a yes.
        with suppress(UnicodeDecodeError):
            answer = sys.stdin.readline()
    finally:
        if not answer.endswith("\n"):
            # Ctrl-C and Ctrl-D leave the cursor after the question.
            printer.message("")
    if answer.strip().lower() not in {"y", "yes"}:
        msg = "nothing was sent: the answer was not `y`"
        raise InvalidInputError(msg, code="declined")
