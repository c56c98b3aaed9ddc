"""The one boundary where errors become messages and an exit status."""

import io
import os
import shutil
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, TextIO

import typer

from omniedit import errors
from omniedit.cli.context import Context, Outcome
from omniedit.cli.exit_codes import (
    ExitStatus,
    exit_status,
    exit_status_of_signal,
    hint_for,
    quoted_destination,
    worst,
)
from omniedit.cli.parser import MISSING_COMMAND, ROOT, SUBMITTING
from omniedit.errors import Hint, Interrupted, LocalError, NotFinishedError, OmniEditError
from omniedit.policy import DEFAULT, Policy
from omniedit.sanitize import masked
from omniedit.system import SYSTEM_CLOCK, THIS_SYSTEM, Clock, error_reason
from omniedit.terminal.printer import OutputMode

if TYPE_CHECKING:
    from omniedit.models import Record
    from omniedit.terminal.documents import Document


ISSUES_PAGE: Final = "https://github.com/omniedit/omniedit/issues"
_REMIND_WITHIN_S: Final = 3 * 3600

_NOT_REMINDING: Final = frozenset({"", "config", "help", "journal", "list", "sandbox"})
"""`list` shows what expires, and the others are not about tasks."""
_FINDING_EDITS: Final = frozenset({"compare", "download", "status", "wait"})
"""The commands that look for known edits, and fail if there are none."""
_SHOWN_TASKS: Final = 5
_SERVER: Final = "sandbox serve"
"""The command that normally ends by a signal."""
_NARROWEST_HELP: Final = 20
_WIDEST_HELP: Final = 98
_GENERAL: Final = (
    errors.CredentialsError
    | errors.AuthenticationError
    | errors.QuotaError
    | errors.NotConnectedError
)
"""Errors about the key or the network, not about one task."""
# The base of all usage errors, which Typer does not export.
_UsageError: type[typer.TyperException] = typer.BadParameter.__mro__[1]


