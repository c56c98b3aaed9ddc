"""Hints at the end of a command: what goes on without it, and what expires."""

from typing import TYPE_CHECKING, Final

from omniedit.cli.exit_codes import shown_place
from omniedit.errors import Hint, OmniEditError, render_hint

if TYPE_CHECKING:
    from omniedit.cli.context import Runtime

REMIND_WITHIN_S: Final = 3 * 3600
_SHOWN_TASKS: Final = 5


def say_what_goes_on(runtime: "Runtime") -> None:
    """Name the tasks that go on at the service, and the command that picks each up."""
    if runtime.sums_up:
        # Its summary names one command for all of them.
        return
    place = runtime.destination
    records = [record for record in runtime.board.records if record.task]
    running = [record for record in records if record.task and not record.task.is_terminal]
    for record in running[:_SHOWN_TASKS]:
        command = f"wait {record.task_id} --download {shown_place(place)}"
        _hint(runtime, Hint(f"task {record.task_id} goes on at the service: {{}}", command))
    if len(running) > _SHOWN_TASKS:
        _hint(runtime, Hint(f"{len(running) - _SHOWN_TASKS} more go on: {{}}", "list"))
    unsaved = [r for r in records if r.task and r.task.is_completed and not r.saved]
    for record in unsaved[:_SHOWN_TASKS]:
        output = "" if place is None else f" --output {shown_place(place)}"
        command = f"download {record.task_id}{output}"
        _hint(runtime, Hint(f"task {record.task_id} is finished and not saved: {{}}", command))


def remind(runtime: "Runtime") -> None:
    """On a terminal, say in one line when unsaved results expire soon."""
    if runtime.command not in {"submit", "status", "wait", "edit"}:
        return
    if not runtime.printer.is_stderr_terminal or runtime.printer.quiet:
        return
    from omniedit.edits.list import is_unsaved
    from omniedit.journal import Journal
    from omniedit.terminal.human import render_duration

    now = runtime.now()
    shown = {record.task_id for record in runtime.board.records}
    try:
        with Journal(runtime.settings.journal_folder) as journal:
            ends = [
                end
                for record in journal.recent()
                # What was made elsewhere, `download --all` passes over.
                if record.origin == runtime.settings.origin
                and is_unsaved(record)
                and record.task_id not in shown
                and (end := record.link_valid_until) is not None
                and now < end < now + REMIND_WITHIN_S
            ]
    except OmniEditError:
        return
    if ends:
        what = (
            "1 unsaved result expires" if len(ends) == 1 else f"{len(ends)} unsaved results expire"
        )
        left = render_duration(min(ends) - now)
        message = Hint(f"{what} in {left}: {{}}", "download --all")
        runtime.printer.note(render_hint(message, is_sandbox=runtime.is_sandbox_flag))


def _hint(runtime: "Runtime", hint: Hint) -> None:
    runtime.printer.hint(render_hint(hint, is_sandbox=runtime.is_sandbox_flag))
