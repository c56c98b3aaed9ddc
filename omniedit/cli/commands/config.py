"""`omniedit config`: the key and the settings, each with its source."""

import sys
from typing import TYPE_CHECKING

import typer

from omniedit.cli.context import Context, Outcome
from omniedit.cli.options import STDIN, read_source
from omniedit.cli.parser import Command, new_group
from omniedit.errors import Hint, Interrupted, InvalidInputError, InvalidKeyError
from omniedit.http.urls import origin_of
from omniedit.settings import (
    DEFAULT_BASE_URL,
    KEY_PAGE,
    CredentialsFile,
    Setting,
    credentials_path,
    parse_key,
)
from omniedit.system.files import decode_text

if TYPE_CHECKING:
    from pathlib import Path

    from omniedit.settings import Settings

app = new_group("config", "Manage the key, and show the settings.")


@app.command(
    "set-key", cls=Command, epilog="omniedit config set-key\nomniedit config set-key < key.txt"
)
def set_key(ctx: typer.Context) -> Outcome:
    """Save an API key, read from a hidden prompt or from stdin."""
    context: Context = ctx.obj
    settings = _real_settings(context)
    origin = origin_of(settings.base_url.value)
    path = credentials_path(settings.config_dir.value)
    text = _read_key(context, origin)
    if not text.strip():
        msg = "no key was given"
        hint = Hint("{} reads it from a file", "config set-key < key.txt")
        raise InvalidInputError(msg, hint=hint)
    try:
        key = parse_key(text, source="the input")
    except InvalidKeyError as error:
        error.hint = f"give the key alone, on one line; create keys at {KEY_PAGE}"
        raise
    CredentialsFile(path).save(origin, key, files_origin=origin_of(settings.files_url.value))
    context.printer.line(f"saved key {key} for {origin} in {path}")
    if origin == DEFAULT_BASE_URL and not key.reveal().startswith("sk-"):
        context.printer.note(Hint("keys usually begin with `sk-`; {} checks this one", "doctor"))
    source = settings.key.source if settings.key else ""
    if source.startswith("environment"):
        context.printer.note(f"{source.partition(': ')[2]} is set and takes precedence over it")
    context.printer.next_step("doctor")
    return Outcome(fields={"key": str(key), "origin": origin, "path": str(path)})


@app.command("unset-key", cls=Command, epilog="omniedit config unset-key")
def unset_key(ctx: typer.Context) -> Outcome:
    """Remove the saved API key for the current base URL."""
    context: Context = ctx.obj
    settings = _real_settings(context)
    origin = origin_of(settings.base_url.value)
    path = credentials_path(settings.config_dir.value)
    is_removed = CredentialsFile(path).remove(origin)
    what = "removed the key" if is_removed else "no key was saved"
    context.printer.line(f"{what} for {origin}")
    return Outcome(fields={"removed": is_removed, "origin": origin, "path": str(path)})


@app.command("show", cls=Command, epilog="omniedit config show\nomniedit config show --json")
def show(ctx: typer.Context) -> Outcome:
    """Show every setting with its source, the key masked."""
    from omniedit.terminal.streams import Colour, Span

    context: Context = ctx.obj
    settings = context.settings
    rows: dict[str, Setting[str] | Setting[Path]] = {
        "base_url": settings.base_url,
        "files_url": settings.files_url,
        "config_dir": settings.config_dir,
        "state_dir": settings.state_dir,
        "context": settings.context,
        "sidecar": Setting(str(settings.sidecar.value).lower(), settings.sidecar.source),
        "model": settings.model,
    }
    key, source = _shown_key(settings)
    fields: dict[str, object] = {"key": key, "key_source": source}
    has_key = key is not None or settings.is_embedded
    key_colour = Colour.GREEN if has_key else Colour.RED
    context.printer.line([Span(f"{key or 'none'}  ({source})", key_colour)], label=f"{'key':<11} ")
    for name, setting in rows.items():
        fields |= {name: str(setting.value), f"{name}_source": setting.source}
        source_colour = Colour.DIM if setting.source == "default" else Colour.YELLOW
        is_unused = settings.is_embedded and name in {"base_url", "files_url"}
        unused = "; not used with --sandbox" if is_unused else ""
        source_shown = Span(f"  ({setting.source}{unused})", source_colour)
        context.printer.line([Span(str(setting.value)), source_shown], label=f"{name:<11} ")
    if settings.key_error is not None:
        context.printer.warn(settings.key_error.message)
    return Outcome(fields=fields)


@app.command("path", cls=Command, epilog="omniedit config path")
def path(ctx: typer.Context) -> Outcome:
    """Show where settings, key and journal are stored."""
    from omniedit.journal import JOURNAL_FILE

    context: Context = ctx.obj
    settings = context.settings
    folder = settings.config_dir.value
    paths = {
        "config": folder / "config.toml",
        "credentials": credentials_path(folder),
        "journal": settings.journal_folder / JOURNAL_FILE,
    }
    for name, file in paths.items():
        context.printer.line(str(file), label=f"{name:<12} ")
    return Outcome(fields={name: str(file) for name, file in paths.items()})


def _read_key(context: Context, origin: str) -> str:
    if sys.stdin is not None and sys.stdin.isatty():
        return _ask_for_key(context, f"API key for {origin} ({KEY_PAGE}): ")
    content = read_source(context, STDIN, what="key", max_bytes=context.policy.max_settings_bytes)
    try:
        return decode_text(content)
    except UnicodeDecodeError:
        # Refused as a key without being shown.
        return content.decode(errors="replace")


def _ask_for_key(context: Context, question: str) -> str:
    import getpass

    try:
        return getpass.getpass(question, stream=sys.stderr)
    except (EOFError, UnicodeDecodeError, Interrupted) as error:
        # All leave the cursor after the question.
        context.printer.message("")
        if isinstance(error, Interrupted):
            raise
        # Ctrl-D means no key; invalid UTF-8 becomes a key that is refused without being shown.
        return "" if isinstance(error, EOFError) else "\N{REPLACEMENT CHARACTER}"


def _real_settings(context: Context) -> "Settings":
    if context.settings.is_embedded:
        msg = "the sandbox needs no key"
        raise InvalidInputError(msg, hint="leave out `--sandbox` and OMNIEDIT_SANDBOX")
    return context.settings


def _shown_key(settings: "Settings") -> tuple[str | None, str]:
    if settings.key is not None:
        return str(settings.key.value), settings.key.source
    if settings.is_embedded:
        return None, "the sandbox needs none"
    if settings.key_error is not None:
        return None, "set, but cannot be used"
    if settings.empty_key_variables:
        return None, f"empty: {', '.join(settings.empty_key_variables)}"
    return None, "not set"
