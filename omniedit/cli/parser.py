"""The commands, loaded on demand, with the options they share and their help pages."""

import re
from collections.abc import Iterable, Iterator
from functools import partial
from importlib import import_module
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption
from typer.main import get_command

from omniedit import __version__
from omniedit.errors import refuse
from omniedit.terminal.printer import ProgressMode
from omniedit.terminal.streams import Colour

OUTPUT: Final = "Output"
COST: Final = "Cost"
CLIP: Final = "Clip"
WAITING: Final = "Waiting"
SCRIPTS: Final = "Scripts"
EVERYWHERE: Final = "Everywhere"
_SECTIONS: Final = ("Arguments", "Options", OUTPUT, COST, CLIP, WAITING, SCRIPTS, EVERYWHERE)
"""The sections of a help page, in their order."""

_OF_EDITS: Final = ("edit", "submit", "wait", "status", "download", "batch", "compare", "probe")
_OF_ALL_ELSE: Final = ("list", "usage", "credits", "doctor", "config", "journal", "sandbox", "help")
COMMANDS: Final = _OF_EDITS + _OF_ALL_ELSE
"""The commands in the order of the help page; each has the module of its name."""
COMMANDS_WITH_PROMPT: Final = frozenset({"edit", "submit"})
"""Those with a PROMPT argument."""
SUBMITTING: Final = COMMANDS_WITH_PROMPT | {"batch"}
"""Those that may pay."""
MISSING_COMMAND: Final = "command_missing"
"""The code of the error whose message is a group's help."""
_COMMANDS_WITH_EVENTS: Final = frozenset({"edit", "wait", "batch"})
_PATHS: Final = frozenset({"DIR", "FILE", "PATH"})
"""The metavars of options that name a file or a folder."""
_NAME_WIDTH: Final = 20
_SUMMARY_LIMIT: Final = 200


def parse_choice(text: str, choices: tuple[str, ...]) -> str:
    """Return a text if it is one of the choices.

    Raises:
        typer.BadParameter: If it is not one of them.
    """
    if text not in choices:
        msg = f"{text!r} is not one of {', '.join(choices)}"
        raise typer.BadParameter(msg)
    return text


def _parse_progress(text: str) -> str:
    # Empty: the same as without the option.
    return parse_choice(text, tuple(ProgressMode)) if text else text


def _show_version(_ctx: typer.Context, _param: typer.CallbackParam, value: bool) -> None:  # noqa: FBT001 - Typer's callback signature
    if value:
        typer.echo(f"omniedit {__version__}")
        raise typer.Exit


def _install_completion(ctx: typer.Context, _param: typer.CallbackParam, value: bool) -> None:  # noqa: FBT001 - Typer's callback signature
    if value:
        from omniedit.cli.completion.scripts import install

        install(ctx.obj)
        raise typer.Exit


def option(declaration: str, description: str, section: str = "Options", **attrs: Any) -> Any:
    """Return an option of one command, declared as a help page shows it: `--output -o PATH`.

    Args:
        declaration: The names and, for an option that takes a value, its metavar.
        description: One sentence for the help page.
        section: The section of the help page.
        attrs: Further arguments of `typer.Option`.
    """
    names = declaration.split()
    metavar = None if names[-1].startswith("-") else names.pop()
    return typer.Option(*names, metavar=metavar, help=description, rich_help_panel=section, **attrs)


_flag: Final = partial(TyperOption, is_flag=True, default=False)
_global_flag: Final = partial(_flag, rich_help_panel=EVERYWHERE)
_GLOBAL_OPTIONS: Final = (
    _global_flag(param_decls=["--json"], help="Print one JSON document."),
    _global_flag(
        param_decls=["--quiet", "-q"], help="No progress and no hints; errors are still shown."
    ),
    _global_flag(
        param_decls=["--verbose", "-v"], help="Trace HTTP, keys masked, and where errors come from."
    ),
    _global_flag(
        param_decls=["--sandbox"], help="Use the local stand-in: no key, no cost, no edit."
    ),
    TyperOption(
        param_decls=["--progress"],
        metavar="auto|plain|none",
        help="How progress is shown on stderr.",
        rich_help_panel=EVERYWHERE,
        type=_parse_progress,
    ),
)
"""The options that every command takes, before or after its name."""
_EVENT_OPTIONS: Final = (
    _flag(
        param_decls=["--events"],
        help="Print events as they happen, one JSON object per line.",
        rich_help_panel=SCRIPTS,
    ),
    TyperOption(
        param_decls=["--summary"],
        metavar="FILE",
        help="Append a Markdown table of the edits to FILE.",
        rich_help_panel=SCRIPTS,
    ),
)


