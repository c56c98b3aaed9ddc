"""Typer's usage errors in plain words, with hints at what was probably meant."""

import os
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import typer

from omniedit.cli.exit_codes import MISSING_COMMAND
from omniedit.cli.parser import COMMANDS, COMMANDS_WITH_PROMPT, similar_names, words_without_values
from omniedit.errors import Hint, InvalidInputError
from omniedit.sanitize import quoted

_NO_SUCH_COMMAND: Final = re.compile(r"No such command '([^']*)'(?:\. Did you mean '([^']+)')?")
_TOO_MANY_WORDS: Final = re.compile(
    r"Got unexpected extra argument\(s\) \((.*)\)", re.DOTALL | re.IGNORECASE
)

# What other tools call a command, and our name for it.
_COMMANDS: Final[Mapping[str, str]] = {
    "show": "status",
    "open": "compare --open",
    "completion": "--install-completion",
    "login": "config set-key",
    "auth": "config set-key",
    "init": "config set-key",
    "config set": "config set-key",
    "config get": "config show",
    "setup": "config set-key",
    "set-key": "config set-key",
    "logout": "config unset-key",
    "unset-key": "config unset-key",
    "balance": "credits",
    "quota": "credits",
    "create": "edit",
    "generate": "edit",
    "estimate": "probe",
    "get": "download",
    "history": "list",
    "skills": "help agents",
    "tasks": "list",
    "tasks batch": "status",
    "tasks get": "status",
    "tasks wait": "wait",
    "sandbox start": "sandbox serve",
    "version": "--version",
}
_RETRY: Final = Hint("run the same {} again: it continues where it stopped", "edit")
# What replaces a command that only other tools have.
_REPLACEMENTS: Final[Mapping[str, Hint]] = {
    "cancel": Hint("the service cannot cancel a task; one that fails is not charged"),
    "models": Hint("`--model ID` chooses a model; {} shows which is set", "config show"),
    "resume": _RETRY,
    "retry": _RETRY,
    "upload": Hint("{} uploads a local clip itself", 'edit VIDEO "PROMPT"'),
}
_OPTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "-d": ("--output", "--dir"),
    "-f": ("--force",),
    "-j": ("--concurrency",),
    "-m": ("--model",),
    "-n": ("--limit", "--dry-run"),
    "-y": ("--yes",),
    "--budget": ("--max-credits",),
    "--debug": ("--verbose",),
    "--download": ("--output",),
    "--format": ("--json",),
    "--idempotency-key": ("--request-id",),
    "--jobs": ("--concurrency",),
    "--max-cost-usd": ("--max-credits",),
    "--output": ("--download", "--dir"),
    "--output-dir": ("--dir",),
    "--overwrite": ("--force",),
}


def usage_error(
    error: typer.TyperException, argv: Sequence[str], *, command: str
) -> InvalidInputError:
    """Return a usage error for one of Typer's, with a hint.

    Args:
        error: Typer's error.
        argv: The command line as typed.
        command: The command's name, as far as it was recognised.
    """
    ctx: typer.Context | None = getattr(error, "ctx", None)
    path = ctx.command_path if ctx else f"omniedit {command}".rstrip()
    command = path.partition(" ")[2]
    message = error.format_message()
    if type(error).__name__ == "NoArgsIsHelpError":
        if not any(word.startswith("-") for word in argv):
            return InvalidInputError(message, code=MISSING_COMMAND)
        message = "missing command"  # as Typer says if options follow the group's name
    hint: Hint | None = None
    if found := _TOO_MANY_WORDS.match(message):
        if command == "config set-key":
            # The argument is not shown: it is the key.
            hint = Hint("{} asks for it, {} reads it from a file", command, f"{command} < key.txt")
            message = "a key is never an argument: other users could read it"
        elif ctx:
            hint = _words_hint(ctx, found[1], command, argv)
    elif found := _NO_SUCH_COMMAND.match(message):
        message = f"no such command '{found[1]}'"
        hint = _edit_hint(found[1], argv) or _command_hint(found[1], found[2], command, argv)
    elif type(error).__name__ == "NoSuchOption":
        message = f"No such option: {getattr(error, 'option_name', '')}"
        hint = _option_hint(error, command, argv)
    shown = message[:1].lower() + message[1:].rstrip(".")
    is_unknown = message.lower().startswith(("no such", "missing command"))
    words = "{} lists all" if is_unknown else "{} explains it"
    hint = hint or Hint(words, f"{command} --help".lstrip())
    return InvalidInputError(_in_plain_words(shown), code="usage", hint=hint)


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
    words = " ".join(filter(None, [params["video"], params.get("prompt"), rest]))
    for blank in [*re.finditer(" ", f"{words} ")][1:]:
        name, prompt = words[: blank.start()], words[blank.end() :]
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

    words = [word for word in argv if not word.startswith("-") and word != command]
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
    """Return the `edit` command for a clip typed in place of a command; None if it is no clip."""
    if "." not in name:
        return None
    from omniedit.models import is_video_name

    if not (is_video_name(name) or name.startswith(("http://", "https://"))):
        return None
    words = [word for word in argv if word != "--sandbox"]
    prompt = "" if len(words) > 1 else ' "PROMPT"'
    return Hint("did you mean {}?", f"edit {quoted(*words)}{prompt}")


