"""`omniedit help`: the tables that scripts rely on."""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final

import typer

from omniedit.cli.context import Context, Outcome
from omniedit.cli.exit_codes import MEANINGS
from omniedit.errors import Hint, InvalidInputError

EXAMPLES: Final = """
omniedit help exit-codes
omniedit help json edit > edit.schema.json
"""
_UNWRAPPED: Final = 1000
VARIABLES: Final[Mapping[str, str]] = {
    "OMNIEDIT_API_KEY": "the API key; takes precedence",
    "EVOLINK_API_KEY": "the API key; before the one saved by `omniedit config set-key`",
    "OMNIEDIT_BASE_URL": "the API's address: https, or http on this machine",
    "OMNIEDIT_FILES_URL": "the file service's address: https, or http on this machine",
    "OMNIEDIT_CONFIG_DIR": "the folder of config.toml and the saved key",
    "OMNIEDIT_STATE_DIR": "the folder of the journal",
    "OMNIEDIT_CONTEXT": "whose newest task `last` means; by default the CI job's, else this user's",
    "OMNIEDIT_SANDBOX": "1: use the sandbox in every command, as `--sandbox` does",
    "NO_COLOR, FORCE_COLOR, TERM": "as usual",
    "HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY": "as usual; loopback never uses a proxy",
    "SSL_CERT_FILE, SSL_CERT_DIR": "the certificates to trust",
}


def help_(
    ctx: typer.Context,
    topic: Annotated[
        str | None,
        typer.Argument(
            metavar="[TOPIC]", help="exit-codes, environment, sandbox, json, or a command."
        ),
    ] = None,
    document: Annotated[
        str | None,
        typer.Argument(metavar="[DOCUMENT]", help="Of `help json`: print its JSON Schema."),
    ] = None,
) -> Outcome:
    """Explain exit codes, environment variables, the sandbox, the JSON documents, or a command."""
    context: Context = ctx.obj
    fields: dict[str, object] = {"topics": [*TOPICS]}
    if topic is None:
        for name, (summary, _) in TOPICS.items():
            context.printer.line(f"omniedit help {name:<12} {summary}")
        return Outcome(fields=fields)
    try:
        if document is not None:
            lines = _schema(topic, document)
        elif topic in TOPICS:
            lines = TOPICS[topic][1](context.printer.stdout_width)
        else:
            lines = _command(ctx, topic)
    except InvalidInputError as error:
        return Outcome(fields=fields, errors=[error])
    for line in lines:
        context.printer.line(line)
    return Outcome(fields={**fields, "topic": topic, "text": "\n".join(lines)})


def _command(ctx: typer.Context, name: str) -> list[str]:
    """Return what `--help` of a command says.

    Raises:
        InvalidInputError: If there is no such command or topic.
    """
    root: Any = ctx.find_root()
    command = root.command.get_command(root, name)
    if command is None:
        msg = f"there is no help on {name!r}"
        raise InvalidInputError(msg, code="usage", hint=f"topics: {', '.join(TOPICS)}")
    own = typer.Context(command, info_name=name, parent=root, color=False)
    text: str = command.get_help(own)
    return text.splitlines()


def _exit_codes(width: int | None) -> list[str]:
    rows = [(code, meaning, then) for code, (meaning, then) in MEANINGS.items()]
    return _table(("code", "meaning", "a script then"), rows, width)


def _environment(width: int | None) -> list[str]:
    return _table(("variable", "meaning"), [*VARIABLES.items()], width)


def _sandbox(width: int | None) -> list[str]:
    from omniedit.sandbox import MARKERS

    intro = [
        "The sandbox stands in for the service on this machine: no key, no cost, no edit.",
        "",
        "  omniedit --sandbox edit https://example.com/clip.mp4 'warmer lighting' -o out.mp4",
        "  omniedit sandbox serve --port 8123",
        "  OMNIEDIT_BASE_URL=http://127.0.0.1:8123 OMNIEDIT_API_KEY=sk-sandbox-test omniedit …",
        "",
        "A marker in the prompt makes something go wrong:",
        "",
    ]
    rows = [(marker.usage, marker.does, marker.client_sees) for marker in MARKERS]
    return [*intro, *_table(("marker", "what it does", "what a client sees"), rows, width)]


def _json(width: int | None) -> list[str]:
    from omniedit.schemas import document_names, load_schema

    intro = [
        "Every document has a JSON Schema (draft 2020-12), printed whole:",
        "",
        "  omniedit help json edit > edit.schema.json",
        "",
    ]
    rows = [(name, load_schema(name)["description"]) for name in document_names()]
    return [*intro, *_table(("document", "what it tells"), rows, width)]


def _schema(topic: str, document: str) -> list[str]:
    """Return the lines of a JSON Schema.

    Raises:
        InvalidInputError: If there is none.
    """
    from omniedit.schemas import document_names, load_whole_schema

    if topic != "json" or document not in document_names():
        msg = f"there is no help on {topic!r} {document!r}"
        raise InvalidInputError(msg, code="usage", hint=Hint("{} lists the documents", "help json"))
    return json.dumps(load_whole_schema(document), indent=2).splitlines()


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """Return rows in columns, wrapped where a terminal is too narrow for them."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    for name in header:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    text = io.StringIO()
    Console(file=text, width=width or _UNWRAPPED, color_system=None).print(table)
    return [line.rstrip() for line in text.getvalue().splitlines()]


TOPICS: Final[Mapping[str, tuple[str, Callable[[int | None], list[str]]]]] = {
    "exit-codes": ("what a script branches on", _exit_codes),
    "environment": ("variables that are read", _environment),
    "sandbox": ("trying everything without a key", _sandbox),
    "json": ("the documents of --json and --events", _json),
}
