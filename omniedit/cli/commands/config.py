"""`omniedit config`: the key and the settings, each with its source."""

import sys
from typing import TYPE_CHECKING

import typer

from omniedit.cli.context import Runtime
from omniedit.cli.options import Command, Group
from omniedit.cli.stdin import read_stdin, text_of
from omniedit.errors import InvalidInputError
from omniedit.settings import KEY_PAGE, credentials_path
from omniedit.settings.credentials import CredentialsFile, parse_key

if TYPE_CHECKING:
    from pathlib import Path

    from omniedit.settings import Setting, Settings

app = typer.Typer(
    name="config",
    cls=Group,
    help="The key and the settings.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@app.command("set-key", cls=Command)
def set_key(context: typer.Context) -> None:
    """Save an API key, read from a hidden prompt or from stdin."""
    runtime: Runtime = context.obj
    settings = _real_settings(runtime)
    text = _typed_key(runtime, settings)
    if not text.strip():
        msg = "no key was given"
        raise InvalidInputError(
            msg, hint="`omniedit config set-key < key.txt` reads it from a file"
        )
    key = parse_key(text, source="the input")
    path = credentials_path(settings.config_dir.value)
    CredentialsFile(path).save(_key_origin(settings), key)
    runtime.fields = {"key": str(key), "origin": _key_origin(settings), "path": str(path)}
    runtime.printer.line(f"saved {key} for {_key_origin(settings)} in {path}")
    source = settings.key.source if settings.key else ""
    if source.startswith("environment"):
        runtime.printer.note(f"{source.partition(': ')[2]} is set and comes before it")


@app.command("unset-key", cls=Command)
def unset_key(context: typer.Context) -> None:
    """Forget the saved API key of the current base URL."""
    runtime: Runtime = context.obj
    settings = _real_settings(runtime)
    path = credentials_path(settings.config_dir.value)
    is_removed = CredentialsFile(path).remove(_key_origin(settings))
    runtime.fields = {"removed": is_removed, "origin": _key_origin(settings), "path": str(path)}
    what = "removed the key" if is_removed else "no key was saved"
    runtime.printer.line(f"{what} for {_key_origin(settings)}")


@app.command("show", cls=Command)
def show(context: typer.Context) -> None:
    """Show every setting with its source, the key masked."""
    runtime: Runtime = context.obj
    settings = runtime.settings
    rows: dict[str, Setting[str] | Setting[Path]] = {
        "base_url": settings.base_url,
        "files_url": settings.files_url,
        "config_dir": settings.config_dir,
        "state_dir": settings.state_dir,
        "context": settings.context,
    }
    key, source = _shown_key(settings)
    runtime.fields = {"key": key, "key_source": source}
    runtime.printer.line(f"{'key':<11} {key or 'none'}  ({source})")
    for name, setting in rows.items():
        runtime.fields |= {name: str(setting.value), f"{name}_source": setting.source}
        runtime.printer.line(f"{name:<11} {setting.value}  ({setting.source})")
    if settings.key_error is not None:
        runtime.printer.warn(settings.key_error.message)


@app.command("path", cls=Command)
def path(context: typer.Context) -> None:
    """Show where settings, key and journal lie."""
    from omniedit.journal import JOURNAL_FILE

    runtime: Runtime = context.obj
    settings = runtime.settings
    folder = settings.config_dir.value
    paths = {
        "config": folder / "config.toml",
        "credentials": credentials_path(folder),
        "journal": settings.journal_folder / JOURNAL_FILE,
    }
    runtime.fields = {name: str(place) for name, place in paths.items()}
    for name, place in paths.items():
        runtime.printer.line(f"{name:<12} {place}")


def _typed_key(runtime: Runtime, settings: "Settings") -> str:
    if sys.stdin is not None and sys.stdin.isatty():
        return _asked_key(runtime, f"API key for {settings.origin} ({KEY_PAGE}): ")
    content = read_stdin()
    try:
        return text_of(content)
    except UnicodeDecodeError:
        # No key either, and refused as such, without being shown.
        return content.decode(errors="replace")


def _asked_key(runtime: Runtime, question: str) -> str:
    import getpass

    try:
        return getpass.getpass(question, stream=sys.stderr)
    except (EOFError, UnicodeDecodeError) as error:
        # Both leave the cursor behind the question.
        runtime.printer.message("")
        # Ctrl-D gives no key; bytes that are no text are refused as one, without being shown.
        return "" if isinstance(error, EOFError) else "\N{REPLACEMENT CHARACTER}"


def _real_settings(runtime: Runtime) -> "Settings":
    if runtime.settings.is_embedded:
        msg = "the sandbox needs no key"
        raise InvalidInputError(msg, hint="leave `--sandbox` and OMNIEDIT_SANDBOX out")
    return runtime.settings


def _key_origin(settings: "Settings") -> str:
    from omniedit.http.urls import origin_of

    return origin_of(settings.base_url.value)


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
