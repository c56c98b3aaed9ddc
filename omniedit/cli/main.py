"""The root command and the one boundary where errors become messages and an exit status."""

import contextlib
import io
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, cast

import typer

from omniedit import __version__
from omniedit.cli.commands import Root
from omniedit.cli.context import Runtime
from omniedit.cli.exit_codes import ExitStatus, exit_status, exit_status_of_signal, hint_for, worst
from omniedit.cli.hints import remind, say_what_goes_on
from omniedit.cli.usage import HELP, usage_error
from omniedit.errors import Interrupted, OmniEditError
from omniedit.terminal.printer import OutputMode

ISSUES_PAGE: Final = "https://github.com/omniedit/omniedit/issues"
# Not exported by Typer, which raises it for every wrong call.
_UsageError: type[typer.TyperException] = typer.BadParameter.__mro__[1]

app = typer.Typer(
    cls=Root,
    add_completion=False,
    rich_markup_mode=None,  # Rich would triple the time of `--help`
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Without a key: omniedit --sandbox edit https://example.com/clip.mp4 'warmer lighting'",
)


def _show_version(value: bool) -> None:  # noqa: FBT001 - Typer's own signature
    if value:
        typer.echo(f"omniedit {__version__}")
        raise typer.Exit


def _install_completion(context: typer.Context, value: bool) -> None:  # noqa: FBT001 - as above
    if value:
        from omniedit.cli.completion.model import install

        install(context.obj)
        raise typer.Exit


@app.callback()
def root(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_show_version, help="Show the version and exit."
        ),
    ] = False,
    install_completion: Annotated[
        bool,
        typer.Option(
            "--install-completion",
            is_eager=True,
            callback=_install_completion,
            help="Install completion for your shell (bash, zsh, fish) and exit.",
        ),
    ] = False,
) -> None:
    """Edit a video with one sentence: a clip and a prompt become an edited MP4 with sound."""


def run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Carry out a command line and return its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Typer writes help in whatever encoding the terminal has; and no script wants what
            # Windows makes of line breaks.
            stream.reconfigure(errors="replace", newline="\n")
    runtime = Runtime(environ)
    with runtime.signals.handled(on_overdue=lambda signal: _end_at_once(runtime, signal)):
        try:
            errors = _invoke(runtime, argv)
        except Interrupted as interrupted:
            return _end_interrupted(runtime, interrupted)
        except OmniEditError as error:
            errors = [error]
        except Exception as error:  # noqa: BLE001 - the boundary: whatever arrives here is a bug
            return _end_with_bug(runtime, error)
        return _end(runtime, errors)


def _invoke(runtime: Runtime, argv: Sequence[str]) -> list[OmniEditError]:
    try:
        outcome: Any = app(
            args=list(argv), prog_name="omniedit", standalone_mode=False, obj=runtime
        )
    except _UsageError as error:
        _look_up_modes(runtime, argv)
        raise usage_error(error, argv, command=runtime.command) from None
    except SystemExit:
        # Typer's answer to a closed pipe while it writes help.
        outcome = None
    return cast("list[OmniEditError]", outcome) if isinstance(outcome, list) else []


def _look_up_modes(runtime: Runtime, argv: Sequence[str]) -> None:
    """Find out how to answer a call that could not be parsed."""
    options = argv[: argv.index("--")] if "--" in argv else argv
    for name in ("json", "events", "sandbox"):
        if f"--{name}" in options:
            runtime.set_flag(name, value=True)


def _end(runtime: Runtime, errors: Sequence[OmniEditError]) -> int:
    error = worst(errors)
    status = exit_status(error) if error else ExitStatus.DONE
    for each in errors if runtime.shows_errors else ():
        if each.code == HELP:
            runtime.printer.usage(each.message)
            each.message = "a command is missing"
            continue
        is_named = each.task_id is None or each.task_id in each.message
        message = each.message if is_named else f"task {each.task_id}: {each.message}"
        runtime.printer.error(message, _hint(runtime, each))
        _trace(runtime, each)
    _print_document(runtime, status, error)
    if status is ExitStatus.DONE:
        remind(runtime)
    return _flushed(runtime, status)


