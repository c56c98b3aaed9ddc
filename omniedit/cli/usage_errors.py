"""Usage errors in plain words, with a hint at what was probably meant."""

import os
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from itertools import pairwise
from typing import Any, Final

import typer

from omniedit.cli.parser import (
    COMMANDS,
    COMMANDS_WITH_PROMPT,
    MISSING_COMMAND,
    words_without_values,
)
from omniedit.errors import Hint, InvalidInputError
from omniedit.sanitize import quoted

# Our commands, and what other tools call them.
_THEIR_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "--install-completion": ("completion",),
    "--version": ("version",),
    "compare --open": ("open",),
    "config set-key": ("auth", "config set", "init", "login", "set-key", "setup"),
    "config show": ("config get",),
    "config unset-key": ("logout", "unset-key"),
    "credits": ("balance", "quota"),
    "download": ("get",),
    "edit": ("create", "generate"),
    "help agents": ("skills",),
    "list": ("history", "tasks"),
    "probe": ("estimate",),
    "sandbox serve": ("sandbox start",),
    "status": ("show", "tasks batch", "tasks get"),
    "wait": ("tasks wait",),
}
_OUR_NAMES: Final = {theirs: ours for ours, names in _THEIR_NAMES.items() for theirs in names}
_PLACEHOLDERS: Final = 'VIDEO "PROMPT"'
_RETRY: Final = Hint("run the same {} again: it continues where it stopped", "edit")
REPLACEMENTS: Final[Mapping[str, Hint]] = {
    "cancel": Hint("the service cannot cancel a task; one that fails is not charged"),
    "models": Hint("`--model ID` chooses a model; {} shows which is set", "config show"),
    "resume": _RETRY,
    "retry": _RETRY,
    "split": Hint("{} edits a long clip in pieces", 'edit VIDEO "PROMPT" --split'),
    "upload": Hint("{} uploads a local clip itself", 'edit VIDEO "PROMPT"'),
}
"""What replaces a command that only other tools have."""
# Our options, and what other tools and commands call them.
_THEIR_OPTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "--concurrency": ("-j", "--jobs"),
    "--dir": ("-d", "--out", "--out-dir", "--output", "--output-dir"),
    "--download": ("--out", "--output"),
    "--dry-run": ("-n",),
    "--force": ("-f", "--overwrite"),
    "--json": ("--format",),
    "--limit": ("-n",),
    "--max-credits": ("--budget", "--max-cost-usd"),
    "--model": ("-m",),
    "--output": ("-d", "--download", "--out"),
    "--request-id": ("--idempotency-key",),
    "--verbose": ("--debug",),
    "--yes": ("-y",),
}
# What Typer says, and plain words for it.
_PLAIN_WORDS: Final[Mapping[str, str]] = {
    r"is not a valid int range": "is not a whole number",
    r"is not a valid float range": "is not a number",
    r"is not in the range x>=(\d+)": r"is less than \1",
    r"is not in the range (\d+)<=x<=(\d+)": r"is not from \1 to \2",
    r"^missing argument '\[?(\w+)[^']*'": r"\1 is missing",
    r"(?s)^got unexpected extra argument\(s\) \((.*)\)": r"too many arguments: \1",
}


def usage_error(
    error: typer.TyperException, argv: Sequence[str], *, command: str
) -> InvalidInputError:
    """Return a usage error in plain words for one of Typer's, with a hint at what was meant.

    Args:
        error: Typer's error.
        argv: The command line as typed.
        command: The command's name, as far as it was recognised.
    """
    ctx: typer.Context | None = getattr(error, "ctx", None)
    command = ctx.command_path.partition(" ")[2] if ctx else command
    kind = type(error).__name__
    message = error.format_message()
    if kind == "NoArgsIsHelpError":
        if not any(word.startswith("-") for word in argv):
            return InvalidInputError(message, code=MISSING_COMMAND)
        message = "missing command"  # as Typer says if options follow the group's name
    hint: Hint | None = None
    wrong = ""
    if found := re.match(r"(?s)Got unexpected extra argument\(s\) \((.*)\)", message):
        if command == "config set-key":
            # The argument is not shown: it is the key.
            hint = Hint("{} asks for it, {} reads it from a file", command, f"{command} < key.txt")
            message = "a key is never an argument: other users could read it"
        elif ctx:
            hint = _words_hint(ctx, found[1], command, argv)
    elif found := re.match(r"No such command '([^']*)'(?:\. Did you mean '([^']+)')?", message):
        wrong = found[1]
        message = f"no such command '{wrong}'"
        hint = _edit_hint(found[1], argv) or _command_hint(found[1], found[2], command, argv)
    elif kind == "NoSuchOption":
        wrong = getattr(error, "option_name", "")
        message = f"no such option: {wrong}"
        hint = _option_hint(error, command, argv)
    message = message[:1].lower() + message[1:].rstrip(".")
    is_unknown = message.startswith(("no such", "missing command"))
    words = "{} lists all" if is_unknown else "{} explains it"
    hint = hint or Hint(words, f"{command} --help".lstrip())
    hint = _with_typed_words(hint, argv, command, wrong)
    return InvalidInputError(_in_plain_words(message), code="usage", hint=hint)


