"""Which commands there are; the module of each is imported when somebody asks for it.

To import and build all of them takes as long as starting Python.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

import typer
from typer.main import get_command

from omniedit.cli.parser import Command, Group

_ATTRIBUTES: Final[Mapping[str, str]] = {
    "edit": "edit",
    "submit": "submit",
    "wait": "wait",
    "status": "status",
    "download": "download",
    "batch": "batch",
    "compare": "compare",
    "probe": "probe",
    "list": "list_",
    "usage": "usage",
    "credits": "credits_",
    "doctor": "doctor",
    "config": "app",
    "journal": "app",
    "sandbox": "app",
    "help": "help_",
}
"""The function or group of each command, in the module of its name."""


class Root(Group):
    """The group of all commands, in the order that help shows them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Typer takes names, also those it suggests, from here.
        self.commands: dict[str, Any] = dict.fromkeys(_ATTRIBUTES)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that is called, and the rest of its call."""
        if args[:1] == ["ls"]:
            args = ["list", *args[1:]]
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command, None if there is no such command."""
        if cmd_name in _ATTRIBUTES and self.commands[cmd_name] is None:
            self.commands[cmd_name] = _load(cmd_name)
        return super().get_command(ctx, cmd_name)


def _load(name: str) -> Any:
    module: Any = import_module(f"omniedit.cli.commands.{name}")
    found = getattr(module, _ATTRIBUTES[name])
    if not isinstance(found, typer.Typer):
        function, found = found, typer.Typer(add_completion=False, rich_markup_mode=None)
        found.command(name, cls=Command, epilog=module.EXAMPLES)(function)
    return get_command(found)
