"""From what was typed to a request: the prompt may be in a file, or on standard input."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from omniedit.cli.stdin import read_stdin, text_of
from omniedit.errors import InvalidInputError, MissingFileError

if TYPE_CHECKING:
    from omniedit.edits.session import Session
    from omniedit.models import EditRequest

_STDIN = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """An edit as the command line holds it."""

    video: str
    prompt: str | None
    prompt_file: str | None
    callback_url: str | None
    request_id: str | None
    start: str | None = None
    end: str | None = None
    check: bool | None = None
    max_credits: float | None = None


def read_request(session: "Session", typed: Typed) -> "EditRequest":
    """Return the edit that was typed; a prompt that cannot be read makes a refused attempt.

    Raises:
        InvalidInputError: There is no prompt, or there are two.
        MissingFileError: The file cannot be read.
    """
    from omniedit.edits.submit import refusal_recorded

    with refusal_recorded(session, request_of(typed, typed.prompt or "")):
        return request_of(typed, read_prompt(typed.prompt, typed.prompt_file))


def request_of(typed: Typed, prompt: str) -> "EditRequest":
    """Return the edit with this prompt."""
    from omniedit.models import EditRequest

    return EditRequest(
        video=typed.video,
        prompt=prompt,
        callback_url=typed.callback_url,
        request_id=typed.request_id,
        start=typed.start,
        end=typed.end,
        check=typed.check,
        max_credits=typed.max_credits,
    )


def read_prompt(prompt: str | None, prompt_file: str | None) -> str:
    """Return the text of a prompt.

    Only `--prompt-file` and a PROMPT of `-` are read from somewhere; any other text is the
    prompt itself, whatever files have that name.

    Raises:
        InvalidInputError: There is none, or there are two.
        MissingFileError: The file cannot be read.
    """
    if prompt is not None and prompt_file is not None:
        msg = "PROMPT and --prompt-file are both given"
        raise InvalidInputError(msg, code="usage")
    if prompt is None and prompt_file is None:
        msg = "PROMPT is missing: what shall be changed?"
        hint = (
            'say what to change and what to keep: "warmer lighting, keep everything else unchanged"'
        )
        raise InvalidInputError(msg, code="usage", hint=hint)
    if prompt is not None and prompt != _STDIN:
        return _typed_text(prompt)
    source = _STDIN if prompt_file is None else prompt_file
    try:
        content = read_stdin() if source == _STDIN else Path(source).read_bytes()
    except OSError as error:
        msg = f"cannot read the prompt from {source}: {error.strerror}"
        raise MissingFileError(msg) from None
    try:
        # A text editor's byte order mark and last line break are no part of the sentence.
        return text_of(content).rstrip("\r\n")
    except UnicodeDecodeError:
        where = "standard input" if source == _STDIN else source
        msg = f"the prompt in {where} is not valid UTF-8 text"
        raise InvalidInputError(msg, code="invalid_prompt") from None


def _typed_text(text: str) -> str:
    """Return what was typed; in a locale without UTF-8 it arrives as the bytes it is (PEP 383)."""
    try:
        return os.fsencode(text).decode("utf-8")
    except UnicodeError:
        # No UTF-8 either: refused with all else that is no text.
        return text