def words_without_values(params: Iterable[Any], argv: Iterable[str]) -> Iterator[str]:
    """Yield the words up to `--` that are not the value of an option.

    Args:
        params: The command's options and arguments.
        argv: What was typed.
    """
    valued = valued_options(params)
    words = iter(argv)
    for word in words:
        if word == "--":
            return
        yield word
        if word in valued:
            next(words, None)


def valued_options(params: Iterable[Any]) -> set[str]:
    """Return the names of the options that take a value."""
    return {
        name
        for each in params
        if each.param_type_name == "option" and not each.is_flag
        for name in each.opts
    }


def _pop_options(ctx: Any) -> None:
    """Record the global options of the call, even after an error; commands do not see them."""
    for option in (*_GLOBAL_OPTIONS, *_EVENT_OPTIONS):
        if value := ctx.params.pop(option.name, None):
            ctx.obj.options[option.name] = value


def _write_sections(self: Any, ctx: Any, formatter: Any) -> None:
    """Write arguments and options, in sections."""
    sections: dict[str, list[tuple[str, str]]] = {name: [] for name in _SECTIONS}
    for param in self.get_params(ctx):
        if param.param_type_name == "argument":
            sections["Arguments"].append((param.metavar, param.help or ""))
        elif not param.hidden:
            section = EVERYWHERE if "--help" in param.opts else param.rich_help_panel or "Options"
            sections[section].append((_names_of(param), param.help or ""))
    for name, rows in sections.items():
        if rows:
            _write_section(name, rows, ctx, formatter)


def _names_of(param: Any) -> str:
    """Return an option's names, short ones first, and its metavar."""
    names = ", ".join(sorted(param.opts, key=len))
    if param.secondary_opts:
        names = f"{names} / {', '.join(param.secondary_opts)}"
    return names if param.is_flag else f"{names} {param.metavar}"


