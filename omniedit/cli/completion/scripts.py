"""The completion scripts of bash, zsh, fish and PowerShell: templates filled with the commands.

The scripts complete commands, options, files and choices without starting a process. For tasks in
the journal they call `omniedit __complete`.

`python -m omniedit.cli.completion.scripts completions` writes them to the folder `completions`.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from omniedit.cli.commands.help import TOPICS
from omniedit.cli.context import Context
from omniedit.cli.parser import ROOT
from omniedit.errors import LocalError, refuse
from omniedit.models import MODELS, AttemptState, TaskStatus
from omniedit.schemas import document_names
from omniedit.system import error_reason

FILES: Final = "files"
FOLDERS: Final = "folders"
TASKS: Final = "tasks"
UNFINISHED: Final = "unfinished"
FINISHED: Final = "finished"
COMPARED: Final = "compared"
"""Finished tasks and files."""
REQUESTS: Final = "requests"
NOTHING: Final = "nothing"

_KINDS: Final[Mapping[str, str]] = {
    "DIR": FOLDERS,
    "FILE": FILES,
    "PATH": FILES,
    "REQUEST_ID": REQUESTS,
    "SOURCE": FILES,
    "TASK": TASKS,
    "TASK|FILE": COMPARED,
    "TASK|REQUEST_ID": TASKS,
    "VIDEO": FILES,
}
"""What completes a value, by its metavar."""
_TASKS_OF: Final[Mapping[str, str]] = {"download": FINISHED, "wait": UNFINISHED}
"""The tasks that a command is usually called for."""
_TASK_KINDS: Final = frozenset({TASKS, UNFINISHED, FINISHED})
_TEMPLATES: Final = Path(__file__).parent / "templates"
_FOLDERS: Final = {"XDG_DATA_HOME": ".local/share", "XDG_CONFIG_HOME": ".config"}
"""The folders of the shells' scripts: the variables that name them, and the defaults in HOME."""


class Value(NamedTuple):
    """The value of an option or an argument."""

    name: str
    kind: str  # one of the constants above, or one of its own for a closed set of choices
    choices: tuple[str, ...]
    is_repeated: bool


class OptionModel(NamedTuple):
    """An option."""

    names: tuple[str, ...]
    help: str
    value: Value | None  # None: it is a flag


class CommandModel(NamedTuple):
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
        """Yield this command and every command below it, without the pages that nothing follows."""
        yield self
        for command in self.commands:
            if command.options:
                yield from command.walk()


class _Shell(NamedTuple):
    """The completion script of a shell, and where the shell looks for it."""

    script: str  # the name of the template and of the script made from it
    variable: str  # names the folder
    path: str  # of the installed script, inside the folder
    advice: str  # how the shell is made to load it
    fill: Callable[[CommandModel], Mapping[str, Iterable[str]]]
    """Returns the lines for each placeholder in the template."""

    def script_text(self, root: CommandModel) -> str:
        """Return the text of the script."""
        text = (_TEMPLATES / self.script).read_text(encoding="utf-8")
        for placeholder, lines in self.fill(root).items():
            text = text.replace(f"@{placeholder}@", "\n".join(lines))
        return text


def scripts() -> dict[str, str]:
    """Return the text of each script by its file name."""
    root = command_model()
    return {shell.script: shell.script_text(root) for shell in _SHELLS.values()}


def install(context: Context) -> None:
    """Write the completion script of the user's shell to where that shell looks for it.

    Raises:
        InvalidInputError: If there is no script for the shell.
        LocalError: If the file cannot be written.
    """
    name = _shell_name(context.environ)
    if name not in _SHELLS:
        hint = "for bash, zsh, fish or pwsh: `SHELL=bash omniedit --install-completion`"
        refuse(f"no completion for {name or 'an unknown shell'} (from SHELL)", hint=hint)
    shell = _SHELLS[name]
    named = context.environ.get(shell.variable, "").strip()
    try:
        folder = (
            Path(named) if Path(named).is_absolute() else Path.home() / _FOLDERS[shell.variable]
        )
    except RuntimeError:
        msg = "this user has no home directory, where the shell would look for the script"
        raise LocalError(msg, hint="set HOME to an absolute path") from None
    path = folder / shell.path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(shell.script_text(command_model()), encoding="utf-8", newline="\n")
    except OSError as error:
        msg = f"cannot write {path}: {error_reason(error)}"
        raise LocalError(msg) from None
    context.printer.path(str(path))
    context.printer.note(shell.advice.format(path=path, folder=path.parent))