def prompt_hint(command: str) -> Hint:
    """Return how to give a PROMPT that begins with `-`."""
    return Hint(
        "a PROMPT that begins with `-` goes last, after `--`: {},"
        " or into a file: `--prompt-file FILE`",
        f'{command} VIDEO -- "PROMPT"',
    )


def _with_typed_words(hint: Hint, argv: Sequence[str], *others: str) -> Hint:
    """Return a hint with VIDEO and PROMPT as typed; unchanged if it is unclear which words they are.

    Args:
        hint: A hint whose commands may have placeholders.
        argv: The command line as typed.
        others: The words that are neither VIDEO nor PROMPT, if they were typed.
    """
    if not any(_PLACEHOLDERS in command for command in hint.commands):
        return hint
    words = [word for word in argv if word != "--sandbox"]
    for other in others:
        if other in words:
            words.remove(other)  # only once: a prompt may hold it too
    # A command in a hint has no options, so that none is dropped unnoticed.
    has_options = any(word.startswith("-") for word in words)
    video, *prompt = words or [""]
    if not _is_clip(video) or has_options or any(map(_is_clip, prompt)):
        return hint
    shown = quoted(video, " ".join(prompt)) if prompt else f'{quoted(video)} "PROMPT"'
    commands = (command.replace(_PLACEHOLDERS, shown) for command in hint.commands)
    return Hint(hint.text, *commands)


def _is_clip(word: str) -> bool:
    from omniedit.models import is_video_name

    return is_video_name(word) or word.startswith(("http://", "https://"))


def _in_plain_words(message: str) -> str:
    for pattern, words in _PLAIN_WORDS.items():
        message = re.sub(pattern, words, message)
    return message


def _words_hint(ctx: typer.Context, rest: str, command: str, argv: Sequence[str]) -> Hint | None:
    """Return which words need quotes; None if there is no such advice.

    Args:
        ctx: The call, with the arguments that were parsed.
        rest: The words that were left over.
        command: The command's name.
        argv: The command line as typed.
    """
    from omniedit.models import is_video_name

    params = ctx.params
    if "video" not in params:
        return None
    if "--" in argv and rest.startswith("-"):
        return Hint("options go before `--`: what follows it is VIDEO and PROMPT")
    # The command in a hint has no options: if any were typed, only name the words.
    has_options = any(word.startswith("-") and word != "--sandbox" for word in argv)
    words = " ".join(filter(None, [params["video"], params.get("prompt"), rest])).split(" ")
    for end in range(2, len(words) + 1):
        name = " ".join(words[:end])
        prompt = " ".join(words[end:])
        is_name = is_video_name(name) and not is_video_name(params["video"])
        if is_name or os.path.isfile(name):  # noqa: PTH113 - Path raises if a name is too long
            if has_options:
                return Hint(f"put the file name in quotes: {quoted(name)}")
            typed = f"{command} {quoted(name)}"
            if "prompt" in params:
                typed += f" {quoted(prompt)}" if prompt else ' "PROMPT"'
            return Hint("put the file name in quotes: {}", typed)
    if "prompt" not in params:
        return None
    words_hint = Hint("put the whole PROMPT in quotes: {}", f'{command} VIDEO "PROMPT"')
    return _batch_hint(argv, command, has_options=has_options) or words_hint


def _batch_hint(argv: Sequence[str], command: str, *, has_options: bool) -> Hint | None:
    """Return the `batch` command for several clips; None if fewer than two were typed."""
    from omniedit.models import is_video_name

    words = [
        word
        for before, word in pairwise(["", *argv])
        if not word.startswith("-") and word != command and before not in {"-o", "--output"}
    ]
    clips = [word for word in words if is_video_name(word)]
    if len(clips) < 2:  # noqa: PLR2004 - several
        return None
    others = [word for word in words if word not in clips]
    batch = 'batch CLIP… --prompt "PROMPT"'
    if not has_options and len(others) <= 1:
        prompt = quoted(*others) or '"PROMPT"'
        batch = f"batch {quoted(*clips)} --prompt {prompt}"
    return Hint("to edit several clips with the same prompt: {}", batch)


