"""Completion by the shell itself: static scripts, made from the commands as Typer knows them.

Sub-commands, options, files and choices complete without a process. For the tasks of the journal
the scripts call `omniedit __complete` (`completion_tasks.py`).

`python -m omniedit.cli.completion.model completions` writes the three scripts into that folder.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from omniedit.cli.context import Context
from omniedit.errors import InvalidInputError, LocalError

FILES: Final = "files"
FOLDERS: Final = "folders"
TASKS: Final = "tasks"
REQUESTS: Final = "requests"
NOTHING: Final = "nothing"

_KINDS: Final[Mapping[str, str]] = {
    "DIR": FOLDERS,
    "FILE": FILES,
    "MANIFEST": FILES,
    "PATH": FILES,
    "REQUEST_ID": REQUESTS,
    "TASK": TASKS,
    "TASK|REQUEST_ID": TASKS,
    "VIDEO": FILES,
}
"""What completes a value, by what help calls it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """What an option or an argument takes."""

    name: str
    kind: str  # one of the above
    choices: tuple[str, ...] = ()
    is_repeated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """An option."""

    names: tuple[str, ...]
    help: str
    value: Value | None  # None: it is a flag


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A command or a group of commands."""

    path: tuple[str, ...]  # its names, from below `omniedit`
    help: str
    switches: tuple[Switch, ...]
    arguments: tuple[Value, ...]
    commands: tuple["Known", ...]

    @property
    def name(self) -> str:
        """Its last name."""
        return self.path[-1]

    def everything(self) -> Iterator["Known"]:
        """Yield it and every command below it."""
        yield self
        for command in self.commands:
            yield from command.everything()


def known_commands() -> Known:
    """Return all there is to complete."""
    from typer.main import get_command

    from omniedit.cli.main import app

    root: Any = get_command(app)
    return _known(root, root.make_context("omniedit", [], resilient_parsing=True), ())


def _known(command: Any, context: Any, path: tuple[str, ...]) -> Known:
    subcommands: list[Known] = []
    names = command.list_commands(context) if hasattr(command, "list_commands") else ()
    for name in names:
        found = command.get_command(context, name)
        below = found.make_context(name, [], parent=context, resilient_parsing=True)
        subcommands.append(_known(found, below, (*path, name)))
    params = command.get_params(context)
    return Known(
        path=path,
        help=command.get_short_help_str(limit=200).rstrip("."),
        switches=tuple(
            _switch(param)
            for param in params
            if param.param_type_name == "option" and not param.hidden
        ),
        arguments=tuple(
            _value(param, param.name) for param in params if param.param_type_name == "argument"
        ),
        commands=tuple(subcommands),
    )


def _switch(param: Any) -> Switch:
    # Long names first: they are what one reads in a list.
    names = sorted((*param.opts, *param.secondary_opts), key=len, reverse=True)
    return Switch(
        names=tuple(names),
        help=" ".join((param.help or "").split()).rstrip("."),
        value=None if param.is_flag else _value(param, names[0].lstrip("-")),
    )


def _value(param: Any, name: str) -> Value:
    metavar = (param.metavar or name).strip("[].").upper()
    choices = _choices(param.metavar or "")
    return Value(
        name=name,
        kind=NOTHING if choices else _KINDS.get(metavar, NOTHING),
        choices=choices,
        is_repeated=param.nargs == -1,
    )


def _choices(metavar: str) -> tuple[str, ...]:
    from omniedit.cli.commands.help import TOPICS
    from omniedit.schemas import document_names

    if metavar == "[TOPIC]":
        return tuple(TOPICS)
    if metavar == "[DOCUMENT]":
        return tuple(document_names())
    return tuple(metavar.split("|")) if "|" in metavar and metavar.islower() else ()


def scripts() -> dict[str, str]:
    """Return the text of each script by its file name."""
    from omniedit.cli.completion.bash import bash_script
    from omniedit.cli.completion.fish import fish_script
    from omniedit.cli.completion.zsh import zsh_script

    known = known_commands()
    return {
        "omniedit.bash": bash_script(known),
        "_omniedit": zsh_script(known),
        "omniedit.fish": fish_script(known),
    }


def install(context: Context) -> None:
    """Put the script of the user's shell where that shell looks for it.

    Raises:
        InvalidInputError: The shell is another one.
        LocalError: The file cannot be written.
    """
    shell = Path(context.environ.get("SHELL", "")).name
    if shell not in _PLACES:
        msg = f"there is no completion for {shell or 'a shell without a name'}: SHELL names it"
        hint = "for bash, zsh or fish: `SHELL=bash omniedit --install-completion`"
        raise InvalidInputError(msg, code="usage", hint=hint)
    script, place, advise = _PLACES[shell]
    path = place(context.environ)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(scripts()[script], encoding="utf-8")
    except OSError as error:
        msg = f"cannot write {path}: {error.strerror or error}"
        raise LocalError(msg) from None
    context.printer.path(str(path))
    context.printer.note(advise(path))


def _folder(environ: Mapping[str, str], variable: str, default: str) -> Path:
    named = environ.get(variable, "").strip()
    return Path(named) if named.startswith("/") else Path.home() / default


def _bash_place(environ: Mapping[str, str]) -> Path:
    return (
        _folder(environ, "XDG_DATA_HOME", ".local/share") / "bash-completion/completions/omniedit"
    )


def _zsh_place(environ: Mapping[str, str]) -> Path:
    return _folder(environ, "XDG_DATA_HOME", ".local/share") / "zsh/site-functions/_omniedit"


def _fish_place(environ: Mapping[str, str]) -> Path:
    return _folder(environ, "XDG_CONFIG_HOME", ".config") / "fish/completions/omniedit.fish"


def _advise_bash(path: Path) -> str:
    return (
        f"open a new shell; without the package bash-completion, add `source '{path}'` to ~/.bashrc"
    )


def _advise_zsh(path: Path) -> str:
    return (
        f"add `fpath=('{path.parent}' $fpath)` to ~/.zshrc, before its `compinit`"
        " (without one: `autoload -Uz compinit && compinit`), and open a new shell"
    )


def _advise_fish(_: Path) -> str:
    return "open a new shell"


_PLACES: Final[
    Mapping[str, tuple[str, Callable[[Mapping[str, str]], Path], Callable[[Path], str]]]
] = {
    "bash": ("omniedit.bash", _bash_place, _advise_bash),
    "zsh": ("_omniedit", _zsh_place, _advise_zsh),
    "fish": ("omniedit.fish", _fish_place, _advise_fish),
}


if __name__ == "__main__":  # pragma: no cover - the contract test calls `scripts`
    for file_name, text in scripts().items():
        Path(sys.argv[1], file_name).write_text(text, encoding="utf-8")
