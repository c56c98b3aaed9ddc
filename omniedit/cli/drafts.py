"""From what was typed to a draft: the prompt may be in a file, or on standard input."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from omniedit.cli.stdin import read_stdin, text_of
from omniedit.errors import InvalidInputError, MissingFileError

if TYPE_CHECKING:
    from omniedit.edits.ports import Session
    from omniedit.edits.requests import Draft

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


def read_draft(session: "Session", typed: Typed) -> "Draft":
    """Return the draft; a prompt that cannot be read makes a refused attempt.

    Raises:
        InvalidInputError: There is no prompt, or there are two.
        MissingFileError: The file cannot be read.
    """
    from omniedit.edits.submission import refusal_recorded

    request_id = typed.request_id or session.new_request_id()
    with refusal_recorded(session, request_id, draft_of(typed, typed.prompt or "")):
        return draft_of(typed, read_prompt(typed.prompt, typed.prompt_file))


def draft_of(typed: Typed, prompt: str) -> "Draft":
    """Return the draft with this prompt."""
    from omniedit.edits.clips import Wishes
    from omniedit.edits.requests import Draft

    return Draft(
        video=typed.video,
        prompt=prompt,
        callback_url=typed.callback_url,
        request_id=typed.request_id,
        wishes=Wishes(
            start=typed.start,
            end=typed.end,
            check=typed.check,
            max_credits=typed.max_credits,
        ),
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