def command_model() -> CommandModel:
    """Return the root command, with everything below it."""
    ctx = ROOT.make_context("omniedit", [], resilient_parsing=True)
    root = _command_model(ROOT, ctx, ())
    *others, help_command = root.commands
    return root._replace(commands=(*others, _help_model(help_command, root.commands)))


def _help_model(help_command: CommandModel, commands: Iterable[CommandModel]) -> CommandModel:
    """Return `help` as a group of what it explains, because the topic decides what may follow."""

    def page(path: tuple[str, ...], summary: str) -> CommandModel:
        return CommandModel((*help_command.path, *path), summary, (), (), ())

    pages = {name: page((name,), summary) for name, summary in TOPICS.items()}
    pages["json"] = help_command._replace(
        path=pages["json"].path, help=pages["json"].help, arguments=help_command.arguments[1:]
    )
    for command in commands:
        found = pages.setdefault(command.name, page(command.path, command.help))
        if command.commands:
            below = tuple(page(each.path, each.help) for each in command.commands)
            pages[command.name] = found._replace(options=help_command.options, commands=below)
    return help_command._replace(arguments=(), commands=tuple(pages.values()))


def _command_model(command: Any, ctx: Any, path: tuple[str, ...]) -> CommandModel:
    subcommands: list[CommandModel] = []
    for name in command.list_commands(ctx) if hasattr(command, "list_commands") else ():
        found = command.get_command(ctx, name)
        below = found.make_context(name, [], parent=ctx, resilient_parsing=True)
        subcommands.append(_command_model(found, below, (*path, name)))
    options: list[OptionModel] = []
    arguments: list[Value] = []
    for param in command.get_params(ctx):
        if param.param_type_name == "argument":
            arguments.append(_value(param, param.name, command=ctx.info_name))
        elif not param.hidden:
            # Long names first, because they say more in a list.
            names = sorted((*param.opts, *param.secondary_opts), key=len, reverse=True)
            value = None if param.is_flag else _value(param, names[0].lstrip("-"))
            options.append(OptionModel(tuple(names), _one_line(param.help or ""), value))
    summary = _one_line(command.get_short_help_str(limit=200))
    return CommandModel(path, summary, tuple(options), tuple(arguments), tuple(subcommands))


def _one_line(text: str) -> str:
    return " ".join(text.split()).rstrip(".")


def _value(param: Any, name: str, *, command: str = "") -> Value:
    metavar = (param.metavar or name).strip("[].").upper()
    choices = _choices_of(param.metavar or "", name)
    kind = f"{name}-choices" if choices else _KINDS.get(metavar, NOTHING)
    kind = _TASKS_OF.get(command, kind) if kind == TASKS else kind
    return Value(name, kind, choices, param.nargs == -1)


def _choices_of(metavar: str, name: str) -> tuple[str, ...]:
    if metavar == "[DOCUMENT]":
        return tuple(document_names())
    if name == "model":
        return tuple(MODELS)
    if name == "state":
        return (*TaskStatus, *AttemptState)
    return tuple(metavar.split("|")) if "|" in metavar and metavar.islower() else ()


def _shell_name(environ: Mapping[str, str]) -> str:
    """Return the name of the user's shell; PowerShell on Windows sets no SHELL."""
    name = Path(environ.get("SHELL", "")).name.removesuffix(".exe")
    if not name and "PSModulePath" in environ:
        return "pwsh"
    return "pwsh" if name == "powershell" else name