def _end_interrupted(runtime: Runtime, interrupted: Interrupted) -> int:
    status = exit_status_of_signal(interrupted.signal_number)
    words = {ExitStatus.TERMINATED: "terminated", ExitStatus.HUNG_UP: "hung up"}
    error = OmniEditError(words.get(status, "interrupted"), code="interrupted")
    runtime.printer.error(error.message)
    say_what_goes_on(runtime)
    _print_document(runtime, status, error)
    return _flushed(runtime, status)


def _end_at_once(runtime: Runtime, interrupted: Interrupted) -> None:
    """End the process in the place of its main thread, which does not come to it."""
    try:
        runtime.printer.end_live()
        _end_interrupted(runtime, interrupted)
    finally:
        os._exit(exit_status_of_signal(interrupted.signal_number))


def _end_with_bug(runtime: Runtime, error: Exception) -> int:
    message = _redacted(runtime, f"a bug in omniedit: {type(error).__name__}: {error}")
    shown = OmniEditError(message, code="bug", hint=f"report it: {ISSUES_PAGE} (`-v` shows where)")
    runtime.printer.error(message, shown.hint)
    say_what_goes_on(runtime)
    _trace(runtime, error)
    _print_document(runtime, ExitStatus.BUG, shown)
    return _flushed(runtime, ExitStatus.BUG)


def _print_document(runtime: Runtime, status: ExitStatus, error: OmniEditError | None) -> None:
    if runtime.printer.mode is OutputMode.TEXT:
        return
    from omniedit.schemas import unknown_values
    from omniedit.terminal.documents import done_document, envelope, error_document

    is_ok = status is ExitStatus.DONE
    try:
        is_sandbox = runtime.settings.is_sandbox
    except OmniEditError:
        is_sandbox = runtime.is_sandbox_flag
    tasks = runtime.documents()
    shown = error_document(error, exit_status=status, hint=_hint(runtime, error)) if error else None
    fields = unknown_values(runtime.document_name) | runtime.fields
    if "tasks" in fields:
        fields["tasks"] = tasks
    if "task" in fields:
        fields["task"] = tasks[0] if tasks else None
    runtime.printer.document(envelope(ok=is_ok, sandbox=is_sandbox, **fields, error=shown))
    runtime.printer.event(
        done_document(
            ok=is_ok,
            exit_status=status,
            tasks=tasks,
            at=runtime.now(),
            sandbox=is_sandbox,
            error=shown,
        )
    )


def _hint(runtime: Runtime, error: OmniEditError) -> str | None:
    return hint_for(
        error,
        command=runtime.command,
        is_sandbox_flag=runtime.is_sandbox_flag,
        place=runtime.destination,
    )


def _trace(runtime: Runtime, error: Exception) -> None:
    if runtime.flags.get("verbose"):
        lines = "".join(traceback.format_exception(error))
        runtime.printer.usage(_redacted(runtime, lines))


def _redacted(runtime: Runtime, text: str) -> str:
    with contextlib.suppress(OmniEditError):
        key = runtime.settings.key
        if key is not None:
            text = text.replace(key.value.reveal(), str(key.value))
    return text


def _flushed(runtime: Runtime, status: ExitStatus) -> int:
    """Write out what is buffered; a result that could not be written is no success."""
    try:
        if not runtime.printer.is_stdout_closed:
            sys.stdout.flush()
    except OSError:
        # The interpreter would try again at its end, and say so.
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
    failure = runtime.printer.stdout_failure
    if failure is not None and status is ExitStatus.DONE:
        runtime.printer.error(f"cannot write to standard output: {failure.strerror}")
        return ExitStatus.LOCAL
    return status