def _command_hint(name: str, similar: str | None, command: str, argv: Sequence[str]) -> Hint | None:
    """Return which command was probably meant; None if unknown."""
    if name in _REPLACEMENTS:
        return _REPLACEMENTS[name]
    group = f"{command} ".lstrip()
    after = next((word for before, word in pairwise(argv) if before == name), "")
    meant = _COMMANDS.get(f"{group}{name} {after}") or _COMMANDS.get(f"{group}{name}")
    if command == "sandbox" and name in COMMANDS:
        meant = name if "--sandbox" in argv else f"--sandbox {name}"
    meant = meant or (similar and f"{group}{similar}")
    return Hint("did you mean {}? {} lists all", meant, f"{group}--help") if meant else None


def _option_hint(error: Any, command: str, argv: Sequence[str]) -> Hint | None:
    """Return which option was probably meant; None if unknown."""
    name: str = error.option_name
    if command in COMMANDS_WITH_PROMPT and len(name) == len("-x") and name not in argv:
        return prompt_hint(command)  # it is the beginning of a word such as `-dark`
    if hint := _alternative_to(name, command):
        return hint
    params = error.ctx.command.params
    # An argument's only name is its own, without dashes.
    own = {name for param in params for name in param.opts if name.startswith("-")}
    similar = [option for option in _OPTIONS.get(name, ()) if option in own]
    if not similar and error.possibilities and not re.search(r"\s", name):
        # Never suggest an option that spends money or replaces a file.
        likely = own - {"--again", "--force", "--yes"}
        similar = [f"--{near}" for near in similar_names(name[2:], (each[2:] for each in likely))]
        similar.sort(key=lambda option: not option.startswith(name))
    if similar:
        return Hint(f"did you mean `{similar[0]}`? {{}} lists all", f"{command} --help".lstrip())
    if not command:
        return Hint(f"options go after the command: `omniedit COMMAND … {name}`")
    words = [word for word in words_without_values(params, argv) if not word.startswith("-")]
    has_prompt = len(words) > len(("edit", "VIDEO")) and not re.search(r"\s", name)
    return prompt_hint(command) if command in COMMANDS_WITH_PROMPT and not has_prompt else None


def prompt_hint(command: str) -> Hint:
    """Return how to give a PROMPT that begins with `-`."""
    return Hint(
        "a PROMPT that begins with `-` goes last, after `--`: {},"
        " or into a file: `--prompt-file FILE`",
        f'{command} VIDEO -- "PROMPT"',
    )


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


def _in_plain_words(message: str) -> str:
    message = message.replace("is not a valid int range", "is not a whole number")
    message = message.replace("is not a valid float range", "is not a number")
    message = re.sub(r"is not in the range x>=(\d+)", r"is less than \1", message)
    message = re.sub(r"is not in the range (\d+)<=x<=(\d+)", r"is not from \1 to \2", message)
    message = re.sub(r"^missing argument '\[?(\w+)[^']*'", r"\1 is missing", message)
    return _TOO_MANY_WORDS.sub(r"too many arguments: \1", message)