def _bash(root: CommandModel) -> dict[str, Iterable[str]]:
    names_of: dict[str, list[str]] = {}
    for name, value in _option_values(root).items():
        names_of.setdefault(value.kind, []).append(name)
    return {
        "KNOWN": map(_bash_command, root.walk()),
        "VALUES": [
            f"        {' | '.join(names)}) kind={kind} ;;" for kind, names in names_of.items()
        ],
        "CHOICES": [
            f"        {kind}) _omniedit_offer {' '.join(words)} ;;"
            for kind, words in _choices(root).items()
        ],
    }


def _bash_command(command: CommandModel) -> str:
    lists = {
        "commands": [known.name for known in command.commands],
        "options": [name for option in command.options for name in option.names],
        "arguments": [value.kind for value in command.arguments],
    }
    lines = [f"            {name}=({' '.join(words)})" for name, words in lists.items()]
    return "\n".join([f"        '{' '.join(command.path)}')", *lines, "            ;;"])


def _zsh(root: CommandModel) -> dict[str, Iterable[str]]:
    # The root function comes last: it is the one that loading the file calls.
    return {"FUNCTIONS": ["\n\n".join(map(_zsh_function, reversed([*root.walk()])))]}


def _zsh_function(command: CommandModel) -> str:
    name = "-".join(("_omniedit", *command.path))
    call = "_arguments -s -S :"
    lines = [f"{name}() {{"]
    if command.commands:
        entries = (_zsh_quoted(f"{known.name}:{known.help}") for known in command.commands)
        lines += ["    local -a commands=(", *(f"        {entry}" for entry in entries), "    )"]
        call = f"_omniedit_group {name}"
    specs = [spec for option in command.options for spec in _zsh_option(option)]
    specs += [
        _zsh_quoted(("*" if value.is_repeated else "") + _zsh_value(value))
        for value in command.arguments
    ]
    return "\n".join([*lines, " \\\n        ".join([f"    {call}", *specs]), "}"])


def _zsh_option(option: OptionModel) -> list[str]:
    exclusive = f"({' '.join(option.names)})" if len(option.names) > 1 else ""
    rest = f"[{_zsh_escaped(option.help)}]"
    if option.value is None:
        return [_zsh_quoted(f"{exclusive}{name}{rest}") for name in option.names]
    rest += _zsh_value(option.value)
    joined = (f"{name}=" if name.startswith("--") else name for name in option.names)
    return [_zsh_quoted(f"{exclusive}{name}{rest}") for name in joined]


def _zsh_value(value: Value) -> str:
    action = {
        FILES: "_files",
        FOLDERS: "_files -/",
        COMPARED: "{_omniedit_tasks compared; _files}",
        REQUESTS: "_omniedit_requests",
    }.get(value.kind, " ")
    if value.choices:
        action = f"({' '.join(value.choices)})"
    elif value.kind in _TASK_KINDS:
        # After a leading space, `_arguments` passes the function only the words given here.
        action = f" _omniedit_tasks {value.kind}"
    return f":{_zsh_escaped(value.name)}:{action}"


def _zsh_escaped(text: str) -> str:
    for character in "\\[]:":
        text = text.replace(character, f"\\{character}")
    return text


def _zsh_quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _fish(root: CommandModel) -> dict[str, Iterable[str]]:
    _, *below = root.walk()
    return {
        "KNOWN": [" ".join(_fish_quoted(" ".join(known.path)) for known in below)],
        "VALUED": [" ".join(_option_values(root))],
        "LINES": [line for known in (root, *below) for line in _fish_lines(known)],
    }


def _fish_lines(command: CommandModel) -> list[str]:
    path = " ".join(command.path)
    lines = ["", f"# omniedit {path}".rstrip()]
    lines += [
        _fish_line(path, f"-a {known.name} -d {_fish_quoted(known.help)}", position=0)
        for known in command.commands
    ]
    for number, value in enumerate(command.arguments):
        position = None if value.is_repeated else number
        if offer := _fish_offer(value):
            lines.append(_fish_line(path, offer, position=position))
    return lines + [_fish_line(path, _fish_option(option)) for option in command.options]


def _fish_line(path: str, rest: str, *, position: int | None = None) -> str:
    condition = f'__omniedit_at "{path}"'
    if position is not None:
        condition += f" {position}"
    return f"complete -c omniedit -n {_fish_quoted(condition)} {rest}"


