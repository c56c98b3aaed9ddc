"""`omniedit help`: the manual, the JSON Schemas, and the help of a command."""

import json
import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from omniedit.cli.context import Context, Outcome
from omniedit.cli.parser import COMMANDS
from omniedit.errors import Hint, InvalidInputError, refuse
from omniedit.terminal.printer import Printer
from omniedit.terminal.streams import Line

EXAMPLES: Final = """
omniedit help exit-codes
omniedit help json edit > edit.schema.json
"""
TOPICS: Final[Mapping[str, str]] = {
    "scripting": "steps, streams, and the options of every command",
    "ci": "jobs that are safe to run again",
    "batch": "many edits from a manifest",
    "clips": "clips, prompts, prices, and long clips",
    "sandbox": "trying everything without a key",
    "reliability": "what you can rely on, and what is not promised",
    "agents": "rules for programs that run omniedit for a person",
    "exit-codes": "what a script branches on",
    "environment": "variables, settings and the key",
    "json": "the documents of --json and --events",
}
"""The pages of the manual, in the order in which they are listed."""

_MANUAL: Final = Path(__file__).parents[2] / "manual"
# On a terminal, a link to another page is shown as the command that prints it.
_PAGE_LINK: Final = re.compile(r"\[[^]]+\]\(([a-z-]+)\.md\)")


def help_(
    ctx: typer.Context,
    topic: Annotated[
        str | None, typer.Argument(metavar="[TOPIC]", help="A page of the manual, or a command.")
    ] = None,
    document: Annotated[
        str | None,
        typer.Argument(
            metavar="[DOCUMENT]",
            help="After `json`: a document, for its JSON Schema; after a group: its command.",
        ),
    ] = None,
) -> Outcome:
    """Show a page of the manual, a JSON Schema, or the help of a command."""
    context: Context = ctx.obj
    fields: dict[str, object] = {"topics": [*TOPICS]}
    if topic is None:
        for name, content in TOPICS.items():
            context.printer.line(content, label=f"omniedit help {name:<12} ")
        return Outcome(fields=fields)
    try:
        text = _text(ctx, topic, document)
    except InvalidInputError as error:
        return Outcome(fields=fields, errors=[error])
    is_page = topic in TOPICS and document is None
    context.printer.lines(_page(text, context.printer) if is_page else text.splitlines())
    return Outcome(fields={**fields, "topic": topic, "text": text})


def _text(ctx: typer.Context, topic: str, document: str | None) -> str:
    """Return a page of the manual as Markdown, a JSON Schema, or the help of a command."""
    if document is not None:
        return _schema(document) if topic == "json" else _command(ctx, topic, document)
    if topic in TOPICS:
        return (_MANUAL / f"{topic}.md").read_text(encoding="utf-8").rstrip("\n")
    return _command(ctx, topic)


def _page(text: str, printer: Printer) -> list[Line]:
    """Return a page rendered for a terminal; a pipe gets the Markdown."""
    if printer.stdout_width is None:
        return [*text.splitlines()]
    from omniedit.terminal.markdown import render_markdown

    # The front matter of a page is for programs.
    text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)
    text = _PAGE_LINK.sub(r"`omniedit help \1`", text)
    return render_markdown(
        text,
        width=printer.stdout_width,
        encoding=printer.stdout.encoding,
        is_coloured=printer.stdout.is_coloured,
    )


def _command(ctx: typer.Context, *names: str) -> str:
    """Return the `--help` text of a command, or of a command in a group."""
    parent: Any = ctx.find_root()
    for name in names:
        find: Any = getattr(parent.command, "get_command", None)
        command = find(parent, name) if find else None
        if command is None:
            meant = _meant(name) if len(names) == 1 else None
            hint = meant or f"topics: {', '.join(TOPICS)}"
            refuse(f"there is no help on `{' '.join(names)}`", hint=hint)
        parent = typer.Context(command, info_name=name, parent=parent, color=False)
    text: str = parent.command.get_help(parent)
    return text


def _meant(name: str) -> Hint | None:
    """Return which page or command was probably meant; None if unknown."""
    from omniedit.cli.usage_errors import REPLACEMENTS

    if name in REPLACEMENTS:
        return REPLACEMENTS[name]
    near = get_close_matches(name, [*TOPICS, *COMMANDS])
    return Hint("did you mean {}?", f"help {near[0]}") if near else None


def _schema(document: str) -> str:
    from omniedit.schemas import document_names, load_whole_schema

    if document not in document_names():
        refuse(
            f"there is no help on `json {document}`",
            hint=Hint("{} lists the documents", "help json"),
        )
    return json.dumps(load_whole_schema(document), indent=2)
