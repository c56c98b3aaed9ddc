"""What a command says at its end about what goes on without it."""

from typing import TYPE_CHECKING, Final

from omniedit.cli.exit_codes import shown_place
from omniedit.errors import Hint, OmniEditError

if TYPE_CHECKING:
    from omniedit.cli.context import Context

REMIND_WITHIN_S: Final = 3 * 3600
_SHOWN_TASKS: Final = 5


def say_what_goes_on(context: "Context") -> None:
    """Name the tasks that go on at the service, and the command that picks each up."""
    if context.document_name in {"batch", "edit-split"}:
        # Its summary names one command for all of them.
        return
    from omniedit.models import task_name

    place = context.destination
    running = [r for r in context.board.records if r.task and not r.task.is_terminal]
    for record in running[:_SHOWN_TASKS]:
        command = f"wait {record.task_id} --download {shown_place(place)}"
        context.printer.hint(
            Hint(f"{task_name(record.task_id)} goes on at the service: {{}}", command)
        )
    if len(running) > _SHOWN_TASKS:
        context.printer.hint(Hint(f"{len(running) - _SHOWN_TASKS} more go on: {{}}", "list"))
    unsaved = [r for r in context.board.records if r.task and r.task.is_completed and not r.saved]
    for record in unsaved[:_SHOWN_TASKS]:
        command = f"download {record.task_id}"
        if place is not None:
            command += f" --output {shown_place(place)}"
        context.printer.hint(
            Hint(f"{task_name(record.task_id)} is finished and not saved: {{}}", command)
        )


def remind(context: "Context") -> None:
    """On a terminal, say in one line when unsaved results expire soon."""
    if context.command not in {"submit", "status", "wait", "edit"}:
        return
    if not context.printer.is_stderr_terminal or context.printer.quiet:
        return
    from omniedit.edits.records import is_unsaved
    from omniedit.journal import Journal
    from omniedit.terminal.human import render_duration

    now = context.now()
    shown = {record.task_id for record in context.board.records}
    try:
        with Journal(context.settings.journal_folder) as journal:
            ends = [
                end
                for record in journal.recent()
                # What was made elsewhere, `download --all` passes over.
                if record.origin == context.settings.origin
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
        context.printer.note(Hint(f"{what} in {left}: {{}}", "download --all"))
