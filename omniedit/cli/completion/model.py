"""What can be completed: the commands as Typer knows them.

The scripts complete commands, options, files and choices without starting a process. For tasks in
the journal they call `omniedit __complete` (`tasks.py`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from omniedit.cli.parser import ROOT

FILES: Final = "files"
FOLDERS: Final = "folders"
TASKS: Final = "tasks"
UNFINISHED: Final = "unfinished"
FINISHED: Final = "finished"
REQUESTS: Final = "requests"
NOTHING: Final = "nothing"

_KINDS: Final[Mapping[str, str]] = {
    "DIR": FOLDERS,
    "FILE": FILES,
    "PATH": FILES,
    "REQUEST_ID": REQUESTS,
    "SOURCE": FILES,
    "TASK": TASKS,
    "TASK|FILE": TASKS,
    "TASK|REQUEST_ID": TASKS,
    "VIDEO": FILES,
}
"""What completes a value, by its metavar."""
_TASKS_OF: Final[Mapping[str, str]] = {"download": FINISHED, "wait": UNFINISHED}
"""The tasks that a command is usually called for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """The value of an option or an argument."""

    name: str
    kind: str  # one of the constants above
    choices: tuple[str, ...] = ()
    is_repeated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionModel:
    """An option."""

    names: tuple[str, ...]
    help: str
    value: Value | None  # None: it is a flag


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandModel:
    """A command or a group of commands."""

    path: tuple[str, ...]  # its names, without `omniedit`
    help: str
    options: tuple[OptionModel, ...]
    arguments: tuple[Value, ...]
    commands: tuple["CommandModel", ...]

    @property
    def name(self) -> str:
        """The last name of its path."""
        return self.path[-1]

    def walk(self) -> Iterator["CommandModel"]:
        """Yield this command and every command below it."""
        yield self
        for command in self.commands:
            yield from command.walk()

    def values(self) -> Iterator[Value]:
        """Yield the values of the arguments and options of this and every command below it."""
        for command in self.walk():
            yield from command.arguments
            yield from (option.value for option in command.options if option.value is not None)


def command_model() -> CommandModel:
    """Return the root command, with everything below it."""
    return _command_model(ROOT, ROOT.make_context("omniedit", [], resilient_parsing=True), ())


def _command_model(command: Any, context: Any, path: tuple[str, ...]) -> CommandModel:
    subcommands: list[CommandModel] = []
    names = command.list_commands(context) if hasattr(command, "list_commands") else ()
    for name in names:
        found = command.get_command(context, name)
        below = found.make_context(name, [], parent=context, resilient_parsing=True)
        subcommands.append(_command_model(found, below, (*path, name)))
    params = command.get_params(context)
    return CommandModel(
        path=path,
        help=command.get_short_help_str(limit=200).rstrip("."),
        options=tuple(
            _option_model(param)
            for param in params
            if param.param_type_name == "option" and not param.hidden
        ),
        arguments=tuple(
            _value(param, param.name, command=context.info_name)
            for param in params
            if param.param_type_name == "argument"
        ),
        commands=tuple(subcommands),
    )


def _option_model(param: Any) -> OptionModel:
    # Long names first, because they say more in a list.
    names = sorted((*param.opts, *param.secondary_opts), key=len, reverse=True)
    return OptionModel(
        names=tuple(names),
        help=" ".join((param.help or "").split()).rstrip("."),
        value=None if param.is_flag else _value(param, names[0].lstrip("-")),
    )


def _value(param: Any, name: str, *, command: str = "") -> Value:
    metavar = (param.metavar or name).strip("[].").upper()
    choices = _choices(param.metavar or "", name)
    kind = NOTHING if choices else _KINDS.get(metavar, NOTHING)
    return Value(
        name=name,
        kind=_TASKS_OF.get(command, kind) if kind == TASKS else kind,
        choices=choices,
        is_repeated=param.nargs == -1,
    )


def _choices(metavar: str, name: str) -> tuple[str, ...]:
    from omniedit.cli.commands.help import TOPICS
    from omniedit.models import MODELS, AttemptState, TaskStatus
    from omniedit.schemas import document_names

    if metavar == "[TOPIC]":
        return tuple(TOPICS)
    if metavar == "[DOCUMENT]":
        return tuple(document_names())
    if name == "model":
        return tuple(MODELS)
    if name == "state":
        return (*TaskStatus, *AttemptState)
    return tuple(metavar.split("|")) if "|" in metavar and metavar.islower() else ()