def run(
    argv: Sequence[str],
    environ: Mapping[str, str],
    *,
    policy: Policy = DEFAULT,
    clock: Clock = SYSTEM_CLOCK,
) -> int:
    """Run a command line and return its exit status."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        # Node hands on pipes that do not block: input would seem to end early, long output fail.
        if stream is not None:
            with suppress(OSError, ValueError):
                THIS_SYSTEM.make_blocking(stream.fileno())
    sys.stdout = _reliable(sys.stdout)
    sys.stderr = _reliable(sys.stderr)
    context = Context(environ, argv=argv, policy=policy, clock=clock)
    is_watched = sys.stderr is not None and sys.stderr.isatty()
    try:
        with context.signals.handled(
            on_overdue=lambda interrupted: _end_at_once(context, interrupted),
            on_suspend=context.suspend if is_watched else None,
        ):
            outcome = _outcome_of(context)
            try:
                return _end(context, outcome)
            except Exception as error:  # noqa: BLE001 - the boundary: anything caught here is a bug
                # No task documents: the board itself may be at fault.
                return _end(context, Outcome(tasks=list, ended_by=error))
    except Interrupted as interrupted:
        # The signal arrived while the outcome was being printed.
        return exit_status_of_signal(interrupted.signal_number)


def remind(context: Context) -> None:
    """Note on a terminal that unsaved results expire soon."""
    if context.command.partition(" ")[0] in _NOT_REMINDING:
        return
    if not context.printer.stderr.is_terminal or context.printer.quiet:
        return
    from omniedit.edits.records import is_unsaved
    from omniedit.models import render_count
    from omniedit.terminal.human import render_duration

    now = context.clock.now()
    shown = {record.task_id for record in context.board.records}
    ends: list[float] = []
    for record in context.newest_edits() or ():
        # `download --all` passes over results of other origins.
        is_ours = record.origin == context.settings.origin
        if is_ours and is_unsaved(record) and record.task_id not in shown:
            end = record.link_valid_until
            if end is not None and now < end < now + _REMIND_WITHIN_S:
                ends.append(end)
    if ends:
        verb = "expires" if len(ends) == 1 else "expire"
        what = f"{render_count(len(ends), 'unsaved result')} {verb}"
        left = render_duration(min(ends) - now)
        context.printer.note(Hint(f"{what} in {left}: {{}}", "download --all"))


def _reliable(stream: TextIO | None) -> TextIO | None:
    """Return a stream that takes any text, and writes all of it or fails."""
    found: object = stream
    if not isinstance(found, io.TextIOWrapper) or stream is None:
        return stream
    # Typer's help may hold characters that the terminal's encoding lacks, and Windows would
    # translate line breaks.
    found.reconfigure(errors="replace", newline="\n")
    if not isinstance(stream.buffer, io.RawIOBase):
        return stream
    # With PYTHONUNBUFFERED, Python silently drops the rest of a write that a signal or a full disk
    # cuts short.
    return open(
        stream.fileno(),
        "w",
        encoding=stream.encoding,
        errors="replace",
        newline="\n",
        closefd=False,
    )


def _outcome_of(context: Context) -> Outcome:
    """Run the command and return its outcome, even if an exception ended it."""
    try:
        # Typer itself never goes below 50 columns.
        width = max(_NARROWEST_HELP, min(shutil.get_terminal_size().columns - 2, _WIDEST_HELP))
        outcome: Any = ROOT.main(
            args=context.argv,
            prog_name="omniedit",
            standalone_mode=False,
            obj=context,
            terminal_width=width,
        )
    except SystemExit:
        # Typer exits if the pipe is closed while it writes help.
        return Outcome()
    except (Exception, Interrupted) as error:  # noqa: BLE001 - the boundary
        ended_by: BaseException = error
        if not context.is_parsed:
            _read_output_options(context)
        if isinstance(error, _UsageError):
            from omniedit.cli.usage_errors import usage_error

            ended_by = usage_error(error, context.argv, command=context.command)
        elif isinstance(error, OSError) and not context.is_parsed:
            # Before that, only help and the version are written.
            ended_by = LocalError(_unwritable(error))
        return Outcome(ended_by=ended_by)
    return outcome if isinstance(outcome, Outcome) else Outcome()


def _read_output_options(context: Context) -> None:
    """Read the output options of a command line that could not be parsed."""
    argv = context.argv
    words = argv[: argv.index("--")] if "--" in argv else argv
    flags = ("json", "events", "sandbox")
    context.options |= {name: True for name in flags if f"--{name}" in words}
    for before, word in pairwise([*words, ""]):
        name, is_joined, value = before.partition("=")
        file = value if is_joined else word
        if name == "--summary" and file:
            context.options["summary"] = file


def _end(context: Context, outcome: Outcome) -> int:
    """Print errors, hints, summary and document, and return the exit status."""
    match _interrupt_in(outcome.ended_by):
        case None:
            error = worst(outcome.errors)
            status = exit_status(error) if error else ExitStatus.DONE
            _print_errors(context, () if outcome.has_shown_errors else outcome.errors)
        case OmniEditError() as error:
            status = exit_status(error)
            if error.task_id:
                context.board.attach(error)
            _print_errors(context, [error])
        case Interrupted() as interrupted:
            status = exit_status_of_signal(interrupted.signal_number)
            error = _print_interruption(context, interrupted, status)
        case cause:
            status = ExitStatus.BUG
            error = _print_bug(context, cause)
    _note_sandbox(context, error)
    _print_documents(context, outcome, status, error)
    if status is ExitStatus.DONE:
        remind(context)
    return _flush(context, status)


def _interrupt_in(error: BaseException | None) -> BaseException | None:
    """Return the interrupt that caused an error, or the error itself.

    An interrupt that arrives while a lock is being released surfaces as an error of the lock.
    """
    found = error
    while found is not None and not isinstance(found, Interrupted | OmniEditError):
        found = found.__context__
    return found if isinstance(found, Interrupted) else error


def _print_interruption(
    context: Context, interrupted: Interrupted, status: ExitStatus
) -> OmniEditError:
    """Print that a signal ended the command and how to continue it, and return that as an error."""
    words = {ExitStatus.TERMINATED: "terminated", ExitStatus.HUNG_UP: "hung up"}
    hint = interrupted.hint
    # While a batch is planned, no edits are expected yet.
    is_begun = context.has_session and context.board.total > 0
    if not is_begun and not SUBMITTING.isdisjoint(context.argv):
        hint = hint or errors.NOTHING_SUBMITTED
    error = OmniEditError(words.get(status, "interrupted"), code="interrupted", hint=hint)
    if context.command != _SERVER:
        context.printer.error(error.message)
    unknown = interrupted.unknown_outcome
    if unknown is not None:
        # A warning has named the hint already.
        error.hint = error.hint or unknown.hint
        error.request_id = unknown.request_id
    elif error.hint:
        context.printer.hint(error.hint)
    _print_recovery_commands(context, error)
    return error


def _print_bug(context: Context, cause: BaseException) -> OmniEditError:
    """Print an unexpected exception, and return it as an error."""
    message = _redacted(context, f"a bug in omniedit: {type(cause).__name__}: {cause}")
    hint = f"report it: {ISSUES_PAGE} (`-v` shows where it is)"
    error = OmniEditError(message, code="bug", hint=hint)
    context.printer.error(error.message, error.hint)
    _print_recovery_commands(context, error)
    _print_trace(context, cause)
    return error


def _end_at_once(context: Context, interrupted: Interrupted) -> None:
    """End the process from another thread, because the main thread does not react."""
    try:
        context.printer.end_live()
        _end(context, Outcome(ended_by=interrupted))
    finally:
        os._exit(exit_status_of_signal(interrupted.signal_number))


def _print_errors(context: Context, found: Sequence[OmniEditError]) -> None:
    printed: set[str] = set()
    for error in found:
        if error.code == MISSING_COMMAND:
            context.printer.verbatim(error.message)
            continue
        message = error.message
        if error.task_id and error.task_id not in message and not isinstance(error, _GENERAL):
            from omniedit.models import task_name

            message = f"{task_name(error.task_id)}: {message}"
        if message not in printed:
            context.printer.error(message, _hint(context, error))
            _print_trace(context, error)
        printed.add(message)


def _print_recovery_commands(context: Context, error: OmniEditError) -> None:
    """Name the unfinished and unsaved tasks, each with the command that continues it.

    Args:
        context: The command's context.
        error: What ended the command; it gets the IDs of the first such task, and its command as
            a hint if it has none.
    """
    if context.document_name in {"batch", "edit-split"}:
        # Their report has named one command for all tasks.
        return
    from omniedit.edits.records import is_unsaved

    records = context.board.records
    running = [record for record in records if record.is_open]
    unsaved = [record for record in records if is_unsaved(record)]
    hints = [_recovery_hint(context, record) for record in running[:_SHOWN_TASKS]]
    if len(running) > _SHOWN_TASKS:
        hints.append(Hint(f"{len(running) - _SHOWN_TASKS} more on the service: {{}}", "list"))
    hints += [_recovery_hint(context, record) for record in unsaved[:_SHOWN_TASKS]]
    for hint in hints:
        context.printer.hint(hint)
    if hints:
        first = [*running, *unsaved][0]
        error.hint = error.hint or hints[0]
        error.task_id = first.task_id
        error.request_id = first.request_id


def _recovery_hint(context: Context, record: "Record") -> str:
    """Return what became of a task, and the command that continues it."""
    from omniedit.models import task_name

    what, command, option = "continues on the service", "wait", "--download"
    if record.task is not None and record.task.is_terminal:
        what, command, option = "is finished but not saved", "download", "--output"
    what = f"{task_name(record.task_id)} {what}"
    if _changes_result(context):
        return f"{what}: {context.same_command()}"
    command = f"{command} {record.task_id}"
    destination = _destination_of(context, record)
    if destination is not None or option == "--download":
        command += f" {option} {quoted_destination(destination)}"
    return Hint(f"{what}: {{}}", command)


def _note_sandbox(context: Context, error: OmniEditError | None) -> None:
    """Name the same command with `--sandbox`, if it failed because no edit is known here."""
    if error is None or error.code == "usage" or context.command not in _FINDING_EDITS:
        return
    is_about_files = len(context.params.get("videos") or ()) > 1  # those of `compare`
    if not context.is_parsed or is_about_files or context.board.records:
        return
    hint = context.sandbox_hint()
    if hint is not None:
        context.printer.note(hint)


def _print_documents(
    context: Context, outcome: Outcome, status: ExitStatus, error: OmniEditError | None
) -> None:
    """Append the summary, and print the document or the last event, as far as they are wanted."""
    printer = context.printer
    has_summary = "summary" in context.options
    if printer.mode is OutputMode.TEXT and not has_summary:
        return
    from omniedit.schemas import FAILURE, unknown_values
    from omniedit.terminal import documents

    if outcome.tasks is None:
        tasks: Sequence[Document] = [*map(documents.task_document, context.board.records)]
    else:
        tasks = outcome.tasks()
    if has_summary:
        _append_summary(context, tasks, error)
    if printer.mode is OutputMode.TEXT:
        return
    ok = status is ExitStatus.DONE
    sandbox = context.is_sandbox
    at = context.clock.now()
    hint = _hint(context, error) if error else None
    shown = documents.error_document(error, exit_status=status, hint=hint) if error else None
    fields = {**unknown_values(context.document_name or FAILURE), **outcome.fields}
    known = {"tasks": tasks, "task": tasks[0] if tasks else None}
    fields |= {key: value for key, value in known.items() if key in fields}
    printer.document(documents.envelope(ok=ok, sandbox=sandbox, **fields, error=shown))
    printer.event(
        documents.event_line(
            "done", at=at, sandbox=sandbox, ok=ok, exit_status=status, tasks=tasks, error=shown
        )
    )


def _append_summary(
    context: Context, tasks: "Sequence[Document]", error: OmniEditError | None
) -> None:
    from omniedit.terminal.documents import render_summary

    try:
        context.append_summary(render_summary(tasks, error, context.board))
    except LocalError as failure:
        # A warning will do: the results are safe. If it ended the command, it has been printed.
        if error is None or failure.message != error.message:
            context.printer.warn(failure.message)


def _hint(context: Context, error: OmniEditError) -> str | None:
    if isinstance(error, NotFinishedError) and error.hint is None and _changes_result(context):
        return f"{context.same_command()} continues it"
    records = context.board.records if error.task_id else ()
    record = next((record for record in records if record.task_id == error.task_id), None)
    hint = hint_for(
        error,
        command=context.command,
        destination=_destination_of(context, record),
        record=record,
        model=context.settings.model.value if record else None,
        request=context.board.request if context.has_session else None,
    )
    return context.render_hint(hint)


def _changes_result(context: Context) -> bool:
    """Return whether `edit`, which is safe to repeat, does more with the result than `wait` does."""
    from omniedit.models import Sound

    params = context.params
    if context.command != "edit" or params.get("no_journal"):
        return False
    return bool(params.get("sidecar")) or params.get("sound") not in {None, Sound.NEW}


def _destination_of(context: Context, record: "Record | None") -> str | None:
    """Return where a task's result goes: the path as typed, or the default name of `edit`."""
    if context.command == "compare":  # what was typed names its page
        return None
    destination: str | None = context.params.get("output", context.params.get("download"))
    if destination is None and context.command == "edit" and record and record.identity:
        from omniedit.edits.targets import default_name

        return default_name(record.video, record.prompt, record.identity)
    return destination


def _print_trace(context: Context, error: BaseException) -> None:
    if context.printer.verbose:
        # A message from outside may have several lines, which must not pass for ours.
        entries = [
            entry if entry.startswith("  File ") else " ".join(entry.splitlines()) + "\n"
            for entry in traceback.format_exception(error)
        ]
        context.printer.verbatim(_redacted(context, "".join(entries)))


def _redacted(context: Context, text: str) -> str:
    settings = context.readable_settings
    if settings is not None and settings.key is not None:
        key = settings.key.value
        text = masked(text, key.reveal(), str(key))
    return text


def _flush(context: Context, status: ExitStatus) -> int:
    """Flush standard output; a success that could not be written becomes exit status 10."""
    context.printer.stdout.flush()
    failure = context.printer.stdout.failure
    if failure is not None and status is ExitStatus.DONE:
        context.printer.error(_unwritable(failure))
        return ExitStatus.LOCAL
    return status


def _unwritable(failure: OSError) -> str:
    return f"cannot write to standard output: {error_reason(failure)}"