def _fish_option(option: OptionModel) -> str:
    parts = [
        f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names
    ]
    if option.value is not None:
        parts.append(f"-r {_fish_offer(option.value) or '-f'}")
    return " ".join([*parts, f"-d {_fish_quoted(option.help)}"])


def _fish_offer(value: Value) -> str:
    if value.choices:
        return f"-f -a {_fish_quoted(' '.join(value.choices))}"
    if value.kind in _TASK_KINDS:
        return f"-f -k -a '(__omniedit_known {value.kind}; echo last)'"
    return {
        FILES: "-F",
        COMPARED: "-F -k -a '(__omniedit_known compared; echo last)'",
        FOLDERS: "-f -a '(__fish_complete_directories (commandline -ct))'",
        REQUESTS: "-f -k -a '(__omniedit_known requests)'",
    }.get(value.kind, "")


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _powershell(root: CommandModel) -> dict[str, Iterable[str]]:
    quoted = _powershell_quoted
    return {
        "KNOWN": map(_powershell_command, root.walk()),
        "VALUES": [
            f"        {quoted(name)} = {quoted(value.kind)}"
            for name, value in _option_values(root).items()
        ],
        "CHOICES": [
            f"        {quoted(kind)} = @({', '.join(map(quoted, words))})"
            for kind, words in _choices(root).items()
        ],
    }


def _powershell_command(command: CommandModel) -> str:
    quoted = _powershell_quoted
    commands = {known.name: known.help for known in command.commands}
    options = {name: option.help for option in command.options for name in option.names}
    lines = [f"        {quoted(' '.join(command.path))} = @{{"]
    for name, entries in {"commands": commands, "options": options}.items():
        shown = (f"                {quoted(key)} = {quoted(text)}" for key, text in entries.items())
        lines += [f"            {name} = [ordered]@{{", *shown, "            }"]
    kinds = ", ".join(quoted(value.kind) for value in command.arguments)
    return "\n".join([*lines, f"            arguments = @({kinds})", "        }"])


def _powershell_quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _option_values(root: CommandModel) -> dict[str, Value]:
    """Return the value of each option that takes one; if commands differ, the first decides."""
    found: dict[str, Value] = {}
    for command in root.walk():
        for option in command.options:
            if option.value is not None:
                found = dict.fromkeys(option.names, option.value) | found
    return found


def _choices(root: CommandModel) -> dict[str, tuple[str, ...]]:
    """Return the choices of each kind of value that has a closed set of them."""
    arguments = [value for command in root.walk() for value in command.arguments]
    values = [*arguments, *_option_values(root).values()]
    return {value.kind: value.choices for value in values if value.choices}


_SHELLS: Final[Mapping[str, _Shell]] = {
    "bash": _Shell(
        script="omniedit.bash",
        variable="XDG_DATA_HOME",
        path="bash-completion/completions/omniedit",
        advice="open a new shell; without the package bash-completion, add"
        " `source '{path}'` to ~/.bashrc",
        fill=_bash,
    ),
    "zsh": _Shell(
        script="_omniedit",
        variable="XDG_DATA_HOME",
        path="zsh/site-functions/_omniedit",
        advice="add `fpath=('{folder}' $fpath)` to ~/.zshrc, before its `compinit`"
        " (without one: `autoload -Uz compinit && compinit`), and open a new shell",
        fill=_zsh,
    ),
    "fish": _Shell(
        script="omniedit.fish",
        variable="XDG_CONFIG_HOME",
        path="fish/completions/omniedit.fish",
        advice="open a new shell",
        fill=_fish,
    ),
    "pwsh": _Shell(
        script="omniedit.ps1",
        variable="XDG_DATA_HOME",
        path="omniedit/omniedit.ps1",
        advice="add `. '{path}'` to the file that $PROFILE names, and open a new shell",
        fill=_powershell,
    ),
}

if __name__ == "__main__":  # pragma: no cover - the contract test calls `scripts`
    for file_name, text in scripts().items():
        Path(sys.argv[1], file_name).write_text(text, encoding="utf-8", newline="\n")