def _edit_hint(name: str, argv: Sequence[str]) -> Hint | None:
    """Return the `edit` command for a clip typed in place of a command; None if it is not a clip."""
    if "." not in name:  # load the models only for what may be a clip
        return None
    if not _is_clip(name):
        return None
    words = [word for word in argv if word != "--sandbox"]
    prompt = "" if len(words) > 1 else ' "PROMPT"'
    return Hint("did you mean {}?", f"edit {quoted(*words)}{prompt}")


def _command_hint(name: str, similar: str | None, command: str, argv: Sequence[str]) -> Hint | None:
    """Return which command was probably meant; None if unknown."""
    if name in REPLACEMENTS:
        return REPLACEMENTS[name]
    group = f"{command} ".lstrip()
    after = next((word for before, word in pairwise(argv) if before == name), "")
    meant = _OUR_NAMES.get(f"{group}{name} {after}") or _OUR_NAMES.get(f"{group}{name}")
    if command == "sandbox" and name in COMMANDS:
        meant = name if "--sandbox" in argv else f"--sandbox {name}"
    if meant is None and similar:
        meant = f"{group}{similar}"
    return Hint("did you mean {}? {} lists all", meant, f"{group}--help") if meant else None


def _option_hint(error: Any, command: str, argv: Sequence[str]) -> Hint | None:
    """Return which option was probably meant; None if unknown."""
    name: str = error.option_name
    takes_prompt = command in COMMANDS_WITH_PROMPT
    is_prose = re.search(r"\s", name) is not None
    if takes_prompt and len(name) == len("-x") and name not in argv:
        return prompt_hint(command)  # it is the beginning of a word such as `-dark`
    if hint := _alternative_to(name, command):
        return hint
    params = error.ctx.command.params
    # An argument's only name is its own, without dashes.
    own = {name for param in params for name in param.opts if name.startswith("-")}
    similar = [ours for ours, theirs in _THEIR_OPTIONS.items() if name in theirs and ours in own]
    if not similar and error.possibilities and not is_prose:
        # Never suggest an option that spends money or replaces a file.
        likely = [option[2:] for option in own - {"--again", "--force", "--yes"}]
        similar = [f"--{near}" for near in get_close_matches(name[2:], likely)]
        similar.sort(key=lambda option: not option.startswith(name))
    if similar:
        return Hint(f"did you mean `{similar[0]}`? {{}} lists all", f"{command} --help".lstrip())
    if not command:
        return Hint(f"options go after the command: `omniedit COMMAND … {name}`")
    words = [word for word in words_without_values(params, argv) if not word.startswith("-")]
    has_prompt = len(words) > len(("edit", "VIDEO")) and not is_prose
    return prompt_hint(command) if takes_prompt and not has_prompt else None


def _alternative_to(name: str, command: str) -> Hint | None:  # noqa: C901, PLR0912 - one case per word
    """Return what replaces an option that other tools have; None if nothing does."""
    takes_prompt = command in COMMANDS_WITH_PROMPT
    match name:
        case "-o" | "--out" | "--output" | "--wait" if command == "submit":
            words = "{} sends an edit and does not wait; {} also saves the result"
            return Hint(words, "submit", "edit VIDEO PROMPT --output PATH")
        case "-n" | "--dry-run" if command in {"edit", "batch"}:
            return Hint("{} shows what an edit would send", 'submit VIDEO "PROMPT" --dry-run')
        case "-i" | "--input" | "--input-file" | "--video" if takes_prompt or command == "probe":
            prompt = ' "PROMPT"' if takes_prompt else ""
            return Hint("VIDEO needs no option: {}", f"{command} VIDEO{prompt}")
        case "-p" | "--prompt" | "--prompts" if takes_prompt:
            return Hint("PROMPT needs no option: {}", f'{command} VIDEO "PROMPT"')
        case "--no-wait" if command == "edit":
            return Hint("{} sends an edit and does not wait", "submit")
        case "--output-dir" if command in {"edit", "wait", "download"}:
            return Hint("a folder ends in `/`: `-o FOLDER/`")
        case "--negative-prompt" if takes_prompt or command == "batch":
            return Hint("write negative wishes into the prompt")
        case "--aspect-ratio" | "--resolution" | "--seed" if takes_prompt or command == "batch":
            return Hint("the service has no such setting")
        case "--duration" | "--length" if takes_prompt:
            return Hint("a result is as long as its clip; `--end T` cuts the clip")
        case "--resume" if command in {"edit", "wait", "batch"}:
            words = "{} settles a submission whose outcome is unknown"
            return Hint(words, "submit --resume REQUEST_ID")
        case "--api-key" | "--key":
            return Hint("a key is never an option: {} asks for it", "config set-key")
        case _:
            return None
