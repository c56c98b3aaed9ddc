"""The command line as its parser knows it."""

from collections.abc import Iterator, Mapping
from typing import Any

import typer

from omniedit.cli.parser import ROOT

GLOBAL_OPTIONS = frozenset({"--json", "--quiet", "--verbose", "--sandbox", "--progress"})


def every_command() -> Mapping[str, Any]:
    """Return each command that does something, by its name after `omniedit`."""
    return dict(_below(ROOT, ()))


def options_of(command: Any) -> list[str]:
    """Return every option as the manual writes it: `--output/-o`, `--check/--no-check`."""
    found = [
        "/".join((*sorted(param.opts, key=len, reverse=True), *param.secondary_opts))
        for param in command.params
        if param.param_type_name == "option" and not getattr(param, "hidden", False)
    ]
    return [option for option in found if option.split("/")[0] not in GLOBAL_OPTIONS]


def root_options() -> list[str]:
    """Return the options of `omniedit` alone."""
    return options_of(ROOT)


def _below(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "list_commands"):
        yield " ".join(path), command
        return
    context = typer.Context(command)
    for name in command.list_commands(context):
        yield from _below(command.get_command(context, name), (*path, name))