def _write_section(title: str, rows: Iterable[tuple[str, str]], ctx: Any, formatter: Any) -> None:
    shown = [(_painted(ctx, name, Colour.CYAN), text) for name, text in rows]
    with formatter.section(_painted(ctx, title, Colour.BOLD)):
        # A narrow column of names leaves room for the descriptions.
        formatter.write_dl(shown, col_max=min(_NAME_WIDTH, (formatter.width + 2) // 4))


def _write_examples(self: Any, ctx: Any, formatter: Any) -> None:
    """Write the examples, one per line and ready to paste."""
    if self.epilog:
        with formatter.section(_painted(ctx, "Examples", Colour.BOLD)):
            for line in self.epilog.strip().splitlines():
                formatter.write(f"  {line}\n")


def _painted(ctx: Any, text: str, colour: Colour) -> str:
    if ctx.color is None:
        ctx.color = ctx.obj is not None and ctx.obj.printer.stdout.is_coloured
    return f"\x1b[{colour}m{text}\x1b[0m" if ctx.color else text


class Command(TyperCommand):
    """A command that also takes the global options after its name."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        event_options = _EVENT_OPTIONS if kwargs.get("name") in _COMMANDS_WITH_EVENTS else ()
        kwargs["params"] = [*(kwargs.get("params") or ()), *event_options, *_GLOBAL_OPTIONS]
        super().__init__(*args, **kwargs)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments, after recording which command they are for."""
        if ctx.obj is not None:  # completion reads commands without a call
            ctx.obj.command = " ".join(ctx.command_path.split()[1:])
        try:
            self._refuse_prompt_like_options(args)
            rest = super().parse_args(ctx, args)
            for param in self.params:
                if ctx.params.get(param.name) == "" and param.metavar in _PATHS:
                    refuse(
                        f"the value of `{param.opts[0]}` is empty",
                        hint="a shell variable may be unset",
                    )
        finally:
            _pop_options(ctx)
        return rest

    def _refuse_prompt_like_options(self, args: list[str]) -> None:
        """Refuse a PROMPT such as `-hot summer`, which Typer reads as `-h -o "t summer"`.

        Raises:
            InvalidInputError: If there is one.
        """
        if self.name not in COMMANDS_WITH_PROMPT:
            return
        for word in words_without_values(self.params, args):
            if re.match(r"-(?!-)\S*\s", word) and word[:2] not in valued_options(self.params):
                from omniedit.cli.usage_errors import prompt_hint

                refuse(f"no such option: {word}", hint=prompt_hint(self.name))

    def invoke(self, ctx: Any) -> Any:
        """Run the command, whose whole command line has been parsed."""
        ctx.obj.end_parsing(ctx.params)
        return super().invoke(ctx)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the arguments without the braces that Typer puts around required ones."""
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]

    format_options = _write_sections
    format_epilog = _write_examples


class Group(TyperGroup):
    """A group that takes the global options before the name of its command."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["params"] = [*(kwargs.get("params") or ()), *_GLOBAL_OPTIONS]
        super().__init__(*args, **kwargs)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments; if there are none, the help is an error message without colour."""
        if not args:
            ctx.color = False
        try:
            return super().parse_args(ctx, args)
        finally:
            _pop_options(ctx)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the commands, then the options in sections."""
        commands: dict[str, Any] = {
            name: self.get_command(ctx, name) for name in self.list_commands(ctx)
        }
        # The whole first sentence, wrapped: Typer would truncate it.
        rows = [(name, each.get_short_help_str(_SUMMARY_LIMIT)) for name, each in commands.items()]
        _write_section("Commands", rows, ctx, formatter)
        _write_sections(self, ctx, formatter)

    format_epilog = _write_examples


class Root(Group):
    """The root command, which loads each of the others when it is called."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Typer takes the names from here, even those it suggests.
        self.commands: dict[str, Any] = dict.fromkeys(COMMANDS)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the called command and its arguments; `ls` is an alias of `list`."""
        if args[:1] == ["ls"]:
            args = ["list", *args[1:]]
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command; None if there is no such command."""
        if cmd_name in COMMANDS and self.commands[cmd_name] is None:
            self.commands[cmd_name] = _load(cmd_name)
        return super().get_command(ctx, cmd_name)


ROOT: Final = Root(
    help="Edit a video with one sentence: a clip and a prompt become an edited MP4 with sound.",
    epilog=(
        "omniedit --sandbox edit https://example.com/clip.mp4 'warmer lighting'\n"
        'omniedit edit clip.mp4 "make it night" -o night.mp4'
    ),
    params=[
        _flag(
            param_decls=["--version", "-V"],
            help="Show the version and exit.",
            is_eager=True,
            callback=_show_version,
        ),
        _flag(
            param_decls=["--install-completion"],
            help="Install completion for your shell (bash, zsh, fish, PowerShell) and exit.",
            is_eager=True,
            callback=_install_completion,
        ),
    ],
    no_args_is_help=True,
    rich_markup_mode=None,  # Rich would triple the time of `--help`
    context_settings={"help_option_names": ["-h", "--help"]},
)


def new_group(name: str, help: str) -> typer.Typer:  # noqa: A002 - Typer's own word
    """Return a group of commands, which shows its help if none of them is named."""
    return typer.Typer(
        name=name,
        cls=Group,
        help=help,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
    )


def _load(name: str) -> Any:
    """Return the command in a module: a group `app`, or a function (`list_`: `list` is Python's)."""
    module: Any = import_module(f"omniedit.cli.commands.{name}")
    app = getattr(module, "app", None)
    if app is None:
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        function = getattr(module, name, None) or getattr(module, f"{name}_")
        app.command(name, cls=Command, epilog=module.EXAMPLES)(function)
    return get_command(app)
