"""Typer's classes with the options that every command takes, and help pages of our own."""

from collections.abc import Callable, Iterable
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from omniedit.terminal.text import Colour

OUTPUT: Final = "Output"
COST: Final = "Cost"
CLIP: Final = "Clip"
WAITING: Final = "Waiting"
SCRIPTS: Final = "Scripts"
EVERYWHERE: Final = "Everywhere"
_SECTIONS: Final = ("Arguments", "Options", OUTPUT, COST, CLIP, WAITING, SCRIPTS, EVERYWHERE)
"""The sections of a help page, in their order."""

_COMMANDS_WITH_EVENTS: Final = frozenset({"edit", "wait", "batch"})
_NAME_WIDTH: Final = 20
_SUMMARY_LIMIT: Final = 200


class Command(TyperCommand):
    """A command that takes the global options after its name, too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        params: list[Any] = [*(kwargs.get("params") or [])]
        if kwargs.get("name") in _COMMANDS_WITH_EVENTS:
            text = "Print events as they happen, one JSON object per line."
            params.append(_flag("--events", help=text, section=SCRIPTS))
            params.append(
                TyperOption(
                    param_decls=["--summary"],
                    metavar="FILE",
                    expose_value=False,
                    callback=_remember(str),
                    help="Append a Markdown table of the edits to FILE.",
                    rich_help_panel=SCRIPTS,
                )
            )
        super().__init__(*args, **kwargs | {"params": [*params, *_global_options()]})

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse what was typed; from now on the call is known to be of this command."""
        call = ctx.find_root().obj
        if call is not None:  # completion reads commands without one
            call.command = " ".join(ctx.command_path.split()[1:])
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Carry the command out, in a context that no longer changes."""
        ctx.obj = ctx.find_root().obj.freeze(ctx.params)
        return super().invoke(ctx)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the arguments as manuals write them: Typer puts a required one in braces."""
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and options, in sections."""
        _write_sections(self.get_params(ctx), ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples, each on a line of its own that can be pasted."""
        _write_examples(self.epilog, ctx, formatter)


class Group(TyperGroup):
    """A group of commands that takes the global options before them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        params: list[Any] = [*(kwargs.get("params") or []), *_global_options()]
        super().__init__(*args, **kwargs | {"params": params})

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse what was typed; help in the place of a missing command is an error message."""
        if not args:
            ctx.color = False
        return super().parse_args(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the commands, then the options in sections."""
        with formatter.section(_painted(ctx, "Commands", Colour.BOLD)):
            commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
            # The whole first sentence: it is wrapped, where Typer would cut it off.
            rows = [
                (name, command.get_short_help_str(_SUMMARY_LIMIT))
                for name, command in commands
                if command
            ]
            _write_rows(rows, ctx, formatter)
        _write_sections(self.get_params(ctx), ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples, each on a line of its own that can be pasted."""
        _write_examples(self.epilog, ctx, formatter)


def _write_sections(params: Iterable[Any], ctx: Any, formatter: Any) -> None:
    sections: dict[str, list[tuple[str, str]]] = {name: [] for name in _SECTIONS}
    for param in params:
        if param.param_type_name == "argument":
            sections["Arguments"].append((param.metavar, param.help or ""))
        elif not param.hidden:
            section = EVERYWHERE if "--help" in param.opts else param.rich_help_panel or "Options"
            sections[section].append((_names_of(param), param.help or ""))
    for name, rows in sections.items():
        if rows:
            with formatter.section(_painted(ctx, name, Colour.BOLD)):
                _write_rows(rows, ctx, formatter)


def _names_of(param: Any) -> str:
    """Return an option's names, the short one first, and what its value is called."""
    names = ", ".join(sorted(param.opts, key=len))
    if param.secondary_opts:
        names = f"{names} / {', '.join(param.secondary_opts)}"
    return names if param.is_flag else f"{names} {param.metavar}"


def _write_rows(rows: Iterable[tuple[str, str]], ctx: Any, formatter: Any) -> None:
    shown = [(_painted(ctx, name, Colour.CYAN), text) for name, text in rows]
    # Beside a narrow column of names there is room for what is said of them.
    formatter.write_dl(shown, col_max=min(_NAME_WIDTH, (formatter.width + 2) // 4))


def _write_examples(examples: str | None, ctx: Any, formatter: Any) -> None:
    if examples:
        with formatter.section(_painted(ctx, "Examples", Colour.BOLD)):
            for line in examples.strip().splitlines():
                formatter.write(f"  {line}\n")


def _painted(ctx: Any, text: str, colour: Colour) -> str:
    if ctx.color is None:
        call = ctx.find_root().obj
        ctx.color = call is not None and call.context.printer.stdout.is_coloured
    return f"\x1b[{colour}m{text}\x1b[0m" if ctx.color else text


def _global_options() -> list[TyperOption]:
    return [
        _flag("--json", help="Print one JSON document."),
        _flag("--quiet", "-q", help="No progress and no hints; errors are still shown."),
        _flag("--verbose", "-v", help="Trace HTTP, keys masked, and where errors come from."),
        _flag("--sandbox", help="Use the local stand-in: no key, no cost, no edit."),
        TyperOption(
            param_decls=["--progress"],
            metavar="auto|plain|none",
            expose_value=False,
            callback=_remember(_parse_progress),
            help="How progress is shown on stderr.",
            rich_help_panel=EVERYWHERE,
        ),
    ]


def _flag(*names: str, help: str, section: str = EVERYWHERE) -> TyperOption:  # noqa: A002 - Typer's own word
    return TyperOption(
        param_decls=list(names),
        is_flag=True,
        default=False,
        expose_value=False,
        callback=_remember(bool),
        help=help,
        rich_help_panel=section,
    )


def _parse_progress(text: str) -> str:
    if text not in {"auto", "plain", "none"}:
        msg = f"{text!r} is not one of auto, plain, none"
        raise typer.BadParameter(msg)
    return text


def _remember(parse: Callable[[Any], Any]) -> Callable[..., None]:
    """Return a callback that notes a given option in the call; one left out changes nothing."""

    def remember(context: typer.Context, param: typer.CallbackParam, value: Any) -> None:
        if value:
            context.find_root().obj.options[param.name] = parse(value)

    return remember
